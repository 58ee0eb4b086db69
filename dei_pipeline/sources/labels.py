"""Reading the text of one printed cell: labels, units in brackets, years, numbers.

Yearbook cells are bilingual, padded («北 京»), wrapped over lines and marked with footnote signs. The functions here
take one text apart; the `*_expr` functions do the same for a whole polars column.
"""

import re
import unicodedata

import polars as pl

FOOTNOTE_MARKS = "①-⑳⓪❶-❿➀-➓¹²³⁴-⁹*※†‡"
HAN = r"\u3400-\u9fff"
_HAN = re.compile(f"[{HAN}]")
_TRAILING_LATIN = re.compile(rf"(?<=[{HAN})）])\s*[A-Z]?[a-z][A-Za-z ,.'&()/\-]*$")
_TRAILING_LATIN_RUST = r"([\p{Han})）])\s*[A-Z]?[a-z][A-Za-z ,.'&()/\-]*$"
_CAPITALS = re.compile(r"[#0-9A-Z&/.\-\s]+")
_BRACKET_TAIL = re.compile(r"[（(\[【]([^()（）\[\]【】]*)[)）\]】]\s*$")
YEAR_TEXT = (
    r"^'?\s*((?:19|20)\d{2})(?:\.0+)?\s*"
    r"(?:年度?|[-/年]\d{1,2}(?:[-/月]\d{1,2}日?)?(?:[ T][\d:.]+)?|\.\d{1,2}\.\d{1,2})?$"
)
_YEAR_TEXT = re.compile(YEAR_TEXT)
_YEAR_IN_TITLE = re.compile(r"(?<![\d.\-—~至–])((?:19|20)\d{2})(?!\d)(?!\s*[-—~至–]\s*\d)\s*年?")
_YEAR_IN_NAME = re.compile(r"(?<![\dA-Za-z.])((?:19|20)\d{2})(?![\dA-Za-z版]|\.\d)")
_RANGE = re.compile(r"(?:19|20)\d{2}\s*年?\s*[-—~至–]\s*(?:(?:19|20)\d{2}|\d{2}(?!\d))")


def clean(text: str) -> str:
    """The text in compatibility form (full-width digits made plain), without line breaks and outer blanks."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).replace("\u200b", "")).strip()


def has_han(text: str) -> bool:
    """True if the text holds a Chinese character."""
    return bool(_HAN.search(text))


def key(text: str) -> str:
    """The text as compared between editions: Chinese characters, Latin letters (lower case) and digits only."""
    return re.sub(rf"[^0-9a-z{HAN}]", "", unicodedata.normalize("NFKC", text).lower())


def key_expr(text: pl.Expr) -> pl.Expr:
    """`key` for a polars column."""
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[^0-9a-z\p{Han}]", "")


def chinese(text: str) -> str:
    """The Chinese half of a bilingual cell, without blanks; the cleaned text where there is no Chinese.

    `"R&D人员\\r\\n全时当量\\r\\nTotal"` gives `"R&D人员全时当量"`; `"北 京 Beijing"` gives `"北京"`. Brackets without
    Chinese in a line of their own («(%)») stay, since they may hold the unit.
    """
    if not has_han(text):
        return clean(text)
    lines = [clean(line) for line in re.split(r"[\r\n]+", text)]
    first = next(i for i, line in enumerate(lines) if has_han(line))
    kept = []
    for i, line in enumerate(lines):
        if has_han(line):
            kept.append(_TRAILING_LATIN.sub("", line))
        elif (i < first and _CAPITALS.fullmatch(line)) or re.fullmatch(r"\([^A-Za-z]+\)", line):
            kept.append(line)
    return re.sub(r"\s+", "", "".join(kept))


def split_bracket(label: str) -> tuple[str, str | None]:
    """Label and the text of its last bracket: `"企业数(个)"` gives `("企业数", "个")`; without one `(label, None)`."""
    found = _BRACKET_TAIL.search(label)
    return (label, None) if found is None else (label[: found.start()].strip(), found.group(1).strip())


def year_of(text: str) -> int | None:
    """The year a header or stub cell stands for: `2019`, `2019.0`, `2019年`, `2019-12-31`; None for anything else."""
    found = _YEAR_TEXT.match(clean(text))
    return int(found.group(1)) if found else None


def year_expr(text: pl.Expr) -> pl.Expr:
    """`year_of` for a polars column (Int32, null where the text is not a year)."""
    return text.str.normalize("NFKC").str.strip_chars().str.extract(YEAR_TEXT, 1).cast(pl.Int32)


def year_in_title(text: str) -> int | None:
    """The one year a title names; None if it names none, several, or a range («2011-2018年»)."""
    plain = clean(text)
    if _RANGE.search(plain):
        return None
    years = {int(y) for y in _YEAR_IN_TITLE.findall(plain)}
    return years.pop() if len(years) == 1 else None


def year_in_name(stem: str) -> int | None:
    """The one data year a file name holds (`raw-2016`); None for versions, dates, ranges or several years.

    A name that says «年鉴2021» or «yearbook-2021» names the edition: its data year is one earlier.
    """
    plain = clean(stem)
    if _RANGE.search(plain):
        return None
    years = {int(y) for y in _YEAR_IN_NAME.findall(plain)}
    if len(years) != 1:
        return None
    year = years.pop()
    named = rf"(年鉴|yearbook)[\s_\-(（]*{year}|{year}\s*年?[\s_\-]*\S*(年鉴|yearbook)"
    edition = re.search(named, plain, re.IGNORECASE)
    return year - 1 if edition else year


def unit_statement(text: str) -> str | None:
    """What follows «单位:» in a text, cut before a following English half; None if there is no such statement."""
    found = re.search(r"单\s*位\s*:\s*(.+)$", clean(text))
    if found is None:
        return None
    printed = re.split(r"\s+\(|\s{2,}", found.group(1))[0]
    return printed.strip().rstrip("。)）;；")


def split_units(statement: str) -> list[str]:
    """The units of a statement: `"个,亿元"`, `"个.亿元"` and `"个、亿元"` give `["个", "亿元"]`."""
    parts = re.split(rf"[,，、;；]|(?<=[{HAN}])\.(?=[{HAN}])", statement)
    return [p.strip() for p in parts if p.strip()]


def region_label_expr(text: pl.Expr) -> pl.Expr:
    """Region names as printed without padding, glued English, `#` and footnote marks («北 京 Beijing①» -> «北京»)."""
    plain = text.str.replace_all(f"[{FOOTNOTE_MARKS}]", "").str.normalize("NFKC").str.replace_all(r"[\r\n]+", " ")
    plain = plain.str.strip_chars(" #\u3000\t'")
    han = plain.str.replace(_TRAILING_LATIN_RUST, "${1}").str.replace_all(r"\s+", "")
    latin = plain.str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(plain.str.contains(r"\p{Han}")).then(han).otherwise(latin)


def number_expr(text: pl.Expr) -> pl.Expr:
    """Numbers printed as text (Float64, null where the text is not exactly one number).

    Accepts `1 234.5`, `1,234`, full-width digits, `−3`, `12.5%` (as 12.5) and trailing footnote marks (`12①`, `12*`,
    `12[1]`). Two numbers in one cell, decimal commas, masks («[**]») and bracketed negatives are not guessed.
    """
    plain = text.str.replace(rf"\s*[{FOOTNOTE_MARKS}]+\s*$", "").str.normalize("NFKC")
    plain = plain.str.replace_all(r"[\s\u200b]+", " ").str.strip_chars(" '").str.replace(r"\s?(\[\d+\]|[a-z]\))$", "")
    plain = plain.str.replace(r"^[−–—－]\s?(\d)", "-${1}").str.replace(r"\s?%$", "")
    grouped = plain.str.contains(r"^[+-]?\d{1,3}([ ,]\d{3})+(\.\d+)?$")
    simple = plain.str.contains(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$")
    number = plain.str.replace_all("[ ,]", "").cast(pl.Float64, strict=False)
    return pl.when(grouped | simple).then(number)
