"""Checks of every index as Dagster runs them and as `dei check` prints them, on right lakes and on broken ones."""

import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from dei_pipeline.assets import all_tables
from dei_pipeline.checks import all_checks, table_checks
from dei_pipeline.checks.series import COVERAGE_FLOOR, LARGEST_STEP, SERIES, series_checks
from dei_pipeline.definitions import build_definitions
from dei_pipeline.lake import Lake
from dei_pipeline.report import check_lines
from dei_pipeline.settings import Settings
from tests.lakes import demo_lake, settings_of

SPECS = all_tables(Settings())
CHECKS = {(check.table, check.name): check for check in table_checks({spec.key for spec in SPECS}, Settings())}
BY_NAME = {series.name: series for series in SERIES}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings over a copy of the demo lake."""
    return settings_of(Path(shutil.copytree(demo_lake().lake, tmp_path / "lake")))


def rewrite(settings: Settings, table: str, **columns: pl.Expr) -> None:
    """A table changed behind the pipeline's back."""
    for path in Lake(settings.lake).part_files(table).values():
        rows = pl.read_parquet(path).with_columns(**columns)
        path.unlink()
        rows.write_parquet(path)


def evaluate(settings: Settings, *tables: str) -> tuple[bool, dict[tuple[str, str], dg.AssetCheckEvaluation]]:
    """A run of the checks of some tables alone: whether it succeeded, and what each found."""
    chosen = dg.AssetSelection.checks_for_assets(*(dg.AssetKey(table.split("/")) for table in tables))
    own = chosen - dg.AssetSelection.checks(*(dg.AssetCheckKey(dg.AssetKey(t.split("/")), "contract") for t in tables))
    job = dg.define_asset_job("checks_alone", own)
    definitions = dg.Definitions.merge(build_definitions(settings), dg.Definitions(jobs=[job]))
    result = definitions.resolve_job_def("checks_alone").execute_in_process(raise_on_error=False)
    found = {(c.asset_key.to_user_string(), c.check_name): c for c in result.get_asset_check_evaluations()}
    return result.success, found


# -- as Dagster runs them ----------------------------------------------------------------------------------------------
def test_each_check_is_one_of_its_table_and_those_of_a_table_are_one_step():
    definitions = all_checks(SPECS, Settings())
    declared = [(spec.asset_key.to_user_string(), spec) for one in definitions for spec in one.check_specs]
    assert {(table, spec.name) for table, spec in declared} == set(CHECKS)
    assert len(declared) == len(CHECKS)
    assert len(definitions) == len({table for table, _ in CHECKS})
    for table, spec in declared:
        check = CHECKS[table, spec.name]
        assert spec.blocking == (check.severity == "error")
        assert spec.description == check.description
        assert {dep.asset_key.to_user_string() for dep in spec.additional_deps} == {*check.reads} - {table}


@pytest.mark.parametrize("index", ["dei", "deci"])
def test_every_index_has_its_invariants_checked(index: str):
    of_index = {name for table, name in CHECKS if table.startswith(f"index/{index}_")}
    assert len(of_index) >= 17
    assert set(BY_NAME) <= of_index
    blocking = {name for (table, name), check in CHECKS.items() if check.severity == "error"}
    assert of_index - blocking == set(BY_NAME)


def test_the_checks_of_right_tables_pass_and_count(settings: Settings):
    success, found = evaluate(settings, "index/dei_scores", "index/deci_ranks")
    assert success
    assert set(found) == {key for key in CHECKS if key[0] in ("index/dei_scores", "index/deci_ranks")}
    assert all(check.passed and check.metadata["broken"].value == 0 for check in found.values())


def test_a_broken_rank_of_another_index_blocks_and_the_other_checks_of_the_table_still_speak(settings: Settings):
    rewrite(settings, "index/deci_ranks", rank=pl.col("rank").max() + 1 - pl.col("rank"))
    success, found = evaluate(settings, "index/deci_ranks", "index/dei_ranks")
    assert not success
    broken = [key for key, check in found.items() if not check.passed]
    assert broken == [("index/deci_ranks", "ranks_follow_the_scores")]
    check = found[broken[0]]
    assert check.blocking
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert check.metadata["broken"].value > 0
    assert check.metadata["rows"].value.records
    assert found["index/deci_ranks", "tiers_partition_the_ranked_cities"].passed
    assert found["index/dei_ranks", "ranks_follow_the_scores"].passed


def test_a_check_of_tables_that_are_not_there_does_not_apply(tmp_path: Path):
    success, found = evaluate(settings_of(tmp_path / "lake"), "index/deci_types", "index/deci_ranks")
    assert success
    assert len(found) >= 5
    assert all(check.passed and "not_applicable" in check.metadata for check in found.values())


# -- as `dei check` prints them ----------------------------------------------------------------------------------------
def test_dei_check_prints_one_line_per_check_and_index(settings: Settings):
    lines, _ = check_lines(settings)
    for check in CHECKS.values():
        (line,) = [line for line in lines if line[6:].partition(":")[0] == check.what]
        assert line.startswith("ok    ") or (line.startswith("WARN  ") and check.severity == "warn"), line


def test_dei_check_counts_what_blocks_and_shows_a_row(settings: Settings):
    _, before = check_lines(settings)
    rewrite(settings, "index/deci_weights", weight=pl.col("weight") * 0.5)
    lines, after = check_lines(settings)
    (line,) = [line for line in lines if "deci_weights weights in force" in line]
    assert line.startswith("ERROR index/deci_weights weights in force of siblings sum to one: ")
    assert "rows, as ('deci', '2021', " in line
    assert after > before
    assert "ok    index/dei_weights weights in force of siblings sum to one" in lines


def test_dei_check_goes_on_where_a_table_has_other_columns(settings: Settings):
    path = Lake(settings.lake).part_file("core/framework")
    rows = pl.read_parquet(path).drop("aggregation")
    path.unlink()
    rows.write_parquet(path)
    lines, broken = check_lines(settings)
    assert broken
    assert any(line.startswith("ERROR contract core/framework") for line in lines)
    what = CHECKS["index/dei_scores", "parents_lie_between_their_children"].what
    assert f"n/a   {what}: core/framework has not the columns of its contract" in lines
    assert "ok    index/dei_ranks ranks follow the scores" in lines


# -- series ------------------------------------------------------------------------------------------------------------
def ranks(*rows: tuple[str, int, float | None]) -> pl.DataFrame:
    schema = {"region_code": pl.String, "year": pl.Int32, "score": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(ranked=pl.col("score").is_not_null())


def test_a_year_in_which_too_few_cities_are_ranked_is_found():
    cities = [f"{i:06}" for i in range(20)]
    most = [(city, 2020, 50.0 if i else None) for i, city in enumerate(cities)]  # 19 of 20: the floor itself
    fewer = [(city, 2021, 50.0 if i > 1 else None) for i, city in enumerate(cities)]
    found = BY_NAME["evaluated_cities_are_ranked"].beyond(ranks(*most, *fewer))
    assert COVERAGE_FLOOR == 19 / 20
    assert found.rows() == [(2021, 20, 18, 0.9)]


def test_a_score_that_jumps_from_one_year_to_the_next_is_found():
    found = BY_NAME["scores_do_not_jump"].beyond(
        ranks(
            ("a", 2019, 50.0),
            ("a", 2020, 50.0 + LARGEST_STEP),
            ("b", 2019, 50.0),
            ("b", 2020, 49.9 - LARGEST_STEP),
            ("c", 2018, 10.0),
            ("c", 2020, 90.0),
            ("d", 2019, None),
            ("d", 2020, 90.0),
            ("e", 2019, 10.0),
            ("e", 2020, 80.0),
        )
    )
    assert found.select("region_code", "year", "before", "score").rows() == [
        ("e", 2020, 10.0, 80.0),
        ("b", 2020, 50.0, 49.9 - LARGEST_STEP),
    ]


def test_the_series_of_every_index_warn_and_say_nothing_without_ranks(settings: Settings, tmp_path: Path):
    checks = series_checks({spec.key for spec in SPECS})
    assert {check.table for check in checks} >= {"index/dei_ranks", "index/deci_ranks"}
    assert {check.severity for check in checks} == {"warn"}
    assert [check.broken(Lake(tmp_path / "none")) for check in checks] == [None] * len(checks)
    rewrite(settings, "index/deci_ranks", score=pl.col("score") + 40 * (pl.col("year") == 2020), ranked=pl.lit(False))
    for check in checks:
        rows = check.broken(Lake(settings.lake))
        assert rows is not None
        assert rows.is_empty() == (check.table != "index/deci_ranks"), check.what
