"""Asset checks beside the contracts: sentences in SQL, and the series of what is published."""

from collections.abc import Collection, Sequence

import dagster as dg

from dei_pipeline.checks.sentences import for_every_index, load_sentences, sentence_check
from dei_pipeline.checks.series import series_checks
from dei_pipeline.checks.table_check import TableCheck, as_asset_checks
from dei_pipeline.lake import Lake
from dei_pipeline.settings import Settings
from dei_pipeline.tables import TableSpec


def table_checks(tables: Collection[str], settings: Settings) -> list[TableCheck]:
    """Every check of some tables (`layer/table`) beside their contracts, sentences first."""
    sentences = for_every_index(load_sentences(settings), tables)
    return [*(sentence_check(sentence) for sentence in sentences), *series_checks(tables)]


def all_checks(specs: Sequence[TableSpec], settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Every check beside the contracts, as Dagster runs them."""
    return as_asset_checks(table_checks({spec.key for spec in specs}, settings), Lake(settings.lake))
