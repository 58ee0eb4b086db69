"""An index from its indicators, as tables with lineage: inputs → thresholds → normalised → scores → ranks.

Generic over a `Framework`; frames in, `provenance.Table` out. Every row is the child of at least one edge; coefficients
are derivatives where the step is linear. Sorted by key, so that equal inputs give equal bytes (invariant V1).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods.aggregate import tree
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.normalise import flags, saturation, slopes, threshold
from dei_pipeline.methods.tiers import competition_rank, evenness, round_half_up, tier
from dei_pipeline.methods.treat import winsorised_max
from dei_pipeline.provenance import Table, make_edges, no_edges, row_key

Floats = NDArray[np.float64]
CELL = ["region_code", "year"]
LEAF = ["region_code", "year", "indicator_id"]
NODE = ["region_code", "year", "node_id"]
INDICATORS, FRAMEWORK, THRESHOLDS = "mart/city_indicators", "core/framework", "index/thresholds"
# From the firmest to the weakest; a derived leaf takes the weakest status of the leaves it is made of.
STATUSES = ["reported", "corrected", "structural_zero", "expert", "estimated", "imputed", "missing"]
BADGE = "imputed"
NO_THRESHOLD = "no_threshold"
LIMIT_SLACK = 1e-12


def _table(framework: Framework, name: str) -> str:
    """Lake name of a table of this index."""
    return f"index/{framework.index_id}_{name}"


def _definition(frame: pl.DataFrame, framework: Framework, child: list[str], node: str, role: str) -> pl.DataFrame:
    """Edges from rows to the framework row of column `node`."""
    parent = [pl.lit(framework.index_id), pl.lit(framework.edition), pl.col(node)]
    return make_edges(frame, child, FRAMEWORK, parent, role)


def _unique(frame: pl.DataFrame, key: list[str], name: str) -> None:
    """Rejects a table with two rows of the same key: a join would silently double scores."""
    doubled = frame.filter(pl.struct(key).is_duplicated())
    if doubled.height:
        where = "|".join(str(v) for v in doubled.select(key).row(0))
        raise MethodError(f"{name} holds {where} more than once", "keep one row per key")


def inputs(framework: Framework, indicators: pl.DataFrame, cities: pl.DataFrame) -> Table:
    """Leaf values of the listed cities, complete: key region_code, year, indicator_id | value, unit, status.

    Every leaf that comes from variables, for every listed city and year with at least one value. A leaf without a value
    is `missing`, also under zero_is_observed: an observed zero is a row of its own, made by a search (methodology §0a
    L1); a row with status structural_zero and no value is such a zero. Values keep the indicator's unit.

    Args:
        framework: the index.
        indicators: `mart/city_indicators`: region_code, year, indicator_id, value, unit, status; leaves of other
            indices and cities that are not listed are left aside (counted in `notes`).
        cities: region_code of the evaluated cities.

    Returns:
        Table; edges to `mart/city_indicators` (role value, coefficient 1), for missing leaves to `core/framework`.

    Raises:
        MethodError: a key twice, a NaN or infinite value, or a unit other than the framework's.
        NothingToDo: no listed city has a value.
    """
    leaves = framework.observed_leaves.select(
        pl.col("node_id").alias("indicator_id"), pl.col("unit").alias("expected"), "missing_policy", "position"
    )
    listed = cities.select("region_code").unique()
    ours = indicators.join(leaves.select("indicator_id"), on="indicator_id", how="semi")
    found = ours.join(listed, on="region_code", how="semi").select(
        *LEAF, pl.col("value").cast(pl.Float64), "unit", "status"
    )
    _unique(found, LEAF, INDICATORS)
    wrong = found.filter(pl.col("value").is_not_null() & ~pl.col("value").is_finite())
    if wrong.height:
        raise MethodError(
            f"{INDICATORS} {wrong.select(row_key(LEAF)).item(0, 0)} is not finite", "check its denominator"
        )
    zero = (pl.col("status") == "structural_zero") & (pl.col("missing_policy") == "zero_is_observed")
    cells = found.filter(pl.col("value").is_not_null() | (pl.col("status") == "structural_zero")).select(CELL).unique()
    if not cells.height:
        raise NothingToDo(
            f"no leaf of the {framework.index_id.upper()} has a source: see `dei sources missing {framework.index_id}`"
        )
    grid = cells.join(leaves, how="cross").join(found.with_columns(pl.lit(True).alias("row")), on=LEAF, how="left")
    other = grid.filter(pl.col("value").is_not_null() & (pl.col("unit") != pl.col("expected")))
    if other.height:
        where = other.select(row_key(LEAF)).item(0, 0)
        raise MethodError(
            f"{INDICATORS} {where} is in {other['unit'][0]}, not {other['expected'][0]}",
            f"correct the unit in {framework.file} or in the mart",
        )
    grid = grid.with_columns(
        pl.when(pl.col("value").is_null() & zero).then(0.0).otherwise(pl.col("value")).alias("value")
    ).sort("region_code", "year", "position")
    missing = pl.col("value").is_null()
    frame = grid.select(
        *LEAF,
        "value",
        pl.col("expected").alias("unit"),
        pl.when(missing).then(pl.lit("missing")).otherwise(pl.col("status")).alias("status"),
    )
    edges = [
        make_edges(grid.filter("row"), LEAF, INDICATORS, LEAF, "value", pl.when(~missing).then(1.0)),
        _definition(grid.filter(missing), framework, LEAF, "indicator_id", "definition"),
    ]
    left_out = {"cities_not_listed": ours.height - found.height, "other_indicators": indicators.height - ours.height}
    return Table(frame, pl.concat(edges), notes={"missing": int(frame["value"].null_count()), **left_out})


def thresholds(framework: Framework, inputs: pl.DataFrame) -> Table:
    """Thresholds of every leaf: key edition, indicator_id | theta, lo, best, hi, direction, cap, rule.

    theta is in the unit of the leaf: `fixed` as the framework gives it, `winsorised_max` of the base year (inferred
    default, methodology §3.1, §6 row 5), `saturation` n*, `identity` 100 (the raw value is the score). A leaf without a
    value in the base year has no row for winsorised_max; `normalised` then gives no score, visibly.

    Args:
        framework: the index.
        inputs: `index/<index>_inputs`.

    Returns:
        Table; edges to the base-year rows that determine theta (role maximum, coefficient 1 if it is one row; treated
        points: role treated, coefficient 0), otherwise to `core/framework`. `notes` lists leaves without threshold and
        leaves that five winsorised points did not tame.

    Raises:
        MethodError: the inputs hold no row of the base year, or a maximum is not positive.
    """
    base = inputs.filter(pl.col("year") == framework.base_year).drop_nulls("value").sort(LEAF)
    moving = framework.observed_leaves.filter(pl.col("rule") == "winsorised_max")["node_id"].to_list()
    if moving and inputs.height and base.is_empty():
        raise MethodError(
            f"{_table(framework, 'inputs')} holds no value of the base year {framework.base_year} of edition "
            f"{framework.edition}",
            f"ingest {framework.base_year}, or fix the thresholds in {framework.file}",
        )
    columns = dict(zip(*_columns(base), strict=True))
    computed: dict[str, float] = {}
    untamed: list[str] = []
    edges = [no_edges()]
    for leaf in moving:
        if leaf not in columns:
            continue
        rows = columns[leaf]
        result = winsorised_max(rows["value"].to_numpy())
        if result.theta <= 0:
            raise MethodError(
                f"{leaf}: the largest value of {framework.base_year} is {result.theta:g}, no threshold",
                f"correct its source, or fix theta in {framework.file}",
            )
        computed[leaf] = result.theta
        untamed += [] if result.passed else [leaf]
        child = [pl.lit(framework.edition), pl.lit(leaf)]
        for at, role, slope in (
            (result.maximum, "maximum", 1.0 if len(result.maximum) == 1 else None),
            (result.treated, "treated", 0.0),
        ):
            edges.append(make_edges(rows[at], child, _table(framework, "inputs"), LEAF, role, slope))
    frame = framework.leaves.select(
        "edition",
        pl.col("node_id").alias("indicator_id"),
        pl.coalesce(
            pl.col("node_id").replace_strict(computed, default=None, return_dtype=pl.Float64),
            pl.when(pl.col("rule") == "saturation").then("n_star"),
            pl.when(pl.col("rule") == "identity").then(100.0),
            "theta",
        ).alias("theta"),
        *("lo", "best", "hi", "direction", "cap", "rule"),
    )
    absent = (pl.col("rule") == "winsorised_max") & pl.col("theta").is_null()
    lacking = frame.filter(absent)["indicator_id"].to_list()
    frame = frame.filter(~absent)
    given = frame.filter(pl.col("rule") != "winsorised_max")
    edges.append(_definition(given, framework, ["edition", "indicator_id"], "indicator_id", "definition"))
    return Table(frame, pl.concat(edges), notes={"without_threshold": lacking, "not_tamed": untamed})


def _columns(frame: pl.DataFrame) -> tuple[list[str], list[pl.DataFrame]]:
    """The rows of each indicator, in the order given."""
    parts = frame.partition_by("indicator_id", as_dict=True, maintain_order=True)
    return [str(key[0]) for key in parts], list(parts.values())


def normalised(framework: Framework, inputs: pl.DataFrame, thresholds: pl.DataFrame) -> Table:
    """Scores of every leaf: key region_code, year, indicator_id | raw, score, flag, status.

    Scores in points, raw in the leaf's unit. flag: floored, capped (see `normalise.flags`), no_threshold, or null.
    Derived leaves (evenness) are computed from their members' scores; raw is then the evenness itself and status the
    weakest status among the members used [methodology §3.1, §3.6, §0a].

    Args:
        framework: the index.
        inputs: `index/<index>_inputs`.
        thresholds: `index/thresholds`, rows of this edition (others are ignored).

    Returns:
        Table; edges to the input (role value, coefficient d score / d raw where linear, 0 where bent), to
        `index/thresholds` (role threshold), and for derived leaves to their members' rows of the same table (role
        area).

    Raises:
        MethodError: a key twice, or values outside the range of their method.
    """
    limits = thresholds.filter(
        (pl.col("edition") == framework.edition) & pl.col("indicator_id").is_in(list(framework.leaf_ids))
    )
    _unique(limits, ["edition", "indicator_id"], THRESHOLDS)
    _unique(inputs, LEAF, _table(framework, "inputs"))
    names, parts = _columns(inputs.sort(CELL))
    limit_of = {row["indicator_id"]: row for row in limits.iter_rows(named=True)}
    scored = [_score_leaf(part, limit_of.get(name)) for name, part in zip(names, parts, strict=True)]
    empty = _score_leaf(inputs.clear(), None)
    leaves = pl.concat([empty, *scored])
    frames = [leaves, *(_evenness_leaf(framework, leaf, leaves, limit_of.get(leaf)) for leaf in framework.derived_ids)]
    order = pl.DataFrame({"indicator_id": framework.leaf_ids}).with_row_index("position")
    rows = pl.concat(frames).join(order, on="indicator_id").sort("region_code", "year", "position")
    known, derived = pl.col("indicator_id").is_in(list(limit_of)), pl.col("indicator_id").is_in(framework.derived_ids)
    here = _table(framework, "normalised")
    areas = rows.filter(derived).select(*CELL, pl.col("indicator_id").alias("child"))
    areas = areas.join(framework.members, left_on="child", right_on="indicator_id")
    areas = areas.join(rows.select(*CELL, pl.col("indicator_id").alias("member_id")), on=[*CELL, "member_id"])
    edges = [
        make_edges(rows.filter(~derived), LEAF, _table(framework, "inputs"), LEAF, "value", pl.col("slope")),
        make_edges(rows.filter(known), LEAF, THRESHOLDS, [pl.lit(framework.edition), "indicator_id"], "threshold"),
        make_edges(areas, [*CELL, "child"], here, [*CELL, "member_id"], "area"),
    ]
    frame = rows.select(*LEAF, "raw", "score", "flag", "status")
    bent = dict(frame.drop_nulls("flag").group_by("flag").len().sort("flag").iter_rows())
    return Table(frame, pl.concat(edges), notes=bent)


def _score_leaf(part: pl.DataFrame, limit: dict[str, Any] | None) -> pl.DataFrame:
    """Rows of one leaf with score, flag and slope; without a threshold no score, and a flag that says so."""
    raw = part["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    score, slope = np.full(raw.shape, np.nan), np.full(raw.shape, np.nan)
    flag = np.where(np.isnan(raw), "", NO_THRESHOLD)
    if limit is not None:
        bounds = {key: limit[key] for key in ("theta", "lo", "best", "hi", "cap")}
        if limit["rule"] == "saturation":
            score = saturation(raw, limit["theta"])
            flag = np.where(raw > limit["theta"], "capped", "")
        else:
            score = threshold(raw, direction=limit["direction"], **bounds)
            flag = flags(raw, direction=limit["direction"], **bounds)
        slope = slopes(raw, limit["rule"], limit["direction"], **bounds)
    return _rows(part.select(LEAF), raw, score, flag, slope, part["status"])


def _rows(
    keys: pl.DataFrame, raw: Floats, score: Floats, flag: NDArray[np.str_], slope: Floats, status: pl.Series
) -> pl.DataFrame:
    """Rows of `normalised` from arrays: NaN and empty flags become null."""
    numbers = {"raw": raw, "score": score, "slope": slope}
    series = [pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in numbers.items()]
    text = pl.Series("flag", flag.tolist(), dtype=pl.String).replace("", None)
    return keys.with_columns(*series, text, status.cast(pl.String).alias("status"))


def _evenness_leaf(framework: Framework, leaf: str, leaves: pl.DataFrame, limit: dict[str, Any] | None) -> pl.DataFrame:
    """Rows of one evenness leaf for every city and year, from the scores of its members."""
    definition = framework.leaves.row(by_predicate=pl.col("node_id") == leaf, named=True)
    members = framework.members_of(leaf)
    weights = framework.leaves.filter(pl.col("node_id").is_in(members)).select("node_id", "weight")
    weight_of = dict(weights.iter_rows())
    share = [1.0 if weight_of[m] is None else weight_of[m] for m in members]
    cells = leaves.select(CELL).unique().sort(CELL)
    scores = _matrix(cells, leaves.rename({"indicator_id": "node_id"}), members, "score")
    raw = np.asarray(evenness(scores, definition["evenness"], framework.min_coverage, share))
    rank = pl.col("status").replace_strict({s: i for i, s in enumerate(STATUSES)}, return_dtype=pl.Int32)
    used = leaves.filter(pl.col("indicator_id").is_in(members) & pl.col("score").is_not_null())
    weakest = cells.join(used.group_by(CELL).agg(rank.max().alias("rank")), on=CELL, how="left", maintain_order="left")
    weakest = weakest.with_columns(
        pl.when(pl.Series(np.isnan(raw))).then(pl.lit(len(STATUSES) - 1)).otherwise(pl.col("rank")).alias("rank")
    )
    status = weakest["rank"].replace_strict(dict(enumerate(STATUSES)), default="missing", return_dtype=pl.String)
    keys = cells.with_columns(pl.lit(leaf).alias("indicator_id")).select(LEAF)
    return _score_leaf(keys.with_columns(pl.Series("value", raw).fill_nan(None), status.alias("status")), limit)


def _matrix(cells: pl.DataFrame, frame: pl.DataFrame, ids: Sequence[str], column: str) -> Floats:
    """Column `column` of a long frame (key region_code, year, node_id) as an array cells × ids, NaN where absent."""
    at = {node: i for i, node in enumerate(ids)}
    rows = frame.filter(pl.col("node_id").is_in(list(at))).join(cells.with_row_index("cell"), on=CELL)
    table = np.full((cells.height, len(at)), np.nan)
    node = rows["node_id"].replace_strict(at, return_dtype=pl.Int64).to_numpy()
    table[rows["cell"].to_numpy(), node] = rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return table


def weights(framework: Framework) -> Table:
    """Given weights: key edition, node_id | weight, method, ahp_weight, entropy_weight; shares within the parent.

    Edges to `core/framework` (role weight, coefficient 1).

    Raises:
        MethodError: a node has no given weight (its method must compute it).
    """
    lacking = framework.nodes.filter(pl.col("weight").is_null())
    if lacking.height:
        raise MethodError(f"node {lacking['node_id'][0]} has no given weight", "compute the index's weights instead")
    none = pl.lit(None, pl.Float64)
    frame = framework.nodes.select(
        "edition",
        "node_id",
        "weight",
        pl.lit("given").alias("method"),
        none.alias("ahp_weight"),
        none.alias("entropy_weight"),
    )
    edges = _definition(frame, framework, ["edition", "node_id"], "node_id", "weight")
    return Table(frame, edges.with_columns(pl.lit(1.0).alias("coefficient")))


def scores(framework: Framework, normalised: pl.DataFrame, weights: pl.DataFrame) -> Table:
    """Scores of all nodes, key region_code, year, node_id.

    Columns parent_id, level, score, weight, effective_weight, contribution, coverage.

    Score and contribution in points, weight = given share within the parent, effective_weight = share in the composite
    after renormalisation over available leaves; the leaves' contributions add up to the composite [methodology §3.5].

    Args:
        framework: the index.
        normalised: `index/<index>_normalised`.
        weights: `index/<index>_weights`, rows of this edition.

    Returns:
        Table; edges parent ← child (role child, coefficient = renormalised weight within the parent), leaf ← normalised
        (role score, coefficient 1), node ← weights (role weight).

    Raises:
        MethodError: a key twice, or weights that lack a node or do not sum to 1.
    """
    _unique(normalised, LEAF, _table(framework, "normalised"))
    given = weights.filter(pl.col("edition") == framework.edition)
    _unique(given, ["edition", "node_id"], _table(framework, "weights"))
    weight_of = dict(given.select("node_id", "weight").iter_rows())
    lacking = [n for n in framework.positions if n not in weight_of]
    if lacking:
        raise MethodError(f"{_table(framework, 'weights')} lacks node {lacking[0]}", "recompute the weights")
    cells = normalised.select(CELL).unique().sort(CELL)
    leaves = normalised.rename({"indicator_id": "node_id"})
    result = tree(framework, _matrix(cells, leaves, framework.leaf_ids, "score"), weight_of)

    n, m = result.score.shape
    node = np.tile(np.arange(m), n)
    columns = {
        "score": result.score,
        "weight": np.broadcast_to(np.array([weight_of[i] for i in result.node_ids]), (n, m)),
        "effective_weight": result.effective_weight,
        "contribution": result.contribution,
        "coverage": result.coverage,
        "share": result.share,
    }
    rows = pl.concat(
        [
            cells[np.repeat(np.arange(n), m)],
            framework.nodes.select("node_id", "parent_id", "level")[node],
            pl.DataFrame(
                {k: v.ravel() for k, v in columns.items()}, schema=dict.fromkeys(columns, pl.Float64)
            ).fill_nan(None),
        ],
        how="horizontal",
    )
    edition = pl.lit(framework.edition)
    edges = [
        make_edges(
            rows.filter(pl.col("parent_id").is_not_null()),
            [*CELL, "parent_id"],
            _table(framework, "scores"),
            NODE,
            "child",
            pl.col("share"),
        ),
        make_edges(normalised, LEAF, _table(framework, "normalised"), LEAF, "score", 1.0),
        make_edges(rows, NODE, _table(framework, "weights"), [edition, "node_id"], "weight"),
    ]
    without = int(rows.filter(pl.col("level") == 0)["score"].null_count())
    return Table(rows.drop("share"), pl.concat(edges), notes={"without_composite": without})


def ranks(framework: Framework, scores: pl.DataFrame, inputs: pl.DataFrame) -> Table:
    """Published scores and ranks, key region_code, year.

    Columns score, score_published, rank, tier_id, coverage, imputed_weight, badge, ranked.

    score_published = score half-up to the framework's decimals; rank = competition rank within the year among the
    ranked cities, null for the others; tier_id from the published score; imputed_weight = effective weight of imputed
    leaves (a derived leaf counts by the imputed share of its members' weight); badge "imputed" above the framework's
    first limit, not ranked above its second or without a score [methodology §3.7, §3.9].

    Args:
        framework: the index.
        scores: `index/<index>_scores`.
        inputs: `index/<index>_inputs`, for the statuses.

    Returns:
        Table; edges to the composite's row (role score, coefficient 1), to imputed inputs (role imputed) and to the
        framework's root (role tiers).
    """
    root = scores.filter(pl.col("node_id") == framework.root).sort(CELL)
    cells = root.select(CELL)
    score = root["score"].fill_null(float("nan")).to_numpy()
    weight = _imputed_weight(framework, cells, scores, inputs)
    ranked = ~np.isnan(score) & ~(weight > framework.not_ranked_above + LIMIT_SLACK)
    rank = np.zeros(score.shape, dtype=np.int64)
    years = cells["year"].to_numpy()
    for year in np.unique(years):
        of_year = years == year
        rank[of_year] = competition_rank(np.where(ranked, score, np.nan)[of_year])
    decimals = framework.tier_decimals
    tiers = np.full(score.shape, None) if framework.tiers.is_empty() else tier(score, framework.tiers, decimals)
    frame = cells.with_columns(
        root["score"],
        pl.Series("score_published", np.asarray(round_half_up(score, decimals)), dtype=pl.Float64).fill_nan(None),
        pl.Series("rank", rank, dtype=pl.Int64).replace(0, None).alias("rank"),
        pl.Series("tier_id", tiers.tolist(), dtype=pl.String),
        root["coverage"],
        pl.Series("imputed_weight", weight, dtype=pl.Float64).fill_nan(None),
        pl.Series("badge", np.where(weight > framework.badge_above + LIMIT_SLACK, BADGE, "").tolist(), dtype=pl.String)
        .replace("", None)
        .alias("badge"),
        pl.Series("ranked", ranked, dtype=pl.Boolean),
    )
    imputed = inputs.filter(pl.col("status") == "imputed").join(cells, on=CELL, how="semi")
    edges = [
        make_edges(root, CELL, _table(framework, "scores"), NODE, "score", 1.0),
        make_edges(imputed, CELL, _table(framework, "inputs"), LEAF, "imputed"),
        _definition(root, framework, CELL, "node_id", "tiers"),
    ]
    notes = {"not_ranked": int((~ranked).sum()), "badges": int(frame["badge"].count())}
    return Table(frame, pl.concat(edges), notes=notes)


def _imputed_weight(framework: Framework, cells: pl.DataFrame, scores: pl.DataFrame, inputs: pl.DataFrame) -> Floats:
    """Effective weight that rests on imputed values, per cell; NaN without a composite."""
    ids = framework.leaf_ids
    effective = _matrix(cells, scores, ids, "effective_weight")
    available = ~np.isnan(_matrix(cells, scores, ids, "score"))
    marked = inputs.select(
        *CELL, pl.col("indicator_id").alias("node_id"), (pl.col("status") == "imputed").alias("imputed")
    )
    imputed = np.nan_to_num(_matrix(cells, marked, ids, "imputed"))
    given = dict(framework.leaves.select("node_id", "weight").iter_rows())
    for leaf in framework.derived_ids:
        at = [ids.index(m) for m in framework.members_of(leaf)]
        share = available[:, at] * np.array([1.0 if given[ids[i]] is None else given[ids[i]] for i in at])
        carried = share.sum(axis=1)
        part = np.zeros(cells.height)
        np.divide((share * imputed[:, at]).sum(axis=1), carried, out=part, where=carried > 0)
        imputed[:, ids.index(leaf)] = part
    total = np.zeros(cells.height)
    for i in range(len(ids)):
        total = total + effective[:, i] * imputed[:, i]
    return total
