"""`dei layout`: drafts get the name of their table, stay out of the live layouts, and are refused with a reason."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dei_pipeline.cli import main
from dei_pipeline.settings import Settings
from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.sketch import draft_layout

UNKNOWN = "名称,区域代码,人口\n石家庄市,130100,11235086\n唐山市,130200,7717983\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "citystat.csv"
    path.write_text(UNKNOWN, encoding="utf-8")
    return path


def layout(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(main, ["layout", *map(str, arguments)], env=environment)


def test_the_files_of_a_draft_are_named_after_its_table(page: Path, tmp_path: Path):
    result = layout(page, "--draft", tmp_path / "drafts")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "drafts").iterdir())
    assert names == ["source__page.csv", "source__page.yaml"]
    text = (tmp_path / "drafts" / "source__page.yaml").read_text("utf-8")
    assert "table: source__page" in text
    assert "名称" in text
    assert "区域代码" in text
    again = layout(page, "--draft", tmp_path / "drafts")
    assert again.exit_code == 1
    assert "source__page.yaml: is there already" in again.stderr


def test_a_draft_does_not_go_where_every_command_reads_it(page: Path, tmp_path: Path):
    reference = Path(shutil.copytree(Settings.reference, tmp_path / "reference"))
    before = sorted((reference / "layouts").iterdir())
    result = layout(page, "--draft", reference / "layouts", DEI_REFERENCE=str(reference))
    assert result.exit_code == 1
    assert "every command reads the layouts there" in result.stderr
    assert sorted((reference / "layouts").iterdir()) == before


def test_nothing_to_draft_is_said_and_nothing_is_written(tmp_path: Path):
    page = tmp_path / "text.csv"
    page.write_text("甲,乙\n丙,丁\n", encoding="utf-8")
    result = layout(page, "--draft", tmp_path / "drafts")
    assert result.exit_code == 1
    assert "text.csv: no table to draft a layout from: no row of headings above numbers" in result.stderr
    assert not (tmp_path / "drafts").exists()
    shown = layout(page)
    assert shown.exit_code == 0
    assert "# text.csv: no table to draft a layout from" in shown.stdout


def test_the_census_of_2020_is_drafted(real_data: Path):
    (page,) = (real_data / "city-population-census2020").glob("*.csv")
    cells = with_address(decode(page.read_bytes(), page.name).cells, "0" * 64)
    _, text, table = draft_layout(cells, {"file": page.name})
    assert "名称" in text
    assert "区域代码" in text
    assert table == "variable,unit,default\n?,?,人口\n"
