"""Comparing a page as the reader reads it with the tidy table its first user made of it by hand.

Every cell of a tidy table gets a class:

- `equal`: the page says the same number;
- `tidy rounded`: they differ by at most half a unit of the last digit that its tidy column prints;
- `page rounded`: by at most half a unit of the last digit of the page's column (the tidy number came from
  elsewhere);
- `not on the page`: the page has no such column, or prints nothing there;
- `tidy contradicted`, `page contradicted`: another file prints the other number, `evidence` says which;
- `unexplained`: none of these.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
from python_calamine import CalamineWorkbook

from dei_pipeline.sources.layouts import default_reference, unit_key

CLASSES = (
    "equal",
    "tidy rounded",
    "page rounded",
    "not on the page",
    "tidy contradicted",
    "page contradicted",
    "unexplained",
)
VARIABLES: Mapping[str, Mapping[str, str]] = {  # chn_block4 -> variable, by staging table
    "sci_tech_yearbook__rd_personnel": {
        "合计": "rd_personnel_fte",
        "研究人员": "rd_researchers_fte",
        "基础研究": "rd_personnel_fte_basic",
        "应用研究": "rd_personnel_fte_applied",
        "试验发展": "rd_personnel_fte_experimental",
    },
    "sci_tech_yearbook__rd_expenditure_by_activity": {
        "合计": "rd_expenditure",
        "基础研究": "rd_expenditure_basic",
        "应用研究": "rd_expenditure_applied",
        "试验发展": "rd_expenditure_experimental",
    },
    "sci_tech_yearbook__rd_intensity": {"RD经费": "rd_expenditure", "RD强度": "rd_intensity"},
    "rd_bulletin__regional": {"RD经费": "rd_expenditure", "RD强度": "rd_intensity"},
    "sci_tech_yearbook__high_tech_operation": {
        "企业数": "high_tech_enterprises",
        "主营业务收入": "high_tech_revenue",
        "利润总额": "high_tech_profit",
    },
    "statistical_yearbook__budget_expenditure": {
        "合计": "budget_expenditure",
        "教育": "expenditure_education",
        "科学技术": "expenditure_science_technology",
        "农林水": "expenditure_agriculture",
    },
}
NATION = {"地方合计": "全国"}


def load_tidy(path: Path, table: str) -> pl.DataFrame:
    """Tidy rows (region_label, year, variable, tidy, unit) of one file for one staging table."""
    head, *body = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    index = {name: head.index(name) for name in ("province", "year", "chn_block4", "value", "units")}
    rows = [
        (
            r[index["province"]],
            int(r[index["year"]]),
            VARIABLES[table][r[index["chn_block4"]]],
            r[index["value"]],
            r[index["units"]],
        )
        for r in body
    ]
    schema = {"region_label": pl.String, "year": pl.Int32, "variable": pl.String, "tidy": pl.Float64, "unit": pl.String}
    rows = [(re.sub(r"\s+", "", r[0]), *r[1:3], None if r[3] == "" else float(r[3]), r[4]) for r in rows]
    return pl.DataFrame(rows, schema=schema, orient="row")


def classify(
    tidy: pl.DataFrame, page: pl.DataFrame, evidence: Callable[[dict[str, object]], str | None] | None = None
) -> pl.DataFrame:
    """The tidy rows with `page`, `raw_text`, `source_cell`, `class` and `evidence`.

    Args:
        tidy: as `load_tidy` gives it.
        page: value cells of the page (`region_label`, `year`, `variable`, `number`, `unit`, `text`, `source_cell`).
        evidence: for a row that differs, which side another source contradicts («tidy: …», «page: …»); None if none.
    """
    reference = default_reference()
    factors = {u.printed: u.factor for u in reference.units.values()}
    cells = page.filter(pl.col("role") == "value").select(
        pl.col("region_label").replace(NATION),
        "year",
        "variable",
        "source_cell",
        page="number",
        page_unit="unit",
        raw_text="text",
    )
    rows = tidy.join(cells, on=["region_label", "year", "variable"], how="left")
    digits = {
        name: {v: decimals(part[column]) for (v,), part in rows.partition_by("variable", as_dict=True).items()}
        for name, column in (("tidy", "tidy"), ("page", "page"))
    }
    out = []
    for row in rows.iter_rows(named=True):
        unit = reference.units.get(unit_key(row["unit"] or ""))
        scale = 1.0 if unit is None or row["page_unit"] is None else factors[row["page_unit"]] / unit.factor
        half = {name: 0.5 * 10.0 ** -by_variable[row["variable"]] for name, by_variable in digits.items()}
        name = _class(row, scale, half)
        found = evidence(row) if evidence and name == "unexplained" else None
        out.append({**row, "class": f"{found.partition(':')[0]} contradicted" if found else name, "evidence": found})
    text = {"class": pl.String, "evidence": pl.String}
    return pl.DataFrame(out, schema={**rows.schema, **text}, infer_schema_length=None)


def _class(row: dict[str, object], scale: float, half: Mapping[str, float]) -> str:
    said, printed = row["tidy"], row["page"]
    if printed is None and row["raw_text"] is None:
        return "equal" if said is None else "not on the page"
    if not isinstance(said, float) or not isinstance(printed, float):
        return "unexplained"
    gap, slack = abs(printed * scale - said), 1e-12 * max(1.0, abs(said))
    if gap <= slack:
        return "equal"
    if gap <= half["tidy"] + slack:
        return "tidy rounded"
    return "page rounded" if gap <= half["page"] * scale + slack else "unexplained"


def decimals(values: pl.Series) -> int:
    """Most decimals that any number of a column is printed with (trailing zeros are lost in single numbers)."""
    texts = [repr(v).removesuffix(".0") for v in values.drop_nulls().to_list()]
    return max((len(t.partition(".")[2]) for t in texts), default=0)


def counts(results: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """One row per file: number of tidy cells and of each class."""
    rows = [
        {"file": name, "cells": frame.height, **{c: frame.filter(pl.col("class") == c).height for c in CLASSES}}
        for name, frame in results.items()
    ]
    return pl.DataFrame(rows)
