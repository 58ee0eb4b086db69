"""Where the tables of a sheet stand: title area, header rows, body; and what each column's header says.

Nothing here knows a layout except by its stub headings (地区, 年份, 指标名称 ...): a row that holds one
is a header row.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

import polars as pl

from dei_pipeline.sources.labels import (
    chinese,
    clean,
    has_han,
    key,
    split_bracket,
    split_units,
    unit_statement,
    year_of,
)
from dei_pipeline.sources.layouts import Reference

MAX_HEADER_ROWS = 9
MIN_YEAR_RUN = 3


@dataclass(frozen=True)
class Cell:
    """One non-empty cell of a title or header area."""

    row: int
    col: int
    text: str
    row_span: int
    col_span: int
    numeric: bool


@dataclass(frozen=True)
class HeaderColumn:
    """What stands above one column.

    Attributes:
        col: 1-based column.
        label: the Chinese header, parents first, joined by «/», as printed but without blanks and units.
        candidates: keys to look the header up by, the fullest first.
        loose: keys without a last bracket that is no known unit («人口(斤)» -> «人口»).
        unit: the unit printed in the header, where units.csv knows it.
        bracket: text of a last bracket that is no known unit.
        year: the year the header states.
    """

    col: int
    label: str
    candidates: tuple[str, ...]
    loose: tuple[str, ...] = ()
    unit: str | None = None
    bracket: str | None = None
    year: int | None = None


@dataclass
class Block:
    """One table of a sheet: rows `top..last`, columns `first_col..last_col`, header rows in between."""

    sheet: str
    number: int
    top: int
    header_first: int
    header_last: int
    last: int
    first_col: int
    last_col: int
    columns: list[HeaderColumn] = field(default_factory=list)
    above: list[Cell] = field(default_factory=list)
    header: list[Cell] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    continuation: bool = False


def find_blocks(cells: pl.DataFrame, reference: Reference, stub_keys: Collection[str]) -> list[Block]:
    """The tables of one sheet, top to bottom and left to right, with titles, units and columns read.

    Args:
        cells: raw/cells of one sheet with `key` (str, null for numbers), `han_key` (without a translation behind it),
            `value` (f64) and `is_year` (bool) added.
        reference: units and patterns.
        stub_keys: keys of all headings that mark a header row.
    """
    names = list(stub_keys)
    rows = cells.group_by("row").agg(
        n=pl.len(),
        n_numeric=(pl.col("value").is_not_null() & ~pl.col("is_year")).sum(),
        n_year=pl.col("is_year").sum(),
        anchors=pl.col("col").filter(pl.col("key").is_in(names) | pl.col("han_key").is_in(names)).sort(),
    )
    found = rows.filter((pl.col("anchors").list.len() > 0) & (pl.col("n") > 1) & (pl.col("n_numeric") == 0))
    anchors: dict[int, list[int]] = dict(found.sort("row").select("row", "anchors").iter_rows())
    if not anchors:
        anchors = _year_runs(cells, rows)
    headers: list[tuple[int, int, int, list[int]]] = []
    for row, cols in anchors.items():
        if headers and row <= headers[-1][2]:
            continue
        near = _grid(cells.filter(pl.col("row").is_between(row - MAX_HEADER_ROWS, row + MAX_HEADER_ROWS)))
        floor = headers[-1][2] if headers else 0
        headers.append((_header_top(near, row, cols, floor), row, _header_bottom(near, row, cols), cols))
    out: list[Block] = []
    top = 1
    final = int(cells["row"].max() or 1)  # type: ignore[arg-type]
    for i, (first, row, last, cols) in enumerate(headers):
        limit = headers[i + 1][0] - 1 if i + 1 < len(headers) else final
        end = limit if i + 1 == len(headers) else _body_end(cells, reference, cols, last, limit)
        group = _side_by_side(cells, row, cols)
        for first_col, last_col in group:
            block = Block("", len(out) + 1, top, first, last, end, first_col, last_col)
            out.append(_describe(block, cells, reference, group[0][0] == first_col))
        top = end + 1
    return out


def _year_runs(cells: pl.DataFrame, rows: pl.DataFrame) -> dict[int, list[int]]:
    """A header row without a heading over the stub: the first row that is a run of different years."""
    runs = rows.filter((pl.col("n_year") >= MIN_YEAR_RUN) & (pl.col("n_year") >= pl.col("n") - 1)).sort("row")
    for row in runs["row"].to_list():
        years = cells.filter((pl.col("row") == row) & pl.col("is_year"))
        left = int(years["col"].min() or 1) - 1  # type: ignore[arg-type]
        if years["text"].n_unique() == years.height and left >= 1:
            return {row: [left]}
    return {}


def _grid(cells: pl.DataFrame) -> dict[int, list[Cell]]:
    """Cells by row, in column order."""
    out: dict[int, list[Cell]] = {}
    wanted = cells.sort("row", "col").select(
        "row", "col", "text", "row_span", "col_span", pl.col("value").is_not_null() & ~pl.col("is_year")
    )
    for values in wanted.iter_rows():
        out.setdefault(values[0], []).append(Cell(*values))
    return out


def _header_bottom(grid: dict[int, list[Cell]], row: int, cols: list[int]) -> int:
    """Last header row: merged headings reach down, then text rows without a label in the stub columns."""
    bottom = max((c.row + c.row_span - 1 for c in grid.get(row, []) if c.col in cols), default=row)
    for r in range(bottom + 1, row + MAX_HEADER_ROWS):
        line = grid.get(r)
        if not line or any(c.numeric for c in line):
            break
        stub = [c for c in line if c.col in cols]
        if any(has_han(c.text) or year_of(c.text) is not None or re.search(r"\d", c.text) for c in stub):
            break
        if stub and len(stub) == len(line):
            break
        bottom = max(r, *(c.row + c.row_span - 1 for c in line))
    return bottom


def _header_top(grid: dict[int, list[Cell]], row: int, cols: list[int], floor: int) -> int:
    """First header row: rows of column headings may stand above the row that names the stub."""
    top = row
    for r in range(row - 1, max(floor, row - MAX_HEADER_ROWS), -1):
        line = grid.get(r)
        if not line or any(c.numeric or c.col <= cols[0] or unit_statement(c.text) for c in line):
            break
        if len(line) < 2 and line[0].col_span < 2:
            break
        if all(re.fullmatch(r"\(.*\)", clean(c.text)) for c in line):
            break
        top = r
    return top


def _body_end(cells: pl.DataFrame, reference: Reference, cols: list[int], last: int, limit: int) -> int:
    """Last row of a body that another table follows: its last labelled row with numbers, and the notes under it."""
    gap = cells.filter(pl.col("row").is_between(last + 1, limit))
    labelled = gap.filter(pl.col("col").is_in(cols))["row"].unique()
    numbers = gap.filter(
        pl.col("value").is_not_null() & ~pl.col("col").is_in(cols) & pl.col("row").is_in(labelled.implode())
    )
    end = int(numbers["row"].max() or last)  # type: ignore[arg-type]
    note = False
    for row, line in sorted(_grid(gap.filter(pl.col("row") > end)).items()):
        text = clean(line[0].text)
        if re.search(reference.note_pattern, text) or re.search(reference.advert_pattern, text):
            note = True
        elif not (note and row == end + 1) or _opens_table(text, reference):
            break
        end = row
    return end


def _opens_table(text: str, reference: Reference) -> bool:
    """True for a line that begins a new table: a table number, «续表», a unit statement."""
    numbered = re.match(r"(?:附?表\s*)?\d+\s*[-–—.]\s*\d+", text)
    return bool(numbered or re.search(reference.continuation_pattern, text) or unit_statement(text))


def _side_by_side(cells: pl.DataFrame, row: int, cols: list[int]) -> list[tuple[int, int]]:
    """Column ranges of the tables that share a header row: a heading printed twice begins a second table."""
    heads = cells.filter((pl.col("row") == row) & pl.col("col").is_in(cols)).sort("col")
    first = heads["key"].to_list()[0] if heads.height else None
    starts = [c for c, k in heads.select("col", "key").iter_rows() if k == first and k] or [1]
    starts[0] = 1
    return [(a, (starts[i + 1] - 1) if i + 1 < len(starts) else 1 << 20) for i, a in enumerate(starts)]


def _describe(block: Block, cells: pl.DataFrame, reference: Reference, first: bool) -> Block:
    """The block with its title lines, units and columns filled in."""
    upper = _grid(cells.filter(pl.col("row").is_between(block.top, block.header_last)))
    lines = [c for r in sorted(upper) for c in upper[r]]
    block.above = [c for c in lines if c.row < block.header_first and (first or c.col >= block.first_col)]
    shared = [c for c in lines if c.row < block.header_first]
    inside = (c for c in lines if c.row >= block.header_first)
    block.header = [c for c in inside if block.first_col <= c.col <= block.last_col]
    for index, cell in enumerate(shared):
        statement = unit_statement(cell.text)
        if statement is None and key(cell.text) == "单位" and index + 1 < len(shared):
            statement = shared[index + 1].text
        if statement is not None and not re.match(r"(?:详?见|如)", statement):  # «单位：见各列»
            block.units = split_units(statement)
        if not is_unit_line(cell.text) and not cell.numeric:
            block.titles.append(clean(cell.text))
    if not block.units:
        for cell in shared:
            inner = clean(cell.text).strip("()")
            if is_unit_line(cell.text) and reference.unit(inner):
                block.units = [inner]
    block.continuation = any(re.search(reference.continuation_pattern, t) for t in block.titles)
    block.columns = _columns(block, reference)
    known = {c.col for c in block.columns}
    body = cells.filter(pl.col("row").is_between(block.header_last + 1, block.last))
    left = body.filter(pl.col("col").is_between(block.first_col, block.last_col))["col"].min()
    if left is not None and int(left) not in known:  # type: ignore[arg-type]
        block.columns.insert(0, HeaderColumn(int(left), "", ("",)))  # type: ignore[arg-type]
    return block


def is_unit_line(text: str) -> bool:
    """True for a line that states units only: «单位:亿元», «(100 million yuan)», «(%)»."""
    plain = clean(text)
    return bool(
        re.match(r"\(?\s*(?:计量)?单\s*位\s*(?::|$)", plain)
        or (re.fullmatch(r"\([^()]*\)", plain) and not has_han(plain))
    )


def _columns(block: Block, reference: Reference) -> list[HeaderColumn]:
    """The headers of a block's columns, from the cells that stand or reach (merged) above each."""
    own: dict[int, list[Cell]] = {}
    over: dict[int, list[Cell]] = {}
    for cell in block.header:
        own.setdefault(cell.col, []).append(cell)
        for col in range(cell.col, min(cell.col + cell.col_span, block.last_col + 1)):
            over.setdefault(col, []).append(cell)
    top_row = [c for c in block.header if c.row == block.header_first]
    out = []
    for col in sorted(over):
        parents = [c for c in over[col] if c.col != col]
        filled: list[Cell] = []
        if not parents and not any(c.row == block.header_first for c in own.get(col, [])):
            filled = [c for c in top_row if c.col < col][-1:]
        out.append(_column(col, parents, own.get(col, []), filled, reference))
    return out


def _parts(cells: list[Cell], reference: Reference) -> tuple[list[str], list[str], str | None, str | None, int | None]:
    """Label parts, the same without a last unknown bracket, unit, unknown bracket and year of stacked header cells."""
    texts = [chinese(c.text) for c in cells]
    if any(has_han(t) or year_of(t) for t in texts):
        texts = [t for t in texts if has_han(t) or year_of(t) or reference.unit(t.strip("()"))]
    parts: list[str] = []
    loose: list[str] = []
    unit: str | None = None
    bracket: str | None = None
    year: int | None = None
    for text in texts:
        if (stated := year_of(text)) is not None:
            year = stated
            continue
        dated = re.match(r"^((?:19|20)\d{2})年(?!=)(.+)$", text)
        if dated:
            year, text = int(dated.group(1)), dated.group(2)  # noqa: PLW2901
        label, inner = split_bracket(text)
        if inner is not None and reference.unit(inner):
            unit, text = inner, label  # noqa: PLW2901
        elif reference.unit(text) and len(texts) > 1 and has_han(text) and text == texts[-1]:
            unit, text = text, ""  # noqa: PLW2901
        elif inner is not None:
            bracket = inner
        if text:
            parts.append(text)
            loose.append(label if inner is not None else text)
    return parts, [p for p in loose if p], unit, bracket, year


def _column(col: int, parents: list[Cell], own: list[Cell], filled: list[Cell], reference: Reference) -> HeaderColumn:
    """One column's header from its parents (merged above it), its own cells, and the heading left of it (`filled`)."""
    above, above_loose, above_unit, _, above_year = _parts(parents, reference)
    parts, loose, unit, bracket, year = _parts(own, reference)
    if not parts and not above and filled:
        above, above_loose, above_unit, _, filled_year = _parts(filled, reference)
        above_year = above_year or filled_year
    tried = [*_suffixes(above, parts)]
    if filled and parts:
        tried += _suffixes(_parts(filled, reference)[0], parts)[:1]
    label = "/".join((*above, *(("".join(parts),) if parts else ())))
    return HeaderColumn(
        col, label, tuple(dict.fromkeys(tried)) or ("",), tuple(dict.fromkeys(_suffixes(above_loose, loose))),
        unit or above_unit, bracket, year if year is not None else above_year,
    )  # fmt: skip


def _suffixes(above: list[str], parts: list[str]) -> list[str]:
    """Keys of the whole path first, then without its leading parts."""
    path = [*above, *parts]
    return [k for i in range(len(path)) if (k := key("".join(path[i:])))]
