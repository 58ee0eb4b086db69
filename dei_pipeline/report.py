"""What `dei run` and `dei check` print: what was made and why, the top of the ranking, the state of the checks."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl

from dei_pipeline.lake import Lake
from dei_pipeline.runs import Report
from dei_pipeline.settings import Settings

TOP = 10


def outcome_lines(report: Report) -> list[str]:
    """One line per table that was made, one per reason for which tables were skipped, and a summary."""
    if not report.reasons:
        return ["everything is up to date 已是最新"]
    made = {
        key: outcome for key, outcome in report.outcomes.items() if not outcome.startswith(("skipped", "unchanged"))
    }
    lines = []
    for key, outcome in made.items():
        reason = report.reasons.get(key, "")
        lines.append(f"{key:48} {outcome:28} {reason}".rstrip())
    skipped: dict[str, list[str]] = defaultdict(list)
    for key, outcome in report.outcomes.items():
        if outcome.startswith("skipped: "):
            skipped[outcome.removeprefix("skipped: ")].append(key)
    lines += [f"skipped {', '.join(keys)}: {reason}" for reason, keys in skipped.items()]
    lines += [f"warning: {warning}" for warning in report.warnings]
    unchanged = sum(outcome == "unchanged" for outcome in report.outcomes.values())
    failed = len(report.errors)
    lines.append(
        f"{len(made)} made, {unchanged} unchanged, {sum(map(len, skipped.values()))} skipped, {failed} failed"
        + (f"; data years {report.years[0]}–{report.years[-1]}" if report.years else "")
    )
    return lines


def results(settings: Settings) -> str:
    """The top of each ranking, what is synthetic or missing, and where the release lies."""
    lake = Lake(settings.lake)
    synthetic = is_synthetic(lake)
    lines: list[str] = []
    known = lake.read("core/editions") if lake.exists("core/editions") else None
    for index in known.sort(pl.col("index_id") != "dei", "index_id").to_dicts() if known is not None else ():
        lines += ranking_lines(lake, index, synthetic)
    if lake.exists("release/cluster_scores"):
        clusters = lake.read("release/cluster_scores")
        latest = clusters.filter(pl.col("year") == clusters["year"].max()).sort("score", descending=True)
        for (basis,), rows in latest.partition_by("basis", as_dict=True, maintain_order=True).items():
            scores = " · ".join(
                f"{name} {score:.1f}" for name, score in rows.select("name_zh", "score").head(4).iter_rows()
            )
            weights = f"{'synthetic ' if synthetic else ''}{rows['weighting'][0]}"
            lines.append(f"city clusters ({basis} scores, weights {weights}): {scores}")
    release = settings.lake / "release"
    here = Path.cwd()
    lines.append(f"release: {release.relative_to(here) if release.is_relative_to(here) else release}")
    return "\n".join(lines)


def ranking_lines(lake: Lake, index: dict[str, Any], synthetic: bool) -> list[str]:
    """The first of an index's latest ranking, with tier or type; the cities of each type; or why there is none."""
    key, title = f"release/{index['index_id']}_ranking", index["index_id"].upper()
    if not lake.exists(key):
        return [f"\n{title}: no ranking ({lake.skipped(key) or 'not made'})"]
    ranking = lake.read(key)
    year = int(ranking["year"].to_numpy().max())
    latest = ranking.filter(pl.col("year") == year).sort("rank", "region_code")
    typed = "type_name_zh" in latest.columns
    top = latest.head(index["leaders_composite"] if typed else TOP)
    mark = " — SYNTHETIC 合成数据" if synthetic else ""
    label = next((name for name in ("tier_name_zh", "type_name_zh") if name in latest.columns), None)
    lines = [f"\n{title} {year} {index['name_zh']}, top {top.height}{mark}"]
    for row in top.iter_rows(named=True):
        name = f"{row['rank']:4}  {row['region_name']}\t{row['region_name_en'] or '':12} {row['score']:5.1f}"
        lines.append(f"{name}  {row[label]}" if label else name)
    if typed:
        lines.append("city types 城市类型:")
        lines += [
            f"  {kind}: {' '.join(names) if len(names) <= top.height else f'{len(names)} cities 城市'}"
            for kind, names in latest.group_by("type_name_zh", maintain_order=True).agg("region_name").iter_rows()
        ]
    zones = f"release/{index['index_id']}_zone_counts"
    if lake.exists(zones):
        counts = lake.read(zones).filter(pl.col("year") == year).sort("scheme", "cities", descending=[False, True])
        said = " · ".join(f"{name} {cities}" for name, cities in counts.select("name_zh", "cities").iter_rows())
        lines.append(f"where the first {top.height} lie 分布: {said}")
    return lines


def is_synthetic(lake: Lake) -> bool:
    """Whether any file of the lake is synthetic."""
    return lake.exists("raw/manifests") and bool(lake.read("raw/manifests")["synthetic"].any())


def check_lines(settings: Settings) -> tuple[list[str], int]:
    """One line per check on the lake as it is, and the number of broken checks that block.

    Contracts are checked again on the tables as they lie there; sentences and series as in a run; every lineage edge
    must lead to a row that exists.
    """
    from dei_pipeline.assets import all_tables
    from dei_pipeline.checks import table_checks
    from dei_pipeline.checks.lineage import dangling
    from dei_pipeline.publish import BrokenContract, check_contract

    lake = Lake(settings.lake)
    lines, broken = [], 0
    other_columns: set[str] = set()
    specs = all_tables(settings)
    for spec in specs:
        if not lake.exists(spec.key):
            continue
        try:
            check_contract(spec.contract, lake.read(spec.key), lake, settings)
        except BrokenContract as error:
            broken += 1
            lines.append(f"ERROR contract {error}")
            if set(lake.scan(spec.key).collect_schema()) != set(spec.contract.schema):
                other_columns.add(spec.key)
    for check in table_checks({spec.key for spec in specs}, settings):
        if odd := sorted(other_columns.intersection(check.reads)):
            lines.append(f"n/a   {check.what}: {odd[0]} has not the columns of its contract")
            continue
        line, blocks = check.line(lake)
        broken += blocks
        lines.append(line)
    lost = dangling(lake, specs)
    broken += bool(lost)
    lines += [f"ERROR lineage {line}" for line in lost] or ["ok    every lineage edge leads to a row"]
    held = [spec for spec in specs if lake.exists(spec.key)]
    lines.append(f"{len(held)} tables checked, {broken} broken")
    return lines, broken
