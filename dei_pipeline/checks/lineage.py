"""Every lineage edge leads to a row that exists, and every row of a derived table has one."""

from collections.abc import Sequence

import polars as pl

from dei_pipeline.lake import Lake
from dei_pipeline.provenance import row_key
from dei_pipeline.tables import TableSpec

OUTSIDE = ("reference/", "methodology/")


def dangling(lake: Lake, specs: Sequence[TableSpec]) -> list[str]:
    """One line per table and parent whose edges lead nowhere, and per table with rows without lineage."""
    found = []
    grains = {spec.key: spec.contract.grain for spec in specs}
    keys: dict[str, pl.DataFrame] = {}

    def rows(table: str) -> pl.DataFrame:
        if table not in keys:
            keys[table] = lake.scan(table).select(row_key(grains[table]).alias("key")).collect(engine="in-memory")
        return keys[table]

    for spec in specs:
        if spec.contract.lineage == "source" or not lake.exists(spec.key):
            continue
        edges = (
            lake.scan(spec.key, side="lineage")
            .select("child_key", "parent_table", "parent_key")
            .collect(engine="in-memory")
        )
        bare = rows(spec.key).join(edges, left_on="key", right_on="child_key", how="anti").height
        if bare:
            found.append(f"{spec.key}: {bare} rows without lineage")
        for (parent,), part in edges.partition_by("parent_table", as_dict=True).items():
            name = str(parent)
            if name.startswith(OUTSIDE):
                continue
            if name not in grains or not lake.exists(name):
                found.append(f"{spec.key}: {part.height} edges to {name}, which is not in the lake")
                continue
            lost = part.join(rows(name), left_on="parent_key", right_on="key", how="anti")
            if lost.height:
                found.append(f"{spec.key}: {lost.height} edges to {name} lead nowhere, as {lost['parent_key'][0]}")
    return found
