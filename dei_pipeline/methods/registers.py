"""From registers of companies to companies, and from their holdings to what roots control: core tables with lineage.

A company is its unified social credit code, or else its name (`companies.name_id`). Who holds what is made in
`methods.holdings`. Source: methodology §3.21, §0a «Ownership», §4 E1.
"""

from typing import Any

import polars as pl

from dei_pipeline.errors import ContractError, NothingToDo
from dei_pipeline.methods import companies as names
from dei_pipeline.methods import ownership
from dei_pipeline.methods.companies import Forms
from dei_pipeline.methods.regions import Regions, match
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, make_edges, split_source_cell

COMPANY_RECORDS = "staging/company_records"
COMPANIES, HOLDINGS, CONTROLLED = "core/companies", "core/holdings", "core/controlled_companies"
KEY = ["holder_id", "held_id", "as_of"]
CONTROL_KEY = ["root_id", "company_id", "year"]
OUTSIDE = ("71", "81", "82")  # codes of Taiwan, Hong Kong, Macao: outside the mainland, counted as overseas
CITY_PROVINCES = ("municipality", "sar")  # units of province level that are cities
CODE_FIX = "give both the unified social credit code in the register"


# -- companies ---------------------------------------------------------------------------------------------------------
def identified(records: pl.DataFrame, forms: Forms) -> pl.DataFrame:
    """The company records with stem, form, company_id, or reason and fix; those that decide an attribute first.

    Args:
        records: staging/company_records.
        forms: the reviewed words of company names.
    """
    parts = names.name_parts(records["name"], forms).select("name", "stem", "form")
    order = ["as_of", "edition", "source_cell"]
    rows = records.join(parts, on="name", how="left").sort(order, descending=[True, True, False], nulls_last=True)
    group = ["stem", "form"]
    coded = rows.drop_nulls("credit_code").group_by(group).agg(ids=pl.col("credit_code").unique().sort())
    rows = rows.join(coded, on=group, how="left", nulls_equal=True, maintain_order="left")
    several = pl.col("credit_code").is_null() & (pl.col("ids").list.len() > 1)
    bare = pl.col("credit_code").is_null() & pl.col("ids").is_null()
    place = pl.col("region_label").first().over(group)
    apart = bare & (pl.col("region_label") != place)
    nameless = bare & (pl.col("stem").str.len_chars() == 0)
    reason = (
        pl.when(several).then(pl.format("«{}» can mean {}", "name", pl.col("ids").list.join(", ")))
        .when(nameless).then(pl.format("«{}» is no name", "name"))
        .when(apart.fill_null(False)).then(pl.format("«{}» of {} has the name of a company of {}", "name",
                                                     "region_label", place))
    )  # fmt: skip
    fix = pl.when(reason.is_not_null()).then(pl.lit(CODE_FIX))
    own = pl.coalesce("credit_code", pl.col("ids").list.first(), names.name_id(pl.col("stem"), pl.col("form")))
    return rows.with_columns(reason=reason, fix=fix).with_columns(
        company_id=pl.when(pl.col("reason").is_null()).then(own)
    ).drop("ids")  # fmt: skip


def companies(records: pl.DataFrame, regions: Regions, forms: Forms) -> Table:
    """`core/companies`: every company of the registers with its city, industry and mark as a root.

    What the latest record states counts; a gap is filled from the one before. `location`: `overseas` by country or
    region outside the mainland, `city` with a region_code, else `unlocated`.

    Args:
        records: staging/company_records.
        regions: the register of regions.
        forms: the reviewed words of company names.

    Returns:
        Table with key company_id; edges to staging/company_records: role name, of further records row; again to those
        that decide city and mark, roles place and root. Quarantined: records that can mean several companies.

    Raises:
        ContractError: no record can be used.
    """
    rows = identified(records, forms)
    aside, kept = rows.filter(pl.col("reason").is_not_null()), rows.filter(pl.col("reason").is_null())
    if not kept.height:
        raise ContractError(f"{COMPANIES}: none of {rows.height} records can be used: {aside['reason'][0]}", CODE_FIX)
    kept = _located(kept, regions, forms)
    columns = ("name", "credit_code", "region_code", "region_label", "industry", "root", "source_cell")
    first = {name: pl.col(name).drop_nulls().first() for name in columns if name not in ("region_code", "region_label")}
    placed = pl.col("location") != "unlocated"
    where = {
        name: pl.coalesce(pl.col(name).filter(placed).first(), pl.col(name).drop_nulls().first())
        for name in ("location", "region_code", "region_label")
    }
    frame = kept.group_by("company_id", maintain_order=True).agg(**first, **where, records=pl.len().cast(pl.Int64))
    number = kept.with_columns(place=pl.int_range(pl.len()).over("company_id"))
    role = pl.when(pl.col("place") == 0).then(pl.lit("name")).otherwise(pl.lit("row"))
    unplaced = kept.filter((pl.col("location") == "unlocated") & pl.col("region_label").is_not_null())
    notes = {
        "records": rows.height,
        "companies": frame.height,
        **{where: int((frame["location"] == where).sum()) for where in ("city", "overseas", "unlocated")},
        "roots": int(frame["root"].is_not_null().sum()),
        "regions_not_found": unplaced["region_label"].unique().sort().head(20).to_list(),
    }
    edges = [make_edges(number, ["company_id"], COMPANY_RECORDS, ["source_cell"], role)]
    for what, says in (("place", placed), ("root", pl.col("root").is_not_null())):
        first_row = kept.filter(says).unique("company_id", keep="first", maintain_order=True)
        edges.append(make_edges(first_row, ["company_id"], COMPANY_RECORDS, ["source_cell"], what))
    return Table(frame, pl.concat(edges), set_aside(aside), notes)


def _located(rows: pl.DataFrame, regions: Regions, forms: Forms) -> pl.DataFrame:
    """The records with region_code and location."""
    asked = rows.select(
        label=pl.col("region_label").fill_null(""), year=pl.col("as_of").dt.year(), code_hint="code_hint",
        province_hint="province_hint",
    )  # fmt: skip
    cities = regions.table.filter(~pl.col("level").is_in(["nation", "province"]) | pl.col("kind").is_in(CITY_PROVINCES))
    found = match(asked, regions, level="city")["region_code"]
    here = rows.with_columns(found).with_columns(
        region_code=pl.when(pl.col("region_code").is_in(cities["region_code"].unique().implode())).then("region_code")
    )

    def plain(text: pl.Expr) -> pl.Expr:
        return text.str.normalize("NFKC").str.to_uppercase().str.strip_chars()

    country, label = plain(pl.col("country")), plain(pl.col("region_label"))
    abroad = country.is_not_null() & ~country.is_in(list(forms.home))
    outside = pl.col("region_code").str.slice(0, 2).is_in(OUTSIDE)
    overseas = abroad | outside.fill_null(False) | (country.is_null() & label.is_in(list(forms.overseas)))
    location = (
        pl.when(overseas.fill_null(False)).then(pl.lit("overseas"))
        .when(pl.col("region_code").is_not_null()).then(pl.lit("city")).otherwise(pl.lit("unlocated"))
    )  # fmt: skip
    return here.with_columns(location=location).with_columns(
        region_code=pl.when(pl.col("location") == "city").then("region_code")
    )


def set_aside(rows: pl.DataFrame) -> pl.DataFrame:
    """The quarantine of records of a register: place, reason, fix and what the row says."""
    parts = [split_source_cell(cell) for cell in rows["source_cell"]]
    places = {"sheet": [p[1] for p in parts], "cell": [p[2] for p in parts]}
    own = [c for c in ("name", "credit_code", "holder_label", "held_label", "share", "as_of") if c in rows.columns]
    return rows.with_columns(pl.Series(n, v, dtype=pl.String) for n, v in places.items()).select(
        *(pl.col(name).cast(pl.String) for name in QUARANTINE_COLUMNS), *own
    )


# -- control -----------------------------------------------------------------------------------------------------------
def current(rows: pl.DataFrame) -> pl.DataFrame:
    """The holdings in force in each year, with `year`: those of core/holdings that no later ones supersede."""
    dated = rows.with_columns(year=pl.col("as_of").dt.year().cast(pl.Int32))
    return dated.filter(pl.col("use") != "superseded").sort("year", *KEY)


def controlled_companies(rows: pl.DataFrame, register: pl.DataFrame) -> Table:
    """`core/controlled_companies`: what each root controls, or owns by more than half, in each year.

    Args:
        rows: core/holdings.
        register: core/companies; those with a mark in `root` are the roots.

    Returns:
        Table with key root_id, company_id, year; columns of `ownership.look_through`; `notes` name the groups of roots
        that are wholly owned by themselves. Edges to the holdings in the
        company (core/holdings): of members of the closure (role vote), of others that the root owns by more than half
        (role share); to the rows of those members (role holder); to the root and the company in core/companies (roles
        root, company).

    Raises:
        NothingToDo: no company is marked as a root, or no root holds anything.
        MethodError: see `ownership.network`; a large group that roots reach is almost wholly owned by itself.
    """
    roots = register.drop_nulls("root")["company_id"].sort()
    if not roots.len():
        raise NothingToDo("no company is marked as a root: fill in the column 根企业 root (`dei template companies`)")
    frames, edges, idle = [], [], {}
    closed: dict[str, list[str]] = {}
    for (year,), part in current(rows).filter(use="counted").partition_by("year", as_dict=True).items():
        holding = roots.filter(roots.is_in(part["holder_id"].unique().implode()))
        idle[str(year)] = roots.len() - holding.len()
        if not holding.len():
            continue
        net = ownership.network(part)
        closed |= {f"{year} {root}": group for root, group in ownership.closed_groups(net, holding.to_list()).items()}
        found = ownership.look_through(net, holding.to_list()).with_columns(year=pl.lit(year, pl.Int32))
        frames.append(found)
        edges += _edges(found, part, holding, register["company_id"])
    if not frames:
        raise NothingToDo(f"none of {roots.len()} roots holds anything: see the holders in {HOLDINGS}")
    frame = pl.concat(frames).sort(CONTROL_KEY)
    notes = {
        "roots": roots.len(),
        "roots_without_holdings": idle,
        "wholly_owned_by_themselves": closed,
        "controlled": frame.filter("controlled").select("year", "company_id").unique().height,
        "owned_without_control": frame.filter(~pl.col("controlled")).height,
    }
    return Table(frame, pl.concat(edges), notes=notes)


def _edges(found: pl.DataFrame, part: pl.DataFrame, roots: pl.Series, known: pl.Series) -> list[pl.DataFrame]:
    """Lineage of the controlled companies of one year."""
    itself = pl.DataFrame({"root_id": roots, "holder_id": roots, "member": True, "is_root": True})
    owners = found.select("root_id", holder_id="company_id", member="controlled", is_root=pl.lit(False))
    into = found.select(*CONTROL_KEY).join(part.select(KEY), left_on="company_id", right_on="held_id")
    into = into.join(pl.concat([itself, owners]), on=["root_id", "holder_id"]).sort(*CONTROL_KEY, "holder_id")
    role = pl.when("member").then(pl.lit("vote")).otherwise(pl.lit("share"))
    return [
        make_edges(into, CONTROL_KEY, HOLDINGS, ["holder_id", "company_id", "as_of"], role),
        make_edges(
            into.filter(~pl.col("is_root")), CONTROL_KEY, CONTROLLED, ["root_id", "holder_id", "year"], "holder"
        ),
        make_edges(found, CONTROL_KEY, COMPANIES, ["root_id"], "root"),
        make_edges(
            found.filter(pl.col("company_id").is_in(known.implode())), CONTROL_KEY, COMPANIES, ["company_id"], "company"
        ),
    ]


def ownership_cycles(rows: pl.DataFrame) -> Table:
    """`core/ownership_cycles`: companies that own some of themselves, directly or through others, by year.

    Args:
        rows: core/holdings; holdings in companies of which more than all is held are included.

    Returns:
        Table with key company_id, year; edges to the holdings between members of the group.

    Raises:
        NothingToDo: no company is on a cycle.
    """
    now = current(rows)
    frames = [
        ownership.cycles(part).with_columns(year=pl.lit(year, pl.Int32))
        for (year,), part in now.partition_by("year", as_dict=True).items()
    ]
    frame = pl.concat(frames).sort("company_id", "year")
    if not frame.height:
        raise NothingToDo("no company owns itself through a chain")
    group = frame.select("year", "company_id", "group_id")
    inner = now.join(group, left_on=["year", "held_id"], right_on=["year", "company_id"]).join(
        group.rename({"company_id": "holder_id"}), on=["year", "holder_id", "group_id"]
    )
    notes: dict[str, Any] = {"companies": frame.height, "of_themselves": int(frame["itself"].sum())}
    return Table(frame, make_edges(inner, ["held_id", "year"], HOLDINGS, KEY, "holding"), notes=notes)
