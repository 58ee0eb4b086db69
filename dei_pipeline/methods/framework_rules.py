"""Grammar of framework and rubric files: reads them into rows and rejects whatever breaks a rule.

Every violation is one `ReferenceFileError` that names the file, the node and the fix. What the keys mean is described
in `methodology/README.md`.
"""

import csv
import io
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from dei_pipeline.errors import ReferenceFileError

SUM_TOLERANCE = 1e-12  # invariant W1 [methodology §4]

UNITS = frozenset(
    {
        "percent",
        "points_0_100",
        "ratio",
        "count",
        "weighted_count",
        "days",
        "persons",
        "10k_persons",
        "persons_per_10k",
        "firms",
        "100m_cny",
        "cny",
        "yuan_per_10k_yuan",
        "visits_per_1k",
        "log_visits_per_1k",
        "mbps",
    }
)
DIRECTIONS = frozenset({"positive", "negative", "moderate"})
MISSING_POLICIES = frozenset({"renormalise", "zero_is_observed", "impute"})
WEIGHT_STATUSES = frozenset({"seed", "inferred_from_sum", "inferred_missing_row", "inferred", "data_driven"})
TRANSFORMS = frozenset({"none", "log1p"})
EVENNESS = frozenset({"gini", "pielou", "coverage", "mixed"})
EVIDENCE = frozenset({"web", "policy", "open_data", "project_list", "statistics", "interview"})
KIND_ROLES: Mapping[str, frozenset[str]] = {
    "ratio": frozenset({"numerator", "denominator"}),
    "count": frozenset({"count"}),
    "weighted_count": frozenset({"count"}),
    "value": frozenset({"value"}),
    "rubric": frozenset(),
    "evenness": frozenset(),
}
RULE_NUMBERS: Mapping[str, frozenset[str]] = {
    "fixed": frozenset({"theta", "lo", "best", "hi"}),
    "winsorised_max": frozenset(),
    "saturation": frozenset({"n_star"}),
    "identity": frozenset(),
}
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
        "published",
    }
)
META_REQUIRED = META_KEYS - {
    "scale_year",
    "cluster_weight_year_offset",
    "rubric",
    "tiers",
    "tier_decimals",
    "published",
}
NODE_KEYS = frozenset({"id", "name_zh", "name_en", "weight", "weight_status", "note", "children"})
LEAF_KEYS = (NODE_KEYS - {"children"}) | frozenset(
    {"unit", "direction", "missing_policy", "source_kind", "derivation", "normalisation"}
)
LEAF_REQUIRED = LEAF_KEYS - {"note"}

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
    "kind": pl.String,
    "factor": pl.Float64,
    "transform": pl.String,
    "evenness": pl.String,
    "rule": pl.String,
    "theta": pl.Float64,
    "lo": pl.Float64,
    "best": pl.Float64,
    "hi": pl.Float64,
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


def _number(name: str, where: str, key: str, value: Any) -> float:
    """A finite number, or a ReferenceFileError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ReferenceFileError(f"{name}, {where}: {key} is {value!r}", "give a finite number")
    return float(value)


def share(name: str, meta: dict[str, Any], key: str) -> float:
    """A number in [0, 1]."""
    value = _number(name, "meta", key, meta[key])
    if not 0 <= value <= 1:
        raise ReferenceFileError(f"{name}, meta: {key} is {value}", "give a share between 0 and 1")
    return value


def _one_of(name: str, node: str, key: str, value: Any, known: frozenset[str]) -> str:
    """A word of a closed vocabulary."""
    if value not in known:
        raise ReferenceFileError(
            f"{name}, node {node}: unknown {key} {value!r}", f"use one of {', '.join(sorted(known))}"
        )
    return str(value)


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


def flatten(
    name: str, index_id: str, edition: str, tree: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of nodes, terms and members of the tree, each value checked."""
    nodes: list[dict[str, Any]] = []
    terms: list[dict[str, Any]] = []
    members: list[dict[str, Any]] = []
    global_weight: dict[str, float | None] = {}
    for position, (node, parent, level) in enumerate(_walk(name, tree, None, 0, ())):
        node_id = str(node["id"])
        if node_id in global_weight:
            raise ReferenceFileError(f"{name}, node {node_id}: duplicate id", "give one of the two another id")
        leaf = "children" not in node
        keys, required = (LEAF_KEYS, LEAF_REQUIRED) if leaf else (NODE_KEYS, frozenset({"id", "name_zh", "name_en"}))
        check_keys(name, f"node {node_id}", node, keys, required | {"weight"})
        weight = None if node["weight"] is None else _number(name, f"node {node_id}", "weight", node["weight"])
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
            "weight_status": _one_of(
                name, node_id, "weight_status", node.get("weight_status", "seed"), WEIGHT_STATUSES
            ),
            "kind": AGGREGATE,
            "note": node.get("note"),
        }
        if leaf:
            row |= _leaf(name, node_id, node)
            terms += _terms(name, row, node["derivation"])
            members += _members(name, row, node["derivation"])
        else:
            check_weights(name, node_id, node["children"])
        nodes.append(row)
    if nodes[0]["node_id"] != index_id or nodes[0]["weight"] != 1:
        raise ReferenceFileError(
            f"{name}: the root is {nodes[0]['node_id']} with weight {nodes[0]['weight']}",
            f"the root's id is the index_id {index_id}, its weight 1",
        )
    return nodes, terms, members


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
        _number(name, f"child {c['id']} of node {node_id}", "weight", w) for c, w in zip(children, given, strict=True)
    ]
    if any(not 0 <= w <= 1 for w in weights) or abs(math.fsum(weights) - 1) > SUM_TOLERANCE:
        raise ReferenceFileError(
            f"{name}, node {node_id}: the weights of its children sum to {math.fsum(weights):.12g}",
            "weights lie in [0, 1] and sum to 1 within 1e-12",
        )


def _leaf(name: str, node_id: str, node: dict[str, Any]) -> dict[str, Any]:
    """Columns of a leaf: vocabulary, derivation and normalisation."""
    where = f"node {node_id}"
    derivation, rule_block = node["derivation"], node["normalisation"]
    if not isinstance(derivation, dict):
        raise ReferenceFileError(f"{name}, {where}: derivation is {derivation!r}", "write {kind: …, terms: […]}")
    kind = _one_of(name, node_id, "derivation kind", derivation.get("kind"), frozenset(KIND_ROLES))
    allowed = {"kind", "evenness", "members"} if kind == "evenness" else {"kind", "factor", "transform"}
    allowed |= {"terms"} if KIND_ROLES[kind] else set()
    check_keys(name, f"{where}, derivation", derivation, frozenset(allowed), frozenset({"kind"}))
    check_keys(name, f"{where}, normalisation", rule_block, _rule_keys(rule_block), frozenset({"rule", "cap"}))
    rule = _one_of(name, node_id, "normalisation rule", rule_block["rule"], frozenset(RULE_NUMBERS))
    numbers = {k: _number(name, where, k, v) for k, v in rule_block.items() if k != "rule" and v is not None}
    direction = _one_of(name, node_id, "direction", node["direction"], DIRECTIONS)
    _check_rule(name, where, rule, direction, numbers)
    return numbers | {
        "unit": _one_of(name, node_id, "unit", node["unit"], UNITS),
        "direction": direction,
        "missing_policy": _one_of(name, node_id, "missing_policy", node["missing_policy"], MISSING_POLICIES),
        "source_kind": str(node["source_kind"]),
        "kind": kind,
        "factor": _number(name, where, "factor", derivation.get("factor", 1)),
        "transform": _one_of(name, node_id, "transform", derivation.get("transform", "none"), TRANSFORMS),
        "evenness": _one_of(name, node_id, "evenness", derivation.get("evenness"), EVENNESS)
        if kind == "evenness"
        else None,
        "rule": rule,
    }


def _rule_keys(block: Any) -> frozenset[str]:
    """Keys that a normalisation block may have under its rule."""
    rule = block.get("rule") if isinstance(block, dict) else None
    return RULE_NUMBERS.get(str(rule), frozenset()) | {"rule", "cap"}


def _check_rule(name: str, where: str, rule: str, direction: str, numbers: dict[str, float]) -> None:
    """Numbers of a normalisation rule are complete and in order."""
    if numbers.get("cap", 1) <= 0:
        raise ReferenceFileError(f"{name}, {where}: cap is {numbers['cap']}", "give a positive number or null")
    if rule == "saturation" and not numbers.get("n_star", 0) > 0:
        raise ReferenceFileError(f"{name}, {where}: saturation needs n_star > 0", "add n_star")
    if direction == "moderate":
        bounds = [numbers.get(k) for k in ("lo", "best", "hi")]
        ordered = None not in bounds and numbers["lo"] < numbers["best"] < numbers["hi"]
        if rule != "fixed" or not ordered:
            raise ReferenceFileError(f"{name}, {where}: moderate needs rule fixed and lo < best < hi", "give all three")
    elif rule == "fixed" and not numbers.get("theta", 0) > 0:
        raise ReferenceFileError(f"{name}, {where}: rule fixed needs theta > 0", "add theta")
    elif rule != "fixed" and direction == "negative":
        raise ReferenceFileError(f"{name}, {where}: rule {rule} has no meaning for direction negative", "use fixed")


def _terms(name: str, leaf: dict[str, Any], derivation: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of `terms` of one leaf that is derived from named variables."""
    node_id, roles = leaf["node_id"], KIND_ROLES[leaf["kind"]]
    rows: list[dict[str, Any]] = []
    for term in derivation.get("terms") or ():
        check_keys(
            name, f"node {node_id}, term", term, frozenset({"variable", "role", "factor"}), frozenset({"variable"})
        )
        row = dict.fromkeys(TERM_SCHEMA) | _shared(leaf)
        row["variable"] = str(term["variable"])
        row["role"] = _one_of(name, node_id, "role", term.get("role"), roles)
        row["factor"] = _number(name, f"node {node_id}", "factor", term.get("factor", 1))
        if row["variable"] in {r["variable"] for r in rows}:
            raise ReferenceFileError(f"{name}, node {node_id}: variable {row['variable']} twice", "merge the two terms")
        rows.append(row)
    for role in sorted(roles - {r["role"] for r in rows}):
        raise ReferenceFileError(f"{name}, node {node_id}: kind {leaf['kind']} lacks a term with role {role}", "add it")
    if leaf["kind"] == "value" and len(rows) > 1:
        raise ReferenceFileError(f"{name}, node {node_id}: kind value has {len(rows)} terms", "keep one")
    return rows


def _shared(leaf: dict[str, Any]) -> dict[str, Any]:
    """Columns that all terms of a leaf share."""
    shared = {k: leaf[k] for k in ("index_id", "edition", "kind", "transform", "unit", "missing_policy")}
    return shared | {"indicator_id": leaf["node_id"], "scale": leaf["factor"]}


def _members(name: str, leaf: dict[str, Any], derivation: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of `members` of one evenness leaf."""
    if leaf["kind"] != "evenness":
        return []
    members = derivation.get("members") or []
    if len(members) < 2 or len(set(members)) < len(members):
        raise ReferenceFileError(
            f"{name}, node {leaf['node_id']}: members {members}", "list two or more leaves, once each"
        )
    return [{"indicator_id": leaf["node_id"], "member_id": str(m)} for m in members]


def check_dependencies(
    name: str, nodes: list[dict[str, Any]], terms: list[dict[str, Any]], members: list[dict[str, Any]]
) -> None:
    """Invariant W3: no leaf depends on itself, its ancestor or another node's score (but evenness on leaves).

    Variables and nodes are different things that may share a name (a count's only variable and its leaf); a variable
    named like an inner node can only be a mistake.
    """
    parents = {n["node_id"]: n["parent_id"] for n in nodes}
    kinds = {n["node_id"]: n["kind"] for n in nodes}
    needs = [(t["indicator_id"], t["variable"], "variable") for t in terms]
    needs += [(m["indicator_id"], m["member_id"], "member") for m in members]
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


def add_rubric(
    name: str,
    rubric_name: str | None,
    rubric: list[dict[str, str]],
    nodes: list[dict[str, Any]],
    terms: list[dict[str, Any]],
) -> None:
    """Appends the checkpoints of every rubric leaf to `terms`, each checked."""
    leaves = {n["node_id"]: n for n in nodes if n["kind"] == "rubric"}
    seen: set[str] = set()
    scored: set[str] = set()
    for number, row in enumerate(rubric, start=2):
        where = f"{rubric_name}, line {number} ({row['checkpoint']})"
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
        _one_of(str(rubric_name), row["checkpoint"], "evidence_kind", row["evidence_kind"], EVIDENCE)
        seen.add(row["checkpoint"])
        scored.add(row["indicator_id"])
        terms.append(
            dict.fromkeys(TERM_SCHEMA)
            | _shared(leaf)
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
        lower = None if tier["lower"] is None else _number(name, f"tier {tier['id']}", "lower", tier["lower"])
        names = {"name_zh": str(tier["name_zh"]), "name_en": str(tier["name_en"]), "lower": lower}
        rows.append({"index_id": index_id, "edition": edition, "tier_id": str(tier["id"])} | names)
    lowers = [r["lower"] for r in rows]
    falling = all(a is not None and (b is None or a > b) for a, b in itertools.pairwise(lowers))
    if rows and (not falling or lowers[-1] is not None or len({r["tier_id"] for r in rows}) < len(rows)):
        raise ReferenceFileError(
            f"{name}, meta, tiers: bounds {lowers}", "highest first, distinct ids, last lower: null"
        )
    return pl.DataFrame(rows, schema=TIER_SCHEMA)
