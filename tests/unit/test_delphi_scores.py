"""From filled-in Delphi sheets to scores: names, authority, agreement, the round that counts, quarantine, lineage."""

import numpy as np
import polars as pl
import pytest

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import ContractError
from dei_pipeline.methods import delphi
from dei_pipeline.methods import observations as method
from dei_pipeline.methods.delphi_scores import KEY, SCHEMA, delphi_scores
from dei_pipeline.methods.regions import Regions
from dei_pipeline.provenance import row_key
from dei_pipeline.settings import Settings
from dei_pipeline.sources.layouts import Variable, load_variables
from tests.forms import CITIES, ITEMS, staged, workbook
from tests.forms import delphi as form

REFERENCE = Settings.reference
REGIONS = Regions.load(REFERENCE)
FIRST, SECOND = (item.split("\n")[1] for item in ITEMS)


def variable(name: str, zh: str, unit: str = "points") -> Variable:
    return Variable(name, zh, name.replace("_", " "), unit, 0, 100, "score", "none", "city", "")


VARIABLES = {
    FIRST: variable(FIRST, "政策体系完备性"),
    SECOND: variable(SECOND, "配套保障完善性", "points_0_100"),
    "gdp": variable("gdp", "地区生产总值", "100m_cny"),
}
ROUND_1 = {
    "E01": [[80, 70], [90, 75], [85, 60]],
    "E02": [[60, 72], [95, 70], [75, 66]],
    "E03": [[70, 71], [85, 80], [80, 61]],
}
ROUND_2 = {
    "E01": [[78, 70], [90, 75], [82, 60]],
    "E02": [[76, 72], [92, 74], [80, 66]],
    "E03": [[77, 71], [88, 78], [81, 61]],
}
CR = {"E01": 0.7, "E02": 0.9, "E03": 0.5}


def sheets(number, scores, **more):
    title = f"德尔菲评分表(2020年) 第{number}轮"
    shares = {expert: {"familiarity": (cr, cr), "basis": (cr, cr)} for expert, cr in CR.items()}
    return {f"{e} {number}": form(rows, e, title, **shares[e], **more) for e, rows in scores.items()}


def scored(*books):
    return delphi_scores(pl.concat([staged(workbook(book)).frame for book in books]), REGIONS, VARIABLES)


def row(table, **key):
    return table.frame.filter(**key).row(0, named=True)


# -- scores ------------------------------------------------------------------------------------------------------------
def test_scores_are_pooled_by_authority_with_spread_agreement_and_lineage():
    table = scored(sheets(1, ROUND_1))
    assert table.frame.schema == pl.Schema(SCHEMA)
    found = row(table, region_code="310000", item=FIRST)
    assert found["score"] == pytest.approx((0.7 * 90 + 0.9 * 95 + 0.5 * 85) / 2.1)
    assert (found["mean"], found["median"], found["iqr"], found["sd"], found["experts"]) == (90, 90, 5, 5, 3)
    assert found["cv"] == pytest.approx(5 / 90)
    assert (found["unit"], found["edition"], found["rounds"], found["response_rate"]) == ("points_0_100", "2021", 1, 1)
    matrix = np.array([[ROUND_1[e][c][0] for c in range(3)] for e in ROUND_1])
    agreed = delphi.kendall_w(matrix)
    assert (found["kendall_w"], found["p_value"], found["p_from"]) == (agreed.w, agreed.p, "exact")
    assert found["calibrated_score"] is None
    mine = table.edges.filter(pl.col("child_key") == f"310000|2020|{FIRST}|1").sort("parent_key")
    assert mine["role"].unique().to_list() == ["score"]
    np.testing.assert_allclose(mine["coefficient"], [0.7 / 2.1, 0.9 / 2.1, 0.5 / 2.1])
    assert set(table.edges["child_key"]) == set(table.frame.select(row_key(KEY)).to_series())
    assert table.quarantine.height == 0


def test_the_frame_fits_the_contract():
    contract = python_contracts()["core/delphi_scores"]
    assert set(contract.schema) == set(SCHEMA)
    assert pl.Schema(contract.schema) == contract.conform(scored(sheets(1, ROUND_1)).frame).schema


def test_the_round_in_which_agreement_holds_counts_and_rounds_after_it_do_not():
    table = scored(sheets(1, ROUND_2), sheets(2, ROUND_2), sheets(3, ROUND_1))
    by_round = table.frame.filter(item=FIRST, region_code="110000").sort("round")
    # three cities, three experts, the same order: p = 1/36 < .05
    assert by_round["p_value"][0] == pytest.approx(1 / 36)
    assert by_round["final"].to_list() == [False, True, False]
    assert by_round["stop_reason"].unique().to_list() == ["converged"]
    assert by_round["rounds"].unique().to_list() == [3]


def test_without_agreement_the_last_round_counts_and_says_that_it_is_open():
    table = scored(sheets(1, ROUND_1), sheets(3, ROUND_1))
    open_ones = table.frame.filter(item=SECOND)
    assert open_ones.filter("final")["round"].unique().to_list() == [3]
    assert set(open_ones.select("stopped", "stop_reason").unique().rows()) == {(False, "open")}
    assert table.notes["not_stopped"] == [(SECOND, 2020)]


def test_unscored_cells_lower_the_response_rate_and_a_calibrated_variant_appears():
    holes = {**ROUND_1, "E02": [[60, 72], [None, 70], [75, 66]]}
    table = scored(sheets(1, holes))
    found = row(table, region_code="310000", item=FIRST)
    assert found["experts"] == 2
    assert found["response_rate"] == pytest.approx(2 / 3)
    assert found["score"] == pytest.approx((0.7 * 90 + 0.5 * 85) / 1.2)
    assert found["calibrated_score"] is not None
    assert found["kendall_w"] == pytest.approx(delphi.kendall_w([[80, 85], [60, 75], [70, 80]]).w)
    assert table.notes["low_response"] == 1
    assert row(table, region_code="310000", item=SECOND)["calibrated_score"] is None


def test_agreement_that_is_undefined_is_null_and_counted():
    table = scored({"a": form([[80, 70], [90, 75], [85, 60]])})
    assert table.frame["kendall_w"].null_count() == table.frame.height
    assert table.frame["sd"].null_count() == table.frame.height
    assert table.notes["w_undefined"] == [
        f"{FIRST} 2020 round 1: a single expert",
        f"{SECOND} 2020 round 1: a single expert",
    ]


def test_a_city_that_the_last_round_left_out_is_counted():
    late = {e: [rows[0], [None, None], rows[2]] for e, rows in ROUND_1.items()}
    table = scored(sheets(1, ROUND_1), sheets(2, late))
    assert table.notes["regions_not_in_final_round"] == 2


def test_the_order_of_the_sheets_does_not_matter():
    books = [sheets(1, ROUND_1), sheets(2, ROUND_2)]
    frame = pl.concat([staged(workbook(book)).frame for book in books])
    tables = [
        delphi_scores(f, REGIONS, VARIABLES).frame.sort(KEY) for f in (frame, frame.reverse(), frame.sample(36, seed=1))
    ]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


# -- what cannot be used -----------------------------------------------------------------------------------------------
def test_unknown_cities_and_items_and_mixed_up_heads_go_to_quarantine():
    cities = (("110000", "北京市"), (None, "某某市"), (None, "东部地区"))
    book = {
        "a": form([[80, 70], [90, 75], [85, 60]], cities=cities),
        "b": form([[1, 2], [3, 4], [5, 6]], "E02", items=("地区生产总值", f"政策体系完备性\n{SECOND}")),
    }
    table = scored(book)
    assert table.frame["region_code"].unique().to_list() == ["110000"]
    aside = table.quarantine.sort("sheet", "cell")
    assert aside.height == 4 + 6
    told = {(r["sheet"], r["cell"]): (r["reason"], r["fix"], r["file"], r["raw_text"]) for r in aside.to_dicts()}
    assert told["a", "C7"][0].startswith("«某某市» is no region known")
    assert "region_aliases.csv" in told["a", "C7"][1]
    assert told["a", "C8"][0] == "«东部地区» is a group of regions, not a city"
    assert told["b", "C6"][0] == "item «地区生产总值» is no variable scored in points"
    assert told["b", "D6"][0].startswith(f"item «政策体系完备性 {SECOND}» means several: {FIRST}, {SECOND}")
    assert {r[2] for r in told.values()} == {"form.xlsx"}
    assert all(r[1] and r[3] for r in told.values())


def test_a_score_given_twice_repeats_or_contradicts():
    first = staged(workbook({"a": form([[80, 70], [90, 75], [85, 60]])})).frame
    again = staged(workbook({"b": form([[80, 70], [90, 76], [85, 60]])})).frame
    table = delphi_scores(pl.concat([first, again]), REGIONS, VARIABLES)
    assert table.frame.height == 6
    assert (table.notes["repeats"], table.quarantine.height) == (5, 1)
    assert table.edges.filter(role="repeat")["coefficient"].to_list() == [0] * 5
    assert "says otherwise at" in table.quarantine["reason"][0]
    assert set(table.frame["experts"]) == {1}


def test_scores_without_any_authority_are_quarantined():
    table = scored({"a": form([[80, 70], [90, 75], [85, 60]], familiarity=(0, 0.5), basis=(0, 0.5))})
    assert table.frame["item"].unique().to_list() == [SECOND]
    assert table.quarantine["reason"].unique().to_list() == [
        "no expert of this city and item has any authority: Cs and Ca are 0"
    ]
    assert table.quarantine.height == 3


def test_a_table_of_which_nothing_can_be_used_is_an_error_that_names_the_first_cell():
    cities = ((None, "某某市"), (None, "某某州"), (None, "某某县"))
    with pytest.raises(
        ContractError, match=r"none of 6 scores can be used; first failure in form\.xlsx, sheet a, cell C6"
    ):
        scored({"a": form([[80, 70], [90, 75], [85, 60]], cities=cities)})


# -- observations ------------------------------------------------------------------------------------------------------
VINTAGE = {
    "edition": "2021", "value": 1.0, "unit": "points", "status": "reported", "source_class": "official",
    "source_id": "test", "source_cell": "0123456789ab/a!B1",
}  # fmt: skip


def test_the_round_that_counts_becomes_an_observation_and_wins_over_a_vintage():
    scores = scored(sheets(1, ROUND_1), sheets(2, ROUND_2)).frame
    keys = [("110000", 2020, FIRST), ("110000", 2020, "gdp")]
    vintages = pl.DataFrame([dict(zip(method.KEY, k, strict=True)) | VINTAGE for k in keys]).cast({"year": pl.Int32})
    variables = pl.DataFrame(
        [{"variable": v.variable, "unit": v.unit, "imputation": "none"} for v in VARIABLES.values()]
    )
    table = method.observations(vintages, variables, (), scores)
    assert table.frame.height == 1 + 2 * len(CITIES)
    assert table.notes["yielding_to_delphi"] == 1
    final = scores.filter(pl.col("final") & (pl.col("item") == FIRST) & (pl.col("region_code") == "110000"))
    found = row(table, region_code="110000", variable=FIRST)
    assert found["value"] == final["score"].item()
    assert (found["status"], found["method"], found["source_id"], found["source_cell"]) == (
        "expert",
        "delphi",
        "delphi",
        None,
    )
    assert (found["unit"], found["edition"]) == ("points", "2021")
    edge = table.edges.filter(pl.col("child_key") == f"110000|2020|{FIRST}").row(0, named=True)
    assert (edge["parent_table"], edge["role"], edge["coefficient"]) == ("core/delphi_scores", "expert", 1)
    assert edge["parent_key"] == f"110000|2020|{FIRST}|{final['round'].item()}"
    assert method.observations(vintages, variables, ()).frame.height == 2


def test_the_facets_of_the_competitive_index_are_variables_that_a_panel_may_score():
    known = load_variables(REFERENCE / "variables.csv")
    assert {known[name].unit for name in (FIRST, SECOND, "policy_implementation_effect")} <= {"points", "points_0_100"}
