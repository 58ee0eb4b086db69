"""Every number about documents, plans and projects is what its edges say: made again of the rows that they name.

Nothing here reads `made_of`: each row is computed a second time from the parent rows that its edges lead to, by role.
"""

import datetime
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl
import pytest

from dei_pipeline.lake import Lake
from dei_pipeline.provenance import row_key
from tests.lakes import demo_lake
from tests.sql.rows import GRAINS, Made, frames

Row = Mapping[str, Any]
Of = Mapping[str, list[dict[str, Any]]]  # the parent rows of a row by role


# -- the rows again ----------------------------------------------------------------------------------------------------
def distinct(rows: list[dict[str, Any]], column: str) -> int:
    return len({row[column] for row in rows})


def same(rows: list[dict[str, Any]], column: str) -> Any:
    (value,) = {row[column] for row in rows}
    return value


def score(n: int) -> float:
    return 100 * min(1.0, math.log(1 + n) / math.log(21))


def density(hits: int, documents: list[dict[str, Any]]) -> float | None:
    characters = sum(document["characters"] for document in documents)
    return 10_000 * hits / characters if characters else None


def policy_counts(of: Of) -> Row:
    level = same(of["level"], "level")
    assert all(document["counted"] for document in of["searched"])
    assert {hit["lexicon"] for hit in of["hit"]} <= {"policy_area"}
    assert {hit["term_id"] for hit in of["hit"]} <= {same(of["definition"], "term_id")}
    return {
        "region_code": same(of["searched"], "region_code"),
        "year": same(of["searched"], "year"),
        "area_id": same(of["definition"], "term_id"),
        "domain": same(of["definition"], "theme"),
        "name_zh": same(of["definition"], "name_zh"),
        "name_en": same(of["definition"], "name_en"),
        "documents": distinct(of["hit"], "document_id"),
        "hits": len(of["hit"]),
        "documents_searched": len(of["searched"]),
        "count_score": score(distinct(of["hit"], "document_id")),
        "level": level,
        "level_weight": {"nation": 1.0, "province": 0.5, "prefecture": 0.2, "county": 0.2}[level],
    }


def policy_summary(of: Of) -> Row:
    theme = {term["term_id"]: term["theme"] for term in of["definition"]}
    weight = same(of["area"], "level_weight")
    row: dict[str, Any] = {
        "region_code": same(of["document"], "region_code"),
        "year": same(of["document"], "year"),
        "documents": len(of["document"]),
        "characters_searched": sum(document["characters"] for document in of["document"]),
        "level_weight": weight,
        "technology_hits": len(of["technology_hit"]),
        "technology_density": density(len(of["technology_hit"]), of["document"]),
    }
    for domain in ("service", "governance"):
        areas = [area for area in of["area"] if area["domain"] == domain]
        n = distinct([hit for hit in of["area_hit"] if theme[hit["term_id"]] == domain], "document_id")
        row[f"{domain}_documents"] = n
        row[f"{domain}_coverage"] = 100 * sum(area["documents"] > 0 for area in areas) / len(areas)
        row[f"{domain}_count_score"] = score(n)
        row[f"{domain}_documents_weighted"] = weight * n
    return row


def term_frequencies(of: Of) -> Row:
    regions, using = distinct(of["searched"], "region_code"), distinct(of["hit"], "region_code")
    return {
        "kind": same(of["searched"], "kind"),
        "period": same(of["searched"], "period"),
        **{name: same(of["definition"], name) for name in ("term_id", "theme", "name_zh", "name_en")},
        "documents": len(of["searched"]),
        "regions": regions,
        "hits": len(of["hit"]),
        "regions_using": using,
        "share": using / regions,
    }


def term_changes(of: Of) -> Row:
    now, before = density(len(of["hit"]), of["searched"]), density(len(of["hit_before"]), of["searched_before"])
    earlier = bool(of["searched_before"])
    return {
        "kind": same(of["searched"], "kind"),
        "year": same(of["searched"], "year"),
        **{name: same(of["definition"], name) for name in ("term_id", "name_zh", "name_en")},
        "documents": len(of["searched"]),
        "hits": len(of["hit"]),
        "density": now,
        "year_before": same(of["searched_before"], "year") if earlier else None,
        "hits_before": len(of["hit_before"]) if earlier else None,
        "density_before": before,
        "density_change": None if now is None or before is None else now - before,
    }


def plan_releases(of: Of) -> Row:
    (document,) = of["document"]
    first: dict[str, datetime.date] = {}
    for other in of["compared"]:
        assert (other["kind"], other["period"], other["counted"]) == (document["kind"], document["period"], True)
        first[other["region_code"]] = min(other["published"], first.get(other["region_code"], other["published"]))
    assert first[document["region_code"]] == document["published"]
    days = list(first.values())
    return {
        **{name: document[name] for name in ("kind", "period", "region_code", "document_id", "published", "title")},
        "release_rank": 1 + sum(day < document["published"] for day in days),
        "regions_so_far": sum(day <= document["published"] for day in days),
    }


def task_shares(of: Of) -> Row:
    whole = not of["task"]
    tasks = of["class"] if whole else of["task"]
    return {
        "period": same(tasks, "period"),
        "class_id": same(of["class"], "class_id"),
        "subclass_id": "all" if whole else same(tasks, "subclass_id"),
        "tasks": len(tasks),
        "plans": distinct(tasks, "document_id"),
        "share_of_all": 100 * len(tasks) / len(of["classified"]),
        "share_of_class": 100 * len(tasks) / len(of["class"]),
    }


def city_plans(row: Row, of: Of) -> Row:
    (document,), (listed,) = of["document"], of["listed"]
    assert document["counted"]
    assert listed["region_code"] == document["region_code"]
    chapter = row["measure"] == "digital_chapter"
    assert document["digital_chapter"] or not chapter
    return {
        "list_id": listed["list_id"],
        "measure": "digital_chapter" if chapter else document["kind"],
        **{name: document[name] for name in ("period", "region_code", "document_id")},
    }


def plan_counts(of: Of) -> Row:
    cities, measure = distinct(of["city"], "region_code"), same(of["city"], "measure")
    proposals = distinct(of["proposal"], "region_code")
    return {
        "list_id": same(of["listed"], "list_id"),
        "measure": measure,
        "period": same([*of["city"], *of["proposal"]], "period"),
        "cities": cities,
        "listed": len(of["listed"]),
        "proposals": proposals,
        "share_of_list": 100 * cities / len(of["listed"]),
        "share_of_proposals": 100 * cities / proposals if measure == "digital_chapter" else None,
    }


def project_counts(of: Of) -> Row:
    projects = of["project"]
    new = [project for project in projects if project["is_new_infrastructure"]]
    money, new_money = (sum(project["investment"] for project in some) for some in (projects, new))
    return {
        "region_code": same(projects, "region_code"),
        "year": same(projects, "year"),
        "projects": len(projects),
        "new_infrastructure_projects": len(new),
        "investment": money,
        "new_infrastructure_investment": new_money,
        "new_infrastructure_share": 100 * len(new) / len(projects),
        "new_infrastructure_investment_share": 100 * new_money / money,
        "estimated_projects": sum(project["status"] == "estimated" for project in projects),
        "scope_note": min((p["scope_note"] for p in projects if p["scope_note"]), default=None),
    }


def newinfra_members(row: Row, of: Of) -> Row:
    (own,), (held,) = of["score"], of["member"]
    return {
        "scope": row["scope"],
        **{name: own[name] for name in ("year", "basis", "region_code")},
        "rank": 1 + sum(round(other["score"], 9) > round(own["score"], 9) for other in of["ranked"]),
        "cities": min(20, len(of["ranked"])) if row["scope"] == "top20" else len(of["ranked"]),
        "projects": held["projects"],
        "new_infrastructure_projects": held["new_infrastructure_projects"],
        "investment": held["investment"],
        "new_infrastructure_investment": held["new_infrastructure_investment"],
    }


def newinfra_totals(of: Of) -> Row:
    members, cities = of["member"], same(of["member"], "cities")
    added = ("projects", "new_infrastructure_projects", "investment", "new_infrastructure_investment")
    row = {name: sum(member[name] for member in members) for name in added}
    return {
        **row,
        **{name: same(members, name) for name in ("year", "scope", "basis", "cities")},
        "listed_cities": len(members),
        "listed_share": 100 * len(members) / cities,
        "new_infrastructure_share": 100 * row["new_infrastructure_projects"] / row["projects"],
        "new_infrastructure_investment_share": 100 * row["new_infrastructure_investment"] / row["investment"],
    }


def newinfra_top20(of: Of) -> Row:
    (member,), (counts,), (region,) = of["member"], of["counts"], of["name"]
    money = ("investment", "new_infrastructure_investment")
    shares = ("new_infrastructure_share", "new_infrastructure_investment_share")
    return {
        **{name: member[name] for name in ("year", "region_code", "basis", "scope", "rank")},
        **{name: member[name] for name in ("projects", "new_infrastructure_projects")},
        **{name: pytest.approx(member[name], abs=0.05 + 1e-9) for name in money},
        **{name: pytest.approx(counts[name], abs=0.05 + 1e-9) for name in shares},
        "region_name": region["short_name_zh"],
        "region_name_en": region["name_en"],
        "estimated_projects": counts["estimated_projects"],
        "scope_note": counts["scope_note"],
    }


AGAIN: Mapping[str, Callable[[Row, Of], Row]] = {
    "mart/policy_counts": lambda _, of: policy_counts(of),
    "mart/policy_summary": lambda _, of: policy_summary(of),
    "mart/term_frequencies": lambda _, of: term_frequencies(of),
    "mart/term_changes": lambda _, of: term_changes(of),
    "mart/plan_releases": lambda _, of: plan_releases(of),
    "mart/task_shares": lambda _, of: task_shares(of),
    "mart/city_plans": city_plans,
    "mart/plan_counts": lambda _, of: plan_counts(of),
    "mart/project_counts": lambda _, of: project_counts(of),
    "release/newinfra_members": newinfra_members,
    "release/newinfra_totals": lambda _, of: newinfra_totals(of),
    "release/newinfra_top20": lambda _, of: newinfra_top20(of),
}


class Empty(dict[str, list[dict[str, Any]]]):
    """Parent rows by role; none where no edge has the role."""

    def __missing__(self, role: str) -> list[dict[str, Any]]:
        return []


def with_parents(
    key: str, rows: pl.DataFrame, edges: pl.DataFrame, read: Callable[[str], pl.DataFrame]
) -> Iterator[tuple[Row, Of]]:
    """Each row of a table with the parent rows that its edges name, by role."""
    found: dict[str, Empty] = {}
    for (parent,), part in edges.partition_by("parent_table", as_dict=True).items():
        keys = read(str(parent)).with_columns(row_key(GRAINS[str(parent)]).alias("_key"))
        named = {row.pop("_key"): row for row in keys.to_dicts()}
        for child, parent_key, role in part.select("child_key", "parent_key", "role").iter_rows():
            found.setdefault(child, Empty()).setdefault(role, []).append(named[parent_key])
    for row in rows.with_columns(row_key(GRAINS[key]).alias("_key")).to_dicts():
        yield row, found.get(row.pop("_key"), Empty())


def check(key: str, rows: pl.DataFrame, edges: pl.DataFrame, read: Callable[[str], pl.DataFrame]) -> None:
    assert rows.height
    for row, of in with_parents(key, rows, edges, read):
        again = AGAIN[key](row, of)
        assert set(again) == set(row), "every column is accounted for"
        wrong = {
            name: (found, again[name])
            for name, found in row.items()
            if found != (pytest.approx(again[name], rel=1e-9) if isinstance(again[name], float) else again[name])
        }
        assert wrong == {}, row


# -- rows that lead astray ---------------------------------------------------------------------------------------------
FIRST, SECOND, NONE = "2016-2020", "2021-2025", "none"
DAY = datetime.date(2020, 11, 1)


def document(name: str, city: str, year: int, kind: str, period: str = NONE, **more: object) -> dict[str, object]:
    row = {"document_id": name, "region_code": city, "year": year, "kind": kind, "period": period, "characters": 1000}
    return row | {"published": DAY, "title": name, "counted": True, "digital_chapter": False} | more


PROPOSALS = "five_year_proposals"
DOCUMENTS = [
    document("a", "110000", 2020, PROPOSALS, SECOND, digital_chapter=True),
    document("a_again", "110000", 2020, PROPOSALS, SECOND, counted=False, published=datetime.date(2020, 1, 1)),
    document("a_old", "110000", 2015, PROPOSALS, FIRST, digital_chapter=True, published=datetime.date(2015, 11, 1)),
    document("b", "320500", 2020, PROPOSALS, SECOND, published=datetime.date(2020, 12, 1), characters=3000),
    document("b_later", "320500", 2020, PROPOSALS, SECOND, digital_chapter=True, published=datetime.date(2021, 1, 2)),
    document("b_undated", "320500", 2020, PROPOSALS, SECOND, published=None, digital_chapter=True),
    document("c", "320500", 2020, "newinfra_plan"),
    document("d", "110000", 2020, "newinfra_plan"),
    document("e", "320500", 2023, "newinfra_plan", SECOND),
    document("n", "100000", 2020, "notice"),
    document("report", "320500", 2020, "government_work_report", characters=4000),
    document("report_before", "320500", 2019, "government_work_report", characters=2000),
    document("report_gap", "320500", 2016, "government_work_report"),
    document("blank", "110000", 2018, "notice", characters=0),
]
TERMS = [
    {"lexicon": lexicon, "term_id": term, "theme": theme, "name_zh": f"{lexicon}{term}", "name_en": theme}
    for lexicon, term, theme in (
        ("policy_area", "credit", "governance"),
        ("policy_area", "health", "service"),
        ("policy_area", "school", "service"),
        ("technology_term", "credit", "technology"),
        ("technology_term", "5g", "technology"),
    )
]


def hit(name: str, lexicon: str, start: int, term: str) -> dict[str, object]:
    (about,) = (row for row in DOCUMENTS if row["document_id"] == name)
    own = {column: about[column] for column in ("document_id", "region_code", "year", "kind", "period")}
    return own | {"lexicon": lexicon, "start": start, "term_id": term}


HITS = [
    hit(name, lexicon, start, term)
    for name, lexicon, start, term in (
        ("a", "policy_area", 1, "health"),
        ("a", "policy_area", 9, "health"),
        ("a", "technology_term", 1, "credit"),
        ("a_old", "technology_term", 1, "5g"),
        ("b", "technology_term", 1, "5g"),
        ("b", "technology_term", 5, "5g"),
        ("b", "policy_area", 5, "credit"),
        ("b_later", "policy_area", 5, "credit"),
        ("n", "policy_area", 1, "school"),
        ("report", "technology_term", 1, "5g"),
        ("report", "technology_term", 2, "5g"),
        ("report_before", "technology_term", 1, "5g"),
        ("report_before", "technology_term", 3, "credit"),
        ("report_gap", "technology_term", 1, "5g"),
    )
]
TASKS = [
    {"document_id": plan, "start": start, "period": period, "class_id": class_id, "subclass_id": subclass}
    for plan, start, period, class_id, subclass in (
        ("c", 1, NONE, "fusion", "industry"),
        ("c", 2, NONE, "fusion", "society"),
        ("d", 1, NONE, "fusion", "society"),
        ("d", 2, NONE, "information", None),
        ("d", 3, NONE, None, None),
        ("e", 1, SECOND, "fusion", "society"),
    )
]
CITIES = ["110000", "320500", *(f"33{n:02}00" for n in range(1, 23))]
LISTS = [{"list_id": "dei_2021", "region_code": city} for city in CITIES[:3]]
LISTS += [{"list_id": "other", "region_code": city} for city in CITIES[1:2]]
LEVELS = {"100000": "nation", "110000": "province"}
REGIONS = [
    {"region_code": city, "valid_from": 1990, "level": LEVELS.get(city, "prefecture")} for city in ["100000", *CITIES]
]
NAMES = [{"year": 2020, "region_code": city, "short_name_zh": city, "name_en": f"city {city}"} for city in CITIES]
SCORES = [
    {"year": 2020, "basis": basis, "region_code": city, "score": 90.0 - place // 2}
    for basis, cities in (("computed", CITIES), ("published", CITIES[:5]))
    for place, city in enumerate(cities)
]
PROJECTS = [
    {"project_id": f"{city}{n}", "region_code": city, "year": year, "investment": 10.04 * (n + 1), "status": "reported"}
    | {"is_new_infrastructure": n % 2 == 0, "scope_note": "仅产业" if n == 2 else None}
    for city, year, count in (("110000", 2020, 3), ("320500", 2020, 2), ("110000", 2019, 4), (CITIES[-1], 2020, 1))
    for n in range(count)
]


@pytest.fixture(scope="module")
def written() -> Made:
    """The models over the rows above."""
    made = Made(
        frames(
            core__documents=DOCUMENTS,
            core__policy_hits=HITS,
            core__policy_terms=TERMS,
            core__plan_tasks=TASKS,
            core__city_lists=LISTS,
            core__regions=REGIONS,
            core__projects=PROJECTS,
            mart__regions=NAMES,
            index__dei_city_scores=SCORES,
        )
    )
    for key in AGAIN:
        if key not in made.tables:
            made.make(key)
    return made


@pytest.mark.parametrize("key", AGAIN)
def test_the_rows_that_edges_name_give_the_row_again(written: Made, key: str):
    check(key, written.read(key), written.tables[key].edges, written.read)


@pytest.mark.parametrize("key", AGAIN)
def test_so_they_do_in_the_demo(key: str):
    lake = Lake(demo_lake().lake)
    check(key, lake.read(key), lake.scan(key, side="lineage").collect(), lake.read)


def test_five_year_plans_are_counted_apart(written: Made):
    cities = written.read("mart/city_plans").filter(list_id="dei_2021", region_code="110000").rows()
    assert [row[1:3] for row in cities] == [
        ("digital_chapter", FIRST),
        ("digital_chapter", SECOND),
        (PROPOSALS, FIRST),
        (PROPOSALS, SECOND),
        ("newinfra_plan", NONE),
    ]
    counts = written.read("mart/plan_counts").filter(list_id="dei_2021", measure=PROPOSALS)
    assert counts.select("period", "cities", "listed", "proposals").rows() == [(FIRST, 1, 3, 1), (SECOND, 2, 3, 2)]
    releases = written.read("mart/plan_releases").filter(kind=PROPOSALS)
    assert releases.select("period", "document_id", "release_rank").rows() == [
        (FIRST, "a_old", 1),
        (SECOND, "a", 1),
        (SECOND, "b", 2),
    ]
    used = written.read("mart/term_frequencies").filter(kind=PROPOSALS, term_id="5g")
    assert used.select("period", "documents", "hits", "share").rows() == [(FIRST, 1, 1, 1.0), (SECOND, 4, 2, 0.5)]
    shares = written.read("mart/task_shares").filter(class_id="fusion", subclass_id="society")
    assert shares.select("period", "tasks", "share_of_all").rows() == [(SECOND, 1, 100.0), (NONE, 2, 50.0)]
