"""Why a published number is what it is: the tree of an index down to the cells, and the way up from a cell.

Everything is read from the lake by following the stored lineage edges; nothing is computed again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from dei_pipeline.errors import DeiError, LakeError
from dei_pipeline.lake import WHOLE, Lake
from dei_pipeline.provenance import Place, manifests, parents_of, places, walk_up
from dei_pipeline.tables import disagreement

WEAKEST = ("missing", "imputed", "estimated", "expert", "structural_zero", "corrected", "reported")
OBSERVATIONS = "core/observations"
VINTAGES = "core/observation_vintages"
CORRECTIONS = "reference/corrections.yml"
THRESHOLDS = "index/thresholds"
MAX_DEPTH = 12


@dataclass(frozen=True)
class Edge:
    """One step down: the parent row, its role, and the coefficient where the step is linear."""

    table: str
    key: str
    role: str
    coefficient: float | None


class Downward:
    """The lineage below some rows of one year, collected level by level (one read per table and level).

    Attributes:
        edges: `(table, key)` -> its edges to parents.
    """

    def __init__(self, lake: Lake, table: str, keys: Iterable[str], year: int) -> None:
        self.lake = lake
        self.edges: dict[tuple[str, str], list[Edge]] = {}
        frontier: dict[str, set[str]] = {table: set(keys)}
        for _ in range(MAX_DEPTH):
            following: dict[str, set[str]] = defaultdict(set)
            for name, wanted in frontier.items():
                fresh = [key for key in wanted if (name, key) not in self.edges]
                self.edges.update({(name, key): [] for key in fresh})
                parts = None if WHOLE in lake.part_files(name, "lineage") else [str(year)]
                rows = parents_of(lake, name, fresh, parts)
                for child, parent, key, role, coefficient in rows.iter_rows():
                    self.edges[name, child].append(Edge(parent, key, role, coefficient))
                    following[parent].add(key)
            frontier = following
            if not frontier:
                return

    def reach(self, table: str, key: str, target: str, beside: tuple[str, ...] = ()) -> list[str]:
        """Keys of `target` below a row, nearest first; not looking below those, nor below the tables in `beside`."""
        found: dict[str, None] = {}
        waiting, seen = [(table, key)], set()
        while waiting:
            here = waiting.pop(0)
            for edge in self.edges.get(here, []):
                if edge.table == target:
                    found[edge.key] = None
                elif edge.table not in beside and (edge.table, edge.key) not in seen:
                    seen.add((edge.table, edge.key))
                    waiting.append((edge.table, edge.key))
        return list(found)

    def keys(self, prefix: str) -> dict[str, list[str]]:
        """Keys reached in tables whose name starts with `prefix`, by table."""
        found: dict[str, list[str]] = defaultdict(list)
        for table, key in self.edges:
            if table.startswith(prefix):
                found[table].append(key)
        return found


def find_region(lake: Lake, region: str) -> tuple[str, str]:
    """Code and full name of a region given by code, full, short or English name.

    Raises:
        DeiError: no region, or more than one, is called so; names the nearest.
    """
    regions = lake.read("core/regions").filter(pl.col("valid_to").is_null())
    names = ("region_code", "name_zh", "short_name_zh", "name_en")
    found = regions.filter(pl.any_horizontal(pl.col(name) == region for name in names))
    if found.height > 1:  # a province and its capital never share a full name; a city beats a province of that name
        found = found.filter(pl.col("level") != "province") if found.height > 1 else found
    if found.height == 1:
        return found["region_code"][0], found["name_zh"][0]
    from rapidfuzz import process

    near = [name for name, _, _ in process.extract(region, regions["name_zh"].to_list(), limit=3)]
    raise DeiError(
        f"region «{region}» is {'ambiguous' if found.height else 'unknown'}",
        f"near: {', '.join(near)}; a code works too",
    )


def _rows(lake: Lake, table: str, year: int, **equal: str) -> list[dict[str, Any]]:
    files = lake.part_files(table)
    if WHOLE not in files and str(year) not in files:
        return []
    scan = lake.scan(table, None if WHOLE in files else [str(year)])
    if "year" in scan.collect_schema():
        scan = scan.filter(pl.col("year") == year)
    return scan.filter(*(pl.col(name) == value for name, value in equal.items())).collect(engine="in-memory").to_dicts()


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
    if not lake.exists(f"index/{index}_scores"):
        made = [name[6:-7] for name in lake.tables() if name.startswith("index/") and name.endswith("_scores")]
        raise LakeError(
            f"index «{index}» is not in the lake {lake.root}",
            f"there is: {', '.join(made) or 'none'}; `dei run` makes it",
        )
    code, name = find_region(lake, region)
    years = sorted(lake.part_files(f"index/{index}_scores"))
    scores = (
        {row["node_id"]: row for row in _rows(lake, f"index/{index}_scores", year, region_code=code)}
        if str(year) in years
        else {}
    )
    if not scores:
        raise LakeError(f"{index} has no value for {name} in {year}", f"years in the lake: {', '.join(years)}")
    framework = {row["node_id"]: row for row in _rows(lake, "core/framework", year, index_id=index)}
    root = node or next(node_id for node_id, row in scores.items() if row["parent_id"] is None)
    if root not in scores:
        from rapidfuzz import process

        near = [name for name, _, _ in process.extract(root, list(framework), limit=3)]
        raise DeiError(f"{index} has no node «{root}»", f"near: {', '.join(near)}")
    ranks = _rows(lake, f"index/{index}_ranks", year, region_code=code) if scores[root]["parent_id"] is None else []
    tree = _Tree(lake, index, code, year, scores, framework)
    top = scores[root]
    share = top["effective_weight"] or 0.0
    terms = tree.terms(root, 1.0 / share if share else 0.0)
    synthetic = any(place.synthetic for place in tree.places.values())
    document: dict[str, Any] = {
        "index": index,
        "node": root,
        "region_code": code,
        "region_name": name,
        "year": year,
        "value": top["score"],
        "published": ranks[0]["score_published"] if ranks else None,
        "rank": ranks[0]["rank"] if ranks else None,
        "tier": ranks[0]["tier_id"] if ranks else None,
        "edition": framework[root]["edition"],
        "synthetic": synthetic,
        "caution": disagreement(lake, dict.fromkeys(table for table, _ in tree.down.edges), year),
        "coverage": top["coverage"],
        "terms": terms,
        "sum_of_contributions": sum(term["contribution"] or 0.0 for term in terms),
    }
    if root in tree.leaves:
        document |= tree.leaf(root)
        document["sum_of_contributions"] = top["score"]
    return document


class _Tree:
    """The parts of one explanation: scores, leaves and what lies below them."""

    def __init__(
        self,
        lake: Lake,
        index: str,
        code: str,
        year: int,
        scores: Mapping[str, dict[str, Any]],
        framework: Mapping[str, dict[str, Any]],
    ) -> None:
        self.index, self.code, self.year = index, code, year
        self.scores, self.framework = scores, framework
        parents = {row["parent_id"] for row in scores.values()}
        self.leaves = {node for node in scores if node not in parents}
        order = {node: row["position"] for node, row in framework.items()}
        self.children: dict[str, list[str]] = defaultdict(list)
        for node in sorted(scores, key=lambda n: order.get(n, 0)):
            if scores[node]["parent_id"] is not None:
                self.children[scores[node]["parent_id"]].append(node)
        self.normalised = {
            r["indicator_id"]: r for r in _rows(lake, f"index/{index}_normalised", year, region_code=code)
        }
        self.inputs = {r["indicator_id"]: r for r in _rows(lake, f"index/{index}_inputs", year, region_code=code)}
        self.thresholds = {r["indicator_id"]: r for r in lake.read(THRESHOLDS).to_dicts()}
        self.parts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in _rows(lake, "mart/indicator_parts", year, region_code=code):
            self.parts[row["indicator_id"]].append(row)
        self.terms_of: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in lake.read("core/indicator_terms").to_dicts():
            self.terms_of[row["indicator_id"]].append(row)
        self.down = Downward(lake, f"index/{index}_scores", [self._key(leaf) for leaf in self.leaves], year)
        self.observed = _by_key(lake, OBSERVATIONS, self.down.keys(OBSERVATIONS).get(OBSERVATIONS, []))
        self.staged = {
            key: row | {"table": table}
            for table, keys in self.down.keys("staging/").items()
            for key, row in _by_key(lake, table, keys).items()
        }
        replaced = {edge.key for edges in self.down.edges.values() for edge in edges if edge.role == "replaced"}
        self.staged |= _page_cells(lake, replaced - self.staged.keys())
        self.corrections = {
            found["source_cell"]: found
            for record in lake.state(VINTAGES)["parts"].values()
            for found in record.get("notes", {}).get("corrections", ())
        }
        self.places = places(lake, self.staged)

    def _key(self, node: str) -> str:
        return f"{self.code}|{self.year}|{node}"

    def terms(self, node: str, scale: float) -> list[dict[str, Any]]:
        """The children of a node; contributions are relative to the node the explanation starts from."""
        return [self.term(child, scale) for child in self.children.get(node, [])]

    def term(self, node: str, scale: float) -> dict[str, Any]:
        """One node with what is below it."""
        row, about = self.scores[node], self.framework[node]
        below = self.terms(node, scale)
        weight = row["effective_weight"]
        found: dict[str, Any] = {
            "node": node,
            "name_zh": about["name_zh"],
            "name_en": about["name_en"],
            "weight": row["weight"],
            "effective_weight": None if weight is None else weight * scale,
            "score": row["score"],
            "contribution": None if row["contribution"] is None else row["contribution"] * scale,
            "coverage": row["coverage"],
            "status": self.status(node, below),
            "terms": below,
        }
        return found | (self.leaf(node) if node in self.leaves else {})

    def status(self, node: str, below: list[dict[str, Any]]) -> str:
        """A leaf's own status; the weakest below an aggregate."""
        if node in self.leaves:
            return self.normalised.get(node, {}).get("status", "missing")
        return next((status for status in WEAKEST if any(term["status"] == status for term in below)), "missing")

    def leaf(self, node: str) -> dict[str, Any]:
        """Indicator and observations of a leaf, or the reason why it has none."""
        given, threshold = self.inputs.get(node), self.thresholds.get(node, {})
        wanted = self.terms_of.get(node, [])
        indicator = {
            "value": given["value"] if given else self.normalised.get(node, {}).get("raw"),
            "unit": self.framework[node]["unit"],
            "threshold": threshold.get("theta"),
            "rule": threshold.get("rule"),
            "threshold_from": self.threshold_from(node),
            "flag": self.normalised.get(node, {}).get("flag"),
            "derivation": self.derivation(node),
        }
        keys = self.down.reach(f"index/{self.index}_scores", self._key(node), OBSERVATIONS, beside=(THRESHOLDS,))
        if not wanted:
            edges = self.down.edges.get((f"index/{self.index}_normalised", self._key(node)), [])
            members = [edge.key.rpartition("|")[2] for edge in edges if edge.role == "area"]
            return {
                "indicator": indicator,
                "observations": [],
                "reason": f"derived from the scores of {', '.join(members)}",
            }
        missing = sorted(
            {t["variable"] for t in wanted} - {self.observed[k]["variable"] for k in keys if k in self.observed}
        )
        found: dict[str, Any] = {"indicator": indicator, "observations": [self.observation(key) for key in keys]}
        if missing:
            found["reason"] = f"missing: no observation of {', '.join(missing)} for {self.code} in {self.year}"
        return found

    def threshold_from(self, node: str) -> list[str]:
        """The inputs that set the threshold of a leaf, as `region|year|indicator`; none for a fixed one."""
        edition = self.framework[node]["edition"]
        edges = self.down.edges.get((THRESHOLDS, f"{edition}|{node}"), [])
        return [edge.key for edge in edges if edge.table == f"index/{self.index}_inputs" and edge.role == "maximum"]

    def derivation(self, node: str) -> str:
        """How the indicator is made from its variables, in words."""
        wanted = self.terms_of.get(node, [])
        if not wanted:
            return self.framework[node]["kind"] or "derived"
        if wanted[0]["kind"] == "rubric":
            full = sum(t["max_points"] for t in wanted)
            return f"{wanted[0]['scale']:g} × points scored / {full:g} points, {len(wanted)} checkpoints"
        sides = {
            role: " + ".join(
                f"{t['factor']:g}·{t['variable']}" if t["factor"] != 1 else t["variable"]
                for t in wanted
                if t["role"] == role
            )
            for role in dict.fromkeys(t["role"] for t in wanted)
        }
        scale = "" if wanted[0]["scale"] == 1 else f"{wanted[0]['scale']:g} × "
        if "denominator" not in sides:
            return scale + next(iter(sides.values()))
        top, bottom = (f"({side})" if " + " in side else side for side in (sides["numerator"], sides["denominator"]))
        return f"{scale}{top} / {bottom}"

    def observation(self, key: str) -> dict[str, Any]:
        """One observation with its source cell, or the donors it was imputed from."""
        row = self.observed[key]
        found: dict[str, Any] = {
            name: row[name] for name in ("region_code", "year", "variable", "value", "unit", "status")
        }
        if row["status"] == "imputed":
            edges = [e for e in self.down.edges.get((OBSERVATIONS, key), []) if e.table == OBSERVATIONS]
            donors = [self.observation(e.key) | {"role": e.role} for e in edges if e.key in self.observed]
            return found | {"method": row["method"], "donors": donors, "source": None}
        sources = self.sources(key)
        return found | {
            "edition": row["edition"],
            "source": sources[0],
            **({"sources": sources} if len(sources) > 1 else {}),
        }

    def sources(self, key: str) -> list[dict[str, Any]]:
        """The source cells of an observation in their order: one, or every score that was pooled."""
        vintages = [e.key for e in self.down.edges[OBSERVATIONS, key] if e.table == VINTAGES]
        edges = [edge for vintage in vintages for edge in self.down.edges[VINTAGES, vintage]]
        dated = {e.key.rpartition("!")[0]: e.key for e in edges if e.role == "year"}
        found = []
        for edge in sorted((e for e in edges if e.role in ("value", "correction")), key=lambda e: e.key):
            entries = [dated.get(edge.key.rpartition("!")[0]), edge.key if edge.role == "correction" else None]
            change: dict[str, Any] = {}
            for entry in (self.corrections.get(entry, {}) for entry in entries if entry):
                change |= {name: value for name, value in entry.items() if name != "source_cell"}
            found.append(self.source(edge.key) | ({"correction": change} if change else {}))
        return found

    def source(self, cell: str) -> dict[str, Any]:
        """File, sheet, cell and raw text of a source cell."""
        place: Place = self.places[cell]
        staged = self.staged[cell]
        return {
            "file": place.file,
            "sha256": place.sha256,
            "producer": place.producer,
            "sheet": place.sheet,
            "cell": place.cell,
            "raw_text": staged["raw_text"],
            "label": staged["label"],
            "unit": staged["unit"],
            "table": staged["table"],
            "synthetic": place.synthetic,
        }


def _page_cells(lake: Lake, cells: set[str]) -> dict[str, dict[str, Any]]:
    """What some cells of pages really hold, whether staging could read them or not."""
    if not cells:
        return {}
    files = {place.sha256 for place in places(lake, cells).values()}
    scan = lake.scan("staging/page_cells", files).filter(pl.col("source_cell").is_in(sorted(cells)))
    found = scan.select(
        "source_cell", "label", "unit", raw_text="text", table=pl.format("staging/{}", "layout")
    ).collect(engine="in-memory")
    return {row["source_cell"]: row for row in found.to_dicts()}


def _by_key(lake: Lake, table: str, keys: list[str]) -> dict[str, dict[str, Any]]:
    """Rows of a table by row key, for the keys given."""
    if not keys:
        return {}
    if table.startswith("staging/"):
        scan = lake.scan(table).filter(pl.col("source_cell").is_in(pl.Series(keys).implode()))
        return {row["source_cell"]: row for row in scan.collect(engine="in-memory").to_dicts()}
    wanted = (
        pl.DataFrame({"_key": keys})
        .with_columns(pl.col("_key").str.split_exact("|", 2).struct.rename_fields(["region_code", "year", "variable"]))
        .unnest("_key")
        .cast({"year": pl.Int32})
    )
    years = wanted["year"].unique()
    scan = lake.scan(table).filter(
        pl.col("region_code").is_in(wanted["region_code"].unique().implode()) & pl.col("year").is_in(years.implode())
    )
    rows = scan.collect(engine="in-memory").join(wanted, on=["region_code", "year", "variable"], how="semi")
    return {f"{row['region_code']}|{row['year']}|{row['variable']}": row for row in rows.to_dicts()}


# -- the way up --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Impact:
    """What some cells feed.

    Attributes:
        file: name of the file.
        cells: source cells that are values.
        reached: rows by table, in the order of the layers.
        published: row keys of release tables.
    """

    file: str
    cells: int
    reached: Mapping[str, int]
    published: Mapping[str, pl.Series]


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
    published = {table: keys for table, keys in reached.items() if table.startswith("release/")}
    return Impact(known[0]["file"], cells.len(), {table: keys.len() for table, keys in reached.items()}, published)
