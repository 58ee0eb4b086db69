"""A value that breaks the contract: a red run that writes nothing, and a repair that touches only what it must."""

import re

import dagster as dg
import polars as pl
import pytest

from dei_pipeline.definitions import build_definitions
from dei_pipeline.runs import QUIET
from tests.pipeline.homes import (
    POPULATION_2020,
    Home,
    below,
    population,
    replace_source,
    row_of,
)

VINTAGES = "core/observation_vintages"
CELL = "B9"  # Shanghai: six rows of title, note, unit and heading, Beijing, Tianjin


def negative(rows: list[list[object]]) -> None:
    rows[row_of(rows, "上海市")][1] = -5.0


def test_the_page_without_an_edit_is_the_one_in_the_lake(finished: Home):
    files = {row["file"]: row for row in finished.read("raw/manifests").to_dicts()}
    content = next((finished.lake.blobs() / files[POPULATION_2020]["sha256"]).glob("content*"))
    assert content.read_bytes() == population(2020)


@pytest.fixture(scope="module")
def story(finished: Home, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What happens to a lake into which a negative population is put, and which is then repaired."""
    folder = tmp_path_factory.mktemp("negative")
    home = finished.copy(folder / "lake")
    before = home.stamps()
    sha256 = replace_source(home, folder / "new", POPULATION_2020, population(2020, negative), "2021")
    red = home.dei("run")
    broken = home.stamps()
    replace_source(home, folder / "new", POPULATION_2020, population(2020), "2021")
    green = home.invoke("run")
    return {
        "home": home,
        "sha256": sha256,
        "before": before,
        "red": red,
        "broken": broken,
        "green": green,
        "after": home.stamps(),
    }


def test_the_run_is_red_and_says_where_in_one_line(story):
    red = story["red"]
    assert red.returncode == 1
    (line,) = red.stderr.splitlines()
    assert line.startswith(f"dei: {VINTAGES}: 1 contract failure(s)")
    assert "nothing was written" in line
    assert "found -5.0 (row 310000|2020|resident_population|2021)" in line
    assert re.search(rf": {re.escape(POPULATION_2020)}, sheet 2-1, cell {CELL}\b", line), line
    assert "1 failed" in red.stdout
    assert "top 10" not in red.stdout  # no ranking under a red run


def test_the_last_good_tables_are_untouched(story):
    specs = story["home"].specs()
    kept = {VINTAGES, *below(specs, VINTAGES)}
    assert {"core/observations", "mart/city_indicators", "index/dei_scores", "release/dei_ranking"} <= kept
    before, broken = story["before"], story["broken"]

    def of(stamps, tables):
        return {name: stamp for name, stamp in stamps.items() if any(f"{table}/" in name for table in tables)}

    assert of(before, kept)
    assert of(broken, kept) == of(before, kept)
    page = "staging/city_yearbook__population/part-0.parquet"
    assert broken[page].sha256 != before[page].sha256  # staging says what the source says


def test_the_repair_is_green_and_leaves_everything_as_it_was(story):
    green, before, after = story["green"], story["before"], story["after"]
    assert green.exit_code == 0, green.output
    assert green.stderr == ""
    differing = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    content = {name for name in differing if name not in after or after[name].sha256 != before[name].sha256}
    assert content == {"raw/manifests/part-0.parquet"}  # the file was received by hand this time
    judged = {name for name in differing if not name.startswith(("raw/", "staging/", "lineage/staging/"))}
    assert judged == set()
    assert story["home"].run().reasons == {}


def test_the_repair_reads_only_the_file_that_was_replaced(story):
    before, after = story["before"], story["after"]
    sha256 = next(name for name in before if name not in story["broken"]).split("sha256=")[1][:64]
    split = ("raw/cells/", "staging/pages/", "staging/page_cells/", "quarantine/staging/page_cells/")
    again = {n for n in before if n.startswith(split) and after[n] != before[n]}
    assert again
    assert {name.split("sha256=")[1][:64] for name in again} == {sha256}


def test_the_repair_writes_no_staging_table_of_another_layout(story):
    before, after = story["before"], story["after"]
    staging = {n for n in before if "staging/" in n and "staging/page" not in n and after[n] != before[n]}
    assert staging
    assert all("staging/city_yearbook__population/" in name for name in staging), sorted(staging)


def test_the_check_shows_the_failing_rows(finished: Home, tmp_path):
    home = finished.copy(tmp_path / "lake")
    replace_source(home, tmp_path / "new", POPULATION_2020, population(2020, negative), "2021")
    assert not home.run("staging/city_yearbook__population").errors
    job = build_definitions(home.settings).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        asset_selection=[dg.AssetKey(VINTAGES.split("/"))], raise_on_error=False, run_config=QUIET
    )
    (check,) = [c for c in result.get_asset_check_evaluations() if c.check_name == "contract"]
    assert not result.success
    assert not check.passed
    assert check.blocking
    assert check.metadata["failures"].value == 1
    (row,) = [record.data for record in check.metadata["rows"].records]
    assert row["failure_case"] == "-5.0"
    assert row["key"] == "310000|2020|resident_population|2021"
    assert row["place"] == f"{POPULATION_2020}, sheet 2-1, cell {CELL}"


def test_dei_check_finds_a_table_that_was_broken_behind_the_pipelines_back(finished: Home, tmp_path):
    home = finished.copy(tmp_path / "lake")
    path = home.lake.part_file("core/observations")
    negative_now = pl.col("value") * pl.when(pl.col("variable") == "resident_population").then(-1.0).otherwise(1.0)
    frame = pl.read_parquet(path).with_columns(negative_now)
    path.unlink()
    frame.write_parquet(path)
    result = home.invoke("check")
    assert result.exit_code == 1
    assert "ERROR contract core/observations" in result.stdout
    assert "value_within_bounds" in result.stdout
    assert home.invoke("check", "--lake", str(finished.root)).exit_code == 0
