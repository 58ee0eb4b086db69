"""Weights of an index as a table with lineage: given in the framework, or computed from the base year and from experts.

Data-driven weights belong to an edition: they are computed from the normalised scores of its base year, group of
siblings by group, from the leaves up, and stay for all years [methodology §3.2–3.4, §0a «Combination»].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods import weights as methods
from dei_pipeline.methods.aggregate import mean_of
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.framework_grammar import AGGREGATE
from dei_pipeline.methods.index_tables import CELL, LEAF, Floats, definition, matrix, table_of
from dei_pipeline.provenance import Table, make_edges, no_edges

KEY = ["edition", "node_id"]
EXPERT_KEY = ["edition", "parent_id", "expert_id", "node_id"]
POOLED = "pooled"
MIN_AVAILABLE = 0.6  # inferred, as min_coverage: a column with fewer values says little about dispersion


@dataclass
class _Found:
    """Weights found so far and what they were made of."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    edges: list[pl.DataFrame] = field(default_factory=lambda: [no_edges()])
    notes: dict[str, Any] = field(default_factory=dict)
    within: dict[str, float] = field(default_factory=dict)


def weights(
    framework: Framework, normalised: pl.DataFrame | None = None, expert_weights: pl.DataFrame | None = None
) -> Table:
    """Weights within the parent, key edition, node_id | weight, method, ahp_weight, entropy_weight.

    Given weights are those of the framework. For the children of other nodes the node's own `weighting` decides, else
    the framework's scheme (`weights.of_group`). Entropy, CRITIC and PCA use the cities of the base year that have a
    value in every column compared; a column with values for less than 60 % of the cities takes the equal share 1/n of
    its group as a prior weight, and the others share the rest, so that its absence shows in the coverage.

    Args:
        framework: the index.
        normalised: `index/<index>_normalised` of the base year; not read if every weight is given.
        expert_weights: `index/<index>_expert_weights`, pooled AHP weights; None where no judgement was received.

    Returns:
        Table; edges to `core/framework` (given: role weight, coefficient 1; else role method), to the normalised scores
        of the base year (role dispersion) and to pooled expert weights (role judgement). `notes`: prior weights,
        cities left out of a group, flags of constant columns.

    Raises:
        NothingToDo: weights are needed that nobody judged, or the base year has no score.
        MethodError: see `weights.entropy`, `weights.critic`, `weights.pca`.
    """
    found = _Found()
    given = framework.nodes.filter(pl.col("weight").is_not_null())
    found.within |= dict(given.select("node_id", "weight").iter_rows())
    none: dict[str, Any] = {"method": "given", "ahp_weight": None, "entropy_weight": None}
    found.rows += [{"node_id": node, "weight": weight, **none} for node, weight in found.within.items()]
    edges = definition(given, framework, KEY, "node_id", "weight").with_columns(coefficient=pl.lit(1.0))
    found.edges.append(edges)
    if framework.data_driven:
        _data_driven(framework, normalised, expert_weights, found)
    order = framework.nodes.select("node_id", "position")
    schema = {"node_id": pl.String, "weight": pl.Float64, "method": pl.String, "ahp_weight": pl.Float64}
    frame = pl.DataFrame(found.rows, schema=schema | {"entropy_weight": pl.Float64}).join(order, on="node_id")
    frame = frame.sort("position").select(pl.lit(framework.edition).alias("edition"), pl.exclude("position"))
    return Table(frame, pl.concat(found.edges), notes=found.notes)


def _data_driven(
    framework: Framework, normalised: pl.DataFrame | None, expert_weights: pl.DataFrame | None, found: _Found
) -> None:
    """Adds the weights of every group that has none, from the leaves up."""
    base = pl.DataFrame(schema={"region_code": pl.String, "year": pl.Int32, "indicator_id": pl.String})
    if normalised is not None:
        base = normalised.filter((pl.col("year") == framework.base_year) & pl.col("score").is_not_null()).sort(LEAF)
    if not base.height:
        raise NothingToDo(f"no score of {framework.index_id} in its base year {framework.base_year}: no weights")
    cells = base.select(CELL).unique().sort(CELL)
    values = dict(
        zip(framework.leaf_ids, matrix(cells, base, framework.leaf_ids, "score", "indicator_id").T, strict=True)
    )
    inner = framework.nodes.filter(pl.col("kind") == AGGREGATE)["node_id"].reverse().to_list()
    for node in inner:  # children stand behind their parents
        children = framework.children_of(node)
        table = np.column_stack([values[child] for child in children])
        if node in framework.data_driven:
            judged = _judged(expert_weights, framework, node, children)
            _group(framework, node, children, table, judged, found)
            leaves = leaves_below(framework, node)
            rows = base.filter(pl.col("indicator_id").is_in(list(leaves)))
            _edges(framework, node, children, rows, judged, found)
        within = np.array([found.within[child] for child in children])
        values[node] = mean_of(framework, node, table, within)


def leaves_below(framework: Framework, node: str) -> tuple[str, ...]:
    """Leaves below a node, in file order."""
    below = {node}
    for child, parent in framework.nodes.select("node_id", "parent_id").iter_rows():
        if parent in below:
            below.add(child)
    return tuple(leaf for leaf in framework.leaf_ids if leaf in below)


def _judged(
    expert_weights: pl.DataFrame | None, framework: Framework, node: str, children: Sequence[str]
) -> Floats | None:
    """Pooled AHP weights of the children of a node; None if nobody compared them."""
    if expert_weights is None:
        return None
    pooled = expert_weights.filter(edition=framework.edition, parent_id=node, expert_id=POOLED)
    found = dict(pooled.select("node_id", "weight").iter_rows())
    return np.array([found[child] for child in children]) if set(found) == set(children) else None


def _group(
    framework: Framework, node: str, children: Sequence[str], table: Floats, judged: Floats | None, found: _Found
) -> None:
    """Adds the weights of the children of one node."""
    own = framework.nodes.filter(node_id=node)["weighting"][0]
    by_entropy = None
    if own == "equal":
        weight, method = methods.equal(len(children)), own
    elif own in ("entropy", "critic", "pca"):
        most = framework.choices.weighting.max_weight if own == "entropy" else None
        weight, method = _dispersion(own, table, children, most, node, found), own
        by_entropy = weight if own == "entropy" else None
    else:
        group, by_entropy = _by_scheme(framework, node, children, table, judged, found)
        weight, method = group.w, group.method
    found.within |= dict(zip(children, weight.tolist(), strict=True))
    found.rows += [
        {
            "node_id": child,
            "weight": float(weight[i]),
            "method": method,
            "ahp_weight": None if judged is None else float(judged[i]),
            "entropy_weight": None if by_entropy is None else float(by_entropy[i]),
        }
        for i, child in enumerate(children)
    ]


def _by_scheme(
    framework: Framework, node: str, children: Sequence[str], table: Floats, judged: Floats | None, found: _Found
) -> tuple[methods.GroupWeights, Floats | None]:
    """Weights of one group by the scheme of the index, or by AHP where the node says so; and its entropy weights.

    Where the scheme does not need them, entropy weights are shown if they can be computed, without a note.
    """
    choice = framework.choices.weighting
    judge = framework.nodes.filter(node_id=node)["weighting"][0] == "ahp"
    of_leaves = all(child in framework.leaf_ids for child in children)
    scheme = "ahp_upper_entropy_leaf" if judge else choice.scheme
    if judged is None:
        if judge or (scheme != "entropy_all" and not of_leaves):
            raise NothingToDo(
                f"nobody compared the children of {node}: fill in `dei template ahp --index {framework.index_id}`"
            )
        scheme = "entropy_all"  # leaves that nobody compared: entropy alone
    leaf_rule = of_leaves and not judge
    needed = scheme != "ahp_upper_entropy_leaf" or leaf_rule
    by_entropy = None
    if needed or _comparable(table):
        by_entropy = _dispersion("entropy", table, children, choice.max_weight, node, found if needed else _Found())
    return methods.of_group(scheme, judged, by_entropy, leaf_rule, choice.lam), by_entropy


def _comparable(table: Floats) -> bool:
    """Whether entropy weights can be computed: no negative score, and a city with every column that is compared."""
    present = ~np.isnan(table)
    return not (table < 0).any() and bool(present[:, _enough(present)].all(axis=1).any())


def _enough(present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Columns with values for enough of the cities to say something about dispersion."""
    return np.asarray(present.mean(axis=0) >= MIN_AVAILABLE)


def _dispersion(
    method: str, table: Floats, children: Sequence[str], max_weight: float | None, node: str, found: _Found
) -> Floats:
    """Entropy, CRITIC or PCA weights of the columns that have values; the equal share as prior for the others."""
    present = ~np.isnan(table)
    enough = _enough(present)
    prior = 1.0 / len(children)
    weight = np.full(len(children), prior)
    _note(found, "prior_weight", _chosen(children, ~enough))
    if not enough.any():
        return weight
    complete = present[:, enough].all(axis=1)
    if not complete.any():
        raise MethodError(
            f"weights below {node}: no city of the base year has all of {', '.join(_chosen(children, enough))}",
            "ingest what is missing, or impute it (meta.imputation)",
        )
    rows = table[complete][:, enough]
    below = _chosen(_chosen(children, enough), np.asarray((rows < 0).any(axis=0)))
    if method == "entropy" and below:
        raise MethodError(
            f"weights below {node}: entropy of negative scores of {below[0]}",
            "normalise to scores from 0, as min_max does, or weight the node by critic or pca",
        )
    if method == "entropy":
        result: methods.Entropy | methods.Critic | methods.Pca = methods.entropy(rows, max_weight)
    else:
        result = methods.critic(rows) if method == "critic" else methods.pca(rows)
    weight[enough] = result.w * (1.0 - prior * int((~enough).sum()))
    if not complete.all():
        found.notes.setdefault("cities_left_out", {})[node] = int((~complete).sum())
    flags = {child: flag for child, flag in zip(_chosen(children, enough), result.flags, strict=True) if flag}
    if flags or result.reason:
        found.notes.setdefault("flags", {})[node] = flags | ({"all": result.reason} if result.reason else {})
    return weight


def _chosen(children: Sequence[str], chosen: NDArray[np.bool_]) -> list[str]:
    return [child for child, hit in zip(children, chosen, strict=True) if hit]


def _note(found: _Found, key: str, names: list[str]) -> None:
    known = found.notes.setdefault(key, [])
    known += [name for name in names if name not in known]


def _edges(
    framework: Framework,
    node: str,
    children: Sequence[str],
    rows: pl.DataFrame,
    judged: Floats | None,
    found: _Found,
) -> None:
    """Adds the edges of the children of one node: their group's scores, judgements and definition."""
    mine = pl.DataFrame({"edition": framework.edition, "child": list(children)})
    group = rows.select(LEAF).join(mine, how="cross")
    found.edges.append(make_edges(group, ["edition", "child"], table_of(framework, "normalised"), LEAF, "dispersion"))
    found.edges.append(definition(mine, framework, ["edition", "child"], "child", "method"))
    if judged is not None:
        key: list[str | pl.Expr] = ["edition", pl.lit(node), pl.lit(POOLED), "child"]
        experts = table_of(framework, "expert_weights")
        found.edges.append(make_edges(mine, ["edition", "child"], experts, key, "judgement"))
