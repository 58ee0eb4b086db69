"""Golden vectors of the look-through of holdings."""

import numpy as np
import polars as pl
import pytest

from dei_pipeline.methods.ownership import controlled, effective_shares, look_through

VECTORS = ("equity_look_through", "equity_cycle_through_root", "equity_joint_control")


def holdings_of(matrix, names):
    rows = [(names[i], names[j], d) for i, line in enumerate(matrix) for j, d in enumerate(line) if d]
    return pl.DataFrame(rows, schema=["holder_id", "held_id", "share"], orient="row")


@pytest.mark.parametrize("name", VECTORS)
def test_equity(golden, name):
    vector = golden[name]
    matrix, outputs = vector["inputs"]["D"], vector["outputs"]
    names = [f"c{i}" for i in range(len(matrix))]
    holdings = holdings_of(matrix, names)
    expected = outputs.get("effective_share", outputs.get("effective", outputs.get("corrected_N0j_over_N00")))
    shares = effective_shares(holdings, "c0").sort("company_id")
    assert shares["company_id"].to_list() == names
    np.testing.assert_allclose(shares["effective_share"], expected, rtol=1e-8)
    members = outputs.get("controlled_fixpoint_gt50", outputs.get("controlled"))
    assert sorted(controlled(holdings, "c0")["company_id"]) == [names[i] for i in members]
    both = look_through(holdings, ["c0"]).filter("controlled")
    assert both["company_id"].to_list() == [names[i] for i in members if i]
    np.testing.assert_allclose(both["effective_share"], [expected[i] for i in members if i], rtol=1e-8)
