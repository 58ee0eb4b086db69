"""Reading the pages of one file: every non-empty cell gets a role, every value its region, year, variable and unit.

`read_file` finds the tables (`header`), asks which layout explains each (`matching`), and reads the bodies column-wise
(`body`). What no layout explains is quarantined with the reason; nothing is dropped: roles partition the cells.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import polars as pl

from dei_pipeline.provenance import Table, make_edges
from dei_pipeline.sources.body import PAGE_CELL_SCHEMA, YEAR_FIX, PageYear, read_block, text_roles
from dei_pipeline.sources.header import Block, find_blocks
from dei_pipeline.sources.labels import (
    has_han,
    key_expr,
    number_expr,
    split_units,
    unit_statement,
    year_expr,
    year_in_name,
    year_in_title,
)
from dei_pipeline.sources.layouts import Layout, Reference, default_reference
from dei_pipeline.sources.matching import SHOW, Context, Match, best_match

PAGE_SCHEMA = pl.Schema({
    "sha256": pl.String(), "file": pl.String(), "sheet": pl.String(), "block": pl.Int32(), "layout": pl.String(),
    "reason": pl.String(), "fix": pl.String(), "note": pl.String(), "title": pl.String(), "first_row": pl.Int32(),
    "last_row": pl.Int32(), "header_first_row": pl.Int32(), "header_last_row": pl.Int32(), "year": pl.Int32(),
    "year_from": pl.String(), "edition": pl.String(), "unit_text": pl.String(), "source_id": pl.String(),
    "n_cells": pl.Int32(), "n_values": pl.Int32(), "n_layout": pl.Int32(), "n_quarantined": pl.Int32(),
})  # fmt: skip
VALUE_SCHEMA = pl.Schema({
    "source_cell": pl.String(), "region_label": pl.String(), "year": pl.Int32(), "variable": pl.String(),
    "label": pl.String(), "value": pl.Float64(), "unit": pl.String(), "raw_text": pl.String(), "edition": pl.String(),
    "source_id": pl.String(), "subtotal": pl.Boolean(), "item": pl.String(),
    "code_hint": pl.String(), "province_hint": pl.String(),
})  # fmt: skip
MAX_KEY_TEXT = 200
TRANSLATION = r"(\p{Han}[^A-Za-z]*)\s+[A-Za-z][A-Za-z .&/-]*$"
MAX_FILE_TITLES = 300


@dataclass(frozen=True)
class Reading:
    """How one file is understood: `pages`, one row per table of a sheet; `page_cells`, one row per non-empty cell."""

    pages: pl.DataFrame
    page_cells: pl.DataFrame


@dataclass(frozen=True)
class _Sheet:
    name: str
    cells: pl.DataFrame
    blocks: list[Block]


def read_file(
    cells: pl.DataFrame,
    manifest: Mapping[str, Any],
    layouts: Sequence[Layout],
    reference: Reference | None = None,
) -> Reading:
    """Pages and page cells of one file.

    Args:
        cells: raw/cells rows of one file.
        manifest: its manifest: `sha256`, `file`; optional `edition`, `year` with `year_from`, `source_id`.
        layouts: candidates, from `load_layouts`.
        reference: units, variables and common patterns (default: the package's).
    """
    reference = reference or default_reference()
    sheets = _sheets(cells, layouts, reference)
    free = [s.cells for s in sheets if not s.blocks]
    texts = [t for c in free for t in c.filter(pl.col("kind") == "text")["text"].head(MAX_FILE_TITLES)]
    file_units = _file_units(free, reference)
    read: list[tuple[_Sheet, Block, Match | None, str, str]] = []
    previous: dict[str, Any] = {}
    for sheet in sheets:
        for block in sheet.blocks:
            titles = _own_titles(block, previous)
            title = " ".join(titles)
            page = block.units
            block.units = page or previous.get("units", []) if block.continuation else page
            context = Context(titles, texts, manifest.get("edition"), _row_labels(sheet.cells, block))
            match, reason = best_match(block, layouts, reference, context)
            if match is not None and not block.units and file_units:
                match, reason = _with_file_units(block, file_units, layouts, reference, context, match)
            read.append((sheet, block, match, reason, title))
            previous = {
                "titles": previous.get("titles", []) if block.continuation else titles,
                "units": block.units,
                "sheet": sheet.name,
            }
    any_match = any(m is not None for _, _, m, _, _ in read)
    pages: list[dict[str, Any]] = []
    frames: list[pl.DataFrame] = []
    for sheet, block, match, reason, title in read:
        page_row, frame = _read_page(sheet, block, match, reason, title, manifest, texts, reference)
        pages.append(page_row)
        frames.append(frame)
    for sheet in sheets:
        if not sheet.blocks and sheet.cells.height:
            page_row, frame = _free_sheet(sheet, any_match, manifest, reference)
            pages.append(page_row)
            frames.append(frame)
    return _assemble(cells, pages, frames)


def staging_values(page_cells: pl.DataFrame, pages: pl.DataFrame, table: str) -> Table:
    """The value cells of one staging table, their edges to raw/cells, and the cells of its pages that were quarantined.

    Args:
        page_cells: staging/page_cells, of any number of files.
        pages: staging/pages of the same files.
        table: name of the layout.
    """
    names = ["sha256", "sheet", "block"]
    about = pages.select(*names, "file", "edition", "source_id")
    mine = page_cells.filter(pl.col("layout") == table).join(about, on=names, how="left", maintain_order="left")
    values = mine.filter(pl.col("role") == "value")
    frame = values.select(
        "source_cell", "region_label", "year", "variable", "label", pl.col("number").alias("value"), "unit",
        pl.col("text").alias("raw_text"), "edition", "source_id", "subtotal", "item", "code_hint", "province_hint",
    ).cast(VALUE_SCHEMA)  # fmt: skip
    edges = make_edges(frame, ["source_cell"], "raw/cells", ["source_cell"], "value", 1.0)
    bad = quarantined(mine)
    notes = {"pages": mine.select(names).n_unique(), "values": frame.height, "quarantined": bad.height}
    return Table(frame, edges, bad, notes)


def quarantined(page_cells: pl.DataFrame) -> pl.DataFrame:
    """The quarantined cells with reason and fix (`QUARANTINE_COLUMNS`, then what was understood of them).

    Args:
        page_cells: rows of staging/page_cells, with the `file` of their page joined.
    """
    return page_cells.filter(pl.col("role") == "quarantined").select(
        "reason", "fix", "source_cell", "file", "sheet", "cell", pl.col("text").alias("raw_text"),
        "layout", "block", "region_label", "year", "variable", "label", "unit", "item",
    )  # fmt: skip


def blocks_of(
    cells: pl.DataFrame, layouts: Sequence[Layout], reference: Reference, headings: Sequence[str] = ()
) -> list[Block]:
    """The tables that stand in a file, whether a layout explains them or not; `headings` mark a header row too."""
    return [block for sheet in _sheets(cells, layouts, reference, headings) for block in sheet.blocks]


def _sheets(
    cells: pl.DataFrame, layouts: Sequence[Layout], reference: Reference, headings: Sequence[str] = ()
) -> list[_Sheet]:
    """The sheets of a file with their tables found."""
    stub_keys = {k for x in layouts for a in x.axes for r in ("region", "year", "variable") for k in a.stubs[r]}
    stub_keys |= set(headings)
    prepared = _prepare(cells)
    names = cells["sheet"].unique(maintain_order=True)
    return [_sheet(name, prepared.filter(pl.col("sheet") == name), reference, stub_keys) for name in names]


def _prepare(cells: pl.DataFrame) -> pl.DataFrame:
    """The cells with `key`, `han_key`, `value` (number read) and `is_year` added; each different text is read once."""
    kind, text = pl.col("kind"), pl.col("text")
    short = (kind == "text") & (text.str.len_chars() <= MAX_KEY_TEXT)
    read = cells.select("kind", "text").unique().with_columns(
        key=pl.when(short).then(key_expr(text)),
        han_key=pl.when(short).then(key_expr(text.str.replace(TRANSLATION, "${1}"))),
        text_value=pl.when(short).then(number_expr(text)),
        is_year=pl.when(kind.is_in(["text", "number", "date"]))
        .then(year_expr(text.str.slice(0, 30)).is_not_null())
        .otherwise(False),
    )  # fmt: skip
    joined = cells.join(read, on=["kind", "text"], how="left", maintain_order="left")
    return joined.with_columns(value=pl.when(kind == "number").then("number").otherwise("text_value")).drop(
        "text_value"
    )


def _sheet(name: str, cells: pl.DataFrame, reference: Reference, stub_keys: set[str]) -> _Sheet:
    blocks = find_blocks(cells, reference, stub_keys)
    for block in blocks:
        block.sheet = name
    return _Sheet(name, cells, blocks)


def _own_titles(block: Block, previous: Mapping[str, Any]) -> list[str]:
    """The block's titles; those of the table before it for a continuation, or for a further table without its own."""
    own = block.titles
    if block.continuation or (not own and previous.get("sheet") == block.sheet):
        return [*previous.get("titles", []), *own]
    return own


def _row_labels(cells: pl.DataFrame, block: Block) -> dict[int, list[str]]:
    """Different texts of the first columns of a body, for layouts whose rows name the variable."""
    body = cells.filter(
        pl.col("row").is_between(block.header_last + 1, block.last) & pl.col("value").is_null() & ~pl.col("is_year")
        & pl.col("col").is_between(block.first_col, block.first_col + 12)
    )  # fmt: skip
    grouped = body.group_by("col").agg(pl.col("text").unique(maintain_order=True).head(400))
    return dict(grouped.iter_rows())


def _file_units(free: Sequence[pl.DataFrame], reference: Reference) -> list[str]:
    """Units stated on a sheet without a table («单位 | 亿元»)."""
    for cells in free:
        lines = cells.filter(pl.col("kind") == "text").head(MAX_FILE_TITLES).select("key", "text").rows()
        for i, (key_text, text) in enumerate(lines):
            stated = unit_statement(text)
            if stated is None and key_text == "单位" and i + 1 < len(lines):
                stated = lines[i + 1][1]
            if stated is not None and all(reference.unit(u) for u in split_units(stated)):
                return split_units(stated)
    return []


def _with_file_units(
    block: Block, units: list[str], layouts: Sequence[Layout], reference: Reference, context: Context, plain: Match
) -> tuple[Match, str]:
    """The match with the units of another sheet, where they fit every column."""
    block.units = units
    match, reason = best_match(block, layouts, reference, context)
    if match is None or any(r.reason for r in match.columns.values()):
        block.units = []
        return plain, ""
    return match, reason


def _page_year(
    match: Match, title: Sequence[str], block: Block, manifest: Mapping[str, Any], texts: Sequence[str]
) -> PageYear:
    """The year of a page that holds one year, and where it comes from."""
    name = PurePath(str(manifest.get("file") or "")).stem
    named = year_in_name(name)
    note = ""
    sides: list[tuple[str, int | None]] = [
        ("title", _title_year(title)),
        ("title", next((y for t in texts if _names_page(match, t) and (y := year_in_title(t))), None)),
        ("sheet", year_in_title(block.sheet)),
        ("sidecar", manifest.get("year") if manifest.get("year_from") != "filename" else None),
        ("filename", named if named is not None else manifest.get("year")),
        ("layout", match.layout.page_year),
    ]
    year, origin = next(((int(y), o) for o, y in sides if y is not None), (None, None))
    if year is not None and origin != "filename" and named is not None and named != year:
        note = f"the file's name says {named}, the {origin} says {year}: the {origin} wins"
    return PageYear(year, origin, note)


def _names_page(match: Match, text: str) -> bool:
    return any(re.search(p, re.sub(r"\s+", "", text)) for p in match.layout.title_patterns)


def _title_year(titles: Sequence[str]) -> int | None:
    """The year of the title lines: Chinese lines first; None where they disagree."""
    for lines in ([t for t in titles if has_han(t)], list(titles)):
        years = {y for t in lines if (y := year_in_title(t)) is not None}
        if years:
            return years.pop() if len(years) == 1 else None
    return None


def _read_page(
    sheet: _Sheet, block: Block, match: Match | None, reason: str, title: str, manifest: Mapping[str, Any],
    texts: Sequence[str], reference: Reference,
) -> tuple[dict[str, Any], pl.DataFrame]:  # fmt: skip
    """One row of staging/pages and the page cells of one block."""
    cells = sheet.cells.filter(
        pl.col("row").is_between(block.top, block.last) & pl.col("col").is_between(block.first_col, block.last_col)
    )
    row: dict[str, Any] = {
        "sheet": sheet.name, "block": block.number, "title": title, "first_row": block.top, "last_row": block.last,
        "header_first_row": block.header_first, "header_last_row": block.header_last,
        "unit_text": ",".join(block.units), "source_id": manifest.get("source_id"), "file": manifest.get("file"),
    }  # fmt: skip
    if match is None:
        nearest = ", or extend the nearest" if "nearest" in reason else ""
        fix = f"write reference/layouts/<source>__<page>.yaml and .csv{nearest}; {SHOW}"
        frame = text_roles(cells, reference, None, reason, fix)
        return row | {"reason": reason, "fix": fix}, frame.with_columns(block=pl.lit(block.number, pl.Int32))
    year = PageYear(None, None, "")
    if match.axes.year == "page":
        year = _page_year(match, [*_lines(block, title)], block, manifest, texts)
    frame = read_block(cells, block, match, year, reference, manifest.get("edition"))
    years = frame.filter(pl.col("role") == "value")["year"].drop_nulls().to_list()
    latest = max(years) if years else year.year
    origin = year.origin or {"column": "header", "row": "column", "row_header": "column"}.get(match.axes.year)
    row |= {
        "layout": match.layout.table, "year": year.year, "year_from": origin if latest is not None else None,
        "edition": str(manifest.get("edition") or ("" if latest is None else latest + 1)) or None,
        "source_id": manifest.get("source_id") or match.layout.source_id, "note": year.note or None,
    }  # fmt: skip
    if match.axes.year == "page" and year.year is None and not years:
        row |= {"reason": "the page does not say its year", "fix": YEAR_FIX}
    return row, frame.with_columns(block=pl.lit(block.number, pl.Int32))


def _lines(block: Block, title: str) -> list[str]:
    """The block's own title lines, or the inherited title where it has none."""
    own = [t for t in block.titles if t]
    return own if own and not block.continuation else [title]


def _free_sheet(
    sheet: _Sheet, any_match: bool, manifest: Mapping[str, Any], reference: Reference
) -> tuple[dict[str, Any], pl.DataFrame]:
    """A sheet without a table: notes and adverts beside a page that was understood, otherwise quarantined."""
    cells = sheet.cells
    numbers = cells.filter(pl.col("value").is_not_null() & ~pl.col("is_year")).height
    row: dict[str, Any] = {
        "sheet": sheet.name, "block": 1, "title": "", "first_row": cells["row"].min(), "last_row": cells["row"].max(),
        "source_id": manifest.get("source_id"), "file": manifest.get("file"),
    }  # fmt: skip
    if any_match and numbers == 0:
        row |= {"note": "text only: notes and adverts"}
        frame = text_roles(cells, reference, "note", "", "")
    else:
        reason = "no layout explains this page; no header row was found (no column headed 地区, 城市, 年份, 指标 …)"
        fix = f"head the region column 地区, or add its heading to reference/layouts/_common.yaml; {SHOW}"
        row |= {"reason": reason, "fix": fix}
        frame = text_roles(cells, reference, None, reason, fix)
    return row, frame.with_columns(block=pl.lit(1, pl.Int32))


def _assemble(cells: pl.DataFrame, pages: list[dict[str, Any]], frames: list[pl.DataFrame]) -> Reading:
    """Pages with their counts, and page cells in the order of the file."""
    if not frames:
        return Reading(pl.DataFrame(schema=PAGE_SCHEMA), pl.DataFrame(schema=PAGE_CELL_SCHEMA))
    done = pl.concat([f.select(*PAGE_CELL_SCHEMA).cast(PAGE_CELL_SCHEMA) for f in frames])
    order = cells.select("source_cell").with_row_index("order")
    done = done.join(order, on="source_cell", how="left").sort("order").drop("order")
    if done.height != cells.height or done["source_cell"].n_unique() != cells.height:
        raise AssertionError(f"{done.height} page cells from {cells.height} cells: roles must partition the cells")
    role = pl.col("role")
    counts = done.group_by("sheet", "block").agg(
        n_cells=pl.len(), n_values=(role == "value").sum(), n_quarantined=(role == "quarantined").sum()
    )
    sha256 = cells["sha256"][0]
    blank = dict.fromkeys(PAGE_SCHEMA)
    frame = pl.DataFrame(
        [{k: v for k, v in (blank | p | {"sha256": sha256}).items() if not k.startswith("n_")} for p in pages],
        schema={k: v for k, v in PAGE_SCHEMA.items() if not k.startswith("n_")},
    )
    frame = frame.join(counts.with_columns(pl.col("block").cast(pl.Int32)), on=["sheet", "block"], how="left")
    frame = frame.with_columns(n_layout=pl.col("n_cells") - pl.col("n_values") - pl.col("n_quarantined"))
    return Reading(frame.select(*PAGE_SCHEMA).cast(PAGE_SCHEMA), done)
