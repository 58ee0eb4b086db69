"""Key projects of cities: their kind by a reviewed lexicon, their investment in 亿元, each project of a list once."""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dei_pipeline.errors import ContractError, MethodError, ReferenceFileError
from dei_pipeline.methods.regions import LEVELS, Regions, match
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, make_edges, split_source_cell
from dei_pipeline.sources.labels import key_expr
from dei_pipeline.sources.layouts import Unit, unit_key

KEY = ["project_id", "region_code", "year"]
STAGED, PROJECTS = "staging/project_records", "core/projects"
FILE = "reference/lexicons/project_kinds.csv"
FIELDS = ("kind", "kind_zh", "kind_en", "is_new_infrastructure", "decides", "term", "note")
DECIDES = ("kind", "class", "field")  # what a term settles: the kind, only whether it is new infrastructure, nothing
OTHER = "other"
LATIN = r"([0-9A-Z]+)"
YES, NO = r"^(?:是|√|✓|Y|YES|1|TRUE|新基建|新型基础设施)$", r"^(?:否|×|X|N|NO|0|FALSE)$"
CITY_PART = r"^(.{2,}?(?:市|自治州|盟|地区))."  # «深圳市南山区»: 深圳市
ID_DIGITS = 16


@dataclass(frozen=True)
class ProjectKinds:
    """The reviewed lexicon of kinds of projects.

    Attributes:
        terms: `term`, `kind`, `is_new`, `decides`.
        names: Chinese name of each kind.
        unspecified: kind of new infrastructure of which no more is known.
    """

    terms: pl.DataFrame
    names: Mapping[str, str]
    unspecified: str


def load_kinds(path: Path) -> ProjectKinds:
    """The lexicon of a file with the columns `FIELDS`, a row for each term.

    Raises:
        ReferenceFileError: the file is missing, columns differ, a value is none of those allowed, a term stands twice,
            or a kind has two names or classes; names the line.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ReferenceFileError(f"{FILE}: {error.strerror}", "restore the file") from error
    if not rows or tuple(rows[0]) != FIELDS:
        raise ReferenceFileError(f"{FILE}: columns are not {', '.join(FIELDS)}", "restore the header")
    kinds: dict[str, tuple[str, str, str]] = {}
    terms = [row["term"] for row in rows]
    for number, row in enumerate(rows, start=2):
        said = (row["kind_zh"], row["kind_en"], row["is_new_infrastructure"])
        wrong = (
            f"decides «{row['decides']}» is none of {', '.join(DECIDES)}" if row["decides"] not in DECIDES
            else f"is_new_infrastructure «{said[2]}» is neither 0 nor 1" if said[2] not in ("0", "1")
            else "kind, kind_zh, kind_en or term is empty" if not all((row["kind"], *said, row["term"]))
            else f"term «{row['term']}» stands twice" if terms.count(row["term"]) > 1
            else f"kind {row['kind']} is described otherwise above" if kinds.get(row["kind"], said) != said
            else ""
        )  # fmt: skip
        if wrong:
            raise ReferenceFileError(f"{FILE}, line {number}: {wrong}", "correct the line")
        kinds[row["kind"]] = said
    frame = pl.DataFrame(
        [(row["term"], row["kind"], row["is_new_infrastructure"] == "1", row["decides"]) for row in rows],
        schema={"term": pl.String, "kind": pl.String, "is_new": pl.Boolean, "decides": pl.String},
        orient="row",
    )
    spelled = frame.with_columns(spelled=_spelled(pl.col("term")))
    if (alike := spelled.filter(pl.col("spelled").is_duplicated())).height:
        raise ReferenceFileError(f"{FILE}: {' and '.join(alike['term'].head(2))} read alike", "remove one")
    fresh = frame.filter(pl.col("is_new") & (pl.col("decides") == "class"))["kind"]
    if not fresh.len():
        raise ReferenceFileError(f"{FILE}: no term decides that a project is new infrastructure", "restore 新基建")
    return ProjectKinds(frame, {kind: said[0] for kind, said in kinds.items()}, str(fresh[0]))


# -- kinds -------------------------------------------------------------------------------------------------------------
def _spelled(text: pl.Expr) -> pl.Expr:
    """Text in compatibility form, capitals, without blanks, runs of Latin letters and digits marked off by «|»."""
    plain = text.str.normalize("NFKC").str.to_uppercase().str.replace_all(r"\s+", "")
    return plain.str.replace_all(LATIN, "|${1}|")


def longest_terms(texts: pl.Series, kinds: ProjectKinds) -> pl.DataFrame:
    """The longest term of each sort that a text holds, the first of those equally long.

    Terms may overlap, and Latin terms are whole words: «5G» is not in «15G».

    Args:
        texts: any texts.
        kinds: the lexicon.

    Returns:
        `text` (each once), and for `new` and `old` (kinds), `class` and `field` the term's kind, `<sort>_kind`, its
        length in characters, `<sort>_length`, and of `class` its `class_is_new`; null where the text holds none.
    """
    spelled = kinds.terms.with_columns(spelled=_spelled(pl.col("term")))
    hits = (
        texts.drop_nulls()
        .unique(maintain_order=True)
        .to_frame("text")
        .with_columns(found=_spelled(pl.col("text")).str.extract_many(spelled["spelled"].to_list(), overlapping=True))
    )
    result = hits.select("text")
    long = hits.explode("found", empty_as_null=False).drop_nulls("found").with_row_index("place")
    long = long.join(spelled, left_on="found", right_on="spelled", maintain_order="left")
    long = long.with_columns(
        length=pl.col("term").str.len_chars(),
        sort=pl.when(pl.col("decides") != "kind")
        .then("decides")
        .otherwise(pl.when("is_new").then(pl.lit("new")).otherwise(pl.lit("old"))),
    ).sort(pl.col("length"), "place", descending=[True, False])
    for sort in ("new", "old", "class", "field"):
        best = long.filter(pl.col("sort") == sort).unique("text", keep="first", maintain_order=True)
        own = best.select("text", pl.col("kind", "length", "is_new").name.prefix(f"{sort}_"))
        result = result.join(own, on="text", how="left", maintain_order="left")
    return result.drop("new_is_new", "old_is_new", "field_is_new")


def classify(projects: pl.DataFrame, kinds: ProjectKinds) -> pl.DataFrame:
    """The projects with `kind`, `is_new_infrastructure` and `kind_from`: list, name, or nothing.

    What the list states decides: its column «是否新基建»; else of its column of kinds, or of the heading above the row
    if that column says nothing, a term for the class (新基建, 传统基建), or the longest term for a kind. Where it
    settles only the class, the name gives the kind within it. Where it states a field in which both classes occur
    (交通, 产业) or nothing, the name decides; where the name says nothing either, the field stands, or `other`, and the
    project is no new infrastructure.

    Args:
        projects: `name`, `kind_label`, `heading`, `is_new_label`.
        kinds: the lexicon.
    """
    texts = pl.concat([projects[name] for name in ("name", "kind_label", "heading")])
    found = longest_terms(texts, kinds)
    sorts = [name for name in found.columns if name != "text"]
    rows = projects
    for name, prefix in (("kind_label", "k"), ("heading", "h"), ("name", "n")):
        own = found.rename({column: f"{prefix}_{column}" for column in sorts})
        rows = rows.join(own, left_on=name, right_on="text", how="left", maintain_order="left")
    says = pl.any_horizontal(pl.col(f"k_{sort}_kind").is_not_null() for sort in ("new", "old", "class", "field"))
    rows = rows.with_columns(
        pl.when(says).then(f"k_{name}").otherwise(f"h_{name}").alias(f"s_{name}") for name in sorts
    )
    flag = pl.col("is_new_label").str.normalize("NFKC").str.to_uppercase().str.strip_chars()
    stated = pl.when(flag.str.contains(YES)).then(True).when(flag.str.contains(NO)).then(False)
    by_kind = _new_is_longer("s")
    is_new = pl.coalesce(stated, "s_class_is_new", by_kind)
    within = [pl.when(is_new).then(f"{p}_new_kind").otherwise(f"{p}_old_kind") for p in ("s", "n")]
    loose = pl.when(~is_new).then(pl.coalesce("s_field_kind", "n_field_kind"))
    of_class = pl.when(pl.col("s_class_is_new") == is_new).then("s_class_kind")
    unspecified = pl.when(is_new).then(pl.lit(kinds.unspecified)).otherwise(pl.lit(OTHER))
    fixed = pl.coalesce(*within, loose, of_class, unspecified)
    named_new = pl.coalesce(_new_is_longer("n"), "n_class_is_new")
    named = pl.when(_new_is_longer("n")).then("n_new_kind").otherwise(pl.coalesce("n_old_kind", "n_class_kind"))
    open_kind = pl.coalesce(named, "s_field_kind", "n_field_kind", pl.lit(OTHER))
    listed = (
        pl.when(named.is_not_null() & named.ne_missing(pl.col("s_field_kind"))).then(pl.lit("name"))
        .when(pl.col("s_field_kind").is_not_null()).then(pl.lit("list"))
        .when(pl.col("n_field_kind").is_not_null()).then(pl.lit("name")).otherwise(pl.lit("nothing"))
    )  # fmt: skip
    settled = is_new.is_not_null()
    return rows.with_columns(
        kind=pl.when(settled).then(fixed).otherwise(open_kind),
        is_new_infrastructure=pl.coalesce(is_new, named_new, pl.lit(False)),
        kind_from=pl.when(settled).then(pl.lit("list")).otherwise(listed),
    ).select(*projects.columns, "kind", "is_new_infrastructure", "kind_from")


def _new_is_longer(prefix: str) -> pl.Expr:
    """Whether the longest term for a kind is one of new infrastructure (on a tie it is); null without a term."""
    new, old = pl.col(f"{prefix}_new_length"), pl.col(f"{prefix}_old_length")
    return pl.when(new.is_not_null() | old.is_not_null()).then(new.fill_null(0) >= old.fill_null(0))


# -- the table ---------------------------------------------------------------------------------------------------------
def projects(records: pl.DataFrame, regions: Regions, units: Mapping[str, Unit], kinds: ProjectKinds) -> Table:
    """`core/projects`: each project of a city's list of a year once, with its kind and investment in 亿元.

    A project is its name within the city and year; a list that names two projects alike with other investments has
    two. Of a project in several files the latest edition counts. `status` is `estimated` where the kind is taken from
    the name, or the investment is printed as approximate.

    Args:
        records: staging/project_records.
        regions: the register of regions; a row's region, its city («深圳市南山区»), or the list's region counts.
        units: of reference/units.csv.
        kinds: the lexicon of kinds.

    Returns:
        Table with key project_id, region_code, year. Edges to staging/project_records: role value with the factor to
        亿元 as coefficient; role repeat (0) for rows that say the same again, superseded (0) for other editions.
        Quarantined: regions that are unknown, or no city.

    Raises:
        ContractError: no project can be used; names the first and why.
        MethodError: rows were lost, or a unit is none of money.
    """
    placed = _with_regions(records.sort("source_cell"), regions)
    aside = _quarantined(placed.filter(pl.col("reason").is_not_null()))
    kept = placed.filter(pl.col("reason").is_null())
    if not kept.height:
        first = aside.row(0, named=True)
        place = f"{first['file']}, sheet {first['sheet']}, cell {first['cell']}"
        raise ContractError(
            f"{PROJECTS}: none of {records.height} projects can be used; first failure in {place}: {first['reason']}",
            first["fix"],
        )
    factors = {u: known.factor for u in kept["unit"].unique() if (known := units.get(unit_key(u)))}
    if strange := set(kept["unit"]) - set(factors):
        raise MethodError(f"{PROJECTS}: unit «{min(strange)}» is not in reference/units.csv", "add it there")
    kept = kept.with_columns(factor=pl.col("unit").replace_strict(factors, return_dtype=pl.Float64))
    kept = kept.with_columns(investment=pl.col("value") * pl.col("factor"))
    once, repeats, superseded = _once(kept)
    if once.height + repeats.height + superseded.height + aside.height != records.height:
        raise MethodError(
            f"{PROJECTS}: {records.height} records in, {once.height} projects, {repeats.height} repeats, "
            f"{superseded.height} superseded, {aside.height} in quarantine: rows were lost"
        )
    frame = classify(once, kinds)
    loose = (pl.col("kind_from") != "list") | pl.col("approximate")
    frame = frame.with_columns(status=pl.when(loose).then(pl.lit("estimated")).otherwise(pl.lit("reported")))
    edges = [
        make_edges(frame, KEY, STAGED, ["source_cell"], "value", pl.col("factor")),
        make_edges(repeats, KEY, STAGED, ["source_cell"], "repeat", 0.0),
        make_edges(superseded, KEY, STAGED, ["source_cell"], "superseded", 0.0),
    ]
    notes = {
        "records_in": records.height,
        "repeats": repeats.height,
        "superseded": superseded.height,
        "kinds_by_name": frame.filter(kind_from="name").height,
        "kinds_unknown": frame.filter(kind_from="nothing").height,
        "approximate": int(frame["approximate"].sum()),
    }
    columns = ["project_id", "region_code", "year", "name", "kind", "kind_label", "kind_from", "is_new_infrastructure",
               "investment", "stage", "status", "scope_note", "edition", "source_id", "source_cell"]  # fmt: skip
    return Table(frame.select(columns), pl.concat(edges), aside, notes)


def _with_regions(records: pl.DataFrame, regions: Regions) -> pl.DataFrame:
    """The records with region_code, or reason and fix; the row's own region counts before the list's."""
    said = ["region_label", "list_region_label", "code_hint", "province_hint", "year"]
    asked = records.select(said).unique(maintain_order=True)
    city = pl.col("region_label").str.extract(CITY_PART)
    hints = ["code_hint", "province_hint"]
    labels = [pl.coalesce("region_label", "list_region_label"), city, pl.col("list_region_label")]
    kinds = dict(regions.table.select("region_code", "kind").iter_rows())
    for at, label in enumerate(labels):
        beside = [pl.col(hint) if at == 0 else pl.lit(None, pl.String).alias(hint) for hint in hints]
        found = match(asked.select(label.fill_null("").alias("label"), "year", *beside), regions, level="city")
        kind = found["region_code"].replace_strict(kinds, default=None, return_dtype=pl.String)
        asked = asked.with_columns(
            pl.when(kind.is_in(LEVELS["city"])).then(found["region_code"]).alias(f"code{at}"),
            pl.when(kind.is_not_null()).then(pl.format("«{}» is no city", found["label"]))
            .when(found["zone_id"].is_not_null()).then(pl.format("«{}» is a group of regions", found["label"]))
            .otherwise(found["reason"]).alias(f"reason{at}"),
            pl.when(found["fix"].is_null()).then(pl.lit("give the city in a column «城市», in a copy of the file"))
            .otherwise(found["fix"]).alias(f"fix{at}"),
        )  # fmt: skip
    code = pl.coalesce("code0", "code1", "code2")
    answers = asked.select(
        *said,
        region_code=code,
        reason=pl.when(code.is_null()).then("reason0"),
        fix=pl.when(code.is_null()).then("fix0"),
    )
    return records.join(answers, on=said, how="left", nulls_equal=True, maintain_order="left")


def _once(kept: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The projects with `project_id`, the rows that repeat one of them, and those that a later edition replaces."""
    city = ["region_code", "year", "name_key"]
    rows = kept.with_columns(
        name_key=key_expr(pl.col("name")), sha=pl.col("source_cell").str.head(12), own=pl.int_range(pl.len())
    )
    same = [*city, "sha", "investment"]
    rows = rows.with_columns(again=pl.int_range(pl.len()).over(same) > 0)
    first = rows.filter(~pl.col("again")).with_columns(which=pl.int_range(pl.len()).over([*city, "sha"]))
    which = first.select(*same, "which")
    rows = rows.join(which, on=same, how="left", maintain_order="left")
    ids = rows.select("region_code", "name_key", "which").unique(maintain_order=True)
    ids = ids.with_columns(
        pl.Series(
            "project_id",
            [hashlib.sha256("|".join(map(str, row)).encode()).hexdigest()[:ID_DIGITS] for row in ids.iter_rows()],
        )
    )
    rows = rows.join(ids, on=["region_code", "name_key", "which"], how="left", maintain_order="left")
    files = rows.filter(~pl.col("again")).sort("edition", "source_cell", descending=[True, False])
    winners = files.unique(KEY, keep="first", maintain_order=True).select("own")
    repeats = rows.filter("again")
    once = rows.join(winners, on="own", how="semi").sort(KEY)
    superseded = rows.filter(~pl.col("again")).join(winners, on="own", how="anti")
    return once, repeats, superseded


def _quarantined(rows: pl.DataFrame) -> pl.DataFrame:
    parts = [split_source_cell(cell) for cell in rows["source_cell"]]
    places = {"sheet": [p[1] for p in parts], "cell": [p[2] for p in parts]}
    return rows.with_columns(pl.Series(n, v, dtype=pl.String) for n, v in places.items()).select(
        *(pl.col(name).cast(pl.String) for name in QUARANTINE_COLUMNS),
        "name", "year", "region_label", "list_region_label", "value", "unit",
    )  # fmt: skip
