"""Weights of an explanation: the method of each, what other methods would give, and the experts behind AHP weights."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import polars as pl

from dei_pipeline.descent import Cells, cells_of
from dei_pipeline.lake import WHOLE, Lake
from dei_pipeline.methods.weight_tables import MIN_AVAILABLE, POOLED
from dei_pipeline.provenance import KEY_SEPARATOR, parents_of

JUDGEMENTS = "core/ahp_judgements"
STAGED = "staging/ahp_judgements"
JUDGEMENT_KEY = ("index_id", "edition", "parent_id", "expert_id", "row_node", "column_node")
PLAIN = {"given": "edition {edition} states it", "equal": "an equal share of its group"}
PRIOR = "an equal share of its group: fewer than {least:.0%} of the cities have a value in {year}"
DISPERSION = "from the scores of all cities in {year}, not looked below"
JUDGED = "from comparisons of {experts} experts, pooled"
COMBINED = "from comparisons of {experts} experts and the entropy of the scores of all cities in {year}"


class Weights:
    """The weights of one index."""

    def __init__(self, lake: Lake, index: str, nodes: Mapping[str, Mapping[str, Any]], base_year: int) -> None:
        """Reads the weights; those of AHP with every expert's judgements.

        Args:
            lake: the lake.
            index: index id.
            nodes: rows of core/framework by node.
            base_year: year whose scores computed weights rest on.
        """
        self.lake, self.index, self.nodes, self.year = lake, index, nodes, base_year
        self.edition = next(iter(nodes.values()))["edition"]
        table = f"index/{index}_weights"
        mine = pl.col("edition") == self.edition, pl.col("node_id").is_in(list(nodes))
        self.rows = {row["node_id"]: row for row in lake.read(table).filter(*mine).to_dicts()}
        self.prior = set(lake.state(table)["parts"].get(WHOLE, {}).get("notes", {}).get("prior_weight", ()))
        self.experts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        if any(row["ahp_weight"] is not None for row in self.rows.values()):
            for row in lake.read(f"index/{index}_expert_weights").filter(*mine).to_dicts():
                self.experts[row["node_id"]].append(row)
            self._read_judgements()

    def _read_judgements(self) -> None:
        """Judgements by parent, expert and child compared, with the cells they come from."""
        held = self.lake.read(JUDGEMENTS).filter(
            pl.col("index_id") == self.index,
            pl.col("edition") == self.edition,
            pl.col("row_node") != pl.col("column_node"),
        )
        self.judged: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        keyed = {KEY_SEPARATOR.join(row[name] for name in JUDGEMENT_KEY): row for row in held.to_dicts()}
        for key, row in keyed.items():
            self.judged[row["parent_id"], row["expert_id"], row["row_node"]].append(row | {"key": key})
        edges = parents_of(self.lake, JUDGEMENTS, keyed).filter(pl.col("role").is_in(["value", "reciprocal"]))
        self.cell_of = {key: (cell, role) for key, _, cell, role, _ in edges.iter_rows()}
        staged = cells_of(self.lake, STAGED, {cell for cell, _ in self.cell_of.values()})
        for row in staged.values():
            row["label"] = " : ".join(" ".join(row[name].split()) for name in ("row_label", "column_label"))
        self.cells = Cells(self.lake, staged)

    def of(self, node: str) -> dict[str, Any]:
        """Method of a node's weight, the weights that AHP and entropy give, and where it comes from."""
        row = self.rows[node]
        found: dict[str, Any] = {"weight_method": row["method"]}
        found |= {name: row[name] for name in ("ahp_weight", "entropy_weight")}
        return found | {"weight_from": self.origin(node)}

    def origin(self, node: str) -> dict[str, Any]:
        """Where a weight comes from: the reason in words and, of AHP, the experts with their judgements."""
        row = self.rows[node]
        experts = self.experts.get(node, []) if row["ahp_weight"] is not None else []
        pooled = next((e for e in experts if e["expert_id"] == POOLED), None)
        method, by_judgement = row["method"], pooled is not None and row["method"] not in ("entropy", "critic", "pca")
        prior = node in self.prior and method in ("entropy", "critic", "pca")
        if prior:
            text = PRIOR
        else:
            text = PLAIN.get(method) or ((JUDGED if method == "ahp" else COMBINED) if by_judgement else DISPERSION)
        reason = text.format(
            edition=self.edition,
            year=self.year,
            least=MIN_AVAILABLE,
            experts=pooled["experts"] if pooled else 0,
        )
        found: dict[str, Any] = {"reason": reason, "prior": prior}
        if pooled is None:
            return found
        said = {"weight": pooled["weight"], "cr": pooled["cr"], "experts": pooled["experts"]}
        return found | {"pooled": said, "experts": [self._expert(e) for e in experts if e is not pooled]}

    def _expert(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One expert's weight, consistency and judgements of the node against its siblings."""
        judged = self.judged.get((row["parent_id"], row["expert_id"], row["node_id"]), [])
        ordered = sorted(judged, key=lambda judgement: self.nodes[judgement["column_node"]]["position"])
        found = {"expert": row["expert_id"], **{name: row[name] for name in ("weight", "cr", "accepted")}}
        return found | {"judgements": [self._judgement(judgement) for judgement in ordered]}

    def _judgement(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """How much more a node counts than a sibling, with the cell; `reciprocal` where the cell states the inverse."""
        cell, role = self.cell_of[row["key"]]
        about = self.nodes[row["column_node"]]
        found = {"over": row["column_node"], "name_zh": about["name_zh"], "name_en": about["name_en"]}
        return found | {
            "value": row["value"],
            "reciprocal": role == "reciprocal",
            "source": self.cells.source(cell),
        }
