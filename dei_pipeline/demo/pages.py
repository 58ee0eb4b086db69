"""Pages of the demo sources, as an institute would receive them: yearbook pages, panels, indicator pages, score sheets.

Each builder prints numbers of `model.Demo`; `planted` says which deliberate flaws it plants, all before the base year.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from dei_pipeline.demo.formats import Page
from dei_pipeline.demo.model import REFERENCE, Demo

SYNTHETIC = "注: 合成数据 SYNTHETIC, 由程序生成, 不是任何城市的真实统计数字"
SOURCE_NOTE = "资料来源: 合成数据 SYNTHETIC, dei demo"
ADVERT = "更多数据, 请关注微信公众号「合成数据示例」"
MASK, UNREADABLE, BLANKS = "[**]", "数据核实中", ("…", "-", None)
UNKNOWN_REGION = "示例新区"
REVISION = 0.985  # first published GDP as a share of the revised one
MIN_REGIONS = 10  # smaller demos carry no flaws
CITY, TELECOM_COLUMNS = "城  市", ("fixed_broadband_subscribers", "mobile_internet_subscribers")
CHECKPOINT_HEAD = ["地区代码", "地区", "指标", "考察点编号", "考察点", "满分", "得分", "评估人", "证据"]

Flaws = Mapping[tuple[str, str], str | None]


def planted(demo: Demo) -> pl.DataFrame:
    """The deliberate flaws: kind, page, region_code, year, variable, text (what stands in the cell).

    Kinds: missing (telecom cells left blank or marked «…»), mask (`[**]`), text (words where a number should be),
    unknown_region (a row of no city; region_code null), superseded (an older edition's other value; one row a city).
    """
    schema = dict.fromkeys(("kind", "page", "region_code", "variable", "text"), pl.String()) | {"year": pl.Int32()}
    years = [y for y in demo.years if y < demo.framework.base_year]
    if not years or demo.cities.height < MIN_REGIONS:
        return pl.DataFrame(schema=schema)
    cities = demo.cities.filter(pl.col("valid_from") < years[0])["region_code"].to_list()
    at = [years[i % len(years)] for i in range(4)]
    rows: list[tuple[Any, ...]] = []
    for i, place in enumerate((0.15, 0.35, 0.55, 0.75, 0.95)):
        variable = TELECOM_COLUMNS[i % 2]
        rows.append(("missing", "telecom", cities[int(place * len(cities))], variable, BLANKS[i % 3], at[1 + i % 2]))
    rows.append(("mask", "telecom", cities[int(0.45 * len(cities))], TELECOM_COLUMNS[1], MASK, at[2]))
    rows.append(("text", "industry", cities[int(0.65 * len(cities))], "main_industries_value_added", UNREADABLE, at[1]))
    rows.append(("unknown_region", "population", None, "resident_population", UNKNOWN_REGION, at[3]))
    rows.append(("unknown_region", "population", None, "resident_households", UNKNOWN_REGION, at[3]))
    if (old := old_panel_year(demo)) is not None:
        present = demo.wide(["gdp"], old)["region_code"].to_list()
        rows += [("superseded", "gdp", code, "gdp", None, old) for code in present]
    return pl.DataFrame(rows, schema=schema, orient="row")


def old_panel_year(demo: Demo) -> int | None:
    """Last year of the older edition of the GDP panel, the one it states differently; None if there is none."""
    years = [y for y in demo.years if y < demo.framework.base_year]
    if not years or demo.cities.height < MIN_REGIONS:
        return None
    year = years[1 % len(years)]
    return year if year < demo.years[-1] else None


def flaws_of(flaws: pl.DataFrame, page: str, year: int) -> Flaws:
    """What stands in the flawed cells of one page: (region_code, variable) -> text."""
    here = flaws.filter((pl.col("page") == page) & (pl.col("year") == year) & (pl.col("kind") != "superseded"))
    return {(code, v): text for code, v, text in here.select("region_code", "variable", "text").iter_rows() if code}


# -- names and numbers as printed --------------------------------------------------------------------------------------
def padded(name: str) -> str:
    """A short name spread to a column's width: «太　原　市»."""
    return "\u3000".join(name) if len(name) <= 3 else name


def spaced(value: float) -> str:
    """A number with blanks between thousands, as text: «1 234.56»."""
    return f"{value:,.2f}".replace(",", " ")


def grouped(value: float) -> str:
    """A whole number with commas, as text: «12,345,600»."""
    return f"{round(value):,}"


def by_province(frame: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Cities by province in the order of their codes; municipalities stand for themselves (empty heading)."""
    ordered = frame.with_columns(
        heading=pl.when(pl.col("kind") == "municipality").then(pl.lit("")).otherwise("province_zh"),
        province=pl.col("region_code").str.slice(0, 2),
    ).sort("region_code")
    parts = ordered.partition_by("province", maintain_order=True)
    return [(str(part["heading"][0]), part) for part in parts]


def _values(frame: pl.DataFrame, variables: tuple[str, ...], flaws: Flaws, printed: Any = None) -> list[list[Any]]:
    """The printed values of each city, flawed cells replaced."""
    rows = []
    for code, *numbers in frame.select("region_code", *variables).iter_rows():
        shown = [n if printed is None else printed(n) for n in numbers]
        rows.append([flaws.get((code, v), s) for v, s in zip(variables, shown, strict=True)])
    return rows


# -- yearbook pages ----------------------------------------------------------------------------------------------------
def population(demo: Demo, year: int, flaws: pl.DataFrame) -> Page:
    """Population and households (万人, 万户): bilingual merged headings, padded names, provinces as subtotal rows."""
    variables = ("resident_population", "resident_households")
    rows: list[list[Any]] = [
        [f"2-1  各城市年末常住人口和家庭户数({year}年)"],
        [f"Resident Population and Households by City ({year})"],
        [SYNTHETIC],
        [None, None, "单位: 万人、万户"],
        [CITY, "年末常住人口\nResident Population\n(year-end)", "家庭户数\nHouseholds\n"],
        [None, "(万人)", "(万户)"],
    ]
    cells = flaws_of(flaws, "population", year)
    for heading, part in by_province(demo.wide(variables, year)):
        if heading:
            rows.append([padded(heading), *(round(float(part[v].sum()), 2) for v in variables)])
        names = [padded(name) for name in part["name_zh"].to_list()]
        rows += [[f"  {name}", *values] for name, values in zip(names, _values(part, variables, cells), strict=True)]
    if flaws.filter((pl.col("kind") == "unknown_region") & (pl.col("year") == year)).height:
        rows.append([UNKNOWN_REGION, 88.88, 33.33])
    rows += [[SOURCE_NOTE], ["注: 1.省级数为所列城市合计。2.户数为家庭户。"]]
    return Page(rows, [(0, 0, 0, 2), (1, 0, 1, 2), (4, 0, 5, 0)])


def telecom(demo: Demo, year: int, flaws: pl.DataFrame, households: bool) -> tuple[Page, str, list[str]]:
    """Telecom subscribers: page, title, notes below it; in 户 with commas as text, or in 万户 as numbers."""
    unit = "户" if households else "万户"
    title = f"16-4 各城市电信业务用户({year}年)"
    rows: list[list[Any]] = [
        [f"{title}  Telecommunication Subscribers by City", None, None],
        [SYNTHETIC, None, None],
        [f"单位: {unit}", None, None],
        [CITY, "年末用户数 Subscribers at Year-end", None],
        [None, "固定互联网宽带接入用户\nFixed Broadband", "移动互联网用户\nMobile Internet"],
    ]
    cells = flaws_of(flaws, "telecom", year)
    for heading, part in by_province(demo.wide(TELECOM_COLUMNS, year)):
        if heading:
            rows.append([heading, None, None])
        values = _values(part, TELECOM_COLUMNS, cells, _households if households else None)
        names = part.select(pl.concat_str("name_zh", pl.lit("\n"), "name_en")).to_series().to_list()
        names = names if households else part["name_zh"].to_list()
        rows += [[name, *line] for name, line in zip(names, values, strict=True)]
    notes = [SOURCE_NOTE, ADVERT]
    if not households:
        rows += [[note, None, None] for note in notes]
    return Page(rows, [(0, 0, 0, 2), (1, 0, 1, 2), (3, 0, 4, 0), (3, 1, 3, 2)]), title, notes


def _households(value: float) -> str:
    """Subscribers in 户 from 万户."""
    return grouped(value * 10_000)


def industry(demo: Demo, year: int, flaws: pl.DataFrame, in_wan: bool) -> Page:
    """GDP and value added of the information industries, numbers as text, the second half under a «续表».

    Without a year in its title where `in_wan` (万元): the file's name holds it; otherwise in 亿元.
    """
    variables = ("gdp", "main_industries_value_added")
    dated = "" if in_wan else f"({year}年)"
    head = [["3-5 续表 Continued"], ["城市", "地区生产总值\nGDP", "信息产业增加值\nInformation Industries"]]
    rows: list[list[Any]] = [[f"3-5 各城市地区生产总值和信息产业增加值{dated}"], [SYNTHETIC]]
    rows += [[None, None, "单位: 万元" if in_wan else "单位: 亿元"], head[1]]
    frame = demo.wide(variables, year).sort("region_code")
    values = _values(frame, variables, flaws_of(flaws, "industry", year), _wan if in_wan else spaced)
    body = [[f"{name} ", *line] for name, line in zip(frame["name_zh"].to_list(), values, strict=True)]
    half = (len(body) + 1) // 2
    rows += body[:half]
    if len(body) > 1:
        rows += [head[0], rows[2], head[1], *body[half:]]
    rows += [[SOURCE_NOTE], [ADVERT]]
    return Page(rows)


def _wan(value: float) -> str:
    """万元 from 亿元."""
    return grouped(value * 10_000)


# -- panels and pages of the institute's own ---------------------------------------------------------------------------
def gdp_panel(demo: Demo, last: int, revised: bool = True) -> Page:
    """GDP of every city up to `last`, long, names in varying forms; unrevised: `last` as it was first published."""
    frame = demo.by_variable["gdp"].filter(pl.col("year") <= last).join(demo.cities, on="region_code")
    number = pl.col("region_code").str.slice(0, 4).cast(pl.Int32)
    plain = (pl.col("kind") == "prefecture_city") & (pl.col("short_name_zh") != "吉林")
    province = pl.col("province_zh").str.replace("(省|市|壮族自治区|回族自治区|维吾尔自治区|自治区)$", "")
    name = (
        pl.when(plain & (number % 5 == 1))
        .then("short_name_zh")
        .when(plain & (number % 5 == 3))
        .then(province + pl.col("short_name_zh"))
        .otherwise("name_zh")
    )
    value = pl.col("value") if revised else pl.when(pl.col("year") == last).then(_first_published()).otherwise("value")
    rows = frame.sort("region_code", "year").select("province_zh", name.alias("city"), "year", value.alias("value"))
    notes = [[SYNTHETIC], [ADVERT]]
    return Page([["省份", "城市", "年份", "名义GDP"], *(list(row) for row in rows.iter_rows()), *notes])


def _first_published() -> pl.Expr:
    """GDP before its revision, printed with two decimals."""
    return (pl.col("value") * REVISION).round(2)


def indicator_pages(demo: Demo, year: int) -> dict[str, Page]:
    """Region × indicator sheets of a year's policy and project counts, headings as `variables.csv` names them.

    In the base year the documents of `policies` take the place of the first sheet.
    """
    named = pl.read_csv(REFERENCE / "variables.csv", columns=["variable", "name_zh"])
    labels = dict(named.iter_rows())
    counts = demo.framework.terms.filter(pl.col("role") == "count")["variable"].to_list()
    projects = [v for v in counts if "demonstration" in v]
    sheets = {"政策与项目": [v for v in counts if v not in projects], "示范工程": projects}
    if year == demo.framework.base_year:
        del sheets["政策与项目"]
    pages = {}
    for sheet, variables in sheets.items():
        frame = demo.wide(variables, year).sort("region_code")
        body = [list(row) for row in frame.select("region_code", "name_zh", *variables).iter_rows()]
        head: list[list[Any]] = [[f"各城市{sheet}数量({year}年)"], [SYNTHETIC], ["单位: 个"]]
        pages[sheet] = Page([*head, ["地区代码", "地区", *(labels[v] for v in variables)], *body])
    return pages


def checkpoints(demo: Demo, year: int) -> tuple[list[list[str]], pl.DataFrame]:
    """Score sheet of a year: rows above the table, and one row per city and checkpoint (`CHECKPOINT_HEAD`)."""
    terms = demo.framework.terms.filter(pl.col("role") == "points").with_row_index("place")
    names = demo.framework.leaves.select(indicator_id="node_id", indicator="name_zh")
    terms = terms.join(names, on="indicator_id", how="left", maintain_order="left")
    cities = demo.cities.with_row_index("number").select("region_code", "name_zh", "number")
    points = demo.values.lazy().filter(pl.col("year") == year).join(terms.lazy(), on="variable")
    first_of_leaf, first_of_city = pl.col("variable").str.ends_with(".1"), pl.col("place") == 0
    link = pl.format("demo://evidence/{}/{}", "region_code", "indicator_id")
    evaluator = pl.format("评估员{}", (pl.col("number") % 12 + 1).cast(pl.String).str.zfill(2))
    table = (
        points.join(cities.lazy(), on="region_code")
        .sort("number", "place")
        .select(
            "region_code",
            "name_zh_right",
            "indicator",
            "variable",
            "name_zh",
            "max_points",
            "value",
            pl.when(first_of_city).then(evaluator).alias("evaluator"),
            pl.when(first_of_leaf).then(link).alias("evidence"),
        )
        .collect()
    )
    return [[f"城市数字经济评估打分表({year}年)"], [SYNTHETIC], CHECKPOINT_HEAD], table
