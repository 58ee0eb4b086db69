"""The demo's files as the pipeline reads them; shared by the tests of both indices' sources."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from dei_pipeline.demo.generate import PAGE, DemoFile, generate
from dei_pipeline.demo.model import build
from dei_pipeline.methods.region_tables import Regions
from dei_pipeline.methods.regions import match
from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.expert_sheets import read_expert_sheets
from dei_pipeline.sources.layouts import default_layouts, default_reference
from dei_pipeline.sources.workbook import read_file

DECI_LAYOUTS = {
    "city_yearbook__rd",
    "city_yearbook__ict_employment",
    "city_yearbook__ict_revenue",
    "city_yearbook__ecommerce",
    "city_yearbook__investment",
    "city_yearbook__retail",
    "web_metrics__broadband_speed",
    "web_metrics__gov_service",
    "web_metrics__gov_website",
    "delphi_responses",
    "ahp_judgements",
}
LISTS = ("projects", "companies", "holdings")


class Received:
    """The demo files of both indices, what the model made them from, and what the pipeline reads from them.

    Lists of projects, registers and documents are read back by the tests of their own.
    """

    def __init__(self, folder: Path, regions: int, years: Sequence[int]) -> None:
        self.demo, self.folder = build(regions, years), folder
        files = generate(folder, regions, years)
        self.files = [f for f in files if f.kind == PAGE and f.source_id not in LISTS]
        read = [self._read(file) for file in self.files]
        self.pages = pl.concat([r[0] for r in read])
        self.cells = pl.concat([r[1] for r in read])
        self.kinds = {file.path.name: r[2] for file, r in zip(self.files, read, strict=True)}

    def _read(self, file: DemoFile) -> tuple[pl.DataFrame, pl.DataFrame, str]:
        content = file.path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        decoded = decode(content, file.path.name)
        name = str(file.path.relative_to(self.folder))
        manifest = {"sha256": sha256, "file": name, "edition": file.edition, "source_id": file.source_id}
        reading, others = read_expert_sheets(with_address(decoded.cells, sha256), manifest, default_reference())
        if others.height:
            reading = read_file(others, manifest, default_layouts())
        about = reading.pages.select("sheet", "block", "file", "edition")
        return reading.pages, reading.page_cells.join(about, on=["sheet", "block"], how="left"), decoded.format

    def values(self) -> pl.DataFrame:
        """Values of pages by region code in canonical units, names matched as on a page of cities."""
        reference = default_reference()
        found = self.cells.filter((pl.col("role") == "value") & pl.col("variable").is_not_null())
        found = found.with_columns(label=pl.col("region_label"))
        codes = match(found.select("label", "year").unique(), Regions.load(), "city")
        factors = {unit: reference.unit(unit).factor for unit in found["unit"].unique()}  # type: ignore[union-attr]
        canonical = pl.col("number") * pl.col("unit").replace_strict(factors, return_dtype=pl.Float64)
        codes = codes.select("label", "year", "region_code")
        return found.with_columns(value=canonical).join(codes, on=["label", "year"])
