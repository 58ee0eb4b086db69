"""A comparison of two sides as text for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NAMES_ZH = {
    "value": "数值",
    "correction": "更正",
    "threshold": "阈值",
    "cap": "封顶",
    "scheme": "权重方案",
    "data_driven": "数据权重",
    "coverage": "覆盖",
    "cities": "城市范围",
}
SHOWN = 5e-5  # points; a smaller effect is not printed


def as_text(document: Mapping[str, Any], top: int = 10) -> str:
    """The comparison as text: means and their split, the largest moves, tiers, and the tree of one city.

    Args:
        document: of `diff.diff`.
        top: how many cities, and how many leaves of a city, are shown at most.
    """
    head = headline(document)
    lines = [head, "=" * min(len(head), 100)]
    lines += [f"remark 注意: {remark}" for remark in document["remarks"]]
    lines += _means(document)
    if document["region"]:
        lines += ["", *_region(document["region"], top)]
    else:
        lines += ["", *_moves(document, top)]
        lines += ["", *_tiers(document["tiers"])] if document["tiers"] else []
    return "\n".join(lines)


def headline(document: Mapping[str, Any]) -> str:
    """Node and the two sides in one line, with the word synthetic where it applies."""
    a, b = document["a"], document["b"]
    lakes = a["lake"] != b["lake"]
    labels = [f"{side['year']}{' in ' + side['lake'] if lakes else ''}, edition {side['edition']}" for side in (a, b)]
    mark = "  [SYNTHETIC 合成数据]" if a["synthetic"] or b["synthetic"] else ""
    return f"{document['node']} {document['name_zh']}: {labels[0]} → {labels[1]}{mark}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")


def _signed(value: float) -> str:
    return f"{value:+,.4f}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _effects(effects: Mapping[str, float]) -> str:
    """Effects that can be seen, as `value +1.2000`."""
    return ", ".join(f"{name} {_signed(points)}" for name, points in effects.items() if abs(points) >= SHOWN)


def _means(document: Mapping[str, Any]) -> list[str]:
    a, b, matched = document["a"], document["b"], document["matched"]
    only = " only" if document["only_matched"] else ""
    lines = [
        f"cities 城市 {a['cities']} → {b['cities']}, ranked on both sides{only} {matched}",
        f"mean 均值 {_number(a['mean'])} → {_number(b['mean'])}, change 变化 {_signed(document['change'])}",
    ]
    shown = {name: points for name, points in document["effects"].items() if abs(points) >= SHOWN}
    return lines + [f"  {_signed(points):>10}  {name} {NAMES_ZH[name]}" for name, points in shown.items()]


def _moves(document: Mapping[str, Any], top: int) -> list[str]:
    moves = [move for move in document["moves"] if abs(move["change"]) >= SHOWN]
    if not moves:
        return ["no city moved 没有变动"]
    lines = [f"largest moves 变动最大: {min(top, len(moves))} of {len(moves)} cities"]
    for move in moves[:top]:
        a, b = move["a"], move["b"]
        tiers = "" if a["tier"] == b["tier"] else f", {a['tier']} → {b['tier']}"
        lines.append(
            f"  {_signed(move['change']):>10}  {move['region_name']} ({move['region_code']}) {_score(a['score'])} → "
            f"{_score(b['score'])}, rank {a['rank']} → {b['rank']}{tiers}: {_effects(move['effects'])}"
        )
    return lines


def _tiers(tiers: Mapping[str, Any]) -> list[str]:
    ids = tiers["ids"]
    wide = max(map(len, ids)) + 2
    lines = ["tiers 梯队 (rows before, columns after)", " " * wide + "".join(f"{tier:>{wide}}" for tier in ids)]
    for tier, counts in zip(ids, tiers["counts"], strict=True):
        lines.append(f"{tier:{wide}}" + "".join(f"{count or '·':>{wide}}" for count in counts))
    return lines


def _region(region: Mapping[str, Any], top: int) -> list[str]:
    lines = [
        f"{region['region_name']} ({region['region_code']}) {_number(region['a']['score'])} → "
        f"{_number(region['b']['score'])}, change 变化 {_signed(region['change'])}: {_effects(region['effects'])}"
    ]
    if ranks := region["ranks"]:
        lines.append(f"rank 排名 {ranks['a']} → {ranks['b']} among the {ranks['among']} cities ranked on both sides")
        lines += [
            f"  without {name} {NAMES_ZH[name]}, everywhere: rank {rank}" for name, rank in ranks["b_without"].items()
        ]
    lines.append("")
    lines += [line for term in region["terms"] or [region] for line in _term(term, 0)]
    largest = sorted(_leaves(region), key=lambda leaf: (-abs(leaf["change"]), leaf["node"]))
    moved = [leaf for leaf in largest if abs(leaf["change"]) >= SHOWN][:top]
    if moved:
        lines += ["", f"largest leaves 变动最大的指标: {len(moved)}"]
    return lines + [line for leaf in moved for line in _leaf(leaf)]


def _term(term: Mapping[str, Any], depth: int) -> list[str]:
    a, b = term["a"], term["b"]
    weights = f"{a['effective_weight']:.4f}"
    if abs(a["effective_weight"] - b["effective_weight"]) >= SHOWN:
        weights += f" → {b['effective_weight']:.4f}"
    seen = _effects(term["effects"])
    line = (
        f"{'  ' * depth}{term['name_zh']} {term['name_en']}: {_score(a['score'])} → {_score(b['score'])} × {weights}, "
        f"{_signed(term['change'])}{': ' + seen if seen else ''}"
    )
    return [line, *(row for child in term["terms"] for row in _term(child, depth + 1))]


def _leaves(term: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if not term["terms"]:
        yield term
    for child in term["terms"]:
        yield from _leaves(child)


def _leaf(leaf: Mapping[str, Any]) -> list[str]:
    """Raw value, threshold and status of a leaf before and after, and the cells of the values that moved."""
    sides = [leaf["a"], leaf["b"]]
    held = [side for side in sides if "unit" in side]
    values = " → ".join(_number(side.get("value")) for side in sides)
    limits = [side.get("threshold") for side in sides]
    lines = [f"{_signed(leaf['change'])}  {leaf['name_zh']} {leaf['name_en']}: {values} {held[-1]['unit']}"]
    if limits[0] != limits[1]:
        lines[0] += f", threshold {' → '.join(_number(limit) for limit in limits)}"
    for name in ("status", "flag"):
        words = [side.get(name) or "–" for side in sides]
        lines[0] += f"  [{' → '.join(words)}]" if words[0] != words[1] else ""
    before, after = ({o["variable"]: o for o in side.get("observations", ())} for side in sides)
    for variable in dict.fromkeys([*before, *after]):
        old, new = before.get(variable), after.get(variable)
        if old is None or new is None or old["value"] != new["value"]:
            lines += _observation(variable, old, new)
    return lines + [f"    ({side['reason']})" for side in held if side.get("reason")]


def _observation(variable: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    """One variable before and after, each with the cells it comes from."""
    unit = (new or old or {})["unit"]
    values = " → ".join("–" if o is None else f"{_number(o['value'])} [{o['status']}]" for o in (old, new))
    lines = [f"    - {variable} {values} {unit}"]
    for word, observation in (("before", old), ("after", new)):
        if observation is not None:
            lines += [f"        {word} ← {cell}" for cell in _cells(observation)]
    return lines


def _cells(observation: Mapping[str, Any]) -> Sequence[str]:
    if observation["source"] is None:
        return [f"imputed by {observation['method']} from {len(observation['donors'])} values"]
    found = observation.get("sources", [observation["source"]])
    return [f"{s['file']} · {s['sheet']}!{s['cell']} «{s['raw_text']}»{_corrected(s)}" for s in found]


def _corrected(source: Mapping[str, Any]) -> str:
    if "correction" not in source:
        return ""
    return f" corrected: {source['correction']['reason']} ({source['correction']['date']})"
