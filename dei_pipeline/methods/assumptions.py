"""An index with uncertain assumptions, and its scores under any draw of them [methodology §3.25, §0a «Robustness»].

Replications that share their discrete choices are computed together, a chunk at a time: one operation per leaf and node
on an array (replications, rows). What a replication yields does not depend on the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.aggregate import Mean, climb, floored, means_of, rows_by_label, sibling_weights
from dei_pipeline.methods.choices import MEANS
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.sampling import SEEDS, Choice, Factor, Spread, check_factor, draw, uniforms

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
CELLS = 32_768  # of an array of a chunk: replications × rows; small enough for the cache
LEAF_WEIGHTS, NODE_WEIGHTS, THRESHOLDS, INPUT_ERROR = "leaf_weights", "node_weights", "thresholds", "input_error"
WEIGHTS, AGGREGATION, DROP = "weights", "aggregation", "drop"
SPREADS = (LEAF_WEIGHTS, NODE_WEIGHTS, THRESHOLDS, INPUT_ERROR)
AS_GIVEN = "framework"  # the weights or the aggregation of the framework
NOTHING = "none"  # no element is dropped
PROPORTIONAL = {"positive": -1.0, "negative": 1.0}  # score ∝ θ^−1, θ^1 [methodology §3.1]


@dataclass(frozen=True)
class Scenario:
    """Leaf scores under one combination of data choices (normalisation, imputation, treatment …).

    Attributes:
        scores: points before any cap, shape (rows, leaves), leaves in file order; NaN = missing.
        cap: largest score in points, applied after thresholds and errors: one for all leaves, or one per leaf (infinite
            for a leaf without); None: no cap.
        theta_exponents: e per leaf where a threshold m·θ makes the score s·m^e; None: thresholds play no part here.
        error_points: points per relative error 1 of the raw value, shape of scores; the scores themselves if None, as
            for proportional scores.
        comparable: on the scale of the nominal scores and tiers: counts for statistics of scores, not only of ranks.
    """

    scores: ArrayLike
    cap: ArrayLike | None = None
    theta_exponents: ArrayLike | None = None
    error_points: ArrayLike | None = None
    comparable: bool = True


@dataclass(frozen=True)
class Assumptions:
    """An index and what is uncertain about it.

    Attributes:
        framework: tree, weights, means, tiers.
        scenarios: leaf scores by options of the data choices, in the order in which `factors` has these;
            `{(): Scenario(scores)}` if no data choice varies.
        factors: what varies. Spreads `leaf_weights` and `node_weights` (multipliers, renormalised within siblings),
            `thresholds` (multipliers of θ), `input_error` (relative errors of every raw value); choices `weights`
            (`framework` or a name of `weight_sets`), `aggregation` (`framework`, a word of `choices.MEANS` or a name of
            `aggregations`), `drop` (`none` or a node, which gets weight 0); every other choice picks a scenario.
        weight_sets: weights within the parent by node, by name of the set.
        aggregations: means by name, for generalised means.
        groups: label of each row, as its year: ranks and Copeland compare rows of the same label.
        min_coverage: in place of the framework's.
    """

    framework: Framework
    scenarios: Mapping[tuple[str, ...], Scenario]
    factors: tuple[Factor, ...] = ()
    weight_sets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    aggregations: Mapping[str, Mean] = field(default_factory=dict)
    groups: ArrayLike | None = None
    min_coverage: float | None = None

    def __post_init__(self) -> None:
        """Rejects what could not be computed, before anything is.

        Raises:
            MethodError: names the factor, option, target or scenario, and what is known.
        """
        names = [f.name for f in self.factors]
        if len(set(names)) < len(names):
            raise MethodError(f"a factor twice among {', '.join(names)}", "name each factor once")
        for factor in self.factors:
            if isinstance(factor, Spread) and factor.name not in SPREADS:
                raise MethodError(f"unknown factor {factor.name}", f"factors on quantities: {', '.join(SPREADS)}")
            if isinstance(factor, Choice) and factor.name in SPREADS:
                raise MethodError(f"factor {factor.name} is no choice", "give it as a Spread")
            check_factor(factor, self.targets.get(factor.name, ()))
            _check_options(self, factor)
        wanted = set(product(*(c.options for c in self.data_choices)))
        if set(self.scenarios) != wanted:
            odd = sorted(set(self.scenarios) ^ wanted)[0]
            raise MethodError(
                f"scenario {odd} is {'missing' if odd in wanted else 'of no combination of options'}",
                f"choices that pick no scenario: {WEIGHTS}, {AGGREGATION}, {DROP}; options of the others, in order: "
                + "; ".join(f"{c.name}: {', '.join(c.options)}" for c in self.data_choices),
            )
        for key in self.scenarios:
            _check_scenario(self, key)
        thetas = any(s.theta_exponents is not None for s in self.scenarios.values())
        if THRESHOLDS in names and not thetas:
            raise MethodError("factor thresholds, but no scenario rests on thresholds", "give theta_exponents")

    @cached_property
    def rows(self) -> int:
        """Number of rows (cities, or cities × years)."""
        return len(_floats(next(iter(self.scenarios.values())).scores)) if self.scenarios else 0

    @cached_property
    def row_groups(self) -> list[Integers]:
        """Rows that are ranked together."""
        return rows_by_label(self.groups, self.rows)

    @cached_property
    def data_choices(self) -> tuple[Choice, ...]:
        """Choices that pick a scenario."""
        return tuple(f for f in self.factors if isinstance(f, Choice) and f.name not in (WEIGHTS, AGGREGATION, DROP))

    @cached_property
    def targets(self) -> Mapping[str, tuple[str, ...]]:
        """What each spread acts on: leaves, or nodes between root and leaves."""
        leaves = self.framework.leaf_ids
        nodes = tuple(n for n in list(self.framework.positions)[1:] if n not in set(leaves))
        return {LEAF_WEIGHTS: leaves, NODE_WEIGHTS: nodes, THRESHOLDS: leaves, INPUT_ERROR: leaves}

    @cached_property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """Columns of the sample by factor."""
        found: dict[str, tuple[str, ...]] = {}
        for f in self.factors:
            if isinstance(f, Choice) or f.name == INPUT_ERROR:
                found[f.name] = (f.name,)
            else:
                found[f.name] = tuple(f"{f.name}:{t}" for t in self.targets[f.name] if f.size_of(t) > 0)
        return found

    def sample(self, n: int, seed: int = 0, correlation: Mapping[tuple[str, str], float] | None = None) -> pl.DataFrame:
        """n draws of all factors; a smaller n gives the first rows of a larger one.

        Raises:
            MethodError: n below 1, or nothing varies; see `sampling.uniforms`.
        """
        if n < 1:
            raise MethodError(f"{n} replications", "give at least 1")
        columns = [c for of in self.columns.values() for c in of]
        if not columns:
            raise MethodError(f"nothing about {self.framework.index_id} is uncertain", "give at least one factor")
        return draw(uniforms(n, columns, seed, correlation), self.factors, self.columns)

    def draw(self, u: ArrayLike) -> pl.DataFrame:
        """The sample of given numbers in (0, 1), one column per column of the sample."""
        return draw(_floats(u), self.factors, self.columns)


def _floats(x: ArrayLike) -> Floats:
    return np.asarray(x, dtype=np.float64)


def _check_options(of: Assumptions, factor: Factor) -> None:
    """Options of the choices that pick no scenario must exist."""
    known: dict[str, Sequence[str]] = {
        WEIGHTS: (AS_GIVEN, *of.weight_sets),
        AGGREGATION: (AS_GIVEN, *(m for m in MEANS if m != "generalised"), *of.aggregations),
        DROP: (NOTHING, *removable(of.framework)),
    }
    if isinstance(factor, Choice) and factor.name in known:
        for option in factor.options:
            if option not in known[factor.name]:
                raise MethodError(
                    f"factor {factor.name}: unknown option {option}", f"known: {', '.join(known[factor.name])}"
                )


def _check_scenario(of: Assumptions, key: tuple[str, ...]) -> None:
    """Scores must be finite and of one shape, and so must be what goes with them."""
    scenario, leaves = of.scenarios[key], of.framework.leaf_ids
    scores = _floats(scenario.scores)
    if scores.shape != (of.rows, len(leaves)):
        raise MethodError(
            f"scenario {key}: scores of shape {scores.shape}", f"give {of.rows} rows × {len(leaves)} leaves"
        )
    if np.isinf(scores).any():
        worst = leaves[int(np.isinf(scores).any(axis=0).argmax())]
        raise MethodError(f"scenario {key}: infinite score of {worst}", "correct the score")
    if scenario.theta_exponents is not None:
        exponents = _floats(scenario.theta_exponents)
        if exponents.shape != (len(leaves),) or not np.isfinite(exponents).all():
            raise MethodError(f"scenario {key}: bad theta_exponents", f"give {len(leaves)} finite numbers")
    if scenario.cap is not None and _floats(scenario.cap).shape not in ((), (len(leaves),)):
        raise MethodError(f"scenario {key}: caps of shape {_floats(scenario.cap).shape}", "give one, or one per leaf")
    if scenario.error_points is not None:
        points = _floats(scenario.error_points)
        if points.shape != scores.shape or not np.isfinite(points[~np.isnan(scores)]).all():
            raise MethodError(f"scenario {key}: bad error_points", "give a finite one for each score")


def removable(framework: Framework) -> tuple[str, ...]:
    """Nodes without which there still is an index, in node order."""
    return tuple(n for n in framework.positions if _dropped(framework, n) != 0)


def _dropped(framework: Framework, node: str) -> int:
    """Position of what goes with a node: the node, or its highest ancestor all of whose descendants it is."""
    at = framework.positions[node]
    parents = {c: p for p, children in enumerate(framework.child_positions) for c in children}
    while at and len(framework.child_positions[parents[at]]) == 1:
        at = parents[at]
    return at


def theta_exponents(framework: Framework) -> Floats:
    """Exponents e per leaf for `Scenario`: −1 for positive, 1 for negative leaves on a threshold, else 0.

    Moderate, saturating and identity leaves are not proportional to a power of a threshold: they are held fixed.
    """
    on_theta = framework.leaves["rule"].is_in(["fixed", "winsorised_max"])
    return np.array(
        [
            PROPORTIONAL.get(direction, 0.0) if yes else 0.0
            for direction, yes in zip(framework.leaves["direction"], on_theta, strict=True)
        ]
    )


@dataclass(frozen=True)
class Chunk:
    """Composite scores of some replications.

    Attributes:
        at: their positions in the sample.
        scores: points, shape (replications, rows); NaN where there is no score.
        floored: values raised to 1e-6 in each.
        zero_sum: replications in which the weights of some siblings sum to 0; they have no scores.
        comparable: on the scale of the nominal scores.
    """

    at: Integers
    scores: Floats
    floored: Integers
    zero_sum: NDArray[np.bool_]
    comparable: bool


def evaluate(assumptions: Assumptions, sample: pl.DataFrame) -> Iterator[Chunk]:
    """Composite scores of every replication of a sample, in chunks; columns the sample lacks are nominal.

    Args:
        assumptions: the index.
        sample: as `Assumptions.sample` makes it, or any part of it.

    Raises:
        MethodError: an unknown column or option, a multiplier that is negative or not finite, a threshold's that is 0.
    """
    read = _Sample(assumptions, sample)
    groups: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for i, key in enumerate(zip(read.scenario, read.aggregation, strict=True)):
        groups.setdefault(key, []).append(i)
    step = max(1, CELLS // max(1, assumptions.rows))
    for (scenario, aggregation), members in groups.items():
        where = np.array(members, dtype=np.int64)
        for start in range(0, len(where), step):
            yield read.chunk(scenario, aggregation, where[start : start + step])


class _Sample:
    """A sample as arrays that belong to an index."""

    def __init__(self, assumptions: Assumptions, sample: pl.DataFrame) -> None:
        self.of, self.sample, self.n = assumptions, sample, sample.height
        framework = assumptions.framework
        choices = {c.name: c.options for c in assumptions.data_choices}
        known = {WEIGHTS, AGGREGATION, DROP, *choices} | {c for of in assumptions.columns.values() for c in of}
        known |= {f"{name}:{t}" for name in SPREADS[:3] for t in assumptions.targets[name]}
        for column in sample.columns:
            if column not in known:
                raise MethodError(f"unknown column {column} of the sample", f"known: {', '.join(sorted(known))}")
        self.scenario = list(zip(*(self._options(c.name, c.options) for c in assumptions.data_choices), strict=True))
        self.scenario = self.scenario or [()] * self.n
        self.aggregation = self._options(AGGREGATION, self._first(AGGREGATION, AS_GIVEN))
        self.weight_set = self._options(WEIGHTS, self._first(WEIGHTS, AS_GIVEN))
        self.drop = self._options(DROP, self._first(DROP, NOTHING))
        self.drop_at = {d: 0 if d == NOTHING else _dropped(framework, d) for d in set(self.drop)}
        named = sorted(set(self.weight_set))
        self.base = {
            name: sibling_weights(framework, None if name == AS_GIVEN else assumptions.weight_sets[name])
            for name in named
        }
        self.leaves = {key: np.ascontiguousarray(_floats(s.scores).T) for key, s in assumptions.scenarios.items()}
        self.multipliers = {name: self._multipliers(name) for name in (LEAF_WEIGHTS, NODE_WEIGHTS, THRESHOLDS)}
        self.siblings = [list(c) for c in framework.child_positions if c]

    def _first(self, name: str, default: str) -> tuple[str, ...]:
        """Options of a choice, the nominal one first."""
        return next((f.options for f in self.of.factors if isinstance(f, Choice) and f.name == name), (default,))

    def _options(self, name: str, options: tuple[str, ...]) -> list[str]:
        """Option of each replication."""
        if name not in self.sample.columns:
            return [options[0]] * self.n
        found = self.sample[name].to_list()
        if name in (WEIGHTS, AGGREGATION, DROP):
            _check_options(self.of, Choice(name, tuple(dict.fromkeys(found))))
        elif not set(found) <= set(options):
            strange = next(o for o in found if o not in options)
            raise MethodError(f"column {name} of the sample: unknown option {strange}", f"known: {', '.join(options)}")
        return found

    def _multipliers(self, name: str) -> dict[str, Floats]:
        """Multipliers of a factor by target, one per replication."""
        found = {}
        for column in self.sample.columns:
            factor, _, target = column.partition(":")
            if factor == name and target:
                values = self.sample[column].cast(pl.Float64).to_numpy()
                if not (np.isfinite(values).all() and (values >= 0).all() and (name != THRESHOLDS or values.all())):
                    raise MethodError(f"column {column} of the sample: bad multiplier", "give finite multipliers > 0")
                found[target] = values
        return found

    def weights(self, at: Integers) -> tuple[Floats, NDArray[np.bool_]]:
        """Weights (replications, nodes), renormalised within siblings, and which replications have none somewhere."""
        positions = self.of.framework.positions
        within = np.stack([self.base[self.weight_set[i]] for i in at])
        dropped = np.array([self.drop_at[self.drop[i]] for i in at])
        within[dropped > 0, dropped[dropped > 0]] = 0.0
        for name in (LEAF_WEIGHTS, NODE_WEIGHTS):
            for target, m in self.multipliers[name].items():
                within[:, positions[target]] *= m[at]
        lost = np.zeros(len(at), dtype=bool)
        for children in self.siblings:
            total = np.zeros(len(at))
            for child in children:
                total = total + within[:, child]
            lost |= total <= 0
            within[:, children] /= np.where(total > 0, total, 1.0)[:, None]
        return within, lost

    def points(self, key: tuple[str, ...], at: Integers) -> list[Floats]:
        """Points of each leaf, shape (rows,) where all replications share them, else (replications, rows)."""
        scenario = self.of.scenarios[key]
        points: list[Floats] = list(self.leaves[key])
        places = {leaf: i for i, leaf in enumerate(self.of.framework.leaf_ids)}
        if scenario.theta_exponents is not None:
            exponents = _floats(scenario.theta_exponents)
            for leaf, m in self.multipliers[THRESHOLDS].items():
                if exponents[places[leaf]] != 0:
                    points[places[leaf]] = points[places[leaf]] * m[at, None] ** exponents[places[leaf]]
        if INPUT_ERROR in self.sample.columns:
            self._add_errors(scenario, points, at)
        if scenario.cap is not None:
            caps = np.broadcast_to(_floats(scenario.cap), (len(points),))
            points = [np.minimum(p, cap) if np.isfinite(cap) else p for p, cap in zip(points, caps, strict=True)]
        return points

    def _add_errors(self, scenario: Scenario, points: list[Floats], at: Integers) -> None:
        """Adds relative errors of the raw values, every row and leaf its own, from the seed of each replication."""
        factor = next(f for f in self.of.factors if isinstance(f, Spread) and f.name == INPUT_ERROR)
        sizes = [(i, factor.size_of(leaf)) for i, leaf in enumerate(self.of.framework.leaf_ids)]
        sizes = [(i, size) for i, size in sizes if size > 0]
        seeds = self.sample[INPUT_ERROR].gather(at).to_list()
        if any(seed is None or not 0 <= seed < SEEDS for seed in seeds):
            raise MethodError("column input_error of the sample is no seed", f"give whole numbers from 0 below {SEEDS}")
        errors = np.empty((len(at), len(sizes), self.of.rows))
        for row, seed in enumerate(seeds):
            generator = np.random.Generator(np.random.PCG64(seed))
            normal = factor.distribution == "normal"
            errors[row] = (
                generator.standard_normal(errors.shape[1:]) if normal else generator.uniform(-1, 1, errors.shape[1:])
            )
        slopes = None if scenario.error_points is None else _floats(scenario.error_points)
        for k, (i, size) in enumerate(sizes):
            per_error = points[i] if slopes is None else slopes[:, i]
            points[i] = points[i] + per_error * size * errors[:, k]

    def chunk(self, scenario: tuple[str, ...], aggregation: str, at: Integers) -> Chunk:
        """Composite scores of replications that share scenario and aggregation."""
        framework = self.of.framework
        chosen = None if aggregation == AS_GIVEN else self.of.aggregations.get(aggregation, aggregation)
        means = means_of(framework, chosen)
        within, zero_sum = self.weights(at)
        least = framework.min_coverage if self.of.min_coverage is None else self.of.min_coverage
        good = np.flatnonzero(~zero_sum)
        scores, raised = np.full((len(at), self.of.rows), np.nan), np.zeros(len(at), dtype=np.int64)
        if good.size:
            columns = [within[good, node, None] for node in range(within.shape[1])]
            nodes, _ = climb(framework, self.points(scenario, at[good]), columns, means, least, self.of.row_groups)
            scores[good] = nodes[0]
            raised[good] = _floored(framework, nodes, columns, means)
        comparable = self.of.scenarios[scenario].comparable and all(m.kind != "copeland" for m in means)
        return Chunk(at, scores, raised, zero_sum, comparable)


def _floored(
    framework: Framework, nodes: Sequence[Floats], within: Sequence[Floats], means: Sequence[Mean]
) -> Integers:
    """Number of values with a weight that count as 1e-6, by replication."""
    count = np.zeros(len(within[0]), dtype=np.int64)
    for node, children in enumerate(framework.child_positions):
        if children and means[node].floors:
            for child in children:
                count += np.where(within[child][:, 0] > 0, floored(nodes[child]).sum(axis=-1), 0)
    return count
