"""Words, schemas and readers that all parts of a framework file share.

Every violation is one `ReferenceFileError` that names the file, the node and the fix.
"""

import math
from pathlib import Path
from typing import Any

import polars as pl

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods.choices import BLOCKS

WEIGHT_STATUSES = frozenset({"seed", "inferred_from_sum", "inferred_missing_row", "inferred", "data_driven"})
EVIDENCE = frozenset({"web", "policy", "open_data", "project_list", "statistics", "interview"})
AGGREGATE = "aggregate"

META_KEYS = frozenset(
    {
        "index_id",
        "name_zh",
        "name_en",
        "edition",
        "base_year",
        "scale_year",
        "cluster_weight_year_offset",
        "city_list",
        "rubric",
        "min_coverage",
        "imputed_weight_badge_above",
        "imputed_weight_not_ranked_above",
        "tier_decimals",
        "tiers",
        "types",
        "aggregation",
        "published",
        *BLOCKS,
    }
)
META_REQUIRED = frozenset({"index_id", "name_zh", "name_en", "edition", "base_year", "city_list", "min_coverage"})
NODE_KEYS = frozenset(
    {"id", "name_zh", "name_en", "weight", "weight_status", "note", "children", "aggregation", "weighting"}
)

NODE_SCHEMA: dict[str, Any] = {
    "index_id": pl.String,
    "edition": pl.String,
    "node_id": pl.String,
    "parent_id": pl.String,
    "level": pl.Int32,
    "position": pl.Int32,
    "name_zh": pl.String,
    "name_en": pl.String,
    "weight": pl.Float64,
    "global_weight": pl.Float64,
    "unit": pl.String,
    "direction": pl.String,
    "missing_policy": pl.String,
    "source_kind": pl.String,
    "weight_status": pl.String,
    "sub_dimension": pl.String,
    "aggregation": pl.String,
    "power": pl.Float64,
    "weighting": pl.String,
    "kind": pl.String,
    "factor": pl.Float64,
    "transform": pl.String,
    "evenness": pl.String,
    "rule": pl.String,
    "over": pl.String,
    "theta": pl.Float64,
    "lo": pl.Float64,
    "best": pl.Float64,
    "hi": pl.Float64,
    "target": pl.Float64,
    "reference": pl.String,
    "n_star": pl.Float64,
    "cap": pl.Float64,
    "note": pl.String,
}
TERM_SCHEMA: dict[str, Any] = {
    "indicator_id": pl.String,
    "variable": pl.String,
    "index_id": pl.String,
    "edition": pl.String,
    "kind": pl.String,
    "role": pl.String,
    "factor": pl.Float64,
    "scale": pl.Float64,
    "transform": pl.String,
    "unit": pl.String,
    "missing_policy": pl.String,
    "max_points": pl.Float64,
    "name_zh": pl.String,
    "name_en": pl.String,
    "evidence_kind": pl.String,
}
MEMBER_SCHEMA: dict[str, Any] = {"indicator_id": pl.String, "member_id": pl.String}
TYPE_SCHEMA: dict[str, Any] = {
    "index_id": pl.String,
    "edition": pl.String,
    "type_id": pl.String,
    "name_zh": pl.String,
    "name_en": pl.String,
    "max_rank": pl.Int32,
    "min_percentile": pl.Float64,
}
TIER_SCHEMA: dict[str, Any] = {
    "index_id": pl.String,
    "edition": pl.String,
    "tier_id": pl.String,
    "name_zh": pl.String,
    "name_en": pl.String,
    "lower": pl.Float64,
}


def read_text(path: Path) -> str:
    """Text of a reviewed file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ReferenceFileError(f"{path} does not exist", "create it or correct its name") from error
    except UnicodeDecodeError as error:
        raise ReferenceFileError(f"{path.name} is not UTF-8 (byte {error.start})", "save it as UTF-8") from error


def check_keys(name: str, where: str, block: Any, known: frozenset[str], required: frozenset[str]) -> None:
    """Rejects a block that is no mapping, has unknown keys (typos) or lacks required ones."""
    if not isinstance(block, dict):
        raise ReferenceFileError(f"{name}, {where}: expected key: value pairs, found {block!r}")
    for key in sorted(set(map(str, block)) - known):
        raise ReferenceFileError(f"{name}, {where}: unknown key {key}", f"known: {', '.join(sorted(known))}")
    for key in sorted(required - set(block)):
        raise ReferenceFileError(f"{name}, {where}: lacks {key}", f"add {key}, see methodology/README.md")


def number(name: str, where: str, key: str, value: Any) -> float:
    """A finite number, or a ReferenceFileError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ReferenceFileError(f"{name}, {where}: {key} is {value!r}", "give a finite number")
    return float(value)


def share(name: str, meta: dict[str, Any], key: str) -> float:
    """A number in [0, 1]."""
    value = number(name, "meta", key, meta[key])
    if not 0 <= value <= 1:
        raise ReferenceFileError(f"{name}, meta: {key} is {value}", "give a share between 0 and 1")
    return value


def one_of(name: str, node: str, key: str, value: Any, known: frozenset[str]) -> str:
    """A word of a closed vocabulary."""
    if value not in known:
        raise ReferenceFileError(
            f"{name}, node {node}: unknown {key} {value!r}", f"use one of {', '.join(sorted(known))}"
        )
    return str(value)
