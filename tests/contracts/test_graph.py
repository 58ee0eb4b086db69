"""Habits of the graph: every asset is described, owned, versioned, layered and named alike, every column documented."""

import re

import dagster as dg
import polars as pl
import pytest

from dei_pipeline.assets import all_tables
from dei_pipeline.contracts import DATA_TYPES
from dei_pipeline.definitions import build_definitions
from dei_pipeline.lake import LAYERS, WHOLE, Lake
from dei_pipeline.provenance import row_key
from dei_pipeline.publish import OWNER
from dei_pipeline.settings import Settings
from dei_pipeline.sources.layouts import load_layouts
from dei_pipeline.sql_models import tables_of
from dei_pipeline.tables import INPUT_LAYERS
from tests.lakes import demo_lake

SETTINGS = Settings()
TABLES = all_tables(SETTINGS)
KEYS = [spec.key for spec in TABLES]
GRAPH = build_definitions(SETTINGS).resolve_asset_graph()
NAMES = [spec.key.to_user_string() for spec in (GRAPH.get(key) for key in GRAPH.get_all_asset_keys())]
BY_NAME = {name: GRAPH.get(dg.AssetKey(name.split("/"))) for name in NAMES}
EVERY_TABLE = pytest.mark.parametrize("spec", TABLES, ids=KEYS)
EVERY_ASSET = pytest.mark.parametrize("name", KEYS)
REAL_ONLY = {  # layouts of which the demo writes no page; the tests of the workbook reader fill them
    "staging/city_panel__industry_structure",
    "staging/city_panel__population",
    "staging/provincial_annual__series",
    "staging/provincial_annual__wide",
    "staging/rd_bulletin__regional",
    "staging/sci_tech_yearbook__high_tech_operation",
    "staging/sci_tech_yearbook__rd_expenditure_by_activity",
    "staging/sci_tech_yearbook__rd_intensity",
    "staging/sci_tech_yearbook__rd_personnel",
    "staging/statistical_yearbook__budget_expenditure",
    "staging/statistical_yearbook__budget_revenue",
}
MADE = [spec for spec in TABLES if spec.key not in REAL_ONLY]
EVERY_MADE_TABLE = pytest.mark.parametrize("spec", MADE, ids=[spec.key for spec in MADE])

# Integers that are places, ranks or lengths of a merge: they need no unit.
POSITION = re.compile(r"^(row|col|block|level|position|rank|decimals)$|_(row|span|rank)$")
# Words that name one table of many things without a plural (contracts.md).
COLLECTIVE = {"framework", "ranking", "summary", "comparison", "normalised", "share", "capital", "scale", "robustness"}
COLLECTIVE |= {"top20", "presence"}
WORDS = r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*"


def test_the_graph_holds_exactly_the_declared_tables():
    assert sorted(NAMES) == sorted(KEYS)
    assert len(set(KEYS)) == len(KEYS)


# -- each asset --------------------------------------------------------------------------------------------------------
@EVERY_ASSET
def test_an_asset_is_described_owned_versioned_and_grouped(name):
    node = BY_NAME[name]
    assert len(node.description.split()) >= 3
    assert node.owners == [OWNER]
    assert node.group_name == name.split("/")[0] in LAYERS
    assert "parquet" in node.kinds
    assert node.kinds & {"polars", "duckdb"}
    assert re.fullmatch(r"[0-9a-f]{16}", node.code_version)


@EVERY_ASSET
def test_an_asset_shows_its_columns_and_its_name_in_sql(name):
    shown = BY_NAME[name].metadata
    assert shown["dagster/table_name"] == name.replace("/", ".")
    contract = next(spec.contract for spec in TABLES if spec.key == name)
    columns = shown["dagster/column_schema"].columns
    assert [column.name for column in columns] == list(contract.schema)
    assert all(column.name == column.name.lower() for column in columns)
    assert all(column.description for column in columns)
    assert {c.name for c in columns if c.tags.get("unit")} == {c.name for c in contract.columns if c.unit}


@EVERY_ASSET
def test_an_asset_is_checked_against_its_contract_before_anything_downstream(name):
    checks = {key.name: GRAPH.get_check_spec(key) for key in BY_NAME[name].check_keys}
    assert checks["contract"].blocking


@EVERY_ASSET
def test_a_backfill_of_any_asset_is_one_run(name):
    assert BY_NAME[name].backfill_policy == dg.BackfillPolicy.single_run()


# -- layers, keys, names -----------------------------------------------------------------------------------------------
@EVERY_TABLE
def test_a_layer_reads_only_itself_or_what_lies_before_it(spec):
    here = LAYERS.index(spec.layer)
    assert all(LAYERS.index(parent.split("/")[0]) <= here for parent in spec.parents)


@EVERY_ASSET
def test_the_graph_has_the_declared_parents_and_no_others(name):
    spec = next(spec for spec in TABLES if spec.key == name)
    assert {key.to_user_string() for key in BY_NAME[name].parent_keys} == set(spec.parents)
    assert len(set(spec.parents)) == len(spec.parents)
    assert set(spec.panel) <= set(spec.parents) <= set(KEYS)


def test_tables_come_after_what_they_read():
    seen: set[str] = set()
    for spec in TABLES:
        assert set(spec.parents) <= seen, spec.key
        seen.add(spec.key)


@EVERY_TABLE
def test_key_lake_path_and_sql_name_are_one_string(spec):
    lake = Lake(SETTINGS.lake)
    assert lake.folder(spec.key) == SETTINGS.lake / spec.key
    assert lake.folder(spec.key, "lineage") == SETTINGS.lake / "lineage" / spec.key
    assert tables_of(f"select * from {spec.key.replace('/', '.')}") == (spec.key,)


@EVERY_TABLE
def test_names_are_plural_nouns_in_lower_case(spec):
    layer, _, table = spec.key.partition("/")
    if layer == "staging" and "__" in table:
        assert re.fullmatch(rf"{WORDS}__{WORDS}", table)
        return
    assert re.fullmatch(WORDS, table)
    last = table.split("_")[-1]
    assert last.endswith("s") or last in COLLECTIVE


def test_every_layout_has_its_staging_table_and_none_is_without():
    layouts = {f"staging/{layout.table}" for layout in load_layouts(SETTINGS.reference / "layouts")}
    assert {key for key in KEYS if key.startswith("staging/") and "__" in key} == layouts


# -- columns -----------------------------------------------------------------------------------------------------------
@EVERY_TABLE
def test_every_column_is_documented_and_named_in_lower_case(spec):
    for column in spec.contract.columns:
        assert re.fullmatch(WORDS, column.name), column.name
        assert column.data_type in DATA_TYPES
        assert column.description.strip().endswith("."), column.name


@EVERY_TABLE
def test_every_quantity_says_its_unit(spec):
    """A number has a unit, stands beside a `unit` column (long tables), or is a place, a rank or a code."""
    long = "unit" in spec.contract.schema
    for column in spec.contract.columns:
        if column.data_type == "Float64":
            assert column.unit or long, f"{spec.key}.{column.name}"
        elif column.data_type in ("Int32", "Int64"):
            assert column.unit or POSITION.search(column.name), f"{spec.key}.{column.name}"
        else:
            assert not column.unit, f"{spec.key}.{column.name}: a {column.data_type} has no unit"


@EVERY_TABLE
def test_codes_are_text_and_years_are_numbers(spec):
    for column in spec.contract.columns:
        if column.name.endswith(("_code", "_id", "sha256")):
            assert column.data_type == "String", column.name
        if column.name.endswith("year"):
            assert column.data_type == "Int32", column.name


@EVERY_TABLE
def test_the_grain_is_never_empty(spec):
    nullable = {column.name for column in spec.contract.columns if column.nullable}
    assert spec.contract.grain
    assert not nullable & set(spec.contract.grain)


def test_one_column_name_has_one_type():
    types: dict[str, dict[str, str]] = {}
    for spec in TABLES:
        for column in spec.contract.columns:
            types.setdefault(column.name, {})[column.data_type] = spec.key
    two = {name: found for name, found in types.items() if len(found) > 1}
    # both by contracts.md: level of a region and of a node; published, the date of a document and a printed figure
    assert set(two) == {"level", "published"}, two


# -- partitions --------------------------------------------------------------------------------------------------------
@EVERY_TABLE
def test_years_are_partitions_from_mart_on_and_nowhere_before(spec):
    by_year = spec.layer not in INPUT_LAYERS and "year" in spec.contract.schema
    assert (spec.split == "year") == by_year
    assert BY_NAME[spec.key].is_partitioned == by_year


def test_thresholds_and_weights_belong_to_an_edition_not_to_a_year():
    for key in ("index/thresholds", "index/dei_weights"):
        spec = next(spec for spec in TABLES if spec.key == key)
        assert spec.contract.grain[0] == "edition"
        assert spec.split is None


def test_the_demo_makes_every_table_but_those_of_real_pages_alone():
    lake = Lake(demo_lake().lake)
    assert {spec.key for spec in TABLES if not lake.exists(spec.key)} == REAL_ONLY


@EVERY_MADE_TABLE
def test_the_grain_is_unique_over_all_parts_of_a_table(spec):
    lake = Lake(demo_lake().lake)
    keys = lake.scan(spec.key).select(row_key(spec.contract.grain).alias("key")).collect()["key"]
    assert keys.n_unique() == keys.len() > 0
    assert keys.null_count() == 0


@EVERY_MADE_TABLE
def test_a_part_holds_only_its_own_rows_sorted_by_the_grain(spec):
    lake = Lake(demo_lake().lake)
    for part, path in lake.part_files(spec.key).items():
        frame = pl.read_parquet(path)
        assert frame.schema == pl.Schema(spec.contract.schema)
        assert frame.select(spec.contract.grain).equals(frame.select(spec.contract.grain).sort(spec.contract.grain))
        if part != WHOLE:
            assert set(frame[spec.split].cast(pl.String)) == {part}


@EVERY_TABLE
def test_lineage_and_quarantine_lie_beside_the_table_in_the_same_parts(spec):
    lake = Lake(demo_lake().lake)
    parts = lake.state(spec.key)["parts"]
    for side, count in (("lineage", "edges"), ("quarantine", "quarantined")):
        held = {part: pl.read_parquet(path).height for part, path in lake.part_files(spec.key, side).items()}
        assert held == {part: record[count] for part, record in parts.items() if record[count]}
