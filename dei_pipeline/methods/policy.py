"""Policy texts: terms found in them, coverage, counts, timelines, task classes, change over years [methodology §3.24].

A document is a row of `document_id`, `text`; a term has one or more forms (synonyms). Offsets are in characters.
Duplicates are in `duplicates`.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.duplicates import near_duplicates, normalised_text, originals

__all__ = [
    "count_score",
    "coverage",
    "density",
    "headings",
    "keyword_hits",
    "near_duplicates",
    "normalised_text",
    "originals",
    "percentage",
    "plan_tasks",
    "release_timeline",
    "task_classes",
    "task_shares",
    "term_frequencies",
    "weighted_count",
    "year_on_year",
]

Floats = NDArray[np.float64]
SATURATION = 20.0  # documents at which a count score is full
PER_CHARACTERS = 10_000.0
CONTEXT = 15
LEVEL_WEIGHTS: Mapping[str, float] = {"nation": 1.0, "province": 0.5, "prefecture": 0.2}
HITS: dict[str, pl.DataType] = {
    "document_id": pl.String(), "term_id": pl.String(), "start": pl.Int32(), "length": pl.Int32(),
    "form": pl.String(), "snippet": pl.String(),
}  # fmt: skip
LONGEST_CHARACTER = 4  # bytes in UTF-8
LEAST_TASKS = 3
_NUMBERS = "[一二三四五六七八九十百]+"
_LEVELS = (rf"第{_NUMBERS}[章篇部分]+", rf"{_NUMBERS}、", rf"[（(]{_NUMBERS}[）)]", r"\d{1,3}[.．、](?!\d)")
_HEADING = re.compile(rf"^[ \t\u3000]*(?:({')|('.join(_LEVELS)}))[ \t\u3000]*(\S[^\n]*)$", re.M)
_NO_TASKS = re.compile("总体要求|总体思路|指导思想|基本原则|目标|基础|形势|保障|组织实施|附则|现状|背景")


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


# -- measures ----------------------------------------------------------------------------------------------------------
def percentage(part: ArrayLike, whole: ArrayLike) -> Floats:
    """Share of a part in its whole in percent, 100·part/whole, shape of the inputs.

    Source: seed 000 §05 (cities with proposals, with a digital chapter, with a plan); methodology §3.24.

    Args:
        part, whole: counts, 0 ≤ part ≤ whole, whole > 0.

    Raises:
        MethodError: a part is larger than its whole, or a number is negative, missing or zero where it divides.
    """
    of, total = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    if not ((of >= 0) & (of <= total) & (total > 0)).all():
        raise MethodError("percentage: 0 ≤ part ≤ whole and whole > 0 do not hold", "count the part within the whole")
    return 100.0 * of / total


def coverage(documents: ArrayLike) -> Floats:
    """Share of the areas that at least one document covers, in percent: 100·|areas with n ≥ 1|/A, one per city.

    Source: methodology §3.24 (5 of 8 areas: 62.5).

    Args:
        documents: number of documents (or 0/1) of each area, the areas along the last axis; a searched area without a
            document is 0.

    Raises:
        MethodError: no area, or a number that is negative or missing.
    """
    n = np.asarray(documents, dtype=np.float64)
    if not n.ndim or not n.shape[-1] or not (n >= 0).all():
        raise MethodError("coverage: a count of documents is negative or missing", "give 0 for an area without one")
    return np.asarray(100.0 * (n > 0).sum(axis=-1) / n.shape[-1], dtype=np.float64)


def count_score(documents: ArrayLike, saturation: float = SATURATION) -> Floats:
    """Score of a number of documents, 0 to 100: 100·min(1, ln(1+n)/ln(1+n*)), shape of the input.

    Source: methodology §3.24 (n* = 20: 0, 3, 5, 20, 40 → 0, 45.53, 58.85, 100, 100).

    Args:
        documents: n ≥ 0, documents or weighted documents; NaN stays.
        saturation: n* > 0, from which the score is full.

    Raises:
        MethodError: a number is negative or infinite, or n* is not above 0.
    """
    n = np.asarray(documents, dtype=np.float64)
    if not saturation > 0 or np.isinf(saturation) or (n < 0).any() or np.isinf(n).any():
        raise MethodError("count_score: a number of documents is negative or infinite, or n* ≤ 0", "give finite n ≥ 0")
    return np.asarray(100.0 * np.minimum(1.0, np.log1p(n) / np.log1p(saturation)), dtype=np.float64)


def weighted_count(levels: Sequence[str], weights: Mapping[str, float] = LEVEL_WEIGHTS) -> float:
    """Documents weighed by the level of their issuer: Σ w(level), national 1, provincial 0.5, city 0.2.

    Source: methodology §3.24.

    Args:
        levels: level of each document's issuer.
        weights: weight of each level, ≥ 0.

    Raises:
        MethodError: a level has no weight; names it.
    """
    unknown = sorted({level for level in levels if level not in weights})
    if unknown:
        raise MethodError(f"weighted_count: level «{unknown[0]}» has no weight", f"use {', '.join(weights)}")
    return float(sum(weight * sum(given == level for given in levels) for level, weight in weights.items()))


def density(hits: ArrayLike, characters: ArrayLike) -> Floats:
    """Hits per 10,000 characters of text: 10⁴·hits/characters, shape of the inputs.

    Source: methodology §3.24 (36 in 24,000: 15).

    Args:
        hits: number of hits ≥ 0.
        characters: length of the text > 0.

    Raises:
        MethodError: a negative number of hits, or a text without characters.
    """
    n, length = np.asarray(hits, dtype=np.float64), np.asarray(characters, dtype=np.float64)
    if (n < 0).any() or not (length > 0).all():
        raise MethodError("density: hits are negative, or a text has no characters", "leave empty texts out")
    return np.asarray(PER_CHARACTERS * n / length, dtype=np.float64)


def term_frequencies(hits: pl.DataFrame, plans: pl.DataFrame, terms: Sequence[str]) -> pl.DataFrame:
    """How often terms are used over the cities with a complete plan: term_id, hits, cities, share; most used first.

    `cities` is the number of cities whose plans use the term, `share` that number over all cities with a plan; a term
    that no plan uses has 0. Source: seed 000 §05 «162 城市“十四五”规划中热词提及频次».

    Args:
        hits: `document_id`, `term_id`, one row per hit.
        plans: `document_id`, `region_code` of the complete plans; others do not count.
        terms: every term that is asked for.

    Raises:
        MethodError: no plan.
    """
    cities = plans["region_code"].n_unique()
    if not cities:
        raise MethodError("term_frequencies: no city has a complete plan", "give the plans")
    used = hits.join(plans.select("document_id", "region_code"), on="document_id").group_by("term_id").agg(
        hits=pl.len().cast(pl.Int64), cities=pl.col("region_code").n_unique().cast(pl.Int64)
    )  # fmt: skip
    asked = pl.DataFrame({"term_id": sorted(set(terms))}, schema={"term_id": pl.String})
    found = asked.join(used, on="term_id", how="left").with_columns(pl.col("hits", "cities").fill_null(0))
    return found.with_columns(share=pl.col("cities") / cities).sort("hits", "term_id", descending=[True, False])


def release_timeline(documents: pl.DataFrame) -> pl.DataFrame:
    """When each region first published a document: region_code, document_id, published, rank, cumulative; by date.

    Regions of one day share a rank (1224); `cumulative` counts the regions up to and with that day. Source: seed 000
    «33个城市“新基建”专项规划发布时间».

    Args:
        documents: `document_id`, `region_code`, `published` (date) of the documents of one kind.

    Raises:
        MethodError: a document without a date.
    """
    undated = documents.filter(pl.col("published").is_null())
    if undated.height:
        raise MethodError(f"release_timeline: {undated['document_id'][0]} has no date", "leave it out and report it")
    first = documents.sort("published", "document_id").unique("region_code", keep="first", maintain_order=True)
    return first.sort("published", "region_code").select(
        "region_code",
        "document_id",
        "published",
        rank=pl.col("published").rank("min").cast(pl.Int32),
        cumulative=pl.col("published").rank("max").cast(pl.Int64),
    )


def year_on_year(counts: pl.DataFrame, by: Sequence[str], value: str = "hits") -> pl.DataFrame:
    """Change of a count against the year before: the rows with `before`, `change` and `growth` (change/before).

    A year whose predecessor is absent has null in all three; growth from 0 is null.

    Args:
        counts: columns `by`, `year` and `value`, one row per key and year.
        by: key columns besides the year.
        value: the counted column.

    Raises:
        MethodError: a key and year are given twice.
    """
    key = [*by, "year"]
    if counts.select(key).is_duplicated().any():
        raise MethodError(f"year_on_year: {', '.join(key)} do not name a row", "sum the rows first")
    before = counts.select(*by, pl.col("year") + 1, before=value)
    change = pl.col(value) - pl.col("before")
    return counts.join(before, on=key, how="left", maintain_order="left").with_columns(
        change=change, growth=pl.when(pl.col("before") > 0).then(change / pl.col("before"))
    )


# -- plans and their tasks ---------------------------------------------------------------------------------------------
def headings(text: str) -> pl.DataFrame:
    """Numbered headings of a text in order: level (0 第一章, 1 一、, 2 （一）, 3 1.), start, title.

    A heading begins a line; its title ends with the first sentence.

    Args:
        text: cleaned text of a document.
    """
    found = []
    for match in _HEADING.finditer(text):
        level = next(number for number in range(len(_LEVELS)) if match[number + 1])
        found.append((level, match.start(), match[len(_LEVELS) + 1].partition("。")[0].strip()))
    schema = {"level": pl.Int32, "start": pl.Int32, "title": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row")


def plan_tasks(text: str) -> pl.DataFrame:
    """The tasks that a plan sets: start, title; its headings of the finest level with three or more, in order.

    Chapters on principles, aims, state and safeguards hold no tasks. Source: seed 000 «645项建设任务».

    Args:
        text: cleaned text of the plan.
    """
    found, inside = [], [""] * len(_LEVELS)
    for level, start, title in headings(text).iter_rows():
        inside[level:] = [title] + [""] * (len(_LEVELS) - level - 1)
        if not any(_NO_TASKS.search(chapter[:20]) for chapter in inside[:2] if chapter) and level > 0:
            found.append((level, start, title))
    levels = [level for level, _, _ in found]
    finest = max((level for level in set(levels) if levels.count(level) >= LEAST_TASKS), default=None)
    tasks = [(start, title) for level, start, title in found if level == finest]
    return pl.DataFrame(tasks, schema={"start": pl.Int32, "title": pl.String}, orient="row")


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


def task_shares(classes: pl.DataFrame) -> pl.DataFrame:
    """Tasks by class and subclass: class_id, subclass_id, tasks, share_of_all, share_of_class; sorted.

    Rows with a null subclass_id are totals of a class; shares rest on the classified tasks. Source: seed 000: 60 %
    of the tasks are fusion infrastructure, of these 50 % industry, 28 % governance, 22 % society.

    Args:
        classes: `class_id`, `subclass_id` of each task; unclassified ones (null) do not count.

    Raises:
        MethodError: no task is classified.
    """
    known = classes.filter(pl.col("class_id").is_not_null())
    if not known.height:
        raise MethodError("task_shares: no task is classified", "extend the lexicon, or give the tasks")
    whole = known.group_by("class_id").agg(tasks=pl.len().cast(pl.Int64))
    parts = known.drop_nulls("subclass_id").group_by("class_id", "subclass_id").agg(tasks=pl.len().cast(pl.Int64))
    totals = whole.with_columns(subclass_id=pl.lit(None, pl.String)).select(parts.columns)
    found = pl.concat([totals, parts]).join(whole.rename({"tasks": "of_class"}), on="class_id")
    return found.select(
        "class_id", "subclass_id", "tasks",
        share_of_all=pl.col("tasks") / known.height, share_of_class=pl.col("tasks") / pl.col("of_class"),
    ).sort("class_id", "subclass_id", nulls_last=False)  # fmt: skip
