"""Parameters of normalisation: from the base year, the panel or the file; with the rows that determine them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods.leaves import normalised
from dei_pipeline.methods.normalise_rules import RULES
from dei_pipeline.methods.thresholds import NUMBERS, needs_spread, thresholds
from tests.unit.own_steps import (
    CODES,
    FRAMEWORK_KEYS,
    LEAF,
    OWN,
    YEARS,
    check_edges,
    chosen,
    keys_of,
    put,
    same_bytes,
    value_of,
    values,
    with_nodes,
    words,
)

BARE = chosen(screening=None, imputation=None, treatment=None)
KEY = ["edition", "indicator_id"]
LEAVES = OWN.leaf_ids
BEIJING = CODES[0]
PANEL = ("link_ecommerce", "link_speed")
RETAIL, FOREST, SPEED, SPENDING, MOBILE = (
    "link_online_retail", "green_forest", "link_speed", "green_spending", "link_mobile",
)  # fmt: skip


def limit(table, leaf):
    """Numbers of a leaf that are there."""
    row = table.frame.filter(indicator_id=leaf).row(0, named=True)
    return {name: row[name] for name in NUMBERS if row[name] is not None}


def column(frame, leaf, years=YEARS):
    return frame.filter(pl.col("indicator_id") == leaf, pl.col("year").is_in(list(years)))["value"].to_numpy()


# -- numbers -----------------------------------------------------------------------------------------------------------
def test_every_leaf_has_the_numbers_of_its_rule():
    frame = values()
    table = thresholds(BARE, frame)
    base = {leaf: column(frame, leaf, [2020]) for leaf in LEAVES}
    panel = {leaf: column(frame, leaf) for leaf in PANEL}
    expected = {
        "link_broadband": {"lo": base["link_broadband"].min(), "hi": base["link_broadband"].max()},
        MOBILE: {"lo": 40.0, "hi": 140.0},
        RETAIL: {"theta": base[RETAIL].max()},
        "link_ecommerce": {"lo": panel["link_ecommerce"].min(), "hi": panel["link_ecommerce"].max()},
        SPEED: {"mean": panel[SPEED].mean(), "sd": panel[SPEED].std(ddof=1)},
        "green_carbon": {"lo": base["green_carbon"].min(), "hi": base["green_carbon"].max()},
        "green_power": {"mean": base["green_power"].mean(), "sd": base["green_power"].std(ddof=1)},
        FOREST: {"worst": base[FOREST].min(), "reference": value_of(frame, BEIJING, 2020, FOREST)},
        SPENDING: {},
        "people_education": {"lo": base["people_education"].min(), "hi": base["people_education"].max()},
        "people_research": {"lo": base["people_research"].min(), "hi": base["people_research"].max()},
    }
    assert table.frame["indicator_id"].to_list() == list(expected)
    for leaf, numbers in expected.items():
        assert limit(table, leaf) == pytest.approx(numbers, rel=1e-14), leaf
    assert table.notes == {"without_threshold": [], "constant": [], "not_tamed": []}
    assert set(table.frame["edition"]) == {"2021"}
    about = OWN.leaves.select(indicator_id="node_id", direction="direction", rule="rule", over="over", cap="cap")
    assert table.frame.select(about.columns).equals(about, null_equal=True)
    assert set(table.frame.columns) == set(python_contracts()["index/thresholds"].schema)


def test_edges_lead_to_the_rows_that_decide():
    frame = put(values(), {(CODES[3], 2020, RETAIL): 5000.0, (CODES[4], 2020, SPEED): None})
    table = thresholds(BARE, frame)
    check_edges(table, KEY, plsi_inputs=keys_of(frame.drop_nulls("value")), core__framework=FRAMEWORK_KEYS)
    of = {leaf: table.edges.filter(child_key=f"2021|{leaf}") for leaf in LEAVES}
    highest = frame.filter(pl.col("value") < 5000, indicator_id=RETAIL, year=2020).sort("value")[-1]
    assert of[RETAIL].select("parent_key", "role", "coefficient").sort("role").rows() == [
        (f"{highest['region_code'][0]}|2020|{RETAIL}", "maximum", 1.0),
        (f"{CODES[3]}|2020|{RETAIL}", "treated", 0.0),
    ]
    groups = {leaf: edges.filter(role="group") for leaf, edges in of.items()}
    assert groups["green_carbon"].height == len(CODES)
    assert set(groups["green_carbon"]["parent_key"].str.slice(7, 4)) == {"2020"}
    assert groups[SPEED].height == 2 * len(CODES) - 1
    assert groups[SPENDING].height == 2 * len(CODES)
    defined = table.edges.filter(role="definition")
    assert set(defined["child_key"]) == {f"2021|{leaf}" for leaf in LEAVES if leaf != RETAIL}
    after_steps = thresholds(OWN, frame)
    assert set(after_steps.edges["parent_table"]) == {"index/plsi_treated", "core/framework"}


def test_another_year_moves_only_what_is_measured_over_the_panel():
    frame = values()
    changed = frame.with_columns(value=pl.when(pl.col("year") == 2019).then(pl.col("value") * 3).otherwise("value"))
    one, other = thresholds(BARE, frame), thresholds(BARE, changed)
    moved = {leaf for leaf in LEAVES if limit(one, leaf) != limit(other, leaf)}
    assert moved == set(PANEL)


# -- what has no threshold ---------------------------------------------------------------------------------------------
def test_a_leaf_without_value_has_no_row_and_its_scores_say_why():
    frame = put(values(), {("*", 2020, leaf): None for leaf in (RETAIL, FOREST)} | {("*", 2020, SPEED): None})
    table = thresholds(BARE, frame)
    assert table.notes["without_threshold"] == [RETAIL, FOREST]  # the panel has values of speed
    assert table.frame["indicator_id"].to_list() == [leaf for leaf in LEAVES if leaf not in (RETAIL, FOREST)]
    check_edges(table, KEY, plsi_inputs=keys_of(frame), core__framework=FRAMEWORK_KEYS)
    scores = normalised(BARE, frame, table.frame)
    lost = scores.frame.filter(pl.col("indicator_id").is_in([RETAIL, FOREST]), year=2019)
    assert set(lost["flag"]) == {"no_threshold"}
    assert lost["score"].null_count() == lost.height == 2 * len(CODES)
    assert scores.notes["no_threshold"] == 2 * len(CODES)


def test_a_constant_leaf_has_no_row_where_a_spread_is_needed_and_is_counted():
    flat = {("*", 2020, leaf): 60.0 for leaf in LEAVES}
    frame = put(values(), flat)
    table = thresholds(BARE, frame)
    of_base = [leaf for leaf, over in OWN.leaves.select("node_id", "over").iter_rows() if over == "base_year"]
    assert table.notes["constant"] == [leaf for leaf in of_base if leaf != MOBILE]  # goalposts come from the file
    assert limit(table, RETAIL) == {"theta": 60.0}
    assert limit(table, SPENDING) == {}
    scores = normalised(BARE, frame, table.frame)
    ranked = scores.frame.filter(indicator_id=SPENDING)
    assert set(ranked.filter(year=2020)["flag"]) == {"constant"}
    assert ranked.filter(year=2020)["score"].null_count() == len(CODES)
    assert sorted(ranked.filter(year=2019)["score"]) == list(range(1, 13))
    assert scores.notes["constant"] == len(CODES)
    assert scores.notes["no_threshold"] == len(table.notes["constant"]) * 2 * len(CODES)


def test_a_maximum_that_winsorising_does_not_tame_is_noted():
    many = [f"{110000 + 100 * at}" for at in range(80)]
    frame = put(values(many), {(BEIJING, 2020, FOREST): 104.0})
    wild = {(code, 2020, RETAIL): 10.0 ** (at + 3) for at, code in enumerate(many[:7])}
    table = thresholds(BARE, put(frame, wild))
    assert table.notes["not_tamed"] == [RETAIL]
    assert limit(table, RETAIL) == {"theta": 10.0**4}  # five points down to the sixth


def test_thresholds_that_cannot_be_are_errors():
    with pytest.raises(NothingToDo, match=words("index/plsi_inputs holds no value of the base year 2020 of edition")):
        thresholds(BARE, values(years=[2018, 2019]))
    for worst in (0.0, -3.0):
        with pytest.raises(MethodError, match=f"{RETAIL}: the largest value of 2020 is {worst:g}, no threshold"):
            thresholds(BARE, put(values(), {("*", 2020, RETAIL): worst}))
    with pytest.raises(MethodError, match=f"{FOREST}: reference region 110000 has no value; name another region"):
        thresholds(BARE, put(values(), {(BEIJING, 2020, FOREST): None}))
    lowest = put(values(), {(BEIJING, 2020, FOREST): 1.0})
    with pytest.raises(MethodError, match=f"{FOREST} has worst and reference out of order; give a reference that is"):
        thresholds(BARE, lowest)


def test_a_reference_over_the_panel_is_that_of_the_last_year():
    over_panel = with_nodes(BARE, "over", green_forest="panel")
    found = limit(thresholds(over_panel, values()), FOREST)
    assert found["reference"] == value_of(values(), BEIJING, 2020, FOREST)
    assert found["worst"] == column(values(), FOREST).min()


def test_an_index_without_inputs_has_no_thresholds_from_data():
    with pytest.raises(NothingToDo, match="holds no value of the base year"):
        thresholds(BARE, values(years=[2019]))
    empty = values().clear()
    fixed = with_nodes(BARE, "rule", **dict.fromkeys(LEAVES, "fixed"))
    fixed = with_nodes(with_nodes(fixed, "over", **dict.fromkeys(LEAVES)), "theta", **dict.fromkeys(LEAVES, 7.0))
    table = thresholds(fixed, empty)
    assert table.frame["theta"].to_list() == [7.0] * len(LEAVES)
    assert set(table.edges["parent_table"]) == {"core/framework"}


def test_which_rules_need_a_spread():
    assert {rule for rule in RULES if not needs_spread(RULES[rule])} == {"scaled", "goalposts", "fraction_of_maximum"}


# -- properties --------------------------------------------------------------------------------------------------------
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_v1_row_order_does_not_change_a_byte(seed):
    frame = values(seed=seed)
    frame = put(frame, {(CODES[seed % 12], 2020, SPEED): None, (BEIJING, 2020, FOREST): 100.5})
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
    same_bytes(thresholds(BARE, frame), thresholds(BARE, shuffled))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_scores_do_not_depend_on_the_unit_where_the_file_gives_no_number(seed, factor):
    """A change of unit moves every threshold with it: the same scores come out [N3]."""
    free = with_nodes(BARE, "rule", link_mobile="min_max")
    frame = put(values(seed=seed), {(BEIJING, 2020, FOREST): 104.0})
    scaled = frame.with_columns(pl.col("value") * factor)
    one, other = (normalised(free, f, thresholds(free, f).frame).frame for f in (frame, scaled))
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-9, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_scores_of_a_year_do_not_change_when_another_year_is_added_unless_the_panel_decides(seed):
    frame = put(values(seed=seed), {(BEIJING, 2020, FOREST): 104.0})
    alone = frame.filter(year=2020)
    both, one = (normalised(BARE, f, thresholds(BARE, f).frame).frame for f in (frame, alone))
    kept = ~pl.col("indicator_id").is_in(PANEL)
    assert both.filter(kept, year=2020).equals(one.filter(kept), null_equal=True)
    assert set(one.select(LEAF).rows()) == set(both.filter(year=2020).select(LEAF).rows())
