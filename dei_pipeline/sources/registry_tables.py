"""Staging tables of registers: one row per company, one per holding, as labelled on the register."""

import polars as pl

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import LakeError
from dei_pipeline.provenance import Table, make_edges
from dei_pipeline.sources.layouts import Reference
from dei_pipeline.sources.registry import records
from dei_pipeline.sources.registry_heads import COMPANIES, HOLDINGS

BESIDE = {  # cells beside the key that say something of a row, by their role
    COMPANIES: (
        "alias", "credit_code", "code", "place", "region_code", "province", "country", "industry", "root", "date",
        "year",
    ),
    HOLDINGS: ("holder", "held", "holder_code", "held_code", "date", "year"),
}  # fmt: skip


def register_records(
    kind: str, cells: pl.LazyFrame, about: pl.DataFrame, manifests: pl.DataFrame, reference: Reference
) -> Table:
    """`staging/company_records` or `staging/holding_records`: one row per company, or per holding, of a register.

    Args:
        kind: `COMPANIES` or `HOLDINGS`.
        cells: raw/cells.
        about: the registers of the kind in staging/pages, from `pages_of`.
        manifests: raw/manifests.
        reference: blank marks, note patterns, headings of region columns.

    Returns:
        Table with key source_cell, the cell of the name or of the share; edges to raw/cells: that cell (role value,
        coefficient 1 of a share), and the cells that state what else the row says. What cannot be used is in the
        quarantine of staging/page_cells.

    Raises:
        LakeError: a page tells of more or fewer rows than are read now.
    """
    rows = cells.filter(pl.col("sha256").is_in(about["sha256"].unique().implode())).collect(engine="in-memory")
    sheets = rows.sort("sha256", "sheet", "row", "col").partition_by("sha256", "sheet", as_dict=True)
    said = {row["sha256"]: row for row in manifests.select("sha256", "file", "year").to_dicts()}
    schema = python_contracts()[f"staging/{kind}"].schema
    cell, frames, edges = ["source_cell"], [], []
    for page in about.sort("sha256", "sheet").to_dicts():
        found = records(sheets[page["sha256"], page["sheet"]], said[page["sha256"]], reference)
        if found.height != page["n_values"]:
            where = f"{page['file']}, sheet {page['sheet']}"
            raise LakeError(
                f"{where}: {found.height} rows, staging/pages says {page['n_values']}",
                "dei run --all --select staging/pages",
            )
        if not found.height:
            continue
        found = found.with_columns(
            pl.lit(page[name], pl.String).alias(name) for name in ("file", "edition", "source_id")
        )
        frames.append(found.select(pl.col(name).cast(dtype) for name, dtype in schema.items()))
        slope = 1.0 if kind == HOLDINGS else None
        edges.append(make_edges(found, cell, "raw/cells", cell, "value", slope))
        edges += [make_edges(found, cell, "raw/cells", [f"{role}_cell"], role) for role in BESIDE[kind]]
    frame = pl.concat(frames)
    return Table(frame, pl.concat(edges), notes={"registers": about.height, "rows": frame.height})
