"""Weights as a table: given ones as they are, computed ones group by group with what they were computed from."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods import weights as methods
from dei_pipeline.methods.choices import SCHEMES
from dei_pipeline.methods.framework import packaged
from dei_pipeline.methods.weight_tables import leaves_below, weights
from tests.unit.own_steps import (
    CODES,
    FRAMEWORK_KEYS,
    LEAF,
    OWN,
    check_edges,
    chosen,
    keys_of,
    put,
    same_bytes,
    values,
    with_nodes,
    words,
)

KEY = ["edition", "node_id"]
EXPERT_KEY = ["edition", "parent_id", "expert_id", "node_id"]
RETAIL, TRADE = "link_online_retail", "link_ecommerce"
PARTS = ("networks", "exchange", "link_speed")
BY_SCHEME = with_nodes(OWN, "weighting", links=None, exchange=None)


def normalised(seed: int = 0) -> pl.DataFrame:
    """Scores of every leaf, as `index/plsi_normalised`; the columns that weights read."""
    return values(seed=seed).select(*LEAF, score="value")


def gap(frame: pl.DataFrame, leaf: str, codes) -> pl.DataFrame:
    """The frame without some scores of a leaf in 2020."""
    lost = (pl.col("indicator_id") == leaf) & pl.col("region_code").is_in(list(codes)) & (pl.col("year") == 2020)
    return frame.with_columns(score=pl.when(~lost).then("score"))


def table_of(frame: pl.DataFrame, *leaves: str) -> np.ndarray:
    """Scores of the base year, regions × leaves; NaN = none."""
    wide = frame.filter(year=2020).sort("region_code").pivot("indicator_id", index="region_code", values="score")
    return wide.select(leaves).fill_null(float("nan")).to_numpy()


def judged(parent: str, within: dict[str, float], expert: str = "pooled") -> pl.DataFrame:
    """Rows of `index/plsi_expert_weights`."""
    return pl.DataFrame(
        [("2021", parent, expert, n, w) for n, w in within.items()], [*EXPERT_KEY, "weight"], orient="row"
    )


def within(table) -> dict[str, float]:
    return dict(table.frame.select("node_id", "weight").iter_rows())


def method_of(table) -> dict[str, str]:
    return dict(table.frame.select("node_id", "method").iter_rows())


# -- given -------------------------------------------------------------------------------------------------------------
def test_given_weights_need_no_scores():
    dei = packaged("dei")
    table = weights(dei)
    assert table.frame.select("node_id", "weight").equals(dei.nodes.select("node_id", "weight"))
    assert set(table.frame["method"]) == {"given"}
    assert table.frame["ahp_weight"].null_count() == table.frame["entropy_weight"].null_count() == table.frame.height
    assert table.notes == {}
    framework = {f"dei|2021|{node}" for node in dei.nodes["node_id"]}
    check_edges(table, KEY, core__framework=framework)
    assert set(table.edges.select("role", "coefficient").rows()) == {("weight", 1.0)}
    assert table.frame.columns == list(python_contracts()["index/weights"].schema)


# -- computed ----------------------------------------------------------------------------------------------------------
def test_computed_weights_climb_from_the_leaves_with_the_weights_found_below():
    frame = normalised()
    table = weights(OWN, frame)
    retail = methods.entropy(table_of(frame, RETAIL, TRADE)).w
    broadband, mobile, speed = table_of(frame, "link_broadband", "link_mobile", "link_speed").T
    exchange = table_of(frame, RETAIL, TRADE) @ retail
    parts = methods.critic(np.column_stack([broadband**0.6 * mobile**0.4, exchange, speed])).w
    found = within(table)
    np.testing.assert_allclose([found[leaf] for leaf in (RETAIL, TRADE)], retail, rtol=1e-12)
    np.testing.assert_allclose([found[part] for part in PARTS], parts, rtol=1e-10)
    assert {method_of(table)[part] for part in PARTS} == {"critic"}
    assert method_of(table)[RETAIL] == "entropy"
    entropy = table.frame.drop_nulls("entropy_weight")
    assert entropy.select("node_id", "weight").equals(entropy.select("node_id", weight="entropy_weight"))
    assert entropy["node_id"].to_list() == [RETAIL, TRADE]
    assert table.frame["node_id"].to_list() == OWN.nodes["node_id"].to_list()
    assert table.notes == {"prior_weight": []}
    sums = table.frame.join(OWN.nodes.select("node_id", "parent_id"), on="node_id").group_by("parent_id")
    np.testing.assert_allclose(sums.agg(pl.col("weight").sum())["weight"], 1)


def test_every_computed_weight_points_at_the_scores_of_its_group():
    frame = gap(normalised(), TRADE, CODES[:2])
    table = weights(OWN, frame)
    base = frame.filter(year=2020).drop_nulls("score")
    check_edges(table, KEY, plsi_normalised=keys_of(base), core__framework=FRAMEWORK_KEYS)
    of = table.edges.filter(child_key=f"2021|{RETAIL}")
    assert set(of.filter(role="dispersion")["parent_key"]) == keys_of(
        base.filter(pl.col("indicator_id").is_in([RETAIL, TRADE]))
    )
    assert of.filter(role="method")["parent_key"].to_list() == [f"plsi|2021|{RETAIL}"]
    upper = table.edges.filter(child_key="2021|networks", role="dispersion")
    assert set(upper["parent_key"].str.split("|").list.last()) == set(leaves_below(OWN, "links"))
    assert leaves_below(OWN, "links") == OWN.leaf_ids[:5]
    given_ones = table.edges.filter(role="weight")
    assert given_ones.height == OWN.nodes["weight"].drop_nulls().len()


def test_other_years_do_not_count():
    frame = normalised()
    doubled = frame.with_columns(score=pl.when(pl.col("year") == 2019).then(pl.col("score") ** 2).otherwise("score"))
    same_bytes(weights(OWN, frame), weights(OWN, doubled))


def test_cities_without_a_column_are_left_out_of_its_group_and_counted():
    frame = gap(normalised(), TRADE, CODES[:4])  # 8 of 12: enough for a column
    table = weights(OWN, frame)
    left_out = {"exchange": 4, "links": 4}  # half of exchange is too little for a score of it
    assert table.notes == {"prior_weight": [], "cities_left_out": left_out}
    rest = table_of(frame, RETAIL, TRADE)[4:]
    np.testing.assert_allclose([within(table)[leaf] for leaf in (RETAIL, TRADE)], methods.entropy(rest).w, rtol=1e-12)


@pytest.mark.parametrize("lost", [CODES[:5], CODES], ids=["too few", "absent"])
def test_a_leaf_without_enough_values_keeps_the_equal_share_as_a_prior(lost):
    table = weights(OWN, gap(normalised(), TRADE, lost))
    assert within(table)[TRADE] == within(table)[RETAIL] == 0.5
    assert table.notes == {"prior_weight": [TRADE, "exchange"]}


def test_a_group_without_any_value_has_equal_weights_and_says_so():
    frame = gap(gap(normalised(), TRADE, CODES), RETAIL, CODES)
    table = weights(OWN, frame)
    assert within(table)[TRADE] == within(table)[RETAIL] == 0.5
    assert table.notes["prior_weight"] == [RETAIL, TRADE, "exchange"]
    assert within(table)["exchange"] == pytest.approx(1 / 3)
    assert within(table)["networks"] + within(table)["link_speed"] == pytest.approx(2 / 3)
    check_edges(
        table, KEY, plsi_normalised=keys_of(frame.filter(year=2020).drop_nulls("score")), core__framework=FRAMEWORK_KEYS
    )


def test_a_constant_column_weighs_nothing_and_is_flagged():
    flat = put(values(), {("*", 2020, TRADE): 70.0}).select(*LEAF, score="value")
    table = weights(OWN, flat)
    assert (within(table)[TRADE], within(table)[RETAIL]) == (0.0, 1.0)
    assert table.notes["flags"] == {"exchange": {TRADE: "constant"}}
    both = put(values(), {("*", 2020, leaf): 70.0 for leaf in (TRADE, RETAIL)}).select(*LEAF, score="value")
    equal = weights(OWN, both)
    assert (within(equal)[TRADE], within(equal)[RETAIL]) == (0.5, 0.5)
    assert equal.notes["flags"]["exchange"] == {RETAIL: "constant", TRADE: "constant", "all": "all_constant"}
    assert equal.notes["flags"]["links"] == {"exchange": "constant"}


def test_a_largest_weight_holds_for_entropy_alone():
    frame = normalised()
    free, held = weights(OWN, frame), weights(chosen(weighting__max_weight=0.52), frame)
    assert max(within(free)[leaf] for leaf in (RETAIL, TRADE)) > 0.52
    assert max(within(held)[leaf] for leaf in (RETAIL, TRADE)) == 0.52
    assert list(held.notes["flags"]) == ["exchange"]


@pytest.mark.parametrize("how", ["equal", "entropy", "critic", "pca"])
def test_a_node_says_how_its_children_are_weighted(how):
    frame = normalised()
    table = weights(with_nodes(OWN, "weighting", exchange=how), frame)
    columns = table_of(frame, RETAIL, TRADE)
    expected = {
        "equal": lambda: methods.equal(2),
        "entropy": lambda: methods.entropy(columns).w,
        "critic": lambda: methods.critic(columns).w,
        "pca": lambda: methods.pca(columns).w,
    }[how]()
    np.testing.assert_allclose([within(table)[leaf] for leaf in (RETAIL, TRADE)], expected, rtol=1e-12)
    assert method_of(table)[RETAIL] == how


# -- schemes and judgements --------------------------------------------------------------------------------------------
EXPERTS = pl.concat([
    judged("links", {"networks": 0.5, "exchange": 0.3, "link_speed": 0.2}),
    judged("links", {"networks": 0.1, "exchange": 0.1, "link_speed": 0.8}, "E01"),
    judged("exchange", {RETAIL: 0.7, TRADE: 0.3}),
])  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes_join_judgements_and_entropy(scheme):
    frame = normalised()
    table = weights(chosen(BY_SCHEME, weighting__scheme=scheme, weighting__lam=0.25), frame, EXPERTS)
    ahp = np.array([0.7, 0.3])
    entropy = methods.entropy(table_of(frame, RETAIL, TRADE)).w
    expected = {
        "ahp_upper_entropy_leaf": entropy,
        "entropy_all": entropy,
        "multiplicative": ahp * entropy / (ahp * entropy).sum(),
        "linear": 0.25 * ahp + 0.75 * entropy,
        "min_relative_entropy": np.sqrt(ahp * entropy) / np.sqrt(ahp * entropy).sum(),
    }[scheme]
    np.testing.assert_allclose([within(table)[leaf] for leaf in (RETAIL, TRADE)], expected, rtol=1e-12)
    rows = {row["node_id"]: row for row in table.frame.iter_rows(named=True)}
    assert (rows[RETAIL]["ahp_weight"], rows["networks"]["ahp_weight"]) == (0.7, 0.5)
    assert rows[RETAIL]["entropy_weight"] == pytest.approx(entropy[0], rel=1e-12)
    upper = "ahp" if scheme == "ahp_upper_entropy_leaf" else "entropy" if scheme == "entropy_all" else scheme
    assert method_of(table)["networks"] == upper
    assert (rows["networks"]["weight"] == 0.5) == (upper == "ahp")
    base = keys_of(frame.filter(year=2020))
    experts = keys_of(EXPERTS, EXPERT_KEY)
    check_edges(table, KEY, plsi_normalised=base, core__framework=FRAMEWORK_KEYS, plsi_expert_weights=experts)
    judgements = table.edges.filter(role="judgement").select("child_key", "parent_key").rows()
    assert ("2021|networks", "2021|links|pooled|networks") in judgements
    assert len(judgements) == 5


def test_a_node_weighted_by_ahp_takes_the_judgements_whatever_the_scheme():
    table = weights(with_nodes(OWN, "weighting", exchange="ahp"), normalised(), EXPERTS)
    assert (within(table)[RETAIL], method_of(table)[RETAIL]) == (0.7, "ahp")
    assert table.frame.filter(node_id=RETAIL)["entropy_weight"].item() > 0


def test_weights_by_judgement_do_not_fail_for_want_of_entropy_and_note_nothing():
    by_ahp = with_nodes(OWN, "weighting", links="ahp", exchange="equal")
    negative = normalised().with_columns(score=pl.col("score") - 75)
    apart = gap(gap(normalised(), TRADE, CODES[:4]), "link_speed", CODES[4:8])
    for frame in (negative, gap(apart, "link_broadband", CODES[8:])):
        table = weights(by_ahp, frame, EXPERTS)
        assert within(table)["networks"] == 0.5
        assert table.frame.filter(node_id="networks")["entropy_weight"].item() is None
        assert table.notes == {}


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "entropy_all"])
def test_weights_that_nobody_judged_are_nothing_to_do(scheme):
    framework = chosen(BY_SCHEME, weighting__scheme=scheme)
    said = words("nobody compared the children of links: fill in `dei template ahp --index plsi`")
    others = [None, judged("exchange", {RETAIL: 0.7, TRADE: 0.3}), judged("links", {"networks": 0.6, "exchange": 0.4})]
    for experts in (*others, judged("links", dict.fromkeys(PARTS, 1 / 3), "E01")):
        with pytest.raises(NothingToDo, match=said):
            weights(framework, normalised(), experts)


def test_leaves_that_nobody_compared_are_weighted_by_entropy():
    framework = chosen(BY_SCHEME, weighting__scheme="linear")
    table = weights(framework, normalised(), EXPERTS.filter(parent_id="links"))
    assert method_of(table)[RETAIL] == "entropy"
    assert method_of(table)["networks"] == "linear"


def test_data_driven_weights_need_a_base_year():
    for frame in (None, normalised().filter(year=2019), normalised().with_columns(score=pl.lit(None, pl.Float64))):
        with pytest.raises(NothingToDo, match="no score of plsi in its base year 2020: no weights"):
            weights(OWN, frame)


def test_weights_that_cannot_be_name_the_node():
    shifted = normalised().with_columns(score=pl.col("score") - 75)
    with pytest.raises(MethodError, match=f"weights below exchange: entropy of negative scores of {RETAIL}; normalise"):
        weights(OWN, shifted)
    apart = gap(gap(normalised(), TRADE, CODES[:4]), "link_speed", CODES[4:8])
    said = words("weights below links: no city of the base year has all of networks, exchange, link_speed; ingest what")
    with pytest.raises(MethodError, match=said):
        weights(OWN, gap(apart, "link_broadband", CODES[8:]))


# -- properties --------------------------------------------------------------------------------------------------------
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(SCHEMES))
def test_v1_row_order_does_not_change_a_byte(seed, scheme):
    frame = gap(normalised(seed), TRADE, CODES[seed % 9 : seed % 9 + 3])
    framework = chosen(BY_SCHEME if seed % 2 else OWN, weighting__scheme=scheme)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
    experts = EXPERTS.sample(fraction=1, shuffle=True, seed=seed)
    same_bytes(weights(framework, frame, EXPERTS), weights(framework, shuffled, experts))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.6))
def test_w1_siblings_always_share_one(seed, lost):
    frame = normalised(seed)
    keep = np.random.default_rng(seed).random(frame.height) >= lost / 2
    frame = frame.with_columns(score=pl.when(pl.Series(keep)).then("score"))
    try:
        table = weights(OWN, frame)
    except MethodError as error:
        assert "no city of the base year has all of" in error.message  # noqa: PT017
        return
    sums = table.frame.join(OWN.nodes.select("node_id", "parent_id"), on="node_id").group_by("parent_id")
    np.testing.assert_allclose(sums.agg(pl.col("weight").sum())["weight"], 1, rtol=1e-12)
    assert table.frame["weight"].is_between(0, 1).all()
