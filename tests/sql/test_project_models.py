"""The models of key projects: counts of cities, members of a scope, the table of the first 20, totals."""

import pytest

from tests.sql.rows import SPECS, run


def project(city: str, investment: float, new: bool, status: str = "reported", **more: object) -> dict[str, object]:
    row = {"project_id": f"{city}{investment}", "region_code": city, "year": 2020, "investment": investment}
    return row | {"is_new_infrastructure": new, "status": status} | more


def counts(city: str, projects: int, new: int, investment: float, **more: object) -> dict[str, object]:
    row = {"region_code": city, "year": 2020, "projects": projects, "new_infrastructure_projects": new}
    share = 100.0 * new / projects
    row |= {"investment": investment, "new_infrastructure_investment": investment / 4, "estimated_projects": 0}
    return row | {"new_infrastructure_share": share, "new_infrastructure_investment_share": 25.0} | more


def score(city: str, points: float, basis: str = "computed") -> dict[str, object]:
    return {"year": 2020, "basis": basis, "region_code": city, "score": points}


def test_projects_of_a_city_are_counted_and_summed_by_class():
    rows = [
        project("1", 10.0, True),
        project("1", 20.0, False, status="estimated"),
        project("1", 10.0, True, project_id="x", scope_note="仅产业"),
        project("2", 5.0, False),
        project("2", 7.0, False, year=2019),
    ]
    found = run("mart/project_counts", core__projects=rows).to_dicts()
    assert [(r["region_code"], r["year"], r["projects"], r["new_infrastructure_projects"]) for r in found] == [
        ("1", 2020, 3, 2),
        ("2", 2019, 1, 0),
        ("2", 2020, 1, 0),
    ]
    first = found[0]
    assert (first["investment"], first["new_infrastructure_investment"]) == (40.0, 20.0)
    assert first["new_infrastructure_share"] == pytest.approx(200 / 3)
    assert (first["new_infrastructure_investment_share"], first["estimated_projects"]) == (50.0, 1)
    assert [r["scope_note"] for r in found] == ["仅产业", None, None]


def test_the_first_20_of_a_ranking_are_a_scope_of_their_own_and_cities_without_list_are_counted():
    scores = [score(f"{i:02}", 100.0 - i) for i in range(25)] + [score("24", 50.0, "published")]
    held = [counts(code, 10, 4, 100.0) for code in ("00", "19", "20", "24")]
    members = run("release/newinfra_members", index__dei_city_scores=scores, mart__project_counts=held)
    assert members.select("scope", "basis", "region_code", "rank", "cities").rows() == [
        ("ranked", "computed", "00", 1, 25),
        ("ranked", "computed", "19", 20, 25),
        ("ranked", "computed", "20", 21, 25),
        ("ranked", "computed", "24", 25, 25),
        ("ranked", "published", "24", 1, 1),
        ("top20", "computed", "00", 1, 20),
        ("top20", "computed", "19", 20, 20),
        ("top20", "published", "24", 1, 1),
    ]
    totals = run("release/newinfra_totals", release__newinfra_members=members.to_dicts())
    assert totals.select("scope", "basis", "cities", "listed_cities", "listed_share", "projects").rows() == [
        ("ranked", "computed", 25, 4, 16.0, 40),
        ("ranked", "published", 1, 1, 100.0, 10),
        ("top20", "computed", 20, 2, 10.0, 20),
        ("top20", "published", 1, 1, 100.0, 10),
    ]
    first = totals.row(0, named=True)
    assert (first["investment"], first["new_infrastructure_share"]) == (400.0, 40.0)
    assert first["new_infrastructure_investment_share"] == 25.0


def test_cities_with_one_score_share_a_rank():
    scores = [score("1", 80.0), score("2", 80.0 + 1e-12), score("3", 70.0)]
    held = [counts(code, 10, 4, 100.0) for code in "123"]
    members = run("release/newinfra_members", index__dei_city_scores=scores, mart__project_counts=held)
    assert dict(members.filter(scope="ranked").select("region_code", "rank").iter_rows()) == {"1": 1, "2": 1, "3": 3}


def test_the_table_of_the_first_20_prints_one_decimal_rounded_half_up():
    held = [counts("1", 212, 83, 20_000.04, new_infrastructure_investment_share=35.25, scope_note="仅产业")]
    member = {"year": 2020, "scope": "top20", "basis": "computed", "region_code": "1", "rank": 1, "cities": 20}
    members = [
        member | {name: held[0][name] for name in held[0] if name in SPECS["release/newinfra_members"].contract.schema}
    ]
    members.append(members[0] | {"scope": "ranked"})
    regions = [{"year": 2020, "region_code": "1", "short_name_zh": "上海", "name_en": "Shanghai"}]
    found = run(
        "release/newinfra_top20",
        release__newinfra_members=members,
        mart__project_counts=held,
        mart__regions=regions,
    )
    assert found.height == 1
    row = found.row(0, named=True)
    assert (row["rank"], row["region_name"], row["region_name_en"], row["scope_note"]) == (
        1,
        "上海",
        "Shanghai",
        "仅产业",
    )
    assert (row["projects"], row["new_infrastructure_projects"], row["new_infrastructure_share"]) == (212, 83, 39.2)
    assert (row["investment"], row["new_infrastructure_investment_share"]) == (20_000.0, 35.3)
