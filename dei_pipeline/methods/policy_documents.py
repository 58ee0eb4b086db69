"""Documents with region, kind and duplicates; the terms found in them; the tasks of plans; each with lineage.

Where a document comes from: the region said beside it, else the name of a region at the head of its issuer or title,
else a national body as issuer. Documents of one region whose texts are the same, or nearly the same in one year, are
one: the original counts.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from dei_pipeline.errors import NothingToDo
from dei_pipeline.methods import policy
from dei_pipeline.methods.regions import Regions, match
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, make_edges, split_source_cell
from dei_pipeline.sources.document_meta import MAX_TITLE, inner_title
from dei_pipeline.sources.document_text import TEXT
from dei_pipeline.sources.lexicons import AREAS, TECHNOLOGY, Lexicons

DOCUMENTS, TEXTS, HITS, TASKS, TERMS = (
    "core/documents", "staging/document_texts", "core/policy_hits", "core/plan_tasks", "core/policy_terms",
)  # fmt: skip
STAGED = "staging/documents"
WHITE = ("blank", "line_break", "control")  # roles of removed characters that may lie inside what is shown
NATION = "100000"
OTHER = "other"
CONFIDENCE: Mapping[str, float] = {"stated": 0.95, "issuer": 0.85, "national_issuer": 0.85, "title": 0.75, "url": 0.6}
PLAN = "newinfra_plan"
ORDER = ["reprint", "published", "file"]  # of duplicates: under the name of an authority before others, then the first
DIGITAL = re.compile("数字(?:经济|化|中国|产业|技术|转型|政府|社会|城市|赋能)|智慧城市")
LONGEST_NAME, SHORTEST_NAME = 14, 2
_BEFORE_NAME = re.compile(r"^(?:[\s“”\"《〈（(]|中共|关于|印发|\d{4}年)+")
_FULL_NAME = re.compile("..(?:省|市|自治区|特别行政区|州|盟|地区|新区|县|旗|区)$")
_OTHER_WORD = re.compile(
    "市场(?!馆)|区[块域间]|州际|县域|省略"
)  # a full name's last character that begins another word
_AUTHORITY = (
    "(?:政府|委员会|[市省区县州教工党纪建改信]委|局|厅|署|办公[室厅]|[府信改网政]办|大会|领导小组|联席会议|指挥部|宣传部|组织部|统战部|法院"
    "|检察院)"
)
_ENDS_AS_AUTHORITY = re.compile(rf"{_AUTHORITY}(?:[（(].*[）)])?$")
_NAMES_AUTHORITY = re.compile(rf"[^，。《》]{{0,20}}?{_AUTHORITY}(?:[、，\s（(]|关于|印发|公布|发布|$)")
_OF_A_PLAN = re.compile(  # what may follow the short name of a region: a mark, an organ, or the words of a plan
    r"$|[^\w]|市[委政人级“]|省[委政人级“]|人民|人大|“?十[一二三四五六]五|第十|\d{4}|关于|印发|贯彻|落实|推[进动]|加[快强]|促进|进一步|支持|深化|实施|全面"
    "|打造|建设(?!银行)|发展|提升|数字|智[慧能]|新型|新基建|新一代|国民经济|经济(?:社会|和|发展|运行)|信息|大数据(?!有限|股份)|人工智能|工业互联网|云计算|物联网"
    "|区块链|互联网|5G|政务|公共|城市|电子|产业数字|数据|软件|三年|行动|政策|规划|市场监"
)
FIX = "say the region: a list or table with a column «地区», or a title that begins with it"


# -- documents ---------------------------------------------------------------------------------------------------------
def core_documents(staged: pl.DataFrame, texts: pl.DataFrame, regions: Regions, lexicons: Lexicons) -> Table:
    """`core/documents`: each document with region, year, kind and text, and whether it counts or repeats another.

    Args:
        staged: staging/documents.
        texts: staging/document_texts.
        regions: the register of regions.
        lexicons: kinds of plans and national bodies.

    Returns:
        Table with key document_id; edges to staging/documents. Quarantined: documents without a year or a region.

    Raises:
        NothingToDo: none can be used; names the first and why.
    """
    kept = texts.filter(role=TEXT).sort("document_id", "position")
    text = kept.group_by("document_id", maintain_order=True).agg(pl.col("text").str.join(""))
    placed = _placed(staged, regions, lexicons)
    wrong = pl.col("reason").is_not_null()
    found = placed.filter(~wrong).join(text, on="document_id", how="left", maintain_order="left")
    aside = _aside(placed.filter(wrong))
    if not found.height:
        first = aside.row(0, named=True)
        raise NothingToDo(
            f"{DOCUMENTS}: none of {staged.height} documents can be used; {first['file']}: {first['reason']}",
            first["fix"],
        )
    titles = found["title"].to_list()
    found = found.with_columns(
        pl.Series("kind", [kind_of(title, lexicons) for title in titles], dtype=pl.String),
        pl.Series("period", [policy.plan_period(title) for title in titles], dtype=pl.String),
        pl.Series("digital_chapter", [has_digital_chapter(body or "") for body in found["text"]], dtype=pl.Boolean),
        pl.col("text").fill_null(""),
    )
    pairs = policy.near_duplicates(found.select("document_id", "text"))
    region = found.select("document_id", "region_code", "year")
    sided = pairs.join(region, left_on="left_id", right_on="document_id").join(
        region, left_on="right_id", right_on="document_id", suffix="_right"
    )
    of_region = sided.filter(pl.col("region_code") == pl.col("region_code_right"))
    same_year = pl.col("year") == pl.col("year_right")  # a plan of the next year in like words is one of its own
    own = of_region.filter((pl.col("similarity") == 1) | same_year)
    likest = pl.concat([own.select(document_id=side, similarity="similarity") for side in ("left_id", "right_id")])
    found = (
        found.join(policy.originals(found, own, ORDER), on="document_id", maintain_order="left")
        .join(likest.group_by("document_id").agg(pl.col("similarity").max()), on="document_id", how="left")
        .with_columns(counted=pl.col("original_id") == pl.col("document_id"), characters=pl.col("text").str.len_chars())
        .with_columns(confidence=pl.min_horizontal("title_confidence", "published_confidence", "region_confidence"))
    )
    return Table(
        found,
        make_edges(found, ["document_id"], STAGED, ["document_id"], "document"),
        aside,
        notes={
            "documents": found.height,
            "repeats": int((~found["counted"]).sum()),
            "alike_in_other_regions": sided.height - of_region.height,
        },
    )


def kind_of(title: str | None, lexicons: Lexicons) -> str:
    """The kind of document that a title shows: that of what it makes known first, then its own; `other` if none."""
    for text in (inner_title(title), title) if title else ():
        for kind, pattern in lexicons.kinds:
            if pattern.search(text[: 2 * MAX_TITLE]):
                return kind
    return OTHER


def has_digital_chapter(text: str) -> bool:
    """Whether a chapter or section of a text is headed by the digital economy, government or society."""
    return bool(
        policy.headings(text).filter((pl.col("level") <= 2) & pl.col("title").str.contains(DIGITAL.pattern)).height
    )


def _placed(staged: pl.DataFrame, regions: Regions, lexicons: Lexicons) -> pl.DataFrame:
    """The documents with region_code, region_from, region_confidence and reprint, or reason and fix.

    A reprint is a document under the name of no authority (`is_authority`) of a region or the nation.
    """
    names = _names(regions)

    def national(text: str | None) -> bool:
        return any(pattern.search(_BEFORE_NAME.sub("", text or "")) for pattern in lexicons.national)

    rows: list[tuple[str | None, ...]] = []
    columns = ["document_id", "region_label", "code_hint", "issuer", "title", "url"]
    for document, stated, code, issuer, title, url in staged.select(columns).iter_rows():
        if stated or code:
            rows.append((document, stated or "", code, None, "stated"))
            continue
        for text, origin in ((issuer, "issuer"), (title, "title")):
            label, province = leading_region(text or "", names)
            if label:
                rows.append((document, label, None, province, origin))
                break
            if national(text):
                rows.append((document, "中国", None, None, "national_issuer"))
                break
        else:
            host = urlsplit(url or "").hostname or ""
            if any(pattern.search(host) for pattern in lexicons.national_hosts):
                rows.append((document, "中国", None, None, "url"))
    schema = {
        "document_id": pl.String, "label": pl.String, "code_hint": pl.String, "province_hint": pl.String,
        "region_from": pl.String,
    }  # fmt: skip
    asked = pl.DataFrame(rows, schema=schema, orient="row").join(staged.select("document_id", "year"), on="document_id")
    zone = pl.col("zone_id").is_not_null()
    answers = match(asked, regions).select(
        "document_id", "region_code", "region_from",
        why=pl.when(zone).then(pl.format("«{}» is a group of regions", "label")).otherwise("reason"),
        how="fix",
    )  # fmt: skip
    official = [is_authority(issuer or "", names) or national(issuer) for issuer in staged["issuer"]]
    undated = pl.col("year").is_null()
    nowhere = pl.col("region_code").is_null() & pl.col("why").is_null()
    return staged.join(answers, on="document_id", how="left", maintain_order="left").with_columns(
        reprint=~pl.Series(official, dtype=pl.Boolean),
        region_confidence=pl.col("region_from").replace_strict(CONFIDENCE, default=None, return_dtype=pl.Float64),
        reason=pl.when(undated).then(pl.lit("no year: no date in its text, its list or its title"))
        .when(nowhere).then(pl.lit("no region: neither its issuer nor its title begins with one")).otherwise("why"),
        fix=pl.when(undated).then(pl.lit("say the date: a list or table with a column «发布日期»"))
        .when(nowhere).then(pl.lit(FIX)).otherwise("how"),
    )  # fmt: skip


def _names(regions: Regions) -> frozenset[str]:
    """Chinese names by which a region is known."""
    chinese = regions.forms.filter((pl.col("how") != "code") & pl.col("key").str.contains(r"^\p{Han}{2,}$"))
    return frozenset(chinese["key"])


def leading_region(text: str, names: frozenset[str] | set[str]) -> tuple[str | None, str | None]:
    """The region whose name begins a text, and the province named before it; None where there is none.

    The longest name counts; a second name right behind the first is the region, the first its province. A name is that
    of a region only if the text goes on like one: a full name (白银市) not with another word (白银市场), a short one
    with an authority (上海证监局) or the words of a plan (上海推进 …), not as a word of its own (上海证券报).
    """
    rest = _BEFORE_NAME.sub("", text)
    first = _longest(rest, names)
    second = _longest(rest.removeprefix(first), names) if first else None
    if second and len(second) > SHORTEST_NAME:
        return second, first
    return first, None


def _longest(text: str, names: frozenset[str] | set[str]) -> str | None:
    for length in range(min(LONGEST_NAME, len(text)), SHORTEST_NAME - 1, -1):
        name, rest = text[:length], text[length:]
        if name in names and _stands_alone(name, rest, names):
            return name
    return None


def _stands_alone(name: str, rest: str, names: frozenset[str] | set[str]) -> bool:
    if _FULL_NAME.search(name):
        return not _OTHER_WORD.match(name[-1] + rest)
    within = any(rest[:n] in names and _FULL_NAME.search(rest[:n]) for n in range(SHORTEST_NAME + 1, LONGEST_NAME + 1))
    return within or bool(_OF_A_PLAN.match(rest) or _NAMES_AUTHORITY.match(rest))


def is_authority(issuer: str, names: frozenset[str] | set[str]) -> bool:
    """Whether an issuer is an organ of a region: it begins with the region's name and ends as authorities do."""
    return leading_region(issuer, names)[0] is not None and bool(_ENDS_AS_AUTHORITY.search(issuer.strip()))


def _aside(rows: pl.DataFrame) -> pl.DataFrame:
    parts = [split_source_cell(cell) for cell in rows["source_cell"]]
    places = {"sheet": [part[1] for part in parts], "cell": [part[2] for part in parts]}
    return rows.with_columns(
        *(pl.Series(name, values, dtype=pl.String) for name, values in places.items()), raw_text="title"
    ).select(*(pl.col(name).cast(pl.String) for name in QUARANTINE_COLUMNS), "document_id", "issuer", "region_label")


# -- terms -------------------------------------------------------------------------------------------------------------
def policy_terms(lexicons: Lexicons) -> Table:
    """`core/policy_terms`: lexicon and term_id with theme and names of each term; edges to the reviewed files."""
    own = ["lexicon", "term_id"]
    frame = lexicons.terms.group_by(*own, maintain_order=True).agg(
        pl.col("theme", "name_zh", "name_en").first(), forms=pl.col("form").str.join(" ")
    )
    edges = [
        make_edges(frame.filter(lexicon=name), own, f"reference/lexicons/{file}", ["term_id"], "definition")
        for name, file in ((AREAS, "policy_areas.csv"), (TECHNOLOGY, "technology_terms.csv"))
    ]
    return Table(frame, pl.concat(edges), notes={"terms": frame.height})


def policy_hits(documents: pl.DataFrame, texts: pl.DataFrame, lexicons: Lexicons) -> Table:
    """`core/policy_hits`: every place in a document that counts where a term stands, with snippet and cell.

    Args:
        documents: core/documents.
        texts: staging/document_texts, for the places in the files.
        lexicons: the terms; each lexicon is searched by itself, so that its longest forms count.

    Returns:
        Table with key document_id, lexicon, start; edges to core/documents (role document) and to every run of
        characters in staging/document_texts that it touches (role text).

    Raises:
        NothingToDo: no document holds a term.
    """
    counted = documents.filter("counted")
    plain = counted.select("document_id", "text")
    found = [
        policy.keyword_hits(plain, lexicons.of(name)).with_columns(lexicon=pl.lit(name)) for name in (AREAS, TECHNOLOGY)
    ]
    if not sum(hits.height for hits in found):
        raise NothingToDo(f"none of {counted.height} documents holds a term of the lexicons")
    own = ["document_id", "lexicon", "start"]
    about = counted.select("document_id", "region_code", "year", "kind", "period")
    placed, touched = _with_cells(pl.concat(found), texts)
    frame = placed.join(about, on="document_id", maintain_order="left").sort(own)
    edges = [
        make_edges(frame, own, DOCUMENTS, ["document_id"], "document"),
        make_edges(touched, own, TEXTS, ["run_cell"], "text"),
    ]
    return Table(frame, pl.concat(edges), notes={"hits": frame.height, "documents": frame["document_id"].n_unique()})


def _with_cells(found: pl.DataFrame, texts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Places in cleaned texts with where they stand in the files; and one row for each run of characters they touch.

    `source_cell` is `<sha12>/<sheet>!<start>-<end>`, from the first to behind the last character as read; between them
    lie what the place shows and white space that cleaning removed. Where it goes on in another page, or behind a line
    that is no text, a comma and `<page or cell>:<start>-<end>` follow.

    Args:
        found: document_id, start, length (≥ 1) in characters of the cleaned text, and whatever else.
        texts: staging/document_texts.

    Returns:
        `found` with source_cell; and its rows once for each run, with the key in staging/document_texts as `run_cell`.
    """
    runs = (
        texts.sort("document_id", "position")
        .with_columns(block=(~pl.col("role").is_in([TEXT, *WHITE])).cum_sum())
        .filter(pl.col("text_start").is_not_null())
        .select("document_id", "text_start", "sheet", "cell", "block", run_cell="source_cell", run_from="start",
                run_length="length")
        .with_row_index("run")
    )  # fmt: skip
    touched = found.with_row_index("at").with_columns(last=pl.col("start") + pl.col("length") - 1)
    for at, run in (("start", "first_run"), ("last", "last_run")):
        begun = runs.select("document_id", pl.col("text_start").alias(at), pl.col("run").alias(run))
        touched = touched.sort("document_id", at).join_asof(
            begun, on=at, by="document_id", strategy="backward", check_sortedness=False
        )
    touched = (
        touched.with_columns(run=pl.int_ranges("first_run", pl.col("last_run") + 1, dtype=pl.UInt32))
        .explode("run")
        .join(runs.drop("document_id"), on="run")
        .sort("at", "run")
    )
    before = pl.col("run_from") - pl.col("text_start")
    first = before + pl.max_horizontal("start", "text_start")
    end = before + 1 + pl.min_horizontal("last", pl.col("text_start") + pl.col("run_length") - 1)
    pieces = touched.group_by("at", "sheet", "cell", "block", maintain_order=True).agg(
        first.min().alias("from"), end.max().alias("to"), pl.col("run_cell").first()
    )
    place, name = pl.format("{}-{}", "from", "to"), pl.when(pl.col("cell") != "").then("cell")
    leads = pl.col("at") != pl.col("at").shift(1, fill_value=-1)
    named = pl.format("{}:{}", pl.coalesce(name, "sheet"), place)
    cells = (
        pieces.with_columns(place=pl.when(leads & name.is_null()).then(place).otherwise(named))
        .group_by("at", maintain_order=True)
        .agg(pl.col("run_cell").first().str.slice(0, 12), pl.col("sheet").first(), pl.col("place").str.join(","))
        .select("at", source_cell=pl.format("{}/{}!{}", "run_cell", "sheet", "place"))
    )
    return found.with_row_index("at").join(cells, on="at", how="left", maintain_order="left").drop("at"), touched


# -- tasks -------------------------------------------------------------------------------------------------------------
def plan_tasks(documents: pl.DataFrame, texts: pl.DataFrame, lexicons: Lexicons) -> Table:
    """`core/plan_tasks`: the tasks of the new-infrastructure plans that count, each with its class.

    Args:
        documents: core/documents.
        texts: staging/document_texts, for the places in the files.
        lexicons: forms of the classes.

    Returns:
        Table with key document_id, start; edges to core/documents and staging/document_texts. A task in which no form
        of the lexicon stands has no class and is counted in the notes.

    Raises:
        NothingToDo: there is no plan, or none sets a task.
    """
    plans = documents.filter((pl.col("kind") == PLAN) & pl.col("counted")).sort("document_id")
    if not plans.height:
        raise NothingToDo(f"{TASKS}: none of {documents.height} documents is a plan for new infrastructure 新基建")
    frames = [
        policy.plan_tasks(text).with_columns(
            document_id=pl.lit(document), region_code=pl.lit(region), period=pl.lit(period)
        )
        for document, region, period, text in plans.select("document_id", "region_code", "period", "text").iter_rows()
    ]
    tasks = pl.concat(frames)
    if not tasks.height:
        raise NothingToDo(f"{TASKS}: {plans.height} plans set no task that can be told", "number the tasks of the plan")
    tasks = tasks.with_columns(length=pl.col("title").str.len_chars())
    named = tasks.with_row_index("task").with_columns(pl.col("task").cast(pl.String))
    classes = policy.task_classes(named.select("title", document_id="task").rename({"title": "text"}), lexicons.tasks)
    own = ["document_id", "start"]
    placed, touched = _with_cells(
        named.join(classes.rename({"document_id": "task"}), on="task", maintain_order="left"), texts
    )
    frame = placed.sort(own)
    edges = [
        make_edges(frame, own, DOCUMENTS, ["document_id"], "document"),
        make_edges(touched, own, TEXTS, ["run_cell"], "text"),
    ]
    silent = _plans_without(plans["document_id"], frame["document_id"])
    notes: dict[str, Any] = {
        "tasks": frame.height, "unclassified": int(frame["class_id"].null_count()), "plans_without_tasks": silent
    }  # fmt: skip
    return Table(frame, pl.concat(edges), notes=notes)


def _plans_without(plans: pl.Series, with_tasks: pl.Series) -> Sequence[str]:
    return plans.filter(~plans.is_in(with_tasks.unique().implode())).to_list()
