"""Every term and task of a document stands at the place that its source cell names, in files of every kind."""

import re

import polars as pl
import pytest

from dei_pipeline.explain_documents import document_sources
from dei_pipeline.lake import Lake
from dei_pipeline.methods.document_counts import HIT_KEY
from dei_pipeline.provenance import row_key, split_source_cell
from dei_pipeline.sources.document import document_id, read_documents
from dei_pipeline.sources.document_text import repaired
from dei_pipeline.sources.ingest import DOCUMENT, receive
from dei_pipeline.sources.received import manifest_table
from tests.lakes import bare_run, settings_of
from tests.unit.document_files import docx_with, pdf

WIDTH, LINES = 20, 13  # characters of a line, lines of a page
SHOWN = {"core/policy_hits": "form", "core/plan_tasks": "title"}
WHITE = re.compile(r"[\s\x00-\x1f\ufeff\ufffe]")
TASKS = [
    "建设全市统一的工业互联网平台并推动制造业企业数字化转型",
    "布局5G网络和数据中心以及面向人工智能的公共算力设施",
    "推进智慧医疗与智慧养老还有智慧教育服务覆盖全部街镇",
]
PARAGRAPHS = [
    "{city}新基建行动方案",
    "2020年5月7日",
    "一、总体要求",
    "以大数据、云计算、区块链、物联网、工业互联网、人工智能为抓手，发展智慧交通与智慧医疗，推动数字经济。",
    "二、重点任务",
    *(
        f"（{number}）{task}。各区要把大数据、云计算、物联网、区块链以及工业互联网用于智慧交通、智慧医疗、智慧养老和"
        "智慧教育，使人工智能与5G服务于实体经济。"
        for number, task in zip("一二三", TASKS, strict=True)
    ),
]


def paragraphs(city):
    return [paragraph.format(city=city) for paragraph in PARAGRAPHS]


def wrapped(city):
    """Pages of lines of 20 characters, each page with its number below."""
    lines = [text[at : at + WIDTH] for text in paragraphs(city) for at in range(0, len(text), WIDTH)]
    pages = [lines[at : at + LINES] for at in range(0, len(lines), LINES)]
    return [[*page, f"- {number} -"] for number, page in enumerate(pages, start=1)]


def files():
    pages = "\x0c".join("\r\n".join(page) + "\r\n" for page in wrapped("成都市"))
    table = '标题,发布日期,正文\n武汉市新基建行动方案,2020-05-07,"{}"\n'
    return {
        "wrapped.pdf": pdf(wrapped("上海市")),
        "pages.txt": pages.encode("gb18030"),
        "wrapped.txt": "\n".join(line for page in wrapped("北京市") for line in page[:-1]).encode("utf-8-sig"),
        "plan.docx": docx_with(
            paragraphs("天津市"), [["任务", "单位"], ["建设 5G", "大数据局"]], "发展云计算。", "区块链"
        ),
        "table.csv": table.format("\n".join(paragraphs("武汉市"))).encode(),
    }


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    root = tmp_path_factory.mktemp("places")
    settings = settings_of(root / "lake")
    for name, content in files().items():
        (root / name).write_bytes(content)
        receive(Lake(settings.lake), root / name, name, {"source_id": "policy"}, synthetic=True, kind=DOCUMENT)
    bare_run(settings)
    return Lake(settings.lake)


@pytest.fixture(scope="module")
def parts(lake):
    """The text of each page or cell as read, by document, sheet and cell."""
    found = {}
    for sha256, name in manifest_table(lake).frame.filter(kind=DOCUMENT).select("sha256", "file").iter_rows():
        (path,) = (lake.blobs() / sha256).glob("content*")
        for source in read_documents(path.read_bytes(), name).sources:
            own = document_id(sha256, source.number)
            found[own] = {(part.sheet, part.cell): part.text for part in source.parts}
    return found


def characters(parts, document, source_cell):
    """What stands in the file at a source cell: one text for each of its pages or cells."""
    _, sheet, cell = split_source_cell(source_cell)
    texts = parts[document]
    said = []
    for piece in cell.split(","):
        name, _, span = piece.rpartition(":")
        first, last = (int(number) for number in span.split("-"))
        text = texts.get((sheet, name)) or texts[name, ""]
        assert 0 <= first < last <= len(text)
        said.append(text[first:last])
    return said


def check(parts, frame, shown):
    """That every row shows what its file holds at its place; returns the places in their pieces."""
    places = []
    for document, source_cell, text in frame.select("document_id", "source_cell", shown).iter_rows():
        pieces = characters(parts, document, source_cell)
        assert not any(WHITE.match(end) for piece in pieces for end in (piece[0], piece[-1])), source_cell
        assert WHITE.sub("", repaired("".join(pieces))) == WHITE.sub("", text), source_cell
        places.append(pieces)
    return places


def test_every_hit_stands_where_its_cell_says(lake, parts):
    hits = lake.read("core/policy_hits")
    by_file = hits.join(lake.read("core/documents").select("document_id", "file"), on="document_id")
    found = {file: check(parts, rows, "form") for (file,), rows in by_file.group_by("file")}
    assert found.keys() == files().keys()
    plain = len(found["table.csv"])
    assert plain > 50
    assert len(found["plan.docx"]) == plain + 3  # 5G, 大数据, 云计算; what was struck out does not count
    for file in ("wrapped.pdf", "pages.txt", "wrapped.txt"):
        assert len(found[file]) == plain, file
        assert sum(len(pieces) == 1 and "\n" in pieces[0] for pieces in found[file]) >= 8, file
    for file in ("wrapped.pdf", "pages.txt"):
        assert [pieces for pieces in found[file] if len(pieces) == 2] == [["人工", "智能"]], file


def test_every_task_stands_where_its_cell_says(lake, parts):
    tasks = lake.read("core/plan_tasks")
    places = check(parts, tasks, "title")
    assert tasks["title"].to_list() == TASKS * 5
    assert sum("\n" in piece for pieces in places for piece in pieces) >= 5
    assert [len(pieces) for pieces in places].count(2) == 2


@pytest.mark.parametrize(
    ("table", "key"), [("core/policy_hits", HIT_KEY), ("core/plan_tasks", ("document_id", "start"))]
)
def test_every_run_of_characters_that_a_place_touches_is_a_parent(lake, table, key):
    rows = lake.read(table).with_columns(key=row_key(key), length=pl.col(SHOWN[table]).str.len_chars().cast(pl.Int32))
    texts = lake.read("staging/document_texts").filter(role="text")
    edges = lake.scan(table, side="lineage").filter(parent_table="staging/document_texts").collect()
    runs = rows.join(texts.select("document_id", "text_start", "text", run="source_cell"), on="document_id").filter(
        pl.col("text_start") < pl.col("start") + pl.col("length"),
        pl.col("text_start") + pl.col("text").str.len_chars() > pl.col("start"),
    )
    expected = set(runs.select("key", "run").iter_rows())
    assert set(edges.select("child_key", "parent_key").iter_rows()) == expected
    assert edges.height == len(expected) > rows.height


def test_an_explanation_shows_the_place_and_the_words_around_it(lake, parts):
    hits = lake.read("core/policy_hits").with_columns(key=row_key(HIT_KEY))
    sources = document_sources(lake, hits["key"])
    assert len(sources) == hits.height
    plain = {city: "".join(paragraphs(city)) for city in ("上海市", "成都市", "北京市", "天津市", "武汉市")}
    for source in sources:
        cell = f"{source['sha256'][:12]}/{source['sheet']}!{source['cell']}"
        own = source["document"]["document_id"]
        assert WHITE.sub("", "".join(characters(parts, own, cell))) == WHITE.sub("", source["label"])
        assert source["label"] in source["raw_text"]
        said = source["raw_text"].replace(" ", "")
        if source["file"] != "plan.docx":
            assert any(said in text for text in plain.values()), source["raw_text"]
