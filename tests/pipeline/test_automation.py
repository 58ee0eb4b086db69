"""What Dagster loads and does on its own: jobs, schedule, sensor, checks, backfills, executors."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dei_pipeline.assets import all_tables
from dei_pipeline.checks import table_checks
from dei_pipeline.definitions import build_definitions
from dei_pipeline.lake import Lake
from dei_pipeline.publish import YEARS
from dei_pipeline.settings import PROJECT, Settings
from dei_pipeline.sources.ingest import register_published, withdraw
from dei_pipeline.tables import INPUT_LAYERS
from tests.lakes import demo_lake, receive_demo, settings_of

DEFINITIONS = build_definitions(Settings())
REPOSITORY = DEFINITIONS.get_repository_def()
GRAPH = DEFINITIONS.resolve_asset_graph()
TABLES = {spec.key: spec for spec in all_tables(Settings())}


def keys_of(job: str) -> set[str]:
    nodes = DEFINITIONS.resolve_job_def(job).asset_layer.executable_asset_keys
    return {key.to_user_string() for key in nodes}


def run(*arguments: str, lake: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command of its own process, over a lake, with nothing of this process's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEI_", "DAGSTER"))}
    environment = kept | {"PYTHONPATH": str(PROJECT)} | ({"DEI_LAKE": str(lake)} if lake else {})
    return subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )


# -- what is declared --------------------------------------------------------------------------------------------------
def test_refresh_inputs_and_refresh_year_share_all_tables_between_them():
    inputs, year = keys_of("refresh_inputs"), keys_of("refresh_year")
    assert inputs == {key for key in TABLES if key.split("/")[0] in INPUT_LAYERS}
    assert inputs | year == set(TABLES)
    assert not inputs & year


def test_the_year_job_runs_by_year_and_the_input_job_does_not():
    assert DEFINITIONS.resolve_job_def("refresh_year").partitions_def == YEARS
    assert DEFINITIONS.resolve_job_def("refresh_inputs").partitions_def is None


def test_the_partitions_are_the_years_up_to_this_one():
    now = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
    keys = YEARS.get_partition_keys(now)
    assert keys[0] == "1990"
    assert keys[-1] == "2026"


def test_steps_run_in_this_process_unless_told_otherwise():
    assert DEFINITIONS.executor is dg.in_process_executor
    assert build_definitions(Settings(executor="multiprocess")).executor is dg.multiprocess_executor


def test_a_sentence_that_is_an_error_blocks_and_one_that_warns_does_not():
    keys = [key for key in GRAPH.asset_check_keys if key.name != "contract"]
    declared = {(key.asset_key.to_user_string(), key.name): GRAPH.get_check_spec(key) for key in keys}
    checks = {(check.table, check.name): check for check in table_checks(TABLES, Settings())}
    assert set(declared) == set(checks)
    for key, check in checks.items():
        assert declared[key].blocking == (check.severity == "error"), key
        assert check.description == declared[key].description
    warn = {name for (_, name), check in checks.items() if check.severity == "warn"}
    assert {"evaluated_cities_are_ranked", "scores_do_not_jump"} <= warn


def test_every_contract_check_blocks():
    contracts = [GRAPH.get_check_spec(key) for key in GRAPH.asset_check_keys if key.name == "contract"]
    assert len(contracts) == len(TABLES)
    assert all(spec.blocking and spec.description for spec in contracts)


def test_building_the_definitions_warns_of_nothing():
    done = run("-W", "always", "-c", "import dei_pipeline.definitions as d; d.defs().resolve_asset_graph()")
    ours = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert done.returncode == 0
    assert ours == []


def test_dagster_finds_the_workspace_valid(tmp_path):
    done = run("-m", "dagster", "definitions", "validate", "-w", "workspace.yaml", lake=tmp_path / "lake")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "dei_pipeline" in done.stdout + done.stderr


# -- schedule ----------------------------------------------------------------------------------------------------------
def test_the_schedule_is_off_and_asks_for_the_data_year_before():
    schedule = DEFINITIONS.get_schedule_def("yearly_refresh")
    assert schedule.cron_schedule == "0 3 15 11 *"
    assert schedule.execution_timezone == "Asia/Shanghai"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.job_name == "refresh_year"
    for year in (2021, 2026):
        when = datetime.datetime(year, 11, 15, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=8)))
        context = dg.build_schedule_context(scheduled_execution_time=when, repository_def=REPOSITORY)
        (request,) = schedule.evaluate_tick(context).run_requests
        assert request.partition_key == str(year - 1)
        assert request.run_key == str(year)


# -- sensor ------------------------------------------------------------------------------------------------------------
class Sensor:
    """The sensor over a lake, with its cursor from tick to tick."""

    def __init__(self, root: Path) -> None:
        self.sensor = build_definitions(settings_of(root)).get_sensor_def("new_files_in_raw")
        self.cursor: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        with dg.instance_for_test() as instance:
            result = self.sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=self.cursor))
        self.cursor = result.cursor or self.cursor
        return list(result.run_requests)


def test_the_sensor_asks_once_for_new_files_and_again_when_one_is_withdrawn(tmp_path):
    root = tmp_path / "lake"
    sensor = Sensor(root)
    assert sensor.sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.sensor.job_name == "refresh_inputs"
    assert sensor.tick() == []  # nothing there, nothing asked

    received = receive_demo(root, 3, [2020])
    (first,) = sensor.tick()
    assert len(json.loads(sensor.cursor)) == received
    assert sensor.tick() == []  # unchanged

    register_published(Lake(root), Settings().reference)
    (second,) = sensor.tick()
    gone = withdraw(Lake(root), "评估/打分表_2020.xlsx")
    (third,) = sensor.tick()
    assert gone[0]["sha256"][:12] in third.tags["dei/files"]
    assert len({first.run_key, second.run_key, third.run_key}) == 3
    assert sensor.tick() == []


def test_the_sensor_does_not_see_a_file_that_is_still_being_copied(tmp_path):
    root = tmp_path / "lake"
    receive_demo(root, 3, [2020])
    sensor = Sensor(root)
    sensor.tick()
    (Lake(root).blobs() / ".0123456789ab.1.aaaa.tmp").mkdir()
    assert sensor.tick() == []


# -- runs as the UI starts them ----------------------------------------------------------------------------------------
def launch(settings: Settings, job: str | None, years: tuple[int, int] | None, instance: dg.DagsterInstance):
    """A run of a job (None: of all assets) over a range of years, as the UI and a single-run backfill start it."""
    definitions = build_definitions(settings)
    found = definitions.resolve_job_def(job) if job else definitions.resolve_implicit_global_asset_job_def()
    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    tags = dict(zip(names, map(str, years), strict=True)) if years else {}
    return found.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


class Launched:
    """A lake that Dagster filled: inputs first, then 2019 and 2020 as one backfill; what each run said."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.settings, self.lake, self.instance = settings_of(root), Lake(root), instance
        receive_demo(root, 12, [2019, 2020])
        self.inputs = launch(self.settings, "refresh_inputs", None, instance)
        self.years = launch(self.settings, "refresh_year", (2019, 2020), instance)
        self.runs = len(instance.get_runs())


@pytest.fixture(scope="module")
def launched(tmp_path_factory) -> Iterator[Launched]:
    with dg.instance_for_test() as instance:
        yield Launched(tmp_path_factory.mktemp("launched") / "lake", instance)


def events_of(result, key: str) -> dict[str, dg.AssetMaterialization]:
    return {event.partition: event for event in result.asset_materializations_for_node(key.replace("/", "__"))}


def test_a_backfill_over_years_is_one_run_that_records_each_year(launched):
    assert launched.inputs.success
    assert launched.years.success
    assert launched.runs == 2
    assert set(events_of(launched.years, "release/dei_ranking")) == {"2019", "2020"}
    assert set(events_of(launched.years, "index/thresholds")) == {None}


@pytest.mark.parametrize("key", ["release/dei_ranking", "release/cluster_scores", "index/dei_scores"])
def test_a_backfill_writes_what_the_methods_give_without_dagster(launched, key):
    assert set(launched.lake.part_files(key)) == {"2019", "2020"}
    assert launched.lake.read(key, [2019, 2020]).equals(Lake(demo_lake().lake).read(key, [2019, 2020]))


def test_the_metadata_of_a_year_counts_the_rows_of_that_year(launched):
    events = events_of(launched.years, "release/dei_ranking")
    counts = {year: event.metadata["dagster/row_count"].value for year, event in events.items()}
    assert counts == {"2019": 12, "2020": 12}


def test_the_checks_of_a_run_are_recorded_with_what_they_counted(launched):
    found = {(c.asset_key.to_user_string(), c.check_name): c for c in launched.years.get_asset_check_evaluations()}
    sentence = found["index/dei_scores", "contributions_add_up_to_the_composite"]
    assert sentence.passed
    assert sentence.metadata["broken"].value == 0
    assert found["index/dei_scores", "contract"].metadata["rows"].value == 2 * 12 * 63
    published = found["release/published_comparison", "published_cluster_scores_are_reproduced"]
    assert not published.passed  # twelve cities do not make the clusters of the report
    assert published.severity == dg.AssetCheckSeverity.WARN


def test_a_year_that_is_made_again_alone_leaves_the_others_untouched(launched):
    before = launched.lake.part_file("release/dei_ranking", "2019", "year").stat()
    job = build_definitions(launched.settings).resolve_job_def("refresh_year")
    assert job.execute_in_process(instance=launched.instance, partition_key="2020").success
    after = launched.lake.part_file("release/dei_ranking", "2019", "year").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_year_without_data_is_skipped_and_says_so(launched):
    result = launch(launched.settings, "refresh_year", (1999, 1999), launched.instance)
    assert result.success, [event.message for event in result.all_events if event.is_failure]
    record = launched.lake.state("release/dei_ranking")["parts"]["1999"]
    assert record["skipped"]
    assert set(launched.lake.part_files("release/dei_ranking")) == {"2019", "2020"}


def test_everything_on_an_empty_lake_succeeds_with_the_published_tables_alone(tmp_path):
    settings = settings_of(tmp_path / "lake")
    with dg.instance_for_test() as instance:
        result = launch(settings, None, (2020, 2020), instance)
    assert result.success, [event.message for event in result.all_events if event.is_failure]
    failed = {event.check_name: event for event in result.get_asset_check_evaluations() if not event.passed}
    assert all(check.severity == dg.AssetCheckSeverity.WARN for check in failed.values())
    lake = Lake(settings.lake)
    summary = lake.read("release/tier_summary").sort("mean_score", descending=True)
    assert summary["basis"].unique().to_list() == ["published"]
    assert summary["cities"].to_list() == [6, 47, 71, 88, 30]
    assert "no page" in (lake.skipped("staging/city_panel__gdp") or "")
    assert lake.skipped("release/dei_ranking")


def test_steps_in_processes_of_their_own_write_the_same_tables(tmp_path):
    """Each step starts Python anew, so only a short way through the graph: received files to pages."""
    lake = tmp_path / "lake"
    receive_demo(lake, 12, [2020])
    selected = ["--select", "staging/pages", "--executor", "multiprocess"]
    done = run("-m", "dei_pipeline.cli", "run", "--years", "2020", *selected, "--lake", str(lake))
    assert done.returncode == 0, done.stderr[-2000:]
    once, alone = Lake(lake), Lake(demo_lake(12, (2020,)).lake)
    for key in ("raw/manifests", "staging/pages"):
        assert once.read(key).drop("file").equals(alone.read(key).drop("file")), key
    assert "3 made" in done.stdout


def test_a_run_says_nothing_on_standard_error_when_all_is_well(tmp_path):
    lake = tmp_path / "lake"
    receive_demo(lake, 3, [2020])
    done = run("-m", "dei_pipeline.cli", "run", "--select", "core/zones", "--lake", str(lake))
    assert (done.returncode, done.stderr) == (0, "")
