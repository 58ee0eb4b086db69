"""Registers of companies and holdings of the demo: 100 synthetic root enterprises and their 10,499 subsidiaries.

The report counts 10,499 subsidiaries that 100 enterprises hold by more than half (40 enterprises of digital
industrialisation, 60 of industry digitalisation) and names neither. Every subsidiary here is controlled by
construction: by one holder of its group, or by two together; some hold a little of those above them. Beside them stand
companies that the groups hold half or less of. How many lie in which city goes with the published scores of the cities;
the rest are overseas or without a city. That is the base year; before it the groups were smaller. Nothing depends on
how many cities or years are asked for.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dei_pipeline.demo import formats
from dei_pipeline.demo.formats import Page
from dei_pipeline.demo.model import Demo, Ints, World
from dei_pipeline.demo.pages import ADVERT, SYNTHETIC
from dei_pipeline.demo.projects import ListFile, apportioned
from dei_pipeline.methods.companies import check_character

SUBSIDIARIES, OVERSEAS, UNLOCATED = 10_499, 612, 287  # overseas and unlocated are of the subsidiaries
ROOTS = {"digital_industrialisation": 40, "industry_digitalisation": 60}
ASSOCIATES = 300  # companies that a group holds half or less of
HALF, SCALE = 78.0, 9.0  # companies by score: the score with half of the most, and the steepness of the logistic curve
HEADQUARTERS = {"上海": 1.3, "北京": 1.18, "深圳": 1.12}  # more companies than the score tells
JOINT, CIRCULAR, OUTSIDE, WHOLE = 0.06, 0.03, 0.2, 0.3  # shares of the subsidiaries
TRADES = (
    ("软件", "信息传输、软件和信息技术服务业"),
    ("通信设备", "计算机、通信和其他电子设备制造业"),
    ("互联网", "信息传输、软件和信息技术服务业"),
    ("智能制造", "制造业"),
    ("电子商务", "批发和零售业"),
    ("金融科技", "金融业"),
    ("物流科技", "交通运输、仓储和邮政业"),
)
RISE = 0.06  # share of its subsidiaries that a group founds in a year
MARKS = {"digital_industrialisation": "数字产业化", "industry_digitalisation": "产业数字化"}


@dataclass(frozen=True)
class Ownership:
    """The registers of the demo.

    Attributes:
        years: of the lists of holdings, ascending.
        companies: number, kind (root, subsidiary, associate), name, credit_code (null overseas), city (name, null
            without one), region_code, country (null at home), industry, root (kind of root enterprise), since (year
            from which it has holders; of roots and associates the first).
        holdings: holder, held (numbers; a negative holder is an owner outside the register), percent (two decimals),
            joint, since.
    """

    years: tuple[int, ...]
    companies: pl.DataFrame
    holdings: pl.DataFrame

    def subsidiaries(self, year: int) -> pl.DataFrame:
        """The subsidiaries that there are in a year."""
        return self.companies.filter((pl.col("kind") == "subsidiary") & (pl.col("since") <= year))


def city_counts(world: World) -> pl.DataFrame:
    """Subsidiaries registered in each city of the world: region_code, companies."""
    cities = world.cities.select("region_code", "short_name_zh", "target")
    more = cities["short_name_zh"].replace_strict(HEADQUARTERS, default=1.0, return_dtype=pl.Float64).to_numpy()
    weight = more / (1.0 + np.exp((HALF - cities["target"].to_numpy()) / SCALE))
    counts = apportioned(SUBSIDIARIES - OVERSEAS - UNLOCATED, weight)
    return cities.select("region_code", companies=pl.Series(counts))


def build(demo: Demo) -> Ownership:
    """The registers of a demo's years."""
    rng = demo.world.random("ownership")
    n = sum(ROOTS.values())
    sizes = 1 + apportioned(SUBSIDIARIES - n, rng.lognormal(0.0, 1.0, n))
    left = np.concatenate([(size - np.arange(size)) / size for size in sizes])  # of its group, itself included
    founded = demo.framework.base_year - np.floor((left - 1e-9) / RISE).astype(np.int64)
    since = np.concatenate([np.zeros(n, np.int64), founded, np.zeros(ASSOCIATES, np.int64)])
    companies = _companies(demo.world, rng).with_columns(since=pl.Series(since))
    holdings = _holdings(sizes, rng)
    ages = pl.col("holder").replace_strict(dict(enumerate(since.tolist())), default=0, return_dtype=pl.Int64)
    of_held = pl.col("held").replace_strict(dict(enumerate(since.tolist())), return_dtype=pl.Int64)
    return Ownership(demo.years, companies, holdings.with_columns(since=pl.max_horizontal(ages, of_held)))


def _companies(world: World, rng: np.random.Generator) -> pl.DataFrame:
    """Roots, subsidiaries and associates, numbered in this order."""
    cities = world.cities.join(city_counts(world), on="region_code", maintain_order="left")
    roots, n = sum(ROOTS.values()), cities.height
    places = np.repeat(np.arange(n), cities["companies"].to_numpy())
    places = rng.permutation(np.concatenate([places, np.full(OVERSEAS, n), np.full(UNLOCATED, n + 1)]))
    weight = cities["companies"].to_numpy() / cities["companies"].sum()
    drawn = rng.choice(n, roots + ASSOCIATES, p=weight)
    place = np.concatenate([drawn[:roots], places, drawn[roots:]])
    kind = ["root"] * roots + ["subsidiary"] * SUBSIDIARIES + ["associate"] * ASSOCIATES
    marks = [mark for mark, count in ROOTS.items() for _ in range(count)]
    root = pl.Series([*marks, *[None] * (len(kind) - roots)], dtype=pl.String)
    city = cities.select("name_zh", "short_name_zh", "region_code").rows()
    trade = rng.integers(0, len(TRADES), len(kind))
    rows: list[tuple[Any, ...]] = []
    for number, (at, what, sort) in enumerate(zip(place.tolist(), trade.tolist(), kind, strict=True)):
        label, industry = TRADES[what]
        if at == n:
            rows.append((f"SYNTHETIC OVERSEAS {number:05} HOLDINGS LIMITED", None, None, None, "开曼群岛", industry))
            continue
        name, short, code = city[at] if at < n else (None, "", "100000")
        form = "股份有限公司" if sort == "root" else "有限公司"
        first = f"91{code}MA{number:07}"
        rows.append((f"{short}合成{label}{number:05}{form}", first + check_character(first), name,
                     code if at < n else None, None, industry))  # fmt: skip
    schema = dict.fromkeys(("name", "credit_code", "city", "region_code", "country", "industry"), pl.String)
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("number")
    return frame.with_columns(pl.Series("kind", kind), root.alias("root"))


def _holdings(sizes: Ints, rng: np.random.Generator) -> pl.DataFrame:
    """Who holds what of whom; group by group, then the associates.

    The first three roots also control the three before the last.
    """
    rows: list[tuple[int, int, int, bool]] = []  # hundredths of a per cent
    owner, number = -1, sizes.size
    for root, size in enumerate(sizes.tolist()):
        group = [root]
        for _ in range(size):
            free = 10_000
            if len(group) > 2 and rng.random() < JOINT:
                first, second = rng.choice(len(group), 2, replace=False).tolist()
                one = int(rng.integers(2_600, 4_600))
                two = int(rng.integers(5_100, 6_500)) - one
                rows += [(group[first], number, one, True), (group[second], number, two, True)]
                free -= one + two
            else:
                above = group[0] if rng.random() < 0.35 else group[int(rng.integers(0, len(group)))]
                held = 10_000 if rng.random() < WHOLE else int(rng.integers(5_001, 9_900))
                rows.append((above, number, held, False))
                free -= held
                if held < 10_000 and rng.random() < CIRCULAR:
                    rows.append((number, root, int(rng.integers(5, 30)), False))
            if free > 100 and rng.random() < OUTSIDE:
                rows.append((owner, number, int(rng.integers(50, free)), False))
                owner -= 1
            group.append(number)
            number += 1
    last = sizes.size - 4
    rows += [(root, last + root, int(rng.integers(5_200, 8_000)), False) for root in range(3)]
    for _ in range(ASSOCIATES):
        holder = int(rng.integers(0, sizes.size))
        rows.append((holder, number, 5_000 if rng.random() < 0.1 else int(rng.integers(500, 5_000)), False))
        number += 1
    schema = {"holder": pl.Int64, "held": pl.Int64, "hundredths": pl.Int64, "joint": pl.Boolean}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    summed = frame.group_by("holder", "held", maintain_order=True).agg(
        pl.col("hundredths").sum(), pl.col("joint").first()
    )
    return summed.select("holder", "held", percent=pl.col("hundredths") / 100, joint="joint")


# -- registers as printed ----------------------------------------------------------------------------------------------
def files(found: Ownership) -> Iterator[ListFile]:
    """A register of companies, the list of roots, and each year's holdings in two forms."""
    year = found.years[-1]
    titled = f"企业名录_{year}"
    yield f"企业登记/{titled}.csv", "companies", titled, year, formats.csv_gb18030(_register(found))
    titled = f"百家典型企业_{year}"
    yield f"企业登记/{titled}.xlsx", "companies", titled, year, formats.xlsx({"典型企业": _roots(found)})
    named = _named(found)
    for year in found.years:
        rows = named.filter(pl.col("since") <= year)
        titled = f"持股明细_{year}"
        yield f"股权/{titled}.parquet", "holdings", titled, year, _parquet(rows.filter(~pl.col("joint")))
        titled = f"联合持股_{year}"
        yield f"股权/{titled}.xlsx", "holdings", titled, year, formats.xlsx({"联合持股": _joint(found, rows, year)})


def _register(found: Ownership) -> Page:
    """Subsidiaries and associates; cities blank where they are not known."""
    rows = found.companies.filter(pl.col("kind") != "root")
    body = [list(row) for row in rows.select("credit_code", "name", "city", "country", "industry").iter_rows()]
    return Page([["统一社会信用代码", "企业名称", "注册城市", "国家(地区)", "行业门类"], *body, [SYNTHETIC]])


def _roots(found: Ownership) -> Page:
    """The root enterprises with their kind."""
    rows = found.companies.filter(kind="root").with_columns(pl.col("root").replace_strict(MARKS))
    body = [
        [at, *row] for at, row in enumerate(rows.select("name", "credit_code", "root", "city").iter_rows(), start=1)
    ]
    head = ["序号", "企业名称", "统一社会信用代码", "根企业类别", "注册城市"]
    return Page([[f"百家典型企业名单({found.years[-1]}年末)"], [SYNTHETIC], head, *body, [ADVERT]])


def _named(found: Ownership) -> pl.DataFrame:
    """The holdings with names as the lists print them: now and then the long form, width or a blank differs."""
    name = pl.col("name")
    odd = pl.col("number") % 17
    printed = (
        pl.when(odd == 3).then(name.str.replace(r"有限公司$", "有限责任公司"))
        .when(odd == 5).then(name.str.replace("合成", "合成 ", literal=True))
        .when((odd == 7) & name.str.starts_with("SYN")).then(name.str.replace("LIMITED", "Ltd.", literal=True))
        .otherwise(name)
    )  # fmt: skip
    shown = pl.when(name.str.ends_with("股份有限公司")).then(name).otherwise(printed)
    names = found.companies.select(pl.col("number").cast(pl.Int64), "credit_code", shown=shown)
    rows = found.holdings
    for end in ("holder", "held"):
        told = names.rename({"number": end, "shown": f"{end}_name", "credit_code": f"{end}_code"})
        rows = rows.join(told, on=end, how="left", maintain_order="left")
    outsider = pl.format("合成投资人{}", -pl.col("holder"))
    return rows.with_columns(holder_name=pl.coalesce("holder_name", outsider))


def _parquet(rows: pl.DataFrame) -> bytes:
    """Holder, company and per cent, by name."""
    target = io.BytesIO()
    frame = rows.select(pl.col("holder_name").alias("股东名称"), pl.col("held_name").alias("被投资企业名称"),
                        pl.col("percent").alias("持股比例(%)"))  # fmt: skip
    frame.write_parquet(target, compression="zstd")
    return target.getvalue()


def _joint(found: Ownership, named: pl.DataFrame, year: int) -> Page:
    """Joint holdings by name and code, as text with a sign; one share cannot be read, one company holds itself."""
    rows = named.filter("joint")
    body = [[*row[:4], f"{row[4]:.2f}%"] for row in
            rows.select("holder_name", "holder_code", "held_name", "held_code", "percent").iter_rows()]  # fmt: skip
    last = found.companies.filter(kind="associate").tail(2).select("name", "credit_code").rows()
    odd = [["合成投资人0", None, *last[0], "约三成"], [*last[1], *last[1], "2.00%"]]
    head = ["股东名称", "股东统一社会信用代码", "被投资企业名称", "被投资企业统一社会信用代码", "持股比例"]
    return Page([[f"联合持股情况({year}年)"], [SYNTHETIC], head, *body, *odd, ["注: 持股比例为直接持股。"]])
