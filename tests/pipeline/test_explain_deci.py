"""The competitive index, and any index, down to the cells: experts' forms, steps, weights, tables that are missing."""

import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from dei_pipeline.descent import Downward
from dei_pipeline.explain import indices
from dei_pipeline.explain_leaves import STOPPED
from dei_pipeline.methods.weights import ahp, pool
from dei_pipeline.settings import Settings
from dei_pipeline.sources.labels import number_expr
from dei_pipeline.sources.layouts import load_units, unit_key
from tests.pipeline.explained import (
    INDICATOR,
    LEAF,
    OBSERVATION,
    SOURCE,
    STATUS,
    TERM,
    explained,
    leaves_of,
    terms_of,
    text_in_file,
)
from tests.pipeline.homes import Home, put
from tests.pipeline.own import OwnHome, finished_own

BEIJING = ("deci", "北京", "2020")
DELPHI = {"policy_system_completeness", "supporting_measures", "policy_implementation_effect"}
TABLE_LEAVES = {
    "agri_digital_input_share": "index/digital_input_share",
    "industry_digital_input_share": "index/digital_input_share",
    "services_digital_input_share": "index/digital_input_share",
    "ict_interprovincial_trade_share": "index/digital_input_share",
}


@pytest.fixture(scope="module")
def beijing(finished: Home) -> dict[str, Any]:
    return explained(finished, *BEIJING)


def as_number(text: str) -> float:
    return pl.DataFrame({"text": [text]}).select(number_expr(pl.col("text"))).item()


def leaf_of(document: dict[str, Any], node: str) -> dict[str, Any]:
    return next(leaf for leaf in leaves_of(document) if leaf["node"] == node)


# -- the document ------------------------------------------------------------------------------------------------------
def test_the_document_says_where_the_city_stands(finished: Home, beijing):
    assert beijing["rank"] == 1
    assert beijing["cities"] == finished.read("index/deci_ranks").filter(pl.col("ranked"), year=2020).height
    assert (beijing["type"], beijing["type_name_zh"]) == ("comprehensive_leading", "综合引领型")
    kind = finished.read("index/deci_types").filter(region_code="110000", year=2020).row(0, named=True)
    assert (beijing["speciality"], beijing["speciality_z"]) == (kind["speciality"], kind["speciality_z"])
    assert beijing["region_name_en"] == "Beijing"
    held = finished.read("index/deci_robustness").filter(region_code="110000", year=2020).row(0, named=True)
    assert {name: beijing["robustness"][name] for name in ("rank_p05", "rank_median", "rank_p95")} == {
        name: held[name] for name in ("rank_p05", "rank_median", "rank_p95")
    }
    assert list(beijing["robustness"]["probabilities"]) == ["top:3", "top:10"]
    assert beijing["caution"] is None
    assert beijing["status"] == "expert"  # the weakest that counts; what is missing shows in the coverage
    assert 0.5 < beijing["coverage"] < 1


def test_every_term_and_leaf_has_the_keys_of_the_contract(beijing):
    leaves = leaves_of(beijing)
    assert len(leaves) == 21
    for term in terms_of(beijing):
        assert term.keys() >= TERM | {"name_en", "weight_method", "ahp_weight", "entropy_weight", "weight_from"}
        assert term["status"] in STATUS
        assert term["weight_from"]["reason"]
    for leaf in leaves:
        assert leaf.keys() >= LEAF
        assert leaf["indicator"].keys() >= INDICATOR
        assert leaf["observations"] or leaf["reason"]
        for observation in leaf["observations"]:
            assert observation.keys() >= OBSERVATION
            assert observation["status"] in STATUS
            for source in observation.get("sources", [observation["source"]]):
                assert source.keys() >= SOURCE


@pytest.mark.parametrize("year", ["2019", "2020"])
@pytest.mark.parametrize("region", ["110000", "310000", "510100"])
def test_contributions_add_up_to_the_value_from_any_node(finished: Home, region, year):
    whole = explained(finished, "deci", region, year)
    for node in (None, *(term["node"] for term in whole["terms"])):
        document = explained(finished, "deci", region, year, *(("--node", node) if node else ()))
        assert document["sum_of_contributions"] == pytest.approx(document["value"], abs=1e-9)
        leaves = leaves_of(document)
        assert sum(leaf["contribution"] for leaf in leaves) == pytest.approx(document["value"], abs=1e-9)
        assert sum(leaf["effective_weight"] for leaf in leaves) == pytest.approx(1)
        assert document["rank"] >= 1


# -- down to the cells -------------------------------------------------------------------------------------------------
def test_random_leaves_follow_from_the_cells_of_the_received_files(finished: Home):
    """The files are opened: cells hold the texts named, and the leaf's score is computed from them again."""
    units = load_units(finished.reference / "units.csv")
    terms = finished.read("core/indicator_terms").filter(index_id="deci")
    held = finished.read("index/deci_normalised").filter(pl.col("score").is_not_null()).sort(pl.all())
    held = held.join(terms, on="indicator_id", how="semi", maintain_order="left")
    rows = held.filter(pl.col("status").is_in(["reported", "corrected"])).to_dicts()
    scored = held.filter(pl.col("status") == "expert").to_dicts()
    draw = random.Random(2021)
    for row in [*draw.sample(rows, 5), *draw.sample(scored, 2)]:
        names = row["region_code"], str(row["year"])
        leaf = explained(finished, "deci", *names, "--node", row["indicator_id"])
        values = {}
        for observation in leaf["observations"]:
            values[observation["variable"]] = observation["value"]
            sources = observation.get("sources", [observation["source"]])
            shares = []
            for source in sources:
                assert text_in_file(finished, source) == source["raw_text"]
                number = as_number(source["raw_text"])
                if "expert" in source:
                    cs, ca = (
                        as_number(text_in_file(finished, source, source[c])) for c in ("familiarity_cell", "basis_cell")
                    )
                    assert source["authority"] == pytest.approx((cs + ca) / 2)
                    shares.append((number, (cs + ca) / 2))
                elif "correction" not in source:
                    factor = units[unit_key(source["unit"])].factor if source["unit"] else 1.0
                    assert number * factor == pytest.approx(observation["value"], rel=1e-12)
            if shares:
                scores, authority = np.array(shares).T
                assert observation["value"] == pytest.approx(float((scores * authority).sum() / authority.sum()))
                assert [s["share"] for s in sources] == pytest.approx((authority / authority.sum()).tolist())
        mine = terms.filter(indicator_id=row["indicator_id"]).to_dicts()
        sums = {
            role: sum(t["factor"] * values[t["variable"]] for t in mine if t["role"] == role)
            for role in {t["role"] for t in mine}
        }
        raw = mine[0]["scale"] * (sums["numerator"] / sums["denominator"] if "numerator" in sums else sums["value"])
        raw = np.log1p(raw) if mine[0]["transform"] == "log1p" else raw
        assert leaf["indicator"]["value"] == pytest.approx(raw, rel=1e-12)
        assert leaf["value"] == pytest.approx(100 * raw / leaf["indicator"]["threshold"], rel=1e-9)


def test_a_delphi_leaf_ends_in_every_experts_cell_of_the_round_that_counts(finished: Home, beijing):
    panels = finished.read("core/delphi_scores").filter(pl.col("final"), region_code="110000", year=2020)
    staged = finished.read("staging/delphi_responses")
    assert set(panels["item"]) == DELPHI
    for row in panels.to_dicts():
        leaf = leaf_of(beijing, row["item"])
        (observation,) = leaf["observations"]
        assert leaf["status"] == observation["status"] == "expert"
        assert observation["panel"]["kendall_w"] == row["kendall_w"]
        assert len(observation["sources"]) == row["experts"] == len({s["expert"] for s in observation["sources"]})
        counted = f"Delphi round {row['round']} of {row['rounds']} ({STOPPED[row['stop_reason']]})"
        said = f"{counted}, {row['experts']} experts, Kendall's W {row['kendall_w']:.3f}"
        assert observation["reason"] == leaf["reason"] == said
        assert all(source["region_label"] == "北京市" for source in observation["sources"])
        for source in observation["sources"]:
            cell = f"{source['sha256'][:12]}/{source['sheet']}!{source['cell']}"
            said = staged.filter(source_cell=cell).row(0, named=True)
            assert (said["expert_id"], said["round"], said["year"]) == (source["expert"], row["round"], 2020)


def test_a_leaf_whose_table_is_not_in_the_lake_says_which(beijing):
    missing = {leaf["node"]: leaf for leaf in leaves_of(beijing) if leaf["status"] == "missing"}
    assert missing.keys() == TABLE_LEAVES.keys()
    for node, table in TABLE_LEAVES.items():
        assert missing[node]["reason"] == f"missing: {table} is not in the lake"
        assert missing[node]["indicator"]["derivation"].startswith(f"100 × {table}")
        assert missing[node]["observations"] == []
        assert missing[node]["weight_from"]["prior"]


# -- weights -----------------------------------------------------------------------------------------------------------
def test_a_weight_from_comparisons_leads_to_every_experts_cells(finished: Home, beijing):
    children = [term["node"] for term in beijing["terms"]]
    matrices: dict[str, np.ndarray] = {}
    for at, term in enumerate(beijing["terms"]):
        assert term["weight_method"] == "ahp"
        assert term["weight"] == term["ahp_weight"] == term["weight_from"]["pooled"]["weight"]
        assert term["entropy_weight"] > 0
        for expert in term["weight_from"]["experts"]:
            matrix = matrices.setdefault(expert["expert"], np.eye(len(children)))
            assert [j["over"] for j in expert["judgements"]] == [c for c in children if c != term["node"]]
            for judgement in expert["judgements"]:
                source = judgement["source"]
                assert source.keys() >= SOURCE
                text = text_in_file(finished, source)
                assert text == source["raw_text"]
                over, _, under = text.partition("/")
                number = float(over) / float(under or 1)
                value = 1 / number if judgement["reciprocal"] else number
                assert judgement["value"] == pytest.approx(value, rel=1e-12)
                matrix[at, children.index(judgement["over"])] = value
    results = {expert: ahp(matrix) for expert, matrix in matrices.items()}
    for at, term in enumerate(beijing["terms"]):
        for expert in term["weight_from"]["experts"]:
            found = results[expert["expert"]]
            assert expert["weight"] == pytest.approx(found.w[at])
            assert expert["cr"] == pytest.approx(found.cr)
            assert expert["accepted"] == found.accepted
    accepted = {expert: matrix for expert, matrix in matrices.items() if results[expert].accepted}
    assert len(accepted) < len(matrices)  # one of the demo's experts contradicts himself
    assert [term["weight"] for term in beijing["terms"]] == pytest.approx(pool(accepted).result.w.tolist())


def test_other_weights_say_their_method_and_stop_there(finished: Home, beijing):
    assert leaf_of(beijing, "rd_intensity")["weight_from"] == {
        "reason": "from the scores of all cities in 2020, not looked below",
        "prior": False,
    }
    assert leaf_of(beijing, "supporting_measures")["weight_from"]["reason"] == "edition 2021 states it"
    assert leaf_of(beijing, "agri_digital_input_share")["weight_from"]["reason"].startswith(
        "an equal share of its group"
    )
    keys = [("index/deci_scores", f"110000|2020|{leaf['node']}") for leaf in leaves_of(beijing)]
    down = Downward(finished.lake, keys, 2020)
    assert "index/deci_weights" in down.tables
    reached = {
        key.partition("|")[0]
        for table in ("index/deci_normalised", "index/deci_inputs")
        for key in down.keys(table)[table]
    }
    assert reached == {"110000"}


# -- words -------------------------------------------------------------------------------------------------------------
def test_the_text_shows_standing_weights_experts_and_cells_in_both_languages(finished: Home, beijing, tmp_path: Path):
    text = finished.invoke("explain", *BEIJING).stdout
    first = text.splitlines()[0]
    assert first.startswith("deci 北京市 Beijing (110000) 2020 = ")
    for words in (
        "rank 1 of ",
        "in 90 % of 1000 draws",
        "综合引领型 Comprehensive leading",
        "strongest in 数字",
        "SYNTHETIC",
    ):
        assert words in first
    assert "P(first 3 前3) = " in text
    assert "数字创新要素 Digital innovation factors: " in text
    assert re.search(r"weight 权重 0\.\d+ ahp; entropy 0\.\d+", text)
    assert "ln(1 + 0.1 × gov_website_visitors / resident_population)" in text
    assert "(missing: index/digital_input_share is not in the lake)" in text
    page = tmp_path / "deci.html"
    assert finished.invoke("explain", *BEIJING, "--html", str(page)).exit_code == 0
    html = page.read_text("utf-8")
    assert "<script" not in html
    for leaf in leaves_of(beijing):
        for observation in leaf["observations"]:
            for source in observation.get("sources", [observation["source"]]):
                assert f"{source['file']} · {source['sheet']}!{source['cell']} «{source['raw_text']}»" in text
                assert f"{source['sheet']}!{source['cell']}" in html
    for term in beijing["terms"]:
        for expert in term["weight_from"]["experts"]:
            assert all(f"{j['source']['sheet']}!{j['source']['cell']}" in html for j in expert["judgements"])


def test_a_dimension_shows_the_experts_behind_its_weight(finished: Home):
    text = finished.invoke("explain", *BEIJING, "--node", "digital_policy_environment").stdout
    assert re.search(
        r"weight 权重 0\.\d+ ahp; entropy 0\.\d+: from comparisons of \d experts, pooled \(CR 0\.0\d+\)", text
    )
    assert re.search(r"expert A\d\d: weight 0\.\d+, CR 0\.[1-9]\d*, rejected, not pooled", text)
    assert re.search(r"0\.5 × 数字创新要素 Digital innovation factors \(read inversely\)  ← .*A01!G6 «2»", text)


# -- any index ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def own(once) -> OwnHome:
    return finished_own(once)


def test_what_steps_did_to_a_value_is_told_with_its_donors(own: OwnHome):
    for step, column in (("imputed", "method"), ("treated", "treatment")):
        rows = own.read(f"index/plsi_{step}").filter(pl.col(column).is_not_null()).sort(pl.all())
        assert rows.height
        for row in rows.gather_every(max(1, rows.height // 4)).to_dicts():
            place = row["region_code"], str(row["year"])
            leaf = explained(own, "plsi", *place, "--node", row["indicator_id"])
            done = next(s for s in leaf["indicator"]["steps"] if s["step"] == step)
            text = own.invoke("explain", "plsi", *place, "--node", row["indicator_id"]).stdout
            if step == "treated":
                assert (done["before"], done["value"]) == (row["untreated"], row["value"])
                assert leaf["indicator"]["value"] == row["value"]
                assert leaf["observations"]
                assert f"treated 处理: {row['treatment']}, " in text
                continue
            assert done["value"] == row["value"]
            assert done["donors"] == row["donors"] == len(done["from"])
            assert row["value"] == pytest.approx(float(np.median([donor["value"] for donor in done["from"]])))
            assert re.match(rf"imputed by {row['method']} from \d+ values: no observation of ", leaf["reason"])
            assert f"imputed 插补 by {row['method']} from {row['donors']} values" in text


def test_contributions_add_up_under_means_that_are_not_arithmetic(own: OwnHome):
    document = explained(own, "plsi", "上海", "2020")
    assert document["sum_of_contributions"] == pytest.approx(document["value"], abs=1e-9)
    assert document["robustness"]["replications"] == 200
    for node in ("links", "networks", "sustainability"):
        part = explained(own, "plsi", "上海", "2020", "--node", node)
        assert part["sum_of_contributions"] == pytest.approx(part["value"], abs=1e-9)
        assert sum(leaf["contribution"] for leaf in leaves_of(part)) == pytest.approx(part["value"], abs=1e-9)


def test_a_region_that_was_screened_out_is_told_so(own: OwnHome):
    result = own.invoke("explain", "plsi", "西藏", "2019")
    assert result.exit_code == 1
    assert result.stderr.startswith("dei: plsi has no value for 西藏自治区 in 2019; screened out: few_values; years ")


MINI = """\
meta:
  {{index_id: {index}, name_zh: 小指数, name_en: Mini index, edition: '2021', base_year: 2020, city_list: deci_2021,
    min_coverage: 0.3}}
tree:
  id: {index}
  name_zh: 小指数
  name_en: Mini index
  weight: 1
  aggregation: {aggregation}
  children:
"""
MINI_LEAF = """\
  - id: {index}_{name}
    name_zh: {name}
    name_en: {name}
    weight: {weight}
    unit: percent
    direction: positive
    missing_policy: renormalise
    source_kind: io_table
    weight_status: inferred
    derivation: {{kind: table, table: {table}, where: {where}, value: value, factor: 10}}
    normalisation: {rule}
"""
MINI_LEAVES = (
    ("mart", 0.4, "mart/city_indicators", "{indicator_id: rd_intensity}"),
    ("cell", 0.4, "core/observation_vintages", "{variable: broadband_speed}"),
    ("none", 0.2, "core/nothing", "{}"),
)


@pytest.fixture(scope="module")
def mini(once, finished: Home) -> OwnHome:
    """The demo lake with two indices more, read from other tables: a geometric mean, and cities compared in pairs."""

    def beside(home: Home) -> Path:
        return home.root.with_name("mini_methodology")

    def build(home: Home) -> None:
        shutil.rmtree(beside(home), ignore_errors=True)
        finished.copy(home.root)
        methodology = Path(shutil.copytree(Settings.methodology, beside(home)))
        rules = (("mini", "geometric", "{rule: fixed, theta: 1000}"), ("duel", "copeland", "{rule: z_score}"))
        for index, aggregation, rule in rules:
            text = MINI.format(index=index, aggregation=aggregation)
            for name, weight, table, where in MINI_LEAVES:
                text += MINI_LEAF.format(index=index, name=name, weight=weight, table=table, where=where, rule=rule)
            put(methodology, f"{index}.yaml", text.encode())
        report = OwnHome(home.root, methodology=methodology).run("index/mini_ranks", "index/duel_ranks")
        assert report.errors == []

    home = once("mini", build)
    return OwnHome(home.root, methodology=beside(home))


def test_a_leaf_read_from_another_table_ends_below_its_row(mini: OwnHome):
    assert indices(mini.lake) == ["deci", "dei", "duel", "mini"]
    document = explained(mini, "mini", "北京", "2020")
    assert document["sum_of_contributions"] == pytest.approx(document["value"], abs=1e-9)
    mart, cell, none = leaves_of(document)
    assert none["reason"] == "missing: core/nothing is not in the lake"
    row, *below = mart["observations"]
    assert (row["variable"], row["row"]) == ("mart/city_indicators.value", "110000|2020|rd_intensity")
    assert row["value"] * 10 == pytest.approx(mart["indicator"]["value"])
    assert row["reason"] == "row 110000|2020|rd_intensity, made from mart/indicator_parts"
    assert {o["variable"] for o in below} == {"gdp", "rd_expenditure"}
    (speed,) = cell["observations"]
    assert float(text_in_file(mini, speed["source"])) == speed["value"] == cell["indicator"]["value"] / 10
    text = mini.invoke("explain", "mini", "北京", "2020").stdout
    assert "= 10 × mart/city_indicators.value where indicator_id = rd_intensity = " in text


def test_an_index_that_compares_cities_has_no_contributions_and_says_so(mini: OwnHome):
    document = explained(mini, "duel", "北京", "2020")
    assert document["value"] is not None
    assert document["sum_of_contributions"] is None
    assert document["reason"] == "no contributions: a node compares the cities with each other"
    text = mini.invoke("explain", "duel", "北京", "2020").stdout
    assert f"({document['reason']})" in text
    assert re.search(r"^mart mart: [-\d.]+ × – = –  \[", text, re.M)


def test_a_node_without_a_composite_above_it_still_adds_up(home: Home):
    path = home.lake.part_file("index/deci_scores", "2020", "year")
    scores = pl.read_parquet(path)
    mine = pl.col("region_code") == "110000"
    gone = {name: pl.when(~mine).then(name) for name in ("effective_weight", "contribution")}
    composite = mine & (pl.col("node_id") == "deci")
    scores.with_columns(**gone, score=pl.when(~composite).then("score")).write_parquet(path)
    part = explained(home, *BEIJING, "--node", "digital_integration_application")
    assert part["value"] is not None
    assert part["sum_of_contributions"] == pytest.approx(part["value"], abs=1e-9)
    assert sum(term["effective_weight"] for term in part["terms"]) == pytest.approx(1)
    whole = explained(home, *BEIJING)
    assert whole["value"] is None
    assert re.fullmatch(r"no value: \d+% of its weight has one, 50% are needed", whole["reason"])


# -- the way up --------------------------------------------------------------------------------------------------------
def test_cells_of_experts_and_of_the_web_name_the_competitive_ranking(finished: Home, beijing):
    score = leaf_of(beijing, "supporting_measures")["observations"][0]["source"]
    judgement = beijing["terms"][0]["weight_from"]["experts"][0]["judgements"][0]["source"]
    metric = leaf_of(beijing, "fixed_broadband_download_speed")["observations"][0]["source"]
    for source, direct in ((score, True), (judgement, False), (metric, True)):
        result = finished.invoke("impact", source["file"], f"{source['sheet']}!{source['cell']}")
        assert result.exit_code == 0, result.output
        (ranking,) = [line for line in result.stdout.splitlines() if line.startswith("release/deci_ranking: ")]
        start = "2020 北京; through" if direct else "through"
        assert ranking.startswith(f"release/deci_ranking: {start} weights, thresholds or other cities 2019 ")
    authority = finished.invoke("impact", score["file"], f"{score['sheet']}!{score['familiarity_cell']}")
    assert "release/deci_ranking: 2020 " in authority.stdout
