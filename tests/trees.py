"""Frameworks for tests: a tree from a few rows, without a file."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from dei_pipeline.methods.framework import Framework, packaged
from dei_pipeline.methods.framework_grammar import AGGREGATE, NODE_SCHEMA

Node = tuple[str, str | None, float]


def framework_of(nodes: Sequence[Node], min_coverage: float = 0.6, tiers: pl.DataFrame | None = None) -> Framework:
    """A framework of (node, parent, weight), parents first; weights are rescaled within siblings.

    Leaves are positive, on fixed thresholds, and missing ones are renormalised; tiers are the DEI's unless given.
    """
    parents = {parent for _, parent, _ in nodes}
    total: dict[str | None, float] = {}
    for _, parent, weight in nodes:
        total[parent] = total.get(parent, 0.0) + weight
    rows = []
    level: dict[str | None, int] = {None: -1}
    for position, (node, parent, weight) in enumerate(nodes):
        inner = node in parents
        level[node] = level[parent] + 1
        rows.append(
            dict.fromkeys(NODE_SCHEMA)
            | {
                "index_id": nodes[0][0],
                "node_id": node,
                "parent_id": parent,
                "position": position,
                "level": level[node],
                "weight": weight / total[parent],
                "kind": AGGREGATE if inner else "value",
                "direction": None if inner else "positive",
                "rule": None if inner else "fixed",
                "missing_policy": None if inner else "renormalise",
                "aggregation": "arithmetic" if inner else None,
            }
        )
    dei = packaged("dei")
    return replace(
        dei,
        index_id=nodes[0][0],
        min_coverage=min_coverage,
        nodes=pl.DataFrame(rows, schema=NODE_SCHEMA),
        terms=dei.terms.clear(),
        members=dei.members.clear(),
        tables=(),
        options={},
        tiers=dei.tiers if tiers is None else tiers,
    )


def joined_by(framework: Framework, **means: str | tuple[str, float]) -> Framework:
    """The framework with the aggregation of some nodes set: a word, or a word and a power."""
    words = {node: mean if isinstance(mean, tuple) else (mean, None) for node, mean in means.items()}
    unknown = set(words) - set(framework.positions)
    if unknown:
        raise KeyError(unknown)
    node = pl.col("node_id")
    return replace(
        framework,
        nodes=framework.nodes.with_columns(
            aggregation=node.replace_strict({k: v[0] for k, v in words.items()}, default=pl.col("aggregation")),
            power=node.replace_strict(
                {k: v[1] for k, v in words.items()}, default=pl.col("power"), return_dtype=pl.Float64
            ),
        ),
    )


def tree_of(names: str, widths: Sequence[int], min_coverage: float = 0.6) -> Framework:
    """A regular tree: `names` is the root, each level's nodes have so many children, with unequal weights."""
    nodes: list[Node] = [(names, None, 1.0)]
    level = [names]
    for width in widths:
        below = []
        for parent in level:
            for k in range(width):
                child = f"{parent}.{k}"
                nodes.append((child, parent, 1.0 + (len(nodes) * 7) % 5))
                below.append(child)
        level = below
    return framework_of(nodes, min_coverage)
