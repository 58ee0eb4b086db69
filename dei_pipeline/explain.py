"""Why a published number is what it is: the tree of an index down to the cells, and the way up from a cell.

Everything is read from the lake by following the stored lineage edges; nothing is computed again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import polars as pl

from dei_pipeline.descent import rows_of
from dei_pipeline.errors import DeiError, LakeError
from dei_pipeline.explain_leaves import Leaves
from dei_pipeline.explain_weights import Weights
from dei_pipeline.lake import Lake
from dei_pipeline.methods.framework import Framework, load
from dei_pipeline.methods.index_tables import THRESHOLDS
from dei_pipeline.provenance import KEY_SEPARATOR, manifests, parents_of, walk_up
from dei_pipeline.settings import Settings
from dei_pipeline.sources.layouts import load_variables
from dei_pipeline.tables import disagreement

WEAKEST = ("imputed", "estimated", "expert", "structural_zero", "corrected", "reported")
RANKS = "_ranks"
BESIDE = ("scores", "weights", "ranks", "node_ranks", "types", "robustness")
INTERVALS = (
    "rank_p05",
    "rank_median",
    "rank_p95",
    "score_p05",
    "score_p95",
    "tier_probability",
    "boundary",
    "undefined",
)


def find_region(lake: Lake, region: str) -> tuple[str, str]:
    """Code and full name of a region given by code, full, short or English name; see `region_of`."""
    return region_of(lake, region)[:2]


def region_of(lake: Lake, region: str) -> tuple[str, str, str]:
    """Code, full Chinese and English name of a region given by code, full, short or English name.

    Raises:
        DeiError: no region, or more than one, is called so; names the nearest.
    """
    regions = lake.read("core/regions").filter(pl.col("valid_to").is_null())
    names = ("region_code", "name_zh", "short_name_zh", "name_en")
    found = regions.filter(pl.any_horizontal(pl.col(name) == region for name in names))
    if found.height > 1:  # a province and its capital never share a full name; a city beats a province of that name
        found = found.filter(pl.col("level") != "province") if found.height > 1 else found
    if found.height == 1:
        return found.select("region_code", "name_zh", "name_en").row(0)
    from rapidfuzz import process

    near = [name for name, _, _ in process.extract(region, regions["name_zh"].to_list(), limit=3)]
    raise DeiError(
        f"region «{region}» is {'ambiguous' if found.height else 'unknown'}",
        f"near: {', '.join(near)}; a code works too",
    )


def indices(lake: Lake) -> list[str]:
    """Ids of the indices that the lake holds."""
    ranked = (name.removeprefix("index/") for name in lake.tables() if name.startswith("index/"))
    return [name.removesuffix(RANKS) for name in ranked if name.endswith(RANKS) and not name.endswith("_node_ranks")]


def explain(lake: Lake, index: str, region: str, year: int, node: str | None = None) -> dict[str, Any]:
    """The explanation of an index value as the contract's JSON document.

    Args:
        lake: the lake.
        index: index id, as `dei`.
        region: code or name of the region.
        year: data year.
        node: node to start from; the composite if None.

    Returns:
        The document of `contracts.md`: tree of terms whose contributions add up to the value; leaves carry their
        indicator and observations, each with its source cell, or the reason why there is none.

    Raises:
        DeiError: the index, region, year or node is not in the lake; says what is.
    """
    known = indices(lake)
    if index not in known:
        raise LakeError(
            f"index «{index}» is not in the lake {lake.root}",
            f"there is: {', '.join(known) or 'none'}; `dei run` makes it",
        )
    code, name, name_en = region_of(lake, region)
    scores = {row["node_id"]: row for row in rows_of(lake, f"index/{index}_scores", year, region_code=code)}
    if not scores:
        raise LakeError(f"{index} has no value for {name} in {year}", _why_none(lake, index, code, year))
    tree = _Tree(lake, index, code, year, scores)
    root = node or tree.root
    if root not in scores:
        from rapidfuzz import process

        near = [found for found, _, _ in process.extract(root, list(tree.nodes), limit=3)]
        raise DeiError(f"{index} has no node «{root}»", f"near: {', '.join(near)}")
    top, about = scores[root], tree.nodes[root]
    terms = tree.terms(root, tree.relative(root))
    document: dict[str, Any] = {
        "index": index,
        "node": root,
        "name_zh": about["name_zh"],
        "name_en": about["name_en"],
        "region_code": code,
        "region_name": name,
        "region_name_en": name_en,
        "year": year,
        "value": top["score"],
        **tree.standing(root),
        "edition": about["edition"],
        "synthetic": tree.synthetic,
        "caution": disagreement(lake, tree.tables, year),
        "coverage": top["coverage"],
        "status": tree.status(root, terms),
        **(tree.weight(root) if root != tree.root else {}),
        "terms": terms,
        "sum_of_contributions": sum(term["contribution"] or 0.0 for term in terms),
    }
    if root in tree.leaf_ids:
        document |= tree.leaves.leaf(root) | {"sum_of_contributions": top["score"]}
    elif top["score"] is None:
        document["reason"] = f"no value: {top['coverage']:.0%} of its weight has one, {tree.least:.0%} are needed"
    elif any(term["contribution"] is None for term in terms):
        document["reason"] = "no contributions: a node compares the cities with each other"
        document["sum_of_contributions"] = None
    return document


def _why_none(lake: Lake, index: str, code: str, year: int) -> str:
    """What to tell about a region and year without scores."""
    years = sorted(lake.part_files(f"index/{index}_scores"))
    notes = lake.state(f"index/{index}_screened")["parts"].get(str(year), {}).get("notes", {})
    out = [text for text in notes.get("left_out", ()) if text.startswith(f"{code} {year}:")]
    return "; ".join(
        [*(f"screened out: {text.partition(': ')[2]}" for text in out), f"years in the lake: {', '.join(years)}"]
    )


class _Tree:
    """The parts of one explanation: scores, weights, and the leaves with what lies below them."""

    def __init__(self, lake: Lake, index: str, code: str, year: int, scores: Mapping[str, dict[str, Any]]) -> None:
        self.lake, self.index, self.code, self.year, self.scores = lake, index, code, year, scores
        self.nodes = {row["node_id"]: row for row in rows_of(lake, "core/framework", year, index_id=index)}
        self.root = next(node for node, row in scores.items() if row["parent_id"] is None)
        parents = {row["parent_id"] for row in scores.values()}
        self.leaf_ids = {node for node in scores if node not in parents}
        self.children: dict[str, list[str]] = defaultdict(list)
        for node in sorted(scores, key=lambda node: self.nodes[node]["position"]):
            if scores[node]["parent_id"] is not None:
                self.children[scores[node]["parent_id"]].append(node)
        (edition,) = rows_of(lake, "core/editions", year, index_id=index)
        self.least = edition["min_coverage"]
        settings = Settings.load(lake.root)
        self.framework = self._framework(settings)
        variables = load_variables(settings.reference / "variables.csv")
        names = {name: (variable.name_zh, variable.name_en) for name, variable in variables.items()}
        if self.framework:
            points = self.framework.terms.filter(pl.col("name_zh").is_not_null())
            names |= {row[0]: row[1:] for row in points.select("variable", "name_zh", "name_en").iter_rows()}
        self.weights = Weights(lake, index, self.nodes, edition["base_year"])
        self.leaves = Leaves(lake, index, code, year, self.nodes, self.leaf_ids, self.framework, names)
        made = [f"index/{index}_{name}" for name in BESIDE]
        self.tables = [table for table in (*self.leaves.down.tables, THRESHOLDS, *made) if lake.exists(table)]
        self.synthetic = self.leaves.cells.synthetic

    def _framework(self, settings: Settings) -> Framework | None:
        """The framework of this edition by the file that the scores were made with; None if it is not there."""
        files = self.lake.state(f"index/{self.index}_scores")["parts"][str(self.year)]["basis"]["files"]
        paths = [settings.methodology / file.removeprefix("methodology/") for file in files if file.endswith(".yaml")]
        found = [load(path) for path in paths if path.is_file()]
        edition = self.nodes[self.root]["edition"]
        return next((f for f in found if (f.index_id, f.edition) == (self.index, edition)), None)

    def _row(self, table: str, **equal: str) -> dict[str, Any]:
        """The row of the region and year of a table of the index; empty if there is none."""
        rows = rows_of(self.lake, f"index/{self.index}_{table}", self.year, region_code=self.code, **equal)
        return rows[0] if rows else {}

    # -- where it stands -----------------------------------------------------------------------------------------------
    def standing(self, node: str) -> dict[str, Any]:
        """Published value, rank, tier, type and how sure they are; of another node than the composite its rank."""
        place = self._row("node_ranks", node_id=node)
        found: dict[str, Any] = {
            "published": None,
            "rank": place.get("rank"),
            "cities": place.get("cities"),
            "tier": None,
        }
        found |= {name: place.get(name) for name in ("zone_rank", "province_rank")}
        if node != self.root:
            return found
        ranks, kind = self._row("ranks"), self._row("types")
        tiers = rows_of(self.lake, "core/tiers", self.year, index_id=self.index, tier_id=ranks.get("tier_id") or "")
        types = self.framework.types.rows_by_key("type_id", named=True, unique=True) if self.framework else {}
        special = kind.get("speciality")
        return found | {
            "published": ranks.get("score_published"),
            "rank": ranks.get("rank"),
            "tier": ranks.get("tier_id"),
            **_names("tier", tiers[0] if tiers else {}),
            "type": kind.get("type_id"),
            **_names("type", types.get(kind.get("type_id"), {})),
            "speciality": special,
            **_names("speciality", self.nodes.get(special, {})),
            "speciality_z": kind.get("speciality_z"),
            **{name: ranks.get(name) for name in ("ranked", "imputed_weight", "badge")},
            "robustness": self.robustness(),
        }

    def robustness(self) -> dict[str, Any] | None:
        """Intervals of rank and score, and the probabilities of tiers and first places; None if they were not made."""
        row = self._row("robustness")
        if not row:
            return None
        table = f"index/{self.index}_robustness"
        chances = rows_of(self.lake, f"index/{self.index}_probabilities", self.year, region_code=self.code)
        draws = self.lake.state(table)["parts"].get(str(self.year), {}).get("notes", {}).get("replications")
        return {
            "replications": draws,
            **{name: row[name] for name in INTERVALS},
            "probabilities": dict(sorted(((c["event"], c["probability"]) for c in chances), key=_event_order)),
        }

    def weight(self, node: str) -> dict[str, Any]:
        """A node's weight within its parent, and where it comes from."""
        return {"weight": self.scores[node]["weight"], **self.weights.of(node)}

    # -- the tree ------------------------------------------------------------------------------------------------------
    def relative(self, root: str) -> dict[str, tuple[float | None, float | None]]:
        """Effective weight and contribution of the nodes below one, relative to it: contributions add up to its score.

        Where the composite has no part of the node (no composite, or no score of a node above), the products of the
        coefficients of the lineage edges.
        """
        top = self.scores[root]
        if top["effective_weight"] and top["score"] is not None:
            weight = 1.0 / top["effective_weight"]
            points = top["score"] / top["contribution"] if top["contribution"] else weight
            return {
                node: (_times(row["effective_weight"], weight), _times(row["contribution"], points))
                for node, row in self.scores.items()
            }
        table, start = f"index/{self.index}_scores", f"{self.code}|{self.year}|"
        edges = parents_of(self.lake, table, [start + node for node in self.children], [str(self.year)])
        slopes = {
            parent.removeprefix(start): slope for _, _, parent, role, slope in edges.iter_rows() if role == "child"
        }
        found: dict[str, tuple[float | None, float | None]] = {root: (1.0, top["score"])}
        waiting = [root]
        while waiting:
            node = waiting.pop()
            for child in self.children.get(node, ()):
                share = _times(slopes.get(child), found[node][0])
                score = self.scores[child]["score"]
                found[child] = share, 0.0 if score is None and share is not None else _times(score, share)
                waiting.append(child)
        return found

    def terms(self, node: str, parts: Mapping[str, tuple[float | None, float | None]]) -> list[dict[str, Any]]:
        """The children of a node; weights and contributions are relative to the node the explanation starts from."""
        return [self.term(child, parts) for child in self.children.get(node, ())]

    def term(self, node: str, parts: Mapping[str, tuple[float | None, float | None]]) -> dict[str, Any]:
        """One node with what is below it."""
        row, about = self.scores[node], self.nodes[node]
        below = self.terms(node, parts)
        effective, contribution = parts[node]
        found: dict[str, Any] = {
            "node": node,
            "name_zh": about["name_zh"],
            "name_en": about["name_en"],
            **self.weight(node),
            "effective_weight": effective,
            "score": row["score"],
            "contribution": contribution,
            "coverage": row["coverage"],
            "status": self.status(node, below),
            "terms": below,
        }
        return found | (self.leaves.leaf(node) if node in self.leaf_ids else {})

    def status(self, node: str, below: Iterable[Mapping[str, Any]]) -> str:
        """A leaf's own status; of an aggregate the weakest below it, what is missing left aside (see its coverage)."""
        if node in self.leaf_ids:
            return self.leaves.status(node)
        held = {term["status"] for term in below}
        return next((status for status in WEAKEST if status in held), "missing")


def _names(prefix: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}_name_zh": row.get("name_zh"), f"{prefix}_name_en": row.get("name_en")}


def _event_order(chance: tuple[str, float]) -> tuple[str, float]:
    """Tiers by probability, then the first k by k."""
    kind, _, name = chance[0].partition(":")
    return kind, int(name) if kind == "top" else -chance[1]


def _times(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b


# -- the way up --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Impact:
    """What some cells feed.

    Attributes:
        file: name of the file.
        cells: source cells that are values.
        reached: rows by table, in the order of the layers.
        published: row keys of release tables, and of the ranks of indices that have no ranking there; rankings first.
        direct: region and year of the index values that are made from the cells, not only from weights or thresholds.
    """

    file: str
    cells: int
    reached: Mapping[str, int]
    published: Mapping[str, pl.Series]
    direct: Set[tuple[str, str]]


def impact(lake: Lake, file: str, cell: str | None = None) -> Impact:
    """What a file, or one cell of it, feeds.

    Args:
        lake: the lake.
        file: name as in the manifest, or start of the sha256.
        cell: `SHEET!A1`; None for every value of the file.

    Raises:
        LakeError: the file or the cell is not in the lake, or the cell is no value.
    """
    known = [
        m
        for m in manifests(lake).values()
        if m["sha256"].startswith(file) or m["file"] == file or m["file"].endswith(f"/{file}")
    ]
    if len(known) != 1:
        raise LakeError(
            f"file «{file}»: {len(known)} in the lake {lake.root}", "see `dei sources list`; a sha256 start works too"
        )
    prefix = known[0]["sha256"][:12]
    start = f"{prefix}/{cell}" if cell else f"{prefix}/"
    hits: dict[str, pl.Series] = {}
    for table in lake.tables("lineage"):
        if table.startswith(("staging/", "core/")):
            scan = lake.scan(table, side="lineage").filter(pl.col("parent_table") == "raw/cells")
            match = pl.col("parent_key") == start if cell else pl.col("parent_key").str.starts_with(start)
            found = scan.filter(match).select("parent_key").collect(engine="in-memory")["parent_key"]
            if found.len():
                hits[table] = found
    if not hits:
        raise LakeError(
            f"{known[0]['file']}{' ' + cell if cell else ''} feeds nothing",
            "no layout reads it as a value: `dei layout FILE` shows how the page is understood",
        )
    cells = pl.concat(list(hits.values())).unique()
    reached = walk_up(lake, "raw/cells", cells)
    held = indices(lake)
    rankings = [f"release/{index}_ranking" for index in held]
    rankings += [f"index/{index}{RANKS}" for index in held if f"release/{index}_ranking" not in reached]
    released = [table for table in reached if table.startswith("release/") and table not in rankings]
    published = {table: reached[table] for table in (*rankings, *released) if table in reached}
    inputs = [reached[table] for index in held if (table := f"index/{index}_inputs") in reached]
    direct = {(code, year) for keys in inputs for code, year, _ in (key.split(KEY_SEPARATOR) for key in keys)}
    counts = {table: keys.len() for table, keys in reached.items()}
    return Impact(known[0]["file"], cells.len(), counts, published, direct)
