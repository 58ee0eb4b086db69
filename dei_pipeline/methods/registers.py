"""From registers of companies and of holdings to companies, holdings and what roots control: core tables with lineage.

A company is its unified social credit code, or else its name (`companies.name_id`). A holding counts once: of several
lists that state the same pair and date the latest edition counts. Self-holdings and the holdings in companies of which
more than all is held are kept, marked, and counted nowhere. Source: methodology §3.21, §0a «Ownership», §4 E1.
"""

from typing import Any

import polars as pl

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import ContractError, MethodError, NothingToDo
from dei_pipeline.methods import companies as names
from dei_pipeline.methods import ownership
from dei_pipeline.methods.companies import Forms
from dei_pipeline.methods.regions import Regions, match
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, make_edges, split_source_cell

COMPANY_RECORDS, HOLDING_RECORDS = "staging/company_records", "staging/holding_records"
COMPANIES, HOLDINGS, CONTROLLED = "core/companies", "core/holdings", "core/controlled_companies"
KEY = ["holder_id", "held_id", "as_of"]
CONTROL_KEY = ["root_id", "company_id", "year"]
OUTSIDE = ("71", "81", "82")  # codes of Taiwan, Hong Kong, Macao: outside the mainland, counted as overseas
CITY_PROVINCES = ("municipality", "sar")  # units of province level that are cities
SAME = 1e-9  # shares that differ by less are the same number
YEAR_FIX = "state the year in `FILE.meta.yml` beside the file (year: 2020) and ingest again"
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
        Table with key company_id; edges to staging/company_records (role name, of further records row). Quarantined:
        records that can mean several companies.

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
    edges = make_edges(number, ["company_id"], COMPANY_RECORDS, ["source_cell"], role)
    return Table(frame, edges, _aside(aside), notes)


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


def _none_known() -> pl.DataFrame:
    """A register of companies without rows."""
    return pl.DataFrame(schema=python_contracts()[COMPANY_RECORDS].schema)


def _called(rows: pl.DataFrame) -> pl.DataFrame:
    """What the companies of the registers are called: company_id, text, what; for `names.resolve`."""
    kinds = (("name", "name"), ("also_named", "alias"), ("credit_code", "code"), ("own_code", "code"))
    frames = [
        rows.select("company_id", text=_code(pl.col(column)) if what == "code" else pl.col(column), what=pl.lit(what))
        for column, what in kinds
    ]
    return pl.concat(frames).drop_nulls().unique(maintain_order=True)


def _code(text: pl.Expr) -> pl.Expr:
    """A code as compared: capitals without blanks, stock codes without their exchange («000858.SZ»)."""
    return text.str.to_uppercase().str.replace_all(r"\s", "").str.replace(r"^(\d{4,6})\.(?:SZ|SH|SS|BJ|HK)$", "${1}")


# -- holdings ----------------------------------------------------------------------------------------------------------
def holdings(records: pl.DataFrame, company_records: pl.DataFrame | None, forms: Forms) -> Table:
    """`core/holdings`: the share of one holder in one company at a date, holders and companies resolved.

    A holding without a date gets the date of the registers of companies, where they have one (`as_of_from`: register).
    The same pair several times on one list is summed. `use`: `counted`, `self_holding`, or `over_held` (all holdings in
    a company whose shares at the date sum to more than 1 + 1e-6).

    Args:
        records: staging/holding_records.
        company_records: staging/company_records; None without a register of companies.
        forms: the reviewed words of company names.

    Returns:
        Table with key holder_id, held_id, as_of. Edges to staging/holding_records (role share, coefficient 1; a list
        that repeats it: role repeat, 0). Quarantined: undated holdings, names and codes that can mean several
        companies or contradict each other, and a list that contradicts the one that counts.

    Raises:
        ContractError: no record can be used.
    """
    known = identified(_none_known() if company_records is None else company_records, forms)
    known = known.filter(pl.col("reason").is_null())
    rows = _dated(_resolved(records, known, forms), known)
    odd = rows.filter(pl.col("reason").is_not_null())
    kept, repeats, other = _one_list(rows.filter(pl.col("reason").is_null()))
    aside = _aside(pl.concat([odd, other], how="diagonal"))
    if not kept.height:
        first = aside.row(0, named=True)
        raise ContractError(
            f"{HOLDINGS}: none of {records.height} records can be used: {first['reason']}", first["fix"]
        )
    if kept.height + repeats.height + aside.height != records.height:
        raise MethodError(f"{HOLDINGS}: {records.height} records in, {kept.height + repeats.height + aside.height} out")
    first = {name: pl.col(name).first() for name in kept.columns if name not in ("share", *KEY)}
    frame = kept.group_by(KEY, maintain_order=True).agg(share=pl.col("share").sum(), **first)
    frame, over = _used(frame)
    notes = {
        "records": records.height,
        "holdings": frame.height,
        "repeats": repeats.height,
        "holders_by": _by(frame, "holder_how"),
        "companies_by": _by(frame.unique("held_id"), "held_how"),
        "self_holdings": int((frame["use"] == "self_holding").sum()),
        "over_held": [f"{name} {100 * total:.4g} %" for name, total in over.select("held_name", "total").iter_rows()],
        "legal_form_contradicts": rows.select(
            pl.concat_str("holder_label", pl.lit(" / "), "holder_near")
        ).to_series().drop_nulls().unique().sort().head(20).to_list(),
    }  # fmt: skip
    edges = [
        make_edges(kept, KEY, HOLDING_RECORDS, ["source_cell"], "share", 1.0),
        make_edges(repeats, KEY, HOLDING_RECORDS, ["source_cell"], "repeat", 0.0),
    ]
    return Table(frame, pl.concat(edges), aside, notes)


def _resolved(records: pl.DataFrame, known: pl.DataFrame, forms: Forms) -> pl.DataFrame:
    """The records with id, how, name and nearest name of both ends, or reason and fix."""
    called = _called(known)
    rows = records.with_columns(_code(pl.col("holder_code")), _code(pl.col("held_code")))
    sides = {side: {"name": f"{side}_label", "code": f"{side}_code"} for side in ("holder", "held")}
    asked = pl.concat([rows.select(**columns) for columns in sides.values()]).unique(maintain_order=True)
    found = names.resolve(asked, called, forms)
    own = (
        pl.when(pl.col("stem").str.len_chars() > 0)
        .then(names.name_id(pl.col("stem"), pl.col("form")))
        .otherwise(pl.concat_str(pl.lit("code:"), "code"))
    )
    credit = names.credit_code(pl.col("code"))
    found = found.with_columns(
        id=pl.when(pl.col("reason").is_null()).then(pl.coalesce("company_id", credit, own)),
        how=pl.col("how").fill_null("unregistered"),
    )
    for side, columns in sides.items():
        answers = found.select(
            **{column: pl.col(name) for name, column in columns.items()},
            **{f"{side}_{name}": name for name in ("id", "how", "near", "nominee", "reason", "fix")},
        )
        rows = rows.join(answers, on=list(columns.values()), how="left", nulls_equal=True, maintain_order="left")
    title = dict(known.select("company_id", "name").unique("company_id", keep="first", maintain_order=True).iter_rows())
    return rows.with_columns(
        *(
            pl.coalesce(
                pl.col(f"{side}_id").replace_strict(title, default=None, return_dtype=pl.String),
                f"{side}_label",
                f"{side}_code",
            ).alias(f"{side}_name")
            for side in sides
        ),
        reason=pl.coalesce("held_reason", "holder_reason"),
        fix=pl.coalesce("held_fix", "holder_fix"),
        nominee="holder_nominee",
    )


def _dated(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The records with the date of the registers of companies where they have none and those have one."""
    dates = known["as_of"].drop_nulls().unique()
    only = pl.lit(dates[0] if dates.len() == 1 else None, pl.Date)
    undated = pl.col("as_of").is_null()
    several = (
        "and the registers of companies have several dates" if dates.len() else "and no register of companies has one"
    )
    return rows.with_columns(
        as_of=pl.coalesce("as_of", only),
        as_of_from=pl.when(undated).then(pl.lit("register")).otherwise("as_of_from"),
        reason=pl.when(pl.col("reason").is_null() & undated & only.is_null())
        .then(pl.lit(f"no date is stated, {several}"))
        .otherwise("reason"),
        fix=pl.when(pl.col("reason").is_null() & undated & only.is_null()).then(pl.lit(YEAR_FIX)).otherwise("fix"),
    )


def _one_list(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The records of the list that counts for each pair and date, those that repeat it, those that contradict it."""
    at = pl.col("source_cell").str.replace(r"![A-Z]+\d+$", "")
    rows = rows.with_columns(list=at).sort(*KEY, "edition", "list", "source_cell", nulls_last=True,
        descending=[False, False, False, True, False, False])  # fmt: skip
    rows = rows.with_columns(
        counts=pl.col("list") == pl.col("list").first().over(KEY),
        said=pl.col("share").sum().over([*KEY, "list"]),
        first_cell=pl.col("source_cell").first().over(KEY),
    )
    rows = rows.with_columns(first_said=pl.col("said").first().over(KEY)).with_columns(
        same=(pl.col("said") - pl.col("first_said")).abs() <= SAME
    )
    other = rows.filter(~pl.col("counts") & ~pl.col("same")).with_columns(
        reason=pl.format("another list says {} % ({}), which counts", (100 * pl.col("first_said")).round(4),
                         "first_cell"),
        fix=pl.lit("withdraw one of the files (`dei sources withdraw`)"),
    )  # fmt: skip
    return rows.filter("counts"), rows.filter(~pl.col("counts") & pl.col("same")), other


def _used(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The holdings with `use`, and the companies of which more than all is held, with their totals."""
    itself = pl.col("holder_id") == pl.col("held_id")
    total = {"total": pl.col("share").sum(), "held_name": pl.col("held_name").first()}
    totals = frame.filter(~itself).group_by("held_id", "as_of", maintain_order=True).agg(**total)
    over = totals.filter(pl.col("total") > 1 + ownership.ROUNDING).sort("held_id", "as_of")
    marked = frame.join(
        over.select("held_id", "as_of", "total"), on=["held_id", "as_of"], how="left", maintain_order="left"
    )
    use = (
        pl.when(itself).then(pl.lit("self_holding"))
        .when(pl.col("total").is_not_null()).then(pl.lit("over_held")).otherwise(pl.lit("counted"))
    )  # fmt: skip
    return marked.with_columns(use=use, share=pl.min_horizontal("share", 1.0)).drop("total").sort(KEY), over


def _by(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().sort(column).iter_rows())


def _aside(rows: pl.DataFrame) -> pl.DataFrame:
    parts = [split_source_cell(cell) for cell in rows["source_cell"]]
    places = {"sheet": [p[1] for p in parts], "cell": [p[2] for p in parts]}
    own = [c for c in ("name", "credit_code", "holder_label", "held_label", "share", "as_of") if c in rows.columns]
    return rows.with_columns(pl.Series(n, v, dtype=pl.String) for n, v in places.items()).select(
        *(pl.col(name).cast(pl.String) for name in QUARANTINE_COLUMNS), *own
    )


# -- control -----------------------------------------------------------------------------------------------------------
def current(rows: pl.DataFrame) -> pl.DataFrame:
    """The holdings in force by year: year, holder_id, held_id, as_of, share, use; of each company its latest date."""
    dated = rows.with_columns(year=pl.col("as_of").dt.year().cast(pl.Int32))
    return dated.filter(pl.col("as_of") == pl.col("as_of").max().over("held_id", "year")).sort("year", *KEY)


def controlled_companies(rows: pl.DataFrame, register: pl.DataFrame) -> Table:
    """`core/controlled_companies`: what each root controls, or owns by more than half, in each year.

    Args:
        rows: core/holdings.
        register: core/companies; those with a mark in `root` are the roots.

    Returns:
        Table with key root_id, company_id, year; columns of `ownership.look_through`. Edges to the holdings in the
        company (core/holdings): of members of the closure (role vote), of others that the root owns by more than half
        (role share); and to the rows of those members (role holder).

    Raises:
        NothingToDo: no company is marked as a root, or no root holds anything.
        MethodError: see `ownership.network`; a group that roots reach is wholly owned by itself.
    """
    roots = register.drop_nulls("root")["company_id"].sort()
    if not roots.len():
        raise NothingToDo("no company is marked as a root: fill in the column 根企业 root (`dei template companies`)")
    frames, edges, idle = [], [], {}
    for (year,), part in current(rows).filter(use="counted").partition_by("year", as_dict=True).items():
        holding = roots.filter(roots.is_in(part["holder_id"].unique().implode()))
        idle[str(year)] = roots.len() - holding.len()
        if not holding.len():
            continue
        found = ownership.look_through(part, holding.to_list()).with_columns(year=pl.lit(year, pl.Int32))
        frames.append(found)
        edges += _edges(found, part, holding)
    if not frames:
        raise NothingToDo(f"none of {roots.len()} roots holds anything: see the holders in {HOLDINGS}")
    frame = pl.concat(frames).sort(CONTROL_KEY)
    notes = {
        "roots": roots.len(),
        "roots_without_holdings": idle,
        "controlled": frame.filter("controlled").select("year", "company_id").unique().height,
        "owned_without_control": frame.filter(~pl.col("controlled")).height,
    }
    return Table(frame, pl.concat(edges), notes=notes)


def _edges(found: pl.DataFrame, part: pl.DataFrame, roots: pl.Series) -> list[pl.DataFrame]:
    """Lineage of the controlled companies of one year."""
    itself = pl.DataFrame({"root_id": roots, "holder_id": roots, "member": True, "is_root": True})
    owners = found.select("root_id", holder_id="company_id", member="controlled", is_root=pl.lit(False))
    into = found.select(*CONTROL_KEY).join(part.drop("year", "share", "use"), left_on="company_id", right_on="held_id")
    into = into.join(pl.concat([itself, owners]), on=["root_id", "holder_id"]).sort(*CONTROL_KEY, "holder_id")
    role = pl.when("member").then(pl.lit("vote")).otherwise(pl.lit("share"))
    return [
        make_edges(into, CONTROL_KEY, HOLDINGS, ["holder_id", "company_id", "as_of"], role),
        make_edges(
            into.filter(~pl.col("is_root")), CONTROL_KEY, CONTROLLED, ["root_id", "holder_id", "year"], "holder"
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
