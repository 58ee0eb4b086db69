"""Every table of the pipeline: Python tables, SQL models of `dbt_like_sql/`, staging tables of the layouts."""

from dei_pipeline.assets import core, index, ownership, policy, raw, release, staging
from dei_pipeline.lake import LAYERS
from dei_pipeline.settings import Settings
from dei_pipeline.sql_models import load_models, mart_grains
from dei_pipeline.tables import TableSpec


def all_tables(settings: Settings) -> list[TableSpec]:
    """Every table, parents before children.

    Raises:
        ReferenceFileError: a layout, model or contract is wrong.
    """
    pages = staging.tables(settings)
    base = [*raw.TABLES, *pages, *core.tables([spec.key for spec in pages]), *policy.TABLES, *ownership.TABLES]
    grains = {spec.key: spec.contract.grain for spec in base} | mart_grains(settings)
    python = [*base, *index.tables(settings, grains), *release.tables(settings)]
    models = load_models(settings, {spec.key: spec.contract.grain for spec in python})
    return in_order([*python, *models])


def in_order(specs: list[TableSpec]) -> list[TableSpec]:
    """The tables in an order in which each comes after its parents; layers stay together."""
    waiting = sorted(specs, key=lambda spec: LAYERS.index(spec.layer))
    keys = {spec.key for spec in waiting}
    done: dict[str, TableSpec] = {}
    while waiting:
        ready = next(s for s in waiting if all(parent in done or parent not in keys for parent in s.parents))
        done[ready.key] = ready
        waiting.remove(ready)
    return list(done.values())
