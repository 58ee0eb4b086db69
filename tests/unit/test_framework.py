"""Framework files: the packaged one against the specification, and one clear error for every way to get it wrong."""

import copy
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods import framework as fw
from dei_pipeline.methods import framework_rules
from dei_pipeline.methods.framework import framework_tables, load, packaged

RUBRIC_HEADER = "indicator_id,checkpoint,name_zh,name_en,points,evidence_kind"
RUBRIC = f"{RUBRIC_HEADER}\nb,b.1,甲,First,4,web\nb,b.2,乙,Second,6,policy\n"


def leaf(node_id, weight, kind="value", **more):
    terms = {"value": [("v", "value")], "ratio": [("n", "numerator"), ("d", "denominator")], "count": [("c", "count")]}
    derivation = {"kind": kind}
    if kind in terms:
        derivation["terms"] = [{"variable": f"{node_id}_{v}", "role": r} for v, r in terms[kind]]
    return {
        "id": node_id,
        "name_zh": node_id,
        "name_en": node_id,
        "weight": weight,
        "unit": "percent",
        "direction": "positive",
        "missing_policy": "renormalise",
        "source_kind": "statistics",
        "weight_status": "seed",
        "derivation": derivation,
        "normalisation": {"rule": "fixed", "theta": 100, "cap": 100},
    } | more


def document():
    """A small valid index: ix -> g (a, b, c) and e."""
    node = {"id": "g", "name_zh": "g", "name_en": "g", "weight": 0.6}
    even = {"kind": "evenness", "evenness": "gini", "members": ["a", "b"]}
    return {
        "meta": {
            "index_id": "ix",
            "name_zh": "指数",
            "name_en": "Index",
            "edition": "2021",
            "base_year": 2020,
            "city_list": "all",
            "rubric": "ix.csv",
            "min_coverage": 0.6,
            "imputed_weight_badge_above": 0.2,
            "imputed_weight_not_ranked_above": 0.4,
            "tiers": [
                {"id": "high", "name_zh": "高", "name_en": "High", "lower": 50},
                {"id": "low", "name_zh": "低", "name_en": "Low", "lower": None},
            ],
        },
        "tree": {
            "id": "ix",
            "name_zh": "指数",
            "name_en": "Index",
            "weight": 1,
            "children": [
                node | {"children": [leaf("a", 0.3, "ratio"), leaf("b", 0.3, "rubric"), leaf("c", 0.4, "count")]},
                leaf("e", 0.4, "evenness", derivation=even, normalisation={"rule": "identity", "cap": 100}),
            ],
        },
    }


@pytest.fixture
def write(tmp_path):
    def _write(content, rubric=RUBRIC, name="ix.yaml"):
        (tmp_path / "rubrics").mkdir(exist_ok=True)
        (tmp_path / "rubrics" / "ix.csv").write_text(rubric, encoding="utf-8")
        text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return _write


def at(doc, path):
    for step in path[:-1]:
        doc = doc[step]
    return doc, path[-1]


G = ("tree", "children", 0)
A, B, C = ((*G, "children", i) for i in range(3))
E = ("tree", "children", 1)
BROKEN = {
    "a node whose weights do not sum to 1": ((*A, "weight"), 0.3 + 1e-11, "node g: the weights of its children sum to"),
    "a negative weight": ((*G, "weight"), -0.6, "node ix: the weights"),
    "a weight that is text": ((*A, "weight"), "much", "child a of node g: weight is 'much'"),
    "a missing weight": ((*A, "weight"), None, "child a of node g: weight is None"),
    "a duplicate id": ((*C, "id"), "a", "node a: duplicate id"),
    "an unknown unit": ((*A, "unit"), "furlong", "node a: unknown unit 'furlong'"),
    "an unknown direction": ((*A, "direction"), "up", "node a: unknown direction 'up'"),
    "an unknown kind": ((*A, "derivation"), {"kind": "magic"}, "node a: unknown derivation kind 'magic'"),
    "an unknown missing policy": ((*A, "missing_policy"), "zero", "node a: unknown missing_policy"),
    "an unknown weight status": ((*A, "weight_status"), "guess", "node a: unknown weight_status"),
    "an unknown rule": ((*A, "normalisation"), {"rule": "max", "cap": 1}, "node a: unknown normalisation rule 'max'"),
    "an unknown transform": ((*B, "derivation", "transform"), "sqrt", "node b: unknown transform"),
    "an unknown evenness": ((*E, "derivation", "evenness"), "cv", "node e: unknown evenness"),
    "a typing error in a key": ((*A, "wieght"), 0.3, "node a: unknown key wieght"),
    "a node that is a leaf of nothing": ((*G, "children"), [], "node g: no children"),
    "a fixed rule without theta": (
        (*A, "normalisation"),
        {"rule": "fixed", "cap": 100},
        "node a: rule fixed needs theta",
    ),
    "a theta that is NaN": ((*A, "normalisation", "theta"), float("nan"), "node a: theta is nan"),
    "a cap of zero": ((*A, "normalisation", "cap"), 0, "node a: cap is 0"),
    "a saturation without n_star": (
        (*C, "normalisation"),
        {"rule": "saturation", "cap": 100},
        "node c: saturation needs",
    ),
    "a negative direction on a maximum": (
        A,
        leaf("a", 0.3, "ratio", direction="negative", normalisation={"rule": "winsorised_max", "cap": 100}),
        "node a: rule winsorised_max has no meaning",
    ),
    "a moderate direction without bounds": ((*A, "direction"), "moderate", "node a: moderate needs"),
    "a ratio without denominator": (
        (*A, "derivation", "terms"),
        [{"variable": "n", "role": "numerator"}],
        "node a: kind ratio lacks a term with role denominator",
    ),
    "a term in an impossible role": ((*C, "derivation", "terms", 0, "role"), "numerator", "node c: unknown role"),
    "a variable twice": (
        (*C, "derivation", "terms"),
        [{"variable": "n", "role": "count"}] * 2,
        "node c: variable n twice",
    ),
    "a leaf that depends on its own ancestor": (
        (*C, "derivation", "terms", 0, "variable"),
        "g",
        "node c: depends on g",
    ),
    "a leaf that depends on the index": ((*C, "derivation", "terms", 0, "variable"), "ix", "node c: depends on ix"),
    "an evenness of its own ancestor": ((*E, "derivation", "members"), ["a", "ix"], "node e: depends on ix"),
    "an evenness of itself": ((*E, "derivation", "members"), ["a", "e"], "node e: depends on e"),
    "an evenness of an inner node": ((*E, "derivation", "members"), ["a", "g"], "node e: member g is not a leaf"),
    "an evenness of nothing": ((*E, "derivation", "members"), ["a"], "node e: members"),
    "a variable that is an inner node": (
        E,
        leaf("e", 0.4, derivation={"kind": "value", "terms": [{"variable": "g", "role": "value"}]}),
        "node e: variable g is a node",
    ),
    "a root of another name": (("meta", "index_id"), "other", "the root is ix"),
    "a share above one": (("meta", "min_coverage"), 60, "meta: min_coverage is 60"),
    "tiers out of order": (("meta", "tiers", 1, "lower"), 60, "meta, tiers: bounds"),
    "an unknown meta key": (("meta", "basis"), 1, "meta: unknown key basis"),
    "a rubric file that does not exist": (("meta", "rubric"), "none.csv", "none.csv does not exist"),
}


@pytest.mark.parametrize(("path", "value", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_violation_is_one_error_that_names_node_and_fix(write, path, value, message):
    broken = copy.deepcopy(document())
    block, key = at(broken, path)
    block[key] = value
    with pytest.raises(ReferenceFileError) as caught:
        load(write(broken))
    assert message in caught.value.message
    assert caught.value.fix or "is" in caught.value.message
    assert "\n" not in str(caught.value)


RUBRICS = {
    "a leaf without checkpoint": (RUBRIC_HEADER + "\n", "rubric leaf b has no checkpoint"),
    "a checkpoint of no rubric leaf": (RUBRIC + "a,a.1,x,x,1,web\n", "line 4 (a.1): a is not a rubric leaf"),
    "a checkpoint twice": (RUBRIC + "b,b.1,x,x,1,web\n", "line 4 (b.1): checkpoint is not unique"),
    "a checkpoint of another name": (RUBRIC + "b,x.1,x,x,1,web\n", "checkpoint is not unique"),
    "points of zero": (RUBRIC + "b,b.3,x,x,0,web\n", "points are 0"),
    "points that are text": (RUBRIC + "b,b.3,x,x,many,web\n", "points are 'many'"),
    "unknown evidence": (RUBRIC + "b,b.3,x,x,1,rumour\n", "unknown evidence_kind 'rumour'"),
    "another header": ("id,points\n", "columns are"),
}


@pytest.mark.parametrize(("rubric", "message"), RUBRICS.values(), ids=RUBRICS.keys())
def test_a_wrong_rubric_is_one_error(write, rubric, message):
    with pytest.raises(ReferenceFileError) as caught:
        load(write(document(), rubric))
    assert message in str(caught.value)


def test_files_that_are_no_framework(write, tmp_path):
    for text, message in (
        ("meta: [", "is not YAML"),
        ("meta: {}", "expected exactly the blocks meta and tree"),
        ("meta: 1\ntree: 1", "expected key: value pairs"),
    ):
        with pytest.raises(ReferenceFileError, match=message):
            load(write(text))
    with pytest.raises(ReferenceFileError, match="does not exist"):
        load(tmp_path / "absent.yaml")
    (tmp_path / "gbk.yaml").write_bytes("meta: 指数".encode("gbk"))
    with pytest.raises(ReferenceFileError, match="not UTF-8"):
        load(tmp_path / "gbk.yaml")


def test_a_cycle_of_yaml_aliases_is_found(write):
    text = yaml.safe_dump({"meta": document()["meta"]}, allow_unicode=True)
    tree = "tree: &r {id: ix, name_zh: x, name_en: x, weight: 1, children: [*r]}\n"
    with pytest.raises(ReferenceFileError, match="node ix: cycle"):
        load(write(text + tree))


def test_the_small_framework_as_tables(write):
    ix = load(write(document()))
    assert ix.leaf_ids == ("a", "b", "c", "e")
    assert ix.derived_ids == ("e",)
    assert ix.members_of("e") == ("a", "b")
    assert ix.child_positions[0] == (1, 5)
    assert ix.nodes.filter(node_id="a")["global_weight"].item() == pytest.approx(0.18)
    assert ix.terms.filter(role="points").select("indicator_id", "variable", "max_points", "factor").rows() == [
        ("b", "b.1", 4.0, 1.0),
        ("b", "b.2", 6.0, 1.0),
    ]
    tables = framework_tables([ix])
    edges = (
        pl.concat([tables[name].edges for name in ("core/framework", "core/indicator_terms")])
        .select("child_key", "parent_table", "parent_key")
        .rows()
    )
    assert ("ix|2021|g", "methodology/ix.yaml", "g") in edges
    assert ("b|b.1", "methodology/rubrics/ix.csv", "b.1") in edges
    assert ("a|a_n", "methodology/ix.yaml", "a") in edges
    for table, key in (("core/framework", 3), ("core/indicator_terms", 2)):
        frame = tables[table].frame
        keys = frame.columns[:3] if key == 3 else ["indicator_id", "variable"]
        assert frame.select(keys).is_unique().all()
        assert tables[table].edges.height == frame.height


def test_two_indices_do_not_share_an_indicator(write):
    ix = load(write(document()))
    with pytest.raises(ReferenceFileError, match="defined more than once"):
        framework_tables([packaged("dei"), ix, ix])
    both = framework_tables([packaged("dei"), ix])
    assert both["core/framework"].frame["index_id"].unique().sort().to_list() == ["dei", "ix"]


def test_data_driven_weights_may_be_open(write):
    doc = document()
    for child in doc["tree"]["children"][0]["children"]:
        child |= {"weight": None, "weight_status": "data_driven"}
    assert load(write(doc)).nodes["global_weight"].null_count() == 3


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_w1_any_weights_that_sum_to_one_are_accepted(parts):
    shares = [p / sum(parts) for p in parts]
    children = [{"id": str(i), "weight": w} for i, w in enumerate(shares)]
    framework_rules.check_weights("f", "n", children)
    children[0]["weight"] += 1e-9
    with pytest.raises(ReferenceFileError):
        framework_rules.check_weights("f", "n", children)


def spec_nodes(node):
    yield node
    for child in node.get("children", ()):
        yield from spec_nodes(child)


def test_the_packaged_dei_is_the_specified_tree():
    dei = packaged("dei")
    assert dei.nodes["level"].value_counts().sort("level").rows() == [(0, 1), (1, 4), (2, 12), (3, 46)]
    assert dei.nodes["position"].to_list() == list(range(63))
    for node in dei.nodes.iter_rows(named=True):
        children = dei.nodes.filter(pl.col("parent_id") == node["node_id"])
        if children.height:
            assert abs(children["weight"].sum() - 1) <= 1e-12  # W1
    assert abs(dei.leaves["global_weight"].sum() - 1) <= 1e-9  # W2
    largest = dict(dei.leaves.select("node_id", "global_weight").iter_rows())
    assert largest["city_big_data_platform"] == pytest.approx(0.04)
    assert largest["driver_industries"] == pytest.approx(0.0075)
    assert (dei.base_year, dei.scale_year, dei.cluster_weight_year_offset) == (2020, 2020, -1)


def test_the_packaged_dei_agrees_with_the_specification_file():
    path = Path(__file__).resolve().parents[3] / "shared" / "spec" / "dei.yaml"
    if not path.is_file():
        pytest.skip(f"no specification at {path}")
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = {row["node_id"]: row for row in packaged("dei").nodes.iter_rows(named=True)}
    specified = list(spec_nodes(spec["tree"]))
    assert [n["id"] for n in specified] == list(rows)
    for node in specified:
        row = rows[node["id"]]
        given_here = (row["parent_id"], row["level"], row["name_zh"], row["name_en"], row["weight"])
        assert given_here == (node["parent"], node["level"], node["zh"], node["en"], node["weight"])
        assert row["global_weight"] == pytest.approx(node["global_weight"], abs=1e-12)
        if "children" not in node:
            assert (row["direction"], row["missing_policy"]) == (node["direction"], node["missing_policy"])
            assert (row["weight_status"], row["source_kind"]) == (node["weight_status"], node["source_kind"])


def test_the_packaged_rubric_gives_ten_points_to_every_rubric_leaf():
    dei = packaged("dei")
    points = dei.terms.filter(role="points").group_by("indicator_id").agg(pl.len(), pl.col("max_points").sum())
    assert points.height == 34
    assert set(points.select("len", "max_points").rows()) == {(3, 10.0)}
    outcomes = dei.leaves.filter(pl.col("node_id").str.ends_with("_composite_outcome"))
    assert outcomes["kind"].to_list() == ["rubric"] * 3  # W3: external outcomes, never the sub-index
    assert dei.leaves.filter(rule="fixed")["theta"].unique().to_list() == [100.0]


def test_no_python_module_names_a_node_of_an_index():
    inner = packaged("dei").nodes["node_id"].to_list()[1:]
    for path in sorted(fw.METHODOLOGY.parent.joinpath("methods").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not [node for node in inner if f'"{node}"' in text], path.name
