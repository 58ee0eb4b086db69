"""Ownership: registers of companies and of holdings, what each company is, what roots control."""

from dei_pipeline.methods import holdings as shareholdings
from dei_pipeline.methods import registers
from dei_pipeline.methods.companies import Forms
from dei_pipeline.methods.regions import Regions
from dei_pipeline.provenance import Table
from dei_pipeline.sources import registry
from dei_pipeline.sources.expert_tables import pages_of
from dei_pipeline.sources.layouts import load_reference
from dei_pipeline.sources.registry_heads import COMPANIES, HOLDINGS
from dei_pipeline.sources.registry_tables import register_records
from dei_pipeline.tables import Inputs, table

READER_FILES = ("layouts", "variables.csv", "units.csv")
FORMS = "company_forms.csv"
STAGED = ("staging/company_records", "staging/holding_records")


def _records(inputs: Inputs, kind: str) -> Table:
    about = pages_of(inputs.read("staging/pages"), kind, registry.KINDS[kind])
    cells, manifests = inputs.scan("raw/cells", about["sha256"].unique()), inputs.read("raw/manifests")
    return register_records(kind, cells, about, manifests, load_reference(inputs.settings.reference))


@table(STAGED[0], needs=["raw/cells", "raw/manifests", "staging/pages"], files=READER_FILES)
def company_records(inputs: Inputs) -> Table:
    return _records(inputs, COMPANIES)


@table(STAGED[1], needs=["raw/cells", "raw/manifests", "staging/pages"], files=READER_FILES)
def holding_records(inputs: Inputs) -> Table:
    return _records(inputs, HOLDINGS)


@table("core/companies", needs=[STAGED[0]], files=(FORMS, "regions.csv", "region_aliases.csv", "region_successors.csv"))
def companies(inputs: Inputs) -> Table:
    reference = inputs.settings.reference
    return registers.companies(inputs.read(STAGED[0]), Regions.load(reference), Forms.load(reference / FORMS))


@table("core/holdings", needs=[STAGED[1]], uses=[STAGED[0]], files=(FORMS,))
def holdings(inputs: Inputs) -> Table:
    known = inputs.existing([STAGED[0]]).get(STAGED[0])
    return shareholdings.holdings(inputs.read(STAGED[1]), known, Forms.load(inputs.settings.reference / FORMS))


@table("core/controlled_companies", needs=["core/holdings", "core/companies"])
def controlled_companies(inputs: Inputs) -> Table:
    return registers.controlled_companies(inputs.read("core/holdings"), inputs.read("core/companies"))


@table("core/ownership_cycles", needs=["core/holdings"])
def ownership_cycles(inputs: Inputs) -> Table:
    return registers.ownership_cycles(inputs.read("core/holdings"))


TABLES = [company_records, holding_records, companies, holdings, controlled_companies, ownership_cycles]
