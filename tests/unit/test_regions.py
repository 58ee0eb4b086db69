"""Regions: the tables, the matching of printed names, successors. Real files: `test_regions_real.py`."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods.regions import HOW, Regions, core_clusters, core_regions, core_zones, match, successor_shares

REGIONS = Regions.load()
REFERENCE = Path(__file__).resolve().parents[2] / "dei_pipeline" / "reference"
NAMES = {"label": pl.String, "year": pl.Int32, "code_hint": pl.String, "province_hint": pl.String}


def one(label: str | None, year: int | None = 2020, code: str | None = None, province: str | None = None, level=None):
    """The answer for one label, as a dictionary."""
    frame = pl.DataFrame([(label, year, code, province)], schema=NAMES, orient="row")
    return match(frame, REGIONS, level).row(0, named=True)


def in_force(year: int) -> dict[str, str]:
    return dict(REGIONS.in_force(year).select("region_code", "name_zh").iter_rows())


# --- the table ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("year", "prefectures", "cities"), [(2020, 333, 293), (2019, 333, 293), (2018, 334, 294), (2000, 333, 259)]
)
def test_units_at_prefecture_level(year, prefectures, cities):
    table = REGIONS.in_force(year).filter(pl.col("level") == "prefecture")
    assert (table.height, table.filter(pl.col("kind") == "prefecture_city").height) == (prefectures, cities)


def test_provinces_and_nation():
    kinds = dict(REGIONS.in_force().group_by("kind").len().iter_rows())
    assert {k: kinds[k] for k in ("nation", "municipality", "province", "autonomous_region", "sar")} == {
        "nation": 1, "municipality": 4, "province": 23, "autonomous_region": 5, "sar": 2
    }  # fmt: skip
    assert REGIONS.in_force(1996).filter(pl.col("kind") == "municipality").height == 3


def test_a_parent_is_in_force_whenever_its_child_is():
    for year in range(1990, 2026):
        table = REGIONS.in_force(year)
        orphans = table.drop_nulls("parent_code").join(table, left_on="parent_code", right_on="region_code", how="anti")
        assert orphans.is_empty(), (year, orphans["name_zh"].to_list())


def test_a_region_ends_where_its_successors_begin():
    ends = {(r["region_code"], r["valid_to"] + 1) for r in REGIONS.table.filter(pl.col("valid_to") < 9999).to_dicts()}
    events = set(REGIONS.successors.select("region_code", "year").iter_rows())
    assert ends == events
    for code, year, to, _ in REGIONS.successors.iter_rows():
        assert to in in_force(year), (code, year, to)


def test_successor_column_agrees_with_the_shares():
    ended = (pl.col("year") - 1).alias("valid_to")
    whole = REGIONS.successors.filter(pl.col("share") == 1).select("region_code", ended, "successor_code")
    printed = REGIONS.table.drop_nulls("successor_code").select("region_code", "valid_to", "successor_code")
    assert set(whole.iter_rows()) == set(printed.iter_rows())


def test_short_names_are_unique_but_for_jilin():
    now = REGIONS.in_force()
    twice = now.filter(pl.col("short_name_zh").is_duplicated())
    assert set(twice["region_code"]) == {"220000", "220200"}


def test_clusters_zones_and_list():
    clusters = REGIONS.clusters
    assert clusters["cluster_id"].n_unique() == 10
    assert clusters.height == 154
    assert clusters["region_code"].n_unique() == 144
    assert set(clusters.filter(pl.col("evaluated") == 0)["region_code"]) == {"810000", "820000"}
    twice = clusters.filter(pl.col("region_code").is_duplicated())["region_code"].unique()
    assert set(match(twice.to_frame("label"), REGIONS)["region_code"]) == set(twice)
    assert {in_force(2020)[c][:2] for c in twice} == {
        "温州",
        "丽水",
        "衢州",
        "蚌埠",
        "淮北",
        "宿州",
        "阜阳",
        "亳州",
        "邯郸",
        "邢台",
    }
    provinces = set(REGIONS.in_force().filter(pl.col("level") == "province")["region_code"]) - {
        "710000",
        "810000",
        "820000",
    }
    for scheme in REGIONS.zones["scheme"].unique():
        members = REGIONS.zones.filter(pl.col("scheme") == scheme)["region_code"]
        assert sorted(members) == sorted(provinces), scheme
    assert set(REGIONS.zone_labels["zone_id"]) <= set(REGIONS.zones["zone_id"])


def test_the_242_cities_of_the_report_are_the_list():
    published = pl.read_csv(REFERENCE / "published" / "published_dei_scores.csv", infer_schema_length=0)
    asked = published.select(
        pl.col("city").alias("label"), pl.lit(2020).alias("year"), pl.col("province").alias("province_hint")
    )
    found = match(asked, REGIONS, "city")
    assert found["reason"].null_count() == 242
    listed = REGIONS.city_lists.filter(pl.col("list_id") == "dei_2021")
    assert listed["region_code"].to_list() == found["region_code"].to_list()
    assert listed["region_code"].n_unique() == 242


def test_the_clusters_are_those_of_the_specification():
    published = pl.read_csv(REFERENCE / "published" / "clusters.csv", infer_schema_length=0)
    found = match(published.select(pl.col("city").alias("label"), pl.lit(2020).alias("year")), REGIONS, "city")
    ours = set(REGIONS.clusters.select("cluster_id", "region_code").iter_rows())
    assert ours == set(zip(published["cluster_id"], found["region_code"], strict=True))


# --- matching: examples ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "year", "code", "how"),
    [
        ("上海市", 2020, "310000", "exact"),
        ("七台河", 2020, "230900", "short"),
        ("安徽安庆", 2020, "340800", "province_prefix"),
        ("安徽省安庆市", 2020, "340800", "province_prefix"),
        ("Karamay(city)", 2020, "650200", "english"),
        ("北京Beijing", 2020, "110000", "short"),
        ("安  徽 Anhui", 2020, "340000", "short"),
        ("内 蒙 古\r\nInner Mongolia", 2020, "150000", "short"),
        ("黑　龙　江", 2020, "230000", "short"),
        ("#广州市", 2020, "440100", "exact"),
        ("上海①", 2020, "310000", "short"),
        ("南京市区", 2020, "320100", "exact"),
        ("Xi'an", 2020, "610100", "english"),
        ("Lüliang", 2020, "141100", "english"),
        ("Hbei 河北", 2020, "130000", "short"),
        ("全 国", 2020, "100000", "short"),
        ("地方合计", 2020, "100000", "alias"),
        ("内蒙", 2020, "150000", "alias"),
        ("延边州", 2020, "222400", "short"),
        ("巴音郭楞", 2020, "652800", "short"),
        ("襄樊市", 2005, "420600", "exact"),
        ("襄樊", 2015, "420600", "alias"),
        ("襄阳", 2005, "420600", "alias"),
        ("思茅市", 2005, "530800", "exact"),
        ("毕节市", 2005, "522400", "alias"),
        ("毕节地区", 2015, "520500", "alias"),
        ("南宁", 2000, "450100", "short"),
        ("南宁地区", 2000, "452100", "exact"),
        ("莱芜", 2018, "371200", "short"),
        ("巢湖", 2010, "341400", "short"),
        ("重庆", 1992, "510200", "short"),
        ("眉山", 1998, "513800", "short"),
        ("海南", 2020, "460000", "short"),
        ("310000", 2020, "310000", "code"),
        ("520500.0", 2005, "522400", "code"),
        ("广东", 1952, "440000", "short"),
    ],
)
def test_a_name_finds_the_code_in_force(label, year, code, how):
    found = one(label, year)
    assert (found["region_code"], found["how"]) == (code, how)


@pytest.mark.parametrize("label", ["东部地区", "东部", "Eastern Region", "东 部 地 区"])
def test_a_subtotal_is_a_zone_and_no_failure(label):
    found = one(label)
    assert (found["zone_id"], found["how"], found["region_code"], found["reason"]) == ("nbs4_east", "zone", None, None)


def test_jilin_is_decided_by_the_page_or_the_province():
    assert one("吉林")["reason"] == "«吉林» can mean 吉林省 (220000) or 吉林市 (220200)"
    assert one("吉林", level="province")["region_code"] == "220000"
    assert one("吉林", level="city")["region_code"] == "220200"
    assert one("吉林", province="吉林省")["region_code"] == "220200"
    assert one("吉林", code="220000")["region_code"] == "220000"
    assert one("重庆市", 1992, level="province")["region_code"] == "500000"
    assert one("重庆市", 1992, level="city")["region_code"] == "510200"


def test_english_homonyms_need_the_province():
    assert "苏州市 (320500) or 宿州市 (341300)" in one("Suzhou")["reason"]
    assert one("Suzhou", province="安徽")["region_code"] == "341300"


# --- matching: failures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "year", "reason", "candidates"),
    [
        ("莱芜市", 2020, "莱芜市 was dissolved in 2019 into 济南市 (370100)", "济南市 (370100)"),
        ("巢湖", 2011,
         "巢湖市 was dissolved in 2011 and split over 合肥市 (340100), 芜湖市 (340200), 马鞍山市 (340500)",
         "合肥市 (340100); 芜湖市 (340200); 马鞍山市 (340500)"),
        ("莱芜", None, "莱芜市 was dissolved in 2019 into 济南市 (370100), and no year is known here",
         "济南市 (370100)"),
        ("来宾市", 2000, "来宾市 (451300) exists only since 2002; «来宾市» is for 2000", "来宾市 (451300)"),
        ("371200", 2020, "莱芜市 was dissolved in 2019 into 济南市 (370100)", "济南市 (370100)"),
        ("", 2020, "«» holds no region name", ""),
        (None, 2020, "«» holds no region name", ""),
        ("999999", 2020, "code 999999 is not in reference/regions.csv", ""),
    ],
)  # fmt: skip
def test_a_refusal_says_why(label, year, reason, candidates):
    found = one(label, year)
    assert (found["region_code"], found["reason"], found["candidates"]) == (None, reason, candidates)
    assert found["fix"]


@pytest.mark.parametrize(("label", "nearest"), [("内蒙占", "内蒙古自治区"), ("毫州", "亳州市"), ("Hbei", "河北省"),
                                               ("Tianji", "天津市"), ("呼和浩待市", "呼和浩特市")])  # fmt: skip
def test_a_misprint_is_refused_with_the_nearest_names(label, nearest):
    found = one(label)
    assert found["region_code"] is None
    assert found["candidates"].startswith(nearest)
    assert "reference/region_aliases.csv" in found["fix"]


def test_a_contradiction_beside_the_name_is_refused():
    assert "the code beside it, 110000, is 北京市" in one("广州市", code="110000")["reason"]
    assert "no region of prefecture level" in one("毕节市", 2005, code="522401")["reason"]
    assert "does not lie in «江苏»" in one("安庆", province="江苏")["reason"]
    assert one("安庆", code="340000")["region_code"] == "340800"
    assert one("毕节市", 2005, code="520500")["region_code"] == "522400"
    assert one("Hbei", code="130000")["how"] == "code"


def test_known_non_regions_are_refused_with_their_reason():
    assert "no region of GB/T 2260" in one("新疆生产建设兵团")["reason"]
    assert "does not name its area" in one("合计")["reason"]


def test_county_names_do_not_pass_for_prefectures():
    for label in ("大理市", "恩施市", "朝阳区", "阿克苏市", "海州区", "新华区", "琼山区"):
        assert one(label)["region_code"] is None, label


def test_an_unknown_level_and_broken_files_are_errors(tmp_path):
    with pytest.raises(ReferenceFileError, match="level 'town'"):
        one("北京", level="town")
    with pytest.raises(ReferenceFileError, match=r"regions\.csv is missing"):
        Regions.load(tmp_path)
    for source in REFERENCE.glob("*.csv"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    Regions.load(tmp_path)
    path = tmp_path / "region_successors.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("341400,2011,340100,", "341400,2011,340100,0.5"), encoding="utf-8")
    with pytest.raises(ReferenceFileError, match="341400"):
        Regions.load(tmp_path)
    path.write_text(text + "371200,2019,379999,\n", encoding="utf-8")
    with pytest.raises(ReferenceFileError, match="379999"):
        Regions.load(tmp_path)
    path.write_text(text, encoding="utf-8")
    with (tmp_path / "regions.csv").open("a", encoding="utf-8") as file:
        file.write("110000,2000,,北京市,北京,Beijing,province,municipality,100000,\n")
    with pytest.raises(ReferenceFileError, match="110000 overlap"):
        Regions.load(tmp_path)


# --- matching: properties ----------------------------------------------------------------------------------------

ROWS = REGIONS.table.to_dicts()
SPACES = st.sampled_from(["", " ", "  ", "　", "\t", "\r\n", " "])


@settings(max_examples=60, deadline=None)
@given(row=st.sampled_from(ROWS), data=st.data(), mark=st.sampled_from(["", "*", "①", "#", "1)", "※"]))
def test_inner_spaces_and_marks_change_nothing(row, data, mark):
    year = data.draw(st.integers(row["valid_from"], min(row["valid_to"], 2024)))
    name = data.draw(st.sampled_from([row["name_zh"], row["short_name_zh"]]))
    spaced = "".join(letter + data.draw(SPACES) for letter in name) + mark
    plain, other = one(name, year, level="city"), one(spaced, year, level="city")
    for column in ("region_code", "zone_id", "how"):
        assert plain[column] == other[column]


def test_every_region_finds_itself_by_name_and_code_in_each_of_its_years():
    table = REGIONS.table.with_columns(pl.col("valid_to").clip(upper_bound=2025))
    years = table.with_columns(year=pl.int_ranges("valid_from", pl.col("valid_to") + 1)).explode("year")
    for column in ("region_code", "name_zh"):
        found = match(years.select(pl.col(column).alias("label"), pl.col("year").cast(pl.Int32)), REGIONS)
        assert found["region_code"].to_list() == years["region_code"].to_list()
    codes = REGIONS.table["region_code"].unique().to_frame("label")
    assert match(codes, REGIONS)["region_code"].to_list() == codes["label"].to_list()


def test_the_short_name_finds_the_region_wherever_it_is_not_shared():
    for year in (1990, 2000, 2010, 2020):
        table = REGIONS.in_force(year)
        asked = table.select(pl.col("short_name_zh").alias("label"), pl.lit(year, pl.Int32).alias("year"))
        found = match(asked, REGIONS, "city")
        shared = table["short_name_zh"].is_duplicated()
        wrong = table.filter(~shared & (table["region_code"] != found["region_code"].fill_null("")))
        assert wrong["name_zh"].to_list() == [], year


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["吉林", "上海", "东部", "巢湖"])),
                          st.one_of(st.none(), st.integers(1949, 2100))), max_size=20))  # fmt: skip
def test_every_row_gets_exactly_one_of_code_zone_and_reason(rows):
    asked = pl.DataFrame(rows, schema={"label": pl.String, "year": pl.Int32}, orient="row")
    found = match(asked, REGIONS)
    assert found.select("label", "year").equals(asked)
    answers = found.select(
        pl.sum_horizontal(pl.col(c).is_not_null().cast(pl.Int32) for c in ("region_code", "zone_id", "reason"))
    )
    assert answers.to_series().to_list() == [1] * asked.height
    assert set(found["how"].drop_nulls()) <= set(HOW)
    failed = found.drop_nulls("reason")
    assert failed["fix"].null_count() == failed["candidates"].null_count() == 0


# --- successors and core tables ----------------------------------------------------------------------------------


def test_successor_shares_follow_the_chain():
    asked = pl.DataFrame(
        [("371200", 2010), ("341400", 2005), ("420600", 2000), ("512200", 1990), ("511400", 1995), ("511400", 2005),
         ("310000", 2000)],
        schema={"region_code": pl.String, "year": pl.Int32}, orient="row",
    )  # fmt: skip
    found = {(r["region_code"], r["year"]): r for r in successor_shares(asked, REGIONS, 2020).to_dicts()}
    assert len(found) == asked.height
    goes = {key: (row["successor_code"], row["share"]) for key, row in found.items()}
    assert goes["371200", 2010] == ("370100", 1.0)
    assert goes["341400", 2005] == (None, None)
    assert "gives no shares" in found["341400", 2005]["reason"]
    assert goes["420600", 2000] == ("420600", 1.0)
    assert goes["512200", 1990] == ("500000", 1.0)
    assert goes["511400", 1995] == ("500000", 1.0)
    assert goes["511400", 2005] == ("511400", 1.0)
    assert goes["310000", 2000] == ("310000", 1.0)
    early = successor_shares(asked.head(1), REGIONS, 2018).row(0, named=True)
    assert (early["successor_code"], early["share"]) == ("371200", 1.0)


def test_given_shares_split_a_dissolved_region(tmp_path):
    for source in REFERENCE.glob("*.csv"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    path, text = tmp_path / "region_successors.csv", (REFERENCE / "region_successors.csv").read_text(encoding="utf-8")
    for code, share in (("340100", "0.5"), ("340200", "0.3"), ("340500", "0.2")):
        text = text.replace(f"341400,2011,{code},", f"341400,2011,{code},{share}")
    path.write_text(text, encoding="utf-8")
    asked = pl.DataFrame({"region_code": ["342600"], "year": [1995]})
    found = successor_shares(asked, Regions.load(tmp_path), 2020)
    assert dict(found.select("successor_code", "share").iter_rows()) == {"340100": 0.5, "340200": 0.3, "340500": 0.2}


def test_core_tables_have_their_contract_and_an_edge_per_row():
    table = core_regions(REGIONS)
    promised = {"region_code", "valid_from", "name_zh", "short_name_zh", "level", "parent_code", "valid_to"}
    assert promised | {"successor_code"} <= set(table.frame.columns)
    assert not table.frame.select("region_code", "valid_from").is_duplicated().any()
    assert table.frame["valid_to"].max() == 2018
    assert set(table.edges["parent_table"]) == {"reference/regions.csv"}
    assert table.edges["child_key"].to_list() == table.edges["parent_key"].to_list()
    assert "420600|2010" in set(table.edges["child_key"])
    for other, key in ((core_clusters(REGIONS), "cluster_id"), (core_zones(REGIONS), "zone_id")):
        assert not other.frame.select(key, "region_code").is_duplicated().any()
        assert other.edges.height == other.frame.height
    assert table.edges.height == table.frame.height
