"""What some rows of the lake were made from: stored lineage edges followed down, and the rows they lead to."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from dei_pipeline.errors import LakeError
from dei_pipeline.lake import WHOLE, Lake
from dei_pipeline.methods.index_tables import THRESHOLDS
from dei_pipeline.provenance import EDGE_SCHEMA, KEY_SEPARATOR, parents_of, places, row_key

OBSERVATIONS = "core/observations"
VINTAGES = "core/observation_vintages"
PANELS = "core/delphi_scores"
IN_VAIN = "in_vain"  # role of what was searched without finding anything


@dataclass(frozen=True)
class Edge:
    """One step down: the parent row, its role, and the coefficient where the step is linear."""

    table: str
    key: str
    role: str
    coefficient: float | None


class Downward:
    """The lineage below some rows of one year, collected level by level (one read per table and level).

    Attributes:
        edges: `(table, key)` -> its edges to parents.
        tables: every table that an edge leads from or to.
    """

    def __init__(self, lake: Lake, starts: Iterable[tuple[str, str]], year: int) -> None:
        """Collects the edges.

        What rests on every region is not looked below: the parents of a threshold, the donors of a leaf of an index and
        what was searched in vain are named only, and the edges of weights are not read.

        Args:
            lake: the lake.
            starts: table and key of the rows.
            year: data year; of tables split by year its part is read first.
        """
        self.lake, self.year = lake, str(year)
        self.edges: dict[tuple[str, str], list[Edge]] = {}
        self.tables: dict[str, None] = {}
        frontier: dict[str, set[str]] = defaultdict(set)
        for table, key in starts:
            frontier[table].add(key)
        while frontier:
            following: dict[str, set[str]] = defaultdict(set)
            for name, wanted in frontier.items():
                fresh = [key for key in wanted if (name, key) not in self.edges]
                self.edges.update({(name, key): [] for key in fresh})
                self.tables[name] = None
                for child, parent, key, role, coefficient in self._read(name, fresh).iter_rows():
                    self.edges[name, child].append(Edge(parent, key, role, coefficient))
                    self.tables[parent] = None
                    donor = role == "donor" and name.startswith("index/")
                    if name != THRESHOLDS and role != IN_VAIN and not donor:
                        following[parent].add(key)
            frontier = following

    def _read(self, table: str, keys: list[str]) -> pl.DataFrame:
        """The edges of some rows; of another year's part for rows that the year's part does not hold."""
        weights = table.startswith("index/") and table.endswith("_weights")
        files = {} if weights else self.lake.part_files(table, "lineage")
        if not files or not keys:
            return pl.DataFrame(schema=EDGE_SCHEMA)
        if WHOLE in files:
            return parents_of(self.lake, table, keys)
        found = parents_of(self.lake, table, keys, [self.year])
        lost = set(keys) - set(found["child_key"])
        others = [part for part in files if part != self.year and any(part in k.split(KEY_SEPARATOR) for k in lost)]
        return pl.concat([found, parents_of(self.lake, table, lost, others)]) if others else found

    def of(self, table: str, key: str, *roles: str) -> list[Edge]:
        """The edges of a row, those of some roles if any are named."""
        return [edge for edge in self.edges.get((table, key), ()) if not roles or edge.role in roles]

    def reach(self, table: str, key: str, targets: Collection[str], beside: Collection[str] = ()) -> list[Edge]:
        """Edges to rows of `targets` below a row, nearest first; not below those, nor below the tables in `beside`."""
        found: dict[tuple[str, str], Edge] = {}
        waiting, seen = [(table, key)], set()
        while waiting:
            here = waiting.pop(0)
            for edge in self.edges.get(here, ()):
                there = edge.table, edge.key
                if edge.table in targets:
                    found.setdefault(there, edge)
                elif edge.table not in beside and there not in seen:
                    seen.add(there)
                    waiting.append(there)
        return list(found.values())

    def keys(self, prefix: str) -> dict[str, list[str]]:
        """Keys reached in tables whose name starts with `prefix`, by table."""
        found: dict[str, list[str]] = defaultdict(list)
        for table, key in self.edges:
            if table.startswith(prefix):
                found[table].append(key)
        return found


# -- rows --------------------------------------------------------------------------------------------------------------
def rows_of(lake: Lake, table: str, year: int, **equal: str) -> list[dict[str, Any]]:
    """The rows of a table for a year (all of a table without years) in which columns have some values."""
    files = lake.part_files(table)
    if WHOLE not in files and str(year) not in files:
        return []
    scan = lake.scan(table, None if WHOLE in files else [str(year)])
    columns = scan.collect_schema()
    if "year" in columns:
        scan = scan.filter(pl.col("year") == year)
    wanted = (pl.col(name).cast(pl.String) == value for name, value in equal.items())
    return scan.filter(*wanted).collect(engine="in-memory").to_dicts()


def by_key(lake: Lake, table: str, keys: Collection[str], names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Rows of a table by row key, for the keys given; region_code and year are the first two `names` of the key."""
    if not keys:
        return {}
    parts = [key.split(KEY_SEPARATOR, 2) for key in keys]
    scan = lake.scan(table).filter(
        pl.col("region_code").is_in({part[0] for part in parts}),
        pl.col("year").is_in({int(part[1]) for part in parts}),
    )
    keyed = scan.with_columns(_key=row_key(names)).filter(pl.col("_key").is_in(pl.Series(sorted(keys)).implode()))
    return {row.pop("_key"): row for row in keyed.collect(engine="in-memory").to_dicts()}


def cells_of(lake: Lake, table: str, cells: Collection[str]) -> dict[str, dict[str, Any]]:
    """Rows of a staging table by source cell, each with the `table` it comes from."""
    if not cells:
        return {}
    scan = lake.scan(table).filter(pl.col("source_cell").is_in(pl.Series(sorted(cells)).implode()))
    return {row["source_cell"]: row | {"table": table} for row in scan.collect(engine="in-memory").to_dicts()}


def page_cells(lake: Lake, cells: Collection[str]) -> dict[str, dict[str, Any]]:
    """What some cells of pages really hold, whether staging could read them or not."""
    if not cells:
        return {}
    files = {place.sha256 for place in places(lake, cells).values()}
    scan = lake.scan("staging/page_cells", files).filter(pl.col("source_cell").is_in(sorted(cells)))
    found = scan.select(
        "source_cell", "label", "unit", raw_text="text", table=pl.format("staging/{}", "layout")
    ).collect(engine="in-memory")
    return {row["source_cell"]: row for row in found.to_dicts()}


class Cells:
    """Source cells as an explanation shows them: file, sheet, cell and what the file holds there."""

    def __init__(self, lake: Lake, staged: dict[str, dict[str, Any]]) -> None:
        """Looks up the files of some staging rows by source cell."""
        self.lake, self.staged = lake, staged
        self.places = places(lake, staged)

    @property
    def synthetic(self) -> bool:
        """Whether one of the files is synthetic."""
        return any(place.synthetic for place in self.places.values())

    def source(self, cell: str) -> dict[str, Any]:
        """File, sheet, cell and raw text of a source cell.

        Raises:
            LakeError: the lake does not hold it any more.
        """
        if cell not in self.places:
            raise LakeError(f"source cell {cell} is not in the lake {self.lake.root} any more", "`dei run`")
        place, staged = self.places[cell], self.staged[cell]
        return {
            "file": place.file,
            "sha256": place.sha256,
            "producer": place.producer,
            "sheet": place.sheet,
            "cell": place.cell,
            "raw_text": staged["raw_text"],
            "label": staged.get("label"),
            "unit": staged.get("unit"),
            "table": staged["table"],
            "synthetic": place.synthetic,
        }
