"""From rows of registers to holdings: who is who, which list counts, what is set aside, lineage."""

import datetime
from typing import Any

import polars as pl
import pytest

from dei_pipeline.errors import ContractError
from dei_pipeline.methods.holdings import holdings
from tests.registers import DAY, FORMS, code, complete, held, register, used


def test_holders_and_companies_are_resolved_and_owners_outside_keep_their_name():
    known = register({"name": "甲有限公司", "credit_code": code(1)}, {"name": "乙股份有限公司", "also_named": "乙股份"})
    table = holdings(
        held(
            {"holder_code": code(1), "held_label": "乙股份", "share": 0.6},
            ("张三", "甲有限责任公司", 0.3),
            ("DBS Nominees (Private) Limited", "丙有限公司", 0.2),
        ),
        known,
        FORMS,
    )
    assert table.frame.select("holder_id", "held_id", "holder_how", "held_how", "nominee").rows() == [
        (code(1), "name:乙 股份有限公司", "code", "alias", False),
        ("name:DBSNOMINEES PTE LTD", "name:丙 有限公司", "unregistered", "unregistered", True),
        ("name:张三", code(1), "unregistered", "name", False),
    ]
    assert table.frame["holder_name"].to_list() == ["甲有限公司", "DBS Nominees (Private) Limited", "张三"]
    complete(table, ["holder_id", "held_id", "as_of"])
    assert table.notes["holders_by"] == {"code": 1, "unregistered": 2}


def test_without_a_register_of_companies_names_are_ids():
    table = holdings(held(("甲", "乙", 0.6)), None, FORMS)
    assert used(table) == [("name:甲", "name:乙", 0.6, "counted")]


def test_accounts_of_one_list_are_summed_and_another_list_repeats_or_is_set_aside():
    later = {"edition": "2021", "source_cell": f"{'b' * 12}/t!C2"}
    again = {"edition": "2020", "source_cell": f"{'c' * 12}/u!C3"}
    pair = {"holder_label": "甲", "held_label": "乙"}
    table = holdings(
        held(
            pair | {"share": 0.2},
            pair | {"share": 0.1},
            pair | {"share": 0.3} | later,
            pair | {"share": 0.5} | again,
        ),
        None,
        FORMS,
    )
    assert used(table) == [("name:甲", "name:乙", 0.3, "counted")]
    roles = dict(table.edges.select("parent_key", "role").iter_rows())
    assert roles[later["source_cell"]] == "share"
    assert sorted(roles.values()) == ["repeat", "repeat", "share"]
    (aside,) = table.quarantine.to_dicts()
    assert aside["reason"] == f"another list says 30.0 % ({later['source_cell']}), which counts"
    assert (aside["sheet"], aside["cell"]) == ("u", "C3")


def test_self_holdings_and_impossible_sums_are_marked_and_kept():
    table = holdings(held(("甲", "甲", 0.1), ("乙", "甲", 0.9), ("乙", "丙", 0.7), ("丁", "丙", 0.31)), None, FORMS)
    assert used(table) == [
        ("name:丁", "name:丙", 0.31, "over_held"),
        ("name:乙", "name:丙", 0.7, "over_held"),
        ("name:乙", "name:甲", 0.9, "counted"),
        ("name:甲", "name:甲", 0.1, "self_holding"),
    ]
    assert table.notes["over_held"] == ["丙 101 %"]
    assert table.notes["self_holdings"] == 1


def test_an_undated_list_takes_the_one_date_of_the_registers_or_is_set_aside():
    undated = held({"holder_label": "甲", "held_label": "乙", "share": 0.6, "as_of": None, "as_of_from": None})
    table = holdings(undated, register({"name": "乙"}), FORMS)
    assert table.frame.select("as_of", "as_of_from").row(0) == (DAY, "register")
    two = register({"name": "乙"}, {"name": "丙", "as_of": datetime.date(2019, 12, 31)})
    with pytest.raises(ContractError, match=r"no date is stated, and the registers of companies have several dates"):
        holdings(undated, two, FORMS)
    with pytest.raises(ContractError, match=r"no date is stated, and no register of companies has one; state the year"):
        holdings(undated, None, FORMS)


def test_names_that_can_mean_several_companies_are_set_aside():
    known = register({"name": "甲有限公司"}, {"name": "甲股份有限公司"})
    table = holdings(held(("甲", "乙", 0.6), ("乙", "甲有限公司", 0.6)), known, FORMS)
    assert used(table) == [("name:乙", "name:甲 有限公司", 0.6, "counted")]
    assert table.quarantine["reason"].to_list() == ["«甲» can mean name:甲 有限公司, name:甲 股份有限公司"]


# -- who is in no register ---------------------------------------------------------------------------------------------
ROOT = register({"name": "根", "root": "unspecified"})


def chain(first: dict[str, Any], then: str, *more: dict[str, Any]) -> list[tuple[str, str]]:
    """Ids of 根 → middle → 末 有限公司, where the second row names the middle `then`."""
    last = {"holder_label": then, "held_label": "末有限公司", "share": 0.9}
    table = holdings(held({"holder_label": "根", "share": 0.8} | first, last, *more), ROOT, FORMS)
    complete(table, ["holder_id", "held_id", "as_of"])
    assert table.quarantine.height == 0
    assert set(table.frame["held_how"]) == {"unregistered"}
    return table.frame.sort("share").select("holder_id", "held_id").rows()


@pytest.mark.parametrize(
    ("first", "then", "middle"),
    [
        ({"held_label": "中间有限公司", "held_code": code(7)}, "中间有限公司", code(7)),
        ({"held_label": "中间", "held_code": "000858.SZ"}, "中间有限公司", "name:中间"),
        ({"held_label": "中间有限公司"}, "中间", "name:中间 有限公司"),
        ({"held_label": "中间"}, "中间有限公司", "name:中间 有限公司"),
    ],
)
def test_a_company_in_no_register_is_one_by_what_the_lists_say_of_it(first, then, middle):
    assert chain(first, then) == [("name:根", middle), (middle, "name:末 有限公司")]


def test_a_code_that_only_a_list_states_is_the_company_of_the_name_beside_it():
    known = register({"name": "甲有限公司"})
    table = holdings(
        held(
            {"holder_label": "甲有限公司", "holder_code": code(3), "held_label": "乙", "share": 0.6},
            {"holder_code": code(3), "held_label": "丙", "share": 0.6},
            {"holder_label": "甲科技(原甲)", "holder_code": code(3), "held_label": "丁", "share": 0.6},
            ("甲科技(原甲)", "戊", 0.6),
        ),
        known,
        FORMS,
    )
    assert set(table.frame["holder_id"]) == {"name:甲 有限公司"}
    assert table.notes["holders_by"] == {"alias": 1, "code": 2, "name": 1}


def test_a_name_of_several_companies_of_the_lists_is_set_aside():
    table = holdings(
        held(
            {"holder_label": "平安", "holder_code": "000001", "held_label": "乙", "share": 0.6},
            {"holder_label": "平安", "holder_code": "601318", "held_label": "丙", "share": 0.6},
            ("平安", "丁", 0.6),
            ("中间有限公司", "戊", 0.6), ("中间股份有限公司", "戊", 0.3), ("中间", "己", 0.6),
        ),
        None,
        FORMS,
    )  # fmt: skip
    assert sorted(table.quarantine["reason"]) == [
        "«中间» can mean name:中间 有限公司, name:中间 股份有限公司", "«平安» can mean code:000001, code:601318",
    ]  # fmt: skip
    assert set(table.frame["holder_id"]) == {
        "code:000001",
        "code:601318",
        "name:中间 有限公司",
        "name:中间 股份有限公司",
    }


def test_codes_are_compared_in_normal_width():
    known = register({"name": "甲有限公司", "own_code": "０００８５８"})
    table = holdings(held({"holder_code": "000858．SZ", "held_label": "乙", "share": 0.6}), known, FORMS)
    assert table.frame.select("holder_id", "holder_how").row(0) == ("name:甲 有限公司", "code")


def test_a_holding_comes_from_the_rows_that_say_who_and_when_too():
    plain = {"name": "甲有限公司", "as_of": DAY, "source_cell": f"{'b' * 12}/r!A1"}
    coded = plain | {"credit_code": code(1), "as_of": None, "source_cell": f"{'b' * 12}/r!A2"}
    share = [f"{'c' * 12}/s!C{at}" for at in (1, 2)]
    first = {"held_label": "乙有限公司", "held_code": code(2), "as_of": None, "as_of_from": None, "share": 0.6}
    then = {"holder_label": "乙有限公司", "held_label": "丙", "share": 0.6, "source_cell": share[1]}
    table = holdings(
        held({"holder_label": "甲有限公司", "source_cell": share[0]} | first, then), register(plain, coded), FORMS
    )
    assert table.frame["holder_id"].to_list() == [code(1), code(2)]
    edges = table.edges.select("child_key", "parent_table", "parent_key", "role").rows()
    one, two = f"{code(1)}|{code(2)}|{DAY}", f"{code(2)}|name:丙|{DAY}"
    assert sorted(edges) == [
        (one, "staging/company_records", plain["source_cell"], "date"),
        (one, "staging/company_records", coded["source_cell"], "identity"),
        (one, "staging/holding_records", share[0], "share"),
        (two, "staging/holding_records", share[0], "identity"),
        (two, "staging/holding_records", share[1], "share"),
    ]


# -- which list counts -------------------------------------------------------------------------------------------------
MARCH, JUNE = datetime.date(2020, 3, 1), datetime.date(2020, 6, 30)
LATER = f"{'b' * 12}/t!C"  # cells of another list


def uses(*given: dict[str, Any] | tuple[str, str, float]) -> dict[tuple[str, str], str]:
    table = holdings(held(*given), None, FORMS)
    found = table.frame.select("holder_name", pl.col("as_of").cast(pl.String), "use").rows()
    assert table.notes["superseded"] == sum(use == "superseded" for *_, use in found)
    return {(name, day): use for name, day, use in found}


def test_the_dates_of_one_list_are_those_of_its_holdings_and_all_in_force():
    base = {"held_label": "X", "share": 0.4}
    found = uses(
        base | {"holder_label": "甲", "as_of": MARCH, "share": 0.5},
        base | {"holder_label": "乙", "as_of": JUNE},
        base | {"holder_label": "甲", "share": 0.6},
    )
    assert found == {
        ("甲", "2020-03-01"): "superseded",
        ("甲", "2020-12-31"): "counted",
        ("乙", "2020-06-30"): "counted",
    }


def test_a_later_list_of_a_company_replaces_the_earlier_one_as_a_whole():
    base = {"held_label": "X", "share": 0.6, "as_of": JUNE}
    later = {"holder_label": "乙", "held_label": "X", "share": 0.9, "source_cell": f"{LATER}2"}
    other = {"holder_label": "甲", "held_label": "Y", "share": 0.6, "as_of": MARCH}
    found = uses(base | {"holder_label": "甲"}, base | {"holder_label": "丙", "share": 0.4}, later, other)
    assert found == {
        ("甲", "2020-06-30"): "superseded", ("丙", "2020-06-30"): "superseded", ("乙", "2020-12-31"): "counted",
        ("甲", "2020-03-01"): "counted",
    }  # fmt: skip


def test_lists_of_one_date_complete_each_other_and_a_repeated_holding_stays_on_both():
    base = {"held_label": "X", "share": 0.3}
    second = {"source_cell": f"{LATER}2", "edition": "2021"}
    assert set(uses(base | {"holder_label": "甲"}, base | {"holder_label": "乙"} | second).values()) == {"counted"}
    found = uses(  # the later edition repeats a holding of March, which the newer list has, too
        base | {"holder_label": "甲", "as_of": MARCH},
        base | {"holder_label": "乙"},
        base | {"holder_label": "甲", "as_of": MARCH} | second,
        base | {"holder_label": "丙", "as_of": MARCH} | second | {"source_cell": f"{LATER}3"},
    )
    assert found == {
        ("甲", "2020-03-01"): "counted",
        ("乙", "2020-12-31"): "counted",
        ("丙", "2020-03-01"): "superseded",
    }


def test_self_holdings_and_other_years_supersede_nothing_and_sums_are_of_what_is_in_force():
    base = {"held_label": "X", "share": 0.6}
    cell = {"source_cell": f"{LATER}2"}
    found = uses(
        base | {"holder_label": "甲", "as_of": MARCH},
        base | {"holder_label": "X", "share": 0.05} | cell,
        base | {"holder_label": "乙", "as_of": datetime.date(2021, 3, 1)} | cell,
    )
    assert found == {
        ("甲", "2020-03-01"): "counted", ("X", "2020-12-31"): "self_holding", ("乙", "2021-03-01"): "counted",
    }  # fmt: skip
    found = uses(base | {"holder_label": "甲", "as_of": MARCH}, base | {"holder_label": "乙"})
    assert set(found.values()) == {"over_held"}
    found = uses(base | {"holder_label": "甲", "as_of": MARCH}, base | {"holder_label": "乙"} | cell)
    assert found == {("甲", "2020-03-01"): "superseded", ("乙", "2020-12-31"): "counted"}
