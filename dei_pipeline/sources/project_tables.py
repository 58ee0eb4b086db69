"""Staging table of lists of key projects: one row per project, as labelled on its list."""

import polars as pl

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import LakeError
from dei_pipeline.provenance import Table, make_edges
from dei_pipeline.sources.layouts import Reference
from dei_pipeline.sources.project_lists import PROJECTS, records

BESIDE = ("name", "kind", "is_new", "heading", "region", "list_region")  # what cells beside the investment say


def project_records(cells: pl.LazyFrame, about: pl.DataFrame, manifests: pl.DataFrame, reference: Reference) -> Table:
    """`staging/project_records`: one row per project of a list.

    Args:
        cells: raw/cells.
        about: the lists in staging/pages, from `pages_of`.
        manifests: raw/manifests.
        reference: units, blank marks, note patterns, headings of region columns.

    Returns:
        Table with key source_cell, the cell of the investment; edges to raw/cells: the investment (role value,
        coefficient 1), and the cells that state name, kind, heading and region. What cannot be used is in the
        quarantine of staging/page_cells.

    Raises:
        LakeError: a page tells of more or fewer projects than are read now.
    """
    rows = cells.filter(pl.col("sha256").is_in(about["sha256"].unique().implode())).collect(engine="in-memory")
    files = rows.sort("sha256", "sheet", "row", "col").partition_by("sha256", as_dict=True, maintain_order=True)
    said = {row["sha256"]: row for row in manifests.select("sha256", "file", "year").to_dicts()}
    frames = []
    for (sha256,), pages in about.sort("sha256", "sheet").partition_by("sha256", as_dict=True).items():
        found = records(files[sha256,], said[sha256], reference)
        if found.height != pages["n_values"].sum():
            raise LakeError(
                f"{pages['file'][0]}: {found.height} projects, staging/pages says {pages['n_values'].sum()}",
                "dei run --all --select staging/pages",
            )
        frames.append(found.join(pages.select("sheet", "file", "edition", "source_id"), on="sheet"))
    frame = pl.concat(frames)
    schema = python_contracts()[f"staging/{PROJECTS}"].schema
    cell = ["source_cell"]
    own = pl.when(pl.col("region_cell").is_null()).then("list_region_cell").alias("list_region_cell")
    stated = frame.with_columns(own)
    beside = [make_edges(stated, cell, "raw/cells", [f"{role}_cell"], role) for role in BESIDE]
    return Table(
        frame.select(pl.col(name).cast(kind) for name, kind in schema.items()),
        pl.concat([make_edges(frame, cell, "raw/cells", cell, "value", 1.0), *beside]),
        notes={"lists": about.height, "projects": frame.height, "approximate": int(frame["approximate"].sum())},
    )
