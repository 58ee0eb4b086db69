"""Layer index: for every framework file the composite-index engine, each intermediate a table of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dei_pipeline.contracts import Column, Contract, python_contracts
from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods import (
    composite,
    judgements,
    leaf_steps,
    leaves,
    reference_basis,
    robustness_tables,
    thresholds,
    weight_tables,
)
from dei_pipeline.methods.framework import Framework, load, load_all
from dei_pipeline.methods.index_tables import THRESHOLDS, before, steps_of
from dei_pipeline.methods.leaf_steps import PANEL_IMPUTERS
from dei_pipeline.provenance import Table, concat_tables
from dei_pipeline.settings import Settings
from dei_pipeline.tables import Inputs, TableSpec, table

RUBRICS = "methodology/rubrics"
Maker = Callable[[Framework, Mapping[str, Sequence[str]]], TableSpec]
BOUNDED_COLUMNS = ("score", "score_published")


def tables(settings: Settings, grains: Mapping[str, Sequence[str]]) -> list[TableSpec]:
    """The tables of this layer: those of every index, the thresholds that all share, and the DEI beside its report.

    Args:
        settings: names the folder of framework files.
        grains: key columns of the tables that leaves may be read from.

    Raises:
        ReferenceFileError: a framework file breaks a rule, or two files are of one index.
    """
    frameworks = load_all(settings.methodology)
    names = [framework.index_id for framework in frameworks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ReferenceFileError(
            f"methodology: two files are of index {twice}", "keep one edition a lake; `dei diff` compares two lakes"
        )
    found = [spec for framework in frameworks for spec in index_tables(framework, grains)]
    return [*found, all_thresholds(frameworks), *([dei_city_scores] if "dei" in names else [])]


def index_tables(framework: Framework, grains: Mapping[str, Sequence[str]]) -> list[TableSpec]:
    """The tables of one index, those of the steps it takes only."""
    makers: list[Maker] = [inputs_table, *(STEP_MAKERS[step] for step in steps_of(framework)), normalised_table]
    makers += [expert_weights_table] if judged(framework) else []
    makers += [weights_table, scores_table, ranks_table, node_ranks_table]
    makers += [types_table] if framework.types.height else []
    makers += ROBUSTNESS_MAKERS if framework.choices.robustness else []
    return [maker(framework, grains) for maker in makers]


def judged(framework: Framework) -> bool:
    """Whether weights of the index may come from experts' comparisons."""
    return bool(framework.data_driven) and framework.choices.weighting.scheme != "entropy_all"


def contract(framework: Framework, name: str) -> Contract:
    """The contract of one table of an index: the template of that name, scores bounded as its rules bound them."""
    template = python_contracts()[f"index/{name}"]
    title = f"{framework.index_id.upper()} {framework.name_zh}"
    text = f"{title}: {template.description}"
    return replace(
        template,
        key=f"index/{framework.index_id}_{name}",
        description=text,
        columns=bounded_columns(template, framework),
    )


def bounded_columns(template: Contract, framework: Framework) -> tuple[Column, ...]:
    """The columns of a template, those that hold scores bounded as the index's rules bound them."""
    return tuple(
        replace(column, checks=framework.score_bounds) if column.name in BOUNDED_COLUMNS else column
        for column in template.columns
    )


def declared(framework: Framework, name: str, **kinds: Any) -> Any:
    """`table` for one table of an index: its contract, its key, and the files of its framework."""
    own = contract(framework, name)
    return table(own.key, contract=own, files=(framework.file, RUBRICS), **kinds)


def read_framework(inputs: Inputs, file: str) -> Framework:
    """The framework as its file says now."""
    return load(inputs.settings.methodology / file.removeprefix("methodology/"))


def inputs_table(framework: Framework, grains: Mapping[str, Sequence[str]]) -> TableSpec:
    file = framework.file
    sources = tuple(dict.fromkeys(source.table for source in framework.tables if source.table in grains))
    keys = {source: tuple(grains[source]) for source in sources}

    @declared(
        framework,
        "inputs",
        needs=["mart/city_indicators", "core/city_lists", "core/framework"],
        uses=sources,
        split="year",
    )
    def leaf_inputs(inputs: Inputs) -> Table:
        index = read_framework(inputs, file)
        cities = inputs.read("core/city_lists").filter(list_id=index.city_list)
        return leaves.inputs(index, inputs.read("mart/city_indicators"), cities, inputs.existing(sources), keys)

    return leaf_inputs


def screened_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, source = framework.file, before(framework, "screening")

    @declared(framework, "screened", needs=[source], split="year")
    def screened(inputs: Inputs) -> Table:
        return leaf_steps.screened(read_framework(inputs, file), inputs.read(source))

    return screened


def imputed_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, source = framework.file, before(framework, "imputation")
    choice = framework.choices.imputation
    over_time = [source] if choice and choice.method in PANEL_IMPUTERS else []

    @declared(framework, "imputed", needs=[source, "mart/regions", "core/framework"], split="year", panel=over_time)
    def imputed(inputs: Inputs) -> Table:
        values, regions = inputs.read(source), inputs.read("mart/regions")
        return leaf_steps.imputed(read_framework(inputs, file), values, regions).only_years(inputs.years)

    return imputed


def treated_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, source = framework.file, before(framework, "treatment")
    choice = framework.choices.treatment
    whole = [source] if choice and choice.over == "panel" else []

    @declared(framework, "treated", needs=[source, "core/framework"], split="year", panel=whole)
    def treated(inputs: Inputs) -> Table:
        return leaf_steps.treated(read_framework(inputs, file), inputs.read(source)).only_years(inputs.years)

    return treated


STEP_MAKERS = {"screening": screened_table, "imputation": imputed_table, "treatment": treated_table}


def all_thresholds(frameworks: Sequence[Framework]) -> TableSpec:
    sources = {framework.file: before(framework) for framework in frameworks}
    rubrics = [RUBRICS] if sources else []

    @table(THRESHOLDS, needs=["core/framework"], uses=list(sources.values()), files=(*sources, *rubrics))
    def shared_thresholds(inputs: Inputs) -> Table:
        held = inputs.existing(sources.values())
        frameworks = {key: read_framework(inputs, file) for file, key in sources.items() if key in held}
        return thresholds.of_every_index([(frameworks[key], held[key]) for key in frameworks])

    return shared_thresholds


def normalised_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, source = framework.file, before(framework)
    whole = [source] if framework.compares_years else []

    @declared(framework, "normalised", needs=[source, THRESHOLDS], split="year", panel=whole)
    def normalised(inputs: Inputs) -> Table:
        index = read_framework(inputs, file)
        return leaves.normalised(index, inputs.read(source), inputs.read(THRESHOLDS)).only_years(inputs.years)

    return normalised


def expert_weights_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file = framework.file

    @declared(framework, "expert_weights", needs=["core/ahp_judgements"])
    def expert_weights(inputs: Inputs) -> Table:
        return judgements.expert_weights(read_framework(inputs, file), inputs.read("core/ahp_judgements"))

    return expert_weights


def weights_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, index_id = framework.file, framework.index_id
    scores = [f"index/{index_id}_normalised"] if framework.data_driven else []
    experts = [f"index/{index_id}_expert_weights"] if judged(framework) else []

    @declared(framework, "weights", needs=["core/framework", *scores], uses=experts)
    def weights(inputs: Inputs) -> Table:
        read = inputs.existing([*scores, *experts])
        return weight_tables.weights(read_framework(inputs, file), *(read.get(key) for key in (*scores, *experts)))

    return weights


def scores_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, index_id = framework.file, framework.index_id
    normalised, weights = f"index/{index_id}_normalised", f"index/{index_id}_weights"

    @declared(framework, "scores", needs=[normalised, weights], split="year")
    def scores(inputs: Inputs) -> Table:
        return composite.scores(read_framework(inputs, file), inputs.read(normalised), inputs.read(weights))

    return scores


def ranks_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, scores, source = framework.file, f"index/{framework.index_id}_scores", before(framework)

    @declared(framework, "ranks", needs=[scores, source, "core/framework"], split="year")
    def ranks(inputs: Inputs) -> Table:
        return composite.ranks(read_framework(inputs, file), inputs.read(scores), inputs.read(source))

    return ranks


def node_ranks_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, index_id = framework.file, framework.index_id
    scores, ranks = f"index/{index_id}_scores", f"index/{index_id}_ranks"

    @declared(framework, "node_ranks", needs=[scores, ranks, "mart/regions"], split="year")
    def node_ranks(inputs: Inputs) -> Table:
        index = read_framework(inputs, file)
        return composite.node_ranks(index, inputs.read(scores), inputs.read(ranks), inputs.read("mart/regions"))

    return node_ranks


def types_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, index_id = framework.file, framework.index_id
    scores, ranks = f"index/{index_id}_scores", f"index/{index_id}_ranks"

    @declared(framework, "types", needs=[scores, ranks, "core/framework"], split="year")
    def types(inputs: Inputs) -> Table:
        return composite.types(read_framework(inputs, file), inputs.read(scores), inputs.read(ranks))

    return types


def year_by_year(
    name: str, parents: Sequence[str], make: Callable[[Framework, robustness_tables.Year], Table]
) -> Maker:
    """The maker of a table of robustness, each year by itself; its edges also end at the `parents`, by name."""

    def maker(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
        file, own = framework.file, f"index/{framework.index_id}_"
        computed_from = own + "normalised", THRESHOLDS, own + "weights", own + "scores"
        ends = [parent if "/" in parent else own + parent for parent in parents]

        @declared(framework, name, needs=[*computed_from, *ends], split="year")
        def of_every_year(inputs: Inputs) -> Table:
            index = read_framework(inputs, file)
            years = robustness_tables.years_of(index, *(inputs.read(key) for key in computed_from))
            return concat_tables([make(index, year) for year in years])

        return of_every_year

    return maker


def correlations_table(framework: Framework, _: Mapping[str, Sequence[str]]) -> TableSpec:
    file, scores = framework.file, f"index/{framework.index_id}_scores"

    @declared(framework, "correlations", needs=[scores], split="year")
    def correlations(inputs: Inputs) -> Table:
        return robustness_tables.correlations(read_framework(inputs, file), inputs.read(scores))

    return correlations


ROBUSTNESS_MAKERS: list[Maker] = [
    year_by_year("robustness", ["core/framework"], robustness_tables.robustness),
    year_by_year("probabilities", ["robustness"], robustness_tables.probabilities),
    year_by_year("sensitivities", ["ranks", "core/framework"], robustness_tables.sensitivities),
    year_by_year("removals", ["ranks", "core/framework"], robustness_tables.removals),
    correlations_table,
]


@table(
    "index/dei_city_scores",
    needs=["core/observations", "core/tiers"],
    uses=["index/dei_ranks"],
    split="year",
)
def dei_city_scores(inputs: Inputs) -> Table:
    ranks = inputs.existing(["index/dei_ranks"]).get("index/dei_ranks")
    tiers = inputs.read("core/tiers").filter(index_id="dei")
    return reference_basis.city_scores(ranks, inputs.read("core/observations"), tiers)
