"""What the columns of registers of companies and of holdings say, as plain text functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import polars as pl

from dei_pipeline.sources.labels import chinese, clean, key, split_bracket
from dei_pipeline.sources.layouts import Reference

COMPANIES, HOLDINGS = "company_records", "holding_records"
TOP_ROWS = 15  # rows from the first non-empty one in which a header is looked for
ROLE_HEADS: tuple[tuple[str, str], ...] = (  # role of a column, and how the key of its head reads; the first that fits
    ("holder_code", r"(?:股东|持有人|持股人|投资方|投资人|出资人|出资方|holder|shareholder)"
                    r"(?:统一社会信用代码|社会信用代码|信用代码|代码|creditcode|code|id)"),
    ("held_code", r"(?:被投资(?:企业|公司|单位|方)?|被持股(?:企业|公司)?|标的(?:企业|公司)?|held|investee)"
                  r"(?:统一社会信用代码|社会信用代码|信用代码|代码|creditcode|code|id)"),
    ("credit_code", r"(?:企业|公司)?(?:统一)?社会信用代码(?:注册号)?|信用代码|(?:unifiedsocial)?creditcode|uscc"),
    ("holder", r"(?:直接|主要|登记|前十大)?股东(?:名称|姓名)?|持股人|持有人(?:名称)?|投资(?:方|人|者)(?:名称)?|"
               r"出资(?:方|人)(?:名称)?|控股(?:方|公司|股东)(?:名称)?|母公司(?:名称)?|holder(?:name)?|"
               r"shareholder(?:s|name)?|owner|investor|parent(?:company)?"),
    ("held", r"被投资(?:企业|公司|单位|方)(?:名称)?|被持股(?:公司|企业)(?:名称)?|标的(?:公司|企业)(?:名称)?|"
             r"(?:控股)?子公司(?:名称)?|投资企业(?:名称)?|held(?:company|name)?|subsidiary|investee|issuer"),
    ("share", r"(?:直接)?(?:持股|出资|股权|持有|投资|控股|占股|占总股本|持股占总股本|占)(?:的)?(?:比例|比重|比|占比)|"
              r"股比|占比|持股百分比|percentage|percent|pct|share(?:percent|percentage|pct|ratio)?|stake|"
              r"(?:share)?holding(?:percent|percentage|ratio)|ownership(?:percent|percentage)?"),
    ("root", r"(?:是否)?(?:根企业|典型企业|百强企业)(?:类别|类型)?|root(?:kind)?"),
    ("alias", r"(?:证券|股票|公司|企业)?简称|曾用名|英文名称?|standardi[sz]edstockname|sname|shortname|alias"),
    ("company", r"(?:公司|企业|单位|机构)(?:全称|名称|中文名称)|中文全称|公司|企业|company(?:name)?|stockname|"
                r"firm(?:name)?|corporation"),
    ("name", r"名称|全称|name"),
    ("code", r"(?:证券|股票|公司|企业)?代码|stockid|ticker|(?:工商)?注册号|组织机构代码|companyid|code"),
    ("industry", r"(?:所属|国民经济)?行业(?:名称|类别|分类|门类|大类)?|sector|industry"),
    ("country", r"国家|国别|国家(?:和|或|及)?地区|(?:注册地?|所在)国家?|country"),
    ("address", r"(?:企业|公司)?(?:注册|登记|办公)?(?:地址|住所)|address"),
    ("date", r"(?:数据|统计|持股|登记|公告)?(?:截止|截至)?(?:日期|日)|报告期|asof(?:date)?|date"),
    ("region", r"(?:注册|登记|所在|所属|总部)(?:地|城市|市|地市|地级市)"),
)  # fmt: skip
BARE_COMPANY = {"公司", "企业", "company", "corporation"}  # heads of statistics, too, where nothing else says register
BESIDE = frozenset({"credit_code", "code", "alias", "industry", "region", "province", "address", "country", "root"})
NAMED_AFTER = re.compile(  # words around the company in the name of a sheet or file
    r"(?i)[\s_\-]*(?:(?:top\s*\d+\s*)?(?:share)?holders?|shares?|holdings?|股东(?:名单|信息|明细)?|持股(?:明细|情况|信息|表)?|"
    r"前十大|(?:19|20)\d{2}\s*年?(?:末|底)?)[\s_\-]*$"
)
PLAIN_SHEET = re.compile(r"(?i)^(?:csv|parquet|table\d*|sheet\d*|text|工作表\d*|\d+)$")
ROOT_KINDS = {
    "digital_industrialisation": ("digitalindustrialisation", "digitalindustrialization", "数字产业化", "数字产业"),
    "industry_digitalisation": ("industrydigitalisation", "industrydigitalization", "产业数字化", "融合应用"),
}  # [seed 004: 40 enterprises of digital industrialisation, 60 of industry digitalisation]
TICKS = {"√", "✓", "✔"}
NO_ROOT = {"", "否", "no", "n", "0", "false"}


@dataclass(frozen=True)
class Header:
    """The header of a register.

    Attributes:
        kind: `COMPANIES` or `HOLDINGS`.
        row: its row.
        columns: `col`, `c_role`, `c_label`.
        unit: of shares as the head says it: `percent`, `ratio`, or «» where it does not.
        named: role (`holder`, `held`) that sheet or file name instead of a column, and that name.
        labels: keys of the heads, for headers that are printed again.
    """

    kind: str
    row: int
    columns: pl.DataFrame
    unit: str = ""
    named: tuple[str, str] | None = None
    labels: frozenset[str] = field(default_factory=frozenset)


def find_header(sheet: pl.DataFrame, manifest: Mapping[str, Any], reference: Reference) -> Header | None:
    """The header of a register of companies or of holdings; None for any other sheet.

    A holding needs a share, a holder and a company held; one of the two may be the name of the sheet or file. A
    register of companies needs their names and something that only companies have.

    Args:
        sheet: the cells of one sheet.
        manifest: of its file: `file`.
        reference: headings of region, year, code and province columns.
    """
    first = int(sheet["row"][0]) if sheet.height else 0
    top = sheet.filter((pl.col("row") < first + TOP_ROWS) & (pl.col("kind") == "text")).sort("row", "col")
    for (row,), line in top.partition_by("row", as_dict=True, maintain_order=True).items():
        if line.height < 2:
            continue
        heads = [(int(col), head_role(text, reference), clean(text)) for col, text in line["col", "text"].iter_rows()]
        header = _header(int(str(row)), heads, sheet, manifest)
        if header is not None:
            return header
    return None


def head_role(text: str, reference: Reference) -> str:
    """What a column so headed holds: a role of `ROLE_HEADS`, `year`, `region_code`, `province` … or `attribute`."""
    label = key(split_bracket(chinese(text))[0])
    for role, pattern in ROLE_HEADS:
        if re.fullmatch(pattern, label):
            return role
    for role in ("region", "year", "code", "province"):
        if label in {key(stub) for stub in reference.stubs[role]}:
            return "region_code" if role == "code" else role
    return "attribute"


def _header(
    row: int, heads: list[tuple[int, str, str]], sheet: pl.DataFrame, manifest: Mapping[str, Any]
) -> Header | None:
    """The header that these heads make; None if they head no register."""
    roles: dict[int, str] = {}
    for col, role, _ in heads:
        roles[col] = "attribute" if role in roles.values() else role
    has = set(roles.values())
    named: tuple[str, str] | None = None
    unit = ""
    if "share" in has:
        kind = HOLDINGS
        change = _ends(has)
        if change is None:
            return None
        roles = {col: change.get(role, role) for col, role in roles.items()}
        missing = [role for role in ("holder", "held") if role not in roles.values()]
        if missing:
            name = named_after(sheet, manifest)
            if len(missing) > 1 or name is None:
                return None
            named = missing[0], name
        unit = next((share_unit(label) for col, _, label in heads if roles[col] == "share"), "")
    else:
        kind = COMPANIES
        bare = {key(chinese(label)) for col, _, label in heads if roles[col] == "company"} <= BARE_COMPANY
        beside = len(has & BESIDE)
        named_so = ("company" in has and beside and (not bare or has & {"credit_code", "root"})) or (
            has & {"name", "alias"}
            and ("credit_code" in has or "root" in has or ({"name", "alias"} <= has and beside > 2))
        )
        if not named_so:
            return None
        main = next(role for role in ("company", "name", "alias") if role in has)
        roles = {col: "name" if role == main else "alias" if role in ("company", "name") else role
                 for col, role in roles.items()}  # fmt: skip
    columns = pl.DataFrame(
        [(col, roles[col], label) for col, _, label in heads],
        schema={"col": pl.Int32, "c_role": pl.String, "c_label": pl.String},
        orient="row",
    )
    return Header(kind, row, columns, unit, named, frozenset(key(label) for _, _, label in heads))


def _ends(has: set[str]) -> dict[str, str] | None:
    """Roles that columns of a list of holdings have instead of those of their heads; None without any name."""
    change: dict[str, str] = {"credit_code": "held_code", "code": "held_code"}
    others = [role for role in ("held", "company", "name", "alias") if role in has]
    if "holder" in has:
        change |= dict.fromkeys(others[:1], "held")
    elif {"company", "name"} <= has:
        change |= {"company": "held", "name": "holder"}
    elif others == ["name"] and not has & {"code", "credit_code"}:
        change |= {"name": "holder"}
    elif others:
        change |= {others[0]: "held"}
    else:
        return None
    if "held_code" in has:
        change |= {"credit_code": "attribute", "code": "attribute"}
    elif {"credit_code", "code"} <= has:
        change |= {"code": "attribute"}
    return {"company": "attribute", "name": "attribute", "alias": "attribute", **change}


def share_unit(label: str) -> str:
    """The unit that the head of a column of shares says: `percent`, `ratio`, or «»."""
    plain = key(chinese(label))
    bracket = (split_bracket(chinese(label))[1] or "").strip()
    if "%" in clean(label) or re.search(r"百分|percent|pct", plain):
        return "percent"
    return "ratio" if re.fullmatch(r"0\s*[-–—~至到]\s*1|小数|ratio|fraction", bracket) or "ratio" in plain else ""


def named_after(sheet: pl.DataFrame, manifest: Mapping[str, Any]) -> str | None:
    """The company that a sheet, or the file of an unnamed sheet, is named after; None where the name says nothing."""
    name = str(sheet["sheet"][0])
    name = PurePath(str(manifest.get("file") or "")).stem if PLAIN_SHEET.match(clean(name)) else name
    before, name = "", clean(name)
    while before != name:
        before, name = name, NAMED_AFTER.sub("", name).strip()
    return name if len(key(name)) > 1 and not PLAIN_SHEET.match(name) else None


def root_kind(text: str) -> str | None:
    """The kind of root enterprise that a mark says, `unspecified` for a bare yes, «» for none, None if unreadable."""
    plain = key(text)
    if text.strip() in TICKS:
        return "unspecified"
    if plain in NO_ROOT:
        return ""
    found = next((kind for kind, words in ROOT_KINDS.items() if any(word in plain for word in words)), None)
    return found or ("unspecified" if plain in {"是", "yes", "y", "1", "true"} else None)
