"""Small demo lakes for tests and benchmarks, made without Dagster: the same functions in the same order, bare."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dei_pipeline.assets import all_tables
from dei_pipeline.demo.generate import generate
from dei_pipeline.errors import NothingToDo
from dei_pipeline.lake import WHOLE, Lake
from dei_pipeline.provenance import Table
from dei_pipeline.publish import make
from dei_pipeline.runs import data_years
from dei_pipeline.settings import Settings
from dei_pipeline.sources.ingest import receive, register_published
from dei_pipeline.tables import INPUT_LAYERS, TableSpec, basis, due_parts, missing_source

SAID = ("source_id", "producer", "title", "edition", "licence", "year")


def settings_of(root: Path) -> Settings:
    """Settings over the lake `root`, everything else as it ships."""
    return replace(Settings(), lake=root.resolve())


def receive_demo(root: Path, regions: int, years: Sequence[int]) -> int:
    """What `dei demo` does: synthetic files into `raw`; returns how many."""
    with tempfile.TemporaryDirectory() as folder:
        files = generate(Path(folder), regions, years)
        for file in files:
            said = {name: getattr(file, name) for name in SAID}
            name = str(file.path.relative_to(folder))
            receive(Lake(root), file.path, name, said, synthetic=True, kind=file.kind)
    return len(files)


def bare_run(settings: Settings, watch: Callable[[TableSpec], TableSpec] = lambda spec: spec) -> dict[str, str]:
    """Makes and writes every table in order, without Dagster; returns what became of each (`made`, or why not).

    Args:
        settings: names the lake.
        watch: may wrap a declaration before it is made, to look at what its function reads.
    """
    lake = Lake(settings.lake)
    register_published(lake, settings.reference)
    became = {}
    years: list[int] = []
    for spec in all_tables(settings):
        if spec.layer not in INPUT_LAYERS and not years:
            years = data_years(lake, settings)
        parts = due_parts(lake, spec, settings, years)
        reason = missing_source(lake, spec)
        try:
            if reason:
                raise NothingToDo(reason)
            publication = make(watch(spec), lake, settings, parts if spec.split else None)
            lake.commit(spec.key, publication.parts, spec.split)
            became[spec.key] = "made"
        except NothingToDo as nothing:
            became[spec.key] = str(nothing)
            skip = {"version": "", "rows": 0, "edges": 0, "quarantined": 0, "notes": {}, "skipped": str(nothing)}
            lake.commit(
                spec.key,
                {p: (Table(_nothing()), {**skip, "basis": basis(lake, spec, settings, p)}) for p in parts or [WHOLE]},
                spec.split,
            )
    return became


def _nothing():
    import polars as pl

    return pl.DataFrame()


@functools.cache
def demo_lake(regions: int = 12, years: tuple[int, ...] = (2019, 2020)) -> Settings:
    """Settings over a finished demo lake, made once a process and removed at its end; tests must not write to it."""
    root = Path(tempfile.mkdtemp(prefix="dei_demo_"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    settings = settings_of(root / "lake")
    receive_demo(settings.lake, regions, years)
    bare_run(settings)
    return settings
