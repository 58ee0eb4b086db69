"""What a table declares to read is what its function reads, and its lineage leads where it read or further back."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dei_pipeline.assets import all_tables, staging
from dei_pipeline.errors import LakeError
from dei_pipeline.lake import Lake
from dei_pipeline.settings import Settings
from dei_pipeline.tables import Inputs, TableSpec
from tests.lakes import bare_run, receive_demo, settings_of

TABLES = {spec.key: spec for spec in all_tables(Settings())}
OUTSIDE = ("reference/", "methodology/")


class Watched:
    """A bare run with what each table's function read from the lake, and what its edges lead to."""

    def __init__(self, settings: Settings) -> None:
        self.reads: dict[str, set[str]] = {}
        self.lake = Lake(settings.lake)
        self.running: str | None = None
        with pytest.MonkeyPatch.context() as patch:
            scan = Lake.scan

            def watched_scan(lake, key, parts=None, side=None):
                if self.running:
                    self.reads[self.running].add(f"{side}/{key}" if side else key)
                return scan(lake, key, parts, side)

            patch.setattr(Lake, "scan", watched_scan)
            became = bare_run(settings, self.watch)
        self.made = sorted(key for key, what in became.items() if what == "made")

    def watch(self, spec: TableSpec) -> TableSpec:
        def function(inputs: Inputs):
            staging._LAST.clear()  # two tables share readings; here each is to read for itself
            self.running = spec.key
            self.reads[spec.key] = set()
            try:
                return spec.function(inputs)
            finally:
                self.running = None

        return replace(spec, function=function)

    def edges(self, key: str) -> set[str]:
        records = self.lake.state(key)["parts"].values()
        return {p for record in records for p in record["parents"] if not p.startswith(OUTSIDE)}


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(Path(folder) / "lake")
        receive_demo(settings.lake, 12, [2019, 2020])
        yield Watched(settings)


def ancestors(key: str) -> set[str]:
    found: set[str] = set()
    waiting = [key]
    while waiting:
        for parent in TABLES[waiting.pop()].parents:
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def test_the_demo_makes_tables_of_every_layer(watched):
    assert {key.split("/")[0] for key in watched.made} == {"raw", "staging", "core", "mart", "index", "release"}
    assert len(watched.made) >= 40


def test_nothing_is_read_without_being_declared(watched):
    beyond = {key: reads - set(TABLES[key].parents) for key, reads in watched.reads.items()}
    assert {key: found for key, found in beyond.items() if found} == {}


def test_every_declared_parent_is_read_or_at_least_made_of(watched):
    """A framework is read as a file; its rows are parents all the same, and the edges say so."""
    idle = {}
    for key in watched.made:
        held = {parent for parent in TABLES[key].parents if watched.lake.exists(parent)}
        unused = held - watched.reads[key] - watched.edges(key)
        if unused:
            idle[key] = unused
    assert idle == {}


def test_edges_lead_to_the_table_itself_a_parent_or_further_back(watched):
    beyond = {key: watched.edges(key) - ancestors(key) - {key} for key in watched.made}
    assert {key: found for key, found in beyond.items() if found} == {}


def test_a_table_without_lineage_is_a_received_file_or_a_cell_of_one(watched):
    bare = {key for key in watched.made if TABLES[key].contract.lineage == "source"}
    assert bare == {"raw/manifests", "raw/cells", "staging/pages", "staging/page_cells", "staging/document_texts"}
    assert all(sum(r["edges"] for r in watched.lake.state(key)["parts"].values()) for key in set(watched.made) - bare)


def test_an_undeclared_read_is_refused_with_the_fix(watched):
    spec = TABLES["index/dei_weights"]
    inputs = Inputs(watched.lake, Settings(), spec, None)
    for read in (inputs.read, inputs.scan, lambda key: inputs.existing([key])):
        with pytest.raises(LakeError, match="without declaring it; add it to `needs` or `uses`"):
            read("core/observations")
