"""Aggregation: means with carried coverage, Copeland scores, and whole trees [methodology §3.5, §0a «Coverage»].

Sums run over children in the order of the framework file, one vector operation per child: results do not depend on the
order or the number of the rows, nor on how many replications are computed at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.choices import MEANS
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.outrank import outranking_matrix, unit_weights

Floats = NDArray[np.float64]
COVERAGE_SLACK = 1e-12  # methodology §0a
WEIGHT_TOLERANCE = 1e-9
FLOOR = 1e-6  # points; means other than the arithmetic one need scores > 0 [methodology §3.5]
TIE_TOLERANCE = 1e-12  # of a sum of weights that is 1: two weight sums that differ by less are equal
LARGEST_POWER = 50.0  # 1e-6^−50 and 1e6^50 are still numbers


class Mean(NamedTuple):
    """How a node joins its children: a word of `choices.MEANS`, and the power of a generalised mean."""

    kind: str = "arithmetic"
    power: float | None = None

    @property
    def exponent(self) -> float:
        """Power p of the mean: arithmetic 1, geometric 0, harmonic −1; not for copeland."""
        named = {"arithmetic": 1.0, "geometric": 0.0, "harmonic": -1.0}
        return named[self.kind] if self.power is None else self.power

    @property
    def floors(self) -> bool:
        """Whether values below `FLOOR` are raised to it."""
        return self.kind != "copeland" and self.exponent != 1


def weighted_mean(
    x: ArrayLike, w: ArrayLike, min_coverage: float = 0.6, coverage: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Weighted mean of the available values and its coverage: (score, coverage), each of shape x.shape[:-1].

    S = Σ w_c S_c / Σ w_c over available c; coverage = Σ w_c·coverage_c over available c (a null child contributes 0);
    S is NaN where coverage < min_coverage − 1e-12 [methodology §3.5, §0a].

    Args:
        x: values in points, shape (n,) or (cities, n), with any dimensions before; NaN or None = missing.
        w: weights ≥ 0 of shape (n,), or one row per row of x; each rescaled to sum 1.
        min_coverage: least coverage with which there is a score.
        coverage: coverage that each value itself carries, shape of x; 1 if None.

    Raises:
        MethodError: weights of another length, negative, not finite or all zero; an infinite value.
    """
    return _mean(x, w, 1.0, min_coverage, coverage)


def geometric_mean(
    x: ArrayLike, w: ArrayLike, min_coverage: float = 0.6, coverage: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Weighted geometric mean of the available values and its coverage, as `weighted_mean`.

    S = Π S_c^(w_c/W), W = Σ w_c over available c. Values below 1e-6 count as 1e-6; `floored` says which
    [methodology §3.5].
    """
    return _mean(x, w, 0.0, min_coverage, coverage)


def harmonic_mean(
    x: ArrayLike, w: ArrayLike, min_coverage: float = 0.6, coverage: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Weighted harmonic mean of the available values and its coverage, as `weighted_mean`.

    S = W / Σ (w_c/S_c), W = Σ w_c over available c. Values below 1e-6 count as 1e-6; `floored` says which.
    """
    return _mean(x, w, -1.0, min_coverage, coverage)


def generalised_mean(
    x: ArrayLike, w: ArrayLike, power: float, min_coverage: float = 0.6, coverage: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Weighted power mean of the available values and its coverage, as `weighted_mean`.

    S = (Σ w_c S_c^p / W)^(1/p), W = Σ w_c over available c; p = 1, 0, −1 are the arithmetic, geometric and harmonic
    mean. Unless p = 1, values below 1e-6 count as 1e-6; `floored` says which.

    Raises:
        MethodError: as `weighted_mean`; |p| above 50 or not finite.
    """
    return _mean(x, w, named_mean("generalised", power).exponent, min_coverage, coverage)


def floored(x: ArrayLike) -> NDArray[np.bool_]:
    """Which values count as 1e-6 in a geometric, harmonic or generalised mean, shape of x; a missing one does not."""
    return np.asarray(np.asarray(x, dtype=np.float64) < FLOOR)


def _mean(
    x: ArrayLike, w: ArrayLike, exponent: float, least: float, coverage: ArrayLike | None
) -> tuple[Floats, Floats]:
    """Power mean along the last dimension."""
    values = np.asarray(x, dtype=np.float64)
    n = values.shape[-1]
    weights = unit_weights(w, n)
    carried = np.ones_like(values) if coverage is None else np.asarray(coverage, dtype=np.float64)
    if np.isinf(values).any():
        raise MethodError("mean of an infinite value", "correct the score")
    parts = [[a[..., c] for c in range(n)] for a in (values, weights, carried)]
    score, covered = power_mean(parts[0], parts[1], parts[2], exponent, least)
    return score, covered.copy()


def power_mean(
    children: Sequence[Floats],
    weights: Sequence[Floats],
    coverages: Sequence[Floats],
    exponent: float = 1.0,
    min_coverage: float = 0.0,
) -> tuple[Floats, Floats]:
    """Power mean of children that broadcast against each other, and its coverage: what all means here rest on.

    Leading dimensions are replications: a child of shape (cities,) is shared by all of them.

    Args:
        children: values of each child, without infinities; NaN = missing.
        weights: weight ≥ 0 of each child; the weights of a replication sum to 1.
        coverages: coverage that each child carries.
        exponent: p of `generalised_mean`, 0 = geometric.
        min_coverage: least coverage with which there is a score.
    """
    total, available, covered = (np.zeros(()) for _ in range(3))
    for child, weight, carried in zip(children, weights, coverages, strict=True):
        present = ~np.isnan(child)
        if present.all():
            total = total + weight * _raised(child, exponent)
            available = available + weight
            covered = covered + weight * carried
        else:
            total = total + np.where(present, weight * _raised(child, exponent), 0.0)
            available = available + np.where(present, weight, 0.0)
            covered = covered + np.where(present, weight * carried, 0.0)
    enough = (available > 0) & (covered >= min_coverage - COVERAGE_SLACK)
    if enough.all():
        score = _lowered(total / available, exponent)
    else:
        score = np.where(enough, _lowered(total / np.where(enough, available, 1.0), exponent), np.nan)
    return np.asarray(score), np.broadcast_to(np.minimum(covered, 1.0), score.shape)


def _raised(x: Floats, exponent: float) -> Floats:
    """x^p, ln x for p = 0; x at least 1e-6 unless p = 1."""
    if exponent == 1:
        return x
    above = np.maximum(x, FLOOR)
    return np.asarray(np.log(above) if exponent == 0 else above**exponent)


def _lowered(y: Floats, exponent: float) -> Floats:
    """Inverse of `_raised`; where there is no score, a value nobody reads."""
    if exponent == 1:
        return y
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(y) if exponent == 0 else y ** (1.0 / exponent))


def copeland(
    x: ArrayLike, w: ArrayLike, min_coverage: float = 0.6, coverage: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Copeland score of each unit (pairs won minus pairs lost, −(units−1) to units−1) and its coverage.

    A pair is won where `outranking_matrix` exceeds ½ and tied within 1e-12 of it: no rounding of a sum of weights
    decides it. Units with too little coverage have no score and meet no one; without a common criterion a pair is tied.
    Not points: the score depends on the other units [Munda 2008; OECD/JRC Handbook step 6].

    Args:
        x: values, shape (units, criteria); NaN = missing.
        w, min_coverage, coverage: as in `weighted_mean`.

    Raises:
        MethodError: as `outranking_matrix`.
    """
    values = np.asarray(x, dtype=np.float64)
    won = outranking_matrix(values, w) > 0.5 + TIE_TOLERANCE
    score, covered = weighted_mean(values, w, min_coverage, coverage)
    here = ~np.isnan(score)
    if not here.all():
        won &= here[:, None] & here
    pairs = won.sum(axis=1) - won.sum(axis=0)  # pairs won, less those the others won
    return np.where(here, pairs.astype(np.float64), np.nan), covered


def named_mean(kind: str, power: float | None = None) -> Mean:
    """A checked choice of aggregation.

    Raises:
        MethodError: an unknown word; a power without `generalised`, or one missing, not finite or beyond ±50.
    """
    if kind not in MEANS:
        raise MethodError(f"unknown aggregation {kind!r}", f"use one of {', '.join(MEANS)}")
    if (kind == "generalised") != (power is not None):
        raise MethodError(f"aggregation {kind} with power {power}", "a power belongs to generalised, and only to it")
    if power is not None and not abs(power) <= LARGEST_POWER:
        raise MethodError(f"generalised mean with power {power:g}", f"give a power within ±{LARGEST_POWER:g}")
    return Mean(kind, power)


def means_of(framework: Framework, aggregation: str | Mean | None = None) -> tuple[Mean, ...]:
    """How each node joins its children, in node order: as the framework says, or all nodes alike.

    Raises:
        MethodError: as `named_mean`.
    """
    nodes = framework.nodes
    if aggregation is not None:
        given = aggregation if isinstance(aggregation, Mean) else Mean(aggregation)
        return (named_mean(*given),) * nodes.height
    if "aggregation" not in nodes.columns:
        return (Mean(),) * nodes.height
    powers = nodes["power"].to_list() if "power" in nodes.columns else [None] * nodes.height
    return tuple(named_mean(k or "arithmetic", p) for k, p in zip(nodes["aggregation"], powers, strict=True))


def mean_of(framework: Framework, node: str, x: ArrayLike, w: ArrayLike, groups: ArrayLike | None = None) -> Floats:
    """Scores of one node from its children's, joined as the framework says; children carry full coverage or none.

    Args:
        framework: tree.
        node: id of an inner node.
        x: children's scores in file order, shape (cities, children); NaN = missing.
        w: their weights.
        groups: as in `tree`.

    Raises:
        MethodError: as `means_of` and `weighted_mean`.
    """
    values = np.asarray(x, dtype=np.float64)
    mean = means_of(framework)[framework.positions[node]]
    if mean.kind != "copeland":
        return _mean(values, w, mean.exponent, framework.min_coverage, None)[0]
    score = np.full(len(values), np.nan)
    for rows in rows_by_label(groups, len(values)):
        score[rows] = copeland(values[rows], w, framework.min_coverage)[0]
    return score


@dataclass(frozen=True)
class TreeScores:
    """Every node of a framework for a matrix of cities; columns in the order of `Framework.nodes`.

    All means are homogeneous of degree 1, so that by Euler's theorem the terms derivative × score of the children sum
    to the parent; below a Copeland node, which is no function of the city's own scores, the last three are NaN.

    Attributes:
        node_ids: node ids of the columns.
        score: points; NaN where a node has too little coverage.
        coverage: carried share of leaf weight with a value, in [0, 1].
        share: d parent / d node; 0 for a node without score, NaN below a parent without one; 1 at the root. Arithmetic:
            the renormalised weight w; power mean p: w·(score/parent)^(p−1), geometric p = 0, harmonic p = −1.
        effective_weight: d composite / d node (product of shares); NaN if there is no composite.
        contribution: effective_weight · score in points; 0 for a node without score; over all leaves it sums to the
            composite (invariant A3). A floored node contributes with 1e-6 points, split by weight below it.
        floored: a score below 1e-6 that counts as 1e-6 in its parent.
    """

    node_ids: tuple[str, ...]
    score: Floats
    coverage: Floats
    share: Floats
    effective_weight: Floats
    contribution: Floats
    floored: NDArray[np.bool_]

    def of(self, node_id: str) -> Floats:
        """Scores of one node, one per city."""
        return self.score[:, self.node_ids.index(node_id)]


def tree(
    framework: Framework,
    leaf_scores: ArrayLike,
    weights: Mapping[str, float] | None = None,
    searched: ArrayLike | None = None,
    min_coverage: float | None = None,
    aggregation: str | Mean | None = None,
    groups: ArrayLike | None = None,
) -> TreeScores:
    """Scores, coverage, effective weights and contributions of every node for many cities at once.

    Bottom-up, each node by the mean its row names (columns `aggregation`, `power`), arithmetic where it names none
    [seed 000 附录01; methodology §3.5]. Missing policies of the leaves: `renormalise` drops the leaf and rescales its
    siblings; `zero_is_observed` does so too unless `searched` records the search, then it is a true 0 [§0a L1];
    `impute` expects imputed scores, what is still missing is renormalised.

    Args:
        framework: tree with weights.
        leaf_scores: points, shape (cities, leaves) or (leaves,), leaves in file order; NaN = missing.
        weights: weight within the parent by node id, in place of the framework's.
        searched: bool, shape of leaf_scores: the search that would have found the leaf's items took place.
        min_coverage: in place of the framework's.
        aggregation: one mean for all nodes, in place of the framework's.
        groups: label of each row, as its year: Copeland compares rows of the same label only; all if None.

    Raises:
        MethodError: another number of leaves or labels, an infinite score, a weight missing or of no node, siblings
            that do not sum to 1 (1e-9), or an unknown aggregation.
    """
    leaves = np.atleast_2d(np.asarray(leaf_scores, dtype=np.float64))
    if leaves.ndim != 2 or leaves.shape[1] != len(framework.leaf_ids):
        raise MethodError(
            f"{leaves.shape[-1]} leaf scores, but {framework.index_id} has {len(framework.leaf_ids)} leaves",
            "give one column per leaf, in file order",
        )
    if np.isinf(leaves).any():
        worst = framework.leaf_ids[int(np.isinf(leaves).any(axis=0).argmax())]
        raise MethodError(f"an infinite score of {worst}", "correct the score")
    if searched is not None:
        zero = (framework.leaves["missing_policy"] == "zero_is_observed").to_numpy()
        leaves = np.where(np.isnan(leaves) & np.atleast_2d(np.asarray(searched, dtype=bool)) & zero, 0.0, leaves)
    within = sibling_weights(framework, weights)
    least = framework.min_coverage if min_coverage is None else min_coverage
    means = means_of(framework, aggregation)
    scores, coverages = climb(framework, list(leaves.T), list(within), means, least, rows_by_label(groups, len(leaves)))
    score, coverage = np.stack(scores, axis=1), np.stack(coverages, axis=1)
    portion, share, low = np.zeros(score.shape), np.zeros(score.shape), np.zeros(score.shape, dtype=bool)
    for node, below in enumerate(framework.child_positions):
        if not below:
            continue
        children = list(below)
        low[:, children] = means[node].floors & floored(score[:, children])
        used = np.where(low[:, children], FLOOR, score[:, children])
        portion[:, children] = _portions(used, within[children], score[:, node])
        share[:, children] = _shares(portion[:, children], used, score[:, node], means[node])
    share[:, 0] = 1.0
    effective = _effective(framework, score, share)
    used = np.where(low, FLOOR, score)
    contribution = np.where(np.isnan(score), np.where(np.isnan(effective), np.nan, 0.0), effective * used)
    if low.any():
        opaque = [mean.kind == "copeland" for mean in means]
        contribution = _split_below(framework, contribution, portion, low, opaque)
    return TreeScores(tuple(framework.positions), score, coverage, share, effective, contribution, low)


def climb(
    framework: Framework,
    leaves: Sequence[Floats],
    within: Sequence[Floats],
    means: Sequence[Mean],
    min_coverage: float,
    rows: Sequence[NDArray[np.int64]],
) -> tuple[list[Floats], list[Floats]]:
    """Score and coverage of every node in node order, from arrays of shape (cities,) or (replications, cities).

    Args:
        framework: tree.
        leaves: finite points of each leaf in file order; NaN = missing.
        within: weight of each node within its parent, in node order; siblings sum to 1. A number, or (replications, 1).
        means: how each node joins its children, in node order.
        min_coverage: least coverage with which a node has a score.
        rows: cities that Copeland compares with each other, as positions.
    """
    score: list[Floats] = [np.zeros(())] * framework.nodes.height
    coverage = list(score)
    for leaf, values in zip(framework.leaf_ids, leaves, strict=True):
        at = framework.positions[leaf]
        score[at], coverage[at] = values, np.asarray(~np.isnan(values), dtype=np.float64)
    for node in reversed(range(len(score))):  # children stand behind their parents
        below = framework.child_positions[node]
        if below:
            x, w, carried = ([column[c] for c in below] for column in (score, within, coverage))
            if means[node].kind == "copeland":
                score[node], coverage[node] = _copeland_by_rows(x, w, carried, min_coverage, rows)
            else:
                score[node], coverage[node] = power_mean(x, w, carried, means[node].exponent, min_coverage)
    return score, coverage


def _copeland_by_rows(
    children: Sequence[Floats],
    weights: Sequence[Floats],
    coverages: Sequence[Floats],
    least: float,
    rows: Sequence[NDArray[np.int64]],
) -> tuple[Floats, Floats]:
    """Copeland scores of each replication and group of rows."""
    shape = np.broadcast_shapes(*(np.shape(a) for a in (*children, *weights)))
    x, w, carried = (
        np.stack([np.broadcast_to(a, shape) for a in arrays], axis=-1) for arrays in (children, weights, coverages)
    )
    score, covered = np.empty(shape), np.empty(shape)
    for replication in np.ndindex(shape[:-1]):
        for r in rows:
            at = (*replication, r)
            score[at], covered[at] = copeland(x[at], w[(*replication, 0)], least, carried[at])
    return score, covered


def rows_by_label(labels: ArrayLike | None, n: int) -> list[NDArray[np.int64]]:
    """Positions of the rows of each label, labels in ascending order; all n rows if None.

    Raises:
        MethodError: another number of labels.
    """
    if labels is None:
        return [np.arange(n)]
    names, which = np.unique(np.asarray(labels), return_inverse=True)
    if which.shape != (n,):
        raise MethodError(f"{which.size} labels for {n} rows", "give one per row")
    return [np.flatnonzero(which == k) for k in range(len(names))]


def sibling_weights(framework: Framework, weights: Mapping[str, float] | None = None) -> Floats:
    """Weight of every node within its parent, in node order; the root's is 1. Arguments and errors as in `tree`."""
    strange = [n for n in weights or () if n not in framework.positions]
    if strange:
        raise MethodError(f"a weight of {strange[0]}, which is no node of {framework.index_id}", "correct its name")
    given = dict(zip(framework.nodes["node_id"], framework.nodes["weight"], strict=True)) | dict(weights or {})
    missing = [n for n in framework.positions if given[n] is None]
    if missing:
        raise MethodError(f"node {missing[0]} of {framework.index_id} has no weight", "compute its weights first")
    within = np.array([given[n] for n in framework.positions], dtype=np.float64)
    for node, children in enumerate(framework.child_positions):
        sizes = within[list(children)]
        if children and not (abs(sizes.sum() - 1) <= WEIGHT_TOLERANCE and (sizes >= 0).all()):
            raise MethodError(
                f"weights below {framework.nodes['node_id'][node]} sum to {sizes.sum():.12g}", "rescale them to 1"
            )
    return within


def _portions(children: Floats, weights: Floats, parent: Floats) -> Floats:
    """Renormalised weights of the children: 0 without score, NaN below a parent without score."""
    present = np.where(np.isnan(children), 0.0, weights)
    available = np.zeros(children.shape[0])
    for c in range(children.shape[1]):
        available = available + present[:, c]
    portions = np.full(children.shape, np.nan)
    np.divide(present, available[:, None], out=portions, where=~np.isnan(parent)[:, None])
    return portions


def _shares(portions: Floats, used: Floats, parent: Floats, mean: Mean) -> Floats:
    """Derivatives of a parent with respect to its children [Euler]; NaN for Copeland."""
    if mean.kind == "copeland":
        return np.full(portions.shape, np.nan)
    if not mean.floors:
        return portions
    slope = portions * (used / parent[:, None]) ** (mean.exponent - 1.0)
    return np.where(np.isnan(used) & ~np.isnan(portions), 0.0, slope)


def _effective(framework: Framework, score: Floats, share: Floats) -> Floats:
    """Products of shares from the root down: 0 below a node without score, NaN without a composite."""
    effective = np.zeros(score.shape)
    effective[:, 0] = np.where(np.isnan(score[:, 0]), np.nan, 1.0)
    for node, children in enumerate(framework.child_positions):
        lost = np.isnan(score[:, node]) & ~np.isnan(effective[:, node])
        for child in children:
            effective[:, child] = np.where(lost, 0.0, effective[:, node] * share[:, child])
    return effective


def _split_below(
    framework: Framework, contribution: Floats, portion: Floats, low: NDArray[np.bool_], opaque: Sequence[bool]
) -> Floats:
    """Contributions in which what a floored node contributes is split by weight among its children, and on down."""
    split, result = low.copy(), contribution.copy()
    for node, children in enumerate(framework.child_positions):
        for child in children:
            part = np.nan if opaque[node] else result[:, node] * np.nan_to_num(portion[:, child])
            result[:, child] = np.where(split[:, node], part, result[:, child])
            split[:, child] |= split[:, node]
    return result
