"""Document files made in memory for the tests: PDF, DOCX, zip archives."""

import io
import zipfile
from collections.abc import Mapping, Sequence

import docx
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls


def pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF of pages of ASCII lines in Helvetica."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    box = "[0 0 595 842]"
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    for lines in pages:
        shown = "".join(f"1 0 0 1 50 {780 - 20 * at} Tm ({line}) Tj " for at, line in enumerate(lines))
        stream = f"BT /F1 12 Tf {shown}ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Resources {font} /Contents {len(objects) + 2} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>"
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


def zip_of(members: Mapping[str, str]) -> bytes:
    """A zip archive of some texts."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return target.getvalue()
