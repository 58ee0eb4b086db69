"""Index frameworks: the tree, its derivations and its rubric, loaded from reviewed files and checked.

A framework file (`methodology/<index>.yaml`) says everything an index is: nodes, weights, how a leaf is derived from
variables, how it is normalised, the tiers. This module knows no index.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods.choices import MEANS, Choices, changed, read_choices
from dei_pipeline.methods.framework_grammar import (
    AGGREGATE,
    MEMBER_SCHEMA,
    META_KEYS,
    META_REQUIRED,
    NODE_SCHEMA,
    TERM_SCHEMA,
    check_keys,
    read_text,
    share,
)
from dei_pipeline.methods.framework_leaves import TableSource
from dei_pipeline.methods.framework_rules import (
    add_rubric,
    check_dependencies,
    flatten,
    read_rubric,
    tier_rows,
    type_rows,
)
from dei_pipeline.methods.normalise_rules import RULES
from dei_pipeline.provenance import Table, make_edges, no_edges

REPLAYED_RULES: Mapping[
    str, Mapping[str, Any]
] = {  # rules that need no given number, with the options they are tried with
    "min_max": {},
    "z_score": {"to_mean": 50.0, "to_sd": 10.0},  # on the scale of points, as in the Monte Carlo
    "rank": {},
    "percentile_rank": {},
    "borda": {},
}
FULL_SCORE = 100.0
METHODOLOGY = Path(__file__).resolve().parents[1] / "methodology"


@dataclass(frozen=True)
class Framework:
    """One edition of one index, as data.

    Attributes:
        index_id: short name of the index, also the node id of its composite.
        edition: publication the tree and the given weights belong to.
        name_zh, name_en: names of the index.
        base_year: data year the thresholds are computed from.
        scale_year: data year of the scale that the edition sets beside the scores; None if it has none.
        cluster_weight_year_offset: year of the cluster weights relative to the data year; None without clusters.
        city_list: id of the list of evaluated cities.
        min_coverage: least carried weight share with which a node has a score.
        badge_above, not_ranked_above: shares of imputed weight above which a city is marked, or not ranked.
        tier_decimals: decimals of the published score, on which the tiers are decided.
        published: figures printed in the report, for comparison only.
        nodes: every node in file order (parents before children), columns `NODE_SCHEMA`.
        terms: variables (and rubric checkpoints) each leaf is derived from, columns `TERM_SCHEMA`.
        members: leaves that an evenness leaf is derived from.
        tables: leaves whose raw value stands in another table of the lake.
        options: options of each leaf's normalisation rule.
        tiers: tiers, highest first, `lower` inclusive, null = no lower bound.
        types: city types in the order they are tried, columns `TYPE_SCHEMA`.
        choices: every other choice of method.
        file, rubric_file: names of the reviewed files, as lineage shows them.
    """

    index_id: str
    edition: str
    name_zh: str
    name_en: str
    base_year: int
    scale_year: int | None
    cluster_weight_year_offset: int | None
    city_list: str
    min_coverage: float
    badge_above: float
    not_ranked_above: float
    tier_decimals: int
    published: Mapping[str, Any]
    nodes: pl.DataFrame
    terms: pl.DataFrame
    members: pl.DataFrame
    tables: tuple[TableSource, ...]
    options: Mapping[str, Mapping[str, Any]]
    tiers: pl.DataFrame
    types: pl.DataFrame
    choices: Choices
    file: str
    rubric_file: str | None

    @property
    def root(self) -> str:
        """Node id of the composite."""
        return str(self.nodes["node_id"][0])

    @cached_property
    def leaves(self) -> pl.DataFrame:
        """The leaves in file order, columns of `nodes`."""
        return self.nodes.filter(pl.col("kind") != AGGREGATE)

    @cached_property
    def leaf_ids(self) -> tuple[str, ...]:
        """Leaf ids in file order."""
        return tuple(self.leaves["node_id"].to_list())

    @cached_property
    def derived_ids(self) -> tuple[str, ...]:
        """Leaves computed from other leaves' scores, not from variables."""
        return tuple(self.leaves.filter(pl.col("kind") == "evenness")["node_id"].to_list())

    @cached_property
    def observed_leaves(self) -> pl.DataFrame:
        """Leaves that come from outside the index: all but the derived ones."""
        return self.leaves.filter(pl.col("kind") != "evenness")

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Position of each node in `nodes`."""
        return {node: i for i, node in enumerate(self.nodes["node_id"].to_list())}

    @cached_property
    def child_positions(self) -> tuple[tuple[int, ...], ...]:
        """Positions of each node's children, in file order; empty for leaves."""
        children: list[list[int]] = [[] for _ in range(self.nodes.height)]
        for i, parent in enumerate(self.nodes["parent_id"].to_list()):
            if parent is not None:
                children[self.positions[parent]].append(i)
        return tuple(tuple(c) for c in children)

    @cached_property
    def data_driven(self) -> tuple[str, ...]:
        """Inner nodes whose children's weights are computed."""
        children = self.nodes.filter(pl.col("weight").is_null())["parent_id"].unique(maintain_order=True)
        return tuple(children.drop_nulls().to_list())

    @cached_property
    def score_bounds(self) -> Mapping[str, Any]:
        """Bounds of every score by the leaves' rules, as a contract's checks; none for statistics and Copeland."""
        if "copeland" in self.nodes["aggregation"]:
            return {}
        rule, cap = pl.col("rule"), pl.col("cap").fill_null(math.inf)
        within = (pl.col("direction") == "moderate") | (rule == "saturation") | (cap <= FULL_SCORE)
        fixed = ~rule.is_in(list(RULES))
        capped, positive = self.leaves.select(capped=(fixed & within).all(), positive=fixed.all()).row(0)
        return {"in_range": [0, FULL_SCORE]} if capped else {"ge": 0} if positive else {}

    @property
    def compares_years(self) -> bool:
        """Whether a leaf is ranked among the regions of all years, so that every year is needed to score one."""
        ranks = [name for name, rule in RULES.items() if not rule.parameters]
        return bool(self.leaves.filter(pl.col("rule").is_in(ranks) & (pl.col("over") == "panel")).height)

    def children_of(self, node_id: str) -> tuple[str, ...]:
        """Children of a node, in file order."""
        return tuple(self.nodes.filter(pl.col("parent_id") == node_id)["node_id"].to_list())

    def with_weights(self, weights: Mapping[str, float]) -> "Framework":
        """The framework with other weights within the parent, by node id; nodes left out keep theirs."""
        given = pl.col("node_id").replace_strict(dict(weights), default=None, return_dtype=pl.Float64)
        return replace(self, nodes=self.nodes.with_columns(weight=pl.coalesce(given, "weight")))

    def with_choice(self, setting: str, value: Any) -> "Framework":
        """The framework with one choice of method changed, all else as it is: to replay the index.

        Args:
            setting: `aggregation` (of every node), `normalisation` (rule of every leaf but derived and moderate ones),
                or a choice of a block, as `weighting.scheme` (see `choices`).
            value: the new value.

        Raises:
            ReferenceFileError: there is no such choice, or the value is not allowed.
        """
        if setting == "aggregation":
            check_choice(setting, value, [mean for mean in MEANS if mean != "generalised"])
            inner = pl.col("kind") == AGGREGATE
            nodes = self.nodes.with_columns(
                aggregation=pl.when(inner).then(pl.lit(value)), power=pl.lit(None, pl.Float64)
            )
            return replace(self, nodes=nodes)
        if setting == "normalisation":
            check_choice(setting, value, REPLAYED_RULES)
            free = pl.col("node_id").is_in(self.observed_leaves["node_id"].implode()) & (
                pl.col("direction") != "moderate"
            )
            given = {
                "rule": value,
                "over": "year",
                **dict.fromkeys(("theta", "lo", "best", "hi", "target", "reference", "n_star", "cap")),
            }
            nodes = self.nodes.with_columns(
                pl.when(free).then(pl.lit(new, self.nodes.schema[name])).otherwise(name).alias(name)
                for name, new in given.items()
            )
            changed_leaves = nodes.filter(free)["node_id"]
            return replace(
                self, nodes=nodes, options={**self.options, **dict.fromkeys(changed_leaves, REPLAYED_RULES[value])}
            )
        return replace(self, choices=changed(self.choices, setting, value))

    def members_of(self, indicator_id: str) -> tuple[str, ...]:
        """Leaves that the evenness leaf `indicator_id` is derived from."""
        return tuple(self.members.filter(pl.col("indicator_id") == indicator_id)["member_id"].to_list())


def check_choice(setting: str, value: Any, known: Iterable[str]) -> None:
    """Rejects a word that is not one of the known ones."""
    if value not in list(known):
        raise ReferenceFileError(f"choice {setting}: unknown {value!r}", f"use one of {', '.join(known)}")


def load(path: str | Path) -> Framework:
    """A checked framework from its YAML file and the rubric CSV the file names (folder `rubrics` beside it).

    Args:
        path: framework file, e.g. `methodology/<index>.yaml`.

    Raises:
        ReferenceFileError: a file is missing, cannot be parsed or breaks a rule; names the node and the fix.
    """
    path = Path(path)
    source = read_text(path)
    name = f"methodology/{path.name}"
    try:
        document = yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ReferenceFileError(f"{name} is not YAML: {' '.join(str(error).split())}", "correct that line") from error
    if not isinstance(document, dict) or set(document) != {"meta", "tree"}:
        raise ReferenceFileError(f"{name}: expected exactly the blocks meta and tree", "see methodology/README.md")
    meta, tree = document["meta"], document["tree"]
    check_keys(name, "meta", meta, META_KEYS, META_REQUIRED)
    rubric_name = f"methodology/rubrics/{meta['rubric']}" if meta.get("rubric") else None
    rubric = read_rubric(path.parent / "rubrics" / meta["rubric"], str(rubric_name)) if rubric_name else []

    index_id, edition = str(meta["index_id"]), str(meta["edition"])
    flat = flatten(name, index_id, edition, tree, meta.get("aggregation", "arithmetic"))
    check_dependencies(name, flat)
    add_rubric(name, rubric_name, rubric, flat)
    shares = {"imputed_weight_badge_above": 0.2, "imputed_weight_not_ranked_above": 0.4} | meta
    return Framework(
        index_id=index_id,
        edition=edition,
        name_zh=str(meta["name_zh"]),
        name_en=str(meta["name_en"]),
        base_year=int(meta["base_year"]),
        scale_year=meta.get("scale_year"),
        cluster_weight_year_offset=meta.get("cluster_weight_year_offset"),
        city_list=str(meta["city_list"]),
        min_coverage=share(name, meta, "min_coverage"),
        badge_above=share(name, shares, "imputed_weight_badge_above"),
        not_ranked_above=share(name, shares, "imputed_weight_not_ranked_above"),
        tier_decimals=int(meta.get("tier_decimals", 1)),
        published=meta.get("published") or {},
        nodes=pl.DataFrame(flat.nodes, schema=NODE_SCHEMA),
        terms=pl.DataFrame(flat.terms, schema=TERM_SCHEMA),
        members=pl.DataFrame(flat.members, schema=MEMBER_SCHEMA),
        tables=tuple(flat.tables),
        options=flat.options,
        tiers=tier_rows(name, index_id, edition, meta.get("tiers") or []),
        types=type_rows(name, index_id, edition, meta.get("types") or []),
        choices=read_choices(name, meta),
        file=name,
        rubric_file=rubric_name,
    )


@lru_cache(maxsize=16)
def packaged(index_id: str) -> Framework:
    """The framework that ships with the package under `methodology/<index_id>.yaml`."""
    return load(METHODOLOGY / f"{index_id}.yaml")


def load_all(folder: Path) -> list[Framework]:
    """Every framework of a folder, by file name: an index is added by adding a file."""
    return [load(path) for path in sorted(folder.glob("*.yaml"))]


def framework_tables(frameworks: Sequence[Framework]) -> dict[str, Table]:
    """Lake tables `core/framework`, `core/editions`, `core/tiers` and `core/indicator_terms`.

    Keys: (index_id, edition, node_id), (index_id, edition), (index_id, edition, tier_id), (indicator_id, variable).

    Edges go to the reviewed files: parent key = node id in the framework file, checkpoint in the rubric file.

    Raises:
        ReferenceFileError: two frameworks define the same indicator, or one is given twice.
    """
    nodes = pl.concat([f.nodes for f in frameworks]) if frameworks else pl.DataFrame(schema=NODE_SCHEMA)
    terms = pl.concat([f.terms for f in frameworks]) if frameworks else pl.DataFrame(schema=TERM_SCHEMA)
    twice = nodes.group_by("node_id").agg(pl.col("index_id").sort()).filter(pl.col("index_id").list.len() > 1)
    if twice.height:
        node, owners = twice.sort("node_id").row(0)
        raise ReferenceFileError(
            f"node {node} is defined more than once, in {', '.join(owners)}",
            "node ids are shared by all indices: rename one (marts key indicators by id alone)",
        )
    node_edges = [
        make_edges(f.nodes, ["index_id", "edition", "node_id"], f.file, ["node_id"], "definition") for f in frameworks
    ]
    term_edges = []
    for f in frameworks:
        given, points = f.terms.filter(pl.col("role") != "points"), f.terms.filter(pl.col("role") == "points")
        term_edges.append(make_edges(given, ["indicator_id", "variable"], f.file, ["indicator_id"], "definition"))
        if f.rubric_file:
            term_edges.append(
                make_edges(points, ["indicator_id", "variable"], f.rubric_file, ["variable"], "definition")
            )
    return {
        "core/framework": Table(nodes, _concat(node_edges), notes={"indices": len(frameworks)}),
        "core/indicator_terms": Table(terms, _concat(term_edges)),
        "core/editions": _editions(frameworks),
        "core/tiers": _tiers(frameworks),
    }


def _editions(frameworks: Sequence[Framework]) -> Table:
    names = (
        "index_id",
        "edition",
        "name_zh",
        "name_en",
        "base_year",
        "scale_year",
        "cluster_weight_year_offset",
        "city_list",
        "min_coverage",
    )
    rows = [
        {name: getattr(f, name) for name in names}
        | {f"leaders_{name}": getattr(f.choices.leaders, name) for name in ("composite", "dimensions")}
        for f in frameworks
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    edges = [
        make_edges(
            frame.filter(index_id=f.index_id, edition=f.edition),
            ["index_id", "edition"],
            f.file,
            [pl.lit("meta")],
            "definition",
        )
        for f in frameworks
    ]
    return Table(frame, _concat(edges))


def _tiers(frameworks: Sequence[Framework]) -> Table:
    """Tiers with both bounds: the upper bound of a tier is the lower bound of the one above."""
    key = ["index_id", "edition", "tier_id"]
    bounded = [f.tiers.with_columns(upper=pl.col("lower").shift(1)) for f in frameworks]
    edges = [make_edges(t, key, f.file, ["tier_id"], "definition") for t, f in zip(bounded, frameworks, strict=True)]
    return Table(pl.concat(bounded), _concat(edges))


def _concat(edges: list[pl.DataFrame]) -> pl.DataFrame:
    """Edge tables below each other; an empty edge table if there are none."""
    return pl.concat(edges) if edges else no_edges()
