"""An index of one's own in ten minutes: its file and pages of numbers become an explained ranking, without code."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from scipy.stats import kurtosis, skew

from dei_pipeline.checks.lineage import dangling
from dei_pipeline.methods.framework import load
from tests.pipeline.homes import Home
from tests.pipeline.own import (
    FILE,
    GAPS,
    INDEX,
    YEARS,
    OwnHome,
    finished_own,
    ingest_pages,
    numbers,
    own_home,
    provinces,
)

BASE = 2020
LEAVES = {  # numerator, denominator, factor
    "link_broadband": ("fixed_broadband_subscribers", "resident_households", 100),
    "link_mobile": ("mobile_internet_subscribers", "resident_population", 100),
    "link_online_retail": ("online_retail_sales", "retail_sales", 100),
    "link_ecommerce": ("ecommerce_sales", "resident_population", 10000),
    "link_speed": ("broadband_speed", None, 1),
    "green_carbon": ("co2_emissions", "resident_population", 1),
    "green_power": ("electricity_consumption", "resident_population", 10000),
    "green_forest": ("forest_cover", None, 1),
    "green_spending": ("expenditure_environment", "budget_expenditure", 100),
    "people_education": ("expenditure_education", "resident_population", 10000),
    "people_research": ("rd_expenditure", "gdp", 100),
}
UNTRANSFORMED = ("link_mobile", "link_online_retail")  # goalposts and thresholds stand in the unit of the leaf


# -- the index once more, in plain numpy -------------------------------------------------------------------------------
def by_hand(home: Home) -> dict[tuple[str, int], float]:
    """Composites of every province and year, from the numbers that were typed into the pages."""
    codes, drawn = provinces(home), numbers(provinces(home))
    zones = pl.read_csv(home.reference / "zones.csv", schema_overrides={"region_code": pl.String}).filter(scheme="nbs3")
    zone = dict(zones.select("region_code", "zone_id").iter_rows())
    keys, rows = [], []
    for year in YEARS:
        table = {code: [leaf_value(drawn, code, year, *how) for how in LEAVES.values()] for code in codes}
        table = {code: row for code, row in table.items() if np.mean(~np.isnan(row)) >= 0.7}
        for (code, row), column in itertools.product(table.items(), range(len(LEAVES))):
            if np.isnan(row[column]):
                peers = [table[other][column] for other in table if zone[other] == zone[code]]
                row[column] = -float(np.nanmedian(peers))  # marked, so that it gives to nobody else
        keys += [(code, year) for code in table]
        rows += [np.abs(row) for row in table.values()]
    raw = np.array(rows)
    x = {leaf: treated(raw[:, i], leaf not in UNTRANSFORMED) for i, leaf in enumerate(LEAVES)}
    years = np.array([year for _, year in keys])
    base = years == BASE
    reference = keys.index(("110000", BASE))

    def line(v: np.ndarray, lo: float, hi: float, to_lo: float = 0.0, to_hi: float = 100.0) -> np.ndarray:
        return to_lo + (v - lo) / (hi - lo) * (to_hi - to_lo)

    def over_base(leaf: str, **to: float) -> np.ndarray:
        return line(x[leaf], x[leaf][base].min(), x[leaf][base].max(), **to)

    speed, power, forest, spending = (x[f] for f in ("link_speed", "green_power", "green_forest", "green_spending"))
    s = {
        "link_broadband": over_base("link_broadband", to_lo=10),
        "link_mobile": np.clip(line(x["link_mobile"], 40, 140), 0, 100),
        "link_online_retail": np.minimum(100 * x["link_online_retail"] / x["link_online_retail"][base].max(), 100),
        "link_ecommerce": line(x["link_ecommerce"], x["link_ecommerce"].min(), x["link_ecommerce"].max()),
        "link_speed": 50 + 10 * (speed - speed.mean()) / speed.std(ddof=1),
        "green_carbon": 100 - over_base("green_carbon"),
        "green_power": 50 - 10 * (power - power[base].mean()) / power[base].std(ddof=1),
        "green_forest": 100 * (forest - forest[base].min()) / (forest[reference] - forest[base].min()),
        "green_spending": np.array([(spending[years == year] <= spending[i]).sum() for i, year in enumerate(years)]),
        "people_education": over_base("people_education"),
        "people_research": over_base("people_research", to_hi=80),
    }  # fmt: skip
    networks = s["link_broadband"] ** 0.6 * s["link_mobile"] ** 0.4
    retail = np.stack([s["link_online_retail"], s["link_ecommerce"]])
    p = retail[:, base] / retail[:, base].sum(axis=1, keepdims=True)
    h = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1) / np.log(base.sum())
    exchange = (1 - h) / (1 - h).sum() @ retail
    three = np.stack([networks, exchange, s["link_speed"]])
    spread = three[:, base].std(axis=1) / np.ptp(three[:, base], axis=1)
    information = spread * (1 - np.corrcoef(three[:, base])).sum(axis=1)
    links = information / information.sum() @ three
    environment = 0.3 * s["green_carbon"] + 0.2 * s["green_power"] + 0.3 * s["green_forest"] + 0.2 * s["green_spending"]
    people = 0.5 * s["people_education"] + 0.5 * s["people_research"]
    composite = 0.5 * links + 0.5 * (0.6 * environment + 0.4 * people)
    return dict(zip(keys, composite.tolist(), strict=True))


def leaf_value(drawn: dict[Any, Any], code: str, year: int, over: str, under: str | None, factor: float) -> float:
    parts = [drawn[code, year, name] for name in (over, under) if name is not None]
    if None in parts:
        return float("nan")
    return factor * parts[0] / (parts[1] if under else 1)


def treated(x: np.ndarray, may_transform: bool, most: int = 3) -> np.ndarray:
    """At most three points of the outlying tail pulled in, or else the logarithm."""

    def outlying(v: np.ndarray) -> bool:
        return abs(skew(v, bias=False)) > 2 and kurtosis(v, bias=False) > 3.5

    v = x.copy()
    for _ in range(most):
        if outlying(v):
            v[v >= v.max()] = v[v < v.max()].max()
    if not outlying(v) or not may_transform:
        return v
    return np.log(x - x.min() + 0.01 * np.ptp(x))


@pytest.fixture(scope="module")
def own(once) -> OwnHome:
    return finished_own(once)


# -- the lake ----------------------------------------------------------------------------------------------------------
def test_the_scores_are_those_computed_by_hand(own: OwnHome):
    held = own.read(f"index/{INDEX}_scores").filter(node_id=INDEX)
    ours = by_hand(own)
    found = {(code, year): score for code, year, score in held.select("region_code", "year", "score").iter_rows()}
    assert found.keys() == ours.keys()
    np.testing.assert_allclose([found[key] for key in ours], list(ours.values()), rtol=1e-10)
    assert len(found) == 31 + 30


def test_every_step_left_its_trace(own: OwnHome):
    screened, imputed, treated = (own.read(f"index/{INDEX}_{name}") for name in ("screened", "imputed", "treated"))
    assert ("540000", 2019) not in screened.select("region_code", "year").rows()
    filled = imputed.filter(status="imputed").select("region_code", "year", "indicator_id", "method")
    assert filled.sort("region_code", "indicator_id").rows() == [
        ("310000", 2020, "green_forest", "group_median"),
        ("440000", 2019, "link_online_retail", "group_median"),
        ("520000", 2019, "green_carbon", "group_median"),
        ("520000", 2019, "people_research", "group_median"),
        ("630000", 2020, "link_speed", "group_median"),
    ]
    assert filled.height == sum(map(len, GAPS.values())) - len(GAPS["540000", 2019])
    done = treated.drop_nulls("treatment")
    assert set(done.select("indicator_id", "treatment").rows()) == {
        ("green_power", "winsorise"), ("link_ecommerce", "log_CT"),
    }  # fmt: skip
    outlier = done.filter(indicator_id="green_power").row(0, named=True)
    assert (outlier["region_code"], outlier["year"]) == ("150000", 2020)
    assert outlier["value"] < outlier["untreated"] / 3
    weights = dict(own.read(f"index/{INDEX}_weights").select("node_id", "method").iter_rows())
    assert {weights[node] for node in ("networks", "exchange", "link_speed")} == {"critic"}
    assert {weights[node] for node in ("link_online_retail", "link_ecommerce")} == {"entropy"}


def test_both_years_are_measured_by_the_same_numbers(own: OwnHome):
    limits = own.read("index/thresholds").filter(pl.col("indicator_id").is_in(list(LEAVES)))
    assert limits.height == len(LEAVES)
    assert dict(limits.drop_nulls("over").group_by("over").len().iter_rows()) == {"base_year": 7, "panel": 2, "year": 1}
    frozen = limits.filter(over="base_year", rule="min_max")["indicator_id"].to_list()
    scores = own.read(f"index/{INDEX}_normalised").filter(pl.col("indicator_id").is_in(frozen))
    lowest = scores.group_by("year", "indicator_id").agg(pl.col("score").min(), pl.col("score").max().alias("high"))
    now, before = (lowest.filter(year=year).sort("indicator_id") for year in (2020, 2019))
    np.testing.assert_allclose(now["score"], [0, 10, 0, 0], atol=1e-12)
    np.testing.assert_allclose(now["high"], [100, 100, 100, 80])
    assert not np.isclose(before["score"], now["score"]).all()
    moved = own.invoke("diff", "2019", "2020", "--index", INDEX, "--node", "environment")
    assert moved.exit_code == 0, moved.output


def test_the_lake_is_whole_and_says_where_a_number_comes_from(own: OwnHome):
    held = [spec for spec in own.specs().values() if own.lake.exists(spec.key)]
    assert dangling(own.lake, held) == []
    checked = own.invoke("check")
    assert checked.exit_code == 0, checked.output
    assert "0 broken" in checked.stdout
    told = own.invoke("explain", INDEX, "上海", "2020")
    assert told.exit_code == 0, told.output
    assert "2020!B12" in told.stdout
    assert "provinces_2020.xlsx" in told.stdout
    assert "group_median" in told.stdout
    reached = own.invoke("impact", "provinces_2020.xlsx", "2020!B12")
    assert f"index/{INDEX}_ranks" in reached.stdout


def test_robustness_comes_with_the_file(own: OwnHome):
    frame = own.read(f"index/{INDEX}_robustness")
    assert frame.height == 61
    assert (frame["rank_p05"] <= frame["rank_median"]).all()
    assert (frame["rank_median"] <= frame["rank_p95"]).all()
    assert (frame["rank_p95"] > frame["rank_p05"]).any()


def test_a_second_run_has_nothing_to_do(own: OwnHome):
    again = own.invoke("run", "--select", f"index/{INDEX}_robustness", "--select", f"index/{INDEX}_ranks")
    assert "everything is up to date" in again.stdout


def test_years_with_a_gap_between_are_up_to_date_after_one_run(tmp_path: Path):
    """What is compared over the panel is made again once the years behind the gap are there."""
    home, wanted = own_home(tmp_path), ("--select", f"index/{INDEX}_scores")
    ingest_pages(home, tmp_path, (2018, 2020))
    first = home.invoke("run", *wanted)
    assert first.exit_code == 0, first.output
    again = home.invoke("run", *wanted)
    assert "everything is up to date" in again.stdout


# -- every violation is one line ---------------------------------------------------------------------------------------
Document = dict[str, Any]


def node(document: Document, *path: int) -> Document:
    found = document["tree"]
    for at in path:
        found = found["children"][at]
    return found


def breaks(change: Callable[[Document], Any]) -> str:
    document = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    change(document)
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)


FOREST = (1, 0, 2)
VIOLATIONS = {
    "weights that do not sum to 1": (
        lambda d: node(d, 1, 0).update(weight=0.7),
        "node sustainability: the weights of its children sum to 1.1; ",
    ),
    "a cycle": (
        lambda d: node(d, 1, 1)["children"].__setitem__(0, node(d, 1)),
        "node sustainability: cycle, it is its own descendant; remove the YAML alias",
    ),
    "a leaf on its own ancestor": (
        lambda d: node(d, *FOREST)["derivation"]["terms"][0].update(variable="environment"),
        "node green_forest: depends on environment, itself or its own ancestor (circular); ",
    ),
    "a duplicate id": (
        lambda d: node(d, *FOREST).update(id="green_power"),
        "node green_power: duplicate id; give one of the two another id",
    ),
    "an unknown unit": (
        lambda d: node(d, *FOREST).update(unit="hectares"),
        "node green_forest: unknown unit 'hectares'; use one of ",
    ),
    "an unknown rule": (
        lambda d: node(d, *FOREST).update(normalisation={"rule": "maximum"}),
        "node green_forest: unknown normalisation rule 'maximum'; use one of borda, ",
    ),
    "an unknown aggregation": (
        lambda d: node(d, 0, 0).update(aggregation="median"),
        "node networks: unknown aggregation 'median'; use one of arithmetic, ",
    ),
    "an unknown weighting": (
        lambda d: node(d, 0).update(weighting="merec"),
        "node links: unknown weighting 'merec'; use one of ahp, critic, ",
    ),
    "a choice with a typing error": (
        lambda d: d["meta"]["treatment"].update(kurtosos=3),
        "meta, treatment: unknown key kurtosos; known: skew, kurtosis, ",
    ),
    "a reference without its region": (
        lambda d: node(d, *FOREST)["normalisation"].pop("reference"),
        "node green_forest: rule distance_to_reference needs reference; add reference",
    ),
}


@pytest.mark.parametrize(("change", "said"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_of_the_grammar_is_one_line(tmp_path: Path, change: Callable[[Document], Any], said: str):
    result = own_home(tmp_path, breaks(change)).invoke("run", "--select", f"index/{INDEX}_scores")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"dei: methodology/{INDEX}.yaml, {said}"), line
    assert not re.search("Traceback|Error", result.output)


def test_the_example_names_nothing_that_another_index_has():
    ids = set(load(FILE).nodes["node_id"])
    for file in sorted(OwnHome.methodology.glob("*.yaml")):
        assert not ids & set(load(file).nodes["node_id"]), file.name
