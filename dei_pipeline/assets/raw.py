"""Layer raw: manifests of the files received, and every cell of them."""

from dei_pipeline.lake import WHOLE, Lake, combined
from dei_pipeline.provenance import Table
from dei_pipeline.settings import Settings
from dei_pipeline.sources import ingest
from dei_pipeline.sources.received import decoded_cells, manifest_table, manifest_versions
from dei_pipeline.tables import Inputs, table


def received(lake: Lake, settings: Settings) -> dict[str, str]:
    """Fingerprint of the manifests."""
    return {WHOLE: combined(manifest_versions(lake))}


@table("raw/manifests", outside=received)
def manifests(inputs: Inputs) -> Table:
    ingest.register_published(inputs.lake, inputs.settings.reference)
    return manifest_table(inputs.lake)


@table("raw/cells", needs=["raw/manifests"], split="sha256")
def cells(inputs: Inputs) -> Table:
    return decoded_cells(inputs.lake, inputs.read("raw/manifests"), inputs.parts or [])


TABLES = [manifests, cells]
