"""Templates decode again and carry the header the readers expect."""

import io
import random
import re
import zipfile
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from dei_pipeline.errors import DeiError
from dei_pipeline.needs import template_context
from dei_pipeline.settings import Settings
from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.layouts import default_layouts, load_variables
from dei_pipeline.sources.templates import ASSESSMENT_HEADER, HELP_SHEET, write_template
from dei_pipeline.sources.workbook import Reading, read_file

REGIONS = pl.DataFrame({"region_code": ["110000", "440300"], "name_zh": ["北京市", "深圳市"]})
RUBRIC = pl.DataFrame(
    {
        "indicator_id": ["city_cloud_platform", "city_cloud_platform", "data_hub"],
        "checkpoint": ["city_cloud_platform.1", "city_cloud_platform.2", "data_hub.1"],
        "name_zh": ["已建成", "上云率60%以上", "有共享平台"],
        "points": [4.0, 3.5, 10.0],
    }
)
INDICATORS = pl.DataFrame({"name_zh": ["地区生产总值", "常住人口"], "unit": ["亿元", None], "name_en": ["GDP", None]})


def texts(path: Path, sheet: str) -> dict[str, str]:
    decoded = decode(path.read_bytes(), path.name)
    assert decoded.sheets == (sheet, HELP_SHEET)
    return dict(decoded.cells.filter(pl.col("sheet") == sheet).select("cell", "text").rows())


def sheet_xml(path: Path) -> str:
    return zipfile.ZipFile(io.BytesIO(path.read_bytes())).read("xl/worksheets/sheet1.xml").decode()


def test_region_indicator(tmp_path):
    path = write_template(
        "region-indicator", tmp_path / "新" / "表.xlsx", year=2020, indicators=INDICATORS, regions=REGIONS, unit="万人"
    )
    assert texts(path, "2020") == {
        "A1": "城市统计数据表(2020年)",
        "A2": "单位：万人",
        "A3": "地区",
        "B3": "地区生产总值(亿元)\nGDP",
        "C3": "常住人口",
        "A4": "北京市",
        "A5": "深圳市",
    }


def test_assessment(tmp_path):
    path = write_template(
        "assessment", tmp_path / "评.xlsx", year=2020, rubric=RUBRIC, regions=REGIONS, assessor="张三"
    )
    cells = texts(path, "2020")
    assert cells["A1"] == "城市数字经济评估打分表(2020年)"
    assert [cells[f"{column}3"] for column in "ABCDEFGHI"] == [label for label, _ in ASSESSMENT_HEADER]
    assert [label.split("\n")[0] for label, _ in ASSESSMENT_HEADER] == [
        "地区代码", "地区", "指标", "考察点编号", "考察点", "满分", "得分", "评估人", "证据",
    ]  # fmt: skip
    body = [[cells.get(f"{column}{row}") for column in "ABCDEFGHI"] for row in range(4, 10)]
    expected = [
        [code, name, *checkpoint[:3], f"{checkpoint[3]:g}", None, "张三", None]
        for code, name in REGIONS.rows()
        for checkpoint in RUBRIC.rows()
    ]
    assert body == expected
    assert not any(cell.endswith("10") for cell in cells)
    xml = sheet_xml(path)
    rule = re.search(r"<dataValidation .*?</dataValidation>", xml, re.S)
    assert rule is not None
    assert 'sqref="G4:G9"' in rule.group()
    assert "<formula1>0</formula1><formula2>$F4</formula2>" in rule.group()
    assert '<pane xSplit="2" ySplit="3"' in xml


def test_help_sheet_is_bilingual(tmp_path):
    path = write_template("assessment", tmp_path / "a.xlsx", year=2020, rubric=RUBRIC, regions=REGIONS)
    help_cells = decode(path.read_bytes(), "a.xlsx").cells.filter(pl.col("sheet") == HELP_SHEET)
    assert help_cells["text"].to_list()[:2] == ["填写说明", "How to fill in"]
    counts = help_cells.group_by("col").len().sort("col")["len"].to_list()
    assert counts[0] == counts[1] > 3


def test_wrong_kind_and_context(tmp_path):
    with pytest.raises(DeiError, match="ahp, assessment, companies, delphi, holdings, projects, region-indicator"):
        write_template("delfi", tmp_path / "a.xlsx")
    with pytest.raises(DeiError, match="rubric lacks points"):
        write_template("assessment", tmp_path / "a.xlsx", year=2020, rubric=RUBRIC.drop("points"), regions=REGIONS)
    with pytest.raises(DeiError, match="indicators"):
        write_template("region-indicator", tmp_path / "a.xlsx", year=2020, regions=REGIONS)
    assert not (tmp_path / "a.xlsx").exists()


# -- filled in ---------------------------------------------------------------------------------------------------------
SETTINGS = Settings()
VARIABLES = list(load_variables(SETTINGS.reference / "variables.csv"))


def filled(path: Path, first_column: int, last_column: int) -> tuple[Path, int]:
    """A copy of a template with a number in every cell of those columns below the header; how many were filled."""
    book, copy = CalamineWorkbook.from_path(str(path)), path.with_name("filled.xlsx")
    out, count = xlsxwriter.Workbook(str(copy)), 0
    for index, name in enumerate(book.sheet_names):
        sheet = out.add_worksheet(name)
        for r, row in enumerate(book.get_sheet_by_index(index).to_python(skip_empty_area=False)):
            sheet.write_row(r, 0, row)
            if index == 0 and r > 2:
                sheet.write_row(r, first_column, [1.5] * (last_column - first_column + 1))
                count += last_column - first_column + 1
    out.close()
    return copy, count


def reading_of(path: Path) -> Reading:
    cells = with_address(decode(path.read_bytes(), path.name).cells, "0" * 64)
    return read_file(cells, {"sha256": "0" * 64, "file": path.name}, default_layouts())


def subsets() -> list[list[str]]:
    draw = random.Random(0)
    return [*([v] for v in VARIABLES), VARIABLES, *(draw.sample(VARIABLES, draw.randint(2, 12)) for _ in range(20))]


@pytest.mark.parametrize("names", subsets(), ids=lambda names: f"{names[0]}+{len(names) - 1}")
def test_a_filled_in_page_of_any_variables_is_read_whole(tmp_path: Path, names: list[str]):
    context = template_context(SETTINGS, "region-indicator", "dei", 2020, names)
    context["regions"] = context["regions"].head(2)
    path, count = filled(write_template("region-indicator", tmp_path / "x.xlsx", **context), 1, len(names))
    reading = reading_of(path)
    assert reading.pages["layout"].to_list() == ["region_indicator__page", None]
    values = reading.page_cells.filter(pl.col("role") == "value")
    assert values.height == count == 2 * len(names)
    assert set(values["variable"]) == set(names)
    assert set(values["year"]) == {2020}
    assert reading.pages["n_quarantined"].sum() == 0


def test_a_filled_in_score_sheet_is_read_whole(tmp_path: Path):
    context = template_context(SETTINGS, "assessment", "dei", 2021, ())
    context["regions"] = context["regions"].head(3)
    path, count = filled(write_template("assessment", tmp_path / "x.xlsx", **context), 6, 6)
    reading = reading_of(path)
    assert reading.pages["layout"].to_list() == ["assessment__checkpoints", None]
    values = reading.page_cells.filter(pl.col("role") == "value")
    assert values.height == count == 3 * context["rubric"].height
    assert set(values["item"]) == set(context["rubric"]["checkpoint"])
    assert set(values["year"]) == {2021}
    assert reading.pages["n_quarantined"].sum() == 0
