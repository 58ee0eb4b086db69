"""Staging tables of what experts filled in: one row per score, one per judgement, as labelled on the sheets."""

import polars as pl

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import NothingToDo
from dei_pipeline.provenance import Table, make_edges
from dei_pipeline.sources.expert_sheets import AHP, DELPHI, KINDS

SHEET = ["sha256", "sheet"]


def pages_of(pages: pl.DataFrame, kind: str, called: str = "") -> pl.DataFrame:
    """The rows of staging/pages that are forms of a kind, `called` so by `dei template` (default: as `KINDS` says).

    Raises:
        NothingToDo: the lake holds no such form, or no cell of them can be used.
    """
    mine = pages.filter(pl.col("layout") == kind).sort("sha256", "sheet")
    if not mine.height:
        called = called or KINDS[kind]
        raise NothingToDo(f"no sheet of kind {called} in the lake: `dei template {called}`")
    if not mine["n_values"].sum():
        first = mine.row(0, named=True)
        why = first["reason"] or "no cell can be used"
        raise NothingToDo(f"{mine.height} sheet(s), as {first['file']}, sheet {first['sheet']}: {why}")
    return mine


def delphi_responses(cells: pl.LazyFrame, about: pl.DataFrame) -> Table:
    """`staging/delphi_responses`: one row per scored cell, with the expert's familiarity and basis for its item.

    Args:
        cells: staging/page_cells.
        about: the Delphi sheets, from `pages_of`.

    Returns:
        Table with key source_cell; edges to raw/cells: the score (role value, coefficient 1), and the cells that state
        familiarity, basis and expert. What could not be used is in the quarantine of staging/page_cells.
    """
    rows = _cells_of(cells, DELPHI)
    frame = _stating(rows.filter(pl.col("role") == "value"), rows, about)
    for role, name in (("familiarity", "familiarity"), ("basis", "judgement_basis")):
        said = {name: pl.col("number"), f"{role}_cell": pl.col("source_cell")}
        stated = rows.filter(pl.col("role") == role).select(*SHEET, "col", **said)
        frame = frame.join(stated, on=[*SHEET, "col"], how="left", maintain_order="left")
    title = rows.filter((pl.col("role") == "title") & pl.col("number").is_not_null())
    rounds = title.select(*SHEET, pl.col("number").cast(pl.Int32).alias("round"))
    frame = frame.join(rounds, on=SHEET, how="left", maintain_order="left").rename({"number": "score"})
    schema = python_contracts()[f"staging/{DELPHI}"].schema
    return Table(
        frame.select(pl.col(name).cast(kind) for name, kind in schema.items()),
        _edges(frame, ("familiarity", "basis", "expert")),
        notes={"sheets": about.height, "scores": frame.height},
    )


def ahp_judgements(cells: pl.LazyFrame, about: pl.DataFrame) -> Table:
    """`staging/ahp_judgements`: one row per filled cell of a comparison matrix, as labelled on the sheet.

    Args:
        cells: staging/page_cells.
        about: the AHP sheets, from `pages_of`.

    Returns:
        Table with key source_cell; edges to raw/cells: the judgement (role value, coefficient 1), title and expert.
    """
    rows = _cells_of(cells, AHP)
    frame = _stating(rows.filter(pl.col("role") == "value"), rows, about)
    title = rows.filter((pl.col("role") == "title") & pl.col("item").is_not_null())
    named = title.select(*SHEET, index_label="item", parent_label="label", title_cell="source_cell")
    stated = rows.filter(pl.col("role") == "edition").select(*SHEET, edition_label="item")
    frame = frame.join(named, on=SHEET, how="left", maintain_order="left")
    frame = frame.join(stated, on=SHEET, how="left", maintain_order="left")
    frame = frame.rename({"item": "row_label", "number": "value"}).with_columns(column_label="label")
    schema = python_contracts()[f"staging/{AHP}"].schema
    return Table(
        frame.select(pl.col(name).cast(kind) for name, kind in schema.items()),
        _edges(frame, ("title", "expert")),
        notes={"sheets": about.height, "judgements": frame.height},
    )


def _cells_of(cells: pl.LazyFrame, kind: str) -> pl.DataFrame:
    mine = cells.filter(pl.col("layout") == kind).sort("sha256", "sheet", "row", "col")
    return mine.collect(engine="in-memory")


def _stating(values: pl.DataFrame, rows: pl.DataFrame, about: pl.DataFrame) -> pl.DataFrame:
    """Value cells with expert, edition and source of their sheet."""
    experts = rows.filter(pl.col("role") == "expert").select(*SHEET, expert_id="item", expert_cell="source_cell")
    pages = about.select(*SHEET, "file", "edition", "source_id")
    named = values.join(experts, on=SHEET, how="left", maintain_order="left")
    return named.join(pages, on=SHEET, how="left", maintain_order="left").with_columns(raw_text="text")


def _edges(frame: pl.DataFrame, roles: tuple[str, ...]) -> pl.DataFrame:
    cell = ["source_cell"]
    beside = [make_edges(frame, cell, "raw/cells", [f"{role}_cell"], role) for role in roles]
    return pl.concat([make_edges(frame, cell, "raw/cells", cell, "value", 1.0), *beside])
