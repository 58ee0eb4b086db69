"""The sentences about leaves, scores and ranks hold for what the methods compute: any mean, any rule, gaps, ties."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from dei_pipeline.methods import composite, leaves, thresholds, weight_tables
from dei_pipeline.methods.framework import Framework
from tests.sql.breaking import SENTENCES, breaking, frame
from tests.trees import framework_of, joined_by

CITIES, YEARS = 30, (2019, 2020)
TREE = framework_of(
    [
        ("dei", None, 1.0),
        ("one", "dei", 0.5),
        ("two", "dei", 0.3),
        ("lone", "dei", 0.2),
        ("one_a", "one", 0.7),
        ("one_b", "one", 0.3),
        ("one_b_1", "one_b", 0.5),
        ("one_b_2", "one_b", 0.5),
        ("two_a", "two", 0.25),
        ("two_b", "two", 0.25),
        ("two_c", "two", 0.5),
    ],
    min_coverage=0.6,
)
RULES = {
    "one_a": {"rule": "winsorised_max"},
    "one_b_1": {"rule": "fixed", "theta": 40.0, "cap": 100.0},
    "one_b_2": {"rule": "fixed", "theta": 5.0, "cap": 120.0, "direction": "negative"},
    "two_a": {"rule": "fixed", "lo": 0.0, "best": 30.0, "hi": 60.0, "direction": "moderate"},
    "two_b": {"rule": "saturation", "n_star": 20.0, "cap": 100.0},
    "two_c": {"rule": "min_max", "over": "year", "cap": 90.0},
    "lone": {"rule": "percentile_rank", "over": "panel"},
}
MEANS = {
    "arithmetic": {},
    "geometric": dict.fromkeys(("dei", "one", "two", "one_b"), "geometric"),
    "harmonic at the top": {"dei": "harmonic", "one": "geometric"},
    "generalised": {"dei": ("generalised", -2.5), "two": ("generalised", 3.0), "one": ("generalised", 1.0)},
    "copeland below": {"one": "copeland"},
    "copeland at the top": {"dei": "copeland", "two": "geometric"},
}


def ruled() -> Framework:
    """The tree with one rule of each kind."""
    none = dict.fromkeys(("theta", "lo", "best", "hi", "n_star", "cap", "over"))
    rows = [
        row | none | RULES[row["node_id"]] | {"unit": "percent"} if row["node_id"] in RULES else row
        for row in TREE.nodes.to_dicts()
    ]
    nodes = pl.DataFrame(rows, schema=TREE.nodes.schema)
    return replace(TREE, nodes=nodes.with_columns(edition=pl.lit(TREE.edition)))


def inputs(framework: Framework, seed: int) -> pl.DataFrame:
    """Leaf values with gaps, zeros, ties and two equal cities."""
    rng = np.random.default_rng(seed)
    cells = pl.DataFrame({"region_code": [f"{110000 + 100 * i}" for i in range(CITIES)]})
    cells = cells.join(pl.DataFrame({"year": YEARS}, schema={"year": pl.Int32}), how="cross")
    grid = cells.join(pl.DataFrame({"indicator_id": framework.leaf_ids}), how="cross")
    value = np.round(rng.uniform(0, 60, grid.height))
    value[rng.random(grid.height) < 0.25] = np.nan
    value = value.reshape(CITIES, -1)
    value[1] = value[0]
    found = grid.with_columns(pl.Series("value", value.ravel()).fill_nan(None), unit=pl.lit("percent"))
    missing = pl.col("value").is_null()
    return found.with_columns(status=pl.when(missing).then(pl.lit("missing")).otherwise(pl.lit("reported")))


def index_of(framework: Framework, seed: int) -> dict[str, pl.DataFrame]:
    """The tables of an index that the sentences read."""
    raw = inputs(framework, seed)
    limits = thresholds.thresholds(framework, raw).frame
    normalised = leaves.normalised(framework, raw, limits).frame
    given = weight_tables.weights(framework).frame
    scores = composite.scores(framework, normalised, given).frame
    editions = [{"index_id": "dei", "edition": framework.edition, "min_coverage": framework.min_coverage}]
    return {
        "core__framework": framework.nodes,
        "core__editions": frame("core/editions", editions),
        "core__tiers": frame("core/tiers", []),
        "index__thresholds": limits,
        "index__dei_normalised": normalised,
        "index__dei_weights": given,
        "index__dei_scores": scores,
        "index__dei_ranks": composite.ranks(framework, scores, raw).frame,
    }


ABOUT_WHAT_IS_COMPUTED = [
    name
    for name, sentence in SENTENCES.items()
    if sentence.table in {"index/dei_normalised", "index/dei_weights", "index/dei_scores", "index/dei_ranks"}
]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("means", MEANS.values(), ids=MEANS.keys())
def test_no_sentence_is_broken_by_what_the_methods_compute(means: dict, seed: int):
    framework = joined_by(ruled(), **means)
    tables = index_of(framework, seed)
    scores = tables["index__dei_scores"].filter(level=0)["score"]
    assert 5 < scores.null_count() < CITIES * len(YEARS) - 20, "gaps matter, and most cities have a composite"
    for name in ABOUT_WHAT_IS_COMPUTED:
        found = breaking(name, **tables)
        assert found.is_empty(), (name, found.head(3).to_dicts())


def test_the_sentences_tried_are_not_few():
    assert len(ABOUT_WHAT_IS_COMPUTED) >= 11
