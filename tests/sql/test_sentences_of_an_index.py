"""Each sentence about an index finds exactly the rows that break it, for the DEI and under another name alike."""

from collections.abc import Sequence

import polars as pl
import pytest

from tests.sql.breaking import breaking

Row = dict[str, object]


def framework(mean: str | None = "arithmetic", top: str | None = "arithmetic") -> list[Row]:
    """Composite, `one` below it, and its leaves a and b."""
    same = {"index_id": "dei", "edition": "2021"}
    inner, leaf = {"kind": "aggregate"}, {"kind": "value"}
    return [
        same | {"node_id": "dei", "parent_id": None, "level": 0, "weight": 1.0, "aggregation": top} | inner,
        same | {"node_id": "one", "parent_id": "dei", "level": 1, "weight": 1.0, "aggregation": mean} | inner,
        same | {"node_id": "a", "parent_id": "one", "level": 2, "weight": 0.4} | leaf,
        same | {"node_id": "b", "parent_id": "one", "level": 2, "weight": 0.6} | leaf,
    ]


WEIGHTS = [{"edition": "2021", "node_id": row["node_id"], "weight": row["weight"]} for row in framework()]


def node(node_id: str, parent: str | None, level: int, **more: object) -> Row:
    row = {"region_code": "310000", "year": 2020, "node_id": node_id, "parent_id": parent, "level": level}
    return row | {"weight": 1.0, "effective_weight": 1.0, "coverage": 1.0} | more


def tree(city: str = "310000", **changes: dict[str, object]) -> list[Row]:
    """Scores of a city with a = 40 and b = 60 points, some nodes changed."""
    rows = [
        node("dei", None, 0, score=52.0, contribution=52.0),
        node("one", "dei", 1, score=52.0, contribution=52.0),
        node("a", "one", 2, score=40.0, contribution=16.0, effective_weight=0.4),
        node("b", "one", 2, score=60.0, contribution=36.0, effective_weight=0.6),
    ]
    return [row | {"region_code": city} | changes.get(str(row["node_id"]), {}) for row in rows]


def cities(found: pl.DataFrame) -> list[str]:
    return sorted(set(found["region_code"]))


# -- contributions_add_up_to_the_composite -----------------------------------------------------------------------------
def contributions(rows: list[Row], mean: str = "arithmetic") -> list[str]:
    name = "contributions_add_up_to_the_composite"
    return cities(breaking(name, index__dei_scores=rows, core__framework=framework(mean)))


@pytest.mark.parametrize(
    ("city", "why"),
    [
        (tree("110000", b={"contribution": 36.1}), "one leaf too much"),
        (tree("110000", b={"contribution": None}), "a leaf without contribution"),
        (tree("110000", a={"contribution": None}, b={"contribution": None}), "no contribution at all"),
        (tree("110000", a={"contribution": float("nan")}), "not a number"),
        (tree("110000", dei={"score": 52.00000001}), "beyond the rounding of a sum"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_city_whose_contributions_do_not_add_up_is_found(city: list[Row], why: str):
    assert contributions(tree()) == []
    assert contributions([*tree(), *city]) == ["110000"], why
    assert contributions([*tree(), *city], "geometric") == ["110000"], why
    assert contributions([*tree(), *city], "copeland") == []


def test_a_city_without_composite_and_a_rounding_error_are_fine():
    rows = [
        *tree("110000", dei={"score": None}, b={"contribution": None}),
        *tree("120000", dei={"score": 52.0 + 5e-10}),
    ]
    assert contributions(rows) == []


# -- parents_lie_between_their_children --------------------------------------------------------------------------------
def between(mean: str, **families: tuple[float | None, ...]) -> list[str]:
    rows = []
    for city, (parent, *children) in families.items():
        rows.append(node("one", "dei", 1, region_code=city, score=parent))
        rows += [node(f"c{i}", "one", 2, region_code=city, score=score) for i, score in enumerate(children)]
    name = "parents_lie_between_their_children"
    return cities(breaking(name, index__dei_scores=rows, core__framework=framework(mean)))


@pytest.mark.parametrize("mean", ["arithmetic", "geometric", "harmonic", "generalised"])
def test_a_parent_outside_its_children_is_found(mean: str):
    found = between(
        mean,
        inside=(50.0, 40.0, 60.0),
        above=(60.1, 40.0, 60.0),
        below=(39.9, 40.0, 60.0),
        lone=(40.0, 40.0, None),
        without=(None, 40.0, 60.0),
        rounding=(60.0 + 5e-10, 40.0, 60.0),
        nan=(float("nan"), 40.0, 60.0),
    )
    assert found == ["above", "below", "nan"]


def test_scores_of_zero_count_as_a_millionth_where_a_mean_needs_them_above_zero():
    assert between("arithmetic", zero=(1e-6, 0.0, 0.0)) == ["zero"]
    assert between("geometric", zero=(1e-6, 0.0, 0.0), more=(2e-6, 0.0, 0.0)) == ["more"]


def test_a_copeland_score_need_not_lie_between_its_children():
    assert between("copeland", far=(-3.0, 40.0, 60.0)) == []


# -- weights -----------------------------------------------------------------------------------------------------------
def weights(**changes: float | None) -> list[tuple[str | None]]:
    rows = [row | {"weight": changes.get(str(row["node_id"]), row["weight"])} for row in WEIGHTS]
    rows = [row for row in rows if row["weight"] is not None]
    name = "weights_in_force_of_siblings_sum_to_one"
    found = breaking(name, core__framework=framework(), index__dei_weights=rows)
    return sorted(found["parent_id"], key=str)


def test_weights_in_force_that_do_not_sum_to_one_or_are_missing_are_found():
    assert weights() == []
    assert weights(a=0.4 + 5e-10) == []
    assert weights(a=0.4 + 2e-9) == ["one"]
    assert weights(a=-0.1, b=1.1) == ["one"]
    assert weights(a=None, b=1.0) == ["one"]
    assert weights(dei=0.9) == [None]
    assert weights(dei=None) == [None]
    assert weights(a=float("nan")) == ["one"]


def effective(mean: str, top: str, *trees: list[Row]) -> list[tuple[str, str]]:
    found = breaking(
        "effective_weights_of_children_add_up_to_their_parent",
        index__dei_scores=[row for rows in trees for row in rows],
        core__framework=framework(mean, top),
    )
    return sorted(found.select("region_code", "node_id").rows())


def test_effective_weights_that_do_not_add_up_are_found():
    missing = tree("110000", a={"score": None, "effective_weight": 0.0}, b={"effective_weight": 1.0})
    none = tree("120000", **{n: {"score": None, "effective_weight": None} for n in ("dei", "one", "a", "b")})
    assert effective("arithmetic", "arithmetic", tree(), missing, none) == []
    wrong = tree("130000", a={"effective_weight": 0.41})
    lost = tree("140000", a={"effective_weight": None})
    unweighted = tree("150000", dei={"effective_weight": None}, one={"effective_weight": 0.9})
    found = effective("arithmetic", "arithmetic", tree(), wrong, lost, unweighted)
    assert found == [("130000", "one"), ("140000", "one"), ("150000", "dei"), ("150000", "one")]
    assert effective("geometric", "arithmetic", wrong, lost) == []
    assert effective("geometric", "arithmetic", unweighted) == [("150000", "dei")]


def in_force(*trees: list[Row], mean: str = "arithmetic") -> list[tuple[str, str]]:
    found = breaking(
        "complete_nodes_count_with_the_weights_in_force",
        index__dei_scores=[row for rows in trees for row in rows],
        index__dei_weights=WEIGHTS,
        core__framework=framework(mean),
    )
    return sorted(found.select("region_code", "node_id").rows())


def test_a_complete_node_with_other_weights_than_those_in_force_is_found():
    swapped = tree("110000", a={"effective_weight": 0.6}, b={"effective_weight": 0.4})
    lost = tree("120000", a={"effective_weight": None})
    incomplete = [row | {"region_code": "130000", "coverage": 0.9} for row in swapped]
    assert in_force(tree(), incomplete) == []
    assert in_force(tree(), swapped, lost) == [("110000", "a"), ("110000", "b"), ("120000", "a")]
    assert in_force(swapped, mean="harmonic") == []


# -- expert weights ----------------------------------------------------------------------------------------------------
def expert(name: str, cr: float, accepted: bool, first: float = 0.4, second: float = 0.6) -> list[Row]:
    same = {"edition": "2021", "parent_id": "deci", "expert_id": name, "cr": cr, "accepted": accepted}
    return [same | {"node_id": "a", "weight": first}, same | {"node_id": "b", "weight": second}]


def test_matrices_accepted_against_their_consistency_are_found():
    name = "matrices_are_accepted_where_they_are_consistent"
    good = [*expert("E1", 0.0999, True), *expert("E2", 0.1, False), *expert("pooled", 0.02, True)]
    assert breaking(name, index__deci_expert_weights=good).is_empty()
    bad = [*expert("E3", 0.1, True), *expert("E4", 0.05, False), *expert("E5", float("nan"), True)]
    found = breaking(name, index__deci_expert_weights=[*good, *bad])
    assert sorted({key.split("|")[2] for key in found["key"]}) == ["E3", "E4", "E5"]
    assert breaking(name, index__deci_expert_weights=expert("pooled", 0.2, False)).height == 2


def test_expert_weights_that_do_not_sum_to_one_are_found():
    name = "expert_weights_of_siblings_sum_to_one"
    good = [*expert("E1", 0.0, True), *expert("E2", 0.0, True, 0.4 + 5e-10)]
    bad = [*expert("E3", 0.0, True, 0.41), *expert("E4", 0.0, True, -0.1, 1.1)]
    assert breaking(name, index__deci_expert_weights=good).is_empty()
    found = breaking(name, index__deci_expert_weights=[*good, *bad])
    assert sorted(found["key"]) == ["2021|deci|E3", "2021|deci|E4"]


# -- leaves ------------------------------------------------------------------------------------------------------------
def limit(leaf: str, rule: str = "fixed", direction: str = "positive", **numbers: float | None) -> Row:
    return {"edition": "2021", "indicator_id": leaf, "rule": rule, "direction": direction} | numbers


LIMITS = [
    limit("up", "winsorised_max", theta=200.0, cap=None),
    limit("capped", theta=200.0, cap=100.0),
    limit("down", direction="negative", theta=5.0, cap=120.0),
    limit("middle", direction="moderate", lo=0.0, best=10.0, hi=20.0, cap=None),
    limit("count", "saturation", theta=20.0, cap=100.0),
    limit("same", "identity", theta=100.0, cap=None),
    limit("z", "z_score", mean=10.0, sd=2.0, cap=60.0),
]


def leaf(city: str, leaf_id: str, raw: float | None, score: float | None, flag: str | None = None) -> Row:
    return {"region_code": city, "year": 2020, "indicator_id": leaf_id, "raw": raw, "score": score, "flag": flag}


RIGHT = [
    ("up", 200.0, 100.0),  # N3: at its threshold
    ("up", 500.0, 250.0),
    ("up", -3.0, 0.0),
    ("capped", 200.0, 100.0),
    ("capped", 500.0, 100.0),
    ("capped", 50.0, 25.0),
    ("down", 5.0, 100.0),
    ("down", 10.0, 50.0),
    ("down", 0.0, 120.0),
    ("down", 1.0, 120.0),
    ("middle", 10.0, 100.0),
    ("middle", 5.0, 50.0),
    ("middle", 16.0, 40.0),
    ("middle", -1.0, 0.0),
    ("middle", 30.0, 0.0),
    ("count", 20.0, 100.0),
    ("count", 0.0, 0.0),
    ("count", 90.0, 100.0),
    ("same", 37.5, 37.5),
    ("same", 110.0, 110.0),
    ("z", 100.0, 60.0),
    ("z", 0.0, -5.0),
]


def leaves(name: str, rows: Sequence[tuple[str, float | None, float | None]]) -> list[tuple[str, float | None]]:
    given = [leaf(f"{i:06}", *row) for i, row in enumerate(rows)]
    found = breaking(name, index__dei_normalised=given, index__thresholds=LIMITS).sort("region_code")
    return list(found.select("indicator_id", "score").rows())


def test_scores_that_values_and_thresholds_do_not_give_are_found():
    name = "leaf_scores_follow_from_values_and_thresholds"
    assert leaves(name, RIGHT) == []
    wrong = [(key, raw, score + 1e-6) for key, raw, score in RIGHT if key != "z"]
    assert leaves(name, wrong) == [(key, score) for key, _, score in wrong]
    assert leaves(name, [("up", 1.0, None), ("up", None, None), ("up", 1.0, float("nan"))])[0] == ("up", None)
    assert len(leaves(name, [("up", 1.0, None), ("up", None, None), ("up", 1.0, float("nan"))])) == 2


def test_scores_beyond_their_rule_are_found():
    name = "leaf_scores_stay_within_their_rules"
    assert leaves(name, [*RIGHT, ("up", None, None)]) == []
    wrong = [
        ("up", 1.0, -1e-12),
        ("capped", 1.0, 100.0 + 1e-12),
        ("down", 1.0, 120.5),
        ("middle", 1.0, 101.0),
        ("count", 1.0, 101.0),
        ("z", 1.0, 61.0),
    ]
    assert leaves(name, [*RIGHT, *wrong]) == [(key, score) for key, _, score in wrong]
    assert [key for key, _ in leaves(name, [("up", 1.0, float("nan")), ("z", 1.0, float("nan"))])] == ["up", "z"]


def test_leaves_with_a_value_and_no_score_or_the_reverse_are_found():
    rows = [
        leaf("1", "up", 1.0, 0.5),
        leaf("2", "up", None, None),
        leaf("3", "up", 1.0, None, "no_threshold"),
        leaf("4", "up", 1.0, None, "constant"),
        leaf("5", "up", 1.0, None),
        leaf("6", "up", 1.0, None, "capped"),
        leaf("7", "up", None, 0.5),
    ]
    assert cities(breaking("leaves_have_a_score_where_they_have_a_value", index__dei_normalised=rows)) == [
        "5",
        "6",
        "7",
    ]


# -- coverage ----------------------------------------------------------------------------------------------------------
def test_a_coverage_that_its_children_do_not_carry_is_found():
    def broken(*trees: list[Row]) -> list[tuple[str, str]]:
        rows = [row for rows in trees for row in rows]
        name = "coverage_is_the_weight_that_is_observed"
        found = breaking(name, index__dei_scores=rows, index__dei_weights=WEIGHTS)
        return sorted(found.select("region_code", "node_id").rows())

    part = tree("110000", a={"score": None, "coverage": 0.0}, one={"coverage": 0.6}, dei={"coverage": 0.6})
    gated = tree("120000", a={"coverage": 0.0}, b={"coverage": 0.5}, one={"coverage": 0.3, "score": None})
    gated = [row | ({"coverage": 0.0} if row["node_id"] == "dei" else {}) for row in gated]
    assert broken(tree(), part, gated) == []
    full = tree("130000", a={"score": None, "coverage": 0.0})
    silent = tree("140000", one={"score": None})
    assert broken(tree(), full, silent) == [("130000", "one"), ("140000", "dei")]


def test_a_score_below_the_coverage_floor_or_a_gap_above_it_is_found():
    editions = [{"index_id": "dei", "edition": "2021", "min_coverage": 0.6}]

    def broken(coverage: float, score: float | None) -> bool:
        rows = tree(one={"coverage": coverage, "score": score})
        name = "nodes_have_a_score_where_their_coverage_suffices"
        found = breaking(name, index__dei_scores=rows, core__framework=framework(), core__editions=editions)
        assert set(found["node_id"]) <= {"one"}
        return not found.is_empty()

    assert not broken(0.6, 50.0)
    assert not broken(0.6 - 5e-13, 50.0)
    assert not broken(0.59, None)
    assert broken(0.59, 50.0)
    assert broken(0.6, None)
    editions[0]["min_coverage"] = 0.0
    assert not broken(0.0, None)
    assert broken(0.0, 50.0)


# -- ranks -------------------------------------------------------------------------------------------------------------
def placed(city: str, score: float | None, rank: int | None, ranked: bool = True, year: int = 2020) -> Row:
    return {"region_code": city, "year": year, "score": score, "rank": rank, "ranked": ranked}


RANKS = [
    placed("1", 90.0, 1),
    placed("2", 80.0, 2),
    placed("3", 80.0 + 5e-11, 2),
    placed("4", 70.0, 4),
    placed("5", 95.0, None, ranked=False),
    placed("6", None, None, ranked=False),
    placed("1", 10.0, 1, year=2021),
]


@pytest.mark.parametrize(
    ("city", "change", "found"),
    [
        ("4", {"rank": 3}, ["4"]),  # 1 2 2 3 is dense
        ("2", {"score": 80.1}, ["3"]),  # equal ranks of unequal scores
        ("4", {"score": 85.0}, ["4"]),  # a better score behind
        ("4", {"score": 80.0}, ["4"]),  # an equal score behind
        ("1", {"rank": 2}, ["1", "2", "3"]),
        ("5", {"rank": 1}, ["5"]),  # a rank without being ranked
        ("4", {"rank": None}, ["4"]),
        ("4", {"score": None}, ["4"]),
    ],
)
def test_ranks_that_do_not_follow_the_scores_are_found(city: str, change: Row, found: list[str]):
    name = "ranks_follow_the_scores"
    assert breaking(name, index__dei_ranks=RANKS).is_empty()
    rows = [row | (change if row["region_code"] == city and row["year"] == 2020 else {}) for row in RANKS]
    assert cities(breaking(name, index__dei_ranks=rows)) == found


def of_node(city: str, score: float, rank: int, **groups: object) -> Row:
    row = {"region_code": city, "year": 2020, "node_id": "one", "level": 1, "score": score, "rank": rank, "cities": 4}
    return row | {"zone_id": "east", "zone_rank": rank, "province_code": None, "province_rank": None} | groups


NODE_RANKS = [
    of_node("1", 90.0, 1),
    of_node("2", 80.0, 2, province_code="320000", province_rank=1),
    of_node("3", 80.0, 2, zone_id="west", zone_rank=1, province_code="320000", province_rank=1),
    of_node("4", 70.0, 4, zone_rank=3, province_code="320000", province_rank=3),
]


@pytest.mark.parametrize(
    ("city", "change", "found"),
    [
        ("4", {"rank": 3}, ["4"]),
        ("4", {"score": 85.0}, ["4"]),
        ("2", {"score": 80.1}, ["3"]),
        ("4", {"cities": 3}, ["4"]),
        ("4", {"zone_rank": 4}, ["4"]),
        ("4", {"zone_rank": None}, ["4"]),
        ("4", {"province_rank": 2}, ["4"]),
        ("1", {"province_rank": 1}, ["1"]),
    ],
)
def test_node_ranks_that_do_not_follow_the_scores_are_found(city: str, change: Row, found: list[str]):
    name = "node_ranks_follow_the_scores"
    assert breaking(name, index__dei_node_ranks=NODE_RANKS).is_empty()
    rows = [row | (change if row["region_code"] == city else {}) for row in NODE_RANKS]
    assert cities(breaking(name, index__dei_node_ranks=rows)) == found


# -- tiers_partition_the_ranked_cities ---------------------------------------------------------------------------------
TIERS = [
    {"index_id": "dei", "edition": "2021", "tier_id": "high", "lower": 85.0, "upper": None},
    {"index_id": "dei", "edition": "2021", "tier_id": "middle", "lower": 25.0, "upper": 85.0},
    {"index_id": "dei", "edition": "2021", "tier_id": "low", "lower": None, "upper": 25.0},
    {"index_id": "other", "edition": "2021", "tier_id": "high", "lower": 0.0, "upper": None},
]


def ranked(city: str, score: float | None, tier: str | None, is_ranked: bool = True) -> dict[str, object]:
    return {"region_code": city, "year": 2020, "score_published": score, "tier_id": tier, "ranked": is_ranked}


def test_cities_in_the_wrong_tier_or_in_none_are_found():
    good = [
        ranked("1", 100.0, "high"),
        ranked("2", 85.0, "high"),
        ranked("3", 84.9, "middle"),
        ranked("4", 25.0, "middle"),
        ranked("5", 0.0, "low"),
        ranked("6", None, None, is_ranked=False),
    ]
    bad = [ranked("7", 85.0, "middle"), ranked("8", 24.9, "middle"), ranked("9", None, "low"), ranked("a", 50.0, None)]
    name = "tiers_partition_the_ranked_cities"
    assert breaking(name, index__dei_ranks=good, core__tiers=TIERS).is_empty()
    found = breaking(name, index__dei_ranks=[*good, *bad], core__tiers=TIERS)
    assert sorted(found["region_code"]) == ["7", "8", "9", "a"]


def test_tiers_with_a_gap_or_an_overlap_are_found():
    gap = [row | ({"upper": 20.0} if row["tier_id"] == "low" else {}) for row in TIERS]
    overlap = [row | ({"lower": 80.0} if row["tier_id"] == "high" else {}) for row in TIERS]
    cities = [ranked("1", 22.0, "low"), ranked("2", 82.0, "middle"), ranked("3", 90.0, "high")]
    name = "tiers_partition_the_ranked_cities"
    for tiers, broken in ((gap, ["1"]), (overlap, ["2"])):
        rows = [city for city in cities if city["region_code"] != "12".replace(broken[0], "")]
        found = breaking(name, index__dei_ranks=rows, core__tiers=tiers)
        assert found["region_code"].to_list() == broken


def test_an_index_without_tiers_has_no_city_in_the_wrong_one():
    name, other = "tiers_partition_the_ranked_cities", [row | {"index_id": "other"} for row in TIERS[:3]]
    assert breaking(name, index__dei_ranks=[ranked("1", 50.0, None)], core__tiers=other).is_empty()


# -- types -------------------------------------------------------------------------------------------------------------
def test_cities_without_a_type_or_with_one_they_should_not_have_are_found():
    def typed(city: str, rank: int) -> Row:
        return {"region_code": city, "year": 2020, "type_id": "leading", "rank": rank}

    ranks = [placed("1", 90.0, 1), placed("2", 80.0, 2), placed("3", None, None, ranked=False)]
    name = "every_ranked_city_has_exactly_one_type"

    def broken(*types: Row) -> list[str]:
        return cities(breaking(name, index__deci_types=list(types), index__deci_ranks=ranks))

    assert broken(typed("1", 1), typed("2", 2)) == []
    assert broken(typed("1", 1)) == ["2"]
    assert broken(typed("1", 1), typed("2", 3)) == ["2"]
    assert broken(typed("1", 1), typed("2", 2), typed("2", 2)) == ["2"]
    assert broken(typed("1", 1), typed("2", 2), typed("3", 3), typed("4", 4)) == ["3", "4"]


# -- robustness --------------------------------------------------------------------------------------------------------
def test_tier_probabilities_that_do_not_sum_to_one_are_found():
    def chance(city: str, **events: float) -> list[Row]:
        same = {"region_code": city, "year": 2020}
        return [same | {"event": event.replace("_", ":"), "probability": p} for event, p in events.items()]

    good = [*chance("1", tier_high=0.1, tier_low=0.9, top_3=0.5), *chance("2", top_3=0.2)]
    bad = [*chance("3", tier_high=0.1, tier_low=0.8, top_3=0.1), *chance("4", tier_high=0.6, tier_low=0.6)]
    name = "tier_probabilities_of_a_city_sum_to_one"
    assert breaking(name, index__dei_probabilities=good).is_empty()
    assert cities(breaking(name, index__dei_probabilities=[*good, *bad])) == ["3", "4"]


def test_intervals_out_of_order_or_beyond_the_ranks_are_found():
    def interval(city: str, *ranks: float | None, scores: tuple[float | None, ...] = (1.0, 2.0, 3.0)) -> Row:
        names = [f"{of}_{at}" for of in ("rank", "score") for at in ("p05", "median", "p95")]
        return {"region_code": city, "year": 2020} | dict(zip(names, (*ranks, *scores), strict=True))

    good = [
        interval("1", 1.0, 1.0, 1.0),
        interval("2", 1.0, 2.5, 7.0),
        interval("3", None, None, None, scores=(None, None, None)),
    ]
    bad = [
        interval("4", 0.5, 1.0, 2.0),
        interval("5", 1.0, 2.0, 7.5),
        interval("6", 3.0, 2.0, 4.0),
        interval("7", 1.0, 2.0, 3.0, scores=(1.0, 4.0, 3.0)),
    ]
    name = "intervals_of_ranks_and_scores_are_in_order"
    assert cities(breaking(name, index__dei_robustness=[*good, *bad])) == ["4", "5", "6", "7"]
    assert breaking(name, index__dei_robustness=[*good, *(interval(str(i), 1.0, 2.0, 3.0) for i in "4567")]).is_empty()
