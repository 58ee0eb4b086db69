"""Showing how a page is understood, and drafting a layout for one that is not: what `dei layout FILE` prints."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import yaml

from dei_pipeline.errors import SourceError
from dei_pipeline.sources.header import Block, HeaderColumn
from dei_pipeline.sources.labels import has_han, key_expr, number_expr, year_of
from dei_pipeline.sources.layouts import Reference, default_layouts, default_reference
from dei_pipeline.sources.workbook import Reading, blocks_of

ROLE_NAMES = {
    "title": "标题 title", "header": "表头 header", "unit": "单位 unit", "note": "注释 note",
    "region_label": "地区 region", "year_label": "年份 year", "item_label": "指标 item",
    "subtotal_label": "小计 subtotal", "attribute": "属性 attribute",
    "heading": "分节 heading", "subtotal": "小计 subtotal", "item_kind": "类别 kind", "item_stage": "阶段 stage",
    "advert": "广告 advert", "blank_mark": "空缺 blank mark", "value": "数值 value", "quarantined": "隔离 quarantined",
}  # fmt: skip
SHOWN = 8
GUESS_SHARE = 0.9


def describe(reading: Reading) -> str:
    """How the pages of one file are understood, as text: places, variables with units and years, quarantined cells.

    Args:
        reading: what `read_file` returned for the file.
    """
    lines: list[str] = []
    for page in reading.pages.iter_rows(named=True):
        cells = reading.page_cells.filter((pl.col("sheet") == page["sheet"]) & (pl.col("block") == page["block"]))
        lines += [*_page(page), *_roles(cells), *_columns(cells), *_bad(cells), ""]
    return "\n".join(lines).rstrip() + "\n" if lines else "文件没有非空单元格 the file has no non-empty cell\n"


def _page(page: Mapping[str, Any]) -> Iterator[str]:
    """What is known of the page as a whole."""
    rows = f"行 rows {page['first_row']}-{page['last_row']}"
    yield f"== {page['sheet']} · 第{page['block']}表 table {page['block']} · {rows}"
    if page["title"]:
        yield f"   标题 title: {page['title']}"
    layout = page["layout"] or "无版式 none"
    yield f"   版式 layout: {layout}" + (
        f" · 表头 header rows {page['header_first_row']}-{page['header_last_row']}" if page["layout"] else ""
    )
    if page["layout"]:
        year = page["year"] if page["year"] is not None else "逐行或逐列 by row or column"
        yield (
            f"   年份 year: {year} (来自 from {page['year_from'] or '—'}) · 版次 edition: {page['edition'] or '—'}"
            f" · 单位 unit: {page['unit_text'] or '—'}"
        )
    yield (
        f"   单元格 cells: {page['n_cells']} = 数值 values {page['n_values']} + 版式 layout {page['n_layout']}"
        f" + 隔离 quarantined {page['n_quarantined']}"
    )
    for name, text in (("原因 reason", page["reason"]), ("办法 fix", page["fix"]), ("说明 note", page["note"])):
        if text:
            yield f"   {name}: {text}"


def _roles(cells: pl.DataFrame) -> Iterator[str]:
    """Row ranges and counts of each role."""
    grouped = (
        cells.group_by("role")
        .agg(pl.len(), pl.col("row").min().alias("a"), pl.col("row").max().alias("b"))
        .sort("a", "role")
    )
    for role, count, first, last in grouped.iter_rows():
        rows = f"行 row {first}" if first == last else f"行 rows {first}-{last}"
        yield f"   - {ROLE_NAMES.get(role, role)}: {count} ({rows})"


def _columns(cells: pl.DataFrame) -> Iterator[str]:
    """Header -> variable, unit and years, for columns or rows that hold values."""
    values = cells.filter(pl.col("role") == "value")
    seen = values.group_by("variable", "label", "unit", maintain_order=True).agg(
        pl.len(),
        pl.col("year").min().alias("a"),
        pl.col("year").max().alias("b"),
        pl.col("cell").first(),
        pl.col("subtotal").sum(),
    )
    for row in seen.head(60).iter_rows(named=True):
        years = str(row["a"]) if row["a"] == row["b"] else f"{row['a']}-{row['b']}"
        label = "" if row["label"] in (None, row["variable"]) else f"{row['label']} → "
        extra = f", 小计 subtotals {row['subtotal']}" if row["subtotal"] else ""
        what = f"{label}{row['variable']} [{row['unit']}] {years}"
        yield f"   * {what}: {row['len']} 个数 values from {row['cell']}{extra}"


def _bad(cells: pl.DataFrame) -> Iterator[str]:
    """Quarantined cells by reason, the first few with their text."""
    bad = cells.filter(pl.col("role") == "quarantined")
    for (reason, fix), part in bad.group_by("reason", "fix", maintain_order=True):
        some = ", ".join(f"{c} «{t[:20]}»" for c, t in part.select("cell", "text").head(SHOWN).iter_rows())
        more = f" … 共 of {part.height}" if part.height > SHOWN else ""
        yield f"   ! {reason}: {some}{more}"
        yield f"     办法 fix: {fix}"


def draft_layout(
    cells: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference | None = None
) -> tuple[str, str, str]:
    """Name, YAML and CSV of a layout for the first table of a file that no layout explains.

    Variable names and units are guesses to be reviewed; what cannot be guessed is marked `?`, which `load_layouts`
    refuses. Headings of regions and codes that no layout knows are guessed from what stands below them.

    Args:
        cells: raw/cells rows of the file.
        manifest: its manifest.
        reference: units and variables (default: the package's).

    Raises:
        SourceError: the file holds no table to draft from.
    """
    reference = reference or default_reference()
    guessed = {} if blocks_of(cells, default_layouts(), reference) else _guess_stubs(cells)
    block = next(iter(blocks_of(cells, default_layouts(), reference, guessed.get("region", ()))), None)
    if block is None:
        raise SourceError(
            f"{manifest.get('file') or 'the file'}: no table to draft a layout from: no row of headings above numbers",
            "give each column a heading, the regions' column 地区",
        )
    stub, data, years = _split_columns(block, reference, guessed)
    title = next((t for t in block.titles if has_han(t)), "")
    source = str(manifest.get("source_id") or "source")
    table = f"{source if re.fullmatch(r'[a-z][a-z0-9_]*', source) else 'source'}__page"
    by_year = len(years) > len(data)
    axes: dict[str, Any] = {
        "region": "row",
        "year": "column" if by_year else "page",
        "variable": "fixed" if by_year else "column",
    }
    if any(year_of(c.text) is None and c.text for c in block.header) and stub.get("year"):
        axes["year"] = "row"
    if by_year:
        axes["fixed"] = "?"
    axes["stub"] = {role: labels for role, labels in stub.items() if labels and role in ("region", "year", "code")}
    meta = {
        "table": table,
        "source_id": table.partition("__")[0],
        "producer": {"zh": str(manifest.get("producer") or "?"), "en": "?"},
        "publication": {"zh": str(manifest.get("title") or "?"), "en": "?"},
        "level": "province",
        "title": {"required": bool(title), "patterns": [_pattern(title)] if title else []},
        "axes": axes,
        "priority": 50,
        "coverage_floor": {"value": 0.95, "reason": "?", "date": "?"},
    }
    text = yaml.safe_dump(meta, allow_unicode=True, sort_keys=False, width=110)
    return (
        table,
        f"# draft: review every field and replace each ?; save as reference/layouts/{table}.yaml\n{text}",
        _draft_csv(block, data, by_year, reference),
    )


def _guess_stubs(cells: pl.DataFrame) -> dict[str, list[str]]:
    """Keys of the headings over names and over region codes, by role, where no heading is known; {} if none is found.

    The header is the first row of texts with a number in the row below; names are the first column of Chinese texts,
    codes a column of numbers of six digits.
    """
    for sheet in cells["sheet"].unique(maintain_order=True):
        here = cells.filter(pl.col("sheet") == sheet)
        number = number_expr(pl.col("text")).is_not_null()
        rows = here.group_by("row").agg(n=pl.len(), numbers=number.sum()).sort("row")
        below = pl.col("row").shift(-1) == pl.col("row") + 1
        heads = rows.filter((pl.col("numbers") == 0) & (pl.col("n") > 1) & below & (pl.col("numbers").shift(-1) > 0))
        if not heads.height:
            continue
        head = here.filter(pl.col("row") == heads["row"][0]).select("col", key=key_expr(pl.col("text")))
        body = here.filter(pl.col("row") > heads["row"][0]).group_by("col").agg(
            name=pl.col("text").str.contains(r"\p{Han}").mean() > GUESS_SHARE,
            code=pl.col("text").str.contains(r"^\s*[1-9]\d{5}\s*$").mean() > GUESS_SHARE,
        )  # fmt: skip
        found = head.join(body, on="col").filter(pl.col("key") != "").sort("col")
        names, codes = found.filter("name")["key"].to_list(), found.filter("code")["key"].to_list()
        if names:
            return {"region": names[:1], "code": codes[:1]}
    return {}


def _split_columns(
    block: Block, reference: Reference, guessed: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], list[HeaderColumn], list[HeaderColumn]]:
    """Stub headings by role, columns of values, and columns that state a year only."""
    stub: dict[str, list[str]] = {"region": [], "year": [], "code": [], "attribute": []}
    data: list[HeaderColumn] = []
    years: list[HeaderColumn] = []
    for column in block.columns:
        known = ((r, (*reference.stubs[r], *guessed.get(r, ()))) for r in ("region", "year", "code"))
        role = next((r for r, keys in known if any(k in keys for k in column.candidates)), None)
        if role is None and any(k in reference.attributes for k in column.candidates):
            role = "attribute"
        if role is not None:
            stub[role].append(column.label)
        elif column.label:
            data.append(column)
        elif column.year is not None:
            years.append(column)
    return stub, data, years


def _pattern(title: str) -> str:
    """A title as a pattern: without table number, blanks and years."""
    plain = re.sub(r"\s+", "", re.sub(r"^(?:附?表)?\s*\d+\s*[-–—.]\s*\d+\s*", "", title))
    plain = re.sub(r"[(（]?(?:19|20)\d{2}年?(?:[-—~至–](?:19|20)?\d{2}年?)?[)）]?", "", plain)
    return re.sub(r"([.^$*+?{}\[\]\\|()])", r"\\\1", plain)


def _draft_csv(block: Block, data: list[HeaderColumn], by_year: bool, reference: Reference) -> str:
    """One CSV row per column: a known variable of that name, else `?`."""
    known = {v.name_zh: v.variable for v in reference.variables.values()}
    lines = ["variable,unit,default"]
    if by_year:
        lines.append(f"?,{block.units[0] if block.units else '?'},?")
    for column in data:
        variable = known.get(column.label.rpartition("/")[2], "?")
        unit = column.unit or column.bracket or (block.units[0] if len(block.units) == 1 else "?")
        lines.append(
            f'{variable},{unit},"{column.label}"' if "," in column.label else f"{variable},{unit},{column.label}"
        )
    return "\n".join(lines) + "\n"
