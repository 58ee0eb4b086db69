"""Multivariate analysis of a group of indicators: reliability, principal components and their adequacy.

Step 4 of the OECD/JRC Handbook on Constructing Composite Indicators (2008); correlations are in `correlations`. Units
are rows, indicators columns, NaN = missing. One group or year of a table: `positions_by`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.correlations import CONSTANT, MIN_ROWS, common_rows, scaled_deviations, table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SINGULAR = 1e-12  # smallest eigenvalue of an invertible correlation matrix
SIGN_SLACK = 1e-9  # loadings this close count as equally large


def _covariance(values: Floats) -> Floats:
    """Covariances over the rows each pair has in common, divisor n−1; NaN below two common rows."""
    covariance = np.full((values.shape[1], values.shape[1]), np.nan)
    for i in range(values.shape[1]):
        a, b = common_rows(values[:, i], values)
        n = (~np.isnan(b)).sum(axis=0)
        u, v = (np.nan_to_num(t - np.nansum(t, axis=0) / np.maximum(n, 1)) for t in (a, b))
        np.divide((u * v).sum(axis=0), n - 1, out=covariance[i], where=n > 1)
    return covariance


def cronbach_alpha(x: ArrayLike) -> float:
    """Cronbach's α of the columns: how far they measure one thing; negative if they work against each other.

    α = k²·c̄ / Σ C, C = covariances over the rows each pair has in common (n−1), c̄ = mean of the off-diagonal ones, Σ C
    = sum of all; for complete data α = k/(k−1)·(1 − Σ var_j / var(Σ_j x_j)) ≤ 1. It depends on the units of the
    columns: give normalised ones. Source: Cronbach (1951); OECD/JRC Handbook (2008) step 4.

    Args:
        x: columns of one group in the same direction, shape (units, k ≥ 2), NaN = missing.

    Raises:
        MethodError: fewer than two columns, a constant column, a pair without two common rows, or Σ C ≤ 0.
    """
    values = table(x)
    k = values.shape[1]
    if k < 2:
        raise MethodError("Cronbach's alpha of one column", "give the columns of a group of two or more")
    _reject_constant("Cronbach's alpha", values)
    covariance = _covariance(values)
    if np.isnan(covariance).any():
        i, j = np.argwhere(np.isnan(covariance))[0]
        raise MethodError(f"Cronbach's alpha: columns {i} and {j} share fewer than two rows", "drop one of them")
    total = covariance.sum()
    if total <= CONSTANT * np.abs(covariance).sum():
        raise MethodError("Cronbach's alpha: the columns cancel out", "turn them all into the same direction")
    return float(k / (k - 1) * (total - np.trace(covariance)) / total)


def _reject_constant(what: str, values: Floats) -> None:
    """Rejects a column without spread: its standardised value is 0/0."""
    flat = ~scaled_deviations(values).any(axis=0)
    if flat.any():
        raise MethodError(f"{what}: column {int(flat.argmax())} (from 0) is constant or empty", "leave it out")


def _standardised(what: str, x: ArrayLike) -> tuple[Floats, Ints]:
    """Complete rows centred and scaled by their standard deviation (n−1), and their positions."""
    values = table(x)
    rows = np.flatnonzero(~np.isnan(values).any(axis=1))
    if rows.size < MIN_ROWS:
        raise MethodError(f"{what}: {rows.size} of {len(values)} rows are complete", "impute first, or drop columns")
    if values.shape[1] < 2:
        raise MethodError(f"{what} of one column", "give two or more")
    _reject_constant(what, values[rows])
    deviations = scaled_deviations(values[rows])
    return deviations / np.sqrt((deviations * deviations).sum(axis=0) / (rows.size - 1)), rows


@dataclass(frozen=True)
class Components:
    """Result of `pca`; component c is column c.

    Attributes:
        eigenvalues: variance of each component, descending; they sum to the number of columns.
        explained: share of the variance, eigenvalues / number of columns.
        loadings: unit-length eigenvectors, shape (columns, components), largest |loading| positive.
        scores: components of the complete rows, shape (rows, components).
        rows: positions of the complete rows.
        dropped: rows left out because a value is missing.
    """

    eigenvalues: Floats
    explained: Floats
    loadings: Floats
    scores: Floats
    rows: Ints
    dropped: int


def pca(x: ArrayLike) -> Components:
    """Principal components of the columns, centred and scaled; rows with a missing value are dropped and counted.

    Z = U S Vᵀ, eigenvalues s²/(n−1), loadings V (R's `prcomp(scale. = TRUE)`), min(n, p) components. Sign: the largest
    |loading| of a component is positive, the first of several equal ones.
    Source: OECD/JRC Handbook (2008) step 4.

    Args:
        x: indicators, shape (units, p ≥ 2), NaN = missing.

    Raises:
        MethodError: fewer than 3 complete rows, one column, or a column constant over the complete rows.
    """
    z, rows = _standardised("principal components", x)
    _, singular, axes = np.linalg.svd(z, full_matrices=False)
    size = np.abs(axes)
    leading = (size >= size.max(axis=1, keepdims=True) * (1 - SIGN_SLACK)).argmax(axis=1)
    loadings = (axes * np.sign(axes[np.arange(len(axes)), leading])[:, None]).T
    eigenvalues = singular**2 / (rows.size - 1)
    return Components(
        eigenvalues, eigenvalues / z.shape[1], loadings, z @ loadings, rows, len(np.asarray(x)) - rows.size
    )


def _correlation_of_complete_rows(what: str, x: ArrayLike) -> tuple[Floats, int, int]:
    """Invertible correlation matrix, rows used and rows dropped."""
    z, rows = _standardised(what, x)
    r = z.T @ z / (rows.size - 1)
    if np.linalg.eigvalsh(r)[0] <= SINGULAR:
        raise MethodError(
            f"{what}: the correlation matrix of {r.shape[0]} columns over {rows.size} complete rows is singular",
            "leave out collinear columns (see flags), or give more rows than columns",
        )
    return r, rows.size, len(np.asarray(x)) - rows.size


@dataclass(frozen=True)
class Adequacy:
    """Result of `kmo`: `overall` in [0, 1], `by_column`, complete `rows` used and `dropped` incomplete ones."""

    overall: float
    by_column: Floats
    rows: int
    dropped: int


def kmo(x: ArrayLike) -> Adequacy:
    """Kaiser–Meyer–Olkin measure of sampling adequacy, overall and by column: what share of correlation is common.

    KMO = Σ r_ij² / (Σ r_ij² + Σ q_ij²) over i ≠ j, q_ij = −s_ij/√(s_ii s_jj) the partial correlations, S = R⁻¹; by
    column over j alone. Below 0.5 a component analysis is not justified, from 0.8 on it is meritorious.
    Source: Kaiser (1974); OECD/JRC Handbook (2008) step 4.

    Args:
        x: indicators, shape (units, p ≥ 2); rows with NaN are dropped and counted.

    Raises:
        MethodError: a singular correlation matrix, uncorrelated columns; as `pca`.
    """
    r, rows, dropped = _correlation_of_complete_rows("KMO", x)
    inverse = np.linalg.inv(r)
    scale = np.sqrt(np.diag(inverse))
    plain, partial = r**2, (inverse / np.outer(scale, scale)) ** 2
    np.fill_diagonal(plain, 0.0)
    np.fill_diagonal(partial, 0.0)
    common, unique = plain.sum(axis=0), partial.sum(axis=0)
    if (common + unique <= SINGULAR).any():
        column = int((common + unique).argmin())
        raise MethodError(f"KMO: column {column} (from 0) is uncorrelated with all others", "leave it out")
    return Adequacy(float(common.sum() / (common.sum() + unique.sum())), common / (common + unique), rows, dropped)


@dataclass(frozen=True)
class Sphericity:
    """Result of `bartlett`: χ², its degrees of freedom and p; complete `rows` used and `dropped` incomplete ones."""

    chi2: float
    freedom: int
    p: float
    rows: int
    dropped: int


def bartlett(x: ArrayLike) -> Sphericity:
    """Bartlett's test that the columns are uncorrelated; a small p says that they have something in common.

    χ² = −(n − 1 − (2p+5)/6)·ln det R with p(p−1)/2 degrees of freedom. Source: Bartlett (1951).

    Args:
        x: indicators, shape (units, p ≥ 2); rows with NaN are dropped and counted.

    Raises:
        MethodError: a singular correlation matrix; as `pca`.
    """
    from scipy.special import chdtrc

    r, rows, dropped = _correlation_of_complete_rows("Bartlett's test", x)
    columns = r.shape[0]
    freedom = columns * (columns - 1) // 2
    chi2 = max(0.0, -(rows - 1 - (2 * columns + 5) / 6) * float(np.linalg.slogdet(r)[1]))
    return Sphericity(chi2, freedom, float(chdtrc(freedom, chi2)), rows, dropped)
