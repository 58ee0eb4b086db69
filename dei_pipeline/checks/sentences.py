"""`dbt_like_sql/checks/<sentence_that_should_hold>.sql`: a SELECT of the rows that break the sentence in its name.

A sentence about every index is written, and runs, for one of them; for the others its tables are renamed.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from sqlglot import exp

from dei_pipeline.checks.table_check import TableCheck
from dei_pipeline.contracts import read_yaml
from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.lake import WHOLE, Lake
from dei_pipeline.settings import Settings
from dei_pipeline.sql_models import parse, select, tables_of
from dei_pipeline.tables import disagreement

LAYER, COMMON = "index", "_normalised"  # the table that every index has


@dataclass(frozen=True)
class Sentence:
    """A sentence that should hold: its SQL, the table it is about, how grave a breach is, and why the tolerance."""

    name: str
    table: str
    description: str
    severity: str
    tolerance: str
    sql: str
    every_index: bool = False


def load_sentences(settings: Settings) -> list[Sentence]:
    """The sentences of `dbt_like_sql/checks/` as written, with what `_checks.yml` says about them.

    Raises:
        ReferenceFileError: a file without entry, an entry without file, an unknown severity.
    """
    folder = settings.sql / "checks"
    entries: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in read_yaml(folder / "_checks.yml")}
    files = {path.stem: path for path in folder.glob("*.sql")}
    if set(files) != set(entries):
        odd = sorted(set(files) ^ set(entries))[0]
        raise ReferenceFileError(f"checks: {odd} has no pair", "give each .sql an entry in _checks.yml")
    found = []
    for name, path in sorted(files.items()):
        entry = entries[name]
        if entry["severity"] not in ("error", "warn"):
            raise ReferenceFileError(f"_checks.yml: {name}: severity «{entry['severity']}»", "error or warn")
        found.append(
            Sentence(
                name,
                entry["table"].replace(".", "/"),
                entry["description"],
                entry["severity"],
                entry["tolerance"],
                path.read_text("utf-8"),
                bool(entry.get("every_index", False)),
            )
        )
    return found


def index_ids(tables: Collection[str]) -> list[str]:
    """The indices that some tables (`layer/table`) belong to, in alphabetical order."""
    prefix = f"{LAYER}/"
    of_index = (key for key in tables if key.startswith(prefix) and key.endswith(COMMON))
    return sorted(key.removeprefix(prefix).removesuffix(COMMON) for key in of_index)


def for_every_index(sentences: Sequence[Sentence], tables: Collection[str]) -> list[Sentence]:
    """The sentences, each of those about every index once per index that has the tables it reads.

    Args:
        sentences: as written.
        tables: every table that the pipeline declares.

    Raises:
        ReferenceFileError: a sentence is about a table that is not declared, or about every index but names none.
    """
    ids = index_ids(tables)
    found = []
    for sentence in sentences:
        layer, _, name = sentence.table.partition("/")
        written_for = max((i for i in ids if layer == LAYER and name.startswith(f"{i}_")), key=len, default=None)
        if sentence.every_index and written_for is None:
            raise ReferenceFileError(
                f"_checks.yml: {sentence.name} is about every index, but {sentence.table} is of none",
                f"write it for a table of one of {', '.join(ids)}",
            )
        mine = [sentence]
        if sentence.every_index and written_for is not None:
            mine = [of_index(sentence, written_for, index) for index in ids]
            mine = [one for one in mine if set(tables_of(one.sql)) <= set(tables)]
        elif sentence.table not in tables:
            raise ReferenceFileError(f"_checks.yml: {sentence.name} is about {sentence.table}, which is no table")
        found += mine
    return found


def of_index(sentence: Sentence, written_for: str, index: str) -> Sentence:
    """A sentence about another index than the one it is written for: index.<id>_* renamed, index_id = '<id>' too."""
    if index == written_for:
        return sentence
    tree = parse(sentence.sql).copy()
    for table in tree.find_all(exp.Table):
        if table.db == LAYER and table.name.startswith(f"{written_for}_"):
            table.set("this", exp.to_identifier(_renamed(table.name, written_for, index)))
    for equal in tree.find_all(exp.EQ):
        if equal.this.name == "index_id" and equal.expression.is_string and equal.expression.name == written_for:
            equal.set("expression", exp.Literal.string(index))
    layer, _, name = sentence.table.partition("/")
    return replace(
        sentence,
        table=f"{layer}/{_renamed(name, written_for, index)}",
        sql=tree.sql(dialect="duckdb", pretty=True),
    )


def _renamed(table: str, written_for: str, index: str) -> str:
    return f"{index}_{table.removeprefix(f'{written_for}_')}"


def broken_rows(lake: Lake, sentence: Sentence) -> pl.DataFrame | None:
    """The rows that break a sentence; None if the lake lacks a table it speaks of.

    Years whose tables were made from other versions of what they rest on do not belong together (a run of other years
    brings them up to date): they are left out.
    """
    keys = tables_of(sentence.sql)
    if not all(lake.exists(key) for key in keys):
        return None
    stale = [year for year in years_of(lake, keys) if disagreement(lake, keys, year)]

    def read(key: str) -> pl.DataFrame:
        rows = lake.read(key)
        by_year = bool(stale) and WHOLE not in lake.part_files(key) and "year" in rows.columns
        return rows.filter(~pl.col("year").is_in(stale)) if by_year else rows

    return select(sentence.sql, read)


def years_of(lake: Lake, keys: Iterable[str]) -> list[int]:
    """Years that some tables hold a part of."""
    return sorted({int(part) for key in keys for part in lake.part_files(key) if part.isdigit()})


def sentence_check(sentence: Sentence) -> TableCheck:
    """A sentence as a check of the table it is about."""
    return TableCheck(
        sentence.name,
        sentence.table,
        f"{sentence.description} Tolerance: {sentence.tolerance}",
        sentence.severity,
        tables_of(sentence.sql),
        lambda lake: broken_rows(lake, sentence),
    )
