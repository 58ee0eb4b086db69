"""The text of a document without what the page around it adds, character by character accounted for.

Every character that was read is kept or removed for one stated reason (`ROLES`); what is kept is changed one for one
only (`repaired`), so that a place in the cleaned text leads back to the place in the file.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dei_pipeline.sources.labels import key

TEXT = "text"
ROLES = (
    TEXT, "blank", "line_break", "control", "navigation", "reference", "footer", "page_number", "running_head",
    "doubled",
)  # fmt: skip
_ROLE = {name: number for number, name in enumerate(ROLES)}
HEAD_LINES, TAIL_LINES = 30, 25  # lines in which the words of a page's tools are looked for
MAX_TOOL_LINE = 200
DOUBLED_HEAD = 12  # lines in which a headline may be printed twice
LEAST_DOUBLED, MOST_DOUBLED, LEAST_HAN = 5, 80, 4
MAX_WRAP = 120  # display columns (Chinese characters take two); wider lines are paragraphs, not wrapped ones
FULL_LINE = 0.8  # of the usual width: such a line goes on in the next
LEAST_FULL = 0.35  # share of full lines, from which a text is taken as wrapped
WIDER, MOST_WIDER = 1.15, 0.03  # and share of lines wider than the usual width, up to which it is
LEAST_LINES = 8
LONG_COPY = 12

_TOOLS = (
    "下载文字版 下载图片版 下载 打印本页 打印 全屏 收藏本页 加入收藏 收藏 "
    "分享到 分享 加大 还原 减小 默认 超大 首页 首\u3000页 登录 "
    "注册 退出 邮箱 无障碍浏览 无障碍 个人中心 关闭窗口 返回顶部 上一篇 下一篇 相关报道 相关链接 相关稿件 "
    "设为首页 手机版 网站地图 "
    "联系我们 关于我们 查看更多 更多 扫一扫在手机打开当前页 我要纠错 留言 "
    "浏览字号 字号 字体 视力保护色 繁体 简体 English EN"
)
_WEAK = ("大", "中", "小", "简", "繁", "】", "[", "]", "|")
_BETWEEN = r"[\s|>＞/：:·,，【】\[\]()（）—-]"
_WORDS = "|".join(re.escape(word) for word in sorted(_TOOLS.split(" "), key=len, reverse=True))
_TOOL_LINE = re.compile(rf"{_BETWEEN}*+(?>{_WORDS})(?>{_WORDS}|[大中小简繁]|{_BETWEEN})*+")
_CRUMBS = re.compile(r"(?:您?(?:现在|当前)?的?(?:当前)?位置|首页)\s*[：:>＞/](?:(?!关于|《|来源|时间).){0,80}")
_FOOTER = re.compile(
    r"(?:主办单位|承办单位|承办|技术支持|版权所有|网站标识码|责任编辑|责\s*编|[（(]?责任编辑)\s*[：:].*|.*(?:ICP备|公网安备|网站标识码bm).*"
)
_REFERENCE = re.compile(r"【法宝引证码】.*|(?:原文链接|网址)[：:]\s*\S+|(?:https?:)?//\S+")
_PAGE_NUMBER = re.compile(r"[—–\-\s·]*\d{1,4}[—–\-\s·]*|第\s*\d+\s*页(?:\s*+(?:[,，/]\s*+)?共\s*\d+\s*页)?")
_HEADING = re.compile(
    r"[一二三四五六七八九十百]+、|[（(][一二三四五六七八九十百\d]+[)）]|第[一二三四五六七八九十百零〇\d]+[章节条编篇]|\d{1,2}[.．、](?!\d)"
    r"|\u3000\u3000|——|附件|专栏"
)
CONTENTS = re.compile(  # a line of a table of contents: a title with the number of its page
    r"(?:(?<![.．…·])[.．…·]{4,}+\s*+\d{0,4}|(?<=\S)(?:\t|[ \u3000]{2})\s*+\d{1,4})$"
)
_LISTED = re.compile(r"[^一二三四五六七八九十][、，,]")
_SENTENCE_END = "。！？；：!?;:"

# CJK Radicals Supplement as the characters that fonts mean by them; NFKC knows only U+2E9F and U+2EF3 of this block,
# and makes of two Kangxi radicals a form that Chinese texts do not use (⼾ 戶 for 户, ⾭ 靑 for 青).
_RADICALS = (
    "⺀冫⺁厂⺂乙⺃乚⺄乙⺅亻⺆冂⺇几⺈刀⺉刂⺊卜⺋卩⺌小⺍小⺎兀⺏尣⺐尢⺑尣⺒巳⺓幺⺔彑⺕彐⺖忄⺗心⺘扌⺙攵⺛旡⺜曰⺝月⺞歹⺟母⺠民⺡氵⺢氺⺣灬⺤爫⺥爫"
    "⺦丬⺧牛⺨犭⺩王⺪疋⺫目⺬示⺭礻⺮竹⺯糹⺰纟⺱罓⺲罒⺳网⺴罒⺵网⺶羊⺷羊⺸羊⺹耂⺺肀⺻聿⺼月⺽臼⺾艹⺿艹⻀艹⻁虎⻂衤⻃覀⻄西⻅见⻆角⻇角⻈讠⻉贝⻊足⻋车⻌辶"
    "⻍辶⻎辶⻏阝⻐钅⻑長⻒镸⻓长⻔门⻕阜⻖阝⻗雨⻘青⻙韦⻚页⻛风⻜飞⻝食⻞食⻟飠⻠饣⻡首⻢马⻣骨⻤鬼⻥鱼⻦鸟⻧卤⻨麦⻩黄⻪黾⻫齐⻬齐⻭齿⻮齿⻯竜⻰龙⻱龟⻲亀⻳龟⼾户⾭青"
)


@functools.cache
def _repairs() -> dict[int, int]:
    """What `repaired` replaces: one character by one."""
    table = {ord(a): ord(b) for a, b in zip(_RADICALS[::2], _RADICALS[1::2], strict=True)}
    blocks = ((0x2E80, 0x2FD5), (0xF900, 0xFAFF), (0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))
    for first, last in blocks:
        for code in range(first, last + 1):
            plain = unicodedata.normalize("NFKC", chr(code))
            if len(plain) == 1 and plain != chr(code):
                table.setdefault(code, ord(plain))
    breaks = dict.fromkeys((0x0B, 0x0C, 0x85, 0x2028, 0x2029), ord("\n"))
    return table | breaks | {0xA0: ord(" "), 0x2002: ord(" "), 0x2003: ord(" ")}


def repaired(text: str) -> str:
    """The text with radicals, compatibility ideographs and full-width letters and digits made plain, one for one.

    U+2F00-2FD5 (Kangxi), U+F900-FAFF and full-width letters and digits by NFKC, U+2E80-2EF3 by an explicit map, which
    NFKC lacks; Chinese punctuation stays; form feeds and line separators become line breaks. The length stays.
    """
    return text.translate(_repairs())


@dataclass(frozen=True)
class Part:
    """One page of a document, one cell of a table, or the whole of a file: where it stands and its text as read.

    Attributes:
        sheet: `p<page>`, `text`, or the sheet of a table.
        text: characters as decoded; a page ends with a line break.
        cell: address, where the part is a cell.
        aside: (start, end) of characters that the markup gives to menus, heads, feet and links.
    """

    sheet: str
    text: str
    cell: str = ""
    aside: tuple[tuple[int, int], ...] = ()

    def place(self, start: int, end: int) -> str:
        """`<sheet>!<start>-<end>`, or `<sheet>!<cell>:<start>-<end>` inside a cell; offsets in characters."""
        return f"{self.sheet}!{self.cell}:{start}-{end}" if self.cell else f"{self.sheet}!{start}-{end}"


@dataclass(frozen=True)
class Run:
    """Neighbouring characters of one part with one role.

    Attributes:
        part: which of the parts.
        start, end: characters in the text of the part.
        role: one of `ROLES`.
        text: the characters, repaired.
        text_start: where they stand in the cleaned text, if kept.
    """

    part: int
    start: int
    end: int
    role: str
    text: str
    text_start: int | None


@dataclass(frozen=True)
class _Line:
    """A line by its place in the joined text: `start`, `end` (line break excluded), inner text without outer blanks."""

    start: int
    end: int
    left: int
    right: int
    text: str
    part: int


def cleaned(parts: Sequence[Part], wrapped: bool = False) -> tuple[str, list[Run]]:
    """The text of a document without what the page around it adds, and every character's role.

    Removed: blanks around lines, control characters, navigation (by markup, by the words of a page's tools in the first
    and last lines), references such as bare links, feet of sites, page numbers and running heads of pages, headlines
    printed twice. Line breaks inside a sentence are removed where lines are wrapped.

    Args:
        parts: pages in order.
        wrapped: whether lines may be broken where the page ends rather than the paragraph (PDF, plain text).

    Returns:
        The kept characters, and the runs: their lengths add up to the characters read.
    """
    text = repaired("".join(part.text for part in parts))
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    role = np.zeros(len(text), dtype=np.uint8)
    starts = np.cumsum([0, *(len(part.text) for part in parts)])
    for start, part in zip(starts, parts, strict=False):
        for first, last in part.aside:
            role[start + first : start + last] = _ROLE["navigation"]
    role[_control(codes)] = _ROLE["control"]
    role[codes == ord("\r")] = _ROLE["line_break"]
    lines = _lines(text, role, starts)
    kept = [line for line in lines if line.text and not role[line.left : line.right].all()]
    for line in lines:
        if line.text and role[line.left : line.right].all():
            _mark(role, line.end, line.end + 1, "blank")
        blanks = ((line.start, line.left), (line.right, line.end)) if line.text else ((line.start, line.end + 1),)
        for first, last in blanks:
            _mark(role, first, last, "blank")
    for line, why in _furniture(kept, len(parts)):
        _mark(role, line.start, line.end + 1, why)
    kept = [line for line in kept if not role[line.left : line.right].all()]
    if wrapped:
        for line in _wrapped(kept):
            _mark(role, line.end, line.end + 1, "line_break")
    _mark_doubled(codes, role)
    return _runs(text, role, starts)


def _control(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    low = (codes < 0x20) & (codes != 0x09) & (codes != 0x0A)
    format = ((codes >= 0x200B) & (codes <= 0x200F)) | (codes == 0xFEFF) | (codes == 0xFFFE) | (codes == 0xAD)
    return low | ((codes >= 0x7F) & (codes < 0xA0)) | format


def _mark(role: NDArray[np.uint8], start: int, end: int, why: str) -> None:
    """Gives the characters a role that have none yet."""
    span = role[start:end]
    span[span == 0] = _ROLE[why]


def _lines(text: str, role: NDArray[np.uint8], starts: NDArray[np.int64]) -> list[_Line]:
    found = []
    start = 0
    for piece in text.split("\n"):
        end = start + len(piece)
        inner = piece.strip()
        if inner and role[start:end].any():  # control characters do not keep a line from being one of a page's tools
            unseen = (_ROLE["control"], _ROLE["line_break"])
            inner = "".join(c for c, r in zip(piece, role[start:end], strict=True) if r not in unseen).strip()
        left = start + len(piece) - len(piece.lstrip())
        part = int(np.searchsorted(starts, start, side="right")) - 1
        found.append(_Line(start, end, left, left + len(piece.strip()), inner, part))
        start = end + 1
    return found


def _furniture(lines: Sequence[_Line], pages: int) -> list[tuple[_Line, str]]:
    """Lines that belong to the page around the text, and why."""
    found: dict[int, str] = {}
    for at, line in enumerate(lines):
        near_edge = at < HEAD_LINES or at >= len(lines) - TAIL_LINES
        if len(line.text) > MAX_TOOL_LINE:
            continue
        if _REFERENCE.fullmatch(line.text):
            found[at] = "reference"
        elif near_edge and (_TOOL_LINE.fullmatch(line.text) or _CRUMBS.fullmatch(line.text)):
            found[at] = "navigation"
        elif near_edge and "。" not in line.text and _FOOTER.fullmatch(line.text):
            found[at] = "footer"
    for order in (range(len(lines)), range(len(lines) - 1, -1, -1)):
        before = None
        for at in order:
            if lines[at].text in _WEAK and before is not None and found.get(before) == "navigation":
                found[at] = "navigation"
            before = at
    for at, other in zip(range(1, min(len(lines), DOUBLED_HEAD)), lines, strict=False):
        said = key(other.text)
        if at - 1 not in found and len(said) >= LEAST_DOUBLED and said == key(lines[at].text):
            found.setdefault(at, "doubled")
    if pages > 1:
        found = _page_edges(lines, found) | found
    return [(lines[at], why) for at, why in sorted(found.items())]


def _page_edges(lines: Sequence[_Line], known: dict[int, str]) -> dict[int, str]:
    """Page numbers at the edges of pages, and lines that head or foot at least half of them, three or more."""
    found: dict[int, str] = {}
    of_page: dict[int, list[int]] = {}
    for at, line in enumerate(lines):
        if at not in known:
            of_page.setdefault(line.part, []).append(at)
    edges: dict[tuple[int, str], list[int]] = {}
    for places in of_page.values():
        for side, at in ((0, places[0]), (-1, places[-1])):
            if _PAGE_NUMBER.fullmatch(lines[at].text):
                found[at] = "page_number"
                places.remove(at)
            if places:
                said = re.sub(r"\d", "", key(lines[places[side]].text))
                if said:
                    edges.setdefault((side, said), []).append(places[side])
            else:
                break
    for places in edges.values():
        if len(places) >= max(3, len(of_page) / 2):
            found |= dict.fromkeys(places[1:], "running_head")
    return found


def _width(text: str) -> int:
    return sum(2 if char > "\u2e7f" else 1 for char in text)


def _wrapped(lines: Sequence[_Line]) -> list[_Line]:
    """Lines that go on in the next one: as wide as most, not ended like a sentence, the next no heading.

    None of a text in which few lines are that wide, or some are wider still: there a line is a paragraph.
    """
    lines = [line for line in lines if not CONTENTS.search(line.text)]
    widths = [_width(line.text) for line in lines]
    if len(lines) < LEAST_LINES or (usual := int(np.quantile(widths, 0.9))) > MAX_WRAP:
        return []
    full, wider = (sum(width >= share * usual for width in widths) / len(lines) for share in (FULL_LINE, WIDER))
    if full < LEAST_FULL or wider > MOST_WIDER:
        return []
    pairs = zip(lines, lines[1:], widths, strict=False)
    return [
        line
        for line, following, width in pairs
        if width >= FULL_LINE * usual
        and line.text[-1] not in _SENTENCE_END
        and not _HEADING.match(following.text)
        and not re.fullmatch("[A-Za-z]{2}", line.text[-1] + following.text[0])  # two English words
    ]


def _mark_doubled(codes: NDArray[np.uint32], role: NDArray[np.uint8]) -> None:
    """Marks the second copy where kept text of 5 to 80 characters, 4 of them Chinese, is at once repeated.

    A short copy with a comma is no headline but a list («第十九条、第二十条、第二十一条») and stays.
    """
    at = np.flatnonzero(role == 0)
    kept = codes[at]
    han = np.concatenate([[0], np.cumsum((kept >= 0x3400) & (kept <= 0x9FFF))])
    for shift in range(LEAST_DOUBLED, min(MOST_DOUBLED, len(kept) // 2) + 1):
        same = kept[:-shift] == kept[shift:]
        if np.count_nonzero(same) < shift:
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]])))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            copies = (last - first) // shift
            if not copies or han[first + shift] - han[first] < LEAST_HAN:
                continue
            said = kept[first : first + 2 * shift].tobytes().decode("utf-32-le", "surrogatepass")
            if shift >= LONG_COPY or not _LISTED.search(said):
                role[at[first + shift : first + shift * (copies + 1)]] = _ROLE["doubled"]


def _runs(text: str, role: NDArray[np.uint8], starts: NDArray[np.int64]) -> tuple[str, list[Run]]:
    if not len(text):
        return "", []
    cuts = np.flatnonzero(np.diff(role)) + 1
    bounds = np.unique(np.concatenate([cuts, starts, [0, len(text)]])).tolist()
    parts = (np.searchsorted(starts, bounds[:-1], side="right") - 1).tolist()
    found, pieces, length = [], [], 0
    for first, last, part in zip(bounds, bounds[1:], parts, strict=False):
        what, piece, origin = ROLES[role[first]], text[first:last], int(starts[part])
        found.append(Run(part, first - origin, last - origin, what, piece, length if what == TEXT else None))
        if what == TEXT:
            pieces.append(piece)
            length += last - first
    return "".join(pieces), found
