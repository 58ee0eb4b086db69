"""Why a score changed: the exact split of ΔC into effects per leaf [methodology §3.22, §0a «Change»; invariant C1].

C = Σ W_l·s_l with effective weights W, so everything here holds for arithmetic aggregation only. Units (cities) are
rows, leaves columns; NaN = missing. Effects are in points of the composite and add up to its change.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.normalise import saturation, threshold

Floats = NDArray[np.float64]
EFFECTS = ("value", "correction", "threshold", "cap", "scheme", "data_driven", "coverage")
WEIGHT_EFFECTS = ("scheme", "data_driven", "coverage")  # in the order in which they are attributed [§0a]
SPLIT_RULES = ("fixed", "winsorised_max", "identity", "saturation")  # scores by thresholds, which `uncapped` knows
TOLERANCE = 1e-9


class Bennet(NamedTuple):
    """Effects of values and of weights, per leaf; together they sum to the change of the composite."""

    value: Floats
    weight: Floats


class Rebase(NamedTuple):
    """Effects of the raw value, the threshold and the cap; together they are the change of the score."""

    raw: Floats
    theta: Floats
    cap: Floats


def bennet(w0: ArrayLike, w1: ArrayLike, s0: ArrayLike, s1: ArrayLike) -> Bennet:
    """Value and weight effect of every leaf on C = Σ W_l·s_l, each of shape (…, leaves), in points.

    value_l = ½(w0+w1)·(s1−s0); weight_l = (½(s0+s1) − ½(C0+C1))·(w1−w0). They sum to C1 − C0 exactly, because
    ΣΔw = 0 [Bennet 1920; methodology §3.22]. A score missing in one period takes the other period's, so that its
    effect is one of weight (coverage, §0a); missing in both: no effect, its weights must be 0.

    Args:
        w0, w1: effective weights of the two periods, each summing to 1 over the last axis.
        s0, s1: scores in points; NaN = missing.

    Raises:
        MethodError: weights that are negative or not finite or do not sum to 1 (1e-9), an infinite score, or a weight
            on a missing score.
    """
    before, after = _weights("w0", w0), _weights("w1", w1)
    first, second = _filled(before, after, s0, s1)
    mean = (np.sum(before * first, axis=-1, keepdims=True) + np.sum(after * second, axis=-1, keepdims=True)) / 2
    value = (before + after) / 2 * (second - first)
    return Bennet(value, ((first + second) / 2 - mean) * (after - before))


def _weights(name: str, w: ArrayLike) -> Floats:
    """Effective weights: finite, ≥ 0, sum 1 in every row."""
    weights = np.asarray(w, dtype=np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise MethodError(f"{name} holds a weight that is negative or not finite", "give effective weights ≥ 0")
    off = np.abs(weights.sum(axis=-1) - 1).max(initial=0.0)
    if off > TOLERANCE:
        raise MethodError(f"{name} sums to 1 only within {off:.3g}", "give effective weights, renormalised to 1")
    return weights


def _filled(w0: Floats, w1: Floats, s0: ArrayLike, s1: ArrayLike) -> tuple[Floats, Floats]:
    """Scores of both periods, a missing one taken from the other; 0 where both are missing."""
    first, second = np.asarray(s0, dtype=np.float64), np.asarray(s1, dtype=np.float64)
    if np.isinf(first).any() or np.isinf(second).any():
        raise MethodError("a score is infinite", "correct the score")
    for name, weights, scores in (("w0", w0, first), ("w1", w1, second)):
        if (np.isnan(scores) & (weights > 0)).any():
            raise MethodError(f"{name} puts a weight on a missing score", "renormalise over the available leaves")
    gone = np.isnan(first) & np.isnan(second)
    filled = np.where(np.isnan(first), second, first), np.where(np.isnan(second), first, second)
    return np.where(gone, 0.0, filled[0]), np.where(gone, 0.0, filled[1])


def crossed(s00: ArrayLike, s10: ArrayLike, s01: ArrayLike, s11: ArrayLike, s0: ArrayLike, s1: ArrayLike) -> Rebase:
    """Raw, threshold and cap effect on a score, from uncapped scores under the thresholds of both periods, in points.

    s_ij is the uncapped score of the raw value of period i under the threshold of period j, s_i the score as it counts.
    raw = ½[(s10−s00) + (s11−s01)]; θ = ½[(s01−s00) + (s11−s10)]; cap = (s1−s11) − (s0−s00); the sum is s1 − s0.
    For s = x·100/θ this is Bennet's split of the product; it stays exact for any direction and saturating counts, and
    when the rule itself changes [methodology §3.22, §0a].
    """
    a, b, c, d, first, second = (np.asarray(s, dtype=np.float64) for s in (s00, s10, s01, s11, s0, s1))
    return Rebase(((b - a) + (d - c)) / 2, ((c - a) + (d - b)) / 2, (second - d) - (first - a))


def rebase(
    raw0: ArrayLike,
    raw1: ArrayLike,
    theta0: ArrayLike,
    theta1: ArrayLike,
    direction: str = "positive",
    cap: float | None = None,
) -> Rebase:
    """Effects of raw value, threshold and cap on a score normalised by a threshold, in points, shape of the raw values.

    positive: Bennet on x·(100/θ); negative: on θ·(100/x). raw 80 → 96, θ 100 → 120: +14.6667, −14.6667, net 0
    [methodology §3.22]. Raw and θ are split on uncapped scores, the cap has what it cuts off [§0a].

    Args:
        raw0, raw1: raw values; NaN in, NaN out.
        theta0, theta1: thresholds > 0 in the unit of the raw values, broadcast against them.
        direction: positive | negative.
        cap: largest score in points, of both periods.

    Raises:
        MethodError: a direction without a single threshold, and the errors of `normalise.threshold`.
    """
    if direction not in ("positive", "negative"):
        raise MethodError(f"rebase: direction {direction!r} has no single threshold", "use positive or negative")
    limits = [{"rule": "fixed", "direction": direction, "theta": theta, "cap": cap} for theta in (theta0, theta1)]
    raws = (np.asarray(raw0, dtype=np.float64), np.asarray(raw1, dtype=np.float64))
    s00, s10, s01, s11 = (uncapped(raws[i], limits[j]) for j in (0, 1) for i in (0, 1))
    most = np.inf if cap is None else cap
    return crossed(s00, s10, s01, s11, np.minimum(s00, most), np.minimum(s11, most))


def uncapped(raw: ArrayLike, limit: Mapping[str, Any]) -> Floats:
    """Scores of raw values under a row of `index/thresholds` as if it had no cap, in points, shape of `raw`.

    A negative direction has no such score for x ≤ 0: there it is the cap. Saturating counts go on above n*.

    Args:
        raw: raw values, NaN = missing.
        limit: rule, direction, theta, lo, best, hi, cap; what is not given is None.

    Raises:
        MethodError: a rule that is not one of thresholds, and the errors of `normalise.threshold`.
    """
    values = np.asarray(raw, dtype=np.float64)
    rule, direction, cap = limit["rule"], limit.get("direction") or "positive", limit.get("cap")
    if rule not in SPLIT_RULES:
        raise MethodError(f"scores by the rule {rule!r} have no split", f"it is defined for {', '.join(SPLIT_RULES)}")
    if rule == "saturation":
        saturation(values, limit["theta"])  # for its errors: counts ≥ 0, n* > 0
        return np.log1p(values) / np.log1p(limit["theta"]) * 100.0
    bounds = {name: limit.get(name) for name in ("theta", "lo", "best", "hi")}
    if direction != "negative" or cap is None:
        return threshold(values, direction=direction, **bounds)
    impossible = values <= 0
    return np.where(impossible, cap, threshold(np.where(impossible, 1.0, values), direction=direction, **bounds))


def effective_weights(parents: Sequence[int], weights: ArrayLike, present: ArrayLike) -> Floats:
    """Weight of every node in the composite, siblings rescaled over those present: shape of `present`.

    W_node = W_parent · w_node / Σ w_c over present siblings c; 0 for a node that is absent or below an absent one; rows
    without a composite are NaN. An aggregate without a weighted present child is absent [methodology §3.5].

    Args:
        parents: position of each node's parent, the root first with −1, parents before their children.
        weights: weight ≥ 0 of each node within its parent, shape (nodes,).
        present: whether the node has a score, shape (units, nodes).

    Raises:
        MethodError: a node that stands before its parent, or weights that are negative or not finite.
    """
    given, there = np.asarray(weights, dtype=np.float64), np.array(present, dtype=bool)
    if parents[0] != -1 or any(not 0 <= parent < node for node, parent in enumerate(parents) if node):
        raise MethodError("a node stands before its parent", "order the nodes from the root down")
    if not np.isfinite(given).all() or (given < 0).any():
        raise MethodError(f"weights {given.tolist()}", "give one finite weight ≥ 0 each")
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(parents):
        children.setdefault(parent, []).append(node)
    available = np.zeros(there.shape)
    for node in reversed(range(len(parents))):
        for child in children.get(node, []):
            available[:, node] = available[:, node] + np.where(there[:, child], given[child], 0.0)
        if node in children:
            there[:, node] &= available[:, node] > 0
    effective = np.zeros(there.shape)
    effective[:, 0] = np.where(there[:, 0], 1.0, np.nan)
    for node, parent in enumerate(parents[1:], start=1):
        share = np.zeros(there.shape[0])
        np.divide(given[node], available[:, parent], out=share, where=there[:, node] & there[:, parent])
        effective[:, node] = effective[:, parent] * share
    return effective


def split(
    weights: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    composites: Sequence[ArrayLike],
    uncapped_scores: Sequence[ArrayLike] | None = None,
    corrected: ArrayLike | None = None,
) -> dict[str, Floats]:
    """Every effect of every leaf on the change of the composite: arrays (units, leaves) by the names in `EFFECTS`.

    Bennet's value effect is split over raw value, threshold and cap (`crossed`); the raw part is `correction` where the
    same datum was corrected, else `value`. Bennet's weight effect is split along a path of weights, in the order
    scheme, data_driven, coverage: (s̄_l − C̄)·ΔW of each step. Over effects and leaves the sum is C1 − C0
    [methodology §3.22, §0a «Change»; C1].

    Args:
        weights: four arrays (units, leaves) of effective weights, each row summing to 1: before; under the new scheme;
            with the new data-driven weights as well; after. The steps between them are the three weight effects.
        scores: scores before and after in points; NaN = missing, then all of the leaf's effect is one of weight.
        composites: C before and after, shape (units,).
        uncapped_scores: s00, s10, s01, s11 as in `crossed`; None: every change of a score is one of value.
        corrected: where a change of the raw value is a correction, shape (units, leaves); nowhere if None.

    Raises:
        MethodError: a composite that is not the weighted mean of its leaves, an uncapped score missing where both
            scores are there, and the errors of `bennet`.
    """
    path = [_weights(name, w) for name, w in zip(("before", *WEIGHT_EFFECTS[:2], "after"), weights, strict=True)]
    first, second = _filled(path[0], path[-1], *scores)
    levels = [np.sum(w * s, axis=-1) for w, s in ((path[0], first), (path[-1], second))]
    for level, composite in zip(levels, composites, strict=True):
        off = np.abs(level - np.asarray(composite, dtype=np.float64))
        if not (off <= TOLERANCE * np.maximum(1.0, np.abs(level))).all():
            raise MethodError(
                f"a composite is not the weighted mean of its leaves (off by {off.max():.3g})",
                "the split is defined for arithmetic aggregation only",
            )
    parts = _score_effects(scores, first, second, uncapped_scores)
    mean = (path[0] + path[-1]) / 2
    wrong = np.zeros(first.shape, dtype=bool) if corrected is None else np.asarray(corrected, dtype=bool)
    raw = mean * parts.raw
    distance = (first + second) / 2 - ((levels[0] + levels[1]) / 2)[..., None]
    effects = {
        "value": np.where(wrong, 0.0, raw),
        "correction": np.where(wrong, raw, 0.0),
        "threshold": mean * parts.theta,
        "cap": mean * parts.cap,
    }
    for name, before, after in zip(WEIGHT_EFFECTS, path, path[1:], strict=False):
        effects[name] = distance * (after - before)
    return effects


def _score_effects(
    scores: Sequence[ArrayLike], first: Floats, second: Floats, uncapped_scores: Sequence[ArrayLike] | None
) -> Rebase:
    """Raw, threshold and cap effect on the scores; none where a score is missing in a period."""
    if uncapped_scores is None:
        return Rebase(second - first, np.zeros(first.shape), np.zeros(first.shape))
    both = ~np.isnan(np.asarray(scores[0], dtype=np.float64)) & ~np.isnan(np.asarray(scores[1], dtype=np.float64))
    s00, s10, s01, s11 = (np.where(both, np.asarray(s, dtype=np.float64), 0.0) for s in uncapped_scores)
    if not all(np.isfinite(s).all() for s in (s00, s10, s01, s11)):
        raise MethodError("an uncapped score is missing where the score is there", "give raw value and threshold")
    return crossed(s00, s10, s01, s11, np.where(both, first, 0.0), np.where(both, second, 0.0))
