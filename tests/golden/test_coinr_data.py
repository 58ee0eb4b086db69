"""COINr tables of the data steps: availability, screening, denomination, imputation in a cross-section and a panel.

Medians, row means and trends have no result file: they are compared with an independent computation over the same data.
"""

import statistics

import numpy as np
import polars as pl
import pytest

from dei_pipeline.methods import imputers
from dei_pipeline.methods.screen import availability, denominate, screen
from dei_pipeline.methods.trends import change, growth

MISSING = 63  # cells of the raw data
LOST = {"Elec": 1, "Gas": 1}  # LAO has no energy consumption to divide by


def same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=0)


def numbers(frame, columns):
    return frame.select(pl.col(columns).cast(pl.Float64)).to_numpy()


@pytest.fixture(scope="module")
def meta(coinr):
    return coinr("01_input/iMeta").filter(pl.col("Type") == "Indicator")


@pytest.fixture(scope="module")
def indicators(meta):
    return meta["iCode"].to_list()


@pytest.fixture(scope="module")
def members(coinr, indicators):
    lineage = coinr("01_input/lineage")
    levels = (lineage.select("Indicator", pl.col(level).alias("node")) for level in lineage.columns[1:])
    below = pl.concat(levels).group_by("node", maintain_order=True).agg("Indicator")
    return {node: [indicators.index(i) for i in leaves] for node, leaves in below.iter_rows()}


@pytest.fixture(scope="module")
def groups(coinr):
    """Unit → group, for every grouping of the units."""
    data = coinr("01_input/iData")
    return {name: dict(data.select("uCode", name).iter_rows()) for name in data.columns if name.endswith("_group")}


def of_units(groups, name, frame):
    return [groups[name][unit] for unit in frame["uCode"]]


def test_data_availability_of_the_raw_data(coinr, indicators, members):
    raw, summary, by_group = (
        coinr(f"02_pipeline/{name}") for name in ("Raw", "data_avail_summary", "data_avail_bygroup")
    )
    found = availability(numbers(raw, indicators), members)
    assert raw["uCode"].equals(summary["uCode"])
    assert raw["uCode"].equals(by_group["uCode"])
    assert found.missing.tolist() == summary["N_missing"].to_list()
    assert found.zero.tolist() == summary["N_zero"].to_list()
    same(found.available, summary["Dat_Avail"])
    same(found.nonzero, summary["Non_Zero"])
    same(found.by_group, numbers(by_group, list(found.groups)))
    assert set(found.groups) == set(by_group.columns) - {"uCode"}


def test_denominated(coinr, indicators, meta):
    raw, expected, data = coinr("02_pipeline/Raw"), coinr("02_pipeline/Denominated"), coinr("01_input/iData")
    sizes = raw.select("uCode").join(data, on="uCode", how="left", maintain_order="left")
    spec = dict(meta.drop_nulls("Denominator").select("iCode", "Denominator").iter_rows())
    result = denominate(
        numbers(raw, indicators),
        raw["uCode"].to_list(),
        indicators,
        {name: sizes[name].to_numpy() for name in set(spec.values())},
        spec,
    )
    same(result.values, numbers(expected, indicators))
    assert set(result.lost) == set(spec)
    assert {i: n for i, n in result.lost.items() if n} == LOST


@pytest.mark.parametrize(
    ("file", "impute"),
    [
        ("05_impute/i_mean", lambda x, _: imputers.mean(x)),
        ("05_impute/i_mean_grp_EurAsia", imputers.group_mean),
        ("02_pipeline/Imputed", imputers.group_mean),
    ],
)
def test_imputed_by_a_mean(coinr, indicators, groups, file, impute):
    denominated, expected = coinr("05_impute/input_Denominated"), coinr(file)
    x = numbers(denominated, indicators)
    result = impute(x, of_units(groups, "EurAsia_group", denominated))
    same(result.values, numbers(expected, indicators))
    assert result.mask.sum() == np.isnan(x).sum() == MISSING + 2
    assert result.left.sum() == 0


def test_imputed_by_a_median_agrees_with_the_definition(coinr, indicators, groups):
    denominated = coinr("05_impute/input_Denominated")
    x, of = numbers(denominated, indicators), of_units(groups, "GDP_group", denominated)
    column, group = imputers.median(x), imputers.group_median(x, of)
    for row, j in np.argwhere(np.isnan(x)):
        same(column.values[row, j], statistics.median(x[~np.isnan(x[:, j]), j]))
        peers = [v for v, g in zip(x[:, j], of, strict=True) if g == of[row] and not np.isnan(v)]
        same(group.values[row, j], statistics.median(peers))
        assert group.donors[row, j] == len(peers)


def test_row_mean_within_the_pillar_agrees_with_the_definition(coinr, indicators, meta):
    denominated, lineage = coinr("05_impute/input_Denominated"), coinr("01_input/lineage")
    x, signs = numbers(denominated, indicators), meta["Direction"].to_list()
    pillar = dict(lineage.select("Indicator", "Pillar").iter_rows())
    result = imputers.row_mean(x, [pillar[i] for i in indicators], signs)
    scores = {}
    for j, sign in enumerate(signs):
        known = sorted(sign * v for v in x[:, j] if not np.isnan(v))
        scores[j] = (known[0], known[-1] - known[0])
    for row, j in np.argwhere(np.isnan(x)):
        siblings = [k for k in scores if pillar[indicators[k]] == pillar[indicators[j]] and not np.isnan(x[row, k])]
        score = statistics.fmean((signs[k] * x[row, k] - scores[k][0]) / scores[k][1] for k in siblings)
        same(result.values[row, j], signs[j] * (scores[j][0] + score * scores[j][1]))
    assert -1 in signs
    assert result.mask.sum() == MISSING + 2


def test_screened(coinr, indicators):
    imputed, screened, summary = (coinr(f"02_pipeline/{name}") for name in ("Imputed", "Screened", "Screened_summary"))
    x, units = numbers(imputed, indicators), imputed["uCode"].to_list()
    result, both = screen(x, units, 0.9), screen(x, units, 0.9, 0.05)
    assert summary["uCode"].to_list() == units
    assert result.included.tolist() == (summary["Included"].cast(pl.String).str.to_lowercase() == "true").to_list()
    assert [u for u, is_in in zip(units, result.included, strict=True) if is_in] == screened["uCode"].to_list()
    assert not (both.few_values | both.many_zeros).any()
    for column, values in (
        ("N_missing", result.availability.missing),
        ("N_zero", result.availability.zero),
        ("N_miss_or_zero", result.availability.missing + result.availability.zero),
        ("Dat_Avail", result.availability.available),
        ("Non_Zero", result.availability.nonzero),
    ):
        same(values, summary[column])


def test_screened_panel_keeps_the_rows_that_coinr_goes_on_with(coinr, indicators):
    raw, kept = coinr("11_purse/Raw"), coinr("11_purse/per_year_Normalised")
    rows = set()
    for (year,), frame in raw.group_by("Time"):
        result = screen(numbers(frame, indicators), frame["uCode"].to_list(), 0.9)
        rows |= {(year, u) for u, is_in in zip(result.ids, result.included, strict=True) if is_in}
        out = {u: r for u, r in zip(result.ids, result.reason, strict=True) if r}
        assert out == dict.fromkeys(("BGD", "BRN", "KHM", "LAO", "MMR"), "few_values")
    assert len(rows) == 230
    assert rows == set(kept.select("Time", "uCode").iter_rows())


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    ("file", "impute"),
    [
        ("panel_latest", imputers.latest),
        ("panel_latest_maxtime1", lambda x, units, years: imputers.latest(x, units, years, max_years=1)),
        ("panel_linear", imputers.linear),
        ("panel_linear-constant", imputers.linear_constant),
    ],
)
def test_imputed_panel(coinr, indicators, file, impute, shuffled):
    holes, expected = coinr("05_impute/panel_with_holes"), coinr(f"05_impute/{file}")
    assert holes.select("uCode", "Time").equals(expected.select("uCode", "Time"))
    order = np.random.default_rng(0).permutation(holes.height) if shuffled else np.arange(holes.height)
    x, filled = numbers(holes, indicators)[order], numbers(expected, indicators)[order]
    result = impute(x, holes["uCode"].gather(order), holes["Time"].gather(order))
    same(result.values, filled)
    np.testing.assert_array_equal(result.mask, np.isnan(x) & ~np.isnan(filled))
    np.testing.assert_array_equal(result.left, np.isnan(filled).sum(axis=0))


def test_trends_of_the_panel_agree_with_the_definition(coinr, indicators, meta):
    panel, signs = coinr("11_purse/Raw").sort("uCode", "Time"), meta["Direction"].to_list()
    x, units, years = numbers(panel, indicators), panel["uCode"].to_list(), panel["Time"].to_list()
    rates = growth(x, units, years, indicators, signs, non_positive="missing")
    changes = change(x, units, years, indicators, signs, latest=3, non_positive="missing")
    assert rates.height == changes.height == 51 * 49
    compared = 0
    of = {code: panel.filter(pl.col("uCode") == code) for code in set(units)}
    for row, last3 in zip(rates.iter_rows(named=True), changes.iter_rows(named=True), strict=True):
        sign = signs[indicators.index(row["indicator"])]
        known = of[row["unit"]].select("Time", row["indicator"]).drop_nulls()
        time, values = known["Time"].to_numpy(), known[row["indicator"]].to_numpy().astype(float)
        if len(values) < 2:
            assert (row["value"], row["reason"]) == (None, "too_few_observations")
        elif row["reason"]:
            assert values[0] <= 0 or values[-1] < 0
        else:
            flat = values[0] == values[-1]
            same(row["value"], 0 if flat else sign * ((values[-1] / values[0]) ** (1 / (time[-1] - time[0])) - 1))
        if last3["reason"] == "" and len(set(values[-3:])) > 1:
            slope, at_first = np.polyfit(time[-3:] - time[-3], values[-3:], 1)
            np.testing.assert_allclose(last3["value"], sign * 100 * slope / at_first, rtol=1e-8)
            compared += 1
    assert compared > 2000
    assert rates.filter(pl.col("reason") == "too_few_observations").height == MISSING
