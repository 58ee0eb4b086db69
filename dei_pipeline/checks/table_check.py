"""A check of one table: what `dei check` prints and what Dagster runs are made from the same declaration."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import dagster as dg
import polars as pl

from dei_pipeline.lake import Lake
from dei_pipeline.publish import as_table

SHOWN = 10


@dataclass(frozen=True)
class TableCheck:
    """A statement about a table.

    Attributes:
        name: the statement, words joined by `_`.
        table: the table it is about, `layer/table`; one may check several tables under one name.
        description: the statement in full, with its tolerance.
        severity: `error` (blocks what is made from the table) or `warn`.
        reads: every table it reads.
        broken: the rows that break it; None if the lake lacks a table it reads.
    """

    name: str
    table: str
    description: str
    severity: str
    reads: tuple[str, ...]
    broken: Callable[[Lake], pl.DataFrame | None]

    @property
    def what(self) -> str:
        """Table and statement in words."""
        return f"{self.table} {self.name.replace('_', ' ')}"

    def line(self, lake: Lake) -> tuple[str, bool]:
        """What it found in one line, and whether that blocks."""
        rows = self.broken(lake)
        if rows is None:
            return f"n/a   {self.what}: not in this lake", False
        if rows.is_empty():
            return f"ok    {self.what}", False
        return f"{self.severity.upper():5} {self.what}: {rows.height} rows, as {rows.row(0)}", self.severity == "error"

    def result(self, lake: Lake) -> dg.AssetCheckResult:
        """What it found, as Dagster records it."""
        rows = self.broken(lake)
        if rows is None:
            found: dict[str, Any] = {"not_applicable": "a table it speaks of is not in this lake"}
        else:
            found = {"broken": rows.height, "rows": as_table(rows.head(SHOWN))}
        return dg.AssetCheckResult(
            asset_key=asset_key(self.table),
            check_name=self.name,
            passed=rows is None or rows.is_empty(),
            severity=dg.AssetCheckSeverity.ERROR if self.severity == "error" else dg.AssetCheckSeverity.WARN,
            metadata=found,
        )


def asset_key(table: str) -> dg.AssetKey:
    """The asset of a table."""
    return dg.AssetKey(table.split("/"))


def as_asset_checks(checks: Sequence[TableCheck], lake: Lake) -> list[dg.AssetChecksDefinition]:
    """The checks as Dagster runs them: those of a table in one step, each reported by itself."""
    ordered = sorted(checks, key=lambda check: check.table)
    return [_of_table(list(of_table), lake) for _, of_table in groupby(ordered, key=lambda check: check.table)]


def _of_table(checks: Sequence[TableCheck], lake: Lake) -> dg.AssetChecksDefinition:
    table = checks[0].table
    specs = [
        dg.AssetCheckSpec(
            check.name,
            asset=asset_key(table),
            description=check.description,
            blocking=check.severity == "error",
            additional_deps=[asset_key(key) for key in check.reads if key != table],
        )
        for check in checks
    ]

    @dg.multi_asset_check(name=f"{table.replace('/', '__')}__checks", specs=specs, can_subset=True)
    def of_table(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        chosen = {key.name for key in context.selected_asset_check_keys}
        for check in checks:
            if check.name in chosen:
                yield check.result(lake)

    return of_table
