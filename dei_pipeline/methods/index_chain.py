"""A whole index at once: from its inputs through every step to the ranks, by the functions that make its tables."""

import polars as pl

from dei_pipeline.methods import composite, leaf_steps, leaves, thresholds, weight_tables
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.index_tables import STEP_TABLES, steps_of
from dei_pipeline.provenance import Table


def chain(
    framework: Framework,
    inputs: pl.DataFrame,
    regions: pl.DataFrame | None = None,
    expert_weights: pl.DataFrame | None = None,
) -> dict[str, Table]:
    """The tables of an index by name, in the order in which they are made, for all years of its inputs.

    The steps that `framework.choices` takes (screened, imputed, treated), then thresholds, normalised, weights, scores,
    ranks: what a run stores one by one as `index/<index>_<name>`.

    Args:
        framework: the index, perhaps with a choice changed (`Framework.with_choice`).
        inputs: `index/<index>_inputs`, all years: base year and panel decide on thresholds and weights.
        regions: `mart/regions`, for imputation within groups.
        expert_weights: `index/<index>_expert_weights`, for weights that experts judged.

    Raises:
        MethodError: as the step that cannot be taken says.
        NothingToDo: weights are needed that nobody judged, or the base year has no score.
    """
    found: dict[str, Table] = {}
    values = inputs
    for step in steps_of(framework):
        if step == "screening":
            table = leaf_steps.screened(framework, values)
        elif step == "imputation":
            table = leaf_steps.imputed(framework, values, regions)
        else:
            table = leaf_steps.treated(framework, values)
        found[STEP_TABLES[step]] = table
        values = table.frame
    found["thresholds"] = thresholds.thresholds(framework, values)
    found["normalised"] = leaves.normalised(framework, values, found["thresholds"].frame)
    found["weights"] = weight_tables.weights(framework, found["normalised"].frame, expert_weights)
    found["scores"] = composite.scores(framework, found["normalised"].frame, found["weights"].frame)
    found["ranks"] = composite.ranks(framework, found["scores"].frame, values)
    return found
