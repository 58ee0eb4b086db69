"""The body of a table, column-wise: each cell meets what its column says, what its row says and what the page says."""

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from dei_pipeline.sources.header import Block, is_unit_line
from dei_pipeline.sources.labels import chinese, clean, region_label_expr, year_expr
from dei_pipeline.sources.layouts import Layout, Reference
from dei_pipeline.sources.matching import SHOW, Match, resolve_unit, split_label, variable_label

PAGE_CELL_SCHEMA = pl.Schema({
    "source_cell": pl.String(), "sha256": pl.String(), "sheet": pl.String(), "cell": pl.String(), "row": pl.Int32(),
    "col": pl.Int32(), "block": pl.Int32(), "layout": pl.String(), "role": pl.String(), "text": pl.String(),
    "number": pl.Float64(), "region_label": pl.String(), "year": pl.Int32(), "variable": pl.String(),
    "label": pl.String(), "unit": pl.String(), "subtotal": pl.Boolean(), "item": pl.String(),
    "reason": pl.String(), "fix": pl.String(), "code_hint": pl.String(), "province_hint": pl.String(),
})  # fmt: skip
SHORT_NAME = r"^\p{Han}{2,12}$"
YEAR_FIX = "state the year in `FILE.meta.yml` beside the file (year: 2019) or in the file's name, and ingest again"
TOLD = {  # what a value cell says, and the column of the body it is read into
    "region_label": "v_region", "year": "v_year", "variable": "v_variable", "label": "v_label", "unit": "v_unit",
    "item": "v_item", "code_hint": "v_code", "province_hint": "v_province",
}  # fmt: skip
_STRING = pl.lit(None, pl.String)


@dataclass(frozen=True)
class PageYear:
    """The year of a whole page, where it was found (`title`, `sheet`, `sidecar` ...) and what contradicts it."""

    year: int | None
    origin: str | None
    note: str


def text_roles(cells: pl.DataFrame, reference: Reference, role: str | None, reason: str, fix: str) -> pl.DataFrame:
    """Page cells without a table: adverts, and `role` for the rest (None: quarantined with the reason)."""
    advert = (pl.col("kind") == "text") & pl.col("text").str.contains(reference.advert_pattern)
    kept = pl.lit(role or "quarantined")
    return _frame(
        cells,
        layout=_STRING,
        role=pl.when(advert).then(pl.lit("advert")).otherwise(kept),
        reason=pl.when(~advert & pl.lit(role is None)).then(pl.lit(reason)),
        fix=pl.when(~advert & pl.lit(role is None)).then(pl.lit(fix)),
    )


def _frame(cells: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    """Page cells with the given columns set and the others null."""
    out = {name: columns.get(name, pl.lit(None, dtype)) for name, dtype in PAGE_CELL_SCHEMA.items()}
    for name in ("source_cell", "sha256", "sheet", "cell", "row", "col", "text"):
        out[name] = pl.col(name)
    return cells.select(**out)


def read_block(
    cells: pl.DataFrame, block: Block, match: Match, year: PageYear, reference: Reference, edition: str | None
) -> pl.DataFrame:
    """Page cells of one table that a layout explains.

    Args:
        cells: prepared cells of the block (title area, header and body).
        block: where its parts stand.
        match: the layout and what each column holds.
        year: the page's year, where the page has one.
        reference: units and patterns.
        edition: edition of the publication, for labels that changed.
    """
    upper = _upper(cells.filter(pl.col("row") <= block.header_last), block, match, reference)
    body = cells.filter(pl.col("row") > block.header_last)
    if body.is_empty():
        return upper
    body = body.join(_columns(match), on="col", how="left").join(
        _rows(body, match, reference, edition), on="row", how="left"
    )
    body = _complete(body, match, year)
    body = _roles(body, match, reference)
    told = {name: pl.col(f"out_{name}") for name in (*TOLD, "number", "subtotal", "reason", "fix")}
    out = _frame(body, layout=pl.lit(match.layout.table), role=pl.col("role"), **told)
    return pl.concat([upper, out])


def _upper(cells: pl.DataFrame, block: Block, match: Match, reference: Reference) -> pl.DataFrame:
    """Roles of title area and header: small, so cell by cell."""
    rows: list[tuple[int, int, str, str | None, str | None]] = []
    wanted = cells.select("row", "col", "text", pl.col("value").is_not_null() & ~pl.col("is_year"))
    stray = f"remove it or widen the layout; {SHOW}"
    for row, col, text, numeric in wanted.iter_rows():
        column = match.columns.get(col)
        if row < block.header_first:
            plain = clean(text)
            if numeric:
                rows.append((row, col, "quarantined", "a number outside the table", stray))
            elif re.search(reference.advert_pattern, text):
                rows.append((row, col, "advert", None, None))
            elif is_unit_line(text) or reference.unit(plain):
                rows.append((row, col, "unit", None, None))
            elif re.search(reference.note_pattern, plain):
                rows.append((row, col, "note", None, None))
            else:
                rows.append((row, col, "title", None, None))
        elif column is not None and column.role == "unknown":
            rows.append((row, col, "quarantined", column.reason, column.fix))
        elif reference.unit(chinese(text).strip("()")):
            rows.append((row, col, "unit", None, None))
        elif re.search(reference.advert_pattern, text):
            rows.append((row, col, "advert", None, None))
        else:
            rows.append((row, col, "header", None, None))
    schema = {"row": pl.Int32, "col": pl.Int32, **dict.fromkeys(("role", "why", "how"), pl.String)}
    joined = cells.join(pl.DataFrame(rows, orient="row", schema=schema), on=["row", "col"], how="left")
    table = pl.lit(match.layout.table)
    return _frame(joined, layout=table, role=pl.col("role"), reason=pl.col("why"), fix=pl.col("how"))


def _columns(match: Match) -> pl.DataFrame:
    """What each column says."""
    fields = ("role", "variable", "label", "unit", "year", "region", "reason", "fix")
    rows = [(c.col, *(getattr(c, f) for f in fields)) for c in match.columns.values()]
    types = {f"c_{f}": pl.Int32 if f == "year" else pl.String for f in fields}
    return pl.DataFrame(rows, orient="row", schema={"col": pl.Int32, **types})


def _stub(body: pl.DataFrame, match: Match, role: str, name: str) -> pl.DataFrame:
    """Row and text of the stub column of a role; a vertically merged label holds for every row it spans."""
    col = next((c.col for c in match.columns.values() if c.role == role), None)
    cells = body.filter(pl.col("col") == (col or -1)).select("row", "row_span", pl.col("text").alias(name))
    rows = pl.int_ranges("row", pl.col("row") + pl.col("row_span"), dtype=pl.Int32)
    return cells.with_columns(row=rows).explode("row").drop("row_span").unique("row", keep="last")


def _rows(body: pl.DataFrame, match: Match, reference: Reference, edition: str | None) -> pl.DataFrame:
    """What each row says: region, year, variable, unit; null where the layout takes them from elsewhere."""
    rows = body.select(pl.col("row").unique()).sort("row")
    for role in ("region", "year", "variable", "unit", "code", "province"):
        rows = rows.join(_stub(body, match, role, f"r_{role}_text"), on="row", how="left")
    stubs = {c.col for c in match.columns.values() if c.role != "value"}
    outside = body.filter(~pl.col("col").is_in(list(stubs)))
    numbers = outside.filter(pl.col("value").is_not_null()).group_by("row").len("n_numbers")
    filled = outside.group_by("row").len("n_filled")
    first = body.group_by("row").agg(first_text=pl.col("text").sort_by("col").first(), n_row=pl.len())
    rows = rows.join(numbers, on="row", how="left").join(filled, on="row", how="left").join(first, on="row", how="left")
    rows = rows.with_columns(pl.col("n_numbers", "n_filled").fill_null(0)).sort("row")
    rows = rows.with_columns(
        r_region=region_label_expr(pl.col("r_region_text")),
        r_year=year_expr(pl.col("r_year_text")),
        r_variable=_STRING, r_label=_STRING, r_unit=pl.col("r_unit_text"), r_reason=_STRING, r_fix=_STRING,
    )  # fmt: skip
    if match.axes.year == "row_header":
        heading = pl.when(pl.col("n_numbers") == 0).then(year_expr(pl.col("r_region_text")))
        rows = rows.with_columns(r_heading=heading.is_not_null(), r_year=heading.forward_fill())
    if match.axes.variable in ("row", "row_label"):
        named = _row_variables(rows, match, reference, edition)
        again = ["r_variable", "r_label", "r_unit", "r_reason", "r_fix"]
        rows = rows.drop(*again, *(["r_region"] if match.axes.variable == "row_label" else []))
        rows = rows.join(named, on=["r_variable_text", "r_unit_text"], how="left", nulls_equal=True)
        if "r_region" not in rows.columns:
            rows = rows.with_columns(r_region=region_label_expr(pl.col("r_combined_region")))
    key = {"row": "r_region", "row_label": "r_region"}.get(match.axes.region)
    if key is None:
        key = "r_year_text" if match.axes.year == "row" else "r_variable_text"
    labelled = pl.col(key).is_not_null() if key in rows.columns else pl.lit(False)
    rows = rows.with_columns(
        labelled=labelled,
        is_note=pl.col("first_text").str.contains(reference.note_pattern) & (pl.col("n_numbers") == 0),
        is_advert=pl.col("first_text").str.contains(reference.advert_pattern),
    )
    data = rows.filter(pl.col("labelled") & ~pl.col("is_note") & (pl.col("n_filled") > 0) & (pl.col("n_row") > 1))
    last = data["row"].max()
    rows = rows.with_columns(tail=pl.col("row") > (last if last is not None else 0))
    return _mark_tail(rows)


def _mark_tail(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows below the last data row: a note runs on in the rows right under it."""
    running, before, notes = False, -1, []
    tail = rows.filter("tail").select("row", "is_note", "is_advert", "n_numbers")
    for row, is_note, is_advert, numbers in tail.iter_rows():
        running = not is_advert and (is_note or (running and row == before + 1 and numbers == 0))
        before = row
        if running:
            notes.append(row)
    return rows.with_columns(is_note=pl.col("is_note") | pl.col("row").is_in(notes))


def _row_variables(rows: pl.DataFrame, match: Match, reference: Reference, edition: str | None) -> pl.DataFrame:
    """Variable, label and unit of each different row label."""
    layout = match.layout
    out: list[tuple[Any, ...]] = []
    for text, unit_text in rows.select("r_variable_text", "r_unit_text").unique().iter_rows():
        if text is None:
            out.append((None, unit_text, None, None, None, None, None, None))
        elif layout.row_variables_as_printed:
            out.append((text, unit_text, None, clean(text), clean(text), None, None, None))
        else:
            out.append((text, unit_text, *_row_variable(text, unit_text, match, reference, edition)))
    names = ("variable_text", "unit_text", "combined_region", "variable", "label", "unit", "reason", "fix")
    return pl.DataFrame(out, orient="row", schema={f"r_{name}": pl.String for name in names})


def _row_variable(
    text: str, unit_text: str | None, match: Match, reference: Reference, edition: str | None
) -> tuple[str | None, str | None, str | None, str | None, str | None, str | None]:
    """Region, variable, label, unit, reason and fix of one row label."""
    layout, bracket, region = match.layout, None, None
    if match.axes.variable == "row_label":
        region, variable, label, unit = split_label(text, layout, reference, edition)
    else:
        variable, label, unit, bracket = variable_label(text, layout, reference, edition)
    if variable is None:
        return region, None, label, None, f"indicator «{label}» is not in the layout", _add_fix(layout)
    if unit is None and unit_text is not None:
        known = reference.unit(clean(unit_text))
        unit, bracket = (known.printed, None) if known else (None, clean(unit_text))
    named, reason, fix = resolve_unit(variable, unit, bracket, [], layout, reference)
    return region, variable, label, named, reason, fix


def _add_fix(layout: Layout) -> str:
    return f"add it to reference/layouts/{layout.table}.csv; {SHOW}"


def _complete(body: pl.DataFrame, match: Match, year: PageYear) -> pl.DataFrame:
    """Region, year, variable, label and unit of every cell, each from its axis."""
    axes = match.axes
    regions = {"row": pl.col("r_region"), "row_label": pl.col("r_region"), "page": pl.lit(match.page_region, pl.String)}
    region = regions.get(axes.region, region_label_expr(pl.col("c_region")))
    page_year = pl.lit(year.year, pl.Int32)
    years = {"row": pl.col("r_year"), "row_header": pl.col("r_year"), "column": pl.col("c_year")}.get(
        axes.year, pl.coalesce("c_year", page_year)
    )
    by_row = axes.variable in ("row", "row_label")
    return body.with_columns(
        v_region=region,
        v_year=years.cast(pl.Int32),
        v_variable=pl.col("r_variable" if by_row else "c_variable"),
        v_label=pl.col("r_label" if by_row else "c_label"),
        v_unit=pl.coalesce("r_unit", "c_unit") if by_row else pl.col("c_unit"),
        v_code=pl.col("r_code_text").str.strip_chars(),
        v_province=region_label_expr(pl.col("r_province_text")),
        v_item=pl.col("r_variable") if match.layout.row_variables_as_printed else _STRING,
    )


def _reasons(match: Match, subtotal: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Why a cell in a column of values cannot be used, and what to do; null where it can."""
    table = match.layout.table
    year_missing = pl.col("v_year").is_null()
    if match.axes.year == "page":
        year_reason, year_fix = pl.lit("the page does not say its year"), pl.lit(YEAR_FIX)
    else:
        year_reason = pl.format("year «{}» is not readable", pl.coalesce(pl.col("r_year_text"), pl.lit("")))
        year_fix = pl.lit(f"correct the source, or the year column of reference/layouts/{table}.yaml; {SHOW}")
    number = pl.col("value").is_null() | (pl.col("kind") == "bool")
    percent = pl.col("text").str.contains(r"%\s*$") & (pl.col("v_unit") != "%").fill_null(True)
    source = pl.lit(f"correct the source; {SHOW}")
    marks = pl.lit(f"correct the source, or add the mark to blank_marks in reference/layouts/_common.yaml; {SHOW}")
    no_region = pl.col("v_region").is_null() | (pl.col("v_region") == "")
    no_variable = pl.col("v_variable").is_null() | pl.col("v_unit").is_null()
    rules: list[tuple[pl.Expr, pl.Expr, pl.Expr]] = [
        (pl.col("c_role").is_null(), pl.lit("no header above this cell"), source),
        (pl.col("tail") & ~pl.col("labelled"), pl.lit("outside the table: its row has no label"), source),
        (pl.col("c_reason").is_not_null(), pl.col("c_reason"), pl.col("c_fix")),
        (~pl.col("labelled"), pl.lit("its row has no label"), pl.lit(f"fill in the row's label in the source; {SHOW}")),
        (pl.col("r_reason").is_not_null(), pl.col("r_reason"), pl.col("r_fix")),
        (number, pl.lit("not a number"), marks),
        (percent, pl.lit("a percentage in a column of another unit"), pl.lit(f"give the unit in the header; {SHOW}")),
        (no_region, pl.lit("its row has no region"), pl.lit(f"fill in the region; {SHOW}")),
        (year_missing, year_reason, year_fix),
        (no_variable, pl.lit("variable or unit is not known"), pl.lit(_add_fix(match.layout))),
    ]
    if match.layout.subtotals == "quarantine":
        keep = pl.lit(f"subtotals: keep in reference/layouts/{table}.yaml")
        rules.append((subtotal, pl.lit("a subtotal, which this layout does not take"), keep))
    reason, fix = _STRING, _STRING
    for test, why, how in reversed(rules):
        reason = pl.when(test.fill_null(False)).then(why).otherwise(reason)
        fix = pl.when(test.fill_null(False)).then(how).otherwise(fix)
    return reason, fix


def _roles(body: pl.DataFrame, match: Match, reference: Reference) -> pl.DataFrame:
    """Role, reason and fix of every cell of the body."""
    text = (pl.col("kind") == "text") & pl.col("value").is_null()
    advert = text & pl.col("text").str.contains(reference.advert_pattern)
    region = pl.col("v_region")
    listed = region.is_in(list(reference.subtotals)) | region.str.contains(reference.subtotal_pattern)
    subtotal = listed.fill_null(False)
    blank = text & pl.col("text").str.strip_chars().is_in(list(reference.blank_marks)) & pl.col("labelled")
    reason, fix = _reasons(match, subtotal)
    stub_names = {"region": "region_label", "year": "year_label", "variable": "item_label", "unit": "unit",
                  "attribute": "attribute", "code": "attribute", "province": "attribute"}  # fmt: skip
    stub = pl.col("c_role").replace_strict(stub_names, default=None, return_dtype=pl.String)
    is_value_column = pl.col("c_role").is_null() | pl.col("c_role").is_in(["value", "unknown"])
    body = body.with_columns(subtotal=subtotal, c_stub=stub, why=reason, how=fix, blank=blank)
    heading = pl.col("r_heading") if "r_heading" in body.columns else pl.lit(False)
    lone = pl.col("tail") & ~pl.col("is_note")
    name = (pl.col("c_role") == "region") & pl.col("v_region").str.contains(SHORT_NAME)
    described = pl.col("c_stub").is_not_null() & ~pl.col("tail")
    role = (
        pl.when(advert & ~described).then(pl.lit("advert"))
        .when(pl.col("is_note")).then(pl.lit("note"))
        .when(heading & (pl.col("c_role") == "region")).then(pl.lit("year_label"))
        .when(lone & pl.col("c_stub").is_not_null() & ~name.fill_null(False)).then(pl.lit("quarantined"))
        .when((pl.col("c_role") == "region") & pl.col("subtotal")).then(pl.lit("subtotal_label"))
        .when(pl.col("c_stub").is_not_null()).then(pl.col("c_stub"))
        .when(is_value_column & pl.col("blank") & pl.col("c_role").is_not_null()).then(pl.lit("blank_mark"))
        .when(is_value_column & pl.col("why").is_null()).then(pl.lit("value"))
        .otherwise(pl.lit("quarantined"))
    )  # fmt: skip
    body = body.with_columns(role=role)
    bad, stray = pl.col("role") == "quarantined", pl.col("c_stub").is_not_null()
    told = bad | (pl.col("role") == "value")
    outs = {f"out_{name}": pl.when(told & ~stray).then(pl.col(column)) for name, column in TOLD.items()}
    loose = pl.lit("text below the table that is no note")
    loose_fix = pl.lit(f"add its beginning to note_pattern in reference/layouts/_common.yaml; {SHOW}")
    return body.with_columns(
        **outs,
        out_number=pl.when(pl.col("role") == "value").then("value"),
        out_subtotal=pl.when(told & ~stray).then("subtotal"),
        out_reason=pl.when(bad & stray).then(loose).when(bad).then("why"),
        out_fix=pl.when(bad & stray).then(loose_fix).when(bad).then("how"),
    )
