"""`dbt_like_sql/` as tables: a file is one SELECT; its parents are read from it, its contract from the YAML beside it.

`layer.table` in FROM *is* the dependency. `made_of` in the YAML names, per parent, the columns that lead from a row to
the parent rows it is made of (which of them, in which role); the edges of its lineage are written from that.
"""

import functools
import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import polars as pl
import sqlglot
from sqlglot import exp

from dei_pipeline.contracts import Contract, MadeOf, load_contracts
from dei_pipeline.errors import NothingToDo, ReferenceFileError
from dei_pipeline.lake import LAYERS
from dei_pipeline.provenance import Table, make_edges, no_edges, row_key
from dei_pipeline.settings import Settings
from dei_pipeline.tables import Inputs, TableSpec

FOLDERS = {"marts": "mart", "release": "release"}


@functools.cache
def parse(sql: str) -> exp.Expr:
    """The syntax tree of one DuckDB SELECT."""
    return sqlglot.parse_one(sql, dialect="duckdb")


@functools.cache
def tables_of(sql: str) -> tuple[str, ...]:
    """The lake tables (`layer/table`) that a SELECT reads, sorted.

    Raises:
        ReferenceFileError: a table is neither a CTE nor `layer.table`.
    """
    tree = parse(sql)
    local = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
    found = set()
    for table in tree.find_all(exp.Table):
        if table.db in LAYERS:
            found.add(f"{table.db}/{table.name}")
        elif table.name not in local:
            raise ReferenceFileError(
                f"SQL reads «{table.sql()}»", "name a CTE, or layer.table with layer one of " + ", ".join(LAYERS)
            )
    return tuple(sorted(found))


@functools.cache
def _database(_thread: int) -> duckdb.DuckDBPyConnection:
    """The in-memory database of a thread: opening one costs more than most of these SELECTs."""
    return duckdb.connect(":memory:", config={"threads": 1})


def select(sql: str, read: Callable[[str], pl.DataFrame]) -> pl.DataFrame:
    """The result of a SELECT over the tables that `read` gives by key (in-memory DuckDB over Polars frames).

    One thread: sums then have one order, and the same inputs give the same bits.
    """
    database, views = _database(threading.get_ident()), []
    try:
        for number, key in enumerate(tables_of(sql)):
            layer, _, name = key.partition("/")
            database.register(f"t{number}", read(key))
            database.execute(f'create schema if not exists "{layer}"')
            database.execute(f'create or replace view "{layer}"."{name}" as select * from t{number}')
            views.append((f'"{layer}"."{name}"', f"t{number}"))
        return database.sql(sql).pl()
    finally:
        for view, table in views:
            database.execute(f"drop view {view}")
            database.unregister(table)


def run_model(inputs: Inputs, sql: str, contract: Contract, grains: dict[str, tuple[str, ...]]) -> Table:
    """Runs a model and writes the edges that its YAML declares.

    Args:
        inputs: access to the parents.
        sql: the SELECT.
        contract: of the model; `made_of` tells its lineage.
        grains: key columns of each parent.
    """
    frame = contract.conform(select(sql, inputs.read))
    if not frame.height:
        raise NothingToDo(f"nothing in {', '.join(tables_of(sql))} meets here")
    edges = [
        edges_to(frame, contract, parent, made, inputs.read(parent), grains[parent])
        for parent, ways in contract.made_of.items()
        for made in ways
    ]
    return Table(frame, pl.concat([no_edges(), *edges]))


def edges_to(
    frame: pl.DataFrame, contract: Contract, parent: str, made: MadeOf, rows: pl.DataFrame, grain: Sequence[str]
) -> pl.DataFrame:
    """Edges from the rows of a model to the rows of a parent that one way of `made_of` leads to."""
    rows = rows.filter(pl.sql_expr(made.where)) if made.where else rows
    pairs = [(ours, theirs or ours) for ours, _, theirs in (part.partition("=") for part in made.by)]
    own_role = pl.col("role") if "role" in rows.columns and not made.role else pl.lit(made.role or "row")
    linear = made.coefficient
    ours_only = linear.removeprefix("1/") if isinstance(linear, str) and linear.startswith("1/") else None
    theirs_only = linear if isinstance(linear, str) and ours_only is None else None
    renamed = rows.select(
        *(pl.col(theirs).alias(ours) for ours, theirs in pairs),
        row_key(grain).alias("_parent"),
        own_role.alias("_role"),
        (pl.col(theirs_only) if theirs_only else pl.lit(None)).cast(pl.Float64).alias("_coefficient"),
    )
    wanted = dict.fromkeys([*contract.grain, *(ours for ours, _ in pairs), *([ours_only] if ours_only else [])])
    on = [ours for ours, _ in pairs]
    joined = frame.select(list(wanted)).join(renamed, on=on or None, how="inner" if on else "cross")
    given = pl.col("_coefficient") if theirs_only else pl.lit(linear)
    coefficient = 1 / pl.col(ours_only) if ours_only else given
    return make_edges(joined, contract.grain, parent, ["_parent"], pl.col("_role"), coefficient)


def mart_grains(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Key columns of the SQL marts, by table."""
    found = load_contracts(settings.sql / "marts" / "_marts__models.yml", FOLDERS["marts"])
    return {key: contract.grain for key, contract in found.items()}


def load_models(settings: Settings, grains: dict[str, tuple[str, ...]]) -> list[TableSpec]:
    """The tables declared by the folder of SQL models.

    Args:
        settings: names the folder.
        grains: key columns of the Python tables; the models' own are added.

    Raises:
        ReferenceFileError: a model without contract, a contract without model, `made_of` naming a table not read.
    """
    contracts: dict[str, tuple[Contract, Path]] = {}
    for folder, layer in FOLDERS.items():
        base = settings.sql / folder
        found = load_contracts(base / f"_{folder}__models.yml", layer)
        files = {f"{layer}/{path.stem}": path for path in base.glob("*.sql")}
        if set(files) != set(found):
            odd = sorted(set(files) ^ set(found))[0]
            raise ReferenceFileError(
                f"{odd}: SQL file and contract do not pair",
                f"add it to {base.name}/_{folder}__models.yml, or remove it",
            )
        contracts.update({key: (contract, files[key]) for key, contract in found.items()})
    known = {**grains, **{key: contract.grain for key, (contract, _) in contracts.items()}}
    return [_spec(contract, path, known) for contract, path in contracts.values()]


def _spec(contract: Contract, path: Path, grains: dict[str, tuple[str, ...]]) -> TableSpec:
    sql = path.read_text(encoding="utf-8")
    parents = tables_of(sql)
    strangers = [parent for parent in (*contract.made_of, *contract.panel) if parent not in parents]
    if strangers:
        raise ReferenceFileError(f"{path.name}: made_of or panel names {strangers[0]}, which the SQL does not read")
    return TableSpec(
        contract=contract,
        function=lambda inputs: run_model(inputs, sql, contract, grains),
        needs=parents,
        split="year" if "year" in contract.grain else None,
        panel=contract.panel,
        kinds=frozenset({"duckdb", "sql", "parquet"}),
        code=hashlib.sha256((sql + repr(contract)).encode()).hexdigest()[:16],
    )
