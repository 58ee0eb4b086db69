"""Sheets that experts fill in: Delphi rounds and AHP comparison matrices, recognised by their title, read cell by cell.

A Delphi sheet is one expert's round: a title with year and round, the expert, a header row (region code, region, one
column per item, feedback of the round before), a row for familiarity Cs and one for basis Ca, then one row per city.
An AHP sheet is one expert's comparison of the children of one node: a title naming index and node, the expert, and a
square matrix with the children as heads of rows and columns. As with pages, every non-empty cell gets a role or is
quarantined with the reason; `templates` writes the empty forms.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from dei_pipeline.sources.body import PAGE_CELL_SCHEMA
from dei_pipeline.sources.labels import chinese, clean, key, key_expr, number_expr, region_label_expr, year_in_title
from dei_pipeline.sources.layouts import Reference
from dei_pipeline.sources.workbook import PAGE_SCHEMA, Reading

Mark = TypeVar("Mark")

DELPHI, AHP = "delphi_responses", "ahp_judgements"
KINDS = {DELPHI: "delphi", AHP: "ahp"}  # what `dei ingest` and `dei template` call them
UNIT, MAX_SCORE = "points", 100.0
LEAST_JUDGEMENT, MOST_JUDGEMENT = 0.11, 9.0  # Saaty's scale; 1/9 printed with two decimals
MAX_TITLE = 150  # characters: a longer text that mentions Delphi is no title
TITLE_ROWS = 6
HELP_TITLE = "填写说明"
FAMILIARITY, BASIS = "熟悉程度 familiarity Cs (0–1)", "判断依据 basis Ca (0–1)"
IS_FAMILIARITY, IS_BASIS = r"(?i)熟悉|familiar", r"(?i)依据|\bbasis\b"
IS_FEEDBACK, IS_REMARK = r"(?i)上\s*一?\s*轮|反馈|feedback|previous", r"(?i)备注|remark|comment|理由"
DELPHI_TITLE = re.compile(r"(?i)(?=.*(?:德\s*尔\s*菲|delphi))(?=.*(?:[评打]\s*分|咨询|第\s*\S{1,3}\s*轮|round|scor))")
AHP_TITLE = re.compile(r"(?i)判断\s*矩阵|[成两][对两]\s*比较|judge?ment matri|pairwise|(?:AHP|层次分析).*矩阵")
ROUND = re.compile(r"(?i)第\s*(\d+|[一二三四五六七八九])\s*[轮次]|\bround\s*(\d+)")
NODE_STEP, NODE_ID = re.compile(r"\s*[›»>→]\s*"), re.compile(r"[(\[]\s*([a-z][a-z0-9_]*)\s*[)\]]\s*$")
FRACTION = r"^\s*(\d+(?:\.\d+)?)\s*[/⁄∕÷:]\s*(\d+(?:\.\d+)?)\s*$"
PERCENT = r"[%％]\s*$"
MEND = "mend a copy of the file, ingest it and `dei sources withdraw` this one"
_STRING = pl.lit(None, pl.String)
_Why = tuple[str | None, str | None]  # reason and fix


def kind_of(sheet: pl.DataFrame) -> str | None:
    """`delphi_responses` or `ahp_judgements` if the cells of a sheet are such a form, else None."""
    found = _title(sheet)
    return found[0] if found else None


def _top(sheet: pl.DataFrame) -> pl.DataFrame:
    """The cells of the first rows in reading order."""
    rows = sheet["row"].unique().sort().head(TITLE_ROWS)
    return sheet.filter(pl.col("row").is_in(rows.implode())).sort("row", "col")


def _title(sheet: pl.DataFrame) -> tuple[str, str, str] | None:
    """Kind of a form, with address and text of its title; None for any other sheet."""
    for cell, text in _top(sheet).filter(pl.col("kind") == "text").select("cell", "text").iter_rows():
        title = clean(text)
        if title == HELP_TITLE:
            return None
        for kind, pattern in ((DELPHI, DELPHI_TITLE), (AHP, AHP_TITLE)):
            if len(title) <= MAX_TITLE and pattern.search(title):
                return kind, cell, title
    return None


def read_expert_sheets(
    cells: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference
) -> tuple[Reading, pl.DataFrame]:
    """The reading of the sheets of a file that experts filled in, with their help sheet, and the cells of all others.

    Args:
        cells: raw/cells rows of one file.
        manifest: its manifest: `sha256`, `file`; optional `edition`, `year`, `source_id`.
        reference: blank marks, note and advert patterns, headings of region columns.
    """

    def read(sheet: pl.DataFrame, title: tuple[str, str, str]) -> tuple[pl.DataFrame, Mapping[str, Any]]:
        page, frame = (_delphi if title[0] == DELPHI else _ahp)(sheet, title, manifest, reference)
        return frame, {"source_id": KINDS[title[0]], "layout": title[0], "title": title[2], **page}

    return read_forms(cells, manifest, _title, read)


def read_forms(
    cells: pl.DataFrame,
    manifest: Mapping[str, Any],
    find: Callable[[pl.DataFrame], Mark | None],
    read: Callable[[pl.DataFrame, Mark], tuple[pl.DataFrame, Mapping[str, Any]]],
) -> tuple[Reading, pl.DataFrame]:
    """The reading of the sheets of a file that are forms, with their help sheet, and the cells of all others.

    Args:
        cells: raw/cells rows of one file.
        manifest: its manifest.
        find: what shows that a sheet is such a form; None if it is none.
        read: its page cells, and what they say as fields of staging/pages.
    """
    sheets = cells.partition_by("sheet", maintain_order=True)
    marks = [find(sheet) for sheet in sheets]
    pages, frames, others = [], [], []
    for sheet, mark in zip(sheets, marks, strict=True):
        said: Mapping[str, Any]
        if mark is not None:
            frame, said = read(sheet, mark)
        elif any(marks) and clean(sheet["text"][0]) == HELP_TITLE:
            frame, said = role_cells(sheet, role=pl.lit("note")), {"note": "how to fill in the other sheets"}
        else:
            others.append(sheet)
            continue
        pages.append(page_row(sheet, frame, manifest, said))
        frames.append(frame)
    return reading_of(pages, frames), pl.concat([cells.clear(), *others])


def reading_of(pages: Sequence[Mapping[str, Any]], frames: Sequence[pl.DataFrame]) -> Reading:
    """A reading from rows of staging/pages (`page_row`) and the page cells of each (`role_cells`)."""
    return Reading(pl.DataFrame(pages, schema=PAGE_SCHEMA), pl.concat([pl.DataFrame(schema=PAGE_CELL_SCHEMA), *frames]))


def page_row(
    sheet: pl.DataFrame, frame: pl.DataFrame, manifest: Mapping[str, Any], said: Mapping[str, Any]
) -> dict[str, Any]:
    """A row of staging/pages: the sheet's place and counts, and what was read."""
    roles = frame["role"]
    values, bad = int((roles == "value").sum()), int((roles == "quarantined").sum())
    year = said.get("year")
    place = {
        "sha256": manifest.get("sha256"), "file": manifest.get("file"), "sheet": sheet["sheet"][0], "block": 1,
        "first_row": sheet["row"].min(), "last_row": sheet["row"].max(), "n_cells": frame.height, "n_values": values,
        "n_layout": frame.height - values - bad, "n_quarantined": bad,
        "edition": str(manifest.get("edition") or ("" if year is None else year + 1)) or None,
    }  # fmt: skip
    own_source = {"source_id": manifest["source_id"]} if manifest.get("source_id") else {}
    return dict.fromkeys(PAGE_SCHEMA) | place | dict(said) | own_source


def role_cells(cells: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    """Page cells with the given columns set and the others null."""
    kept = ("source_cell", "sha256", "sheet", "cell", "row", "col", "text")
    given = {name: pl.col(name) for name in kept} | {"block": pl.lit(1)} | columns
    return cells.select(given.get(name, pl.lit(None)).alias(name) for name in PAGE_CELL_SCHEMA).cast(PAGE_CELL_SCHEMA)


# -- above the table ---------------------------------------------------------------------------------------------------
def _stated(sheet: pl.DataFrame, title: str, words: str, role: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """What stands behind or beside a label in the first rows («专家: E07», «专家 | E07»), and the roles of its cells.

    Args:
        sheet: its cells.
        title: address of the title, which is no label.
        words: what the label begins with, alternatives separated by `|`.
        role: role of the cell that holds what is stated; its label is an attribute.
    """
    label = re.compile(rf"^(?:{words})[^:]{{0,24}}?(?::\s*(?P<inline>.*))?$", re.I)
    top = _top(sheet).filter(pl.col("cell") != title).to_dicts()
    for cell, beside in zip(top, [*top[1:], None], strict=True):
        match = label.match(clean(cell["text"]))
        if match is None:
            continue
        if key(match["inline"] or ""):
            return match["inline"], {cell["cell"]: {"role": role, "item": match["inline"]}}
        known: dict[str, dict[str, Any]] = {cell["cell"]: {"role": "attribute"}}
        place = (cell["row"], cell["col"] + cell["col_span"])
        if beside is None or (beside["row"], beside["col"]) != place or not key(beside["text"]):
            return "", known
        said = clean(beside["text"])
        return said, known | {beside["cell"]: {"role": role, "item": said}}
    return "", {}


def _upper(
    cells: pl.DataFrame, kind: str, known: Mapping[str, Mapping[str, Any]], reference: Reference, lost: _Why
) -> pl.DataFrame:
    """Page cells of what stands above the table: `known` by address, titles, notes and adverts.

    Without a table (`lost` says why), what is not known is quarantined.
    """
    names = ("role", "item", "label", "number", "year")
    schema = dict(zip(("cell", *names), [pl.String] * 4 + [pl.Float64, pl.Int32], strict=True))
    given = pl.DataFrame([{"cell": cell, **said} for cell, said in known.items()], schema=schema)
    free = "a number above the table", "remove it in a copy of the file, and ingest the copy"
    reason, fix = lost if lost[0] else free
    text = pl.lit(not lost[0]) & (pl.col("kind") == "text")
    role = (
        pl.when(pl.col("role").is_not_null()).then("role")
        .when(text & pl.col("text").str.contains(reference.advert_pattern)).then(pl.lit("advert"))
        .when(text & pl.col("text").str.contains(reference.note_pattern)).then(pl.lit("note"))
        .when(text).then(pl.lit("title")).otherwise(pl.lit("quarantined"))
    )  # fmt: skip
    rows = cells.drop("number").join(given, on="cell", how="left", maintain_order="left").with_columns(role=role)
    bad = pl.col("role") == "quarantined"
    why = {"reason": pl.when(bad).then(pl.lit(reason)), "fix": pl.when(bad).then(pl.lit(fix))}
    return role_cells(rows, layout=pl.lit(kind), **{name: pl.col(name) for name in names}, **why)


# -- Delphi ------------------------------------------------------------------------------------------------------------
def _delphi(
    sheet: pl.DataFrame, title: tuple[str, str, str], manifest: Mapping[str, Any], reference: Reference
) -> tuple[dict[str, Any], pl.DataFrame]:
    """What staging/pages says of a Delphi sheet, and its page cells."""
    _, at, text = title
    name = str(sheet["sheet"][0])
    expert, known = _stated(sheet, at, "专家|expert", "expert")
    origins = (("title", year_in_title(text)), ("sheet", year_in_title(name)), ("sidecar", manifest.get("year")))
    origin, year = next(((o, int(y)) for o, y in origins if y is not None), (None, None))
    number = _round(text) or _round(name)
    known[at] = {"role": "title", "number": number, "year": year}
    header = _delphi_header(sheet, reference)
    why: _Why = (None, None)
    if header is None:
        why = "no header row with a region column", f"head the cities' column «地区 region»: {MEND}"
    elif not expert:
        why = "no expert is named", f"write the expert's name or number beside «专家 expert»: {MEND}"
    elif year is None:
        why = "the title does not say its year", f"write it in the title as «(2020年)»: {MEND}"
    elif number is None:
        why = "the title does not say its round", f"write it in the title as «第1轮»: {MEND}"
    page = {"year": year, "year_from": origin, "unit_text": UNIT, "reason": why[0], "fix": why[1]}
    if header is None:
        return page, _upper(sheet, DELPHI, known, reference, why)
    row, columns = header
    upper = _upper(sheet.filter(pl.col("row") < row), DELPHI, known, reference, (None, None))
    body = _delphi_body(sheet.filter(pl.col("row") > row), columns, year, reference, why)
    head = role_cells(sheet.filter(pl.col("row") == row), layout=pl.lit(DELPHI), role=pl.lit("header"))
    return page | {"header_first_row": row, "header_last_row": row}, pl.concat([upper, head, body])


def _round(text: str) -> float | None:
    """The round that a title names: «第2轮», «第二轮», «round 2»."""
    found = ROUND.search(text)
    if found is None:
        return None
    digits = found[1] or found[2]
    return float("一二三四五六七八九".find(digits) + 1 or int(digits))


def _delphi_header(sheet: pl.DataFrame, reference: Reference) -> tuple[int, pl.DataFrame] | None:
    """Row of the header, and of each column `col`, `c_role` and `c_label`; None without a region column."""
    wanted = {"code": set(reference.stubs["code"]), "region": set(reference.stubs["region"])}

    def role(text: str) -> str:
        keys = {key(chinese(text)), key(text), *(key(line) for line in text.splitlines())}
        named = next((name for name, stubs in wanted.items() if keys & stubs), None)
        if named:
            return named
        if re.search(IS_FEEDBACK, text):
            return "feedback"
        return "attribute" if re.search(IS_REMARK, text) else "item"

    texts = sheet.filter(pl.col("kind") == "text").sort("row", "col")
    for (row,), cells in texts.partition_by("row", as_dict=True, maintain_order=True).items():
        roles = [(col, role(text), text) for col, text in cells.select("col", "text").iter_rows()]
        if cells.height > 1 and any(named == "region" for _, named, _ in roles):
            schema = {"col": pl.Int32, "c_role": pl.String, "c_label": pl.String}
            return int(str(row)), pl.DataFrame(roles, schema=schema, orient="row")
    return None


def _delphi_body(
    cells: pl.DataFrame, columns: pl.DataFrame, year: int | None, reference: Reference, why: _Why
) -> pl.DataFrame:
    """Page cells below the header: scores of cities, familiarity and basis, labels, notes, and what is wrong."""
    kind, text = pl.col("kind"), pl.col("text")
    plain = pl.when(~text.str.contains(PERCENT)).then(number_expr(text))
    body = cells.join(columns, on="col", how="left", maintain_order="left").with_columns(
        value=pl.when(kind == "number").then("number").when(kind == "text").then(plain)
    )
    rows = _delphi_rows(body, reference)
    body = body.join(rows, on="row", how="left", maintain_order="left")
    item = (pl.col("c_role") == "item").fill_null(False)
    blank = item & (kind == "text") & text.str.strip_chars().is_in(list(reference.blank_marks))
    share = item & pl.col("r_role").is_in(["familiarity", "basis"])
    good_share = share & pl.col("value").is_between(0, 1)
    for name in ("familiarity", "basis"):
        told = body.filter(good_share & (pl.col("r_role") == name)).select("col", pl.lit(True).alias(f"has_{name}"))
        body = body.join(told, on="col", how="left", maintain_order="left")
    rules = [
        (pl.col("c_role").is_null(), pl.lit("no header above this cell"), f"head its column, or remove it: {MEND}"),
        (share & pl.col("value").is_null(), pl.lit("not a number"), f"state it from 0 to 1: {MEND}"),
        (share & ~pl.col("value").is_between(0, 1), pl.format("{} {} is not from 0 to 1", "r_role", "text"),
         f"state it from 0 to 1: {MEND}"),
        (pl.lit(why[0] is not None) & ~share, pl.lit(why[0]), why[1]),
        (~share & pl.col("r_region").is_null() & pl.col("r_code").is_null(), pl.lit("its row has no region"),
         f"fill in the region: {MEND}"),
        (~share & pl.col("value").is_null(), pl.lit("not a number"), f"a score is from 0 to 100: {MEND}"),
        (~share & ~pl.col("value").is_between(0, MAX_SCORE), pl.format("score {} is not from 0 to 100", "text"), MEND),
        (~share & pl.col("has_familiarity").is_null(), pl.lit("no familiarity Cs is stated for this item"),
         f"fill in the row «{FAMILIARITY}»: {MEND}"),
        (~share & pl.col("has_basis").is_null(), pl.lit("no basis Ca is stated for this item"),
         f"fill in the row «{BASIS}»: {MEND}"),
    ]  # fmt: skip
    reason, fix = _STRING, _STRING
    for test, what, how in reversed(rules):
        reason = pl.when(test.fill_null(False)).then(what).otherwise(reason)
        fix = pl.when(test.fill_null(False)).then(pl.lit(how)).otherwise(fix)
    labels = {"code": "attribute", "region": "region_label", "feedback": "feedback", "attribute": "attribute"}
    label = pl.col("c_role").replace_strict(labels, default=None, return_dtype=pl.String)
    advert = (kind == "text") & text.str.contains(reference.advert_pattern) & ~item
    role = (
        pl.when(pl.col("r_role") == "note").then(pl.lit("note"))
        .when(advert).then(pl.lit("advert"))
        .when(label.is_not_null() & (pl.col("r_role") == "city")).then(label)
        .when(label.is_not_null()).then(pl.lit("attribute"))
        .when(blank).then(pl.lit("blank_mark"))
        .when(reason.is_not_null()).then(pl.lit("quarantined"))
        .when(share).then("r_role").otherwise(pl.lit("value"))
    )  # fmt: skip
    done = body.with_columns(role=role, why=reason, how=fix)
    bad = pl.col("role") == "quarantined"
    read = pl.col("role").is_in(["value", "familiarity", "basis"])
    scored = (pl.col("role") == "value") | (bad & ~share)
    return role_cells(
        done,
        layout=pl.lit(DELPHI),
        role=pl.col("role"),
        number=pl.when(read).then("value"),
        region_label=pl.when(scored).then("r_region"),
        code_hint=pl.when(scored).then("r_code"),
        year=pl.when(scored).then(pl.lit(year)),
        label=pl.when(read | bad).then("c_label"),
        item=pl.when(read | bad).then("c_label"),
        unit=pl.when(scored).then(pl.lit(UNIT)),
        reason=pl.when(bad).then("why"),
        fix=pl.when(bad).then("how"),
    )


def _delphi_rows(body: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Of each row below the header: `r_role` familiarity, basis, note or city, `r_region` and `r_code`."""
    order = pl.col("text").sort_by("col")
    rows = body.group_by("row").agg(
        r_code=order.filter(pl.col("c_role") == "code").first().str.strip_chars(),
        r_name=order.filter(pl.col("c_role") == "region").first(),
        first=order.first(),
        numbers=(pl.col("value").is_not_null() & (pl.col("c_role") == "item")).sum(),
    ).sort("row")  # fmt: skip
    label = pl.concat_str("r_code", "r_name", separator=" ", ignore_nulls=True)
    note = pl.col("first").str.contains(reference.note_pattern) & (pl.col("numbers") == 0)
    found = rows.select(
        "row",
        "r_code",
        r_region=region_label_expr(pl.col("r_name")),
        r_role=pl.when(label.str.contains(IS_FAMILIARITY)).then(pl.lit("familiarity"))
        .when(label.str.contains(IS_BASIS)).then(pl.lit("basis"))
        .when(note).then(pl.lit("note")).otherwise(pl.lit("city")),
    )  # fmt: skip
    again = pl.col("r_role").is_in(["familiarity", "basis"]) & ~pl.col("r_role").is_first_distinct()
    return found.with_columns(r_role=pl.when(again).then(pl.lit("city")).otherwise("r_role"))


# -- AHP ---------------------------------------------------------------------------------------------------------------
def _ahp(
    sheet: pl.DataFrame, title: tuple[str, str, str], manifest: Mapping[str, Any], reference: Reference
) -> tuple[dict[str, Any], pl.DataFrame]:
    """What staging/pages says of an AHP sheet, and its page cells."""
    _, at, text = title
    expert, known = _stated(sheet, at, "专家|expert", "expert")
    _, edition = _stated(sheet, at, "版本|edition", "edition")
    index, node = _compared(text)
    known |= edition | {at: {"role": "title", "item": index, "label": node}}
    place = _matrix(sheet, reference)
    why: _Why = (None, None)
    if place is None:
        why = "no matrix: no row and column are headed by the same indicators", f"keep the heads of the form: {MEND}"
    elif not expert:
        why = "no expert is named", f"write the expert's name or number beside «专家 expert»: {MEND}"
    elif index is None:
        why = "the title does not name index and node", f"write it as «AHP 判断矩阵: index › node»: {MEND}"
    elif place.odd:
        why = f"the matrix is not square: {place.odd}", f"give each indicator one row and one column: {MEND}"
    page: dict[str, Any] = {"reason": why[0], "fix": why[1]}
    if place is None:
        return page, _upper(sheet, AHP, known, reference, why)
    upper = _upper(sheet.filter(pl.col("row") < place.row), AHP, known, reference, (None, None))
    body = _ahp_body(sheet.filter(pl.col("row") >= place.row), place, reference, why)
    return page | {"header_first_row": place.row, "header_last_row": place.row}, pl.concat([upper, body])


def _compared(title: str) -> tuple[str | None, str | None]:
    """Index and node that a title names behind its colon: the id in brackets if there is one, else the name."""
    parts = [part for part in NODE_STEP.split(title.partition(":")[2].strip()) if part]
    if len(parts) != 2:
        return None, None
    ids = [NODE_ID.search(part) for part in parts]
    index, node = (found[1] if found else part for found, part in zip(ids, parts, strict=True))
    return index, node


@dataclass(frozen=True)
class _Matrix:
    """Where a matrix stands: row of its column heads, column of its row heads, both by place, and what is odd."""

    row: int
    col: int
    columns: Mapping[int, str]
    rows: Mapping[int, str]
    odd: str


def _matrix(sheet: pl.DataFrame, reference: Reference) -> _Matrix | None:
    """The matrix of a sheet: the first row and column whose texts name the same; rows end at the first without head."""
    texts = sheet.filter(pl.col("kind") == "text").select("row", "col", "text", key=key_expr(pl.col("text")))
    pairs = texts.join(texts, on="key", suffix="_below").filter(
        (pl.col("row_below") > pl.col("row")) & (pl.col("col_below") < pl.col("col")) & (pl.col("key") != "")
    )
    lines = pairs.group_by("row", "col_below").agg(heads=pl.col("key").n_unique()).filter(pl.col("heads") > 1)
    if not lines.height:
        return None
    row, col = lines.sort("row", "col_below").select("row", "col_below").row(0)
    columns = dict(texts.filter((pl.col("row") == row) & (pl.col("col") > col)).select("col", "text").iter_rows())
    below = texts.filter((pl.col("col") == col) & (pl.col("row") > row)).sort("row")
    rows: dict[int, str] = {}
    for at, text in below.select("row", "text").iter_rows():
        if at != row + len(rows) + 1 or re.search(reference.note_pattern, text):
            break
        rows[at] = text
    across, down = ([key(text) for text in heads.values()] for heads in (columns, rows))
    names = {key(text): clean(text) for text in (*columns.values(), *rows.values())}
    odd = [f"«{names[k]}» heads {down.count(k)} rows, {across.count(k)} columns" for k in names
           if (down.count(k), across.count(k)) != (1, 1)]  # fmt: skip
    return _Matrix(row, col, columns, rows, odd[0] if odd else "")


def _ahp_body(cells: pl.DataFrame, place: _Matrix, reference: Reference, why: _Why) -> pl.DataFrame:
    """Page cells of a matrix: heads, judgements, notes, and what is wrong."""
    text, kind = pl.col("text"), pl.col("kind")
    body = cells.with_columns(
        value=_judgement(),
        c_label=pl.col("col").replace_strict(place.columns, default=None, return_dtype=pl.String),
        r_label=pl.col("row").replace_strict(place.rows, default=None, return_dtype=pl.String),
    )
    inside = pl.col("c_label").is_not_null() & pl.col("r_label").is_not_null()
    blank = inside & (kind == "text") & text.str.strip_chars().is_in(list(reference.blank_marks))
    note = (kind == "text") & (pl.col("row") > max(place.rows, default=place.row))
    off = ~pl.col("value").is_between(LEAST_JUDGEMENT, MOST_JUDGEMENT)
    rules = [
        (pl.lit(why[0] is not None), pl.lit(why[0]), why[1]),
        (~inside, pl.lit("outside the matrix"), f"remove it: {MEND}"),
        (kind == "date", pl.lit("a date, which Excel makes of 1/3"), f"write 0.3333, or 1/3 in a text cell: {MEND}"),
        (pl.col("value").is_null(), pl.lit("not a number"), f"write 1 to 9, or 1/2 to 1/9: {MEND}"),
        (off, pl.format("judgement {} is not on Saaty's scale", "text"), f"write 1 to 9, or 1/2 to 1/9: {MEND}"),
    ]
    reason, fix = _STRING, _STRING
    for test, what, how in reversed(rules):
        reason = pl.when(test.fill_null(False)).then(what).otherwise(reason)
        fix = pl.when(test.fill_null(False)).then(pl.lit(how)).otherwise(fix)
    role = (
        pl.when(note).then(pl.lit("note"))
        .when(pl.col("row") == place.row).then(pl.lit("header"))
        .when((pl.col("col") == place.col) & pl.col("r_label").is_not_null()).then(pl.lit("item_label"))
        .when(blank).then(pl.lit("blank_mark"))
        .when(reason.is_not_null()).then(pl.lit("quarantined")).otherwise(pl.lit("value"))
    )  # fmt: skip
    done = body.with_columns(role=role, why=reason, how=fix)
    bad, judged = pl.col("role") == "quarantined", pl.col("role").is_in(["value", "quarantined"])
    return role_cells(
        done,
        layout=pl.lit(AHP),
        role=pl.col("role"),
        number=pl.when(pl.col("role") == "value").then("value"),
        item=pl.when(judged).then("r_label"),
        label=pl.when(judged).then("c_label"),
        reason=pl.when(bad).then("why"),
        fix=pl.when(bad).then("how"),
    )


def _judgement() -> pl.Expr:
    """The number of a cell: as it is, printed as text, or a fraction such as 1/3."""
    plain = pl.col("text").str.normalize("NFKC")
    parts = [plain.str.extract(FRACTION, at).cast(pl.Float64) for at in (1, 2)]
    printed = pl.coalesce(number_expr(pl.col("text")), pl.when(parts[1] > 0).then(parts[0] / parts[1]))
    return pl.when(pl.col("kind") == "number").then("number").when(pl.col("kind") == "text").then(printed)
