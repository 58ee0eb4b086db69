"""Normalisation agrees with COINr on the ASEM example, one year and panel, and differs where COINr is wrong."""

import numpy as np
import polars as pl
import pytest

from dei_pipeline.methods import normalise
from dei_pipeline.methods.normalise import fit, score
from dei_pipeline.methods.treat import treat_matrix

RTOL = 1e-10
KEYS = ("uCode", "Time")


def indicators(table):
    return [name for name in table.columns if name not in KEYS]


def matrix(table, names):
    return table.select(names).to_numpy().astype(np.float64)


@pytest.fixture(scope="module")
def thresholds(coinr):
    return coinr("03_normalise/fixed_thresholds")


@pytest.fixture(scope="module")
def asem(coinr, thresholds):
    """Names, imputed values, directions, and a reader of the columns of a result."""
    names = thresholds["iCode"].to_list()
    directions = ["positive" if d == 1 else "negative" for d in thresholds["Direction"]]
    imputed = coinr("02_pipeline/Imputed")

    def result(name, folder="03_normalise/Imputed__"):
        table = coinr(folder + name)
        assert table["uCode"].to_list() == imputed["uCode"].to_list()
        return matrix(table, names)

    return names, matrix(imputed, names), directions, result


def close(actual, expected):
    scale = np.nanmax(np.abs(expected), axis=0)  # scores near 0 are differences of numbers of this size
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=RTOL, atol=1e-14)


@pytest.mark.parametrize(
    ("file", "function", "options"),
    [
        ("minmax_0_100", "min_max", {}),
        ("minmax_1_100", "min_max", {"to_lo": 1, "to_hi": 100}),
        ("zscore_0_1", "z_score", {}),
        ("zscore_10_2", "z_score", {"to_mean": 10, "to_sd": 2}),
        ("rank", "rank", {}),
        ("prank", "percentile_rank", {"scale": 1}),
        ("borda", "borda", {}),
        ("dist2max", "distance_to_maximum", {"scale": 1}),
    ],
)
def test_rules_without_given_parameters_agree(asem, file, function, options):
    names, x, directions, result = asem
    scores = getattr(normalise, function)(x, directions, **options)
    close(scores, result(file))
    for j, name in enumerate(names):
        parameters = fit(function, x[:, j], directions[j], name)
        assert (score(function, x[:, j], directions[j], parameters, name, **options) == scores[:, j]).all()


@pytest.mark.parametrize(("file", "truncate"), [("goalposts_trunc", True), ("goalposts_notrunc", False)])
def test_goalposts_agree_in_both_directions(asem, thresholds, file, truncate):
    _, x, directions, result = asem
    lo, hi = thresholds["goalpost_lower"].to_numpy(), thresholds["goalpost_upper"].to_numpy()
    close(normalise.goalposts(x, lo, hi, directions, truncate=truncate), result(file))


def test_scaled_agrees(asem, thresholds):
    _, x, directions, result = asem
    lo, hi = thresholds["scaled_lower"].to_numpy(), thresholds["scaled_upper"].to_numpy()
    close(normalise.scaled(x, lo, hi, directions), result("scaled"))


@pytest.mark.parametrize(("file", "cap"), [("dist2targ_nocap", None), ("dist2targ_cap", 1)])
def test_distance_to_target_agrees(asem, thresholds, file, cap):
    _, x, directions, result = asem
    close(normalise.distance_to_target(x, thresholds["Target"].to_numpy(), directions, 1, cap), result(file))


@pytest.mark.parametrize(("file", "cap"), [("dist2ref_DEU", None), ("dist2ref_DEU_cap", 1)])
def test_coinr_defect_15_the_reference_is_a_value_and_does_not_move_with_the_rows(asem, coinr, file, cap):
    _, x, directions, result = asem
    row = coinr("02_pipeline/Imputed")["uCode"].to_list().index("DEU")
    scores = normalise.distance_to_reference(x, x[row], directions, 1, cap)
    close(scores, result(file))
    turned = normalise.distance_to_reference(x[::-1], x[row], directions, 1, cap)
    assert (turned[::-1] == scores).all()


def test_fraction_of_maximum_agrees_for_positive_indicators(asem):
    _, x, directions, result = asem
    up = np.array([d == "positive" for d in directions])
    close(normalise.fraction_of_maximum(x[:, up], scale=1), result("fracmax")[:, up])


def test_coinr_defect_4_the_best_unit_of_a_negative_indicator_has_the_best_fraction(asem):
    names, x, directions, result = asem
    usable = [j for j, d in enumerate(directions) if d == "negative" and x[:, j].min() > 0]
    assert len(usable) >= 10
    for j in usable:
        scores = normalise.fraction_of_maximum(x[:, j], "negative", scale=1)
        np.testing.assert_allclose(scores, x[:, j].min() / x[:, j], rtol=RTOL)
        assert (np.argsort(-scores, kind="stable") == np.argsort(x[:, j], kind="stable")).all()
        assert np.corrcoef(result("fracmax")[:, j], x[:, j])[0, 1] == pytest.approx(1), names[j]  # COINr: reversed


def test_indicators_with_a_rule_of_their_own_agree(asem):
    names, x, directions, result = asem
    own = {
        "LPI": ("z_score", {"to_mean": 10, "to_sd": 2}),
        "CO2": ("min_max", {"to_lo": 0, "to_hi": 1}),
        "Flights": ("percentile_rank", {"scale": 1}),
    }
    columns = []
    for j, name in enumerate(names):
        rule, options = own.get(name, ("min_max", {}))
        columns.append(score(rule, x[:, j], directions[j], fit(rule, x[:, j], directions[j]), name, **options))
    close(np.column_stack(columns), result("mixed_indiv_specs"))


def test_the_pipeline_of_the_example_agrees_from_imputed_to_normalised(asem):
    names, x, directions, result = asem
    treated = treat_matrix(x, names).values
    close(treated, result("Treated", "02_pipeline/"))
    close(normalise.min_max(treated, directions), result("Normalised", "02_pipeline/"))


# -- panel -------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def panel(coinr, asem):
    """Screened panel: years, values, directions, and a reader of the results in its order of rows."""
    names, _, directions, _ = asem
    keys = coinr("11_purse/Normalised").select("Time", "uCode")
    rows = keys.join(coinr("11_purse/Raw"), on=["Time", "uCode"], how="left", maintain_order="left")

    def result(name):
        table = coinr(f"11_purse/{name}")
        assert table.select("Time", "uCode").equals(keys)
        return matrix(table, names)

    years = rows["Time"].to_numpy()
    x = matrix(rows, names)
    by_year = [treat_matrix(x[years == year], names).values for year in np.unique(years)]
    treated = np.vstack(by_year)
    assert (np.diff(years) >= 0).all()
    return years, x, treated, directions, result


def test_min_max_over_the_whole_panel_agrees(panel):
    _, _, treated, directions, result = panel
    close(normalise.min_max(treated, directions), result("Normalised"))


def test_min_max_year_by_year_agrees(panel):
    years, _, treated, directions, result = panel
    scores = np.vstack([normalise.min_max(treated[years == year], directions) for year in np.unique(years)])
    close(scores, result("per_year_Normalised"))


def test_z_scores_over_the_whole_panel_agree(panel):
    _, x, _, directions, result = panel
    close(normalise.z_score(x, directions), result("zscore_unequalw_Normalised"))


def test_coinr_defect_7_fixed_thresholds_work_on_a_panel_and_in_negative_directions(panel, thresholds, asem):
    years, x, _, directions, _ = panel
    names = asem[0]
    lo, hi = thresholds["goalpost_lower"].to_numpy(), thresholds["goalpost_upper"].to_numpy()
    whole = normalise.goalposts(x, lo, hi, directions)
    for year in np.unique(years):
        part = years == year
        np.testing.assert_array_equal(normalise.goalposts(x[part], lo, hi, directions), whole[part])
    for j, name in enumerate(names):
        ends = fit("goalposts", x[:, j], directions[j], name, lo=lo[j], hi=hi[j])
        np.testing.assert_array_equal(score("goalposts", x[:, j], directions[j], ends, name), whole[:, j])
        best = ends["hi"] if directions[j] == "positive" else ends["lo"]
        assert score("goalposts", best, directions[j], ends) == 100


def test_parameters_of_a_base_year_keep_later_years_comparable(panel):
    years, x, _, directions, _ = panel
    base = x[years == years.min(), 0]
    parameters = fit("min_max", base, directions[0])
    assert parameters == {"lo": np.nanmin(base), "hi": np.nanmax(base)}
    scores = score("min_max", x[:, 0], directions[0], parameters)
    order = np.argsort(x[:, 0], kind="stable")
    assert (np.diff(scores[order][: np.isfinite(x[:, 0]).sum()]) >= 0).all()
    assert pl.Series(scores).is_nan().sum() == np.isnan(x[:, 0]).sum()
