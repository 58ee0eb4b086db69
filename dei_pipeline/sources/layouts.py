"""Layouts of yearbook pages: what a page of one kind looks like, as reviewed files.

A layout is `<table>.yaml` (who publishes it, how its title reads, where region, year and variable stand) and
`<table>.csv` (one row per variable: `variable, unit, default, <edition>, <edition> ...`; a cell holds the header as
printed in that edition, alternatives separated by `|`, empty = as in `default`). `_common.yaml` holds what all pages
share: region headings, blank marks, note and advert patterns, subtotal labels. `variables.csv` and
`units.csv` lie one folder above.
"""

import csv
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from dei_pipeline.contracts import read_yaml
from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.sources.labels import key

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
AXES = {
    "region": {"row", "column", "row_label", "column_label", "page"},
    "year": {"page", "row", "column", "row_header"},
    "variable": {"column", "row", "page", "fixed", "row_label", "column_label"},
}
STUBS = ("region", "year", "variable", "unit", "attribute", "value", "code", "province")
FIELDS = {
    "table", "source_id", "producer", "publication", "level", "title", "axes", "attributes", "variables",
    "row_variables", "page_year", "subtotals", "coverage_floor", "scan_rows", "penalty", "priority",
    "source_class", "note",
}  # fmt: skip
LEVELS = {"province", "city", "any"}
SOURCE_CLASSES = {"official", "compiled"}


@dataclass(frozen=True)
class Unit:
    """A unit as printed: `value in canonical = factor * printed value`."""

    printed: str
    canonical: str
    factor: float
    note: str


@dataclass(frozen=True)
class Variable:
    """A variable of the lake with its canonical unit and plausible range.

    `zero` says what a printed 0 is: a `value` (default), or `missing`: sources print it where there is no value.
    """

    variable: str
    name_zh: str
    name_en: str
    unit: str
    minimum: float | None
    maximum: float | None
    nature: str
    imputation: str
    level: str
    note: str
    zero: str = "value"


@dataclass(frozen=True)
class Reference:
    """What all pages share: units, variables, common headings and patterns."""

    units: Mapping[str, Unit]
    variables: Mapping[str, Variable]
    stubs: Mapping[str, tuple[str, ...]]
    attributes: frozenset[str]
    blank_marks: frozenset[str]
    subtotals: frozenset[str]
    subtotal_pattern: str
    note_pattern: str
    advert_pattern: str
    continuation_pattern: str

    def unit(self, printed: str | None) -> Unit | None:
        """The unit printed so, or None."""
        return None if printed is None else self.units.get(unit_key(printed))


@dataclass(frozen=True)
class Column:
    """A variable of a layout: its default unit and its header label by edition."""

    variable: str
    unit: str
    default: tuple[str, ...]
    editions: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Axes:
    """Where a page states region, year and variable, and how the columns left of the values are headed."""

    region: str
    year: str
    variable: str
    stubs: Mapping[str, tuple[str, ...]]
    page_region: str = ""
    page_variable: str = ""
    fixed_variable: str = ""


@dataclass(frozen=True)
class Layout:
    """One kind of page; `table` is the staging table its values go to.

    Attributes:
        axes: the ways such a page is laid out; the one that explains a page best is used.
        row_variables_as_printed: the rows name the variable by its id (assessment sheets), nothing is looked up.
        page_year: the year of a page that never states it (the reports' published tables).
        penalty: taken off the score, so that a generic layout yields to a specific one.
        priority: which table wins where two say the same within one edition; lowest first.
        source_class: `official`, or `compiled` by others from official sources: yields to any official value.
        labels: label keys to variables, per edition column, for `default` and for `*` (any edition).
    """

    table: str
    source_id: str
    producer_zh: str
    producer_en: str
    publication_zh: str
    publication_en: str
    level: str
    title_patterns: tuple[str, ...]
    title_not: tuple[str, ...]
    title_required: bool
    axes: tuple[Axes, ...]
    columns: tuple[Column, ...]
    attributes: frozenset[str]
    row_variables_as_printed: bool
    page_year: int | None
    subtotals: str
    coverage_floor: float
    coverage_reason: str
    scan_rows: int
    penalty: float
    priority: int
    path: str = ""
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False)
    source_class: str = "official"

    def variable_of(self, label_key: str, edition: str | None) -> str | None:
        """The variable printed as `label_key`: the edition's own label first, then the default, then any edition's."""
        for name in (self.edition_column(edition), "default", "*"):
            found = self.labels.get(name or "", {}).get(label_key)
            if found is not None:
                return found or None
        return None

    def edition_column(self, edition: str | None) -> str | None:
        """The edition column that applies: the edition itself, else the nearest earlier one, else None."""
        known = sorted(name for name in self.labels if name not in ("default", "*"))
        if edition is None:
            return None
        earlier = [name for name in known if name <= edition]
        return earlier[-1] if earlier else None

    def unit_of(self, variable: str) -> str:
        """The unit a variable has where the page prints none."""
        return next((c.unit for c in self.columns if c.variable == variable), "")


def unit_key(printed: str) -> str:
    """A unit as compared: compatibility form, lower case, no blanks."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", printed)).lower()


def load_units(path: Path | None = None) -> dict[str, Unit]:
    """Units by printed form (`unit_key`); raises ReferenceFileError for a missing column or an unreadable factor."""
    path = path or REFERENCE / "units.csv"
    units: dict[str, Unit] = {}
    for number, row in enumerate(_rows(path, ("printed", "canonical", "factor", "note")), 2):
        try:
            factor = float(row["factor"])
        except ValueError as error:
            raise ReferenceFileError(f"{path.name}:{number}: factor «{row['factor']}» is not a number") from error
        same = units.setdefault(unit_key(row["printed"]), Unit(row["printed"], row["canonical"], factor, row["note"]))
        if (same.canonical, same.factor) != (row["canonical"], factor):
            raise ReferenceFileError(f"{path.name}:{number}: unit «{row['printed']}» is listed twice")
    return units


def load_variables(path: Path | None = None) -> dict[str, Variable]:
    """Variables by id; raises ReferenceFileError for a duplicate id or an unknown nature, imputation or level."""
    path = path or REFERENCE / "variables.csv"
    wanted = ("variable", "name_zh", "name_en", "unit", "minimum", "maximum", "nature", "imputation", "level", "note")
    allowed = {
        "nature": {"extensive", "intensive", "score", "count"},
        "imputation": {"none", "growth", "growth_median"},
        "level": {"city", "province", "any"},
        "zero": {"value", "missing"},
    }
    out: dict[str, Variable] = {}
    for number, row in enumerate(_rows(path, wanted), 2):
        if row["variable"] in out:
            raise ReferenceFileError(f"{path.name}:{number}: variable «{row['variable']}» is listed twice")
        row["zero"] = row.get("zero") or "value"
        for name, values in allowed.items():
            if row[name] not in values:
                raise ReferenceFileError(f"{path.name}:{number}: {name} «{row[name]}» is not one of {sorted(values)}")
        limits: dict[str, float | None] = {}
        for name in ("minimum", "maximum"):
            try:
                limits[name] = float(row[name]) if row[name] else None
            except ValueError as error:
                raise ReferenceFileError(f"{path.name}:{number}: {name} «{row[name]}» is not a number") from error
        text = {k: row[k] for k in (*wanted, "zero") if k not in limits}
        out[row["variable"]] = Variable(minimum=limits["minimum"], maximum=limits["maximum"], **text)
    return out


def load_reference(folder: Path | None = None) -> Reference:
    """Units, variables and common patterns of a reference folder (default: the package's own)."""
    folder = folder or REFERENCE
    path = folder / "layouts" / "_common.yaml"
    data = _yaml(path)
    stubs = {role: tuple(key(str(x)) for x in data.get("stub", {}).get(role, ())) for role in STUBS}
    try:
        return Reference(
            units=load_units(folder / "units.csv"),
            variables=load_variables(folder / "variables.csv"),
            stubs=stubs,
            attributes=frozenset(key(str(x)) for x in data["attributes"]),
            blank_marks=frozenset(str(x) for x in data["blank_marks"]),
            subtotals=frozenset(str(x) for x in data["subtotals"]),
            subtotal_pattern=str(data["subtotal_pattern"]),
            note_pattern=str(data["note_pattern"]),
            advert_pattern=str(data["advert_pattern"]),
            continuation_pattern=str(data["continuation_pattern"]),
        )
    except KeyError as error:
        raise ReferenceFileError(f"{path.name}: field {error} is missing") from error


@lru_cache(maxsize=1)
def default_reference() -> Reference:
    """The package's own `Reference`, read once."""
    return load_reference()


@lru_cache(maxsize=1)
def default_layouts() -> "tuple[Layout, ...]":
    """The package's own layouts, read once."""
    return load_layouts(REFERENCE / "layouts", default_reference())


def load_layouts(folder: Path, reference: Reference | None = None) -> tuple[Layout, ...]:
    """All layouts of a folder, in the order of their names, checked.

    Args:
        folder: holds `<table>.yaml` and `<table>.csv`; names that begin with `_` are not layouts.
        reference: units and variables to check against (default: those of the folder above, else the package's).

    Raises:
        ReferenceFileError: naming the file and the field that is wrong.
    """
    if reference is None:
        own = (folder.parent / "variables.csv").is_file() and (folder / "_common.yaml").is_file()
        reference = load_reference(folder.parent) if own else default_reference()
    return tuple(_layout(path, reference) for path in sorted(folder.glob("*.yaml")) if not path.name.startswith("_"))


def _layout(path: Path, reference: Reference) -> Layout:
    """The layout of one YAML file and the CSV beside it."""
    data = _checked(path)
    title = data.get("title") or {}
    for pattern in (*title.get("patterns", ()), *title.get("not", ())):
        _regex(path, "title", pattern)
    floor = data["coverage_floor"]
    if not isinstance(floor, dict) or not {"value", "reason", "date"} <= set(floor):
        raise ReferenceFileError(f"{path.name}: coverage_floor needs value, reason and date")
    if not 0 <= float(floor["value"]) <= 1:
        raise ReferenceFileError(f"{path.name}: coverage_floor value {floor['value']} is not between 0 and 1")
    if data.get("subtotals", "keep") not in ("keep", "quarantine"):
        raise ReferenceFileError(f"{path.name}: subtotals «{data['subtotals']}» is neither keep nor quarantine")
    if data.get("variables") == "reference":
        columns = tuple(
            Column(v.variable, v.unit, tuple(dict.fromkeys((v.name_zh, v.name_en, v.variable))), {})
            for v in reference.variables.values()
        )
    else:
        columns = _columns(path.with_suffix(".csv"), reference, data.get("row_variables") == "as_printed")
    layout = Layout(
        table=data["table"],
        source_id=data["source_id"],
        producer_zh=data["producer"]["zh"],
        producer_en=data["producer"]["en"],
        publication_zh=data["publication"]["zh"],
        publication_en=data["publication"]["en"],
        level=data["level"],
        title_patterns=tuple(title.get("patterns", ())),
        title_not=tuple(title.get("not", ())),
        title_required=bool(title.get("required", False)),
        axes=tuple(_axes(path, axes, reference) for axes in _listed(data["axes"])),
        columns=columns,
        attributes=frozenset(key(str(x)) for x in data.get("attributes", ())),
        row_variables_as_printed=data.get("row_variables") == "as_printed",
        page_year=data.get("page_year"),
        subtotals=data.get("subtotals", "keep"),
        coverage_floor=float(floor["value"]),
        coverage_reason=f"{floor['reason']} ({floor['date']})",
        scan_rows=int(data.get("scan_rows", 40)),
        penalty=float(data.get("penalty", 0.0)),
        priority=int(data.get("priority", 50)),
        path=path.name,
        labels=_labels(path, columns),
        source_class=data["source_class"],
    )
    fixed = {a.fixed_variable for a in layout.axes if a.variable == "fixed"}
    if missing := fixed - {c.variable for c in columns}:
        raise ReferenceFileError(f"{path.name}: axes.fixed {sorted(missing)} is not in {path.stem}.csv")
    return layout


def _checked(path: Path) -> dict[str, Any]:
    """The fields of a layout's YAML file; those that every layout has are there and known."""
    data = _yaml(path)
    if unknown := sorted(set(data) - FIELDS):
        raise ReferenceFileError(f"{path.name}: unknown field(s) {unknown}; known: {sorted(FIELDS)}")
    for name in ("table", "source_id", "producer", "publication", "level", "axes", "coverage_floor"):
        if name not in data:
            raise ReferenceFileError(f"{path.name}: field «{name}» is missing")
    if data["table"] != path.stem:
        raise ReferenceFileError(f"{path.name}: table «{data['table']}» must be the file's name, {path.stem}")
    data.setdefault("source_class", "official")
    for name, allowed in (("level", LEVELS), ("source_class", SOURCE_CLASSES)):
        if data[name] not in allowed:
            raise ReferenceFileError(f"{path.name}: {name} «{data[name]}» is not one of {sorted(allowed)}")
    return data


def _axes(path: Path, data: Mapping[str, Any], reference: Reference) -> Axes:
    """One way such a page is laid out."""
    for name, allowed in AXES.items():
        if data.get(name) not in allowed:
            raise ReferenceFileError(f"{path.name}: axes.{name} «{data.get(name)}» is not one of {sorted(allowed)}")
    stub = data.get("stub") or {}
    if unknown := sorted(set(stub) - set(STUBS)):
        raise ReferenceFileError(f"{path.name}: axes.stub has unknown role(s) {unknown}; known: {list(STUBS)}")
    stubs = {r: tuple(key(str(x)) for x in stub[r]) if r in stub else reference.stubs[r] for r in STUBS}
    for name in ("page_region", "page_variable"):
        if data.get(name):
            _regex(path, f"axes.{name}", data[name])
    if data["variable"] == "fixed" and not data.get("fixed"):
        raise ReferenceFileError(f"{path.name}: axes.variable is fixed, axes.fixed must name the variable")
    for name in ("region", "variable"):
        if data[name] == "page" and not data.get(f"page_{name}"):
            raise ReferenceFileError(f"{path.name}: axes.{name} is page, axes.page_{name} must hold its pattern")
    return Axes(
        region=data["region"], year=data["year"], variable=data["variable"], stubs=stubs,
        page_region=data.get("page_region", ""), page_variable=data.get("page_variable", ""),
        fixed_variable=data.get("fixed", ""),
    )  # fmt: skip


def _columns(path: Path, reference: Reference, as_printed: bool) -> tuple[Column, ...]:
    """The variables of a layout from its CSV."""
    out: list[Column] = []
    for number, row in enumerate(_rows(path, ("variable", "unit", "default")), 2):
        where = f"{path.name}:{number}"
        if row["variable"] not in reference.variables and not (as_printed and row["variable"] == "*"):
            raise ReferenceFileError(f"{where}: variable «{row['variable']}» is not in variables.csv")
        if row["unit"] and reference.unit(row["unit"]) is None:
            raise ReferenceFileError(f"{where}: unit «{row['unit']}» is not in units.csv")
        unit = reference.unit(row["unit"])
        if unit and row["variable"] != "*" and unit.canonical != reference.variables[row["variable"]].unit:
            wanted = f"{row['variable']} is in {reference.variables[row['variable']].unit}"
            raise ReferenceFileError(f"{where}: unit «{row['unit']}» is {unit.canonical}, {wanted}")
        editions = {name: _alternatives(row[name]) for name in row if name not in ("variable", "unit", "default")}
        if bad := [name for name in editions if not re.fullmatch(r"\d{4}", name)]:
            raise ReferenceFileError(f"{path.name}: column «{bad[0]}» is not an edition (a year)")
        out.append(Column(row["variable"], row["unit"], _alternatives(row["default"]), editions))
    return tuple(out)


def _labels(path: Path, columns: tuple[Column, ...]) -> dict[str, dict[str, str]]:
    """Label keys to variables, per edition, for `default`, and for `*` (any edition; "" where editions disagree)."""
    names = sorted({name for c in columns for name in c.editions})
    out: dict[str, dict[str, str]] = {name: {} for name in (*names, "default", "*")}
    for column in columns:
        for name in (*names, "default"):
            printed = column.default if name == "default" else column.editions.get(name, ()) or column.default
            for label in printed:
                seen = out[name].setdefault(key(label), column.variable)
                if seen != column.variable:
                    both = f"both {seen} and {column.variable}"
                    raise ReferenceFileError(f"{path.stem}.csv: label «{label}» stands for {both} in column {name}")
                if out["*"].setdefault(key(label), column.variable) != column.variable:
                    out["*"][key(label)] = ""
    return out


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _alternatives(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def _rows(path: Path, wanted: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a reviewed CSV with at least the wanted columns."""
    if not path.is_file():
        raise ReferenceFileError(f"{path.name} does not exist")
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle)
        if missing := [name for name in wanted if name not in (reader.fieldnames or ())]:
            raise ReferenceFileError(f"{path.name}: column(s) {missing} missing")
        return [{k: (v or "").strip() for k, v in row.items() if k is not None} for row in reader]


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ReferenceFileError(f"{path.name} does not exist")
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise ReferenceFileError(f"{path.name}: must be a mapping")
    return data


def _regex(path: Path, name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ReferenceFileError(f"{path.name}: {name} pattern «{pattern}»: {error}") from error
