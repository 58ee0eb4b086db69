"""A run: what is stale, why, and the Dagster runs that bring it up to date."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dei_pipeline.assets import all_tables
from dei_pipeline.errors import DeiError
from dei_pipeline.lake import Lake
from dei_pipeline.methods.framework import load_all
from dei_pipeline.settings import PROJECT, Settings
from dei_pipeline.sources.ingest import register_published
from dei_pipeline.tables import FIRST_YEAR, INPUT_LAYERS, ONLY_STALE_TAG, TableSpec, due_parts, why_stale

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableJob

YEARLY = ("core/observations", "core/controlled_companies")  # whose years marts and indices are made of
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Report:
    """What a run did.

    Attributes:
        reasons: why each table was looked at.
        outcomes: what became of each: rows made, `unchanged`, or `skipped: …`.
        errors: one line for each failure.
        warnings: one line for each check that failed without blocking.
        years: data years materialised from mart on.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
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
            stale = f"reads {next(parent for parent in spec.parents if parent in reasons)}"
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
    """The years asked for with the base years of the editions, or every year that core has data of.

    Raises:
        DeiError: a year asked for has neither observations nor controlled companies.
    """
    held = [lake.scan(key).select("year").unique().collect()["year"] for key in YEARLY if lake.exists(key)]
    years = {year for part in held for year in part if year >= FIRST_YEAR}
    if not years:
        return []
    if not settings.years:
        return sorted(years)
    strange = sorted(set(settings.years) - years)
    if strange:
        raise DeiError(f"no data of {strange[0]} in the lake", f"years with data: {min(years)}–{max(years)}")
    return sorted({*settings.years, *(base_years(settings) & years)})


def base_years(settings: Settings) -> set[int]:
    """The data years that thresholds are computed from, by the framework files."""
    return {framework.base_year for framework in load_all(settings.methodology)}


def spans(years: Sequence[int], first: set[int]) -> list[list[int]]:
    """The years as unbroken spans, those with a year of `first` before the others."""
    found: list[list[int]] = []
    for year in sorted(years):
        if found and found[-1][-1] == year - 1:
            found[-1].append(year)
        else:
            found.append([year])
    return sorted(found, key=lambda span: not first & set(span))


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
    register_published(lake, settings.reference)
    specs = selected(all_tables(settings), select)
    report = Report()
    inputs = [spec for spec in specs if spec.layer in INPUT_LAYERS]
    outputs = [spec for spec in specs if spec.layer not in INPUT_LAYERS]

    def bring(members: Sequence[TableSpec], years: list[int]) -> bool:
        reasons = plan(lake, members, settings, years, force)
        if reasons:
            report.reasons = reasons | report.reasons
            started(len(reasons))
            _execute(settings, list(reasons), years, report, force, announce)
        return report.success

    if bring(inputs, []) and outputs:
        report.years = data_years(lake, settings)
        pieces = spans(report.years, base_years(settings))
        for _ in range(len(pieces) + 1):  # a table over the panel makes the spans before it stale
            for span in pieces:
                if not bring(outputs, span):
                    return report
            force = False
            if len(pieces) == 1 or not any(plan(lake, outputs, settings, span) for span in pieces):
                break
    return report


def _execute(
    settings: Settings,
    keys: Sequence[str],
    years: Sequence[int],
    report: Report,
    force: bool,
    announce: Callable[[str, str], None],
) -> None:
    import dagster as dg

    from dei_pipeline.definitions import build_definitions
    from dei_pipeline.instance import instance

    def note(key: str, outcome: str) -> None:
        if outcome != "unchanged" or key not in report.outcomes:
            report.outcomes[key] = outcome
        announce(key, outcome)

    tags = {ONLY_STALE_TAG: "false" if force else "true"}
    if years:
        tags |= {
            "dagster/asset_partition_range_start": str(years[0]),
            "dagster/asset_partition_range_end": str(years[-1]),
        }
    selection = [dg.AssetKey(key.split("/")) for key in keys]
    with instance(settings) as home:
        if settings.executor == "in-process":
            job = build_definitions(settings, note).resolve_implicit_global_asset_job_def()
            result = job.execute_in_process(
                instance=home, asset_selection=selection, tags=tags, raise_on_error=False, run_config=QUIET
            )
            _tell(result.all_events, report)
        else:
            settings.export()
            with dg.execute_job(
                whole_job(),
                instance=home,
                asset_selection=selection,
                tags=tags,
                raise_on_error=False,
                run_config=QUIET,
            ) as outcome:
                _tell(outcome.all_events, report)
                for event in outcome.get_asset_materialization_events():
                    note("/".join(event.asset_key.path), "done")  # type: ignore[union-attr]


def whole_job() -> "ReconstructableJob":
    """The job of all assets as other processes can load it: by the name of the module that declares it."""
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    declared = ReconstructableRepository.for_module("dei_pipeline.definitions", "defs", working_directory=str(PROJECT))
    return declared.get_reconstructable_job("__ASSET_JOB")


def _tell(events: Iterable["dg.DagsterEvent"], report: Report) -> None:
    """Adds failed steps and broken checks to the report: errors where they block, warnings otherwise."""
    for event in events:
        line, error = None, True
        if event.is_step_failure:
            line = _failure(event)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if not check.passed and check.check_name != "contract":
                rows, what = check.metadata.get("broken"), check.check_name.replace("_", " ")
                count = f": {rows.value} rows break it" if rows else ""
                line = f"{'/'.join(check.asset_key.path)}: {what}{count}"
                error = bool(check.blocking) and check.severity.value == "ERROR"
        told = report.errors if error else report.warnings
        if line and line not in told:
            told.append(line)


def _failure(event: "dg.DagsterEvent") -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.message.strip() if error else 'failed'}"


def workspace() -> Path:
    """The workspace file of the checkout this package runs from."""
    return PROJECT / "workspace.yaml"


def ui_command(settings: Settings, port: int) -> list[str]:
    """The command that opens the Dagster UI over the lake."""
    return [sys.executable, "-m", "dagster", "dev", "-w", str(workspace()), "-h", "127.0.0.1", "-p", str(port)]
