"""Golden vectors of the index methods: from normalisation and treatment to tiers, and the whole tree."""

import numpy as np
import pytest

from dei_pipeline.methods.aggregate import tree, weighted_mean
from dei_pipeline.methods.framework import packaged
from dei_pipeline.methods.impute import peer_growth
from dei_pipeline.methods.normalise import saturation, threshold
from dei_pipeline.methods.tiers import competition_rank, dei_tier, evenness, round_half_up
from dei_pipeline.methods.treat import kurtosis, skewness, winsorise


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-9)


def parts(golden, name):
    vector = golden[name]
    return vector["inputs"], vector["params"], vector["outputs"]


def test_norm_positive(golden):
    inputs, params, outputs = parts(golden, "norm_positive")
    close(threshold(inputs["x"], params["theta"]), outputs["uncapped"])
    close(threshold(inputs["x"], params["theta"], cap=100), outputs["cap100"])


def test_norm_negative(golden):
    inputs, params, outputs = parts(golden, "norm_negative")
    close(threshold(inputs["x"], params["theta"], "negative", cap=100), outputs["cap100"])


def test_norm_moderate(golden):
    inputs, params, outputs = parts(golden, "norm_moderate")
    close(threshold(inputs["x"], direction="moderate", **params), outputs["score"])


def test_policy_count_score(golden):
    inputs, params, outputs = parts(golden, "policy_count_score")
    close(saturation(inputs["counts"], params["saturation"]), outputs["score"])


def test_aggregate_missing(golden):
    inputs, params, outputs = parts(golden, "aggregate_missing")
    w, least = inputs["w"], params["min_coverage"]
    close(weighted_mean(inputs["x_full"], w, least), (outputs["full"], 1))
    score, coverage = weighted_mean(inputs["x_miss1"], w, least)
    close((score, coverage), (outputs["miss1_renormalised"], outputs["miss1_coverage"]))
    close(weighted_mean([x or 0 for x in inputs["x_miss1"]], w, least)[0], outputs["miss1_zero_fill"])
    score, coverage = weighted_mean(inputs["x_miss2"], w, least)
    assert outputs["miss2_result"] is None
    assert np.isnan(score)
    close(coverage, outputs["miss2_coverage"])


def test_tree_small(golden):
    inputs, _, outputs = parts(golden, "tree_small")
    infra, _ = weighted_mean(inputs["infra_children"], inputs["w2"])
    close(infra, outputs["infra"])
    level1 = [infra if x is None else x for x in inputs["l1"]]
    close(weighted_mean(level1, inputs["w1"])[0], outputs["total"])


def test_dei_level1_means(golden):
    inputs, _, outputs = parts(golden, "dei_level1_means")
    dei = packaged("dei")
    level1 = dei.nodes.filter(level=1)
    assert level1["weight"].to_list() == inputs["w"]
    assert [dei.published["node_means"][n] for n in level1["node_id"]] == inputs["subindex_means"]
    mean, _ = weighted_mean(inputs["subindex_means"], level1["weight"].to_numpy())
    close(mean, outputs["weighted"])
    assert round_half_up(float(mean), 1) == dei.published["mean"]


def test_dei_end_to_end_mod101(golden):
    outputs = golden["dei_end_to_end_mod101"]["outputs"]
    dei = packaged("dei")
    leaves = np.array([[(37 * k + 11 * c) % 101 for k in range(1, 47)] for c in (1, 2, 3)], dtype=float)
    result = tree(dei, leaves)
    flat = leaves @ dei.leaves["global_weight"].to_numpy()
    for c, expected in enumerate(outputs.values()):
        close(result.of("dei")[c], expected["total"])
        close(flat[c], expected["flat_global_weights"])
        for node in dei.nodes.filter(level=1)["node_id"]:
            close(result.of(node)[c], expected[node])


def test_evenness(golden):
    inputs, _, outputs = parts(golden, "evenness")
    close(evenness(inputs["v"], "pielou"), outputs["pielou_x100"])
    close(evenness(inputs["v"], "gini"), outputs["one_minus_gini_x100"])
    for kind in ("gini", "pielou"):
        close(evenness(inputs["flat"], kind), outputs["flat"])
        close(evenness([0, 0, 0], kind), outputs["all_zero"])


def test_tiering(golden):
    inputs, _, outputs = parts(golden, "tiering")
    scores = [float(s) for s in inputs["score_repr"]]
    assert dei_tier(scores).tolist() == outputs["tier"]
    assert [dei_tier(s) for s in scores] == outputs["tier"]


def test_rank_ties(golden):
    inputs, _, outputs = parts(golden, "rank_ties")
    assert competition_rank(inputs["scores"]).tolist() == outputs["competition_rank"]


def test_winsorise(golden):
    inputs, _, outputs = parts(golden, "winsorise")
    close((skewness(inputs["x"]), kurtosis(inputs["x"])), outputs["skew_kurt_before"])
    result = winsorise(inputs["x"])
    close(result.values, outputs["after_one_point"])
    assert result.treated.tolist() == [9]
    assert result.passed
    close((skewness(result.values), kurtosis(result.values)), outputs["skew_kurt_after"])


def test_imputation(golden):
    inputs, _, outputs = parts(golden, "imputation")
    close(peer_growth(inputs["prev"], inputs["peer_growth"]), outputs["peer_growth_median_carry"])


def test_cluster_weighted(golden):
    inputs, _, outputs = parts(golden, "cluster_weighted")
    close(weighted_mean(inputs["score"], inputs["weight"])[0], outputs["weighted"])
    close(weighted_mean(inputs["score"], [1, 1, 1])[0], outputs["simple"])


def test_there_is_a_test_for_every_vector_of_these_topics(golden):
    topics = (
        "norm_",
        "aggregate",
        "tree",
        "evenness",
        "tiering",
        "rank_ties",
        "winsorise",
        "imputation",
        "cluster",
        "dei_",
    )
    names = [name for name in golden if name.startswith(topics)]
    assert len(names) == 13
    missing = [name for name in names if f"test_{name}" not in globals()]
    if missing:
        pytest.fail(f"no test for {missing}")
