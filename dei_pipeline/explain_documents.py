"""The documents behind a count, as sources of an observation: title, issuer, date, file, place and snippet of each."""

from collections.abc import Iterable
from typing import Any

import polars as pl

from dei_pipeline.lake import Lake
from dei_pipeline.methods.document_counts import HIT_KEY, HITS
from dei_pipeline.provenance import places, row_key

DOCUMENTS = "core/documents"


def document_sources(lake: Lake, hits: Iterable[str]) -> list[dict[str, Any]]:
    """One source for each document counted, by date and title; where it names the area is the cell.

    Args:
        lake: the lake.
        hits: keys of core/policy_hits.
    """
    wanted = pl.Series("key", sorted(set(hits)), dtype=pl.String)
    if wanted.is_empty():
        return []
    ids = wanted.str.split("|").list.first().unique()
    found = (
        lake.scan(HITS)
        .filter(pl.col("document_id").is_in(ids.implode()))
        .filter(row_key(HIT_KEY).is_in(wanted.implode()))
        .select("document_id", "term_id", "form", "snippet", "source_cell")
        .collect(engine="in-memory")
    )
    about = lake.scan(DOCUMENTS).select("document_id", "title", "issuer", "published", "kind")
    named = about.filter(pl.col("document_id").is_in(ids.implode())).collect(engine="in-memory")
    rows = found.join(named, on="document_id").sort("published", "title", "document_id", nulls_last=True)
    where = places(lake, rows["source_cell"])
    return [
        {
            "file": where[row["source_cell"]].file,
            "sha256": where[row["source_cell"]].sha256,
            "producer": row["issuer"] or "",
            "sheet": where[row["source_cell"]].sheet,
            "cell": where[row["source_cell"]].cell,
            "raw_text": " ".join(row["snippet"].split()),
            "label": row["form"],
            "unit": "count",
            "table": HITS,
            "synthetic": where[row["source_cell"]].synthetic,
            "document": {
                "document_id": row["document_id"],
                "title": row["title"],
                "published": row["published"].isoformat() if row["published"] else None,
                "kind": row["kind"],
                "area": row["term_id"],
            },
        }
        for row in rows.iter_rows(named=True)
    ]
