"""Tables of how pages are understood: the pages, the role of every cell, and the values of each layout."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import ContractError, LimitError, NothingToDo, SourceError
from dei_pipeline.provenance import Table
from dei_pipeline.sources import expert_sheets, project_lists, registry
from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.document import document_pages
from dei_pipeline.sources.layouts import Layout, Reference, load_layouts, load_reference
from dei_pipeline.sources.workbook import Reading, quarantined, read_file, staging_values

KINDS = {**expert_sheets.KINDS, **project_lists.KINDS, **registry.KINDS}  # of sheets that no layout explains


class _Corrects(Protocol):
    @property
    def source_cell(self) -> str: ...


def readings(cells: pl.DataFrame, manifests: pl.DataFrame, reference: Path) -> list[Reading]:
    """The reading of each file of pages whose cells are given."""
    layouts, shared = load_layouts(reference / "layouts"), load_reference(reference)
    about = {row["sha256"]: row for row in manifests.filter(pl.col("kind") == "page").to_dicts()}
    found = []
    for (sha256,), rows in cells.partition_by("sha256", as_dict=True, maintain_order=True).items():
        manifest = about.get(str(sha256))
        if manifest is None:
            continue
        known = manifest | {"source_id": None if manifest["source_id"] == "unknown" else manifest["source_id"]}
        found.append(_read(rows, known, layouts, shared))
    return found


def _read(cells: pl.DataFrame, manifest: Mapping[str, Any], layouts: Sequence[Layout], reference: Reference) -> Reading:
    """The reading of one file: sheets of experts, lists of projects and registers by their form, others by layouts."""
    found = []
    for read in (expert_sheets.read_expert_sheets, project_lists.read_project_lists, registry.read_registers):
        reading, cells = read(cells, manifest, reference)
        found.append(reading)
    if cells.height:
        found.append(read_file(cells, manifest, layouts, reference))
    return Reading(pl.concat([r.pages for r in found]), pl.concat([r.page_cells for r in found]))


def pages(found: Sequence[Reading]) -> Table:
    """`staging/pages`: one row per table of a sheet, with what it was taken for, and why not."""
    schema = python_contracts()["staging/pages"].schema
    return Table(pl.concat([pl.DataFrame(schema=schema), *(r.pages.select(list(schema)) for r in found)]))


def page_cells(found: Sequence[Reading], manifests: pl.DataFrame) -> Table:
    """`staging/page_cells`: every non-empty cell with its role.

    Quarantined: cells of pages that no layout explains, and of forms and lists what cannot be used.
    """
    schema = python_contracts()["staging/page_cells"].schema
    frames = [reading.page_cells.select(list(schema)) for reading in found]
    files = dict(manifests.select("sha256", "file").iter_rows())
    frame = pl.concat([pl.DataFrame(schema=schema), *frames])
    own = pl.col("layout").is_null() | pl.col("layout").is_in(list(KINDS))
    unexplained = frame.filter(own).with_columns(file=pl.col("sha256").replace_strict(files, return_dtype=pl.String))
    aside = quarantined(unexplained)
    return Table(
        frame,
        quarantine=aside.join(
            frame.select("source_cell", "sha256"), on="source_cell", how="left", maintain_order="left"
        ),
    )


def of_layout(about: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """The rows of `staging/pages` that a layout explains.

    Raises:
        NothingToDo: the lake holds no such page.
    """
    mine = about.filter(pl.col("layout") == layout.table)
    if not mine.height:
        raise NothingToDo("no page of this kind in the lake")
    return mine


def values(cells: pl.LazyFrame, about: pl.DataFrame, layout: Layout) -> Table:
    """One staging table: the values of the pages of a layout.

    Args:
        cells: staging/page_cells of the files that hold such pages.
        about: the pages, from `of_layout`.
        layout: the layout.

    Raises:
        NothingToDo: the pages hold no value cell, or none of them can be read as a whole (it states no year).
        ContractError: the readable share of the value cells falls below the layout's coverage floor; cells of pages
            that cannot be read as a whole do not count.
    """
    mine = cells.filter(pl.col("layout") == layout.table).sort("sha256", "sheet", "row", "col")
    rows = mine.collect(engine="in-memory")
    table = staging_values(rows, about, layout.table)
    undated = about.filter(pl.col("reason").is_not_null())
    judged = rows.filter(pl.col("role") == "quarantined").join(undated, on=["sha256", "sheet", "block"], how="anti")
    cells_in = table.frame.height + judged.height
    if not cells_in and undated.height:
        first = undated.row(0, named=True)
        where = f"{undated.height} page(s), as {first['file']}, sheet {first['sheet']}"
        raise NothingToDo(f"{where}: {first['reason']}; {first['fix']}")
    if not cells_in:
        raise NothingToDo("its pages hold no value")
    share = table.frame.height / cells_in
    if share < layout.coverage_floor:
        first = table.quarantine.join(judged, on="source_cell", how="semi", maintain_order="left").row(0, named=True)
        raise ContractError(
            f"staging/{layout.table}: {share:.1%} of {cells_in} value cells can be used, the floor is "
            f"{layout.coverage_floor:.0%}; first failure in {first['file']}, sheet {first['sheet']}, "
            f"cell {first['cell']}: {first['reason']}",
            first["fix"] or "see `dei layout FILE`",
        )
    return table


def unreadable(cells: pl.LazyFrame, about: pl.DataFrame, corrections: Iterable[_Corrects]) -> pl.DataFrame:
    """Quarantined cells that a correction names, in the columns of a staging table, `value` null."""
    named = [correction.source_cell for correction in corrections]
    by_layout = pl.col("layout").is_not_null() & ~pl.col("layout").is_in(list(KINDS))
    rows = cells.filter((pl.col("role") == "quarantined") & pl.col("source_cell").is_in(named) & by_layout)
    found = rows.collect(engine="in-memory").join(
        about.select("sha256", "sheet", "block", "edition", "source_id"), on=["sha256", "sheet", "block"], how="left"
    )
    columns = [*python_contracts()["staging/values"].schema, "table"]
    return found.with_columns(value=pl.lit(None, pl.Float64), raw_text=pl.col("text"), table=pl.col("layout")).select(
        columns
    )


def one_reading(
    content: bytes, name: str, said: Mapping[str, Any], reference: Path
) -> tuple[pl.DataFrame, dict[str, Any], Reading]:
    """The cells, manifest and reading of a file that need not be in the lake.

    Args:
        content: bytes of the file.
        name: its name.
        said: what the user or a sidecar says (`edition`, `year`, `source_id`).
        reference: folder of the reviewed files.

    Raises:
        SourceError: the file cannot be decoded.
    """
    digest = hashlib.sha256(content).hexdigest()
    cells = with_address(decode(content, name).cells, digest)
    manifest = {"sha256": digest, "file": name, "year_from": "sidecar" if said.get("year") else None, **said}
    return cells, manifest, _read(cells, manifest, load_layouts(reference / "layouts"), load_reference(reference))


def recogniser(reference: Path) -> Callable[[bytes, str, dict[str, Any]], tuple[str, list[dict[str, Any]]]]:
    """What `ingest` asks about a file: its format, and its pages with layout, kind, source and producer.

    A file that no layout explains is tried as a document. One that is more than is read (`LimitError`) is refused.
    """
    layouts, shared = load_layouts(reference / "layouts"), load_reference(reference)
    producers = {layout.table: f"{layout.producer_zh} {layout.producer_en}".strip() for layout in layouts}

    def recognise(content: bytes, name: str, said: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        try:
            decoded = decode(content, name)
        except LimitError:
            raise
        except SourceError as no_table:
            return document_pages(content, name, no_table)
        digest = hashlib.sha256(content).hexdigest()
        reading = _read(with_address(decoded.cells, digest), {**said, "sha256": digest}, layouts, shared)
        pages = [
            page | {"producer": producers.get(page["layout"]), "kind": KINDS.get(page["layout"], page["layout"])}
            for page in reading.pages.to_dicts()
        ]
        if any(page["layout"] for page in pages):
            return decoded.format, pages
        try:
            return document_pages(content, name)
        except LimitError:
            raise
        except SourceError:
            return decoded.format, pages

    return recognise
