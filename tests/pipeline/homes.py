"""Lakes under test: a demo lake to copy, edited pages to put into it, and stamps that tell which files were touched."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from click.testing import CliRunner, Result

from dei_pipeline.assets import all_tables
from dei_pipeline.cli import main
from dei_pipeline.demo import formats, pages
from dei_pipeline.demo.model import Demo, build
from dei_pipeline.lake import Lake
from dei_pipeline.runs import Report
from dei_pipeline.runs import run as bring_up_to_date
from dei_pipeline.settings import PROJECT, Settings
from dei_pipeline.tables import TableSpec

REGIONS, YEARS = 12, (2019, 2020)
POPULATION_2019 = "城市统计年鉴2020/城市统计年鉴2020-2-1 人口和户数.xlsx"
POPULATION_2020 = "城市统计年鉴2021/城市统计年鉴2021-2-1 人口和户数.xlsx"
INDUSTRY_2020 = "城市统计年鉴2021/城市统计年鉴2021-3-5 生产总值.csv"
Rows = list[list[object]]


@dataclass(frozen=True)
class Stamp:
    """What tells a file that was left alone from one that was written again, and from one with other content."""

    inode: int
    modified: int
    sha256: str


@dataclass(frozen=True)
class Home:
    """A lake with the reviewed files it is run with, and the ways to run it."""

    root: Path
    reference: Path = Settings.reference

    @property
    def settings(self) -> Settings:
        return replace(Settings(), lake=self.root, reference=self.reference)

    @property
    def lake(self) -> Lake:
        return Lake(self.root)

    @property
    def environment(self) -> dict[str, str]:
        return {"DEI_LAKE": str(self.root), "DEI_REFERENCE": str(self.reference)}

    def specs(self) -> dict[str, TableSpec]:
        return {spec.key: spec for spec in all_tables(self.settings)}

    def run(self, *select: str, years: Sequence[int] = (), force: bool = False) -> Report:
        """A run in this process."""
        return bring_up_to_date(replace(self.settings, years=tuple(years)), select, force)

    def invoke(self, *arguments: str) -> Result:
        """A command in this process."""
        return CliRunner().invoke(main, list(arguments), env=self.environment)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command in a process of its own, as a user starts it."""
        return subprocess.Popen(
            [sys.executable, "-m", "dei_pipeline.cli", *arguments],
            cwd=PROJECT,
            env={**os.environ, **self.environment, "PYTHONPATH": str(PROJECT), "PYTHONUTF8": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def dei(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own, to its end."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def stamps(self, *tables: str) -> dict[str, Stamp]:
        """Every Parquet file of the lake (side outputs too), or of those tables, by its path in the lake."""
        found = {}
        for path in sorted(self.root.rglob("*.parquet")):
            name = str(path.relative_to(self.root))
            table = "/".join(name.removeprefix("lineage/").removeprefix("quarantine/").split("/")[:2])
            if not tables or table in tables:
                status = path.stat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[name] = Stamp(status.st_ino, status.st_mtime_ns, digest)
        return found

    def read(self, table: str, side: str | None = None) -> pl.DataFrame:
        return self.lake.scan(table, side=side).collect()

    def aside(self, table: str) -> pl.DataFrame:
        """The quarantine of a table; no rows if nothing was set aside."""
        if not self.lake.part_files(table, "quarantine"):
            return pl.DataFrame(schema={"reason": pl.String, "raw_text": pl.String, "source_cell": pl.String})
        return self.read(table, "quarantine")

    def copy(self, to: Path, reference: Path | None = None) -> "Home":
        """Another lake with the same files, times of change included."""
        shutil.copytree(self.root, to, ignore=shutil.ignore_patterns(".dagster", ".lock"))
        return Home(to, reference or self.reference)


def made(report: Report) -> set[str]:
    """The tables that a run wrote."""
    return {key for key, what in report.outcomes.items() if not what.startswith(("skipped", "unchanged"))}


def skipped(report: Report) -> dict[str, str]:
    """The tables that a run skipped, with the reason."""
    found = {key: what for key, what in report.outcomes.items() if what.startswith("skipped")}
    return {key: what.removeprefix("skipped: ") for key, what in found.items()}


def below(specs: dict[str, TableSpec], *tables: str) -> set[str]:
    """The tables made from some tables, directly or not."""
    found = set(tables)
    for key, spec in specs.items():  # parents come first
        if found.intersection(spec.parents):
            found.add(key)
    return found - set(tables)


# -- pages that were edited --------------------------------------------------------------------------------------------
@functools.cache
def demo() -> Demo:
    return build(REGIONS, YEARS, 0)


def population(year: int, edit: Callable[[Rows], None] = lambda _: None) -> bytes:
    """The demo's page of population and households, after an edit of its rows; without one, the very same bytes."""
    page = pages.population(demo(), year, pages.planted(demo()))
    rows: Rows = [list(row) for row in page.rows]
    edit(rows)
    return formats.xlsx({"2-1": formats.Page(rows, page.merges)})


def row_of(rows: Rows, name: str) -> int:
    """Index of the row of a region, its name as printed without blanks."""
    return next(i for i, row in enumerate(rows) if str(row[0] or "").translate({0x20: None, 0x3000: None}) == name)


def put(folder: Path, name: str, content: bytes) -> Path:
    """A file written under a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def replace_source(home: Home, folder: Path, name: str, content: bytes, edition: str) -> str:
    """Withdraws a file of that name and ingests another content under it, by the commands; its sha256."""
    gone = home.invoke("sources", "withdraw", name)
    assert gone.exit_code == 0, gone.output
    put(folder, name, content)
    taken = home.invoke("ingest", str(folder), "--edition", edition, "--allow-mixed")
    assert taken.exit_code == 0, taken.output
    assert "taken" in taken.stdout
    return hashlib.sha256(content).hexdigest()


def industry(year: int, edit: Callable[[Rows], None] = lambda _: None) -> bytes:
    """The demo's page of GDP and information industries of an even year (万元, CSV in GB 18030), edited likewise."""
    page = pages.industry(demo(), year, pages.planted(demo()), in_wan=True)
    rows: Rows = [list(row) for row in page.rows]
    edit(rows)
    return formats.csv_gb18030(formats.Page(rows))
