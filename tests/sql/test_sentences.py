"""Each sentence of `dbt_like_sql/checks/` finds exactly the rows that break it, and none where it holds."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dei_pipeline.checks.sentences import (
    Sentence,
    broken_rows,
    for_every_index,
    index_ids,
    load_sentences,
    of_index,
)
from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.lake import Lake
from dei_pipeline.sql_models import tables_of
from tests.lakes import demo_lake
from tests.sql.breaking import OF_ALL_INDICES, SCHEMAS, SENTENCES, SETTINGS, breaking

EVERY_SENTENCE = pytest.mark.parametrize("sentence", OF_ALL_INDICES, ids=lambda s: f"{s.table}-{s.name}")


@EVERY_SENTENCE
def test_the_demo_breaks_no_sentence_that_blocks(sentence: Sentence):
    rows = broken_rows(Lake(demo_lake().lake), sentence)
    assert rows is not None
    assert rows.is_empty() or sentence.severity == "warn"


@EVERY_SENTENCE
def test_a_sentence_about_tables_that_are_not_there_says_nothing(sentence: Sentence, tmp_path):
    assert broken_rows(Lake(tmp_path), sentence) is None


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


# -- ahp_judgements_are_reciprocal -------------------------------------------------------------------------------------
def judged(expert: str, i: str, j: str, value: float) -> dict[str, object]:
    same = {"index_id": "deci", "edition": "2021", "parent_id": "deci", "expert_id": expert}
    return same | {"row_node": i, "column_node": j, "value": value}


def matrix(expert: str, over: float, back: float, own: float = 1.0) -> list[dict[str, object]]:
    pairs = [("a", "a", own), ("a", "b", over), ("b", "a", back), ("b", "b", 1.0)]
    return [judged(expert, *pair) for pair in pairs]


def test_a_matrix_that_is_not_reciprocal_is_found():
    good = [*matrix("E1", 3.0, 1 / 3), *matrix("E2", 7.0, 1 / 7)]
    name = "ahp_judgements_are_reciprocal"
    assert breaking(name, core__ahp_judgements=good).is_empty()
    bad = [*matrix("E3", 3.0, 0.33), *matrix("E4", 3.0, 1 / 3, own=2.0), judged("E5", "a", "b", 5.0)]
    found = breaking(name, core__ahp_judgements=[*good, *bad])
    assert sorted(found.select("expert_id", "row_node", "column_node").rows()) == [
        ("E3", "a", "b"),
        ("E3", "b", "a"),
        ("E4", "a", "a"),
        ("E5", "a", "b"),
    ]


# -- controlled_companies_are_conserved --------------------------------------------------------------------------------
def counted(in_cities: int, year: int = 2020) -> list[dict[str, object]]:
    told = {"status": "reported", "companies_with_roots": 0}
    return [{"region_code": code, "year": year, "companies": in_cities - 1 if code == "310000" else 1} | told
            for code in ("310000", "110000")]  # fmt: skip


def unconserved(totals: list[dict[str, object]], presence: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """Year, companies and those in cities where ten companies of two roots do not add up."""
    same = {"year": 2020, "effective_share": 1.0, "votes": 1.0, "controlled": True}
    closures = [same | {"root_id": root, "company_id": f"c{at}"} for root in ("r", "s") for at in range(10)]
    closures += [same | {"root_id": "r", "company_id": "s"}]  # a root itself
    closures += [same | {"root_id": "r", "company_id": "owned", "controlled": False}]
    roots = [{"company_id": root, "name": root, "location": "city", "records": 1, "source_cell": "x",
              "root": "unspecified"} for root in ("r", "s")]  # fmt: skip
    found = breaking(
        "controlled_companies_are_conserved",
        core__controlled_companies=closures,
        core__companies=roots,
        mart__company_totals=totals,
        mart__company_presence=presence,
    )
    return found.select("year", "companies", "in_cities").sort("year").rows()


def test_companies_in_cities_overseas_and_unlocated_add_up():
    total = {"year": 2020, "companies": 10, "in_cities": 7, "overseas": 2, "unlocated": 1, "shared": 0, "roots": 1}
    assert unconserved([total], counted(7)) == []
    assert unconserved([total], counted(6)) == [(2020, 10, 6)]
    assert unconserved([total], []) == [(2020, 10, 0)]  # a whole year of cities is missing
    assert unconserved([total], counted(7, 2019)) == [(2019, 0, 7), (2020, 10, 0)]
    assert unconserved([], counted(7)) == [(2020, 10, 7)]
    both_wrong = total | {"companies": 9, "unlocated": 0}  # the marts agree, and have lost a company
    assert unconserved([both_wrong], counted(7)) == [(2020, 10, 7)]
    assert unconserved([], []) == []  # a year that is not made


# -- the declarations --------------------------------------------------------------------------------------------------
def test_every_sentence_is_broken_by_a_test():
    """A new sentence needs rows that break it."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_sentences*.py"))
    assert [name for name in SENTENCES if f'"{name}"' not in tests] == []


def test_a_sentence_is_about_a_table_that_it_reads():
    for sentence in OF_ALL_INDICES:
        assert sentence.table in tables_of(sentence.sql), sentence.name


def test_a_sentence_about_every_index_is_there_once_for_each_that_has_its_tables():
    assert {"dei", "deci"} <= set(index_ids(SCHEMAS))
    tables = [(sentence.table, sentence.name) for sentence in OF_ALL_INDICES]
    assert len(set(tables)) == len(tables)
    for index in index_ids(SCHEMAS):
        assert (f"index/{index}_scores", "contributions_add_up_to_the_composite") in tables
    assert ("index/deci_types", "every_ranked_city_has_exactly_one_type") in tables
    assert ("index/dei_types", "every_ranked_city_has_exactly_one_type") not in tables  # the DEI has tiers instead


def test_the_tables_and_the_name_of_another_index_are_read_and_nothing_else_changes():
    sql = (
        "with s as (select * from index.dei_scores where node_id = 'dei'), "
        "f as (select * from core.framework where index_id = 'dei' and parent_id = 'dei_x') select * from s"
    )
    other = of_index(Sentence("n", "index/dei_scores", "d", "error", "t", sql, True), "dei", "deci")
    assert other.table == "index/deci_scores"
    assert tables_of(other.sql) == ("core/framework", "index/deci_scores")
    text = " ".join(other.sql.lower().split())
    assert "node_id = 'dei'" in text
    assert "index_id = 'deci' and parent_id = 'dei_x'" in text


def test_the_longest_name_says_which_index_a_sentence_is_written_for():
    tables = {f"index/{index}_{name}" for index in ("dei", "dei_city") for name in ("normalised", "scores")}
    sentence = Sentence("n", "index/dei_city_scores", "d", "error", "t", "select * from index.dei_city_scores", True)
    found = for_every_index([sentence], tables)
    assert [one.table for one in found] == ["index/dei_scores", "index/dei_city_scores"]


@pytest.mark.parametrize(
    ("table", "every", "message"),
    [
        ("index/dei_nothing", False, "is about index/dei_nothing, which is no table"),
        ("core/framework", True, "is about every index, but core/framework is of none"),
    ],
)
def test_a_sentence_about_no_table_or_no_index_is_refused(table: str, every: bool, message: str):
    sentence = Sentence("n", table, "d", "error", "t", f"select * from {table.replace('/', '.')}", every)
    with pytest.raises(ReferenceFileError, match=message):
        for_every_index([sentence], SCHEMAS)


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
    shutil.copytree(SETTINGS.sql, tmp_path / "sql")
    change(tmp_path / "sql")
    with pytest.raises(ReferenceFileError, match=message):
        load_sentences(replace(SETTINGS, sql=tmp_path / "sql"))


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "checks" / "_checks.yml"
    path.write_text(path.read_text("utf-8").replace(old, new), encoding="utf-8")
