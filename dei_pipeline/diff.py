"""Why an index moved between two years, editions or lakes: every city's change, split exactly down to the leaves.

The tables of both sides are read from their lakes and aligned by node id; `methods.decompose` computes the effects.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import LakeError, MethodError
from dei_pipeline.explain import explain, find_region
from dei_pipeline.methods.decompose import SPLIT_RULES, effective_weights, split, uncapped
from dei_pipeline.methods.tiers import competition_rank
from dei_pipeline.sides import Floats, Side, children, depth_first, matrix

GIVEN = ("given", "equal", "ahp")  # methods of weights that no data move
CITIES = "cities"  # effect on the mean of which cities each side ranks
TOLERANCE = 1e-9
Limit = Mapping[str, Any]  # a row of `index/thresholds`


class Comparison:
    """Two sides aligned by city and node, and the effects on every city that has a score on both.

    Attributes:
        a, b: the sides.
        codes: cities with a score on both sides.
        nodes: nodes of both sides, parents before children: parent_id, as b has them or else a.
        below: children of every node.
        leaves: what is a leaf on either side, in the order of the nodes.
        scores: scores before and after, (cities, nodes).
        weights: effective weights of the leaves before and after, (cities, leaves).
        effects: arrays (cities, leaves) by the names in `EFFECTS`.
        remarks: what makes numbers of the two sides hard to compare.
    """

    def __init__(self, a: Side, b: Side) -> None:
        self.a, self.b = a, b
        both = a.cities.join(b.cities, on="region_code", suffix="_b")
        self.codes: list[str] = both["region_code"].to_list()
        if not self.codes:
            raise LakeError(f"no city has a score in both {a} and {b}", "compare years or lakes that share cities")
        self.nodes = {**a.nodes, **b.nodes}
        root = next(iter(b.nodes))
        for side in (a, b):
            _only_arithmetic(side)
        positions = {node: at for at, node in enumerate([*b.nodes, *(n for n in a.nodes if n not in b.nodes)])}
        self.below = children({n: row for n, row in self.nodes.items() if n != root}, positions.__getitem__)
        self.order = depth_first(root, self.below)
        self.leaves = [n for n in self.order if self._leaf(a, n) or self._leaf(b, n)]
        self.remarks: list[str] = []
        self.scores = [matrix(side.scores, "score", self.codes, self.order) for side in (a, b)]
        self.composites = [scores[:, 0] for scores in self.scores]
        path = self._path()
        self.weights = [path[0], path[-1]]
        at = [self.order.index(leaf) for leaf in self.leaves]
        leaf_scores = [
            np.where([self._leaf(side, leaf) for leaf in self.leaves], scores[:, at], np.nan)
            for side, scores in zip((a, b), self.scores, strict=True)
        ]
        self.effects = split(path, leaf_scores, self.composites, self._uncapped(leaf_scores), self._corrected())

    @staticmethod
    def _leaf(side: Side, node: str) -> bool:
        return node in side.nodes and bool(side.nodes[node]["leaf"])

    def _path(self) -> list[Floats]:
        """Effective leaf weights: before, under b's scheme, with b's data-driven weights, after.

        A node that only b has is there from the first step on if b has it, so that its weight is an effect of the
        scheme; where the cities' gaps of a leave no composite under b's tree, b's own gaps count from the first step.
        """
        there_a, there_b = (
            {node: ~np.isnan(scores[:, self.order.index(node)]) for node in side.nodes}
            for side, scores in zip((self.a, self.b), self.scores, strict=True)
        )
        shared = [n for n in self.b.nodes if n in self.a.nodes and self._leaf(self.a, n) == self._leaf(self.b, n)]
        early = there_b | {node: there_a[node] for node in shared}
        given = {node: row["weight"] for node, row in self.b.nodes.items()}
        scheme = given | {n: self.a.nodes[n]["weight"] for n in self.b.nodes if self._data_driven(n)}
        after = self._effective(self.b, given, there_b)
        steps = [self._effective(self.b, weights, early) for weights in (scheme, given)]
        lost = np.isnan(steps[0] + steps[1]).any(axis=1, keepdims=True)
        before = self._effective(self.a, {node: row["weight"] for node, row in self.a.nodes.items()}, there_a)
        return [before, *(np.where(lost, after, step) for step in steps), after]

    def _data_driven(self, node: str) -> bool:
        """Whether the weights of a node and its siblings differ on both sides only for what was computed from data."""
        parent = self.b.nodes[node]["parent_id"]
        groups = [
            {n: row for n, row in side.nodes.items() if row["parent_id"] == parent and n != self.order[0]}
            for side in (self.a, self.b)
        ]
        return groups[0].keys() == groups[1].keys() and all(
            row["method"] not in GIVEN and all(row[name] == groups[1][n][name] for name in ("method", "ahp_weight"))
            for n, row in groups[0].items()
        )

    def _effective(self, side: Side, weights: Mapping[str, float], there: Mapping[str, Any]) -> Floats:
        """Effective weights of all leaves under one side's tree, 0 for the leaves of the other."""
        ids = list(side.nodes)
        parents = [-1, *(ids.index(side.nodes[node]["parent_id"]) for node in ids[1:])]
        found = effective_weights(parents, [weights[n] for n in ids], np.column_stack([there[n] for n in ids]))
        nothing = np.zeros(len(self.codes))
        columns = [found[:, ids.index(n)] if self._leaf(side, n) else nothing for n in self.leaves]
        return np.where(np.isnan(found[:, :1]), np.nan, np.column_stack(columns))

    def _uncapped(self, scores: Sequence[Floats]) -> list[Floats]:
        """Uncapped scores of both raw values under both thresholds, as `decompose.split` takes them."""
        raws = [matrix(side.normalised, "raw", self.codes, self.leaves) for side in (self.a, self.b)]
        four = [np.full(raws[0].shape, np.nan) for _ in range(4)]
        for k, leaf in enumerate(self.leaves):
            first, second = (side.thresholds.get(leaf) for side in (self.a, self.b))
            both = ~np.isnan(scores[0][:, k]) & ~np.isnan(scores[1][:, k])
            if first is None or second is None or not both.any():
                continue
            before, after = raws[0][:, k], raws[1][:, k]
            if not {first["rule"], second["rule"]} <= set(SPLIT_RULES):
                columns = self._relative(leaf, (scores[0][:, k], scores[1][:, k]), before == after, first, second)
            else:
                columns = self._by_thresholds(leaf, (scores[0][:, k], scores[1][:, k]), (before, after), first, second)
            for target, column in zip(four, columns, strict=True):
                target[:, k] = column
        return four

    def _by_thresholds(
        self, leaf: str, scores: Sequence[Floats], raws: Sequence[Floats], first: Limit, second: Limit
    ) -> tuple[Floats, ...]:
        """Uncapped scores s00, s10, s01, s11 of one leaf."""
        s00, s11 = uncapped(raws[0], first), uncapped(raws[1], second)
        self._check(self.a, leaf, scores[0], np.minimum(s00, _cap(first)))
        self._check(self.b, leaf, scores[1], np.minimum(s11, _cap(second)))
        units = [side.framework[leaf]["unit"] for side in (self.a, self.b)]
        if units[0] == units[1]:
            return s00, uncapped(raws[1], first), uncapped(raws[0], second), s11
        self.remarks.append(f"{leaf}: {units[0]}, then {units[1]}: all its change counts as one of threshold")
        return s00, s00, s11, s11

    def _relative(
        self, leaf: str, scores: Sequence[Floats], same: NDArray[np.bool_], first: Limit, second: Limit
    ) -> tuple[Floats, ...]:
        """Scores in place of uncapped ones where a rule compares the cities: the raw value that moved has it all.

        A score that moved although its raw value did not has moved by its threshold: by the other cities.
        """
        numbers = [{n: v for n, v in limit.items() if isinstance(v, float)} for limit in (first, second)]
        if numbers[0] != numbers[1] or first["rule"] != second["rule"] or not numbers[0] or first.get("over") == "year":
            self.remarks.append(
                f"{leaf}: scored by {second['rule']} among cities: a change counts as one of value where its raw value "
                "moved, else as one of threshold"
            )
        before, after = scores
        return before, np.where(same, before, after), np.where(same, after, before), after

    def _check(self, side: Side, leaf: str, score: Floats, counted: Floats) -> None:
        """Nothing, if raw values and thresholds give the scores."""
        off = np.abs(score - counted) > TOLERANCE * np.maximum(1.0, np.abs(score))
        if off.any():
            code = self.codes[int(np.flatnonzero(off)[0])]
            raise LakeError(
                f"{side}: raw value and threshold of {leaf} do not give its score in {code}",
                f"tables of several runs: bring it up to date with `dei run --lake {side.lake.root}`",
            )

    def _corrected(self) -> NDArray[np.bool_]:
        """Where the same datum moved and was corrected; a derived leaf counts if one of its members does."""
        shape = (len(self.codes), len(self.leaves))
        if self.a.year != self.b.year:
            return np.zeros(shape, dtype=bool)
        raws = [matrix(side.normalised, "raw", self.codes, self.leaves) for side in (self.a, self.b)]
        marked = np.zeros(shape)
        for side in (self.a, self.b):
            status = (pl.col("status") == "corrected").cast(pl.Float64)
            marked += np.nan_to_num(
                matrix(side.normalised.with_columns(corrected=status), "corrected", self.codes, self.leaves)
            )
        marked += np.nan_to_num(matrix(self._corrected_parts(), "corrected", self.codes, self.leaves))
        moved = (marked > 0) & (raws[0] != raws[1])
        for leaf, members in self._members().items():
            at = [self.leaves.index(member) for member in members if member in self.leaves]
            if leaf in self.leaves:
                moved[:, self.leaves.index(leaf)] |= moved[:, at].any(axis=1)
        return moved

    def _corrected_parts(self) -> pl.DataFrame:
        """Leaves with a variable that was corrected and moved, where its status does not show in the leaf's own."""
        key, table = ["region_code", "indicator_id", "variable"], "mart/indicator_parts"
        found = pl.DataFrame(schema={"region_code": pl.String, "node_id": pl.String, "corrected": pl.Float64})
        if not (self.a.lake.exists(table) and self.b.lake.exists(table)):
            return found
        parts = [side.lake.read(table, [side.year]).select(*key, "value", "status") for side in (self.a, self.b)]
        pairs = parts[0].join(parts[1], on=key, suffix="_b")
        fixed = (pl.col("status") == "corrected") | (pl.col("status_b") == "corrected")
        rows = pairs.filter(fixed & pl.col("value").ne_missing(pl.col("value_b")))
        leaves = rows.select("region_code", node_id=pl.col("indicator_id"), corrected=pl.lit(1.0))
        return pl.concat([found, leaves.unique()])

    def _members(self) -> dict[str, list[str]]:
        """Leaves that the leaves derived from scores are made of, by the stored lineage of b."""
        table = f"index/{self.b.index}_normalised"
        parts = [str(self.b.year)]
        if not self.b.lake.part_files(table, "lineage", parts):
            return {}
        edges = self.b.lake.scan(table, parts, side="lineage").filter(pl.col("role") == "area")
        last = [pl.col(key).str.split("|").list.last() for key in ("child_key", "parent_key")]
        pairs = edges.select(last).unique().sort("child_key", "parent_key").collect(engine="in-memory")
        grouped = pairs.group_by("child_key", maintain_order=True).agg("parent_key")
        return dict(grouped.iter_rows())


def _only_arithmetic(side: Side) -> None:
    """Nothing, if every compared node is the weighted arithmetic mean of its children."""
    for node, row in side.nodes.items():
        how = side.framework.get(node, {}).get("aggregation")
        if not row["leaf"] and how not in (None, "arithmetic"):
            raise MethodError(
                f"{side}: {node} is a {how} mean, and the split is defined for arithmetic aggregation only",
                "name an arithmetic node below it with --node",
            )


def _cap(limit: Limit) -> float:
    if limit["rule"] == "saturation":
        return 100.0
    return np.inf if limit["cap"] is None else float(limit["cap"])


# -- the document ------------------------------------------------------------------------------------------------------
def diff(a: Side, b: Side, region: str | None = None, matched: bool = False) -> dict[str, Any]:
    """What moved between two sides, and why, as a JSON document.

    Args:
        a, b: the sides, as `sides` finds them.
        region: code or name of a city to follow down to the leaves and their source cells.
        matched: means and ranks over the cities ranked on both sides only; else each side's over its own.

    Returns:
        `a`, `b` (lake, year, edition, synthetic, cities, mean), `change` of the mean with `effects` that add up to it
        (`cities` for which cities are ranked), `moves` of every city ranked on both sides, largest first, `tiers` as a
        matrix from × to, and `region`: the tree of the change with raw values, thresholds and observations of both
        sides at every leaf, and the ranks that the city would have without each effect.

    Raises:
        DeiError: the region or node is unknown, or has no score on a side.
        MethodError: a side is not an arithmetic mean of its leaves.
    """
    found = Comparison(a, b)
    of_city = {name: array.sum(axis=1) for name, array in found.effects.items()}
    ranked = [set(side.cities.filter("ranked")["region_code"]) for side in (a, b)]
    common = [code for code in found.codes if code in ranked[0] and code in ranked[1]]
    if not common:
        raise LakeError(f"no city is ranked in both {a} and {b}", "name a city with --region")
    entries = [_entries(side, common if matched else sorted(own)) for side, own in zip((a, b), ranked, strict=True)]
    means = [float(np.mean([entry["score"] for entry in side.values()])) for side in entries]
    at = [found.codes.index(code) for code in common]
    effects = {name: float(array[at].mean()) for name, array in of_city.items()}
    effects[CITIES] = (means[1] - means[0]) - float((found.composites[1] - found.composites[0])[at].mean())
    names = _names(a, b)
    moves = [
        {"region_code": code, "region_name": names.get(code, code)}
        | {"a": entries[0][code], "b": entries[1][code]}
        | _change(found, of_city, k)
        for k, code in zip(at, common, strict=True)
    ]
    root = found.order[0]
    about = b.framework[root]
    sizes = [{"cities": len(side), "mean": mean} for side, mean in zip(entries, means, strict=True)]
    return {
        "index": b.index,
        "node": root,
        "name_zh": about["name_zh"],
        "name_en": about["name_en"],
        "a": a.about() | sizes[0],
        "b": b.about() | sizes[1],
        "matched": len(common),
        "only_matched": matched,
        "remarks": found.remarks + [text for text in _framework_remarks(a, b) if text],
        "change": means[1] - means[0],
        "effects": effects,
        "residual": means[1] - means[0] - sum(effects.values()),
        "moves": sorted(moves, key=lambda move: (-abs(move["change"]), move["region_code"])),
        "tiers": _tiers(a, b, moves),
        "region": None if region is None else _region(found, of_city, region, at),
    }


def _entries(side: Side, codes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Score, rank among these cities, and tier, by city."""
    held = side.cities.filter(pl.col("region_code").is_in(list(codes)))
    ranks = competition_rank(held["score"].to_numpy()).tolist()
    rows = zip(held["region_code"], held["score"], ranks, held["tier_id"], strict=True)
    return {code: {"score": score, "rank": rank, "tier": tier} for code, score, rank, tier in rows}


def _change(found: Comparison, of_city: Mapping[str, Floats], k: int) -> dict[str, Any]:
    """Change of a city's score, its effects, and what they leave over."""
    change = float(found.composites[1][k] - found.composites[0][k])
    effects = {name: float(array[k]) for name, array in of_city.items()}
    return {"change": change, "effects": effects, "residual": change - sum(effects.values())}


def _names(a: Side, b: Side) -> dict[str, str]:
    """Short names of all regions in force, as b has them or else a."""
    frames = [side.lake.read("core/regions").filter(pl.col("valid_to").is_null()) for side in (a, b)]
    return dict(pl.concat([frame.select("region_code", "short_name_zh") for frame in frames]).iter_rows())


def _framework_remarks(a: Side, b: Side) -> list[str]:
    """Nodes that one side lacks."""
    lacking = [(mine, [node for node in other.nodes if node not in mine.nodes]) for mine, other in ((a, b), (b, a))]
    return [f"{side} has no {', '.join(nodes)}: weight 0 there" for side, nodes in lacking if nodes]


def _tiers(a: Side, b: Side, moves: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Cities ranked on both sides by tier before (rows) and after (columns), highest tier first; None without tiers."""
    pairs = [(move["a"]["tier"], move["b"]["tier"]) for move in moves if move["a"]["tier"] and move["b"]["tier"]]
    if not pairs:
        return None
    names: dict[str, str] = {}
    for side in (b, a):
        rows = side.lake.read("core/tiers").filter(pl.col("index_id") == side.index)
        names = dict(rows.select("tier_id", "name_zh").iter_rows()) | names
    order = {tier: at for at, tier in enumerate(names)}
    counts = np.zeros((len(order), len(order)), dtype=np.int64)
    np.add.at(counts, tuple(np.array([[order[tier] for tier in pair] for pair in pairs]).T), 1)
    return {"ids": list(names), "names_zh": list(names.values()), "counts": counts.tolist()}


def _region(found: Comparison, of_city: Mapping[str, Floats], region: str, ranked: Sequence[int]) -> dict[str, Any]:
    """The change of one city down to the leaves."""
    code, name = find_region(found.b.lake, region)
    if code not in found.codes:
        side = next(side for side in (found.a, found.b) if code not in set(side.cities["region_code"]))
        raise LakeError(f"{found.order[0]} has no value for {name} in {side}", "compare years or lakes that have one")
    k = found.codes.index(code)
    documents = [
        explain(side.lake, side.index, code, side.year, None if side.node is None else found.order[0])
        for side in (found.a, found.b)
    ]
    leaves = [_leaves_of(document) for document in documents]
    statuses = [
        dict(side.normalised.filter(region_code=code).select("node_id", "status").iter_rows())
        for side in (found.a, found.b)
    ]

    def term(node: str) -> dict[str, Any]:
        below = [term(child) for child in found.below.get(node, ())]
        own = found.leaves.index(node) if node in found.leaves else None
        effects = {
            effect: sum((t["effects"][effect] for t in below), 0.0 if own is None else float(array[k, own]))
            for effect, array in found.effects.items()
        }
        both = []
        for i in (0, 1):
            score = float(found.scores[i][k, found.order.index(node)])
            weight = sum((t["ab"[i]]["effective_weight"] for t in below), 0.0)
            about = {"score": None if np.isnan(score) else score}
            about["effective_weight"] = weight + (0.0 if own is None else float(found.weights[i][k, own]))
            both.append(about if own is None else about | _leaf(leaves[i].get(node), statuses[i].get(node)))
        names = (found.b if node in found.b.nodes else found.a).framework[node]
        return {
            "node": node,
            "name_zh": names["name_zh"],
            "name_en": names["name_en"],
            "a": both[0],
            "b": both[1],
            "change": sum(effects.values()),
            "effects": effects,
            "terms": below,
        }

    whole = term(found.order[0])
    document = {"region_code": code, "region_name": name, **whole, **_change(found, of_city, k)}
    if k not in ranked:
        return document | {"ranks": None}
    before, after = (composites[list(ranked)] for composites in found.composites)
    here = list(ranked).index(k)
    without = {
        name: int(competition_rank(after - array[list(ranked)])[here])
        for name, array in of_city.items()
        if array[list(ranked)].any()
    }
    ranks = {side: int(competition_rank(scores)[here]) for side, scores in (("a", before), ("b", after))}
    return document | {"ranks": {"among": len(ranked), **ranks, "b_without": without}}


def _leaves_of(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The leaves of an explanation by node."""
    found = {} if "indicator" not in document else {document["node"]: dict(document)}
    for term in document["terms"]:
        found |= _leaves_of(term)
    return found


def _leaf(told: Mapping[str, Any] | None, status: str | None) -> dict[str, Any]:
    """Raw value, threshold, status and observations of a leaf on one side; empty where the side lacks the leaf."""
    if told is None:
        return {}
    kept = {name: told["indicator"][name] for name in ("value", "unit", "threshold", "rule", "flag")}
    return kept | {"status": status, "observations": told["observations"], "reason": told.get("reason")}
