"""Explanations and impacts for people: text for a terminal, one page of HTML without anything from outside."""

import html
from typing import Any

import polars as pl

from dei_pipeline.explain import Impact
from dei_pipeline.lake import Lake

SHOWN_ROWS = 12
STATUS_ZH = {
    "reported": "已报", "corrected": "更正", "imputed": "插补", "estimated": "估计", "expert": "评估", "structural_zero": "结构零",
    "missing": "缺失",
}  # fmt: skip


def as_text(document: dict[str, Any]) -> str:
    """The explanation as an indented tree; each leaf ends in file, sheet, cell and raw text."""
    head = headline(document)
    lines = [head, "=" * min(len(head), 100)]
    if document["caution"]:
        lines.append(f"caution 注意: {document['caution']}; `dei run` brings them together")
    if "indicator" in document:
        lines += _leaf(document, 0)
    for term in document["terms"]:
        lines += _term(term, 0)
    lines.append(
        f"sum of contributions 贡献合计 {_number(document['sum_of_contributions'])}   value 得分 {_number(document['value'])}"
    )
    return "\n".join(lines)


def headline(document: dict[str, Any]) -> str:
    """Index, region, year, value, rank and tier in one line, with the word synthetic where it applies."""
    mark = "  [SYNTHETIC 合成数据]" if document["synthetic"] else ""
    shown = document["published"] if document["published"] is not None else document["value"]
    rank = f", rank {document['rank']}" if document["rank"] else ""
    tier = f", {document['tier']}" if document["tier"] else ""
    return f"{document['node']} {document['region_name']} ({document['region_code']}) {document['year']} = {_number(shown)}{rank}{tier}, edition {document['edition']}{mark}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")


def _term(term: dict[str, Any], depth: int) -> list[str]:
    pad = "  " * depth
    score = _number(term["score"])
    weight = term["effective_weight"]
    points = _number(term["contribution"])
    line = f"{pad}{term['name_zh']} {term['name_en']}: {score} × {weight or 0:.4f} = {points}  [{term['status']}]"
    below = [row for child in term["terms"] for row in _term(child, depth + 1)]
    return [line, *below, *(_leaf(term, depth + 1) if "indicator" in term else [])]


def _leaf(term: dict[str, Any], depth: int) -> list[str]:
    pad = "  " * depth
    indicator = term["indicator"]
    limit = (
        f", threshold {_number(indicator['threshold'])} ({indicator['rule']})"
        if indicator["threshold"] is not None
        else ""
    )
    lines = [f"{pad}= {indicator['derivation']} = {_number(indicator['value'])} {indicator['unit']}{limit}"]
    lines += [line for observation in term["observations"] for line in _observation(observation, depth)]
    return [*lines, f"{pad}({term['reason']})"] if term.get("reason") else lines


def _observation(observation: dict[str, Any], depth: int) -> list[str]:
    pad = "  " * depth
    start = f"{pad}- {observation['variable']} = {_number(observation['value'])} {observation['unit']} [{observation['status']}]"
    if observation["source"] is None:
        lines = [f"{start}  imputed by {observation['method']} from {len(observation['donors'])} values"]
        return [
            *lines,
            *(row for donor in observation["donors"][:SHOWN_ROWS] for row in _observation(donor, depth + 1)),
        ]
    sources = observation.get("sources", [observation["source"]])
    lines = [f"  ← {s['file']} · {s['sheet']}!{s['cell']} «{s['raw_text']}»{_corrected(s)}" for s in sources]
    return [start + lines[0], *(f"{pad} {line}" for line in lines[1:])]


def _corrected(source: dict[str, Any]) -> str:
    """What a correction changed, and why; empty without one."""
    if "correction" not in source:
        return ""
    change = source["correction"]
    now = [_number(change["value"])] if "value" in change else []
    now += [f"year {change['year']}"] if "year" in change else []
    return f" corrected to {', '.join(now)}: {change['reason']} ({change['date']})"


PAGE = """<!doctype html>
<html lang="zh"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body{{font:15px/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24}}
h1{{font-size:1.3rem}} .mark{{background:#b54708;color:#fff;padding:.1rem .5rem;border-radius:.3rem}}
details{{margin-left:1.1rem}} summary{{cursor:pointer;padding:.15rem 0}} .n{{font-variant-numeric:tabular-nums;font-weight:600}}
.w{{color:#57606a}} .s{{font-size:.8rem;border:1px solid #d0d7de;border-radius:.6rem;padding:0 .45rem;color:#57606a}}
.s.imputed,.s.missing{{border-color:#b54708;color:#b54708}} ul{{margin:.2rem 0 .4rem 1.2rem;padding:0}} li{{margin:.15rem 0}}
code{{background:#f6f8fa;padding:0 .25rem;border-radius:.2rem}} .bar{{display:inline-block;height:.55rem;background:#2f6feb;border-radius:.2rem;vertical-align:middle}}
</style>
<h1>{title} {mark}</h1>
{caution}<p class="w">contributions add up to {total} · 贡献合计 {total} · edition {edition}, coverage {coverage:.0%}</p>
{body}
</html>
"""


def as_html(document: dict[str, Any]) -> str:
    """The explanation as one page: a tree that unfolds down to the cells."""
    terms = document["terms"]
    most = max((abs(t["contribution"] or 0) for t in terms), default=1) or 1
    body = "".join(_term_html(term, most, True) for term in terms) + (
        _leaf_html(document) if "indicator" in document else ""
    )
    return PAGE.format(
        title=html.escape(headline(document).replace("  [SYNTHETIC 合成数据]", "")),
        mark='<span class="mark">合成数据 SYNTHETIC</span>' if document["synthetic"] else "",
        caution=f"<p class=mark>{html.escape(document['caution'])}</p>" if document["caution"] else "",
        total=_number(document["sum_of_contributions"]),
        edition=html.escape(document["edition"]),
        coverage=document["coverage"] or 0,
        body=body,
    )


def _term_html(term: dict[str, Any], most: float, unfolded: bool) -> str:
    width = 10 * abs(term["contribution"] or 0) / most
    below = "".join(_term_html(child, most, False) for child in term["terms"])
    leaf = _leaf_html(term) if "indicator" in term else ""
    return (
        f"<details{' open' if unfolded else ''}><summary>{html.escape(term['name_zh'])} <span class=w>{html.escape(term['name_en'])}</span> "
        f"<span class=n>{_number(term['score'])}</span> <span class=w>× {term['effective_weight'] or 0:.4f} =</span> "
        f"<span class=n>{_number(term['contribution'])}</span> <span class=bar style='width:{width:.2f}rem'></span> "
        f"<span class='s {term['status']}'>{STATUS_ZH[term['status']]} {term['status']}</span></summary>{below}{leaf}</details>"
    )


def _leaf_html(term: dict[str, Any]) -> str:
    indicator = term["indicator"]
    limit = (
        f", threshold {_number(indicator['threshold'])} ({html.escape(indicator['rule'] or '')})"
        if indicator["threshold"] is not None
        else ""
    )
    rows = "".join(f"<li>{_observation_html(o)}</li>" for o in term["observations"])
    reason = f"<li>{html.escape(term['reason'])}</li>" if term.get("reason") else ""
    unit = html.escape(indicator["unit"] or "")
    return f"<p class=w>{html.escape(indicator['derivation'])} = <b>{_number(indicator['value'])}</b> {unit}{limit}</p><ul>{rows}{reason}</ul>"


def _observation_html(observation: dict[str, Any]) -> str:
    start = (
        f"{html.escape(observation['variable'])} = <b>{_number(observation['value'])}</b> {html.escape(observation['unit'])} "
        f"<span class='s {observation['status']}'>{STATUS_ZH[observation['status']]} {observation['status']}</span>"
    )
    if observation["source"] is None:
        donors = "".join(f"<li>{_observation_html(d)}</li>" for d in observation["donors"])
        return f"{start} {html.escape(observation['method'])}<ul>{donors}</ul>"
    return start + "".join(_source_html(source) for source in observation.get("sources", [observation["source"]]))


def _source_html(source: dict[str, Any]) -> str:
    where = html.escape(f"{source['sheet']}!{source['cell']}")
    text = html.escape(f"«{source['raw_text']}»{_corrected(source)}", quote=False)
    return (
        f" ← {html.escape(source['file'])} <code>{where}</code> {text} "
        f"<span class=w>{html.escape(source['producer'])}</span>"
    )


def impact_text(found: Impact, lake: Lake) -> str:
    """What a file or cell feeds: rows by table, then the published rows with region names."""
    lines = [f"{found.file}: {found.cells} value cell(s)"]
    lines += [f"  {table:40} {count:7} rows" for table, count in found.reached.items() if table != "raw/cells"]
    register = lake.read("core/regions").filter(pl.col("valid_to").is_null())
    regions = dict(register.select("region_code", "short_name_zh").iter_rows())
    for table, keys in found.published.items():
        named = [" ".join(regions.get(str(part), str(part)) for part in key.split("|")) for key in keys.sort()]
        more = f" … and {len(named) - SHOWN_ROWS} more" if len(named) > SHOWN_ROWS else ""
        lines.append(f"{table}: {', '.join(named[:SHOWN_ROWS])}{more}")
    if not found.published:
        lines.append("no published number is made from it")
    return "\n".join(lines)
