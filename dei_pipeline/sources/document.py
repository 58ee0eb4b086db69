"""Documents of a file: one text, many texts in a table, or a list that tells about documents; and their runs.

A table is read for texts where a column is headed «full_text», «正文» …; for a list where columns are headed as
«编号», «文件名», «发布机构», «发布日期». `document_meta` says what a document is; here it is only taken apart.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from dei_pipeline.errors import LimitError, SourceError
from dei_pipeline.sources.decode import Decoded, decode
from dei_pipeline.sources.document_decode import (
    LIMITS,
    DocumentLimits,
    Said,
    Source,
    check,
    decode_document,
    is_docx,
    looks_like_html,
    refuse,
)
from dei_pipeline.sources.document_meta import wrong_page
from dei_pipeline.sources.document_text import TEXT, Part, cleaned
from dei_pipeline.sources.labels import key

LIST, TABLE = "document_list", "document_table"
DOCUMENT_SUFFIXES = (".pdf", ".docx", ".doc", ".txt")
FIELDS = {
    TEXT: "full_text 正文 全文 文本 文件全文 paragraph_text 段落文本",
    "order": "para_id 段落序号",
    "id": "id 编号 序号",
    "file": "file 文件名 文件",
    "title": "title 标题 文件名称 政策名称 名称",
    "issuer": "issuer 发布机构 发文机关 发文机构 制定机关 印发机关",
    "document_number": "document_number 发文号 文号 发文字号",
    "published": "publish_date published 发布日期 成文日期 印发日期 公布日期",
    "year": "year 年份 年度",
    "region": "province city region 地区 城市 省份 省市",
    "region_code": "citycode region_code 行政区划代码 地区代码",
    "kind": "doc_type 文件类型 效力层级 公文种类 文种",
    "url": "source_url url 官方来源 链接 网址",
}
_FIELD_OF = {key(head): field for field, heads in FIELDS.items() for head in heads.split()}
LEAST_LIST_FIELDS = 2
HEADER_ROWS = 10
RUN_SCHEMA: dict[str, Any] = {
    "source_cell": pl.String, "sha256": pl.String, "document_id": pl.String, "position": pl.Int32, "role": pl.String,
    "text": pl.String, "text_start": pl.Int32, "sheet": pl.String, "cell": pl.String, "start": pl.Int32,
    "length": pl.Int32,
}  # fmt: skip
SOURCE_ID = "policy"
SAID = "said_"  # before the field, in the role of what stands beside a text


@dataclass(frozen=True)
class File:
    """What a file holds: its format (pdf, docx, html, text, document_table, document_list) and its documents."""

    format: str
    sources: tuple[Source, ...]


def read_documents(content: bytes, name: str, limits: DocumentLimits = LIMITS) -> File:
    """The documents of a file, from its bytes.

    Args:
        content: the bytes of the file.
        name: its name; a suffix of texts makes a page of HTML a document even if it has none.
        limits: what is refused as too large.

    Raises:
        SourceError: the file holds no document, is damaged, locked or breaks a limit.
    """
    check(name, "max_bytes", len(content), limits)
    if _may_be_table(content, name):
        try:
            sources = _of_table(decode(content, name), name, limits)
        except SourceError as error:
            if isinstance(error, LimitError) or not name.lower().endswith(DOCUMENT_SUFFIXES):
                raise
            sources = []
        if sources:
            return File(TABLE if sources[0].parts else LIST, tuple(sources))
        if not name.lower().endswith(DOCUMENT_SUFFIXES):
            refuse(name, "a table without columns that tell of documents", f"head them {', '.join(list(FIELDS)[:8])} …")
    format, source = decode_document(content, name, limits)
    return File(format, (source,))


def _may_be_table(content: bytes, name: str) -> bool:
    """Whether the bytes can be a CSV or a workbook."""
    if content.startswith(b"PK\x03\x04"):
        return not is_docx(content)
    binary = content[:1024].lstrip().startswith(b"%PDF") or content.startswith(b"\xd0\xcf\x11\xe0")
    return not binary and not looks_like_html(content) and not name.lower().endswith((".txt", ".pdf"))


def _of_table(decoded: Decoded, name: str, limits: DocumentLimits) -> list[Source]:
    """One source for each text, or for each row that tells of a document; rows of one url with an order are one."""
    sheets: dict[int, list[Source]] = {}
    for number, sheet in enumerate(decoded.sheets, start=1):
        rows: dict[int, dict[int, tuple[str, str]]] = {}
        for row, col, cell, text in decoded.cells.filter(sheet=sheet).select("row", "col", "cell", "text").iter_rows():
            rows.setdefault(row, {})[col] = (cell, text)
        heads = {row: _fields_of(found) for row, found in list(rows.items())[:HEADER_ROWS]}
        header = max(heads, key=lambda row: len(heads[row]), default=None)
        if header is None or len(heads[header]) < LEAST_LIST_FIELDS:
            continue
        fields = heads[header]
        if TEXT not in fields.values() and not {"title", "file", "url"} & set(fields.values()):
            continue
        below = {row: found for row, found in rows.items() if row > header}
        check(name, "max_rows", len(below), limits)
        records = [_record(sheet, row, found, fields) for row, found in below.items()]
        if not records:
            refuse(name, "a table with a header and no rows", "let it be, or give the rows")
        joined = {TEXT, "order", "url"} <= set(fields.values())
        sheets[number] = list(_joined(records)) if joined else records
    if len(sheets) > 1:
        return [replace(one, number=f"{sheet}.{one.number}") for sheet, found in sheets.items() for one in found]
    return [one for found in sheets.values() for one in found]


def _fields_of(row: Mapping[int, tuple[str, str]]) -> dict[int, str]:
    """Column of each field that a row heads; the first column of a field counts."""
    found: dict[int, str] = {}
    for col, (_, text) in row.items():
        field = _FIELD_OF.get(key(text))
        if field and field not in found.values():
            found[col] = field
    return found


def _record(sheet: str, row: int, found: Mapping[int, tuple[str, str]], fields: Mapping[int, str]) -> Source:
    said, parts = [], []
    for col, (cell, text) in found.items():
        if fields.get(col) == TEXT:
            parts.append(Part(sheet, text + "\n", cell))
        elif col in fields:
            said.append(Said(fields[col], text.strip(), f"{sheet}!{cell}"))
    return Source(str(row), tuple(parts), tuple(said))


def _joined(records: Sequence[Source]) -> Iterator[Source]:
    """The paragraphs of one url, in their order, as one document."""
    groups: dict[str, list[Source]] = {}
    for record in records:
        url = next((said.text for said in record.said if said.field == "url"), record.number)
        groups.setdefault(url, []).append(record)

    def order(record: Source) -> tuple[int, int]:
        said = next((said.text for said in record.said if said.field == "order"), "")
        return int(said) if said.isdecimal() else 0, int(record.number)

    for group in groups.values():
        ordered = sorted(group, key=order)
        parts = tuple(part for record in ordered for part in record.parts)
        said = tuple(one for one in group[0].said if one.field != "order")
        yield Source(group[0].number, parts, said)


def document_pages(content: bytes, name: str, no_table: SourceError | None = None) -> tuple[str, list[dict[str, Any]]]:
    """What `ingest` is told of a file of documents: its format, and one page that says what they are.

    A page of HTML that is not named as a text must hold sentences outside its menus.

    Args:
        content: bytes of the file.
        name: its name.
        no_table: why the file is no table; raised where it is no document by its kind either.

    Raises:
        SourceError: the file holds no document.
    """
    texts = content.lstrip().startswith(b"%PDF") or is_docx(content) or name.lower().endswith(DOCUMENT_SUFFIXES)
    try:
        file = read_documents(content, name)
        if file.format == "html" and not texts:
            why = wrong_page(None, cleaned(file.sources[0].parts)[0])
            if why:
                refuse(name, f"the page {why}")
    except SourceError as error:
        if texts or no_table is None or isinstance(error, LimitError):
            raise
        raise no_table from error
    named = name.lower().rpartition(".")[2]
    note = f"a page of HTML, though named .{named}" if file.format == "html" and texts else None
    many = {LIST: f"list of {len(file.sources)} documents", TABLE: f"table of {len(file.sources)} documents"}
    kind = many.get(file.format, f"document ({file.format})")
    page = {"layout": "document", "kind": kind, "document": True, "sheet": name, "reason": note, "source_id": SOURCE_ID}
    return file.format, [page | {"producer": None}]


# -- runs --------------------------------------------------------------------------------------------------------------
def document_id(sha256: str, number: str) -> str:
    """Start of the file's sha256, and the number of the document where the file is a table of documents."""
    return f"{sha256[:12]}-{number}" if number else sha256[:12]


def runs(content: bytes, name: str, limits: DocumentLimits = LIMITS) -> pl.DataFrame:
    """Every character of a file's documents by run and role, and what stands beside the texts (`RUN_SCHEMA`).

    Roles: those of `document_text.ROLES`; `said_<field>` for what stands beside a text; `said_format` for what the file
    is.

    Args:
        content: bytes of the file.
        name: its name.
        limits: what is refused as too large.

    Raises:
        SourceError: see `read_documents`.
    """
    digest = hashlib.sha256(content).hexdigest()
    rows: list[tuple[Any, ...]] = []
    file = read_documents(content, name, limits)
    for source in file.sources:
        own, start = document_id(digest, source.number), len(rows)
        for said in (Said("format", file.format, f"file!{source.number or 1}"), *source.said):
            sheet, _, cell = said.place.rpartition("!")
            beside = (f"{digest[:12]}/{said.place}", digest, own, len(rows) - start, SAID + said.field, said.text)
            rows.append((*beside, None, sheet, cell, 0, len(said.text)))
        for run in cleaned(source.parts, source.wrapped)[1]:
            part = source.parts[run.part]
            place = f"{digest[:12]}/{part.place(run.start, run.end)}"
            kept = (place, digest, own, len(rows) - start, run.role, run.text, run.text_start)
            rows.append((*kept, part.sheet, part.cell, run.start, run.end - run.start))
    return pl.DataFrame(rows, schema=RUN_SCHEMA, orient="row")
