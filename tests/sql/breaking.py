"""Sentences of `dbt_like_sql/checks/` over tables in memory: the rows that break them, under the name of any index."""

import polars as pl

from dei_pipeline.assets import all_tables
from dei_pipeline.checks.sentences import for_every_index, load_sentences, of_index
from dei_pipeline.settings import Settings
from dei_pipeline.sql_models import select

SETTINGS = Settings()
SCHEMAS = {spec.key: spec.contract.schema for spec in all_tables(SETTINGS)}
SENTENCES = {sentence.name: sentence for sentence in load_sentences(SETTINGS)}
OF_ALL_INDICES = for_every_index(list(SENTENCES.values()), SCHEMAS)
OTHER = "other_index"

Rows = list[dict[str, object]] | pl.DataFrame


def breaking(sentence_name: str, **tables: Rows) -> pl.DataFrame:
    """Rows that break a sentence over in-memory tables (`layer__table=[row, …]`); columns left out are empty.

    A sentence about every index must find the same in the same rows of another index.
    """
    sentence = SENTENCES[sentence_name]
    given = {key.replace("__", "/", 1): rows for key, rows in tables.items()}
    found = select(sentence.sql, lambda key: frame(key, given[key]))
    if sentence.every_index:
        written_for = "deci" if sentence.table.startswith("index/deci_") else "dei"
        other = of_index(sentence, written_for, OTHER)

        def of_other(key: str) -> pl.DataFrame:
            own = key.replace(f"index/{OTHER}_", f"index/{written_for}_")
            rows = frame(own, given[own])
            if "index_id" in rows.columns:
                rows = rows.with_columns(pl.col("index_id").replace(written_for, OTHER))
            return rows

        same = select(other.sql, of_other)
        same = same.with_columns(pl.col("index_id").replace(OTHER, written_for)) if "index_id" in same.columns else same
        assert same.sort(same.columns).equals(found.sort(found.columns)), other.sql
    return found


def frame(key: str, rows: Rows) -> pl.DataFrame:
    """A table of the lake from some of its columns."""
    schema = SCHEMAS[key]
    if isinstance(rows, list):
        return pl.DataFrame(rows, schema=schema)
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items()
    )
