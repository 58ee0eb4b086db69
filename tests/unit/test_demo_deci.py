"""The competitive index and its demo: the framework, the 52 cities, the published order, pages read back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dei_pipeline.demo import deci_pages, ownership
from dei_pipeline.demo.deci import DELPHI_EXPERTS, DISAGREEMENT, PEERLESS, Deci, build, listed
from dei_pipeline.demo.model import REFERENCE, Demo
from dei_pipeline.demo.model import build as build_demo
from dei_pipeline.errors import DeiError
from dei_pipeline.methods import composite, delphi, weights
from dei_pipeline.methods.framework import Framework, load
from dei_pipeline.methods.region_tables import Regions
from dei_pipeline.sources import expert_tables
from dei_pipeline.sources.expert_sheets import AHP, DELPHI
from dei_pipeline.sources.layouts import load_variables
from tests.unit.demo_files import DECI_LAYOUTS, Received
from tests.unit.demo_index import computed

METHODOLOGY = REFERENCE.parent / "methodology"
TEXT = {"region_code": pl.String}


@pytest.fixture(scope="module")
def framework() -> Framework:
    return load(METHODOLOGY / "deci.yaml")


@pytest.fixture(scope="module")
def world() -> Demo:
    return build_demo(years=[2018, 2019, 2020])


@pytest.fixture(scope="module")
def deci(world: Demo) -> Deci:
    return build(world)


def rounds_of(deci: Deci, year: int, item: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Scores of each Delphi round, experts × cities by code, and the experts' authorities."""
    rows = deci.delphi.filter(year=year, item=item).sort("round", "expert_id", "region_code")
    rounds = [
        part.pivot("region_code", index="expert_id", values="score").drop("expert_id").to_numpy().astype(np.float64)
        for part in rows.partition_by("round", maintain_order=True)
    ]
    own = deci.authority.filter(item=item).sort("expert_id")
    return rounds, delphi.authority(own["basis"].to_numpy(), own["familiarity"].to_numpy())


def expert_scores(deci: Deci) -> pl.DataFrame:
    """What the final rounds say, as observations."""
    frames = []
    for year in deci.years:
        for item in deci.authority["item"].unique(maintain_order=True):
            rounds, cr = rounds_of(deci, year, item)
            final = delphi.aggregate(rounds[delphi.stop(rounds).round - 1], cr).weighted_mean
            codes = deci.delphi.filter(year=year)["region_code"].unique().sort()
            frames.append(pl.DataFrame({"region_code": codes, "variable": item, "value": final, "year": year}))
    return pl.concat(frames).cast({"year": pl.Int32}).select("region_code", "year", "variable", "value")


def pooled(deci: Deci) -> weights.Pooled:
    """The experts' judgements of the dimensions, pooled."""
    parts = deci.judgements.partition_by("expert_id", as_dict=True)
    return weights.pool({str(e): weights.from_upper_triangle(rows["value"].to_list()) for (e,), rows in parts.items()})


def index_of(deci: Deci, demo: Demo) -> dict[str, Any]:
    """The tables of the index from the demo's numbers."""
    framework = deci.framework
    weight = pooled(deci).result.w
    experts = pl.DataFrame({"node_id": framework.children_of("deci"), "weight": weight}).with_columns(
        edition=pl.lit(framework.edition), parent_id=pl.lit("deci"), expert_id=pl.lit("pooled")
    )
    values = pl.concat([demo.values.select(deci.values.columns), deci.values, expert_scores(deci)])
    registers = ownership.build(demo)
    cities = deci.cities.select("region_code", companies=pl.lit(0))
    counts = [
        pl.concat([cities, registers.subsidiaries(year).select("region_code", companies=pl.lit(1)).drop_nulls()])
        .group_by("region_code")
        .agg(pl.col("companies").sum(), year=pl.lit(year), status=pl.lit("reported"))
        for year in demo.years
    ]
    tables = {"mart/company_presence": pl.concat(counts)}
    return computed(framework, values, deci.cities, experts, tables) | {
        "names": deci.cities.select("region_code", "short_name_zh")
    }


def ranked(index: dict[str, Any]) -> pl.DataFrame:
    """Cities of the base year in their order."""
    return index["ranks"].filter(year=2020).join(index["names"], on="region_code").sort("rank")


def leaders_of(index: dict[str, Any]) -> dict[str, str]:
    """City with the highest score in each dimension."""
    rows = index["scores"].filter(year=2020, level=1).join(index["names"], on="region_code")
    first = rows.sort("score", descending=True).unique("node_id", keep="first", maintain_order=True)
    return dict(first.select("node_id", "short_name_zh").iter_rows())


@pytest.fixture(scope="module")
def index(deci: Deci, world: Demo) -> dict[str, Any]:
    return index_of(deci, world)


# -- the framework and its cities --------------------------------------------------------------------------------------
def test_the_framework_has_six_dimensions_and_the_leaves_of_the_report(framework):
    sizes = [framework.leaves.filter(parent_id=node).height for node in framework.children_of("deci")]
    assert sizes == [3, 3, 1, 7, 4, 3]
    assert framework.leaves.filter(pl.col("source_kind") != "delphi").height == 18
    assert set(framework.leaves["direction"]) == {"positive"}
    assert framework.leaves["cap"].null_count() == 21
    assert framework.tiers.is_empty()


def test_weights_are_data_driven_but_for_the_facets_and_the_single_leaf(framework):
    given = framework.leaves.drop_nulls("weight").select("node_id", "weight", "weight_status").rows()
    assert given == [
        ("ict_revenue_per_10k_gdp", 1.0, "inferred"),
        ("policy_system_completeness", 0.4, "inferred"),
        ("supporting_measures", 0.3, "inferred"),
        ("policy_implementation_effect", 0.3, "inferred"),
    ]
    assert framework.data_driven == (
        "deci",
        "digital_innovation_factors",
        "digital_infrastructure",
        "digital_integration_application",
        "digital_economy_demand",
    )


def test_every_variable_of_the_index_is_known_and_fits_its_role(framework):
    known = load_variables(REFERENCE / "variables.csv")
    assert set(framework.terms["variable"]) <= set(known)
    assert {t.indicator_id: (t.table, t.column) for t in framework.tables} == {
        "agri_digital_input_share": ("index/digital_input_share", "share"),
        "industry_digital_input_share": ("index/digital_input_share", "share"),
        "services_digital_input_share": ("index/digital_input_share", "share"),
        "ict_interprovincial_trade_share": ("index/digital_input_share", "share"),
        "typical_enterprise_count": ("mart/company_presence", "companies"),
    }
    experts_and_web = ["policy_system_completeness", "gov_service_score", "gov_website_visitors", "broadband_speed"]
    assert {known[name].imputation for name in experts_and_web} == {"none"}


def test_fifty_two_cities_are_listed_of_which_the_wording_determines_thirty_six(framework):
    cities = pl.read_csv(REFERENCE / "city_lists.csv", schema_overrides=TEXT).filter(list_id="deci_2021")
    regions = Regions.load().in_force().filter(pl.col("region_code").is_in(cities["region_code"].implode()))
    assert cities.height == regions.height == cities["region_code"].n_unique() == 52
    assert (
        cities["note"].to_list()
        == cities.join(regions, on="region_code", maintain_order="left")["short_name_zh"].to_list()
    )
    municipal = regions.filter(kind="municipality").height
    capitals = regions.filter(pl.col("region_code").str.ends_with("0100") | (pl.col("kind") == "municipality")).height
    others = {"大连", "宁波", "厦门", "青岛", "深圳"}  # sub-provincial cities that are no capitals
    assert municipal == 4
    assert capitals + len(others & set(cities["note"])) == 36
    assert set(framework.published["top15_ranked"]) <= set(cities["note"])
    assert cities["basis"].str.starts_with("determined: ").sum() == 36
    assert cities["basis"].str.starts_with("chosen: ").sum() == 16


def test_the_chosen_cities_are_the_best_of_the_other_index(framework):
    cities = pl.read_csv(REFERENCE / "city_lists.csv", schema_overrides=TEXT).filter(list_id="deci_2021")["note"]
    scores = pl.read_csv(REFERENCE / "published" / "published_dei_scores.csv").sort("rank_published")
    determined = cities.head(36).to_list()
    best = scores.filter(~pl.col("city").is_in(determined))["city"].head(16).to_list()
    assert cities.tail(16).to_list() == best
    assert "苏州" in best


def test_all_provincial_units_are_listed_for_indices_of_provinces():
    lists = pl.read_csv(REFERENCE / "city_lists.csv", schema_overrides=TEXT).filter(list_id="provinces_31")
    provinces = Regions.load().in_force().filter(level="province")["region_code"].to_list()
    assert sorted(lists["region_code"]) == sorted(set(provinces) - {"710000", "810000", "820000"})


def test_published_types_and_zone_counts_follow_from_the_printed_order(framework):
    top = framework.published["top15_ranked"]
    types, zones = framework.published["city_types"], framework.published["zone_counts"]
    limits = dict(framework.types.select("type_id", "max_rank").iter_rows())
    assert types["comprehensive_leading"] == top[: limits["comprehensive_leading"]]
    assert set(types["distinctive_pioneering"]) == set(top[3 : limits["distinctive_pioneering"]])
    assert types["potential_improving"] == framework.published["cities"] - len(top)
    regions = Regions.load()
    codes = pl.read_csv(REFERENCE / "city_lists.csv", schema_overrides=TEXT).filter(
        (pl.col("list_id") == "deci_2021") & pl.col("note").is_in(top)
    )
    provinces = codes.select(region_code=pl.col("region_code").str.slice(0, 2) + "0000")
    found = provinces.join(regions.zones, on="region_code").group_by("scheme", "zone_id").len()
    for scheme, counts in zones.items():
        assert dict(found.filter(scheme=scheme).select("zone_id", "len").iter_rows()) == counts


# -- numbers -----------------------------------------------------------------------------------------------------------
def test_the_first_fifteen_come_out_as_the_report_ranks_them_with_clear_margins(index, framework, deci):
    cities = ranked(index)
    assert cities.height == 52
    assert cities["short_name_zh"].head(15).to_list() == framework.published["top15_ranked"]
    assert (-cities["score"].diff().slice(1, 15)).min() > 0.3
    both = cities.join(deci.cities.select("region_code", "target"), on="region_code")
    assert (both["score"] - both["target"]).abs().max() < 0.1


def test_each_dimension_is_led_by_the_city_that_the_report_names(index, framework):
    assert leaders_of(index) == framework.published["dimension_leaders"]
    rows = index["scores"].filter(year=2020, level=1)
    for (_,), part in rows.partition_by("node_id", as_dict=True).items():
        first, second = part["score"].sort(descending=True).head(2)
        assert first - second > 1.0


def test_city_types_come_out_as_printed(index, framework):
    types = composite.types(framework, index["scores"], index["ranks"]).frame.filter(year=2020)
    found = types.join(index["names"], on="region_code").group_by("type_id").agg("short_name_zh")
    by_type = dict(found.iter_rows())
    printed = framework.published["city_types"]
    assert set(by_type["comprehensive_leading"]) == set(printed["comprehensive_leading"])
    assert set(by_type["distinctive_pioneering"]) == set(printed["distinctive_pioneering"])
    assert len(by_type["potential_improving"]) == printed["potential_improving"]


def test_leaves_without_a_source_show_in_the_coverage(index):
    rows = index["scores"].filter((pl.col("year") == 2020) & (pl.col("level") < 2))
    least = dict(rows.group_by("node_id").agg(pl.col("coverage").min()).iter_rows())
    assert least["digital_integration_application"] == pytest.approx(4 / 7)
    assert least["digital_economy_demand"] == pytest.approx(3 / 4)
    assert least["digital_innovation_factors"] == 1.0
    assert 0.8 < least["deci"] < 0.9
    assert len(index["weights"].notes["prior_weight"]) == 4


def test_no_threshold_rests_on_a_treated_point_and_each_is_set_by_the_city_meant(index):
    moving = index["thresholds"].filter(rule="winsorised_max")
    base = index["inputs"].filter(year=2020).join(index["names"], on="region_code")
    for leaf, theta in moving.select("indicator_id", "theta").iter_rows():
        first = base.filter(indicator_id=leaf).sort("value", descending=True, nulls_last=True).row(0, named=True)
        assert first["value"] == theta, leaf
        assert PEERLESS.get(leaf, first["short_name_zh"]) == first["short_name_zh"]
    assert set(PEERLESS) < set(moving["indicator_id"])


def test_one_expert_contradicts_himself_and_is_not_pooled(deci):
    found = pooled(deci)
    assert list(found.rejected) == ["A06"]
    assert found.experts["A06"].cr > 0.1
    assert len(found.experts) == 6
    assert max(result.cr for name, result in found.experts.items() if name != "A06") < 0.1
    assert found.result.w.min() > 0.05


def test_delphi_rounds_converge_at_the_last(deci):
    for year in deci.years:
        for item in deci.authority["item"].unique(maintain_order=True):
            rounds, _ = rounds_of(deci, year, item)
            stop = delphi.stop(rounds)
            assert (stop.round, stop.reason) == (len(DISAGREEMENT), "converged")
            assert stop.worst_cv[0] > stop.worst_cv[1]
            assert np.isnan(rounds[0]).any()
            assert not np.isnan(rounds[-1]).any()
            assert rounds[0].shape == (DELPHI_EXPERTS, 52)
    assert DELPHI_EXPERTS >= 7


def test_every_year_rises_towards_the_base_year(index):
    means = index["ranks"].group_by("year").agg(pl.col("score").mean()).sort("year")["score"].to_list()
    assert means == sorted(means)


@pytest.mark.parametrize("seed", [7, 11])
def test_other_seeds_give_other_numbers_and_the_same_order(seed, deci, framework):
    demo = build_demo(years=[2020], seed=seed)
    other = build(demo)
    assert not other.values.equals(deci.values.filter(year=2020))
    found = index_of(other, demo)
    assert ranked(found)["short_name_zh"].head(15).to_list() == framework.published["top15_ranked"]
    assert leaders_of(found) == framework.published["dimension_leaders"]


def test_numbers_do_not_depend_on_the_cities_and_years_asked_for(deci):
    few = build(build_demo(regions=20, years=[2020]))
    codes = few.cities["region_code"].to_list()
    assert 15 <= len(codes) <= 20
    for name in ("values", "delphi"):
        whole = getattr(deci, name).filter((pl.col("year") == 2020) & pl.col("region_code").is_in(codes))
        assert_frame_equal(getattr(few, name), whole, check_row_order=False)
    assert_frame_equal(few.judgements, deci.judgements)


def test_printed_values_keep_their_bounds(deci):
    known = load_variables(REFERENCE / "variables.csv")
    for (variable,), rows in deci.values.partition_by("variable", as_dict=True).items():
        low, high = known[str(variable)].minimum, known[str(variable)].maximum
        assert rows["value"].is_between(low or 0, np.inf if high is None else high).all(), variable
    assert (deci.values["value"] > 0).all()
    assert deci.delphi["score"].drop_nulls().is_between(0, 100).all()


def test_a_city_list_without_a_ranked_city_is_refused(world, framework):
    with pytest.raises(DeiError, match="0 of 15 ranked cities"):
        listed(world.world, replace(framework, city_list="provinces_31x"))


# -- pages -------------------------------------------------------------------------------------------------------------
class Mine(Received):
    """The demo files, with the numbers of this index and its own pages only."""

    def __init__(self, folder: Path, regions: int, years: list[int]) -> None:
        super().__init__(folder, regions, years)
        self.deci = build(self.demo)
        mine = pl.col("file").str.contains("-6-|^网站数据/|^德尔菲/|^层次分析/")
        self.pages, self.cells = self.pages.filter(mine), self.cells.filter(mine)


@pytest.fixture(scope="module")
def received(tmp_path_factory) -> Mine:
    return Mine(tmp_path_factory.mktemp("deci"), 45, [2019, 2020])


def test_every_page_of_the_index_is_recognised(received):
    tables = received.pages.filter(pl.col("sheet") != "text")
    assert tables["reason"].null_count() == tables.height
    assert set(tables["layout"]) == DECI_LAYOUTS
    assert received.cells.filter(role="quarantined").is_empty()
    marked = received.cells.filter(pl.col("text").str.contains("合成数据 SYNTHETIC", literal=True))
    assert set(tables["sha256"]) == set(marked["sha256"])


def test_statistics_and_web_figures_are_read_back_as_the_model_made_them(received):
    values = received.values().filter(~pl.col("subtotal"))
    assert values["region_code"].null_count() == 0
    both = received.deci.values.join(values, on=["region_code", "year", "variable"], how="left", suffix="_read")
    assert both.height == received.deci.values.height
    lost = both.filter(pl.col("value_read").is_null()).select("region_code", "year", "variable")
    assert_frame_equal(lost, deci_pages.planted(received.deci).drop("text"), check_row_order=False)
    assert (both["value"] - both["value_read"]).abs().max() < 1e-9


def test_expert_scores_are_read_back_as_the_model_made_them(received):
    read = expert_tables.delphi_responses(received.cells.lazy(), expert_tables.pages_of(received.pages, DELPHI)).frame
    read = read.rename({"code_hint": "region_code", "judgement_basis": "basis"}, strict=False).with_columns(
        pl.col("item").str.split("\n").list.last()
    )
    made = received.deci.delphi.drop_nulls("score").join(received.deci.authority, on=["expert_id", "item"])
    columns = ["year", "round", "expert_id", "region_code", "item", "score", "familiarity", "basis"]
    assert_frame_equal(read.select(columns), made.select(columns), check_row_order=False)


def test_judgements_are_read_back_as_the_experts_made_them(received):
    read = expert_tables.ahp_judgements(received.cells.lazy(), expert_tables.pages_of(received.pages, AHP)).frame
    labels = [pl.col(f"{side}_label").str.split("\n").list.last().alias(f"{side}_node") for side in ("row", "column")]
    read = read.select("expert_id", *labels, "value").filter(pl.col("row_node") != pl.col("column_node"))
    assert_frame_equal(read, received.deci.judgements, check_row_order=False)


def test_gaps_are_planted_before_the_base_year_only(deci, world):
    gaps = deci_pages.planted(deci)
    assert gaps.height == 2
    assert gaps["year"].max() < 2020
    assert deci_pages.planted(build(build_demo(years=[2020]))).is_empty()
