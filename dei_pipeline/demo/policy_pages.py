"""Files of the demo's policy texts: tables of texts, web pages, Word, PDF and plain text, with the mess of real ones.

`planted` says which deliberate flaws there are; the texts are those of `policies.Policies`.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from dei_pipeline.demo import formats, text_formats
from dei_pipeline.demo.formats import Page
from dei_pipeline.demo.policies import Policies

FOLDER = "政策文件"
SOURCE = "policy"
HEAD = ["编号", "标题", "发布机构", "发文号", "发布日期", "地区代码", "地区", "正文"]
COPIED = {"exact_copy": (0.1, 0.4, 0.7), "near_copy": (0.2, 0.5, 0.8)}  # places of notices that other sites print again
COPYIST, EDITORS_LINE = "区县网站", "（本网编者注：正文有个别文字调整）"
SINGLE = 6  # proposals that come in files of their own, web pages and Word by turns
MEDIA = ("docx", "html", "pdf", "txt")  # of the new-infrastructure plans, by turns
RUNNING_HEAD = "新型基础设施建设行动方案"
LEAST_NOTICES = 20
LINKS = ("领导之窗", "机构职能", "通知公告", "规划计划", "人事任免", "统计信息", "应知应会", "网站地图")
TABLES = {  # of the rest: kind, file, how it is written
    "proposal": ("十四五规划建议汇编", formats.csv_utf8),
    "plan": ("十四五规划纲要汇编", formats.csv_utf8),
    "notice": ("政策通知", formats.csv_gb18030),
    "approval": ("项目批复", formats.csv_utf8),
    "work_report": ("政府工作报告", formats.csv_utf8),
}


@dataclass(frozen=True)
class Single:
    """A document in a file of its own.

    Attributes:
        file: name of the file.
        row: its row of `Policies.documents`.
        medium: docx, html, pdf or txt.
        flaws: what is deliberately wrong with the file.
    """

    file: str
    row: Mapping[str, Any]
    medium: str
    flaws: tuple[str, ...]


def planted(policies: Policies) -> pl.DataFrame:
    """The deliberate flaws: kind, document, file.

    Kinds: exact_copy and near_copy (of a notice, in a table of reprints), wrong_page (a page of links under the title
    of a plan), navigation, doubled (headline twice), wrapped (lines broken by the page), radicals, gb18030.
    """
    rows = [(kind, row["document"], f"{FOLDER}/政策转载.csv") for kind, row in _copies(policies)]
    rows += [("wrong_page", row["document"], _wrong_file(row)) for row in _wrong(policies)]
    rows += [(flaw, one.row["document"], one.file) for one in singles(policies) for flaw in one.flaws]
    return pl.DataFrame(rows, schema=dict.fromkeys(("kind", "document", "file"), pl.String()), orient="row")


def singles(policies: Policies) -> list[Single]:
    """The documents that come in files of their own."""
    proposals = policies.documents.filter(kind="proposal").sort("region_code").head(SINGLE).rows(named=True)
    plans = policies.documents.filter(kind="new_infrastructure").sort("published", "region_code").rows(named=True)
    found = []
    for at, row in enumerate(proposals):
        found.append(_single(row, ("html", "docx")[at % 2], ()))
    for at, row in enumerate(plans):
        odd = at // len(MEDIA) % 2 == 1
        extra = {"pdf": "radicals", "txt": "gb18030"}
        medium = MEDIA[at % len(MEDIA)]
        found.append(_single(row, medium, (extra[medium],) if odd and medium in extra else ()))
    return found


def _single(row: Mapping[str, Any], medium: str, extra: tuple[str, ...]) -> Single:
    always = {"html": ("navigation",), "txt": ("navigation", "doubled"), "pdf": ("wrapped",), "docx": ()}[medium]
    return Single(f"{FOLDER}/{row['title']}.{medium}", row, medium, always + extra)


def files(policies: Policies) -> Iterator[tuple[str, str, str, int, bytes]]:
    """Name, source, title, edition (year) and content of every file; none where there is no text."""
    alone = singles(policies)
    for one in alone:
        yield one.file, SOURCE, one.row["title"], one.row["published"].year, _content(one)
    names = pl.Series([one.row["document"] for one in alone], dtype=pl.String)
    rest = policies.documents.filter(~pl.col("document").is_in(names.implode()))
    for kind, (title, write) in TABLES.items():
        part = rest.filter(kind=kind).with_columns(year=pl.col("published").dt.year())
        for year in part["year"].unique().sort():
            rows = part.filter(year=year).rows(named=True)
            yield f"{FOLDER}/{title}_{year}.csv", SOURCE, f"{title} {year}", year, write(_page(rows))
    if copies := [row for _, row in _copies(policies)]:
        content = formats.csv_utf8(_page(copies))
        yield f"{FOLDER}/政策转载.csv", SOURCE, "政策转载", copies[0]["published"].year, content
    for row in _wrong(policies):
        yield _wrong_file(row), SOURCE, row["title"], row["published"].year, text_formats.listing(row["title"], LINKS)


def _content(one: Single) -> bytes:
    """The bytes of a single document."""
    title, *lines = one.row["text"].split("\n")
    if one.medium == "docx":
        return text_formats.docx([title, *lines])
    if one.medium == "html":
        return text_formats.article(title, lines, one.row["issuer"], one.row["published"].isoformat())
    if one.medium == "pdf":
        return text_formats.pdf([title, *lines], RUNNING_HEAD, radicals="radicals" in one.flaws)
    return text_formats.plain(title, lines, "gb18030" if "gb18030" in one.flaws else "utf-8")


def _page(rows: Sequence[Mapping[str, Any]]) -> Page:
    """A table of texts, one a row."""
    fields = ("title", "issuer", "number", "published", "region_code", "region", "text")
    body = [[number, *(row[field] for field in fields)] for number, row in enumerate(rows, start=1)]
    return Page([HEAD, *body])


def _copies(policies: Policies) -> list[tuple[str, dict[str, Any]]]:
    """Notices as other sites print them again, a week later: the same text, or with a line of the editors."""
    notices = policies.documents.filter(kind="notice").rows(named=True)
    found = []
    for kind, places in COPIED.items() if len(notices) >= LEAST_NOTICES else ():
        for place in places:
            row = notices[int(place * len(notices))]
            text = row["text"] if kind == "exact_copy" else f"{EDITORS_LINE}\n{row['text']}"
            later = row["published"] + datetime.timedelta(days=7)
            found.append((kind, row | {"issuer": COPYIST, "published": later, "text": text}))
    return found


def _wrong(policies: Policies) -> list[dict[str, Any]]:
    """The plan under whose title a page of links was saved, too."""
    return policies.documents.filter(kind="plan").sort("region_code").head(1).rows(named=True)


def _wrong_file(row: Mapping[str, Any]) -> str:
    return f"{FOLDER}/{row['title']}（网页）.html"
