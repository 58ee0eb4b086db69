"""The reviewed files load, agree with one another, and say why; the pins are pins."""

import datetime
import re
import tomllib
from pathlib import Path

import polars as pl
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from dei_pipeline.checks.sentences import load_sentences
from dei_pipeline.methods import framework
from dei_pipeline.methods.observations import load_corrections
from dei_pipeline.methods.regions import Regions
from dei_pipeline.settings import PROJECT, Settings
from dei_pipeline.sources.layouts import load_layouts, load_reference, load_units, load_variables, unit_key

SETTINGS = Settings()
REFERENCE = SETTINGS.reference
LAYOUT_FILES = sorted(path for path in (REFERENCE / "layouts").glob("*.yaml") if not path.name.startswith("_"))
# Two kinds of export of the same yearly series, by different producers: one prefix.
SHARED_PREFIX = {"nbs_provincial_annual": "provincial_annual", "provincial_wide": "provincial_annual"}
EVERY_LAYOUT = pytest.mark.parametrize("path", LAYOUT_FILES, ids=lambda path: path.stem)


# -- reference ---------------------------------------------------------------------------------------------------------
def test_every_reference_file_loads_and_is_utf8_without_duplicates():
    for path in sorted(REFERENCE.rglob("*.csv")):
        table = pl.read_csv(path, infer_schema=False)
        assert table.height > 0, path.name
        assert not table.is_duplicated().any(), path.name
    for path in sorted(REFERENCE.rglob("*.y*ml")):
        yaml.safe_load(path.read_text(encoding="utf-8"))


def test_units_variables_regions_and_corrections_load():
    units, variables = load_units(REFERENCE / "units.csv"), load_variables(REFERENCE / "variables.csv")
    canonical = {unit.canonical for unit in units.values()}
    assert {name: v.unit for name, v in variables.items() if v.unit not in canonical} == {}
    assert load_reference(REFERENCE).variables.keys() == variables.keys()
    assert Regions.load(REFERENCE).city_lists.filter(list_id="dei_2021").height == 242
    assert all(correction.reason for correction in load_corrections(REFERENCE / "corrections.yml"))


def test_a_variable_has_both_names_and_a_range_that_is_one():
    for variable in load_variables(REFERENCE / "variables.csv").values():
        assert re.search(r"[一-鿿]", variable.name_zh), variable.variable
        assert not re.search(r"[一-鿿]", variable.name_en), variable.variable
        assert None in (variable.minimum, variable.maximum) or variable.minimum < variable.maximum, variable.variable


def test_what_a_framework_derives_from_is_known():
    """Every variable of an indicator is a variable of the lake or a checkpoint of a rubric."""
    known = load_variables(REFERENCE / "variables.csv")
    for tree in framework.load_all(SETTINGS.methodology):
        terms = tree.terms.filter(pl.col("role") != "points")["variable"].to_list()
        assert sorted({name for name in terms if name not in known}) == []


# -- layouts -----------------------------------------------------------------------------------------------------------
@EVERY_LAYOUT
def test_a_layout_states_its_coverage_floor_with_reason_and_date(path):
    floor = yaml.safe_load(path.read_text(encoding="utf-8"))["coverage_floor"]
    assert set(floor) == {"value", "reason", "date"}
    assert 0 < floor["value"] <= 1
    assert len(str(floor["reason"]).split()) >= 3
    assert isinstance(floor["date"], datetime.date)


@EVERY_LAYOUT
def test_a_layout_is_named_after_its_table_in_both_languages(path):
    layout = next(found for found in load_layouts(REFERENCE / "layouts") if found.table == path.stem)
    assert layout.table.split("__")[0] == SHARED_PREFIX.get(layout.source_id, layout.source_id)
    assert re.search(r"[一-鿿]", layout.publication_zh)
    assert not re.search(r"[一-鿿]", layout.publication_en)
    columns = path.with_suffix(".csv")
    assert columns.is_file() or layout.row_variables_as_printed or path.stem == "region_indicator__page"


def test_a_layout_names_variables_of_the_lake_and_units_that_convert():
    known, units = load_variables(REFERENCE / "variables.csv"), load_units(REFERENCE / "units.csv")
    canonical = {unit.canonical for unit in units.values()}
    for layout in load_layouts(REFERENCE / "layouts"):
        for column in () if layout.row_variables_as_printed else layout.columns:
            assert column.variable in known, f"{layout.table}: {column.variable}"
            if column.unit:
                assert unit_key(column.unit) in units or column.unit in canonical, f"{layout.table}: {column.unit}"


def test_the_generic_layout_yields_to_the_specific_ones():
    layouts = load_layouts(REFERENCE / "layouts")
    generic = next(layout for layout in layouts if layout.table == "region_indicator__page")
    assert generic.penalty > max(layout.penalty for layout in layouts if layout is not generic)


# -- sentences ---------------------------------------------------------------------------------------------------------
def test_every_tolerance_has_a_reason_and_a_date():
    for sentence in load_sentences(SETTINGS):
        assert re.search(r"\(\d{4}-\d\d-\d\d\)\.$", sentence.tolerance), sentence.name
        assert len(sentence.tolerance.split()) >= 5, sentence.name
        assert sentence.description.endswith("."), sentence.name


# -- pins --------------------------------------------------------------------------------------------------------------
PINS = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
PROJECT_FILE = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def pinned(text: str) -> dict[str, list[tuple[str, int]]]:
    """Version and number of hashes of each pin, by name."""
    found: dict[str, list[tuple[str, int]]] = {}
    for block in re.split(r"(?<!\\)\n", text):
        if not block.strip() or block.startswith("#"):
            continue
        first, *hashes = [line.strip().rstrip("\\").strip() for line in block.splitlines()]
        name, version = re.fullmatch(r"([A-Za-z0-9._-]+)==([^ ;]+)(?: ;.*)?", first).groups()
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), first
        found.setdefault(canonicalize_name(name), []).append((version, len(hashes)))
    return found


def test_everything_is_pinned_with_hashes():
    pins = pinned(PINS)
    assert len(pins) > 60
    assert all(count >= 1 for versions in pins.values() for _, count in versions)


def test_the_pins_hold_no_address():
    without_hashes = re.sub(r"--hash=\S+", "", PINS)
    assert not re.search(r"://|index-url|find-links|(?m:^-)| @ |\bgit\+|\d+\.\d+\.\d+\.\d+/|localhost", without_hashes)


@pytest.mark.parametrize("extra", [None, "test"])
def test_every_dependency_is_pinned_within_its_bounds(extra):
    project = PROJECT_FILE["project"]
    text = PINS if extra else PINS.split("# --- test extras")[0]
    wanted = list(project["optional-dependencies"][extra] if extra else project["dependencies"])
    pins = pinned(text)
    for requirement in map(Requirement, wanted + PROJECT_FILE["build-system"]["requires"]):
        versions = pins[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(Version(version)) for version, _ in versions), requirement


def test_what_the_make_file_installs_is_hashed_and_without_further_dependencies():
    installs = [line for line in Path(PROJECT / "Makefile").read_text("utf-8").splitlines() if "install" in line]
    pips = [line for line in installs if "$(PIP) install" in line]
    assert len(pips) >= 3
    assert all("--no-deps" in line and ("--require-hashes" in line or "--no-build-isolation" in line) for line in pips)
