"""Delphi rounds: authority of experts, pooled scores, agreement (Kendall's W), and when to stop [methodology §3.23].

Experts are rows, items columns; NaN = not scored by the expert. An item is what is scored: a city on one facet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MAX_EXACT_ITEMS = 7  # [methodology §0a «Delphi»]
MAX_EXACT_SUMS = 20_000_000  # numbers held to enumerate the permutations; beyond, they are drawn
DRAWS, SEED = 100_000, 0  # of the permutation p where enumeration is too large
MIN_ROUNDS, MAX_ROUNDS = 2, 4
MAX_CV, ALPHA, MAX_W_CHANGE = 0.25, 0.05, 0.05
MIN_RESPONSE = 0.7


@dataclass(frozen=True)
class Pooled:
    """What the experts say of each item; every field has one number per item.

    Attributes:
        weighted_mean: ΣCr·s/ΣCr, in the unit of the scores.
        mean, median: unweighted.
        iqr: third less first quartile (type 7: linear between order statistics).
        sd: standard deviation (n−1); NaN of a single score.
        cv: sd / unweighted mean; 0 where sd is 0, NaN of a single score.
        experts: number of scores.
        share: Cr/ΣCr of each score, experts × items: the derivative of `weighted_mean`; 0 where there is none.
    """

    weighted_mean: Floats
    mean: Floats
    median: Floats
    iqr: Floats
    sd: Floats
    cv: Floats
    experts: Ints
    share: Floats


@dataclass(frozen=True)
class Concordance:
    """Agreement of the experts on the order of the items.

    Attributes:
        w: Kendall's W corrected for ties, 0 (none) to 1 (the same order).
        w_uncorrected: W as if no ranks were tied.
        chi2, df: Friedman's statistic m(n−1)W and its degrees of freedom n−1.
        p: exact or drawn permutation p for n ≤ 7 items, else `p_asymptotic`.
        p_asymptotic: upper tail of χ²(df).
        p_from: exact, drawn or asymptotic.
        experts, items: m and n that W rests on.
        left_out: items that not every expert scored.
    """

    w: float
    w_uncorrected: float
    chi2: float
    df: int
    p: float
    p_asymptotic: float
    p_from: str
    experts: int
    items: int
    left_out: int


@dataclass(frozen=True)
class Stop:
    """Which round counts.

    Attributes:
        round: its place among the rounds given, from 1.
        stopped: whether the rule says to stop there; False: the last round received counts for want of more.
        reason: converged, max_rounds or open.
        w: Kendall's W of each round; NaN where it is undefined (see `why_undefined`).
        p: its p; NaN likewise.
        worst_cv: largest coefficient of variation of each round; NaN if an item has a single score.
    """

    round: int
    stopped: bool
    reason: str
    w: tuple[float, ...]
    p: tuple[float, ...]
    worst_cv: tuple[float, ...]


def authority(basis: ArrayLike, familiarity: ArrayLike) -> Floats:
    """Authority of an expert Cr = (Ca + Cs) / 2, shape of the inputs, 0 to 1.

    Source: methodology §3.23. NaN (not stated) gives NaN.

    Args:
        basis: Ca, on what the judgement rests, 0 to 1.
        familiarity: Cs, how well the expert knows the item, 0 to 1.

    Raises:
        MethodError: a number outside 0 to 1.
    """
    parts = {"basis Ca": np.asarray(basis, np.float64), "familiarity Cs": np.asarray(familiarity, np.float64)}
    for name, values in parts.items():
        wrong = values[(values < 0) | (values > 1)]
        if wrong.size:
            raise MethodError(f"authority: {name} is {wrong.flat[0]:g}", "state it from 0 to 1")
    ca, cs = parts.values()
    return (ca + cs) / 2.0


def aggregate(scores: ArrayLike, authority: ArrayLike) -> Pooled:
    """Pooled scores and their spread per item: weighted mean ΣCr·s/ΣCr, mean, median, IQR, sd, CV.

    Source: methodology §3.23; §0a: the CV uses the unweighted mean and n−1; quartiles of type 7 (Hyndman & Fan 1996).

    Args:
        scores: experts × items, ≥ 0; NaN = not scored.
        authority: Cr ≥ 0 of each expert, or of each expert and item.

    Raises:
        MethodError: a negative or infinite score, an authority that is negative or missing where there is a score, an
            item without a score, or whose scores have no authority at all; authorities of another shape.
    """
    s = _scores(scores)
    given = np.asarray(authority, dtype=np.float64)
    if given.shape not in ((s.shape[0],), s.shape):
        raise MethodError(f"delphi: authorities of shape {given.shape} for scores {s.shape}", "give one per expert")
    scored = ~np.isnan(s)
    cr = np.where(scored, np.broadcast_to(given if given.ndim == 2 else given[:, None], s.shape), 0.0)
    if not np.isfinite(cr).all() or (cr < 0).any():
        raise MethodError("delphi: an authority is negative or missing", "state Ca and Cs from 0 to 1 for each score")
    total, n = cr.sum(axis=0), scored.sum(axis=0)
    if (total <= 0).any():
        empty = int(np.argmax(total <= 0))
        what = "has no score" if n[empty] == 0 else "has only scores with authority 0"
        raise MethodError(f"delphi: item {empty + 1} of {s.shape[1]} {what}", "leave the item out")
    share = cr / total
    mean = np.nansum(s, axis=0) / n
    quartiles = np.nanquantile(s, [0.25, 0.5, 0.75], axis=0, method="linear")
    squares = np.nansum((s - mean) ** 2, axis=0)
    sd = np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan)
    cv = np.where(sd == 0, 0.0, sd / np.where(mean > 0, mean, 1.0))
    weighted = (share * np.where(scored, s, 0.0)).sum(axis=0)
    return Pooled(weighted, mean, quartiles[1], quartiles[2] - quartiles[0], sd, cv, n.astype(np.int64), share)


def _scores(scores: ArrayLike) -> Floats:
    """Experts × items as floats."""
    s = np.asarray(scores, dtype=np.float64)
    if s.ndim != 2 or not s.size:
        raise MethodError(f"delphi: scores of shape {s.shape}", "give experts × items, at least one of each")
    wrong = s[np.isinf(s) | (s < 0)]
    if wrong.size:
        raise MethodError(f"delphi: a score is {wrong.flat[0]:g}", "scores are finite and ≥ 0")
    return s


# -- agreement ---------------------------------------------------------------------------------------------------------
def why_undefined(scores: ArrayLike) -> str:
    """Why Kendall's W is undefined for some scores; empty where it is defined.

    W rests on the items that every expert scored, and needs two experts, two such items, and an expert who tells them
    apart.
    """
    s = np.asarray(scores, dtype=np.float64)
    complete = s[:, ~np.isnan(s).any(axis=0)]
    if s.shape[0] < 2:
        return "a single expert"
    if complete.shape[1] < 2:
        return f"{complete.shape[1]} items were scored by every expert"
    return "every expert gave all items the same score" if (complete == complete[:, :1]).all() else ""


def kendall_w(scores: ArrayLike) -> Concordance:
    """Kendall's coefficient of concordance of the experts' rankings, with χ² and p.

    W = 12S / (m²(n³−n) − mΣT), S = Σ(R_i − R̄)², R_i the sum of ranks of item i (tied scores share the mean rank),
    T = Σ(t³−t) over the groups of t tied items of each expert; uncorrected: ΣT := 0. χ² = m(n−1)W with n−1 degrees of
    freedom, which is Friedman's statistic. For n ≤ 7 p is the share of all permutations of each expert's ranks with
    S no smaller (drawn 100,000 times, seed 0, where they are too many to enumerate), else the upper tail of χ².
    Source: Kendall & Babington Smith 1939; methodology §3.23, §0a «Delphi».

    Args:
        scores: m experts × n items; items that not every expert scored are left out and counted.

    Raises:
        MethodError: W is undefined; says why (`why_undefined`).
    """
    s = _scores(scores)
    if why := why_undefined(s):
        raise MethodError(f"kendall_w: {why}: W is undefined", "give two experts and two items that differ")
    from scipy.stats import chi2, rankdata

    kept = s[:, ~np.isnan(s).any(axis=0)]
    m, n = kept.shape
    doubled = np.rint(2 * rankdata(kept, axis=1)).astype(np.int64)  # whole numbers: sums compare exactly
    sums = doubled.sum(axis=0)
    spread = float(((sums - m * (n + 1)) ** 2).sum()) / 4.0
    ties = sum(int((t**3 - t).sum()) for t in (np.unique(row, return_counts=True)[1] for row in doubled))
    w = 12.0 * spread / (m**2 * (n**3 - n) - m * ties)
    statistic = m * (n - 1) * w
    asymptotic = float(chi2.sf(statistic, n - 1))
    p, origin = permutation_p(doubled) if n <= MAX_EXACT_ITEMS else (asymptotic, "asymptotic")
    uncorrected = 12.0 * spread / (m**2 * (n**3 - n))
    return Concordance(w, uncorrected, statistic, n - 1, p, asymptotic, origin, m, n, s.shape[1] - n)


def permutation_p(ranks: ArrayLike, budget: int = MAX_EXACT_SUMS) -> tuple[float, str]:
    """Share of all permutations of each expert's ranks whose rank sums spread at least as far, and how it was found.

    Exact: the distribution of the sorted rank sums is built expert by expert. Where an expert would need more than
    `budget` numbers: (1 + draws no smaller) / (1 + 100,000) with PCG64 seed 0.

    Args:
        ranks: whole numbers (twice the ranks), experts × items.
        budget: largest number of rank sums held at once.
    """
    rows = np.asarray(ranks, dtype=np.int64)
    m, n = rows.shape
    observed = int((rows.sum(axis=0) ** 2).sum())
    sums: Ints = np.sort(rows[:1], axis=1)
    chance: Floats = np.ones(1)
    orders = np.array(list(permutations(range(n))), dtype=np.int64)
    for row in rows[1:]:
        if sums.shape[0] * orders.size > budget:
            return _drawn_p(rows, observed), "drawn"
        added = np.sort((sums[:, None, :] + row[orders][None]).reshape(-1, n), axis=1)
        code = added @ (np.int64(2 * n * m + 1) ** np.arange(n, dtype=np.int64))
        _, first, where = np.unique(code, return_index=True, return_inverse=True)
        chance = np.bincount(where.ravel(), weights=np.repeat(chance / len(orders), len(orders))).astype(np.float64)
        sums = added[first]
    return min(1.0, float(chance[(sums**2).sum(axis=1) >= observed].sum())), "exact"


def _drawn_p(rows: Ints, observed: int) -> float:
    draw = np.random.Generator(np.random.PCG64(SEED))
    sums = np.zeros((DRAWS, rows.shape[1]), dtype=np.int64)
    for row in rows:
        sums += draw.permuted(np.broadcast_to(row, sums.shape), axis=1)
    return float((1 + ((sums**2).sum(axis=1) >= observed).sum()) / (1 + DRAWS))


# -- rounds ------------------------------------------------------------------------------------------------------------
def positive_coefficient(answered: ArrayLike, asked: ArrayLike, minimum: float = MIN_RESPONSE) -> tuple[Floats, bool]:
    """Response rate answered / asked, and whether every one reaches the least that makes a round count as engaged.

    Source: methodology §3.23 «Positive coefficient (response rate) ≥ .7».

    Args:
        answered: number of experts who answered, any shape.
        asked: number of experts asked.
        minimum: least rate.

    Raises:
        MethodError: nobody was asked, or more answered than were asked.
    """
    n, of = np.asarray(answered, dtype=np.float64), np.asarray(asked, dtype=np.float64)
    if (of <= 0).any() or (n > of).any() or (n < 0).any():
        raise MethodError("positive_coefficient: 0 ≤ answered ≤ asked, asked > 0", "count the experts of the round")
    rate = n / of
    return rate, bool((rate >= minimum).all())


def calibrate(scores: ArrayLike) -> Floats:
    """Scores without the leniency and the spread of their rater: x′ = M + S·(x − m_e)/s_e, shape of `scores`.

    m_e and s_e are the mean and sd (n−1) of expert e over the items that *every* expert scored, so that an expert who
    was given the better cities is not taken for a lenient one; M and S are their means over the experts. With complete
    scores the unweighted mean of an item's place is kept. Not clipped: a calibrated score may leave 0 to 100.
    Source: methodology §3.23 «calibrate experts (rater mean/sd) before pooling if designs are incomplete».

    Args:
        scores: experts × items, NaN = not scored.

    Raises:
        MethodError: fewer than two items were scored by every expert, or an expert gave all of them the same score.
    """
    s = _scores(scores)
    shared = s[:, ~np.isnan(s).any(axis=0)]
    if shared.shape[1] < 2:
        raise MethodError(
            f"calibrate: {shared.shape[1]} items were scored by all {s.shape[0]} experts",
            "let every expert score two items or more in common",
        )
    mean, sd = shared.mean(axis=1), shared.std(axis=1, ddof=1)
    if (sd == 0).any():
        raise MethodError(
            f"calibrate: expert {int(np.argmax(sd == 0)) + 1} gave all {shared.shape[1]} common items the same score",
            "leave the expert out, or pool the scores as they are",
        )
    return mean.mean() + sd.mean() * (s - mean[:, None]) / sd[:, None]


def stop(rounds: Sequence[ArrayLike]) -> Stop:
    """The round whose result counts: the first that meets the stop rule, else the last.

    A round from the second on meets it if the CV of every item is ≤ .25, W is significant (p < .05), and W moved by
    less than .05 since the round before (converged); the fourth ends the exercise whatever it says (max_rounds).
    Source: methodology §3.23.

    Args:
        rounds: scores of each round in order, experts × items; an item that nobody scored in a round does not count.

    Raises:
        MethodError: no round, or scores that `aggregate` does not take.
    """
    if not rounds:
        raise MethodError("delphi: no round", "give the scores of at least one")
    w, p, cvs = [], [], []
    for given in rounds:
        s = _scores(given)
        s = s[:, ~np.isnan(s).all(axis=0)]
        cvs.append(float(aggregate(s, np.ones(s.shape[0])).cv.max()))
        found = None if why_undefined(s) else kendall_w(s)
        w.append(found.w if found else math.nan)
        p.append(found.p if found else math.nan)
    for at in range(MIN_ROUNDS - 1, len(w)):
        converged = cvs[at] <= MAX_CV and p[at] < ALPHA and abs(w[at] - w[at - 1]) < MAX_W_CHANGE
        if converged or at + 1 == MAX_ROUNDS:
            reason = "converged" if converged else "max_rounds"
            return Stop(at + 1, True, reason, tuple(w), tuple(p), tuple(cvs))
    return Stop(len(w), False, "open", tuple(w), tuple(p), tuple(cvs))
