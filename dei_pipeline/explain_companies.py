"""The companies behind a count of companies: which are counted, and by which chain of holdings a few are controlled."""

from typing import Any

import polars as pl

from dei_pipeline.lake import Lake
from dei_pipeline.methods.ownership import why
from dei_pipeline.provenance import Place, places

PRESENCE, LOCATED = "mart/company_presence", "mart/located_companies"
CONTROLLED, HOLDINGS, COMPANIES = "core/controlled_companies", "core/holdings", "core/companies"
RECORDS = "staging/holding_records"
MOST_COMPANIES = 3  # whose chains are shown; all are counted


def company_chains(lake: Lake, code: str, year: int, most: int = MOST_COMPANIES) -> dict[str, Any]:
    """The companies counted in a city, and of the first few by name why they are controlled.

    Args:
        lake: the lake.
        code: region.
        year: data year.
        most: companies whose chains are shown.

    Returns:
        `counted`: id and name of every company; `chains`: of the few company_id, name, root_id, root_name, step,
        votes, effective_share, and `holdings` from the company up to the root: holder_id, holder_name, held_id,
        held_name, share, and the source: file, sheet and cell of the share, with what the file holds there.
    """
    city = lake.scan(LOCATED).filter(year=year, region_code=code, location="city").filter(pl.col("root").is_null())
    counted = city.select("company_id", "name").sort("name", "company_id").collect(engine="in-memory")
    found = lake.scan(CONTROLLED).filter(pl.col("controlled") & (pl.col("year") == year)).collect(engine="in-memory")
    nearest = found.sort("step", "root_id").unique("company_id", keep="first", maintain_order=True)
    few = counted.head(most).select("company_id").join(nearest, on="company_id", maintain_order="left")
    names = dict(lake.scan(COMPANIES).select("company_id", "name").collect(engine="in-memory").iter_rows())
    held = lake.scan(HOLDINGS).filter((pl.col("as_of").dt.year() == year) & (pl.col("use") == "counted"))
    holdings = held.filter(pl.col("as_of") == pl.col("as_of").max().over("held_id")).collect(engine="in-memory")
    texts = lake.scan(RECORDS).select("source_cell", "raw_text", "unit").collect(engine="in-memory")
    holdings = holdings.join(texts, on="source_cell", how="left", maintain_order="left")
    chains = [_chain(lake, row, found, holdings, names) for row in few.iter_rows(named=True)]
    return {"counted": counted.to_dicts(), "chains": chains}


def _chain(
    lake: Lake, company: dict[str, Any], found: pl.DataFrame, holdings: pl.DataFrame, names: dict[str, str]
) -> dict[str, Any]:
    """Why one company is controlled by the root nearest to it."""
    root = company["root_id"]
    itself = pl.DataFrame({"company_id": root, "step": 0}, schema={"company_id": pl.String, "step": pl.Int32})
    closure = pl.concat([itself, found.filter(root_id=root).select("company_id", "step")])
    links = why(holdings, closure, company["company_id"]).join(
        holdings.select("holder_id", "held_id", "holder_name", "held_name", "source_cell", "raw_text", "unit"),
        on=["holder_id", "held_id"],
        maintain_order="left",
    )
    where = places(lake, links["source_cell"])
    told = ("holder_id", "holder_name", "held_id", "held_name", "share")
    return {
        "company_id": company["company_id"],
        "name": names.get(company["company_id"], company["company_id"]),
        "root_id": root,
        "root_name": names.get(root, root),
        **{name: company[name] for name in ("step", "votes", "effective_share")},
        "holdings": [
            {name: link[name] for name in told} | {"source": _source(where[link["source_cell"]], link)}
            for link in links.iter_rows(named=True)
        ],
    }


def _source(place: Place, link: dict[str, Any]) -> dict[str, Any]:
    """The cell of a share as explanations show it."""
    found = {name: getattr(place, name) for name in ("file", "sha256", "producer", "sheet", "cell", "synthetic")}
    label = f"{link['holder_name']} → {link['held_name']}"
    return found | {"raw_text": link["raw_text"], "label": label, "unit": link["unit"], "table": RECORDS}


def chain_lines(told: dict[str, Any]) -> list[str]:
    """The same in words, a line each: companies counted, then each chain from the company up to its root."""
    names = "、".join(str(company["name"]) for company in told["counted"][:10])
    more = f" … and {len(told['counted']) - 10} more" if len(told["counted"]) > 10 else ""
    lines = [f"{len(told['counted'])} companies 家企业: {names}{more}"] if told["counted"] else ["no company 无"]
    for chain in told["chains"]:
        lines.append(
            f"{chain['name']} ← {chain['root_name']}: step {chain['step']}, {100 * chain['votes']:.2f} % held by the "
            f"group, effective share {100 * chain['effective_share']:.2f} %"
        )
        for link in chain["holdings"]:
            at, share = link["source"], f"{100 * link['share']:.2f} %"
            where = f"{at['file']} · {at['sheet']}!{at['cell']} «{at['raw_text']}»"
            lines.append(f"  {link['holder_name']} → {link['held_name']} {share}  ← {where}")
    return lines
