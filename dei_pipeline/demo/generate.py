"""Writes the demo sources into a folder and says what each file is; the lead-in of `dei demo`."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from dei_pipeline.demo import deci as competitive
from dei_pipeline.demo import deci_pages, formats, ownership, pages, policies, policy_pages, projects
from dei_pipeline.demo.deci import Deci
from dei_pipeline.demo.model import Demo, build
from dei_pipeline.lake import Lake, write_text
from dei_pipeline.sources.ingest import DOCUMENT

PRODUCER = "合成数据 synthetic (dei demo)"
LICENCE = "synthetic, no rights reserved"
PAGE = "page"
DEFAULT_YEARS = range(2015, 2021)


@dataclass(frozen=True)
class DemoFile:
    """One written file and what its manifest says of it; every one is synthetic.

    Attributes:
        path: the file.
        source_id: kind of source, as the layouts name it.
        producer, title, edition, licence: of the publication; the edition is the year it came out. Documents say
            themselves who issued them and what they are: empty.
        year: data year where the file itself states none, else None.
        kind: who reads it, see `ingest.receive`.
    """

    path: Path
    source_id: str
    producer: str
    title: str
    edition: str
    licence: str
    year: int | None = None
    kind: str = PAGE


def generate(
    folder: Path,
    regions: int = 242,
    years: Sequence[int] = DEFAULT_YEARS,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> list[DemoFile]:
    """The files of a synthetic collection of sources, written into `folder`; equal arguments give equal bytes.

    Args:
        folder: staging folder, made if absent.
        regions: number of cities, the best of the published ranking first.
        years: data years; GDP goes back one year further (clusters are weighted by the GDP of the year before).
        seed: of the draws.
        progress: told each file's name.

    Raises:
        DeiError: see `model.build`.
    """
    demo = build(regions, years, seed)
    written = []
    lists = projects.build(demo)
    files = chain(
        _files(demo),
        _deci_files(competitive.build(demo)),
        projects.files(lists) if lists else (),
        ownership.files(ownership.build(demo)),
    )
    for kind, sources in ((PAGE, files), (DOCUMENT, policy_pages.files(policies.build(demo)))):
        for name, source_id, title, edition, content in sources:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            about = (PRODUCER, f"{title} (合成数据 SYNTHETIC)") if kind == PAGE else ("", "")
            written.append(DemoFile(path, source_id, *about, str(edition), LICENCE, kind=kind))
            if progress is not None:
                progress(name)
    return written


def _marker(lake: Lake) -> Path:
    return lake.root / "raw" / "demo.json"


def mark_finished(lake: Lake, regions: int, years: Sequence[int], seed: int) -> None:
    """Notes in the lake (`raw/demo.json`) that every file of this demo was received."""
    write_text(_marker(lake), json.dumps({"regions": regions, "years": list(years), "seed": seed}))


def finished(lake: Lake) -> bool:
    """Whether a demo was received to its end."""
    return _marker(lake).is_file()


def _files(demo: Demo) -> Iterator[tuple[str, str, str, int, bytes]]:
    """Name, source, title, edition and content of every file; formats change from edition to edition."""
    flaws = pages.planted(demo)
    for year in demo.years:
        edition, even = year + 1, year % 2 == 0
        book = f"城市统计年鉴{edition}"
        at = f"{book}/{book}"
        population = formats.xlsx({"2-1": pages.population(demo, year, flaws)})
        yield f"{at}-2-1 人口和户数.xlsx", "city_yearbook", f"{book} 2-1", edition, population
        page, title, notes = pages.telecom(demo, year, flaws, households=not even)
        telecom = formats.encrypted(formats.xlsx({"16-4": page})) if even else formats.html_page(page, title, notes)
        yield f"{at}-16-4 电信用户.xls", "city_yearbook", f"{book} 16-4", edition, telecom
        page = pages.industry(demo, year, flaws, in_wan=even)
        industry = formats.csv_gb18030(page) if even else formats.xlsx({"3-5": page})
        yield f"{at}-3-5 生产总值.{'csv' if even else 'xlsx'}", "city_yearbook", f"{book} 3-5", edition, industry
        counts = formats.xlsx(pages.indicator_pages(demo, year))
        yield f"政策与项目/政策与项目_{year}.xlsx", "region_indicator", f"政策与项目数量 {year}", edition, counts
        head, table = pages.checkpoints(demo, year)
        scores = formats.xlsx_table(head, table, "打分表")
        yield f"评估/打分表_{year}.xlsx", "assessment", f"城市数字经济评估打分表 {year}", edition, scores
    last = demo.years[-1]
    panel = formats.xlsx({"面板数据": pages.gdp_panel(demo, last)})
    yield f"面板/地级市GDP面板_{last + 2}版.xlsx", "city_panel", "地级市GDP面板数据", last + 2, panel
    old = pages.old_panel_year(demo)
    if old is not None:
        panel = formats.xlsx({"面板数据": pages.gdp_panel(demo, old, revised=False)})
        yield f"面板/地级市GDP面板_{old + 2}版.xlsx", "city_panel", "地级市GDP面板数据", old + 2, panel


def _deci_files(deci: Deci) -> Iterator[tuple[str, str, str, int, bytes]]:
    """The same of the competitive index: yearbook pages and Delphi rounds by year, web tables and AHP sheets once."""
    for year in deci.years:
        edition, even = year + 1, year % 2 == 0
        book = f"城市统计年鉴{edition}"
        at = f"{book}/{book}-6"
        sheets = formats.xlsx(deci_pages.science_and_information(deci, year))
        yield f"{at}-1 科技与信息业.xlsx", "city_yearbook", f"{book} 6-1 6-2 6-3", edition, sheets
        page, title, notes = deci_pages.ecommerce(deci, year)
        yield f"{at}-4 电子商务.xls", "city_yearbook", f"{book} 6-4", edition, formats.html_page(page, title, notes)
        page = deci_pages.investment(deci, year)
        content = formats.csv_gb18030(page) if even else formats.xlsx({"6-5": page})
        yield f"{at}-5 固定资产投资.{'csv' if even else 'xlsx'}", "city_yearbook", f"{book} 6-5", edition, content
        page = deci_pages.retail(deci, year)
        content = formats.xlsx({"6-6": page}) if even else formats.csv_gb18030(page)
        yield f"{at}-6 零售.{'xlsx' if even else 'csv'}", "city_yearbook", f"{book} 6-6", edition, content
        for number in deci.delphi.filter(year=year)["round"].unique().sort():
            content = formats.xlsx(deci_pages.delphi_round(deci, year, number))
            yield f"德尔菲/{year}_第{number}轮.xlsx", "delphi", f"城市德尔菲评分 {year} 第{number}轮", edition, content
    last = deci.years[-1] + 1
    web = {
        "宽带速率": ("重点城市固定宽带平均下载速率", formats.csv_gb18030(deci_pages.broadband_speed(deci))),
        "政务服务能力": ("重点城市网上政务服务能力", formats.csv_utf8(deci_pages.gov_service(deci))),
        "政府网站年报": ("政府网站工作年度报表汇总", formats.csv_utf8(deci_pages.gov_website(deci))),
    }
    for name, (title, content) in web.items():
        yield f"网站数据/{name}_{last}.csv", "web_metrics", title, last, content
    edition = int(deci.framework.edition)
    for expert, page in deci_pages.judgements(deci):
        content = formats.xlsx({expert: page})
        yield f"层次分析/判断矩阵_{expert}.xlsx", "ahp", f"数字经济竞争力指数判断矩阵 {expert}", edition, content
