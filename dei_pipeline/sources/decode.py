"""Cells of a source file, whatever the file really is: the format is read from the bytes, never from the suffix.

Read: xlsx, BIFF .xls, both encrypted with Excel's built-in password, HTML and MHTML (also named .xls), CSV/TSV,
Parquet.
Nothing in a file is run or followed: no macros, links, external entities or images.
"""

import re

from dei_pipeline.errors import SourceError
from dei_pipeline.sources.contained import contained
from dei_pipeline.sources.decode_base import (
    CELL_SCHEMA,
    DEFAULT,
    SUPPORTED,
    Decoded,
    Limits,
    check,
    column_letters,
    column_number,
    number_text,
    refuse,
    with_address,
)
from dei_pipeline.sources.decode_parquet import parquet_cells
from dei_pipeline.sources.decode_text import CSV_SHEET, TEXT_SHEET, csv_cells, html_cells, mhtml_cells
from dei_pipeline.sources.decode_workbook import ole_cells, xlsx_cells

__all__ = [
    "CELL_SCHEMA",
    "CSV_SHEET",
    "DEFAULT",
    "TEXT_SHEET",
    "Decoded",
    "Limits",
    "column_letters",
    "column_number",
    "decode",
    "number_text",
    "with_address",
]

REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (b"\x00\x05\x16\x07", "macOS AppleDouble side file («._…»), not a table", "delete it; the real file has no «._»"),
    (b"\x00\x05\x16\x00", "macOS AppleSingle file, not a table", "copy the file again from the Mac as plain data"),
    (b"%PDF", "a PDF", "export its table to .xlsx, or give the yearbook's Excel edition"),
    (b"\x89PNG", "an image (PNG)", "type or recognise the table into .xlsx"),
    (b"\xff\xd8\xff", "an image (JPEG)", "type or recognise the table into .xlsx"),
    (b"GIF8", "an image (GIF)", "type or recognise the table into .xlsx"),
    (b"II*\x00", "an image (TIFF)", "type or recognise the table into .xlsx"),
    (b"MM\x00*", "an image (TIFF)", "type or recognise the table into .xlsx"),
    (b"Rar!", "a RAR archive", "unpack it and give the files inside"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it and give the files inside"),
    (b"\x1f\x8b", "a gzip file", "unpack it and give the file inside"),
    (b"BZh", "a bzip2 file", "unpack it and give the file inside"),
    (b"PK\x05\x06", "an empty zip archive", "fetch the file again"),
    (b"{\\rtf", "an RTF document", "copy its table into .xlsx"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull` in its repository"),
    (b"\x09\x00\x04\x00", "Excel 2 format", "open it in Excel or LibreOffice and save it as .xlsx"),
    (b"\x09\x02\x06\x00", "Excel 3 format", "open it in Excel or LibreOffice and save it as .xlsx"),
    (b"\x09\x04\x06\x00", "Excel 4 format", "open it in Excel or LibreOffice and save it as .xlsx"),
)


def decode(content: bytes, name: str, limits: Limits = DEFAULT) -> Decoded:
    """The cells of a file, from its bytes.

    Args:
        content: the bytes of the file.
        name: the file's name, for messages only (a `.csv`/`.tsv` suffix allows a table of one column).
        limits: what is refused as too large.

    Raises:
        SourceError: the file is no table this project reads, is damaged, locked or breaks a limit.
    """
    try:
        return _decode(content, name, limits)
    except (SourceError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # libraries written in Rust panic with a BaseException
        message = f"{name}: damaged or unusual file ({type(error).__name__}: {str(error).partition(chr(10))[0][:200]})"
        raise SourceError(message, "fetch it again, or open it in Excel and save it as .xlsx") from error


def _decode(content: bytes, name: str, limits: Limits) -> Decoded:
    if not content.strip(b"\x00 \t\r\n"):
        refuse(name, "the file is empty" if not content else "the file holds only blanks", "fetch it again")
    check(name, "max_bytes", len(content), limits)
    for magic, what, fix in REFUSED:
        if content.startswith(magic):
            refuse(name, f"the file is {what}", fix)
    if content.startswith(b"PAR1"):
        return parquet_cells(content, name, limits)
    if content.startswith(b"PK\x03\x04"):
        return xlsx_cells(content, name, limits)
    if content.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return ole_cells(content, name, limits)
    head = content[:4096].lower()
    if re.match(rb"\s*(?:[a-z-]+:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*)+", head) and b"content-type" in head:
        return contained(mhtml_cells, name, content, name, limits)
    if content[:2] not in (b"\xff\xfe", b"\xfe\xff") and b"\x00" in content:
        refuse(name, "a binary file of a kind that is not read", SUPPORTED)
    start = head.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if start.startswith(b"<"):
        if not re.search(rb"<(?:!doctype\s+html|html|table|head|body|meta|style|div)\b", start):
            spreadsheet = b"office:spreadsheet" in start
            what = "an XML spreadsheet (Excel 2003)" if spreadsheet else "XML, not a table"
            refuse(name, f"the file is {what}", "open it in Excel and save it as .xlsx" if spreadsheet else SUPPORTED)
        return contained(html_cells, name, [(content, None)], "html", name, limits)
    return csv_cells(content, name, limits)
