"""Bytes of the file kinds that the demo sources come in; equal input gives equal bytes, so a lake knows them again."""

import csv
import datetime
import hashlib
import html
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import xlsxwriter
from msoffcrypto.format.ooxml import OOXMLFile
from msoffcrypto.method import ecma376_agile
from msoffcrypto.method.container import ecma376_encrypted

PASSWORD = "VelvetSweatshop"  # what Excel itself tries before asking
CREATED = datetime.datetime(2021, 9, 1)
Row = Sequence[Any]
Merge = tuple[int, int, int, int]  # first row, first column, last row, last column, from 0


@dataclass(frozen=True)
class Page:
    """A grid as printed: rows of text, numbers or None, and its merged ranges."""

    rows: Sequence[Row]
    merges: Sequence[Merge] = field(default_factory=tuple)


def xlsx(sheets: Mapping[str, Page]) -> bytes:
    """An .xlsx workbook with those sheets."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    book.set_properties({"created": CREATED, "comments": "SYNTHETIC"})
    middle = book.add_format({"align": "center", "valign": "vcenter", "text_wrap": True})
    for name, page in sheets.items():
        sheet = book.add_worksheet(name)
        for first_row, first_column, last_row, last_column in page.merges:
            sheet.merge_range(first_row, first_column, last_row, last_column, "", middle)
        for r, row in enumerate(page.rows):
            for c, value in enumerate(row):
                if isinstance(value, str):
                    sheet.write_string(r, c, value)
                elif value is not None:
                    sheet.write_number(r, c, value)
    book.close()
    return out.getvalue()


def xlsx_table(head: Sequence[Row], table: pl.DataFrame, sheet: str) -> bytes:
    """An .xlsx workbook of one long table, its XML built by whole columns: some ten times as fast as cell by cell.

    Args:
        head: rows above the table (title, note, headings), text only.
        table: body; text and numbers, nulls are empty cells.
        sheet: sheet name.
    """
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: max(table.width, *(len(row) for row in head))]
    top = "".join(
        f'<row r="{r}">{"".join(_text_cell(letters[c], r, str(v)) for c, v in enumerate(row) if v is not None)}</row>'
        for r, row in enumerate(head, 1)
    )
    row_number = (pl.int_range(pl.len()) + len(head) + 1).cast(pl.String)
    cells = []
    for letter, (name, dtype) in zip(letters, table.schema.items(), strict=False):
        value = pl.col(name).cast(pl.String)
        if dtype == pl.String:
            for raw, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
                value = value.str.replace_all(raw, escaped, literal=True)
            opening, closing = '" t="inlineStr"><is><t>', "</t></is></c>"
        else:
            opening, closing = '"><v>', "</v></c>"
        cell = pl.concat_str(pl.lit(f'<c r="{letter}'), row_number, pl.lit(opening), value, pl.lit(closing))
        cells.append(cell.fill_null(""))
    rows = table.select(pl.concat_str(pl.lit('<row r="'), row_number, pl.lit('">'), *cells, pl.lit("</row>")))
    body = "".join(rows.to_series().to_list())
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    members = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" '
        'ContentType="application/xml"/><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        f'<sheet name="{html.escape(sheet)}" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{top}{body}</sheetData></worksheet>',
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        for name, text in members.items():
            info = zipfile.ZipInfo(name, CREATED.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            book.writestr(info, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{text}')
    return out.getvalue()


def _text_cell(letter: str, row: int, text: str) -> str:
    return f'<c r="{letter}{row}" t="inlineStr"><is><t>{html.escape(text, quote=False)}</t></is></c>'


def encrypted(workbook: bytes) -> bytes:
    """An .xlsx under Excel's built-in password (agile encryption in an OLE container), as many files named .xls."""
    out = io.BytesIO()
    with _repeatable(hashlib.sha256(workbook).digest()):
        OOXMLFile(io.BytesIO(workbook)).encrypt(PASSWORD, out)
    return out.getvalue()


class _Salts:
    """Stands in for `secrets`: bytes that follow from the content. Nothing secret is protected here."""

    def __init__(self, content: bytes) -> None:
        self.state = content

    def token_bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.state = hashlib.sha256(self.state).digest()
        return hashlib.shake_256(self.state).digest(count)


class _Clock(datetime.datetime):
    """Stands in for `datetime`: always `CREATED`."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "_Clock":
        """The fixed moment."""
        return cls(*CREATED.timetuple()[:6])


@contextmanager
def _repeatable(content: bytes) -> Iterator[None]:
    """Lets msoffcrypto write the same bytes for the same content: it takes salts and the clock from its own modules."""
    secrets, clock = ecma376_agile.secrets, ecma376_encrypted.datetime
    ecma376_agile.secrets, ecma376_encrypted.datetime = _Salts(content), _Clock
    try:
        yield
    finally:
        ecma376_agile.secrets, ecma376_encrypted.datetime = secrets, clock


def html_page(page: Page, title: str, notes: Sequence[str]) -> bytes:
    """A web page as statistics offices export it under the name .xls: GB 2312, one table, hard spaces, notes below."""
    spans = {(r1, c1): (r2 - r1 + 1, c2 - c1 + 1) for r1, c1, r2, c2 in page.merges}
    covered = {
        (r, c) for r1, c1, r2, c2 in page.merges for r in range(r1, r2 + 1) for c in range(c1, c2 + 1)
    } - spans.keys()
    lines = []
    for r, row in enumerate(page.rows):
        cells = []
        for c, value in enumerate(row):
            if (r, c) in covered:
                continue
            down, across = spans.get((r, c), (1, 1))
            extent = (f" rowspan={down}" if down > 1 else "") + (f" colspan={across}" if across > 1 else "")
            text = html.escape("\xa0" if value is None else str(value))
            text = text.replace("\n", "<br>").replace("\u3000", "&nbsp;").replace("\xa0", "&nbsp;")
            cells.append(f"<td{extent}>{text}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    text = (
        '<html xmlns:x="urn:schemas-microsoft-com:office:excel"><head>'
        '<meta http-equiv="Content-Type" content="text/html; charset=gb2312">'
        f"<title>{html.escape(title)}</title></head><body><table border=1>\n" + "\n".join(lines)
    )
    return f"{text}\n</table>{below}</body></html>".encode("gb18030")


def csv_gb18030(page: Page) -> bytes:
    """A CSV as Excel writes it on a Chinese Windows: GB 18030, CRLF."""
    return _csv(page).encode("gb18030")


def csv_utf8(page: Page) -> bytes:
    """A CSV as the web offers it: UTF-8 with a byte order mark, CRLF."""
    return _csv(page).encode("utf-8-sig")


def _csv(page: Page) -> str:
    width = max(len(row) for row in page.rows)
    out = io.StringIO(newline="")
    csv.writer(out).writerows([*("" if v is None else v for v in row), *[""] * (width - len(row))] for row in page.rows)
    return out.getvalue()
