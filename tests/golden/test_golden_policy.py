"""Golden vectors of the policy corpus."""

import numpy as np

from dei_pipeline.methods.policy import count_score, coverage, density, percentage


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-9)


def test_policy_count_score(golden):
    vector = golden["policy_count_score"]
    close(count_score(vector["inputs"]["counts"], vector["params"]["saturation"]), vector["outputs"]["score"])


def test_policy_coverage(golden):
    vector = golden["policy_coverage"]
    areas = vector["inputs"]["areas_with_policy"]
    assert len(areas) == vector["inputs"]["areas_total"]
    close(coverage(areas), vector["outputs"]["coverage_pct"])


def test_policy_keyword_density(golden):
    vector = golden["policy_keyword_density"]
    close(density(vector["inputs"]["keyword_hits"], vector["inputs"]["chars"]), vector["outputs"]["hits_per_10k_chars"])


def test_seed_policy_counts(golden):
    given, outputs = golden["seed_policy_counts"]["inputs"], golden["seed_policy_counts"]["outputs"]
    cities, advised, topic = given["cities"], given["published_advice"], given["with_digital_topic"]
    close(percentage(advised, cities), outputs["advice_pct"])
    close(percentage(topic, advised), outputs["topic_of_advice_pct"])
    close(percentage(topic, cities), outputs["topic_of_all_pct"])
    close(percentage(given["full_plan"], cities), outputs["plan_pct"])
