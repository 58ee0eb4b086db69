"""Steps between inputs and normalisation, each a table of its own: screened → imputed → treated.

A framework takes those that its `meta` names, in this order [methodology §3.9]. Observed values
are never overwritten: a step's table holds its result beside the value it started from.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import imputers
from dei_pipeline.methods.choices import Imputation
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.index_tables import CELL, LEAF, Floats, before, definition, long, matrix
from dei_pipeline.methods.normalise_rules import RULES
from dei_pipeline.methods.screen import screen
from dei_pipeline.methods.treat import Treated, treat
from dei_pipeline.provenance import Table, make_edges

IMPUTED = "imputed"
PANEL_IMPUTERS = ("latest", "constant", "linear", "linear_constant")


def screened(framework: Framework, inputs: pl.DataFrame) -> Table:
    """Leaf values of the regions that have enough of them, columns of `inputs`, for each year by itself.

    Shares are taken over the leaves that come from outside the index; see `screen.screen` for the rules.

    Args:
        framework: the index; `choices.screening`.
        inputs: `index/<index>_inputs`.

    Returns:
        Table; edges to the input (role value, coefficient 1). `notes`: who was left out, with year and reason, and who
        was kept although a rule says no.

    Raises:
        MethodError: nobody passes in a year.
    """
    choice = framework.choices.screening
    if choice is None:
        raise MethodError(f"{framework.index_id} screens nobody", "add meta.screening")
    ids = framework.observed_leaves["node_id"].to_list()
    named = sorted({*choice.keep, *choice.drop} - set(inputs["region_code"]))
    if named:
        raise MethodError(f"screening {framework.index_id}: no region {named[0]}", "correct meta.screening")
    passed, left_out, kept = [], [], []
    for year in inputs["year"].unique().sort().to_list():
        cells = inputs.filter(pl.col("year") == year).select(CELL).unique().sort(CELL)
        codes = cells["region_code"].to_list()
        table = matrix(cells, inputs, ids, "value", "indicator_id")
        result = screen(
            table,
            codes,
            choice.min_available,
            choice.min_nonzero,
            [code for code in choice.keep if code in codes],
            [code for code in choice.drop if code in codes],
        )
        if not result.included.any():
            raise MethodError(f"screening {framework.index_id}: no region of {year} passes", "lower meta.screening")
        passed.append(cells.filter(pl.Series(result.included)))
        said = list(zip(codes, result.included, result.reason, strict=True))
        left_out += [f"{code} {year}: {reason}" for code, included, reason in said if not included]
        kept += [f"{code} {year}" for code, _, reason in said if reason == "kept"]
    frame = inputs.join(pl.concat(passed), on=CELL, how="semi")
    source = before(framework, "screening")
    return Table(frame, make_edges(frame, LEAF, source, LEAF, "value", 1.0), notes={"left_out": left_out, "kept": kept})


def imputed(framework: Framework, values: pl.DataFrame, regions: pl.DataFrame | None = None) -> Table:
    """Leaf values with gaps filled, columns of `inputs` and method, donors; observed cells are unchanged.

    Filled cells have status `imputed`; derived leaves are not filled, they follow from their members. Methods over
    time use every year given; the others each year by itself.

    Args:
        framework: the index; `choices.imputation`.
        values: leaf values after the step before, all years.
        regions: `mart/regions`, for methods within groups.

    Returns:
        Table; edges to the same cell (role value, coefficient 1) or, for a filled cell, to the donors: the same leaf of
        the same year's regions (role donor), of the region's other years for methods over time, or every leaf of the
        year for models (role donor). `notes`: filled by leaf, gaps left, years in
        which the regressions did not settle.

    Raises:
        MethodError: see `imputers`.
    """
    choice = framework.choices.imputation
    if choice is None:
        raise MethodError(f"{framework.index_id} imputes nothing", "add meta.imputation")
    ids = framework.observed_leaves["node_id"].to_list()
    cells = values.select(CELL).unique().sort(CELL)
    table = matrix(cells, values, ids, "value", "indicator_id")
    filled, donors, unsettled = _fill(choice, table, cells, regions)
    gaps = np.isnan(table) & ~np.isnan(filled)
    rows = long(cells, ids, filled=filled, donors=np.where(gaps, donors, 0))
    frame = (
        values.join(rows, on=LEAF, how="left", maintain_order="left")
        .with_columns(gap=pl.col("value").is_null() & pl.col("filled").is_not_null())
        .with_columns(
            value=pl.coalesce("value", "filled"),
            status=pl.when("gap").then(pl.lit(IMPUTED)).otherwise("status"),
            method=pl.when("gap").then(pl.lit(choice.method)),
            donors=pl.when("gap").then("donors").cast(pl.Int64),
        )
    )
    done = frame.filter("gap")
    source = before(framework, "imputation")
    edges = [
        make_edges(frame.filter(~pl.col("gap")), LEAF, source, LEAF, "value", 1.0),
        _donor_edges(choice, done, values, regions, source),
    ]
    notes = {
        "imputed": dict(done.group_by("indicator_id").len().sort("indicator_id").iter_rows()),
        "left_missing": int(frame["value"].null_count()),
        "not_converged": unsettled,
    }
    return Table(frame.drop("filled", "gap"), pl.concat(edges), notes=notes)


def _fill(
    choice: Imputation, table: Floats, cells: pl.DataFrame, regions: pl.DataFrame | None
) -> tuple[Floats, Floats, list[int]]:
    """The filled matrix, the number of donors of each filled cell, and the years whose model did not settle."""
    if choice.method in PANEL_IMPUTERS:
        units, years = cells["region_code"].to_list(), cells["year"].to_numpy()
        own: tuple[Any, ...] = (choice.max_years,) if choice.method == "latest" else ()
        over_time: Callable[..., imputers.Imputed] = getattr(imputers, choice.method)
        result = over_time(table, units, years, *own)
        return result.values, result.donors.astype(np.float64), []
    filled, donors, unsettled = table.copy(), np.zeros(table.shape), []
    for year in np.unique(cells["year"].to_numpy()):
        at = cells["year"].to_numpy() == year
        result = _of_year(choice, table[at], cells.filter(pl.Series(at)), regions)
        filled[at], donors[at] = result.values, result.donors
        unsettled += [] if result.converged else [int(year)]
    return filled, donors, unsettled


def _of_year(choice: Imputation, table: Floats, cells: pl.DataFrame, regions: pl.DataFrame | None) -> imputers.Imputed:
    """One year filled."""
    if choice.method in ("group_mean", "group_median"):
        method = imputers.group_mean if choice.method == "group_mean" else imputers.group_median
        return method(table, groups_of(cells, regions, choice.group))
    if choice.method == "knn":
        return imputers.knn(table, choice.neighbours)
    plain = {"mean": imputers.mean, "median": imputers.median, "regression": imputers.regression}
    return plain[choice.method](table)


def groups_of(cells: pl.DataFrame, regions: pl.DataFrame | None, column: str) -> list[str | None]:
    """The group of each cell's region in its year, None without one.

    Raises:
        MethodError: there is no table of regions.
    """
    if regions is None:
        raise MethodError(f"groups by {column} without mart/regions", "declare it as a parent")
    place = regions.select(*CELL, column).unique(CELL, keep="last", maintain_order=True)
    return cells.join(place, on=CELL, how="left", maintain_order="left")[column].to_list()


def _donor_edges(
    choice: Imputation, filled: pl.DataFrame, values: pl.DataFrame, regions: pl.DataFrame | None, source: str
) -> pl.DataFrame:
    """Edges from filled cells to the observed cells they rest on."""
    observed = values.filter(pl.col("value").is_not_null()).select(
        *LEAF, *(pl.col(c).alias(f"{c}_donor") for c in LEAF)
    )
    if choice.method in PANEL_IMPUTERS:
        on = ["region_code", "indicator_id"]
    elif choice.method in ("knn", "regression"):
        on = ["year"]
    elif choice.method.startswith("group_") and regions is not None:
        of = regions.select(*CELL, choice.group).unique(CELL, keep="last", maintain_order=True)
        filled = filled.join(of, on=CELL, how="left")
        observed = observed.join(of, on=CELL, how="left")
        on = ["year", "indicator_id", choice.group]
    else:
        on = ["year", "indicator_id"]
    donors = [f"{c}_donor" for c in LEAF]
    links = filled.select(dict.fromkeys([*LEAF, *on]).keys()).join(observed.select(*on, *donors), on=on)
    return make_edges(links, LEAF, source, donors, "donor")


def treated(framework: Framework, values: pl.DataFrame) -> Table:
    """Leaf values with outliers pulled in, columns of `values` and untreated, treatment.

    `untreated` is the value before, `treatment` what was done: winsorise, or the transform of the whole leaf;
    null where the cell is as it was. Derived leaves are left alone. A leaf is winsorised only where a transform would
    take its values out of reach: its rule has numbers in the leaf's own unit (not `follows_data`), or measures a year
    by others, and each year is treated by itself.

    Args:
        framework: the index; `choices.treatment`.
        values: leaf values after the step before, all years.

    Returns:
        Table; edges to the value before (role value, coefficient 1 where unchanged, 0 where pulled in, null where
        transformed) and to the framework (role treatment) where it was changed. `notes`: per leaf what was done, skew
        and kurtosis before and after; constant leaves, and those that are still outlying (passed false), are listed.

    Raises:
        MethodError: see `treat.treat`.
    """
    choice = framework.choices.treatment
    if choice is None:
        raise MethodError(f"{framework.index_id} treats nothing", "add meta.treatment")
    known = framework.observed_leaves.select("node_id", "rule", "over").iter_rows()
    free = {leaf: follows_data(rule) and (choice.over == "panel" or over == "year") for leaf, rule, over in known}
    ids = list(choice.only) or list(free)
    unknown = [leaf for leaf in ids if leaf not in free]
    if unknown:
        raise MethodError(
            f"treatment of {unknown[0]}: no leaf of {framework.index_id} from outside the index",
            "correct meta.treatment, only",
        )
    cells = values.select(CELL).unique().sort(CELL)
    table = matrix(cells, values, ids, "value", "indicator_id")
    years = cells["year"].to_numpy()
    spans = [np.full(years.shape, True)] if choice.over == "panel" else [years == year for year in np.unique(years)]
    after, done, report = table.copy(), np.full(table.shape, "", dtype=object), {}
    for span in spans:
        for j, leaf in enumerate(ids):
            result = treat(
                table[span, j],
                choice.max_points,
                choice.skew,
                choice.kurtosis,
                choice.then if choice.then != "none" and free[leaf] else None,
            )
            after[span, j] = result.values
            done[span, j] = _what(result, table[span, j])
            if result.step != "none" or not result.passed:
                name = leaf if choice.over == "panel" else f"{leaf} {years[span][0]}"
                report[name] = _account(result)
    rows = long(cells, ids, after=after, treatment=done)
    frame = values.join(rows, on=LEAF, how="left", maintain_order="left").with_columns(
        untreated=pl.col("value"), value=pl.coalesce("after", "value")
    )
    changed = pl.col("treatment").is_not_null()
    slope = pl.when(~changed).then(1.0).when(pl.col("treatment") == "winsorise").then(0.0)
    edges = [
        make_edges(frame, LEAF, before(framework, "treatment"), LEAF, "value", slope),
        definition(frame.filter(changed), framework, LEAF, "indicator_id", "treatment"),
    ]
    return Table(frame.drop("after"), pl.concat(edges), notes={"treated": report})


def follows_data(rule: str) -> bool:
    """Whether a normalisation rule takes all its numbers from the values themselves, so that these may be transformed.

    Not so where the file gives numbers in the leaf's unit, or 0 has a meaning: thresholds, goalposts, shares of a best.
    """
    spec = RULES.get(rule)
    return spec is not None and set(spec.given) <= {"reference"} and spec.parameters != ("best",)


def _what(result: Treated, raw: Floats) -> Sequence[str]:
    """What was done to each value of a leaf."""
    transform = next((part for part in result.step.split("+") if part not in ("winsorise", "none")), "")
    whole = transform if transform not in ("", "constant", "too_few") else ""
    words = np.where(np.isnan(raw), "", whole).astype(object)
    if not whole:
        words[result.points] = "winsorise"
    return words.tolist()


def _account(result: Treated) -> dict[str, Any]:
    """A treatment in words and numbers for the run's metadata; what is undefined is left out."""
    numbers = {"skew": result.skew, "kurtosis": result.kurtosis}
    shown = {name: list(pair) for name, pair in numbers.items() if np.isfinite(pair).all()}
    return {"step": result.step, "points": int(result.points.size), "passed": result.passed, **shown}
