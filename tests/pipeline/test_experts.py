"""Forms of experts from the template to observations and weights; what is off is set aside with place and fix."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dei_pipeline.checks.lineage import dangling
from dei_pipeline.methods.weights import ahp
from dei_pipeline.sources.decode import decode
from tests.forms import filled
from tests.pipeline.homes import Home, put

TABLES = ("core/observations", "core/ahp_judgements", "index/deci_expert_weights")
FACETS = ("policy_system_completeness", "supporting_measures", "policy_implementation_effect")
EXPERTS = ("E01", "E02", "E03")
CITIES = 52
FIRST_ROW = 6


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty lake."""
    return Home(tmp_path / "lake")


def template(home: Home, folder: Path, kind: str, *more: str) -> Path:
    path = folder / f"{kind}.xlsx"
    result = home.invoke("template", kind, "--index", "deci", "--out", str(path), *more)
    assert result.exit_code == 0, result.output
    return path


def scores_of(expert: int, number: int) -> np.ndarray:
    """Cities by facets; the experts come closer from round to round."""
    truth = np.add.outer(np.linspace(88, 40, CITIES), (0, -5, 3))
    return np.round(truth + (expert - 1) * (6 / number**2), 1)


def delphi(home: Home, folder: Path, expert: int, number: int, **change: object) -> bytes:
    """A filled-in sheet of one expert and round; `change` overwrites cells."""
    path = template(home, folder, "delphi", "--year", "2020", "--round", str(number), "--expert", EXPERTS[expert])
    cells = {f"{column}{row}": share for column in "CDE" for row, share in ((4, 0.8), (5, 0.4 + 0.2 * expert))}
    for at, row in enumerate(scores_of(expert, number), start=FIRST_ROW):
        cells |= {f"{column}{at}": float(score) for column, score in zip("CDE", row, strict=True)}
    return filled(path, {(0, cell): value for cell, value in (cells | change).items()})


def judgements(home: Home, folder: Path, expert: str, **change: object) -> bytes:
    """A filled-in comparison of the six dimensions; the upper triangle stands in C6:G10."""
    path = template(home, folder, "ahp", "--expert", expert)
    upper = [
        [2, 1, "1/2", 1, 2],
        [None, "1/2", "1/3", "1/2", 1],
        [None, None, "1/2", 1, 2],
        [None] * 3 + [2, 3],
        [None] * 4 + [2],
    ]
    cells = {f"{'CDEFG'[c]}{6 + r}": value for r, row in enumerate(upper) for c, value in enumerate(row) if value}
    return filled(path, {(0, cell): value for cell, value in (cells | change).items()})


def ingest(home: Home, folder: Path) -> str:
    result = home.invoke("ingest", str(folder))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_forms_become_observations_and_weights(home: Home, tmp_path: Path):
    given = tmp_path / "given"
    for number in (1, 2):
        for expert in range(3):
            put(given, f"{number}-{expert}.xlsx", delphi(home, tmp_path, expert, number))
    for expert in EXPERTS[:2]:
        put(given, f"ahp-{expert}.xlsx", judgements(home, tmp_path, expert))
    listed = ingest(home, given)
    assert listed.count("  delphi\n") == 6
    assert listed.count("  ahp\n") == 2
    assert "8 taken, 0 already there, 0 left out, 0 with no page recognised" in listed
    report = home.run(*TABLES)
    assert report.errors == []

    # every cell has a role; what was scored is staged as it was
    forms = pl.col("sheet") != "csv"
    assert home.read("staging/page_cells").filter(forms).height == home.read("raw/cells").filter(forms).height > 1800
    assert not home.aside("staging/page_cells").height
    assert home.read("staging/delphi_responses").height == 6 * 3 * CITIES

    # the second round counts: the order did not change
    scores = home.read("core/delphi_scores")
    assert scores.height == 2 * 3 * CITIES
    assert scores.filter("final")["round"].unique().to_list() == [2]
    assert scores["stop_reason"].unique().to_list() == ["converged"]
    observed = home.read("core/observations").filter(pl.col("variable").is_in(FACETS))
    assert observed.height == 3 * CITIES
    assert set(observed["status"]) == {"expert"}
    assert set(observed["edition"]) == {"2021"}
    beijing = observed.filter(region_code="110000", variable=FACETS[0])["value"].item()
    cr = np.array([0.6, 0.7, 0.8])
    assert beijing == pytest.approx(float((cr * [scores_of(e, 2)[0, 0] for e in range(3)]).sum() / cr.sum()))

    # weights of the experts, and pooled
    weights = home.read("index/deci_expert_weights")
    assert weights["expert_id"].unique().sort().to_list() == ["E01", "E02", "pooled"]
    pooled = weights.filter(expert_id="pooled")
    assert pooled["weight"].sum() == pytest.approx(1)
    matrix = home.read("core/ahp_judgements").filter(expert_id="E01").sort("row_node", "column_node")
    found = ahp(matrix["value"].to_numpy().reshape(6, 6))
    assert pooled.sort("node_id")["weight"].to_list() == pytest.approx(found.w.tolist())

    # lineage leads to rows, and from a cell to the observation
    specs = [spec for key, spec in home.specs().items() if home.lake.exists(key)]
    assert dangling(home.lake, specs) == []
    reached = home.invoke("impact", "2-0.xlsx", "2020 第2轮!C6").stdout
    assert "core/delphi_scores" in reached
    assert "core/observations" in reached

    # the next round shows what this one said
    path = template(home, tmp_path, "delphi", "--year", "2020", "--round", "3")
    third = dict(
        decode(path.read_bytes(), path.name).cells.filter(sheet="2020 第3轮").select("cell", "text").iter_rows()
    )
    beijing_said = scores.filter(region_code="110000", item=FACETS[0], round=2)
    assert third["F3"].startswith("上轮反馈")
    assert third["F6"] == f"中位数 {beijing_said['median'].item():g}，四分位差 {beijing_said['iqr'].item():g}"
    shown = home.invoke("layout", str(path)).stdout
    assert "delphi_responses" in shown
    assert "no expert is named" in shown
    assert home.run(*TABLES).reasons == {}


def test_what_is_off_is_in_quarantine_with_file_sheet_cell_and_fix(home: Home, tmp_path: Path):
    given = tmp_path / "given"
    wrong = {"C6": 130, "D6": "很好", "B7": "某某市", "A7": None, "E3": "政策的颜色", "D4": None}
    put(given, "d0.xlsx", delphi(home, tmp_path, 0, 1))
    put(given, "d1.xlsx", delphi(home, tmp_path, 1, 1, **wrong))
    put(given, "d2.xlsx", delphi(home, tmp_path, 2, 1, B2=None))
    put(given, "a0.xlsx", judgements(home, tmp_path, "E01"))
    put(given, "a1.xlsx", judgements(home, tmp_path, "E02", B7=3))
    put(given, "a2.xlsx", judgements(home, tmp_path, "E03", A11="别的", G9=99))
    listed = ingest(home, given)
    assert "d2.xlsx  delphi  — 2020 第1轮: no expert is named" in listed
    assert "a2.xlsx  ahp  — 1 deci: the matrix is not square" in listed
    report = home.run(*TABLES)
    assert report.errors == []
    aside = pl.concat(
        [home.aside(t) for t in ("staging/page_cells", "core/delphi_scores", "core/ahp_judgements")], how="diagonal"
    ).filter(pl.col("file").str.ends_with(".xlsx"))
    assert not aside.filter(pl.any_horizontal(pl.col("reason", "fix", "sheet", "cell", "raw_text").is_null())).height
    told = {(r["file"], r["cell"]): r["reason"] for r in aside.to_dicts()}
    assert told["d1.xlsx", "C6"] == "score 130 is not from 0 to 100"
    assert told["d1.xlsx", "D6"] == "not a number"
    assert told["d1.xlsx", "D8"] == "no familiarity Cs is stated for this item"
    assert told["d1.xlsx", "C7"].startswith("«某某市» is no region known")
    assert told["d1.xlsx", "E8"] == "item «政策的颜色» is no variable scored in points"
    assert told["d2.xlsx", "C6"] == "no expert is named"
    assert "not reciprocal" in told["a1.xlsx", "B7"]
    assert told["a1.xlsx", "G6"].startswith("its matrix is not used")
    assert told["a2.xlsx", "C6"].startswith("the matrix is not square: ")

    # what is left counts, and everything is accounted for
    staged = home.read("staging/delphi_responses")
    used = home.read("core/delphi_scores")["experts"].sum()
    assert used + home.aside("core/delphi_scores").height == staged.height
    assert home.read("core/delphi_scores")["stopped"].any() is False
    assert home.read("core/ahp_judgements")["expert_id"].unique().to_list() == ["E01"]


def test_an_index_without_a_panel_or_comparisons_says_so(home: Home):
    for kind, words in (("delphi", "no leaf that a Delphi panel scores"), ("ahp", "no weight from comparisons")):
        result = home.invoke("template", kind, "--index", "dei")
        assert result.exit_code == 1
        assert words in result.stderr
