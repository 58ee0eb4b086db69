"""Robustness of an index as tables with lineage: ranks and tiers under uncertainty, sensitivities, correlations.

What varies is `meta.robustness` of the framework; every table is one year at a time, seeded, and says in its notes what
happened to the replications [methodology §3.25].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods import imputers, normalise
from dei_pipeline.methods.assumptions import (
    AGGREGATION,
    AS_GIVEN,
    INPUT_ERROR,
    LEAF_WEIGHTS,
    NODE_WEIGHTS,
    THRESHOLDS,
    WEIGHTS,
    Assumptions,
    Scenario,
    theta_exponents,
)
from dei_pipeline.methods.choices import Robustness
from dei_pipeline.methods.correlations import with_parent
from dei_pipeline.methods.decompose import uncapped
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.framework_grammar import AGGREGATE
from dei_pipeline.methods.index_tables import CELL, NODE, Floats, definition, matrix, table_of
from dei_pipeline.methods.multivariate import cronbach_alpha
from dei_pipeline.methods.robustness import removal, simulate
from dei_pipeline.methods.sampling import Choice, Factor, Spread
from dei_pipeline.methods.sobol import sobol_index
from dei_pipeline.methods.statistics import constant
from dei_pipeline.provenance import Table, make_edges

NORMALISATION, IMPUTATION = "normalisation", "imputation"
OPTIONS: Mapping[str, Mapping[str, float]] = {"z_score": {"to_mean": 50.0, "to_sd": 10.0}}  # on the scale of points
EQUAL = "equal"
SENSITIVITY: dict[str, Any] = {"year": pl.Int32, "assumption": pl.String} | dict.fromkeys(
    ("first", "first_low", "first_high", "total", "total_low", "total_high"), pl.Float64
)
LEAST = 4  # regions of a year without which a correlation says nothing
TOLERANCE = 1e-9  # points between the composite of the lake and that of the simulation


@dataclass(frozen=True)
class Year:
    """One year of an index as the simulation needs it.

    Attributes:
        framework: the index with the weights in force.
        cells: region_code and year of the rows.
        assumptions: what varies.
        composite: composites of the lake, points; NaN without one.
    """

    framework: Framework
    cells: pl.DataFrame
    assumptions: Assumptions
    composite: Floats


def year_of(
    framework: Framework,
    normalised: pl.DataFrame,
    thresholds: pl.DataFrame,
    weights: pl.DataFrame,
    scores: pl.DataFrame,
) -> Year:
    """One year of an index with its assumptions, checked against the composites of the lake.

    Alternatives of normalisation are computed from the raw values of the year (a moderate leaf from its score); a leaf
    that is constant in the year has no score under them. Every leaf on a threshold keeps its own cap. Where weights are
    data-driven, equal weights are the alternative.

    Args:
        framework: the index; `choices.robustness`.
        normalised, scores: rows of one year of `index/<index>_normalised` and `_scores`.
        thresholds, weights: `index/thresholds` and `index/<index>_weights`.

    Raises:
        MethodError: the framework varies nothing; see `assumptions.Assumptions`.
    """
    choice = _choice(framework)
    given = dict(weights.filter(edition=framework.edition).select("node_id", "weight").iter_rows())
    weighted = framework.with_weights(given)
    root = scores.filter(pl.col("node_id") == framework.root).drop_nulls("score").sort(CELL)
    cells = root.select(CELL)
    score, raw = (matrix(cells, normalised, framework.leaf_ids, name, "indicator_id") for name in ("score", "raw"))
    limits = {row["indicator_id"]: row for row in thresholds.filter(edition=framework.edition).iter_rows(named=True)}
    free, caps = _uncapped(framework, raw, score, limits)
    exponents = theta_exponents(framework)
    nominal = Scenario(free, caps, exponents if choice.threshold > 0 and exponents.any() else None)
    rules = [_rescored(framework, rule, raw, score) for rule in choice.normalisation]
    alternatives = {AS_GIVEN: nominal} | {
        rule: Scenario(rescored, comparable=False) for rule, rescored in zip(choice.normalisation, rules, strict=True)
    }
    scenarios, data_choices = _scenarios(alternatives, choice)
    found = Assumptions(
        weighted,
        scenarios,
        (*_factors(weighted, choice, nominal, bool(framework.data_driven)), *data_choices),
        weight_sets={EQUAL: _equal(framework)} if framework.data_driven else {},
    )
    return Year(weighted, cells, found, root["score"].to_numpy())


def years_of(
    framework: Framework,
    normalised: pl.DataFrame,
    thresholds: pl.DataFrame,
    weights: pl.DataFrame,
    scores: pl.DataFrame,
) -> list[Year]:
    """Every year in which a region has a composite; arguments and errors as in `year_of`, rows of any years.

    Raises:
        NothingToDo: there is no such year.
    """
    held = (
        scores.filter((pl.col("node_id") == framework.root) & pl.col("score").is_not_null())["year"]
        .unique()
        .sort()
        .to_list()
    )
    if not held:
        raise NothingToDo(f"no region has a composite of {framework.index_id}")
    return [
        year_of(
            framework,
            normalised.filter(pl.col("year") == year),
            thresholds,
            weights,
            scores.filter(pl.col("year") == year),
        )
        for year in held
    ]


def _choice(framework: Framework) -> Robustness:
    """What the framework varies."""
    if framework.choices.robustness is None:
        raise MethodError(f"{framework.index_id} varies nothing", "add meta.robustness")
    return framework.choices.robustness


def _uncapped(
    framework: Framework, raw: Floats, score: Floats, limits: Mapping[str, Mapping[str, Any]]
) -> tuple[Floats, Floats]:
    """Scores before the caps of the leaves on thresholds, and those caps; infinite for every other leaf."""
    free, caps = score.copy(), np.full(score.shape[1], np.inf)
    for j, (leaf, on_theta) in enumerate(zip(framework.leaf_ids, theta_exponents(framework), strict=True)):
        if on_theta and leaf in limits:
            free[:, j] = uncapped(raw[:, j], limits[leaf])
            caps[j] = np.inf if limits[leaf]["cap"] is None else limits[leaf]["cap"]
    return free, caps


def _rescored(framework: Framework, rule: str, raw: Floats, score: Floats) -> Floats:
    """Leaf scores of the year under another rule; NaN for a leaf that is constant."""
    result = np.full(score.shape, np.nan)
    kinds = framework.leaves.select("direction", "kind").rows()
    for j, (direction, kind) in enumerate(kinds):
        by_score = direction == "moderate" or kind == "evenness"
        data = score[:, j] if by_score else raw[:, j]
        if (~np.isnan(data)).any() and not constant(data):
            towards = "positive" if by_score else direction
            leaf, options = framework.leaf_ids[j], OPTIONS.get(rule, {})
            parameters = normalise.fit(rule, data, towards, leaf)
            result[:, j] = normalise.score(rule, data, towards, parameters, leaf, **options)
    return result


def _scenarios(
    alternatives: Mapping[str, Scenario], choice: Robustness
) -> tuple[dict[tuple[str, ...], Scenario], list[Factor]]:
    """Scenarios by normalisation and imputation, and the choices that pick one."""
    names = {NORMALISATION: tuple(alternatives), IMPUTATION: (AS_GIVEN, *choice.imputation)}
    varied = [name for name, options in names.items() if len(options) > 1]
    scenarios: dict[tuple[str, ...], Scenario] = {}
    for rule, method in product(*names.values()):
        scenario = alternatives[rule]
        if method != AS_GIVEN:
            fill = imputers.mean if method == "mean" else imputers.median
            filled = fill(scenario.scores).values
            scenario = Scenario(filled, scenario.cap, scenario.theta_exponents, None, scenario.comparable)
        scenarios[tuple(v for n, v in zip(names, (rule, method), strict=True) if n in varied)] = scenario
    return scenarios, [Choice(name, names[name]) for name in varied]


def _factors(framework: Framework, choice: Robustness, nominal: Scenario, data_driven: bool) -> list[Factor]:
    """What varies besides the data."""
    factors: list[Factor] = []
    inner = framework.nodes.filter((pl.col("kind") == AGGREGATE) & (pl.col("level") > 0)).height
    if choice.weights > 0:
        factors.append(Spread(LEAF_WEIGHTS, choice.weights))
        factors += [Spread(NODE_WEIGHTS, choice.weights)] if inner else []
    if nominal.theta_exponents is not None:
        factors.append(Spread(THRESHOLDS, choice.threshold))
    if choice.input_error > 0:
        factors.append(Spread(INPUT_ERROR, choice.input_error, "normal"))
    own = set(framework.nodes["aggregation"].drop_nulls())
    others = tuple(mean for mean in choice.aggregation if own != {mean})
    factors += [Choice(AGGREGATION, (AS_GIVEN, *others))] if others else []
    factors += [Choice(WEIGHTS, (AS_GIVEN, EQUAL))] if data_driven else []
    return factors


def _equal(framework: Framework) -> dict[str, float]:
    """Equal weights of the children of every node whose weights are data-driven."""
    found: dict[str, float] = {}
    for node in framework.data_driven:
        children = framework.children_of(node)
        found |= dict.fromkeys(children, 1.0 / len(children))
    return found


def robustness(framework: Framework, year: Year) -> Table:
    """Ranks and tiers under uncertainty, key region_code, year; columns as `robustness.Robustness.units`.

    Args:
        framework: the index.
        year: from `year_of`.

    Returns:
        Table; edges to the city's leaf scores (role value) and to the framework's root (role assumptions). `notes`:
        replications, seed, and every event with its count.

    Raises:
        MethodError: the nominal replication does not give the composites of the lake.
    """
    choice = _choice(framework)
    result = simulate(year.assumptions, choice.replications, choice.seed, choice.top)
    units = result.units
    apart = np.abs(units["score"].fill_null(float("nan")).to_numpy() - year.composite)
    if not (apart <= TOLERANCE).all():
        where = "|".join(str(v) for v in year.cells.row(int(np.nanargmax(np.nan_to_num(apart, nan=np.inf)))))
        raise MethodError(
            f"{table_of(framework, 'robustness')} {where}: the nominal replication does not give the composite",
            "its normalised scores, thresholds or weights are of another version: `dei run --all`",
        )
    frame = year.cells.hstack(units.drop("row", "group"))
    edges = [
        make_edges(_leaf_keys(framework, frame), CELL, table_of(framework, "normalised"), [*CELL, "leaf"], "value"),
        _root_edges(framework, frame, CELL),
    ]
    counted = result.events.group_by("event", maintain_order=True).agg(pl.col("count").sum())
    events = [f"{year.cells['year'][0]} {event}: {count}" for event, count in counted.iter_rows()]  # lists join years
    notes = {"replications": choice.replications, "seed": choice.seed, "events": events}
    return Table(frame, pl.concat(edges), notes=notes)


def _leaf_keys(framework: Framework, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of a table by region and year, once per leaf."""
    return frame.select(CELL).join(pl.DataFrame({"leaf": framework.leaf_ids}), how="cross")


def _root_edges(framework: Framework, frame: pl.DataFrame, child: list[str]) -> pl.DataFrame:
    """Edges to the framework's root: what varies."""
    return definition(frame.with_columns(_root=pl.lit(framework.root)), framework, child, "_root", "assumptions")


def probabilities(framework: Framework, year: Year) -> Table:
    """Probability of every tier and of the first k ranks, key region_code, year, event | probability.

    `event` is `tier:<tier>` or `top:<k>`; the tiers of a city add up to 1. Replications as in `robustness`.

    Returns:
        Table; edges to `index/<index>_robustness` (role replications).
    """
    choice = _choice(framework)
    result = simulate(year.assumptions, choice.replications, choice.seed, choice.top)
    keyed = year.cells.with_row_index("row").cast({"row": pl.Int64})
    tiers = result.tiers.drop_nulls("probability").select(
        "row", pl.format("tier:{}", "tier").alias("event"), "probability"
    )
    tops = [
        result.units.select("row", pl.lit(f"top:{k}").alias("event"), pl.col(f"p_top_{k}").alias("probability"))
        for k in choice.top
    ]
    frame = pl.concat([tiers, *(top.drop_nulls("probability") for top in tops)]).join(keyed, on="row").drop("row")
    key = [*CELL, "event"]
    return Table(frame, make_edges(frame, key, table_of(framework, "robustness"), CELL, "replications"))


def sensitivities(framework: Framework, year: Year) -> Table:
    """Sobol' indices of the mean absolute rank shift, key year, assumption | first and total order with intervals.

    Returns:
        Table; edges to the ranks of the year (role group) and to the framework's root (role assumptions); no row where
        no rank moves (noted).
    """
    choice = _choice(framework)
    tried = simulate(year.assumptions, choice.sobol, choice.seed).replications["mean_abs_rank_shift"]
    if tried.drop_nulls().n_unique() < 2:
        return Table(pl.DataFrame(schema=SENSITIVITY), notes={"no_rank_moves": [str(year.cells["year"][0])]})
    found = sobol_index(year.assumptions, choice.sobol, choice.seed).indices
    frame = found.filter(pl.col("output") == "mean_abs_rank_shift").rename({"factor": "assumption"})
    frame = frame.select(pl.lit(year.cells["year"][0], pl.Int32).alias("year"), *list(SENSITIVITY)[1:])
    return Table(frame, _year_edges(framework, frame, ["year", "assumption"], year.cells))


def _year_edges(framework: Framework, frame: pl.DataFrame, key: list[str], cells: pl.DataFrame) -> pl.DataFrame:
    """Edges of rows that stand for a whole year: to every rank of it, and to the framework's root."""
    ranked = frame.select(key).join(cells.select("region_code"), how="cross")
    ranks = make_edges(ranked, key, table_of(framework, "ranks"), CELL, "group")
    return pl.concat([ranks, _root_edges(framework, frame, key)])


def removals(framework: Framework, year: Year) -> Table:
    """What the removal of each leaf or node does, key year, node_id | shifts of rank (places) and of score (points).

    Returns:
        Table; edges to the element's weight (role removed), to the ranks of the year (role group) and to the
        framework's root (role assumptions).
    """
    found = removal(year.assumptions).elements.rename({"element": "node_id"}).drop("kind")
    frame = found.with_columns(year=pl.lit(year.cells["year"][0], pl.Int32))
    key = ["year", "node_id"]
    weight = make_edges(frame, key, table_of(framework, "weights"), [pl.lit(framework.edition), "node_id"], "removed")
    return Table(frame, pl.concat([weight, _year_edges(framework, frame, key, year.cells)]))


def correlations(framework: Framework, scores: pl.DataFrame) -> Table:
    """Correlation of every node with its ancestors, key year, node_id, ancestor_id | levels_up, r, n, p, alpha.

    Pearson over the regions of the year that have both; `alpha` is Cronbach's alpha of the node's siblings, itself
    among them, over the regions that have them all. Pairs that are undefined (a constant node) have no r.

    Args:
        framework: the index.
        scores: `index/<index>_scores`; each year by itself.

    Returns:
        Table; edges to the scores of the node in the year (role value).

    Raises:
        NothingToDo: no year has four regions with a composite.
    """
    whole = scores.filter((pl.col("node_id") == framework.root) & pl.col("score").is_not_null()).select(CELL).sort(CELL)
    parts = [cells for cells in whole.partition_by("year") if cells.height >= LEAST]
    if not parts:
        raise NothingToDo(f"fewer than {LEAST} regions have a composite of {framework.index_id}: no correlation")
    frame = pl.concat([_correlations_of(framework, cells, scores) for cells in parts])
    key = ["year", "node_id", "ancestor_id"]
    rows = frame.select(key).join(pl.concat(parts), on="year")
    return Table(frame, make_edges(rows, key, table_of(framework, "scores"), NODE, "value"))


def _correlations_of(framework: Framework, cells: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Rows of `correlations` of one year."""
    nodes, parents = framework.nodes["node_id"].to_list(), framework.nodes["parent_id"].to_list()
    table = matrix(cells, scores, nodes, "score")
    found = with_parent(table, nodes, parents, ancestors=True)
    inner = [node for node in dict.fromkeys(parents) if node is not None]
    alphas = {node: _alpha(table, [nodes.index(child) for child in framework.children_of(node)]) for node in inner}
    of_node = {node: alphas[parent] for node, parent in zip(nodes, parents, strict=True) if parent is not None}
    return found.with_columns(
        year=pl.lit(cells["year"][0], pl.Int32),
        alpha=pl.col("node_id").replace_strict(of_node, return_dtype=pl.Float64),
    )


def _alpha(table: Floats, columns: Sequence[int]) -> float | None:
    """Cronbach's alpha of some columns over the complete rows; None for one column, or where a column is constant."""
    rows = table[:, columns]
    rows = rows[~np.isnan(rows).any(axis=1)]
    if len(columns) < 2 or len(rows) < 3 or constant(rows).any():
        return None
    return cronbach_alpha(rows)
