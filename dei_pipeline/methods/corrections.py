"""Reviewed corrections of what sources say: loaded strictly, checked against the source, applied to staged values."""

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from dei_pipeline.errors import MethodError, NothingToDo, ReferenceFileError
from dei_pipeline.provenance import split_source_cell

REFERENCE_FILE = "reference/corrections.yml"  # parent table of the edges to corrections; parent key: the source cell
FIELDS = ("sha256", "sheet", "cell", "expect", "set", "reason", "date")
FIRST_YEAR, LAST_YEAR = 1949, 2100
CELL_PART = r"![A-Z]+\d+$"


@dataclass(frozen=True)
class Correction:
    """A reviewed change to what a source says.

    Attributes:
        source_cell: `<sha256[:12]>/<sheet>!<A1>`; for a whole sheet the cell that is checked.
        expect: text that the source must hold there; if it does not, the correction has served its time.
        value: the value that replaces the cell's, in the cell's own unit; None for a correction of the year.
        year: the year that the whole sheet is of; None for a correction of a value.
        reason: why, with evidence.
        date: ISO date of the review.
    """

    source_cell: str
    expect: str
    value: float | None
    year: int | None
    reason: str
    date: str = ""

    @property
    def sheet(self) -> str:
        """The sheet that it is about, as `<sha256[:12]>/<sheet>`."""
        return self.source_cell.rpartition("!")[0]

    def note(self) -> dict[str, Any]:
        """What explanations show of it: source_cell, value or year, reason, date."""
        change = {"value": self.value} if self.year is None else {"year": self.year}
        return {"source_cell": self.source_cell, **change, "reason": self.reason, "date": self.date}


def load_corrections(path: Path) -> tuple[Correction, ...]:
    """The corrections of a YAML list: sha256, sheet, cell, expect, set: {value | year}, reason, date.

    Raises:
        ReferenceFileError: a field is missing, unknown or unreadable, or two entries correct the same; names the entry.
    """
    found: dict[str, Correction] = {}
    years: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for number, entry in enumerate(_entries(path), 1):
        where = f"{path.name}, entry {number}"
        correction = _correction(entry, where)
        same = numbers.setdefault(correction.source_cell, number)
        if same == number and correction.year is not None:
            same = years.setdefault(correction.sheet, number)
        if same != number:
            raise ReferenceFileError(f"{where}: entry {same} corrects {correction.source_cell} too", "keep one of them")
        found[correction.source_cell] = correction
    return tuple(found.values())


def _entries(path: Path) -> list[Any]:
    """The entries with every scalar as it is written (a number stays the text that `expect` compares)."""
    if not path.is_file():
        raise ReferenceFileError(f"{path.name} does not exist", "an empty file will do")
    try:
        entries = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader) or []
    except yaml.YAMLError as error:
        raise ReferenceFileError(f"{path.name}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(entries, list):
        raise ReferenceFileError(f"{path.name}: must be a list", "begin each entry with «- sha256: …»")
    return entries


def _correction(entry: Any, where: str) -> Correction:
    if not isinstance(entry, dict) or set(entry) != set(FIELDS):
        given = set(entry) if isinstance(entry, dict) else set()
        strange, lacking = sorted(given - set(FIELDS)), [name for name in FIELDS if name not in given]
        what = f"field «{strange[0]}» is unknown" if strange else f"lacks {', '.join(lacking)}"
        raise ReferenceFileError(f"{where}: {what}", f"give {', '.join(FIELDS)}: see the comment at its top")
    for name in FIELDS:
        if name != "set" and not (isinstance(entry[name], str) and entry[name].strip()):
            raise ReferenceFileError(f"{where}: lacks {name}, as text", "see the comment at its top")
    if not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]):
        raise ReferenceFileError(
            f"{where}: sha256 «{entry['sha256']}» is not 64 hexadecimal digits", "write all of what `sha256sum` prints"
        )
    if not re.fullmatch(r"[A-Z]+[1-9]\d*", entry["cell"]):
        raise ReferenceFileError(f"{where}: cell «{entry['cell']}» is no address", "write it as D17")
    try:
        date = datetime.date.fromisoformat(entry["date"])
    except ValueError as error:
        raise ReferenceFileError(f"{where}: date «{entry['date']}» is no date", "write it as 2026-11-23") from error
    value, year = _change(entry["set"], where)
    return Correction(
        source_cell=f"{entry['sha256'][:12]}/{entry['sheet']}!{entry['cell']}",
        expect=entry["expect"],
        value=value,
        year=year,
        reason=" ".join(entry["reason"].split()),
        date=date.isoformat(),
    )


def _change(change: Any, where: str) -> tuple[float | None, int | None]:
    if not isinstance(change, dict) or set(change) not in ({"value"}, {"year"}):
        raise ReferenceFileError(f"{where}: set is {change!r}", "write set: {value: 12.3} or set: {year: 2019}")
    ((name, text),) = change.items()
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if name == "value":
        if not math.isfinite(number):
            raise ReferenceFileError(f"{where}: value «{text}» is not a number", "write set: {value: 12.3}")
        return number, None
    if not (number.is_integer() and FIRST_YEAR <= number <= LAST_YEAR):
        raise ReferenceFileError(
            f"{where}: year «{text}» is not a year of {FIRST_YEAR}–{LAST_YEAR}", "write set: {year: 2019}"
        )
    return None, int(number)


def staged(
    pages: Mapping[str, pl.DataFrame],
    unreadable: pl.DataFrame,
    levels: Mapping[str, str],
    corrections: Sequence[Correction],
) -> pl.DataFrame:
    """The values of all staging tables below each other, with the corrections applied.

    Args:
        pages: staging tables by key.
        unreadable: cells that staging set aside, in the staging columns with `table` and `value` null; a correction of
            one brings it back.
        levels: level (province, city, any) of each staging table.
        corrections: reviewed corrections; those of files that the lake does not hold do nothing.

    Returns:
        The staging columns with `table`, `level`, `value_corrected`, and `year_entry`: the source cell of the
        correction that gave the year, null for none.

    Raises:
        MethodError: the source no longer says what a correction expects.
        NothingToDo: no page has a value.
    """
    held = [frame.with_columns(table=pl.lit(key.removeprefix("staging/"))) for key, frame in pages.items()]
    if not held:
        raise NothingToDo("no page of a known layout is in this lake")
    cells = pl.concat([*held, unreadable.select(held[0].columns)] if unreadable.height else held).with_columns(
        level=pl.col("table").replace_strict(dict(levels), default="any", return_dtype=pl.String),
        value_corrected=pl.lit(False),
        year_entry=pl.lit(None, pl.String),
    )
    due = _due(cells, corrections)
    by_value = {c.source_cell: c.value for c in due if c.value is not None}
    by_sheet = {c.sheet: c for c in due if c.year is not None}
    sheet = pl.col("source_cell").str.replace(CELL_PART, "")
    if by_value:
        cells = cells.with_columns(
            value=pl.col("source_cell").replace_strict(by_value, default=pl.col("value"), return_dtype=pl.Float64),
            value_corrected=pl.col("source_cell").is_in(list(by_value)),
        )
    if by_sheet:
        years = {name: c.year for name, c in by_sheet.items()}
        proofs = {name: c.source_cell for name, c in by_sheet.items()}
        cells = cells.with_columns(
            year=sheet.replace_strict(years, default=pl.col("year"), return_dtype=pl.Int32),
            year_entry=sheet.replace_strict(proofs, default=None, return_dtype=pl.String),
        )
    return cells.drop_nulls("value")


def _due(cells: pl.DataFrame, corrections: Sequence[Correction]) -> list[Correction]:
    """The corrections of files in the lake, each checked against what the source says."""
    files = set(cells["source_cell"].str.slice(0, 12).unique().to_list())
    due = [c for c in corrections if split_source_cell(c.source_cell)[0] in files]
    if not due:
        return []
    named = cells.filter(pl.col("source_cell").is_in([c.source_cell for c in due]))
    found = dict(named.select("source_cell", "raw_text").iter_rows())
    for correction in due:
        if found.get(correction.source_cell) != correction.expect:
            raise MethodError(
                f"corrections.yml expects «{correction.expect}» at {correction.source_cell}, the source says "
                f"«{found.get(correction.source_cell, 'no value')}»",
                "the source was mended or the entry is wrong: remove it from reference/corrections.yml",
            )
    return due
