"""What the columns, titles and headings of a list of key projects say, as plain text functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from dei_pipeline.sources.labels import chinese, clean, key, split_bracket, unit_statement
from dei_pipeline.sources.layouts import Reference

TOP_ROWS = 15  # rows from the first non-empty one in which a header is looked for
ROLE_HEADS: tuple[tuple[str, str], ...] = (  # role of a column, and how the key of its head reads; the first that fits
    ("number", r"序号|编号|项目序号|no"),
    ("is_new", r"(?:是否)?(?:属于|为)?(?:新基建|新型基础设施)(?:项目)?"),
    ("name", r"(?:(?:重点|重大)?(?:建设|投资)?|工程|子)项目(?:名称?)?|工程名称|名称|projectname|project|name"),
    ("place", r"(?:项目|建设)?(?:地点|地址)|所在地|所在区县?|所属区县?|区县|县区|location|district"),
    ("kind", r"(?:项目|新基建|产业|行业|投资|建设)?(?:类别|类型|分类|种类|大类|领域)|所属(?:领域|行业|产业|类别)|行业|"
             r"板块|(?:project)?(?:kind|type|category|sector)"),
    ("stage", r"(?:项目|建设|工程)?(?:性质|阶段|状态|进展|进度)|stage|status"),
    ("unit", r"计量单位|金额单位|投资单位|unit"),
    ("region", r"所属(?:城市|地市|市州|地区|市)|所在(?:城市|市)|设区市|市别|市县|申报地区"),
)  # fmt: skip
TOTAL_HEAD = r"总投资|投资总额|总金额|totalinvestment"
PART_HEAD = (  # an investment that is not the project's total
    r"累计|已完成|完成投资|到位|资金|当年|本年|年度|今年|明年|上年|以前|\d{4}年?(?:度)?(?:计划|预计|安排|完成)?投资|"
    r"(?:中央|省级|市级|财政|银行|企业|自筹)\S*投资|annual|thisyear|completed"
)
INVESTMENT_HEAD = r"(?:计划|项目|估算|预计|预算|概算|拟)?投资(?:额|规模|估算|概算|金额)?|investment"
WEAK_NAMES = {"项目", "名称", "建设项目", "重点项目", "project", "name"}
UNIT_TAIL = re.compile(r"((?:十|百|千)?(?:亿|万)?元)$")
NUMERALS = "一二三四五六七八九十"
SECTION = re.compile(rf"^(?:第[{NUMERALS}]+[部类章编](?:分|类)?[、.:]?|[{NUMERALS}]+\s*[、..])\s*(?=\S)")
SUBSECTION = re.compile(rf"^\([{NUMERALS}]+\)\s*[、.]?\s*(?=\S)")
BARE_NUMERAL = re.compile(rf"^\(?[{NUMERALS}]+\)?[、.]?$")
COUNT_TAIL = re.compile(r"\s*(?:\(\s*共?\s*\d+\s*[个项].*\)|[,:,:]?\s*共?\s*\d+\s*[个项])\s*$")
TOTAL_LABEL = r"^(?:全[省市区县]|本[省市区])?(?:合计|总计|小计|共计|汇总)|(?:合计|总计|小计)(?:共?\d+[个项])?$"
STAGE = re.compile(r"新开工|拟开工|续建|在建|拟建|新建|扩建|改建|竣工|建成|投产|前期|储备|谋划|预备")
REGION = re.compile(r"^[\u3400-\u9fff]{2,12}(?:市|州|盟|地区|省|自治区|县|区|旗)$")
TITLE_CUT = re.compile(
    r"重点|重大|新基建|新型|基础设施|建设|项目|工程|计划|清单|名单|年|投资|十[一二三四五]五|市级|省级|市本级|一览|[\s\"“”「」《》]"
)
TITLE_LEAD = re.compile(r"^(?:附件|附表|附)\s*\d*\s*[::]?\s*|^关于(?:印发|下达|公布)|^[(《「“\"]+")
NO_REGION = {"全市", "全省", "各市", "各地", "各省", "全国", "我市", "我省", "本市", "本省", "附件", "附表"}


@dataclass(frozen=True)
class Header:
    """The header of a list.

    Attributes:
        first, last: its rows.
        columns: `col`, `c_role`, `c_label`, `c_unit` (null: none printed in the head).
        total: whether a column states the project's total investment.
        name: key of the head of the names, for heads that are printed again.
    """

    first: int
    last: int
    columns: pl.DataFrame
    total: bool
    name: str


def find_header(sheet: pl.DataFrame, reference: Reference) -> Header | None:
    """The header of a list of projects: a row, or two, that head a column of names and one of investments.

    Args:
        sheet: the cells of one sheet.
        reference: headings of region, year, code and province columns; units.
    """
    first = int(sheet["row"][0]) if sheet.height else 0
    top = sheet.filter(pl.col("row") < first + TOP_ROWS).sort("row", "col")
    lines = {int(str(k[0])): part.to_dicts() for k, part in top.partition_by("row", as_dict=True).items()}
    for row, line in lines.items():
        if len(line) < 2:
            continue
        below = lines.get(row + 1, [])
        two = _two_rows(line, below)
        for last, labels in ((row + 1, two), (row, {c["col"]: (c["text"], c["text"]) for c in line})):
            if labels and (header := _header(row, last, labels, reference)) is not None:
                return header
    return None


def _two_rows(upper: list[dict[str, object]], lower: list[dict[str, object]]) -> dict[int, tuple[str, str]]:
    """Upper and lower label of each column where the second row divides heads of the first; empty if it does not.

    A second row belongs to the header if all its cells are text below heads that span several columns, or units.
    """
    spans = [(int(str(c["col"])), int(str(c["col_span"])), str(c["text"])) for c in upper]
    over = {col: text for at, width, text in spans for col in range(at, at + width)}
    wide = {col for at, width, _ in spans if width > 1 for col in range(at, at + width)}
    fits = [c["kind"] == "text" and (c["col"] in wide or UNIT_TAIL.search(key(str(c["text"])))) for c in lower]
    if not fits or not all(fits):
        return {}
    under = {int(str(c["col"])): str(c["text"]) for c in lower}
    return {col: (over.get(col, ""), under.get(col, over.get(col, ""))) for col in sorted({*over, *under})}


def _header(first: int, last: int, labels: Mapping[int, tuple[str, str]], reference: Reference) -> Header | None:
    """The header that these labels make; None if they head no list of projects."""
    rows: list[tuple[int, str, str, str | None]] = []
    taken: set[str] = set()
    for col, (upper, lower) in labels.items():
        role = head_role(lower, reference)
        if role in ("attribute", "bare_unit"):
            role = head_role(upper, reference) if role == "bare_unit" or lower != upper else role
        role = "attribute" if role == "bare_unit" or (role in taken and role != "attribute") else role
        taken.add(role)
        rows.append((col, role, clean(lower), head_unit(lower, reference) or head_unit(upper, reference)))
    names = [key(chinese(split_bracket(clean(label))[0])) for _, role, label, _ in rows if role == "name"]
    evidence = taken & {"kind", "stage", "is_new", "number", "region", "place"}
    strong = "investment" in taken and (names != [] and (names[0] not in WEAK_NAMES or bool(evidence)))
    if not strong and not ("part_investment" in taken and names and names[0] not in WEAK_NAMES):
        return None
    if "region" not in taken and "place" in taken:
        rows = [(col, "region" if role == "place" else role, label, unit) for col, role, label, unit in rows]
    known = {"place": "attribute", "part_investment": "attribute"}
    columns = pl.DataFrame(
        [(col, known.get(role, role), label, unit) for col, role, label, unit in rows],
        schema={"col": pl.Int32, "c_role": pl.String, "c_label": pl.String, "c_unit": pl.String},
        orient="row",
    )
    return Header(first, last, columns, "investment" in taken, names[0])


def head_role(text: str, reference: Reference) -> str:
    """What a column so headed holds: `name`, `investment`, `part_investment`, `kind` …; `bare_unit`, or `attribute`."""
    label = key(split_bracket(chinese(text))[0])
    label = UNIT_TAIL.sub("", label) or "bare_unit"
    if label == "bare_unit":
        return label
    for role, pattern in ROLE_HEADS:
        if re.fullmatch(pattern, label):
            return role
    for role in ("region", "year", "code", "province"):
        if label in {key(stub) for stub in reference.stubs[role]}:
            return role
    part = re.search(PART_HEAD, label)
    if not part and (re.search(TOTAL_HEAD, label) or re.fullmatch(INVESTMENT_HEAD, label)):
        return "investment"
    return "part_investment" if part and ("投资" in label or "investment" in label) else "attribute"


def head_unit(text: str, reference: Reference) -> str | None:
    """The unit of money that a head prints in its last bracket or at its end; None without one."""
    plain = chinese(text)
    bracket = split_bracket(plain)[1] or ""
    printed = (unit_statement(bracket) or bracket, *(m[1] for m in [UNIT_TAIL.search(key(plain))] if m))
    return next((unit for unit in printed if reference.unit(unit)), None)


# -- titles and headings -----------------------------------------------------------------------------------------------
def title_region(text: str) -> str | None:
    """The region that a title, sheet or file is named after («深圳市2020年重大项目计划»: 深圳市); None without one."""
    plain = re.sub(r"(?:19|20)\d{2}\s*年?\s*度?", "", clean(text))
    for _ in range(3):
        plain = TITLE_LEAD.sub("", plain).strip()
    cut = TITLE_CUT.search(plain)
    name = plain[: cut.start()] if cut else plain
    return name if re.fullmatch(r"[\u3400-\u9fff]{2,12}", name) and name not in NO_REGION else None


def heading_region(text: str) -> str | None:
    """The region that a heading inside a list names («一、深圳市(563项)»: 深圳市); None for other headings."""
    name = heading_text(text)
    return name if REGION.fullmatch(name) else None


def heading_text(text: str) -> str:
    """A heading without its number and the count behind it."""
    return COUNT_TAIL.sub("", SUBSECTION.sub("", SECTION.sub("", clean(text)))).strip()


def heading_level(text: str) -> int | None:
    """1 for «一、…» or «第一部分 …», 2 for «(一)…», None for a text without such a number."""
    plain = clean(text)
    return 1 if SECTION.match(plain) else 2 if SUBSECTION.match(plain) else None


def stage_in(text: str) -> str | None:
    """The stage of building that a text names (续建, 新开工 …); None without one."""
    found = STAGE.search(text)
    return found[0] if found else None
