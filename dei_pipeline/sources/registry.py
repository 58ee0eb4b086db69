"""Registers of companies and of holdings: recognised by their columns, every cell with a role or in quarantine.

A register has one company, or one holding, a row. Shares are percentages or fractions: a sign in the cell («60%»)
wins over the unit in the head, which wins over the numbers of the column: one above 1 shows percentages, companies
whose holders together hold 1, as in complete lists, show fractions. Where a number could be either it is not guessed.
`records` gives the rows, `read_registers` the roles of all cells, from one reading.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import polars as pl

from dei_pipeline.methods.companies import credit_code
from dei_pipeline.methods.ownership import ROUNDING
from dei_pipeline.sources.expert_sheets import MEND, PERCENT, read_forms, role_cells
from dei_pipeline.sources.labels import clean, number_expr, region_label_expr, year_in_name, year_in_title
from dei_pipeline.sources.layouts import Reference
from dei_pipeline.sources.registry_heads import COMPANIES, HOLDINGS, Header, find_header, root_kind
from dei_pipeline.sources.workbook import Reading

KINDS = {COMPANIES: "companies", HOLDINGS: "holdings"}  # what `dei ingest` and `dei template` call them
COMPLETE = 0.01  # by which the printed fractions of all holders of a company may miss 1: three thirds are 0.99
TOTAL = r"^(?:合计|总计|小计|共计|total|sum)$"
DATE = r"^'?((?:19|20)\d{2})\s*[-/.年]?\s*(\d{1,2})?\s*[-/.月]?\s*(\d{1,2})?\s*日?(?:[T ][\d:.]+)?$"
CREDIT_CODE = r"(?i)^[\s\-_']*(?:[0-9A-Z][\s\-_']*){18}$"  # what is meant as one
CITY_IN_ADDRESS = r"^(?:\p{Han}{2,7}?(?:省|自治区))?(\p{Han}{2,8}?(?:自治州|地区|市|州|盟))"
OF_ROW: Mapping[str, Mapping[str, Mapping[str, str]]] = {  # what the cell of a column says of its row
    HOLDINGS: {
        "share": {"text": "printed", "kind": "share_kind", "number": "given", "source_cell": "share_cell"},
        "holder": {"text": "holder_label", "source_cell": "holder_cell", "row_span": "holder_span"},
        "held": {"text": "held_label", "source_cell": "held_cell", "row_span": "held_span"},
        "holder_code": {"text": "holder_code", "source_cell": "holder_code_cell", "row_span": "holder_code_span"},
        "held_code": {"text": "held_code", "source_cell": "held_code_cell", "row_span": "held_code_span"},
        "date": {"text": "date_text", "source_cell": "date_cell"},
        "year": {"text": "year_text", "source_cell": "year_cell"},
    },
    COMPANIES: {
        "name": {"text": "name", "source_cell": "name_cell"},
        "alias": {"text": "also_named", "source_cell": "alias_cell"},
        "credit_code": {"text": "code_text", "source_cell": "credit_code_cell"},
        "code": {"text": "own_code", "source_cell": "code_cell"},
        "region": {"text": "region_text", "source_cell": "region_cell"},
        "region_code": {"text": "code_hint", "source_cell": "region_code_cell"},
        "province": {"text": "province_hint", "source_cell": "province_cell"},
        "address": {"text": "address", "source_cell": "address_cell"},
        "country": {"text": "country", "source_cell": "country_cell"},
        "industry": {"text": "industry", "source_cell": "industry_cell"},
        "root": {"text": "root_text", "source_cell": "root_cell"},
        "date": {"text": "date_text", "source_cell": "date_cell"},
        "year": {"text": "year_text", "source_cell": "year_cell"},
    },
}  # fmt: skip
ROLES = {  # role of a cell by the role of its column
    "share": "value", "name": "value", "holder": "holder", "held": "held", "holder_code": "attribute",
    "held_code": "attribute", "credit_code": "credit_code", "region": "region_label", "country": "country",
    "address": "address", "industry": "item_kind", "root": "root", "date": "date", "year": "year_label",
}  # fmt: skip
_STRING = pl.lit(None, pl.String)


@dataclass(frozen=True)
class _Register:
    """One register as read: its header, title and date, its cells above and below with what their rows say."""

    header: Header
    title: str
    year: int | None
    year_from: str | None
    upper: pl.DataFrame
    body: pl.DataFrame


def read_registers(
    cells: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference
) -> tuple[Reading, pl.DataFrame]:
    """The reading of the sheets of a file that are registers, with their help sheet, and all other cells.

    Args:
        cells: raw/cells rows of one file.
        manifest: its manifest: `sha256`, `file`; optional `edition`, `year`, `source_id`.
        reference: blank marks, note patterns, headings of region columns.
    """

    def read(sheet: pl.DataFrame, header: Header) -> tuple[pl.DataFrame, Mapping[str, Any]]:
        found = _read(sheet, header, manifest, reference)
        return _page_cells(found, reference), _page(found, manifest)

    return read_forms(cells, manifest, lambda sheet: find_header(sheet, manifest, reference), read)


def records(sheet: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference) -> pl.DataFrame:
    """The rows of one register as labelled there, by row; those in quarantine left out.

    Args:
        sheet: raw/cells rows of a sheet that `read_registers` took for a register.
        manifest: as there.
        reference: as there.
    """
    header = find_header(sheet, manifest, reference)
    if header is None:
        return pl.DataFrame()
    found = _read(sheet, header, manifest, reference)
    main = pl.col("source_cell") == pl.col("blamed")
    rows = found.body.filter(main & (pl.col("r_role") == "record") & pl.col("why").is_null())
    return rows.sort("row").with_columns(raw_text=pl.col("text"), named_by=pl.lit(header.named and header.named[0]))


def _read(sheet: pl.DataFrame, header: Header, manifest: Mapping[str, Any], reference: Reference) -> _Register:
    upper = sheet.filter(pl.col("row") <= header.row).sort("row", "col")
    above = upper.filter((pl.col("row") < header.row) & (pl.col("kind") == "text"))["text"].to_list()
    titles = [clean(text) for text in above]
    stem = PurePath(str(manifest.get("file") or "")).stem
    sides = [*(("title", year_in_title(text)) for text in titles), ("sheet", year_in_title(str(sheet["sheet"][0]))),
             ("sidecar", manifest.get("year")), ("filename", year_in_name(stem))]  # fmt: skip
    origin, year = next(((o, int(y)) for o, y in sides if y is not None), (None, None))
    body = _body(sheet.filter(pl.col("row") > header.row), header, year, origin, reference)
    return _Register(header, titles[0] if titles else "", year, origin, upper, body)


def _page(found: _Register, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What staging/pages says of a register."""
    years = found.body["as_of"].dt.year().drop_nulls() if found.body.height else pl.Series(dtype=pl.Int32)
    edition = manifest.get("edition") or (years.max() if years.len() else found.year)
    header, named = found.header, found.header.named
    return {
        "layout": header.kind, "source_id": KINDS[header.kind], "title": found.title, "year": found.year,
        "year_from": found.year_from or ("column" if years.len() else None), "unit_text": header.unit or None,
        "header_first_row": header.row, "header_last_row": header.row,
        "note": f"{named[0]}: «{named[1]}», after the name of the sheet or file" if named else None,
        "edition": None if edition is None else str(edition),
    }  # fmt: skip


# -- rows --------------------------------------------------------------------------------------------------------------
def _body(
    cells: pl.DataFrame, header: Header, year: int | None, origin: str | None, reference: Reference
) -> pl.DataFrame:
    """The cells below the header with the role of their row and what it says; `reason` and `fix` at the cell to blame.

    Holdings blame the cell of the share, or the first of the row without one; companies the name. Codes and marks that
    cannot be read blame themselves.
    """
    columns = header.columns.with_columns(pl.col("col").cast(cells.schema["col"]))
    body = cells.join(columns, on="col", how="left", maintain_order="left").sort("row", "col")
    rows = _rows(body, header, year, origin, reference)
    rows = _holdings(rows, header, reference) if header.kind == HOLDINGS else _companies(rows)
    return body.join(rows, on="row", how="left", maintain_order="left").pipe(_judged, header)


def _rows(
    body: pl.DataFrame, header: Header, year: int | None, origin: str | None, reference: Reference
) -> pl.DataFrame:
    """One row per row of the sheet: what its cells say, its role (`record`, `note`, `header`, `total`), its date."""
    order = pl.col("col")
    blank = pl.col("text").str.strip_chars().is_in(list(reference.blank_marks)) & (pl.col("kind") == "text")
    told = [
        pl.col(column)
        .filter((pl.col("c_role") == role) & ~blank)
        .sort_by(order.filter((pl.col("c_role") == role) & ~blank))
        .first()
        .alias(name)
        for role, columns in OF_ROW[header.kind].items()
        for column, name in columns.items()
    ]
    text = pl.col("text")
    rows = body.group_by("row").agg(
        *told,
        n=pl.len(),
        first=text.sort_by(order).first(),
        r_first_cell=pl.col("source_cell").sort_by(order).first(),
        heads=text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[^0-9a-z\p{Han}]", "").is_in(
            list(header.labels)).sum(),
    ).sort("row")  # fmt: skip
    plain = pl.col("first").str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", "")
    note = pl.col("first").str.contains(reference.note_pattern) | pl.col("first").str.contains(reference.advert_pattern)
    role = (
        pl.when((pl.col("n") <= 2) & note).then(pl.lit("note"))
        .when((pl.col("n") > 1) & (pl.col("heads") == pl.col("n"))).then(pl.lit("header"))
        .when(plain.str.contains(TOTAL)).then(pl.lit("total")).otherwise(pl.lit("record"))
    )  # fmt: skip
    parts = pl.coalesce("date_text", "year_text").str.normalize("NFKC").str.extract_groups(DATE)
    y, m, d = (parts.struct.field(str(at)).cast(pl.Int32, strict=False) for at in (1, 2, 3))
    first_day = pl.date(y, m.fill_null(12), d.fill_null(1))
    own = pl.when(d.is_null()).then(first_day.dt.month_end()).otherwise(first_day)
    given = pl.coalesce("date_text", "year_text").is_not_null()
    other = pl.date(pl.lit(year, pl.Int32), 12, 31)
    return rows.with_columns(r_role=role).with_columns(
        as_of=pl.when(given).then(own).otherwise(other),
        as_of_from=pl.when(given).then(pl.lit("column")).otherwise(pl.lit(origin, pl.String)),
        bad_date=given & own.is_null(),
    )


def _filled(rows: pl.DataFrame, name: str, *more: str) -> pl.DataFrame:
    """The rows with what a merged cell says in every row that it covers."""
    last = (pl.col("row") + pl.col(f"{name}_span") - 1).forward_fill()
    return rows.with_columns(pl.when(pl.col("row") <= last).then(pl.col(column).forward_fill()).alias(column)
                             for column in more)  # fmt: skip


def _holdings(rows: pl.DataFrame, header: Header, reference: Reference) -> pl.DataFrame:
    """Rows with share (of 1), its printed value and unit, names filled from merged cells, and what is wrong."""
    for name, more in (("holder", ("holder_label", "holder_cell")), ("held", ("held_label", "held_cell")),
                       ("holder_code", ("holder_code", "holder_code_cell")),
                       ("held_code", ("held_code", "held_code_cell"))):  # fmt: skip
        rows = _filled(rows, name, *more)
    if header.named:
        rows = rows.with_columns(pl.lit(header.named[1]).alias(f"{header.named[0]}_label"))
    number = pl.when(pl.col("share_kind") == "number").then("given").when(pl.col("share_kind") == "text").then(
        number_expr(pl.col("printed")))  # fmt: skip
    rows = rows.with_columns(
        value=number,
        signed=((pl.col("share_kind") == "text") & pl.col("printed").str.contains(PERCENT)).fill_null(False),
        **{name: _name(pl.col(name)) for name in ("holder_label", "held_label", "holder_code", "held_code")},
    )
    for name in ("holder_code", "held_code"):
        wrong = pl.col(name).str.normalize("NFKC").str.contains(CREDIT_CODE) & credit_code(pl.col(name)).is_null()
        rows = rows.with_columns(wrong.fill_null(False).alias(f"bad_{name}"))
        rows = rows.with_columns(pl.when(~pl.col(f"bad_{name}")).then(name).alias(name))
    plain = rows.filter(~pl.col("signed") & (pl.col("r_role") == "record"))["value"].drop_nulls()
    unit = header.unit or ("percent" if (plain > 1).any() else "ratio")
    unknown = not header.unit and unit == "ratio" and not _complete(rows)
    guessed = pl.lit(not header.unit and unit == "percent") & ~pl.col("signed") & (pl.col("value") <= 1)
    percent = pl.col("signed") | pl.lit(unit == "percent")
    rows = rows.with_columns(unit=pl.when(percent).then(pl.lit("percent")).otherwise(pl.lit("ratio"))).with_columns(
        share=pl.col("value") / pl.when(percent).then(100.0).otherwise(1.0)
    )
    total = pl.col("share").filter(pl.col("value") > 0).sum().over(pl.coalesce("held_code", "held_label"))
    either = (guessed & (total - pl.col("share") + pl.col("value") <= 1 + ROUNDING)) | (
        pl.lit(unknown) & ~pl.col("signed") & (pl.col("value") > 0)
    )
    nothing = pl.col("holder_label").is_null() & pl.col("share_cell").is_null()
    return _reasoned(
        rows,
        [
            (nothing, pl.lit("its row states neither a holder nor a share"), f"fill it in, or remove the row: {MEND}"),
            (pl.coalesce("held_label", "held_code").is_null(), pl.lit("its row names no company that is held"),
             f"fill it in, or merge its cell over the rows of its holders: {MEND}"),
            (pl.coalesce("holder_label", "holder_code").is_null(), pl.lit("its row names no holder"),
             f"fill it in, or remove the row: {MEND}"),
            (pl.col("share_cell").is_null(), pl.lit("no share is stated"), f"fill it in, or remove the row: {MEND}"),
            (pl.col("value").is_null(), pl.lit("the share is no number"), f"write it as 60% or 0.6: {MEND}"),
            (either, pl.format("«{}» may be {} % or {} %", pl.col("printed"), pl.col("value"), pl.col("value") * 100),
             f"head the column 持股比例(%) or 持股比例(0-1), or write the sign: {MEND}"),
            (pl.col("value") == 0, pl.lit("the share is printed as 0"), f"write decimals, or remove the row: {MEND}"),
            ((pl.col("value") < 0) | (pl.col("share") > 1 + ROUNDING),
             pl.format("a share of «{}» is not from 0 to 100 %", "printed"), f"correct it: {MEND}"),
            (pl.col("bad_date"), pl.format("«{}» is no date", pl.coalesce("date_text", "year_text")),
             f"write it as 2020-12-31: {MEND}"),
        ],
    ).with_columns(share=pl.min_horizontal("share", 1.0), blamed=pl.coalesce("share_cell", "r_first_cell"))  # fmt: skip


def _complete(rows: pl.DataFrame) -> bool:
    """Whether the numbers without sign are fractions: most companies with several holders are held to 1."""
    plain = rows.filter(~pl.col("signed") & (pl.col("r_role") == "record") & (pl.col("value") > 0))
    held = plain.group_by(pl.coalesce("held_code", "held_label")).agg(pl.col("value").sum(), holders=pl.len())
    whole = held.filter(pl.col("holders") > 1)["value"].is_between(1 - COMPLETE - ROUNDING, 1 + COMPLETE + ROUNDING)
    return bool(whole.len() and whole.mean() > 0.5)  # type: ignore[operator]


def _companies(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with credit code, region and mark of the root as read, and what is wrong."""
    marks = {text: root_kind(text) for text in rows["root_text"].drop_nulls().unique()}
    readable = {text: kind for text, kind in marks.items() if kind is not None}
    code = pl.col("code_text").str.replace_all(r"\s", "")
    region = region_label_expr(pl.col("region_text")).replace("", None)
    address = pl.col("address").str.normalize("NFKC").str.extract(CITY_IN_ADDRESS, 1)
    rows = rows.with_columns(
        name=_name(pl.col("name")),
        also_named=_name(pl.col("also_named")),
        credit_code=credit_code(pl.col("code_text")),
        older_code=pl.when(code.str.contains(r"^(?:\d{15}|\d{13}|[0-9A-Z]{8}-?[0-9X])$")).then(code),
        region_label=pl.coalesce(region, address),
        place_cell=pl.when(region.is_not_null()).then("region_cell").when(address.is_not_null()).then("address_cell"),
        root=pl.col("root_text").replace_strict(readable, default=None, return_dtype=pl.String).replace("", None),
        bad_root=pl.col("root_text").is_in([text for text, kind in marks.items() if kind is None]),
    )
    rows = rows.with_columns(
        own_code=pl.coalesce("own_code", "older_code"),
        bad_code=pl.coalesce("credit_code", "older_code").is_null() & pl.col("code_text").is_not_null(),
    )
    return _reasoned(
        rows,
        [
            (pl.col("name").is_null(), pl.lit("its row names no company"), f"fill it in, or remove the row: {MEND}"),
            (pl.col("bad_date"), pl.format("«{}» is no date", pl.coalesce("date_text", "year_text")),
             f"write it as 2020-12-31: {MEND}"),
        ],
    ).with_columns(blamed=pl.coalesce("name_cell", "r_first_cell"))  # fmt: skip


def _name(text: pl.Expr) -> pl.Expr:
    """A name or code on one line; null without a letter or digit."""
    plain = text.str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(plain.str.contains(r"[\p{L}\p{N}]")).then(plain)


def _reasoned(rows: pl.DataFrame, rules: list[tuple[pl.Expr, pl.Expr, str]]) -> pl.DataFrame:
    """The rows with `why` and `how`, of the first rule that a record breaks."""
    reason, fix = _STRING, _STRING
    for test, what, how in reversed(rules):
        holds = test.fill_null(False) & (pl.col("r_role") == "record")
        reason = pl.when(holds).then(what).otherwise(reason)
        fix = pl.when(holds).then(pl.lit(how)).otherwise(fix)
    return rows.with_columns(why=reason, how=fix)


def _judged(body: pl.DataFrame, header: Header) -> pl.DataFrame:
    """The cells with `reason` and `fix` at those to blame."""
    here = pl.col("source_cell") == pl.col("blamed")
    reason: pl.Expr = pl.when(here).then("why")
    fix: pl.Expr = pl.when(here).then("how")
    record, at = pl.col("r_role") == "record", pl.col("c_role")
    if header.kind == COMPANIES:
        code, mark = (at == "credit_code") & pl.col("bad_code"), (at == "root") & pl.col("bad_root")
        reason = pl.when(record & mark).then(pl.format("«{}» is no kind of root enterprise", "text")).otherwise(reason)
        kinds = "write 数字产业化 digital_industrialisation, or 产业数字化 industry_digitalisation"
        fix = pl.when(record & mark).then(pl.lit(f"{kinds}: {MEND}")).otherwise(fix)
    else:
        code = pl.any_horizontal((at == name) & pl.col(f"bad_{name}") for name in ("holder_code", "held_code"))
    wrong = pl.format("«{}» is no unified social credit code: length or check character (GB 32100-2015)", "text")
    mend = pl.lit(f"correct it, or leave it out and the name counts: {MEND}")
    return body.with_columns(
        reason=pl.when(record & code).then(wrong).otherwise(reason),
        fix=pl.when(record & code).then(mend).otherwise(fix),
    )


# -- roles of cells ----------------------------------------------------------------------------------------------------
def _page_cells(found: _Register, reference: Reference) -> pl.DataFrame:
    """Page cells of a whole register: title, header, rows."""
    text, header, kind = pl.col("text"), found.header, pl.lit(found.header.kind)
    special = (
        pl.when(text.str.contains(reference.advert_pattern)).then(pl.lit("advert"))
        .when(text.str.contains(reference.note_pattern)).then(pl.lit("note"))
    )  # fmt: skip
    top = pl.when(pl.col("row") == header.row).then(pl.lit("header")).otherwise(special.otherwise(pl.lit("title")))
    upper = role_cells(found.upper, layout=kind, role=top)
    if not found.body.height:
        return upper
    blank = (pl.col("kind") == "text") & text.str.strip_chars().is_in(list(reference.blank_marks))
    role = (
        pl.when(pl.col("reason").is_not_null()).then(pl.lit("quarantined"))
        .when(pl.col("r_role") == "note").then(special.otherwise(pl.lit("note")))
        .when(pl.col("r_role") == "header").then(pl.lit("header"))
        .when(pl.col("r_role") == "total").then(pl.lit("subtotal_label"))
        .when(blank).then(pl.lit("blank_mark"))
        .when(pl.col("why").is_not_null()).then(pl.lit("attribute"))
        .otherwise(pl.col("c_role").replace_strict(ROLES, default="attribute", return_dtype=pl.String))
    )  # fmt: skip
    body = found.body.with_columns(role=role)
    value, bad = pl.col("role") == "value", pl.col("role") == "quarantined"
    told = value | bad
    if header.kind == HOLDINGS:
        item = pl.concat_str("holder_label", "held_label", separator=" → ", ignore_nulls=True)
        columns = {"number": pl.when(value).then("value"), "unit": pl.when(value).then("unit")}
    else:
        item = pl.col("name")
        columns = {name: pl.when(told).then(name) for name in ("region_label", "code_hint", "province_hint")}
    return pl.concat([upper, role_cells(
        body,
        layout=kind,
        role=pl.col("role"),
        item=pl.when(told).then(item),
        label=pl.when(told).then("c_label"),
        year=pl.when(told).then(pl.col("as_of").dt.year()),
        reason=pl.when(bad).then("reason"),
        fix=pl.when(bad).then("fix"),
        **columns,
    )])  # fmt: skip
