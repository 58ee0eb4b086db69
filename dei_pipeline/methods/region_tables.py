"""The reviewed tables of regions: GB/T 2260 codes with validity, aliases, successors, clusters and zones.

A region is in force in the years in which it existed on 31 December. The table begins in 1990: earlier years are
judged as 1990. Where a region was re-coded as a whole (毕节地区 522400 -> 毕节市 520500 in 2011) both codes are one
*entity*: any of its names finds the code in force in the year asked for.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.provenance import Table, make_edges

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
HORIZON = 1990
OPEN = 9999
HOW_RANK = {"exact": 0, "short": 1, "alias": 2, "english": 3, "code": 4}
_YEARS = {"valid_from": pl.Int32, "valid_to": pl.Int32, "year": pl.Int32, "share": pl.Float64, "evaluated": pl.Int32}
_FILES = {
    "regions": "region_code valid_from valid_to name_zh short_name_zh name_en level kind parent_code successor_code",
    "region_aliases": "alias region_code valid_from valid_to note",
    "region_successors": "region_code year successor_code share",
    "clusters": "cluster_id name_zh name_en region_code edition evaluated",
    "zones": "zone_id name_zh region_code scheme source",
    "zone_labels": "label zone_id",
    "city_lists": "list_id region_code note basis",
}


def label_key(column: str) -> pl.Expr:
    """The form of a printed name that is compared: its Chinese characters, or else its Latin letters in lower case.

    Spaces (also U+3000), footnote marks, digits, `#`, punctuation and English glued to a Chinese name drop out, and
    so do `市区`, `市辖区` and `全市` behind a name, `其中` before it and a bracket that gives a former name; from an
    English name the word for its rank (city, province, prefecture ...) drops out. Empty where nothing is left.

    Args:
        column: name of a text column.
    """
    text = pl.col(column).str.normalize("NFKC").str.replace_all(r"[(\[〔【][^)\]〕】]*原[^)\]〕】]*[)\]〕】]", "")
    chinese = (
        text.str.replace_all(r"[^\p{Han}]", "")
        .str.replace(r"^其中", "")
        .str.replace(r"^(\p{Han}{2,}?)市?(?:市辖区|市区|全市)$", "${1}市")
    )
    latin = (
        text.str.normalize("NFKD")
        .str.to_lowercase()
        .str.replace_all(r"[^a-z]", "")
        .str.replace(
            r"^(.{2,}?)(?:city|province|municipality|autonomousregion|autonomousprefecture|prefecture|sar)+$", "$1"
        )
    )
    return pl.when(chinese.str.len_chars() > 0).then(chinese).otherwise(latin)


def code_key(column: str) -> pl.Expr:
    """The six digits of a printed code (`310000`, `310000.0`, the twelve digits of the statistical code), else null."""
    return pl.col(column).str.normalize("NFKC").str.strip_chars().str.extract(r"^(\d{6})(?:\.0+|0{6})?$", 1)


def _read(folder: Path, name: str) -> pl.DataFrame:
    """One reference file; raises `ReferenceFileError` where it is absent or lacks a column."""
    path, columns = folder / f"{name}.csv", _FILES[name].split()
    if not path.is_file():
        raise ReferenceFileError(f"reference/{name}.csv is missing", f"restore it in {folder.name}/")
    try:
        return pl.read_csv(path, schema={c: _YEARS.get(c, pl.String()) for c in columns})
    except (pl.exceptions.PolarsError, OSError) as error:
        text = str(error).splitlines()[0]
        raise ReferenceFileError(
            f"reference/{name}.csv cannot be read: {text}", f"columns: {', '.join(columns)}"
        ) from error


def _entities(rows: pl.DataFrame, successors: pl.DataFrame) -> list[int]:
    """The entity of each row: rows linked by a succession of the whole (share 1) with no other predecessor are one."""
    start = {(code, first): i for i, (code, first) in enumerate(rows.select("region_code", "valid_from").iter_rows())}
    predecessors: dict[tuple[str, int], int] = {}
    for _, year, to, _ in successors.iter_rows():
        predecessors[to, year] = predecessors.get((to, year), 0) + 1
    entity = list(range(rows.height))
    last = {(code, end + 1): i for i, (code, end) in enumerate(rows.select("region_code", "valid_to").iter_rows())}
    for code, year, to, share in successors.sort("year").iter_rows():
        before, after = last.get((code, year)), start.get((to, year))
        if before is not None and after is not None and share == 1 and predecessors[to, year] == 1:
            entity[after] = entity[before]
    return entity


def _histories(rows: pl.DataFrame, successors: pl.DataFrame) -> pl.DataFrame:
    """Per entity its span and the sentences that say when it began and how it ended."""
    names = dict(rows.sort("valid_from").select("region_code", "name_zh").iter_rows())
    into: dict[tuple[str, int], list[str]] = {}
    for code, year, to, _ in successors.iter_rows():
        into.setdefault((code, year), []).append(f"{names.get(to, '?')} ({to})")
    spans = (
        rows.sort("valid_from")
        .group_by("entity", maintain_order=True)
        .agg(
            pl.col("valid_from").first().alias("begin"),
            pl.col("valid_to").last().alias("end"),
            pl.col("name_zh").last().alias("name"),
            pl.col("name_zh").first().alias("first_name"),
            pl.col("region_code").last().alias("code"),
        )
    )
    gone, heirs = [], []
    for begin, end, name, code in spans.select("begin", "end", "name", "code").iter_rows():
        found = into.get((code, end + 1), []) if begin else []
        verb = "was dissolved in {} into {}" if len(found) < 2 else "was dissolved in {} and split over {}"
        gone.append(f"{name} " + verb.format(end + 1, ", ".join(found) or "nothing"))
        heirs.append("; ".join(found))
    return spans.with_columns(
        pl.Series("gone", gone),
        pl.Series("heirs", heirs),
        pl.format("{} ({}) exists only since {}", "name", "code", "begin").alias("unborn"),
    )


@dataclass(frozen=True)
class Regions:
    """The reviewed tables of regions, ready for matching.

    Attributes:
        table: `regions.csv`, one row per region and period, plus `row` and `entity`; an open `valid_to` is 9999.
        aliases, successors, clusters, zones, zone_labels, city_lists: the files of the same names.
        forms: every key a name can have: key, row, how, window_from, window_to (null: as long as the entity).
        refusals: keys that are known to name no region: key, note.
        histories: per entity its span and how it ended, in words.
    """

    table: pl.DataFrame
    aliases: pl.DataFrame
    successors: pl.DataFrame
    clusters: pl.DataFrame
    zones: pl.DataFrame
    zone_labels: pl.DataFrame
    city_lists: pl.DataFrame
    forms: pl.DataFrame
    refusals: pl.DataFrame
    histories: pl.DataFrame

    @classmethod
    def load(cls, folder: Path = REFERENCE) -> "Regions":
        """The tables of a folder of reference files.

        Args:
            folder: where `regions.csv` and its companions lie.

        Raises:
            ReferenceFileError: a file is missing, unreadable, has overlapping periods, or names an unknown code.
        """
        files = {name: _read(folder, name) for name in _FILES}
        table = files["regions"].with_columns(pl.col("valid_to").fill_null(OPEN)).with_row_index("row")
        successors = files["region_successors"]
        _check_files(table, files)
        table = table.with_columns(pl.Series("entity", _entities(table.drop("row"), successors), dtype=pl.UInt32))
        named = files["region_aliases"].with_columns(label_key("alias").alias("key"), code_key("alias").alias("code"))
        zone_labels = files["zone_labels"].with_columns(label_key("label").alias("key")).unique("key", keep="first")
        return cls(
            table=table,
            aliases=files["region_aliases"],
            successors=successors,
            clusters=files["clusters"],
            zones=files["zones"],
            zone_labels=zone_labels,
            city_lists=files["city_lists"],
            forms=_forms(table, named.filter(pl.col("region_code").is_not_null())),
            refusals=named.filter(pl.col("region_code").is_null()).select("key", "note").unique("key", keep="first"),
            histories=_histories(table, successors),
        )

    def in_force(self, year: int | None = None) -> pl.DataFrame:
        """The rows of `table` in force on 31 December of a year (None: today's table)."""
        at = OPEN if year is None else max(year, HORIZON)
        return self.table.filter(pl.lit(at).is_between("valid_from", "valid_to"))


def _check_files(table: pl.DataFrame, files: dict[str, pl.DataFrame]) -> None:
    """Raises `ReferenceFileError` for overlapping periods and for codes or zones that are defined nowhere."""
    overlap = table.sort("region_code", "valid_from").filter(
        (pl.col("valid_to").shift(1).over("region_code") >= pl.col("valid_from"))
        | (pl.col("valid_to") < pl.col("valid_from"))
    )
    if overlap.height:
        raise ReferenceFileError(
            f"reference/regions.csv: periods of {overlap['region_code'][0]} overlap", "correct the years"
        )
    known = table.select("region_code")
    for name, column in (
        ("region_aliases", "region_code"),
        ("region_successors", "region_code"),
        ("clusters", "region_code"),
        ("region_successors", "successor_code"),
        ("zones", "region_code"),
        ("city_lists", "region_code"),
        ("regions", "parent_code"),
        ("regions", "successor_code"),
    ):
        lost = files[name].drop_nulls(column).join(known, left_on=column, right_on="region_code", how="anti")
        if lost.height:
            raise ReferenceFileError(
                f"reference/{name}.csv: {column} {lost[column][0]} is not in reference/regions.csv",
                "add it or correct it",
            )
    shares = (
        files["region_successors"]
        .group_by("region_code", "year")
        .agg(pl.col("share").sum(), pl.col("share").null_count().alias("without"), pl.len().alias("n"))
    )
    wrong = shares.filter(
        ~((pl.col("without") == pl.col("n")) | ((pl.col("without") == 0) & ((pl.col("share") - 1).abs() < 1e-9)))
    )
    if wrong.height:
        raise ReferenceFileError(
            f"reference/region_successors.csv: shares of {wrong['region_code'][0]} do not add up to 1",
            "give every successor a share, or none",
        )


def _keys(rows: pl.DataFrame, key: pl.Expr, how: str) -> pl.DataFrame:
    """Keys of region rows that hold as long as the region's entity: key, row, how, window_from, window_to."""
    none = pl.lit(None, pl.Int32)
    window = (none.alias("window_from"), none.alias("window_to"))
    return rows.select(key.alias("key"), "row", pl.lit(how).alias("how"), *window)


def _forms(table: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """All keys that find a row: official, short and English names, regular variants, aliases and codes."""
    kind, short = pl.col("kind"), pl.col("short_name_zh")
    prefectures = table.filter(kind == "autonomous_prefecture")
    latest = table.sort("valid_from").unique("region_code", keep="last")
    windowed = pl.col("valid_from").is_not_null() | pl.col("valid_to").is_not_null()
    english = pl.col("key").str.contains("^[a-z]")
    named = pl.when(english).then(pl.lit("english")).otherwise(pl.lit("alias"))
    extra = aliases.join(latest.select("region_code", "row"), on="region_code").select(
        pl.coalesce("code", "key").alias("key"),
        "row",
        pl.when(pl.col("code").is_not_null()).then(pl.lit("code")).otherwise(named).alias("how"),
        pl.when(windowed).then(pl.col("valid_from").fill_null(HORIZON)).alias("window_from"),
        pl.when(windowed).then(pl.col("valid_to").fill_null(OPEN)).alias("window_to"),
    )
    parts = [
        _keys(table, label_key("name_zh"), "exact"),
        _keys(table, label_key("short_name_zh"), "short"),
        _keys(table, label_key("name_en"), "english"),
        _keys(prefectures, short.str.strip_suffix("州") + "州", "short"),
        _keys(prefectures, short + "自治州", "short"),
        _keys(prefectures, pl.col("name_zh").str.strip_suffix("自治州"), "short"),
        _keys(prefectures, pl.col("name_zh").str.strip_suffix("自治州") + "州", "short"),
        _keys(table.filter(kind == "autonomous_region"), pl.col("name_zh").str.strip_suffix("自治区"), "short"),
        _keys(table.filter(kind == "autonomous_region"), short + "自治区", "short"),
        extra,
        _keys(table, pl.col("region_code"), "code"),
    ]
    rank = pl.col("how").replace_strict(HOW_RANK, return_dtype=pl.Int32).alias("how_rank")
    forms = pl.concat(parts).with_columns(rank).sort("how_rank").unique(["key", "row", "window_from"], keep="first")
    kept = ("row", "entity", "region_code", "valid_from", "valid_to", "kind", "level", "parent_code")
    return forms.join(table.select(kept), on="row").sort("key", "how_rank", "row")


def current_names(regions: Regions) -> pl.DataFrame:
    """The latest name of each code: region_code, shown_name."""
    latest = regions.table.sort("valid_from").unique("region_code", keep="last")
    return latest.select("region_code", pl.col("name_zh").alias("shown_name"))


def successor_shares(codes: pl.DataFrame, regions: Regions, target_year: int) -> pl.DataFrame:
    """Where a number of a region belongs in a later year: region_code, year, successor_code, share, reason.

    A region in force in `target_year` keeps its own code with share 1. Shares multiply along the chain. A split without
    shares has no numeric successor: successor_code and share are null and `reason` says so [methodology §0a, Regions].

    Args:
        codes: region_code (str), year (i32), distinct rows.
        regions: the reviewed tables.
        target_year: the year whose regions are wanted.
    """
    renamed = (pl.col("region_code") == pl.col("successor_code")) & (pl.col("share") == 1)
    events = regions.successors.filter(~renamed & (pl.col("year") <= target_year)).select(
        pl.col("region_code").alias("at_code"),
        pl.col("year").alias("event"),
        "successor_code",
        pl.col("share").alias("part"),
    )
    frontier = codes.select("region_code", "year").with_columns(
        pl.col("region_code").alias("at_code"),
        pl.col("year").cast(pl.Int32).clip(HORIZON).alias("at_year"),
        pl.lit(1.0).alias("share"),
    )
    done: list[pl.DataFrame] = []
    identity = ["region_code", "year", "at_code", "at_year", "share"]
    while frontier.height:
        onward = frontier.join(events, on="at_code", how="left").filter(
            pl.col("event").is_null() | (pl.col("event") > pl.col("at_year"))
        )
        onward = onward.filter(pl.col("event").is_null() | (pl.col("event") == pl.col("event").min().over(identity)))
        stays = frontier.join(onward.filter(pl.col("event").is_not_null()), on=identity, how="anti")
        lost = onward.filter(pl.col("event").is_not_null() & pl.col("part").is_null()).unique(identity)
        done.append(
            stays.select(
                "region_code",
                "year",
                pl.col("at_code").alias("successor_code"),
                "share",
                pl.lit(None, pl.String()).alias("reason"),
            )
        )
        done.append(
            lost.select(
                "region_code",
                "year",
                pl.lit(None, pl.String()).alias("successor_code"),
                pl.lit(None, pl.Float64).alias("share"),
                pl.format(
                    "{} was split in {} and reference/region_successors.csv gives no shares", "at_code", "event"
                ).alias("reason"),
            )
        )
        frontier = onward.filter(pl.col("part").is_not_null()).select(
            "region_code",
            "year",
            pl.col("successor_code").alias("at_code"),
            pl.col("event").alias("at_year"),
            (pl.col("share") * pl.col("part")).alias("share"),
        )
    total = pl.concat(done).group_by("region_code", "year", "successor_code", "reason").agg(pl.col("share").sum())
    return (
        total.with_columns(pl.when(pl.col("reason").is_null()).then("share").alias("share"))
        .select("region_code", "year", "successor_code", "share", "reason")
        .sort("region_code", "year", "successor_code")
    )


def _table(frame: pl.DataFrame, key: list[str], file: str) -> Table:
    """A reference table as a lake table: every row comes from the row of the file with the same key."""
    return Table(
        frame=frame,
        edges=make_edges(frame, key, f"reference/{file}", key, role="definition"),
        notes={"rows": frame.height},
    )


def core_regions(regions: Regions) -> Table:
    """The contract table `core/regions`, key region_code and valid_from.

    Columns besides: name_zh, short_name_zh, name_en, level, kind, parent_code, valid_to (null: in force),
    successor_code.
    """
    frame = regions.table.select(
        "region_code",
        "valid_from",
        "name_zh",
        "short_name_zh",
        "name_en",
        "level",
        "kind",
        "parent_code",
        pl.col("valid_to").replace(OPEN, None).alias("valid_to"),
        "successor_code",
    ).sort("region_code", "valid_from")
    return _table(frame, ["region_code", "valid_from"], "regions.csv")


def core_clusters(regions: Regions) -> Table:
    """The table `core/clusters`: cluster_id, region_code, names, edition, evaluated (0: a member without a score)."""
    frame = regions.clusters.select("cluster_id", "region_code", "name_zh", "name_en", "edition", "evaluated")
    return _table(frame.sort("cluster_id", "region_code"), ["cluster_id", "region_code"], "clusters.csv")


def core_zones(regions: Regions) -> Table:
    """The table `core/zones`: zone_id, region_code (a province), name_zh, scheme."""
    frame = regions.zones.select("zone_id", "region_code", "name_zh", "scheme").sort("zone_id", "region_code")
    return _table(frame, ["zone_id", "region_code"], "zones.csv")


def core_city_lists(regions: Regions) -> Table:
    """The table `core/city_lists`: list_id, region_code of the cities that an index evaluates, and why it is listed."""
    frame = regions.city_lists.select("list_id", "region_code", "basis").sort("list_id", "region_code")
    return _table(frame, ["list_id", "region_code"], "city_lists.csv")
