"""A run: what is stale, why, and the Dagster runs that bring it up to date."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dei_pipeline.assets import all_tables
from dei_pipeline.errors import DeiError
from dei_pipeline.lake import Lake
from dei_pipeline.settings import PROJECT, Settings
from dei_pipeline.tables import FIRST_YEAR, INPUT_LAYERS, ONLY_STALE_TAG, TableSpec, due_parts, why_stale

if TYPE_CHECKING:
    import dagster as dg

MAY_CHANGE = "what it reads may change"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAGSTER_YAML = """telemetry: {enabled: false}
nux: {enabled: false}
"""


@dataclass
class Report:
    """What a run did.

    Attributes:
        reasons: why each table was looked at.
        outcomes: what became of each: rows made, `unchanged`, or `skipped: …`.
        errors: one line for each failure.
        years: data years materialised from mart on.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    years: list[int] = field(default_factory=list)

    @property
    def success(self) -> bool:
        """Whether every step and every blocking check passed."""
        return not self.errors


def plan(
    lake: Lake, specs: Sequence[TableSpec], settings: Settings, years: Sequence[int], force: bool = False
) -> dict[str, str]:
    """Tables to look at with the reason: the stale ones, and those that read them."""
    reasons: dict[str, str] = {}
    for spec in specs:
        stale = "asked for" if force else _stale(lake, spec, settings, years)
        if stale is None and any(parent in reasons for parent in spec.parents):
            stale = MAY_CHANGE
        if stale:
            reasons[spec.key] = stale
    return reasons


def _stale(lake: Lake, spec: TableSpec, settings: Settings, years: Sequence[int]) -> str | None:
    parts = due_parts(lake, spec, settings, years)
    if spec.split and spec.split != "year" and set(lake.state(spec.key)["parts"]) - set(parts):
        return "files were withdrawn"
    for part in parts:
        reason = why_stale(lake, spec, settings, part)
        if reason:
            return f"{part}: {reason}" if spec.split == "year" else reason
    return None


def selected(specs: Sequence[TableSpec], keys: Iterable[str]) -> list[TableSpec]:
    """The tables named, with everything they are made from; all for no names.

    Raises:
        DeiError: a name is no table; lists the nearest.
    """
    by_key = {spec.key: spec for spec in specs}
    wanted = [key.replace(".", "/") for key in keys]
    for key in wanted:
        if key not in by_key:
            from rapidfuzz import process

            near = ", ".join(name for name, _, _ in process.extract(key, list(by_key), limit=3))
            raise DeiError(f"table «{key}» is unknown", f"near: {near}")
    if not wanted:
        return list(specs)
    found: set[str] = set()
    while wanted:
        key = wanted.pop()
        if key in by_key and key not in found:
            found.add(key)
            wanted.extend(by_key[key].parents)
    return [spec for spec in specs if spec.key in found]


def data_years(lake: Lake, settings: Settings) -> list[int]:
    """The years asked for, or every year that the observations have."""
    if settings.years:
        return list(settings.years)
    if not lake.exists("core/observations"):
        return []
    years = lake.scan("core/observations").select("year").unique().collect()["year"].to_list()
    return sorted(year for year in years if year >= FIRST_YEAR)


def run(
    settings: Settings,
    select: Sequence[str] = (),
    force: bool = False,
    started: Callable[[int], None] = lambda _: None,
    announce: Callable[[str, str], None] = lambda *_: None,
) -> Report:
    """Brings the lake up to date: first raw, staging and core, then marts, indices and release of each data year.

    Args:
        settings: lake, years, executor.
        select: tables to bring up to date, with what they are made from; all if empty.
        force: make everything again.
        started: told the number of tables of each stage, for a progress bar.
        announce: told `(table, outcome)` as each is done.
    """
    lake = Lake(settings.lake)
    lake.root.mkdir(parents=True, exist_ok=True)
    lake.sweep()
    specs = selected(all_tables(settings), select)
    stages = ([s for s in specs if s.layer in INPUT_LAYERS], [s for s in specs if s.layer not in INPUT_LAYERS])
    report = Report()
    for stage, members in enumerate(stages):
        if stage == 1:
            report.years = data_years(lake, settings)
            if not report.years:
                break
        reasons = plan(lake, members, settings, report.years, force)
        if not reasons:
            continue
        report.reasons |= reasons
        started(len(reasons))
        _execute(settings, list(reasons), report, force, announce)
        if not report.success:
            break
    return report


def instance(settings: Settings) -> "dg.DagsterInstance":
    """The Dagster instance of this lake, so that a run shows in its UI."""
    import dagster as dg

    home = settings.dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.is_file():
        config.write_text(DAGSTER_YAML, encoding="utf-8")
    return dg.DagsterInstance.from_config(str(home))


def _execute(
    settings: Settings, keys: Sequence[str], report: Report, force: bool, announce: Callable[[str, str], None]
) -> None:
    import dagster as dg

    from dei_pipeline.definitions import build_definitions

    def note(key: str, outcome: str) -> None:
        report.outcomes[key] = outcome
        announce(key, outcome)

    tags = {ONLY_STALE_TAG: "false" if force else "true"}
    if report.years:
        tags |= {
            "dagster/asset_partition_range_start": str(report.years[0]),
            "dagster/asset_partition_range_end": str(report.years[-1]),
        }
    selection = [dg.AssetKey(key.split("/")) for key in keys]
    with instance(settings) as home:
        if settings.executor == "in-process":
            job = build_definitions(settings, note).resolve_implicit_global_asset_job_def()
            result = job.execute_in_process(
                instance=home, asset_selection=selection, tags=tags, raise_on_error=False, run_config=QUIET
            )
            report.errors += _errors(result.all_events)
        else:
            settings.export()
            with dg.execute_job(
                dg.reconstructable(whole_job),
                instance=home,
                asset_selection=selection,
                tags=tags,
                raise_on_error=False,
                run_config=QUIET,
            ) as outcome:
                report.errors += _errors(outcome.all_events)
                for event in outcome.get_asset_materialization_events():
                    note("/".join(event.asset_key.path), "done")  # type: ignore[union-attr]


def whole_job() -> "dg.JobDefinition":
    """The job of all assets, for executors that load it in processes of their own."""
    from dei_pipeline.definitions import build_definitions

    return build_definitions(Settings.load()).resolve_implicit_global_asset_job_def()


def _errors(events: Iterable["dg.DagsterEvent"]) -> list[str]:
    found = []
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            stated = data.user_failure_data.description if data.user_failure_data else None
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            found.append(
                stated or (f"{event.step_key}: {error.message.strip()}" if error else f"{event.step_key}: failed")
            )
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if (
                not check.passed
                and check.blocking
                and check.severity.value == "ERROR"
                and check.check_name != "contract"
            ):
                rows, what = check.metadata.get("broken"), check.check_name.replace("_", " ")
                found.append(f"{'/'.join(check.asset_key.path)}: {what}: {rows.value if rows else '?'} rows break it")
    return list(dict.fromkeys(found))


def workspace() -> Path:
    """The workspace file of the checkout this package runs from."""
    return PROJECT / "workspace.yaml"


def ui_command(settings: Settings, port: int) -> list[str]:
    """The command that opens the Dagster UI over the lake."""
    return [sys.executable, "-m", "dagster", "dev", "-w", str(workspace()), "-h", "127.0.0.1", "-p", str(port)]
