"""From the scores that experts gave cities to one score a city, item and round, and the round that counts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dei_pipeline.errors import ContractError, MethodError
from dei_pipeline.methods import delphi
from dei_pipeline.methods.regions import Regions, match
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, make_edges, split_source_cell
from dei_pipeline.sources.labels import key, split_bracket
from dei_pipeline.sources.layouts import Variable

KEY = ["region_code", "year", "item", "round"]
STAGED, SCORES = "staging/delphi_responses", "core/delphi_scores"
UNIT = "points_0_100"
SCORE_UNITS = ("points", UNIT)  # units of variables that a panel may score
MEASURES = ("score", "mean", "median", "iqr", "sd", "cv", "calibrated_score", "response_rate", "kendall_w", "p_value")
SCHEMA: dict[str, Any] = {
    "region_code": pl.String, "year": pl.Int32, "item": pl.String, "round": pl.Int32,
    **dict.fromkeys(MEASURES, pl.Float64), "unit": pl.String, "experts": pl.Int64, "p_from": pl.String,
    "rounds": pl.Int64, "final": pl.Boolean, "stopped": pl.Boolean, "stop_reason": pl.String, "edition": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class _Round:
    """The scores of one item in one round: experts × regions, and what was pooled of them."""

    number: int
    experts: list[str]
    regions: list[str]
    scores: delphi.Floats
    pooled: delphi.Pooled
    rows: pl.DataFrame


def delphi_scores(responses: pl.DataFrame, regions: Regions, variables: Mapping[str, Variable]) -> Table:
    """`core/delphi_scores`: the authority-weighted score of each city, item and round, with spread and agreement.

    Kendall's W and its p are those of the item over the cities that every expert of the round scored. The round that
    counts (`final`) is the item's: see `delphi.stop`. `calibrated_score` is the score of calibrated experts, where some
    did not score every city (`delphi.calibrate`); it is a variant, nothing is computed from it.

    Args:
        responses: staging/delphi_responses.
        regions: the register of regions.
        variables: of reference/variables.csv; an item is one of them, scored in points.

    Returns:
        Table with key region_code, year, item, round. Edges to staging/delphi_responses (role score, coefficient
        Cr/ΣCr; a score given again alike: role repeat, 0). Quarantined: unknown regions and items, a second other score
        of the same expert, scores of a city and item that no expert has any authority for.

    Raises:
        ContractError: no score can be used; names the first and why.
    """
    named = _with_items(_with_regions(responses, regions), variables)
    unknown = named.filter(pl.col("reason").is_not_null())
    kept, repeats, second = _one_per_expert(named.filter(pl.col("reason").is_null()))
    kept, powerless = _with_authority(kept)
    aside = pl.concat([_aside(part) for part in (unknown, second, powerless)])
    if not kept.height:
        first = aside.row(0, named=True)
        place = f"{first['file']}, sheet {first['sheet']}, cell {first['cell']}"
        raise ContractError(
            f"{SCORES}: none of {responses.height} scores can be used; first failure in {place}: {first['reason']}",
            first["fix"],
        )
    if kept.height + repeats.height + aside.height != responses.height:
        raise MethodError(
            f"{SCORES}: {responses.height} scores in, {kept.height} used, {repeats.height} repeats, {aside.height} in "
            "quarantine: rows were lost"
        )
    frames, edges, undefined = [], [make_edges(repeats, KEY, STAGED, ["source_cell"], "repeat", 0.0)], []
    for (year, item), rows in kept.partition_by("year", "item", as_dict=True, maintain_order=True).items():
        rounds = list(_rounds(rows))
        frames.append(_judged(rounds, int(str(year)), str(item)))
        edges += [make_edges(found.rows, KEY, STAGED, ["source_cell"], "score", pl.col("share")) for found in rounds]
        undefined += [f"{item} {year} round {found.number}: {why}" for found in rounds if (why := _undefined(found))]
    frame = pl.concat(frames).with_columns(pl.col(MEASURES).fill_nan(None))
    edges[0] = edges[0].join(frame.select(child_key=pl.concat_str(KEY, separator="|")), on="child_key", how="semi")
    last = frame.filter("final")
    notes = {
        "scores_in": responses.height,
        "repeats": repeats.height,
        "w_undefined": undefined,
        "not_stopped": last.filter(~pl.col("stopped")).select("item", "year").unique().sort("item", "year").rows(),
        "low_response": last.filter(pl.col("response_rate") < delphi.MIN_RESPONSE).height,
        "regions_not_in_final_round": frame.select("region_code", "year", "item").n_unique() - last.height,
    }  # fmt: skip
    return Table(frame, pl.concat(edges), aside, notes)


def counting(scores: pl.DataFrame, variables: pl.DataFrame) -> pl.DataFrame:
    """The rounds that count, as rows of core/observations with their `round`, in the unit of their variable.

    Args:
        scores: core/delphi_scores.
        variables: `variable`, `unit`.
    """
    said = {"status": "expert", "method": "delphi", "source_id": "delphi"}
    return (
        scores.filter("final")
        .select("region_code", "year", "round", "edition", variable="item", value="score")
        .join(variables.select("variable", "unit"), on="variable", how="left", maintain_order="left")
        .with_columns(source_cell=pl.lit(None, pl.String), **{name: pl.lit(word) for name, word in said.items()})
    )


# -- names -------------------------------------------------------------------------------------------------------------
def _with_regions(responses: pl.DataFrame, regions: Regions) -> pl.DataFrame:
    """The responses with region_code, or reason and fix."""
    asked = responses.select("code_hint", "year", label=pl.col("region_label").fill_null("")).unique(
        maintain_order=True
    )
    zone = pl.col("region_code").is_null() & pl.col("reason").is_null()
    found = match(asked, regions, level="city").select(
        "code_hint", "year", "label", "region_code",
        reason=pl.when(zone).then(pl.format("«{}» is a group of regions, not a city", "label")).otherwise("reason"),
        fix=pl.when(zone).then(pl.lit("remove its row")).otherwise("fix"),
    )  # fmt: skip
    return (
        responses.rename({"label": "header"})
        .with_columns(label=pl.col("region_label").fill_null(""))
        .join(found, on=["code_hint", "year", "label"], how="left", nulls_equal=True, maintain_order="left")
    )


def _with_items(named: pl.DataFrame, variables: Mapping[str, Variable]) -> pl.DataFrame:
    """The responses with `item` as a variable, or reason and fix."""
    scored = {name: v for name, v in variables.items() if v.unit in SCORE_UNITS}
    names = [(key(text), name) for name, v in scored.items() for text in (name, v.name_zh, v.name_en)]
    rows = []
    for printed in named["item"].unique().sort():
        lines = {key(part) for line in (printed, *printed.splitlines()) for part in (line, split_bracket(line)[0])}
        found = sorted({name for text, name in names if text in lines})
        shown = " ".join(printed.split())
        what = f"item «{shown}» {'means several: ' + ', '.join(found) if found else 'is no variable scored in points'}"
        rows.append((printed, found[0], None) if len(found) == 1 else (printed, None, what))
    schema = {"item": pl.String, "variable": pl.String, "odd": pl.String}
    items = pl.DataFrame(rows, schema=schema, orient="row")
    fix = "head the column with the id or name of a variable of reference/variables.csv in points"
    wrong = pl.col("odd").is_not_null() & pl.col("reason").is_null()
    return named.join(items, on="item", how="left", maintain_order="left").with_columns(
        reason=pl.when(wrong).then("odd").otherwise("reason"),
        fix=pl.when(wrong).then(pl.lit(fix)).otherwise("fix"),
        item=pl.coalesce("variable", "item"),
    )


def _one_per_expert(named: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The score kept of each expert, item, city and round, those that repeat it, and those that contradict it."""
    own, said = [*KEY, "expert_id"], pl.struct("score", "familiarity", "judgement_basis")
    ranked = named.sort(*own, "source_cell").with_columns(
        place=pl.int_range(pl.len()).over(own),
        winner=pl.col("source_cell").first().over(own),
        same=said == said.first().over(own),
    )
    others = ranked.filter(pl.col("place") > 0)
    second = others.filter(~pl.col("same")).with_columns(
        reason=pl.format(
            "expert {} says otherwise at {}, which was kept, undecided by rule", pl.col("expert_id"), pl.col("winner")
        ),
        fix=pl.lit("withdraw one of the files (`dei sources withdraw`)"),
    )
    return ranked.filter(pl.col("place") == 0), others.filter("same"), second


def _with_authority(kept: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The scores with `authority`, and apart those of cities and items that no expert has any authority for."""
    cr = delphi.authority(kept["judgement_basis"].to_numpy(), kept["familiarity"].to_numpy())
    total = pl.col("authority").sum().over(KEY)
    weighed = kept.with_columns(authority=pl.Series(cr, dtype=pl.Float64)).with_columns(total=total)
    powerless = weighed.filter(pl.col("total") <= 0).with_columns(
        reason=pl.lit("no expert of this city and item has any authority: Cs and Ca are 0"),
        fix=pl.lit("ask an expert who knows the item"),
    )
    return weighed.filter(pl.col("total") > 0), powerless


def _aside(rows: pl.DataFrame) -> pl.DataFrame:
    parts = [split_source_cell(cell) for cell in rows["source_cell"]]
    places = {"sheet": [p[1] for p in parts], "cell": [p[2] for p in parts]}
    return rows.with_columns(pl.Series(n, v, dtype=pl.String) for n, v in places.items()).select(
        *(pl.col(name).cast(pl.String) for name in QUARANTINE_COLUMNS),
        "expert_id", "round", "year", "region_label", "item", "score",
    )  # fmt: skip


# -- rounds ------------------------------------------------------------------------------------------------------------
def _rounds(rows: pl.DataFrame) -> Iterator[_Round]:
    """The rounds of one item and year in order, experts and regions sorted by name."""
    for (number,), found in rows.sort("round").partition_by("round", as_dict=True, maintain_order=True).items():
        experts = found["expert_id"].unique().sort().to_list()
        codes = found["region_code"].unique().sort().to_list()
        at = (
            found["expert_id"].replace_strict({e: i for i, e in enumerate(experts)}, return_dtype=pl.Int64).to_numpy(),
            found["region_code"].replace_strict({c: i for i, c in enumerate(codes)}, return_dtype=pl.Int64).to_numpy(),
        )
        scores, cr = np.full((len(experts), len(codes)), np.nan), np.zeros((len(experts), len(codes)))
        scores[at], cr[at] = found["score"].to_numpy(), found["authority"].to_numpy()
        pooled = delphi.aggregate(scores, cr)
        rows_with_share = found.with_columns(share=pl.Series(pooled.share[at], dtype=pl.Float64))
        yield _Round(int(str(number)), experts, codes, scores, pooled, rows_with_share)


def _undefined(found: _Round) -> str:
    return delphi.why_undefined(found.scores)


def _judged(rounds: list[_Round], year: int, item: str) -> pl.DataFrame:
    """The rows of one item and year."""
    end = delphi.stop([found.scores for found in rounds])
    panel = {expert for found in rounds for expert in found.experts}
    frames = []
    for place, found in enumerate(rounds, start=1):
        pooled, agreed = found.pooled, None if _undefined(found) else delphi.kendall_w(found.scores)
        rate, _ = delphi.positive_coefficient(pooled.experts, len(panel))
        frame = pl.DataFrame(
            {
                "region_code": found.regions,
                "score": pooled.weighted_mean,
                **{name: getattr(pooled, name) for name in ("mean", "median", "iqr", "sd", "cv", "experts")},
                "calibrated_score": _calibrated(found),
                "response_rate": rate,
            }
        ).with_columns(
            year=pl.lit(year),
            item=pl.lit(item),
            round=pl.lit(found.number),
            kendall_w=pl.lit(agreed and agreed.w, pl.Float64),
            p_value=pl.lit(agreed and agreed.p, pl.Float64),
            p_from=pl.lit(agreed and agreed.p_from, pl.String),
            unit=pl.lit(UNIT),
            rounds=pl.lit(len(rounds)),
            final=pl.lit(place == end.round),
            stopped=pl.lit(end.stopped),
            stop_reason=pl.lit(end.reason),
        )
        edition = found.rows.group_by("region_code").agg(pl.col("edition").max())
        frames.append(frame.join(edition, on="region_code", maintain_order="left"))
    return pl.concat(frames).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _calibrated(found: _Round) -> delphi.Floats:
    """Weighted means of calibrated scores where the design is incomplete and every expert can be calibrated."""
    missing = np.isnan(found.scores)
    shared = found.scores[:, ~missing.any(axis=0)]
    if not missing.any() or shared.shape[1] < 2 or (shared == shared[:, :1]).all(axis=1).any():
        return np.full(len(found.regions), np.nan)
    return (found.pooled.share * np.where(missing, 0.0, delphi.calibrate(found.scores))).sum(axis=0)
