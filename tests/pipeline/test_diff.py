"""`dei diff` over whole lakes: every change is split exactly, down to the leaves and the cells that moved."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dei_pipeline.runs import run as bring_up_to_date
from dei_pipeline.settings import Settings
from tests.pipeline.homes import REGIONS, YEARS, Home

EFFECTS = {"value", "correction", "threshold", "cap", "scheme", "data_driven", "coverage"}
NANJING = "320100"


def compared(home: Home, *arguments: str) -> dict[str, Any]:
    result = home.invoke("diff", *arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def terms_of(term: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield term
    for child in term["terms"]:
        yield from terms_of(child)


def leaves_of(region: dict[str, Any]) -> list[dict[str, Any]]:
    return [term for term in terms_of(region) if not term["terms"]]


def check_region(region: dict[str, Any]) -> None:
    """The effects of the leaves add up to the change, in total, by effect, and at every node."""
    assert region["change"] == pytest.approx(region["b"]["score"] - region["a"]["score"], abs=1e-9)
    leaves = leaves_of(region)
    assert sum(sum(leaf["effects"].values()) for leaf in leaves) == pytest.approx(region["change"], abs=1e-9)
    for name in EFFECTS:
        assert sum(leaf["effects"][name] for leaf in leaves) == pytest.approx(region["effects"][name], abs=1e-9)
    for term in terms_of(region):
        assert set(term["effects"]) == EFFECTS
        if term["terms"]:
            assert sum(child["change"] for child in term["terms"]) == pytest.approx(term["change"], abs=1e-9)
    assert abs(region["residual"]) < 1e-9


def moved(document: dict[str, Any]) -> set[str]:
    """Effects that any city has."""
    return {name for move in document["moves"] for name, points in move["effects"].items() if abs(points) > 1e-9}


# -- two years ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def years(finished: Home) -> dict[str, Any]:
    return compared(finished, "2019", "2020")


def test_the_effects_of_the_leaves_add_up_to_the_change_of_every_city(finished: Home, years):
    scores = finished.read("index/dei_scores").filter(node_id="dei")
    of_year = [dict(scores.filter(year=year).select("region_code", "score").iter_rows()) for year in YEARS]
    assert len(years["moves"]) == REGIONS
    for move in years["moves"]:
        code = move["region_code"]
        assert (move["a"]["score"], move["b"]["score"]) == (of_year[0][code], of_year[1][code])
        assert sum(move["effects"].values()) == pytest.approx(of_year[1][code] - of_year[0][code], abs=1e-9)
        region = compared(finished, "2019", "2020", "--region", code)["region"]
        check_region(region)
        assert region["effects"] == pytest.approx(move["effects"], abs=1e-12)


def test_the_mean_ranks_and_tiers_are_those_of_the_lake(finished: Home, years):
    ranking = finished.read("release/dei_ranking")
    ranks = [{r["region_code"]: r for r in ranking.filter(year=year).to_dicts()} for year in YEARS]
    for move in years["moves"]:
        for side, rows in (("a", ranks[0]), ("b", ranks[1])):
            row = rows[move["region_code"]]
            assert (move[side]["rank"], move[side]["tier"]) == (row["rank"], row["tier"])
            assert move["region_name"] == row["region_name"]
    means = [sum(move[side]["score"] for move in years["moves"]) / REGIONS for side in ("a", "b")]
    assert (years["a"]["mean"], years["b"]["mean"]) == pytest.approx(means)
    assert sum(years["effects"].values()) == pytest.approx(means[1] - means[0], abs=1e-9)
    assert years["effects"]["cities"] == pytest.approx(0, abs=1e-9)
    changes = [abs(move["change"]) for move in years["moves"]]
    assert changes == sorted(changes, reverse=True)
    counts = finished.read("release/tier_migrations").filter(year=2020)
    at = years["tiers"]["ids"].index
    assert sum(map(sum, years["tiers"]["counts"])) == counts["cities"].sum() == REGIONS
    for row in counts.to_dicts():
        assert years["tiers"]["counts"][at(row["from_tier"])][at(row["to_tier"])] == row["cities"]
        assert row["moved"] == (row["from_tier"] != row["to_tier"])
        names = row["city_names"].split("、")
        assert len(names) == row["cities"]
        assert set(names) <= {move["region_name"] for move in years["moves"] if move["b"]["tier"] == row["to_tier"]}


def test_a_year_against_itself_has_no_effects(finished: Home):
    same = compared(finished, "2020", "2020", "--region", "上海")
    assert (same["change"], set(same["effects"].values()), same["region"]["change"]) == (0, {0}, 0)
    assert all(set(term["effects"].values()) == {0} for term in terms_of(same["region"]))
    assert "no city moved 没有变动" in finished.invoke("diff", "2020", "2020").stdout


def test_a_leaf_missing_in_one_year_is_coverage_and_says_what_is_missing(finished: Home):
    gaps = finished.read("index/dei_normalised").filter(year=2019, status="missing")
    code, leaf = gaps.sort("region_code", "indicator_id").select("region_code", "indicator_id").row(0)
    region = compared(finished, "2019", "2020", "--region", code)["region"]
    (term,) = [term for term in leaves_of(region) if term["node"] == leaf]
    assert {name for name, points in term["effects"].items() if points} == {"coverage"}
    assert (term["a"]["score"], term["a"]["effective_weight"], term["a"]["status"]) == (None, 0, "missing")
    assert term["b"]["effective_weight"] > 0
    assert "missing: no observation of" in term["a"]["reason"]


def test_a_city_is_followed_to_the_cells_that_moved(finished: Home):
    text = finished.invoke("diff", "2019", "2020", "--region", "南京", "--top", "2").stdout
    assert "SYNTHETIC 合成数据" in text
    region = compared(finished, "2019", "2020", "--region", "南京")["region"]
    head = rf"^南京市 \(320100\) [\d.]+ → [\d.]+, change 变化 \+?{region['change']:.4f}: value "
    assert re.search(head, text, re.MULTILINE)
    shown = sorted(leaves_of(region), key=lambda leaf: -abs(leaf["change"]))[:2]
    for leaf in shown:
        assert leaf["name_zh"] in text.split("largest leaves")[1]
        for side in ("a", "b"):
            for observation in leaf[side]["observations"]:
                other = leaf["b" if side == "a" else "a"]["observations"]
                twin = next((o for o in other if o["variable"] == observation["variable"]), None)
                if twin is None or twin["value"] != observation["value"]:
                    source = observation["source"]
                    assert f"{source['sheet']}!{source['cell']} «{source['raw_text']}»" in text
    assert text.split("largest leaves")[1].count("\n+") + text.split("largest leaves")[1].count("\n-") == 2


def test_a_rank_without_an_effect_is_the_rank_of_the_scores_without_it(finished: Home, years):
    region = compared(finished, "2019", "2020", "--region", "苏州")["region"]
    own = next(move for move in years["moves"] if move["region_code"] == region["region_code"])
    ranks = region["ranks"]
    assert (ranks["a"], ranks["b"], ranks["among"]) == (own["a"]["rank"], own["b"]["rank"], REGIONS)
    for name, rank in ranks["b_without"].items():
        scores = [move["b"]["score"] - move["effects"][name] for move in years["moves"]]
        assert rank == 1 + sum(score > own["b"]["score"] - own["effects"][name] + 1e-9 for score in scores)


def test_a_node_below_the_composite_is_split_too(finished: Home):
    document = compared(finished, "2019", "2020", "--node", "information_infrastructure", "--region", "上海")
    check_region(document["region"])
    assert document["region"]["node"] == "information_infrastructure"
    assert document["tiers"] is None
    scores = finished.read("index/dei_scores").filter(node_id="information_infrastructure", region_code="310000")
    assert document["region"]["change"] == pytest.approx(scores["score"][1] - scores["score"][0], abs=1e-9)
    leaf = compared(finished, "2019", "2020", "--node", "fixed_broadband_penetration", "--region", "上海")["region"]
    assert leaf["a"]["observations"]
    assert leaf["effects"]["value"] == pytest.approx(leaf["change"], abs=1e-9)
    text = finished.invoke("diff", "2019", "2020", "--node", "fixed_broadband_penetration", "--region", "上海")
    assert "固网宽带应用渗透率" in text.stdout


def test_only_matched_cities_leave_no_effect_of_which_cities_are_ranked(home: Home):
    path = home.lake.part_files("index/dei_ranks")["2019"]
    ranks = pl.read_parquet(path)
    lost = pl.col("region_code") == ranks.sort("score", descending=True)["region_code"][0]
    ranks.with_columns(ranked=~lost, rank=pl.when(~lost).then("rank")).write_parquet(path)
    every, matched = compared(home, "2019", "2020"), compared(home, "2019", "2020", "--matched")
    assert [d[side]["cities"] for d in (every, matched) for side in ("a", "b")] == [11, 12, 11, 11]
    assert every["matched"] == matched["matched"] == len(every["moves"]) == 11
    assert abs(every["effects"]["cities"]) > 0.01
    assert matched["effects"]["cities"] == pytest.approx(0, abs=1e-9)
    for document in (every, matched):
        assert sum(document["effects"].values()) == pytest.approx(document["change"], abs=1e-9)
        assert document["change"] == pytest.approx(document["b"]["mean"] - document["a"]["mean"])
    assert max(move["b"]["rank"] for move in every["moves"]) == 12
    assert max(move["b"]["rank"] for move in matched["moves"]) == 11
    assert "cities 城市 11 → 12, ranked on both sides 11" in home.invoke("diff", "2019", "2020").stdout


# -- two lakes ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def corrected(once, finished: Home, shared_folder: Path) -> Home:
    """The demo lake after a correction of the households of 南京 in 2020."""

    def build(home: Home) -> None:
        shutil.copytree(Settings.reference, reference, dirs_exist_ok=True)
        finished.copy(home.root)
        explained = finished.invoke("explain", "dei", "南京", "2020", "--node", "fixed_broadband_penetration", "--json")
        observations = json.loads(explained.stdout)["observations"]
        (source,) = [o["source"] for o in observations if o["variable"] == "resident_households"]
        entry = {name: source[name] for name in ("sha256", "sheet", "cell")} | {
            "expect": source["raw_text"],
            "set": {"value": 1.02 * float(source["raw_text"])},
            "reason": "printed without the new district",
            "date": "2026-11-24",
        }
        path = reference / "corrections.yml"
        path.write_text(path.read_text("utf-8") + yaml.safe_dump([entry], allow_unicode=True), encoding="utf-8")
        assert Home(home.root, reference).run().errors == []

    reference = shared_folder / "corrected_reference"
    return once("corrected", build)


def test_a_corrected_cell_is_a_correction_in_the_city_that_it_is_of(finished: Home, corrected: Home):
    document = compared(finished, str(finished.root), str(corrected.root), "--region", "南京")
    assert (document["a"]["year"], document["b"]["year"]) == (2020, 2020)
    assert moved(document) == {"correction"}
    assert [move["region_code"] for move in document["moves"] if abs(move["change"]) > 1e-9] == [NANJING]
    check_region(document["region"])
    (leaf,) = [leaf for leaf in leaves_of(document["region"]) if abs(leaf["change"]) > 1e-9]
    assert (leaf["node"], leaf["a"]["status"], leaf["b"]["status"]) == (
        "fixed_broadband_penetration",
        "reported",
        "corrected",
    )
    assert leaf["effects"]["correction"] == pytest.approx(document["region"]["change"], abs=1e-9)
    back = compared(finished, str(corrected.root), str(finished.root))
    assert moved(back) == {"correction"}
    assert back["change"] == pytest.approx(-document["change"])
    text = finished.invoke("diff", str(finished.root), str(corrected.root), "--region", "南京").stdout
    assert "[reported → corrected]" in text
    assert "corrected: printed without the new district (2026-11-24)" in text
    assert f"2020 in {corrected.root}" in text


def test_between_two_years_a_correction_is_a_value(corrected: Home):
    assert "correction" not in moved(compared(corrected, "2019", "2020"))


@pytest.fixture(scope="module")
def edition(once, finished: Home, shared_folder: Path) -> Home:
    """The demo lake under another edition: other weights, a leaf less, another threshold, no cap on one leaf."""

    def build(home: Home) -> None:
        shutil.copytree(Settings.methodology, methodology, dirs_exist_ok=True)
        finished.copy(home.root)
        path = methodology / "dei.yaml"
        document = yaml.safe_load(path.read_text("utf-8"))
        document["meta"]["edition"] = "2022"
        parts = document["tree"]["children"]
        for part, weight in zip(parts, (0.3, 0.3, 0.2, 0.2), strict=True):
            part["weight"] = weight
        foundation = next(n for n in nodes_of(document["tree"]) if n["id"] == "data_foundation")
        foundation["children"] = [child for child in foundation["children"] if child["id"] != "open_data_platform"]
        for child in foundation["children"]:
            child["weight"] = 0.5
        counts = next(n for n in nodes_of(document["tree"]) if n["id"] == "service_demonstration_projects")
        counts["normalisation"]["n_star"] *= 1.5
        path.write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), encoding="utf-8")
        rubric = methodology / "rubrics" / document["meta"]["rubric"]
        kept = [line for line in rubric.read_text("utf-8").splitlines() if not line.startswith("open_data_platform")]
        rubric.write_text("\n".join(kept) + "\n", encoding="utf-8")
        settings = replace(home.settings, methodology=methodology)
        assert bring_up_to_date(settings, ["index/dei_ranks"]).errors == []

    methodology = shared_folder / "edition_methodology"
    return once("edition", build)


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("children", ()):
        yield from nodes_of(child)


def test_another_edition_is_split_into_scheme_and_threshold(finished: Home, edition: Home):
    for a, b in ((finished, edition), (edition, finished)):
        document = compared(finished, f"{a.root}:2020", f"{b.root}:2020", "--region", "南京")
        assert [document[side]["edition"] for side in ("a", "b")] == (
            ["2021", "2022"] if b is edition else ["2022", "2021"]
        )
        assert {"scheme", "threshold"} <= moved(document) <= {"scheme", "threshold", "cap"}
        assert any("has no open_data_platform: weight 0 there" in remark for remark in document["remarks"])
        region = document["region"]
        check_region(region)
        (gone,) = [leaf for leaf in leaves_of(region) if leaf["node"] == "open_data_platform"]
        assert {name for name, points in gone["effects"].items() if points} == {"scheme"}
        (lacking,) = [side for side in ("a", "b") if gone[side]["effective_weight"] == 0]
        assert gone[lacking]["score"] is None
        (counts,) = [leaf for leaf in leaves_of(region) if leaf["node"] == "service_demonstration_projects"]
        assert abs(counts["effects"]["threshold"]) > 0.01
        assert counts["effects"]["value"] == 0
        text = finished.invoke("diff", f"{a.root}:2020", f"{b.root}:2020", "--region", "南京").stdout
        assert "scheme" in text
        assert "edition 2022" in text


def test_two_editions_and_two_years_at_once_add_up_in_every_city(finished: Home, edition: Home):
    document = compared(finished, "2019", f"{edition.root}:2020", "--lake", str(finished.root))
    assert moved(document) >= {"value", "scheme", "threshold", "coverage"}
    for move in document["moves"]:
        assert sum(move["effects"].values()) == pytest.approx(move["b"]["score"] - move["a"]["score"], abs=1e-9)


# -- what is not there -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("2019", "1999"), r"dei has no scores of 1999 in .*; years there: 2019, 2020"),
        (("2019", "nowhere"), r"«nowhere»: nowhere is no folder; give a year, the folder of a lake, or LAKE:YEAR"),
        (("2019", "nowhere:2020"), r"«nowhere:2020»: nowhere is no folder"),
        (("2019", "2020", "--index", "dai"), r"has no scores of «dai»; there is: .*dei; `dei run` makes them"),
        (("2019", "2020", "--region", "上海滩"), r"region «上海滩» is unknown; near: "),
        (("2019", "2020", "--region", "七台河"), r"dei has no value for 七台河市 in .*:2019; compare years or lakes"),
        (("2019", "2020", "--node", "infrastructure"), r"dei has no node «infrastructure» in .*:2019; near: "),
    ],
)
def test_what_is_unknown_is_one_line_with_the_fix(finished: Home, arguments, says):
    result = finished.invoke("diff", *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert re.search(says, line), line


def test_a_lake_without_scores_is_one_line(finished: Home, received: Home):
    result = finished.invoke("diff", "2020", str(received.root))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert re.search(r"has no scores of «dei»; there is: none; `dei run` makes them", line), line


def test_a_node_of_one_edition_only_cannot_be_compared(finished: Home, edition: Home):
    result = finished.invoke("diff", "2020", str(edition.root), "--node", "open_data_platform")
    assert result.exit_code == 1
    assert "dei has no node «open_data_platform»" in result.stderr
