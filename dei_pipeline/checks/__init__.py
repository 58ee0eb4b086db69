"""Asset checks: sentences in SQL, and comparisons of a table with something outside it."""

from collections.abc import Sequence

import dagster as dg

from dei_pipeline.checks.sentences import sentence_checks
from dei_pipeline.checks.series import continuity, coverage
from dei_pipeline.settings import Settings
from dei_pipeline.tables import TableSpec


def all_checks(specs: Sequence[TableSpec], settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Every check of the pipeline beside the contracts."""
    return [*sentence_checks(specs, settings), coverage(settings), continuity(settings)]
