"""Two sides aligned: scheme, data-driven weights and coverage apart, over small lakes written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.diff import Comparison
from dei_pipeline.errors import LakeError, MethodError
from dei_pipeline.lake import WHOLE, Lake
from dei_pipeline.methods.aggregate import weighted_mean
from dei_pipeline.methods.decompose import EFFECTS
from dei_pipeline.methods.normalise import threshold
from dei_pipeline.provenance import Table
from dei_pipeline.sides import Side, sides

TREE = {"mini": None, "g": "mini", "h": "mini", "a": "g", "b": "g", "c": "h", "d": "h"}
WEIGHTS = {"mini": 1.0, "g": 0.5, "h": 0.5, "a": 0.4, "b": 0.6, "c": 0.5, "d": 0.5}
RAW = {"a": [60.0, 80.0], "b": [50.0, 40.0], "c": [90.0, 20.0], "d": [10.0, 70.0]}
CODES = ("110000", "310000")
NAN = float("nan")


def mini(
    root: Path,
    raw: Mapping[str, Sequence[float]] = RAW,
    weights: Mapping[str, float] = WEIGHTS,
    tree: Mapping[str, str | None] = TREE,
    methods: Mapping[str, str] | None = None,
    theta: Mapping[str, float] | None = None,
    cap: float | None = 100.0,
    year: int = 2020,
    unit: str = "percent",
    aggregation: str = "arithmetic",
    codes: Sequence[str] = CODES,
) -> Side:
    """A lake with the tables of an index «mini», computed from raw values by the methods of the pipeline."""
    leaves = [node for node in tree if node not in tree.values()]
    thetas = {leaf: (theta or {}).get(leaf, 100.0) for leaf in leaves}
    score = {leaf: threshold(np.array(raw[leaf]), thetas[leaf], cap=cap) for leaf in leaves}
    for node in reversed(tree):
        below = [child for child in tree if tree[child] == node]
        if below:
            score[node] = weighted_mean(
                np.column_stack([score[child] for child in below]), [weights[child] for child in below]
            )[0]
    rows = [(code, node, score[node][i]) for i, code in enumerate(codes) for node in tree]
    scores = pl.DataFrame(rows, schema=["region_code", "node_id", "score"], orient="row").with_columns(
        pl.lit(year, pl.Int32).alias("year"),
        pl.col("score").fill_nan(None),
        parent_id=pl.col("node_id").replace_strict(dict(tree), return_dtype=pl.String),
        weight=pl.col("node_id").replace_strict(dict(weights), return_dtype=pl.Float64),
    )
    values = [(code, leaf, raw[leaf][i]) for i, code in enumerate(codes) for leaf in leaves]
    normalised = pl.DataFrame(values, schema=["region_code", "indicator_id", "raw"], orient="row").with_columns(
        pl.col("raw").fill_nan(None),
        pl.lit(year, pl.Int32).alias("year"),
        pl.lit("reported").alias("status"),
    )
    normalised = normalised.join(scores, left_on=["region_code", "indicator_id"], right_on=["region_code", "node_id"])
    ranks = scores.filter(node_id="mini").with_columns(ranked=pl.col("score").is_not_null(), tier_id=pl.lit("t"))
    framework = pl.DataFrame({"node_id": list(tree)}).with_columns(
        pl.int_range(pl.len()).alias("position"),
        *(pl.lit(text).alias(name) for name, text in (("index_id", "mini"), ("edition", "1"), ("unit", unit))),
        aggregation=pl.lit(aggregation),
    )
    limits = pl.DataFrame({"indicator_id": leaves, "theta": list(thetas.values())}).with_columns(
        *(pl.lit(None, pl.Float64).alias(name) for name in ("lo", "best", "hi")),
        edition=pl.lit("1"),
        direction=pl.lit("positive"),
        cap=pl.lit(cap, pl.Float64),
        rule=pl.lit("fixed"),
    )
    computed = [{"edition": "1", "node_id": n, "weight": weights[n]} for n in tree]
    how = [row | {"method": (methods or {}).get(row["node_id"], "given"), "ahp_weight": None} for row in computed]
    lake = Lake(root)
    for key, frame in {
        "core/framework": framework,
        "index/thresholds": limits,
        "index/mini_weights": pl.DataFrame(how),
    }.items():
        lake.commit(key, {WHOLE: (Table(frame), {})})
    for key, frame in {"scores": scores, "normalised": normalised, "ranks": ranks}.items():
        lake.commit(f"index/mini_{key}", {str(year): (Table(frame), {})}, "year")
    return Side(lake, "mini", year)


def checked(a: Side, b: Side) -> Comparison:
    """The comparison, its effects adding up to the change in every city."""
    found = Comparison(a, b)
    total = sum(array.sum(axis=1) for array in found.effects.values())
    np.testing.assert_allclose(total, found.composites[1] - found.composites[0], atol=1e-9)
    return found


def moved(found: Comparison) -> set[str]:
    return {name for name in EFFECTS if np.abs(found.effects[name]).max() > 1e-9}


def test_other_given_weights_are_an_effect_of_the_scheme(tmp_path: Path):
    found = checked(mini(tmp_path / "a"), mini(tmp_path / "b", weights=WEIGHTS | {"a": 0.7, "b": 0.3}))
    assert moved(found) == {"scheme"}
    # 北京: C 52 → 53.5; a weighs .2 → .35, b .3 → .15: (60 − 52.75)·.15 and (50 − 52.75)·(−.15).
    np.testing.assert_allclose(found.effects["scheme"][0, :2], [7.25 * 0.15, 2.75 * 0.15])


def test_weights_computed_from_data_are_an_effect_of_the_data(tmp_path: Path):
    methods = {"a": "entropy", "b": "entropy"}
    a = mini(tmp_path / "a", methods=methods)
    b = mini(tmp_path / "b", methods=methods, weights=WEIGHTS | {"a": 0.7, "b": 0.3})
    assert moved(checked(a, b)) == {"data_driven"}
    b = mini(tmp_path / "c", methods=methods, weights=WEIGHTS | {"a": 0.7, "b": 0.3, "g": 0.6, "h": 0.4})
    assert moved(checked(a, b)) == {"scheme", "data_driven"}
    b = mini(tmp_path / "d", weights=WEIGHTS | {"a": 0.7, "b": 0.3})  # entropy, then given
    assert moved(checked(a, b)) == {"scheme"}


def test_a_gap_is_an_effect_of_coverage_on_every_leaf_that_shares_its_weight(tmp_path: Path):
    raw = RAW | {"a": [NAN, 80.0], "c": [90.0, NAN]}
    found = checked(mini(tmp_path / "a", raw), mini(tmp_path / "b"))
    assert moved(found) == {"coverage"}
    shared = [found.leaves.index(leaf) for leaf in "ab"]
    assert (np.abs(found.effects["coverage"][0, shared]) > 0).all()
    assert (found.effects["coverage"][0, [i for i in range(4) if i not in shared]] == 0).all()


def test_a_leaf_and_a_group_that_one_edition_lacks_are_effects_of_the_scheme(tmp_path: Path):
    tree = TREE | {"e": "g", "k": "mini", "l": "k"}
    weights = WEIGHTS | {"e": 0.2, "a": 0.3, "b": 0.5, "k": 0.2, "l": 1.0, "g": 0.4, "h": 0.4}
    wide = mini(tmp_path / "b", RAW | {"e": [30.0, NAN], "l": [NAN, 5.0]}, weights, tree)
    narrow = mini(tmp_path / "a")
    for a, b in ((narrow, wide), (wide, narrow)):
        found = checked(a, b)
        assert moved(found) <= {"scheme", "coverage"}
        assert abs(found.effects["scheme"][0, found.leaves.index("e")]) > 0
        assert (found.effects["scheme"][1, found.leaves.index("e")], found.weights[1][1].sum()) == (0, 1)
    forward, backward = checked(narrow, wide), checked(wide, narrow)
    at = forward.leaves.index("e"), backward.leaves.index("e")
    np.testing.assert_allclose(forward.effects["scheme"][0, at[0]], -backward.effects["scheme"][0, at[1]])


def test_thresholds_and_caps_have_their_own_effects(tmp_path: Path):
    raw = RAW | {"a": [60.0, 150.0]}
    a = mini(tmp_path / "a", raw, theta={"a": 100.0})
    b = mini(tmp_path / "b", raw, theta={"a": 120.0})
    found = checked(a, b)
    assert moved(found) == {"threshold", "cap"}
    at = found.leaves.index("a")
    np.testing.assert_allclose(found.effects["threshold"][:, at], 0.2 * np.array([60, 150]) * (100 / 120 - 1))
    np.testing.assert_allclose(found.effects["cap"][:, at], [0, 0.2 * 25])  # 50, then 25 points cut off
    assert moved(checked(a, mini(tmp_path / "c", raw, cap=None))) == {"cap"}


def test_where_units_differ_raw_values_are_not_compared(tmp_path: Path):
    shares = {leaf: [value / 100 for value in values] for leaf, values in RAW.items()}
    a = mini(tmp_path / "a", RAW | {"a": [50.0, 80.0]})
    b = mini(tmp_path / "b", shares, theta=dict.fromkeys("abcd", 1.0), unit="share")
    found = checked(a, b)
    assert moved(found) == {"threshold"}
    assert found.remarks[0] == "a: percent, then share: all its change counts as one of threshold"


def test_a_rule_that_compares_cities_gives_value_what_moved_and_threshold_the_rest(tmp_path: Path):
    """Scores as min-max would give them, with the rule in the table of thresholds; 北京 keeps its raw value."""
    a, b = mini(tmp_path / "a"), mini(tmp_path / "b", RAW | {"a": [60.0, 90.0]}, theta={"a": 120.0})
    for side in (a, b):
        limits = side.lake.read("index/thresholds").with_columns(
            rule=pl.when(indicator_id="a").then(pl.lit("min_max")).otherwise("rule"),
            lo=pl.when(indicator_id="a").then(0.0),
            hi=pl.when(indicator_id="a").then("theta"),
            over=pl.lit("panel"),
        )
        side.lake.commit("index/thresholds", {WHOLE: (Table(limits), {"content": "x"})})
    found = checked(a, b)
    at = found.leaves.index("a")
    np.testing.assert_allclose(found.effects["threshold"][:, at], [0.2 * (60 / 1.2 - 60), 0])
    np.testing.assert_allclose(found.effects["value"][:, at], [0, 0.2 * (90 / 1.2 - 80)])
    assert found.remarks == [
        "a: scored by min_max among cities: a change counts as one of value where its raw value moved, "
        "else as one of threshold"
    ]
    assert checked(a, a).remarks == []


def test_a_city_without_a_composite_on_a_side_is_left_out(tmp_path: Path):
    gaps = {leaf: [NAN, values[1]] for leaf, values in RAW.items()}
    assert checked(mini(tmp_path / "a", gaps), mini(tmp_path / "b")).codes == ["310000"]
    other = mini(tmp_path / "c", codes=("440100", "440300"))
    with pytest.raises(LakeError, match="no city has a score in both"):
        Comparison(mini(tmp_path / "d"), other)


def test_gaps_that_leave_no_composite_under_the_new_tree_do_not_stop_the_split(tmp_path: Path):
    """All that the city had before has weight 0 in the new edition, and what it has now it lacked before."""
    a = mini(
        tmp_path / "a", RAW | {"a": [NAN, 1.0], "c": [NAN, 1.0]}, WEIGHTS | {"a": 0.2, "b": 0.8, "c": 0.2, "d": 0.8}
    )
    b = mini(tmp_path / "b", RAW, WEIGHTS | {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0})
    found = checked(a, b)
    assert (found.effects["coverage"][0] == 0).all()
    assert np.abs(found.effects["scheme"][0]).max() > 0


def test_what_is_no_weighted_mean_is_refused(tmp_path: Path):
    a = mini(tmp_path / "a")
    with pytest.raises(MethodError, match=r"mini is a geometric mean, and the split is defined for arithmetic"):
        Comparison(a, mini(tmp_path / "b", aggregation="geometric"))
    b = mini(tmp_path / "c", year=2021)
    held = b.lake.read("index/mini_scores")
    other = held.with_columns(pl.when(node_id="g").then(1.0).otherwise("score").alias("score"))
    b.lake.commit("index/mini_scores", {"2021": (Table(other), {"content": "x"})}, "year")
    with pytest.raises(MethodError, match=r"not the weighted mean of its leaves .* arithmetic aggregation only"):
        Comparison(Side(a.lake, "mini", 2020, "g"), Side(b.lake, "mini", 2021, "g"))


def test_tables_of_several_runs_are_refused(tmp_path: Path):
    a, b = mini(tmp_path / "a"), mini(tmp_path / "b")
    limits = b.lake.read("index/thresholds").with_columns(theta=pl.col("theta") * 2)
    b.lake.commit("index/thresholds", {WHOLE: (Table(limits), {"content": "x"})})
    with pytest.raises(LakeError, match=r"raw value and threshold of a do not give its score in 110000; .*dei run"):
        Comparison(a, b)


values = st.floats(1, 200)
gappy = st.one_of(values, values, values, st.just(NAN))
leaf_values = st.fixed_dictionaries({leaf: st.tuples(gappy, gappy) for leaf in "abcd"})
share = st.floats(0.05, 0.95)


@settings(max_examples=25, deadline=None)
@given(leaf_values, leaf_values, share, share, share, st.floats(50, 150), st.booleans())
def test_c1_two_lakes_always_split_exactly(tmp_path_factory, before, after, g, a, c, theta, data_driven):
    methods = {"a": "entropy", "b": "entropy"} if data_driven else {}
    weights = {"mini": 1.0, "g": g, "h": 1 - g, "a": a, "b": 1 - a, "c": c, "d": 1 - c}
    root = tmp_path_factory.mktemp("lakes")
    first = mini(root / "a", before, methods=methods)
    second = mini(root / "b", after, weights, methods=methods, theta={"b": theta})
    if not set(first.cities["region_code"]) & set(second.cities["region_code"]):
        return
    checked(first, second)
    assert moved(Comparison(first, first)) == set()


# -- names of sides ----------------------------------------------------------------------------------------------------
def test_a_side_is_a_year_a_folder_or_both(tmp_path: Path):
    for year in (2019, 2020):
        mini(tmp_path / "a", year=year)
    for year in (2018, 2019):
        mini(tmp_path / "b", year=year)
    home, other = tmp_path / "a", tmp_path / "b"

    def named(a: str, b: str) -> list[tuple[str, int]]:
        return [(side.lake.root.name, side.year) for side in sides(a, b, home, "mini")]

    assert named("2019", "2020") == [("a", 2019), ("a", 2020)]
    assert named(str(home), str(other)) == [("a", 2019), ("b", 2019)]
    assert named(f"{other}:2018", "2020") == [("b", 2018), ("a", 2020)]
    assert named("2019", str(other)) == [("a", 2019), ("b", 2019)]
    for a, b, says in (
        ("2019", "2021", rf"mini has no scores of 2021 in {home}; years there: 2019, 2020"),
        ("2020", str(other), rf"mini has no scores of 2020 in {other}; years there: 2018, 2019"),
        ("2019", str(tmp_path / "nowhere"), r"nowhere is no folder; give a year, the folder of a lake, or LAKE:YEAR"),
        (str(tmp_path), "2019", r"has no scores of «mini»; there is: none; `dei run` makes them"),
    ):
        with pytest.raises(LakeError, match=says):
            sides(a, b, home, "mini")
    with pytest.raises(LakeError, match=r"have no year of mini in common; write LAKE:YEAR"):
        sides(str(other), str(mini(tmp_path / "c", year=2021).lake.root), home, "mini")
