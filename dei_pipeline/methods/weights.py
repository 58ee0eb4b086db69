"""Weights of siblings: equal, entropy, AHP, CRITIC, principal component, and their combinations [methodology §3.2–3.4].

Every function weighs one group of siblings: cities are rows, siblings columns, and the weights sum to 1 (invariant W1).
What a method had to decide by itself (a constant column, equal weights for want of information) stands in its result.
Weights along a tree: `weight_trees`; weights that balance correlations: `weight_search`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError

Floats = NDArray[np.float64]
NO_DISPERSION = 1e-12  # |1 − H| below this is a constant column [methodology §3.2]
RANDOM_INDEX = (0.0, 0.0, 0.58, 0.90, 1.12, 1.24, 1.32, 1.41, 1.45, 1.49)  # n = 1..10 [Saaty 1980; methodology §3.3]
MAX_CR = 0.1
PRINTED_ROUNDING = 5e-3  # of a_ij·a_ji from 1: three printed decimals of 1/9 … 1/2 deviate by at most 2e-3
SIGN_SLACK = 1e-9
COMBINATIONS = ("multiplicative", "linear", "min_relative_entropy")
SCHEMES = ("ahp_upper_entropy_leaf", "entropy_all", *COMBINATIONS)


def checked(weights: ArrayLike, what: str = "weights", n: int | None = None) -> Floats:
    """Weights rescaled to sum 1, after the one check that all weights of the package pass.

    Args:
        weights: one number ≥ 0 per sibling, one dimension.
        what: what to call them in the error.
        n: how many there must be; any number ≥ 1 if None.

    Raises:
        MethodError: another number of weights; one that is negative, NaN or infinite; all of them 0.
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1 or w.size == 0 or (n is not None and w.size != n):
        raise MethodError(f"{what} of shape {w.shape}", f"give {n or 'at least 1'} in one dimension")
    wrong = ~np.isfinite(w) | (w < 0)
    if wrong.any():
        at = int(wrong.argmax())
        raise MethodError(f"{what}: number {at + 1} is {w[at]:g}", "give finite numbers ≥ 0")
    with np.errstate(over="ignore"):
        total = w.sum()
    if not 0 < total < np.inf:
        raise MethodError(f"{what} sum to {total:g}", "give at least one above 0, and a finite sum")
    return w / total


def equal(n: int) -> Floats:
    """Equal weights 1/n of n siblings.

    Raises:
        MethodError: n < 1.
    """
    if n < 1:
        raise MethodError(f"equal weights of {n} siblings", "give at least 1")
    return np.full(n, 1.0 / n)


@dataclass(frozen=True)
class Entropy:
    """Result of `entropy`, one entry per column.

    Attributes:
        w: weights, sum 1.
        H: entropy in [0, 1]; 1 = constant.
        d: dispersion 1 − H.
        flags: "", constant (w = 0), zero_sum (constant at 0) or capped (held at the largest weight allowed).
        reason: why the weights are equal or looser than asked: all_constant, single_unit, cap_unreachable; else "".
    """

    w: Floats
    H: Floats
    d: Floats
    flags: tuple[str, ...]
    reason: str


def entropy(scores: ArrayLike, max_weight: float | None = None) -> Entropy:
    """Entropy weights of the columns: the more unequal the cities on an indicator, the heavier it is.

    p_ij = s_ij / Σ_i s_ij; H_j = −Σ_i p_ij ln p_ij / ln n with 0·ln 0 := 0; d_j = 1 − H_j; w_j = d_j / Σ_j d_j.
    Rows are summed in the order of their size, so that the weights do not depend on the order of the cities.
    Unchanged when a column is multiplied by c > 0 (W4), changed by any shift: min-max scores give other weights.
    Source: seed 004 «熵权法»; Shannon (1948); methodology §3.2.

    A constant column weighs 0; if all are constant, or with one city (ln 1 = 0), the weights are equal.

    Args:
        scores: shape (cities, m), ≥ 0, any unit per column.
        max_weight: largest weight in (0, 1], the excess shared among the others in proportion; where no weights can
            meet it (fewer than 1/max_weight varying columns), the varying columns share equally.

    Raises:
        MethodError: a negative, missing or infinite score, no row or column, or max_weight outside (0, 1].
    """
    raw = _matrix(scores, "entropy")
    if (raw < 0).any():
        row, column = np.argwhere(raw < 0)[0] + 1
        raise MethodError(
            f"entropy: row {row}, column {column} is {raw[row - 1, column - 1]:g}",
            "use scores ≥ 0: a shift would change the weights",
        )
    if max_weight is not None and not 0 < max_weight <= 1:
        raise MethodError(f"entropy: max_weight is {max_weight:g}", "give a share in (0, 1]")
    columns = np.sort(raw, axis=0)
    n, m = columns.shape
    zero = columns[-1] == 0
    p = columns / np.where(zero, 1.0, columns[-1])
    p = p / np.where(zero, 1.0, p.sum(axis=0))
    H = np.ones(m)
    if n > 1:
        H = np.where(zero, 1.0, 0.0 - (p * np.log(np.where(p > 0, p, 1.0))).sum(axis=0) / np.log(n))
    constant = np.abs(1.0 - H) < NO_DISPERSION
    H = np.where(constant, 1.0, H)
    d = 1.0 - H
    flags = np.where(zero, "zero_sum", np.where(constant, "constant", ""))
    if constant.all():
        return Entropy(equal(m), H, d, tuple(flags.tolist()), "single_unit" if n == 1 else "all_constant")
    w, reason = checked(d), ""
    if max_weight is not None:
        w, held = _capped(w, max_weight)
        flags = np.where(held, "capped", flags)
        reason = "cap_unreachable" if max_weight * int((~constant).sum()) < 1 else ""
    return Entropy(w, H, d, tuple(flags.tolist()), reason)


def _capped(w: Floats, cap: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Weights of at most `cap` and which it holds, the excess shared in proportion; equal if none can meet it."""
    held, result = np.zeros(w.shape, dtype=bool), w
    while (over := (result > cap) & ~held).any():
        held = held | over
        free = np.where(held, 0.0, w)
        rest = free / free.sum() * (1.0 - cap * held.sum()) if free.any() else free
        result = np.where(held, cap, rest)
    return checked(result), held


def _matrix(scores: ArrayLike, method: str) -> Floats:
    """Scores as a complete, finite matrix of at least one row and column."""
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise MethodError(f"{method}: scores of shape {matrix.shape}", "give cities as rows, indicators as columns")
    for wrong, word, fix in (
        (np.isnan(matrix), "missing", "impute first"),
        (np.isinf(matrix), "infinite", "correct the score"),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0] + 1
            raise MethodError(f"{method}: row {row}, column {column} is {word}", fix)
    return matrix


@dataclass(frozen=True)
class Ahp:
    """Result of `ahp`.

    Attributes:
        w: weights, sum 1; meaningless unless accepted.
        lambda_max: principal eigenvalue, ≥ n; = n for consistent judgements.
        ci: consistency index (λ − n)/(n − 1).
        cr: consistency ratio CI/RI; 0 for n ≤ 2.
        accepted: CR < 0.1.
        w_geometric: row geometric means / sum, as a check; equal to w for n ≤ 3 and for consistent judgements.
        rounding: largest |a_ij·a_ji − 1| that was taken for rounding.
    """

    w: Floats
    lambda_max: float
    ci: float
    cr: float
    accepted: bool
    w_geometric: Floats
    rounding: float


def ahp(matrix: ArrayLike) -> Ahp:
    """Weights of one expert's pairwise judgements, with their consistency.

    w = principal right eigenvector / sum; CI = (λ − n)/(n − 1); CR = CI/RI(n).
    Source: Saaty (1980); seed 004 «层次分析法»; methodology §3.3. An inconsistent matrix is returned as not accepted.

    Args:
        matrix: shape (n, n), n ≤ 10: a_ij > 0 says how much more i counts than j; a_ii = 1, a_ji = 1/a_ij. Where
            |a_ij·a_ji − 1| ≤ 5e-3 (three printed decimals, 0.333 for 1/3) the larger of the two is the judgement and
            the other becomes its reciprocal.

    Raises:
        MethodError: not square, n > 10, an entry that is missing or not positive, or a_ij·a_ji further from 1.
    """
    a, rounding = _judgements(matrix)
    n = a.shape[0]
    geometric = checked(np.exp(np.log(a).mean(axis=1)))
    if n <= 2:
        return Ahp(geometric, float(n), 0.0, 0.0, True, geometric, rounding)
    values, vectors = np.linalg.eig(a)
    principal = int(np.argmax(values.real))
    w = checked(np.abs(vectors[:, principal].real))
    largest = max(float(values[principal].real), float(n))  # λ ≥ n for reciprocal matrices: less is rounding
    ci = (largest - n) / (n - 1)
    cr = ci / RANDOM_INDEX[n - 1]
    return Ahp(w, largest, ci, cr, cr < MAX_CR, geometric, rounding)


def _judgements(matrix: ArrayLike) -> tuple[Floats, float]:
    """The matrix made exactly reciprocal, and how far it was from that."""
    a = np.asarray(matrix, dtype=np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or a.size == 0:
        raise MethodError(f"AHP matrix of shape {a.shape}", "give as many rows as columns")
    n = a.shape[0]
    if n > len(RANDOM_INDEX):
        raise MethodError(
            f"AHP matrix of {n} elements: Saaty's random index ends at {len(RANDOM_INDEX)}", "split the group"
        )
    wrong = ~np.isfinite(a) | (a <= 0)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise MethodError(f"AHP matrix: row {i + 1}, column {j + 1} is {a[i, j]:g}", "give a number above 0")
    with np.errstate(over="ignore"):
        gap = np.abs(a * a.T - 1.0)
    np.fill_diagonal(gap, np.where(np.diag(a) == 1.0, 0.0, np.inf))
    if gap.max() > PRINTED_ROUNDING:
        i, j = np.unravel_index(gap.argmax(), gap.shape)
        raise MethodError(
            f"AHP matrix: row {i + 1}, column {j + 1} is {a[i, j]:g}, its mirror {a[j, i]:g}",
            "the diagonal must be 1 and each mirror the reciprocal, to three decimals or more",
        )
    upper = np.triu(np.where(a >= a.T, a, 1.0 / a.T), 1)
    lower = np.divide(1.0, upper.T, out=np.zeros_like(a), where=upper.T > 0)
    return upper + lower + np.eye(n), float(gap.max())


def from_upper_triangle(values: Sequence[float]) -> Floats:
    """Reciprocal matrix (n, n) of the n(n−1)/2 judgements above its diagonal, row by row.

    Raises:
        MethodError: a number of judgements that is not n(n−1)/2, or one that is not positive and finite.
    """
    given = np.asarray(values, dtype=np.float64).reshape(-1)
    n = (1 + round(np.sqrt(1 + 8 * given.size))) // 2
    if n * (n - 1) // 2 != given.size:
        raise MethodError(f"{given.size} judgements above the diagonal", "give n(n−1)/2 of them: 1, 3, 6, 10, 15 …")
    if not (np.isfinite(given) & (given > 0)).all():
        raise MethodError(f"AHP judgements {given.tolist()}", "give finite numbers above 0")
    matrix = np.eye(n)
    i, j = np.triu_indices(n, 1)
    matrix[i, j], matrix[j, i] = given, 1.0 / given
    return matrix


@dataclass(frozen=True)
class Pooled:
    """Result of `pool`.

    Attributes:
        matrix: element-wise geometric mean of the accepted matrices, reciprocal.
        result: its weights and consistency.
        experts: weights and consistency of every matrix by expert, in order.
        rejected: reason by expert whose matrix was left out.
    """

    matrix: Floats
    result: Ahp
    experts: Mapping[str, Ahp]
    rejected: Mapping[str, str]


def pool(matrices: Mapping[str, ArrayLike] | Sequence[ArrayLike]) -> Pooled:
    """Pooled judgements of several experts: element-wise geometric mean of the matrices with CR < 0.1.

    The geometric mean keeps reciprocity, and its CR is at most the largest pooled: the Perron root of the mean is at
    most the geometric mean of the roots (Kingman 1961). Source: Aczél & Saaty (1983); methodology §3.3.

    Args:
        matrices: matrices as in `ahp`, by expert (pooled in the order of the names) or in a list («1», «2», …).

    Raises:
        MethodError: a matrix as in `ahp`, named by expert; different sizes; none accepted.
    """
    named = dict(sorted(matrices.items()) if isinstance(matrices, Mapping) else _numbered(matrices))
    experts: dict[str, Ahp] = {}
    rejected: dict[str, str] = {}
    logs: list[Floats] = []
    for expert, matrix in named.items():
        try:
            judged, result = _judgements(matrix)[0], ahp(matrix)
        except MethodError as error:
            raise MethodError(f"expert {expert}: {error.message}", error.fix) from error
        if experts and result.w.size != next(iter(experts.values())).w.size:
            raise MethodError(f"expert {expert}: {result.w.size} elements, unlike the others", "judge the same group")
        experts[expert] = result
        if result.accepted:
            logs.append(np.log(judged))
        else:
            rejected[expert] = f"CR {result.cr:.4g} ≥ {MAX_CR}"
    if not logs:
        reasons = ", ".join(f"{expert} {why}" for expert, why in rejected.items()) or "there is none"
        raise MethodError(f"no AHP matrix is consistent enough: {reasons}", "ask the experts again")
    matrix, _ = _judgements(np.exp(np.sum(logs, axis=0) / len(logs)))
    return Pooled(matrix, ahp(matrix), experts, rejected)


def _numbered(matrices: Sequence[ArrayLike]) -> list[tuple[str, ArrayLike]]:
    """The matrices named «1», «2», …"""
    return [(str(i), matrix) for i, matrix in enumerate(matrices, start=1)]


def combine(ahp: ArrayLike, entropy: ArrayLike, scheme: str, lam: float = 0.5) -> Floats:
    """Combined weights of one group from AHP weights a and entropy weights e, shape of `ahp`.

    multiplicative: a·e / Σ a·e; linear: λa + (1−λ)e; min_relative_entropy: √(a·e) / Σ √(a·e), the weights nearest
    to both in relative entropy. Source: methodology §3.4.

    Args:
        ahp, entropy: weights of the same siblings.
        scheme: multiplicative | linear | min_relative_entropy; the schemes that choose by level are in `of_group`.
        lam: λ in [0, 1], share of the AHP weights (linear).

    Raises:
        MethodError: an unknown scheme, λ outside [0, 1], weights that fail `checked`, or every product a·e = 0.
    """
    if scheme not in COMBINATIONS:
        raise MethodError(f"combine: unknown scheme {scheme!r}", f"use one of {', '.join(COMBINATIONS)}")
    if not 0 <= lam <= 1:
        raise MethodError(f"combine: lam is {lam:g}", "give a share in [0, 1]")
    a = checked(ahp, "AHP weights")
    e = checked(entropy, "entropy weights", a.size)
    if scheme == "linear":
        return checked(lam * a + (1.0 - lam) * e)
    product = a * e if scheme == "multiplicative" else np.sqrt(a) * np.sqrt(e)
    if not product.any():
        raise MethodError(f"{scheme}: no sibling has both an AHP and an entropy weight", "use scheme linear")
    return checked(product)


@dataclass(frozen=True)
class GroupWeights:
    """Weights of one group and the method they come from: ahp, entropy, or the combination's name."""

    w: Floats
    method: str


def of_group(
    scheme: str,
    ahp: ArrayLike | None,
    entropy: ArrayLike | None,
    is_leaf_group: bool,
    lam: float = 0.5,
) -> GroupWeights:
    """Weights of one group under a scheme of the whole index.

    ahp_upper_entropy_leaf (default of the index): entropy among leaves, AHP above them; entropy_all: entropy at every
    level, the caller building the parents' scores with the weights just found below; the others as in `combine`, at
    every level. Source: methodology §3.4, §0a «Combination».

    Args:
        scheme: one of `SCHEMES`.
        ahp, entropy: weights of the same siblings; None where the group has none.
        is_leaf_group: whether the siblings are leaves.
        lam: as in `combine`.

    Raises:
        MethodError: an unknown scheme, weights that the scheme needs but the group lacks, or as in `combine`.
    """
    if scheme not in SCHEMES:
        raise MethodError(f"unknown weighting scheme {scheme!r}", f"use one of {', '.join(SCHEMES)}")
    by_entropy = scheme == "entropy_all" or (scheme == "ahp_upper_entropy_leaf" and is_leaf_group)
    if by_entropy and entropy is not None:
        return GroupWeights(checked(entropy, "entropy weights"), "entropy")
    if scheme == "ahp_upper_entropy_leaf" and not is_leaf_group and ahp is not None:
        return GroupWeights(checked(ahp, "AHP weights"), "ahp")
    if scheme in COMBINATIONS and ahp is not None and entropy is not None:
        return GroupWeights(combine(ahp, entropy, scheme, lam), scheme)
    lacking = "entropy" if entropy is None and (by_entropy or scheme in COMBINATIONS) else "AHP"
    group = "a leaf" if is_leaf_group else "an upper"
    raise MethodError(f"scheme {scheme}: {group} group has no {lacking} weights", "give them, or choose another scheme")


@dataclass(frozen=True)
class Critic:
    """Result of `critic`, one entry per column.

    Attributes:
        w: weights, sum 1.
        information: C_j.
        flags: "" or constant (w = 0).
        reason: why the weights are equal: all_constant, no_conflict (the varying columns agree perfectly); else "".
    """

    w: Floats
    information: Floats
    flags: tuple[str, ...]
    reason: str


def critic(scores: ArrayLike) -> Critic:
    """CRITIC weights: dispersion of a column times its conflict with the others.

    C_j = σ_j·Σ_k (1 − r_jk) over the varying columns, w_j = C_j / Σ C; σ_j of the column rescaled to [0, 1] by its own
    minimum and maximum, as in the paper, r Pearson. Unchanged by positive affine changes of a column.
    Source: Diakoulaki, Mavrotas & Papayannakis (1995), Computers & Operations Research 22(7).

    A constant column weighs 0. If all are constant, all share equally; if the varying ones have no conflict, they do.

    Args:
        scores: shape (cities, m), higher = better.

    Raises:
        MethodError: a missing or infinite score, no row or column.
    """
    z, spread, varying = _standardised(_matrix(scores, "critic"))
    m = varying.size
    flags = tuple(np.where(varying, "", "constant").tolist())
    if not varying.any():
        return Critic(equal(m), np.zeros(m), flags, "all_constant")
    conflict = np.clip(1.0 - z.T @ z / z.shape[0], 0.0, 2.0) * np.outer(varying, varying)
    np.fill_diagonal(conflict, 0.0)
    if conflict.max() < NO_DISPERSION:
        reason = "no_conflict" if varying.sum() > 1 else ""
        return Critic(checked(varying), np.zeros(m), flags, reason)
    information = spread * conflict.sum(axis=1)
    return Critic(checked(information), information, flags, "")


def _standardised(matrix: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Columns with mean 0 and sd 1, their sd in units of their range, and which vary; a constant column is 0."""
    size = np.abs(matrix).max(axis=0)
    scaled = matrix / np.where(size > 0, size, 1.0)
    centred = scaled - scaled.mean(axis=0)
    varying = np.abs(centred).max(axis=0) > 8 * np.finfo(np.float64).eps
    centred = np.where(varying, centred, 0.0)
    sd = np.sqrt((centred * centred).mean(axis=0))
    extent = np.where(varying, np.ptp(centred, axis=0), 1.0)
    return centred / np.where(varying, sd, 1.0), sd / extent, varying


@dataclass(frozen=True)
class Pca:
    """Result of `pca`, one entry per column.

    Attributes:
        w: weights, sum 1.
        loadings: first loading, length 1, sign chosen so that its sum is not negative; 0 for a constant column.
        explained: share of the variance that each component explains, largest first, one per varying column.
        flags: "" or constant (w = 0).
        reason: "all_constant" if the weights are equal for that reason; else "".
    """

    w: Floats
    loadings: Floats
    explained: Floats
    flags: tuple[str, ...]
    reason: str


def pca(scores: ArrayLike, kind: str = "squared") -> Pca:
    """Weights from the first principal component of the centred and scaled columns.

    squared: w_j = l_j², which does not depend on the arbitrary sign of l (OECD/JRC Handbook 2008, §6);
    loading: w_j = l_j / Σ l, COINr's rule with the sign settled, defined only where no loading is negative.
    COINr drops incomplete cities; here they are an error. Eigenvectors of the correlation matrix.

    Args:
        scores: shape (cities, m), higher = better.
        kind: squared | loading.

    Raises:
        MethodError: an unknown kind; a missing or infinite score; two first components that explain the same
            variance (the loading is then arbitrary); loadings of both signs with kind loading.
    """
    if kind not in ("squared", "loading"):
        raise MethodError(f"pca: unknown kind {kind!r}", "use squared or loading")
    z, _, varying = _standardised(_matrix(scores, "pca"))
    m = varying.size
    flags = tuple(np.where(varying, "", "constant").tolist())
    if not varying.any():
        return Pca(equal(m), np.zeros(m), np.zeros(0), flags, "all_constant")
    z = z[:, varying]
    values, vectors = np.linalg.eigh(z.T @ z / z.shape[0])
    explained = np.maximum(values[::-1], 0.0) / values.sum()
    if explained.size > 1 and explained[0] - explained[1] < SIGN_SLACK:
        raise MethodError("pca: the first two components explain the same variance", "use another weighting")
    first = vectors[:, -1] * (-1.0 if vectors[:, -1].sum() < 0 else 1.0)
    loadings = np.zeros(m)
    loadings[varying] = first
    if kind == "squared":
        return Pca(checked(loadings**2), loadings, explained, flags, "")
    if (loadings < -SIGN_SLACK).any():
        raise MethodError(
            f"pca: column {int(loadings.argmin()) + 1} loads {loadings.min():.4g} against the others",
            "check its direction, or use kind squared",
        )
    return Pca(checked(np.maximum(loadings, 0.0)), loadings, explained, flags, "")
