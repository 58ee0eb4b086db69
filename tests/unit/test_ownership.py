"""Effective shares, control closures, cycles and the reasons for control."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import chains
from dei_pipeline.methods.ownership import (
    closed_groups,
    controlled,
    cycles,
    effective_shares,
    look_through,
    network,
    why,
)


def holdings(*rows: tuple[str, str, float]) -> pl.DataFrame:
    schema = {"holder_id": pl.String, "held_id": pl.String, "share": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def members(*rows: tuple[str, str, float], root: str = "r", threshold: float = 0.5) -> list[str]:
    return sorted(controlled(holdings(*rows), root, threshold)["company_id"])


@st.composite
def registers(draw: st.DrawFn) -> pl.DataFrame:
    """Holdings among 2 to 9 companies with cycles; the shares of a company sum to at most 0.98."""
    n = draw(st.integers(2, 9))
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=24, unique=True))
    weights = draw(st.lists(st.integers(1, 100), min_size=len(chosen), max_size=len(chosen)))
    sold = draw(st.lists(st.integers(1, 98), min_size=n, max_size=n))
    total = {j: sum(w for (_, k), w in zip(chosen, weights, strict=True) if k == j) for _, j in chosen}
    return holdings(
        *((f"c{i}", f"c{j}", w / total[j] * sold[j] / 100) for (i, j), w in zip(chosen, weights, strict=True))
    )


def dense(frame: pl.DataFrame, root: str) -> dict[str, float]:
    """N[r, :]/N[r, r] by a dense inverse."""
    ids = sorted({*frame["holder_id"], *frame["held_id"]})
    d = np.zeros((len(ids), len(ids)))
    for holder, held, share in frame.iter_rows():
        d[ids.index(holder), ids.index(held)] = share
    n = np.linalg.inv(np.eye(len(ids)) - d)[ids.index(root)]
    return dict(zip(ids, n / n[ids.index(root)], strict=True))


# -- effective shares --------------------------------------------------------------------------------------------------
def test_a_chain_multiplies_and_two_ways_add():
    found = effective_shares(holdings(("r", "a", 0.6), ("a", "b", 0.5), ("r", "b", 0.25)), "r")
    assert dict(found.iter_rows()) == pytest.approx({"a": 0.6, "b": 0.55, "r": 1.0})


def test_a_loop_adds_a_geometric_series():
    # a and b hold 0.5 and 0.2 of each other: the way r, a, b, a, b … sums to 0.4·0.5/(1 − 0.1).
    found = effective_shares(holdings(("r", "a", 0.4), ("a", "b", 0.5), ("b", "a", 0.2)), "r")
    assert dict(found.iter_rows()) == pytest.approx({"a": 0.4 / 0.9, "b": 0.2 / 0.9, "r": 1.0})


def test_treasury_shares_left_in_make_the_other_shares_count_for_more():
    found = effective_shares(holdings(("r", "a", 0.4), ("a", "a", 0.2)), "r")
    assert dict(found.iter_rows())["a"] == pytest.approx(0.5)


@given(registers())
@settings(deadline=None)
def test_effective_shares_lie_between_0_and_1_and_are_those_of_the_dense_inverse(frame):
    root = frame["holder_id"].min()
    found = dict(effective_shares(frame, root).iter_rows())
    expected = dense(frame, root)
    assert all(0 < share <= 1 for share in found.values())
    assert {name: found.get(name, 0.0) for name in expected} == pytest.approx(expected, rel=1e-8, abs=1e-14)


@given(registers())
@settings(deadline=None, max_examples=50)
def test_wide_levels_and_large_groups_are_solved_to_the_same_shares(frame):
    root = frame["holder_id"].min()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "WIDE", 1)
        patch.setattr(chains, "LARGE", 1)
        found = dict(effective_shares(frame, root).iter_rows())
    assert found == pytest.approx(dict(effective_shares(frame, root).iter_rows()), abs=1e-8)


def test_the_shares_of_a_root_in_a_group_that_owns_all_of_itself_are_those_without_loops_through_it():
    # r ↔ s, s ↔ t: of t's shares half go back to s; 0.9 of u, and 0.5 of v through t.
    rows = (("r", "s", 0.4), ("s", "r", 1.0), ("t", "s", 0.6), ("s", "t", 1.0), ("r", "u", 0.9), ("t", "v", 0.5))
    closed = holdings(*rows)
    found = dict(effective_shares(closed, "r").iter_rows())
    assert found == pytest.approx({"r": 1.0, "s": 1.0, "t": 1.0, "u": 0.9, "v": 0.5})
    assert dict(effective_shares(closed, "t").iter_rows()) == pytest.approx(
        {"t": 1.0, "s": 1.0, "r": 1.0, "u": 0.9, "v": 0.5}
    )
    almost = holdings(*((i, j, share * (1 - 1e-7) if j == "r" else share) for i, j, share in rows))
    assert found == pytest.approx(dense(almost, "r"), abs=1e-6)  # what the limit gives
    assert closed_groups(closed, ["r", "t", "u"]) == {"r": ["r", "s", "t"], "t": ["r", "s", "t"]}


@given(registers())
@settings(deadline=None, max_examples=50)
def test_a_group_that_owns_all_of_itself_leaves_the_shares_of_other_roots_alone(frame):
    root = frame["holder_id"].min()
    ring = holdings(("x", "y", 1.0), ("y", "x", 1.0), ("x", "z", 0.8), ("z", frame["held_id"].max(), 1e-12))
    both = look_through(pl.concat([frame, ring]), [root, "x"])
    assert_frame_equal(both.filter(root_id=root), look_through(frame, [root]))
    mine = both.filter(root_id="x")
    assert mine.filter("controlled").select("company_id", "effective_share", "step").rows() == [
        ("y", 1.0, 1), ("z", pytest.approx(0.8), 1),
    ]  # fmt: skip


def test_what_is_held_from_outside_of_a_closed_group_is_rounding():
    frame = holdings(("r", "a", 0.6), ("r", "p", 5e-10), ("p", "q", 1.0), ("q", "p", 1 - 5e-10), ("q", "b", 0.9))
    found = look_through(frame, ["r"])
    assert found.select("company_id", "effective_share").rows() == [("a", pytest.approx(0.6))]
    assert closed_groups(frame, ["r"]) == {}


def test_a_large_group_that_is_almost_closed_is_an_error_and_no_wrong_number(monkeypatch):
    monkeypatch.setattr(chains, "LARGE", 1)
    monkeypatch.setattr(chains, "MAX_ROUNDS", 10)
    frame = holdings(("r", "a", 1e-7), ("b", "a", 1 - 1e-7), ("a", "b", 1.0))
    with pytest.raises(MethodError, match=r"group of 2 companies around a is almost wholly owned"):
        effective_shares(frame, "r")


def test_rounding_of_printed_shares_is_scaled_away_and_more_is_an_error():
    frame = holdings(("r", "a", 0.6), ("x", "a", 0.4 + 5e-7))
    assert network(frame).shares.sum() == pytest.approx(1.0, abs=1e-15)
    with pytest.raises(MethodError, match=r"shares of a sum to 1\.1"):
        network(holdings(("r", "a", 0.6), ("x", "a", 0.5)))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan"), float("inf"), None])
def test_a_share_that_is_none_is_an_error(share):
    with pytest.raises(MethodError, match=r"r holds .* of a; give two ids and a share above 0, at most 1"):
        network(holdings(("r", "a", share)))


def test_unknown_roots_doubles_and_empty_registers_are_errors():
    frame = holdings(("r", "a", 0.6))
    with pytest.raises(MethodError, match="«z» occurs in no holding"):
        controlled(frame, "z")
    with pytest.raises(MethodError, match="r holds a twice"):
        network(pl.concat([frame, holdings(("r", "a", 0.1))]))
    with pytest.raises(MethodError, match="there are no holdings"):
        network(frame.clear())
    with pytest.raises(MethodError, match="2 roots, 1 different"):
        look_through(frame, ["r", "r"])
    with pytest.raises(MethodError, match=r"control threshold 0\.4"):
        controlled(frame, "r", 0.4)


# -- control -----------------------------------------------------------------------------------------------------------
def test_half_does_not_control_and_rounding_cannot_make_it():
    assert members(("r", "a", 0.5)) == ["r"]
    assert members(("r", "a", 0.5 + 1e-10)) == ["r"]
    assert members(("r", "a", 0.5 + 1e-8)) == ["a", "r"]


def test_members_control_jointly_what_none_controls_alone():
    rows = (("r", "a", 0.6), ("r", "b", 0.6), ("a", "d", 0.3), ("b", "d", 0.3))
    assert members(*rows) == ["a", "b", "d", "r"]
    assert members(*rows[1:]) == ["b", "r"]


def test_a_company_that_only_its_own_subsidiaries_hold_is_not_controlled():
    assert members(("a", "b", 0.9), ("b", "a", 0.9), ("r", "a", 0.1)) == ["r"]


def test_each_member_says_when_it_joined_and_through_whom():
    frame = holdings(("r", "a", 0.6), ("a", "b", 0.3), ("r", "b", 0.3), ("b", "c", 0.8), ("c", "a", 0.2))
    found = controlled(frame, "r")
    assert found.drop("votes").rows() == [("r", 0, None), ("a", 1, "r"), ("b", 2, "a"), ("c", 3, "b")]
    assert found["votes"].to_list() == pytest.approx([0.0, 0.8, 0.6, 0.8])


@given(registers(), st.randoms(use_true_random=False), st.sampled_from([0.5, 0.6, 0.75]))
@settings(deadline=None)
def test_closures_are_the_least_fixed_point_whatever_the_order_and_grow_with_the_edges(frame, random, threshold):
    root = frame["holder_id"].min()
    rows = frame.rows()
    found = set(members(*rows, root=root, threshold=threshold))
    own = {root}
    while more := {
        j for j in frame["held_id"] if j not in own
        and sum(s for i, k, s in rows if k == j and i in own) > threshold + 1e-9
    }:  # fmt: skip
        own |= more
    assert found == own
    random.shuffle(rows)
    assert set(members(*rows, root=root, threshold=threshold)) == found
    fewer = [row for row in rows if row != rows[0]]
    if any(root in row[:2] for row in fewer):
        assert set(members(*fewer, root=root, threshold=threshold)) <= found


@given(registers())
@settings(deadline=None)
def test_many_roots_at_once_give_what_each_gives_alone(frame):
    roots = frame["holder_id"].unique().sort().to_list()
    both = look_through(frame, roots, at_least=0.3)
    for root in roots:
        mine = both.filter(root_id=root)
        closure = controlled(frame, root).filter(pl.col("company_id") != root).sort("company_id")
        assert_frame_equal(mine.filter("controlled").select(closure.columns), closure)
        shares = dict(effective_shares(frame, root).iter_rows())
        assert dict(mine.select("company_id", "effective_share").iter_rows()) == pytest.approx(
            {name: shares.get(name, 0.0) for name in mine["company_id"]}
        )
        unlisted = shares.keys() - set(mine["company_id"]) - {root}
        assert all(shares[name] <= 0.3 + 1e-8 for name in unlisted)


def test_what_is_owned_by_more_than_half_without_control_is_listed_as_such():
    frame = holdings(("r", "a", 0.45), ("a", "b", 0.5), ("r", "b", 0.3))
    (row,) = look_through(frame, ["r"]).rows(named=True)
    assert (row["company_id"], row["controlled"], row["step"], row["via_id"]) == ("b", False, None, None)
    assert (row["effective_share"], row["votes"]) == pytest.approx((0.525, 0.3))


def test_the_reason_for_control_is_the_fewest_holdings_up_to_the_root():
    rows = (("r", "a", 0.6), ("r", "b", 0.6), ("a", "d", 0.3), ("b", "d", 0.25), ("r", "d", 0.05), ("d", "e", 1.0))
    frame = holdings(*rows)
    closure = controlled(frame, "r")
    assert why(frame, closure, "e").rows() == [
        ("e", 3, "d", 1.0), ("d", 2, "a", 0.3), ("d", 2, "b", 0.25), ("a", 1, "r", 0.6), ("b", 1, "r", 0.6),
    ]  # fmt: skip
    assert why(frame, closure, "r").height == 0
    with pytest.raises(MethodError, match="z is not controlled"):
        why(frame, closure, "z")


# -- what is wrong in a register ---------------------------------------------------------------------------------------
def test_companies_on_cycles_are_grouped():
    frame = holdings(("a", "b", 0.1), ("b", "c", 0.1), ("c", "a", 0.1), ("c", "d", 0.9), ("e", "e", 0.1))
    assert cycles(frame).rows() == [
        ("a", "a", 3, False), ("b", "a", 3, False), ("c", "a", 3, False), ("e", "e", 1, True),
    ]  # fmt: skip
    assert cycles(frame.clear()).is_empty()


@given(registers())
@settings(deadline=None)
def test_a_company_is_on_a_cycle_exactly_if_a_walk_leads_back_to_it(frame):
    ids = sorted({*frame["holder_id"], *frame["held_id"]})
    reached = np.zeros((len(ids), len(ids)), dtype=bool)
    for holder, held, _ in frame.iter_rows():
        reached[ids.index(holder), ids.index(held)] = True
    for _ in ids:
        reached |= reached @ reached
    assert set(cycles(frame)["company_id"]) == {name for i, name in enumerate(ids) if reached[i, i]}
