"""Demo sources: a known answer for the whole path, and pages as messy as the real ones."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dei_pipeline.demo import formats, pages
from dei_pipeline.demo.generate import LICENCE, generate
from dei_pipeline.demo.model import REFERENCE, Demo, build, level_one_targets, logit
from dei_pipeline.demo.policies import DOMAINS
from dei_pipeline.errors import DeiError
from dei_pipeline.sources.decode import decode
from dei_pipeline.sources.workbook import quarantined
from tests.unit.demo_files import DECI_LAYOUTS, Received
from tests.unit.demo_index import computed

YEARS = range(2015, 2021)
COUNTS = {"tier1": 6, "tier1_new": 47, "tier2": 71, "tier3": 88, "tier4": 30}
MEANS = {
    "data_info_infrastructure": 63.5,
    "city_service": 54.2,
    "city_governance": 56.3,
    "industry_fusion": 41.9,
}


@pytest.fixture(scope="module")
def demo() -> Demo:
    return build()


@pytest.fixture(scope="module")
def index(demo: Demo) -> dict[str, pl.DataFrame]:
    return index_of(demo)


def index_of(demo: Demo, listed: pl.DataFrame | None = None) -> dict[str, pl.DataFrame]:
    return computed(demo.framework, demo.values, demo.cities if listed is None else listed)


# -- numbers -----------------------------------------------------------------------------------------------------------
def test_the_computed_base_year_is_the_published_one(demo, index):
    ranks = index["ranks"].filter(pl.col("year") == 2020).join(demo.cities, on="region_code", suffix="_printed")
    assert ranks.height == 242
    assert (ranks["score"] - ranks["score_printed"]).abs().max() < 0.02
    assert ranks["score_published"].to_list() == ranks["score_printed"].to_list()
    assert ranks["rank"].to_list() == ranks["rank_printed"].to_list()
    assert dict(ranks.group_by("tier_id").len().iter_rows()) == COUNTS


def test_the_level_one_means_are_the_published_ones(index):
    base = index["scores"].filter((pl.col("year") == 2020) & (pl.col("level") == 1))
    means = dict(base.group_by("node_id").agg(pl.col("score").mean()).iter_rows())
    assert {node: round(mean, 1) for node, mean in means.items()} == MEANS


def test_leaves_spread_around_the_level_of_their_city(index):
    base = index["normalised"].filter(pl.col("year") == 2020)
    assert base["score"].is_between(0, 100).all()
    wide = base.pivot("indicator_id", index="region_code", values="score").sort("region_code")
    total = index["ranks"].filter(pl.col("year") == 2020).sort("region_code")["score"].to_numpy()
    leaves = wide.drop("region_code").to_numpy()
    correlation = np.array([np.corrcoef(leaf, total)[0, 1] for leaf in leaves.T])
    assert leaves.shape == (242, 46)
    assert correlation.min() > 0.5
    assert correlation.max() < 0.95
    assert leaves.std(axis=0).min() > 3


def test_every_year_rises_smoothly_towards_the_base_year(index):
    means = index["ranks"].group_by("year").agg(pl.col("score").mean()).sort("year")["score"].to_numpy()
    assert means.size == 6
    assert (np.diff(means) > 1.0).all()
    assert (np.diff(means) < 4.0).all()
    wide = index["ranks"].pivot("year", index="region_code", values="score").drop("region_code").to_numpy()
    assert (np.diff(wide, axis=1) > -0.5).all()


def test_no_threshold_rests_on_a_treated_point(index):
    columns = {leaf: part for (leaf,), part in index["inputs"].partition_by("indicator_id", as_dict=True).items()}
    moving = index["thresholds"].filter(pl.col("rule") == "winsorised_max")
    assert moving.height == 3
    for leaf, theta in moving.select("indicator_id", "theta").iter_rows():
        assert theta == columns[leaf].filter(pl.col("year") == 2020)["value"].max()


def test_rubric_points_have_two_decimals_and_keep_their_maximum(demo):
    points = demo.values.join(demo.framework.terms.filter(pl.col("role") == "points"), on="variable")
    assert points.height == 242 * 6 * 102
    assert (points["value"] >= 0).all()
    assert (points["value"] <= points["max_points"]).all()
    assert (points["value"] == points["value"].round(2)).all()
    partial = points.filter((pl.col("value") > 0) & (pl.col("value") < pl.col("max_points")))
    assert 0.2 < partial.height / points.height < 0.5


def test_counts_are_whole_and_some_governance_areas_are_absent(demo, index):
    counts = demo.framework.terms.filter(pl.col("role") == "count")["variable"].to_list()
    values = demo.values.filter(pl.col("variable").is_in(counts))["value"]
    assert (values == values.round(0)).all()
    assert values.min() >= 0
    absent = index["normalised"].filter((pl.col("year") == 2020) & (pl.col("score") == 0))
    assert 1 <= absent["region_code"].n_unique() < 30


def test_gdp_reaches_one_year_further_back_and_is_not_copied(demo):
    gdp = demo.by_variable["gdp"]
    assert sorted(gdp["year"].unique()) == [2014, *YEARS]
    scale = pl.read_csv(REFERENCE / "published" / "published_scale.csv")["scale_100m_yuan"].sum()
    assert 0.40 < scale / gdp.filter(pl.col("year") == 2020)["value"].sum() < 0.50


def test_equal_seeds_give_equal_numbers_and_other_seeds_others(demo):
    assert_frame_equal(build(seed=0).values, demo.values)
    other = build(seed=7)
    assert not other.values.equals(demo.values)
    ranks = index_of(other)["ranks"].filter(pl.col("year") == 2020)
    ranks = ranks.join(demo.cities, on="region_code", suffix="_printed")
    assert (ranks["score"] - ranks["score_printed"]).abs().max() < 0.02


def test_draws_do_not_depend_on_the_years_asked_for(demo):
    alone = build(years=[2020]).values.filter(pl.col("year") == 2020)
    assert_frame_equal(alone, demo.values.filter(pl.col("year") == 2020), check_row_order=False)


def test_the_years_after_the_base_year_go_on_rising():
    ranks = index_of(build(regions=60, years=[2020, 2021, 2023]))["ranks"]
    means = ranks.group_by("year").agg(pl.col("score").mean()).sort("year")["score"].to_list()
    assert means[0] < means[1] < means[2] < 100


@pytest.mark.parametrize("regions", [1, 12, 300])
def test_any_number_of_cities_is_calibrated(regions):
    demo = build(regions=regions, years=[2020])
    ranks = index_of(demo)["ranks"].join(demo.cities, on="region_code", suffix="_printed")
    assert ranks.height == regions
    assert (ranks["score"] - ranks["target"]).abs().max() < 0.01
    printed = ranks.drop_nulls("score_printed")
    assert (printed["score_published"] == printed["score_printed"]).all()
    assert (ranks.filter(pl.col("score_printed").is_null())["score"] < 35.0).all()


def test_further_cities_do_not_move_the_ranked_ones():
    demo = build(regions=300, years=[2020])
    listed = demo.cities.filter(pl.col("rank").is_not_null())
    ranks = index_of(demo, listed)["ranks"].join(listed, on="region_code", suffix="_printed")
    assert ranks.height == 242
    assert (ranks["score_published"] == ranks["score_printed"]).all()


@pytest.mark.parametrize(("regions", "years"), [(0, [2020]), (5000, [2020]), (12, []), (12, [1980])])
def test_impossible_sizes_are_refused(regions, years):
    with pytest.raises(DeiError, match="demo"):
        build(regions=regions, years=years)


def test_level_one_targets_meet_scores_and_means():
    scores, weights = np.array([90.0, 50.0, 40.0]), np.array([0.4, 0.6])
    found = level_one_targets(scores, weights, np.array([66.0, 56.0]), np.zeros((3, 2)), 3)
    assert found @ weights == pytest.approx(scores, abs=1e-9)
    assert found.mean(axis=0) == pytest.approx([66.0, 56.0], abs=1e-9)  # 0.4·66 + 0.6·56 = 60 = mean of the scores
    assert logit(np.array([50.0]))[0] == 0.0


# -- pages -------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def received(tmp_path_factory) -> Received:
    return Received(tmp_path_factory.mktemp("demo"), 40, [2017, 2018, 2019, 2020])


def test_files_come_in_the_formats_of_real_ones(received):
    assert set(received.kinds.values()) == {"xlsx", "xlsx-encrypted", "html", "csv"}
    assert {f.licence for f in received.files} == {LICENCE}
    assert all("synthetic" in f.producer and "SYNTHETIC" in f.title for f in received.files)
    assert len(received.files) == 4 * (5 + 7) + 2 + 9  # by year: 5 files of the one index, 7 of the other


def test_every_page_says_that_it_is_synthetic(received):
    marked = received.cells.filter(pl.col("text").str.contains("合成数据 SYNTHETIC", literal=True))
    sheets = received.pages.select("file", "sheet").unique()
    assert sheets.join(marked, on=["file", "sheet"], how="anti").is_empty()
    assert not received.cells["text"].str.contains("https?://").any()


def test_every_page_is_recognised_with_its_year(received):
    tables = received.pages.filter(pl.col("sheet") != "text")
    assert tables["layout"].null_count() == 0
    assert (
        set(tables["layout"])
        == {
            "city_yearbook__population",
            "city_yearbook__telecom",
            "city_yearbook__industry",
            "city_panel__gdp",
            "region_indicator__page",
            "assessment__checkpoints",
        }
        | DECI_LAYOUTS
    )
    long = pl.col("layout").str.contains("^(city_panel|web_metrics|ahp)")
    by_page = tables.filter(~long)
    assert (by_page["year"] + 1 == by_page["edition"].cast(pl.Int32)).all()
    assert set(by_page["year_from"]) == {"title", "filename"}


def test_what_is_read_back_is_what_the_model_made(received):
    flaws = pages.planted(received.demo)
    values = received.values().filter(~pl.col("subtotal"))
    newest = values.sort("edition").unique(["region_code", "year", "variable"], keep="last")
    both = received.demo.values.join(newest, on=["region_code", "year", "variable"], how="left", suffix="_read")
    lost = both.filter(pl.col("value_read").is_null()).select("region_code", "year", "variable")
    planted = flaws.filter(pl.col("kind").is_in(["missing", "mask", "text"])).select("region_code", "year", "variable")
    in_documents = received.demo.values.filter(pl.col("variable").is_in([*DOMAINS]), year=2020)
    assert_frame_equal(lost, pl.concat([planted, in_documents.select(planted.columns)]), check_row_order=False)
    assert (both["value"] - both["value_read"]).abs().max() < 1e-9


def test_exactly_the_planted_flaws_end_in_quarantine(received):
    flaws = pages.planted(received.demo)
    assert dict(flaws.filter(pl.col("kind") != "superseded").group_by("kind").len().iter_rows()) == {
        "missing": 5,
        "mask": 1,
        "text": 1,
        "unknown_region": 2,
    }
    assert flaws["year"].max() < 2020
    staged = quarantined(received.cells).select("year", "variable", text="raw_text")
    wrong = flaws.filter(pl.col("kind").is_in(["mask", "text"])).select("year", "variable", "text")
    assert_frame_equal(staged, wrong, check_row_order=False)
    homeless = received.values().filter(pl.col("region_code").is_null()).select("year", "variable", text="label")
    unknown = flaws.filter(pl.col("kind") == "unknown_region").select("year", "variable", "text")
    assert_frame_equal(homeless, unknown, check_row_order=False)


def test_an_older_edition_states_one_year_differently_and_no_edition_states_a_value_twice(received):
    values = received.values().drop_nulls("region_code")
    assert values.select("region_code", "year", "variable", "edition").is_duplicated().sum() == 0
    gdp = values.filter((pl.col("variable") == "gdp") & (pl.col("layout") == "city_panel__gdp"))
    editions = gdp.group_by("region_code", "year").agg(pl.col("value").sort_by("edition"), pl.col("edition").sort())
    twice = editions.filter(pl.col("value").list.len() == 2)
    changed = twice.filter(pl.col("value").list.n_unique() == 2)
    planted = pages.planted(received.demo).filter(pl.col("kind") == "superseded").select("region_code", "year")
    assert_frame_equal(changed.select("region_code", "year"), planted, check_row_order=False)
    assert planted.height == 40


def test_province_rows_add_up_their_cities(received):
    cells = received.cells.filter((pl.col("layout") == "city_yearbook__population") & (pl.col("role") == "value"))
    provinces = cells.filter(pl.col("region_label").str.contains("省$|自治区$"))
    assert provinces.height > 4 * 10
    total = received.demo.wide(["resident_population"], 2020).filter(pl.col("province_zh") == "江苏省")
    printed = provinces.filter((pl.col("region_label") == "江苏省") & (pl.col("year") == 2020))
    people = printed.filter(pl.col("variable") == "resident_population")["number"].item()
    assert people == pytest.approx(total["resident_population"].sum(), abs=1e-6)


def test_equal_arguments_give_equal_bytes(tmp_path):
    first, second = (generate(tmp_path / name, 12, [2018, 2020]) for name in ("a", "b"))
    assert [f.path.read_bytes() for f in first] == [f.path.read_bytes() for f in second]
    told: list[str] = []
    generate(tmp_path / "c", 1, [2020], progress=told.append)
    apart = ("重点项目/", "政策文件/", "企业登记/", "股权/")  # lists of projects, documents, registers
    assert len([name for name in told if not name.startswith(apart)]) == 5 + 1 + 7 + 9


def test_twelve_cities_of_one_year_have_no_flaws(tmp_path):
    small = Received(tmp_path, 12, [2020])
    assert pages.planted(small.demo).is_empty()
    assert quarantined(small.cells).is_empty()
    assert small.values()["region_code"].null_count() == 0
    assert small.demo.by_variable["gdp"]["year"].unique().sort().to_list() == [2019, 2020]


def test_encryption_leaves_the_library_as_it_was():
    from msoffcrypto.method import ecma376_agile
    from msoffcrypto.method.container import ecma376_encrypted

    before = ecma376_agile.secrets, ecma376_encrypted.datetime
    workbook = formats.xlsx({"a": formats.Page([["x", 1.5]])})
    assert decode(formats.encrypted(workbook), "a.xls").cells["text"].to_list() == ["x", "1.5"]
    assert (ecma376_agile.secrets, ecma376_encrypted.datetime) == before


def test_long_tables_escape_and_keep_their_types():
    table = pl.DataFrame({"a": ["<&>", None], "b": [1.25, 3.0]})
    cells = decode(formats.xlsx_table([["题", "数"]], table, "页"), "t.xlsx").cells
    assert cells.select("cell", "kind", "text").rows() == [
        ("A1", "text", "题"),
        ("B1", "text", "数"),
        ("A2", "text", "<&>"),
        ("B2", "number", "1.25"),
        ("B3", "number", "3"),
    ]
