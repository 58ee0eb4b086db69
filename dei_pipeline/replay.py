"""An index computed again in memory with choices of method changed: what every score and rank would be.

Nothing is written. The index is computed twice from the inputs that the lake holds, as its file says and as asked, by
the same functions; the first must give the lake's own scores, so that all that moves is due to the choices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from dei_pipeline.errors import DeiError, LakeError
from dei_pipeline.lake import Lake
from dei_pipeline.methods import choices
from dei_pipeline.methods.compare import compare
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.index_chain import chain
from dei_pipeline.methods.index_tables import CELL, steps_of
from dei_pipeline.needs import framework_of
from dei_pipeline.provenance import Table, manifests
from dei_pipeline.settings import Settings

TREE = ("aggregation", "normalisation")  # choices of every node and of every leaf
TOLERANCE = 1e-9  # points between the lake's composite and the one computed again
STEPS = ("screened", "imputed", "treated", "thresholds", "weights")  # whose notes the text shows
SHOWN = 6  # names in a line


def asked(settings: Sequence[str]) -> dict[str, str]:
    """Choices as they are named on the command line, `CHOICE=VALUE`, in order.

    Raises:
        DeiError: no equals sign, a choice twice, or one that does not exist; lists those that do.
    """
    known = (*TREE, *choices.settings())
    found: dict[str, str] = {}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not value:
            raise DeiError(f"«{text}» is no choice", "write CHOICE=VALUE, as aggregation=geometric")
        if name not in known:
            raise DeiError(f"choice «{name}» is unknown", f"known: {', '.join(known)}")
        if name in found:
            raise DeiError(f"choice {name} is set twice", "set it once")
        found[name] = value
    return found


def with_choices(framework: Framework, wanted: Mapping[str, str]) -> Framework:
    """The framework with choices changed, given as text.

    Raises:
        ReferenceFileError: a value is not allowed; says what is.
    """
    for name, text in wanted.items():
        framework = framework.with_choice(name, text if name in TREE else choices.from_text(name, text))
    return framework


def replay(lake: Lake, settings: Settings, index: str, year: int, wanted: Mapping[str, str]) -> dict[str, Any]:
    """The index of a year as its file says and with choices changed, as a JSON document.

    Args:
        lake: where the inputs lie; is not written to.
        settings: names the folder of framework files.
        index: id of the index.
        year: data year compared; thresholds and weights rest on all years of the lake.
        wanted: choices as `asked` reads them.

    Returns:
        `index`, `name_zh`, `name_en`, `edition`, `year`, `synthetic`; `choices` with what they are (`before`) and were
        set to (`after`); `summary` of `compare.compare` over the cities ranked both before and after, and `cities`
        with their scores and ranks among those, best first after; `only_before` and `only_after` (cities ranked on one
        side alone); `notes` of the steps as changed (what was left out, imputed, treated, without a score …).

    Raises:
        LakeError: the lake has no inputs or scores of the index for the year, or its scores are not what its inputs
            give.
        DeiError: an unknown choice or value, or a choice that the index cannot be computed with.
    """
    framework = framework_of(settings, index)
    changed = with_choices(framework, wanted)
    before = _computed(lake, framework)
    _check(lake, framework, year, before)
    after = _computed(lake, changed)
    ranked_before, ranked_after = _ranked(before, year), _ranked(after, year)
    both = compare(ranked_before, ranked_after)
    names = _names(lake, year)
    lone = dict(both.unmatched.select("region_code", "lacking").iter_rows())
    cities = both.table.sort("rank_b", "rank_a", "region_code").select(
        "region_code",
        pl.col("region_code").replace(names).alias("region_name"),
        score_before="score_a",
        score_after="score_b",
        rank_before="rank_a",
        rank_after="rank_b",
        climbs="rank_change",
    )
    return {
        "index": index,
        "name_zh": framework.name_zh,
        "name_en": framework.name_en,
        "edition": framework.edition,
        "year": year,
        "lake": str(lake.root),
        "synthetic": any(manifest["synthetic"] for manifest in manifests(lake).values()),
        "choices": [{"choice": n, "before": _said(framework, n), "after": _said(changed, n)} for n in wanted],
        "summary": both.summary.drop("year").to_dicts()[0],
        "cities": cities.to_dicts(),
        "only_before": sorted(names.get(code, code) for code, lacking in lone.items() if lacking == "b"),
        "only_after": sorted(names.get(code, code) for code, lacking in lone.items() if lacking == "a"),
        "notes": {name: table.notes for name, table in after.items() if table.notes},
    }


def _computed(lake: Lake, framework: Framework) -> dict[str, Table]:
    """All tables of the index, from the inputs of the lake."""
    inputs, regions, experts = (f"index/{framework.index_id}_inputs", "mart/regions", "expert_weights")
    if not lake.exists(inputs):
        raise LakeError(f"{inputs} is not in {lake.root}", lake.skipped(inputs) or "make it with `dei run`")
    judged = f"index/{framework.index_id}_{experts}"
    return chain(
        framework,
        lake.read(inputs),
        lake.read(regions) if "imputation" in steps_of(framework) else None,
        lake.read(judged) if lake.exists(judged) else None,
    )


def _check(lake: Lake, framework: Framework, year: int, computed: Mapping[str, Table]) -> None:
    """Nothing, if the lake's composites are what its inputs give."""
    table = f"index/{framework.index_id}_scores"
    years = sorted(int(part) for part in lake.part_files(table) if part.isdigit())
    if year not in years:
        there = f"years there: {', '.join(map(str, years))}" if years else lake.skipped(table) or "make it: `dei run`"
        raise LakeError(f"{table} has no rows of {year} in {lake.root}", there)
    held = lake.read(table, [year]).filter(node_id=framework.root).select(*CELL, "score")
    ours = computed["ranks"].frame.filter(year=year).select(*CELL, ours="score")
    pairs = held.join(ours, on=CELL, how="full", coalesce=True).fill_null(float("nan"))
    apart = np.abs(pairs["score"].to_numpy() - pairs["ours"].to_numpy())
    same = (apart <= TOLERANCE) | (np.isnan(pairs["score"].to_numpy()) & np.isnan(pairs["ours"].to_numpy()))
    if not same.all():
        where = "|".join(str(value) for value in pairs.select(CELL).row(int(np.flatnonzero(~same)[0])))
        raise LakeError(
            f"{table} {where} is not what the lake's inputs give by {framework.file}", "bring it up to date: `dei run`"
        )


def _ranked(computed: Mapping[str, Table], year: int) -> pl.DataFrame:
    """Composites of the cities that are ranked."""
    return computed["ranks"].frame.filter(pl.col("ranked") & (pl.col("year") == year)).select(*CELL, "score")


def _names(lake: Lake, year: int) -> dict[str, str]:
    """Short names of the regions in force in a year."""
    return dict(lake.read("mart/regions", [year]).select("region_code", "short_name_zh").iter_rows())


def _said(framework: Framework, name: str) -> str:
    """What a framework chooses, in words."""
    if name in TREE:
        column = "aggregation" if name == "aggregation" else "rule"
        words = framework.nodes[column].drop_nulls().value_counts().sort("count", column, descending=[True, False])
        return ", ".join(words[column])
    block, _, key = name.partition(".")
    now = getattr(framework.choices, block)
    if now is None or not key:
        return "no such step" if now is None else "taken"
    value = getattr(now, key)
    return (
        choices.NONE if value in (None, ()) else ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    )


# -- text --------------------------------------------------------------------------------------------------------------
def as_text(document: Mapping[str, Any], top: int = 10) -> str:
    """The document for a terminal: what was changed, how far the ranking moved, its head, and the largest moves.

    Args:
        document: of `replay`.
        top: how many cities are shown in each of the two lists.
    """
    mark = "  [SYNTHETIC 合成数据]" if document["synthetic"] else ""
    head = f"{document['index']} {document['name_zh']} {document['year']}, edition {document['edition']}{mark}"
    lines = [head, "=" * min(len(head), 100)]
    lines += [f"{c['choice']}: {c['before']} → {c['after']}" for c in document["choices"]]
    found = document["summary"]
    lines.append(
        f"cities 城市 {found['units']}, moved 变动 {found['moved']}; mean rank shift 平均位移 "
        f"{found['mean_absolute_rank_shift']:.2f}, largest 最大 {found['max_absolute_rank_shift']}; "
        f"Spearman {_share(found['spearman'])}, Kendall {_share(found['kendall'])}"
    )
    for key, words in (("only_before", "no longer ranked 不再排名"), ("only_after", "newly ranked 新增排名")):
        if document[key]:
            lines.append(f"{words}: {', '.join(document[key])}")
    for table in STEPS:
        for name, note in document["notes"].get(table, {}).items():
            what = table if name == table else f"{table}, {name.replace('_', ' ')}"
            lines += [f"{what}: {_note(note)}"] if note else []
    lines += ["", "first with these choices 新排名 (before → after)", *map(_city, document["cities"][:top])]
    moved = sorted((c for c in document["cities"] if c["climbs"]), key=lambda c: (-abs(c["climbs"]), c["rank_after"]))
    if moved:
        lines += [
            "",
            f"largest moves 变动最大: {min(top, len(moved))} of {len(moved)} cities",
            *map(_city, moved[:top]),
        ]
    return "\n".join(lines)


def _note(note: Any) -> str:
    """What a step noted: a number, or the first of the names with what is said of each."""
    if isinstance(note, Mapping):
        note = [f"{key} {_step(value) if isinstance(value, Mapping) else value}" for key, value in note.items()]
    if not isinstance(note, list):
        return str(note)
    names = [str(item) for item in note]
    return ", ".join(names[:SHOWN]) + (f" … {len(names)} in all" if len(names) > SHOWN else "")


def _step(said: Mapping[str, Any]) -> str:
    """What was done to a leaf, and whether it is still outlying; of other notes their words."""
    if "step" not in said:
        return ", ".join(f"{key} {value}" for key, value in said.items())
    return said["step"] + ("" if said["passed"] else " (still outlying)")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _city(city: Mapping[str, Any]) -> str:
    """One city: ranks, how far it moved, scores."""
    climbs = f"{city['climbs']:+d}" if city["climbs"] else "="
    return (
        f"  rank {city['rank_before']:>3} → {city['rank_after']:>3} {climbs:>5}   score {city['score_before']:8.2f} → "
        f"{city['score_after']:8.2f}   {city['region_name']} ({city['region_code']})"
    )
