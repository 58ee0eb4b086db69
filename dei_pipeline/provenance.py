"""Where a number comes from: the lineage edges that every method hands over with its table.

An edge says that one row was made from another: `child_key` (a row of this table), `parent_table` ("layer/table"),
`parent_key`, the `role` the parent played (value, numerator, weight, threshold, donor ...) and, where the step is
linear in it, the `coefficient` (the derivative of the child's value with respect to the parent's).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import polars as pl

from dei_pipeline.errors import LakeError

if TYPE_CHECKING:
    from dei_pipeline.lake import Lake

EDGE_SCHEMA: dict[str, pl.DataType] = {
    "child_key": pl.String(),
    "parent_table": pl.String(),
    "parent_key": pl.String(),
    "role": pl.String(),
    "coefficient": pl.Float64(),
}
QUARANTINE_COLUMNS = ("reason", "fix", "source_cell", "file", "sheet", "cell", "raw_text")
KEY_SEPARATOR = "|"
PUBLISHED = "published_reference"
PUBLISHED_PAGES = ("published_dei_scores", "published_scale")


def no_edges() -> pl.DataFrame:
    """An edge table without rows."""
    return pl.DataFrame(schema=EDGE_SCHEMA)


def no_quarantine() -> pl.DataFrame:
    """A quarantine table without rows."""
    return pl.DataFrame(schema=dict.fromkeys(QUARANTINE_COLUMNS, pl.String()))


@dataclass(frozen=True)
class Table:
    """What a method returns: the rows, how they came to be, and what could not be used.

    Attributes:
        frame: the rows of the table.
        edges: lineage, see `EDGE_SCHEMA`; every row of `frame` is the child of at least one edge.
        quarantine: rows that could not be used, `QUARANTINE_COLUMNS` first, then the row as it was.
        notes: counts and remarks for the run's metadata.
    """

    frame: pl.DataFrame
    edges: pl.DataFrame = field(default_factory=no_edges)
    quarantine: pl.DataFrame = field(default_factory=no_quarantine)
    notes: dict[str, Any] = field(default_factory=dict)

    def only_years(self, years: Sequence[int]) -> "Table":
        """The rows of some years with their edges; for a method that reads more years than it is asked for.

        The key of such a table begins with region_code, year.
        """
        kept = self.frame.filter(pl.col("year").is_in(list(years)))
        year = pl.col("child_key").str.split(KEY_SEPARATOR).list.get(1).cast(pl.Int32)
        return replace(self, frame=kept, edges=self.edges.filter(year.is_in(list(years))))


def concat_tables(tables: Sequence[Table]) -> Table:
    """Tables of one shape below each other; notes of the same name are joined where they are lists."""
    notes: dict[str, Any] = {}
    for table in tables:
        for name, note in table.notes.items():
            notes[name] = notes[name] + note if isinstance(note, list) and name in notes else note
    return Table(
        pl.concat([table.frame for table in tables]),
        pl.concat([table.edges for table in tables]),
        pl.concat([table.quarantine for table in tables], how="diagonal"),
        notes,
    )


def row_key(columns: Sequence[str | pl.Expr]) -> pl.Expr:
    """The key of a row as one string: the key columns' values in the contract's order, joined by `|`."""
    parts = [pl.col(c) if isinstance(c, str) else c for c in columns]
    return pl.concat_str([part.cast(pl.String) for part in parts], separator=KEY_SEPARATOR)


def make_edges(
    frame: pl.DataFrame,
    child: Sequence[str | pl.Expr],
    parent_table: str,
    parent: Sequence[str | pl.Expr],
    role: str | pl.Expr = "value",
    coefficient: float | pl.Expr | None = None,
) -> pl.DataFrame:
    """Edges from each row of `frame` to one parent row.

    Args:
        frame: one row per edge, holding the key columns of child and parent.
        child: key columns of the child table, in the contract's order.
        parent_table: `layer/table` of the parent.
        parent: columns (or expressions) holding the parent's key, in the parent contract's order.
        role: what the parent is to the child, a word or an expression.
        coefficient: derivative of child value by parent value for linear steps, else None.
    """
    return frame.select(
        row_key(child).alias("child_key"),
        pl.lit(parent_table).alias("parent_table"),
        row_key(parent).alias("parent_key"),
        (pl.lit(role) if isinstance(role, str) else role).cast(pl.String).alias("role"),
        (coefficient if isinstance(coefficient, pl.Expr) else pl.lit(coefficient))
        .cast(pl.Float64)
        .alias("coefficient"),
    ).drop_nulls(["child_key", "parent_key"])


# -- source cells ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Place:
    """A cell of a received file."""

    sha256: str
    file: str
    sheet: str
    cell: str
    producer: str = ""
    synthetic: bool = False

    def __str__(self) -> str:
        return f"{self.file}, sheet {self.sheet}, cell {self.cell}"


def split_source_cell(source_cell: str) -> tuple[str, str, str]:
    """`<sha256[:12]>/<sheet>!<A1>` as (sha prefix, sheet, cell); a sheet may hold `/` and `!` itself."""
    prefix, _, rest = source_cell.partition("/")
    sheet, _, cell = rest.rpartition("!")
    return prefix, sheet, cell


def manifests(lake: "Lake") -> dict[str, dict[str, Any]]:
    """The manifest of every received file by the first 12 digits of its sha256, in their order.

    Raises:
        LakeError: a manifest is damaged; names its folder.
    """
    return {path.parent.name[:12]: manifest(path) for path in sorted(lake.blobs().glob("[0-9a-f]*/manifest.json"))}


def manifest(path: Path) -> dict[str, Any]:
    """One manifest; one written before there was a field `kind` gets the kind that its file has now.

    Raises:
        LakeError: it is not JSON, or lacks what every manifest says.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        source_id, file = said["source_id"], said["file"]
        _ = said["sha256"], said["synthetic"]
    except (ValueError, KeyError, TypeError) as error:
        raise LakeError(
            f"{path.parent}: manifest.json is damaged ({type(error).__name__}: {error})",
            "move the folder out of the lake and ingest the file in it again",
        ) from error
    other = source_id == PUBLISHED and PurePath(file).stem not in PUBLISHED_PAGES
    return {"kind": "table" if other else "page"} | said


def places(lake: "Lake", source_cells: Iterable[str]) -> dict[str, Place]:
    """File, sheet and cell of each source cell that the lake's manifests know."""
    known = manifests(lake)
    found = {}
    for source_cell in source_cells:
        prefix, sheet, cell = split_source_cell(source_cell)
        if prefix in known:
            m = known[prefix]
            found[source_cell] = Place(m["sha256"], m["file"], sheet, cell, m.get("producer") or "", m["synthetic"])
    return found


def locate(lake: "Lake", source_cells: Iterable[str]) -> dict[str, str]:
    """The place of each source cell in words."""
    return {source_cell: str(place) for source_cell, place in places(lake, source_cells).items()}


# -- the walk ----------------------------------------------------------------------------------------------------------
def parents_of(lake: "Lake", table: str, keys: Iterable[str], parts: Iterable[str] | None = None) -> pl.DataFrame:
    """The edges of some rows of a table to what they were made from (`EDGE_SCHEMA`); none for received files."""
    if not lake.part_files(table, "lineage", parts):
        return no_edges()
    wanted = pl.Series("child_key", sorted(set(keys)), dtype=pl.String)
    scan = lake.scan(table, parts, side="lineage")
    return scan.filter(pl.col("child_key").is_in(wanted.implode())).collect(engine="in-memory")


def children_of(lake: "Lake", table: str, parent_table: str, keys: pl.Series) -> pl.DataFrame:
    """The edges of a table that lead to some rows of `parent_table`."""
    if not lake.part_files(table, "lineage"):
        return no_edges()
    scan = lake.scan(table, side="lineage").filter(pl.col("parent_table") == parent_table)
    return scan.join(keys.alias("parent_key").to_frame().lazy(), on="parent_key", how="semi").collect(
        engine="in-memory"
    )


def walk_up(lake: "Lake", table: str, keys: pl.Series) -> dict[str, pl.Series]:
    """Every row that some rows of a table feed, by table (the start included), followed to the end.

    A table may be reached on several ways, and its rows may feed one another (a node of an index its parent), so the
    walk goes on until nothing new is found.
    """
    feeds: dict[str, list[str]] = {}
    for name in lake.tables("lineage"):
        for record in lake.state(name)["parts"].values():
            for parent in record.get("parents", ()):
                if name not in feeds.setdefault(parent, []):
                    feeds[parent].append(name)
    reached: dict[str, pl.Series] = {table: keys.unique().alias("key")}
    waiting = [(table, reached[table])]
    while waiting:
        parent, rows = waiting.pop(0)
        for name in feeds.get(parent, []):
            found = children_of(lake, name, parent, rows)["child_key"].unique().alias("key")
            before = reached.get(name, pl.Series("key", [], dtype=pl.String))
            fresh = found.filter(~found.is_in(before.implode()))
            if fresh.len():
                reached[name] = pl.concat([before, fresh])
                waiting.append((name, fresh))
    return reached
