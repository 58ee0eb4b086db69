"""Thresholds and other parameters of normalisation, per leaf and edition, with the rows that determine them.

Parameters computed from the base year are frozen with the edition's release, so that scores of different years can be
compared [methodology §3.1]; a rule that compares the regions of one year with each other has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.index_tables import LEAF, before, by_indicator, definition, table_of
from dei_pipeline.methods.normalise import fit
from dei_pipeline.methods.normalise_rules import RULES, Rule
from dei_pipeline.methods.statistics import constant
from dei_pipeline.methods.treat import winsorised_max
from dei_pipeline.provenance import Table, concat_tables, make_edges, no_edges

KEY = ["edition", "indicator_id"]
NUMBERS = ("theta", "lo", "best", "hi", "mean", "sd", "worst", "target", "reference")
WINSORISED = "winsorised_max"
SPREADS = {"hi", "sd", "worst"}  # parameters that a constant leaf has no use for


def thresholds(framework: Framework, values: pl.DataFrame) -> Table:
    """Parameters of every leaf: key edition, indicator_id | theta … reference, direction, cap, rule, over.

    Numbers in the unit of the leaf: theta `fixed` as the framework gives it, `winsorised_max` of the base year
    (inferred default, methodology §3.1, §6 row 5), `saturation` n*, `identity` 100 (the raw value is the score); the
    others as `normalise.fit` computes them over the base year or the whole panel. A rule over one year has a row
    without numbers. A leaf without a value, or with equal values where a spread is needed, has no row: `normalised`
    then gives no score, visibly.

    Args:
        framework: the index.
        values: leaf values before normalisation, all years.

    Returns:
        Table; edges to the rows that determine a number (role maximum, coefficient 1 if it is one row; treated points:
        role treated, coefficient 0; else role group), and but for winsorised maxima to `core/framework`. `notes` lists
        leaves without threshold, constant leaves, and leaves that five winsorised points did not tame.

    Raises:
        NothingToDo: no value of the base year.
        MethodError: a maximum that is not positive, or what `normalise.fit` raises.
    """
    base = values.filter(pl.col("year") == framework.base_year)
    leaves = framework.observed_leaves
    fixed = leaves.filter((pl.col("rule") == WINSORISED) | (pl.col("over") == "base_year"))
    if fixed.height and values.height and base["value"].null_count() == base.height:
        raise NothingToDo(
            f"{table_of(framework, 'inputs')} holds no value of the base year {framework.base_year} of edition "
            f"{framework.edition}; ingest {framework.base_year}, or fix the thresholds in {framework.file}"
        )
    of_base, of_panel = (by_indicator(part.drop_nulls("value").sort(LEAF)) for part in (base, values))
    computed: dict[str, Mapping[str, float]] = {}
    edges = [no_edges()]
    notes: dict[str, list[str]] = {"without_threshold": [], "constant": [], "not_tamed": []}
    for leaf in leaves.iter_rows(named=True):
        moving = leaf["rule"] == WINSORISED or leaf["rule"] in RULES
        rows = (of_base if leaf["rule"] == WINSORISED or leaf["over"] == "base_year" else of_panel).get(leaf["node_id"])
        if moving and rows is None:
            notes["without_threshold"].append(leaf["node_id"])
        elif leaf["rule"] == WINSORISED and rows is not None:
            computed[leaf["node_id"]] = _winsorised(framework, leaf["node_id"], rows, edges, notes)
        elif moving and rows is not None:
            _fitted(framework, leaf, rows, computed, edges, notes)
    lost = notes["without_threshold"] + notes["constant"]
    frame = _frame(framework, computed).filter(~pl.col("indicator_id").is_in(lost))
    given = frame.filter(pl.col("rule") != WINSORISED)
    edges.append(definition(given, framework, KEY, "indicator_id", "definition"))
    return Table(frame, pl.concat(edges), notes=dict(notes))


def of_every_index(held: Sequence[tuple[Framework, pl.DataFrame]]) -> Table:
    """`index/thresholds`: the parameters of every index whose base year has values; the others are noted.

    Args:
        held: each index with its leaf values before normalisation.

    Raises:
        NothingToDo: no index has a value of its base year; gives the reasons.
    """
    parts, reasons = [], []
    for framework, values in held:
        try:
            parts.append(thresholds(framework, values))
        except NothingToDo as nothing:
            reasons.append(str(nothing))
    if not parts:
        raise NothingToDo("; ".join(reasons) or "no index has inputs in this lake")
    table = concat_tables(parts)
    return replace(table, notes=table.notes | {"skipped": reasons})


def _winsorised(
    framework: Framework, leaf: str, rows: pl.DataFrame, edges: list[pl.DataFrame], notes: dict[str, list[str]]
) -> dict[str, float]:
    """The winsorised maximum of a leaf; adds the edges to what determines it."""
    result = winsorised_max(rows["value"].to_numpy())
    if result.theta <= 0:
        raise MethodError(
            f"{leaf}: the largest value of {framework.base_year} is {result.theta:g}, no threshold",
            f"correct its source, or fix theta in {framework.file}",
        )
    notes["not_tamed"] += [] if result.passed else [leaf]
    child = [pl.lit(framework.edition), pl.lit(leaf)]
    single = 1.0 if len(result.maximum) == 1 else None
    for at, role, slope in ((result.maximum, "maximum", single), (result.treated, "treated", 0.0)):
        edges.append(make_edges(rows[at], child, before(framework), LEAF, role, slope))
    return {"theta": result.theta}


def _fitted(
    framework: Framework,
    leaf: dict[str, Any],
    rows: pl.DataFrame,
    computed: dict[str, Mapping[str, float]],
    edges: list[pl.DataFrame],
    notes: dict[str, list[str]],
) -> None:
    """Parameters of a statistical rule, none for one year; adds edges to the group that they come from."""
    rule, node = RULES[leaf["rule"]], leaf["node_id"]
    raw = rows["value"].to_numpy()
    if leaf["over"] == "year" or not rule.parameters:
        computed[node] = {}
    elif needs_spread(rule) and constant(raw):
        notes["constant"].append(node)
        return
    else:
        computed[node] = fit(leaf["rule"], raw, leaf["direction"], node, **given_numbers(leaf, rows))
    child = [pl.lit(framework.edition), pl.lit(node)]
    edges.append(make_edges(rows, child, before(framework), LEAF, "group"))


def needs_spread(rule: Rule) -> bool:
    """Whether a rule has no score for regions that are all equal: it compares them with one another."""
    return not rule.parameters or bool(SPREADS & (set(rule.parameters) - set(rule.given)))


def given_numbers(leaf: Mapping[str, Any], rows: pl.DataFrame) -> dict[str, float]:
    """The parameters of a rule that do not come from the distribution: from the file, or the value of the region named.

    Raises:
        MethodError: the reference region has no value.
    """
    numbers = {}
    for name in RULES[leaf["rule"]].given:
        if name == "reference":
            found = rows.filter(pl.col("region_code") == leaf["reference"]).sort("year")["value"]
            if not found.len():
                raise MethodError(
                    f"{leaf['node_id']}: reference region {leaf['reference']} has no value", "name another region"
                )
            numbers[name] = float(found[-1])
        else:
            numbers[name] = float(leaf[name])
    return numbers


def _frame(framework: Framework, computed: Mapping[str, Mapping[str, float]]) -> pl.DataFrame:
    """Rows of all leaves: what was computed, else what the framework gives."""
    plain = framework.leaves.with_columns(
        theta=pl.when(pl.col("rule") == "saturation")
        .then("n_star")
        .when(pl.col("rule") == "identity")
        .then(100.0)
        .otherwise("theta"),
        **{name: pl.lit(None, pl.Float64) for name in NUMBERS if name not in framework.leaves.columns},
        reference=pl.lit(None, pl.Float64),
    )
    rows = [row | dict(computed.get(row["node_id"], {})) for row in plain.iter_rows(named=True)]
    schema = {"edition": pl.String, "node_id": pl.String, **dict.fromkeys(NUMBERS, pl.Float64), "cap": pl.Float64}
    schema |= {"direction": pl.String, "rule": pl.String, "over": pl.String}
    frame = pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema)
    return frame.rename({"node_id": "indicator_id"})
