"""Printed names of regions to GB/T 2260 codes: every label gets a code, a zone, or a stated reason.

`Regions.load` reads the reviewed files of `reference/`; `match` does the matching; `successor_shares` carries
a dissolved region to its successors; `core_*` hand the tables over to the lake. The tables themselves: `region_tables`.
"""

import functools

import numpy as np
import polars as pl
from rapidfuzz import fuzz, process

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods.region_tables import (
    HORIZON,
    OPEN,
    Regions,
    code_key,
    core_city_lists,
    core_clusters,
    core_regions,
    core_zones,
    current_names,
    label_key,
    successor_shares,
)

__all__ = [
    "HOW",
    "LEVELS",
    "Regions",
    "core_city_lists",
    "core_clusters",
    "core_regions",
    "core_zones",
    "label_key",
    "match",
    "successor_shares",
]

HOW = ("exact", "short", "alias", "province_prefix", "english", "code", "zone")
LEVELS = {
    "province": ("nation", "province", "autonomous_region", "municipality", "sar"),
    "city": ("prefecture_city", "prefecture", "league", "autonomous_prefecture", "county_city", "municipality", "sar"),
}
ALIAS_FIX = "if it is another name of a known region, add it to reference/region_aliases.csv"
SOURCE_FIX = "in a copy of the file, ingest the copy and `dei sources withdraw` this one"


def _at(candidates: pl.DataFrame, regions: Regions) -> pl.DataFrame:
    """Candidates with the code in force in their year: `found_code` (null: not in force), `shifted` by the entity."""
    y = pl.col("at")
    direct = (
        pl.when(pl.col("window_from").is_not_null())
        .then(y.is_between("window_from", "window_to"))
        .otherwise(y.is_between("valid_from", "valid_to"))
    )
    other = regions.table.select(
        "entity",
        pl.col("region_code").alias("shift_code"),
        pl.col("valid_from").alias("shift_from"),
        pl.col("valid_to").alias("shift_to"),
    )
    marked = candidates.with_columns(direct.alias("direct")).with_row_index("candidate")
    moved = (
        marked.filter(~pl.col("direct") & pl.col("window_from").is_null())
        .join(other, on="entity")
        .filter(y.is_between("shift_from", "shift_to"))
        .select("candidate", "shift_code")
    )
    itself = (pl.col("how") == "code") & pl.col("year").is_null() & pl.col("window_from").is_null()
    return marked.join(moved, on="candidate", how="left").with_columns(
        pl.when(pl.col("direct") | itself).then("region_code").otherwise("shift_code").alias("found_code"),
        (~pl.col("direct") & ~itself).alias("shifted"),
    )


@functools.cache
def _province_pattern(keys: tuple[str, ...]) -> str:
    """A pattern that splits a key into the name of a province and the rest."""
    return f"^({'|'.join(sorted(keys, key=lambda key: (-len(key), key)))})(.+)$"


def _candidates(queries: pl.DataFrame, regions: Regions) -> pl.DataFrame:
    """Every row of the region table that a query's name or code can mean, in the query's year."""
    by_name = queries.join(regions.forms.filter(pl.col("how") != "code"), on="key").with_columns(
        pl.lit(False).alias("prefixed")
    )
    rest = queries.join(by_name.select("query"), on="query", how="anti").filter(pl.col("key").str.len_chars() > 2)
    provinces = regions.forms.filter((pl.col("level") == "province") & (pl.col("how") != "code")).unique(
        "key", keep="first"
    )
    pattern = _province_pattern(tuple(provinces["key"].sort()))
    split = rest.with_columns(
        pl.col("key").str.extract_groups(pattern).struct.rename_fields(["head", "tail"]).alias("split")
    )
    split = split.unnest("split").drop_nulls("head")
    prefixed = (
        split.join(provinces.select(pl.col("key").alias("head"), pl.col("region_code").alias("head_code")), on="head")
        .join(regions.forms.filter(pl.col("how") != "code"), left_on="tail", right_on="key")
        .filter((pl.col("parent_code") == pl.col("head_code")) | (pl.col("region_code") == pl.col("head_code")))
        .with_columns(pl.lit(True).alias("prefixed"))
        .select(by_name.columns)
    )
    found = _at(pl.concat([by_name, prefixed]), regions)
    coded = _at(
        queries.drop("key").join(regions.forms.filter(pl.col("how") == "code"), left_on="code", right_on="key"), regions
    )
    missing = coded.join(found.select("query"), on="query", how="anti")
    missing = missing.with_columns(pl.col("code").alias("key"), pl.lit(False).alias("prefixed")).select(found.columns)
    return pl.concat([found, missing])


def _choose(candidates: pl.DataFrame, level: str | None) -> pl.DataFrame:
    """Per query the codes that are left after year, province and code beside the name, level and kind of name."""
    kinds = LEVELS.get(level or "")
    hint = pl.col("hint")
    beside = (
        hint.is_null() | (pl.col("parent_code") == hint) | (pl.col("found_code") == hint) | (pl.col("how") == "code")
    )
    off_level = ~pl.col("kind").is_in(kinds) if kinds else (hint.is_not_null() & (pl.col("found_code") == hint))
    ordered = candidates.filter(pl.col("found_code").is_not_null() & beside).with_columns(
        off_level.cast(pl.Int32).alias("off_level"),
        ((pl.col("found_code") != pl.col("code")) & (pl.col("region_code") != pl.col("code")))
        .fill_null(False)
        .cast(pl.Int32)
        .alias("off_code"),
        (pl.col("kind") == "prefecture").cast(pl.Int32).alias("old_kind"),
    )
    order = ["off_code", "off_level", "shifted", "how_rank", "old_kind"]
    rank = pl.struct(pl.col(c).cast(pl.Int32) for c in order).rank("dense").over("query")
    return (
        ordered.with_columns(rank.alias("place"))
        .filter(pl.col("place") == 1)
        .unique(["query", "found_code"], keep="first")
    )


def _nearest(keys: pl.Series, regions: Regions, n: int = 3) -> list[str]:
    """For each key the `n` regions with the most similar names (normalised indel similarity), best first."""
    names = (
        regions.forms.filter(pl.col("how") != "code")
        .unique(["key", "region_code"], keep="first", maintain_order=True)
        .join(regions.table.select("row", "name_zh"), on="row")
        .select("key", "region_code", "name_zh")
    )
    choices = names["key"].to_list()
    shown = [f"{name} ({code})" for code, name in names.select("region_code", "name_zh").iter_rows()]
    out: list[str] = []
    for part in range(0, len(keys), 1024):
        queries = [key[:24] for key in keys[part : part + 1024].to_list()]
        scores = process.cdist(queries, choices, scorer=fuzz.ratio, dtype=np.uint8, score_cutoff=30)
        best = np.argsort(-scores.astype(np.int16), axis=1, kind="stable")[:, : 4 * n]
        for line, picks in zip(scores, best, strict=True):
            seen = dict.fromkeys(shown[i] for i in picks if line[i] > 0)
            out.append("; ".join(list(seen)[:n]))
    return out


def _queries(names: pl.DataFrame, regions: Regions) -> pl.DataFrame:
    """The distinct questions in `names`, with comparable key, code, province, and the year to judge by."""
    distinct = (
        names.select("label", "year", "code_hint", "province_hint").unique(maintain_order=True).with_row_index("query")
    )
    distinct = distinct.with_columns(
        label_key("label").fill_null("").alias("key"),
        pl.coalesce(code_key("code_hint"), code_key("label")).alias("code"),
        label_key("province_hint").alias("hint_key"),
        pl.col("year").clip(lower_bound=HORIZON).fill_null(OPEN).alias("at"),
    )
    provinces = regions.forms.filter(pl.col("level") == "province")
    hints = provinces.filter(pl.col("valid_to") == OPEN).unique("key", keep="first")
    coded = pl.coalesce(code_key("province_hint"), "hint_key").alias("hint_key")
    return distinct.with_columns(coded).join(
        hints.select(pl.col("key").alias("hint_key"), pl.col("region_code").alias("hint")), on="hint_key", how="left"
    )


def match(names: pl.DataFrame, regions: Regions, level: str | None = None) -> pl.DataFrame:
    """The rows of `names` in their order, each with region_code, zone_id, how, reason, fix and candidates.

    Exactly one of region_code, zone_id and reason is set. `how` is one of `HOW`; a name that is official only in other
    years of the same entity counts as `alias`. The Chinese part of a label decides; its English part is read only where
    there is no Chinese. A code beside the name breaks ties and stands in for an unknown name; where both are known and
    contradict each other the row is refused. A name whose region no longer (not yet) existed in the year is refused.

    Args:
        names: label (str), and where known year (i32), code_hint (str), province_hint (str). A null year means
            today's table.
        regions: the reviewed tables.
        level: what the page lists, "province" or "city"; decides between 吉林 province and 吉林 city. None: undecided.

    Raises:
        ReferenceFileError: `level` is neither None nor one of `LEVELS`.
    """
    if level is not None and level not in LEVELS:
        raise ReferenceFileError(f"level {level!r} is unknown", f"use one of {', '.join(LEVELS)} or None")
    wanted = {"label": pl.String(), "year": pl.Int32(), "code_hint": pl.String(), "province_hint": pl.String()}
    absent = [pl.lit(None, kind).alias(name) for name, kind in wanted.items() if name not in names.columns]
    asked = names.with_columns(absent).with_columns(pl.col(name).cast(kind) for name, kind in wanted.items())
    queries = _queries(asked, regions)
    candidates = _candidates(queries, regions)
    chosen = _choose(candidates, level)
    shown = chosen.join(current_names(regions), left_on="found_code", right_on="region_code", how="left").sort(
        "found_code"
    )
    answers = shown.group_by("query", maintain_order=True).agg(
        pl.len().alias("n"),
        pl.col("found_code").first().alias("only_code"),
        pl.when(pl.col("prefixed").first())
        .then(pl.lit("province_prefix"))
        .when(pl.col("shifted").first() & (pl.col("how").first() != "code"))
        .then(pl.lit("alias"))
        .otherwise(pl.col("how").first())
        .alias("only_how"),
        pl.col("entity").first(),
        pl.col("parent_code").first().alias("only_parent"),
        pl.format("{} ({})", "shown_name", "found_code").str.join("; ").alias("choice"),
    )
    zone = regions.zone_labels.select("key", "zone_id")
    state = (
        queries.join(answers, on="query", how="left")
        .join(zone, on="key", how="left")
        .join(regions.refusals, on="key", how="left")
    )
    state = _contradictions(state, regions)
    resolved = (pl.col("n") == 1) & ~pl.col("contradicts")
    state = state.with_columns(
        pl.when(resolved).then("only_code").alias("region_code"),
        pl.when(pl.col("n").is_null()).then("zone_id").alias("zone_id"),
        pl.when(resolved)
        .then("only_how")
        .when(pl.col("n").is_null() & pl.col("zone_id").is_not_null())
        .then(pl.lit("zone"))
        .alias("how"),
    )
    failed = _explain(state.filter(pl.col("how").is_null()), candidates, regions)
    result = state.select("query", "label", "year", "code_hint", "province_hint", "region_code", "zone_id", "how").join(
        failed, on="query", how="left"
    )
    keys = ["label", "year", "code_hint", "province_hint"]
    joined = asked.join(result.drop("query"), on=keys, how="left", nulls_equal=True, maintain_order="left")
    return joined.select([*asked.columns, "region_code", "zone_id", "how", "reason", "fix", "candidates"])


def _contradictions(state: pl.DataFrame, regions: Regions) -> pl.DataFrame:
    """`state` with `contradicts`: the code beside a name is unknown, or neither its region nor its kin nor its parent.

    An unknown code is as a rule one of county level: 毕节市 522401 is not 毕节地区 522400.
    """
    coded = regions.forms.filter(pl.col("how") == "code")
    entities = coded.select(pl.col("key").alias("code"), pl.col("entity").alias("code_entity")).unique()
    kin = regions.successors.select(pl.col("region_code").alias("code"), pl.col("successor_code").alias("only_code"))
    kin = pl.concat([kin, kin.select(pl.col("only_code").alias("code"), pl.col("code").alias("only_code"))]).unique()
    known = state.select("query", "code", "only_code", "entity", "only_parent").drop_nulls().join(entities, on="code")
    agrees = known.filter(
        (pl.col("code_entity") == pl.col("entity")) | (pl.col("code") == pl.col("only_parent"))
    ).select("query")
    related = known.join(kin, on=["code", "only_code"], how="semi").select("query")
    unknown = state.drop_nulls("code").join(entities, on="code", how="anti").select("query")
    against = known.join(agrees, on="query", how="anti").join(related, on="query", how="anti").select("query")
    refused = pl.concat([against, unknown])["query"].implode()
    return state.with_columns((pl.col("query").is_in(refused) & (pl.col("n") == 1)).alias("contradicts"))


def _explain(failed: pl.DataFrame, candidates: pl.DataFrame, regions: Regions) -> pl.DataFrame:
    """Why each failed query has no code: query, reason, fix, candidates."""
    span = regions.histories.select(
        "entity", "begin", "end", "gone", "heirs", "unborn", "name", pl.col("code").alias("last_code")
    )
    first = candidates.sort("how_rank", pl.col("kind") == "prefecture").unique(
        "query", keep="first", maintain_order=True
    )
    known = first.select("query", pl.col("entity").alias("e"), "found_code").join(span, left_on="e", right_on="entity")
    table = (
        failed.drop("entity")
        .join(known, on="query", how="left")
        .join(current_names(regions).rename({"region_code": "code", "shown_name": "code_name"}), on="code", how="left")
    )
    when = pl.when(pl.col("year").is_null()).then(pl.lit(", and no year is known here")).otherwise(pl.lit(""))
    label = pl.col("label").fill_null("")
    cases: list[tuple[pl.Expr, pl.Expr, pl.Expr, pl.Expr | None]] = [
        (
            pl.col("contradicts"),
            pl.format(
                "«{}» is {}, but the code beside it, {}, is {}",
                label,
                "choice",
                "code",
                pl.col("code_name").fill_null("no region of prefecture level or above"),
            ),
            pl.lit(f"correct the name or the code {SOURCE_FIX}"),
            pl.col("choice") + pl.format("; {} ({})", "code_name", "code").fill_null(""),
        ),
        (
            pl.col("n") > 1,
            pl.format("«{}» can mean {}", label, pl.col("choice").str.replace_all("; ", " or ")),
            pl.lit(
                "give the province or the code beside the name, or the level of the page; or name one of them in "
                "reference/region_aliases.csv"
            ),
            pl.col("choice"),
        ),
        (
            pl.col("note").is_not_null() & pl.col("found_code").is_null(),
            pl.format("«{}»: {}", label, "note"),
            pl.lit("let it be, or give its row in reference/region_aliases.csv a region_code"),
            pl.lit(""),
        ),
        (
            pl.col("found_code").is_not_null() & pl.col("hint").is_not_null(),
            pl.format(
                "«{}» is {} ({}), which does not lie in «{}» beside it",
                label,
                "name",
                "last_code",
                pl.col("province_hint").fill_null(""),
            ),
            pl.lit(f"add the name to reference/region_aliases.csv, or correct the name or the province {SOURCE_FIX}"),
            pl.format("{} ({})", "name", "last_code"),
        ),
        (
            pl.col("end") < pl.col("at"),
            pl.col("gone") + when,
            pl.lit(
                "to carry the numbers on, give shares in reference/region_successors.csv; if the source means the new "
                "region, add the name with its years to reference/region_aliases.csv"
            ),
            pl.col("heirs"),
        ),
        (
            pl.col("begin").is_not_null(),
            pl.format("{}; «{}» is for {}", "unborn", label, "at"),
            pl.lit(
                "if the source carries today's borders back, add the name with these years to "
                "reference/region_aliases.csv"
            ),
            pl.format("{} ({})", "name", "last_code"),
        ),
        (
            (pl.col("key") == "") & pl.col("code").is_null(),
            pl.format("«{}» holds no region name", label),
            pl.lit(f"let it be, or fill in the region {SOURCE_FIX}"),
            pl.lit(""),
        ),
        (
            pl.col("key") == "",
            pl.format("code {} is not in reference/regions.csv", "code"),
            pl.lit("regions below prefecture level are not kept; else add it to reference/regions.csv"),
            pl.lit(""),
        ),
    ]
    reason: pl.Expr = pl.format("«{}» is no region known at prefecture level or above", label)
    fix: pl.Expr = pl.lit(f"{ALIAS_FIX}; if it is misprinted, correct it {SOURCE_FIX}")
    nearest: pl.Expr = pl.lit(None, pl.String())
    for condition, why, remedy, who in reversed(cases):
        holds = condition.fill_null(False)
        reason = pl.when(holds).then(why).otherwise(reason)
        fix = pl.when(holds).then(remedy).otherwise(fix)
        nearest = pl.when(holds).then(who).otherwise(nearest)
    told = table.select("query", "key", reason.alias("reason"), fix.alias("fix"), nearest.alias("candidates"))
    open_keys = told.filter(pl.col("candidates").is_null()).select("key").unique(maintain_order=True)
    similar = open_keys.with_columns(pl.Series("similar", _nearest(open_keys["key"], regions), dtype=pl.String()))
    return told.join(similar, on="key", how="left").select(
        "query", "reason", "fix", pl.coalesce("candidates", "similar").alias("candidates")
    )
