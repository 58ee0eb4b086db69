"""From AHP sheets to complete matrices and weights: reciprocals, what is refused, experts pooled."""

import numpy as np
import polars as pl
import pytest
import yaml

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import ContractError, MethodError, NothingToDo
from dei_pipeline.methods.framework import Framework, framework_tables, load
from dei_pipeline.methods.judgements import KEY, complete, expert_weights
from dei_pipeline.methods.weights import ahp as weigh
from dei_pipeline.methods.weights import pool
from dei_pipeline.provenance import row_key
from tests.forms import DIMENSIONS, ahp, staged, workbook

MATRIX = [[None, 3, 5], [None, None, 3], [None, None, None]]
OTHER = [[1, 2, 7], [None, 1, 4], [None, None, 1]]
CYCLE = [[1, 5, "1/5"], [None, 1, 5], [None, None, 1]]
NODES = [head.split("\n")[1] for head in DIMENSIONS]


def tiny(folder) -> Framework:
    """An index whose three dimensions have no weights."""
    leaf = {
        "unit": "percent", "direction": "positive", "missing_policy": "renormalise", "source_kind": "delphi",
        "derivation": {"kind": "value", "factor": 1, "terms": [{"variable": "gdp", "role": "value", "factor": 1}]},
        "normalisation": {"rule": "fixed", "theta": 100},
    }  # fmt: skip
    free = {"weight": None, "weight_status": "data_driven"}
    children = []
    for i, (node, head) in enumerate(zip(NODES, DIMENSIONS, strict=True)):
        below = {"id": f"{node}_leaf", "name_zh": "叶", "name_en": "Leaf", "weight": 1.0, "weight_status": "seed"}
        names = {"id": node, "name_zh": head.split("\n")[0], "name_en": f"Dimension {i}"}
        children.append({**names, **free, "children": [below | leaf]})
    meta = {
        "index_id": "tiny", "name_zh": "小指数", "name_en": "Tiny index", "edition": "2021", "base_year": 2020,
        "city_list": "dei_2021", "min_coverage": 0.6,
    }  # fmt: skip
    tree = {"id": "tiny", "name_zh": "小指数", "name_en": "Tiny index", "weight": 1.0, "children": children}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({"meta": meta, "tree": tree}, allow_unicode=True), encoding="utf-8")
    return load(path)


@pytest.fixture
def framework(tmp_path) -> Framework:
    return tiny(tmp_path)


@pytest.fixture
def judge(framework):
    """What core makes of some sheets."""
    nodes = framework_tables([framework])["core/framework"].frame

    def made(**sheets):
        return complete(staged(workbook(sheets)).frame, nodes)

    return made


def square(table, expert="E01"):
    rows = table.frame.filter(expert_id=expert)
    found = {(r["row_node"], r["column_node"]): r["value"] for r in rows.to_dicts()}
    return np.array([[found[i, j] for j in NODES] for i in NODES])


# -- completion --------------------------------------------------------------------------------------------------------
def test_the_upper_triangle_gives_the_whole_matrix_with_edges_to_the_cells(judge):
    table = judge(a=ahp(MATRIX))
    np.testing.assert_allclose(square(table), [[1, 3, 5], [1 / 3, 1, 3], [1 / 5, 1 / 3, 1]], rtol=1e-15)
    contract = python_contracts()["core/ahp_judgements"]
    assert set(table.frame.columns) == set(contract.schema)
    assert set(table.frame.select("index_id", "edition", "parent_id").unique().row(0)) == {"tiny", "2021"}
    edges = {e["child_key"].split("|", 4)[4]: e for e in table.edges.to_dicts()}
    first, second, _ = NODES
    cell = table.frame.filter(row_node=first, column_node=second)["source_cell"].item()
    assert cell.endswith("/a!C6")
    assert (edges[f"{first}|{second}"]["role"], edges[f"{first}|{second}"]["coefficient"]) == ("value", 1)
    mirror = edges[f"{second}|{first}"]
    assert (mirror["parent_key"], mirror["role"]) == (cell, "reciprocal")
    assert mirror["coefficient"] == pytest.approx(-1 / 9)
    assert edges[f"{first}|{first}"]["parent_key"] == f"tiny|2021|{first}"
    assert table.edges.height == table.frame.height == 9
    assert table.quarantine.height == 0


def test_the_side_that_is_at_least_one_counts_and_rounded_mirrors_are_accepted(judge):
    given = [[1, 0.33, "0.14"], [3, 1, None], [7, "1/2", 1]]
    table = judge(a=ahp(given))
    np.testing.assert_allclose(square(table), [[1, 1 / 3, 1 / 7], [3, 1, 2], [7, 1 / 2, 1]], rtol=1e-15)
    roles = table.edges["role"].value_counts().sort("role").rows()
    assert roles == [("definition", 3), ("reciprocal", 3), ("repeat", 5), ("value", 3)]
    assert table.edges.filter(role="repeat")["coefficient"].unique().to_list() == [0]


def test_chinese_and_english_names_name_a_child_too(judge):
    heads = ("数字创新要素", "Dimension 1", "core_industry")
    title = "AHP判断矩阵: 小指数 › Tiny index"
    assert judge(a=ahp(MATRIX, heads=heads, title=title, edition=None)).frame.height == 9


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        (ahp([[1, 3, 5], [0.5, 1, 3], [None, None, 1]]), "factors over basis_of_all is 3, .* is 0.5: not reciprocal"),
        (ahp([[1, 3, None], [None, 1, 3], [None, None, 1]]), "factors is not compared with core_industry"),
        (ahp([[1, 3], [None, 1]], heads=DIMENSIONS[:2]), "with core_industry: the matrix of 3 children is"),
        (ahp([[2, 3, 5], [None, 1, 3], [None, None, 1]]), "compared with itself is 2, not 1"),
        (ahp(MATRIX, heads=(*DIMENSIONS[:2], "数字政策环境")), "«数字政策环境» is no child of tiny"),
        (ahp(MATRIX, heads=(*DIMENSIONS[:2], "数字基础设施")), "is compared with basis_of_all twice"),
        (ahp(MATRIX, title="AHP 判断矩阵: 大指数 (big) › 甲"), "index «big» is unknown"),
        (ahp(MATRIX, title="AHP 判断矩阵: (tiny) › 甲"), "«甲» is no node of tiny with children"),
        (ahp(MATRIX, title="AHP 判断矩阵: (tiny) › (factors_leaf)"), "«factors_leaf» is no node of tiny"),
        (ahp(MATRIX, edition="1999"), "edition «1999» is unknown"),
    ],
)  # fmt: skip
def test_a_matrix_with_anything_off_goes_to_quarantine_with_place_and_fix(judge, sheet, words):
    sheet[1][1] = "E02"
    table = judge(a=ahp(OTHER), b=sheet)
    assert table.frame["expert_id"].unique().to_list() == ["E01"]
    aside = table.quarantine
    assert aside["reason"].str.contains(words).any(), aside["reason"].to_list()
    assert aside["reason"].str.contains(words).all()
    assert set(aside["sheet"]) == {"b"}
    assert set(aside["file"]) == {"form.xlsx"}
    assert (
        aside.select(pl.any_horizontal(pl.col("fix", "cell", "raw_text").fill_null("") == "")).to_series().any()
        is False
    )
    assert table.notes["judgements_in"] == staged(workbook({"a": ahp(OTHER), "b": sheet})).frame.height
    with pytest.raises(ContractError, match=r"none of .* form\.xlsx, sheet b, cell"):
        judge(b=sheet)


def test_only_the_cells_at_fault_say_so(judge):
    table = judge(a=ahp(OTHER), b=ahp([[1, 3, 5], [0.5, 1, 3], [None, None, 1]], expert="E02"))
    mine = dict(table.quarantine.select("cell", "reason").iter_rows())
    assert {cell for cell, reason in mine.items() if not reason.startswith("its matrix is not used")} == {"C6", "B7"}
    assert len(mine) == 7


def test_a_copy_repeats_and_a_contradiction_is_set_aside(judge):
    table = judge(a=ahp(OTHER), b=ahp(OTHER))
    assert table.frame.height == 9
    assert table.notes["repeated_matrices"] == 1
    assert table.edges.filter(role="repeat").height == 3 + 6  # three ones on the first diagonal, six cells of the copy
    table = judge(a=ahp(OTHER), b=ahp(MATRIX))
    assert table.frame.height == 9
    assert table.quarantine["reason"].str.contains("another sheet too, otherwise: form.xlsx, sheet a").all()
    assert table.quarantine.height == 3


# -- weights -----------------------------------------------------------------------------------------------------------
def test_weights_of_each_expert_and_of_the_accepted_ones_pooled(judge, framework):
    judged = judge(a=ahp(MATRIX), b=ahp(OTHER, expert="E02"), c=ahp(CYCLE, expert="E03"))
    table = expert_weights(framework, judged.frame)
    assert table.frame["expert_id"].unique(maintain_order=True).to_list() == ["E01", "E02", "E03", "pooled"]
    own = table.frame.filter(expert_id="E01")
    assert own["node_id"].to_list() == NODES
    np.testing.assert_allclose(own["weight"], [0.636985571745, 0.258284994374, 0.104729433881], rtol=1e-8)
    np.testing.assert_allclose(own["cr"][0], 0.033199215998, rtol=1e-8)
    bad = table.frame.filter(expert_id="E03")
    assert bad["accepted"].to_list() == [False] * 3
    np.testing.assert_allclose(bad["cr"][0], 2.758620689655, rtol=1e-8)
    pooled = table.frame.filter(expert_id="pooled")
    expected = pool([square(judged), square(judged, "E02")])
    np.testing.assert_allclose(pooled["weight"], expected.result.w, rtol=1e-12)
    np.testing.assert_allclose(pooled["weight"], weigh(np.sqrt(square(judged) * square(judged, "E02"))).w, rtol=1e-12)
    assert (pooled["experts"].to_list(), own["experts"].to_list()) == ([2] * 3, [1] * 3)
    assert table.notes["rejected"] == ["tiny: E03 (CR 2.759 ≥ 0.1)"]
    assert set(table.edges["parent_key"]) == set(judged.frame.select(row_key(KEY)).to_series())
    mine = table.edges.filter(pl.col("child_key") == f"2021|tiny|pooled|{NODES[0]}")
    assert mine.height == 18
    assert not mine["parent_key"].str.contains("E03").any()
    keys = table.frame.select(row_key(["edition", "parent_id", "expert_id", "node_id"])).to_series()
    assert set(table.edges["child_key"]) == set(keys)


def test_without_an_accepted_matrix_nothing_is_pooled_and_it_says_so(judge, framework):
    table = expert_weights(framework, judge(a=ahp(CYCLE)).frame)
    assert table.frame["expert_id"].unique().to_list() == ["E01"]
    assert table.notes["unpooled"] == ["tiny"]


def test_judgements_of_other_indices_are_none(judge, framework):
    other = judge(a=ahp(MATRIX)).frame.with_columns(index_id=pl.lit("big"))
    with pytest.raises(NothingToDo, match="dei template ahp --index tiny"):
        expert_weights(framework, other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.col("row_node") != "factors", "sheet a of expert E01.*factors is not compared with factors"),
        (pl.col("value") != 3, "is not compared with"),
    ],
)
def test_a_missing_child_is_an_error_that_names_the_sheet(judge, framework, change, words):
    with pytest.raises(MethodError, match=words):
        expert_weights(framework, judge(a=ahp(MATRIX)).frame.filter(change))


def test_a_foreign_node_or_an_expert_called_pooled_is_an_error_that_names_the_sheet(judge, framework):
    judged = judge(a=ahp(MATRIX)).frame
    foreign = judged.with_columns(row_node=pl.col("row_node").replace("factors", "strange"))
    with pytest.raises(MethodError, match="sheet a of expert E01, children of tiny: strange is no child of tiny"):
        expert_weights(framework, foreign)
    with pytest.raises(MethodError, match="«pooled» is the name of the pooled result"):
        expert_weights(framework, judged.with_columns(expert_id=pl.lit("pooled")))
