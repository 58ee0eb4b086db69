"""Aggregation: weighted means with carried coverage, and whole trees [methodology §3.5, §0a «Coverage»].

Sums run over children in the order of the framework file, one vector operation per child: results do not depend on the
order or the number of the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.framework import Framework

Floats = NDArray[np.float64]
COVERAGE_SLACK = 1e-12  # methodology §0a
WEIGHT_TOLERANCE = 1e-9


def weighted_mean(
    x: ArrayLike, w: ArrayLike, min_coverage: float = 0.6, coverage: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Weighted mean of the available values and its coverage: (score, coverage), each of shape x.shape[:-1].

    S = Σ w_c S_c / Σ w_c over available c; coverage = Σ w_c·coverage_c over available c (a null child contributes 0);
    S is NaN where coverage < min_coverage − 1e-12 [methodology §3.5, §0a].

    Args:
        x: values in points, shape (n,) or (cities, n); NaN or None = missing.
        w: weights ≥ 0 of shape (n,), rescaled to sum 1.
        min_coverage: least coverage with which there is a score.
        coverage: coverage that each value itself carries, shape of x; 1 if None.

    Raises:
        MethodError: weights of another length, negative, not finite or all zero; an infinite value.
    """
    values = np.asarray(x, dtype=np.float64)
    weights = _weights(w, values.shape[-1])
    carried = np.ones_like(values) if coverage is None else np.asarray(coverage, dtype=np.float64)
    if np.isinf(values).any():
        raise MethodError("weighted mean of an infinite value", "correct the score")
    total, available, covered = (np.zeros(values.shape[:-1]) for _ in range(3))
    for c, weight in enumerate(weights):
        present = ~np.isnan(values[..., c])
        total = total + np.where(present, weight * values[..., c], 0.0)
        available = available + np.where(present, weight, 0.0)
        covered = covered + np.where(present, weight * carried[..., c], 0.0)
    enough = (available > 0) & (covered >= min_coverage - COVERAGE_SLACK)
    score = np.full(values.shape[:-1], np.nan)
    np.divide(total, available, out=score, where=enough)
    return score, np.minimum(covered, 1.0)


def _weights(w: ArrayLike, n: int) -> Floats:
    """Weights rescaled to sum 1."""
    weights = np.asarray(w, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise MethodError(f"weights {weights.tolist()} for {n} values", "give one finite weight ≥ 0 each, not all 0")
    return weights / weights.sum()


@dataclass(frozen=True)
class TreeScores:
    """Every node of a framework for a matrix of cities; columns in the order of `Framework.nodes`.

    Attributes:
        node_ids: node ids of the columns.
        score: points; NaN where a node has too little coverage.
        coverage: carried share of leaf weight with a value, in [0, 1].
        share: renormalised weight within the parent: d parent / d node; 0 for a node without score, NaN below a parent
            without one; 1 at the root.
        effective_weight: weight in the composite after renormalisation (product of shares); NaN if there is no
            composite.
        contribution: effective_weight · score in points; 0 for a node without score; over all leaves it sums to the
            composite (invariant A3).
    """

    node_ids: tuple[str, ...]
    score: Floats
    coverage: Floats
    share: Floats
    effective_weight: Floats
    contribution: Floats

    def of(self, node_id: str) -> Floats:
        """Scores of one node, one per city."""
        return self.score[:, self.node_ids.index(node_id)]


def tree(
    framework: Framework,
    leaf_scores: ArrayLike,
    weights: Mapping[str, float] | None = None,
    searched: ArrayLike | None = None,
    min_coverage: float | None = None,
) -> TreeScores:
    """Scores, coverage, effective weights and contributions of every node for many cities at once.

    Weighted arithmetic mean, bottom-up [seed 000 附录01; methodology §3.5]. Missing policies of the leaves:
    `renormalise` drops the leaf and rescales its siblings; `zero_is_observed` does so too unless `searched` records
    the search, then it is a true 0 [§0a L1]; `impute` expects imputed scores, what is still missing is renormalised.

    Args:
        framework: tree with weights.
        leaf_scores: points, shape (cities, leaves) or (leaves,), leaves in file order; NaN = missing.
        weights: weight within the parent by node id, in place of the framework's.
        searched: bool, shape of leaf_scores: the search that would have found the leaf's items took place.
        min_coverage: in place of the framework's.

    Raises:
        MethodError: another number of leaves, a weight missing, or siblings that do not sum to 1 (1e-9).
    """
    leaves = np.atleast_2d(np.asarray(leaf_scores, dtype=np.float64))
    if leaves.ndim != 2 or leaves.shape[1] != len(framework.leaf_ids):
        raise MethodError(
            f"{leaves.shape[-1]} leaf scores, but {framework.index_id} has {len(framework.leaf_ids)} leaves",
            "give one column per leaf, in file order",
        )
    if searched is not None:
        zero = (framework.leaves["missing_policy"] == "zero_is_observed").to_numpy()
        leaves = np.where(np.isnan(leaves) & np.atleast_2d(np.asarray(searched, dtype=bool)) & zero, 0.0, leaves)
    within = sibling_weights(framework, weights)
    least = framework.min_coverage if min_coverage is None else min_coverage
    shape = (leaves.shape[0], framework.nodes.height)
    score, coverage, share = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
    at = np.array([framework.positions[leaf] for leaf in framework.leaf_ids], dtype=np.int64)
    score[:, at] = leaves
    coverage[:, at] = ~np.isnan(leaves)
    for node in reversed(range(shape[1])):  # children stand behind their parents
        children = np.array(framework.child_positions[node], dtype=np.int64)
        if children.size == 0:
            continue
        score[:, node], coverage[:, node] = weighted_mean(
            score[:, children], within[children], least, coverage[:, children]
        )
        share[:, children] = _shares(score[:, children], within[children], score[:, node])
    share[:, 0] = 1.0
    effective = _effective(framework, score, share)
    contribution = np.where(np.isnan(score), np.where(np.isnan(effective), np.nan, 0.0), effective * score)
    return TreeScores(tuple(framework.positions), score, coverage, share, effective, contribution)


def sibling_weights(framework: Framework, weights: Mapping[str, float] | None = None) -> Floats:
    """Weight of every node within its parent, in node order; the root's is 1. Arguments and errors as in `tree`."""
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


def _shares(children: Floats, weights: Floats, parent: Floats) -> Floats:
    """Renormalised weights of the children: 0 without score, NaN below a parent without score."""
    present = np.where(np.isnan(children), 0.0, weights)
    available = np.zeros(children.shape[0])
    for c in range(children.shape[1]):
        available = available + present[:, c]
    shares = np.full(children.shape, np.nan)
    np.divide(present, available[:, None], out=shares, where=~np.isnan(parent)[:, None])
    return shares


def _effective(framework: Framework, score: Floats, share: Floats) -> Floats:
    """Products of shares from the root down: 0 below a node without score, NaN without a composite."""
    effective = np.zeros(score.shape)
    effective[:, 0] = np.where(np.isnan(score[:, 0]), np.nan, 1.0)
    for node, children in enumerate(framework.child_positions):
        lost = np.isnan(score[:, node]) & ~np.isnan(effective[:, 0])
        for child in children:
            effective[:, child] = np.where(lost, 0.0, effective[:, node] * share[:, child])
    return effective
