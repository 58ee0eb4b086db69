"""Correlations of indicators and their families: with ancestors, within groups, with denominators; what to look at.

Step 4 of the OECD/JRC Handbook on Constructing Composite Indicators (2008). Units are rows, indicators columns, NaN =
missing. A stacked panel is a longer table: analyse it whole (pooled), or one year at a time with `positions_by`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Label = TypeVar("Label", bound=Hashable)
KINDS = ("pearson", "spearman", "kendall")
MIN_ROWS = 3  # with two points every correlation is ±1
COLLINEAR = 0.9  # OECD/JRC practice; COINr get_corr_flags
NEGATIVE = -0.4
DENOMINATOR_LIMIT = 0.7
CONSTANT = 8 * np.finfo(np.float64).eps  # largest deviation over largest value of a column constant up to rounding
BLOCK = 2**20  # cells of one block of row pairs
SHORT, FLAT = "fewer than 3 common rows", "constant over the common rows"
PAIR_SCHEMA = {"group_id": pl.String, "node_a": pl.String, "node_b": pl.String}
STATISTIC_SCHEMA = {"r": pl.Float64, "n": pl.Int64, "p": pl.Float64}


def table(x: ArrayLike) -> Floats:
    """A table of floats; None and NaN are missing, infinity is an error."""
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise MethodError(f"multivariate: data of shape {values.shape}", "give units in rows and indicators in columns")
    infinite = np.isinf(values).any(axis=0)
    if infinite.any():
        raise MethodError(
            f"multivariate: column {int(infinite.argmax())} (from 0) has an infinite value", "correct its denominator"
        )
    return values


def positions_by(labels: Sequence[Label | None]) -> dict[Label, Ints]:
    """Positions of each label, labels in order of first appearance: rows of each year, or columns of each group.

    `{g: cronbach_alpha(x[:, c]) for g, c in positions_by(parents).items()}`; positions labelled None are left out.
    """
    found: dict[Label, list[int]] = {}
    for position, label in enumerate(labels):
        if label is not None:
            found.setdefault(label, []).append(position)
    return {label: np.array(positions, dtype=np.int64) for label, positions in found.items()}


@dataclass(frozen=True)
class Correlations:
    """Result of `correlation`.

    Attributes:
        r: coefficients in [−1, 1], shape (columns of x, columns of y); NaN where undefined.
        n: rows that both columns have, same shape.
        undefined: (column of x, column of y, reason) of every NaN in `r`.
    """

    r: Floats
    n: Ints
    undefined: tuple[tuple[int, int, str], ...]


def common_rows(column: Floats, other: Floats) -> tuple[Floats, Floats]:
    """One column repeated, and the other columns, both NaN outside the rows they have in common; shape of `other`."""
    absent = np.isnan(column)[:, None] | np.isnan(other)
    return np.where(absent, np.nan, column[:, None]), np.where(absent, np.nan, other)


def scaled_deviations(values: Floats) -> Floats:
    """Deviations from the column means in units of the largest; missing values and constant columns give 0.

    A correlation does not depend on the unit; without the scaling squares of tiny or huge values leave the float range.
    """
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)
    mean = filled.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    deviations = np.where(present, values - mean, 0.0)
    largest = np.abs(deviations).max(axis=0)
    varies = largest > CONSTANT * np.abs(filled).max(axis=0)
    return np.divide(deviations, largest, out=np.zeros_like(deviations), where=varies)


def _ranks(values: Floats) -> Floats:
    """Average ranks down the columns, ascending, NaN kept; 0 in columns constant up to rounding."""
    from scipy.stats import rankdata

    missing, varies = np.isnan(values), scaled_deviations(values).any(axis=0)
    return np.where(missing, np.nan, np.where(varies, rankdata(np.where(missing, np.inf, values), axis=0), 0.0))


def _product_moment(u: Floats, v: Floats) -> Floats:
    """Pearson's r column by column of deviations; NaN where one is all 0. Summed row by row, so that r_ij = r_ji."""
    norm = np.sqrt((u * u).sum(axis=0) * (v * v).sum(axis=0))
    r = np.full(norm.shape, np.nan)
    np.divide((u * v).sum(axis=0), norm, out=r, where=norm > 0)
    return np.clip(r, -1.0, 1.0)


def _kendall(left: Floats, right: Floats) -> Floats:
    """Kendall's τ-b = Σ s_x s_y / √(Σ s_x² Σ s_y²), s = sign of the difference of two rows that have both columns."""
    n = len(left)
    agree, of_x, of_y = (np.zeros((left.shape[1], right.shape[1])) for _ in range(3))
    step = max(1, BLOCK // (n * max(left.shape[1], right.shape[1])))
    for start in range(0, n, step):
        x, y = (
            np.sign(side[start : start + step, None, :] - side[None, :, :]).reshape(-1, side.shape[1])
            for side in (left, right)
        )
        has_x, has_y = ~np.isnan(x), ~np.isnan(y)
        x, y = np.where(has_x, x, 0.0), np.where(has_y, y, 0.0)
        agree += x.T @ y  # whole numbers: exact in any order of summation
        of_x += (x * x).T @ has_y.astype(np.float64)
        of_y += has_x.T.astype(np.float64) @ (y * y)
    norm = np.sqrt(of_x * of_y)
    return np.clip(np.divide(agree, norm, out=np.full(norm.shape, np.nan), where=norm > 0), -1.0, 1.0)


def correlation(x: ArrayLike, y: ArrayLike | None = None, kind: str = "pearson") -> Correlations:
    """Correlations of the columns of `x` with each other, or with those of `y`, over the rows each pair has in common.

    pearson: r = Σ(a−ā)(b−b̄) / √(Σ(a−ā)² Σ(b−b̄)²), means over the common rows; spearman: pearson of the average ranks
    among the common rows; kendall: τ-b. A pair with fewer than 3 common rows, or with a column that is constant over
    them, has no coefficient: NaN, and listed in `undefined`.
    Source: OECD/JRC Handbook (2008) step 4; pairwise deletion as R's `cor(use = "pairwise.complete.obs")`.

    Args:
        x: indicators, shape (units, p), NaN = missing.
        y: other variables of the same units, shape (units, q); `x` if None.
        kind: pearson | spearman | kendall.

    Raises:
        MethodError: an unknown kind, an infinite value, or tables of another height.
    """
    if kind not in KINDS:
        raise MethodError(f"correlation: unknown kind {kind!r}", f"use one of {', '.join(KINDS)}")
    left = table(x)
    right = left if y is None else table(y)
    if len(left) != len(right):
        raise MethodError(f"correlation: {len(left)} rows against {len(right)}", "give both for the same units")
    shape = (left.shape[1], right.shape[1])
    r, n, varies = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
    pairwise_ranks = kind == "spearman" and bool(np.isnan(left).any() or np.isnan(right).any())
    if kind == "spearman" and not pairwise_ranks:  # the common rows are all rows: ranked once
        left, right = _ranks(left), _ranks(right)
    for i in range(shape[0]):
        a, b = common_rows(left[:, i], right)
        n[i] = (~np.isnan(b)).sum(axis=0)
        u, v = scaled_deviations(a), scaled_deviations(b)
        varies[i] = u.any(axis=0) & v.any(axis=0)
        if pairwise_ranks:
            u, v = scaled_deviations(_ranks(a)), scaled_deviations(_ranks(b))
        if kind != "kendall":
            r[i] = _product_moment(u, v)
    if kind == "kendall":
        r = _kendall(left, right)
    r[~varies | (n < MIN_ROWS)] = np.nan
    undefined = [(int(i), int(j), SHORT if n[i, j] < MIN_ROWS else FLAT) for i, j in np.argwhere(np.isnan(r))]
    return Correlations(r, n, tuple(undefined))


def p_values(x: ArrayLike, y: ArrayLike | None = None, kind: str = "pearson") -> Floats:
    """Two-sided p-values of the correlations of `correlation`, same shape; NaN where the correlation is undefined.

    pearson and spearman: t = r·√((n−2)/(1−r²)) with n−2 degrees of freedom; kendall: `scipy.stats.kendalltau` of each
    pair (exact for few rows without ties, else normal with the tie-corrected variance).

    Args:
        x, y, kind: as in `correlation`.

    Raises:
        MethodError: as `correlation`.
    """
    return _p_values(correlation(x, y, kind), x, y, kind)


def _p_values(found: Correlations, x: ArrayLike, y: ArrayLike | None, kind: str) -> Floats:
    """p-values of correlations already computed from the same arguments."""
    if kind == "kendall":
        from scipy.stats import kendalltau

        left = table(x)
        right = left if y is None else table(y)
        p = np.full(found.r.shape, np.nan)
        for i, j in np.argwhere(~np.isnan(found.r)):
            common = ~(np.isnan(left[:, i]) | np.isnan(right[:, j]))
            p[i, j] = kendalltau(left[common, i], right[common, j]).pvalue
        return p
    from scipy.special import stdtr

    r, freedom = found.r, np.maximum(found.n - 2.0, 1.0)
    with np.errstate(divide="ignore"):
        t = np.abs(r) * np.sqrt(freedom / ((1.0 - r) * (1.0 + r)))
    return np.where(np.isnan(r), np.nan, 2.0 * stdtr(freedom, -t))


# -- families of a tree ------------------------------------------------------------------------------------------------
def _names(names: Sequence[str], columns: int, what: str = "names") -> list[str]:
    """Names of the columns, one each and no name twice."""
    given = list(names)
    if len(given) != columns or len(set(given)) != columns:
        twice = next((name for name in given if given.count(name) > 1), None)
        wrong = f"{twice!r} stands twice" if twice else f"{len(given)} {what} for {columns} columns"
        raise MethodError(f"correlation: {wrong}", "give one name of its own per column")
    return given


def _statistics(
    x: ArrayLike, y: ArrayLike | None, pairs: list[tuple[int, int]], kind: str, max_p: float | None
) -> pl.DataFrame:
    """r, n, p of chosen pairs of columns; r is null where undefined or p > max_p, p is null where undefined."""
    found = correlation(x, y, kind)
    p = _p_values(found, x, y, kind)
    at = tuple(np.array(pairs, dtype=np.int64).reshape(-1, 2).T)
    frame = pl.DataFrame({"r": found.r[at], "n": found.n[at], "p": p[at]}, schema=STATISTIC_SCHEMA).fill_nan(None)
    if max_p is None:
        return frame
    return frame.with_columns(pl.when(pl.col("p") <= max_p).then(pl.col("r")).alias("r"))


def with_parent(
    scores: ArrayLike,
    nodes: Sequence[str],
    parents: Sequence[str | None],
    kind: str = "pearson",
    max_p: float | None = None,
    ancestors: bool = False,
) -> pl.DataFrame:
    """Correlations of every node with its parent: node_id, ancestor_id, levels_up, r, n, p, in the order of `nodes`.

    r is null where it is undefined (p null too) or not significant (p > max_p). A node is part of its parent: the
    coefficient is inflated by its own share.

    Args:
        scores: every node of the tree, shape (units, nodes).
        nodes: id of each column.
        parents: parent id of each column, None for the root.
        kind: pearson | spearman | kendall.
        max_p: largest p-value of a correlation that is shown; all if None.
        ancestors: with every ancestor up to the root, not the parent alone.

    Raises:
        MethodError: a parent that is no node, a circle of parents, names that do not fit; as `correlation`.
    """
    values = table(scores)
    ids = _names(nodes, values.shape[1])
    if len(parents) != len(ids):
        raise MethodError(f"correlation: {len(parents)} parents for {len(ids)} nodes", "give one per node")
    position = {node: i for i, node in enumerate(ids)}
    unknown = next((p for p in parents if p is not None and p not in position), None)
    if unknown is not None:
        raise MethodError(f"correlation: parent {unknown!r} is no node", f"nodes are {', '.join(ids[:8])} …")
    pairs, levels = [], []
    for i, node in enumerate(ids):
        parent, up = parents[i], 1
        while parent is not None:
            if up > len(ids):
                raise MethodError(f"correlation: {node} is its own ancestor", "correct the parents")
            pairs.append((i, position[parent]))
            levels.append(up)
            parent, up = (parents[position[parent]] if ancestors else None), up + 1
    who = pl.DataFrame(
        {"node_id": [ids[i] for i, _ in pairs], "ancestor_id": [ids[j] for _, j in pairs], "levels_up": levels},
        schema={"node_id": pl.String, "ancestor_id": pl.String, "levels_up": pl.Int64},
    )
    return pl.concat([who, _statistics(values, None, pairs, kind, max_p)], how="horizontal")


def within_group(
    x: ArrayLike,
    names: Sequence[str],
    groups: Sequence[str | None],
    kind: str = "pearson",
    max_p: float | None = None,
) -> pl.DataFrame:
    """Correlations of the members of each group: group_id, node_a, node_b, r, n, p, one row per unordered pair.

    r is null where it is undefined (p null too) or not significant (p > max_p). Groups in order of first appearance.

    Args:
        x: indicators or nodes, shape (units, columns).
        names: id of each column.
        groups: group of each column, as its parent or its ancestor of any level; None = in no group.
        kind: pearson | spearman | kendall.
        max_p: largest p-value of a correlation that is shown; all if None.

    Raises:
        MethodError: names or groups that do not fit; as `correlation`.
    """
    values = table(x)
    ids = _names(names, values.shape[1])
    if len(groups) != len(ids):
        raise MethodError(f"correlation: {len(groups)} groups for {len(ids)} columns", "give one per column")
    triples = [
        (group, int(a), int(b))
        for group, members in positions_by(groups).items()
        for place, a in enumerate(members)
        for b in members[place + 1 :]
    ]
    who = pl.DataFrame([(g, ids[a], ids[b]) for g, a, b in triples], schema=PAIR_SCHEMA, orient="row")
    return pl.concat([who, _statistics(values, None, [(a, b) for _, a, b in triples], kind, max_p)], how="horizontal")


def flags(
    x: ArrayLike,
    names: Sequence[str],
    groups: Sequence[str | None],
    kind: str = "pearson",
    above: float = COLLINEAR,
    below: float = NEGATIVE,
    max_p: float | None = None,
) -> pl.DataFrame:
    """Pairs within a group that ask for a second look: group_id, node_a, node_b, r, n, p, flag.

    collinear: |r| > above (the pair counts twice in its group); negative: r < below (the two cancel out);
    undefined: no coefficient. A pair with r < −above has two rows. Pairs with p > max_p are not flagged.
    Source: OECD/JRC Handbook (2008) step 4; thresholds as in COINr.

    Args:
        x, names, groups, kind: as in `within_group`.
        above: in [0, 1].
        below: in [−1, 0].
        max_p: largest p-value of a correlation that counts; all if None.

    Raises:
        MethodError: thresholds outside their range; as `within_group`.
    """
    if not (0 <= above <= 1 and -1 <= below <= 0):
        raise MethodError(
            f"correlation flags: above {above:g}, below {below:g}", "give above in [0, 1], below in [-1, 0]"
        )
    pairs = within_group(x, names, groups, kind, max_p).with_row_index("pair")
    rules = {
        "collinear": pl.col("r").abs() > above,
        "negative": pl.col("r") < below,
        "undefined": pl.col("p").is_null(),
    }
    flagged = [pairs.filter(rule).with_columns(pl.lit(flag).alias("flag")) for flag, rule in rules.items()]
    return pl.concat(flagged).sort("pair", maintain_order=True).drop("pair")


def denominator_correlation(
    x: ArrayLike,
    names: Sequence[str],
    denominators: ArrayLike,
    denominator_names: Sequence[str],
    threshold: float = DENOMINATOR_LIMIT,
    kind: str = "pearson",
) -> pl.DataFrame:
    """Indicators that follow the size of a unit: indicator_id, denominator_id, r, n, p of pairs with |r| > threshold.

    Such an indicator probably still needs to be divided by that denominator. Pairs without a coefficient are listed
    too, with r null. Sorted as the columns are.

    Args:
        x: indicators, shape (units, p).
        names: id of each indicator.
        denominators: population, GDP, area … of the same units, shape (units, q).
        denominator_names: id of each denominator.
        threshold: in [0, 1).
        kind: pearson | spearman | kendall.

    Raises:
        MethodError: a threshold out of range, names that do not fit; as `correlation`.
    """
    if not 0 <= threshold < 1:
        raise MethodError(f"denominator correlation: threshold {threshold:g}", "give one in [0, 1)")
    values, sizes = table(x), table(denominators)
    ids = _names(names, values.shape[1])
    size_ids = _names(denominator_names, sizes.shape[1], "denominator names")
    pairs = [(i, j) for i in range(len(ids)) for j in range(len(size_ids))]
    who = pl.DataFrame(
        [(ids[i], size_ids[j]) for i, j in pairs],
        schema={"indicator_id": pl.String, "denominator_id": pl.String},
        orient="row",
    )
    frame = pl.concat([who, _statistics(values, sizes, pairs, kind, None)], how="horizontal")
    return frame.filter(pl.col("r").is_null() | (pl.col("r").abs() > threshold))
