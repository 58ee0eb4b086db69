"""Pages of the demo sources of the competitive index: yearbook pages, web tables, and the experts' sheets.

Each builder prints numbers of `deci.Deci`; `planted` says which deliberate gaps it leaves, all before the base year.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from dei_pipeline.demo.deci import Deci
from dei_pipeline.demo.formats import Page
from dei_pipeline.demo.pages import ADVERT, CITY, SOURCE_NOTE, SYNTHETIC, by_province, grouped, padded, spaced

GAPS = (("常州", "rd_personnel_fte", "…"), ("南通", "online_retail_sales", "-"))  # city, variable, what is printed
FAMILIARITY, BASIS = "熟悉程度 Cs (0–1)", "判断依据 Ca (0–1)"
SAATY_TEXT = {round(1 / k, 6): f"1/{k}" for k in range(2, 10)}
Show = Callable[[float], Any]


def planted(deci: Deci) -> pl.DataFrame:
    """The deliberate gaps: region_code, year, variable, text (what stands in the cell)."""
    years = [y for y in deci.years if y < deci.framework.base_year]
    codes = dict(deci.cities.select("short_name_zh", "region_code").iter_rows())
    rows = [
        (codes[city], years[i % len(years)], variable, text)
        for i, (city, variable, text) in enumerate(GAPS, start=1)
        if years and city in codes
    ]
    schema = {"region_code": pl.String, "year": pl.Int32, "variable": pl.String, "text": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


# -- yearbook pages ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Column:
    """A column of a yearbook page: its variable, its heading, and how a value is printed."""

    variable: str
    head: str
    show: Show = float


def _wan(value: float) -> str:
    """万元 from 亿元, as text with commas."""
    return grouped(value * 10_000)


def _wan_number(value: float) -> int:
    """万元 from 亿元."""
    return round(value * 10_000)


RD = (
    Column("rd_personnel_fte", "R&D人员全时当量\nFull-time Equivalent\nof R&D Personnel", grouped),
    Column("rd_expenditure", "R&D经费内部支出\nIntramural Expenditure\non R&D", _wan_number),
)
EMPLOYMENT = (
    Column(
        "ict_service_employment", "信息传输、软件和信息技术服务业\nInformation Transmission, Software and IT", grouped
    ),
)
REVENUE = (Column("ict_main_business_revenue", "信息产业主营业务收入\nRevenue from Main Business", spaced),)
ECOMMERCE = (
    Column("surveyed_enterprises", "企业数\nEnterprises\n(个)", grouped),
    Column("enterprise_websites", "企业拥有网站数\nWebsites\n(个)", grouped),
    Column("ecommerce_sales", "电子商务销售额\nE-commerce Sales\n(亿元)"),
    Column("ecommerce_purchases", "电子商务采购额\nE-commerce Purchases\n(亿元)"),
    Column("enterprise_operating_revenue", "营业收入\nOperating Revenue\n(亿元)"),
    Column("enterprise_operating_cost", "营业成本\nOperating Cost\n(亿元)"),
)
INVESTMENT = (
    Column("fixed_investment", "固定资产投资(不含农户)\nInvestment in Fixed Assets", _wan),
    Column(
        "ict_service_fixed_investment", "信息传输、软件和信息技术服务业\nInformation Transmission, Software, IT", _wan
    ),
)
RETAIL = (
    Column("retail_sales", "社会消费品零售总额\nTotal Retail Sales of Consumer Goods"),
    Column("online_retail_sales", "网上零售额\nOnline Retail Sales"),
)


def science_and_information(deci: Deci, year: int) -> dict[str, Page]:
    """Three sheets of one workbook: R&D with provinces as subtotal rows, employment, revenue of the ICT industry."""
    top: list[list[Any]] = [
        [f"6-1  各城市研究与试验发展(R&D)活动情况({year}年)"],
        [f"Research and Development by City ({year})"],
        [SYNTHETIC],
        [CITY, *(c.head for c in RD)],
        [None, "(人年)", "(万元)"],
    ]
    research = Page([*top, *_by_province(deci, year, RD), [SOURCE_NOTE]], [(0, 0, 0, 2), (3, 0, 4, 0)])
    top = [
        [f"6-2 各城市信息业城镇非私营单位就业人员({year}年)"],
        [SYNTHETIC],
        [None, "单位: 人"],
        ["城市", "按行业分  By Sector"],
        [None, EMPLOYMENT[0].head],
    ]
    note = ["注: 为年末城镇非私营单位就业人员。"]
    employment = Page([*top, *_plain(deci, year, EMPLOYMENT), note, [SOURCE_NOTE]], [(3, 0, 4, 0)])
    top = [[f"6-3 各城市信息产业主营业务收入({year}年)"], [SYNTHETIC], [None, "单位: 亿元"], ["城市", REVENUE[0].head]]
    revenue = Page([*top, *_plain(deci, year, REVENUE, english=True), [SOURCE_NOTE], [ADVERT]])
    return {"6-1": research, "6-2": employment, "6-3": revenue}


def ecommerce(deci: Deci, year: int) -> tuple[Page, str, list[str]]:
    """Informatisation and e-commerce of enterprises, six columns in two units: page, title, notes below it."""
    title = f"6-4 各城市企业信息化及电子商务情况({year}年)"
    width = len(ECOMMERCE)
    rows: list[list[Any]] = [
        [f"{title}  Informatization and E-commerce of Enterprises by City", *[None] * width],
        [SYNTHETIC, *[None] * width],
        ["城市", *(c.head for c in ECOMMERCE)],
        *_plain(deci, year, ECOMMERCE),
    ]
    return Page(rows, [(0, 0, 0, width), (1, 0, 1, width)]), title, [SOURCE_NOTE, ADVERT]


def investment(deci: Deci, year: int) -> Page:
    """Investment in fixed assets (万元), numbers as text, the second half under a «续表»."""
    head = ["城市", *(c.head for c in INVESTMENT)]
    unit = [None, None, "单位: 万元"]
    rows: list[list[Any]] = [[f"6-5 各城市固定资产投资({year}年)"], [SYNTHETIC], unit, head]
    body = _plain(deci, year, INVESTMENT)
    half = (len(body) + 1) // 2
    rows += body[:half]
    if len(body) > 1:
        rows += [["6-5 续表 Continued"], unit, head, *body[half:]]
    return Page([*rows, ["注: 2018年以后的数按公布增速由2017年推算。"], [SOURCE_NOTE]])


def retail(deci: Deci, year: int) -> Page:
    """Retail sales and online retail sales (亿元)."""
    top: list[list[Any]] = [
        [f"6-6 各城市社会消费品零售总额和网上零售额({year}年)"],
        [f"Retail Sales and Online Retail Sales by City ({year})"],
        [SYNTHETIC],
        ["单位: 亿元", None, "(100 million yuan)"],
        ["城市 City", *(c.head for c in RETAIL)],
    ]
    note = ["注: 网上零售额按卖家所在地统计。"]
    return Page([*top, *_plain(deci, year, RETAIL), note, [SOURCE_NOTE]], [(0, 0, 0, 2), (1, 0, 1, 2)])


def _shown(deci: Deci, frame: pl.DataFrame, year: int, columns: Sequence[Column]) -> list[list[Any]]:
    """Printed values of each city, gaps as marked."""
    gaps = {(code, v): text for code, at, v, text in planted(deci).iter_rows() if at == year}
    shows = [(c.variable, c.show) for c in columns]
    return [
        [gaps.get((code, v), show(number)) for (v, show), number in zip(shows, numbers, strict=True)]
        for code, *numbers in frame.select("region_code", *(c.variable for c in columns)).iter_rows()
    ]


def _plain(deci: Deci, year: int, columns: Sequence[Column], english: bool = False) -> list[list[Any]]:
    """One row per city by code, with its English name where wanted."""
    frame = deci.wide([c.variable for c in columns], year).sort("region_code")
    names = pl.concat_str("name_zh", pl.lit("\n"), "name_en") if english else pl.concat_str("name_zh", pl.lit(" "))
    labels = frame.select(names).to_series().to_list()
    return [[label, *line] for label, line in zip(labels, _shown(deci, frame, year, columns), strict=True)]


def _by_province(deci: Deci, year: int, columns: Sequence[Column]) -> list[list[Any]]:
    """One row per city below its province, which adds up the cities printed."""
    rows: list[list[Any]] = []
    for heading, part in by_province(deci.wide([c.variable for c in columns], year)):
        lines = _shown(deci, part, year, columns)
        if heading:
            rows.append([padded(heading), *(c.show(float(part[c.variable].sum())) for c in columns)])
        rows += [[f"  {padded(name)}", *line] for name, line in zip(part["name_zh"], lines, strict=True)]
    return rows


# -- web tables --------------------------------------------------------------------------------------------------------
def broadband_speed(deci: Deci) -> Page:
    """Average download rates of every year, each year's cities by rank."""
    rows = _years(deci, "broadband_speed").sort("year", "value", "region_code", descending=[False, True, False])
    rows = rows.with_columns(rank=pl.int_range(1, pl.len() + 1).over("year"))
    body = [list(row) for row in rows.select("rank", "name_zh", "year", "value").iter_rows()]
    return Page([["排名", "城市", "年份", "固定宽带平均下载速率(Mbps)"], *body, [SYNTHETIC]])


def gov_service(deci: Deci) -> Page:
    """Scores of online government services of every year, with the class that goes with them."""
    rows = _years(deci, "gov_service_score").with_columns(
        level=pl.when(pl.col("value") >= 90)
        .then(pl.lit("非常高"))
        .when(pl.col("value") >= 80)
        .then(pl.lit("高"))
        .when(pl.col("value") >= 65)
        .then(pl.lit("中"))
        .otherwise(pl.lit("低"))
    )
    body = [list(row) for row in rows.select("region_code", "short_name_zh", "year", "value", "level").iter_rows()]
    return Page([["地区代码", "城市", "年份", "网上政务服务能力得分", "等级"], *body, [SYNTHETIC]])


def gov_website(deci: Deci) -> Page:
    """Independent visitors of government websites of every year, as the annual returns list them."""
    rows = _years(deci, "gov_website_visitors")
    site = pl.concat_str("name_zh", pl.lit("人民政府门户网站"))
    body = [list(row) for row in rows.select("name_zh", site.alias("site"), "year", "value").iter_rows()]
    shown = [[*row[:3], grouped(row[3])] for row in body]
    return Page([["城市", "网站名称", "年度", "独立访问用户总量(次)"], *shown, [SYNTHETIC]])


def _years(deci: Deci, variable: str) -> pl.DataFrame:
    """Rows of one variable with the names of their cities, by code and year."""
    rows = deci.values.filter(variable=variable).join(deci.cities, on="region_code")
    return rows.sort("region_code", "year")


# -- experts -----------------------------------------------------------------------------------------------------------
def delphi_round(deci: Deci, year: int, number: int) -> dict[str, Page]:
    """One round of a year: a filled-in sheet per expert, cities by code."""
    items = deci.framework.leaves.filter(source_kind="delphi").select("node_id", "name_zh").rows()
    ids = [item for item, _ in items]
    names = deci.cities.select("region_code", "name_zh")
    scores = deci.delphi.filter(year=year, round=number).pivot(
        "item", index=["expert_id", "region_code"], values="score"
    )
    scores = scores.join(names, on="region_code").sort("expert_id", "region_code")
    said = {(expert, item): pair for expert, item, *pair in deci.authority.iter_rows()}
    head = ["地区代码\nregion_code", "地区\nregion", *(f"{zh}\n{item}" for item, zh in items)]
    pages: dict[str, list[list[Any]]] = {}
    for expert, *row in scores.select("expert_id", "region_code", "name_zh", *ids).iter_rows():
        if expert not in pages:
            pages[expert] = [
                [f"城市德尔菲评分表({year}年) 第{number}轮"],
                ["专家 expert", expert],
                [SYNTHETIC],
                head,
                [None, FAMILIARITY, *(said[expert, item][1] for item in ids)],
                [None, BASIS, *(said[expert, item][0] for item in ids)],
            ]
        pages[expert].append(row)
    return {expert: Page(rows) for expert, rows in pages.items()}


def judgements(deci: Deci) -> Iterable[tuple[str, Page]]:
    """Each expert's comparison of the dimensions: the upper triangle filled in, fractions as text."""
    framework = deci.framework
    names = dict(framework.nodes.select("node_id", "name_zh").iter_rows())
    ids = framework.children_of(framework.root)
    heads = [f"{names[node]}\n{node}" for node in ids]
    root = f"{framework.name_zh} ({framework.root})"
    for (expert,), rows in deci.judgements.partition_by("expert_id", as_dict=True, maintain_order=True).items():
        said = {(row, column): value for row, column, value in rows.drop("expert_id").iter_rows()}
        body = [
            [head, *(1 if row == column else _judgement(said.get((row, column))) for column in ids)]
            for head, row in zip(heads, ids, strict=True)
        ]
        top = [
            [f"AHP 判断矩阵 judgement matrix: {root} › {root}"],
            ["专家 expert", str(expert)],
            ["版本 edition", framework.edition],
            [SYNTHETIC],
            ["指标\nindicator", *heads],
        ]
        yield str(expert), Page([*top, *body])


def _judgement(value: float | None) -> str | int | None:
    """A judgement as an expert writes it: 3, or 1/3."""
    return None if value is None else SAATY_TEXT.get(round(value, 6)) or round(value)
