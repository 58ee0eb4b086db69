"""Golden vectors of the change of a score: Bennet's split, and raw value against threshold."""

import numpy as np

from dei_pipeline.methods.decompose import bennet, rebase
from dei_pipeline.methods.normalise import threshold


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-9)


def test_change_decomposition_bennet(golden):
    inputs, outputs = golden["change_decomposition_bennet"]["inputs"], golden["change_decomposition_bennet"]["outputs"]
    w0, w1, s0, s1 = (np.array(inputs[name]) for name in ("w0", "w1", "s0", "s1"))
    effects = bennet(w0, w1, s0, s1)
    close(effects.value, outputs["value_effect"])
    close(effects.weight, outputs["weight_effect"])
    close((w0 @ s0, w1 @ s1), (outputs["C0"], outputs["C1"]))
    close(effects.value.sum() + effects.weight.sum(), outputs["sum"])
    close(outputs["sum"], outputs["delta"])


def test_threshold_rebase_split(golden):
    inputs, outputs = golden["threshold_rebase_split"]["inputs"], golden["threshold_rebase_split"]["outputs"]
    effects = rebase(*inputs["raw"], *inputs["theta"])
    close(threshold(inputs["raw"], inputs["theta"]), (outputs["score0"], outputs["score1"]))
    close(effects.raw, outputs["raw_effect"])
    close(effects.theta, outputs["theta_effect"])
    close(effects.cap, 0)
