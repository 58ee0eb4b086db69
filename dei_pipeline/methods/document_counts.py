"""How many documents count to a variable: those of its kinds that name an area of its theme [methodology §3.24]."""

from pathlib import Path

import polars as pl

from dei_pipeline.errors import NothingToDo, ReferenceFileError
from dei_pipeline.provenance import Table, make_edges

COUNTS, HITS, RULES = "core/document_counts", "core/policy_hits", "policy_variables.csv"
AREAS = "policy_area"
KEY = ["region_code", "year", "variable"]
HIT_KEY = ["document_id", "lexicon", "start"]
UNIT = "count"
SCHEMA: dict[str, pl.DataType] = {
    "region_code": pl.String(), "year": pl.Int32(), "variable": pl.String(), "value": pl.Float64(), "unit": pl.String(),
}  # fmt: skip
RULE_COLUMNS = ("variable", "theme", "kind")


def load_rules(path: Path) -> pl.DataFrame:
    """The reviewed rules: variable, theme of areas (service or governance), kind of documents; one row per kind.

    Args:
        path: `reference/policy_variables.csv`.

    Raises:
        ReferenceFileError: the file is missing, lacks a column or a value, or gives a row twice.
    """
    if not path.is_file():
        raise ReferenceFileError(f"{path.name} is missing", "restore it")
    rules = pl.read_csv(path, infer_schema=False)
    if lost := sorted(set(RULE_COLUMNS) - set(rules.columns)):
        raise ReferenceFileError(f"{path.name}: column {lost[0]} is missing", "add it")
    rules = rules.select(RULE_COLUMNS)
    for name in RULE_COLUMNS:
        if rules[name].null_count():
            line = rules.with_row_index("line", 2).filter(pl.col(name).is_null())["line"][0]
            raise ReferenceFileError(f"{path.name}:{line}: {name} is empty", "fill it in")
    if rules.is_duplicated().any():
        twice = rules.filter(rules.is_duplicated()).row(0)
        raise ReferenceFileError(f"{path.name}: {', '.join(twice)} is given twice", "give it once")
    return rules


def document_counts(hits: pl.DataFrame, documents: pl.DataFrame, terms: pl.DataFrame, rules: pl.DataFrame) -> Table:
    """`core/document_counts`: number of documents of a region and year that count to each variable.

    n(c, t, v) = |{d of c, published in t, of a kind of v, counted: an area of the theme of v stands in d}|. Repeats of
    another document do not count. A document that names areas of both themes counts to the variables of both. General
    plans and reports, which name every area, are of no kind in the rules. Source: methodology §3.24; dei.yaml
    (distinct qualifying documents after de-duplication); rules: reference/policy_variables.csv.

    Args:
        hits: core/policy_hits.
        documents: core/documents.
        terms: core/policy_terms; theme of each area.
        rules: from `load_rules`.

    Returns:
        Table with key region_code, year, variable; `value` in documents. Edges: to the first place in each counted
        document where an area of the theme stands (role document, coefficient 1).

    Raises:
        NothingToDo: no document counts to any variable.
    """
    themes = terms.filter(lexicon=AREAS).select("term_id", "theme")
    about = documents.filter("counted").select("document_id", "region_code", "year", "kind")
    qualified = (
        hits.filter(lexicon=AREAS)
        .select(*HIT_KEY, "term_id")
        .join(themes, on="term_id")
        .join(about, on="document_id")
        .join(rules, on=["theme", "kind"])
        .sort(*KEY, *HIT_KEY)
        .unique([*KEY, "document_id"], keep="first", maintain_order=True)
    )
    if not qualified.height:
        kinds = ", ".join(rules["kind"].unique().sort())
        raise NothingToDo(f"none of {about.height} documents of the kinds {kinds} names a policy area")
    frame = qualified.group_by(KEY, maintain_order=True).agg(value=pl.len().cast(pl.Float64), unit=pl.lit(UNIT))
    of_kinds = about.join(rules.select("kind").unique(), on="kind")
    return Table(
        frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()),
        make_edges(qualified, KEY, HITS, HIT_KEY, "document", 1.0),
        notes={
            "documents": qualified["document_id"].n_unique(),
            "without_an_area": of_kinds.height - qualified["document_id"].n_unique(),
            "other_kinds": about.height - of_kinds.height,
        },
    )


def with_documents(observed: Table, counts: pl.DataFrame | None) -> Table:
    """`core/observations` with the counts of documents where no page states a number.

    A number that an office printed goes before one that was counted here, in the documents that happen to be received.
    Variables that are counted so are never imputed (`imputation` none in reference/variables.csv).

    Args:
        observed: from `observations.panel`.
        counts: core/document_counts; None where no document was received.

    Returns:
        Table with key region_code, year, variable; further edges to core/document_counts (role documents,
        coefficient 1).
    """
    if counts is None:
        return observed
    said = {"status": "reported", "method": "documents", "source_id": "documents"}
    added = counts.join(observed.frame, on=KEY, how="anti", maintain_order="left").with_columns(
        pl.lit(word).alias(name) for name, word in said.items()
    )
    return Table(
        pl.concat([observed.frame, added], how="diagonal").select(observed.frame.columns),
        pl.concat([observed.edges, make_edges(added, KEY, COUNTS, KEY, "documents", 1.0)]),
        observed.quarantine,
        observed.notes | {"counted_in_documents": added.height, "documents_yielding": counts.height - added.height},
    )
