"""Tables for the tests of correlations and of what rests on them: random ones with gaps, and the ASEM example."""

import numpy as np
from scipy import stats

NAN = np.nan
SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


def gappy(seed=0, rows=40, columns=6, share=0.2, ties=False):
    """Random correlated columns with missing cells."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns)) + rng.normal(size=(rows, 1))
    x = np.round(x) if ties else x
    x[rng.random(x.shape) < share] = NAN
    return x


def by_hand(x, y, kind):
    """r, p, n of every pair by scipy, rows with a missing value deleted for each pair."""
    shape = (x.shape[1], y.shape[1])
    r, p, n = np.full(shape, NAN), np.full(shape, NAN), np.zeros(shape, dtype=int)
    for i, j in np.ndindex(shape):
        rows = ~np.isnan(x[:, i]) & ~np.isnan(y[:, j])
        n[i, j] = rows.sum()
        a, b = x[rows, i], y[rows, j]
        if n[i, j] >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0:
            r[i, j], p[i, j] = SCIPY[kind](a, b)
    return r, p, n


def asem(coinr, table="02_pipeline/Raw"):
    """An ASEM table as an array, its indicators, and their parents by level."""
    frame = coinr(table).drop("uCode")
    lineage = {row["Indicator"]: row for row in coinr("01_input/lineage").iter_rows(named=True)}
    return frame.to_numpy().astype(float), frame.columns, lineage
