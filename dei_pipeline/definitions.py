"""What Dagster loads: assets, checks, jobs, schedule, sensor over one lake."""

import warnings
from collections.abc import Callable

import dagster as dg

from dei_pipeline.assets import all_tables
from dei_pipeline.automation import jobs, raw_sensor, yearly_schedule
from dei_pipeline.checks import all_checks
from dei_pipeline.lake import Lake
from dei_pipeline.publish import LakeWriter, to_asset
from dei_pipeline.settings import Settings


def build_definitions(settings: Settings, announce: Callable[[str, str], None] = lambda *_: None) -> dg.Definitions:
    """The definitions over the lake that `settings` names.

    Args:
        settings: lake, reviewed files, executor.
        announce: told each table as it is done, for progress bars.
    """
    specs = all_tables(settings)
    inputs, year = jobs(specs)
    lake = Lake(settings.lake)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # backfill_policy; stderr is for errors
        assets = [to_asset(spec, settings, announce) for spec in specs]
    return dg.Definitions(
        assets=assets,
        asset_checks=all_checks(specs, settings),
        jobs=[inputs, year],
        schedules=[yearly_schedule(year)],
        sensors=[raw_sensor(inputs, settings)],
        resources={"lake": LakeWriter(lake)},
        executor=dg.in_process_executor if settings.executor == "in-process" else dg.multiprocess_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions over the lake of this process's settings (`DEI_*`)."""
    return build_definitions(Settings.load())
