"""Pages of text in a document file, whatever the file really is: plain text, HTML, PDF or DOCX, told by its bytes.

Nothing in a file is run, followed or fetched: no scripts, links, macros, external or internal XML entities.
"""

import io
import re
import zipfile
from dataclasses import dataclass
from typing import IO, Any, NoReturn
from xml.parsers import expat

from dei_pipeline.errors import LimitError, SourceError
from dei_pipeline.sources.contained import contained
from dei_pipeline.sources.decode_text import decoded_text, everyday, html_tree
from dei_pipeline.sources.document_text import Part

TEXT_SHEET, HEAD_SHEET = "text", "head"
READ = "give the text as .txt, .html, .pdf, .docx, or in a column «full_text» of a .csv"
MOST_UNREADABLE = 0.01  # share of characters that could not be decoded
GUESSED = ("gb18030", "utf-16")  # encodings in which nearly all bytes make some characters
NOT_EVERYDAY = "neither UTF-8 nor GB 18030: its characters make no everyday Chinese"
_ZIP, _PDF, _OLE = b"PK\x03\x04", b"%PDF", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|meta|style|div|table|p|title)\b", re.I)
_DROPPED = ["script", "style", "noscript", "template", "noframes", "iframe", "object", "svg", "xml"]
_BLOCKS = (
    "p,div,li,ul,ol,dl,dt,dd,h1,h2,h3,h4,h5,h6,section,article,header,footer,nav,aside,pre,center,blockquote,form,"
    "table,tr"
)
_MENUS = "nav,header:not(article header,main header),footer,aside,select,button,[role=navigation]"
_BREAK, _CELL, _MENU, _MENU_END, _LINK, _LINK_END = "\x1d", "\x1e", "\x0e", "\x0f", "\x10", "\x11"
_METAS = {
    "articletitle": "title", "title": "title", "pubdate": "published", "publishdate": "published",
    "contentsource": "issuer",
}  # fmt: skip
MOSTLY_LINK = 0.8
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main "
_WORD_TEXT = "word/document.xml"
_LEFT_OUT = {_WORD + "del", _WORD + "moveFrom", _WORD + "pPr"} | {
    "http://schemas.openxmlformats.org/markup-compatibility/2006 Fallback"
}
_MARKS = {_WORD + "tab": "\t", _WORD + "br": "\n", _WORD + "cr": "\n"}


@dataclass(frozen=True)
class DocumentLimits:
    """How much a document file may hold before it is refused.

    Attributes:
        max_bytes: size of the file.
        max_pages: pages of a PDF.
        max_characters: characters of its text; each paragraph of a DOCX counts as one more.
        max_unpacked: unpacked bytes of the text of a DOCX with its markup.
        max_ratio: its unpacked to packed bytes, if above 1 MB (zip bomb).
        max_rows: documents in a table.
    """

    max_bytes: int = 64 * 2**20
    max_pages: int = 2_000
    max_characters: int = 5_000_000
    max_unpacked: int = 64 * 2**20
    max_ratio: int = 200
    max_rows: int = 50_000


LIMITS = DocumentLimits()


@dataclass(frozen=True)
class Said:
    """What stands beside the text about a document: a field as `title`, its text, and `<sheet>!<cell>`."""

    field: str
    text: str
    place: str


@dataclass(frozen=True)
class Source:
    """One document of a file.

    Attributes:
        number: row of a table, after the number of its sheet (`2.5`) if several hold documents; empty where the file
            is the document.
        parts: its pages; none for a row of a list.
        said: what stands beside the text.
        wrapped: whether lines may end where the page does.
    """

    number: str
    parts: tuple[Part, ...]
    said: tuple[Said, ...] = ()
    wrapped: bool = False


def refuse(name: str, reason: str, fix: str = READ) -> NoReturn:
    """Raises a `SourceError` that names the file, the reason and the fix."""
    raise SourceError(f"{name}: {reason}", fix)


def check(name: str, limit: str, found: float, limits: DocumentLimits) -> None:
    """Raises when `found` is above the limit of that name."""
    allowed = getattr(limits, limit)
    if found > allowed:
        message = f"{name}: {limit} is {allowed:,}, the file has {found:,.0f}"
        raise LimitError(message, "give the part that holds the document")


def decode_document(content: bytes, name: str, limits: DocumentLimits = LIMITS) -> tuple[str, Source]:
    """Format (pdf, docx, html, text) and pages of a file that is one document.

    Args:
        content: the bytes of the file.
        name: its name, for messages only.
        limits: what is refused as too large.

    Raises:
        SourceError: the file is no document, is damaged, locked, breaks a limit, or holds no text.
    """
    check(name, "max_bytes", len(content), limits)
    format = _format(content, name)
    if format == "text":
        source = Source("", _pages(plain_text(content, name)), wrapped=True)
    else:
        source = contained({"pdf": _pdf, "docx": _docx, "html": _html}[format], name, content, name, limits)
    check(name, "max_characters", sum(len(part.text) for part in source.parts), limits)
    if not any(part.text.strip() for part in source.parts):
        why = "its pages hold no text: a scan" if format == "pdf" else "it holds no text"
        refuse(name, why, "recognise the text (OCR) and give it as .txt" if format == "pdf" else "fetch it again")
    return format, source


def _format(content: bytes, name: str) -> str:
    if content[:1024].lstrip(b"\x00 \t\r\n\xef\xbb\xbf").startswith(_PDF):
        return "pdf"
    if content.startswith(_ZIP):
        return "docx"
    if content.startswith(_OLE):
        refuse(name, "a Word 97 document, or an encrypted one", "save it as .docx without a password")
    if content.startswith(b"{\\rtf"):
        refuse(name, "an RTF document", "save it as .docx")
    if content[:2] not in (b"\xff\xfe", b"\xfe\xff") and b"\x00" in content[:65536]:
        refuse(name, "a binary file of a kind that is not read")
    return "html" if looks_like_html(content) else "text"


def looks_like_html(content: bytes) -> bool:
    """Whether the bytes are a page of HTML, whatever the file is called."""
    start = content[:4096].replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return start.startswith(b"<") and bool(_HTML.search(start))


def plain_text(content: bytes, name: str) -> str:
    """The text of bytes in UTF-8 (with or without BOM), UTF-16 with BOM or GB 18030.

    Raises:
        SourceError: too many places are unreadable, or it reads as none of these.
    """
    text, encoding, bad = decoded_text(content, name, None, lenient=True)
    if bad > MOST_UNREADABLE * len(text):
        refuse(name, f"{bad} characters can be read neither as UTF-8 nor as GB 18030", "save it as UTF-8")
    if encoding in GUESSED and not everyday(text):
        refuse(name, NOT_EVERYDAY, "save it as UTF-8")
    return text.removeprefix("\ufeff")


def _pages(text: str) -> tuple[Part, ...]:
    """Pages of a text that form feeds divide, else one part."""
    pages = re.findall(r"[^\x0c]*\x0c|[^\x0c]+$", text) if "\x0c" in text else []
    if len(pages) < 2:
        return (Part(TEXT_SHEET, text),)
    return tuple(Part(f"p{number}", page) for number, page in enumerate(pages, start=1))


# -- PDF ---------------------------------------------------------------------------------------------------------------
def _pdf(content: bytes, name: str, limits: DocumentLimits) -> Source:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        refuse(
            name, "the PDF is locked" if locked else f"the PDF is damaged ({error})", "fetch it again without a lock"
        )
    try:
        check(name, "max_pages", len(document), limits)
        parts, characters = [], 0
        for number in range(len(document)):
            page = document[number]
            sheet = page.get_textpage()
            text = sheet.get_text_range() + "\n"
            sheet.close()
            page.close()
            characters += len(text)
            check(name, "max_characters", characters, limits)
            parts.append(Part(f"p{number + 1}", text))
        return Source("", tuple(parts), wrapped=True)
    finally:
        document.close()


# -- DOCX --------------------------------------------------------------------------------------------------------------
def is_docx(content: bytes) -> bool:
    """Whether the bytes are meant as a Word document: a zip, also a damaged one, that names word/document.xml."""
    return content.startswith(_ZIP) and _WORD_TEXT.encode() in content


def _docx(content: bytes, name: str, limits: DocumentLimits) -> Source:
    """Text of a Word document, one line a paragraph, cells of tables included; what was struck out left out."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if _WORD_TEXT not in archive.namelist():
                refuse(name, "a zip archive that holds no Word document", "unpack it and give the files inside")
            member = archive.getinfo(_WORD_TEXT)
            if member.flag_bits & 1:
                refuse(name, "the document is locked with a password", "save it without one")
            check(name, "max_unpacked", member.file_size, limits)
            if member.file_size > 2**20:
                check(name, "max_ratio", member.file_size / max(member.compress_size, 1), limits)
            with archive.open(member) as stream:  # gives no more than the size stated, which its checksum confirms
                text = _Paragraphs(name, limits).read(stream)
    except zipfile.BadZipFile as error:
        refuse(name, f"the file is a damaged zip archive ({error})", "fetch it again")
    except expat.ExpatError as error:
        refuse(name, f"its part {_WORD_TEXT} is damaged ({error})", "save it again in Word")
    return Source("", (Part(TEXT_SHEET, text),))


class _Paragraphs:
    """Reads the XML of a Word document as a stream: no tree is built, and no entity but those of XML itself is known.

    A paragraph inside another (a text box) stands after it.
    """

    def __init__(self, name: str, limits: DocumentLimits) -> None:
        self.name, self.limits = name, limits
        self.lines: list[str] = []
        self.open: list[tuple[int, list[str]]] = []  # number and pieces of each paragraph that is not yet at its end
        self.left_out = 0  # elements around this place whose text does not count
        self.in_text = False
        self.characters = 0

    def read(self, stream: IO[bytes]) -> str:
        """The paragraphs, one a line."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._data
        parser.ParseFile(stream)
        return "\n".join(self.lines)

    def _doctype(self, *_: Any) -> NoReturn:
        refuse(self.name, f"its part {_WORD_TEXT} defines XML entities", "save it again in Word")

    def _start(self, tag: str, _: Any) -> None:
        if tag in _LEFT_OUT:
            self.left_out += 1
        elif self.left_out:
            return
        elif tag == _WORD + "p":
            self.open.append((len(self.lines), []))
            self.lines.append("")
            self._count(1)
        elif tag == _WORD + "t":
            self.in_text = True
        elif tag in _MARKS and self.open:
            self.open[-1][1].append(_MARKS[tag])
            self._count(1)

    def _end(self, tag: str) -> None:
        if tag in _LEFT_OUT:
            self.left_out -= 1
        elif self.left_out:
            return
        elif tag == _WORD + "p":
            number, pieces = self.open.pop()
            self.lines[number] = "".join(pieces)
        elif tag == _WORD + "t":
            self.in_text = False

    def _data(self, text: str) -> None:
        if self.in_text and self.open and not self.left_out:
            self.open[-1][1].append(text)
            self._count(len(text))

    def _count(self, more: int) -> None:
        self.characters += more
        check(self.name, "max_characters", self.characters, self.limits)


# -- HTML --------------------------------------------------------------------------------------------------------------
def _html(content: bytes, name: str, limits: DocumentLimits) -> Source:
    """The text of a page with what its markup calls menus and links, and what its head says of it."""
    tree, text, encoding, bad = html_tree(content, name)
    if bad > MOST_UNREADABLE * len(text):
        refuse(name, f"{bad} characters cannot be read in the encoding that the page states", "save it as UTF-8")
    if encoding in GUESSED and not everyday(text):
        refuse(name, NOT_EVERYDAY, "save it as UTF-8")
    said = [Said("title", node.text().strip(), f"{HEAD_SHEET}!title") for node in tree.css("head > title")[:1]]
    for node in tree.css("meta[name][content]"):
        field = _METAS.get((node.attributes.get("name") or "").lower())
        if field:
            place = f"{HEAD_SHEET}!{node.attributes['name']}"
            said.insert(0, Said(field, (node.attributes.get("content") or "").strip(), place))
    tree.strip_tags(_DROPPED)
    for node in tree.css("br"):
        node.replace_with(_BREAK)
    for selector, before, after in ((_BLOCKS, _BREAK, _BREAK), ("td,th", "", _CELL), ("a", _LINK, _LINK_END)):
        for node in tree.css(selector):
            node.insert_before(before)
            node.insert_after(after)
    for node in tree.css(_MENUS):
        node.insert_before(_MENU)
        node.insert_after(_MENU_END)
    plain, aside = _marked(tree.body.text() if tree.body else "")
    first = {one.field: one for one in reversed(said) if one.text}
    return Source("", (Part(TEXT_SHEET, plain, aside=aside),), tuple(first.values()))


def _marked(text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text without marks, white space squeezed, and the lines that lie in menus or are nearly all links."""
    squeezed = re.sub(r"[ \t\r\n\f]+", " ", text)
    lines, aside = [], []
    length = menus = links = 0
    for piece in squeezed.split(_BREAK):
        inner, linked, in_menu = [], 0, menus > 0
        for bit in re.split(f"([{_MENU}{_MENU_END}{_LINK}{_LINK_END}])", piece):
            menus += (bit == _MENU) - (bit == _MENU_END)
            links += (bit == _LINK) - (bit == _LINK_END)
            if bit in (_MENU, _MENU_END, _LINK, _LINK_END):
                continue
            in_menu = in_menu or (menus > 0 and bool(bit.strip()))
            linked += len(bit.strip()) if links > 0 else 0
            inner.append(bit)
        line = "".join(inner).replace(_CELL, "\t").strip(" \t")
        if not line:
            continue
        if in_menu or (linked >= MOSTLY_LINK * len(line) and "。" not in line):
            aside.append((length, length + len(line)))
        lines.append(line)
        length += len(line) + 1
    return "\n".join(lines), tuple(aside)
