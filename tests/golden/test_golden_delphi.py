"""Golden vectors of the Delphi methods."""

import numpy as np

from dei_pipeline.methods.aggregate import weighted_mean
from dei_pipeline.methods.delphi import aggregate, kendall_w


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-9)


def test_kendall_w(golden):
    vector = golden["kendall_w"]
    found, outputs = kendall_w(vector["inputs"]["scores_experts_x_items"]), vector["outputs"]
    close(
        (found.w, found.w_uncorrected, found.chi2), [outputs[k] for k in ("W_tie_corrected", "W_uncorrected", "chi2")]
    )
    assert found.df == outputs["df"]
    assert round(found.p, 6) == 0.006944  # methodology §0a «Delphi»


def test_delphi_aggregate(golden):
    vector = golden["delphi_aggregate"]
    pooled, outputs = aggregate(vector["inputs"]["scores"], vector["inputs"]["authority"]), vector["outputs"]
    close(pooled.weighted_mean, outputs["authority_weighted_mean"])
    close(pooled.mean, outputs["mean"])
    close(pooled.cv, outputs["cv"])
    close(weighted_mean(pooled.weighted_mean, outputs["dim_weights"])[0], outputs["policy_index"])
