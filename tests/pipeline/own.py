"""An index of one's own end to end: its file, reviewed files with its variables added, and pages of made-up numbers."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from dei_pipeline.settings import Settings
from tests.forms import filled
from tests.pipeline.homes import Home, put

INDEX = "plsi"
FILE = Path(__file__).parents[1] / "fixtures" / "own_index.yaml"
YEARS = (2019, 2020)
VARIABLES = """\
co2_emissions,二氧化碳排放量,Carbon dioxide emissions,10k_tonnes,0,,extensive,none,any,,
electricity_consumption,全社会用电量,Electricity consumption,100m_kwh,0,,extensive,none,any,,
forest_cover,森林覆盖率,Forest cover,percent,0,100,intensive,none,any,,
"""
UNITS = """\
万吨,10k_tonnes,1,
10k_tonnes,10k_tonnes,1,canonical id
亿千瓦时,100m_kwh,1,
100m_kwh,100m_kwh,1,canonical id
"""
SIZES = {  # middle of the draws, and their spread in logarithms
    "resident_population": (4500, 0.5),
    "resident_households": (1500, 0.5),
    "fixed_broadband_subscribers": (1400, 0.5),
    "mobile_internet_subscribers": (4200, 0.5),
    "retail_sales": (12000, 0.4),
    "online_retail_sales": (2500, 0.4),
    "ecommerce_sales": (4000, 1.9),
    "broadband_speed": (38, 0.1),
    "co2_emissions": (38000, 0.4),
    "electricity_consumption": (2400, 0.3),
    "forest_cover": (34, 0.4),
    "budget_expenditure": (6500, 0.3),
    "expenditure_environment": (170, 0.3),
    "expenditure_education": (1000, 0.3),
    "rd_expenditure": (600, 0.6),
    "gdp": (30000, 0.4),
}
TIED = {  # drawn as a share of the other, so that ratios are plausible
    "resident_households": "resident_population",
    "fixed_broadband_subscribers": "resident_households",
    "mobile_internet_subscribers": "resident_population",
    "online_retail_sales": "retail_sales",
    "electricity_consumption": "resident_population",
    "co2_emissions": "resident_population",
    "expenditure_education": "resident_population",
    "expenditure_environment": "budget_expenditure",
}
GAPS = {  # (province, year): variables that nobody reported
    ("540000", 2019): ("co2_emissions", "electricity_consumption", "forest_cover", "rd_expenditure"),
    ("310000", 2020): ("forest_cover",),
    ("630000", 2020): ("broadband_speed",),
    ("520000", 2019): ("co2_emissions", "rd_expenditure"),
    ("440000", 2019): ("online_retail_sales",),
}
OUTLIER = ("150000", 2020, "electricity_consumption", 9.0)


@dataclass(frozen=True)
class OwnHome(Home):
    """A lake run with copies of the reviewed files, to which the index was added."""

    methodology: Path = Settings.methodology

    @property
    def settings(self) -> Settings:
        return replace(super().settings, methodology=self.methodology)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"DEI_METHODOLOGY": str(self.methodology)}

    def copied(self, folder: Path) -> "OwnHome":
        """A copy of the lake and of its methodology, to edit."""
        return OwnHome(
            self.copy(folder / "lake").root,
            self.reference,
            Path(shutil.copytree(self.methodology, folder / "methodology")),
        )


def own_home(folder: Path, text: str | None = None) -> OwnHome:
    """An empty lake in a folder, with copies of the reviewed files and the index (or another text of its file)."""
    reference = Path(shutil.copytree(Settings.reference, folder / "reference"))
    methodology = Path(shutil.copytree(Settings.methodology, folder / "methodology"))
    for name, rows in (("variables.csv", VARIABLES), ("units.csv", UNITS)):
        with (reference / name).open("a", encoding="utf-8") as file:
            file.write(rows)
    put(methodology, f"{INDEX}.yaml", (text or FILE.read_text(encoding="utf-8")).encode())
    return OwnHome(folder / "lake", reference, methodology)


def finished_own(once: Callable[[str, Callable[[Home], None]], Home]) -> OwnHome:
    """The lake of the index after `dei ingest` and `dei run`, made once for all workers. Read only."""

    def build(home: Home) -> None:
        made = own_home(home.root)
        ingest_pages(made, home.root)
        result = made.invoke("run", "--select", f"index/{INDEX}_robustness", "--select", f"index/{INDEX}_ranks")
        assert result.exit_code == 0, result.output
        shutil.rmtree(made.root / ".dagster")

    folder = once("own", build).root
    return OwnHome(folder / "lake", folder / "reference", folder / "methodology")


def provinces(home: Home) -> list[str]:
    """Codes of the 31 provinces, in the order of the list."""
    listed = pl.read_csv(home.reference / "city_lists.csv", schema_overrides={"region_code": pl.String})
    return listed.filter(list_id="provinces_31")["region_code"].to_list()


def numbers(codes: list[str], years: tuple[int, ...] = YEARS) -> dict[tuple[str, int, str], float | None]:
    """Made-up values by province, year and variable; None where there is a gap."""
    rng = np.random.Generator(np.random.PCG64(20210))
    found: dict[tuple[str, int, str], float | None] = {}
    for variable, (middle, spread) in SIZES.items():
        base = TIED.get(variable)
        level = np.exp(rng.normal(0, spread if base is None else 0.25, len(codes)))
        if variable == "forest_cover":
            level[codes.index("110000")] = 1.5  # the province that others are measured by
        for year in years:
            drawn = middle * level * np.exp(rng.normal(0.03 * (year - 2019), 0.02, len(codes)))
            for at, code in enumerate(codes):
                value = float(drawn[at])
                if base is not None:
                    value *= (found[code, year, base] or 0.0) / SIZES[base][0]
                found[code, year, variable] = round(min(value, 95.0) if variable == "forest_cover" else value, 2)
    code, year, variable, factor = OUTLIER
    found[code, year, variable] = round((found[code, year, variable] or 0.0) * factor, 2)
    for (code, year), lacking in GAPS.items():
        if year not in years:
            continue
        found |= {(code, year, variable): None for variable in lacking}
    return found


def ingest_pages(home: Home, folder: Path, years: tuple[int, ...] = YEARS) -> None:
    """Fills in the templates of the years with `numbers` and takes them into the lake, by the commands."""
    codes = provinces(home)
    drawn = numbers(codes, years)
    for year in years:
        form = folder / f"form_{year}.xlsx"
        asked = home.invoke("template", "region-indicator", "--index", INDEX, "--year", str(year), "--out", str(form))
        assert asked.exit_code == 0, asked.output
        order = _columns(form)
        cells = {
            (0, f"{chr(66 + at)}{row}"): drawn[code, year, variable]
            for row, code in enumerate(codes, start=4)
            for at, variable in enumerate(order)
            if drawn[code, year, variable] is not None
        }
        put(folder / "pages", f"provinces_{year}.xlsx", filled(form, cells))
    taken = home.invoke("ingest", str(folder / "pages"), "--edition", "2021")
    assert taken.exit_code == 0, taken.output


def _columns(form: Path) -> list[str]:
    """The variables of a page, by the Chinese name at the head of each column."""
    from python_calamine import CalamineWorkbook

    head = CalamineWorkbook.from_path(str(form)).get_sheet_by_index(0).to_python()[2][1:]
    names = {row[1]: row[0] for row in _named()}
    return [names[str(text).split("(")[0]] for text in head]


def _named() -> list[tuple[str, str]]:
    known = pl.read_csv(Settings.reference / "variables.csv").select("variable", "name_zh").rows()
    return known + [tuple(line.split(",")[:2]) for line in VARIABLES.splitlines()]
