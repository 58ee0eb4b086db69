"""The reviewed lexicons of `reference/lexicons/`: policy areas, technology terms, task classes, kinds of plans."""

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dei_pipeline.errors import ReferenceFileError

AREAS, TECHNOLOGY = "policy_area", "technology_term"
FILES = {
    "policy_areas": ("area_id", "domain", "name_zh", "name_en", "form"),
    "technology_terms": ("term_id", "theme", "name_zh", "name_en", "form"),
    "newinfra_tasks": ("class_id", "subclass_id", "name_zh", "name_en", "form"),
    "plan_kinds": ("kind", "name_zh", "name_en", "pattern"),
    "national_issuers": ("matches", "pattern", "note"),
}


@dataclass(frozen=True)
class Lexicons:
    """The lexicons, ready for use.

    Attributes:
        terms: lexicon, term_id, theme, name_zh, name_en, form: policy areas (theme service or governance) and
            technology terms (theme technology or focus), one row per form.
        tasks: class_id, subclass_id (null: none), name_zh, name_en, form.
        kinds: kind and the pattern of a title that shows it, the first that fits counts.
        national: patterns of the names of national bodies.
        national_hosts: patterns of the hosts of their sites.
    """

    terms: pl.DataFrame
    tasks: pl.DataFrame
    kinds: tuple[tuple[str, re.Pattern[str]], ...]
    national: tuple[re.Pattern[str], ...]
    national_hosts: tuple[re.Pattern[str], ...]

    def of(self, lexicon: str) -> pl.DataFrame:
        """`term_id`, `form` of one lexicon."""
        return self.terms.filter(lexicon=lexicon).select("term_id", "form")


def load_lexicons(folder: Path) -> Lexicons:
    """The lexicons of a folder.

    Args:
        folder: `reference/lexicons`.

    Raises:
        ReferenceFileError: a file is missing, lacks a column or a value, or holds a pattern that is none.
    """
    files = {name: _read(folder / f"{name}.csv", columns) for name, columns in FILES.items()}
    areas = files["policy_areas"].rename({"area_id": "term_id", "domain": "theme"})
    parts = ((AREAS, areas), (TECHNOLOGY, files["technology_terms"]))
    tasks = files["newinfra_tasks"].with_columns(subclass_id=pl.when(pl.col("subclass_id") != "").then("subclass_id"))
    kinds = zip(files["plan_kinds"]["kind"], _patterns("plan_kinds", files["plan_kinds"]), strict=True)
    return Lexicons(
        pl.concat(frame.select(pl.lit(name).alias("lexicon"), pl.all()) for name, frame in parts),
        tasks,
        tuple(kinds),
        *(_patterns("national_issuers", files["national_issuers"].filter(matches=what)) for what in ("name", "host")),
    )


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """A file as text, empty fields as empty text."""
    where = f"lexicons/{path.name}"
    if not path.is_file():
        raise ReferenceFileError(f"{where} is missing", "restore it")
    table = pl.read_csv(path, infer_schema=False).with_columns(pl.all().fill_null(""))
    if set(columns) - set(table.columns):
        raise ReferenceFileError(f"{where}: column {sorted(set(columns) - set(table.columns))[0]} is missing", "add it")
    for column in columns:
        empty = table.with_row_index("line", 2).filter(pl.col(column) == "")
        if empty.height and column != "subclass_id":
            raise ReferenceFileError(f"{where}:{empty['line'][0]}: {column} is empty", "fill it in")
    return table.select(columns)


def _patterns(name: str, table: pl.DataFrame) -> tuple[re.Pattern[str], ...]:
    found = []
    for line, text in enumerate(table["pattern"], start=2):
        try:
            found.append(re.compile(text))
        except re.error as error:
            raise ReferenceFileError(f"lexicons/{name}.csv:{line}: «{text}» is no pattern: {error}") from error
    return tuple(found)
