"""Cells of Excel workbooks: xlsx, BIFF .xls, and both when encrypted with Excel's built-in password."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from itertools import chain
from xml.etree import ElementTree

import msoffcrypto
import olefile  # type: ignore[import-untyped,unused-ignore]
import polars as pl
import python_calamine as calamine
from msoffcrypto.exceptions import InvalidKeyError

from dei_pipeline.errors import SourceError
from dei_pipeline.sources.decode_base import (
    ERROR_CODES,
    Decoded,
    Limits,
    bounds,
    cells_of,
    check,
    column_number,
    joined,
    refuse,
)

DEFAULT_PASSWORD = "VelvetSweatshop"  # what Excel itself tries before asking [MS-OFFCRYPTO 2.4.2.3]
Errors = Sequence[tuple[int, int, str]]  # row, column and text of the error cells of a sheet


def _workbook(content: bytes, format: str, name: str, limits: Limits, errors: list[Errors], notes: dict) -> Decoded:
    """Cells of a workbook by calamine; `errors` holds the error cells of each sheet, which calamine shows as empty."""
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
    except calamine.PasswordError as error:
        raise _locked(name) from error
    metadata = book.sheets_metadata
    check(name, "max_sheets", len(metadata), limits)
    frames, sheets, skipped, total = [], [], [], 0
    for index, sheet in enumerate(metadata):
        if sheet.typ != calamine.SheetTypeEnum.WorkSheet:
            skipped.append(sheet.name)
            continue
        sheets.append(sheet.name)
        grid = book.get_sheet_by_index(index)
        rows = grid.to_python(skip_empty_area=False)
        width = max(1, len(rows[0]) if rows else 1)
        spans = [(a + 1, b + 1, c - a + 1, d - b + 1) for (a, b), (c, d) in grid.merged_cell_ranges or []]
        frame = cells_of(
            sheet.name,
            list(chain.from_iterable(rows)),
            pl.col("at") // width + 1,
            pl.col("at") % width + 1,
            spans,
            errors[index] if index < len(errors) else (),
        )
        total += frame.height
        check(name, "max_cells", total, limits, f"sheet {sheet.name}")
        frames.append(frame)
    hidden = [s.name for s in metadata if s.visible != calamine.SheetVisibleEnum.Visible]
    empty = [sheet for sheet, frame in zip(sheets, frames, strict=True) if frame.is_empty()]
    notes |= {"hidden_sheets": hidden, "skipped_sheets": skipped, "empty_sheets": empty}
    return Decoded(format, tuple(sheets), joined(frames, name, limits), {k: v for k, v in notes.items() if v})


def _members(content: bytes, name: str, limits: Limits) -> dict[str, bytes]:
    """The XML members of a workbook's zip, unpacked no further than the directory and the limits say."""
    try:
        listing = zipfile.ZipFile(io.BytesIO(content)).infolist()
    except (zipfile.BadZipFile, ValueError, struct.error) as error:
        raise SourceError(f"{name}: the zip (.xlsx) is cut off or damaged", "fetch the file again") from error
    names = [info.filename for info in listing]
    if "xl/workbook.xml" not in names:
        kinds = {"word/": "a Word document", "ppt/": "a presentation", "xl/workbook.bin": "a binary workbook (.xlsb)"}
        kinds |= {"mimetype": "an OpenDocument file", "Index/": "an Apple Numbers or Pages file"}
        what = next((w for k, w in kinds.items() if any(n.startswith(k) for n in names)), "a zip archive")
        fix = "unpack it and give the files inside" if what == "a zip archive" else "save its table as .xlsx"
        refuse(name, f"the file is {what}, not an .xlsx workbook", fix)
    members, total = {}, 0
    for info in listing:
        total += info.file_size
        check(name, "max_unpacked", total, limits, f"zip member {info.filename}")
        if info.file_size > 2**20:
            check(name, "max_ratio", info.file_size / max(info.compress_size, 1), limits, f"member {info.filename}")
        if info.flag_bits & 1:
            refuse(name, f"the zip member {info.filename} has a password", "save it again without a password")
        if not info.filename.endswith((".xml", ".rels", ".bin")):
            members[info.filename] = b""
            continue
        sizes = struct.unpack_from("<HH", content, info.header_offset + 26)
        start = info.header_offset + 30 + sum(sizes)
        packed = content[start : start + info.compress_size]
        stored = info.compress_type == zipfile.ZIP_STORED
        data = packed if stored else zlib.decompressobj(-15).decompress(packed, info.file_size + 1)
        if len(data) != info.file_size:  # a directory that lies about sizes hides a zip bomb from readers
            refuse(name, f"the zip member {info.filename} is not of the size the zip states", "fetch the file again")
        members[info.filename] = data
    return members


def _sheet_members(members: dict[str, bytes], name: str) -> list[str]:
    """Member names of the sheets in the workbook's order."""
    for member in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels"):
        if member not in members or b"<!DOCTYPE" in members[member] or b"<!ENTITY" in members[member]:
            refuse(name, f"the workbook's {member} is missing or unsafe", "open it in Excel and save it as .xlsx")
    links = ElementTree.fromstring(members["xl/_rels/workbook.xml.rels"])
    target = {link.get("Id"): (link.get("Target") or "") for link in links}
    sheets = [e for e in ElementTree.fromstring(members["xl/workbook.xml"]).iter() if e.tag.endswith("}sheet")]
    ids = [next((v for k, v in sheet.attrib.items() if k.endswith("}id")), None) for sheet in sheets]
    paths = [target.get(i, "") for i in ids]
    return [path.lstrip("/") if path.startswith("/") else f"xl/{path}" for path in paths]


def xlsx_cells(content: bytes, name: str, limits: Limits, encrypted: bool = False) -> Decoded:
    """Cells of an .xlsx workbook; `encrypted` says that it came out of an encrypted container."""
    members = _members(content, name, limits)
    errors: list[Errors] = []
    for member in _sheet_members(members, name):
        data = members.get(member, b"")
        if re.search(rb"\s[rt](?:\s*='|\s+=|=\s)|[\t\r\n][rt]=|<\w+:row\b", data[:65536]):  # rare spellings, made plain
            data = re.sub(rb"\s+([rt])\s*=\s*[\"']([^\"'<]*)[\"']", rb' \1="\2"', re.sub(rb"<(/?)\w+:", rb"<\1", data))
        columns = {column_number(c.decode()) for c in set(re.findall(rb' r="([A-Z]{2,3})[0-9]', data))} or {26}
        rows = [int(r) for r in re.findall(rb'<row [^>]*?r="([0-9]{1,7})"', data)]
        try:
            bounds(rows, columns, name, member, limits)
        except SourceError:  # rows and cells that only carry a format do not count
            full = re.findall(rb'<c [^>]*?r="([A-Z]{1,3})([0-9]{1,7})"[^>]*(?<!/)>', data)
            bounds([int(r) for _, r in full], [column_number(c.decode()) for c, _ in full], name, member, limits)
        found = []
        if b' t="e"' in data:
            pattern = rb'<c (?=[^>]*\bt="e")[^>]*?r="([A-Z]+)([0-9]+)"[^>]*>(?:<f[^>]*/>|<f.*?</f>)?\s*<v>([^<]*)<'
            found = [(int(r), column_number(c.decode()), t.decode()) for c, r, t in re.findall(pattern, data, re.S)]
        errors.append(found)
    notes = {"macros": "xl/vbaProject.bin" in members, "links": any("externalLinks/" in m for m in members)}
    return _workbook(content, "xlsx-encrypted" if encrypted else "xlsx", name, limits, errors, notes)


def _locked(name: str) -> SourceError:
    return SourceError(f"{name}: the workbook is locked with a password", "open it in Excel and save it without one")


def _decrypted(content: bytes, name: str) -> bytes:
    """The file without its encryption, when the password is Excel's built-in one."""
    out = io.BytesIO()
    try:
        office = msoffcrypto.OfficeFile(io.BytesIO(content))
        office.load_key(password=DEFAULT_PASSWORD)
        office.decrypt(out)
    except InvalidKeyError as error:
        raise _locked(name) from error
    except Exception as error:
        message = f"{name}: the workbook is encrypted in a way that is not read ({error})"
        raise SourceError(message, "open it in Excel and save it without a password") from error
    return out.getvalue()


def ole_cells(content: bytes, name: str, limits: Limits) -> Decoded:
    """Cells of an .xls workbook, or of the .xlsx encrypted in an OLE container."""
    with olefile.OleFileIO(io.BytesIO(content)) as ole:
        streams = {"/".join(parts).lower(): parts for parts in ole.listdir()}
        kind = next((s for s in ("workbook", "book") if s in streams), None)
        stream = ole.openstream(streams[kind]).read() if kind else b""
    if kind is None:
        if "encryptedpackage" in streams:
            return xlsx_cells(_decrypted(content, name), name, limits, encrypted=True)
        kinds = {"worddocument": "a Word document (.doc)", "powerpoint document": "a presentation (.ppt)"}
        what = next((w for k, w in kinds.items() if k in streams), "an OLE file without a workbook")
        refuse(name, f"the file is {what}", "copy its table into .xlsx")
    errors, encrypted = _biff(stream, name, limits)
    if encrypted:
        content = _decrypted(content, name)
        with olefile.OleFileIO(io.BytesIO(content)) as ole:
            errors, _ = _biff(ole.openstream(streams[kind]).read(), name, limits)
    notes = {"macros": any(s.startswith("_vba_project") for s in streams)}
    return _workbook(content, "xls-encrypted" if encrypted else "xls", name, limits, errors, notes)


def _biff(stream: bytes, name: str, limits: Limits) -> tuple[list[Errors], bool]:
    """Error cells of each sheet of a BIFF stream, and whether the stream is encrypted [MS-XLS 2.4]."""
    starts: list[int] = []
    found: dict[int, list[tuple[int, int, str]]] = {}
    at, begin, end, depth = 0, 0, len(stream), [0, 0]
    unpack = struct.Struct("<HH").unpack_from
    while at + 4 <= end:
        record, size = unpack(stream, at)
        body = at + 4
        if record in (0x203, 0x27E, 0xFD, 0x204, 0x205, 0x06, 0xBD, 0xD6) and size >= 6:
            row, col = unpack(stream, body)
            last = col + (size - 6) // 6 - 1 if record == 0xBD else col
            depth = [max(depth[0], row + 1), max(depth[1], last + 1)]
            code = None
            if record == 0x205 and size >= 8 and stream[body + 7] == 1:
                code = stream[body + 6]
            elif (
                record == 0x06 and size >= 14 and stream[body + 12 : body + 14] == b"\xff\xff" and stream[body + 6] == 2
            ):
                code = stream[body + 8]
            if code is not None:
                found.setdefault(begin, []).append((row + 1, col + 1, ERROR_CODES.get(code, f"#ERR{code}")))
        elif record == 0x2F:
            return [], True
        elif record == 0x85 and size >= 4:
            starts.append(struct.unpack_from("<I", stream, body)[0])
        elif record in (0x200, 0xFC) and size >= 8:  # stated extents and counts, for which calamine reserves memory
            wide = struct.unpack_from("<IIHH" if size >= 12 else "<HHHH", stream, body) if record == 0x200 else (0,) * 4
            strings = struct.unpack_from("<I", stream, body + 4)[0] if record == 0xFC else 0
            if wide[0] > wide[1] or wide[1] > 65_536 or wide[2] > wide[3] or wide[3] > 256 or strings > end:
                refuse(name, "the .xls states sizes that it cannot have, it is damaged", "fetch the file again")
        elif record == 0x809 and at in starts:
            bounds(depth[:1], depth[1:], name, "a sheet", limits)
            begin, depth = at, [0, 0]
        at = body + size
    bounds(depth[:1], depth[1:], name, "a sheet", limits)
    return [found.get(start, []) for start in starts], False
