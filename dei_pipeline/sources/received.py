"""Tables of what was received: the manifests, and the cells of the files."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import SourceError
from dei_pipeline.lake import Lake
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, manifests, no_quarantine
from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.ingest import DOCUMENT, content, content_path


def manifest_table(lake: Lake) -> Table:
    """One row per received file, from its manifest.

    Raises:
        LakeError: a manifest names a file that the lake no longer holds.
    """
    schema = python_contracts()["raw/manifests"].schema
    held = list(manifests(lake).values())
    for manifest in held:
        content_path(lake, manifest["sha256"], manifest["file"])
    rows = [{name: m.get(name) for name in schema} for m in held]
    frame = pl.DataFrame(rows, schema=schema)
    return Table(frame, notes={"files": frame.height, "synthetic_files": int(frame["synthetic"].sum())})


def manifest_versions(lake: Lake) -> dict[str, str]:
    """Content hash of each manifest by the start of its sha256: what it says, and whether its file is still there."""
    versions = {}
    for start, said in manifests(lake).items():
        told = {name: value for name, value in said.items() if name != "ingested_at"}
        told["held"] = any((lake.blobs() / said["sha256"]).glob("content*"))
        versions[start] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return versions


def decoded_cells(lake: Lake, files: pl.DataFrame, wanted: Sequence[str]) -> Table:
    """Every non-empty cell of the files in `wanted` (sha256); a file that cannot be decoded is quarantined.

    Documents have no cells: staging/document_texts reads them.

    Raises:
        LakeError: a manifest names a file that the lake no longer holds.
    """
    frames, aside = [], []
    of_cells = files.filter(pl.col("sha256").is_in(list(wanted)) & (pl.col("kind") != DOCUMENT))
    for file in of_cells.sort("sha256").iter_rows(named=True):
        try:
            decoded = decode(content(lake, file["sha256"], file["file"]), file["file"])
            frames.append(with_address(decoded.cells, file["sha256"]))
        except SourceError as error:
            aside.append(_unreadable(file, error))
    empty = pl.DataFrame(schema=python_contracts()["raw/cells"].schema)
    quarantine = (
        pl.DataFrame(aside, schema=dict.fromkeys((*QUARANTINE_COLUMNS, "sha256"), pl.String()))
        if aside
        else no_quarantine()
    )
    return Table(pl.concat([empty, *(f.select(empty.columns) for f in frames)]), quarantine=quarantine)


def _unreadable(file: dict[str, Any], error: SourceError) -> dict[str, Any]:
    return {"reason": error.message, "fix": error.fix, "file": file["file"], "sha256": file["sha256"]}
