"""Contracts of tables: one YAML form for Python tables (`schemas/*.yml`) and SQL models (`_<folder>__models.yml`).

A contract names the grain (the key), every column with type, unit and description, and the checks. The pandera schema
that enforces it is built from it (`pandera_schema`), so that there is one declaration each.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml

from dei_pipeline.errors import ReferenceFileError

if TYPE_CHECKING:
    import pandera.polars as pa

    from dei_pipeline.settings import Settings

DATA_TYPES: dict[str, pl.DataType] = {
    "String": pl.String(),
    "Int32": pl.Int32(),
    "Int64": pl.Int64(),
    "Float64": pl.Float64(),
    "Boolean": pl.Boolean(),
    "Date": pl.Date(),
}


@dataclass(frozen=True)
class Column:
    """One column: type, unit, what it says, and what its values must satisfy."""

    name: str
    data_type: str
    description: str
    unit: str = ""
    nullable: bool = False
    checks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MadeOf:
    """One way in which a row of a SQL model leads to rows of a parent.

    Attributes:
        by: columns with the same values in both; `ours=theirs` where the names differ; all rows of the parent for none.
        where: which rows of the parent, a condition in SQL on its columns; all for none.
        role: what the parent is to the row; the parent's own column `role` if it has one and none is given.
        coefficient: where the model is linear in the parent: a number, a column of the parent, or `1/column` of the
            model itself (a mean over `column` rows).
        some: whether a row may have no such parent (a count of 0, searched and not found).
    """

    by: tuple[str, ...]
    where: str = ""
    role: str = ""
    coefficient: str | float | None = None
    some: bool = False


def _made_of(said: Any) -> tuple[MadeOf, ...]:
    """The ways to one parent: its columns alone, one way, or a list of ways, each with a role of its own."""
    ways = said if isinstance(said, list) and isinstance(said[0], dict) else [said]
    return tuple(
        MadeOf(**way | {"by": tuple(way["by"])}) if isinstance(way, dict) else MadeOf(tuple(way)) for way in ways
    )


@dataclass(frozen=True)
class Contract:
    """What a table promises.

    Attributes:
        key: `layer/table`.
        description: what one row is.
        grain: key columns, in the order used for row keys.
        columns: every column; no others are allowed.
        made_of: parent table -> the ways that lead from a row to its rows (SQL models).
        panel: parents read over all years although the table is made year by year.
        checks: named table-wide checks of `schemas/rules.py`.
        lineage: `edges`; or `source` where a row is itself a received file or one of its cells.
    """

    key: str
    description: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    made_of: Mapping[str, tuple[MadeOf, ...]] = field(default_factory=dict)
    panel: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    lineage: str = "edges"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Polars type of each column."""
        return {column.name: DATA_TYPES[column.data_type] for column in self.columns}

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the contract's columns in its order and types, sorted by the grain (no rows change)."""
        missing = [name for name in self.schema if name not in frame.columns]
        if missing:
            return frame  # the contract check names them
        return frame.select(pl.col(name).cast(kind) for name, kind in self.schema.items()).sort(self.grain)


def read_yaml(path: Path) -> Any:
    """Content of a YAML file, by the fast safe loader.

    Raises:
        ReferenceFileError: the file is not YAML; names line and column.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except yaml.YAMLError as error:
        raise ReferenceFileError(f"{path.name}: not valid YAML ({error})".replace("\n", " ")) from error


def load_contracts(path: Path, layer: str) -> dict[str, Contract]:
    """Contracts of one YAML file by table key.

    Raises:
        ReferenceFileError: a field is missing or a type unknown; names file, table and column.
    """
    found = {}
    for entry in read_yaml(path):
        where = f"{path.name}: {entry.get('name', '?')}"
        try:
            columns = tuple(Column(**column) for column in entry["columns"])
            contract = Contract(
                key=f"{layer}/{entry['name']}",
                description=entry["description"].strip(),
                grain=tuple(entry["grain"]),
                columns=columns,
                made_of={parent.replace(".", "/"): _made_of(said) for parent, said in entry.get("made_of", {}).items()},
                panel=tuple(parent.replace(".", "/") for parent in entry.get("panel", ())),
                checks=tuple(entry.get("checks", ())),
                lineage=entry.get("lineage", "edges"),
            )
        except (KeyError, TypeError) as error:
            raise ReferenceFileError(f"{where}: {error}", "give name, description, grain and columns") from error
        unknown = [c.name for c in columns if c.data_type not in DATA_TYPES]
        strangers = [name for name in contract.grain if name not in contract.schema] if not unknown else []
        if unknown or strangers:
            raise ReferenceFileError(
                f"{where}: column {(unknown + strangers)[0]}",
                f"types: {', '.join(DATA_TYPES)}; the grain names columns",
            )
        found[contract.key] = contract
    return found


@functools.cache
def python_contracts() -> dict[str, Contract]:
    """Contracts of the tables that Python methods make, by key."""
    folder = Path(__file__).parent / "schemas"
    found: dict[str, Contract] = {}
    for path in sorted(folder.glob("*.yml")):
        found.update(load_contracts(path, layer=path.stem))
    return found


def pandera_schema(contract: Contract, settings: "Settings") -> "pa.DataFrameSchema":
    """The strict pandera schema of a contract: exact columns and types, unique grain, finite floats, not empty.

    Args:
        contract: the contract.
        settings: where the reviewed files are that table-wide checks may read (bounds of variables and checkpoints).
    """
    import pandera.polars as pa

    from dei_pipeline.schemas import rules

    columns = {
        column.name: pa.Column(
            DATA_TYPES[column.data_type],
            checks=[rules.column_check(name, argument) for name, argument in column.checks.items()],
            nullable=column.nullable,
            description=column.description,
        )
        for column in contract.columns
    }
    table_checks = [
        rules.floats_are_finite(),
        rules.not_empty(),
        *(rules.table_check(name, settings) for name in contract.checks),
    ]
    return pa.DataFrameSchema(columns, checks=table_checks, strict=True, unique=list(contract.grain), name=contract.key)
