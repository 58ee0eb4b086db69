"""Lists of key projects of the demo: synthetic projects that add up to what the report prints.

Of the first 20 cities the table gives total investment, projects and projects of new infrastructure; the text gives the
totals of all cities with a list (more than 80 % of 242): 85 trillion yuan, of which 30 for new infrastructure, and
70,000 projects. Every project is drawn so that these sums are met; its name says of what kind it is. All lists are of
the base year. Sums are kept in whole hundredths of 亿元 (`CENTS`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dei_pipeline.demo import formats
from dei_pipeline.demo.formats import Page
from dei_pipeline.demo.model import REFERENCE, Demo, Floats, Ints
from dei_pipeline.demo.pages import ADVERT, SYNTHETIC, UNKNOWN_REGION

LISTED = 194  # cities with a list: 80 % of 242
PROJECTS, INVESTMENT, NEW_INVESTMENT = 70_000, 850_000, 300_000  # of all of them; investment in 亿元
CENTS, LEAST = 100, 5  # hundredths of 亿元; the smallest project has 0.05 亿元
SPREAD = 1.1  # of the logarithm of an investment
NEW_SHARE = (0.18, 0.34)  # of new infrastructure among the projects of the cities that the table leaves out
INDUSTRY_ONLY = "无锡"  # the report's footnote
SCOPE = "注: 仅包括产业类型项目"
PLACES = (
    "高新区",
    "经开区",
    "新城区",
    "滨江片区",
    "空港片区",
    "临港片区",
    "科学城",
    "中心城区",
    "东部片区",
    "西部片区",
)
STAGES = ("续建", "新开工", "前期")
NEW = (  # what a project's name says, and the kind that a list states
    ("5G基站", "5G"),
    ("大数据中心", "数据中心"),
    ("智能计算中心", "数据中心"),
    ("人工智能计算平台", "人工智能"),
    ("工业互联网平台", "工业互联网"),
    ("特高压输变电", "特高压"),
    ("新能源汽车充电桩", "新能源汽车充电桩"),
    ("城际铁路站线", "城际高速铁路"),
    ("轨道交通延伸段", "城市轨道交通"),
    ("物联网感知网络", "物联网"),
    ("智慧交通系统", "智慧交通"),
)
INDUSTRY = (
    ("集成电路生产线", "产业"),
    ("新材料生产基地", "产业"),
    ("生物医药产业园", "产业"),
    ("装备制造基地", "先进制造业"),
    ("冷链物流园", "物流"),
)
OLD = (
    *INDUSTRY,
    ("快速路改造", "交通"),
    ("高速公路连接线", "交通"),
    ("污水处理厂扩建", "生态环保"),
    ("人民医院新院区", "社会民生"),
    ("中学迁建", "社会民生"),
    ("安置房", "住房"),
    ("水库除险加固", "水利"),
    ("光伏发电", "能源"),
    ("旅游度假区", "文旅"),
)
ListFile = tuple[str, str, str, int, bytes]  # name, source, title, edition, content


@dataclass(frozen=True)
class Projects:
    """The key projects of the demo's cities.

    Attributes:
        year: of all lists.
        cities: rows of `Demo.cities` that have a list.
        projects: region_code, number (from 1 in its city), name, kind_label, stage, is_new, cents.
    """

    year: int
    cities: pl.DataFrame
    projects: pl.DataFrame


def build(demo: Demo) -> Projects | None:
    """The projects of the demo's cities; None if the base year is not among its years."""
    year = demo.framework.base_year
    if year not in demo.years:
        return None
    totals = city_totals(demo)
    cities = demo.cities.filter((pl.col("rank") <= LISTED).fill_null(False))
    mine = cities.select("region_code", "short_name_zh").join(totals, on="region_code", maintain_order="left")
    return Projects(year, cities, pl.concat([_city(demo, row) for row in mine.to_dicts()]))


def city_totals(demo: Demo) -> pl.DataFrame:
    """Per listed city, however many are in the demo: region_code, projects, new_projects, cents, new_cents."""
    cities = demo.world.cities.filter((pl.col("rank") <= LISTED).fill_null(False)).sort("rank")
    table = pl.read_csv(REFERENCE / "published" / "newinfra_top20.csv").sort("rank_published")
    first, size = table.height, cities["scale"].fill_null(cities["scale"].median()).to_numpy()[table.height :]
    printed = {name: table[name].to_numpy().astype(np.int64) for name in table.columns if name.startswith("projects")}
    known = table["total_investment_100m_yuan"].to_numpy().astype(np.int64) * CENTS
    cents = np.concatenate([known, apportioned(INVESTMENT * CENTS - int(known.sum()), size**0.6)])
    counted = apportioned(PROJECTS - int(printed["projects_total"].sum()), size**0.5)
    share = demo.world.random("projects").uniform(*NEW_SHARE, LISTED - first)
    return cities.select("region_code").with_columns(
        projects=pl.Series(np.concatenate([printed["projects_total"], counted])),
        new_projects=pl.Series(np.concatenate([printed["projects_newinfra"], np.ceil(share * counted).astype(int)])),
        cents=pl.Series(cents),
        new_cents=pl.Series(apportioned(NEW_INVESTMENT * CENTS, cents.astype(np.float64))),
    )


def apportioned(total: int, weights: Floats) -> Ints:
    """Whole parts of a total by weight that add up to it: largest remainders, the first of equal ones."""
    exact = total * weights / weights.sum()
    parts = np.floor(exact).astype(np.int64)
    rest = np.argsort(-(exact - parts), kind="stable")[: total - int(parts.sum())]
    parts[rest] += 1
    return parts


def _city(demo: Demo, city: dict[str, Any]) -> pl.DataFrame:
    """The projects of one city in a drawn order."""
    rng = demo.world.random("projects", city["region_code"])
    others = INDUSTRY if city["short_name_zh"] == INDUSTRY_ONLY else OLD
    drawn: list[tuple[str, str, bool]] = []
    cents: list[int] = []
    for is_new, phrases in ((True, NEW), (False, others)):
        n = city["new_projects"] if is_new else city["projects"] - city["new_projects"]
        total = city["new_cents"] if is_new else city["cents"] - city["new_cents"]
        picked = rng.integers(0, len(phrases), n)
        drawn += [(*phrases[i], is_new) for i in picked]
        cents += (apportioned(total - LEAST * n, rng.lognormal(0.0, SPREAD, n)) + LEAST).tolist()
    order = rng.permutation(len(drawn))
    places, stages = rng.integers(0, len(PLACES), order.size), rng.integers(0, len(STAGES), order.size)
    rows = [
        (
            city["region_code"],
            at,
            f"{PLACES[p]}{drawn[i][0]}项目({at}号)",
            drawn[i][1],
            STAGES[s],
            drawn[i][2],
            cents[i],
        )
        for at, (i, p, s) in enumerate(zip(order, places, stages, strict=True), start=1)
    ]
    schema = {"region_code": pl.String, "number": pl.Int64, "name": pl.String, "kind_label": pl.String,
              "stage": pl.String, "is_new": pl.Boolean, "cents": pl.Int64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


# -- lists as printed --------------------------------------------------------------------------------------------------
def files(found: Projects) -> Iterator[ListFile]:
    """A list of each of the first cities, in four forms by turns, and one of each province for the others."""
    parts = found.projects.partition_by("region_code", as_dict=True)
    own = found.cities.filter(pl.col("rank") <= 20)
    for place, city in enumerate(own.to_dicts()):
        title = f"{city['name_zh']}{found.year}年重点项目计划清单"
        form = FORMS[place % len(FORMS)]
        suffix, content = form(title, parts[city["region_code"],], city["short_name_zh"])
        yield f"重点项目/{title}.{suffix}", "projects", title, found.year, content
    others = found.cities.filter(pl.col("rank") > 20).partition_by("province_zh", maintain_order=True)
    for cities in sorted(others, key=lambda part: part["region_code"].min() or ""):
        title = f"{cities['province_zh'][0]}各市{found.year}年重点项目汇总"
        content = formats.csv_gb18030(_province(title, cities, parts))
        yield f"重点项目/{title}.csv", "projects", title, found.year, content


def _notes(city: str) -> list[list[str]]:
    return [[SYNTHETIC], *([[SCOPE]] if city == INDUSTRY_ONLY else []), [ADVERT]]


def _by_class(title: str, rows: pl.DataFrame, city: str) -> tuple[str, bytes]:
    """A workbook: headings for the classes over all columns, a total, 亿元 in the head, no column of kinds.

    Its last project has no investment yet.
    """
    body: list[list[Any]] = [[title], ["序号", "项目名称", "总投资\n(亿元)", "2020年计划投资\n(亿元)", "建设性质"]]
    merges = [(0, 0, 0, 4)]
    for head, is_new in (("一、新型基础设施项目", True), ("二、其他传统基础设施、产业和民生项目", False)):
        part = rows.filter(pl.col("is_new") == is_new)
        merges.append((len(body), 0, len(body), 4))
        body.append([f"{head}({part.height}个)"])
        for at, (name, cents, stage) in enumerate(part.select("name", "cents", "stage").iter_rows(), start=1):
            body.append([at, name, cents / CENTS, round(cents / CENTS / 4, 2), stage])
    body.append([rows.height + 1, "示例储备项目", "待定", None, "前期"])
    body.append(["合计", f"{rows.height}项", int(rows["cents"].sum()) / CENTS])
    return "xlsx", formats.xlsx({"项目清单": Page([*body, *_notes(city)], merges)})


def _with_kinds(title: str, rows: pl.DataFrame, city: str) -> tuple[str, bytes]:
    """A CSV: the kind of each project, 万元 in the head, numbers with commas; one project twice, one with a range."""
    wan = (pl.col("cents") * (10_000 // CENTS)).alias("wan")
    lines = [
        [name, kind, f"{amount:,}", stage]
        for name, kind, amount, stage in rows.select("name", "kind_label", wan, "stage").iter_rows()
    ]
    odd = [lines[0], ["示例在谈项目", "产业", "120,000~150,000", "前期"]]
    head = [[title], ["项目名称", "项目类别", "总投资(万元)", "项目阶段"]]
    return "csv", formats.csv_gb18030(Page([*head, *lines, *odd, *_notes(city)]))


def _with_flag(title: str, rows: pl.DataFrame, city: str) -> tuple[str, bytes]:
    """A web page: a column «是否新基建», the unit above the table; one project without an investment."""
    lines: list[list[Any]] = [
        [str(at), name, "是" if new else "否", f"{cents / CENTS:.2f}"]
        for at, name, new, cents in rows.select("number", "name", "is_new", "cents").iter_rows()
    ]
    top: list[list[Any]] = [[title, None, None, None], [None, None, None, "单位：亿元"]]
    head: list[list[Any]] = [["序号", "项目名称", "是否新基建", "总投资"]]
    lines.append([str(rows.height + 1), "示例储备项目", "否", None])
    page = Page([*top, *head, *lines], [(0, 0, 0, 3)])
    return "xls", formats.html_page(page, title, [note for (note,) in _notes(city)])


def _by_name(title: str, rows: pl.DataFrame, city: str) -> tuple[str, bytes]:
    """A CSV that says nothing of kinds, the unit in each cell, every tenth number as «约»."""
    lines = [
        [name, f"{'约' if at % 10 == 0 else ''}{cents / CENTS:.2f}亿元", f"{city}{name[:3]}"]
        for at, name, cents in rows.select("number", "name", "cents").iter_rows()
    ]
    return "csv", formats.csv_utf8(Page([[title], ["项目名称", "总投资", "建设地点"], *lines, *_notes(city)]))


FORMS = (_by_class, _with_kinds, _with_flag, _by_name)


def _province(title: str, cities: pl.DataFrame, parts: dict[tuple[Any, ...], pl.DataFrame]) -> Page:
    """The lists of a province's cities below each other: the city in the first row of its projects, then a subtotal."""
    body: list[Sequence[Any]] = [[title], ["城市", "项目名称", "总投资(万元)"]]
    for code, name in cities.select("region_code", "name_zh").iter_rows():
        rows = parts[code,]
        wan = (rows["cents"] * (10_000 // CENTS)).to_list()
        shown = [name] + [None] * (rows.height - 1)
        body += list(zip(shown, rows["name"], wan, strict=True))
        body.append(["小计", f"{rows.height}项", sum(wan)])
    if cities.height > 1:
        body.append([UNKNOWN_REGION, "示例园区项目", 8888])
    return Page([*body, [SYNTHETIC]])
