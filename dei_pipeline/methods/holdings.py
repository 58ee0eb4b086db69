"""From lists of holdings to who holds what share of whom at a date: `core/holdings`, with lineage.

Who is in no register of companies is known by what the lists say: a code and the name beside it are one company, and so
are two names of one stem and form. A holding counts once: of several lists that state the same pair and date the latest
edition counts. Within a year a later list of a company replaces the earlier ones as a whole, as complete lists of
holders do; the dates of one list are those of its holdings, and all are in force, of one pair the latest. Self-holdings
and the holdings in companies of which more than all is held are kept, marked, and counted nowhere. Source: methodology
§3.21, §0a «Ownership», §4 E1.
"""

import polars as pl

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import ContractError, MethodError
from dei_pipeline.methods import companies as names
from dei_pipeline.methods.companies import Forms
from dei_pipeline.methods.ownership import ROUNDING
from dei_pipeline.methods.registers import COMPANY_RECORDS, HOLDINGS, KEY, identified, set_aside
from dei_pipeline.provenance import Table, make_edges

HOLDING_RECORDS = "staging/holding_records"
SIDES = ("holder", "held")
SAME = 1e-9  # shares that differ by less are the same number
YEAR_FIX = "state the year in `FILE.meta.yml` beside the file (year: 2020) and ingest again"


def holdings(records: pl.DataFrame, company_records: pl.DataFrame | None, forms: Forms) -> Table:
    """`core/holdings`: the share of one holder in one company at a date, holders and companies resolved.

    A holding without a date gets the date of the registers of companies, where they have one (`as_of_from`: register).
    The same pair several times on one list is summed. `use`: `counted`; `superseded` (a later list of the company in
    the year, or a later date of the pair); `self_holding`; or `over_held` (all holdings in a company whose shares in
    force in the year sum to more than 1 + 1e-6).

    Args:
        records: staging/holding_records.
        company_records: staging/company_records; None without a register of companies.
        forms: the reviewed words of company names.

    Returns:
        Table with key holder_id, held_id, as_of. Edges to staging/holding_records (role share, coefficient 1; a list
        that repeats it: role repeat, 0), to the row of a register or list that tells who an end is (role identity) and
        of the register that dates it (role date). Quarantined: undated holdings, names and codes that can mean several
        companies or contradict each other, and a list that contradicts the one that counts.

    Raises:
        ContractError: no record can be used.
    """
    known = identified(_none_known() if company_records is None else company_records, forms)
    known = known.filter(pl.col("reason").is_null())
    rows = _dated(_resolved(records, known, forms), known)
    odd = rows.filter(pl.col("reason").is_not_null())
    kept, repeats, other = _one_list(_in_force(rows.filter(pl.col("reason").is_null())))
    aside = set_aside(pl.concat([odd, other], how="diagonal"))
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
        "superseded": int((frame["use"] == "superseded").sum()),
        "self_holdings": int((frame["use"] == "self_holding").sum()),
        "over_held": [f"{name} {100 * total:.4g} %" for name, total in over.select("held_name", "total").iter_rows()],
        "legal_form_contradicts": rows.select(
            pl.concat_str("holder_label", pl.lit(" / "), "holder_near")
        ).to_series().drop_nulls().unique().sort().head(20).to_list(),
    }  # fmt: skip
    return Table(frame, _edges(kept, repeats, known), aside, notes)


def _none_known() -> pl.DataFrame:
    """A register of companies without rows."""
    return pl.DataFrame(schema=python_contracts()[COMPANY_RECORDS].schema)


def _edges(kept: pl.DataFrame, repeats: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Lineage of the holdings."""
    dated = known.drop_nulls("as_of").head(1).select(dated_by="source_cell")
    edges = [
        make_edges(kept, KEY, HOLDING_RECORDS, ["source_cell"], "share", 1.0),
        make_edges(repeats, KEY, HOLDING_RECORDS, ["source_cell"], "repeat", 0.0),
        make_edges(kept.filter(as_of_from="register").join(dated, how="cross"), KEY, COMPANY_RECORDS, ["dated_by"],
                   "date"),
    ]  # fmt: skip
    for side in SIDES:
        said = f"{side}_said"
        registered = pl.col(said).is_in(known["source_cell"].implode())
        listed = ~registered & (pl.col(said) != pl.col("source_cell"))
        edges.append(make_edges(kept.filter(registered), KEY, COMPANY_RECORDS, [said], "identity"))
        edges.append(make_edges(kept.filter(listed), KEY, HOLDING_RECORDS, [said], "identity"))
    return pl.concat(edges).unique(maintain_order=True)


def _by(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().sort(column).iter_rows())


# -- who is who --------------------------------------------------------------------------------------------------------
def _resolved(records: pl.DataFrame, known: pl.DataFrame, forms: Forms) -> pl.DataFrame:
    """The records with id, how, name and nearest name of both ends and the row that tells it, or reason and fix."""
    rows = records.with_columns(_code(pl.col("holder_code")), _code(pl.col("held_code")))
    sides = {side: {"name": f"{side}_label", "code": f"{side}_code"} for side in SIDES}
    asked = pl.concat([rows.select(**columns, row="source_cell") for columns in sides.values()])
    asked = asked.unique(["name", "code"], keep="first", maintain_order=True)
    registered = _registered(known)
    first = names.resolve(asked, registered, forms)
    found = names.resolve(asked, pl.concat([registered, _listed(first, registered, forms)]), forms)
    title = known.unique("company_id", keep="first", maintain_order=True)
    own = pl.coalesce(_own_id(), pl.concat_str(pl.lit("code:"), "code"))
    told = pl.col("company_id").is_in(title["company_id"].implode())
    found = found.with_columns(
        id=pl.when(pl.col("reason").is_null()).then(pl.coalesce("company_id", own)),
        how=pl.when(told).then(pl.coalesce(first["how"], "how")).otherwise(pl.lit("unregistered")),
        said=pl.coalesce(first["said"], "said"),
        near=first["near"],
    )
    for side, columns in sides.items():
        answers = found.select(
            **{column: pl.col(name) for name, column in columns.items()},
            **{f"{side}_{name}": name for name in ("id", "how", "near", "nominee", "said", "reason", "fix")},
        )
        rows = rows.join(answers, on=list(columns.values()), how="left", nulls_equal=True, maintain_order="left")
    title_of = dict(title.select("company_id", "name").iter_rows())
    return rows.with_columns(
        *(
            pl.coalesce(
                pl.col(f"{side}_id").replace_strict(title_of, default=None, return_dtype=pl.String),
                f"{side}_label",
                f"{side}_code",
            ).alias(f"{side}_name")
            for side in sides
        ),
        reason=pl.coalesce("held_reason", "holder_reason"),
        fix=pl.coalesce("held_fix", "holder_fix"),
        nominee="holder_nominee",
    )


def _registered(rows: pl.DataFrame) -> pl.DataFrame:
    """What the registers call their companies, for `names.resolve`; rows that state a credit code first."""
    kinds = (("name", "name"), ("also_named", "alias"), ("credit_code", "code"), ("own_code", "code"))
    rows = rows.sort(pl.col("credit_code").is_null(), maintain_order=True)
    frames = [
        rows.select("company_id", text=_code(pl.col(column)) if what == "code" else pl.col(column), what=pl.lit(what),
                    said="source_cell")
        for column, what in kinds
    ]  # fmt: skip
    return pl.concat(frames).drop_nulls().unique(["company_id", "text", "what"], keep="first", maintain_order=True)


def _listed(first: pl.DataFrame, registered: pl.DataFrame, forms: Forms) -> pl.DataFrame:
    """What the lists call companies beyond the registers, for `names.resolve`.

    Codes and names of one row are one company: of the registers, if they know either, else one of its own. So is each
    name with a legal form that nothing else explains; of a name without a form nothing more is known than itself.

    Args:
        first: names and codes of the lists, resolved by the registers alone, with `row`.
        registered: what the registers call their companies.
        forms: the reviewed words of company names.
    """
    coded = first.filter(pl.col("code").is_not_null() & pl.col("reason").is_null()).sort(
        "code", "name", nulls_last=True
    )
    found = coded.filter(pl.col("how").is_in(["code", "name", "alias"])).with_columns(what=pl.lit("alias"))
    fresh = coded.filter(pl.col("company_id").is_null())
    known = found.select("code", "company_id", "what").unique(maintain_order=True)
    alike = fresh.drop("company_id").join(known, on="code", maintain_order="left")
    fresh = fresh.join(known, on="code", how="anti", maintain_order="left").with_columns(
        own=_own_id().drop_nulls().first().over("code"), what=pl.lit("name")
    )
    alone = pl.col("code").n_unique().over("own") == 1
    fresh = fresh.with_columns(
        company_id=pl.coalesce(
            names.credit_code(pl.col("code")),
            pl.when(alone).then("own"),
            pl.concat_str(pl.lit("code:"), "code"),
        )
    )
    pairs = pl.concat([found, alike, fresh], how="diagonal")
    by_code = pl.concat(
        [
            pairs.select("company_id", text="name", what="what", said="row"),
            pairs.select("company_id", text="code", what=pl.lit("code"), said="row"),
        ]
    ).drop_nulls("text")
    by_code = by_code.join(registered, on=["company_id", "text", "what"], how="anti", maintain_order="left")
    named = first.filter(
        pl.col("code").is_null() & pl.col("form").is_not_null() & pl.col("beneficiary").is_null()
        & pl.col("company_id").is_null() & pl.col("reason").is_null()
    ).select("name", "code", "row")  # fmt: skip
    left = names.resolve(named, pl.concat([registered, by_code]), forms)
    left = left.filter(pl.col("company_id").is_null() & pl.col("reason").is_null())
    by_name = left.select(company_id=_own_id(), text="name", what=pl.lit("name"), said="row")
    return pl.concat([by_code, by_name]).unique(["company_id", "text", "what"], keep="first", maintain_order=True)


def _own_id() -> pl.Expr:
    """The id of who has only a name; null without a letter or digit in it."""
    stem = pl.col("stem")
    return pl.when(stem.str.len_chars() > 0).then(names.name_id(stem, pl.col("form")))


def _code(text: pl.Expr) -> pl.Expr:
    """A code as compared: of normal width, in capitals without blanks, stock codes without their exchange."""
    plain = text.str.normalize("NFKC").str.to_uppercase().str.replace_all(r"\s", "")
    return plain.str.replace(r"^(\d{4,6})\.(?:SZ|SH|SS|BJ|HK)$", "${1}")


# -- dates and lists ---------------------------------------------------------------------------------------------------
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


def _in_force(rows: pl.DataFrame) -> pl.DataFrame:
    """The records with `list` (file and sheet), `year`, and whether the holding is `superseded` within its year.

    A list of a company is as new as its newest holding in it, self-holdings aside; the newest lists count, together if
    they are of one date. A holding is on every list that states it, whichever of them gives its share.
    """
    rows = rows.with_columns(
        list=pl.col("source_cell").str.replace(r"![A-Z]+\d+$", ""), year=pl.col("as_of").dt.year().cast(pl.Int32)
    )
    itself = pl.col("holder_id") == pl.col("held_id")
    others = pl.when(~itself).then("as_of")
    newest = others.max().over("held_id", "year", "list") == others.max().over("held_id", "year")
    rows = rows.with_columns(listed=itself | newest.fill_null(False)).with_columns(pl.col("listed").any().over(KEY))
    latest = pl.when("listed").then("as_of").max().over("holder_id", "held_id", "year")
    return rows.with_columns(superseded=~(pl.col("listed") & (pl.col("as_of") == latest))).drop("listed")


def _one_list(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The records of the list that counts for each pair and date, those that repeat it, those that contradict it."""
    rows = rows.sort(*KEY, "edition", "list", "source_cell", nulls_last=True,
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
    in_force = frame.filter(~itself & ~pl.col("superseded"))
    totals = in_force.group_by("held_id", "year", maintain_order=True).agg(**total)
    over = totals.filter(pl.col("total") > 1 + ROUNDING).sort("held_id", "year")
    marked = frame.join(
        over.select("held_id", "year", "total"), on=["held_id", "year"], how="left", maintain_order="left"
    )
    use = (
        pl.when("superseded").then(pl.lit("superseded")).when(itself).then(pl.lit("self_holding"))
        .when(pl.col("total").is_not_null()).then(pl.lit("over_held")).otherwise(pl.lit("counted"))
    )  # fmt: skip
    return marked.with_columns(use=use, share=pl.min_horizontal("share", 1.0)).drop("total").sort(KEY), over
