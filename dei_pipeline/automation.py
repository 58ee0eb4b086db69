"""Jobs, schedule and sensor: what runs together, and when."""

import datetime
import hashlib
import json
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from dei_pipeline.lake import Lake
from dei_pipeline.settings import Settings
from dei_pipeline.sources.received import manifest_versions
from dei_pipeline.tables import INPUT_LAYERS, ONLY_STALE_TAG, TableSpec


def jobs(specs: Sequence[TableSpec]) -> tuple[UnresolvedAssetJobDefinition, UnresolvedAssetJobDefinition]:
    """`refresh_inputs` (raw, staging, core: all years at once) and `refresh_year` (mart, index, release: by year)."""
    inputs = dg.AssetSelection.groups(*INPUT_LAYERS)
    outputs = dg.AssetSelection.groups(*sorted({spec.layer for spec in specs} - set(INPUT_LAYERS)))
    tags = {ONLY_STALE_TAG: "true"}
    return (
        dg.define_asset_job(
            "refresh_inputs",
            inputs,
            tags=tags,
            description="Read what was received: raw, staging, core; only what is stale.",
        ),
        dg.define_asset_job(
            "refresh_year",
            outputs,
            tags=tags,
            description="Marts, indices and release of a data year; only what is stale.",
        ),
    )


def yearly_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Mid-November, when the year's yearbooks are out: last year's data year. Off until switched on in the UI."""

    @dg.schedule(
        name="yearly_refresh",
        job=job,
        cron_schedule="0 3 15 11 *",
        execution_timezone="Asia/Shanghai",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="15 November 03:00 Shanghai: the data year before.",
    )
    def yearly_refresh(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        when = context.scheduled_execution_time or datetime.datetime.now(datetime.UTC)
        return dg.RunRequest(run_key=str(when.year), partition_key=str(when.year - 1))

    return yearly_refresh


def raw_sensor(job: UnresolvedAssetJobDefinition, settings: Settings) -> dg.SensorDefinition:
    """Sees files that `dei ingest` put into `raw`, and asks for `refresh_inputs`. Off until switched on in the UI."""

    @dg.sensor(
        name="new_files_in_raw",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Files ingested, withdrawn or described anew since the last look.",
    )
    def new_files_in_raw(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        held = manifest_versions(Lake(settings.lake))
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        changed = sorted(file for file in {*held, *seen} if held.get(file) != seen.get(file))
        if not changed:
            return dg.SkipReason(f"{len(held)} files, none new or changed")
        fingerprint = hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=fingerprint, tags={"dei/files": ",".join(changed[:5])})],
            cursor=json.dumps(held),
        )

    return new_files_in_raw
