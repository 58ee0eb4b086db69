"""SQL models over rows written in a test."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from dei_pipeline.assets import all_tables
from dei_pipeline.provenance import Table
from dei_pipeline.settings import Settings
from dei_pipeline.sql_models import FOLDERS, run_model, select

SETTINGS = Settings()
SPECS = {spec.key: spec for spec in all_tables(SETTINGS)}
GRAINS = {key: spec.contract.grain for key, spec in SPECS.items()}

Rows = Sequence[Mapping[str, object]]


def sql_of(key: str) -> str:
    """The SELECT of a model."""
    layer, name = key.split("/")
    folder = next(folder for folder, of in FOLDERS.items() if of == layer)
    return (SETTINGS.sql / folder / f"{name}.sql").read_text(encoding="utf-8")


def frames(**tables: Rows) -> Callable[[str], pl.DataFrame]:
    """`read` over in-memory tables (`layer__table=[row, …]`); columns left out are empty."""

    def read(key: str) -> pl.DataFrame:
        return pl.DataFrame(tables.get(key.replace("/", "__"), []), schema=SPECS[key].contract.schema)

    return read


def run(key: str, **tables: Rows) -> pl.DataFrame:
    """What a model makes of in-memory tables."""
    return SPECS[key].contract.conform(select(sql_of(key), frames(**tables)))


class Made:
    """In-memory tables and the models made of them, each with its edges; stands in for the inputs of a model."""

    def __init__(self, read: Callable[[str], pl.DataFrame]) -> None:
        self.tables: dict[str, Table] = {}
        self.given = read

    def read(self, key: str) -> pl.DataFrame:
        """A table that was made or given."""
        return self.tables[key].frame if key in self.tables else self.given(key)

    def make(self, key: str) -> Table:
        """Runs a model as the pipeline does, and keeps it for those that read it."""
        self.tables[key] = run_model(self, sql_of(key), SPECS[key].contract, GRAINS)
        return self.tables[key]
