"""What a document is: title, issuer, date of publication and year, each with where it was found and how sure that is.

Confidence is stated, not estimated: what a sidecar, a list or a column says counts most, then what the document prints
with a label, its headline, its signature; least the file's name and the first date in the text.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dei_pipeline.settings import LATEST, OLDEST
from dei_pipeline.sources.labels import HAN, key

CONFIDENCE = {
    "sidecar": 1.0, "list": 0.95, "column": 0.95, "label": 0.9, "head": 0.85, "headline": 0.8, "signature": 0.75,
    "title": 0.7, "file_name": 0.6, "url": 0.6, "body": 0.4,
}  # fmt: skip
HEADLINE_LINES, HEADLINE_SPAN = 12, 3
HEAD_CHARACTERS = 800
MIN_TITLE, MAX_TITLE = 5, 120
HELD, HARDLY_HELD = 0.6, 0.35  # shares of a title that a page must hold; between them its prose decides
PROSE = 8.0  # sentences per 1,000 characters of running text; menus and front pages have 2 to 5.5, texts 11 and more
EXTENSION = re.compile(r"\.(?:pdf|docx?|txt|html?|csv)$", re.I)
_NAME_NUMBER = re.compile(r"^(?:[A-Za-z]{0,3}\d{1,4}[_\-、.\s]+)?(?:[A-Za-z]+_)?")
_NAME_TAIL = re.compile(r"[（(][A-Z]{2,10}[-.][A-Za-z\d.-]{0,30}\d[)）]$")  # the id of a database of laws
_INNER = r"(?:《[^《》]*》|〈[^〈〉]*〉|[^《》〈〉\n])"  # each character can be read in one way only
_LEAD = r"^\s*(?:新华社.{0,12}?电)?"
_ABOUT = re.compile(
    rf"{_LEAD}((?!为|根据|按照|依据|经|现将)(?:《[^》]*》|[^《》，：:|\n]){{0,60}}?(?:关于|印发|公布|发布){_INNER}{{1,90}}?的?(?:通知|意见|决定|公告|批复|函|通告))"
)
_NAMED = re.compile(
    rf"{_LEAD}((?:中华人民共和国[^，：\n]{{2,20}}法|[^，：|/\n]{{3,60}}?(?:规划纲要|规划|纲要|行动方案|方案|行动计划|计划|办法|条例|规定"
    r"|工作报告|指南|措施|细则|要点|规则|建议))(?:[（(][^）)\n]{1,30}[）)])?)\s*$"
)
_BOOK = re.compile(r"《([^《》]{4,80})》")
_GENERIC = re.compile(
    r"中华人民共和国|国务院办公厅|国务院|中共中央|关于|印发|^在|进一步|的?通知$|的?(?:若干|指导|实施)?意见$|的?(?:暂行|管理)?办法$"
)
_BRACKET = re.compile(r"[（(][^（）()]*[)）]?")
_DATE = r"((?:19|20)\d{2})\s*[年\-/.]\s*(\d{1,2})\s*[月\-/.]\s*(\d{1,2})(?!\d)(?:\s*+日)?+"
_ANY_DATE = re.compile(_DATE)
_LABELLED_DATE = re.compile(rf"(?:成文日期|发布日期|印发日期|公布日期|发布时间|时间)\s*[：:]\s*{_DATE}")
_SIGNED = re.compile(rf"^\s*+{_INNER}{{0,40}}?{_DATE}\s*+(?:[（(][^）)]*+[）)])?+\s*+$")
_URL_DATE = re.compile(r"/(?:t|art_)?((?:19|20)\d{2})[-/]?(\d{2})[-/]?(\d{2})[/_]")
_IN_FORCE = re.compile(r"^\s*(?:起|生效|施行|前|至)")
_HAN_DATE = re.compile(
    r"([二一〇○零九八七六五四三]{4})年([一二三四五六七八九十]{1,2})月([一二三四五六七八九十]{1,3})日"
)
_HAN_DIGITS = {c: i for i, c in enumerate("〇一二三四五六七八九")} | {"零": 0, "○": 0}
_LABELLED_ISSUER = re.compile(
    r"(?:发文机关|发布机构|发文机构|制定机关)\s*[：:]\s*([^\s：:，。|]{2,40}?)(?=发文字号|成文|\s|$|\|)"
)
_NUMBER = re.compile(
    r"(?:^|[\s（(。]|通知|意见|纲要|方案)((?:(?!通知|意见|的)[\u4e00-\u9fff]){1,10}?[〔\[［(（]\s*(?:19|20)\d{2}\s*[〕\]］)）]\s*第?\d{1,5}号)",
    re.M,
)
_ISSUER = re.compile(r"^\s*+((?!关于|印发|为|根据)(?:中共)?[\u4e00-\u9fff、 ]{2,60}?)(?:关于|印发|公布|发布|《)")
_BODY = re.compile(f"[{HAN}、 ]{{2,40}}(?:政府|办公室|办公厅|局|委员会|委|部|厅|会|院|组|中心)")
_YEAR = re.compile(r"((?:19|20)\d{2})\s*+年?+(?!\d)(?!\s*+[-—–~至])")


@dataclass(frozen=True)
class Found:
    """A value, where it was found (a word of `CONFIDENCE`), and its confidence."""

    value: str | None
    origin: str | None = None

    @property
    def confidence(self) -> float | None:
        """How sure the value is, 0 to 1; None without a value."""
        return CONFIDENCE[self.origin] if self.origin else None


NOTHING = Found(None)


def first(*found: Found) -> Found:
    """The first that has a value."""
    return next((one for one in found if one.value), NOTHING)


# -- title -------------------------------------------------------------------------------------------------------------
def name_title(file: str) -> str | None:
    """The title that a file's name gives, without number, suffix and issuer; None if the name is no title."""
    stem = EXTENSION.sub("", file.rpartition("/")[2])
    stem = _NAME_TAIL.sub("", _NAME_NUMBER.sub("", stem)).strip()
    stem = stem.partition("，")[0]
    return stem if len(re.findall(f"[{HAN}]", stem)) >= MIN_TITLE and stem.count("_") < 2 else None


def headline(text: str) -> str | None:
    """The title printed above the text, over up to three lines; None if the first lines look like none."""
    lines = [line.strip() for line in text.split("\n", HEADLINE_LINES)[:HEADLINE_LINES]]
    for at in range(len(lines)):
        for pattern, spans in ((_ABOUT, range(1, HEADLINE_SPAN + 1)), (_NAMED, range(HEADLINE_SPAN, 0, -1))):
            for span in spans:
                found = pattern.match("".join(lines[at : at + span])[: 2 * MAX_TITLE])
                if found and MIN_TITLE <= len(found[1]) <= MAX_TITLE and "。" not in found[1]:
                    return found[1].strip()
    return None


def inner_title(title: str) -> str:
    """What a notice makes known: the last title in 《》 of «… 关于印发《…》的通知», else the title."""
    named = _BOOK.findall(title) if re.search("印发|公布|发布|关于", title) else []
    return named[-1] if named else title


def title_share(title: str, text: str) -> float:
    """How much of a title a text holds, 0 to 1: mean of its pairs of characters found and of the longest run found.

    What any title may have (关于, 通知, 中华人民共和国 …) and brackets do not count.
    """
    title = title[: 2 * MAX_TITLE]
    wanted = key(_GENERIC.sub("", _BRACKET.sub("", title))) or key(title)
    there = key(text)
    if len(wanted) < 2:
        return 1.0 if wanted in there else 0.0
    pairs = [wanted[i : i + 2] in there for i in range(len(wanted) - 1)]
    longest = 0
    for start in range(len(wanted)):
        while start + longest < len(wanted) and wanted[start : start + longest + 1] in there:
            longest += 1
    return (sum(pairs) / len(pairs) + longest / len(wanted)) / 2


def wrong_page(title: str | None, text: str, names: Sequence[str] = ()) -> str | None:
    """Why a page is not the document that it is kept as; None if it is, or no title is known.

    A page holds its title if `title_share` is at least 0.6; or, in running text (8 sentences that are not repeated per
    1,000 characters), if it is at least 0.35 or the title heads the page. A first line that repeats the title or the
    file's name does not count for the share, since front pages are saved under such lines too.

    Args:
        title: what the page should be.
        text: cleaned text of the page.
        names: further texts that may head the page, as the name of the file.
    """
    head, _, rest = text.partition("\n")
    said = {key(name) for name in (title or "", *names)}
    headed = key(head) in said
    body = rest if headed else text
    sentences = {sentence.strip() for sentence in body.split("。")[:-1]} - {""}
    if not sentences:
        return f"holds no sentence: {len(text)} characters of titles, menus or links"
    if not title:
        return None
    share, prose = title_share(title, body), 1000 * len(sentences) / sum(len(sentence) + 1 for sentence in sentences)
    if share >= HELD or (prose >= PROSE and (headed or share >= HARDLY_HELD)):
        return None
    return f"a wrong page: it holds {share:.0%} of its title «{title}», {prose:.1f} sentences per 1,000 characters"


# -- dates -------------------------------------------------------------------------------------------------------------
def date_of(text: str) -> datetime.date | None:
    """The first date of a text, as 2021年12月12日, 2021-12-12 or 二〇二一年十二月十二日; None without one."""
    found = _ANY_DATE.search(text)
    if found:
        return _date(*found.groups()[:3])
    chinese = _HAN_DATE.search(text)
    if chinese is None:
        return None
    year = "".join(str(_HAN_DIGITS[char]) for char in chinese[1])
    return _date(year, str(_small(chinese[2])), str(_small(chinese[3])))


def _small(text: str) -> int:
    tens, mark, ones = text.partition("十")
    if not mark:
        return _HAN_DIGITS[tens]
    return 10 * (_HAN_DIGITS[tens] if tens else 1) + (_HAN_DIGITS[ones] if ones else 0)


def _date(year: str, month: str, day: str) -> datetime.date | None:
    try:
        found = datetime.date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if OLDEST <= found.year <= LATEST else None


def published(said: Mapping[str, Found], text: str, url: str | None) -> tuple[datetime.date | None, str | None]:
    """Date of publication and where it was found: said beside the text, labelled, signed, in the url, in the head."""
    beside = said.get("published", NOTHING)
    if beside.value and (found := date_of(beside.value)):
        return found, beside.origin
    head, tail = text[: 3 * HEAD_CHARACTERS], text[-HEAD_CHARACTERS:]
    labelled = _LABELLED_DATE.search(head)
    if labelled and (found := _date(*labelled.groups())):
        return found, "label"
    lines = head.split("\n")[:40] + tail.split("\n")[-10:]
    for line in lines:
        if (_SIGNED.match(line) or _HAN_DATE.fullmatch(line.strip())) and (found := date_of(line)):
            return found, "signature"
    in_url = _URL_DATE.search(url or "")
    if in_url and (found := _date(*in_url.groups())):
        return found, "url"
    for match in _ANY_DATE.finditer(text[:HEAD_CHARACTERS]):
        found = _date(*match.groups())
        if found and not _IN_FORCE.match(text[match.end() : match.end() + 4]):
            return found, "body"
    return None, None


def year_of_document(said: Mapping[str, Found], title: str | None, date: datetime.date | None) -> int | None:
    """The year of a document: that of its publication, else the year said beside it, else the year in its title.

    A year said beside a text wins where it is a whole year («2026» of a work report).
    """
    stated = said.get("year", NOTHING).value
    found = re.fullmatch(r"((?:19|20)\d{2})(?:\.0)?年?", (stated or "").strip())
    if found:
        return int(found[1])
    if date:
        return date.year
    in_title = _YEAR.search(title or "")
    return int(in_title[1]) if in_title else None


# -- issuer ------------------------------------------------------------------------------------------------------------
def issuer(said: Mapping[str, Found], title: str | None, text: str) -> Found:
    """Who issued a document: said beside it, labelled, before 关于/印发 in its title, or signed before its date."""
    beside = said.get("issuer", NOTHING)
    if beside.value and beside.value not in ("无", "-"):
        return beside
    labelled = _LABELLED_ISSUER.search(text[: 2 * HEAD_CHARACTERS])
    if labelled:
        return Found(labelled[1], "label")
    for name, origin in ((title, "title"), (headline(text), "headline")):
        before = _ISSUER.match(name or "")
        if before:
            return Found(before[1].strip(), origin)
    lines = [line.strip() for line in text[: 3 * HEAD_CHARACTERS].split("\n")]
    for above, line in pairwise(lines):
        if _SIGNED.match(line) and len(line) < 20 and _BODY.fullmatch(above):
            return Found(above, "signature")
    return NOTHING


def document_number(text: str) -> str | None:
    """The number of a document in the head of its text, as 国发〔2021〕29号; None without one."""
    found = _NUMBER.search(text[:HEAD_CHARACTERS])
    return found[1] if found else None
