"""Outranking: on what share of the weight one unit beats another, and weights as shares [OECD/JRC Handbook step 6]."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.tiers import RANK_SCALE

Floats = NDArray[np.float64]


def unit_weights(w: ArrayLike, n: int) -> Floats:
    """Weights rescaled to sum 1 along their last dimension of n.

    Raises:
        MethodError: weights of another length, negative, not finite or all zero.
    """
    weights = np.asarray(w, dtype=np.float64)
    good = weights.ndim > 0 and weights.shape[-1] == n and bool(np.isfinite(weights).all() and (weights >= 0).all())
    if not good or (weights.sum(axis=-1) <= 0).any():
        raise MethodError(f"weights {weights.tolist()} for {n} values", "give one finite weight ≥ 0 each, not all 0")
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def outranking_matrix(x: ArrayLike, w: ArrayLike) -> Floats:
    """Share of weight on which the row unit outranks the column unit, shape (units, units), 0 on the diagonal.

    m_ij = Σ_c w_c·(1 if x_ic > x_jc, ½ if equal, 0 if less) / Σ_c w_c over the criteria that both have, NaN without
    any; m_ij + m_ji = 1. Values are equal as in ranks: rounded to 1e-10 [Condorcet; methodology R1].

    Args:
        x: values, shape (units, criteria); NaN = missing.
        w: weights ≥ 0 of shape (criteria,).

    Raises:
        MethodError: weights as in `unit_weights`, an infinite value, or x without two dimensions.
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 2 or np.isinf(values).any():
        raise MethodError(
            f"outranking of an array of {values.ndim} dimensions, or of infinity", "give finite units × criteria"
        )
    weights = unit_weights(w, values.shape[1])
    values = np.rint(values * RANK_SCALE)
    present = ~np.isnan(values)
    won, shared = np.zeros((len(values), len(values))), np.zeros((len(values), len(values)))
    for c, weight in enumerate(weights):
        won += weight * (values[:, c, None] > values[:, c])  # false where either is missing
        shared += weight * (present[:, c, None] & present[:, c]) if not present[:, c].all() else weight
    matrix = np.full(won.shape, np.nan)
    np.divide(won - won.T, 2.0 * shared, out=matrix, where=shared > 0)
    matrix += 0.5  # what neither wins is tied
    np.fill_diagonal(matrix, 0.0)
    return matrix
