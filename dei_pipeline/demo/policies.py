"""Demo policy texts: which city published what and when, and every text, so that the printed counts come out.

Seed 000 prints what its 242 cities had published by 31 January 2021: 221 proposals for a plan, 198 of them with a
chapter on the digital economy, 162 plans in full, 33 plans for new infrastructure with 645 tasks, their shares by class
and some of their dates. Of its hot words it prints the order of a few only; their frequencies here are made up in that
order. Texts are made-up sentences (`policy_words.yaml`). The notices and approvals of a city are as many as the counts
of `model` say. Draws depend on the seed, never on how many cities or years are asked for.
"""

import datetime
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.contracts import read_yaml
from dei_pipeline.demo.model import REFERENCE, Demo, World, logit
from dei_pipeline.methods.tiers import dei_tier

Ints = NDArray[np.int64]
Day = datetime.date
WORDS = Path(__file__).with_name("policy_words.yaml")
PROPOSALS, WITH_CHAPTER, IN_FULL = 221, 198, 162  # of the ranked cities
PROPOSED = (Day(2020, 11, 5), Day(2021, 1, 31))  # after the proposal of 29 October 2020, until the survey's last day
FULL_FROM = Day(2020, 12, 10)
MENTIONS: Mapping[str, int] = {  # a plan, on average
    "数字经济": 12, "大数据": 10, "5G": 9, "人工智能": 8, "工业互联网": 7, "智慧城市": 7, "数字政府": 6, "云计算": 5,
    "物联网": 4, "数字社会": 4, "数字乡村": 3, "区块链": 3,
}  # fmt: skip
FIRST_DATES: Mapping[str, Day] = {  # as printed
    "上海": Day(2020, 5, 7), "广州": Day(2020, 5, 30), "北京": Day(2020, 6, 10), "深圳": Day(2020, 7, 14),
    "成都": Day(2020, 7, 16),
}  # fmt: skip
FOLLOWING = ("福州", "宁波", "重庆", "长沙", "苏州", "武汉")  # named by the report
LAST = ("广安", "舟山")  # the only ones of the fourth tier
FURTHER: Mapping[str, int] = {"tier1_new": 8, "tier2": 9, "tier3": 3}  # unnamed ones
SOON, LATE = (Day(2020, 7, 20), Day(2020, 12, 20)), (Day(2020, 11, 1), Day(2021, 1, 31))
TASKS: Mapping[str, int] = {  # 645; fusion is 60 % of them, divided 50 : 28 : 22; the other two are made up
    "information": 194, "innovation": 64, "industry": 194, "governance": 108, "society": 85,
}  # fmt: skip
LEAST_TASKS = 10
EMPHASIS: Mapping[str, tuple[str, ...]] = {
    "深圳": ("industry",), "苏州": ("industry",), "武汉": ("industry",), "上海": ("governance", "society"),
    "重庆": ("information",),
}  # fmt: skip
EMPHASISED = 0.6  # of the tasks of such a plan
REPORTING = 60  # best-ranked cities whose work reports are given
REPORT_YEARS = (2019, 2020)
REPORT_MENTIONS: Mapping[str, tuple[int, int]] = {  # a report of either year, on average
    "数字经济": (3, 6), "5G": (3, 4), "大数据": (4, 5), "人工智能": (2, 3), "工业互联网": (2, 3), "区块链": (1, 1),
}  # fmt: skip
DOMAINS: Mapping[str, tuple[str, bool]] = {  # variable: domain of areas, whether its documents approve projects
    "livelihood_policy_documents": ("service", False),
    "livelihood_digital_projects": ("service", True),
    "governance_policy_documents": ("governance", False),
    "governance_digital_projects": ("governance", True),
}
DOCUMENTS: Mapping[str, pl.DataType] = {
    "document": pl.String(), "region_code": pl.String(), "region": pl.String(), "kind": pl.String(),
    "title": pl.String(), "issuer": pl.String(), "number": pl.String(), "published": pl.Date(), "text": pl.String(),
    "variable": pl.String(), "area": pl.String(),
}  # fmt: skip
NUMERALS = "一二三四五六七八九十"
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Policies:
    """The policy texts, and what is true of them.

    Attributes:
        documents: document (key), region_code, region (its name), kind (proposal, plan, new_infrastructure,
            work_report, notice, approval), title, issuer, number (as 号), published, text, variable and area (of
            notices and approvals).
        cities: region_code, proposal, chapter, plan (whether there is one), released (date of the plan for new
            infrastructure).
        hot_words: region_code, term, mentions in the plan.
        tasks: region_code, class, tasks of a new-infrastructure plan.
        terms: region_code, year, term, mentions in the work report.
    """

    documents: pl.DataFrame
    cities: pl.DataFrame
    hot_words: pl.DataFrame
    tasks: pl.DataFrame
    terms: pl.DataFrame


@functools.cache
def words() -> dict[str, Any]:
    """The lists of `policy_words.yaml`, those of words split."""
    return {name: _split(found) for name, found in read_yaml(WORDS).items()}


@functools.cache
def areas_of(domain: str) -> list[str]:
    """The policy areas of a domain, in the order of the lexicon."""
    listed = pl.read_csv(REFERENCE / "lexicons" / "policy_areas.csv", columns=["area_id", "domain"])
    return listed.filter(domain=domain)["area_id"].unique(maintain_order=True).to_list()


def _split(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _split(inner) for name, inner in found.items()}
    return tuple(found.split()) if isinstance(found, str) and " " in found and "SYNTHETIC" not in found else found


class Pen:
    """Writes sentences with the draws of one generator."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random, self.drawn = random, list[float]()

    def below(self, count: int) -> int:
        """A number from 0 to count − 1."""
        if not self.drawn:
            self.drawn = self.random.random(256).tolist()
        return int(self.drawn.pop() * count)

    def one(self, of: Sequence[str]) -> str:
        """One of some words."""
        return of[self.below(len(of))]

    def several(self, of: Sequence[str], count: int) -> list[str]:
        """Different ones of some words, in drawn order."""
        left = list(of)
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def day(self, first: Day, last: Day) -> Day:
        """A day from the first to the last."""
        return first + datetime.timedelta(days=self.below((last - first).days + 1))

    def filled(self, pattern: str, **given: str) -> str:
        """A sentence from its pattern: slots as given, numbers, or words of the list of that name."""
        return _SLOT.sub(lambda slot: given.get(slot[1]) or self._slot(slot[1]), pattern)

    def _slot(self, name: str) -> str:
        if name == "n":
            return str(12 + self.below(970))
        if name == "k":
            return str(2 + self.below(8))
        if name == "m":
            return str(3 + self.below(10))
        if name == "p":
            return f"{60 + self.below(39)}%"
        return self.filled(self.one(words()[f"{name}s"]))

    def bag(self, mentions: pl.DataFrame, without: str | None = None) -> list[str]:
        """Terms as often as mentioned, but for one mention, in drawn order and each spread over the whole."""
        spread = [
            ((k + self.random.random()) / count, term)
            for term, count in mentions.select("term", "mentions").iter_rows()
            for k in range(count)
        ]
        bag = [term for _, term in sorted(spread)]
        if without is not None:
            bag.remove(without)
        return bag

    def plain(self, count: int) -> str:
        """Sentences of plans without a hot word."""
        return "".join(self.filled(self.one(words()["plain"])) for _ in range(count))

    def carried(self, terms: Sequence[str]) -> list[str]:
        """Sentences that mention some terms once each, three a sentence."""
        found = []
        for at in range(0, len(terms) - 2, 3):
            a, b, c = terms[at : at + 3]
            found.append(self.filled(self.one(words()["carriers"]), a=a, b=b, c=c))
        return [*found, *(self.filled("把握{term}机遇，{aim}，{step}。", term=t) for t in terms[len(found) * 3 :])]


# -- who published what ------------------------------------------------------------------------------------------------
def build(demo: Demo) -> Policies:
    """The policy texts of a demo's cities; none where the index's base year is not asked for."""
    world = demo.world
    ranked = world.cities.filter(pl.col("rank").is_not_null())
    here = demo.cities if demo.framework.base_year in demo.years else demo.cities.head(0)
    asked = pl.col("region_code").is_in(here["region_code"].implode())
    cities = _publishers(world, ranked)
    hot = _mentions(world, cities.filter("plan")["region_code"], MENTIONS, "hot")
    tasks = _tasks(
        world, ranked.join(cities.filter(pl.col("released").is_not_null()).select("region_code"), on="region_code")
    )
    terms = _report_terms(world, ranked.head(REPORTING)["region_code"])
    found = Policies(pl.DataFrame(), cities.filter(asked), hot.filter(asked), tasks.filter(asked), terms.filter(asked))
    told = _Told(demo, found)
    rows = [row for city in here.iter_rows(named=True) for row in _documents(told, city)]
    return replace(found, documents=pl.DataFrame(rows, schema=DOCUMENTS, orient="row"))


class _Told:
    """What is true of each city, by region_code."""

    def __init__(self, demo: Demo, found: Policies) -> None:
        """Divides the tables by city."""
        base = demo.values.filter(pl.col("variable").is_in([*DOMAINS]), year=demo.framework.base_year)
        self.world = demo.world
        self.cities = {row["region_code"]: row for row in found.cities.iter_rows(named=True)}
        self.hot, self.tasks, self.terms, self.counts = (
            {str(code): part for (code,), part in table.partition_by("region_code", as_dict=True).items()}
            for table in (found.hot_words, found.tasks, found.terms, base)
        )


def _publishers(world: World, ranked: pl.DataFrame) -> pl.DataFrame:
    """`Policies.cities` of all ranked cities: the readier a city, the more it has published."""
    random = world.random("policy", "publishers")
    ready = logit(ranked["target"].to_numpy()) + random.normal(0.0, 0.6, ranked.height)
    place = np.empty(ranked.height, dtype=np.int64)
    place[np.argsort(-ready, kind="stable")] = np.arange(ranked.height)
    cities = ranked.with_columns(ready=pl.Series(ready), tier=pl.Series(dei_tier(ranked["score"].to_numpy())))
    pen = Pen(world.random("policy", "released"))
    released = (
        dict(FIRST_DATES) | {city: pen.day(*SOON) for city in FOLLOWING} | {city: pen.day(*LATE) for city in LAST}
    )
    for tier, count in FURTHER.items():
        others = cities.filter((pl.col("tier") == tier) & ~pl.col("short_name_zh").is_in([*released]))
        period = SOON if tier == "tier1_new" else LATE
        released |= {city: pen.day(*period) for city in others.top_k(count, by="ready")["short_name_zh"].sort()}
    return cities.select(
        "region_code",
        proposal=pl.Series(place < PROPOSALS),
        chapter=pl.Series(place < WITH_CHAPTER),
        plan=pl.Series(place < IN_FULL),
        released=pl.col("short_name_zh").replace_strict(released, default=None, return_dtype=pl.Date),
    )


def _mentions(world: World, codes: pl.Series, means: Mapping[str, int], *purpose: object) -> pl.DataFrame:
    """Mentions of each term by city, `mean · cities` of each in all; a plan's heading mentions its first term once."""
    random = world.random("policy", *purpose)
    parts = []
    for place, (term, mean) in enumerate(means.items()):
        share = random.gamma(4.0, 1.0, len(codes)) * (random.random(len(codes)) >= (0.25 if mean < 4 else 0.0))
        once = int(purpose[0] == "hot" and place == 0)
        count = once + random.multinomial((mean - once) * len(codes), share / share.sum())
        parts.append(pl.DataFrame({"region_code": codes, "term": [term] * len(codes), "mentions": count}))
    return pl.concat(parts)


def _report_terms(world: World, codes: pl.Series) -> pl.DataFrame:
    parts = []
    for at, year in enumerate(REPORT_YEARS):
        means = {term: pair[at] for term, pair in REPORT_MENTIONS.items()}
        found = _mentions(world, codes, means, "report", year)
        parts.append(found.select("region_code", "term", "mentions", year=pl.lit(year, pl.Int32)))
    return pl.concat(parts)


def _tasks(world: World, plans: pl.DataFrame) -> pl.DataFrame:
    """Tasks by plan and class: totals of the classes as printed, at least ten a plan, cities with their emphasis."""
    random = world.random("policy", "tasks")
    extra = sum(TASKS.values()) - LEAST_TASKS * plans.height
    sizes = LEAST_TASKS + random.multinomial(extra, np.full(plans.height, 1.0 / plans.height))
    left = np.array(list(TASKS.values()))
    found = np.zeros((plans.height, left.size), dtype=np.int64)
    for at, city in enumerate(plans["short_name_zh"]):
        for name in EMPHASIS.get(city, ()):
            k = list(TASKS).index(name)
            found[at, k] = round(EMPHASISED * sizes[at] / len(EMPHASIS[city]))
            left[k] -= found[at, k]
    rest = random.permutation(np.repeat(np.arange(left.size), left))
    places = np.repeat(np.arange(plans.height), sizes - found.sum(axis=1))
    np.add.at(found, (places, rest), 1)
    wide = pl.DataFrame(found, schema=list(TASKS)).with_columns(region_code=plans["region_code"])
    return wide.unpivot(index="region_code", variable_name="class", value_name="tasks")


# -- texts -------------------------------------------------------------------------------------------------------------
def _documents(told: _Told, city: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of `Policies.documents` of one city; one outside the ranking has notices and approvals only."""
    code, name = city["region_code"], city["name_zh"]
    pen = Pen(told.world.random("policy", "texts", code))
    government, committee = f"{name}人民政府", f"中共{name}委员会"

    def row(kind: str, title: str, issuer: str, day: Day, text: str, number: str | None = None, of: str = "") -> Any:
        return f"{kind}/{code}{of}", code, name, kind, title, issuer, number, day, text, None, None

    has = told.cities.get(code, {"proposal": False, "plan": False, "released": None})
    if has["proposal"]:
        day = pen.day(*PROPOSED)
        title = f"{committee}关于制定{name}国民经济和社会发展第十四个五年规划和二〇三五年远景目标的建议"
        yield row("proposal", title, committee, day, _proposal(pen, title, has["chapter"], committee, day))
    if has["plan"]:
        day = pen.day(FULL_FROM, PROPOSED[1])
        title = f"{name}国民经济和社会发展第十四个五年规划和二〇三五年远景目标纲要"
        yield row("plan", title, government, day, _plan(pen, title, told.hot[code], government, day))
    if day := has["released"]:
        title = f"{name}推进新型基础设施建设行动方案（2020—2022年）"
        number = f"{city['short_name_zh'][0]}政发〔{day.year}〕{3 + pen.below(40)}号"
        text = _new_infrastructure(pen, title, government, number, told.tasks[code], day)
        yield row("new_infrastructure", title, government, day, text, number)
    if code in told.terms:
        for (year,), terms in told.terms[code].partition_by("year", as_dict=True, maintain_order=True).items():
            day = pen.day(Day(year, 1, 6), Day(year, 1, 20))
            title = f"{year}年{name}政府工作报告"
            text = _work_report(pen, title, terms, government, day)
            yield row("work_report", title, government, day, text, of=f"/{year}")
    counts = dict(told.counts[code].select("variable", "value").iter_rows())
    for variable, (domain, approving) in DOMAINS.items():
        for k, about in enumerate(_subjects(pen, domain, int(counts[variable]))):
            yield _notice(pen, city, variable, k, *about, approving=approving)


def _lined(title: str, lines: Sequence[str], issuer: str, day: Day) -> str:
    """A text with title, label, signature and date."""
    return "\n".join([title, words()["synthetic"], *lines, issuer, f"{day.year}年{day.month}月{day.day}日"])


def _proposal(pen: Pen, title: str, chapter: bool, issuer: str, day: Day) -> str:
    heads = pen.several(words()["chapters"][1:-1], 5)
    if chapter:
        heads.insert(2, f"{words()['digital_chapter']}，培育新的动能")
    lines = []
    for numeral, head in zip(NUMERALS, heads, strict=False):
        lines += [f"{numeral}、{head}", pen.plain(3), pen.plain(3)]
    lines.insert(2, pen.filled("鼓励数字技术在{theme}中的运用，{aim}。"))
    opening = (
        f"现就制定国民经济和社会发展第十四个五年规划和二〇三五年远景目标提出以下建议，{pen.filled('{aim}，{step}')}。"
    )
    return _lined(title, [opening, *lines], issuer, day)


def _plan(pen: Pen, title: str, mentions: pl.DataFrame, issuer: str, day: Day) -> str:
    """A plan in full: the hot words as often as drawn, half of them in the digital chapter."""
    digital = words()["digital_chapter"]
    carried = pen.carried(pen.bag(mentions, without=next(iter(MENTIONS))))  # which the heading mentions
    heads = list(words()["chapters"])
    heads.insert(2, digital)
    lines = [f"依据国民经济和社会发展第十四个五年规划和二〇三五年远景目标的要求编制本纲要，{pen.filled('{aim}')}。"]
    share = len(carried) // 2
    rest = np.array_split(np.array(carried[share:], dtype=object), len(heads) - 1)
    for numeral, head in zip(NUMERALS, heads, strict=False):
        own = carried[:share] if head == digital else list(rest.pop())
        lines += [f"第{numeral}章 {head}", pen.plain(2), "".join(own) or pen.plain(1), pen.plain(2)]
    return _lined(title, lines, issuer, day)


def _new_infrastructure(pen: Pen, title: str, issuer: str, number: str, tasks: pl.DataFrame, day: Day) -> str:
    """A plan for new infrastructure: its tasks by class, each under a heading of its own."""
    lines = [
        number,
        f"为推进新型基础设施建设，制定本行动方案。{pen.plain(1)}",
        "一、总体要求",
        pen.plain(3),
        "二、重点任务",
    ]
    number_of = 0
    counts = dict(tasks.select("class", "tasks").iter_rows())
    for name_of_class in TASKS:
        pairs = [f"{verb}{task}" for task in words()["tasks"][name_of_class] for verb in words()["task_verbs"]]
        for head in pen.several(pairs, counts[name_of_class]):
            number_of += 1
            lines += [f"{number_of}. {head}{pen.one(words()['task_tails'])}", pen.filled("{step}，{aim}。")]
    lines += ["三、保障措施", pen.plain(2)]
    return _lined(title, lines, issuer, day)


def _work_report(pen: Pen, title: str, mentions: pl.DataFrame, issuer: str, day: Day) -> str:
    carried = pen.carried(pen.bag(mentions))
    half = len(carried) // 2
    lines = [
        "各位代表：现在，我代表市人民政府作政府工作报告，请予审议。",
        f"一、{day.year - 1}年工作回顾",
        pen.plain(5),
    ]
    lines += ["".join(carried[:half]), pen.plain(4), f"二、{day.year}年工作安排", pen.plain(5), "".join(carried[half:])]
    return _lined(title, [*(line for line in lines if line), pen.plain(4)], issuer, day)


def _subjects(pen: Pen, domain: str, count: int) -> list[tuple[str, str, str, str]]:
    """Areas of a domain with topic, verb and tail, all different."""
    areas = areas_of(domain)
    found: dict[tuple[str, str, str, str], None] = {}
    while len(found) < count:
        area = areas[len(found) % len(areas)]
        topic = pen.one(words()["areas"][area]["topics"])
        found[area, topic, pen.one(words()["verbs"]), pen.one(words()["tails"])] = None
    return list(found)


def _notice(
    pen: Pen,
    city: Mapping[str, Any],
    variable: str,
    k: int,
    area: str,
    topic: str,
    verb: str,
    tail: str,
    approving: bool,
) -> tuple[Any, ...]:
    """A notice of a department about one topic of its area, or the approval of a project of that topic."""
    code, name, about = city["region_code"], city["name_zh"], words()["areas"][area]
    day = pen.day(Day(2020, 1, 6), Day(2020, 12, 28))
    department = f"{name}{about['department']}"
    if approving:
        issuer, mark, form = f"{name}发展和改革委员会", "发改审批", pen.one(words()["approvals"])
        title = f"{issuer}关于{topic}{tail}项目{form}的批复"
        opening = (
            f"{department}：你单位报送的{topic}{tail}项目{form}收悉，为{pen.one(words()['purposes'])}，现批复如下。"
        )
    else:
        issuer, mark, form = department, about["mark"], pen.one(words()["forms"])
        title = f"{issuer}关于{verb}{topic}{tail}的{form}"
        opening = f"各县区、各有关单位：为{pen.one(words()['purposes'])}，现就{verb}{topic}{tail}提出如下要求。"
    number = f"{city['short_name_zh'][0]}{mark}〔2020〕{1 + pen.below(400)}号"
    kind = "approval" if approving else "notice"
    actions, manners = pen.several(words()["actions"], 4), pen.several(words()["manners"], 4)
    lines = [
        f"{numeral}、{action}，由{manner}，{pen.filled('{measure}')}。"
        for numeral, action, manner in zip(NUMERALS, actions, manners, strict=False)
    ]
    text = _lined(title, [number, opening, *lines], issuer, day)
    return f"{kind}/{code}/{variable}/{k + 1}", code, name, kind, title, issuer, number, day, text, variable, area
