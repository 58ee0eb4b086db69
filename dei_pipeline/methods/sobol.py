"""Variance-based sensitivity: Sobol' indices of first and total order [methodology §3.25; Saltelli et al. 2010]."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.assumptions import Assumptions, evaluate
from dei_pipeline.methods.robustness import NOMINAL, rank_shift, ranks
from dei_pipeline.methods.sampling import HALF_STEP

Floats = NDArray[np.float64]
SHIFT, SCORE, RANK = "mean_abs_rank_shift", "score", "rank"


@dataclass(frozen=True)
class Sensitivity:
    """Which uncertain factor the variance of an output comes from.

    Attributes:
        indices: per output and factor the share of variance that the factor explains alone (`first`) and with all its
            interactions (`total`), each with the ends of its bootstrap interval.
        outputs: per output its mean and variance, and how many of the n design rows were left out because the output
            was undefined in one of their runs.
        runs: evaluations of the model, n·(factors + 2).
    """

    indices: pl.DataFrame
    outputs: pl.DataFrame
    runs: int


def sobol(
    model: Callable[[Floats], Floats],
    factors: Sequence[str] | Mapping[str, int],
    n: int = 1024,
    seed: int = 0,
    bootstrap: int = 500,
    level: float = 0.9,
    outputs: Sequence[str] = ("output",),
) -> Sensitivity:
    """Sobol' indices of a model of independent uniform numbers.

    With runs A, B and A_i (A with the columns of factor i from B), y centred on the mean of A and B, V their variance:
    first S_i = mean(y_B·(y_Ai − y_A))/V (Saltelli), total T_i = mean((y_A − y_Ai)²)/(2V) (Jansen). Centred, the
    estimates do not depend on the mean of y. A and B come from one scrambled Sobol' sequence; the intervals from
    resampling its rows.

    Args:
        model: from numbers in (0, 1) of shape (runs, columns) to outputs (runs,) or (runs, outputs); NaN = undefined.
        factors: names, one column each, or columns by name for factors of several columns.
        n: rows of the design, a power of two.
        seed: of PCG64, for the scrambling and the bootstrap.
        bootstrap: number of resamples.
        level: probability of the intervals.
        outputs: names of the outputs.

    Raises:
        MethodError: n is no power of two; no factor, or one without columns; another number of outputs; an output that
            is infinite, does not vary, or is defined on fewer than half of the rows.
    """
    blocks = dict(factors) if isinstance(factors, Mapping) else dict.fromkeys(factors, 1)
    if n < 2 or n & (n - 1):
        raise MethodError(f"Sobol' design of {n} rows", "give a power of two, as 1024")
    if not blocks or min(blocks.values()) < 1:
        raise MethodError(f"Sobol' indices of factors {blocks}", "give at least one, each with a column")
    a, b = _design(n, sum(blocks.values()), seed)
    found = [_outputs(model, a, outputs), _outputs(model, b, outputs)]
    start = 0
    for width in blocks.values():
        mixed = a.copy()
        mixed[:, start : start + width] = b[:, start : start + width]
        found.append(_outputs(model, mixed, outputs))
        start += width
    y = np.stack(found)  # (runs per row, n, outputs)
    generator = np.random.Generator(np.random.PCG64(seed))
    rows, about = [], []
    for k, output in enumerate(outputs):
        defined = ~np.isnan(y[:, :, k]).any(axis=0)
        if 2 * defined.sum() < n:
            raise MethodError(
                f"{output} is undefined in {n - defined.sum()} of {n} rows of the design", "leave out what undefines it"
            )
        runs = y[:, defined, k]
        mean = runs[:2].mean()
        stats = _statistics(runs - mean)
        first, total, variance = _indices(stats.mean(axis=0, keepdims=True), len(blocks))
        if not variance[0] > np.finfo(np.float64).eps * mean**2:
            raise MethodError(f"{output} does not vary", "vary a factor it depends on")
        drawn = generator.multinomial(runs.shape[1], np.full(runs.shape[1], 1.0 / runs.shape[1]), size=bootstrap)
        spread = _indices(drawn @ stats / runs.shape[1], len(blocks))[:2]
        ends = [np.nanquantile(s, [(1 - level) / 2, (1 + level) / 2], axis=0) for s in spread]
        for i, factor in enumerate(blocks):
            rows.append((output, factor, first[0, i], *ends[0][:, i], total[0, i], *ends[1][:, i]))
        about.append((output, mean, variance[0], int(n - defined.sum())))
    columns = ["output", "factor", "first", "first_low", "first_high", "total", "total_low", "total_high"]
    indices = pl.DataFrame([tuple(map(_plain, row)) for row in rows], schema=columns, orient="row")
    summary = pl.DataFrame(
        [tuple(map(_plain, row)) for row in about], schema=["output", "mean", "variance", "undefined"], orient="row"
    )
    return Sensitivity(indices, summary, n * (len(blocks) + 2))


def _plain(value: object) -> object:
    """A numpy number as a Python one."""
    return value.item() if isinstance(value, np.generic) else value


def _design(n: int, columns: int, seed: int) -> tuple[Floats, Floats]:
    """Two halves of a scrambled Sobol' sequence, each (n, columns) in (0, 1)."""
    from scipy.stats.qmc import Sobol

    generator = np.random.Generator(np.random.PCG64(seed))
    points = Sobol(2 * columns, scramble=True, rng=generator).random_base2(n.bit_length() - 1)
    inside = np.clip(points, HALF_STEP, 1.0 - HALF_STEP)
    return inside[:, :columns], inside[:, columns:]


def _outputs(model: Callable[[Floats], Floats], u: Floats, outputs: Sequence[str]) -> Floats:
    """Outputs of the model, shape (runs, outputs)."""
    y = np.asarray(model(u), dtype=np.float64)
    y = y[:, None] if y.ndim == 1 else y
    if y.shape != (len(u), len(outputs)):
        raise MethodError(
            f"the model gives an array of shape {y.shape}", f"give {len(u)} runs × {len(outputs)} outputs"
        )
    if np.isinf(y).any():
        worst = outputs[int(np.isinf(y).any(axis=0).argmax())]
        raise MethodError(f"{worst} is infinite", "let the model give NaN where it is undefined")
    return y


def _statistics(y: Floats) -> Floats:
    """Terms per row whose means make the indices: y_A, y_B, their squares; d_i, y_B·d_i, d_i² for d_i = y_Ai − y_A."""
    a, b, steps = y[0], y[1], (y[2:] - y[0]).T
    return np.column_stack([a, b, a**2, b**2, steps, b[:, None] * steps, steps**2])


def _indices(means: Floats, d: int) -> tuple[Floats, Floats, Floats]:
    """First and total order of each row of means (rows, factors), and the variance (rows,); NaN where it is 0."""
    mean = means[:, :2].mean(axis=1)
    variance = means[:, 2:4].mean(axis=1) - mean**2
    step, product, square = (means[:, 4 + k * d : 4 + (k + 1) * d] for k in range(3))
    below = np.where(variance > 0, variance, np.nan)[:, None]
    return (product - mean[:, None] * step) / below, square / (2.0 * below), variance


def sobol_index(
    assumptions: Assumptions,
    n: int = 1024,
    seed: int = 0,
    units: Sequence[tuple[str, int]] = (),
    bootstrap: int = 500,
    level: float = 0.9,
) -> Sensitivity:
    """Sobol' indices of an index: of its mean absolute rank shift, and of the score or rank of single rows.

    A factor is one group of columns: all leaf weights together are one factor. Outputs are named
    `mean_abs_rank_shift`, `score:<row>`, `rank:<row>`.

    Args:
        assumptions: the index and what varies.
        n, seed, bootstrap, level: as in `sobol`; the model is run n·(factors + 2) times.
        units: outputs besides the shift: (`score` or `rank`, position of the row).

    Raises:
        MethodError: an unknown output or row; see `sobol`, `evaluate`.
    """
    for what, row in units:
        if what not in (SCORE, RANK) or not 0 <= row < assumptions.rows:
            raise MethodError(
                f"unknown output ({what}, {row})", f"use {SCORE} or {RANK} of a row from 0 to {assumptions.rows - 1}"
            )
    blocks = {name: len(columns) for name, columns in assumptions.columns.items() if columns}
    nominal = ranks(next(evaluate(assumptions, NOMINAL)).scores, assumptions.row_groups)[0]

    def model(u: Floats) -> Floats:
        y = np.empty((len(u), 1 + len(units)))
        for chunk in evaluate(assumptions, assumptions.draw(u)):
            rank = ranks(chunk.scores, assumptions.row_groups)
            y[chunk.at, 0] = rank_shift(rank, nominal)
            for k, (what, row) in enumerate(units, 1):
                ranked = np.where(rank[:, row] > 0, rank[:, row], np.nan)
                y[chunk.at, k] = chunk.scores[:, row] if what == SCORE else ranked
        return y

    names = [SHIFT, *(f"{what}:{row}" for what, row in units)]
    return sobol(model, blocks, n, seed, bootstrap, level, names)
