"""Layer core: reference tables, frameworks, and the observations."""

from collections.abc import Sequence

from dei_pipeline.methods import delphi_scores as delphi_methods
from dei_pipeline.methods import document_counts, framework, judgements, observations, regions
from dei_pipeline.methods import projects as project_methods
from dei_pipeline.methods.corrections import load_corrections
from dei_pipeline.provenance import Table
from dei_pipeline.sources import published
from dei_pipeline.sources.layouts import load_layouts, load_units, load_variables
from dei_pipeline.tables import Inputs, TableSpec, table

REGION_FILES = (
    "regions.csv",
    "region_aliases.csv",
    "region_successors.csv",
    "clusters.csv",
    "zones.csv",
    "zone_labels.csv",
    "city_lists.csv",
)
FRAMEWORK_FILES = ("methodology/",)


def _framework_table(inputs: Inputs, key: str) -> Table:
    return framework.framework_tables(framework.load_all(inputs.settings.methodology))[key]


@table("core/regions", files=REGION_FILES)
def region_register(inputs: Inputs) -> Table:
    return regions.core_regions(regions.Regions.load(inputs.settings.reference))


@table("core/clusters", files=REGION_FILES)
def clusters(inputs: Inputs) -> Table:
    return regions.core_clusters(regions.Regions.load(inputs.settings.reference))


@table("core/zones", files=REGION_FILES)
def zones(inputs: Inputs) -> Table:
    return regions.core_zones(regions.Regions.load(inputs.settings.reference))


@table("core/city_lists", files=REGION_FILES)
def city_lists(inputs: Inputs) -> Table:
    return regions.core_city_lists(regions.Regions.load(inputs.settings.reference))


@table("core/framework", files=FRAMEWORK_FILES)
def nodes(inputs: Inputs) -> Table:
    return _framework_table(inputs, "core/framework")


@table("core/indicator_terms", files=FRAMEWORK_FILES)
def indicator_terms(inputs: Inputs) -> Table:
    return _framework_table(inputs, "core/indicator_terms")


@table("core/editions", files=FRAMEWORK_FILES)
def editions(inputs: Inputs) -> Table:
    return _framework_table(inputs, "core/editions")


@table("core/tiers", files=FRAMEWORK_FILES)
def tiers(inputs: Inputs) -> Table:
    return _framework_table(inputs, "core/tiers")


@table("core/published_figures", needs=["raw/cells", "raw/manifests"], files=REGION_FILES)
def published_figures(inputs: Inputs) -> Table:
    known = regions.Regions.load(inputs.settings.reference)
    return published.figures(inputs.scan("raw/cells"), inputs.read("raw/manifests"), known)


@table("core/delphi_scores", needs=["staging/delphi_responses"], files=("variables.csv", *REGION_FILES))
def delphi_scores(inputs: Inputs) -> Table:
    reference = inputs.settings.reference
    return delphi_methods.delphi_scores(
        inputs.read("staging/delphi_responses"),
        regions.Regions.load(reference),
        load_variables(reference / "variables.csv"),
    )


@table("core/ahp_judgements", needs=["staging/ahp_judgements", "core/framework"])
def ahp_judgements(inputs: Inputs) -> Table:
    return judgements.complete(inputs.read("staging/ahp_judgements"), inputs.read("core/framework"))


@table(
    "core/projects",
    needs=["staging/project_records"],
    files=("lexicons/project_kinds.csv", "units.csv", *REGION_FILES),
)
def projects(inputs: Inputs) -> Table:
    reference = inputs.settings.reference
    return project_methods.projects(
        inputs.read("staging/project_records"),
        regions.Regions.load(reference),
        load_units(reference / "units.csv"),
        project_methods.load_kinds(reference / "lexicons" / "project_kinds.csv"),
    )


def observation_vintages(staging: Sequence[str]) -> TableSpec:
    """`core/observation_vintages` over the staging tables of all layouts."""

    @table(
        "core/observation_vintages",
        needs=["core/indicator_terms"],
        uses=[*staging, "staging/page_cells", "staging/pages"],
        files=("corrections.yml", "variables.csv", "units.csv", "layouts", *REGION_FILES),
    )
    def vintages(inputs: Inputs) -> Table:
        reference = inputs.settings.reference
        return observations.from_pages(
            inputs.existing(staging),
            inputs.scan("staging/page_cells"),
            inputs.read("staging/pages"),
            load_layouts(reference / "layouts"),
            load_corrections(reference / "corrections.yml"),
            regions.Regions.load(reference),
            load_units(reference / "units.csv"),
            load_variables(reference / "variables.csv"),
            inputs.read("core/indicator_terms"),
        )

    return vintages


@table(
    "core/observations",
    needs=[
        "core/observation_vintages",
        "core/city_lists",
        "core/editions",
        "core/regions",
        "core/tiers",
        "core/indicator_terms",
    ],
    uses=["core/delphi_scores", "core/document_counts"],
    files=("variables.csv",),
)
def observed(inputs: Inputs) -> Table:
    panel = observations.panel(
        inputs.read("core/observation_vintages"),
        inputs.read("core/city_lists"),
        inputs.read("core/editions"),
        inputs.read("core/regions"),
        inputs.read("core/tiers"),
        load_variables(inputs.settings.reference / "variables.csv"),
        inputs.read("core/indicator_terms"),
        inputs.existing(["core/delphi_scores"]).get("core/delphi_scores"),
    )
    return document_counts.with_documents(panel, inputs.existing(["core/document_counts"]).get("core/document_counts"))


def tables(staging: Sequence[str]) -> list[TableSpec]:
    """The tables of this layer, given the keys of the staging tables."""
    values = [key for key in staging if "__" in key]
    reference = [region_register, clusters, zones, city_lists, nodes, indicator_terms, editions, tiers]
    experts = [delphi_scores, ahp_judgements]
    return [*reference, published_figures, observation_vintages(values), *experts, projects, observed]
