"""From rows of registers to companies, control and cycles: what counts, what is set aside, lineage."""

import datetime

import polars as pl
import pytest

from dei_pipeline.errors import ContractError, NothingToDo
from dei_pipeline.methods.holdings import holdings
from dei_pipeline.methods.regions import Regions
from dei_pipeline.methods.registers import companies, controlled_companies, ownership_cycles
from dei_pipeline.settings import Settings
from tests.registers import FORMS, code, complete, held, register

REGIONS = Regions.load(Settings().reference)


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
        ("core/companies", "name:根一", "root"),
        ("core/controlled_companies", "name:根一|name:乙|2020", "holder"),
        ("core/controlled_companies", "name:根一|name:甲|2020", "holder"),
        ("core/holdings", "name:乙|name:丙|2020-12-31", "vote"),
        ("core/holdings", "name:甲|name:丙|2020-12-31", "vote"),
    ]
    owned = edges.filter(child_key="name:根二|name:戊|2020").select("parent_table", "parent_key", "role").rows()
    assert sorted(owned) == [
        ("core/companies", "name:根二", "root"), ("core/holdings", "name:根二|name:戊|2020-12-31", "vote"),
    ]  # fmt: skip


def test_only_holdings_in_force_control():
    known = register({"name": "根一", "root": "unspecified"})
    earlier = {"as_of": datetime.date(2020, 6, 30), "source_cell": f"{'b' * 12}/t!C2"}
    early = {"holder_label": "根一", "held_label": "甲", "share": 0.6} | earlier
    table = holdings(held(early, ("乙", "甲", 0.6), ("根一", "丙", 0.6)), known, FORMS)
    register_of = companies(known, REGIONS, FORMS).frame
    assert controlled_companies(table.frame, register_of).frame["company_id"].to_list() == ["name:丙"]
    alone = holdings(held(early), known, FORMS).frame
    assert controlled_companies(alone, register_of).frame["company_id"].to_list() == ["name:甲"]


def test_a_group_that_owns_all_of_itself_is_reported_and_no_root_is_lost():
    register_of = companies(register(*({"name": n, "root": "unspecified"} for n in ("根", "别"))), REGIONS, FORMS).frame
    years = (2019, 2020)
    rows_of = [
        {"holder_label": a, "held_label": b, "share": share, "as_of": datetime.date(year, 12, 31)}
        for a, b, share in (("根", "甲", 1.0), ("甲", "根", 1.0), ("根", "乙", 0.9), ("别", "丙", 0.7))
        for year in years
        if year == 2020 or a == "别"
    ]
    table = controlled_companies(holdings(held(*rows_of), None, FORMS).frame, register_of)
    found = table.frame.select("root_id", "company_id", "year", "effective_share", "controlled").sort(
        "year", "root_id", "company_id"
    )
    assert found.rows() == [
        ("name:别", "name:丙", 2019, 0.7, True),
        ("name:别", "name:丙", 2020, 0.7, True),
        ("name:根", "name:乙", 2020, 0.9, True),
        ("name:根", "name:甲", 2020, 1.0, True),
    ]
    assert table.notes["wholly_owned_by_themselves"] == {"2020 name:根": ["name:根", "name:甲"]}
    complete(table, ["root_id", "company_id", "year"])


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
