"""Grammar of framework and rubric files: reads them into rows and rejects whatever breaks a rule.

Every violation is one `ReferenceFileError` that names the file, the node and the fix. What the keys mean is described
in `methodology/README.md`.
"""

import csv
import io
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods.choices import GROUP_METHODS, MEANS
from dei_pipeline.methods.framework_grammar import (
    AGGREGATE,
    EVIDENCE,
    NODE_KEYS,
    NODE_SCHEMA,
    TERM_SCHEMA,
    TIER_SCHEMA,
    TYPE_SCHEMA,
    WEIGHT_STATUSES,
    check_keys,
    number,
    one_of,
    read_text,
)
from dei_pipeline.methods.framework_leaves import (
    LEAF_KEYS,
    LEAF_REQUIRED,
    TableSource,
    leaf_columns,
    members_of,
    shared,
    table_source,
    terms_of,
)

NODE_ID = re.compile(r"[a-z][a-z0-9_]*")
SUM_TOLERANCE = 1e-12  # invariant W1 [methodology §4]


def _walk(name: str, node: Any, parent: str | None, level: int, above: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """Nodes depth first, parents before children: (node, parent id, level)."""
    where = f"child of {parent}" if parent else "root"
    if not isinstance(node, dict) or not node.get("id"):
        raise ReferenceFileError(f"{name}, {where}: node without id: {str(node)[:60]}", "give every node an id")
    if id(node) in above:
        raise ReferenceFileError(f"{name}, node {node['id']}: cycle, it is its own descendant", "remove the YAML alias")
    yield node, parent, level
    for child in node.get("children") or ():
        yield from _walk(name, child, str(node["id"]), level + 1, (*above, id(node)))


@dataclass
class Flat:
    """A tree as rows.

    Attributes:
        nodes, terms, members: rows of the framework's tables.
        tables: leaves that are read from other tables of the lake.
        options: options of each leaf's normalisation rule.
    """

    nodes: list[dict[str, Any]] = field(default_factory=list)
    terms: list[dict[str, Any]] = field(default_factory=list)
    members: list[dict[str, Any]] = field(default_factory=list)
    tables: list[TableSource] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)


def flatten(name: str, index_id: str, edition: str, tree: Any, aggregation: Any = "arithmetic") -> Flat:
    """The tree as rows, each value checked; `aggregation` is the one of nodes that state none."""
    flat = Flat()
    global_weight: dict[str, float | None] = {}
    for position, (node, parent, level) in enumerate(_walk(name, tree, None, 0, ())):
        node_id = str(node["id"])
        if not NODE_ID.fullmatch(node_id):
            raise ReferenceFileError(
                f"{name}, node {node_id}: not an id",
                "lower-case letters, digits and _, a letter first: it names columns",
            )
        if node_id in global_weight:
            raise ReferenceFileError(f"{name}, node {node_id}: duplicate id", "give one of the two another id")
        leaf = "children" not in node
        keys, required = (LEAF_KEYS, LEAF_REQUIRED) if leaf else (NODE_KEYS, frozenset({"id", "name_zh", "name_en"}))
        check_keys(name, f"node {node_id}", node, keys, required | {"weight"})
        weight = None if node["weight"] is None else number(name, f"node {node_id}", "weight", node["weight"])
        above = 1.0 if parent is None else global_weight[parent]
        global_weight[node_id] = None if weight is None or above is None else weight * above
        row: dict[str, Any] = dict.fromkeys(NODE_SCHEMA)
        row |= {
            "index_id": index_id,
            "edition": edition,
            "node_id": node_id,
            "parent_id": parent,
            "level": level,
            "position": position,
            "name_zh": str(node["name_zh"]),
            "name_en": str(node["name_en"]),
            "weight": weight,
            "global_weight": global_weight[node_id],
            "unit": "points_0_100",
            "weight_status": one_of(name, node_id, "weight_status", node.get("weight_status", "seed"), WEIGHT_STATUSES),
            "kind": AGGREGATE,
            "note": node.get("note"),
        }
        if leaf:
            columns, options = leaf_columns(name, node_id, node)
            row |= columns
            flat.options[node_id] = options
            flat.terms += terms_of(name, row, node["derivation"])
            flat.members += members_of(name, row, node["derivation"])
            flat.tables += table_source(name, row, node["derivation"])
        else:
            row |= _aggregation(name, node_id, node.get("aggregation", aggregation))
            if node.get("weighting") is not None:
                row["weighting"] = one_of(name, node_id, "weighting", node["weighting"], frozenset(GROUP_METHODS))
            check_weights(name, node_id, node["children"])
        flat.nodes.append(row)
    root = flat.nodes[0]
    if root["node_id"] != index_id or root["weight"] != 1:
        raise ReferenceFileError(
            f"{name}: the root is {root['node_id']} with weight {root['weight']}",
            f"the root's id is the index_id {index_id}, its weight 1",
        )
    return flat


def _aggregation(name: str, node_id: str, said: Any) -> dict[str, Any]:
    """Columns aggregation and power of an inner node: a word, or {power: p} for the generalised mean."""
    if isinstance(said, dict):
        check_keys(name, f"node {node_id}, aggregation", said, frozenset({"power"}), frozenset({"power"}))
        power = number(name, f"node {node_id}, aggregation", "power", said["power"])
        if power == 0:
            raise ReferenceFileError(f"{name}, node {node_id}: power 0 is the geometric mean", "write geometric")
        return {"aggregation": "generalised", "power": power}
    words = frozenset(MEANS) - {"generalised"}
    return {"aggregation": one_of(name, node_id, "aggregation", said, words), "power": None}


def check_weights(name: str, node_id: str, children: Any) -> None:
    """Invariant W1: the children's weights lie in [0, 1] and sum to 1; or all are null and data-driven."""
    if not isinstance(children, list) or not children:
        raise ReferenceFileError(
            f"{name}, node {node_id}: no children", "list them, or make it a leaf with a derivation"
        )
    given = [c.get("weight") if isinstance(c, dict) else None for c in children]
    if all(w is None for w in given):
        if any(not isinstance(c, dict) or c.get("weight_status") != "data_driven" for c in children):
            raise ReferenceFileError(
                f"{name}, node {node_id}: its children have no weight", "give weights, or weight_status: data_driven"
            )
        return
    weights = [
        number(name, f"child {c['id']} of node {node_id}", "weight", w) for c, w in zip(children, given, strict=True)
    ]
    if any(not 0 <= w <= 1 for w in weights) or abs(math.fsum(weights) - 1) > SUM_TOLERANCE:
        raise ReferenceFileError(
            f"{name}, node {node_id}: the weights of its children sum to {math.fsum(weights):.12g}",
            "weights lie in [0, 1] and sum to 1 within 1e-12",
        )


def check_dependencies(name: str, flat: Flat) -> None:
    """Invariant W3: no leaf depends on itself, its ancestor or another node's score (but evenness on leaves).

    Variables and nodes are different things that may share a name (a count's only variable and its leaf); a variable
    named like an inner node can only be a mistake.
    """
    parents = {n["node_id"]: n["parent_id"] for n in flat.nodes}
    kinds = {n["node_id"]: n["kind"] for n in flat.nodes}
    needs = [(t["indicator_id"], t["variable"], "variable") for t in flat.terms]
    needs += [(m["indicator_id"], m["member_id"], "member") for m in flat.members]
    for leaf, needed, what in needs:
        ancestor = leaf if what == "member" else parents[leaf]
        while ancestor is not None:
            if ancestor == needed:
                raise ReferenceFileError(
                    f"{name}, node {leaf}: depends on {needed}, itself or its own ancestor (circular)",
                    "derive it from variables outside the index [methodology §1.1, W3]",
                )
            ancestor = parents[ancestor]
        if what == "member" and kinds.get(needed) in {None, AGGREGATE, "evenness"}:
            raise ReferenceFileError(
                f"{name}, node {leaf}: member {needed} is not a leaf derived from variables", "list such leaves only"
            )
        if what == "variable" and kinds.get(needed) == AGGREGATE:
            raise ReferenceFileError(
                f"{name}, node {leaf}: variable {needed} is a node of the index", "name a variable of the lake"
            )


def read_rubric(path: Path, name: str) -> list[dict[str, str]]:
    """Rows of a rubric file."""
    header = ["indicator_id", "checkpoint", "name_zh", "name_en", "points", "evidence_kind"]
    reader = csv.DictReader(io.StringIO(read_text(path)))
    if reader.fieldnames != header:
        raise ReferenceFileError(f"{name}: columns are {reader.fieldnames}", f"expected {','.join(header)}")
    return list(reader)


def add_rubric(name: str, rubric_name: str | None, rubric: list[dict[str, str]], flat: Flat) -> None:
    """Appends the checkpoints of every rubric leaf to `terms`, each checked."""
    leaves = {n["node_id"]: n for n in flat.nodes if n["kind"] == "rubric"}
    seen: set[str] = set()
    scored: set[str] = set()
    for line, row in enumerate(rubric, start=2):
        where = f"{rubric_name}, line {line} ({row['checkpoint']})"
        leaf = leaves.get(row["indicator_id"])
        if leaf is None:
            raise ReferenceFileError(f"{where}: {row['indicator_id']} is not a rubric leaf of {name}", "correct the id")
        if row["checkpoint"] in seen or not row["checkpoint"].startswith(f"{row['indicator_id']}."):
            raise ReferenceFileError(f"{where}: checkpoint is not unique", f"number it {row['indicator_id']}.1, .2, …")
        try:
            points = float(row["points"])
        except (TypeError, ValueError) as error:
            raise ReferenceFileError(f"{where}: points are {row['points']!r}", "give a positive number") from error
        if not (math.isfinite(points) and points > 0):
            raise ReferenceFileError(f"{where}: points are {points}", "give a positive number")
        one_of(str(rubric_name), row["checkpoint"], "evidence_kind", row["evidence_kind"], EVIDENCE)
        seen.add(row["checkpoint"])
        scored.add(row["indicator_id"])
        flat.terms.append(
            dict.fromkeys(TERM_SCHEMA)
            | shared(leaf)
            | {k: row[k] for k in ("name_zh", "name_en", "evidence_kind")}
            | {"variable": row["checkpoint"], "role": "points", "factor": 1.0, "max_points": points}
        )
    for node_id in (n for n in leaves if n not in scored):
        raise ReferenceFileError(
            f"{rubric_name or name}: rubric leaf {node_id} has no checkpoint", f"add {node_id}.1 with its points"
        )


def tier_rows(name: str, index_id: str, edition: str, tiers: Any) -> pl.DataFrame:
    """Tier bounds, highest first; the last is open below."""
    rows: list[dict[str, Any]] = []
    for i, tier in enumerate(tiers):
        keys = frozenset({"id", "name_zh", "name_en", "lower"})
        check_keys(name, f"meta, tier {i + 1}", tier, keys, keys)
        lower = None if tier["lower"] is None else number(name, f"tier {tier['id']}", "lower", tier["lower"])
        names = {"name_zh": str(tier["name_zh"]), "name_en": str(tier["name_en"]), "lower": lower}
        rows.append({"index_id": index_id, "edition": edition, "tier_id": str(tier["id"])} | names)
    lowers = [r["lower"] for r in rows]
    falling = all(a is not None and (b is None or a > b) for a, b in itertools.pairwise(lowers))
    if rows and (not falling or lowers[-1] is not None or len({r["tier_id"] for r in rows}) < len(rows)):
        raise ReferenceFileError(
            f"{name}, meta, tiers: bounds {lowers}", "highest first, distinct ids, last lower: null"
        )
    return pl.DataFrame(rows, schema=TIER_SCHEMA)


def type_rows(name: str, index_id: str, edition: str, types: Any) -> pl.DataFrame:
    """City types in the order in which they are tried; the last takes every ranked city that is left."""
    rows: list[dict[str, Any]] = []
    keys = frozenset({"id", "name_zh", "name_en", "max_rank", "min_percentile"})
    for i, kind in enumerate(types):
        check_keys(name, f"meta, type {i + 1}", kind, keys, keys - {"min_percentile"})
        where = f"type {kind['id']}"
        most = None if kind["max_rank"] is None else int(number(name, where, "max_rank", kind["max_rank"]))
        least = kind.get("min_percentile")
        rows.append(
            {
                "index_id": index_id,
                "edition": edition,
                "type_id": str(kind["id"]),
                "name_zh": str(kind["name_zh"]),
                "name_en": str(kind["name_en"]),
                "max_rank": most,
                "min_percentile": None if least is None else number(name, where, "min_percentile", least),
            }
        )
    open_last = not rows or (rows[-1]["max_rank"] is None and rows[-1]["min_percentile"] is None)
    if not open_last or len({r["type_id"] for r in rows}) < len(rows):
        raise ReferenceFileError(
            f"{name}, meta, types: the last is bounded, or an id stands twice", "distinct ids, last max_rank: null"
        )
    return pl.DataFrame(rows, schema=TYPE_SCHEMA)
