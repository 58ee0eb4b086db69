"""One frozen settings model; the only place that reads the environment (`DEI_*` variables)."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from dei_pipeline.errors import DeiError

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent
EARLIEST, LATEST = 1990, 2100
OLDEST = 1949  # of the data years that a source may state; before EARLIEST nothing is published
REFERENCE_FILES = ("layouts", "variables.csv", "units.csv", "regions.csv", "corrections.yml")
EXECUTORS = ("in-process", "multiprocess")


def parse_years(text: str) -> tuple[int, ...]:
    """Years of `2018-2020`, `2020` or `2015,2018-2020`, ascending.

    Raises:
        DeiError: the text is not years.
    """
    years: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if not (first.isdigit() and (last or first).isdigit()):
            raise DeiError(f"years: «{text}» is not a list of years", "write 2020, 2018-2020 or 2015,2018-2020")
        begin, end = int(first), int(last or first)
        if not EARLIEST <= begin <= end <= LATEST:
            raise DeiError(f"years: «{part}» is no span of years from {EARLIEST} to {LATEST}", "write 2018-2020")
        years.update(range(begin, end + 1))
    return tuple(sorted(years))


@dataclass(frozen=True)
class Settings:
    """Where things are and how to run.

    Attributes:
        lake: root folder of the data lake (`DEI_LAKE`).
        reference: folder of reviewed files: layouts, regions, corrections (`DEI_REFERENCE`).
        methodology: folder of index frameworks and rubrics (`DEI_METHODOLOGY`).
        sql: folder of the SQL models and checks.
        years: data years to materialise; empty means every year the lake has data for (`DEI_YEARS`).
        executor: `in-process` (default) or `multiprocess` (`DEI_EXECUTOR`).
    """

    lake: Path = PROJECT / "data_lake"
    reference: Path = PACKAGE / "reference"
    methodology: Path = PACKAGE / "methodology"
    sql: Path = PROJECT / "dbt_like_sql"
    years: tuple[int, ...] = ()
    executor: str = "in-process"

    @classmethod
    def load(cls, lake: str | Path | None = None, years: str | None = None, executor: str | None = None) -> "Settings":
        """The settings of this process: arguments win over `DEI_*` variables, those over the defaults."""
        settings = cls()
        chosen_lake = lake or os.environ.get("DEI_LAKE")
        chosen_years = years or os.environ.get("DEI_YEARS")
        chosen_executor = executor or os.environ.get("DEI_EXECUTOR") or settings.executor
        if chosen_executor not in EXECUTORS:
            raise DeiError(f"executor: «{chosen_executor}» is unknown", f"choose one of {', '.join(EXECUTORS)}")
        found = replace(
            settings,
            lake=Path(chosen_lake).resolve() if chosen_lake else settings.lake,
            reference=Path(os.environ.get("DEI_REFERENCE", settings.reference)).resolve(),
            methodology=Path(os.environ.get("DEI_METHODOLOGY", settings.methodology)).resolve(),
            years=parse_years(chosen_years) if chosen_years else (),
            executor=chosen_executor,
        )
        found.check_folders()
        return found

    def check_folders(self) -> None:
        """Nothing, if the folders can be used.

        Raises:
            DeiError: the lake is no folder, or a folder of reviewed files lacks what every command reads.
        """
        if self.lake.exists() and not self.lake.is_dir():
            raise DeiError(f"lake: {self.lake} is not a folder", "name a folder with --lake or DEI_LAKE")
        needs = {"reference": REFERENCE_FILES, "methodology": ("",)}
        for name, files in needs.items():
            for file in files:
                path = getattr(self, name) / file
                if not path.exists():
                    fix = f"put it there, or let DEI_{name.upper()} name another folder (unset: the one that ships)"
                    raise DeiError(f"{name}: {path} does not exist", fix)

    def dagster_home(self) -> Path:
        """Folder of Dagster's own records (runs, events) for this lake; `DAGSTER_HOME` wins."""
        return Path(os.environ.get("DAGSTER_HOME") or self.lake / ".dagster")

    def export(self) -> None:
        """Hands the settings to child processes, as `DEI_*` variables."""
        os.environ["DEI_LAKE"], os.environ["DEI_EXECUTOR"] = str(self.lake), self.executor
        os.environ["DEI_REFERENCE"], os.environ["DEI_METHODOLOGY"] = str(self.reference), str(self.methodology)
        os.environ["DEI_YEARS"] = ",".join(str(year) for year in self.years)
        os.environ["DAGSTER_HOME"] = str(self.dagster_home())
