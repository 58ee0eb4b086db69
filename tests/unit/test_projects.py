"""Key projects of cities: kinds by the reviewed lexicon, each project once, regions, and the demo's lists."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.contracts import python_contracts
from dei_pipeline.demo import projects as demo_projects
from dei_pipeline.demo.model import build
from dei_pipeline.errors import ContractError, MethodError, ReferenceFileError
from dei_pipeline.methods.projects import FIELDS, classify, load_kinds, longest_terms, projects
from dei_pipeline.methods.regions import Regions
from dei_pipeline.settings import Settings
from dei_pipeline.sources.layouts import load_reference, load_units
from dei_pipeline.sources.pages import one_reading
from dei_pipeline.sources.project_lists import RECORD_SCHEMA, records

LEXICON = Settings.reference / "lexicons" / "project_kinds.csv"
KINDS, UNITS, REGIONS = load_kinds(LEXICON), load_units(Settings.reference / "units.csv"), Regions.load()
LABELS = ("name", "kind_label", "heading", "is_new_label")


def kind_of(name: str, kind: str | None = None, heading: str | None = None, flag: str | None = None):
    """Kind, class and what told them."""
    rows = pl.DataFrame([(name, kind, heading, flag)], schema=dict.fromkeys(LABELS, pl.String), orient="row")
    return classify(rows, KINDS).select("kind", "is_new_infrastructure", "kind_from").row(0)


def record(name: str = "甲", value: float = 1.0, cell: str = "aaaaaaaaaaaa/s!D4", **more: object) -> dict[str, object]:
    """A row of staging/project_records."""
    row = {"source_cell": cell, "name": name, "value": value, "unit": "亿元", "approximate": False, "raw_text": "1"}
    row |= {"list_region_label": "深圳市", "year": 2020, "edition": "2020", "source_id": "projects", "file": "f.xlsx"}
    return row | {"kind_label": "5G"} | more


def table(*rows: dict[str, object]):
    staged = pl.DataFrame(list(rows), schema=python_contracts()["staging/project_records"].schema)
    return projects(staged, REGIONS, UNITS, KINDS)


# -- kinds -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # the list states the kind
        (("某项目", "5G"), ("5g", True, "list")),
        (("某污水处理厂", "数据中心"), ("data_centre", True, "list")),
        (("某项目", "新型基础设施(工业互联网)"), ("industrial_internet", True, "list")),
        (("某医院", "污水处理"), ("environment", False, "list")),
        # the list states the class, the name the kind within it
        (("某区充电桩", "新基建"), ("charging", True, "list")),
        (("某区污水处理厂", "新基建"), ("new_infrastructure", True, "list")),
        (("某区数据中心", "传统基建"), ("traditional_infrastructure", False, "list")),
        (("某高速公路", "非新基建"), ("transport", False, "list")),
        # of a column and a heading the column counts, unless it says nothing
        (("某项目", "5G", "传统基础设施"), ("5g", True, "list")),
        (("某项目", "市级重点", "新型基础设施"), ("new_infrastructure", True, "list")),
        # a yes or no decides
        (("某区数据中心", "产业", None, "否"), ("industry", False, "list")),
        (("某区数据中心", None, None, "是"), ("data_centre", True, "list")),
        (("某项目", "传统基建", None, "√"), ("new_infrastructure", True, "list")),
        (("某项目", None, None, "否"), ("other", False, "list")),
        (("某区5G基站", None, None, "待定"), ("5g", True, "name")),
        # a field settles nothing: the name does, or the field stands
        (("深惠城际铁路", "交通"), ("intercity_rail", True, "name")),
        (("某快速路", "交通"), ("transport", False, "list")),
        (("某项目", "交通"), ("transport", False, "list")),
        # the list says nothing
        (("特高压换流站", None), ("uhv_grid", True, "name")),
        (("新能源汽车产业园", None), ("industry", False, "name")),
        (("新能源汽车充电站", None), ("charging", True, "name")),
        (("某产业发展", None), ("industry", False, "name")),
        (("某项目", None), ("other", False, "nothing")),
    ],
)  # fmt: skip
def test_what_the_list_states_decides_and_else_the_name(said, expected):
    assert kind_of(*said) == expected


def test_the_longest_term_counts_and_latin_terms_are_whole_words():
    texts = pl.Series(["城际高速铁路客运站", "15G", "5G+工业互联网", "Ａｉ平台", "HAINAN", "", None])
    found = longest_terms(texts, KINDS)
    told = dict(found.select("text", pl.coalesce("new_kind", "old_kind")).iter_rows())
    assert told == {
        "城际高速铁路客运站": "intercity_rail", "15G": None, "5G+工业互联网": "industrial_internet",
        "Ａｉ平台": "artificial_intelligence", "HAINAN": None, "": None,
    }  # fmt: skip
    assert found.filter(text="城际高速铁路客运站")["new_length"].item() == len("城际高速铁路")


def test_the_name_of_a_kind_is_classified_as_that_kind():
    """The template offers these names."""
    for kind, name in KINDS.names.items():
        assert kind_of("某项目", name)[::2] == (kind, "list")


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="5G数据中心充电桩公路高速ab1 ", max_size=12), st.text(alphabet="5G新基建交通传统", max_size=6))
def test_every_project_gets_one_kind_of_its_class(name, label):
    kind, is_new, kind_from = kind_of(name, label)
    classes = dict(KINDS.terms.select("kind", "is_new").iter_rows()) | {"other": False}
    assert classes[kind] == is_new
    assert kind_from in ("list", "name", "nothing")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x,甲,a,1,class,甲乙,\nx,乙,a,1,kind,丙丁,", "line 3: kind x is described otherwise above"),
        ("x,甲,a,2,class,甲乙,", "is neither 0 nor 1"),
        ("x,甲,a,1,maybe,甲乙,", "decides «maybe» is none of kind, class, field"),
        ("x,甲,a,1,class,,", "is empty"),
        ("x,甲,a,1,class,甲乙,\nx,甲,a,1,kind,甲乙,", "term «甲乙» stands twice"),
        ("x,甲,a,1,class,5G,\nx,甲,a,1,kind,５g,", "5G and ５g read alike"),
        ("x,甲,a,0,class,甲乙,", "no term decides that a project is new infrastructure"),
    ],
)
def test_a_wrong_lexicon_is_refused_with_its_line(tmp_path, line, words):
    path = tmp_path / "project_kinds.csv"
    path.write_text(",".join(FIELDS) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=words):
        load_kinds(path)
    for text in ("", "kind,term\nx,y\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ReferenceFileError, match="columns are not"):
            load_kinds(path)
    with pytest.raises(ReferenceFileError, match="No such file"):
        load_kinds(tmp_path / "none.csv")


# -- the table ---------------------------------------------------------------------------------------------------------
def test_investments_are_in_100m_cny_and_the_edge_has_the_factor():
    made = table(record(value=25_000.0, unit="万元"))
    assert made.frame["investment"].item() == pytest.approx(2.5)
    assert made.edges.select("role", "coefficient").row(0) == ("value", 0.0001)
    assert made.frame["status"].item() == "reported"


def test_kinds_by_name_and_approximate_investments_are_estimates():
    made = table(record("某区5G基站", kind_label=None), record("乙", cell="aaaaaaaaaaaa/s!D5", approximate=True))
    assert set(made.frame["status"]) == {"estimated"}
    assert (made.notes["kinds_by_name"], made.notes["approximate"]) == (1, 1)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"region_label": "广州市"}, "440100"),
        ({"region_label": "南山区"}, "440300"),  # the list's city
        ({"region_label": "广州市天河区"}, "440100"),
        ({"region_label": "吉林", "province_hint": "吉林省", "list_region_label": None}, "220200"),
        ({"region_label": None}, "440300"),
        ({"region_label": "上海市浦东新区", "list_region_label": None}, "310000"),
    ],
)
def test_the_region_of_a_row_counts_before_that_of_its_list(said, code):
    assert table(record(**said)).frame["region_code"].item() == code


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"region_label": "广东省", "list_region_label": "广东省"}, "«广东省» is no city"),
        ({"region_label": "某某市", "list_region_label": None}, "«某某市» is no region known"),
        ({"region_label": "东部地区", "list_region_label": None}, "«东部地区» is a group of regions"),
        ({"region_label": None, "list_region_label": "海南"}, "«海南» is no city"),
    ],
)
def test_what_lies_in_no_city_is_quarantined_with_place_and_fix(said, words):
    made = table(record("甲"), record("乙", cell="bbbbbbbbbbbb/清单!D9", **said))
    assert made.frame["name"].to_list() == ["甲"]
    row = made.quarantine.row(0, named=True)
    assert row["reason"].startswith(words)
    assert (row["file"], row["sheet"], row["cell"]) == ("f.xlsx", "清单", "D9")
    assert row["fix"]


def test_a_project_of_a_list_counts_once_and_namesakes_count_each():
    made = table(
        record("甲", 1.0, "aaaaaaaaaaaa/s!D4"),
        record("甲 ", 1.0, "aaaaaaaaaaaa/s!D5"),  # the same again
        record("甲", 2.0, "aaaaaaaaaaaa/s!D6"),  # another of that name
        record("甲", 9.0, "aaaaaaaaaaaa/s!D7", region_label="广州市"),
    )
    assert sorted(made.frame["investment"]) == [1.0, 2.0, 9.0]
    assert made.frame["project_id"].n_unique() == 3
    assert made.notes["repeats"] == 1
    repeat = made.edges.filter(role="repeat")
    first = made.frame.filter(investment=1.0)["project_id"].item()
    assert repeat.select("child_key", "parent_key", "coefficient").row(0) == (
        f"{first}|440300|2020", "aaaaaaaaaaaa/s!D5", 0.0,
    )  # fmt: skip


def test_of_a_project_in_two_files_the_latest_edition_counts():
    made = table(
        record("甲", 1.0, "aaaaaaaaaaaa/s!D4"),
        record("甲", 3.0, "bbbbbbbbbbbb/s!D4", edition="2021"),
        record("甲", 4.0, "cccccccccccc/s!D4", year=2019, edition="2019"),
    )
    assert sorted(made.frame.select("year", "investment").rows()) == [(2019, 4.0), (2020, 3.0)]
    assert made.frame["project_id"].n_unique() == 1
    assert made.edges.filter(role="superseded")["parent_key"].to_list() == ["aaaaaaaaaaaa/s!D4"]


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_the_records_does_not_matter(order):
    rows = [record("甲", 1.0 + i % 2, f"{'ab'[i % 2] * 12}/s!D{4 + i}", edition=f"202{i % 3}") for i in range(6)]
    made, plain = table(*(rows[i] for i in order)), table(*rows)
    assert made.frame.equals(plain.frame)
    assert made.edges.sort(made.edges.columns).equals(plain.edges.sort(made.edges.columns))


def test_nothing_usable_and_a_strange_unit_are_errors_that_say_why():
    with pytest.raises(ContractError, match=r"none of 1 projects .* first failure in f\.xlsx, sheet s, cell D4"):
        table(record(list_region_label="某地"))
    with pytest.raises(MethodError, match="unit «公里» is not in reference"):
        table(record(unit="公里"))


# -- the demo ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def found():
    return demo_projects.build(build(regions=242, years=[2020]))


def test_the_demo_adds_up_to_the_published_table_and_totals(found):
    table = pl.read_csv(Settings.reference / "published" / "newinfra_top20.csv")
    sums = found.projects.group_by("region_code").agg(
        pl.len(), pl.col("is_new").sum(), pl.col("cents").sum(), new=pl.col("cents").filter("is_new").sum()
    )
    named = found.cities.join(sums, on="region_code").join(table, left_on="short_name_zh", right_on="city")
    assert named.height == 20
    assert (named["len"] == named["projects_total"]).all()
    assert (named["is_new"] == named["projects_newinfra"]).all()
    assert (named["cents"] == 100 * named["total_investment_100m_yuan"]).all()
    assert (named["len"].sum(), named["is_new"].sum()) == (11_295, 3_549)
    assert (found.cities.height, found.projects.height) == (194, 70_000)
    assert found.projects["cents"].sum() == 850_000 * 100
    assert found.projects.filter("is_new")["cents"].sum() == 300_000 * 100
    assert found.projects["cents"].min() >= demo_projects.LEAST
    assert not found.projects.select("region_code", "name").is_duplicated().any()


def test_the_names_of_the_demo_tell_their_class(found):
    rows = found.projects.with_columns(
        pl.lit(None, pl.String).alias(name) for name in ("heading", "is_new_label")
    ).with_columns(kind_label=pl.lit(None, pl.String))
    assert (classify(rows, KINDS)["is_new_infrastructure"] == rows["is_new"]).all()


def test_the_lists_of_a_city_do_not_depend_on_how_many_cities_there_are(found):
    small = demo_projects.build(build(regions=3, years=[2020, 2021]))
    codes = small.cities["region_code"].to_list()
    assert small.projects.equals(found.projects.filter(pl.col("region_code").is_in(codes)))
    assert demo_projects.build(build(regions=3, years=[2019])) is None


def test_every_list_of_the_demo_is_read_and_its_flaws_are_set_aside():
    small = demo_projects.build(build(regions=30, years=[2020]))
    reference = load_reference(Settings.reference)
    kept, reasons = [], []
    for name, _, _, _, content in demo_projects.files(small):
        cells, manifest, reading = one_reading(content, name, {}, Settings.reference)
        assert set(reading.pages["layout"].drop_nulls()) == {"project_records"}, name
        assert reading.page_cells["text"].str.contains("合成数据 SYNTHETIC", literal=True).any(), name
        reasons += reading.page_cells.filter(role="quarantined")["reason"].to_list()
        kept.append(records(cells, manifest, reference))
    rows = pl.concat(kept, how="vertical")
    assert rows.schema == RECORD_SCHEMA
    assert {reason: reasons.count(reason) for reason in set(reasons)} == {
        "not a number": 5, "a range, not one number": 5, "no investment is stated": 5,
    }  # fmt: skip
    homeless = rows.filter(region_label="示例新区").height
    assert rows.height == small.projects.height + 5 + homeless  # 5 lists name a project twice
    assert set(rows["scope_note"].drop_nulls()) == {demo_projects.SCOPE}


def test_parts_add_up_to_their_total():
    parts = demo_projects.apportioned(100, pl.Series([1.0, 1.0, 1.0]).to_numpy())
    assert parts.tolist() == [34, 33, 33]
