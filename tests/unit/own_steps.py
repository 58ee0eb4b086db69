"""Leaf values of the example index for tests of its steps, and the rule that every row has its edges."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from dei_pipeline.methods.framework import Framework, load
from dei_pipeline.provenance import EDGE_SCHEMA, Table, row_key

OWN = load(Path(__file__).parents[1] / "fixtures" / "own_index.yaml")
LEAF = ["region_code", "year", "indicator_id"]
CELL = ["region_code", "year"]
YEARS = (2019, 2020)
CODES = [f"{110000 + 10000 * at}" for at in range(12)]
FRAMEWORK_KEYS = set(OWN.nodes.select(row_key(["index_id", "edition", "node_id"])).to_series())


def values(codes: Sequence[str] = CODES, years: Sequence[int] = YEARS, seed: int = 0) -> pl.DataFrame:
    """Rows of `index/plsi_inputs` without gaps, between 45 and 105; sorted by key."""
    rng = np.random.default_rng(seed)
    grid = pl.DataFrame({"region_code": list(codes)}).join(
        pl.DataFrame({"year": list(years)}, schema={"year": pl.Int32}), how="cross"
    )
    grid = grid.join(OWN.observed_leaves.select(indicator_id="node_id", unit="unit"), how="cross")
    drawn = pl.Series("value", rng.uniform(45, 105, grid.height))
    return grid.with_columns(drawn, pl.lit("reported").alias("status")).select(*LEAF, "value", "unit", "status")


def put(frame: pl.DataFrame, changes: Mapping[tuple[str, int, str], float | None]) -> pl.DataFrame:
    """The frame with some values changed; None is a gap. A key may leave the region out with «*»."""
    for (code, year, leaf), value in changes.items():
        at = (pl.col("year") == year) & (pl.col("indicator_id") == leaf)
        at &= pl.lit(value=True) if code == "*" else pl.col("region_code") == code
        assert frame.filter(at).height, (code, year, leaf)
        frame = frame.with_columns(
            value=pl.when(at).then(pl.lit(value, pl.Float64)).otherwise("value"),
            status=pl.when(at & pl.lit(value is None)).then(pl.lit("missing")).otherwise("status"),
        )
    return frame


def regions(zone: Mapping[str, str | None] | None = None) -> pl.DataFrame:
    """`mart/regions` of the codes: the first six in zone a, the others in b, unless given."""
    zones = zone or {code: "a" if at < 6 else "b" for at, code in enumerate(CODES)}
    rows = [
        {"region_code": c, "year": y, "zone_id": z, "province_code": c, "north_south": "north"}
        for c, z in zones.items()
        for y in YEARS
    ]
    return pl.DataFrame(rows, schema_overrides={"year": pl.Int32})


def chosen(framework: Framework = OWN, **settings: object) -> Framework:
    """The framework with choices changed, `block__key=value`; a block alone with None switches it off."""
    for setting, value in settings.items():
        framework = framework.with_choice(setting.replace("__", "."), value)
    return framework


def with_nodes(framework: Framework, column: str, **by_node: object) -> Framework:
    """The framework with a column of some nodes changed."""
    assert set(by_node) <= set(framework.positions), by_node
    frame = framework.nodes.with_columns(
        pl.Series(column, [by_node.get(n, v) for n, v in framework.nodes.select("node_id", column).iter_rows()],
                  dtype=framework.nodes.schema[column])
    )  # fmt: skip
    return replace(framework, nodes=frame)


def check_edges(table: Table, key: Sequence[str], **parents: set[str]) -> None:
    """Every row is the child of an edge, every edge leads from a row to a row of a parent; no edge twice, no NaN.

    Parents are keys by name of the table, as `plsi_inputs` or `core__framework`.
    """
    known = {("index/" + name if "__" not in name else name.replace("__", "/")): keys for name, keys in parents.items()}
    children = set(table.frame.select(row_key(list(key))).to_series())
    assert len(children) == table.frame.height
    assert dict(table.edges.schema) == EDGE_SCHEMA
    assert set(table.edges["child_key"]) == children
    for (parent,), edges in table.edges.group_by("parent_table"):
        lost = set(edges["parent_key"]) - known[str(parent)]
        assert not lost, (parent, sorted(lost)[:3])
    assert table.edges.select("child_key", "parent_table", "parent_key", "role").is_unique().all()
    for column in table.frame.select(pl.selectors.float()).columns:
        assert not table.frame[column].is_nan().any(), column


def keys_of(frame: pl.DataFrame, key: Sequence[str] = LEAF) -> set[str]:
    """Keys of a frame as edges name them."""
    return set(frame.select(row_key(list(key))).to_series())


def same_bytes(one: Table, other: Table) -> None:
    """Two tables have the very same rows, edges and notes."""
    assert one.frame.equals(other.frame, null_equal=True)
    assert one.edges.sort(pl.all()).equals(other.edges.sort(pl.all()), null_equal=True)
    assert one.notes == other.notes


def value_of(frame: pl.DataFrame, code: str, year: int, leaf: str, column: str = "value") -> object:
    """One cell."""
    return frame.filter(region_code=code, year=year, indicator_id=leaf)[column].item()


def words(text: str) -> str:
    """Text as a pattern for `match`."""
    return re.escape(text)
