"""`dbt_like_sql/checks/<sentence_that_should_hold>.sql`: a SELECT of the rows that break the sentence in its name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from dei_pipeline.contracts import read_yaml
from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.lake import Lake
from dei_pipeline.publish import as_table
from dei_pipeline.settings import Settings
from dei_pipeline.sql_models import select, tables_of
from dei_pipeline.tables import TableSpec

SHOWN = 10


@dataclass(frozen=True)
class Sentence:
    """A sentence that should hold: its SQL, the table it is about, how grave a breach is, and why the tolerance."""

    name: str
    table: str
    description: str
    severity: str
    tolerance: str
    sql: str


def load_sentences(settings: Settings) -> list[Sentence]:
    """The sentences of `dbt_like_sql/checks/` with what `_checks.yml` says about them.

    Raises:
        ReferenceFileError: a file without entry, an entry without file, an unknown severity.
    """
    folder = settings.sql / "checks"
    entries: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in read_yaml(folder / "_checks.yml")}
    files = {path.stem: path for path in folder.glob("*.sql")}
    if set(files) != set(entries):
        odd = sorted(set(files) ^ set(entries))[0]
        raise ReferenceFileError(f"checks: {odd} has no pair", "give each .sql an entry in _checks.yml")
    found = []
    for name, path in sorted(files.items()):
        entry = entries[name]
        if entry["severity"] not in ("error", "warn"):
            raise ReferenceFileError(f"_checks.yml: {name}: severity «{entry['severity']}»", "error or warn")
        key = entry["table"].replace(".", "/")
        found.append(
            Sentence(name, key, entry["description"], entry["severity"], entry["tolerance"], path.read_text("utf-8"))
        )
    return found


def broken_rows(lake: Lake, sentence: Sentence) -> pl.DataFrame | None:
    """The rows that break a sentence; None if the lake lacks a table it speaks of."""
    if not all(lake.exists(key) for key in tables_of(sentence.sql)):
        return None
    return select(sentence.sql, lake.read)


def sentence_checks(specs: Sequence[TableSpec], settings: Settings) -> list[dg.AssetChecksDefinition]:
    """The sentences as asset checks; blocking where a breach is an error."""
    keys = {spec.key for spec in specs}
    lake = Lake(settings.lake)
    checks = []
    for sentence in load_sentences(settings):
        if sentence.table not in keys:
            raise ReferenceFileError(f"_checks.yml: {sentence.name} is about {sentence.table}, which is no table")
        checks.append(_check(sentence, lake))
    return checks


def _check(sentence: Sentence, lake: Lake) -> dg.AssetChecksDefinition:
    error = sentence.severity == "error"

    @dg.asset_check(
        asset=dg.AssetKey(sentence.table.split("/")),
        name=sentence.name,
        blocking=error,
        description=f"{sentence.description} Tolerance: {sentence.tolerance}",
        additional_deps=[dg.AssetKey(key.split("/")) for key in tables_of(sentence.sql) if key != sentence.table],
    )
    def check() -> dg.AssetCheckResult:
        rows = broken_rows(lake, sentence)
        if rows is None:
            return dg.AssetCheckResult(
                passed=True, metadata={"not_applicable": "a table it speaks of is not in this lake"}
            )
        return dg.AssetCheckResult(
            passed=rows.is_empty(),
            severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
            metadata={"broken": rows.height, "rows": as_table(rows.head(SHOWN))},
        )

    return check
