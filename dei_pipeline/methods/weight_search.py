"""Weights found by search: correlations with the index balanced to target importances, or as large as possible.

A search that does not converge is an error, and a balance that the data do not allow is said in the result.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.weights import checked

Floats = NDArray[np.float64]
KINDS = ("balance", "infomax")
CORRELATIONS = ("pearson", "spearman")
MAX_RESTARTS = 20
CONSTANT = 1e-12
FIRST_STEP = 0.25  # of the largest u: a simplex as wide as the question


@dataclass(frozen=True)
class Optimised:
    """Result of `optimise`.

    Attributes:
        w: weights ≥ 0, sum 1.
        correlations: correlation of every element with the index.
        obtained: correlations / Σ |correlations|, to compare with `target`.
        target: importances, sum 1; None for infomax.
        gap: largest |obtained − target|; 0 for infomax.
        balanced: gap ≤ `balance_tolerance`; if not, no weights ≥ 0 reach the target (or, with rank
            correlations, none exactly): these are the nearest. True for infomax.
        evaluations: number of indices computed.
    """

    w: Floats
    correlations: Floats
    obtained: Floats
    target: Floats | None
    gap: float
    balanced: bool
    evaluations: int


def optimise(
    scores: ArrayLike,
    importances: ArrayLike | None = None,
    kind: str = "balance",
    correlation: str = "pearson",
    index: Callable[[Floats], Floats] | None = None,
    tolerance: float = 1e-7,
    balance_tolerance: float = 1e-3,
    max_iterations: int = 5000,
) -> Optimised:
    """Weights whose elements correlate with the index as asked.

    balance: minimise Σ_j (t_j − c_j / Σ|c|)² for target importances t, c_j = corr(x_j, index(w));
    infomax: maximise Σ_j c_j. Nelder–Mead on u with w = u² / Σ u², so that no weight is ever negative, restarted from
    its result until that no longer improves. For Pearson and a weighted mean the solutions are known and the tests
    compare with them: balance w_j ∝ (R⁻¹t)_j / σ_j where none is negative, infomax w_j ∝ 1/σ_j.
    Source: Becker, Saisana, Paruolo & Vandecasteele (2017), Ecological Indicators 80; COINr `get_opt_weights`.

    Args:
        scores: elements of one level, shape (cities, n).
        importances: target t > 0 per element, rescaled to sum 1 (balance); equal if None.
        kind: balance | infomax.
        correlation: pearson | spearman (ranks; piecewise constant in w, so a balance is seldom exact).
        index: index values (cities,) for weights (n,) of the elements; their weighted mean if None. Give it where
            levels lie between the elements and the index.
        tolerance: of u; of the objective it is its square.
        balance_tolerance: largest gap that counts as balanced.
        max_iterations: of one Nelder–Mead run.

    Raises:
        MethodError: an unknown kind or correlation; importances with infomax, or not above 0; a score that is missing
            or infinite; a constant element; an index that is constant, not finite or uncorrelated with all elements; no
            convergence.
    """
    elements = _elements(scores, kind, correlation)
    n = elements.shape[1]
    target = _target(importances, kind, n)
    ranked = _standard(elements, correlation)
    values = index or (lambda w: elements @ w)
    calls = 0

    def correlations(u: Floats) -> Floats:
        nonlocal calls
        calls += 1
        total = np.asarray(values(_simplex(u)), dtype=np.float64)
        if total.shape != (elements.shape[0],) or not np.isfinite(total).all():
            raise MethodError(f"optimise: the index has shape {total.shape} or is not finite", "give one per city")
        return ranked.T @ _standard(total[:, None], correlation)[:, 0] / elements.shape[0]

    def objective(u: Floats) -> float:
        c = correlations(u)
        return -float(c.sum()) if target is None else float(((target - _relative(c)) ** 2).sum())

    u = np.sqrt(target if target is not None else np.full(n, 1.0 / n))
    u = _search(objective, u, tolerance, max_iterations) if n > 1 else u
    c = correlations(u)
    gap = 0.0 if target is None else float(np.abs(_relative(c) - target).max())
    return Optimised(_simplex(u), c, _relative(c), target, gap, gap <= balance_tolerance, calls)


def _elements(scores: ArrayLike, kind: str, correlation: str) -> Floats:
    """The elements as a complete matrix."""
    for word, known in ((kind, KINDS), (correlation, CORRELATIONS)):
        if word not in known:
            raise MethodError(f"optimise: unknown word {word!r}", f"use one of {', '.join(known)}")
    elements = np.asarray(scores, dtype=np.float64)
    if elements.ndim != 2 or 0 in elements.shape or not np.isfinite(elements).all():
        raise MethodError(
            f"optimise: scores of shape {elements.shape}, or one is missing or infinite", "impute or correct it first"
        )
    return elements


def _target(importances: ArrayLike | None, kind: str, n: int) -> Floats | None:
    """Importances that sum to 1; None for infomax."""
    if kind == "infomax":
        if importances is not None:
            raise MethodError("optimise: infomax has no target", "leave importances out, or use kind balance")
        return None
    target = checked(np.ones(n) if importances is None else importances, "importances", n)
    if (target <= 0).any():
        raise MethodError(f"importances {target.tolist()}", "give numbers above 0, or leave the element out")
    return target


def _standard(columns: Floats, correlation: str) -> Floats:
    """Columns (or their mean ranks) with mean 0 and sd 1 (divisor n).

    Raises:
        MethodError: a constant column.
    """
    if correlation == "spearman":
        from scipy.stats import rankdata

        columns = rankdata(columns, axis=0)
    centred = columns - columns.mean(axis=0)
    sd = np.sqrt((centred * centred).mean(axis=0))
    constant = sd <= CONSTANT * np.abs(columns).max(axis=0)
    if constant.any():
        raise MethodError(
            f"optimise: column {int(constant.argmax()) + 1} of {constant.size} is constant, it has no correlation",
            "leave it out",
        )
    return centred / sd


def _relative(c: Floats) -> Floats:
    """Correlations in units of the sum of their sizes."""
    size = np.abs(c).sum()
    if size == 0:
        raise MethodError("optimise: no element correlates with the index", "check the index function")
    return c / size


def _simplex(u: Floats) -> Floats:
    """Weights w = u² / Σ u²."""
    return checked(u * u)


def _search(objective: Callable[[Floats], float], start: Floats, tolerance: float, max_iterations: int) -> Floats:
    """Place of the least objective, by Nelder–Mead runs from the last result until one no longer improves it.

    Raises:
        MethodError: a run, or the series of runs, that does not converge.
    """
    from scipy.optimize import minimize

    options = {
        "xatol": tolerance,
        "fatol": tolerance**2,
        "maxiter": max_iterations,
        "maxfev": 4 * max_iterations,
        "adaptive": start.size > 2,
    }
    u, least = start, objective(start)
    for _ in range(MAX_RESTARTS):
        simplex = np.vstack([u, u + FIRST_STEP * np.abs(u).max() * np.eye(u.size)])
        run = minimize(objective, u, method="Nelder-Mead", options={**options, "initial_simplex": simplex})
        if not run.success:
            raise MethodError(f"optimise: {run.message.rstrip('.')}", "raise max_iterations or tolerance")
        gained, u = least - run.fun, run.x
        if gained <= tolerance**2:
            return np.asarray(u, dtype=np.float64)
        least = run.fun
    raise MethodError(f"optimise: still improving after {MAX_RESTARTS} runs", "raise tolerance")
