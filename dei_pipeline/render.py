"""Explanations and impacts for people: text for a terminal, one page of HTML without anything from outside."""

import html
from collections.abc import Mapping
from typing import Any

import polars as pl

from dei_pipeline.explain import Impact
from dei_pipeline.explain_companies import chain_lines
from dei_pipeline.lake import Lake
from dei_pipeline.provenance import KEY_SEPARATOR

SHOWN_ROWS = 12
FULL = 1 - 1e-9  # coverage, short of rounding
RANKINGS = ("_ranking", "_ranks")
STATUS_ZH = {
    "reported": "已报", "corrected": "更正", "imputed": "插补", "estimated": "估计", "expert": "评估", "structural_zero": "结构零",
    "missing": "缺失",
}  # fmt: skip
Shown = Mapping[str, Any]


# -- the same words on a terminal and on the page ----------------------------------------------------------------------
def headline(document: Shown) -> str:
    """Index or node, region, year, value, rank, tier or type in one line, with the word synthetic where it applies."""
    mark = "  [SYNTHETIC 合成数据]" if document["synthetic"] else ""
    shown = _number(document["value"] if document["published"] is None else document["published"])
    shown += ".0" if document["published"] is not None and "." not in shown else ""
    region = f"{_both(document, 'region_name', 'region_name_en')} ({document['region_code']})"
    parts = [f"{document['node']} {region} {document['year']} = {shown}", *_standing(document)]
    return f"{', '.join(parts)}, edition {document['edition']}{mark}"


def _standing(document: Shown) -> list[str]:
    """Rank with its interval, tier, type and speciality, as far as they are known."""
    sure = document.get("robustness") or {}
    low, high = sure.get("rank_p05"), sure.get("rank_p95")
    found = []
    if document["rank"] is not None:
        interval = "" if low is None or high is None else f" ({low:g}–{high:g} in 90 % of {sure['replications']} draws)"
        found.append(
            f"rank {document['rank']}" + (f" of {document['cities']}" if document["cities"] else "") + interval
        )
    if document["tier"]:
        found.append(f"{document['tier']} {_both(document, 'tier_name_zh', 'tier_name_en')}")
    if document.get("type"):
        found.append(_both(document, "type_name_zh", "type_name_en") or document["type"])
    if document.get("speciality"):
        found.append(f"strongest in {_both(document, 'speciality_name_zh', 'speciality_name_en')}")
    return found


def _remarks(document: Shown) -> list[str]:
    """What a reader should know before the tree: names, probabilities, ranks in groups, coverage, what is imputed."""
    found = []
    sure = document.get("robustness") or {}
    likely = [f"P({_event(event)}) = {chance:.1%}" for event, chance in sure.get("probabilities", {}).items() if chance]
    if likely:
        found.append(
            f"robustness 稳健性: {', '.join(likely)}" + (", on the edge of its tier" if sure["boundary"] else "")
        )
    groups = (("zone_rank", "in its zone 区域"), ("province_rank", "in its province 省内"))
    within = [f"{document[name]} {words}" for name, words in groups if document.get(name)]
    found += [f"rank {', '.join(within)}"] if within else []
    if document["coverage"] < FULL:
        found.append(f"coverage 覆盖率 {document['coverage']:.1%}: the weight of what is missing goes to its siblings")
    if document.get("imputed_weight"):
        found.append(f"imputed 插补 {document['imputed_weight']:.1%} of the weight")
    if document.get("ranked") is False:
        found.append("not ranked 不参与排名")
    return found


def _event(event: str) -> str:
    kind, _, name = event.partition(":")
    return f"first {name} 前{name}" if kind == "top" else name


def _both(about: Shown, chinese: str = "name_zh", english: str = "name_en") -> str:
    """Chinese and English name side by side."""
    return " ".join(about[name] for name in (chinese, english) if about.get(name))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")


def _share(term: Shown) -> str:
    """Weight in the node explained; none below a node that compares cities."""
    return "–" if term["effective_weight"] is None else f"{term['effective_weight']:.4f}"


def _weight(term: Shown) -> str:
    """Weight within the parent, its method, and what other methods give."""
    method = f"{term['weight_method']}{' (prior)' if term['weight_from']['prior'] else ''}"
    others = [
        f"{name} {_number(term[f'{name}_weight'])}"
        for name in ("ahp", "entropy")
        if name != term["weight_method"] and term[f"{name}_weight"] is not None
    ]
    return f"weight 权重 {_number(term['weight'])} {'; '.join([method, *others])}"


def _expert(expert: Shown) -> str:
    """Weight, consistency and fate of one expert's comparisons."""
    fate = "accepted" if expert["accepted"] else "rejected, not pooled"
    return f"expert {expert['expert']}: weight {_number(expert['weight'])}, CR {expert['cr']:.3f}, {fate}"


def _judgement(judgement: Shown) -> str:
    """How much more a node counts than a sibling, by the cell that says so."""
    inverse = " (read inversely)" if judgement["reciprocal"] else ""
    return f"{_number(judgement['value'])} × {_both(judgement)}{inverse}"


def _indicator(indicator: Shown) -> str:
    """How the raw value is derived, and what it is measured against."""
    text = f"= {indicator['derivation']} = {_number(indicator['value'])} {indicator['unit']}"
    by = indicator["rule"] or "" if indicator["over"] is None else f"{indicator['rule']} over {indicator['over']}"
    if indicator["threshold"] is not None:
        of = f" of {', '.join(indicator['threshold_of'])}" if indicator["threshold_of"] else ""
        text += f", threshold {_number(indicator['threshold'])}{of} ({by})"
    elif by:
        text += ", " + ", ".join([by, *(f"{name} {_number(value)}" for name, value in indicator["parameters"].items())])
    return text + (f", {indicator['flag']}" if indicator["flag"] else "")


def _step(step: Shown) -> str:
    """What a step between inputs and normalisation did to the value."""
    if step["step"] == "imputed":
        return f"imputed 插补 by {step['method']} from {step['donors']} values: {_number(step['value'])}"
    if step["step"] == "treated":
        return f"treated 处理: {step['treatment']}, {_number(step['before'])} → {_number(step['value'])}"
    return f"screened 筛选: kept {step['kept']}"


def _donor(donor: Shown) -> str:
    return (
        f"{donor['region_name'] or donor['region_code']} {donor['year']} {_number(donor['value'])} [{donor['status']}]"
    )


def _observed(observation: Shown) -> str:
    """Variable, value and unit of an observation."""
    name = " ".join(text for text in (observation["variable"], observation.get("name_zh")) if text)
    return " ".join(text for text in (f"{name} = {_number(observation['value'])}", observation["unit"]) if text)


def _origin(observation: Shown) -> str:
    """What kind of value it is, beyond the status: method and donors, panel, or the row of another table."""
    if observation["status"] == "imputed" and "donors" in observation:
        return f"imputed by {observation['method']} from {len(observation['donors'])} values"
    several = f"{observation['cells']} cells below row {observation['row']}" if "cells" in observation else ""
    return observation.get("reason") or several


def _said(source: Shown) -> str:
    """Who gave a score, with authority and share of the pooled score, or a document's title; empty for a plain source."""
    if "document" in source:
        return f"《{source['document']['title']}》 {source['document']['published'] or ''}".strip()
    if "expert" not in source:
        return ""
    stated = f"Cs {source['familiarity']:g} in {source['familiarity_cell']}, Ca {source['judgement_basis']:g} in {source['basis_cell']}"
    return f"{source['expert']} × {source['share']:.4f} (authority 权威 {source['authority']:g}: {stated})"


def _corrected(source: Shown) -> str:
    """What a correction changed, and why; empty without one."""
    if "correction" not in source:
        return ""
    change = source["correction"]
    now = [_number(change["value"])] if "value" in change else []
    now += [f"year {change['year']}"] if "year" in change else []
    return f" corrected to {', '.join(now)}: {change['reason']} ({change['date']})"


def _sources(observation: Shown) -> list[Shown]:
    return observation.get("sources") or ([observation["source"]] if observation["source"] else [])


def _reason(term: Shown) -> str:
    """The reason of a leaf, unless its observations say the same."""
    reason = str(term.get("reason") or "")
    return "" if any(o.get("reason") and o["reason"] in reason for o in term["observations"]) else reason


# -- text --------------------------------------------------------------------------------------------------------------
def as_text(document: Shown) -> str:
    """The explanation as an indented tree; each leaf ends in file, sheet, cell and raw text."""
    head = headline(document)
    lines = [head, "=" * min(len(head), 100), _both(document)]
    lines += [f"  {remark}" for remark in _remarks(document)]
    if document["caution"]:
        lines.append(f"caution 注意: {document['caution']}; `dei run` brings them together")
    if "weight_from" in document:
        lines += _weight_lines(document)
    if "indicator" in document:
        lines += _leaf(document, 0)
    elif "reason" in document:
        lines.append(f"({document['reason']})")
    for term in document["terms"]:
        lines += _term(term, 0)
    total = document["sum_of_contributions"]
    lines.append(f"sum of contributions 贡献合计 {_number(total)}   value 得分 {_number(document['value'])}")
    return "\n".join(lines)


def _weight_lines(document: Shown) -> list[str]:
    origin = document["weight_from"]
    pooled = f" (CR {origin['pooled']['cr']:.3f})" if "pooled" in origin else ""
    lines = [f"{_weight(document)}: {origin['reason']}{pooled}"]
    for expert in origin.get("experts", ()):
        lines.append(f"  {_expert(expert)}")
        lines += [f"    {_judgement(j)}{_source(j['source'])}" for j in expert["judgements"]]
    return lines


def _term(term: Shown, depth: int) -> list[str]:
    pad = "  " * depth
    points = (
        "–" if term["score"] is None else f"{_number(term['score'])} × {_share(term)} = {_number(term['contribution'])}"
    )
    part = f", coverage {term['coverage']:.0%}" if term["terms"] and term["coverage"] < FULL else ""
    line = f"{pad}{_both(term)}: {points}  [{term['status']}{part}]  {_weight(term)}"
    below = [row for child in term["terms"] for row in _term(child, depth + 1)]
    return [line, *below, *(_leaf(term, depth + 1) if "indicator" in term else [])]


def _leaf(term: Shown, depth: int) -> list[str]:
    pad = "  " * depth
    lines = [f"{pad}{_indicator(term['indicator'])}"]
    for step in term["indicator"]["steps"]:
        lines.append(f"{pad}~ {_step(step)}")
        donors = step.get("from", ())
        lines += [f"{pad}    {_donor(donor)}" for donor in donors[:SHOWN_ROWS]]
        lines += [f"{pad}    … and {len(donors) - SHOWN_ROWS} more"] if len(donors) > SHOWN_ROWS else []
    lines += [line for observation in term["observations"] for line in _observation(observation, depth)]
    reason = _reason(term)
    return [*lines, f"{pad}({reason})"] if reason else lines


def _observation(observation: Shown, depth: int) -> list[str]:
    pad = "  " * depth
    start, origin = f"{pad}- {_observed(observation)} [{observation['status']}]", _origin(observation)
    sources = _sources(observation)
    if "companies" in observation:
        return [start, *(f"{pad}    {line}" for line in chain_lines(observation["companies"]))]
    if len(sources) == 1 and not origin:
        return [f"{start} {_said(sources[0])}".rstrip() + _source(sources[0])]
    donors = observation.get("donors", ())
    lines = [f"{start}  {origin}" if origin else start]
    lines += [f"{pad}    {_said(source)}{_source(source)}".rstrip() for source in sources]
    if observation.get("cells", 0) > len(sources):
        lines.append(f"{pad}    … and {observation['cells'] - len(sources)} cells more")
    lines += [line for donor in donors[:SHOWN_ROWS] for line in _observation(donor, depth + 1)]
    return [*lines, f"{pad}    … and {len(donors) - SHOWN_ROWS} more"] if len(donors) > SHOWN_ROWS else lines


def _source(source: Shown) -> str:
    return f"  ← {source['file']} · {source['sheet']}!{source['cell']} «{source['raw_text']}»{_corrected(source)}"


# -- page --------------------------------------------------------------------------------------------------------------
PAGE = """<!doctype html>
<html lang="zh"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body{{font:15px/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24}}
h1{{font-size:1.3rem}} .mark{{background:#b54708;color:#fff;padding:.1rem .5rem;border-radius:.3rem}}
details{{margin-left:1.1rem}} details>p{{margin:.15rem 0 .15rem 1.1rem}} summary{{cursor:pointer;padding:.15rem 0}} .n{{font-variant-numeric:tabular-nums;font-weight:600}}
.w{{color:#57606a}} .s{{font-size:.8rem;border:1px solid #d0d7de;border-radius:.6rem;padding:0 .45rem;color:#57606a}}
.s.imputed,.s.missing{{border-color:#b54708;color:#b54708}} ul{{margin:.2rem 0 .4rem 1.2rem;padding:0}} li{{margin:.15rem 0}}
code{{background:#f6f8fa;padding:0 .25rem;border-radius:.2rem}} .bar{{display:inline-block;height:.55rem;background:#2f6feb;border-radius:.2rem;vertical-align:middle}}
</style>
<h1>{title} {mark}</h1>
{caution}<p>{remarks}</p>{weight}
<p class="w">contributions add up to {total} · 贡献合计 {total}</p>
{body}
</html>
"""


def as_html(document: Shown) -> str:
    """The explanation as one page: a tree that unfolds down to the cells."""
    terms = document["terms"]
    most = max((abs(t["contribution"] or 0) for t in terms), default=1) or 1
    body = "".join(_term_html(term, most, True) for term in terms)
    if "indicator" in document:
        body += _leaf_html(document)
    remarks = [_both(document), *_remarks(document)] + ([document["reason"]] if document.get("reason") else [])
    return PAGE.format(
        title=html.escape(headline(document).replace("  [SYNTHETIC 合成数据]", "")),
        mark='<span class="mark">合成数据 SYNTHETIC</span>' if document["synthetic"] else "",
        caution=f"<p class=mark>{html.escape(document['caution'])}</p>" if document["caution"] else "",
        remarks="<br>".join(html.escape(remark) for remark in remarks),
        weight=_weight_html(document) if "weight_from" in document else "",
        total=_number(document["sum_of_contributions"]),
        body=body,
    )


def _status_html(status: str, part: str = "") -> str:
    return f"<span class='s {status}'>{STATUS_ZH[status]} {status}{part}</span>"


def _term_html(term: Shown, most: float, unfolded: bool) -> str:
    width = 10 * abs(term["contribution"] or 0) / most
    below = "".join(_term_html(child, most, False) for child in term["terms"])
    leaf = _leaf_html(term) if "indicator" in term else ""
    part = f", {term['coverage']:.0%}" if term["terms"] and term["coverage"] < FULL else ""
    return (
        f"<details{' open' if unfolded else ''}><summary>{html.escape(term['name_zh'])} <span class=w>{html.escape(term['name_en'])}</span> "
        f"<span class=n>{_number(term['score'])}</span> <span class=w>× {_share(term)} =</span> "
        f"<span class=n>{_number(term['contribution'])}</span> <span class=bar style='width:{width:.2f}rem'></span> "
        f"{_status_html(term['status'], part)}</summary>{_weight_html(term)}{below}{leaf}</details>"
    )


def _weight_html(term: Shown) -> str:
    """A line about a weight; with AHP, one that unfolds to the experts and their cells."""
    origin = term["weight_from"]
    line = html.escape(f"{_weight(term)}: {origin['reason']}")
    if "experts" not in origin:
        return f"<p class=w>{line}</p>"
    experts = ""
    for expert in origin["experts"]:
        cells = "".join(
            f"<li>{html.escape(_judgement(j))}{_source_html(j['source'])}</li>" for j in expert["judgements"]
        )
        experts += f"<li>{html.escape(_expert(expert))}<ul>{cells}</ul></li>"
    return f"<details><summary class=w>{line}</summary><ul>{experts}</ul></details>"


def _leaf_html(term: Shown) -> str:
    steps = ""
    for step in term["indicator"]["steps"]:
        donors = "".join(f"<li>{html.escape(_donor(donor))}</li>" for donor in step.get("from", ()))
        steps += f"<li>{html.escape(_step(step))}{f'<ul>{donors}</ul>' if donors else ''}</li>"
    rows = "".join(f"<li>{_observation_html(o)}</li>" for o in term["observations"])
    reason = f"<li>{html.escape(_reason(term))}</li>" if _reason(term) else ""
    return f"<p class=w>{html.escape(_indicator(term['indicator']))}</p><ul>{steps}{rows}{reason}</ul>"


def _observation_html(observation: Shown) -> str:
    start = f"<b>{html.escape(_observed(observation))}</b> {_status_html(observation['status'])}"
    start += f" <span class=w>{html.escape(_origin(observation))}</span>"
    sources = _sources(observation)
    if "companies" in observation:
        return (
            start
            + "<ul>"
            + "".join(f"<li>{html.escape(x)}</li>" for x in chain_lines(observation["companies"]))
            + "</ul>"
        )
    if len(sources) == 1:
        return start + _source_html(sources[0])
    rows = "".join(f"<li>{html.escape(_said(source))}{_source_html(source)}</li>" for source in sources)
    rows += "".join(f"<li>{_observation_html(donor)}</li>" for donor in observation.get("donors", ()))
    return start + (f"<ul>{rows}</ul>" if rows else "")


def _source_html(source: Shown) -> str:
    where = html.escape(f"{source['sheet']}!{source['cell']}")
    text = html.escape(f"«{source['raw_text']}»{_corrected(source)}", quote=False)
    return (
        f" ← {html.escape(source['file'])} <code>{where}</code> {text} "
        f"<span class=w>{html.escape(source['producer'])}</span>"
    )


# -- impact ------------------------------------------------------------------------------------------------------------
def impact_text(found: Impact, lake: Lake) -> str:
    """What a file or cell feeds: rows by table, then the published rows with region names."""
    lines = [f"{found.file}: {found.cells} value cell(s)"]
    lines += [f"  {table:40} {count:7} rows" for table, count in found.reached.items() if table != "raw/cells"]
    register = lake.read("core/regions").filter(pl.col("valid_to").is_null())
    regions = dict(register.select("region_code", "short_name_zh").iter_rows())
    for table, keys in found.published.items():
        near: list[list[str]] = []
        far: list[list[str]] = []
        for key in keys.sort():
            parts = key.split(KEY_SEPARATOR)
            is_direct = any((code, year) in found.direct for code in parts for year in parts)
            (near if is_direct else far).append(parts)
        through = "through weights, thresholds or other cities " if table.endswith(RANKINGS) else ""
        shown = [_rows(near, regions)] if near else []
        shown += [through + _rows(far, regions)] if far else []
        lines.append(f"{table}: {'; '.join(shown)}")
    if not found.published:
        lines.append("no published number is made from it")
    return "\n".join(lines)


def _rows(keys: list[list[str]], regions: Mapping[str, str]) -> str:
    """The first of some row keys with region names, and how many more there are."""
    named = [" ".join(regions.get(part, part) for part in key) for key in keys[:SHOWN_ROWS]]
    return ", ".join(named) + (f" … and {len(keys) - SHOWN_ROWS} more" if len(keys) > SHOWN_ROWS else "")
