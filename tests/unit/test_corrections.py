"""Corrections and pooled scores through a whole lake: lineage holds, explanations show what the source really says."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dei_pipeline import render
from dei_pipeline.assets import all_tables
from dei_pipeline.checks.lineage import dangling
from dei_pipeline.contracts import python_contracts
from dei_pipeline.demo import formats, pages
from dei_pipeline.demo.model import build
from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.explain import explain, impact
from dei_pipeline.lake import Lake
from dei_pipeline.methods.corrections import load_corrections
from dei_pipeline.provenance import manifests
from dei_pipeline.publish import BrokenContract, check_contract, make
from dei_pipeline.schemas.rules import bounds
from dei_pipeline.settings import Settings
from dei_pipeline.sources.ingest import receive
from dei_pipeline.sources.layouts import load_layouts, load_variables
from tests.lakes import bare_run, demo_lake

VINTAGES = "core/observation_vintages"
MASK = "[**]"


# -- the file ----------------------------------------------------------------------------------------------------------
ENTRY: dict[str, Any] = {
    "sha256": "0123456789abcdef" * 4,
    "sheet": "1",
    "cell": "B1",
    "expect": "22143.60",
    "set": {"value": 500},
    "reason": "because",
    "date": "2026-11-23",
}


def written(folder: Path, *entries: Any) -> Path:
    path = folder / "corrections.yml"
    path.write_text(yaml.safe_dump(list(entries), allow_unicode=True), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"set": {"value": "abc"}}, "value «abc» is not a number"),
        ({"set": {"value": "nan"}}, "value «nan» is not a number"),
        ({"set": {"year": "next"}}, "year «next» is not a year"),
        ({"set": {"year": 19}}, "year «19» is not a year"),
        ({"set": {"value": 1, "year": 2019}}, "set is"),
        ({"set": "500"}, "set is"),
        ({"date": "2026-13-45"}, "date «2026-13-45» is no date"),
        ({"date": "yesterday"}, "date «yesterday» is no date"),
        ({"sha256": "0123456789ab"}, "sha256 «0123456789ab» is not 64 hexadecimal digits"),
        ({"cell": "1B"}, "cell «1B» is no address"),
        ({"reason": ""}, "lacks reason"),
        ({"reasons": "typo"}, "field «reasons» is unknown"),
    ],
)
def test_a_wrong_entry_is_named_with_the_fix(tmp_path: Path, change, says):
    with pytest.raises(ReferenceFileError) as caught:
        load_corrections(written(tmp_path, ENTRY, {**ENTRY, "cell": "B2", **change}))
    assert str(caught.value).startswith(f"corrections.yml, entry 2: {says}")
    assert caught.value.fix


def test_a_date_that_yaml_itself_chokes_on_is_named_too(tmp_path: Path):
    path = written(tmp_path, ENTRY)
    path.write_text(path.read_text("utf-8").replace("'2026-11-23'", "2026-13-45"), encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=r"entry 1: date «2026-13-45»"):
        load_corrections(path)


@pytest.mark.parametrize("text", ["just a text", "- 1", "a: b", "- {"])
def test_what_is_no_list_of_entries_is_an_error(tmp_path: Path, text):
    path = tmp_path / "corrections.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=r"corrections\.yml"):
        load_corrections(path)


@pytest.mark.parametrize(
    "pair",
    [({"value": 1}, {"value": 2}), ({"value": 1}, {"year": 2019}), ({"year": 2018}, {"year": 2019})],
)
def test_two_entries_for_one_cell_are_an_error(tmp_path: Path, pair):
    one, two = ({**ENTRY, "set": change} for change in pair)
    with pytest.raises(ReferenceFileError, match=r"entry 2: entry 1 corrects .* too"):
        load_corrections(written(tmp_path, one, two))


def test_two_years_for_one_sheet_are_an_error(tmp_path: Path):
    one, two = {**ENTRY, "set": {"year": 2018}}, {**ENTRY, "set": {"year": 2019}, "cell": "B2"}
    with pytest.raises(ReferenceFileError, match="entry 2: entry 1 corrects"):
        load_corrections(written(tmp_path, one, two))


def test_what_the_source_says_is_compared_as_it_is_written(tmp_path: Path):
    path = written(tmp_path, ENTRY)
    path.write_text(path.read_text("utf-8").replace("'22143.60'", "22143.60"), encoding="utf-8")
    (found,) = load_corrections(path)
    assert (found.expect, found.value, found.date) == ("22143.60", 500.0, "2026-11-23")


# -- reviewed files beside it ------------------------------------------------------------------------------------------
def test_bounds_hold_variables_and_checkpoints():
    limits = {name: (low, high) for name, low, high in bounds(Settings()).iter_rows()}
    assert limits["city_cloud_platform.1"] == (0.0, 4.0)
    assert limits["published_dei_score"] == (0.0, 100.0)
    assert limits["gdp"] == (0.0, None)


def test_a_bound_that_is_no_number_is_named(tmp_path: Path):
    reference = Path(shutil.copytree(Settings.reference, tmp_path / "reference"))
    path = reference / "variables.csv"
    path.write_text(path.read_text("utf-8").replace("person_years,0,", "person_years,none,", 1), encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=r"variables\.csv:2: minimum «none» is not a number"):
        bounds(replace(Settings(), reference=reference))
    rubrics = Path(shutil.copytree(Settings.methodology, tmp_path / "methodology")) / "rubrics"
    path = next(rubrics.glob("*.csv"))
    path.write_text(path.read_text("utf-8").replace(",4,web", ",four,web", 1), encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=r"line 2 \(city_cloud_platform\.1\): points are 'four'"):
        bounds(replace(Settings(), methodology=tmp_path / "methodology"))


def test_what_a_zero_is_and_who_compiled_a_page_are_checked(tmp_path: Path):
    reference = Path(shutil.copytree(Settings.reference, tmp_path / "reference"))
    assert {v.unit for v in load_variables().values() if v.zero == "missing"} == {
        "index_prev_year_100",
        "ratio",
        "count",
    }
    path = tmp_path / "variables.csv"
    text = (reference / path.name).read_text("utf-8")
    path.write_text(text.replace(",missing\n", ",perhaps\n", 1), encoding="utf-8")
    with pytest.raises(ReferenceFileError, match="zero «perhaps» is not one of"):
        load_variables(path)
    compiled = {
        layout.table for layout in load_layouts(Settings.reference / "layouts") if layout.source_class != "official"
    }
    assert {"city_panel__gdp", "provincial_annual__wide"} <= compiled
    assert not {name for name in compiled if name.startswith(("city_yearbook", "statistical_yearbook"))}
    page = Settings.reference / "layouts" / "city_panel__gdp.yaml"
    (reference / "layouts" / page.name).write_text(
        page.read_text("utf-8").replace("class: compiled", "class: hearsay"), "utf-8"
    )
    with pytest.raises(ReferenceFileError, match=r"city_panel__gdp\.yaml: source_class «hearsay» is not one of"):
        load_layouts(reference / "layouts")


# -- a lake ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A demo lake with a mask corrected to 500, a year corrected, and a second assessor of every city."""
    folder = tmp_path_factory.mktemp("corrected")
    plain = demo_lake()
    shutil.copytree(plain.lake, folder / "lake")
    reference = Path(shutil.copytree(plain.reference, folder / "reference"))
    settings = replace(plain, lake=folder / "lake", reference=reference)
    lake = Lake(settings.lake)
    masked = lake.scan("staging/page_cells").filter(pl.col("text") == MASK).collect().row(0, named=True)
    proof = lake.read("staging/city_yearbook__population").filter(year=2019).sort("source_cell").row(0, named=True)
    known = {prefix: m["sha256"] for prefix, m in manifests(lake).items()}
    entries = [
        {**ENTRY, "sha256": masked["sha256"], "sheet": masked["sheet"], "cell": masked["cell"], "expect": MASK},
        {
            **ENTRY,
            "sha256": known[proof["source_cell"][:12]],
            "sheet": proof["source_cell"][13:].rpartition("!")[0],
            "cell": proof["source_cell"].rpartition("!")[2],
            "expect": proof["raw_text"],
            "set": {"year": 2019},
        },
    ]
    written(reference, *entries)
    demo = build(12, (2019, 2020), 0)
    head, table = pages.checkpoints(demo, 2020)
    other = table.with_columns(value=pl.lit(0.0), evaluator=pl.lit("另一人"))
    path = folder / "打分表_2020_另一人.xlsx"
    path.write_bytes(formats.xlsx({"打分表": formats.Page([*head, *(list(row) for row in other.iter_rows())])}))
    second, _ = receive(lake, path, path.name, {"edition": "2021", "source_id": "assessment"}, synthetic=True)
    bare_run(settings)
    return {"settings": settings, "lake": lake, "masked": masked, "second": second, "known": known}


def observations_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(document.get("observations", ()))
    for term in document["terms"]:
        found += observations_of(term)
    return found


def test_no_edge_leads_nowhere(story):
    assert dangling(story["lake"], all_tables(story["settings"])) == []


def test_a_corrected_mask_leads_to_the_correction_and_to_the_cell_as_it_is(story):
    lake, cell = story["lake"], story["masked"]["source_cell"]
    (row,) = lake.read(VINTAGES).filter(source_cell=cell).to_dicts()
    assert (row["value"], row["status"], row["unit"]) == (0.05, "corrected", "10k_households")  # 500 户
    edges = lake.scan(VINTAGES, side="lineage").filter(pl.col("parent_key") == cell).collect()
    assert sorted(edges.select("parent_table", "role", "coefficient").rows()) == [
        ("raw/cells", "replaced", 0.0),
        ("reference/corrections.yml", "correction", 1e-4),
    ]


def test_a_corrected_year_keeps_the_cell_and_names_the_correction(story):
    edges = story["lake"].scan(VINTAGES, side="lineage").filter(pl.col("role") == "year").collect()
    assert edges["parent_table"].unique().to_list() == ["reference/corrections.yml"]
    assert edges["coefficient"].null_count() == edges.height == edges["child_key"].n_unique() > 12
    children = (
        story["lake"].scan(VINTAGES, side="lineage").join(edges.lazy().select("child_key"), on="child_key", how="semi")
    )
    values = children.filter(pl.col("role") == "value").collect()
    assert values.height == edges.height
    assert values["parent_table"].unique().to_list() == ["staging/city_yearbook__population"]


def test_an_explanation_shows_what_the_source_says_and_what_was_corrected(story):
    masked = story["masked"]
    (row,) = story["lake"].read(VINTAGES).filter(source_cell=masked["source_cell"]).to_dicts()
    document = explain(story["lake"], "dei", row["region_code"], row["year"])
    found = {o["variable"]: o for o in observations_of(document) if o["source"] and "correction" in o["source"]}
    source = found["mobile_internet_subscribers"]["source"]
    assert source["sha256"] == masked["sha256"]
    assert (source["sheet"], source["cell"], source["raw_text"], source["unit"]) == (
        masked["sheet"],
        masked["cell"],
        MASK,
        "户",
    )
    assert source["correction"] == {"value": 500.0, "reason": "because", "date": "2026-11-23"}
    assert found["resident_households"]["source"]["correction"]["year"] == 2019
    text = render.as_text(document)
    assert f"«{MASK}» corrected to 500: because (2026-11-23)" in text
    assert "corrected to year 2019: because" in text
    assert "corrected to 500: because" in render.as_html(document)


def test_a_corrected_cell_still_reaches_what_it_feeds(story):
    masked = story["masked"]
    found = impact(story["lake"], masked["sha256"], f"{masked['sheet']}!{masked['cell']}")
    assert found.cells == 1
    assert {VINTAGES, "core/observations", "index/dei_scores", "release/dei_ranking"} <= set(found.reached)


def test_two_assessors_are_pooled_and_both_are_shown(story):
    lake = story["lake"]
    first = Lake(demo_lake().lake).read(VINTAGES).filter(status="expert", year=2020)
    pooled = lake.read(VINTAGES).filter(status="expert", year=2020)
    both = first.join(pooled, on=["region_code", "variable"], suffix="_pooled")
    assert both.height == first.height == pooled.height > 100
    assert both.filter(pl.col("value_pooled") != pl.col("value") / 2).is_empty()
    assert lake.state(VINTAGES)["parts"][""]["notes"]["pooled"] == first.height
    seen = [o for o in observations_of(explain(lake, "dei", "310000", 2020)) if o["status"] == "expert"]
    assert seen
    for observation in seen:
        assert observation["source"] == observation["sources"][0]
        assert len({source["sha256"] for source in observation["sources"]}) == 2
        assert [s["raw_text"] for s in observation["sources"] if s["sha256"] == story["second"]] == ["0"]
        shares = [float(s["raw_text"]) / 2 for s in observation["sources"]]
        assert sum(shares) == pytest.approx(observation["value"])
    alone = [o for o in observations_of(explain(lake, "dei", "310000", 2019)) if o["status"] == "expert"]
    assert alone
    assert not any("sources" in o for o in alone)


# -- points out of bounds ----------------------------------------------------------------------------------------------
def test_points_beyond_full_marks_break_the_contract_at_their_cell():
    settings = demo_lake()
    lake = Lake(settings.lake)
    good = lake.read(VINTAGES)
    row = good.filter(variable="city_cloud_platform.1", year=2020, region_code="310000").row(0, named=True)
    place = manifests(lake)[row["source_cell"][:12]]["file"]
    this = pl.col("source_cell") == row["source_cell"]
    for points in (99.0, -1.0):
        bad = good.with_columns(value=pl.when(this).then(points).otherwise("value"))
        with pytest.raises(BrokenContract) as caught:
            check_contract(python_contracts()[VINTAGES], bad, lake, settings)
        sheet, _, cell = row["source_cell"][13:].rpartition("!")
        assert f"value_within_bounds found {points}" in str(caught.value)
        assert str(caught.value).endswith(f"{place}, sheet {sheet}, cell {cell}")
    check_contract(python_contracts()[VINTAGES], good, lake, settings)


def test_the_demo_keeps_its_superseded_edition_and_official_values_win():
    lake = Lake(demo_lake().lake)
    rows = lake.read(VINTAGES).filter(variable="gdp", year=2019)
    assert set(rows["source_class"].to_list()) == {"official", "compiled"}
    won = lake.read("core/observations").filter(variable="gdp", year=2019)
    classes = won.join(rows, on=["region_code", "year", "variable", "edition"])["source_class"]
    assert set(classes.to_list()) == {"official"}
    spec = next(spec for spec in all_tables(demo_lake()) if spec.key == "core/observations")
    made = make(spec, lake, demo_lake(), None)
    assert made.parts[""][0].frame.equals(lake.read("core/observations"))
