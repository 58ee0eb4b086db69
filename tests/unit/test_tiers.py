"""Rounding as readers round, tiers, ranks, evenness; the report's own tables through `dei_tier`."""

from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dei_pipeline
from dei_pipeline.errors import MethodError
from dei_pipeline.methods.framework import packaged
from dei_pipeline.methods.tiers import competition_rank, dei_tier, evenness, round_half_up, tier

PUBLISHED = Path(dei_pipeline.__file__).parent / "reference" / "published"
points = st.floats(0, 100)


def decimal_half_up(x: float, decimals: int) -> float:
    quantised = Decimal(x).quantize(Decimal("1e-9"))
    return float(quantised.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP))


@pytest.mark.parametrize(
    ("x", "expected"),
    [(0.25, 0.3), (84.94999999999999, 85.0), (84.94, 84.9), (2.675, 2.7), (-0.25, -0.3), (1e12 + 0.25, 1e12 + 0.3)],
)
def test_rounding_is_decimal_half_up(x, expected):
    assert round_half_up(x, 1) == expected


@given(st.integers(-(10**7), 10**7), st.integers(0, 4), st.integers(-3, 3))
def test_rounding_agrees_with_decimal_arithmetic_around_every_half(steps, decimals, ulps):
    x = steps / (2 * 10**decimals)
    for _ in range(abs(ulps)):
        x = float(np.nextafter(x, np.inf if ulps > 0 else -np.inf))
    assert round_half_up(x, decimals) == decimal_half_up(x, decimals)


def test_rounding_keeps_shape_and_missing():
    assert isinstance(round_half_up(0.25), float)
    np.testing.assert_equal(round_half_up([[0.05, np.nan]], 1), [[0.1, np.nan]])
    with pytest.raises(MethodError):
        round_half_up(1.0, 10)


def test_published_tiers_follow_from_published_scores():
    table = pl.read_csv(PUBLISHED / "published_dei_scores.csv")
    tiers = dei_tier(table["score"].to_numpy())
    assert tiers.tolist() == table["tier_id"].to_list()
    published = packaged("dei").published
    by_tier = (
        table.with_columns(pl.Series("tier", tiers.tolist())).group_by("tier").agg(pl.len(), pl.col("score").mean())
    )
    assert {t: n for t, n, _ in by_tier.iter_rows()} == published["tier_counts"] == {
        "tier1": 6, "tier1_new": 47, "tier2": 71, "tier3": 88, "tier4": 30,
    }  # fmt: skip
    assert {t: round_half_up(mean, 1) for t, _, mean in by_tier.iter_rows()} == published["tier_means"]
    assert round_half_up(table["score"].mean(), 1) == published["mean"] == 53.4


def test_published_tier_table_agrees_with_the_framework():
    table = pl.read_csv(PUBLISHED / "tiers.csv")
    assert dei_tier(table["score"].to_numpy()).tolist() == table["tier_id"].to_list()
    printed = table.select("tier_id", "tier_name_zh", pl.col("lower_inclusive").cast(pl.Float64)).unique(
        maintain_order=True
    )
    assert printed.rows() == packaged("dei").tiers.select("tier_id", "name_zh", "lower").rows()


@given(points)
def test_t1_the_tier_is_a_function_of_the_published_score(score):
    assert dei_tier(score) == dei_tier(round_half_up(score, 1))
    assert dei_tier(score) in packaged("dei").tiers["tier_id"].to_list()


def test_tiers_of_missing_scores_and_missing_tiers():
    assert dei_tier(float("nan")) is None
    assert dei_tier([90, np.nan]).tolist() == ["tier1", None]
    with pytest.raises(MethodError):
        tier([1.0], packaged("dei").tiers.clear())


@given(st.lists(st.one_of(points, st.just(float("nan"))), max_size=30), st.randoms())
def test_r1_ranks_order_scores_and_ignore_the_order_of_rows(scores, random):
    ranks = competition_rank(scores)
    quantised = [round(s * 1e10) if s == s else None for s in scores]
    for i, a in enumerate(quantised):
        expected = 0 if a is None else 1 + sum(b is not None and b > a for b in quantised)
        assert ranks[i] == expected
    order = list(range(len(scores)))
    random.shuffle(order)
    assert competition_rank([scores[i] for i in order]).tolist() == [ranks[i] for i in order]


def test_a_difference_below_1e_10_is_a_tie():
    assert competition_rank([70, 70 + 1e-12, 60]).tolist() == [1, 1, 3]


@given(st.lists(points, min_size=2, max_size=8))
def test_evenness_is_a_score(v):
    for kind in ("gini", "pielou", "coverage", "mixed"):
        assert 0 <= evenness(v, kind) <= 100
        assert evenness(v, kind) == evenness(sorted(v), kind)
    n = len(v)
    if sum(v) > 1e-3:
        gini = sum(abs(a - b) for a in v for b in v) / (2 * n * sum(v))
        assert evenness(v) == pytest.approx(100 * (1 - gini), abs=1e-8)
        assert evenness(v, "mixed") == pytest.approx((evenness(v) + evenness(v, "coverage")) / 2)


def test_governance_mixes_coverage_and_gini_half_and_half():
    assert evenness([80, 80, 40, 0], "coverage") == 75
    assert evenness([80, 80, 40, 0], "mixed") == pytest.approx((75 + 65) / 2)
    assert evenness([0, 0], "mixed") == 0


def test_null_areas_need_sixty_percent_of_the_weight():
    nan = float("nan")
    assert evenness([50, 50, 50, nan, nan]) == 100
    assert np.isnan(evenness([50, 50, nan, nan, nan]))
    assert np.isnan(evenness([nan, nan]))
    assert evenness([50, 50, nan, nan], weights=[2, 1, 1, 1]) == 100
    rows = evenness([[80, 80, 40, 0], [80, 80, 40, nan], [nan, nan, 1, 1]])
    np.testing.assert_allclose(rows, [65, 100 * (1 - 80 / 600), np.nan])


def test_evenness_failures():
    for call in (
        lambda: evenness([-1, 2]),
        lambda: evenness([1, 2], "variance"),
        lambda: evenness([1, 2], weights=[1]),
    ):
        with pytest.raises(MethodError):
            call()
