"""Cells of text formats: CSV and TSV, HTML pages and MHTML packages, also those named .xls."""

import csv
import email
import email.policy
import io
import re
from itertools import chain
from typing import Any

import polars as pl
from selectolax.lexbor import LexborHTMLParser, LexborNode

from dei_pipeline.errors import LimitError, SourceError
from dei_pipeline.sources.decode_base import SUPPORTED, Decoded, Limits, bounds, cells_of, check, joined, refuse

TEXT_SHEET = "text"
CSV_SHEET = "csv"
MAX_DEPTH = 1_000  # HTML elements inside one another
LEAST_COMMON = 0.6  # share of everyday characters among all Chinese ones; a wrong encoding has fewer
_BLOCKS = "p,div,li,ul,ol,dl,dt,dd,h1,h2,h3,h4,h5,h6,section,article,header,footer,pre,center,blockquote,form,tr,td,th"
_BLOCK, _LINE, _TABLE = "\x1d", "\x1e", "\x1f"


def decoded_text(content: bytes, name: str, declared: str | None, lenient: bool) -> tuple[str, str, int]:
    """Text, its encoding and the count of unreadable places: BOM, declared charset, strict UTF-8, then GB 18030.

    A declared charset of Western letters, which any bytes are text in, comes last.

    Raises:
        SourceError: not `lenient`, and the bytes are none of these.
    """
    boms = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
    tried = [encoding for bom, encoding in boms if content.startswith(bom)]
    stated = (declared or "").strip().lower()
    western = stated.startswith(("iso-8859-", "windows-125", "latin", "us-ascii", "ascii", "cp125"))
    if stated and not western:
        chinese = stated in {"gb2312", "gbk", "gb_2312-80", "x-gbk", "cp936"}
        tried.append("gb18030" if chinese else stated)
    tried += ["utf-8", "gb18030", stated] if western else ["utf-8", "gb18030"]
    for encoding in tried:
        try:
            text = content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if not western or encoding != "gb18030" or everyday(text):
            return text, encoding, 0
    if not lenient:
        try:
            content.decode("gb18030")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            message = f"{name}: line {line} is neither UTF-8 nor GB 18030"
            raise SourceError(message, "save it from Excel as «CSV UTF-8»") from error
    known = tried[0] if tried[0] in {"utf-8-sig", "utf-16", "gb18030"} else "utf-8"
    text = content.decode(known, errors="replace")
    return text, known, text.count("\ufffd")


def everyday(text: str) -> bool:
    """Whether the Chinese characters of a text are mostly of GB 2312's first level, as in all modern Chinese."""
    han = "".join(re.findall(r"[\u3400-\u9fff\ue000-\uf8ff]", text))
    common = sum(0xB0 <= lead <= 0xD7 for lead in han.encode("gb2312", "ignore")[::2])
    return common >= LEAST_COMMON * len(han)


def html_tree(content: bytes, name: str, charset: str | None = None) -> tuple[LexborHTMLParser, str, str, int]:
    """A page without the control characters that readers mark places with, its text, encoding and unreadable places.

    Args:
        content: bytes of the page.
        name: the file's name, for messages.
        charset: what a mail header says; else the page's own word counts.

    Raises:
        LimitError: its elements lie deeper than `MAX_DEPTH`.
    """
    meta = re.search(rb"<meta[^>]*?charset\s*=\s*[\"']?\s*([\w-]+)", content[:8192], re.I)
    declared = charset or (meta.group(1).decode() if meta else None)
    text, encoding, bad = decoded_text(content, name, declared, lenient=True)
    tree = LexborHTMLParser(re.sub(r"[\x0e-\x11\x1d-\x1f]", "", text))
    node, depth = tree.root, 0
    while node is not None:
        if depth > MAX_DEPTH:
            raise LimitError(f"{name}: max_depth is {MAX_DEPTH:,}, its elements lie deeper", "save its text as .txt")
        if node.child is not None:
            node, depth = node.child, depth + 1
            continue
        while node is not None and node.next is None:
            node, depth = node.parent, depth - 1
        node = node.next if node is not None else None
    return tree, text, encoding, bad


def csv_cells(content: bytes, name: str, limits: Limits) -> Decoded:
    """Cells of a delimited text file in UTF-8 or GB18030; the delimiter is the one that splits it most evenly."""
    text, encoding, _ = decoded_text(content, name, None, lenient=False)
    if len(re.findall(r"[\x00-\x08\x0e-\x1f]", text[:65536])) > 2:
        refuse(name, "a binary file of a kind that is not read", SUPPORTED)
    if text.lstrip("\ufeff \r\n\t")[:1] in {"{", "["}:
        refuse(name, "the file is JSON, not a table", SUPPORTED)
    sample = "".join(text[: 2**18].splitlines(keepends=True)[:2000])
    best, score = "", 0.0
    csv.field_size_limit(max(csv.field_size_limit(), limits.max_bytes))
    for delimiter in (",", "\t", ";", "|"):
        widths = [len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if any(row)]
        usual = max(set(widths), key=lambda width: (widths.count(width), width), default=0)
        share = widths.count(usual) / max(len(widths), 1)
        if usual > 1 and share >= 0.5 and share * usual > score:
            best, score = delimiter, share * usual
    if not best:
        if not name.lower().endswith((".csv", ".tsv")):
            refuse(name, "plain text without table columns", SUPPORTED)
        best = ","
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=best))
    widths = [len(row) for row in rows]
    bounds([len(rows)], widths, name, CSV_SHEET, limits)
    row = pl.Series([r for r, width in enumerate(widths, start=1) for _ in range(width)], dtype=pl.Int32)
    col = pl.Series([c for width in widths for c in range(1, width + 1)], dtype=pl.Int32)
    frame = cells_of(CSV_SHEET, list(chain.from_iterable(rows)), row, col)
    notes = {"encoding": encoding, "delimiter": best}
    return Decoded("csv", (CSV_SHEET,), joined([frame], name, limits), notes)


def mhtml_cells(content: bytes, name: str, limits: Limits) -> Decoded:
    """Tables of the HTML parts of a web archive; the frame page and Excel's tab strip hold no data and are left out."""
    check(name, "max_html_bytes", len(content), limits)
    message = email.message_from_bytes(content.lstrip(), policy=email.policy.compat32)
    pages: list[tuple[bytes, str | None]] = []
    for part in message.walk():
        if part.get_content_type() == "text/html" and "tabstrip" not in str(part.get("Content-Location", "")):
            body = part.get_payload(decode=True)
            pages.append((body if isinstance(body, bytes) else b"", part.get_content_charset()))
    if not pages:
        refuse(name, "the e-mail or web archive holds no HTML page", SUPPORTED)
    return html_cells(pages, "mhtml", name, limits)


def html_cells(pages: list[tuple[bytes, str | None]], format: str, name: str, limits: Limits) -> Decoded:
    """Leaf tables of the pages as `table1` …, and the text outside them, one block per row, as `text`."""
    frames: list[pl.DataFrame] = []
    blocks: list[str] = []
    before: dict[str, int] = {}
    notes: dict[str, Any] = {}
    for content, charset in pages:
        check(name, "max_html_bytes", len(content), limits)
        tree, text, notes["encoding"], bad = html_tree(content, name, charset)
        if bad:
            notes["unreadable_characters"] = notes.get("unreadable_characters", 0) + bad
        names = re.findall(r"<x:Name>([^<]*)</x:Name>", text)
        if names:
            notes["worksheet_names"] = names
        title = tree.css_first("head > title")
        head = title.text() if title else ""
        tree.strip_tags(["script", "style", "noscript", "template", "noframes", "title", "xml"])
        for node in tree.css("br"):
            node.replace_with(_LINE)
        tables = tree.css("table:not(:has(table))")
        check(name, "max_sheets", len(frames) + len(tables), limits)
        for node in tree.css(_BLOCKS):
            node.insert_before(_BLOCK)
            node.insert_after(_BLOCK)
        for table in tables:
            sheet = f"table{len(frames) + 1}"
            frames.append(_table(table, sheet, name, limits))
            check(name, "max_cells", sum(f.height for f in frames), limits, sheet)
            captions = "".join(_BLOCK + node.text() for node in table.css("caption"))
            table.insert_before(f"{captions}{_BLOCK}{_TABLE}{sheet}{_BLOCK}")
            table.decompose()
        for part in re.split(f"[{_BLOCK}{_LINE}]", f"{head}{_BLOCK}{tree.body.text() if tree.body else ''}"):
            line = _squeezed(part)
            if line.startswith(_TABLE):
                before[line[1:]] = len(blocks)
            elif line:
                blocks.append(line)
    sheets = [f"table{i + 1}" for i in range(len(frames))]
    if blocks:
        sheets.insert(0, TEXT_SHEET)
        frames.insert(0, cells_of(TEXT_SHEET, blocks, pl.col("at") + 1, pl.lit(1)))
    if not sum(frame.height for frame in frames):
        fix = "open it in Excel and save it as .xlsx; a page of frames keeps its sheets in a folder beside it"
        refuse(name, "the page holds neither a table nor text", fix)
    notes |= {"text_before": before} if blocks and before else {}
    return Decoded(format, tuple(sheets), joined(frames, name, limits), notes)


def _squeezed(text: str) -> str:
    """One line of HTML text: white space runs become one space, hard spaces become plain ones."""
    return " ".join(re.split(r"[ \t\r\n\f]+", text)).strip(" ").replace("\xa0", " ") if text.strip() else ""


def _table(table: LexborNode, sheet: str, name: str, limits: Limits) -> pl.DataFrame:
    """Cells of one HTML table, laid out by the row and column spans of its cells."""
    lines = table.css("tr")
    places: list[tuple[int, int]] = []
    values: list[Any] = []
    spans: list[tuple[int, int, int, int]] = []
    busy: dict[int, int] = {}  # column -> last row taken by a cell from above
    width = 0
    for row, line in enumerate(lines, start=1):
        col = 1
        for node in line.iter():
            if node.tag not in {"td", "th"}:
                continue
            while busy.get(col, 0) >= row:
                col += 1
            attributes = node.attributes
            across, down = _span(attributes.get("colspan"), 1000), _span(attributes.get("rowspan"), len(lines))
            down = min(down, len(lines) - row + 1)
            width = max(width, col + across - 1)
            check(name, "max_columns", width, limits, sheet)
            if down > 1:
                busy.update(dict.fromkeys(range(col, col + across), row + down - 1))
            parts = [[_squeezed(piece) for piece in part.split(_LINE)] for part in node.text().split(_BLOCK)]
            text = "\n".join("\n".join(part).strip("\n") for part in parts if any(part))
            if text:
                bounds([row], [width], name, sheet, limits)
                exact = attributes.get("x:num")  # Excel's own export keeps the unrounded number here
                values.append(float(exact) if exact and re.fullmatch(r"-?[\d.]+(?:E[+-]?\d+)?", exact, re.I) else text)
                places.append((row, col))
                if (across > 1 or down > 1) and "mso-ignore:colspan" not in (attributes.get("style") or ""):
                    spans.append((row, col, down, across))
            col += across
    rows = pl.Series([place[0] for place in places], dtype=pl.Int32)
    columns = pl.Series([place[1] for place in places], dtype=pl.Int32)
    return cells_of(sheet, values, rows, columns, spans)


def _span(text: str | None, most: int) -> int:
    match = re.match(r"\s*(\d{1,6})", text or "")
    return max(1, min(int(match.group(1)), most)) if match else 1
