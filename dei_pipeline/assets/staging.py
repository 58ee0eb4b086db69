"""Layer staging: how each page is understood, one tidy table per layout, and what experts filled in."""

from dataclasses import replace

from dei_pipeline.contracts import python_contracts
from dei_pipeline.provenance import Table
from dei_pipeline.settings import Settings
from dei_pipeline.sources import expert_sheets, expert_tables, project_lists, project_tables
from dei_pipeline.sources import pages as page_tables
from dei_pipeline.sources.layouts import Layout, load_layouts, load_reference
from dei_pipeline.sources.workbook import Reading
from dei_pipeline.tables import Inputs, TableSpec, file_versions, table

READER_FILES = ("layouts", "variables.csv", "units.csv")


_LAST: dict[str, tuple[object, list[Reading]]] = {}


def _readings(inputs: Inputs) -> list[Reading]:
    """The readings of the files being made; `pages` and `page_cells` are two tables of the same readings."""
    lake, spec = inputs.lake, inputs.spec
    asked = (
        lake.root,
        tuple(inputs.parts or ()),
        str(lake.state("raw/cells")),
        str(file_versions(spec, inputs.settings)),
    )
    if "readings" not in _LAST or _LAST["readings"][0] != asked:
        manifests, reference = inputs.read("raw/manifests"), inputs.settings.reference
        _LAST["readings"] = asked, page_tables.readings(inputs.read("raw/cells"), manifests, reference)
    return _LAST["readings"][1]


@table(
    "staging/page_cells",
    needs=["raw/cells", "raw/manifests"],
    split="sha256",
    files=READER_FILES,
)
def page_cells(inputs: Inputs) -> Table:
    return page_tables.page_cells(_readings(inputs), inputs.read("raw/manifests"))


@table("staging/pages", needs=["raw/cells", "raw/manifests"], split="sha256", files=READER_FILES)
def pages(inputs: Inputs) -> Table:
    return page_tables.pages(_readings(inputs))


@table("staging/delphi_responses", needs=["staging/page_cells", "staging/pages"])
def delphi_responses(inputs: Inputs) -> Table:
    about = expert_tables.pages_of(inputs.read("staging/pages"), expert_sheets.DELPHI)
    return expert_tables.delphi_responses(inputs.scan("staging/page_cells", about["sha256"].unique()), about)


@table("staging/ahp_judgements", needs=["staging/page_cells", "staging/pages"])
def ahp_judgements(inputs: Inputs) -> Table:
    about = expert_tables.pages_of(inputs.read("staging/pages"), expert_sheets.AHP)
    return expert_tables.ahp_judgements(inputs.scan("staging/page_cells", about["sha256"].unique()), about)


@table("staging/project_records", needs=["raw/cells", "raw/manifests", "staging/pages"], files=READER_FILES)
def project_records(inputs: Inputs) -> Table:
    kind = project_lists.PROJECTS
    about = expert_tables.pages_of(inputs.read("staging/pages"), kind, project_lists.KINDS[kind])
    cells, manifests = inputs.scan("raw/cells", about["sha256"].unique()), inputs.read("raw/manifests")
    return project_tables.project_records(cells, about, manifests, load_reference(inputs.settings.reference))


def page_table(layout: Layout) -> TableSpec:
    """The staging table of one layout."""
    key = f"staging/{layout.table}"
    template = python_contracts()["staging/values"]
    contract = replace(
        template, key=key, description=f"{layout.publication_zh} · {layout.publication_en}: {template.description}"
    )

    @table(key, contract=contract, needs=["staging/page_cells", "staging/pages"])
    def values(inputs: Inputs) -> Table:
        about = page_tables.of_layout(inputs.read("staging/pages"), layout)
        return page_tables.values(inputs.scan("staging/page_cells", about["sha256"].unique()), about, layout)

    return values


def tables(settings: Settings) -> list[TableSpec]:
    """The tables of this layer; one for each layout in `reference/layouts/` (`<source>__<page>`)."""
    forms = [delphi_responses, ahp_judgements, project_records]
    return [pages, page_cells, *forms, *(page_table(layout) for layout in load_layouts(settings.reference / "layouts"))]
