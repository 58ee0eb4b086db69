"""COINr's aggregation tables: every mean on every level, Copeland, mixed means, missing data, panels.

COINr's trees are in `01_input/iMeta`; its scores of all nodes stand in one table beside the leaves.
"""

import itertools

import numpy as np
import polars as pl
import pytest

from dei_pipeline.methods.aggregate import Mean, copeland, tree
from dei_pipeline.methods.outrank import outranking_matrix
from tests.trees import framework_of, joined_by

PILLARS = ("Physical", "ConEcFin", "Political", "Instit", "P2P", "Environ", "Social", "SusEcFin")


@pytest.fixture(scope="module")
def asem(coinr):
    """ASEM's tree with its own weights, all 1, or with the unequal ones."""
    meta = coinr("01_input/iMeta").filter(pl.col("Type").is_in(["Indicator", "Aggregate"]))
    meta = meta.sort("Level", descending=True, maintain_order=True)

    def build(unequal=False):
        rows = meta
        if unequal:
            weights = coinr("01_input/weights_unequal").select("iCode", pl.col("Weight").alias("other"))
            rows = meta.join(weights, on="iCode", how="left", maintain_order="left")
            rows = rows.with_columns(Weight=pl.col("other"))
            assert rows["Weight"].null_count() == 0
        return framework_of(list(rows.select("iCode", "Parent", pl.col("Weight").cast(pl.Float64)).iter_rows()), 0.0)

    return build


def leaves_of(framework, table):
    return table.select(framework.leaf_ids).cast(pl.Float64).to_numpy()


def agree(result, framework, expected, rtol=1e-10):
    inner = [n for n in framework.positions if n not in framework.leaf_ids]
    assert len(inner) == 11
    for node in inner:
        np.testing.assert_allclose(result.of(node), expected[node].cast(pl.Float64), rtol=rtol, err_msg=node)


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("amean", Mean("arithmetic")),
        ("gmean", Mean("geometric")),
        ("hmean", Mean("harmonic")),
        ("genmean_p-2", Mean("generalised", -2)),
        ("genmean_p0.5", Mean("generalised", 0.5)),
        ("genmean_p2", Mean("generalised", 2)),
        ("copeland", Mean("copeland")),
    ],
)
def test_every_mean_reproduces_coinr_on_all_levels(coinr, asem, name, mean):
    framework = asem()
    expected = coinr(f"06_aggregate/{name}_Original")
    leaves = leaves_of(framework, coinr("06_aggregate/input_minmax_1_100"))
    agree(tree(framework, leaves, aggregation=mean), framework, expected)


def test_a_mean_of_its_own_per_level_reproduces_coinr(coinr, asem):
    framework = joined_by(
        asem(), **dict.fromkeys(PILLARS, "arithmetic"), Conn="geometric", Sust="geometric", Index="harmonic"
    )
    leaves = leaves_of(framework, coinr("06_aggregate/input_minmax_1_100"))
    agree(tree(framework, leaves), framework, coinr("06_aggregate/mixed_amean_gmean_hmean_Original"))


def test_the_pipeline_of_coinr_is_reproduced(coinr, asem):
    framework = asem()
    normalised, expected = coinr("02_pipeline/Normalised"), coinr("02_pipeline/Aggregated")
    assert normalised["uCode"].to_list() == expected["uCode"].to_list()
    agree(tree(framework, leaves_of(framework, normalised)), framework, expected)


@pytest.mark.parametrize(("name", "unequal"), [("", False), ("per_year_", False), ("zscore_unequalw_", True)])
def test_a_panel_is_aggregated_at_once_and_reproduces_coinr(coinr, asem, name, unequal):
    framework = asem(unequal)
    normalised, expected = coinr(f"11_purse/{name}Normalised"), coinr(f"11_purse/{name}Aggregated")
    assert normalised.select("Time", "uCode").equals(expected.select("Time", "uCode"))
    result = tree(framework, leaves_of(framework, normalised), groups=normalised["Time"].to_numpy())
    agree(result, framework, expected, rtol=1e-10)


def test_copeland_of_a_panel_is_copeland_of_each_year(coinr, asem):
    framework = asem()
    panel = coinr("11_purse/Normalised").filter(pl.col("Time") <= 2019)
    whole = tree(framework, leaves_of(framework, panel), aggregation="copeland", groups=panel["Time"].to_numpy())
    for year in (2018, 2019):
        at = (panel["Time"] == year).to_numpy()
        alone = tree(framework, leaves_of(framework, panel)[at], aggregation="copeland")
        np.testing.assert_array_equal(whole.score[at], alone.score)


def test_coinr_defect_2_copeland_ties_are_exact(coinr, asem):
    """COINr compares a floating sum of weights with 0.5: exactly tied pairs of pillar Instit are decided by rounding.

    All of them have CostImpEx, RTAs and Visa (7 of 18) won and TIRcon (4 of 18) tied; no other pillar has any.
    """
    framework = asem(unequal=True)
    leaves = pl.DataFrame(
        leaves_of(framework, coinr("06_aggregate/input_minmax_1_100")), schema=list(framework.leaf_ids)
    )
    differing = {}
    for pillar in PILLARS:
        rows = framework.nodes.filter(pl.col("parent_id") == pillar)
        x, w = leaves.select(rows["node_id"].to_list()).to_numpy(), rows["weight"].to_numpy()
        raw = np.rint(w / w.min() * 60).astype(int)  # weights are 1 to 5: whole numbers in this unit
        exact = {}
        for i, j in itertools.combinations(range(len(x)), 2):
            margin = sum(int(raw[c]) * (int(x[i, c] > x[j, c]) - int(x[i, c] < x[j, c])) for c in range(len(w)))
            exact[i, j] = int(np.sign(margin))
        matrix = outranking_matrix(x, w)
        ours = np.where(np.abs(matrix - 0.5) <= 1e-12, 0, np.sign(matrix - 0.5))
        assert all(ours[pair] == sign for pair, sign in exact.items())
        np.testing.assert_allclose(
            copeland(x, w)[0],
            [sum(s * ((i == u) - (j == u)) for (i, j), s in exact.items()) for u in range(len(x))],
            atol=0,
        )
        plain = [(i, j) for i, j in exact if np.sign(float_share(x[i], x[j], w) - 0.5) != exact[i, j]]
        if plain:
            differing[pillar] = plain
    assert {pillar: len(pairs) for pillar, pairs in differing.items()} == {"Instit": 6}
    for i, j in differing["Instit"]:
        a, b = leaves.row(i, named=True), leaves.row(j, named=True)
        assert all(a[c] > b[c] for c in ("CostImpEx", "RTAs", "Visa"))
        assert a["TIRcon"] == b["TIRcon"]


def float_share(a, b, w):
    """Share of weight as COINr sums it: the weights won, plus half the weights tied; R's `sum` has 80 bits."""
    won, tied = (float(np.sum(w[where].astype(np.longdouble))) for where in (a > b, a == b))
    return won + tied / 2


def test_coinr_defect_5_every_mean_skips_what_is_missing(coinr, asem):
    """COINr's generalised mean returns NA if one value is; here p → its neighbours, and a plain loop says the same."""
    framework = asem(unequal=True)
    table = coinr("06_aggregate/input_missing_minmax_1_100")
    leaves = leaves_of(framework, table)
    assert np.isnan(leaves).any()
    for mean, power in (("arithmetic", 1.0), ("geometric", 0.0), ("harmonic", -1.0), ("generalised", 0.5)):
        chosen = Mean(mean, power) if mean == "generalised" else Mean(mean)
        result = tree(framework, leaves, aggregation=chosen)
        assert np.isnan(result.of("Index")).sum() == 0
        for pillar in PILLARS:
            rows = framework.nodes.filter(pl.col("parent_id") == pillar)
            x = table.select(rows["node_id"].to_list()).cast(pl.Float64).to_numpy()
            expected = [plain_mean(row, rows["weight"].to_list(), power) for row in x]
            np.testing.assert_allclose(result.of(pillar), expected, rtol=1e-12)
    np.testing.assert_allclose(
        tree(framework, leaves, aggregation=Mean("generalised", -1)).score,
        tree(framework, leaves, aggregation="harmonic").score,
        rtol=0,
    )


def plain_mean(values, weights, power):
    """A power mean of what is there, as the textbook says it."""
    there = [(v, w) for v, w in zip(values.tolist(), weights, strict=True) if v == v]
    total = sum(w for _, w in there)
    if not there:
        return float("nan")
    if power == 0:
        return float(np.prod([v ** (w / total) for v, w in there]))
    return sum(w / total * v**power for v, w in there) ** (1 / power)
