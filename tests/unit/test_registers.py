"""From rows of registers to companies, holdings, control and cycles: what counts, what is set aside, lineage."""

import datetime
from typing import Any

import polars as pl
import pytest

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import ContractError, NothingToDo
from dei_pipeline.methods.companies import Forms, check_character
from dei_pipeline.methods.regions import Regions
from dei_pipeline.methods.registers import companies, controlled_companies, holdings, ownership_cycles
from dei_pipeline.provenance import Table
from dei_pipeline.settings import Settings

REFERENCE = Settings().reference
FORMS, REGIONS = Forms.load(REFERENCE / "company_forms.csv"), Regions.load(REFERENCE)
DAY = datetime.date(2020, 12, 31)


def code(number: int) -> str:
    first = f"91110000MA{number:07}"
    return first + check_character(first)


def rows(table: str, given: list[dict[str, Any]]) -> pl.DataFrame:
    schema = python_contracts()[f"staging/{table}"].schema
    blank = dict.fromkeys(schema)
    full = [
        blank
        | {"source_cell": f"{'a' * 12}/s!A{at}", "raw_text": "x", "source_id": "s", "file": "f.csv", "edition": "2020"}
        | row
        for at, row in enumerate(given, start=2)
    ]
    return pl.DataFrame(full, schema=schema)


def register(*given: dict[str, Any]) -> pl.DataFrame:
    return rows("company_records", [{"as_of": DAY, **row} for row in given])


def held(*given: tuple[str, str, float] | dict[str, Any]) -> pl.DataFrame:
    base = {"unit": "percent", "value": 1.0, "as_of": DAY, "as_of_from": "title"}
    full = [
        base | (row if isinstance(row, dict) else dict(zip(("holder_label", "held_label", "share"), row, strict=True)))
        for row in given
    ]
    return rows("holding_records", full)


def used(table: Table) -> list[tuple[str, str, float, str]]:
    return table.frame.select("holder_id", "held_id", "share", "use").rows()


def complete(table: Table, key: list[str]) -> None:
    """Keys are unique and every row is the child of an edge."""
    assert table.frame.select(key).n_unique() == table.frame.height
    keys = table.frame.select(pl.concat_str([pl.col(k).cast(pl.String) for k in key], separator="|")).to_series()
    assert set(keys) == set(table.edges["child_key"])


# -- companies ---------------------------------------------------------------------------------------------------------
def test_a_company_is_its_code_or_else_its_name_and_its_latest_record_counts():
    table = companies(
        register(
            {
                "name": "甲有限公司",
                "credit_code": code(1),
                "region_label": "北京市",
                "as_of": datetime.date(2019, 12, 31),
            },
            {"name": "甲科技有限公司", "credit_code": code(1), "industry": "软件"},
            {"name": "甲科技有限责任公司", "region_label": "上海市", "root": "unspecified"},
            {"name": "乙有限公司", "province_hint": "广东", "region_label": "深圳"},
        ),
        REGIONS,
        FORMS,
    )
    found = {row["company_id"]: row for row in table.frame.iter_rows(named=True)}
    assert set(found) == {code(1), "name:乙 有限公司"}
    mine = found[code(1)]
    assert (mine["name"], mine["industry"], mine["root"], mine["records"]) == (
        "甲科技有限公司",
        "软件",
        "unspecified",
        3,
    )
    assert (mine["location"], mine["region_code"]) == ("city", "310000")
    assert found["name:乙 有限公司"]["region_code"] == "440300"
    complete(table, ["company_id"])
    assert table.notes["roots"] == 1


def test_overseas_and_unlocated_companies_are_counted_apart():
    table = companies(
        register(
            {"name": "A LTD", "country": "Cayman Islands", "region_label": "北京市"},
            {"name": "B LTD", "region_label": "开曼群岛"},
            {"name": "C LTD", "region_label": "香港"},
            {"name": "D LTD", "country": "中国"},
            {"name": "E LTD", "region_label": "广东省"},
            {"name": "F LTD", "region_label": "某某"},
        ),
        REGIONS,
        FORMS,
    )
    found = dict(table.frame.select("name", "location").iter_rows())
    assert found == {"A LTD": "overseas", "B LTD": "overseas", "C LTD": "overseas", "D LTD": "unlocated",
                     "E LTD": "unlocated", "F LTD": "unlocated"}  # fmt: skip
    assert table.frame["region_code"].null_count() == 6
    assert table.notes["regions_not_found"] == ["广东省", "某某"]


def test_a_name_that_two_companies_have_needs_a_code():
    same = [{"name": "甲有限公司", "credit_code": code(n), "region_label": "北京市"} for n in (1, 2)]
    table = companies(register(*same, {"name": "甲有限公司"}), REGIONS, FORMS)
    assert table.frame.height == 2
    assert table.quarantine["reason"].to_list() == [f"«甲有限公司» can mean {code(1)}, {code(2)}"]
    two = [{"name": "乙有限公司", "region_label": city} for city in ("北京市", "上海市")]
    table = companies(register(*two), REGIONS, FORMS)
    assert table.frame["region_code"].to_list() == ["110000"]
    assert table.quarantine["reason"].to_list() == ["«乙有限公司» of 上海市 has the name of a company of 北京市"]
    assert table.quarantine["fix"].null_count() == 0
    with pytest.raises(ContractError, match=r"none of 1 records can be used: «…» is no name"):
        companies(register({"name": "…"}), REGIONS, FORMS)


# -- holdings ----------------------------------------------------------------------------------------------------------
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


# -- control -----------------------------------------------------------------------------------------------------------
def group() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two roots: 根一 holds 甲, 乙, jointly 丙; 根二 half of 丁, and more of 戊 by way of 丁 than it controls."""
    kinds = ("digital_industrialisation", "industry_digitalisation")
    known = register(
        *({"name": name, "root": kind} for name, kind in zip(("根一", "根二"), kinds, strict=True)),
        {"name": "闲", "root": kinds[0]},
    )
    table = holdings(
        held(
            ("根一", "甲", 0.6), ("根一", "乙", 0.6), ("甲", "丙", 0.3), ("乙", "丙", 0.25), ("丙", "甲", 0.1),
            ("根二", "丁", 0.45), ("丁", "戊", 0.5), ("根二", "戊", 0.3),
        ),
        known,
        FORMS,
    )  # fmt: skip
    return table.frame, companies(known, REGIONS, FORMS).frame


def test_each_root_has_its_closure_and_what_it_owns_without_control():
    table = controlled_companies(*group())
    found = table.frame.select("root_id", "company_id", "controlled", "step", "via_id").rows()
    assert found == [
        ("name:根一", "name:丙", True, 2, "name:甲"),
        ("name:根一", "name:乙", True, 1, "name:根一"),
        ("name:根一", "name:甲", True, 1, "name:根一"),
        ("name:根二", "name:戊", False, None, None),
    ]
    complete(table, ["root_id", "company_id", "year"])
    assert table.frame["year"].to_list() == [2020] * 4
    assert table.notes["roots_without_holdings"] == {"2020": 1}
    assert table.notes["owned_without_control"] == 1


def test_a_controlled_company_comes_from_the_holdings_of_the_group_in_it():
    edges = controlled_companies(*group()).edges
    mine = edges.filter(child_key="name:根一|name:丙|2020").select("parent_table", "parent_key", "role").rows()
    assert sorted(mine) == [
        ("core/controlled_companies", "name:根一|name:乙|2020", "holder"),
        ("core/controlled_companies", "name:根一|name:甲|2020", "holder"),
        ("core/holdings", "name:乙|name:丙|2020-12-31", "vote"),
        ("core/holdings", "name:甲|name:丙|2020-12-31", "vote"),
    ]
    owned = edges.filter(child_key="name:根二|name:戊|2020").select("parent_table", "parent_key", "role").rows()
    assert owned == [("core/holdings", "name:根二|name:戊|2020-12-31", "vote")]


def test_of_a_company_the_latest_list_of_a_year_counts():
    early = {"holder_label": "根一", "held_label": "甲", "share": 0.6, "as_of": datetime.date(2020, 6, 30)}
    known = register({"name": "根一", "root": "unspecified"})
    frame = holdings(held(early, ("乙", "甲", 0.6), ("根一", "丙", 0.6)), known, FORMS).frame
    table = controlled_companies(frame, companies(known, REGIONS, FORMS).frame)
    assert table.frame["company_id"].to_list() == ["name:丙"]
    before = frame.filter(pl.col("as_of") < DAY)
    table = controlled_companies(before, companies(known, REGIONS, FORMS).frame)
    assert table.frame["company_id"].to_list() == ["name:甲"]


def test_without_roots_or_holdings_of_roots_there_is_nothing_to_do():
    frame, known = group()
    with pytest.raises(NothingToDo, match="no company is marked as a root"):
        controlled_companies(frame, known.with_columns(root=pl.lit(None, pl.String)))
    with pytest.raises(NothingToDo, match="none of 3 roots holds anything"):
        controlled_companies(frame.filter(pl.col("holder_id") == "name:甲"), known)


def test_companies_on_cycles_are_listed_with_the_holdings_that_close_them():
    table = ownership_cycles(group()[0])
    assert table.frame.select("company_id", "group_id", "members", "itself").rows() == [
        ("name:丙", "name:丙", 2, False), ("name:甲", "name:丙", 2, False),
    ]  # fmt: skip
    complete(table, ["company_id", "year"])
    assert set(table.edges["parent_key"]) == {"name:丙|name:甲|2020-12-31", "name:甲|name:丙|2020-12-31"}
    with pytest.raises(NothingToDo, match="no company owns itself"):
        ownership_cycles(holdings(held(("甲", "乙", 0.6)), None, FORMS).frame)
