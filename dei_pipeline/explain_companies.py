"""The companies behind a count of companies: which are counted, and by which chain of holdings a few are controlled."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from dei_pipeline.lake import Lake
from dei_pipeline.methods.ownership import why
from dei_pipeline.methods.registers import COMPANIES, COMPANY_RECORDS, CONTROLLED, HOLDINGS, KEY, current
from dei_pipeline.provenance import Place, places, row_key

PRESENCE, LOCATED = "mart/company_presence", "mart/located_companies"
HOLDING_RECORDS, CELLS = "staging/holding_records", "raw/cells"
MOST_COMPANIES = 3  # whose chains are shown; all are counted
PLACES = (
    "place",
    "region_code",
    "country",
    "province",
)  # cells of a register that tell the city, the first that is told


def company_chains(lake: Lake, code: str, year: int, most: int = MOST_COMPANIES) -> dict[str, Any]:
    """The companies counted in a city, and of the first few by name why they are controlled.

    Args:
        lake: the lake.
        code: region.
        year: data year.
        most: companies whose chains are shown.

    Returns:
        `counted`: id and name of every company; `chains`: of the few company_id, name, root_id, root_name, step,
        votes, effective_share; `city_source` and `root_source`, the cells that tell the city and the mark of the root;
        and `holdings` from the company up to the root: holder_id, holder_name, held_id, held_name, share, and
        `sources`: file, sheet and cell of every share that it is the sum of, with what the file holds there.
    """
    city = lake.scan(LOCATED).filter(year=year, region_code=code, location="city").filter(pl.col("root").is_null())
    counted = city.select("company_id", "name").sort("name", "company_id").collect(engine="in-memory")
    found = lake.scan(CONTROLLED).filter(pl.col("controlled") & (pl.col("year") == year)).collect(engine="in-memory")
    nearest = found.sort("step", "root_id").unique("company_id", keep="first", maintain_order=True)
    few = counted.head(most).select("company_id").join(nearest, on="company_id", maintain_order="left")
    names = dict(lake.scan(COMPANIES).select("company_id", "name").collect(engine="in-memory").iter_rows())
    dated = lake.scan(HOLDINGS).filter(pl.col("as_of").dt.year() == year).collect(engine="in-memory")
    holdings = current(dated).filter(use="counted")
    links = [_links(row, found, holdings) for row in few.iter_rows(named=True)]
    shares = _share_cells(lake, [key for part in links for key in part["key"]])
    cities = _register_cells(lake, few["company_id"], "place", PLACES)
    roots = _register_cells(lake, few["root_id"], "root", ("root",))
    told = ("holder_id", "holder_name", "held_id", "held_name", "share")
    chains = [
        {
            **{name: row[name] for name in ("company_id", "root_id", "step", "votes", "effective_share")},
            "name": names.get(row["company_id"], row["company_id"]),
            "root_name": names.get(row["root_id"], row["root_id"]),
            "city_source": cities.get(row["company_id"]),
            "root_source": roots.get(row["root_id"]),
            "holdings": [
                {name: link[name] for name in told} | {"sources": shares[link["key"]]}
                for link in part.iter_rows(named=True)
            ],
        }
        for row, part in zip(few.iter_rows(named=True), links, strict=True)
    ]
    return {"counted": counted.to_dicts(), "chains": chains}


def _links(company: dict[str, Any], found: pl.DataFrame, holdings: pl.DataFrame) -> pl.DataFrame:
    """The holdings by which the root nearest to a company controls it, with the key of each in core/holdings."""
    root = company["root_id"]
    itself = pl.DataFrame({"company_id": root, "step": 0}, schema={"company_id": pl.String, "step": pl.Int32})
    closure = pl.concat([itself, found.filter(root_id=root).select("company_id", "step")])
    named = holdings.select("holder_id", "held_id", "holder_name", "held_name", key=row_key(KEY))
    return why(holdings, closure, company["company_id"]).join(named, on=["holder_id", "held_id"], maintain_order="left")


def _share_cells(lake: Lake, keys: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The cells whose shares each holding is the sum of, as explanations show them."""
    edges = lake.scan(HOLDINGS, side="lineage").filter((pl.col("role") == "share") & pl.col("child_key").is_in(keys))
    said = lake.scan(HOLDING_RECORDS).select(
        "source_cell", "raw_text", "unit", label=pl.format("{} → {}", *(
            pl.coalesce(f"{side}_label", f"{side}_code").fill_null("") for side in ("holder", "held")))
    )  # fmt: skip
    cells = edges.join(said, left_on="parent_key", right_on="source_cell").sort("child_key", "parent_key")
    rows = cells.collect(engine="in-memory").to_dicts()
    where = places(lake, {row["parent_key"] for row in rows})
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    for row in rows:
        found[row["child_key"]].append(_source(where[row["parent_key"]], row, HOLDING_RECORDS))
    return found


def _register_cells(lake: Lake, ids: pl.Series, decides: str, roles: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The cell of the registers that tells the city or the mark of each company, as explanations show it."""
    mine = lake.scan(COMPANIES, side="lineage").filter(
        (pl.col("role") == decides) & pl.col("child_key").is_in(ids.unique().implode())
    )
    order = {role: place for place, role in enumerate(roles)}
    beside = lake.scan(COMPANY_RECORDS, side="lineage").filter(pl.col("role").is_in(roles)).select(
        record="child_key", cell="parent_key", order=pl.col("role").replace_strict(order, default=None)
    )  # fmt: skip
    cells = mine.select(company="child_key", record="parent_key").join(beside, on="record").collect(engine="in-memory")
    cells = cells.sort("order").unique("company", keep="first")
    where = places(lake, cells["cell"])
    parts = {place.sha256 for place in where.values()}
    texts = lake.scan(CELLS, parts).filter(pl.col("source_cell").is_in(cells["cell"].implode())) if parts else None
    text = {} if texts is None else dict(texts.select("source_cell", "text").collect(engine="in-memory").iter_rows())
    return {
        company: _source(where[cell], {"raw_text": text[cell], "label": company, "unit": None}, COMPANY_RECORDS)
        for company, cell in cells.select("company", "cell").iter_rows()
    }


def _source(place: Place, said: dict[str, Any], table: str) -> dict[str, Any]:
    """A cell as explanations show it."""
    found = {name: getattr(place, name) for name in ("file", "sha256", "producer", "sheet", "cell", "synthetic")}
    return found | {name: said[name] for name in ("raw_text", "label", "unit")} | {"table": table}


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
            where = ", ".join(_place(source) for source in link["sources"])
            lines.append(f"  {link['holder_name']} → {link['held_name']} {100 * link['share']:.2f} %  ← {where}")
        for what, source in (("root 根企业", chain["root_source"]), ("city 注册地", chain["city_source"])):
            lines += [f"  {what} ← {_place(source)}"] if source else []
    return lines


def _place(source: dict[str, Any]) -> str:
    """Where a cell stands and what it holds, in words."""
    return f"{source['file']} · {source['sheet']}!{source['cell']} «{source['raw_text']}»"
