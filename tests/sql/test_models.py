"""What the SQL models compute and what their rows are made of."""

import re
import shutil
from dataclasses import replace

import duckdb
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dei_pipeline.contracts import MadeOf
from dei_pipeline.descent import Downward
from dei_pipeline.errors import NothingToDo, ReferenceFileError
from dei_pipeline.lake import Lake
from dei_pipeline.methods.tiers import round_half_up
from dei_pipeline.provenance import KEY_SEPARATOR, row_key
from dei_pipeline.sql_models import edges_to, load_models, run_model, select, tables_of
from dei_pipeline.tables import Inputs
from tests.lakes import demo_lake
from tests.sql.rows import GRAINS, SETTINGS, SPECS, frames, sql_of

MODELS = {key: spec for key, spec in SPECS.items() if spec.contract.made_of}
WAYS = [
    (key, parent, made)
    for key, spec in MODELS.items()
    for parent, ways in spec.contract.made_of.items()
    for made in ways
]


@pytest.fixture(scope="module")
def lake() -> Lake:
    return Lake(demo_lake().lake)


# -- rounding ----------------------------------------------------------------------------------------------------------
def test_sql_rounds_only_as_the_method_does():
    form = r"round\(cast\([a-z_.]+ as decimal\(18, 9\)\), 1\)::double"
    for key in MODELS:
        assert len(re.findall(r"\bround\(", sql_of(key))) == len(re.findall(form, sql_of(key))), key
    assert re.search(form, sql_of("release/deci_leaders"))


def test_decimal_rounding_in_sql_is_half_up_like_the_method():
    ties = np.arange(0, 100, 0.05)
    near = np.concatenate([np.nextafter(ties, -1), np.nextafter(ties, 101), ties - 4e-10, ties + 4e-10])
    random = np.random.default_rng(0).uniform(0, 100, 20_000)
    values = np.clip(np.concatenate([ties, near, random, [84.94999999999999, 0.25, 100.0]]), 0, 100)
    table = pl.DataFrame({"x": values})
    with duckdb.connect(":memory:") as connection:
        connection.register("t", table)
        rounded = connection.sql("select round(cast(x as decimal(18, 9)), 1)::double as y from t").pl()["y"].to_numpy()
    wrong = rounded != round_half_up(values, 1)
    assert not wrong.any(), list(zip(values[wrong], rounded[wrong], strict=True))[:5]


@pytest.mark.parametrize("index", ["dei", "deci"])
def test_a_ranking_prints_the_scores_that_the_method_rounds(lake, index):
    ranking, scores = lake.read(f"release/{index}_ranking"), lake.read(f"index/{index}_scores")
    for node in scores.filter(level=1)["node_id"].unique():
        joined = ranking.join(scores.filter(node_id=node), on=["region_code", "year"], suffix="_exact")
        assert joined.height == ranking.height
        assert (joined[node].to_numpy() == round_half_up(joined["score_exact"].to_numpy(), 1)).all()


# -- lineage -----------------------------------------------------------------------------------------------------------
def parsed(edges: pl.DataFrame, side: str, grain: tuple[str, ...]) -> pl.DataFrame:
    """The key columns of one side of edges, as text, named `<side>_<column>`."""
    parts = edges[f"{side}_key"].str.split_exact(KEY_SEPARATOR, len(grain) - 1)
    return parts.struct.rename_fields([f"{side}_{column}" for column in grain]).struct.unnest()


@pytest.mark.parametrize("key", MODELS)
def test_every_row_of_a_model_has_edges_to_each_parent_it_is_made_of(lake, key):
    edges = lake.scan(key, side="lineage").collect()
    rows = lake.read(key).height
    assert set(edges["parent_table"]) == set(MODELS[key].contract.made_of)
    for parent, ways in MODELS[key].contract.made_of.items():
        for made in ways:
            found = of_way(edges, parent, made)["child_key"].n_unique()
            assert found == rows or (made.some and 0 < found < rows), (parent, made)
        assert len(ways) == len({made.role for made in ways}), "each way to a parent has a role of its own"
    assert not edges.drop("coefficient").is_duplicated().any()


def of_way(edges: pl.DataFrame, parent: str, made: MadeOf) -> pl.DataFrame:
    mine = edges.filter(parent_table=parent)
    return mine.filter(role=made.role) if made.role else mine


@pytest.mark.parametrize(
    ("key", "parent", "made"), WAYS, ids=[f"{key} <- {parent} {made.role}".strip() for key, parent, made in WAYS]
)
def test_edges_lead_to_the_parent_rows_that_share_the_stated_columns(lake, key, parent, made):
    contract = MODELS[key].contract
    pairs = [part.split("=") if "=" in part else [part, part] for part in made.by]
    edges = of_way(lake.scan(key, side="lineage").collect(), parent, made)
    ours, theirs = parsed(edges, "child", contract.grain), parsed(edges, "parent", GRAINS[parent])
    for mine, other in pairs:
        if mine in contract.grain and other in GRAINS[parent]:
            assert (ours[f"child_{mine}"] == theirs[f"parent_{other}"]).all(), (mine, other)
    on = " and ".join(f"child.{mine} = parent.{other}" for mine, other in pairs) or "true"
    with duckdb.connect(":memory:") as connection:
        connection.register("child", lake.read(key))
        connection.register("whole", lake.read(parent))
        kept = f"(select * from whole where {made.where or 'true'}) as parent"
        ((expected,),) = connection.sql(f"select count(*) from child inner join {kept} on {on}").fetchall()
    assert edges.height == expected > 0


@pytest.mark.parametrize(
    ("key", "column", "parent", "value"),
    [
        ("release/cluster_members", "score", "index/dei_city_scores", "score"),
        ("release/cluster_scores", "score", "release/cluster_members", "score"),
        ("release/tier_summary", "mean_score", "index/dei_city_scores", "score"),
    ],
)
def test_where_a_model_is_linear_coefficients_times_parents_give_the_row(lake, key, column, parent, value):
    edges = lake.scan(key, side="lineage").collect().filter(parent_table=parent)
    parents = lake.read(parent).select(pl.col(value), parent_key=row_key(GRAINS[parent]))
    summed = (
        edges.join(parents, on="parent_key").group_by("child_key").agg((pl.col("coefficient") * pl.col(value)).sum())
    )
    rows = lake.read(key).select(pl.col(column), child_key=row_key(MODELS[key].contract.grain))
    both = rows.join(summed, on="child_key")
    assert both.height == rows.height
    assert np.abs(both[column].to_numpy() - both["coefficient"].to_numpy()).max() < 1e-9


def edges_of(lake: Lake, key: str, child: str, parent: str) -> set[str]:
    edges = lake.scan(key, side="lineage").collect().filter(child_key=child, parent_table=parent)
    return set(edges["parent_key"])


def test_an_indicator_is_made_of_its_parts_and_these_of_observations(lake):
    parts = lake.read("mart/indicator_parts").filter(region_code="310000", year=2020)
    one = parts["indicator_id"].mode().sort()[0]
    variables = parts.filter(indicator_id=one)["variable"].to_list()
    assert edges_of(lake, "mart/city_indicators", f"310000|2020|{one}", "mart/indicator_parts") == {
        f"310000|2020|{one}|{variable}" for variable in variables
    }
    for variable in variables:
        key = f"310000|2020|{one}|{variable}"
        assert edges_of(lake, "mart/indicator_parts", key, "core/observations") == {f"310000|2020|{variable}"}
        assert edges_of(lake, "mart/indicator_parts", key, "core/indicator_terms") == {f"{one}|{variable}"}


def test_the_role_of_a_part_is_the_role_of_the_edge(lake):
    edges = lake.scan("mart/city_indicators", side="lineage").collect()
    parts = lake.read("mart/indicator_parts").with_columns(
        key=pl.concat_str([pl.col(c).cast(pl.String) for c in GRAINS["mart/indicator_parts"]], separator="|")
    )
    joined = edges.join(parts.select("key", expected="role"), left_on="parent_key", right_on="key")
    assert joined.height == edges.height
    assert (joined["role"] == joined["expected"]).all()


def test_a_cluster_member_is_weighted_by_the_gdp_of_the_year_before(lake):
    weight = edges_of(lake, "release/cluster_members", "2020|computed|yangtze_river_delta|310000", "core/observations")
    assert weight == {"310000|2019|gdp"}


def test_a_region_is_made_of_the_row_in_force_not_of_its_predecessors(lake):
    """襄樊 and 襄阳 share 420600; in 2020 only 襄阳 was in force."""
    assert lake.read("core/regions").filter(region_code="420600").height == 2
    assert edges_of(lake, "mart/regions", "2020|420600", "core/regions") == {"420600|2010"}


def test_a_city_without_companies_is_made_of_the_search_that_found_none(lake):
    key = "mart/company_presence"
    presence = lake.read(key).filter(year=2020).select("companies", "searched", key=row_key(MODELS[key].contract.grain))
    none, some = (presence.filter(test) for test in (pl.col("companies") == 0, pl.col("companies") > 0))
    assert none.height > 0 < some.height
    edges = lake.scan(key, side="lineage").collect().filter(parent_table="mart/company_totals", role="in_vain")
    found = edges.filter(parent_key="2020")
    assert sorted(found["child_key"]) == sorted(none["key"])
    assert set(none["searched"]) == {2020}
    assert some["searched"].null_count() == some.height
    below = Downward(lake, [(key, none["key"][0])], 2020)
    assert "mart/company_totals" in below.tables  # named, as what rests on every region, and not looked below
    assert "core/holdings" not in below.tables


# -- models on rows of their own ---------------------------------------------------------------------------------------
def term(indicator: str, variable: str, role: str, **more: object) -> dict[str, object]:
    row = {"index_id": "dei", "edition": "2021", "indicator_id": indicator, "variable": variable, "role": role}
    return row | {"factor": 1.0, "scale": 1.0, "unit": "x", "kind": "ratio"} | more


def part(indicator: str, variable: str, role: str, value: float, status: str = "reported", **more: object):
    row = {"region_code": "1", "year": 2020, "indicator_id": indicator, "variable": variable, "role": role}
    return row | {"factor": 1.0, "value": value, "unit": "u", "status": status} | more


def test_ratios_rubrics_and_sums_are_derived_as_the_terms_say():
    terms = [
        term("rate", "a", "numerator", scale=100.0),
        term("rate", "b", "denominator", scale=100.0),
        term("marks", "p", "points", kind="rubric", scale=100.0, max_points=4.0),
        term("marks", "q", "points", kind="rubric", scale=100.0, max_points=6.0),
        term("number", "m", "count", kind="count"),
        term("number", "n", "count", kind="count"),
        term("lacking", "a", "numerator"),
        term("lacking", "z", "denominator"),
        term("by_zero", "a", "numerator"),
        term("by_zero", "o", "denominator"),
    ]
    parts = [
        part("rate", "a", "numerator", 3.0),
        part("rate", "b", "denominator", 2.0, status="imputed", factor=2.0),
        part("marks", "p", "points", 1.0, status="expert", max_points=4.0),
        part("marks", "q", "points", 4.0, status="expert", max_points=6.0),
        part("number", "m", "count", 2.0),
        part("number", "n", "count", 5.0, status="corrected"),
        part("lacking", "a", "numerator", 3.0),
        part("by_zero", "a", "numerator", 3.0),
        part("by_zero", "o", "denominator", 0.0),
    ]
    read = frames(mart__indicator_parts=parts, core__indicator_terms=terms)
    found = select(sql_of("mart/city_indicators"), read).sort("indicator_id")
    assert found.select("indicator_id", "value", "status", "parts", "parts_expected").rows() == [
        ("by_zero", None, "missing", 2, 2),
        ("lacking", None, "missing", 1, 2),
        ("marks", 50.0, "expert", 2, 2),
        ("number", 7.0, "corrected", 2, 2),
        ("rate", 75.0, "imputed", 2, 2),
    ]


def test_a_renamed_region_appears_once_in_the_year_of_its_new_name():
    def place(code: str, level: str, name: str, first: int, last: int | None = None) -> dict[str, object]:
        row = {"region_code": code, "level": level, "kind": level, "valid_from": first, "valid_to": last}
        return row | {"name_zh": name, "short_name_zh": name, "parent_code": "420000" if code == "420600" else "100000"}

    regions = [
        place("420000", "province", "湖北", 1990),
        place("420600", "prefecture", "襄樊", 1990, 2009),
        place("420600", "prefecture", "襄阳", 2010),
    ]
    zones = [
        {"scheme": "nbs3", "zone_id": "central", "region_code": "420000"},
        {"scheme": "north_south", "zone_id": "south", "region_code": "420000"},
    ]
    years = [{"region_code": "420600", "year": year, "variable": "gdp"} for year in (2009, 2010)]
    read = frames(core__regions=regions, core__zones=zones, core__observations=years)
    found = select(sql_of("mart/regions"), read).sort("year", "region_code")
    assert found.select("year", "region_code", "short_name_zh", "province_name", "zone_id", "north_south").rows() == [
        (2009, "420000", "湖北", "湖北", "central", "south"),
        (2009, "420600", "襄樊", "湖北", "central", "south"),
        (2010, "420000", "湖北", "湖北", "central", "south"),
        (2010, "420600", "襄阳", "湖北", "central", "south"),
    ]


def test_a_model_over_empty_tables_is_skipped_and_names_what_it_reads():
    spec = MODELS["release/tier_summary"]
    inputs = Inputs(Lake(SETTINGS.lake), SETTINGS, spec, ["2020"])
    inputs.read = frames()
    with pytest.raises(NothingToDo, match=r"core/tiers, index/dei_city_scores"):
        run_model(inputs, sql_of(spec.key), spec.contract, GRAINS)


def test_edges_follow_other_names_and_leave_out_strangers():
    contract = replace(MODELS["mart/indicators"].contract, grain=("indicator_id",))
    children = pl.DataFrame({"indicator_id": ["a", "b"]})
    parents = pl.DataFrame({"node_id": ["a", "c"], "edition": ["2021", "2021"]})
    edges = edges_to(
        children, contract, "core/framework", MadeOf(("indicator_id=node_id",)), parents, ["edition", "node_id"]
    )
    expected = {"child_key": ["a"], "parent_table": ["core/framework"], "parent_key": ["2021|a"], "role": ["row"]}
    assert_frame_equal(edges.drop("coefficient"), pl.DataFrame(expected))


def test_each_run_of_a_model_gives_the_same_rows(lake):
    for key, spec in MODELS.items():
        first, second = (spec.contract.conform(select(sql_of(key), lake.read)) for _ in range(2))
        assert_frame_equal(first, second)


# -- the loader --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("release/tier_summary.sql", None, None, "SQL file and contract do not pair"),
        ("release/_release__models.yml", "- name: node_means", "- name: node_averages", "do not pair"),
        ("release/_release__models.yml", "  panel: [core.observations]", "  panel: [core.zones]", "does not read"),
        ("marts/regions.sql", "select * from core.zones", "select * from zones_of_core", "reads «zones_of_core»"),
        ("marts/_marts__models.yml", "grain: [year, region_code]", "grain: [year, city]", "the grain names columns"),
        ("marts/_marts__models.yml", "data_type: Int64", "data_type: int", "types: String, Int32"),
    ],
)
def test_a_model_and_its_contract_must_fit(tmp_path, file, old, new, message):
    shutil.copytree(SETTINGS.sql, tmp_path / "sql")
    path = tmp_path / "sql" / file
    if old is None:
        path.unlink()
    else:
        assert old in path.read_text("utf-8")
        path.write_text(path.read_text("utf-8").replace(old, new), encoding="utf-8")
    python = {key: grain for key, grain in GRAINS.items() if key not in MODELS}
    with pytest.raises(ReferenceFileError, match=message):
        load_models(replace(SETTINGS, sql=tmp_path / "sql"), python)


def test_the_parents_of_a_model_are_the_tables_it_names():
    for key, spec in MODELS.items():
        assert spec.needs == tables_of(sql_of(key)), key
