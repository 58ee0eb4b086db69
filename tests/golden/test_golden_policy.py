"""Golden vectors of the policy corpus, through the models that publish the numbers."""

import numpy as np
import polars as pl
import pytest

from tests.sql.rows import Made, frames, run

SERVICE = [f"area{k}" for k in range(8)]
TERMS = [
    *(
        {"lexicon": "policy_area", "term_id": area, "theme": "service", "name_zh": area, "name_en": area}
        for area in SERVICE
    ),
    {"lexicon": "policy_area", "term_id": "credit", "theme": "governance", "name_zh": "credit", "name_en": "credit"},
]
CITY = {"region_code": "320500", "year": 2020}
REGIONS = [{"region_code": "320500", "valid_from": 1990, "level": "prefecture"}]


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-9)


def document(name: str, **more: object) -> dict[str, object]:
    return CITY | {"document_id": name, "kind": "notice", "period": "none", "counted": True, "characters": 100} | more


def hit(name: str, term: str, lexicon: str = "policy_area", start: int = 1) -> dict[str, object]:
    return CITY | {"document_id": name, "lexicon": lexicon, "start": start, "term_id": term}


def summary(documents: list[dict[str, object]], hits: list[dict[str, object]]) -> Made:
    """mart/policy_counts and mart/policy_summary over documents of one city and what stands in them."""
    given = {"core__documents": documents, "core__policy_hits": hits, "core__policy_terms": TERMS}
    made = Made(frames(core__regions=REGIONS, **given))
    for key in ("mart/policy_counts", "mart/policy_summary"):
        made.make(key)
    return made


def test_policy_count_score(golden):
    vector = golden["policy_count_score"]
    assert vector["params"] == {"saturation": 20}
    counts = [int(count) for count in vector["inputs"]["counts"]]
    documents = [document(f"d{k}") for k in range(max(counts))]
    hits = [hit(f"d{k}", area) for area, count in zip(SERVICE, counts, strict=False) for k in range(count)]
    found = summary(documents, hits).read("mart/policy_counts").filter(pl.col("area_id").is_in(SERVICE[: len(counts)]))
    assert found.sort("area_id")["documents"].to_list() == counts
    close(found.sort("area_id")["count_score"], vector["outputs"]["score"])
    for count, score in zip(counts, vector["outputs"]["score"], strict=True):
        row = summary(documents, [hit(f"d{k}", SERVICE[k % 8]) for k in range(count)]).read("mart/policy_summary")
        close(row["service_count_score"], [score])
        assert row["governance_count_score"].to_list() == [0.0]


def test_policy_coverage(golden):
    vector = golden["policy_coverage"]
    covered = vector["inputs"]["areas_with_policy"]
    assert len(covered) == vector["inputs"]["areas_total"] == len(SERVICE)
    hits = [hit("d", area) for area, has in zip(SERVICE, covered, strict=True) if has]
    found = summary([document("d")], hits).read("mart/policy_summary")
    close(found["service_coverage"], [vector["outputs"]["coverage_pct"]])
    assert found["governance_coverage"].to_list() == [0.0]


def test_policy_keyword_density(golden):
    vector = golden["policy_keyword_density"]
    characters, count = vector["inputs"]["chars"], vector["inputs"]["keyword_hits"]
    documents = [document("d", characters=characters - 100), document("e"), document("repeat", counted=False)]
    hits = [hit("d", "5g", "technology_term", start) for start in range(count)]
    found = summary(documents, hits).read("mart/policy_summary")
    close(found["technology_density"], [vector["outputs"]["hits_per_10k_chars"]])


@pytest.mark.parametrize(
    ("level", "weight"), [("nation", 1.0), ("province", 0.5), ("prefecture", 0.2), ("county", 0.2)]
)
def test_documents_weigh_as_the_level_of_their_region(level, weight):
    """Methodology §3.24: national 1, province 0.5, city 0.2."""
    made = Made(
        frames(
            core__documents=[document("d"), document("e"), document("f")],
            core__policy_hits=[hit("d", "credit"), hit("e", "credit"), hit("f", SERVICE[0])],
            core__policy_terms=TERMS,
            core__regions=[REGIONS[0] | {"level": level}],
        )
    )
    assert set(made.make("mart/policy_counts").frame["level_weight"]) == {weight}
    row = made.make("mart/policy_summary").frame.row(0, named=True)
    assert row["governance_documents_weighted"] == 2 * weight
    assert row["service_documents_weighted"] == weight


def test_seed_policy_counts(golden):
    given, outputs = golden["seed_policy_counts"]["inputs"], golden["seed_policy_counts"]["outputs"]
    cities = [f"{100_000 + k}" for k in range(given["cities"])]
    kinds = {"five_year_proposals": given["published_advice"], "five_year_outline": given["full_plan"]}
    documents = [
        document(f"{kind}{k}", region_code=cities[k], kind=kind, period="2021-2025")
        | {"digital_chapter": k < given["with_digital_topic"]}
        for kind, count in kinds.items()
        for k in range(count)
    ]
    lists = [{"list_id": "dei_2021", "region_code": city} for city in cities]
    plans = run("mart/city_plans", core__documents=documents, core__city_lists=lists)
    counts = run("mart/plan_counts", mart__city_plans=plans.to_dicts(), core__city_lists=lists)
    found = {row["measure"]: row for row in counts.to_dicts()}
    assert found["digital_chapter"]["cities"] == given["with_digital_topic"]
    close(found["five_year_proposals"]["share_of_list"], outputs["advice_pct"])
    close(found["digital_chapter"]["share_of_proposals"], outputs["topic_of_advice_pct"])
    close(found["digital_chapter"]["share_of_list"], outputs["topic_of_all_pct"])
    close(found["five_year_outline"]["share_of_list"], outputs["plan_pct"])
