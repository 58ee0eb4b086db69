"""From received documents to tables: what each is, where it is from, which counts, and what stands in it."""

import datetime
import re
import zipfile

import polars as pl
import pytest

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import NothingToDo, ReferenceFileError
from dei_pipeline.lake import Lake
from dei_pipeline.methods import policy_documents as methods
from dei_pipeline.methods.regions import Regions, core_regions
from dei_pipeline.provenance import row_key
from dei_pipeline.settings import Settings
from dei_pipeline.sources import contained
from dei_pipeline.sources.document_tables import document_texts, documents
from dei_pipeline.sources.ingest import ingest, receive
from dei_pipeline.sources.lexicons import load_lexicons
from dei_pipeline.sources.pages import recogniser
from dei_pipeline.sources.received import decoded_cells, manifest_table
from dei_pipeline.sql_models import select
from tests.unit.document_files import pdf, pdf_bomb, word_xml, zip_of

SETTINGS = Settings()
REFERENCE = SETTINGS.reference
SECONDS = 2.0  # for one file, in the tests of hostile ones
LEXICONS = load_lexicons(REFERENCE / "lexicons")
FILLING = "推动经济社会高质量发展，完善工作机制，压实各方责任，确保各项任务落到实处，取得实效。"
BODY = "\n".join(f"第{n}项工作由市政府办公室牵头，{FILLING[n % 9 :]}" for n in range(30)) + "\n"
PLAN = """上海市推进新型基础设施建设行动方案（2020-2022年）
2020年5月7日
一、总体要求
（一）指导思想。加快建设，推动发展。
二、重点任务
1.建设5G网络。到2022年建成基站。
2.建设城市大脑。推进一网统管。
3.建设互联网医院。发展远程医疗。
三、保障措施
4.加强领导。落实责任。
"""
TABLE = """地区,标题,发布机构,发布日期,正文
北京市,北京市关于制定国民经济和社会发展第十四个五年规划的建议,中共北京市委,2020-12-01,"一、加快数字经济发展
发展大数据和人工智能。"
天津市,天津市关于制定国民经济和社会发展第十四个五年规划的建议,中共天津市委,2020-12-05,"一、坚持农业优先
发展现代农业。"
"""
REPRINT = '地区,标题,发布机构,发布日期,正文\n成都市,转载,某网站,2020-08-01,"{body}"\n'
LIST = """编号,文件名称,发布机构,发布日期
A001,成都市智慧交通规划,成都市人民政府,2020-03-02
A002,别的文件,国务院,2019-01-01
"""


@pytest.fixture(scope="module")
def received(tmp_path_factory):
    """A lake with documents of every kind, a list of them, and pages that are not what they say."""
    folder = tmp_path_factory.mktemp("documents")
    city = "成都市人民政府关于印发《成都市智慧医疗实施方案》的通知\n2020年9月9日\n" + BODY
    files = {
        "plan.txt": PLAN,
        "chengdu.txt": city,
        "proposals.csv": TABLE,
        "reprint.csv": REPRINT.format(body=city.replace("成都市人民政府关于", "关于")),
        "list.csv": LIST,
        "A001_成都市智慧交通规划.txt": "成都市智慧交通规划\n建设智慧停车与智能交通。\n",
        "A002_成都市智慧养老规划.txt": "成都市智慧养老规划\n2020年1月5日\n推进智慧养老。\n",
        "A003_成都市数字政府建设规划.txt": "首页\n新闻\n领导会见客人。欢迎访问本站。\n",
        "某县规划（2020年）.txt": "某县数字规划\n2020年3月3日\n发展数字经济。\n",
        "unread.pdf": "",
    }
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("gb18030" if name == "chengdu.txt" else "utf-8"))
    (folder / "unread.pdf").write_bytes(pdf([[]]))
    lake = Lake(folder / "lake")
    report = ingest(lake, sorted(path for path in folder.iterdir() if path.is_file()), recogniser(REFERENCE))
    return lake, manifest_table(lake).frame, {row.file: row for row in report}


@pytest.fixture(scope="module")
def texts(received):
    lake, manifests, _ = received
    return document_texts(lake, manifests, manifests["sha256"].to_list())


@pytest.fixture(scope="module")
def staged(received, texts):
    return documents(texts.frame, received[1])


@pytest.fixture(scope="module")
def core(staged, texts):
    return methods.core_documents(staged.frame, texts.frame, Regions.load(REFERENCE), LEXICONS)


def check(table, key):
    """Columns and grain as the contract says, and edges for exactly the rows."""
    contract = python_contracts()[key]
    frame = contract.conform(table.frame)
    assert frame.schema == pl.Schema(contract.schema)
    keys = frame.select(row_key(contract.grain).alias("key"))["key"]
    assert keys.n_unique() == frame.height > 0
    if contract.lineage == "edges":
        assert set(table.edges["child_key"]) == set(keys)
    for column in contract.columns:
        assert column.nullable or not frame[column.name].null_count(), column.name
    return frame


# -- ingestion ---------------------------------------------------------------------------------------------------------
def test_ingestion_says_what_each_file_is(received):
    _, manifests, report = received
    assert report["plan.txt"].pages == ("document (text)",)
    assert report["proposals.csv"].pages == ("table of 2 documents",)
    assert report["list.csv"].pages == ("list of 2 documents",)
    assert report["unread.pdf"].outcome == "left"
    assert "a scan" in report["unread.pdf"].reason
    assert set(manifests["kind"]) == {"document"}


def test_documents_have_no_cells(received):
    lake, manifests, _ = received
    assert decoded_cells(lake, manifests, manifests["sha256"].to_list()).frame.height == 0


def test_a_file_that_cannot_be_read_is_quarantined_and_the_others_go_on(received, texts, tmp_path):
    _, manifests, _ = received
    assert check(texts, "staging/document_texts").height > 20
    broken = manifests.head(1).with_columns(kind=pl.lit("document"))
    home = Lake(tmp_path)
    (blob := home.blobs() / broken["sha256"][0]).mkdir(parents=True)
    (blob / "content.pdf").write_bytes(b"%PDF-1.7 broken")
    table = document_texts(home, broken, broken["sha256"].to_list())
    assert table.frame.height == 0
    assert "the PDF is damaged" in table.quarantine["reason"][0]
    assert table.quarantine["sha256"].to_list() == broken["sha256"].to_list()


@pytest.fixture(scope="module")
def hostile():
    """Files that take more than there is of time, memory, pages or depth, and a word of the reason that is told."""
    entities = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY a "b">]>'
    paragraphs = {"word/document.xml": word_xml("<w:p/>" * 5_000_001)}
    over = f"takes more than {SECONDS:g} s|breaks the program that reads it|max_characters"
    return {
        **{f"forms{levels}.pdf": (pdf_bomb(levels), over) for levels in (7, 8, 9)},
        "long.pdf": (pdf([["x"]] * 10_000), "max_pages is 2,000, the file has 10,000"),
        "deep.html": (("<html>" + "<div>" * 5_000 + "深。").encode(), "max_depth is 1,000"),
        "comments.html": (("<html>" + "<div><!--</div>-->" * 5_000 + "深。").encode(), "max_depth is 1,000"),
        "deeper.html": (("<html>" + "<div>" * 300_000 + "深。").encode(), over),
        "bomb.docx": (zip_of({"word/document.xml": "<x/>" + " " * 5_000_000}), "max_ratio"),
        "paragraphs.docx": (zip_of(paragraphs, zipfile.ZIP_STORED), over),
        "entities.docx": (zip_of({"word/document.xml": word_xml("&a;", entities).encode("utf-16")}), "XML entities"),
        "big5.txt": ("數位經濟發展規劃，推動產業轉型。".encode("big5") * 30, "everyday Chinese"),
    }


GOOD = {
    "plan.txt": PLAN.encode(),
    "plan.html": f"<html><body><p>{PLAN}</p></body></html>".encode(),
    "zz.pdf": pdf([["Digital plan.", "5G in all cities."]]),
}


def test_hostile_files_are_left_out_with_their_reason_and_the_rest_is_taken(hostile, tmp_path, monkeypatch):
    monkeypatch.setattr(contained, "MOST_SECONDS", SECONDS)
    (folder := tmp_path / "files").mkdir()
    for name, content in ({name: content for name, (content, _) in hostile.items()} | GOOD).items():
        (folder / name).write_bytes(content)
    report = {row.file: row for row in ingest(Lake(tmp_path / "lake"), [folder], recogniser(REFERENCE))}
    for name, (_, reason) in hostile.items():
        assert report[name].outcome == "left", report[name]
        assert re.search(reason, report[name].reason), report[name]
    assert {report[name].outcome for name in GOOD} == {"taken"}


def test_a_run_quarantines_hostile_files_with_their_reason_and_reads_the_rest(hostile, tmp_path, monkeypatch):
    monkeypatch.setattr(contained, "MOST_SECONDS", SECONDS)
    lake = Lake(tmp_path / "lake")
    for name, content in ({name: content for name, (content, _) in hostile.items()} | GOOD).items():
        (path := tmp_path / name).write_bytes(content)
        receive(lake, path, name, {}, kind="document")
    (path := tmp_path / "page.html").write_bytes(hostile["deep.html"][0] + b"<p>")
    receive(lake, path, "page.html", {})
    manifests = manifest_table(lake).frame
    wanted = manifests["sha256"].to_list()
    table = document_texts(lake, manifests, wanted)
    reasons = dict(table.quarantine.select("file", "reason").iter_rows())
    assert reasons.keys() == hostile.keys()
    assert [name for name, (_, reason) in hostile.items() if not re.search(reason, reasons[name])] == []
    read = table.frame.join(manifests.select("sha256", "file"), on="sha256")["file"]
    assert set(read) == set(GOOD)
    (page,) = decoded_cells(lake, manifests, wanted).quarantine.to_dicts()
    assert (page["file"], "max_depth is 1,000" in page["reason"]) == ("page.html", True)


# -- what a document is ------------------------------------------------------------------------------------------------
def about(table, start):
    (row,) = table.frame.filter(pl.col("file").str.starts_with(start)).to_dicts()
    return row


def test_a_list_tells_about_the_document_of_its_number_and_title(staged):
    check(staged, "staging/documents")
    row = about(staged, "A001")
    assert (row["title"], row["title_from"], row["issuer"]) == ("成都市智慧交通规划", "list", "成都市人民政府")
    assert (row["published"], row["published_confidence"]) == (datetime.date(2020, 3, 2), 0.95)


def test_what_a_run_together_row_of_a_list_says_leads_to_the_cells_it_stands_in(tmp_path):
    """Title and issuer share the cell of the title, so the date stands under 发布机构 and the rest is one off."""
    row = "A001,成都市智慧交通规划，成都市人民政府,2020-03-02,规划,交通,上海市,成都市\n"
    files = {
        "list.csv": f"编号,文件名称,发布机构,发布日期,文件类型,主题,地区\n{row}",
        "A001_成都市智慧交通规划.txt": "成都市智慧交通规划\n建设智慧停车与智能交通。\n",
    }
    (folder := tmp_path / "files").mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    lake = Lake(tmp_path / "lake")
    ingest(lake, [folder], recogniser(REFERENCE))
    manifests = manifest_table(lake).frame
    table = documents(document_texts(lake, manifests, manifests["sha256"].to_list()).frame, manifests)
    said = table.frame.select("title", "issuer", "published", "region_label", "kind_label").row(0)
    assert said == ("成都市智慧交通规划", "成都市人民政府", datetime.date(2020, 3, 2), None, None)
    edges = table.edges.filter(pl.col("role") != "text").select(
        "role", cell=pl.col("parent_key").str.split("!").list[1]
    )
    assert dict(edges.iter_rows()) == {"id": "A2", "title": "B2", "issuer": "B2", "published": "C2"}


def test_a_row_with_the_number_of_another_document_is_no_evidence_and_told(staged):
    row = about(staged, "A002")
    assert row["title"] == "成都市智慧养老规划"
    assert row["issuer"] is None
    assert "别的文件" in staged.notes["contradicted_by_a_list"][0]


def test_a_wrong_page_is_quarantined_with_the_share_of_its_title(staged):
    (row,) = staged.quarantine.to_dicts()
    assert row["file"].startswith("A003")
    assert row["reason"].startswith("a wrong page: it holds")


def test_a_document_tells_its_date_issuer_and_number_with_their_origin(staged):
    row = about(staged, "chengdu")
    assert row["title"] == "成都市人民政府关于印发《成都市智慧医疗实施方案》的通知"
    assert (row["issuer"], row["issuer_from"], row["published_from"]) == ("成都市人民政府", "title", "signature")
    assert row["characters_read"] >= row["characters_kept"] > 1000


# -- where it is from, what counts -------------------------------------------------------------------------------------
def test_regions_come_from_what_is_said_the_issuer_or_the_title(core):
    found = check(core, "core/documents")
    origins = {file: (code, origin) for file, code, origin in found.select("file", "region_code", "region_from").rows()}
    assert origins["plan.txt"] == ("310000", "title")
    assert origins["chengdu.txt"] == ("510100", "issuer")
    assert origins["proposals.csv"][1] == "stated"
    (aside,) = core.quarantine.to_dicts()
    assert aside["reason"] == "no region: neither its issuer nor its title begins with one"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("包头市人民政府办公室", ("包头市", None)),
        ("四川省阿坝州人民政府", ("阿坝州", "四川省")),
        ("中共安徽省委", ("安徽省", None)),
        ("2026年上海市政府工作报告", ("上海市", None)),
        ("某县人民政府", (None, None)),
        ("", (None, None)),
    ],
)
def test_the_region_at_the_head_of_a_name_is_told(text, expected):
    assert methods.leading_region(text, methods._names(Regions.load(REFERENCE))) == expected


def test_a_reprint_on_another_site_does_not_count_although_it_is_older(core):
    rows = {row["file"]: row for row in core.frame.to_dicts()}
    assert not rows["reprint.csv"]["counted"]
    assert rows["reprint.csv"]["original_id"] == rows["chengdu.txt"]["document_id"]
    assert rows["chengdu.txt"]["counted"]
    assert rows["reprint.csv"]["similarity"] >= 0.8


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("2026年上海市政府工作报告", "government_work_report"),
        ("上海市推进新型基础设施建设行动方案(2020—2022年)", "newinfra_plan"),
        ("广州市加快推进数字新基建发展三年行动计划(征求意见稿)", "newinfra_plan"),
        (
            "中共北京市委关于制定北京市国民经济和社会发展第十四个五年规划和二〇三五年远景目标的建议",
            "five_year_proposals",
        ),
        ("天津市国民经济和社会发展第十四个五年规划和二〇三五年远景目标纲要", "five_year_outline"),
        ("国务院关于印发“十四五”数字经济发展规划的通知", "special_plan"),
        ("某市人民政府关于印发《某市政务数据管理办法》的通知", "measures"),
        ("互联网信息服务管理办法（修订草案）", "measures"),
        ("中华人民共和国数据安全法", "law"),
        ("随想", "other"),
        (None, "other"),
    ],
)
def test_kinds_are_told_by_titles(title, kind):
    assert methods.kind_of(title, LEXICONS) == kind


# -- terms and tasks ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def hits(core, texts):
    return methods.policy_hits(core.frame, texts.frame, LEXICONS)


def test_hits_lead_to_the_characters_in_the_file(received, core, texts, hits):
    _, manifests, _ = received
    found = check(hits, "core/policy_hits")
    bodies = dict(core.frame.select("document_id", "text").iter_rows())
    for row in found.to_dicts():
        assert bodies[row["document_id"]][row["start"] :][: row["length"]] == row["form"]
    plan = manifests.filter(file="plan.txt")["sha256"][0]
    (row,) = [r for r in found.to_dicts() if r["document_id"] == plan[:12] and r["form"] == "5G"]
    sha12, place = row["source_cell"].split("/text!")
    first, last = (int(part) for part in place.split("-"))
    assert sha12 == plan[:12]
    assert PLAN[first:last] == "5G"
    assert "二、重点任务\n1.建设5G网络。到2022年" in row["snippet"]
    texts_of_hits = set(hits.edges.filter(parent_table="staging/document_texts")["parent_key"])
    assert texts_of_hits <= set(texts.frame["source_cell"])
    assert not set(found["document_id"]) & set(core.frame.filter(~pl.col("counted"))["document_id"])


def test_a_hit_in_a_table_names_its_cell(hits):
    cells = hits.frame.filter(form="大数据")["source_cell"]
    assert cells.str.contains(r"^[0-9a-f]{12}/csv!E2:\d+-\d+$").all()


def test_tasks_of_a_plan_have_classes(core, texts):
    table = methods.plan_tasks(core.frame, texts.frame, LEXICONS)
    found = check(table, "core/plan_tasks")
    assert found.select("title", "class_id", "subclass_id").rows() == [
        ("建设5G网络", "information", None),
        ("建设城市大脑", "fusion", "governance"),
        ("建设互联网医院", "fusion", "society"),
    ]
    without = core.frame.with_columns(kind=pl.lit("other"))
    with pytest.raises(NothingToDo, match=f"none of {core.frame.height} documents is a plan"):
        methods.plan_tasks(without, texts.frame, LEXICONS)
    silent = core.frame.with_columns(text=pl.lit("加快建设，稳步推进。"))
    with pytest.raises(NothingToDo, match=r"plans set no task.*number the tasks"):
        methods.plan_tasks(silent, texts.frame, LEXICONS)


def test_terms_of_the_lexicons_are_rows_with_their_forms():
    table = methods.policy_terms(LEXICONS)
    found = check(table, "core/policy_terms")
    areas = found.filter(lexicon="policy_area")
    assert areas["theme"].value_counts(sort=True).rows() == [("service", 8), ("governance", 6)]
    assert "工业互联网" in found["forms"].str.join(" ").item()


# -- lexicons ----------------------------------------------------------------------------------------------------------
def test_a_lexicon_with_a_gap_or_a_broken_pattern_is_refused(tmp_path):
    for path in (REFERENCE / "lexicons").glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    kinds = tmp_path / "plan_kinds.csv"
    good = kinds.read_text("utf-8")
    for broken, message in (
        (good.replace("政府工作报告\n", "(政府\n", 1), "is no pattern"),
        (good.replace("kind,", "kinds,", 1), "column kind is missing"),
        (good.replace("law,法律法规", "law,", 1), "plan_kinds.csv:9: name_zh is empty"),
    ):
        kinds.write_text(broken, "utf-8")
        with pytest.raises(ReferenceFileError, match=message):
            load_lexicons(tmp_path)
    kinds.unlink()
    with pytest.raises(ReferenceFileError, match=r"plan_kinds\.csv is missing"):
        load_lexicons(tmp_path)


# -- marts -------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def mart(core, texts, hits):
    lists = pl.DataFrame({"list_id": ["dei_2021"] * 4, "region_code": ["110000", "120000", "310000", "510100"]})
    made = {
        "core/documents": core.frame,
        "core/policy_hits": hits.frame,
        "core/policy_terms": methods.policy_terms(LEXICONS).frame,
        "core/plan_tasks": methods.plan_tasks(core.frame, texts.frame, LEXICONS).frame,
        "core/city_lists": lists,
        "core/regions": core_regions(Regions.load(REFERENCE)).frame,
    }

    def run(name):
        sql = (SETTINGS.sql / "marts" / f"{name}.sql").read_text("utf-8")
        made[f"mart/{name}"] = found = select(sql, made.__getitem__)
        return found

    return run


def test_counts_hold_zeros_for_areas_that_were_searched_in_vain(mart):
    found = mart("policy_counts").filter(region_code="510100")
    assert found.height == 14
    counts = dict(found.select("area_id", "documents").iter_rows())
    assert (counts["medical"], counts["transport"], counts["civil_affairs"], counts["education"]) == (1, 1, 1, 0)
    assert set(found["documents_searched"]) == {3}
    summary = mart("policy_summary").filter(region_code="510100").row(0, named=True)
    assert (summary["service_coverage"], summary["governance_coverage"]) == (37.5, 0.0)
    assert summary["service_documents"] == 3


def test_frequencies_and_changes_rest_on_the_documents_of_a_kind(mart):
    found = mart("term_frequencies").filter(kind="five_year_proposals")
    assert set(found["period"]) == {"2021-2025"}
    rows = {row["term_id"]: row for row in found.to_dicts()}
    assert (rows["big_data"]["hits"], rows["big_data"]["share"], rows["blockchain"]["hits"]) == (1, 0.5, 0)
    changes = mart("term_changes")
    assert set(changes["year"]) == {2020}
    assert changes["density_change"].null_count() == changes.height


def test_releases_are_in_order_and_plans_of_the_cities_are_counted(mart):
    release = mart("plan_releases").filter(kind="five_year_proposals").sort("release_rank")
    assert release.select("region_code", "release_rank", "regions_so_far").rows() == [
        ("110000", 1, 1),
        ("120000", 2, 2),
    ]
    cities = mart("city_plans").filter(measure="digital_chapter")
    assert cities["region_code"].to_list() == ["110000"]
    counts = {row["measure"]: row for row in mart("plan_counts").to_dicts()}
    assert (counts["five_year_proposals"]["cities"], counts["five_year_proposals"]["share_of_list"]) == (2, 50.0)
    assert (counts["digital_chapter"]["cities"], counts["digital_chapter"]["share_of_proposals"]) == (1, 50.0)
    assert counts["newinfra_plan"]["cities"] == 1


def test_shares_of_tasks_are_those_of_the_method(mart):
    shares = {(c, s): (a, b) for _, c, s, _, _, a, b in mart("task_shares").rows()}
    assert shares["fusion", "all"] == (pytest.approx(200 / 3), 100.0)
    assert shares["fusion", "society"] == (pytest.approx(100 / 3), 50.0)
