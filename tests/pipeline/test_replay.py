"""Replaying an index with choices changed: the numbers that a file with those choices would give, and no trace."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau, spearmanr

from dei_pipeline.cli import main
from dei_pipeline.errors import DeiError
from dei_pipeline.methods.framework import load
from dei_pipeline.methods.index_chain import chain
from dei_pipeline.replay import as_text, asked, replay
from tests.pipeline.homes import PROJECT, put
from tests.pipeline.own import FILE, INDEX, OwnHome, finished_own

COMMAND = ("replay", INDEX, "2020")


@pytest.fixture(scope="module")
def own(once) -> OwnHome:
    return finished_own(once)


def told(home: OwnHome, *choices: str, year: int = 2020) -> dict[str, Any]:
    """The document of a replay."""
    return replay(home.lake, home.settings, INDEX, year, asked(choices))


def edited(old: str, new: str) -> str:
    """The text of the index's file with one place changed."""
    text = FILE.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    return text.replace(old, new)


def said_no(home: OwnHome, *words: str) -> str:
    """The one line with which a command fails."""
    result = home.invoke(*words)
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    return line


# -- the numbers -------------------------------------------------------------------------------------------------------
SAME = {  # choice, the place in the file where it stands, what stands there instead
    "treatment.over=year": ("then: log_CT, over: panel}", "then: log_CT, over: year}"),
    "treatment.then=none": ("then: log_CT, over", "then: none, over"),
    "treatment=none": ("  treatment: {skew: 2, kurtosis: 3.5, max_points: 3, then: log_CT, over: panel}\n", ""),
    "imputation.method=knn": ("method: group_median,", "method: knn,"),
    "imputation.group=north_south": ("group: zone_id}", "group: north_south}"),
    "imputation=none": ("  imputation: {method: group_median, group: zone_id}\n", ""),
    "screening=none": ("  screening: {min_available: 0.7}\n", ""),
    "screening.drop=310000,540000": ("min_available: 0.7}", "min_available: 0.7, drop: ['310000', '540000']}"),
    "weighting.max_weight=0.6": ("{scheme: entropy_all}", "{scheme: entropy_all, max_weight: 0.6}"),
}


@pytest.mark.parametrize("choice", SAME)
def test_a_replay_gives_what_the_file_with_that_choice_gives(own: OwnHome, tmp_path: Path, choice: str):
    other = load(put(tmp_path, f"{INDEX}.yaml", edited(*SAME[choice]).encode()))
    tables = chain(other, own.read(f"index/{INDEX}_inputs"), own.read("mart/regions"))
    wanted = tables["ranks"].frame.filter(pl.col("ranked") & (pl.col("year") == 2020))
    found = {city["region_code"]: city["score_after"] for city in told(own, choice)["cities"]}
    assert found == dict(wanted.select("region_code", "score").iter_rows())
    assert found != stored(own)


def stored(own: OwnHome) -> dict[str, float]:
    """Composites of 2020 in the lake."""
    return dict(own.read(f"index/{INDEX}_ranks").filter(year=2020).select("region_code", "score").iter_rows())


def test_a_run_of_the_edited_file_gives_the_replayed_scores(own: OwnHome, tmp_path: Path):
    document = told(own, "weighting.max_weight=0.6")
    home = own.copied(tmp_path)
    put(home.methodology, f"{INDEX}.yaml", edited(*SAME["weighting.max_weight=0.6"]).encode())
    done = home.invoke("run", "--select", f"index/{INDEX}_ranks")
    assert done.exit_code == 0, done.output
    ranks = home.read(f"index/{INDEX}_ranks").filter(year=2020)
    rows = [(c["region_code"], c["score_after"], c["rank_after"]) for c in document["cities"]]
    assert sorted(rows) == ranks.select("region_code", "score", "rank").sort("region_code").rows()


def test_before_is_the_lake_and_the_summary_is_that_of_the_two_rankings(own: OwnHome):
    document = told(own, "aggregation=geometric")
    before = {city["region_code"]: city["score_before"] for city in document["cities"]}
    held = stored(own)
    np.testing.assert_allclose([before[code] for code in held], list(held.values()), rtol=1e-13)
    ranks = np.array([(city["rank_before"], city["rank_after"], city["climbs"]) for city in document["cities"]])
    assert (ranks[:, 0] - ranks[:, 1] == ranks[:, 2]).all()
    assert ranks[:, 1].tolist() == sorted(ranks[:, 1])
    summary = document["summary"]
    assert summary["units"] == 31
    assert summary["moved"] == np.count_nonzero(ranks[:, 2]) > 0
    assert summary["mean_absolute_rank_shift"] == np.abs(ranks[:, 2]).mean()
    assert summary["spearman"] == pytest.approx(spearmanr(ranks[:, 0], ranks[:, 1]).statistic)
    assert summary["kendall"] == pytest.approx(kendalltau(ranks[:, 0], ranks[:, 1]).statistic)
    assert document["choices"] == [
        {"choice": "aggregation", "before": "arithmetic, geometric", "after": "geometric"},
    ]  # fmt: skip


def test_cities_that_are_ranked_on_one_side_only_are_named(own: OwnHome):
    more = told(own, "screening=none", year=2019)
    assert (more["only_before"], more["only_after"]) == ([], ["西藏"])
    assert len(more["cities"]) == 30
    fewer = told(own, "screening.min_available=1", "imputation=none")
    assert fewer["only_before"] == ["上海", "青海"]
    assert fewer["notes"]["screened"]["left_out"][-1] == "630000 2020: few_values"
    assert "no longer ranked 不再排名: 上海, 青海" in as_text(fewer)


def test_several_choices_are_taken_in_turn(own: OwnHome):
    document = told(own, "normalisation=min_max", "aggregation=arithmetic", "treatment=none")
    assert [(c["choice"], c["before"], c["after"]) for c in document["choices"]] == [
        ("normalisation", "min_max, z_score, distance_to_reference, goalposts, rank, winsorised_max", "min_max"),
        ("aggregation", "arithmetic, geometric", "arithmetic"),
        ("treatment", "taken", "no such step"),
    ]
    assert all(0 <= city["score_after"] <= 100 for city in document["cities"])


# -- the command -------------------------------------------------------------------------------------------------------
def test_the_lake_is_not_touched(own: OwnHome):
    before = own.stamps()
    files = sorted(str(path) for path in own.root.rglob("*"))
    done = own.invoke(*COMMAND, "--set", "aggregation=harmonic")
    assert done.exit_code == 0, done.output
    assert own.stamps() == before
    assert sorted(str(path) for path in own.root.rglob("*")) == files


def test_the_text_shows_scores_and_ranks_before_and_after(own: OwnHome):
    shown = own.invoke(*COMMAND, "--set", "treatment.over=year", "--set", "imputation.method=median", "--top", "3")
    lines = shown.stdout.splitlines()
    assert lines[0] == "plsi 省域连通与可持续指数 2020, edition 2021"
    assert lines[2:4] == ["treatment.over: panel → year", "imputation.method: group_median → median"]
    assert lines[4].startswith("cities 城市 31, moved 变动 ")
    assert "Spearman 0." in lines[4]
    assert "\nimputed: green_carbon 1, green_forest 1, link_online_retail 1, " in shown.stdout
    assert "\ntreated: link_ecommerce 2019 winsorise, link_ecommerce 2020 winsorise, green_power 2020 " in shown.stdout
    untamed = as_text(told(own, "treatment.max_points=0", "treatment.then=none"))
    assert "\ntreated: link_ecommerce none (still outlying), green_power none (still outlying)\n" in untamed
    at = lines.index("first with these choices 新排名 (before → after)")
    first = max(told(own, "treatment.over=year", "imputation.method=median")["cities"], key=lambda c: c["score_after"])
    assert lines[at + 1].endswith(f"{first['region_name']} ({first['region_code']})")
    assert f"{first['score_before']:.2f} →" in lines[at + 1]
    assert lines[at + 4] == ""
    assert "largest moves 变动最大: 3 of " in lines[at + 5]


def test_json_is_the_whole_document(own: OwnHome):
    shown = own.invoke(*COMMAND, "--set", "aggregation=geometric", "--json")
    assert json.loads(shown.stdout) == json.loads(json.dumps(told(own, "aggregation=geometric")))


def test_help_has_an_example():
    from click.testing import CliRunner

    shown = CliRunner().invoke(main, ["replay", "--help"]).stdout
    assert "dei replay dei 2020 --set aggregation=geometric" in shown
    assert "--set CHOICE=VALUE" in shown


def test_a_replay_does_not_import_dagster(own: OwnHome):
    code = (
        "import sys\nfrom dei_pipeline.cli import main\n"
        f"main(['replay', '{INDEX}', '2020', '--set', 'aggregation=geometric'], standalone_mode=False)\n"
        "print([name for name in ('dagster', 'pandera', 'duckdb') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={**own.environment, "PYTHONPATH": str(PROJECT), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


# -- what cannot be ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ("agregation=geometric", "dei: choice «agregation» is unknown; known: aggregation, normalisation, screening, "),
        ("robustness.seed=1", "dei: choice «robustness.seed» is unknown; known: aggregation, normalisation, "),
        ("weighting.shceme=linear", "dei: choice «weighting.shceme» is unknown; known: aggregation, "),
        ("aggregation", "dei: «aggregation» is no choice; write CHOICE=VALUE, as aggregation=geometric"),
        ("aggregation=", "dei: «aggregation=» is no choice; write CHOICE=VALUE, as aggregation=geometric"),
        ("aggregation=median", "dei: choice aggregation: unknown 'median'; use one of arithmetic, geometric, "),
        ("normalisation=goalposts", "dei: choice normalisation: unknown 'goalposts'; use one of min_max, "),
        ("weighting.scheme=critic", "dei: choice, weighting: scheme: unknown 'critic'; use one of ahp_upper_"),
        ("treatment.max_points=2.5", "dei: choice, treatment: max_points is 2.5; give a whole number"),
        ("treatment.over=decade", "dei: choice, treatment: over: unknown 'decade'; use one of panel, year"),
        ("screening.min_available=much", "dei: choice, screening: min_available is 'much'; give a number"),
        ("screening.min_available=2", "dei: choice, screening: min_available is 2.0; give a number from 0 to 1"),
        ("treatment=hard", "dei: choice treatment is a block, not 'hard'; set treatment.skew, "),
        ("treatment.only=forests", "dei: treatment of forests: no leaf of plsi from outside the index; "),
        ("screening.keep=999999", "dei: screening plsi: no region 999999; correct meta.screening"),
    ],
)
def test_a_choice_that_is_not_possible_is_one_line(own: OwnHome, choice: str, line: str):
    assert said_no(own, *COMMAND, "--set", choice).startswith(line)


def test_a_choice_is_set_once(own: OwnHome):
    twice = said_no(own, *COMMAND, "--set", "aggregation=geometric", "--set", "aggregation=harmonic")
    assert twice == "dei: choice aggregation is set twice; set it once"


def test_entropy_of_negative_scores_names_node_and_leaf(own: OwnHome):
    file = edited("normalisation: {rule: min_max, over: panel}", "normalisation: {rule: z_score, over: panel}")
    framework = load(put(own.root.parent / "edited", f"{INDEX}.yaml", file.encode()))
    with pytest.raises(DeiError, match="weights below exchange: entropy of negative scores of link_ecommerce; norm"):
        chain(framework, own.read(f"index/{INDEX}_inputs"), own.read("mart/regions"))


def test_what_is_not_in_the_lake_is_said(own: OwnHome, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    choice = ("--set", "aggregation=geometric")
    unknown = said_no(own, "replay", "plsy", "2020", *choice)
    assert unknown == "dei: index «plsy» is unknown; known: deci, dei, plsi; add one as methodology/<index>.yaml"
    assert said_no(own, "replay", INDEX, "2011", *choice).endswith("; years there: 2019, 2020")
    empty = said_no(own, *COMMAND, *choice, "--lake", str(tmp_path / "empty"))
    assert empty == f"dei: index/plsi_inputs is not in {tmp_path / 'empty'}; make it with `dei run`"
    judged = said_no(own, "replay", "deci", "2020", *choice)
    assert judged == "dei: nobody compared the children of deci: fill in `dei template ahp --index deci`"


def test_a_lake_made_by_another_file_is_refused(own: OwnHome, tmp_path: Path):
    home = own.copied(tmp_path)
    put(home.methodology, f"{INDEX}.yaml", edited(*SAME["treatment=none"]).encode())
    line = said_no(home, *COMMAND, "--set", "aggregation=geometric")
    assert line.startswith("dei: index/plsi_scores 1")
    assert line.endswith("is not what the lake's inputs give by methodology/plsi.yaml; bring it up to date: `dei run`")
