"""From the values of yearbook pages to harmonised observations: regions, units, corrections, editions, gaps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from dei_pipeline.errors import ContractError, MethodError
from dei_pipeline.methods import delphi_scores
from dei_pipeline.methods.corrections import CELL_PART, REFERENCE_FILE, Correction, load_corrections, staged
from dei_pipeline.methods.impute import ladder
from dei_pipeline.methods.peers import Peers, peer_groups
from dei_pipeline.methods.reference_basis import PUBLISHED_SCORE
from dei_pipeline.methods.regions import Regions, match
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, make_edges, no_edges, split_source_cell
from dei_pipeline.sources.layouts import Layout, Unit, Variable, unit_key
from dei_pipeline.sources.pages import unreadable

__all__ = ["Correction", "load_corrections", "staged"]  # shared with methods.corrections

KEY = ("region_code", "year", "variable")
VINTAGE_KEY = (*KEY, "edition")
LOWEST_PRIORITY = 99
REPEAT_TOLERANCE = 1e-9  # relative; the same printed number through another unit factor
PEER_INDEX = "dei"  # the index whose published tiers group the cities
OFFICIAL, COMPILED = "official", "compiled"
SELF_STATED = ("title", "column", "header", "sheet")  # evidence for a year that stands on the page itself


def from_pages(
    staging: Mapping[str, pl.DataFrame],
    cells: pl.LazyFrame,
    pages: pl.DataFrame,
    layouts: Sequence[Layout],
    corrections: Sequence[Correction],
    regions: Regions,
    units: Mapping[str, Unit],
    variables: Mapping[str, Variable],
    terms: pl.DataFrame,
) -> Table:
    """`core/observation_vintages` from everything that staging understood; see `staged` and `vintages`.

    Args:
        staging: staging tables that the lake holds, by key.
        cells: staging/page_cells.
        pages: staging/pages.
        layouts: the layouts.
        corrections: reviewed corrections.
        regions: the register of regions.
        units, variables: of the reference files.
        terms: core/indicator_terms.
    """
    values = staged(
        staging, unreadable(cells, pages, corrections), {layout.table: layout.level for layout in layouts}, corrections
    )
    page = pl.concat_str(pl.col("sha256").str.slice(0, 12), pl.lit("/"), "sheet")
    evidence = pages.filter(pl.col("layout").is_not_null()).select(page.alias("page"), "year_from")
    table = vintages(
        values,
        regions,
        unit_table(units),
        variable_table(variables, terms),
        {layout.table: layout.priority for layout in layouts},
        {layout.table: layout.coverage_floor for layout in layouts},
        {sha256[:12]: file for sha256, file in pages.select("sha256", "file").iter_rows()},
        {layout.table: layout.source_class for layout in layouts},
        evidence,
    )
    used = set(table.edges.filter(pl.col("parent_table") == REFERENCE_FILE)["parent_key"])
    applied = [correction.note() for correction in corrections if correction.source_cell in used]
    return replace(table, notes=table.notes | {"corrections": applied})


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
            "zero": [v.zero for v in variables.values()],
        }
    ).with_columns(status=pl.lit("reported"), max_points=pl.lit(None, pl.Float64))
    points = terms.filter(pl.col("role") == "points").select(
        "variable",
        unit=pl.lit("points"),
        imputation=pl.lit("none"),
        zero=pl.lit("value"),
        status=pl.lit("expert"),
        max_points="max_points",
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
    files: Mapping[str, str] | None = None,
    classes: Mapping[str, str] | None = None,
    evidence: pl.DataFrame | None = None,
) -> Table:
    """Every edition's value of every variable, by region code and in canonical units.

    Within one edition the scores that assessors gave a checkpoint are pooled into their mean; of other values the one
    of an official source wins, then of the staging table with the lowest priority number, then of a page that states
    its year itself, then the lowest source cell.

    Args:
        values: staged values of all pages, from `staged`.
        regions: the register of regions that names are matched to.
        units: from `unit_table`.
        variables: from `variable_table`.
        priorities: which staging table wins where two say the same within one edition; lowest first.
        floors: least share of a staging table's values whose region is found.
        files: names of the files by the start of their source cells, for quarantine and errors.
        classes: `official` (default) or `compiled` by staging table.
        evidence: `page` (`<sha256[:12]>/<sheet>`) and `year_from` of each table of a sheet.

    Returns:
        Table with key region_code, year, variable, edition. Subtotals of zones are left out and counted; unmatched
        names, unknown variables or units, zeros that stand for no value, and contradictions within an edition are in
        quarantine. Edges lead to the staging row (role value, coefficient the unit's factor, over the number of scores
        pooled) and to cells that repeat the value (role repeat). A corrected value leads to its correction (role
        correction) and to the cell as it was (role replaced, coefficient 0), a corrected year also to its own (year).

    Raises:
        ContractError: the names of a staging table that are found fall below its floor, or a score that would be pooled
            is out of bounds.
    """
    files = files or {}
    named = _with_regions(values, regions)
    subtotals = named.filter(pl.col("zone_id").is_not_null())
    rest = named.filter(pl.col("zone_id").is_null())
    unmatched = rest.filter(pl.col("region_code").is_null())
    _check_floors(rest, floors, files)
    matched = (
        rest.filter(pl.col("region_code").is_not_null())
        .drop("reason", "fix")
        .join(
            variables.select("variable", "status", "zero", "max_points", canonical_unit="unit"),
            on="variable",
            how="left",
            maintain_order="left",
        )
        .with_columns(unit_key=_unit_keys(rest["unit"].unique())(pl.col("unit")))
        .join(units, on="unit_key", how="left", maintain_order="left")
    )
    unknown = matched.filter(pl.col("canonical_unit").is_null()).with_columns(
        reason=pl.format("variable «{}» is not listed", pl.col("variable").fill_null("none")),
        fix=pl.lit("add it to reference/variables.csv, or to a rubric under methodology/rubrics/"),
    )
    listed = matched.filter(pl.col("canonical_unit").is_not_null())
    same_unit = (pl.col("canonical") == pl.col("canonical_unit")).fill_null(False)
    misfit = listed.filter(~same_unit).with_columns(
        reason=pl.format("unit «{}» cannot be turned into {}", pl.col("unit").fill_null("none"), "canonical_unit"),
        fix=pl.lit("state the unit on the page or in its layout, or add it to reference/units.csv"),
    )
    no_value = (pl.col("zero") == "missing") & (pl.col("value") == 0) & ~pl.col("value_corrected")
    zeros = listed.filter(same_unit & no_value).with_columns(
        reason=pl.lit("an index of 0 stands for no value"),
        fix=pl.lit("if the source means a value, state it in reference/corrections.yml"),
    )
    usable = _graded(listed.filter(same_unit & ~no_value), priorities, classes or {}, evidence)
    scored = pl.col("status") == "expert"
    pooled, scores = _pooled(usable.filter(scored), files)
    kept, repeats, second = _one_per_edition(usable.filter(~scored))
    corrected = pl.col("value_corrected") | pl.col("year_entry").is_not_null()
    frame = pl.concat([kept.select(pooled.columns), pooled]).select(
        *VINTAGE_KEY,
        pl.col("amount").alias("value"),
        pl.col("canonical_unit").alias("unit"),
        pl.when(corrected).then(pl.lit("corrected")).otherwise("status").alias("status"),
        "source_class",
        "source_id",
        "source_cell",
    )
    edges = [
        *_cell_edges(kept, "value", pl.col("factor")),
        *_cell_edges(scores, "value", pl.col("factor") / pl.col("scores")),
        *_cell_edges(repeats, "repeat", pl.lit(0.0)),
    ]
    aside = pl.concat([_aside(part, files) for part in (unmatched, unknown, misfit, zeros, second)])
    more_scores = scores.height - pooled.height
    if frame.height + repeats.height + more_scores + aside.height + subtotals.height != values.height:
        raise MethodError(
            f"observation_vintages: {values.height} values in, {frame.height} out, {repeats.height} repeats, "
            f"{more_scores} scores pooled into others, {aside.height} in quarantine, {subtotals.height} subtotals: "
            "rows were lost"
        )
    notes = {
        "values_in": values.height,
        "repeats": repeats.height,
        "pooled": more_scores,
        "undecided": int(second["undecided"].sum()),
        "subtotals_left_out": subtotals.height,
        "corrected": values.filter(corrected).height,
    }
    return Table(frame, pl.concat([no_edges(), *edges]), aside, notes)


def _graded(
    usable: pl.DataFrame, priorities: Mapping[str, int], classes: Mapping[str, str], evidence: pl.DataFrame | None
) -> pl.DataFrame:
    """The usable values in canonical units with `source_class`, `priority` and `year_rank`: what they win by."""
    if evidence is None:
        evidence = pl.DataFrame(schema={"page": pl.String, "year_from": pl.String})
    stated = evidence.group_by("page").agg(stated=pl.col("year_from").is_in(SELF_STATED).fill_null(False).all())
    own_year = pl.col("stated").fill_null(False) & pl.col("year_entry").is_null()  # a corrected year was no evidence
    return (
        usable.with_columns(
            amount=pl.col("value") * pl.col("factor"),
            source_class=pl.col("table").replace_strict(dict(classes), default=OFFICIAL, return_dtype=pl.String),
            priority=pl.col("table").replace_strict(dict(priorities), default=LOWEST_PRIORITY, return_dtype=pl.Int32),
            page=pl.col("source_cell").str.replace(CELL_PART, ""),
        )
        .join(stated, on="page", how="left", maintain_order="left")
        .with_columns(year_rank=pl.when(own_year).then(0).otherwise(1))
    )


def _pooled(scored: pl.DataFrame, files: Mapping[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The mean of the scores of each key of a vintage, at the lowest source cell, and the scores with their number.

    Raises:
        ContractError: one of several scores is below 0 or above the checkpoint's points (their mean might not be).
    """
    scores = scored.sort(*VINTAGE_KEY, "source_cell").with_columns(scores=pl.len().over(VINTAGE_KEY))
    beyond = scores.filter((pl.col("scores") > 1) & ~pl.col("amount").is_between(0, "max_points").fill_null(True))
    if beyond.height:
        first = beyond.row(0, named=True)
        prefix, sheet, cell = split_source_cell(first["source_cell"])
        raise ContractError(
            f"core/observation_vintages: {beyond.height} score(s) out of bounds; {first['variable']} is "
            f"{first['amount']:g}, not 0 to {first['max_points']:g}: {files.get(prefix, prefix)}, sheet {sheet}, "
            f"cell {cell}",
            "mend the score sheet, or correct it in reference/corrections.yml",
        )
    means = pl.col("amount").mean(), pl.col("value_corrected").any(), pl.col("year_entry").drop_nulls().first()
    others = pl.exclude(*VINTAGE_KEY, "amount", "value_corrected", "year_entry").first()
    return scores.group_by(VINTAGE_KEY, maintain_order=True).agg(others, *means).drop("scores"), scores


def _one_per_edition(usable: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The value kept for each key of a vintage, cells that repeat it, and cells that contradict it (with reason).

    A cell repeats the value if both agree within half the last digit that its column prints (the coarser of the two).
    A contradiction is `undecided` if nothing but the source cell, which says nothing, tells the two apart.
    """
    column = ("table", "variable", pl.col("source_cell").str.replace(CELL_PART, ""))
    decimals = pl.col("raw_text").str.extract(r"\.(\d+)").str.len_chars().fill_null(0).max().over(column)
    grade = pl.concat_str("source_class", "priority", "year_rank", separator="|")
    ranked = (
        usable.with_columns(half_digit=0.5 * pl.lit(10.0).pow(-decimals.cast(pl.Float64)) * pl.col("factor").abs())
        .sort(*VINTAGE_KEY, pl.col("source_class") == COMPILED, "priority", "year_rank", "source_cell")
        .with_columns(
            place=pl.int_range(pl.len()).over(VINTAGE_KEY),
            winner=pl.col("source_cell").first().over(VINTAGE_KEY),
            won=pl.col("amount").first().over(VINTAGE_KEY),
            won_half_digit=pl.col("half_digit").first().over(VINTAGE_KEY),
            undecided=grade == grade.first().over(VINTAGE_KEY),
        )
    )
    others = ranked.filter(pl.col("place") > 0)
    coarser = pl.max_horizontal("half_digit", "won_half_digit")
    same = (pl.col("amount") - pl.col("won")).abs() <= coarser + REPEAT_TOLERANCE * pl.col("won").abs()
    how = pl.when("undecided").then(pl.lit("was kept, undecided by rule")).otherwise(pl.lit("won"))
    second = others.filter(~same).with_columns(
        reason=pl.format("edition {} also says {} at {}, which {}", "edition", "won", "winner", how),
        fix=pl.lit("withdraw one of the files (`dei sources withdraw`), or set `priority` in their layouts"),
    )
    return ranked.filter(pl.col("place") == 0), others.filter(same), second


def _cell_edges(rows: pl.DataFrame, role: str, coefficient: pl.Expr) -> list[pl.DataFrame]:
    """Edges to the cells that values come from; where they were corrected, to the corrections and the cells as read."""
    plain, changed = rows.filter(~pl.col("value_corrected")), rows.filter("value_corrected")
    cell = ["source_cell"]
    dated = rows.filter(pl.col("year_entry").is_not_null())
    return [
        *(
            make_edges(part, VINTAGE_KEY, f"staging/{table}", cell, role, coefficient)
            for (table,), part in plain.partition_by("table", as_dict=True).items()
        ),
        make_edges(changed, VINTAGE_KEY, REFERENCE_FILE, cell, "correction", coefficient),
        make_edges(changed, VINTAGE_KEY, "raw/cells", cell, "replaced", 0.0),
        make_edges(dated, VINTAGE_KEY, REFERENCE_FILE, ["year_entry"], "year").unique(maintain_order=True),
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


def _check_floors(rows: pl.DataFrame, floors: Mapping[str, float], files: Mapping[str, str]) -> None:
    shares = rows.group_by("table").agg(
        share=pl.col("region_code").is_not_null().mean(),
        first=pl.col("source_cell").filter(pl.col("region_code").is_null()).first(),
        why=pl.col("reason").drop_nulls().first(),
    )
    for table, share, first, why in shares.sort("table").iter_rows():
        if share < floors.get(table, 0.0):
            prefix, sheet, cell = split_source_cell(first)
            raise ContractError(
                f"staging/{table}: regions found for {share:.1%} of the values, the floor is {floors[table]:.0%}; "
                f"first failure in {files.get(prefix, prefix)}, sheet {sheet}, cell {cell}: {why}",
                "add the names to reference/region_aliases.csv, or withdraw the file",
            )


def _aside(rows: pl.DataFrame, files: Mapping[str, str]) -> pl.DataFrame:
    parts = rows["source_cell"].str.extract_groups(r"^(?<sha>[^/]*)/(?<sheet>.*)!(?<cell>[A-Z]+\d+)$").struct.unnest()
    file = parts["sha"].replace_strict(dict(files), default=parts["sha"], return_dtype=pl.String)
    return rows.with_columns(parts["sheet"], parts["cell"], file=file).select(
        *(pl.col(c).cast(pl.String) for c in QUARANTINE_COLUMNS),
        pl.col("label").alias("region_label"),
        "year",
        "variable",
        "edition",
        "value",
        "unit",
        "table",
    )


def panel(
    vintage_rows: pl.DataFrame,
    city_lists: pl.DataFrame,
    editions: pl.DataFrame,
    regions: pl.DataFrame,
    tiers: pl.DataFrame,
    variables: Mapping[str, Variable],
    terms: pl.DataFrame,
    delphi: pl.DataFrame | None = None,
) -> Table:
    """`core/observations` from the vintages and Delphi panels; see `observations` and `peer_groups`.

    Args:
        vintage_rows: core/observation_vintages.
        city_lists, editions: core/city_lists and core/editions: gaps are filled for the cities of an index, in the
            variables that it is derived from.
        regions: core/regions.
        tiers: core/tiers.
        variables: of reference/variables.csv.
        terms: core/indicator_terms.
        delphi: core/delphi_scores; None where no panel was asked.
    """
    published = _winners(vintage_rows.filter(pl.col("variable") == PUBLISHED_SCORE))
    lists = editions.select("index_id", list_id="city_list").join(city_lists, on="list_id")
    evaluated = (
        terms.select("index_id", "variable").join(lists, on="index_id").select("region_code", "variable").unique()
    )
    cities = evaluated["region_code"].to_list()
    peers = peer_groups(cities, regions, published, tiers.filter(pl.col("index_id") == PEER_INDEX))
    return observations(vintage_rows, filled_for(variable_table(variables, terms), terms), peers, delphi, evaluated)


def observations(
    vintage_rows: pl.DataFrame,
    variables: pl.DataFrame,
    peers: Sequence[Peers],
    delphi: pl.DataFrame | None = None,
    evaluated: pl.DataFrame | None = None,
) -> Table:
    """One value a region, year and variable; gaps are filled by the imputation ladder.

    The latest edition wins, but a value of an official source wins over a compiled one, whatever their editions. The
    score of a Delphi panel (its round that counts) wins over any vintage.

    Args:
        vintage_rows: rows of core/observation_vintages.
        variables: `variable`, `unit`, `imputation`; those to fill have an imputation other than none.
        peers: the groups that gaps are filled from, each for its own years.
        delphi: core/delphi_scores.
        evaluated: `region_code`, `variable`: the gaps to fill; those of every city of the peers if None.

    Returns:
        Table with key region_code, year, variable. Edges: to the winning vintage (coefficient 1), to the round of a
        Delphi panel (role expert, coefficient 1), or to the donors of an imputed value.
    """
    winners = _winners(vintage_rows).with_columns(method=pl.lit(None, pl.String))
    scored = delphi_scores.counting(pl.DataFrame(schema=delphi_scores.SCHEMA) if delphi is None else delphi, variables)
    held = winners.height
    winners = winners.join(scored, on=KEY, how="anti", maintain_order="left")
    to_fill = variables.filter(pl.col("imputation") != "none").select("variable", "imputation")
    panel = pl.concat([winners.select(*KEY, "value"), scored.select(*KEY, "value")]).filter(
        pl.col("variable").is_in(to_fill["variable"].implode())
    )
    asked = panel.select("year", "variable").unique()
    filled = [
        ladder(panel, to_fill, group.cities, targets=_targets(asked, group, evaluated))
        for group in peers
        if group.cities.height and panel.height
    ]
    columns = [*KEY, "value", "unit", "status", "edition", "method", "source_id", "source_cell"]
    frame = pl.concat(
        [
            winners.select(columns),
            scored.select(columns),
            *(_as_observations(table.frame, variables, columns) for table in filled),
        ]
    )
    edges = [
        make_edges(winners, KEY, "core/observation_vintages", VINTAGE_KEY, "vintage", 1.0),
        make_edges(scored, KEY, "core/delphi_scores", [*KEY, "round"], "expert", 1.0),
    ]
    return Table(
        frame,
        pl.concat([*edges, *(table.edges for table in filled)]),
        notes={
            "superseded_vintages": vintage_rows.height - held,
            "yielding_to_delphi": held - winners.height,
            "imputed": sum(table.notes["imputed"] for table in filled),
            "gaps_left": sum(table.notes["left_missing"] for table in filled),
        },
    )


def _winners(vintage_rows: pl.DataFrame) -> pl.DataFrame:
    """The vintage that counts of each region, year and variable."""
    official = pl.col("source_class") != COMPILED
    published = pl.col("edition").str.extract(r"(\d{4})").cast(pl.Int32).fill_null(0)
    return vintage_rows.sort(*KEY, official, published, "edition").unique(KEY, keep="last", maintain_order=True)


def _targets(asked: pl.DataFrame, group: Peers, evaluated: pl.DataFrame | None) -> pl.DataFrame:
    """The cells of a group whose gaps are filled."""
    years = asked.filter(pl.col("year").is_between(group.first_year, group.last_year))
    cells = years.join(group.cities.select("region_code"), how="cross").select(KEY)
    return cells if evaluated is None else cells.join(evaluated, on=["region_code", "variable"], how="semi")


def _as_observations(rows: pl.DataFrame, variables: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    nothing = [pl.lit(None, pl.String).alias(name) for name in ("edition", "source_id", "source_cell")]
    units = variables.select("variable", "unit")
    return rows.join(units, on="variable", how="left").with_columns(*nothing).select(columns).cast({"year": pl.Int32})
