"""What the tables of an index share: their keys and names, long frames as arrays, edges to the framework."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.framework import Framework
from dei_pipeline.provenance import make_edges

Floats = NDArray[np.float64]
CELL = ["region_code", "year"]
LEAF = ["region_code", "year", "indicator_id"]
NODE = ["region_code", "year", "node_id"]
FRAMEWORK, THRESHOLDS = "core/framework", "index/thresholds"
# From the firmest to the weakest; what is made of several values takes the weakest status among them.
STATUSES = ["reported", "corrected", "structural_zero", "expert", "estimated", "imputed", "missing"]
STEPS = ("screening", "imputation", "treatment")
STEP_TABLES = {"screening": "screened", "imputation": "imputed", "treatment": "treated"}


def table_of(framework: Framework, name: str) -> str:
    """Lake name of a table of an index."""
    return f"index/{framework.index_id}_{name}"


def steps_of(framework: Framework) -> list[str]:
    """The steps between inputs and normalisation that the framework takes, in their order."""
    return [step for step in STEPS if getattr(framework.choices, step) is not None]


def before(framework: Framework, step: str | None = None) -> str:
    """Lake name of the leaf values that a step reads; of the last of them without one."""
    taken = steps_of(framework)
    earlier = taken if step is None else taken[: taken.index(step)]
    return table_of(framework, STEP_TABLES[earlier[-1]] if earlier else "inputs")


def definition(frame: pl.DataFrame, framework: Framework, child: list[str], node: str, role: str) -> pl.DataFrame:
    """Edges from rows to the framework row of column `node`."""
    parent = [pl.lit(framework.index_id), pl.lit(framework.edition), pl.col(node)]
    return make_edges(frame, child, FRAMEWORK, parent, role)


def reject_doubles(frame: pl.DataFrame, key: list[str], name: str) -> None:
    """Rejects a table with two rows of the same key: a join would silently double scores."""
    doubled = frame.filter(pl.struct(key).is_duplicated())
    if doubled.height:
        where = "|".join(str(v) for v in doubled.select(key).row(0))
        raise MethodError(f"{name} holds {where} more than once", "keep one row per key")


def by_indicator(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows of each indicator, in the order given."""
    parts = frame.partition_by("indicator_id", as_dict=True, maintain_order=True)
    return {str(key[0]): part for key, part in parts.items()}


def matrix(cells: pl.DataFrame, frame: pl.DataFrame, ids: Sequence[str], column: str, node: str = "node_id") -> Floats:
    """Column `column` of a long frame (key region_code, year, `node`) as an array cells × ids, NaN where absent."""
    at = {name: i for i, name in enumerate(ids)}
    rows = frame.filter(pl.col(node).is_in(list(at))).join(cells.with_row_index("cell"), on=CELL)
    table = np.full((cells.height, len(at)), np.nan)
    place = rows[node].replace_strict(at, return_dtype=pl.Int64).to_numpy()
    table[rows["cell"].to_numpy(), place] = rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return table


def long(cells: pl.DataFrame, ids: Sequence[str], **columns: Any) -> pl.DataFrame:
    """Arrays cells × ids as rows region_code, year, indicator_id and one column each, sorted by cell, ids in order."""
    keys = cells.select(CELL).join(pl.DataFrame({"indicator_id": list(ids)}), how="cross", maintain_order="left_right")
    series = [pl.Series(name, np.asarray(values).reshape(-1).tolist()) for name, values in columns.items()]
    return keys.with_columns(
        s.cast(pl.Float64).fill_nan(None) if s.dtype.is_numeric() else s.replace("", None) for s in series
    )
