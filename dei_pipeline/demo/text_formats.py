"""Bytes of the documents that the demo's texts come in: web page, Word, PDF, plain text; equal texts, equal bytes."""

import html
import io
import zipfile
import zlib
from collections.abc import Sequence

from dei_pipeline.demo.formats import CREATED

LINE, LINES = 38, 40  # characters a line and lines a page of a PDF
TOOLS = "下载 打印 全屏 收藏 【字号：大 中 小】"
RADICALS = str.maketrans("人民见长", "⼈⺠⻅⻓")  # as some fonts leave them in a PDF
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def article(title: str, lines: Sequence[str], issuer: str, published: str) -> bytes:
    """A page of a government's site in UTF-8: what it is in its head, then menu, place, tools, text and foot."""
    menu = "".join(f'<li><a href="#">{word}</a></li>' for word in ("首页", "政务公开", "办事服务", "互动交流"))
    body = "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)
    shown = html.escape(title)
    text = (
        f'<!DOCTYPE html>\n<html lang="zh"><head><meta charset="utf-8"><title>{shown}</title>\n'
        f'<meta name="ArticleTitle" content="{shown}"><meta name="PubDate" content="{published}">'
        f'<meta name="ContentSource" content="{html.escape(issuer)}"></head>\n<body><nav><ul>{menu}</ul></nav>\n'
        f"<div>您现在的位置：首页 &gt; 政务公开 &gt; 规划</div>\n<h1>{shown}</h1>\n<div>{TOOLS}</div>\n"
        f"<article>\n{body}\n</article>\n<footer>版权所有：示例网站 合成数据 SYNTHETIC</footer></body></html>\n"
    )
    return text.encode()


def listing(title: str, links: Sequence[str]) -> bytes:
    """A page of a site that holds links only, saved under the title of a document it led to."""
    items = "".join(f'<li><a href="#">{html.escape(link)}</a></li>' for link in links)
    return (
        f'<!DOCTYPE html>\n<html lang="zh"><head><meta charset="utf-8"><title>{html.escape(title)}</title></head>\n'
        f"<body><h1>{html.escape(title)}</h1><ul>{items}</ul>"
        "<footer>版权所有：示例网站 合成数据 SYNTHETIC</footer></body></html>\n"
    ).encode()


def docx(lines: Sequence[str]) -> bytes:
    """A Word document of those paragraphs."""
    body = "".join(f'<w:p><w:r><w:t xml:space="preserve">{html.escape(line)}</w:t></w:r></w:p>' for line in lines)
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    members = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="xml" '
        'ContentType="application/xml"/><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{kind}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
        f'Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as book:
        for name, text in members.items():
            info = zipfile.ZipInfo(name, CREATED.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            book.writestr(info, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{text}')
    return out.getvalue()


def plain(title: str, lines: Sequence[str], encoding: str) -> bytes:
    """A text as copied from a web page: its headline twice, the page's tools between."""
    return "\r\n".join([title, TOOLS, title, *lines, ""]).encode(encoding)


def pdf(lines: Sequence[str], head: str, radicals: bool = False) -> bytes:
    """A PDF with lines broken at the width of the page, a running head and page numbers.

    The font is named, not embedded; a map from its codes to Unicode lets every reader find the text.

    Args:
        lines: paragraphs.
        head: running head.
        radicals: print some characters as the radicals that look like them.
    """
    broken = [line[at : at + LINE] for line in lines for at in range(0, max(len(line), 1), LINE)]
    pages = [broken[at : at + LINES] for at in range(0, len(broken), LINES)]
    printed = [[head, *page, f"— {number} —"] for number, page in enumerate(pages, start=1)]
    if radicals:
        printed = [[line.translate(RADICALS) for line in page] for page in printed]
    codes = {char: code for code, char in enumerate(sorted({c for page in printed for c in "".join(page)}), start=1)}
    font, descendant = "STSong-Light", "/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/DW 1000"
    kids = " ".join(f"{6 + 2 * number} 0 R" for number in range(len(pages)))
    parts = "/Encoding/Identity-H/DescendantFonts[4 0 R]/ToUnicode 5 0 R"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode(),
        f"<</Type/Font/Subtype/Type0/BaseFont/{font}{parts}>>".encode(),
        f"<</Type/Font/Subtype/CIDFontType0/BaseFont/{font}{descendant}>>".encode(),
        _stream(_to_unicode(codes)),
    ]
    for number, page in enumerate(printed):
        shown = "\n".join(f"<{''.join(f'{codes[c]:04X}' for c in line)}> Tj T*" for line in page)
        resources = f"/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents {7 + 2 * number} 0 R"
        objects += [
            f"<</Type/Page/Parent 2 0 R{resources}>>".encode(),
            _stream(f"BT /F1 11 Tf 18 TL 60 790 Td\n{shown}\nET"),
        ]
    return _assembled(objects)


def _to_unicode(codes: dict[str, int]) -> str:
    rows = [f"<{code:04X}> <{char.encode('utf-16-be').hex()}>" for char, code in codes.items()]
    blocks = [rows[at : at + 100] for at in range(0, len(rows), 100)]
    maps = "\n".join(f"{len(block)} beginbfchar\n{chr(10).join(block)}\nendbfchar" for block in blocks)
    space = "1 begincodespacerange <0000> <FFFF> endcodespacerange"
    start = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def"
    return f"{start}\n{space}\n{maps}\nendcmap end end"


def _stream(text: str) -> bytes:
    packed = zlib.compress(text.encode())
    return b"<</Length %d/Filter/FlateDecode>>\nstream\n%b\nendstream" % (len(packed), packed)


def _assembled(objects: Sequence[bytes]) -> bytes:
    """The objects as a file, with the table of where each begins."""
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer<</Size {len(objects) + 1}/Root 1 0 R>>\n"
    return bytes(out) + f"{end}startxref\n{len(out)}\n%%EOF\n".encode()
