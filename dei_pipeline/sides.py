"""The two sides of a comparison: the tables of an index for one year of a lake, from one node down."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import DeiError, LakeError
from dei_pipeline.explain import THRESHOLDS, indices
from dei_pipeline.lake import Lake
from dei_pipeline.provenance import manifests

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a year of an index in a lake."""

    lake: Lake
    index: str
    year: int
    node: str | None = None

    def __str__(self) -> str:
        return f"{self.lake.root}:{self.year}"

    def table(self, name: str) -> pl.DataFrame:
        """Rows of the year of a table of the index."""
        return self.lake.read(f"index/{self.index}_{name}", [self.year])

    @cached_property
    def framework(self) -> dict[str, dict[str, Any]]:
        """Rows of `core/framework` by node."""
        rows = self.lake.read("core/framework").filter(pl.col("index_id") == self.index)
        return {row["node_id"]: row for row in rows.to_dicts()}

    @property
    def edition(self) -> str:
        """Edition of the framework that the lake holds."""
        return next(iter(self.framework.values()))["edition"]

    @cached_property
    def scores(self) -> pl.DataFrame:
        """Scores of every node and city."""
        return self.table("scores")

    @cached_property
    def normalised(self) -> pl.DataFrame:
        """Raw values, scores and statuses of every leaf and city."""
        return self.table("normalised").rename({"indicator_id": "node_id"})

    @cached_property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """The nodes from the compared one down, parents before children: parent_id, weight, method, ahp_weight, leaf.

        Raises:
            DeiError: the index has no such node.
            LakeError: cities of one year have other weights.
        """
        found = self.scores.select("node_id", "parent_id", "weight").unique(maintain_order=True)
        if found["node_id"].is_duplicated().any():
            raise LakeError(f"{self}: index/{self.index}_scores has two weights for a node", "make it again: `dei run`")
        rows = {row["node_id"]: row for row in found.to_dicts()}
        root = self.node or next(node for node, row in rows.items() if row["parent_id"] is None)
        if root not in rows:
            from rapidfuzz import process

            near = [name for name, _, _ in process.extract(root, list(rows), limit=3)]
            raise DeiError(f"{self.index} has no node «{root}» in {self}", f"near: {', '.join(near)}")
        weights = self._of_edition(f"index/{self.index}_weights", "node_id")
        below = children(rows, lambda node: self.framework.get(node, {}).get("position") or 0)
        ordered = depth_first(root, below)
        known = ("method", "ahp_weight")
        return {
            node: rows[node] | {name: weights[node][name] for name in known} | {"leaf": node not in below}
            for node in ordered
        }

    @cached_property
    def thresholds(self) -> dict[str, dict[str, Any]]:
        """Rows of `index/thresholds` by leaf."""
        return self._of_edition(THRESHOLDS, "indicator_id")

    def _of_edition(self, table: str, key: str) -> dict[str, dict[str, Any]]:
        """Rows of a table of this index's edition by node."""
        held = self.lake.read(table).filter(pl.col("edition") == self.edition, pl.col(key).is_in(list(self.framework)))
        return {row[key]: row for row in held.to_dicts()}

    @cached_property
    def cities(self) -> pl.DataFrame:
        """Every city with a score of the node: region_code, score, ranked, tier_id; the tier is the composite's."""
        root = next(iter(self.nodes))
        composite = self.nodes[root]["parent_id"] is None
        ranks = self.table("ranks").select(
            "region_code", "ranked", tier_id=pl.col("tier_id") if composite else pl.lit(None, pl.String)
        )
        scores = self.scores.filter(pl.col("node_id") == root).drop_nulls("score").select("region_code", "score")
        joined = scores.join(ranks, on="region_code", how="left")
        return joined.with_columns(pl.col("ranked").fill_null(value=False)).sort("region_code")

    def about(self) -> dict[str, Any]:
        """What the document says of the side."""
        return {
            "lake": str(self.lake.root),
            "year": self.year,
            "edition": self.edition,
            "synthetic": any(manifest["synthetic"] for manifest in manifests(self.lake).values()),
        }


def children(rows: Mapping[str, Mapping[str, Any]], position: Callable[[str], int]) -> dict[str, list[str]]:
    """Children of every parent, by position."""
    below: dict[str, list[str]] = {}
    for node in sorted(rows, key=lambda node: (position(node), node)):
        if rows[node]["parent_id"] is not None:
            below.setdefault(rows[node]["parent_id"], []).append(node)
    return below


def depth_first(root: str, below: Mapping[str, Sequence[str]]) -> list[str]:
    """The nodes from one down, parents before children."""
    return [root, *(node for child in below.get(root, ()) for node in depth_first(child, below))]


# -- which two ---------------------------------------------------------------------------------------------------------
def sides(a: str, b: str, home: Path, index: str, node: str | None = None) -> tuple[Side, Side]:
    """The two sides that are named by a year of the lake `home`, a lake folder, or LAKE:YEAR.

    A folder without a year is of the year of the other side; two folders are of the latest year that both have.

    Raises:
        LakeError: neither year nor folder, a lake without the index, or a year that is not in it; says what is.
    """
    (first, year_a), (second, year_b) = _place(a, home), _place(b, home)
    years = [_years(lake, index) for lake in (first, second)]
    if year_a is None and year_b is None:
        common = sorted(set(years[0]) & set(years[1]))
        if not common:
            raise LakeError(
                f"{first.root} and {second.root} have no year of {index} in common", "write LAKE:YEAR on both sides"
            )
        year_a = year_b = common[-1]
    found = []
    for lake, year, other, known in ((first, year_a, year_b, years[0]), (second, year_b, year_a, years[1])):
        wanted = year if year is not None else other
        if wanted is None or wanted not in known:
            raise LakeError(
                f"{index} has no scores of {wanted} in {lake.root}", f"years there: {', '.join(map(str, known))}"
            )
        found.append(Side(lake, index, wanted, node))
    return found[0], found[1]


def _place(text: str, home: Path) -> tuple[Lake, int | None]:
    """Lake and year of one argument."""
    folder, _, year = text.rpartition(":")
    if len(year) == 4 and year.isdigit():
        path = Path(folder) if folder else home
        number: int | None = int(year)
    else:
        path, number = Path(text), None
    if not path.is_dir():
        raise LakeError(f"«{text}»: {path} is no folder", "give a year, the folder of a lake, or LAKE:YEAR")
    return Lake(path.resolve()), number


def _years(lake: Lake, index: str) -> list[int]:
    """Years with scores of an index in a lake."""
    years = sorted(int(part) for part in lake.part_files(f"index/{index}_scores") if part.isdigit())
    if not years:
        raise LakeError(
            f"the lake {lake.root} has no scores of «{index}»",
            f"there is: {', '.join(indices(lake)) or 'none'}; `dei run` makes them",
        )
    return years


def matrix(frame: pl.DataFrame, column: str, codes: Sequence[str], ids: Sequence[str]) -> Floats:
    """A column of a long frame (key region_code, node_id) as an array codes × ids, NaN where absent."""
    held = frame.filter(pl.col("node_id").is_in(list(ids)) & pl.col("region_code").is_in(list(codes)))
    table = np.full((len(codes), len(ids)), np.nan)
    rows, columns = ({key: at for at, key in enumerate(keys)} for keys in (codes, ids))
    at = [
        held[name].replace_strict(positions, return_dtype=pl.Int64).to_numpy()
        for name, positions in (("region_code", rows), ("node_id", columns))
    ]
    table[at[0], at[1]] = held[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return table
