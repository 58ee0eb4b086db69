"""Each sentence of `dbt_like_sql/checks/` finds exactly the rows that break it, and none where it holds."""

from collections.abc import Callable

import polars as pl
import pytest

from dei_pipeline.assets import all_tables
from dei_pipeline.checks.sentences import Sentence, broken_rows, load_sentences
from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.lake import Lake
from dei_pipeline.settings import Settings
from dei_pipeline.sql_models import select, tables_of
from tests.lakes import demo_lake

SETTINGS = Settings()
SENTENCES = {sentence.name: sentence for sentence in load_sentences(SETTINGS)}
SCHEMAS = {spec.key: spec.contract.schema for spec in all_tables(SETTINGS)}
CHECKED = set()


def breaking(name: str, **tables: list[dict[str, object]]) -> pl.DataFrame:
    """Rows that break a sentence over in-memory tables (`layer__table=[row, …]`); columns left out are empty."""
    CHECKED.add(name)

    def read(key: str) -> pl.DataFrame:
        return pl.DataFrame(tables[key.replace("/", "__")], schema=SCHEMAS[key])

    return select(SENTENCES[name].sql, read)


@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES.keys())
def test_the_demo_breaks_no_sentence_that_blocks(sentence: Sentence):
    rows = broken_rows(Lake(demo_lake().lake), sentence)
    assert rows is not None
    assert rows.is_empty() or sentence.severity == "warn"


@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES.keys())
def test_a_sentence_about_tables_that_are_not_there_says_nothing(sentence: Sentence, tmp_path):
    assert broken_rows(Lake(tmp_path), sentence) is None


# -- contributions_add_up_to_the_composite -----------------------------------------------------------------------------
def node(node_id: str, parent: str | None, level: int, **more: object) -> dict[str, object]:
    row = {"region_code": "310000", "year": 2020, "node_id": node_id, "parent_id": parent, "level": level}
    return row | {"weight": 1.0, "effective_weight": 1.0, "coverage": 1.0} | more


def tree(city: str = "310000", total: float | None = 10.0, a: float | None = 4.0, b: float | None = 6.0):
    return [
        node("dei", None, 0, region_code=city, score=total, contribution=total),
        node("one", "dei", 1, region_code=city, score=50.0, contribution=10.0),
        node("a", "one", 2, region_code=city, score=40.0, contribution=a),
        node("b", "one", 2, region_code=city, score=60.0, contribution=b),
    ]


def test_contributions_of_leaves_only_are_added():
    found = breaking("contributions_add_up_to_the_composite", index__dei_scores=tree())
    assert found.is_empty()


@pytest.mark.parametrize(
    ("city", "why"),
    [
        (tree("110000", b=6.1), "one leaf too much"),
        (tree("110000", b=None), "a leaf without contribution"),
        (tree("110000", a=None, b=None), "no contribution at all"),
        (tree("110000", a=float("nan")), "not a number"),
        (tree("110000", total=10.00000001), "beyond the rounding of a sum"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_city_whose_contributions_do_not_add_up_is_found(city, why):
    found = breaking("contributions_add_up_to_the_composite", index__dei_scores=[*tree(), *city])
    assert found["region_code"].to_list() == ["110000"], why


def test_a_city_without_composite_and_a_rounding_error_are_fine():
    rows = [*tree("110000", total=None, a=1.0, b=None), *tree("120000", total=10.0 + 5e-10)]
    assert breaking("contributions_add_up_to_the_composite", index__dei_scores=rows).is_empty()


# -- parents_lie_between_their_children --------------------------------------------------------------------------------
def family(city: str, parent: float | None, *children: float | None) -> list[dict[str, object]]:
    top = node("dei", None, 0, region_code=city, score=parent)
    return [top, *(node(f"c{i}", "dei", 1, region_code=city, score=score) for i, score in enumerate(children))]


def test_a_parent_outside_its_children_is_found():
    rows = [
        *family("110000", 50.0, 40.0, 60.0),
        *family("120000", 60.1, 40.0, 60.0),
        *family("130100", 39.9, 40.0, 60.0),
        *family("130200", 40.0, 40.0, None),
        *family("130300", None, 40.0, 60.0),
        *family("130400", 60.0 + 5e-10, 40.0, 60.0),
        *family("130500", float("nan"), 40.0, 60.0),
    ]
    found = breaking("parents_lie_between_their_children", index__dei_scores=rows)
    assert sorted(found["region_code"]) == ["120000", "130100", "130500"]


# -- weights_of_siblings_sum_to_one ------------------------------------------------------------------------------------
def weighed(parent: str, *weights: float, edition: str = "2021") -> list[dict[str, object]]:
    same = {"index_id": "dei", "edition": edition, "parent_id": parent, "level": 1}
    return [same | {"node_id": f"{parent}{i}", "weight": weight} for i, weight in enumerate(weights)]


def test_siblings_whose_weights_do_not_sum_to_one_are_found():
    root = {"index_id": "dei", "edition": "2021", "node_id": "dei", "level": 0, "weight": 1.0}
    good = [root, *weighed("a", *[0.1] * 10), *weighed("b", 1.0)]
    bad = [*weighed("c", 0.5, 0.4), *weighed("a", 0.5, 0.501, edition="2022"), *weighed("d", 1.0, 1e-9)]
    assert breaking("weights_of_siblings_sum_to_one", core__framework=good).is_empty()
    found = breaking("weights_of_siblings_sum_to_one", core__framework=[*good, *bad]).sort("parent_id")
    assert found.select("edition", "parent_id").rows() == [("2022", "a"), ("2021", "c"), ("2021", "d")]


# -- tiers_partition_the_ranked_cities ---------------------------------------------------------------------------------
TIERS = [
    {"index_id": "dei", "edition": "2021", "tier_id": "high", "lower": 85.0, "upper": None},
    {"index_id": "dei", "edition": "2021", "tier_id": "middle", "lower": 25.0, "upper": 85.0},
    {"index_id": "dei", "edition": "2021", "tier_id": "low", "lower": None, "upper": 25.0},
    {"index_id": "other", "edition": "2021", "tier_id": "high", "lower": 0.0, "upper": None},
]


def ranked(city: str, score: float | None, tier: str | None, is_ranked: bool = True) -> dict[str, object]:
    return {"region_code": city, "year": 2020, "score_published": score, "tier_id": tier, "ranked": is_ranked}


def test_cities_in_the_wrong_tier_or_in_none_are_found():
    good = [
        ranked("1", 100.0, "high"),
        ranked("2", 85.0, "high"),
        ranked("3", 84.9, "middle"),
        ranked("4", 25.0, "middle"),
        ranked("5", 0.0, "low"),
        ranked("6", None, None, is_ranked=False),
    ]
    bad = [ranked("7", 85.0, "middle"), ranked("8", 24.9, "middle"), ranked("9", None, "low"), ranked("a", 50.0, None)]
    name = "tiers_partition_the_ranked_cities"
    assert breaking(name, index__dei_ranks=good, core__tiers=TIERS).is_empty()
    found = breaking(name, index__dei_ranks=[*good, *bad], core__tiers=TIERS)
    assert sorted(found["region_code"]) == ["7", "8", "9", "a"]


def test_tiers_with_a_gap_or_an_overlap_are_found():
    gap = [row | ({"upper": 20.0} if row["tier_id"] == "low" else {}) for row in TIERS]
    overlap = [row | ({"lower": 80.0} if row["tier_id"] == "high" else {}) for row in TIERS]
    cities = [ranked("1", 22.0, "low"), ranked("2", 82.0, "middle"), ranked("3", 90.0, "high")]
    name = "tiers_partition_the_ranked_cities"
    for tiers, broken in ((gap, ["1"]), (overlap, ["2"])):
        rows = [city for city in cities if city["region_code"] != "12".replace(broken[0], "")]
        found = breaking(name, index__dei_ranks=rows, core__tiers=tiers)
        assert found["region_code"].to_list() == broken


# -- provinces_add_up_to_the_nation ------------------------------------------------------------------------------------
PROVINCES = [f"{number}0000" for number in range(11, 42)]


def places() -> list[dict[str, object]]:
    province = {"level": "province", "kind": "province", "valid_from": 1990}
    rows = [province | {"region_code": code, "name_zh": code} for code in PROVINCES]
    renamed = province | {"region_code": PROVINCES[0], "valid_from": 2000, "name_zh": "renamed"}
    apart = [province | {"region_code": "710000"}, province | {"region_code": "810000", "kind": "sar"}]
    nation = {"region_code": "100000", "level": "nation", "kind": "nation", "valid_from": 1990}
    return [*rows, renamed, *apart, nation]


def values(variable: str, each: float, nation: float | None, without: int = 0, unit: str = "100m_cny"):
    same = {"year": 2020, "variable": variable, "unit": unit}
    rows = [same | {"region_code": code, "value": each} for code in PROVINCES[without:]]
    rows += [same | {"region_code": code, "value": 1e6} for code in ("710000", "810000")]
    return rows if nation is None else [*rows, same | {"region_code": "100000", "value": nation}]


def test_provinces_that_do_not_add_up_are_found_where_all_31_are_there():
    observations = [
        *values("exact", 1.0, 31.0),
        *values("rounded", 1.0, 31.1),
        *values("none_anywhere", 0.0, 0.0),
        *values("one_missing", 1.0, 100.0, without=1),
        *values("no_nation", 1.0, None),
        *values("a_rate", 5.0, 5.0, unit="percent"),
        *values("too_large", 1.0, 30.8),
        *values("too_small", 1.0, 31.2),
        *values("only_the_nation_has_none", 1.0, 0.0),
    ]
    found = breaking("provinces_add_up_to_the_nation", core__observations=observations, core__regions=places())
    assert sorted(found["variable"]) == ["only_the_nation_has_none", "too_large", "too_small"]


# -- published_cluster_scores_are_reproduced ---------------------------------------------------------------------------
def test_published_figures_that_do_not_round_alike_are_found():
    def figure(key: str, within: bool | None) -> dict[str, object]:
        return {
            "year": 2020,
            "table": "release/cluster_scores",
            "key": key,
            "column": "score",
            "within_rounding": within,
        }

    rows = [
        figure("2020|prd|published", True),
        figure("2020|prd|computed", False),
        figure("2020|yrd|published", False),
        figure("2020|bth|published", None),
    ]
    found = breaking("published_cluster_scores_are_reproduced", release__published_comparison=rows)
    assert found["key"].to_list() == ["2020|yrd|published"]


# -- the declarations --------------------------------------------------------------------------------------------------
def test_every_sentence_was_broken_by_a_test_above():
    """Runs last in this file; a new sentence needs rows that break it."""
    if CHECKED:
        assert set(SENTENCES) == CHECKED


def test_a_sentence_is_about_a_table_that_it_reads():
    for sentence in SENTENCES.values():
        assert sentence.table in tables_of(sentence.sql), sentence.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "checks" / "new_rule_holds.sql").write_text("select 1"), "give each .sql an entry"),
        (lambda folder: (folder / "checks" / "weights_of_siblings_sum_to_one.sql").unlink(), "give each .sql an entry"),
        (lambda folder: edit(folder, "severity: warn", "severity: fatal"), "severity «fatal»"),
    ],
    ids=["no entry", "no file", "unknown severity"],
)
def test_a_sentence_and_its_entry_must_pair(tmp_path, change: Callable, message: str):
    import shutil
    from dataclasses import replace

    shutil.copytree(SETTINGS.sql, tmp_path / "sql")
    change(tmp_path / "sql")
    with pytest.raises(ReferenceFileError, match=message):
        load_sentences(replace(SETTINGS, sql=tmp_path / "sql"))


def edit(folder, old: str, new: str) -> None:
    path = folder / "checks" / "_checks.yml"
    path.write_text(path.read_text("utf-8").replace(old, new), encoding="utf-8")
