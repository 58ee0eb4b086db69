"""Which layout explains a table: by its column headings and its title, never by a file's name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dei_pipeline.sources.header import Block, HeaderColumn
from dei_pipeline.sources.labels import chinese, key, split_bracket
from dei_pipeline.sources.layouts import Axes, Layout, Reference

MIN_SHARE = 0.5  # of the columns of values that must be known
MIN_SHARE_OTHER_TITLE = 0.8  # where the page's title is not one the layout names
NOT_ACCEPTED = 100.0
SHOW = "see the page with `dei layout FILE`"


@dataclass(frozen=True)
class ColumnRole:
    """What a column holds: a stub (region, year, variable, unit, code, province, attribute) or a variable's values."""

    col: int
    role: str
    label: str
    variable: str | None = None
    unit: str | None = None
    year: int | None = None
    region: str | None = None
    reason: str | None = None
    fix: str | None = None
    depth: int = 0


@dataclass(frozen=True)
class Match:
    """How one layout explains a block; `missing` says what keeps it from explaining it (or more of it).

    `known` counts the columns of values whose heading the layout knows.
    """

    layout: Layout
    axes: Axes
    score: float
    columns: Mapping[int, ColumnRole]
    missing: tuple[str, ...] = ()
    page_region: str | None = None
    page_variable: str | None = None
    page_label: str | None = None
    page_unit: str | None = None
    page_bracket: str | None = None
    titled: bool = False
    known: int = 0

    @property
    def accepted(self) -> bool:
        """True if nothing required is missing."""
        return self.score > 0


@dataclass(frozen=True)
class Context:
    """What a block is read with: the file's own text, the titles it inherits, the edition if known."""

    titles: Sequence[str]
    file_titles: Sequence[str]
    edition: str | None
    row_labels: Mapping[int, Sequence[str]] = field(default_factory=dict)


def best_match(
    block: Block, layouts: Sequence[Layout], reference: Reference, context: Context
) -> tuple[Match | None, str]:
    """The layout that explains the block best, or None and the reason: the nearest candidate and what it lacks."""
    tried = [explain(block, layout, axes, reference, context) for layout in layouts for axes in layout.axes]
    accepted: dict[str, Match] = {}
    for match in tried:
        seen = accepted.get(match.layout.table)
        if match.accepted and (seen is None or match.score > seen.score):
            accepted[match.layout.table] = match
    ranked = sorted(accepted.values(), key=lambda m: -m.score)
    if not ranked:
        near = max((m for m in tried if m.titled or m.known), key=lambda m: m.score, default=None)
        if near is None:
            return None, "no layout explains this page" if layouts else "no layout explains this page: there are none"
        return None, f"no layout explains this page; nearest {near.layout.table}: {'; '.join(near.missing)}"
    if len(ranked) > 1 and ranked[0].score - ranked[1].score < 1e-9:
        names = ", ".join(m.layout.table for m in ranked if ranked[0].score - m.score < 1e-9)
        return None, f"no layout explains this page alone: a tie between {names}"
    return ranked[0], ""


def explain(block: Block, layout: Layout, axes: Axes, reference: Reference, context: Context) -> Match:
    """How far a layout with these axes explains the block; a score of at most 0 means it does not."""
    missing: list[str] = []
    titled = any(_titled(layout, t) for t in (*context.titles, "".join(context.titles)))
    refused = next((t for t in context.titles for p in layout.title_not if re.search(p, _tight(t))), None)
    if not titled and not context.titles:
        titled = any(_titled(layout, t) for t in context.file_titles)
    if refused:
        missing.append(f"the title «{refused[:40]}» is another page's")
    if layout.title_required and not titled and (context.titles or axes.variable == "fixed"):
        missing.append(f"no title like «{layout.title_patterns[0]}»")
    if block.header_first - block.top > layout.scan_rows:
        missing.append(f"no header within {layout.scan_rows} rows")
    stubs = _stubs(block.columns, layout, axes, reference)
    found = {r.role for r in stubs.values()}
    by_row = axes.variable in ("row", "row_label")
    needed = {"region": axes.region == "row", "year": axes.year == "row", "variable": by_row,
              "value": by_row and bool(axes.stubs["value"])}  # fmt: skip
    lacking = [role for role, need in needed.items() if need and role not in found]
    missing += [f"no column headed {'/'.join(axes.stubs[role][:3])} ({role})" for role in lacking]
    match = Match(layout, axes, 0.0, stubs, titled=titled)
    match, page_missing = _page(match, block, reference, context)
    missing += page_missing
    data = [c for c in block.columns if c.col not in stubs]
    roles = {c.col: _data_column(c, match, block, reference, context) for c in data}
    roles = {c: r for c, r in roles.items() if r.label or r.year is not None or r.region}
    values = [r for r in stubs.values() if r.role == "value"]
    good = sum(r.role == "value" and (r.variable is not None or by_row) for r in roles.values()) + len(values)
    share = good / max(1, len(roles) + len(values))
    floor = MIN_SHARE_OTHER_TITLE if context.titles and layout.title_patterns and not titled else MIN_SHARE
    if share < floor or good == 0:
        unknown = [r.label for r in roles.values() if r.variable is None][:4]
        listed = f", unknown: {', '.join(unknown)}" if unknown else ""
        missing.append(f"{good} of {len(roles) + len(values)} columns known{listed}")
    row_share = _row_share(match, context)
    if row_share == 0.0 and not titled:
        missing.append("none of its row labels is known")
    score = share + float(titled) - layout.penalty
    anything = axes.variable in ("fixed", "page") or axes.region == "column"  # such columns are not looked up
    if missing:
        told = share if titled or not anything else 0.0
        score = told + float(titled) - 0.5 * len(missing) - NOT_ACCEPTED
    known = 0 if anything or by_row else good
    return replace(match, score=score, columns={**stubs, **_resolve(roles)}, missing=tuple(missing), known=known)


def _tight(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _titled(layout: Layout, text: str) -> bool:
    return any(re.search(p, _tight(text)) for p in layout.title_patterns)


def _stubs(columns: Sequence[HeaderColumn], layout: Layout, axes: Axes, reference: Reference) -> dict[int, ColumnRole]:
    """The columns that label rows; of several possible region columns the one the layout names first."""
    wanted: dict[str, Sequence[str]] = {}
    if axes.region == "row":
        wanted["region"] = axes.stubs["region"]
    if axes.year == "row":
        wanted["year"] = axes.stubs["year"]
    if axes.variable in ("row", "row_label"):
        wanted["variable"] = axes.stubs["variable"]
        wanted["value"] = axes.stubs["value"]
    wanted["unit"] = axes.stubs["unit"]
    out: dict[int, ColumnRole] = {}
    for role, keys in wanted.items():
        ranked = [(keys.index(k), c) for c in columns if c.col not in out for k in c.candidates if k in keys]
        if ranked:
            column = min(ranked, key=lambda x: (x[0], x[1].col))[1]
            out[column.col] = ColumnRole(column.col, role, column.label)
    if "value" in {r.role for r in out.values()}:
        col = next(r.col for r in out.values() if r.role == "value")
        head = next(c for c in columns if c.col == col)
        unit = reference.unit(head.unit or layout.unit_of("*"))
        out[col] = replace(out[col], unit=unit.printed if unit else None)
    implicit = next((c for c in columns if c.candidates == ("",)), None)
    first = "region" if axes.region == "row" else "variable" if axes.variable in ("row", "row_label") else "year"
    if implicit is not None and first in wanted and first not in {r.role for r in out.values()}:
        out[implicit.col] = ColumnRole(implicit.col, first, "")
    named = {"code": axes.stubs["code"], "province": axes.stubs["province"]}
    for column in columns:
        hint = next((r for r, keys in named.items() if any(k in keys for k in column.candidates)), None)
        if column.col not in out and hint is not None and hint not in {r.role for r in out.values()}:
            out[column.col] = ColumnRole(column.col, hint, column.label)
    attributes = layout.attributes | reference.attributes | set(axes.stubs["attribute"]) | set(axes.stubs["region"])
    attributes |= set(reference.stubs["region"]) if axes.region == "row" else set()
    for column in columns:
        if column.col not in out and any(k in attributes for k in column.candidates):
            out[column.col] = ColumnRole(column.col, "attribute", column.label)
    return out


def _page(match: Match, block: Block, reference: Reference, context: Context) -> tuple[Match, list[str]]:
    """Region and variable that the page states once, above the table."""
    axes = match.axes
    missing: list[str] = []
    if axes.page_region:
        found = next((m for c in block.above if (m := re.search(axes.page_region, _tight(chinese(c.text))))), None)
        if found is None:
            missing.append(f"no line like «{axes.page_region}» above the table")
        else:
            match = replace(match, page_region=found.group(1))
    if axes.page_variable:
        found = next((m for c in block.above if (m := re.search(axes.page_variable, _tight(chinese(c.text))))), None)
        if found is None:
            return match, [*missing, f"no line like «{axes.page_variable}» above the table"]
        named = variable_label(found.group(1), match.layout, reference, context.edition)
        match = replace(match, page_variable=named[0], page_label=named[1], page_unit=named[2], page_bracket=named[3])
    if axes.variable == "fixed":
        match = replace(match, page_variable=axes.fixed_variable, page_label=axes.fixed_variable)
    return match, missing


def variable_label(
    text: str, layout: Layout, reference: Reference, edition: str | None
) -> tuple[str | None, str, str | None, str | None]:
    """Variable, label, unit and unknown bracket of a printed label: `"粮食产量(万吨)"`."""
    label, inner = split_bracket(chinese(text))
    unit = inner if inner is not None and reference.unit(inner) else None
    whole = label if unit else chinese(text)
    variable = layout.variable_of(key(whole), edition)
    if variable is None and inner is not None and unit is None:
        variable = layout.variable_of(key(label), edition)
        return variable, whole, None, inner if variable else None
    return variable, whole, unit, None


def split_label(
    text: str, layout: Layout, reference: Reference, edition: str | None
) -> tuple[str | None, str | None, str, str | None]:
    """Region, variable, label and unit of a combined label: `"北京:RPI"`, `"固定资产投资价格指数:山西"`."""
    parts = [p for p in re.split(r"[:：]", chinese(text)) if p]
    for region, rest in ((parts[0], parts[1:]), (parts[-1], parts[:-1])) if len(parts) > 1 else ():
        variable, label, unit, _ = variable_label(":".join(rest), layout, reference, edition)
        if variable is not None:
            return region, variable, label, unit
    return (parts[0] if len(parts) > 1 else None), None, ":".join(parts[1:] or parts), None


def _data_column(
    column: HeaderColumn, match: Match, block: Block, reference: Reference, context: Context
) -> ColumnRole:
    """What a column of values holds, or why it is not known."""
    layout, axes = match.layout, match.axes
    fix = f"add it to reference/layouts/{layout.table}.csv; {SHOW}"
    shown = column.label or str(column.year or "")
    unknown = ColumnRole(column.col, "unknown", shown, reason=f"column «{shown}» is not in the layout", fix=fix)
    if axes.year == "column" and column.year is None:
        return replace(unknown, reason=f"column «{shown}» states no year")
    if axes.year not in ("column", "page") and column.year is not None:
        return unknown
    said = _said(column, match, reference, context)
    if said is None:
        return unknown
    role, unit, bracket = said
    if axes.variable in ("row", "row_label"):
        return role
    if role.variable is None:
        return replace(role, reason=f"indicator «{role.label}» is not in the layout", fix=fix)
    printed, reason, how = resolve_unit(role.variable, unit, bracket, block.units, layout, reference)
    return replace(role, unit=printed, reason=reason, fix=how)


def _said(
    column: HeaderColumn, match: Match, reference: Reference, context: Context
) -> tuple[ColumnRole, str | None, str | None] | None:
    """Variable, region, own unit and unknown bracket that a header says; None if it says nothing the layout knows."""
    layout, axes = match.layout, match.axes
    if axes.variable == "row" and axes.stubs["value"]:
        return None
    role = ColumnRole(column.col, "value", match.page_label or "", match.page_variable, year=column.year)
    unit, bracket = match.page_unit, match.page_bracket
    if axes.variable == "column":
        variable, bracket, depth = _lookup(column, layout, context.edition)
        role, unit = replace(role, variable=variable, label=column.label, depth=depth), column.unit
    elif axes.variable == "column_label":
        region, variable, label, own = split_label(column.label, layout, reference, context.edition)
        role, unit = (
            replace(role, variable=variable if region else None, label=label, region=region),
            own or column.unit,
        )
    elif column.label and axes.region != "column":
        return None
    if axes.variable in ("column", "column_label") and role.variable is None:
        return None
    if axes.region == "column":
        return (replace(role, region=column.label), unit, bracket) if column.label else None
    return role, unit, bracket


def _lookup(column: HeaderColumn, layout: Layout, edition: str | None) -> tuple[str | None, str | None, int]:
    """Variable of a header, its bracket where that had to be ignored, and how many leading parts were left out."""
    for depth, candidate in enumerate(column.candidates):
        if (variable := layout.variable_of(candidate, edition)) is not None:
            return variable, None, depth
    for depth, candidate in enumerate(column.loose):
        if (variable := layout.variable_of(candidate, edition)) is not None:
            return variable, column.bracket, depth
    return None, None, 0


def resolve_unit(
    variable: str, own: str | None, bracket: str | None, page: Sequence[str], layout: Layout, reference: Reference
) -> tuple[str | None, str | None, str | None]:
    """The unit a column is printed in: its own, else the fitting one of the unit line, else the layout's.

    Returns:
        unit as units.csv spells it (None if there is none that can be used), reason and fix.
    """
    canonical = reference.variables[variable].unit if variable in reference.variables else ""
    add = f"add the unit to reference/units.csv; {SHOW}"
    printed = [bracket] if own is None and bracket is not None else [own] if own is not None else list(page)
    if not printed:
        default = reference.unit(layout.unit_of(variable))
        how = f"give a unit in reference/layouts/{layout.table}.csv; {SHOW}"
        return (default.printed, None, None) if default else (None, "the page prints no unit", how)
    known = [unit for text in printed if (unit := reference.unit(text)) is not None]
    fitting = [unit for unit in known if unit.canonical == canonical]
    unknown = [text for text in printed if reference.unit(text) is None]
    if len({unit.factor for unit in fitting}) == 1:
        return fitting[0].printed, None, None
    if fitting:
        both = ", ".join(unit.printed for unit in fitting)
        return None, f"units «{both}» both fit {variable}", f"give the unit in the header; {SHOW}"
    if unknown:
        return None, f"unit «{', '.join(unknown)}» is not known", add
    reason = f"unit «{', '.join(printed)}» does not fit {variable} ({canonical})"
    return None, reason, f"correct reference/variables.csv or {add}"


def _resolve(roles: Mapping[int, ColumnRole]) -> dict[int, ColumnRole]:
    """The columns, those that claim the same variable, year and region as another marked as ambiguous."""
    claims: dict[tuple[str | None, int | None, str | None], list[ColumnRole]] = {}
    for role in roles.values():
        if role.role == "value" and (role.variable is not None or role.year is not None):
            claims.setdefault((role.variable, role.year, role.region), []).append(role)
    out = dict(roles)
    for (variable, year, region), same in claims.items():
        fullest = [r for r in same if r.depth == min(x.depth for x in same)]
        if len(same) > 1:
            what = " ".join(str(x) for x in (variable, year, region) if x is not None)
            for role in same if len(fullest) > 1 else [r for r in same if r not in fullest]:
                fix = f"tell them apart in the layout; {SHOW}"
                out[role.col] = replace(role, reason=f"{len(same)} columns say {what}", fix=fix)
    return out


def _row_share(match: Match, context: Context) -> float | None:
    """Share of row labels known, where the rows name the variables; None where they do not or need not be known."""
    if match.axes.variable not in ("row", "row_label") or match.layout.row_variables_as_printed:
        return None
    col = next((r.col for r in match.columns.values() if r.role == "variable"), None)
    labels = context.row_labels.get(col or 0, ())
    return 1.0 if any(_known(x, match.layout, match.axes, context.edition) for x in labels) else 0.0


def _known(text: str, layout: Layout, axes: Axes, edition: str | None) -> bool:
    label = chinese(text)
    if axes.variable == "row":
        return any(layout.variable_of(key(x), edition) for x in (label, split_bracket(label)[0]))
    parts = [p for p in re.split(r"[:：]", label) if p]
    rests = (parts[1:], parts[:-1])
    return len(parts) > 1 and any(layout.variable_of(key(":".join(rest)), edition) for rest in rests)
