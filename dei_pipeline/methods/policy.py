"""Policy texts: terms found in them, the five-year plan they belong to, their tasks and classes [methodology §3.24].

A document is a row of `document_id`, `text`; a term has one or more forms (synonyms). Offsets are in characters.
Duplicates are in `duplicates`; counts, shares and scores are made in SQL (`dbt_like_sql/marts`).
"""

import re

import polars as pl

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.duplicates import near_duplicates, normalised_text, originals
from dei_pipeline.sources.document_text import CONTENTS

__all__ = [
    "headings",
    "keyword_hits",
    "near_duplicates",
    "normalised_text",
    "originals",
    "plan_period",
    "plan_tasks",
    "task_classes",
]

CONTEXT = 15
HITS: dict[str, pl.DataType] = {
    "document_id": pl.String(), "term_id": pl.String(), "start": pl.Int32(), "length": pl.Int32(),
    "form": pl.String(), "snippet": pl.String(),
}  # fmt: skip
LONGEST_CHARACTER = 4  # bytes in UTF-8
LEAST_TASKS = 3
NO_PERIOD = "none"
_DIGITS = "一二三四五六七八九"
_PERIOD = re.compile(
    rf"第(?:([{_DIGITS}]?十[{_DIGITS}]?|[{_DIGITS}])|([1-9]\d?))个五年|(?<![{_DIGITS}十])(十[{_DIGITS}])五(?!年)"
)
_NUMBERS = "[一二三四五六七八九十百]+"
_LEVELS = (rf"第{_NUMBERS}[章篇部分]+", rf"{_NUMBERS}、", rf"[（(]{_NUMBERS}[）)]", r"\d{1,3}[.．、](?!\d)")
_HEADING = re.compile(rf"^[ \t\u3000]*(?:({')|('.join(_LEVELS)}))[ \t\u3000]*(\S[^\n]*)$", re.M)
_NO_TASKS = re.compile(  # the whole of a chapter's title, or of what 和, 与 or a comma divide in it
    "(?:总体|基本|指导|战略|主要|发展|规划|工作|建设|行动|编制|面临|存在|现有|“?十[一二三四五六]五”?|时期|的)*+"
    "(?:要求|思路|思想|原则|目标|定位|理念|方针|形势|现状|背景|意义|环境|机遇|挑战|问题|基础|条件|成效|成就|回顾|情况)+"
    "|(?:加强|强化|完善|健全|落实|做好)?(?:组织|政策|要素|资金|支撑|实施|制度)?保障(?:措施|机制|体系|工作)?"
    "|(?:加强|强化|做好)?组织(?:领导|实施|推进|协调)|附则"
)
_AND = re.compile("以及|[与和及、，]")


# -- terms in texts ----------------------------------------------------------------------------------------------------
def keyword_hits(documents: pl.DataFrame, terms: pl.DataFrame, context: int = CONTEXT) -> pl.DataFrame:
    """Every place where a term stands in a text: document_id, term_id, start, length, form, snippet; in text order.

    Leftmost-longest: of the forms that begin first the longest counts, and the search goes on behind it, so that
    工业互联网 is one hit of its own and none of 互联网. Latin letters match in either case; `form` is as printed. One
    pass of an Aho-Corasick automaton over each text. Source: methodology §3.24; Aho & Corasick 1975.

    Args:
        documents: `document_id` (unique), `text`.
        terms: `term_id`, `form`; a form belongs to one term.
        context: characters of the text on either side of a hit in its snippet; 0: the snippet is the form alone.

    Raises:
        MethodError: no term, an empty form, a form of two terms, or a document given twice.
    """
    owners = _owners(terms)
    if documents["document_id"].is_duplicated().any():
        twice = documents.filter(pl.col("document_id").is_duplicated())["document_id"][0]
        raise MethodError(f"keyword_hits: document {twice} is given twice", "give each once")
    forms = owners["form"].to_list()
    at, longest = pl.col("at"), LONGEST_CHARACTER * max(len(form) for form in forms)
    places = pl.col("text").str.find_many(forms, leftmost=True, ascii_case_insensitive=True)
    found = (
        documents.lazy().select(at=places).with_row_index("row").filter(at.list.len() > 0)
        .collect(engine="streaming").explode("at").with_columns(at.cast(pl.Int64))
    )  # fmt: skip
    texts = documents["text"].cast(pl.Binary).gather(found["row"]).alias("bytes")
    first = pl.when(pl.col("row") == pl.col("row").shift(1)).then(at.shift(1)).otherwise(0).fill_null(0)
    printed = _after(at, longest).str.extract_many(forms, leftmost=True, ascii_case_insensitive=True).list.first()
    hits = (
        found.with_columns(texts)
        .with_columns(
            form=printed,
            step=pl.col("bytes").bin.slice(first, at - first).cast(pl.String).str.len_chars().cast(pl.Int64),
        )
        .with_columns(key=pl.col("form").str.to_lowercase(), end=at + pl.col("form").str.len_bytes())
    )
    snippet = pl.col("form")
    if context:
        around = LONGEST_CHARACTER * context
        before, after = _before(at, around).str.tail(context), _after(pl.col("end"), around).str.head(context)
        snippet = before + pl.col("form") + after
    return hits.select(
        document_id=documents["document_id"].gather(found["row"]),
        term_id=pl.col("key").replace_strict(owners["key"], owners["term_id"], return_dtype=pl.String),
        start=pl.col("step").cum_sum().over("row"),
        length=pl.col("form").str.len_chars(),
        form="form",
        snippet=snippet,
    ).select(pl.col(name).cast(kind) for name, kind in HITS.items())


def _owners(terms: pl.DataFrame) -> pl.DataFrame:
    """Forms with their term, the longest first; `key` is the form in lower case."""
    forms = terms.select(
        "term_id", pl.col("form").str.strip_chars(), key=pl.col("form").str.strip_chars().str.to_lowercase()
    )
    if not forms.height or (forms["form"] == "").any() or forms["form"].null_count():
        raise MethodError("keyword_hits: no terms, or one without a form", "give every term at least one form")
    unique = forms.unique(["term_id", "key"], maintain_order=True)
    if unique["key"].is_duplicated().any():
        twice = unique.filter(pl.col("key").is_duplicated())
        raise MethodError(
            f"keyword_hits: «{twice['form'][0]}» belongs to {', '.join(twice.filter(key=twice['key'][0])['term_id'])}",
            "a form belongs to one term",
        )
    return unique.sort(pl.col("key").str.len_chars(), "key", descending=[True, False])


def _boundary(at: pl.Expr) -> pl.Expr:
    """The place in `bytes` where the character that holds the byte at a place begins (UTF-8 goes on with 10xxxxxx)."""
    inside = [
        pl.col("bytes").bin.get(at - back, null_on_oob=True).fill_null(0) & 0xC0 == 0x80
        for back in range(LONGEST_CHARACTER - 1)
    ]
    back = pl.when(~inside[0]).then(0).when(~inside[1]).then(1).when(~inside[2]).then(2).otherwise(3)
    return at - back


def _after(start: pl.Expr, length: int) -> pl.Expr:
    """Text of `bytes` from a place, up to `length` bytes; cut where a character ends."""
    return pl.col("bytes").bin.slice(start, _boundary(start + length) - start).cast(pl.String)


def _before(end: pl.Expr, length: int) -> pl.Expr:
    """Text of `bytes` that ends at a place, some `length` bytes; cut where a character begins."""
    start = _boundary((end - length).clip(0))
    return pl.col("bytes").bin.slice(start, end - start).cast(pl.String)


# -- plans and their tasks ---------------------------------------------------------------------------------------------
def plan_period(title: str | None) -> str:
    """Years of the five-year plan that a title names (第十四个五年, “十四五”), as 2021-2025; none for 0 or several.

    The first and the second plan began in 1953 and 1958, the third in 1966, and each further one five years later. The
    date of publication does not decide: proposals come out before the period, outlines in it, reviews after it.
    """
    found = {int(arabic) if arabic else _number(first or last) for first, arabic, last in _PERIOD.findall(title or "")}
    if len(found) != 1:
        return NO_PERIOD
    number = found.pop()
    first = 1948 + 5 * number if number <= 2 else 1951 + 5 * number
    return f"{first}-{first + 4}"


def _number(numeral: str) -> int:
    """A Chinese number from 1 to 99."""
    tens, ten, ones = numeral.rpartition("十")
    return 10 * (_DIGITS.find(tens) + 1 if tens else 1) * bool(ten) + (_DIGITS.find(ones) + 1 if ones else 0)


def headings(text: str) -> pl.DataFrame:
    """Numbered headings of a text in order: level (0 第一章, 1 一、, 2 （一）, 3 1.), start of the title, title.

    A heading begins a line; its title ends with the first sentence. Lines of a table of contents are none.

    Args:
        text: cleaned text of a document.
    """
    found = []
    for match in _HEADING.finditer(text):
        level = next(number for number in range(len(_LEVELS)) if match[number + 1])
        line, start = match[len(_LEVELS) + 1], match.start(len(_LEVELS) + 1)
        title = line.partition("。")[0].strip()
        if title and not CONTENTS.search(line):
            found.append((level, start, title))
    schema = {"level": pl.Int32, "start": pl.Int32, "title": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row")


def plan_tasks(text: str) -> pl.DataFrame:
    """The tasks that a plan sets: start, title; its headings of the finest level with three or more, in order.

    What is wholly on principles, aims, state or safeguards is no task, and a chapter on them holds none. Source: seed
    000 «645项建设任务».

    Args:
        text: cleaned text of the plan.
    """
    found, inside = [], [""] * len(_LEVELS)
    for level, start, title in headings(text).iter_rows():
        inside[level:] = [title] + [""] * (len(_LEVELS) - level - 1)
        if level > 0 and not any(_without_tasks(heading) for heading in (*inside[:2], title)):
            found.append((level, start, title))
    levels = [level for level, _, _ in found]
    finest = max((level for level in set(levels) if levels.count(level) >= LEAST_TASKS), default=None)
    tasks = [(start, title) for level, start, title in found if level == finest]
    return pl.DataFrame(tasks, schema={"start": pl.Int32, "title": pl.String}, orient="row")


def _without_tasks(chapter: str) -> bool:
    """Whether the whole title of a chapter, or its words before a blank or colon, tell of aims, state or safeguards."""
    for title in ("".join(chapter.split()), re.split(r"[\s：:]", chapter, maxsplit=1)[0]):
        words = [word for word in _AND.split(title.rstrip("：:")) if word]
        if words and all(_NO_TASKS.fullmatch(word) for word in words):
            return True
    return False


def task_classes(tasks: pl.DataFrame, lexicon: pl.DataFrame) -> pl.DataFrame:
    """The class of each task: document_id, class_id, subclass_id, hits; null where no form of the lexicon stands in it.

    The class whose forms stand most often in the task's text; of equals the one whose form stands first.

    Args:
        tasks: `document_id` (unique id of the task), `text`.
        lexicon: `class_id`, `subclass_id` (null: none), `form`.

    Raises:
        MethodError: see `keyword_hits`.
    """
    joint = pl.concat_str("class_id", pl.col("subclass_id").fill_null(""), separator="|")
    hits = keyword_hits(tasks, lexicon.select("form", term_id=joint), context=0)
    best = (
        hits.group_by("document_id", "term_id").agg(hits=pl.len().cast(pl.Int64), first=pl.col("start").min())
        .sort("document_id", pl.col("hits"), "first", descending=[False, True, False])
        .unique("document_id", keep="first", maintain_order=True)
    )  # fmt: skip
    parts = pl.col("term_id").str.split_exact("|", 1)
    sub = parts.struct.field("field_1")
    return tasks.select("document_id").join(best, on="document_id", how="left", maintain_order="left").select(
        "document_id", class_id=parts.struct.field("field_0"), subclass_id=pl.when(sub != "").then(sub),
        hits=pl.col("hits").fill_null(0),
    )  # fmt: skip
