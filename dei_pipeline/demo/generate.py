"""Writes the demo sources into a folder and says what each file is; the lead-in of `dei demo`."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dei_pipeline.demo import formats, pages
from dei_pipeline.demo.model import Demo, build
from dei_pipeline.lake import Lake, write_text

PRODUCER = "合成数据 synthetic (dei demo)"
LICENCE = "synthetic, no rights reserved"
DEFAULT_YEARS = range(2015, 2021)


@dataclass(frozen=True)
class DemoFile:
    """One written file and what its manifest says of it; every one is synthetic.

    Attributes:
        path: the file.
        source_id: kind of source, as the layouts name it.
        producer, title, edition, licence: of the publication; the edition is the year it came out.
        year: data year where the file itself states none, else None.
    """

    path: Path
    source_id: str
    producer: str
    title: str
    edition: str
    licence: str
    year: int | None = None


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
    for name, source_id, title, edition, content in _files(demo):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written.append(DemoFile(path, source_id, PRODUCER, f"{title} (合成数据 SYNTHETIC)", str(edition), LICENCE))
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
