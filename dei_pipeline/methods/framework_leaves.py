"""Leaves of a framework file: how the raw value comes about, and how it becomes points.

Rules with fixed thresholds are named here; those of the statistical normalisers come from `normalise.RULES`, so that a
rule that can be computed can be written in a file, and no other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods.choices import SPANS
from dei_pipeline.methods.framework_grammar import NODE_KEYS, TERM_SCHEMA, check_keys, number, one_of
from dei_pipeline.methods.normalise_rules import RULES

UNITS = frozenset(
    {
        "percent",
        "points_0_100",
        "ratio",
        "count",
        "weighted_count",
        "days",
        "years",
        "hours",
        "persons",
        "10k_persons",
        "persons_per_10k",
        "firms",
        "per_100_firms",
        "100m_cny",
        "cny",
        "cny_per_person",
        "yuan_per_10k_yuan",
        "visits_per_1k",
        "log_visits_per_1k",
        "mbps",
        "km",
        "km2",
        "tonnes",
        "tonnes_per_person",
        "kwh",
        "index",
        "score",
    }
)
DIRECTIONS = frozenset({"positive", "negative", "moderate"})
MISSING_POLICIES = frozenset({"renormalise", "zero_is_observed", "impute"})
TRANSFORMS = frozenset({"none", "log1p"})
EVENNESS = frozenset({"gini", "pielou", "coverage", "mixed"})
KIND_ROLES: Mapping[str, frozenset[str]] = {
    "ratio": frozenset({"numerator", "denominator"}),
    "count": frozenset({"count"}),
    "weighted_count": frozenset({"count"}),
    "value": frozenset({"value"}),
    "rubric": frozenset(),
    "evenness": frozenset(),
    "table": frozenset(),
}
RULE_NUMBERS: Mapping[str, frozenset[str]] = {
    "fixed": frozenset({"theta", "lo", "best", "hi"}),
    "winsorised_max": frozenset(),
    "saturation": frozenset({"n_star"}),
    "identity": frozenset(),
}
PLAIN_KEYS = frozenset({"kind", "factor", "transform", "terms"})
KIND_KEYS: Mapping[str, frozenset[str]] = {
    "evenness": frozenset({"kind", "evenness", "members"}),
    "rubric": frozenset({"kind", "factor", "transform"}),
    "table": frozenset({"kind", "factor", "table", "where", "value", "complete"}),
}
LEAF_KEYS = (NODE_KEYS - {"children", "aggregation", "weighting"}) | frozenset(
    {"unit", "direction", "missing_policy", "source_kind", "derivation", "normalisation", "sub_dimension"}
)
LEAF_REQUIRED = LEAF_KEYS - {"note", "sub_dimension"}


@dataclass(frozen=True)
class TableSource:
    """A leaf whose raw value stands in another table of the lake: one row per region and year.

    Attributes:
        indicator_id: the leaf.
        table: `layer/table`.
        where: values that columns of the table have in the rows meant.
        column: column that holds the value.
        factor: factor of the value.
        complete: whether the table has a row for every region by construction; such a row makes none evaluated.
    """

    indicator_id: str
    table: str
    where: Mapping[str, str]
    column: str
    factor: float
    complete: bool = False


def leaf_columns(name: str, node_id: str, node: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns of a leaf (vocabulary, derivation, normalisation), and the options of its normalisation rule."""
    where = f"node {node_id}"
    derivation, rule_block = node["derivation"], node["normalisation"]
    if not isinstance(derivation, dict):
        raise ReferenceFileError(f"{name}, {where}: derivation is {derivation!r}", "write {kind: …, terms: […]}")
    kind = one_of(name, node_id, "derivation kind", derivation.get("kind"), frozenset(KIND_ROLES))
    check_keys(name, f"{where}, derivation", derivation, KIND_KEYS.get(kind, PLAIN_KEYS), frozenset({"kind"}))
    direction = one_of(name, node_id, "direction", node["direction"], DIRECTIONS)
    rule, numbers, options = _rule(name, node_id, rule_block, direction)
    columns = numbers | {
        "unit": one_of(name, node_id, "unit", node["unit"], UNITS),
        "direction": direction,
        "missing_policy": one_of(name, node_id, "missing_policy", node["missing_policy"], MISSING_POLICIES),
        "source_kind": str(node["source_kind"]),
        "sub_dimension": node.get("sub_dimension"),
        "kind": kind,
        "factor": number(name, where, "factor", derivation.get("factor", 1)),
        "transform": one_of(name, node_id, "transform", derivation.get("transform", "none"), TRANSFORMS),
        "evenness": one_of(name, node_id, "evenness", derivation.get("evenness"), EVENNESS)
        if kind == "evenness"
        else None,
        "rule": rule,
    }
    return columns, options


def _rule(name: str, node_id: str, block: Any, direction: str) -> tuple[str, dict[str, Any], dict[str, float | bool]]:
    """The normalisation rule of a leaf, its numbers (columns of the framework table) and its other options."""
    where = f"node {node_id}"
    said = block.get("rule") if isinstance(block, dict) else None
    statistical = RULES.get(str(said))
    known = {"rule", "cap", *RULE_NUMBERS.get(str(said), ())}
    if statistical:
        known = {"rule", "over", *statistical.options, *statistical.given}
    check_keys(name, f"{where}, normalisation", block, frozenset(known), frozenset({"rule"}))
    rule = one_of(name, node_id, "normalisation rule", said, frozenset({*RULE_NUMBERS, *RULES}))
    if statistical is None:
        numbers = {k: number(name, where, k, v) for k, v in block.items() if k != "rule" and v is not None}
        _check_rule(name, where, rule, direction, numbers)
        return rule, numbers, {}
    if direction == "moderate":
        raise ReferenceFileError(f"{name}, {where}: rule {rule} has no meaning for direction moderate", "use fixed")
    for key in statistical.given:
        if block.get(key) is None:
            raise ReferenceFileError(f"{name}, {where}: rule {rule} needs {key}", f"add {key}")
    given = {k: _given(name, where, k, block[k]) for k in statistical.given}
    spans = frozenset(SPANS) if statistical.parameters else frozenset({"year", "panel"})
    over = {"over": one_of(name, node_id, "over", block.get("over", _over(rule)), spans)}
    options = {k: _option(name, where, k, block[k]) for k in statistical.options if block.get(k) is not None}
    return rule, over | given | {k: options.pop(k) for k in ("cap",) if k in options}, options


def _given(name: str, where: str, key: str, value: Any) -> float | str:
    """A parameter that the file gives: a number in the leaf's unit, or for `reference` the code of a region."""
    return str(value) if key == "reference" else number(name, where, key, value)


def _option(name: str, where: str, key: str, value: Any) -> float | bool:
    """An option of a rule: a number, or yes or no."""
    return value if isinstance(value, bool) else number(name, where, key, value)


def _over(rule: str) -> str:
    """What a rule's parameters are computed over unless said: the base year, so that years stay comparable."""
    return "base_year" if RULES[rule].parameters else "year"


def _check_rule(name: str, where: str, rule: str, direction: str, numbers: dict[str, float]) -> None:
    """Numbers of a threshold rule are complete and in order."""
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


def table_source(name: str, leaf: dict[str, Any], derivation: dict[str, Any]) -> list[TableSource]:
    """Where a leaf of kind `table` is read; empty for other kinds."""
    if leaf["kind"] != "table":
        return []
    node_id = leaf["node_id"]
    for key in ("table", "value"):
        if not isinstance(derivation.get(key), str):
            raise ReferenceFileError(
                f"{name}, node {node_id}: derivation lacks {key}", "name layer/table and its column"
            )
    table = derivation["table"].replace(".", "/")
    if table.partition("/")[0] not in ("core", "mart", "index"):
        raise ReferenceFileError(f"{name}, node {node_id}: table {table}", "name a table of core, mart or index")
    if table.startswith(f"index/{leaf['index_id']}_"):
        raise ReferenceFileError(
            f"{name}, node {node_id}: depends on {table}, a table of its own index (circular)",
            "derive it from a table outside the index [methodology §1.1, W3]",
        )
    where = derivation.get("where") or {}
    if not isinstance(where, dict):
        raise ReferenceFileError(f"{name}, node {node_id}: where is {where!r}", "write {column: value}")
    complete = derivation.get("complete", False)
    if not isinstance(complete, bool):
        raise ReferenceFileError(f"{name}, node {node_id}: complete is {complete!r}", "write true or false")
    found = {str(k): str(v) for k, v in where.items()}
    return [TableSource(node_id, table, found, derivation["value"], leaf["factor"], complete)]


def terms_of(name: str, leaf: dict[str, Any], derivation: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of `terms` of one leaf that is derived from named variables."""
    node_id, roles = leaf["node_id"], KIND_ROLES[leaf["kind"]]
    rows: list[dict[str, Any]] = []
    for term in derivation.get("terms") or ():
        check_keys(
            name, f"node {node_id}, term", term, frozenset({"variable", "role", "factor"}), frozenset({"variable"})
        )
        row = dict.fromkeys(TERM_SCHEMA) | shared(leaf)
        row["variable"] = str(term["variable"])
        row["role"] = one_of(name, node_id, "role", term.get("role"), roles)
        row["factor"] = number(name, f"node {node_id}", "factor", term.get("factor", 1))
        if row["variable"] in {r["variable"] for r in rows}:
            raise ReferenceFileError(f"{name}, node {node_id}: variable {row['variable']} twice", "merge the two terms")
        rows.append(row)
    for role in sorted(roles - {r["role"] for r in rows}):
        raise ReferenceFileError(f"{name}, node {node_id}: kind {leaf['kind']} lacks a term with role {role}", "add it")
    if leaf["kind"] == "value" and len(rows) > 1:
        raise ReferenceFileError(f"{name}, node {node_id}: kind value has {len(rows)} terms", "keep one")
    return rows


def shared(leaf: dict[str, Any]) -> dict[str, Any]:
    """Columns that all terms of a leaf share."""
    shared = {k: leaf[k] for k in ("index_id", "edition", "kind", "transform", "unit", "missing_policy")}
    return shared | {"indicator_id": leaf["node_id"], "scale": leaf["factor"]}


def members_of(name: str, leaf: dict[str, Any], derivation: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of `members` of one evenness leaf."""
    if leaf["kind"] != "evenness":
        return []
    members = derivation.get("members") or []
    if len(members) < 2 or len(set(members)) < len(members):
        raise ReferenceFileError(
            f"{name}, node {leaf['node_id']}: members {members}", "list two or more leaves, once each"
        )
    return [{"indicator_id": leaf["node_id"], "member_id": str(m)} for m in members]
