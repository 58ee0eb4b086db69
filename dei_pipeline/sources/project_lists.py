"""Lists of key projects (重点项目清单): recognised by their columns, every cell with a role or in quarantine.

A list has one project a row, with a column of names and one of total investments; kind, stage, region, year and unit
stand in columns, in merged cells over several rows, in headings between the rows, in the title, or nowhere. Subtotals
are no projects. An investment is one number above 0 in yuan; «约12亿元» counts as approximate, a range or a blank does
not count. `records` gives the projects, `read_project_lists` the roles of all cells, from one reading of the rows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import polars as pl

from dei_pipeline.sources.body import YEAR_FIX
from dei_pipeline.sources.expert_sheets import HELP_TITLE, MEND, page_row, reading_of, role_cells
from dei_pipeline.sources.labels import clean, key_expr, region_label_expr, unit_statement, year_expr, year_in_name
from dei_pipeline.sources.labels import year_in_title as year_in
from dei_pipeline.sources.layouts import Reference
from dei_pipeline.sources.project_heads import (
    BARE_NUMERAL,
    NUMERALS,
    TOTAL_LABEL,
    Header,
    find_header,
    heading_level,
    heading_region,
    heading_text,
    stage_in,
    title_region,
)
from dei_pipeline.sources.workbook import Reading

PROJECTS = "project_records"
KINDS = {PROJECTS: "projects"}  # what `dei ingest` and `dei template` call them
MONEY = "100m_cny"
MOST = 10_000.0  # 亿元; the dearest single project of China is below a third of it: more is a unit taken for another
APPROXIMATE = r"约为|大约|约|近|超过|超|逾|不低于|不少于|预计|估算|暂估"
AMOUNT = (
    rf"^(?:总投资|投资)?(?<before>{APPROXIMATE})?[¥¥]?(?<digits>\d[\d,]*(?:\.\d+)?)(?<middle>余|多)?"
    r"(?<unit>[\p{Han}A-Za-z$]*?)(?<after>左右|以上|余|多)?(?<guess>\((?:估算?|暂定|暂估|预计)\))?$"
)
RANGE = r"\d[\d,.]*(?:百|千)?[亿万]?元?[-–—~至到][\d,.]*\d"
GROUPED = r"^(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?$"
SCOPE = re.compile(r"仅|只(?:包括|含|统计|列)|不(?:包括|含|统计)|(?i:\bonly\b|exclud)")
ROLES = {  # role of a cell by the role of its column, in the row of a project
    "number": "attribute", "name": "item_label", "kind": "item_kind", "is_new": "item_kind", "stage": "item_stage",
    "region": "region_label", "code": "attribute", "province": "attribute", "year": "year_label", "unit": "unit",
    "attribute": "attribute",
}  # fmt: skip
OF_ROW: Mapping[str, Mapping[str, str]] = {  # what the cell of a column says of its row, and under which name
    "name": {"text": "name", "source_cell": "name_cell"},
    "investment": {"text": "printed", "kind": "number_kind", "number": "given", "source_cell": "r_investment_cell"},
    "number": {"text": "serial"},
    "unit": {"text": "row_unit"},
    "code": {"text": "code_hint"},
    "province": {"text": "province_hint"},
    "year": {"text": "year_text"},
    "region": {"text": "own_region", "source_cell": "own_region_cell"},
    "kind": {"text": "kind_label", "source_cell": "kind_cell", "row_span": "kind_span"},
    "is_new": {"text": "is_new_label", "source_cell": "is_new_cell", "row_span": "is_new_span"},
    "stage": {"text": "own_stage", "row_span": "stage_span"},
}
RECORD_SCHEMA = pl.Schema({
    "sheet": pl.String(), "row": pl.Int32(), "source_cell": pl.String(), "name": pl.String(), "name_cell": pl.String(),
    "value": pl.Float64(), "unit": pl.String(), "approximate": pl.Boolean(), "raw_text": pl.String(),
    "kind_label": pl.String(), "kind_cell": pl.String(), "is_new_label": pl.String(), "is_new_cell": pl.String(),
    "heading": pl.String(), "heading_cell": pl.String(), "stage": pl.String(), "region_label": pl.String(),
    "region_cell": pl.String(), "code_hint": pl.String(), "province_hint": pl.String(),
    "list_region_label": pl.String(), "list_region_cell": pl.String(), "year": pl.Int32(), "scope_note": pl.String(),
})  # fmt: skip
_STRING = pl.lit(None, pl.String)


@dataclass(frozen=True)
class _About:
    """What a list says above its rows, and beside them in the names of sheet and file."""

    title: str
    unit: str | None
    year: int | None
    year_from: str | None
    region: str | None
    region_cell: str | None
    scope: str | None


@dataclass(frozen=True)
class _List:
    """One list as read: its header, what it says as a whole, and its cells with what their rows say."""

    sheet: pl.DataFrame
    header: Header
    about: _About
    upper: pl.DataFrame
    body: pl.DataFrame


def read_project_lists(
    cells: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference
) -> tuple[Reading, pl.DataFrame]:
    """The reading of the sheets of a file that are lists of projects, with those that hold text only, and other cells.

    Args:
        cells: raw/cells rows of one file.
        manifest: its manifest: `sha256`, `file`; optional `edition`, `year`, `source_id`.
        reference: units, blank marks, note patterns, headings of region columns.
    """
    lists, texts, others = _sheets(cells, manifest, reference)
    pages, frames = [], []
    for found in lists:
        frame = _page_cells(found, reference)
        pages.append(page_row(found.sheet, frame, manifest, _page(found, manifest)))
        frames.append(frame)
    for sheet in texts:
        frame = role_cells(sheet, role=_text_role(reference, pl.lit("note")))
        pages.append(page_row(sheet, frame, manifest, {"note": "text beside a list of projects"}))
        frames.append(frame)
    return reading_of(pages, frames), pl.concat([cells.clear(), *others])


def records(cells: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference) -> pl.DataFrame:
    """The projects of the lists of a file (`RECORD_SCHEMA`), as labelled there; those in quarantine left out.

    Args:
        cells, manifest, reference: as `read_project_lists` takes them.
    """
    frames = []
    for found in _sheets(cells, manifest, reference)[0]:
        projects = found.body.filter((pl.col("c_role") == "investment") & (pl.col("r_role") == "project"))
        about = found.about
        frame = projects.filter(pl.col("reason").is_null()).with_columns(
            list_region_label=pl.lit(about.region, pl.String),
            list_region_cell=pl.lit(about.region_cell, pl.String),
            scope_note=pl.lit(about.scope, pl.String),
            raw_text=pl.col("text"),
        )
        frames.append(frame.sort("row").select(pl.col(name).cast(kind) for name, kind in RECORD_SCHEMA.items()))
    return pl.concat([pl.DataFrame(schema=RECORD_SCHEMA), *frames])


def _sheets(
    cells: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference
) -> tuple[list[_List], list[pl.DataFrame], list[pl.DataFrame]]:
    """The lists of a file; the sheets beside them that hold text only (help, notes around a web table); the others."""
    sheets = cells.partition_by("sheet", maintain_order=True)
    headers = [find_header(sheet, reference) for sheet in sheets]
    if not any(headers):
        return [], [], sheets
    plain = [header is None and (sheet["kind"] == "text").all() for sheet, header in zip(sheets, headers, strict=True)]
    texts = [sheet for sheet, is_text in zip(sheets, plain, strict=True) if is_text]
    beside = pl.concat([cells.clear(), *(sheet for sheet in texts if clean(sheet["text"][0]) != HELP_TITLE)])
    read = [
        _read(sheet, header, beside, manifest, reference)
        for sheet, header in zip(sheets, headers, strict=True)
        if header is not None
    ]
    numbers = zip(sheets, headers, plain, strict=True)
    return read, texts, [sheet for sheet, header, is_text in numbers if header is None and not is_text]


def _page(found: _List, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What staging/pages says of a list."""
    header, about = found.header, found.about
    reason, fix = _whole(found.header, about)
    years = found.body["year"].drop_nulls()
    edition = manifest.get("edition") or about.year or (years.max() if years.len() else None)
    return {
        "layout": PROJECTS, "source_id": KINDS[PROJECTS], "title": about.title, "year": about.year,
        "year_from": about.year_from or ("column" if years.len() else None), "unit_text": about.unit,
        "header_first_row": header.first, "header_last_row": header.last, "note": about.scope,
        "edition": None if edition is None else str(edition), "reason": reason, "fix": fix,
    }  # fmt: skip


# -- above the rows ----------------------------------------------------------------------------------------------------
def _read(
    sheet: pl.DataFrame, header: Header, beside: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference
) -> _List:
    upper, body = sheet.filter(pl.col("row") <= header.last), sheet.filter(pl.col("row") > header.last)
    about = _about(sheet, header, beside, manifest, reference)
    return _List(sheet, header, about, upper, _body(body, header, about, reference))


def _about(
    sheet: pl.DataFrame, header: Header, beside: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference
) -> _About:
    """Title, unit, year and region of a whole list; a note that narrows what it counts.

    What stands above the table counts first, then the texts beside it, the names of sheet and file.
    """
    over = pl.concat([sheet.filter(pl.col("row") < header.first).sort("row", "col"), beside])
    noted = _text_role(reference, _STRING).is_not_null()
    lines = over.filter((pl.col("kind") == "text") & ~noted).select("source_cell", "text").rows()
    titles = [(cell, clean(text)) for cell, text in lines if not unit_statement(text) or title_region(text)]
    stated = [unit_statement(text) or "" for _, text in lines]
    name, stem = str(sheet["sheet"][0]), PurePath(str(manifest.get("file") or "")).stem
    sides = [*(("title", year_in(text)) for _, text in titles), ("sheet", year_in(name)),
             ("sidecar", manifest.get("year")), ("filename", year_in_name(stem))]  # fmt: skip
    origin, year = next(((o, int(y)) for o, y in sides if y is not None), (None, None))
    places: list[tuple[str | None, str]] = [*titles, (None, name), (None, stem)]
    at, region = next(((c, r) for c, t in places if (r := title_region(t)) is not None), (None, None))
    notes = pl.concat([sheet, beside]).filter(pl.col("text").str.contains(reference.note_pattern))["text"].to_list()
    scope = next((clean(text) for text in notes if SCOPE.search(text)), None)
    unit = next((u for u in stated if reference.unit(u)), None)
    return _About(titles[0][1] if titles else "", unit, year, origin, region, at, scope)


def _text_role(reference: Reference, otherwise: pl.Expr) -> pl.Expr:
    """Advert or note by what a text says, else another role."""
    text = pl.col("text")
    return (
        pl.when(text.str.contains(reference.advert_pattern)).then(pl.lit("advert"))
        .when(text.str.contains(reference.note_pattern)).then(pl.lit("note")).otherwise(otherwise)
    )  # fmt: skip


def _whole(header: Header, about: _About) -> tuple[str | None, str | None]:
    """Why no row of a list can be used, and what to do; nothing if some can."""
    if not header.total:
        fix = f"head the column of total investments «总投资(亿元)»: {MEND}"
        return "no column states the projects' total investment, only parts of it", fix
    if about.year is None and "year" not in header.columns["c_role"].to_list():
        return "the list does not say its year", YEAR_FIX
    return None, None


# -- rows --------------------------------------------------------------------------------------------------------------
def _body(cells: pl.DataFrame, header: Header, about: _About, reference: Reference) -> pl.DataFrame:
    """The cells below the header with the role of their row and what it says; `reason` and `fix` at the cell to blame.

    The row of a project whose investment is blank blames its blank mark, or its name.
    """
    columns = header.columns.with_columns(pl.col("col").cast(cells.schema["col"]))
    body = cells.join(columns, on="col", how="left", maintain_order="left").sort("row", "col")
    body = body.join(_rows(body, header, about, reference), on="row", how="left", maintain_order="left")
    whole, mend = _whole(header, about)
    here = pl.col("source_cell") == pl.coalesce("r_investment_cell", "name_cell", "r_first_cell")
    own, unit = pl.col("own_unit"), pl.col("unit")
    amount = pl.col("value") * pl.col("factor")
    rules = [
        (pl.lit(whole is not None), pl.lit(whole), mend or ""),
        (pl.col("name").is_null(), pl.lit("its row names no project"), f"fill in the name, or remove the row: {MEND}"),
        (pl.col("r_blank"), pl.lit("no investment is stated"), f"fill it in, or remove the row: {MEND}"),
        (pl.col("r_range"), pl.lit("a range, not one number"), f"write one number, as «约12»: {MEND}"),
        (pl.col("value").is_null(), pl.lit("not a number"), f"write one number: {MEND}"),
        (unit.is_null(), pl.lit("no unit of money is printed"), f"head the column «总投资(亿元)»: {MEND}"),
        (pl.col("canonical").is_null() | (pl.col("canonical") != MONEY),
         pl.format("unit «{}» is no unit of yuan", pl.coalesce(own, unit)), f"write it in 亿元: {MEND}"),
        (pl.col("value") <= 0, pl.lit("an investment is above 0"), f"fill it in, or remove the row: {MEND}"),
        (amount > MOST, pl.format("{} {} is more than {} 亿元", "text", "unit", pl.lit(MOST)),
         f"the unit is likely another: {MEND}"),
        (pl.col("year").is_null(), pl.lit("its row does not say its year"), f"fill it in: {MEND}"),
        (pl.coalesce("region_label", pl.lit(about.region, pl.String)).is_null(),
         pl.lit("neither the row nor the title names a region"), f"add a column «城市»: {MEND}"),
    ]  # fmt: skip
    reason, fix = _STRING, _STRING
    for test, what, how in reversed(rules):
        reason = pl.when(test.fill_null(False)).then(what).otherwise(reason)
        fix = pl.when(test.fill_null(False)).then(pl.lit(how)).otherwise(fix)
    blamed = here & (pl.col("r_role") == "project")
    headless = pl.col("c_role").is_null() & (pl.col("kind") == "number") & (pl.col("r_role") == "project")
    return body.with_columns(
        reason=pl.when(headless).then(pl.lit("no header above this cell")).when(blamed).then(reason),
        fix=pl.when(headless).then(pl.lit(f"head its column, or remove it: {MEND}")).when(blamed).then(fix),
    )


def _rows(body: pl.DataFrame, header: Header, about: _About, reference: Reference) -> pl.DataFrame:
    """Of each row below the header its role (project, total, heading, header, note, other) and what it says."""

    rows = body.group_by("row", maintain_order=True).agg(
        first=pl.col("text").first(),
        r_first_cell=pl.col("source_cell").first(),
        first_span=pl.col("col_span").first(),
        n=pl.len(),
    )
    for role, columns in OF_ROW.items():
        own = body.filter(pl.col("c_role") == role).select("row", **{name: column for column, name in columns.items()})
        rows = rows.join(own, on="row", how="left", maintain_order="left")
    blank = pl.col("printed").str.strip_chars().is_in([*reference.blank_marks, ""])
    rows = rows.with_columns(printed=pl.when(~blank).then("printed"))
    return _said(_amounts(_with_roles(rows, header, reference), header, about, reference), about)


def _with_roles(rows: pl.DataFrame, header: Header, reference: Reference) -> pl.DataFrame:
    """The rows with `r_role`, and of headings `level` (0 a region or group of its own, 1 «一、», 2 «(一)»).

    Only rows that look like something else than a project are looked at closely.
    """
    labels = [pl.col(name).str.contains("计|汇总").fill_null(False) for name in ("first", "name", "own_region")]
    odd = (
        pl.any_horizontal(labels)
        | pl.col("printed").is_null()
        | ~pl.col("printed").str.contains(r"\d")
        | (pl.col("n") == 1)
        | ~pl.col("serial").str.contains(r"^\d").fill_null(True)
        | pl.col("first").str.contains(rf"^[(（第{NUMERALS}]")
    )
    numbered = rows["serial"].str.contains(r"^\d").any()
    told = _role_of_odd(rows.filter(odd.fill_null(True)), header, reference, numbered)
    rows = rows.join(told, on="row", how="left", maintain_order="left")
    return rows.with_columns(pl.col("r_role").fill_null("project"))


def _role_of_odd(rows: pl.DataFrame, header: Header, reference: Reference, numbered: bool) -> pl.DataFrame:
    """`row`, `r_role` and `level` of rows that may be no projects.

    Args:
        rows: the rows.
        header: of their list.
        reference: note, advert and continuation patterns.
        numbered: whether projects are numbered 1, 2, …: a row numbered 一 is then a heading.
    """
    numeral = [numbered and BARE_NUMERAL.match(clean(s or "")) is not None for s in rows["serial"]]
    rows = rows.with_columns(
        pl.Series("numeral", numeral, dtype=pl.Boolean),
        pl.Series("level", [heading_level(text) for text in rows["first"]], dtype=pl.Int32),
        name_key=key_expr(pl.col("name")),
    )
    total = pl.any_horizontal(
        key_expr(pl.col(name)).str.contains(TOTAL_LABEL).fill_null(False) for name in ("first", "name", "own_region")
    )
    bare, single = pl.col("printed").is_null(), pl.col("n") == 1
    alone = bare & single & (pl.col("name").is_null() | (pl.col("first_span") > 1))
    counted = single & pl.col("first").str.contains(r"\d+\s*[个项]\s*[)）]?\s*$")
    wide = bare & (pl.col("first_span") >= 3)
    headed = pl.col("level").is_not_null() & (pl.col("name").is_null() | (pl.col("name") == pl.col("first")))
    note, advert, more = (
        pl.col("first").str.contains(pattern)
        for pattern in (reference.note_pattern, reference.advert_pattern, reference.continuation_pattern)
    )
    role = (
        pl.when(bare & (note | advert)).then(pl.lit("note"))
        .when((single & more) | (pl.col("name_key") == header.name)).then(pl.lit("header"))
        .when(total).then(pl.lit("total"))
        .when(pl.col("numeral") | headed | alone | wide | counted).then(pl.lit("heading"))
        .otherwise(pl.lit("project"))
    )  # fmt: skip
    level = pl.when("numeral").then(1).otherwise(pl.col("level").fill_null(0))
    rows = rows.with_columns(r_role=role)
    return rows.select("row", "r_role", level=pl.when(pl.col("r_role") == "heading").then(level))


def _amounts(rows: pl.DataFrame, header: Header, about: _About, reference: Reference) -> pl.DataFrame:
    """The rows with `value`, `own_unit`, `unit`, `factor` to 亿元, `approximate`, `r_blank` and `r_range`."""
    plain = pl.col("printed").str.normalize("NFKC").str.replace_all(r"\s+", "")
    found = plain.str.extract_groups(AMOUNT)
    digits = found.struct.field("digits")
    read = pl.when(digits.str.contains(GROUPED)).then(digits.str.replace_all(",", "").cast(pl.Float64, strict=False))
    own = found.struct.field("unit").replace({"": None, "亿": "亿元", "万": "万元"})
    vague = pl.any_horizontal(found.struct.field(f).is_not_null() for f in ("before", "middle", "after", "guess"))
    head = header.columns.filter(pl.col("c_role") == "investment")["c_unit"].to_list()
    number = pl.col("number_kind") == "number"
    rows = rows.with_columns(
        value=pl.when(number).then("given").when(pl.col("number_kind") == "text").then(read),
        own_unit=pl.when(~number).then(own),
        approximate=(~number & vague).fill_null(False),
        r_blank=pl.col("printed").is_null(),
        r_range=(~number & plain.str.contains(RANGE)).fill_null(False),
    )
    listed = pl.lit(next(iter(head), None) or about.unit, pl.String)
    rows = rows.with_columns(unit=pl.coalesce("own_unit", "row_unit", listed))
    units = {u: reference.unit(u) for u in rows["unit"].drop_nulls().unique()}
    known = pl.DataFrame(
        [(u, found.canonical, found.factor) for u, found in units.items() if found],
        schema={"unit": pl.String, "canonical": pl.String, "factor": pl.Float64},
        orient="row",
    )
    return rows.join(known, on="unit", how="left", maintain_order="left")


def _said(rows: pl.DataFrame, about: _About) -> pl.DataFrame:
    """The rows with region, kind, heading, stage and year: their own, of merged cells above, of headings above."""
    heads = {text: (heading_text(text), heading_region(text)) for text in _heading_texts(rows)}
    plain = {text: said for text, (said, _) in heads.items()}
    places = {text: place for text, (_, place) in heads.items() if place}
    is_heading = pl.col("r_role") == "heading"
    head = pl.when(is_heading).then(pl.coalesce("name", "first"))
    rows = rows.with_columns(
        h_plain=head.replace_strict(plain, default=None, return_dtype=pl.String),
        h_place=head.replace_strict(places, default=None, return_dtype=pl.String),
        h_cell=pl.when(is_heading).then(pl.coalesce("name_cell", "r_first_cell")),
        group=(pl.col("level") == 0).fill_null(False).cum_sum(),
        own_region=region_label_expr(pl.col("own_region")).replace("", None),
    ).with_columns(part=(pl.col("level") == 1).fill_null(False).cum_sum().over("group"))
    for at, within in ((0, ["group"]), (1, ["group"]), (2, ["group", "part"])):
        rows = rows.with_columns(
            pl.when(pl.col("level") == at).then(name).forward_fill().over(within).alias(f"h{at}{tail}")
            for name, tail in (("h_plain", ""), ("h_cell", "_cell"))
        )
    mine = (pl.col("r_role") == "project") & pl.col("own_region").is_not_null()
    nearest = pl.when(mine).then(pl.struct(label="own_region", cell="own_region_cell")).when(
        pl.col("h_place").is_not_null()
    ).then(pl.struct(label="h_place", cell="h_cell"))  # fmt: skip
    rows = rows.with_columns(place=nearest.forward_fill())
    for names, span in ((("kind_label", "kind_cell"), "kind_span"), (("is_new_label", "is_new_cell"), "is_new_span"),
                        (("own_stage",), "stage_span")):  # fmt: skip
        last = (pl.col("row") + pl.col(span) - 1).forward_fill()
        rows = rows.with_columns(pl.when(pl.col("row") <= last).then(pl.col(name).forward_fill()) for name in names)
    stages = {t: stage_in(t) for at in range(3) for t in rows[f"h{at}"].drop_nulls().unique()}
    of_heads = [pl.col(f"h{at}").replace_strict(stages, default=None, return_dtype=pl.String) for at in (2, 1, 0)]
    year = pl.when(pl.col("year_text").is_null()).then(pl.lit(about.year)).otherwise(year_expr(pl.col("year_text")))
    return rows.select(
        "row", "r_role", "r_first_cell", "r_investment_cell", "r_blank", "r_range", "value", "own_unit", "unit",
        "canonical", "factor", "approximate", "name_cell", "code_hint", "province_hint", "kind_label", "kind_cell",
        "is_new_label", "is_new_cell",
        name=pl.col("name").str.replace_all(r"\s+", " ").str.strip_chars(" ").replace("", None),
        heading=pl.concat_str("h0", "h1", "h2", separator=" › ", ignore_nulls=True).replace("", None),
        heading_cell=pl.coalesce("h2_cell", "h1_cell", "h0_cell"),
        stage=pl.coalesce("own_stage", *of_heads),
        region_label=pl.col("place").struct.field("label"),
        region_cell=pl.col("place").struct.field("cell"),
        year=year.cast(pl.Int32),
    )  # fmt: skip


def _heading_texts(rows: pl.DataFrame) -> list[str]:
    heads = rows.filter(pl.col("r_role") == "heading").select(text=pl.coalesce("name", "first"))
    return [str(text) for text in heads["text"].drop_nulls().unique(maintain_order=True)]


# -- roles of cells ----------------------------------------------------------------------------------------------------
def _page_cells(found: _List, reference: Reference) -> pl.DataFrame:
    """Page cells of a whole list: title, header, rows."""
    text, header = pl.col("text"), found.header
    upper = role_cells(
        found.upper,
        layout=pl.lit(PROJECTS),
        role=pl.when(pl.col("row") >= header.first)
        .then(pl.lit("header"))
        .otherwise(_text_role(reference, pl.lit("title"))),
        region_label=pl.when(pl.col("source_cell") == pl.lit(found.about.region_cell or "")).then(
            pl.lit(found.about.region, pl.String)
        ),
    )
    if not found.body.height:
        return upper
    blank = text.str.strip_chars().is_in(list(reference.blank_marks))
    project = pl.col("r_role") == "project"
    labels = pl.col("c_role").replace_strict(ROLES, default="attribute", return_dtype=pl.String)
    number = (pl.col("kind") == "number") & (pl.col("c_role") != "number")
    totals = pl.when(number).then(pl.lit("subtotal")).otherwise(pl.lit("subtotal_label"))
    role = (
        pl.when(pl.col("reason").is_not_null()).then(pl.lit("quarantined"))
        .when(pl.col("r_role") == "note").then(_text_role(reference, pl.lit("note")))
        .when(pl.col("r_role") == "header").then(pl.lit("header"))
        .when(pl.col("r_role") == "total").then(totals)
        .when((pl.col("r_role") == "heading") & number.fill_null(False)).then(pl.lit("subtotal"))
        .when(pl.col("r_role") == "heading").then(pl.lit("heading"))
        .when(blank).then(pl.lit("blank_mark"))
        .when(pl.col("c_role") == "investment").then(pl.lit("value")).otherwise(labels)
    )  # fmt: skip
    body = found.body.with_columns(role=role)
    value, bad = pl.col("role") == "value", pl.col("role") == "quarantined"
    told = value | (bad & project)
    return pl.concat([upper, role_cells(
        body,
        layout=pl.lit(PROJECTS),
        role=pl.col("role"),
        number=pl.when(value).then("value"),
        region_label=pl.when(told).then(pl.coalesce("region_label", pl.lit(found.about.region, pl.String))),
        year=pl.when(told).then("year"),
        label=pl.when(told).then("c_label"),
        unit=pl.when(told).then("unit"),
        item=pl.when(told).then("name"),
        code_hint=pl.when(told).then("code_hint"),
        province_hint=pl.when(told).then("province_hint"),
        reason=pl.when(bad).then("reason"),
        fix=pl.when(bad).then("fix"),
    )])  # fmt: skip
