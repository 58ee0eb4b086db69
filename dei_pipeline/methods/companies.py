"""Names and codes of companies: credit codes checked, names made comparable, names and codes resolved to companies.

What a name says is its stem and its legal form. Width, case, punctuation, blanks, leading «THE» and listed short words
do not count; legal forms are read by the reviewed list `reference/company_forms.csv`. Two names are one company if stem
and form are the same, or if the stems are the same and one of them states no form: HOE LEONG CORPORATION LIMITED is not
HOE LEONG COMPANY PRIVATE LIMITED. Nothing is matched by likeness.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dei_pipeline.errors import ReferenceFileError

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015: without I, O, S, V, Z
WEIGHTS = tuple(3**i % 31 for i in range(17))
KINDS = ("form", "word", "lead", "nominee", "home", "overseas")
HOW = ("code", "name", "alias", "stem", "beneficiary")
BEHALF = (  # who a nominee holds for: «NOMINEES … FOR X», «<X A/C>», «代X持有»
    r"(?i)\b(?:nominees?|custodians?|trustees?)\b.*?\bfor\s+(?:account\s+of\s+)?(.+)$",
    r"(?i)<\s*(.+?)\s+a/c\s*>",
    r"[(（]?代(?:表)?(.{2,40}?)(?:持有|持股|持)[)）]?$",
)
FIX = "write the name in full or give the unified social credit code"


@dataclass(frozen=True)
class Forms:
    """The reviewed words of company names.

    Attributes:
        forms: legal form by the way it is printed, after `_plain`.
        words: short words and what they stand for («» for words left out).
        leads, nominees, home, overseas: words of that kind.
    """

    forms: Mapping[str, str]
    words: Mapping[str, str]
    leads: tuple[str, ...]
    nominees: tuple[str, ...]
    home: frozenset[str]
    overseas: frozenset[str]

    @staticmethod
    def load(path: Path) -> "Forms":
        """The words of `reference/company_forms.csv`.

        Raises:
            ReferenceFileError: a kind is unknown, or a word stands there twice; names the line.
        """
        return _load(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _load(path: Path, modified: int) -> Forms:
    rows = pl.read_csv(path, infer_schema=False).with_columns(pl.col("form").fill_null(""))
    seen: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for number, (kind, printed, form) in enumerate(rows.select("kind", "printed", "form").iter_rows(), start=2):
        if kind not in seen or printed in seen[kind]:
            what = f"kind «{kind}» is unknown" if kind not in seen else f"«{printed}» stands there twice"
            raise ReferenceFileError(f"{path.name}, line {number}: {what}", f"kinds are {', '.join(KINDS)}")
        seen[kind][printed] = form
    return Forms(
        seen["form"], seen["word"], tuple(seen["lead"]), tuple(seen["nominee"]), frozenset(seen["home"]),
        frozenset(seen["overseas"]),
    )  # fmt: skip


# -- codes -------------------------------------------------------------------------------------------------------------
def credit_code(text: pl.Expr) -> pl.Expr:
    """The unified social credit code of a text, without blanks and in capitals; null where it is none.

    GB 32100-2015: 18 of 31 characters, the last C_18 with (Σ_{i≤17} C_i·3^(i−1) + C_18) mod 31 = 0, each character
    being its place in `ALPHABET`.
    """
    code = text.str.normalize("NFKC").str.to_uppercase().str.replace_all(r"[\s\-_']", "")
    places = {letter: place for place, letter in enumerate(ALPHABET)}
    digits = [code.str.slice(i, 1).replace_strict(places, default=None, return_dtype=pl.Int32) for i in range(18)]
    total = pl.sum_horizontal(*(d * w for d, w in zip(digits, (*WEIGHTS, 1), strict=True)), ignore_nulls=False)
    return pl.when((code.str.len_chars() == 18) & (total % 31 == 0)).then(code)


def check_character(first: str) -> str:
    """The last character of the credit code that begins with these 17; for made-up registers."""
    total = sum(ALPHABET.index(letter) * weight for letter, weight in zip(first, WEIGHTS, strict=True))
    return ALPHABET[-total % 31]


# -- names -------------------------------------------------------------------------------------------------------------
def _plain(text: pl.Expr) -> pl.Expr:
    """Capital letters, digits and Chinese characters in words; names with Chinese characters in one word."""
    plain = text.str.normalize("NFKC").str.to_uppercase().str.replace_all(r"['’`.\u200b]", "")
    plain = plain.str.replace_all("&", " AND ", literal=True).str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()
    return pl.when(plain.str.contains(r"\p{Han}")).then(plain.str.replace_all(" ", "")).otherwise(plain)


def _either(words: Mapping[str, str] | tuple[str, ...]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


def name_parts(names: pl.Series, forms: Forms) -> pl.DataFrame:
    """What each different name says: name, stem, form (null: none stated), nominee, beneficiary; by name.

    Args:
        names: names as printed; nulls are left out.
        forms: the reviewed words.
    """
    text = pl.col("name")
    latin = {word: form for word, form in forms.forms.items() if not re.search(r"[\u3400-\u9fff]", word)}
    han = {word: form for word, form in forms.forms.items() if word not in latin}
    tail = rf"^(.+?)(?: (?:{_either(latin)})|(?:{_either(han)}))$"
    spaced = pl.concat_str(pl.lit(" "), pl.col("plain").str.replace_all(" ", "  "), pl.lit(" "))
    words = spaced.str.replace_many([f" {w} " for w in forms.words], [f" {w} " for w in forms.words.values()])
    stated = [text.str.extract(pattern, 1) for pattern in BEHALF]
    nominee = rf"(?:^|\W)(?:{_either(tuple(w for w in forms.nominees if w.isascii()))})(?:\W|$)"
    nominee = f"{nominee}|{_either(tuple(w for w in forms.nominees if not w.isascii()))}"
    found = names.drop_nulls().unique().sort().alias("name").to_frame().with_columns(plain=_plain(text))
    found = found.with_columns(plain=words.str.replace_all(r" +", " ").str.strip_chars())
    found = found.with_columns(plain=pl.col("plain").str.replace(rf"^(?:{_either(forms.leads)}) ", ""))
    found = found.with_columns(stem=pl.coalesce(pl.col("plain").str.extract(tail, 1), "plain"))
    printed = pl.col("plain").str.slice(pl.col("stem").str.len_chars()).str.strip_chars()
    return found.select(
        "name",
        stem=pl.col("stem").str.replace_all(" ", ""),
        form=printed.replace_strict(dict(forms.forms), default=None, return_dtype=pl.String),
        nominee=text.str.to_uppercase().str.contains(nominee) | pl.coalesce(stated).is_not_null(),
        beneficiary=pl.coalesce(stated).str.strip_chars(),
    )


def name_id(stem: pl.Expr, form: pl.Expr) -> pl.Expr:
    """The id of a company, fund or person of whom only a name is known: «name:STEM FORM»."""
    return pl.concat_str(pl.lit("name:"), stem, pl.when(form.is_null()).then(pl.lit("")).otherwise(" " + form))


# -- resolution --------------------------------------------------------------------------------------------------------
def resolve(asked: pl.DataFrame, called: pl.DataFrame, forms: Forms) -> pl.DataFrame:
    """Who each name and code is: rows of `asked` with parts of the name, company_id, how, near, reason, fix, said.

    The first of these that finds anyone decides (`how`): the code; name and legal form; another name and form; the stem
    where one side states no form; the beneficiary that a nominee is named with. Several companies found: refused, and
    so is a code that is another company's than the name beside it. `near` lists companies of the same stem whose form
    contradicts, `said` is what `called` has of the name or code that decided. Who is not found has no company_id and
    no reason: an owner outside the register.

    Args:
        asked: different name and code (String, either may be null); other columns are kept.
        called: what companies are called: company_id, text, what (`name`, `alias`, `code`), said (where it stands); of
            several that decide the first counts.
        forms: the reviewed words.
    """
    parts = name_parts(pl.concat([asked["name"], called.filter(pl.col("what") != "code")["text"]]), forms)
    helped = parts["beneficiary"].drop_nulls()
    parts = pl.concat([parts, name_parts(helped, forms)]).unique("name", keep="first", maintain_order=True)
    called = called.with_row_index("at")
    known = called.filter(pl.col("what") != "code").join(parts, left_on="text", right_on="name").select(
        "company_id", "what", "stem", "said", "at", known_form="form", text="text"
    )  # fmt: skip
    rows = asked.join(parts, on="name", how="left", maintain_order="left").with_row_index("query")
    behalf = rows.drop("stem", "form").join(
        parts.select(beneficiary="name", stem="stem", form="form"), on="beneficiary", how="inner"
    )
    codes = called.filter(pl.col("what") == "code").select("company_id", "said", "at", code="text")
    by_code = rows.join(codes, on="code").select("query", "company_id", "said", "at", rank=pl.lit(0))
    alike = pl.concat(
        [
            part.join(known, on="stem").with_columns(later=pl.lit(later))
            for part, later in ((rows, False), (behalf, True))
        ],
        how="diagonal",
    )
    same = (pl.col("form") == pl.col("known_form")) | (pl.col("form").is_null() & pl.col("known_form").is_null())
    half = pl.col("form").is_null() | pl.col("known_form").is_null()
    rank = (
        pl.when(~same.fill_null(False) & ~half).then(9)
        .when("later").then(4)
        .when(same.fill_null(False) & (pl.col("what") == "name")).then(1)
        .when(same.fill_null(False)).then(2)
        .otherwise(3)
    )  # fmt: skip
    by_name = alike.select("query", "company_id", "said", "at", rank=rank)
    near = alike.filter(rank == 9).group_by("query").agg(
        near=pl.col("text").unique().sort().str.join("; "))  # fmt: skip
    found = pl.concat([by_code, by_name.filter(pl.col("rank") < 9)], how="vertical_relaxed")
    best = found.filter(pl.col("rank") == pl.col("rank").min().over("query"))
    chosen = best.group_by("query").agg(
        n=pl.col("company_id").n_unique(), first=pl.col("company_id").min(), rank=pl.col("rank").first(),
        all=pl.col("company_id").unique().sort().str.join(", "),
        said=pl.col("said").sort_by("company_id", "at").first(),
    )  # fmt: skip
    named = found.filter(pl.col("rank").is_in([1, 2])).group_by("query").agg(named=pl.col("company_id").unique())
    state = rows.join(chosen, on="query", how="left").join(named, on="query", how="left").join(
        near, on="query", how="left").sort("query")  # fmt: skip
    other_code = (pl.col("rank") == 0) & ~pl.col("first").is_in("named")
    coded = called.filter(pl.col("what") == "code").select(first="company_id", own_code="text")
    own = coded.with_columns(own=credit_code(pl.col("own_code"))).drop_nulls("own").unique("first", keep="first")
    state = state.join(own.select("first", "own"), on="first", how="left", maintain_order="left")
    wrong_code = (pl.col("rank") > 0) & (credit_code(pl.col("code")) != pl.col("own"))
    name = pl.col("name").fill_null("")
    reason = (
        pl.when(pl.col("n") > 1).then(pl.format("«{}» can mean {}", pl.coalesce("name", "code"), "all"))
        .when(other_code.fill_null(False))
        .then(pl.format("code {} is not the code of «{}»", "code", name))
        .when(wrong_code.fill_null(False))
        .then(pl.format("«{}» has the code {}, not {}", name, "own", "code"))
    )  # fmt: skip
    return state.with_columns(reason=reason).select(
        *asked.columns, "stem", "form", pl.col("nominee").fill_null(False), "beneficiary",
        company_id=pl.when(pl.col("reason").is_null()).then("first"),
        how=pl.when(pl.col("reason").is_null()).then(
            pl.col("rank").replace_strict(dict(enumerate(HOW)), default=None, return_dtype=pl.String)),
        near=pl.when(pl.col("first").is_null()).then("near"),
        reason="reason",
        fix=pl.when(pl.col("reason").is_not_null()).then(pl.lit(FIX)),
        said="said",
    )  # fmt: skip
