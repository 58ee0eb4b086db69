"""Layer raw: manifests of the files received, and every cell of them."""

import hashlib

from dei_pipeline.lake import WHOLE, Lake
from dei_pipeline.provenance import Table
from dei_pipeline.settings import Settings
from dei_pipeline.sources import ingest
from dei_pipeline.sources.received import decoded_cells, manifest_table
from dei_pipeline.tables import Inputs, table


def received(lake: Lake, settings: Settings) -> dict[str, str]:
    """Fingerprint of the set of manifests, the published tables that every lake holds included."""
    ingest.register_published(lake, settings.reference)
    names = sorted(path.name for path in lake.blobs().glob("[0-9a-f]*"))
    return {WHOLE: hashlib.sha256("".join(names).encode()).hexdigest()[:16]}


@table("raw/manifests", outside=received)
def manifests(inputs: Inputs) -> Table:
    return manifest_table(inputs.lake)


@table("raw/cells", needs=["raw/manifests"], split="sha256")
def cells(inputs: Inputs) -> Table:
    return decoded_cells(inputs.lake, inputs.read("raw/manifests"), inputs.parts or [])


TABLES = [manifests, cells]
