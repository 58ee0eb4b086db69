"""Document files made in memory for the tests: PDF, DOCX, zip archives."""

import io
import zipfile
from collections.abc import Mapping, Sequence

import docx
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls


def pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF of pages of lines, ASCII ones in Helvetica, Chinese ones in a song font that is not embedded."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    box = "[0 0 595 842]"
    latin = "/F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    song = (
        "/F2 << /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts [<< /Type"
        " /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light"
        " /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> >>] >>"
    )
    font = f"<< /Font << {latin} {song} >> >>"
    for lines in pages:
        shown = ""
        for at, line in enumerate(lines):
            text = f"/F1 12 Tf 1 0 0 1 50 {780 - 20 * at} Tm ({line})"
            if not line.isascii():
                text = f"/F2 12 Tf 1 0 0 1 50 {780 - 20 * at} Tm <{line.encode('utf-16-be').hex()}>"
            shown += f"{text} Tj "
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Resources {font} /Contents {len(objects) + 2} 0 R >>"
        )
        objects.append(_stream(f"BT {shown}ET"))
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>"
    return _pdf_of(objects)


def pdf_bomb(levels: int, fan: int = 10) -> bytes:
    """A PDF of one page with forms inside one another, each drawing the next `fan` times: fan^(levels - 1) letters."""
    font = "/Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R "
        "/Resources << /XObject << /X 5 0 R >> >> >>",
        _stream("/X Do"),
    ]
    for level in range(1, levels + 1):
        last = level == levels
        inner = font if last else f"/XObject << /X {len(objects) + 2} 0 R >>"
        about = f"/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Resources << {inner} >> "
        objects.append(_stream("BT /F 12 Tf 10 10 Td (a) Tj ET" if last else "/X Do " * fan, about))
    return _pdf_of(objects)


def _stream(text: str, about: str = "") -> str:
    return f"<< {about}/Length {len(text)} >>\nstream\n{text}\nendstream"


def _pdf_of(objects: Sequence[str]) -> bytes:
    """The file of those objects, numbered from 1; the first is the catalogue."""
    content, places = b"%PDF-1.4\n", []
    pieces = [content]
    length = len(content)
    for number, body in enumerate(objects, start=1):
        piece = f"{number} 0 obj\n{body}\nendobj\n".encode()
        places.append(length)
        pieces.append(piece)
        length += len(piece)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    pieces.append(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode())
    pieces.append(f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{length}\n%%EOF".encode())
    return b"".join(pieces)


def docx_with(lines: Sequence[str], table: Sequence[Sequence[str]], inserted: str, deleted: str) -> bytes:
    """A Word document with paragraphs, a table and a tracked change."""
    document = docx.Document()
    for line in lines:
        document.add_paragraph(line)
    cells = document.add_table(rows=0, cols=len(table[0]))
    for row in table:
        for cell, text in zip(cells.add_row().cells, row, strict=True):
            cell.text = text
    space = nsdecls("w")
    change = (
        f'<w:p {space}><w:ins w:id="1" w:author="a"><w:r><w:t>{inserted}</w:t></w:r></w:ins>'
        f'<w:del w:id="2" w:author="a"><w:r><w:delText>{deleted}</w:delText><w:t>{deleted}</w:t></w:r></w:del></w:p>'
    )
    document.element.body.insert(len(lines), parse_xml(change))
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def word_xml(body: str, before: str = "") -> str:
    """The XML of a Word document with that body."""
    return f"{before}<w:document {nsdecls('w')}><w:body>{body}</w:body></w:document>"


def zip_of(members: Mapping[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of some files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()
