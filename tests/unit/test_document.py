"""Documents of every kind: what is read, what is removed and counted, what is refused and why."""

import io
import zipfile

import docx
import polars as pl
import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import LimitError, SourceError
from dei_pipeline.sources.document import LIST, TABLE, read_documents, runs
from dei_pipeline.sources.document_decode import DocumentLimits, decode_document
from dei_pipeline.sources.document_text import TEXT, Part, cleaned, repaired
from tests.unit.document_files import docx_with, pdf, word_xml, zip_of

PROSE = "为加快发展数字经济，制定本规划。\n推进工业互联网建设，提升治理水平。\n"


def text_of(content, name="a.txt"):
    return "".join(runs(content, name).filter(role=TEXT)["text"])


def roles(content, name="a.txt"):
    found = runs(content, name).filter(~pl.col("role").str.starts_with("said_"))
    return dict(found.group_by("role").agg(pl.col("length").sum()).iter_rows())


def said(content, name):
    found = runs(content, name).filter(pl.col("role").str.starts_with("said_"))
    return {row["role"].removeprefix("said_"): row["text"] for row in found.to_dicts()}


# -- every character is accounted for ----------------------------------------------------------------------------------
def check_account(parts, text, found):
    read = "".join(part.text for part in parts)
    assert sum(run.end - run.start for run in found) == len(read)
    assert "".join(run.text for run in found) == repaired(read)
    kept = [run for run in found if run.role == TEXT]
    assert "".join(run.text for run in kept) == text
    for run in found:
        assert repaired(parts[run.part].text[run.start : run.end]) == run.text
    for run in kept:
        assert text[run.text_start : run.text_start + len(run.text)] == run.text


@given(
    st.lists(
        st.text("数字经济发展规划。，\n\r\t \u3000\x0c\ufeff5G⺠⽹下载打印大中小】【字号：12—", max_size=80),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_characters_kept_and_removed_are_the_characters_read(texts, wrapped):
    parts = [Part(f"p{i}", text, aside=((0, len(text) // 3),)) for i, text in enumerate(texts, start=1)]
    text, found = cleaned(parts, wrapped)
    check_account(parts, text, found)


def test_radicals_become_the_characters_that_are_meant_and_the_length_stays():
    given = "⻛险⼈⺠增⻓⽤⼾⻰⻔⺟⾭豈５Ｇ，（）"
    assert repaired(given) == "风险人民增长用户龙门母青豈5G，（）"
    assert all(repaired(chr(code)) != chr(code) for code in range(0x2E80, 0x2EF4) if code != 0x2E9A)
    assert all(repaired(chr(code)) != chr(code) for code in range(0x2F00, 0x2FD6))


def test_tool_lines_are_removed_and_sentences_with_the_same_words_stay():
    page = (
        "下载\n打印\n全屏\n【字号：\n大\n中\n小\n】\n首页 > 公开 > 规划\n"
        + PROSE
        + "支持企业下载和打印数据。\n打印本页\n关闭窗口\n"
    )
    page += "主办单位：某市人民政府 京ICP备05070218号\n"
    assert text_of(page.encode()) == PROSE + "支持企业下载和打印数据。\n"
    assert roles(page.encode()).keys() == {TEXT, "navigation", "footer"}


def test_a_single_character_is_text_unless_it_stands_beside_tools():
    assert "中\n" in text_of(("中\n" + PROSE).encode())
    assert "\n小\n" in text_of((PROSE + "小\n" + PROSE.replace("规划", "办法")).encode())


def test_a_headline_printed_twice_stands_once():
    line = "某市人民政府关于印发《数字经济规划（2021-2023年）》的通知\n"
    again = line.replace("（", "(").replace("）", ")")
    assert text_of((line + again + PROSE).encode()) == line + PROSE
    glued = "关于印发数字经济规划关于印发数字经济规划的通知" + "发布日期：" * 4 + "2021年\n" + PROSE
    assert text_of(glued.encode()).startswith("关于印发数字经济规划的通知发布日期：2021年\n")


def test_lists_of_like_words_are_no_doubled_headline():
    listed = "依照第十九条、第二十条、第二十一条、第二十二条，建设可信数据空间、数据空间、数据空间平台。\n"
    assert text_of(listed.encode()) == listed


def test_lines_broken_at_the_margin_are_joined_and_paragraphs_and_headings_are_not():
    lines = [
        "数字经济是继农业经济和工业经济之后的主要经济形",
        "态，要推进工业互",
        "一、总体要求",
        "坚持创新驱动发展和人工智能与大数据以及区块链",
        "云计算。",
    ]
    broken = (
        "\n".join(
            [
                *lines,
                "推动高质量发展并且提升公共服务水平促进区域合",
                "作，引导企业数字化转型并且培育新业态与新模式平",
                "作。",
                "第二条规定。",
            ]
        )
        + "\n"
    )
    text = text_of(broken.encode())
    assert "主要经济形态，要" in text
    assert "区块链云计算。" in text
    assert "互\n一、总体要求\n" in text
    assert roles(broken.encode())["line_break"] == 4


# -- kinds of files ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_plain_text_is_read_in_every_encoding(encoding):
    assert text_of(PROSE.encode(encoding)) == PROSE


def test_pages_of_a_text_are_divided_by_form_feeds_and_their_numbers_removed():
    pages = "".join(f"{word}县讲数字经济。\n{n}\n\x0c" for n, word in enumerate("甲乙丙丁", start=1))
    found = runs(pages.encode(), "a.txt")
    assert found["sheet"].unique(maintain_order=True).to_list() == ["file", "p1", "p2", "p3", "p4"]
    assert found.filter(role="page_number")["text"].str.strip_chars().to_list() == ["1", "2", "3", "4"]
    assert found.filter(sheet="p2", role=TEXT)["start"][0] == 0


def test_a_pdf_is_read_page_by_page_and_its_running_head_stands_once():
    found = runs(pdf([["Digital Plan", f"{word} tells of 5G."] for word in ("A", "This", "That", "It")]), "a.pdf")
    text = "".join(found.filter(role=TEXT)["text"])
    assert text.count("Digital Plan") == 1
    assert text.count("tells of 5G.") == 4
    heads = found.filter(role="running_head")["text"].str.strip_chars()
    assert heads.filter(heads != "").to_list() == ["Digital Plan"] * 3
    cell = found.filter(sheet="p3", role=TEXT)["source_cell"][0]
    sha12, place = cell.split("/")
    assert len(sha12) == 12
    assert place.startswith("p3!")


def test_a_word_document_gives_paragraphs_tables_and_insertions_but_no_deletions():
    content = docx_with(
        PROSE.splitlines(), table=[["任务", "单位"], ["建设5G", "发改委"]], inserted="新增。", deleted="删去。"
    )
    text = text_of(content, "a.docx")
    assert text.startswith(PROSE)
    assert text.endswith("任务\n单位\n建设5G\n发改委")
    assert "新增。" in text
    assert "删去" not in text


def test_comments_inside_the_text_of_a_word_document_hide_nothing():
    body = "<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>前文<!--x-->与<?y?>后文。</w:t><w:tab/></w:r></w:p>"
    content = zip_of({"word/document.xml": word_xml(body)})
    assert decode_document(content, "a.docx")[1].parts[0].text == "前文与后文。\t"


def test_a_text_box_stands_after_the_paragraph_that_holds_it_and_its_fallback_is_no_text():
    box = "<w:r><w:pict><w:txbxContent><w:p><w:r><w:t>框内。</w:t></w:r></w:p></w:txbxContent></w:pict></w:r>"
    space = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    body = f"<w:p>{box}<w:r><w:t>正文。</w:t></w:r><mc:Fallback {space}>{box}</mc:Fallback></w:p>"
    content = zip_of({"word/document.xml": word_xml(body)})
    assert decode_document(content, "a.docx")[1].parts[0].text == "正文。\n框内。"


HTML = """<!DOCTYPE html><html><head><meta charset="{charset}"><title>某市门户</title>
<meta name="ArticleTitle" content="数字经济规划"><meta name="PubDate" content="2021-05-07">
<script>var a="脚本";</script>
</head><body><nav><a href="/">首页</a><a href="/x">政务公开</a></nav>
<div><ul><li><a href="/1">市领导会见客人</a></li></ul><p>为加快<a href="/2">数字经济</a>发展，
制定本规划。</p><table><tr><td>任务</td><td>单位</td></tr></table></div><footer>主办：某市</footer></body></html>"""


@pytest.mark.parametrize("charset", ["utf-8", "gb2312"])
def test_a_page_of_html_is_read_without_scripts_menus_and_links(charset):
    content = HTML.format(charset=charset).encode("gb18030" if charset == "gb2312" else charset)
    assert text_of(content, "a.html") == "为加快数字经济发展， 制定本规划。\n任务\t单位\n"
    assert said(content, "a.html") == {"format": "html", "title": "数字经济规划", "published": "2021-05-07"}
    removed = runs(content, "a.html").filter(role="navigation")["text"].str.strip_chars().to_list()
    assert [line for text in removed for line in text.split("\n")] == ["首页政务公开", "市领导会见客人", "主办：某市"]


def test_a_page_inside_a_form_is_text_and_its_buttons_are_not():
    content = f'<html><body><form id="aspnetForm"><p>{PROSE}</p><button>查询</button></form></body></html>'
    assert text_of(content.encode(), "a.html") == PROSE.replace("\n", " ").strip() + "\n"


def test_the_header_of_a_page_is_a_menu_and_that_of_its_article_is_text():
    content = (
        "<html><body><header>某市门户</header><article><header>数字经济规划</header><p>发展。</p></article></body>"
    )
    assert text_of(content.encode(), "a.html") == "数字经济规划\n发展。"
    assert roles(content.encode(), "a.html")["navigation"] == len("某市门户")


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_page_of_chinese_that_states_western_letters_is_read_as_chinese(encoding):
    content = HTML.format(charset="iso-8859-1").encode(encoding)
    assert text_of(content, "a.html") == "为加快数字经济发展， 制定本规划。\n任务\t单位\n"


def test_a_page_of_html_named_pdf_is_told_by_its_bytes():
    assert read_documents(HTML.format(charset="utf-8").encode(), "a.pdf").format == "html"


def test_texts_in_a_table_keep_the_cell_they_stand_in():
    content = (
        '地区,标题,发布日期,full_text\n上海市,报告,2026-02-09,"下载\n' + PROSE + '"\n北京市,报告,2026-02-02,别的。\n'
    )
    found = runs(content.encode(), "a.csv")
    assert read_documents(content.encode(), "a.csv").format == TABLE
    assert found["document_id"].n_unique() == 2
    first = found.filter(pl.col("document_id").str.ends_with("-2"))
    assert first.filter(role="said_region").select("text", "cell").row(0) == ("上海市", "A2")
    kept = first.filter(role=TEXT)
    assert "".join(kept["text"]) == PROSE
    assert kept["source_cell"][0].endswith("/csv!D2:3-38")


def test_paragraphs_of_one_url_are_one_document_in_their_order():
    content = "url,para_id,paragraph_text\nu1,2,后。\nu2,1,别的。\nu1,1,前。\n"
    found = runs(content.encode(), "a.csv")
    texts = found.filter(role=TEXT).group_by("document_id", maintain_order=True).agg(pl.col("text").str.join(""))
    assert texts["text"].to_list() == ["前。\n后。\n", "别的。\n"]


def test_texts_of_two_sheets_are_documents_of_their_own():
    target = io.BytesIO()
    with xlsxwriter.Workbook(target) as book:
        book.add_worksheet("空")
        for sheet, city in (("2020", "上海市"), ("2021", "北京市")):
            page = book.add_worksheet(sheet)
            page.write_row(0, 0, ["标题", "地区", "正文"])
            page.write_row(1, 0, [f"{city}规划", city, f"{city}发展数字经济。"])
    found = runs(target.getvalue(), "a.xlsx")
    assert not found["source_cell"].is_duplicated().any()
    texts = found.filter(role=TEXT).select(pl.col("document_id").str.split("-").list.last(), "sheet", "text").rows()
    assert texts == [("2.2", "2020", "上海市发展数字经济。\n"), ("3.2", "2021", "北京市发展数字经济。\n")]
    places = found.filter(role="said_format")["source_cell"].str.split("/").list.last().to_list()
    assert places == ["file!2.2", "file!3.2"]


def test_a_list_of_documents_is_no_document():
    content = "编号,文件名称,发布机构,发布日期\nP001,数字经济规划,国务院,2021-12-12\n"
    found = read_documents(content.encode(), "list.csv")
    assert found.format == LIST
    assert {one.field: one.text for one in found.sources[0].said} == {
        "id": "P001", "title": "数字经济规划", "issuer": "国务院", "published": "2021-12-12",
    }  # fmt: skip


# -- what is refused ---------------------------------------------------------------------------------------------------
DEEP = ("<div>", "<div><!--</div>-->", "<u>", "<x-y>")


def entities(encoding):
    before = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY e "b">]>'
    text = word_xml("<w:p><w:r><w:t>前文&e;后文不见了。</w:t></w:r></w:p>", before)
    return zip_of({"word/document.xml": text.encode(encoding)})


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.txt", "holds no text"),
        (b"\x00\x01\x02" * 50, "a.txt", "a binary file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, "a.doc", "Word 97"),
        (b"{\\rtf1 x}", "a.rtf.txt", "RTF"),
        (b"%PDF-1.7\nbroken", "a.pdf", "the PDF is damaged"),
        (b"PK\x03\x04broken", "a.docx", "damaged zip"),
        (zip_of({"word/document.xml": word_xml("<w:p/>")})[:-30], "a.wps", "damaged zip"),
        (zip_of({"word/document.xml": "<x/>" + " " * 5_000_000}), "a.docx", "max_ratio is 200"),
        (zip_of({"word/document.xml": word_xml("<w:p>")}), "a.docx", "document.xml is damaged"),
        (entities("utf-8"), "a.docx", "defines XML entities"),
        (entities("utf-16"), "a.docx", "defines XML entities"),
        *((f"<html><body>{tag * 5000}深".encode(), "a.html", "max_depth is 1,000") for tag in DEEP),
        (HTML.format(charset="gb2312").encode("big5", "ignore"), "a.html", "everyday Chinese"),
        ("數位經濟發展規劃，推動產業轉型，提升治理水準。".encode("big5") * 30, "a.txt", "everyday Chinese"),
        (b"\xe4\xb8 \xff\xff" * 100, "a.txt", "neither as UTF-8 nor as GB 18030"),
        ("编号,文件名称,发布机构\n".encode(), "a.csv", "a header and no rows"),
    ],
)
def test_a_hostile_or_useless_file_is_refused_with_its_name_and_the_reason(content, name, message):
    with pytest.raises(SourceError, match=message) as caught:
        runs(content, name)
    assert name in str(caught.value)
    assert caught.value.fix


def test_more_pages_or_characters_than_allowed_are_refused():
    content = pdf([["x"]] * 12)
    for limits, message in (
        (DocumentLimits(max_pages=10), "max_pages is 10, the file has 12"),
        (DocumentLimits(max_characters=5), "max_characters is 5"),
        (DocumentLimits(max_bytes=100), "max_bytes is 100"),
    ):
        with pytest.raises(LimitError, match=message):
            decode_document(content, "a.pdf", limits)


def test_empty_paragraphs_of_a_word_document_count_as_characters():
    content = zip_of({"word/document.xml": word_xml("<w:p/>" * 12)})
    with pytest.raises(LimitError, match="max_characters is 10, the file has 11"):
        decode_document(content, "a.docx", DocumentLimits(max_characters=10))


def test_a_word_document_that_unpacks_to_more_than_allowed_is_refused():
    content = zip_of({"word/document.xml": word_xml("<w:p/>" * 12)})
    with pytest.raises(LimitError, match="max_unpacked is 100"):
        decode_document(content, "a.docx", DocumentLimits(max_unpacked=100))


def test_a_pdf_of_ten_thousand_pages_is_refused_before_it_is_read():
    with pytest.raises(SourceError, match=r"max_pages is 2,000, the file has 10,000"):
        decode_document(pdf([["x"]] * 10_000), "a.pdf")


def test_a_scanned_pdf_says_that_it_holds_no_text():
    with pytest.raises(SourceError, match="a scan; recognise the text"):
        runs(pdf([[]]), "scan.pdf")


def test_of_a_zip_whose_head_lies_no_more_is_unpacked_than_it_says():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", "<x/>" + "a" * 3_000_000)
    true, lie = (3_000_004).to_bytes(4, "little"), (10).to_bytes(4, "little")
    content = target.getvalue().replace(true, lie)
    assert content.count(lie) >= 2
    with pytest.raises(SourceError, match=r"damaged zip archive \(Bad CRC-32"):
        decode_document(content, "a.docx")


def test_a_document_locked_with_a_password_says_so():
    plain = io.BytesIO()
    docx.Document().save(plain)
    content = bytearray(plain.getvalue())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 8] |= 1
        at = content.find(b"PK\x01\x02", at + 4)
    with pytest.raises(SourceError, match="locked with a password"):
        decode_document(bytes(content), "a.docx")
