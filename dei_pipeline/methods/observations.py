"""From the values of yearbook pages to harmonised observations: regions, units, corrections, editions, gaps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from dei_pipeline.errors import ContractError, MethodError, NothingToDo, ReferenceFileError
from dei_pipeline.methods.impute import ladder
from dei_pipeline.methods.regions import Regions, match
from dei_pipeline.methods.tiers import tier
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, make_edges, no_edges, split_source_cell
from dei_pipeline.sources.layouts import Unit, Variable, unit_key

KEY = ("region_code", "year", "variable")
VINTAGE_KEY = (*KEY, "edition")
LOWEST_PRIORITY = 99
LAST_YEAR = 9999
REPEAT_TOLERANCE = 1e-9  # relative; the same printed number through another unit factor


@dataclass(frozen=True)
class Correction:
    """A reviewed change to what a source says.

    Attributes:
        source_cell: `<sha256[:12]>/<sheet>!<A1>`; for a whole sheet the cell that is checked.
        expect: text that the source must hold there; if it does not, the correction has served its time.
        value: the value that replaces the cell's, in the cell's own unit; None for a correction of the year.
        year: the year that the whole sheet is of; None for a correction of a value.
        reason: why, with evidence.
    """

    source_cell: str
    expect: str
    value: float | None
    year: int | None
    reason: str


def load_corrections(path: Path) -> tuple[Correction, ...]:
    """The corrections of a YAML list: sha256, sheet, cell, expect, set: {value | year}, reason, date.

    Raises:
        ReferenceFileError: a field is missing; names the entry.
    """
    found = []
    for number, entry in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")) or [], 1):
        try:
            change: Mapping[str, Any] = entry["set"]
            if set(change) not in ({"value"}, {"year"}) or not entry["reason"] or not entry["date"]:
                raise KeyError("set: {value: …} or {year: …}, reason, date")
            found.append(
                Correction(
                    source_cell=f"{entry['sha256'][:12]}/{entry['sheet']}!{entry['cell']}",
                    expect=str(entry["expect"]),
                    value=None if "value" not in change else float(change["value"]),
                    year=change.get("year"),
                    reason=entry["reason"],
                )
            )
        except KeyError as error:
            raise ReferenceFileError(
                f"{path.name}, entry {number}: lacks {error}", "see the comment at its top"
            ) from error
    return tuple(found)


def staged(
    pages: Mapping[str, pl.DataFrame],
    unreadable: pl.DataFrame,
    levels: Mapping[str, str],
    corrections: Sequence[Correction],
) -> pl.DataFrame:
    """The values of all staging tables below each other, with the corrections applied, and a column `corrected`.

    Args:
        pages: staging tables by key.
        unreadable: cells that staging set aside, in the staging columns with `table` and `value` null; a correction of
            one brings it back.
        levels: level (province, city, any) of each staging table.
        corrections: reviewed corrections; those of files that the lake does not hold do nothing.

    Raises:
        MethodError: the source no longer says what a correction expects.
        NothingToDo: no page has a value.
    """
    held = [frame.with_columns(table=pl.lit(key.removeprefix("staging/"))) for key, frame in pages.items()]
    if not held:
        raise NothingToDo("no page of a known layout is in this lake")
    cells = pl.concat([*held, unreadable.select(held[0].columns)] if unreadable.height else held).with_columns(
        level=pl.col("table").replace_strict(dict(levels), default="any", return_dtype=pl.String),
        corrected=pl.lit(False),
    )
    due = _due(cells, corrections)
    if not due:
        return cells
    by_value = {c.source_cell: c.value for c in due if c.value is not None}
    by_sheet = {c.source_cell.rpartition("!")[0]: c.year for c in due if c.year is not None}
    sheet = pl.col("source_cell").str.replace(r"![A-Z]+\d+$", "")
    return cells.with_columns(
        value=pl.col("source_cell").replace_strict(by_value, default=pl.col("value"), return_dtype=pl.Float64),
        year=sheet.replace_strict(by_sheet, default=pl.col("year"), return_dtype=pl.Int32),
        corrected=pl.col("source_cell").is_in(list(by_value)) | sheet.is_in(list(by_sheet)),
    ).drop_nulls("value")


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
                f"«{found.get(correction.source_cell)}»",
                "the source was mended or the entry is wrong: remove it from reference/corrections.yml",
            )
    return due


def unit_table(units: Mapping[str, Unit]) -> pl.DataFrame:
    """`unit` as printed (in comparable form), `canonical`, `factor`."""
    return pl.DataFrame(
        {
            "unit_key": list(units),
            "canonical": [unit.canonical for unit in units.values()],
            "factor": [unit.factor for unit in units.values()],
        }
    )


def variable_table(variables: Mapping[str, Variable], terms: pl.DataFrame) -> pl.DataFrame:
    """Every known variable with canonical unit, imputation and the status of its values.

    Args:
        variables: of reference/variables.csv.
        terms: core/indicator_terms; its rubric checkpoints are variables scored by assessors, in points.
    """
    listed = pl.DataFrame(
        {
            "variable": list(variables),
            "unit": [v.unit for v in variables.values()],
            "imputation": [v.imputation for v in variables.values()],
        }
    ).with_columns(status=pl.lit("reported"))
    points = terms.filter(pl.col("role") == "points").select(
        "variable", unit=pl.lit("points"), imputation=pl.lit("none"), status=pl.lit("expert")
    )
    return pl.concat([listed, points.unique("variable", maintain_order=True)])


def filled_for(variables: pl.DataFrame, terms: pl.DataFrame) -> pl.DataFrame:
    """The variables with imputation only for those that an indicator is derived from; gaps elsewhere stay gaps."""
    used = pl.col("variable").is_in(terms["variable"].unique().implode())
    return variables.with_columns(imputation=pl.when(used).then("imputation").otherwise(pl.lit("none")))


def vintages(
    values: pl.DataFrame,
    regions: Regions,
    units: pl.DataFrame,
    variables: pl.DataFrame,
    priorities: Mapping[str, int],
    floors: Mapping[str, float],
) -> Table:
    """Every edition's value of every variable, by region code and in canonical units.

    Args:
        values: staged values of all pages, from `staged`.
        regions: the register of regions that names are matched to.
        units: from `unit_table`.
        variables: from `variable_table`.
        priorities: which staging table wins where two say the same within one edition; lowest first.
        floors: least share of a staging table's values whose region is found.

    Returns:
        Table with key region_code, year, variable, edition. Subtotals of zones are left out and counted; unmatched
        names, unknown variables or units, and contradictions within an edition are in quarantine. Edges lead to the
        staging row (role value, coefficient the unit's factor) and to cells that repeat the value (role repeat).

    Raises:
        ContractError: the names of a staging table that are found fall below its floor.
    """
    named = _with_regions(values, regions)
    subtotals = named.filter(pl.col("zone_id").is_not_null())
    rest = named.filter(pl.col("zone_id").is_null())
    unmatched = rest.filter(pl.col("region_code").is_null())
    _check_floors(rest, floors)
    matched = (
        rest.filter(pl.col("region_code").is_not_null())
        .drop("reason", "fix")
        .join(
            variables.select("variable", "status", canonical_unit="unit"),
            on="variable",
            how="left",
            maintain_order="left",
        )
        .with_columns(unit_key=_unit_keys(rest["unit"].unique())(pl.col("unit")))
        .join(units, on="unit_key", how="left", maintain_order="left")
    )
    unknown = matched.filter(pl.col("canonical_unit").is_null()).with_columns(
        reason=pl.format("variable «{}» is not listed", "variable"),
        fix=pl.lit("add it to reference/variables.csv, or to a rubric under methodology/rubrics/"),
    )
    listed = matched.filter(pl.col("canonical_unit").is_not_null())
    same_unit = (pl.col("canonical") == pl.col("canonical_unit")).fill_null(False)
    misfit = listed.filter(~same_unit).with_columns(
        reason=pl.format("unit «{}» cannot be turned into {}", pl.col("unit").fill_null("none"), "canonical_unit"),
        fix=pl.lit("state the unit on the page or in its layout, or add it to reference/units.csv"),
    )
    usable = listed.filter(same_unit).with_columns(
        priority=pl.col("table").replace_strict(dict(priorities), default=LOWEST_PRIORITY, return_dtype=pl.Int32)
    )
    kept, repeats, second = _one_per_edition(usable.with_columns(amount=pl.col("value") * pl.col("factor")))
    frame = kept.select(
        *VINTAGE_KEY,
        pl.col("amount").alias("value"),
        pl.col("canonical_unit").alias("unit"),
        pl.when("corrected").then(pl.lit("corrected")).otherwise("status").alias("status"),
        "source_id",
        "source_cell",
    )
    edges = [no_edges(), *_cell_edges(kept, "value", pl.col("factor")), *_cell_edges(repeats, "repeat", pl.lit(0.0))]
    aside = pl.concat([_aside(part) for part in (unmatched, unknown, misfit, second)])
    if frame.height + repeats.height + aside.height + subtotals.height != values.height:
        raise MethodError(
            f"observation_vintages: {values.height} values in, {frame.height} out, {repeats.height} repeats, "
            f"{aside.height} in quarantine, {subtotals.height} subtotals: rows were lost"
        )
    notes = {
        "values_in": values.height,
        "repeats": repeats.height,
        "subtotals_left_out": subtotals.height,
        "corrected": int(values["corrected"].sum()),
    }
    return Table(frame, pl.concat(edges), aside, notes)


def _one_per_edition(usable: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The value kept for each key of a vintage, cells that repeat it, and cells that contradict it (with reason).

    A cell repeats the value if both agree within half the last digit that its column prints (the coarser of the two).
    """
    column = ("table", "variable", pl.col("source_cell").str.replace(r"![A-Z]+\d+$", ""))
    decimals = pl.col("raw_text").str.extract(r"\.(\d+)").str.len_chars().fill_null(0).max().over(column)
    ranked = (
        usable.with_columns(half_digit=0.5 * pl.lit(10.0).pow(-decimals.cast(pl.Float64)) * pl.col("factor").abs())
        .sort(*VINTAGE_KEY, "priority", "source_cell")
        .with_columns(
            place=pl.int_range(pl.len()).over(VINTAGE_KEY),
            winner=pl.col("source_cell").first().over(VINTAGE_KEY),
            won=pl.col("amount").first().over(VINTAGE_KEY),
            won_half_digit=pl.col("half_digit").first().over(VINTAGE_KEY),
        )
    )
    others = ranked.filter(pl.col("place") > 0)
    coarser = pl.max_horizontal("half_digit", "won_half_digit")
    same = (pl.col("amount") - pl.col("won")).abs() <= coarser + REPEAT_TOLERANCE * pl.col("won").abs()
    second = others.filter(~same).with_columns(
        reason=pl.format("edition {} also says {} at {}, which won", "edition", "won", "winner"),
        fix=pl.lit("withdraw one of the files (`dei sources withdraw`), or set `priority` in their layouts"),
    )
    return ranked.filter(pl.col("place") == 0), others.filter(same), second


def _cell_edges(rows: pl.DataFrame, role: str, coefficient: pl.Expr) -> list[pl.DataFrame]:
    return [
        make_edges(part, VINTAGE_KEY, f"staging/{table}", ["source_cell"], role, coefficient)
        for (table,), part in rows.partition_by("table", as_dict=True).items()
    ]


def _with_regions(values: pl.DataFrame, regions: Regions) -> pl.DataFrame:
    """The values with region_code, or zone_id, or reason and fix."""
    asked = ["label", "year", "code_hint", "province_hint"]
    renamed = values.rename({"label": "header", "region_label": "label"})
    found = []
    for (level,), rows in renamed.partition_by("level", as_dict=True).items():
        names = rows.select(asked).unique(maintain_order=True)
        answers = match(names, regions, level=None if level == "any" else str(level))
        found.append(
            rows.join(
                answers.select(*asked, "region_code", "zone_id", "reason", "fix"),
                on=asked,
                how="left",
                nulls_equal=True,
            )
        )
    return pl.concat(found)


def _unit_keys(printed: pl.Series) -> Callable[[pl.Expr], pl.Expr]:
    keys = {unit: unit_key(unit) for unit in printed.drop_nulls().to_list()}
    return lambda column: column.replace_strict(keys, default=None, return_dtype=pl.String)


def _check_floors(rows: pl.DataFrame, floors: Mapping[str, float]) -> None:
    shares = rows.group_by("table").agg(
        share=pl.col("region_code").is_not_null().mean(),
        first=pl.col("source_cell").filter(pl.col("region_code").is_null()).first(),
        why=pl.col("reason").drop_nulls().first(),
    )
    for table, share, first, why in shares.sort("table").iter_rows():
        if share < floors.get(table, 0.0):
            raise ContractError(
                f"staging/{table}: regions found for {share:.1%} of the values, the floor is {floors[table]:.0%}; "
                f"first failure at {first}: {why}",
                "add the names to reference/region_aliases.csv, or withdraw the file",
            )


def _aside(rows: pl.DataFrame) -> pl.DataFrame:
    parts = rows["source_cell"].str.extract_groups(r"^(?<sha>[^/]*)/(?<sheet>.*)!(?<cell>[A-Z]+\d+)$").struct.unnest()
    return rows.with_columns(parts["sheet"], parts["cell"], file=parts["sha"]).select(
        *(pl.col(c).cast(pl.String) for c in QUARANTINE_COLUMNS),
        pl.col("label").alias("region_label"),
        "year",
        "variable",
        "edition",
        "value",
        "unit",
        "table",
    )


def observations(vintage_rows: pl.DataFrame, variables: pl.DataFrame, peers: Sequence["Peers"]) -> Table:
    """One value a region, year and variable: the latest edition wins; gaps are filled by the imputation ladder.

    Args:
        vintage_rows: rows of core/observation_vintages.
        variables: `variable`, `unit`, `imputation`; those to fill have an imputation other than none.
        peers: the groups that gaps are filled from, each for its own years.

    Returns:
        Table with key region_code, year, variable. Edges: to the winning vintage (coefficient 1), or to the donors of
        an imputed value.
    """
    order = pl.col("edition").str.extract(r"(\d{4})").cast(pl.Int32).fill_null(0)
    winners = (
        vintage_rows.with_columns(_order=order)
        .sort(*KEY, "_order", "edition")
        .unique(KEY, keep="last", maintain_order=True)
        .with_columns(method=pl.lit(None, pl.String))
    )
    to_fill = variables.filter(pl.col("imputation") != "none").select("variable", "imputation")
    panel = winners.select(*KEY, "value").filter(pl.col("variable").is_in(to_fill["variable"].implode()))
    asked = panel.select("year", "variable").unique()
    filled = [
        ladder(panel, to_fill, group.cities, targets=_targets(asked, group))
        for group in peers
        if group.cities.height and panel.height
    ]
    columns = [*KEY, "value", "unit", "status", "edition", "method", "source_id", "source_cell"]
    frame = pl.concat(
        [winners.select(columns), *(_as_observations(table.frame, variables, columns) for table in filled)]
    )
    edges = make_edges(winners, KEY, "core/observation_vintages", VINTAGE_KEY, "vintage", 1.0)
    return Table(
        frame,
        pl.concat([edges, *(table.edges for table in filled)]),
        notes={
            "superseded_vintages": vintage_rows.height - winners.height,
            "imputed": sum(table.notes["imputed"] for table in filled),
            "gaps_left": sum(table.notes["left_missing"] for table in filled),
        },
    )


def _targets(asked: pl.DataFrame, group: "Peers") -> pl.DataFrame:
    years = asked.filter(pl.col("year").is_between(group.first_year, group.last_year))
    return years.join(group.cities.select("region_code"), how="cross").select(KEY)


def _as_observations(rows: pl.DataFrame, variables: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    nothing = [pl.lit(None, pl.String).alias(name) for name in ("edition", "source_id", "source_cell")]
    units = variables.select("variable", "unit")
    return rows.join(units, on="variable", how="left").with_columns(*nothing).select(columns).cast({"year": pl.Int32})


@dataclass(frozen=True)
class Peers:
    """Cities with the groups their gaps are filled from, for a span of years.

    Attributes:
        cities: `region_code`, `tier_id` (may be null), `province_code`.
        first_year, last_year: years whose gaps are filled from these groups, inclusive.
    """

    cities: pl.DataFrame
    first_year: int
    last_year: int


def peer_groups(
    cities: Sequence[str], regions: pl.DataFrame, published_scores: pl.DataFrame, tiers: pl.DataFrame
) -> tuple[Peers, ...]:
    """Peers by province, and for years after a published edition by the tier it gave (never by this run's own result).

    Args:
        cities: region codes to fill.
        regions: `region_code`, `parent_code`.
        published_scores: `region_code`, `year`, `value`: scores that a report published.
        tiers: tiers of the index, highest first, with `tier_id` and `lower`.
    """
    base = pl.DataFrame({"region_code": sorted(set(cities))}, schema={"region_code": pl.String}).join(
        regions.select("region_code", pl.col("parent_code").alias("province_code")).unique("region_code", keep="last"),
        on="region_code",
        how="left",
    )
    plain = base.with_columns(tier_id=pl.lit(None, pl.String))
    if not published_scores.height:
        return (Peers(plain, 0, LAST_YEAR),)
    latest = published_scores.filter(pl.col("year") == pl.col("year").max())
    given = latest.select("region_code").with_columns(
        tier_id=pl.Series(list(tier(latest["value"].to_numpy(), tiers)), dtype=pl.String)
    )
    published = int(latest["year"][0])
    return Peers(plain, 0, published), Peers(base.join(given, on="region_code", how="left"), published + 1, LAST_YEAR)
