"""Policy documents: what was received, what each is, the terms found in them, the tasks of plans."""

from dei_pipeline.methods import document_counts as counting
from dei_pipeline.methods import policy_documents
from dei_pipeline.methods.regions import Regions
from dei_pipeline.provenance import Table
from dei_pipeline.sources import document_tables
from dei_pipeline.sources.lexicons import load_lexicons
from dei_pipeline.tables import Inputs, table

REGIONS = ("regions.csv", "region_aliases.csv", "region_successors.csv", "zones.csv", "zone_labels.csv")
LEXICONS = ("lexicons",)


@table("staging/document_texts", needs=["raw/manifests"], split="sha256")
def document_texts(inputs: Inputs) -> Table:
    return document_tables.document_texts(inputs.lake, inputs.read("raw/manifests"), inputs.parts or [])


@table("staging/documents", needs=["staging/document_texts", "raw/manifests"])
def staged_documents(inputs: Inputs) -> Table:
    return document_tables.documents(inputs.read("staging/document_texts"), inputs.read("raw/manifests"))


@table("core/documents", needs=["staging/documents", "staging/document_texts"], files=(*REGIONS, *LEXICONS))
def documents(inputs: Inputs) -> Table:
    reference = inputs.settings.reference
    return policy_documents.core_documents(
        inputs.read("staging/documents"),
        inputs.read("staging/document_texts"),
        Regions.load(reference),
        load_lexicons(reference / "lexicons"),
    )


@table("core/policy_terms", files=LEXICONS)
def policy_terms(inputs: Inputs) -> Table:
    return policy_documents.policy_terms(load_lexicons(inputs.settings.reference / "lexicons"))


@table("core/policy_hits", needs=["core/documents", "staging/document_texts"], files=LEXICONS)
def policy_hits(inputs: Inputs) -> Table:
    lexicons = load_lexicons(inputs.settings.reference / "lexicons")
    return policy_documents.policy_hits(inputs.read("core/documents"), inputs.read("staging/document_texts"), lexicons)


@table("core/plan_tasks", needs=["core/documents", "staging/document_texts"], files=LEXICONS)
def plan_tasks(inputs: Inputs) -> Table:
    lexicons = load_lexicons(inputs.settings.reference / "lexicons")
    return policy_documents.plan_tasks(inputs.read("core/documents"), inputs.read("staging/document_texts"), lexicons)


@table(
    "core/document_counts", needs=["core/policy_hits", "core/documents", "core/policy_terms"], files=(counting.RULES,)
)
def document_counts(inputs: Inputs) -> Table:
    return counting.document_counts(
        inputs.read("core/policy_hits"),
        inputs.read("core/documents"),
        inputs.read("core/policy_terms"),
        counting.load_rules(inputs.settings.reference / counting.RULES),
    )


TABLES = [document_texts, staged_documents, documents, policy_terms, policy_hits, plan_tasks, document_counts]
