"""Layer release: the ranking of every index, and the reports' figures beside the computed ones."""

from collections.abc import Sequence
from dataclasses import replace

from dei_pipeline.assets.index import RUBRICS, bounded_columns, read_framework
from dei_pipeline.contracts import Column, Contract, python_contracts
from dei_pipeline.methods import rankings, reference_basis
from dei_pipeline.methods.framework import Framework, load_all
from dei_pipeline.provenance import Table
from dei_pipeline.settings import Settings
from dei_pipeline.tables import Inputs, TableSpec, table

COMPARED = (
    "release/node_means",
    "release/tier_summary",
    "release/cluster_scores",
    "release/deci_zone_counts",
    "release/newinfra_top20",
    "release/newinfra_totals",
)
RANKINGS = ("release/deci_ranking",)


def tables(settings: Settings) -> list[TableSpec]:
    """The tables of this layer that are no SQL models: a ranking of every index, and the comparison."""
    frameworks = load_all(settings.methodology)
    found = [ranking_table(framework) for framework in frameworks]
    held = {spec.key for spec in found}
    return [*found, published_comparison([key for key in RANKINGS if key in held])]


def ranking_contract(framework: Framework) -> Contract:
    """The contract of the ranking of an index: what all rankings have, its tiers or types, and its dimensions."""
    template = python_contracts()["release/ranking"]
    bounded = replace(template, columns=bounded_columns(template, framework))
    own = {column.name: column for column in bounded.columns}
    absent = {"tier", "tier_name_zh"} if framework.tiers.is_empty() else set()
    absent |= {"type", "type_name_zh", "speciality"} if framework.types.is_empty() else set()
    names = {node: f"{zh} {en}" for node, zh, en in framework.nodes.select("node_id", "name_zh", "name_en").iter_rows()}
    dimensions = []
    for node in framework.children_of(framework.root):
        score = Column(node, "Float64", f"{names[node]}.", "points_0_100", True, framework.score_bounds)
        rank = Column(f"{node}_rank", "Int32", f"Rank by {names[node]}.", "", True, {"ge": 1})
        dimensions += [score, rank]
    first = [column for name, column in own.items() if name not in absent | {"coverage", "imputed_weight", "badge"}]
    last = [own[name] for name in ("coverage", "imputed_weight", "badge")]
    title = f"{framework.name_zh} {framework.name_en}"
    return Contract(
        key=f"release/{framework.index_id}_ranking",
        description=f"{title}: {template.description}",
        grain=template.grain,
        columns=(*first, *dimensions, *last),
    )


def ranking_table(framework: Framework) -> TableSpec:
    file, own = framework.file, ranking_contract(framework)
    ranks, node_ranks, types = (f"index/{framework.index_id}_{name}" for name in ("ranks", "node_ranks", "types"))
    typed = [types] if framework.types.height else []
    tiered = ["core/tiers"] if framework.tiers.height else []
    needs = [ranks, node_ranks, "mart/regions", "core/framework", *typed, *tiered]

    @table(own.key, contract=own, needs=needs, split="year", files=(file, RUBRICS))
    def ranking(inputs: Inputs) -> Table:
        read = [inputs.read(key) for key in (ranks, node_ranks, "mart/regions", *typed)]
        return rankings.ranking(read_framework(inputs, file), *read)

    return ranking


def published_comparison(others: Sequence[str]) -> TableSpec:
    compared = (*COMPARED, *others)

    @table(
        "release/published_comparison",
        needs=["core/published_figures", "core/observations"],
        uses=[*compared, "index/dei_ranks"],
        split="year",
    )
    def comparison(inputs: Inputs) -> Table:
        return reference_basis.comparison(
            inputs.read("core/published_figures"),
            inputs.read("core/observations"),
            inputs.existing(compared),
            inputs.existing(["index/dei_ranks"]).get("index/dei_ranks"),
        )

    return comparison
