"""Layer release: what Python publishes beside the SQL models."""

from dei_pipeline.methods import reference_basis
from dei_pipeline.provenance import Table
from dei_pipeline.tables import Inputs, table

COMPARED = ("release/node_means", "release/tier_summary", "release/cluster_scores")


@table(
    "release/published_comparison",
    needs=["core/published_figures", "core/observations"],
    uses=[*COMPARED, "index/dei_ranks"],
    split="year",
)
def published_comparison(inputs: Inputs) -> Table:
    return reference_basis.comparison(
        inputs.read("core/published_figures"),
        inputs.read("core/observations"),
        inputs.existing(COMPARED),
        inputs.existing(["index/dei_ranks"]).get("index/dei_ranks"),
    )


TABLES = [published_comparison]
