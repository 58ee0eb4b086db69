"""Uncertain assumptions and their sample: which factor may take which value, and a table of draws [methodology §3.25].

A sample is a table with one row per replication that can be stored, read and replayed. Choices are columns of words,
factors on quantities are columns `<factor>:<target>` of multipliers, 1 being the nominal case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError

Floats = NDArray[np.float64]
DISTRIBUTIONS = ("uniform", "normal")
HALF_STEP = 2.0**-54  # moves uniform numbers of [0, 1) into (0, 1)
SEEDS = 2**53  # seeds of replications are whole numbers below this
SUM_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Choice:
    """An assumption with a few alternatives, the nominal one first.

    Attributes:
        name: the factor.
        options: words of the alternatives.
        probabilities: their probabilities, which sum to 1; equal if None.
    """

    name: str
    options: tuple[str, ...]
    probabilities: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Spread:
    """An assumption that multiplies quantities by factors around 1.

    Attributes:
        name: the factor.
        size: half width d of U(1−d, 1+d), or standard deviation of N(1, size²) truncated at 0; one for all targets, or
            by target (those left out do not vary).
        distribution: uniform | normal.
    """

    name: str
    size: float | Mapping[str, float]
    distribution: str = "uniform"

    def size_of(self, target: str) -> float:
        """Half width or standard deviation for one target; 0 if it does not vary."""
        return float(self.size.get(target, 0.0)) if isinstance(self.size, Mapping) else float(self.size)


Factor = Choice | Spread


def check_factor(factor: Factor, targets: Sequence[str] = ()) -> None:
    """Rejects a factor that cannot be sampled.

    Args:
        factor: the factor.
        targets: what a spread may act on.

    Raises:
        MethodError: no or repeated options, probabilities that are not; an unknown distribution or target, a size
            outside [0, 1) for uniform factors, or negative or not finite.
    """
    if isinstance(factor, Choice):
        _probabilities(factor)
        return
    if factor.distribution not in DISTRIBUTIONS:
        raise MethodError(
            f"factor {factor.name}: unknown distribution {factor.distribution!r}",
            f"use one of {', '.join(DISTRIBUTIONS)}",
        )
    if isinstance(factor.size, Mapping):
        for target in factor.size:
            if target not in targets:
                raise MethodError(f"factor {factor.name}: unknown target {target}", f"known: {', '.join(targets)}")
    limit = 1.0 if factor.distribution == "uniform" else np.inf
    for target in targets:
        if not 0 <= factor.size_of(target) < limit:
            raise MethodError(
                f"factor {factor.name}: size {factor.size_of(target):g} of {target}", f"give 0 ≤ size < {limit:g}"
            )


def _probabilities(choice: Choice) -> Floats:
    """Probabilities of the options."""
    n = len(choice.options)
    if n == 0 or len(set(choice.options)) < n:
        raise MethodError(f"factor {choice.name}: options {choice.options}", "give different options, at least one")
    p = np.full(n, 1.0 / n) if choice.probabilities is None else np.asarray(choice.probabilities, dtype=np.float64)
    if p.shape != (n,) or not (p >= 0).all() or abs(p.sum() - 1) > SUM_TOLERANCE:
        raise MethodError(
            f"factor {choice.name}: probabilities {p.tolist()} of {n} options", "give one ≥ 0 each, sum 1"
        )
    return p


def pick(u: ArrayLike, probabilities: ArrayLike) -> NDArray[np.int64]:
    """Position of the option that each uniform number falls on, by cumulative probability, shape of u.

    Option k for P_(k−1) ≤ u < P_k, P the cumulative probabilities: what is drawn does not depend on the other draws.
    """
    edges = np.cumsum(np.asarray(probabilities, dtype=np.float64))[:-1]
    return np.searchsorted(edges, np.asarray(u, dtype=np.float64), side="right").astype(np.int64)


def multiplier(u: ArrayLike, size: float, distribution: str = "uniform") -> Floats:
    """Multipliers of uniform numbers, shape of u: quantiles of U(1−size, 1+size), or of N(1, size²) above 0.

    Args:
        u: numbers in (0, 1).
        size: half width or standard deviation.
        distribution: uniform | normal.
    """
    share = np.asarray(u, dtype=np.float64)
    if distribution == "uniform" or size == 0:
        return 1.0 + size * (2.0 * share - 1.0)
    from scipy.special import ndtr, ndtri

    below = ndtr(-1.0 / size)
    return np.asarray(np.maximum(1.0 + size * ndtri(below + share * (1.0 - below)), np.finfo(np.float64).tiny))


def uniforms(
    n: int, columns: Sequence[str], seed: int, correlation: Mapping[tuple[str, str], float] | None = None
) -> Floats:
    """Numbers in (0, 1) of shape (n, columns), the first rows of any larger n; correlated by a Gaussian copula.

    Args:
        n: rows.
        columns: names of the columns.
        seed: of `numpy.random.PCG64`.
        correlation: correlation of the normal scores of two columns; 0 where not given.

    Raises:
        MethodError: an unknown column, or correlations that no distribution has.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    if not correlation:
        return generator.random((n, len(columns))) + HALF_STEP
    at = {name: i for i, name in enumerate(columns)}
    matrix = np.eye(len(columns))
    for pair, rho in correlation.items():
        for name in pair:
            if name not in at:
                raise MethodError(f"correlation of unknown column {name}", f"known: {', '.join(columns)}")
        matrix[at[pair[0]], at[pair[1]]] = matrix[at[pair[1]], at[pair[0]]] = rho
    values, vectors = np.linalg.eigh(matrix)
    if values.min() < -SUM_TOLERANCE or (np.diag(matrix) != 1).any() or not (np.abs(matrix) <= 1).all():
        raise MethodError("the correlations contradict each other", "give a positive semi-definite set within ±1")
    from scipy.special import ndtr, ndtri

    root = vectors * np.sqrt(np.maximum(values, 0.0))
    scores = ndtri(generator.random((n, len(columns))) + HALF_STEP)
    mixed = np.zeros_like(scores)
    for k in range(len(columns)):  # a fixed order of summation: no row depends on the number of rows
        mixed = mixed + scores[:, k, None] * root[:, k]
    return np.asarray(np.clip(ndtr(mixed), HALF_STEP, 1.0 - HALF_STEP))


def draw(u: Floats, factors: Sequence[Factor], columns: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """The sample that belongs to uniform numbers, one row per row of u.

    Args:
        u: numbers in (0, 1), one column per column of the sample.
        factors: the factors, in order.
        columns: names of each factor's columns: its name, or `<name>:<target>`. A spread whose only column is its name
            draws the seed of a replication.
    """
    sample: dict[str, pl.Series] = {}
    for factor in factors:
        for column in columns[factor.name]:
            values = u[:, len(sample)]
            if isinstance(factor, Choice):
                words = np.array(factor.options, dtype=object)[pick(values, _probabilities(factor))]
                sample[column] = pl.Series(column, words.tolist(), dtype=pl.String)
            elif column == factor.name:
                sample[column] = pl.Series(column, np.floor(values * SEEDS).astype(np.int64))
            else:
                size = factor.size_of(column.partition(":")[2])
                sample[column] = pl.Series(column, multiplier(values, size, factor.distribution))
    return pl.DataFrame(sample)
