"""Weights along a tree: effective weights from the top down, and perturbed weight sets [methodology §3.25, §0a].

A tree is its nodes with their parents, `parents[node] = parent`, None for the one root; its weights are within siblings
and need not sum to 1. Both functions use the weights they are given and no others.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.weights import checked

Floats = NDArray[np.float64]


def effective(parents: Mapping[str, str | None], weights: Mapping[str, float]) -> dict[str, float]:
    """Effective weight of every node in the composite, in the order of `parents`: 1 at the root, leaves sum to 1.

    Product of the shares within siblings from the root down, share = w / Σ w of the siblings. Source: OECD/JRC
    Handbook (2008), COINr `get_eff_weights`; for weights after renormalisation per city see `aggregate.tree`.

    Args:
        parents: parent by node; branches may be of different depth.
        weights: weight within the siblings by node; the root's may be left out.

    Raises:
        MethodError: no or several roots, an unknown parent, a circle; a node without weight or a weight without node;
            siblings whose weights fail `weights.checked`.
    """
    product: dict[str, float] = {}
    for parent, children in _families(parents):
        above = 1.0 if parent is None else product[parent]
        product |= dict(zip(children, above * _shares(parent, children, parents, weights), strict=True))
    return {node: float(product[node]) for node in parents}


def noisy(
    parents: Mapping[str, str | None],
    weights: Mapping[str, float],
    noise: Mapping[int, float],
    rng: np.random.Generator,
    size: int = 1,
) -> Floats:
    """Perturbed weight sets of shape (size, nodes), in the order of `parents`; siblings sum to 1.

    w · U(1−δ, 1+δ) with the δ of the node's level, then rescaled within siblings [§0a «Robustness»]. The draws go to
    the nodes in the order of their ids, one for every node whether its level is perturbed or not: they do not depend
    on the order of `parents`, and fewer sets are the first ones of more.

    Args:
        parents, weights: as in `effective`.
        noise: δ in [0, 1) by level, the root's children being level 1; other levels keep their weights.
        rng: seeded generator.
        size: number of sets.

    Raises:
        MethodError: as in `effective`; a level the tree does not have, or δ outside [0, 1).
    """
    families = list(_families(parents))
    level: dict[str, int] = {}
    for parent, children in families:
        level |= dict.fromkeys(children, 0 if parent is None else level[parent] + 1)
    known = sorted(set(level.values()) - {0})
    for at, delta in noise.items():
        if at not in known or not 0 <= delta < 1:
            raise MethodError(f"noise {delta:g} at level {at}", f"give a share in [0, 1) at levels {known}")
    column = {node: i for i, node in enumerate(parents)}
    by_id = [column[node] for node in sorted(parents)]
    spread = np.array([noise.get(level[node], 0.0) for node in parents])
    draws = np.empty((size, len(column)))
    draws[:, by_id] = rng.uniform(-1.0, 1.0, (size, len(column)))
    sets = 1.0 + spread * draws
    for parent, children in families:
        at_children = [column[child] for child in children]
        perturbed = sets[:, at_children] * _shares(parent, children, parents, weights)
        sets[:, at_children] = perturbed / perturbed.sum(axis=1, keepdims=True)
    return sets


def _families(parents: Mapping[str, str | None]) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    """Every parent with its children, parents before their children; the root's parent is None."""
    children: dict[str | None, list[str]] = {}
    for node, parent in parents.items():
        if parent is not None and parent not in parents:
            raise MethodError(f"node {node} lies below {parent}, which is no node", "add it, or correct the parent")
        children.setdefault(parent, []).append(node)
    if len(children.get(None, ())) != 1:
        raise MethodError(f"roots of the tree: {children.get(None, [])}", "give exactly one node without parent")
    reached: list[str | None] = [None]
    for parent in reached:
        reached += children.get(parent, [])
    circular = sorted(set(parents) - set(reached))
    if circular:
        raise MethodError(f"node {circular[0]} is its own ancestor, or below one that is", "correct its parent")
    for parent in reached:
        if parent in children:
            yield parent, tuple(children[parent])


def _shares(
    parent: str | None,
    children: Sequence[str],
    parents: Mapping[str, str | None],
    weights: Mapping[str, float],
) -> Floats:
    """Weights of one group of siblings rescaled to sum 1."""
    if parent is None:
        unknown = sorted(set(weights) - set(parents))
        if unknown:
            raise MethodError(f"weight of {unknown[0]}, which is no node", "correct its name")
        return checked([weights.get(children[0], 1.0)], f"weight of the root {children[0]}")
    lacking = [child for child in children if weights.get(child) is None]
    if lacking:
        raise MethodError(f"node {lacking[0]} has no weight", "compute or give it")
    return checked([weights[child] for child in children], f"weights of {', '.join(children)}")
