"""Decoding of source files: every kind gives the same cells, limits hold, nothing but SourceError comes out."""

import datetime
import io
import random
import zipfile
from collections import Counter
from pathlib import Path

import msoffcrypto
import polars as pl
import pytest
import python_calamine as calamine

from dei_pipeline.errors import SourceError
from dei_pipeline.sources.decode import (
    CELL_SCHEMA,
    Limits,
    column_letters,
    column_number,
    decode,
    number_text,
    with_address,
)
from tests.fixtures import build

ROWS = [
    ["表 1-2  各地区R&D人员(2020年)", None, None, None],
    ["单位：人年", None, None, None],
    ["地区\r\nRegion", "R&D人员\r\nTotal", None, "日期"],
    [None, "合计", "其中:女性", None],
    ["北  京", 10, 0.1, datetime.date(2020, 1, 2)],
    ["　天津", "1,234", True, 1e-5],
    [None, None, None, None],
    ["河北", -3.5, "#DIV/0!", 123456789.0],
]
MERGES = ["A1:D1", "B3:C3", "A3:A4"]
EXPECTED = [  # row, col, cell, text, row_span, col_span
    (1, 1, "A1", "表 1-2  各地区R&D人员(2020年)", 1, 4),
    (2, 1, "A2", "单位：人年", 1, 1),
    (3, 1, "A3", "地区\nRegion", 2, 1),
    (3, 2, "B3", "R&D人员\nTotal", 1, 2),
    (3, 4, "D3", "日期", 1, 1),
    (4, 2, "B4", "合计", 1, 1),
    (4, 3, "C4", "其中:女性", 1, 1),
    (5, 1, "A5", "北  京", 1, 1),
    (5, 2, "B5", "10", 1, 1),
    (5, 3, "C5", "0.1", 1, 1),
    (5, 4, "D5", "2020-01-02", 1, 1),
    (6, 1, "A6", "　天津", 1, 1),
    (6, 2, "B6", "1,234", 1, 1),
    (6, 3, "C6", "TRUE", 1, 1),
    (6, 4, "D6", "1e-05", 1, 1),
    (8, 1, "A8", "河北", 1, 1),
    (8, 2, "B8", "-3.5", 1, 1),
    (8, 3, "C8", "#DIV/0!", 1, 1),
    (8, 4, "D8", "123456789", 1, 1),
]


def grid(cells: pl.DataFrame) -> list[tuple]:
    return cells.select("row", "col", "cell", "text", "row_span", "col_span").rows()


def html(body: str) -> bytes:
    return f"<html><head><title>公报</title></head><body>{body}</body></html>".encode()


@pytest.mark.parametrize("kind", build.KINDS)
def test_same_cells_in_every_kind(kind, tmp_path):
    path = build.yearbook_page(tmp_path / "页.any", ROWS, MERGES, kind)
    decoded = decode(path.read_bytes(), path.name)
    assert decoded.format == kind.split("-gb")[0].removesuffix("-cryptoapi").split("-utf")[0].replace("tsv", "csv")
    assert dict(decoded.cells.schema) == {name: dtype() for name, dtype in CELL_SCHEMA.items()}
    expected = EXPECTED
    if kind not in build.MERGING_KINDS:
        expected = [(*row[:4], 1, 1) for row in EXPECTED]
    assert grid(decoded.cells) == expected
    assert decoded.cells["sheet"].unique().to_list() == list(decoded.sheets)
    assert decoded.cells.filter(pl.col("cell") == "C8")["kind"].to_list() == ["error"]
    if kind in build.SPREADSHEET_KINDS:
        kinds = dict(decoded.cells.select("cell", "kind").rows())
        assert [kinds[c] for c in ("B5", "C5", "D5", "B6", "C6", "D6")] == [
            "number", "number", "date", "text", "bool", "number",
        ]  # fmt: skip
        numbers = dict(decoded.cells.drop_nulls("number").select("cell", "number").rows())
        assert numbers == {"B5": 10, "C5": 0.1, "C6": 1, "D6": 1e-5, "B8": -3.5, "D8": 123456789}
    else:
        assert decoded.cells["number"].null_count() == decoded.cells.height


def test_no_suffix_is_trusted():
    for kind in build.KINDS:
        assert grid(decode(build.page_bytes(ROWS, (), kind), "年鉴.dat").cells)[0][3] == ROWS[0][0]


@pytest.mark.parametrize("scheme", ["rc4", "cryptoapi-40", "cryptoapi-128"])
def test_fixture_is_really_encrypted(scheme):
    plain = build.xls_stream({"Sheet1": ROWS}, {"Sheet1": MERGES})
    locked = build.xls_container(build.encrypt_biff(plain, scheme=scheme))
    assert "各地区".encode("utf-16-le") in plain
    assert "各地区".encode("utf-16-le") not in locked
    with pytest.raises(calamine.CalamineError):
        calamine.CalamineWorkbook.from_filelike(io.BytesIO(locked))
    office, out = msoffcrypto.OfficeFile(io.BytesIO(locked)), io.BytesIO()
    assert office.is_encrypted()
    office.load_key(password=build.DEFAULT_PASSWORD)
    office.decrypt(out)
    book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(out.getvalue()))
    assert book.get_sheet_by_index(0).to_python()[4][:2] == ["北  京", 10]
    assert grid(decode(locked, "a.xls").cells) == EXPECTED


def test_addresses():
    cells = with_address(decode(build.xlsx({"表1": [[None, "a"]], "空": []}), "a.xlsx").cells, "0123456789abcdef")
    assert cells.columns == ["sha256", *CELL_SCHEMA, "source_cell"]
    assert cells["source_cell"].to_list() == ["0123456789ab/表1!B1"]
    assert [column_letters(c) for c in (1, 26, 27, 52, 53, 702, 703)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]
    assert all(column_number(column_letters(c)) == c for c in range(1, 2000))


def test_number_text_reads_back():
    generator = random.Random(7)
    values = [0.1 + 0.2, 1e-5, 0.0, 10.0, 2e15, 1e16, 1e22, 1e-7, -1234.5, 1e-4]
    values += [generator.uniform(-1, 1) * 10.0 ** generator.randint(-12, 20) for _ in range(2000)]
    texts = number_text(pl.Series(values)).to_list()
    assert [float(t) for t in texts] == values
    assert texts[:6] == ["0.30000000000000004", "1e-05", "0", "10", "2000000000000000", "1e+16"]
    assert all(len(t) <= len(repr(v)) for t, v in zip(texts, values, strict=True))


def test_sheets_hidden_empty_and_far_cells():
    book = build.xlsx({"一": [["a"]], "CNKI": [["advert"]], "空": []}, hidden=["CNKI"])
    decoded = decode(book, "a.xlsx")
    assert decoded.sheets == ("一", "CNKI", "空")
    assert decoded.notes == {"hidden_sheets": ["CNKI"], "empty_sheets": ["空"]}
    late = decode(build.xlsx({"一": [[None]] * 50 + [[None] * 30 + ["x"]]}), "a.xlsx").cells
    assert late.select("row", "col", "cell").rows() == [(51, 31, "AE51")]


def test_errors_in_unusual_xml_spelling():
    """Prefixed tags and single quotes are legal XML; the error cells are found all the same."""
    book, out = zipfile.ZipFile(io.BytesIO(build.xlsx({"一": [["a", "#REF!", 3]]}))), io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for name in book.namelist():
            data = book.read(name)
            if name == "xl/worksheets/sheet1.xml":
                data = data.replace(b'r="B1"', b"r = 'B1'").replace(b't="e"', b"t='e'")
            target.writestr(name, data)
    cells = decode(out.getvalue(), "a.xlsx").cells
    assert cells.select("cell", "kind", "text").rows() == [
        ("A1", "text", "a"), ("B1", "error", "#REF!"), ("C1", "number", "3"),
    ]  # fmt: skip


def test_html_spans_layout_tables_and_text():
    body = """<h1>标题</h1><p>单位：亿元<br>附表</p><table><tr><td>导航<table><caption>表1</caption>
      <tr><th rowspan=2>地区</th><th colspan=2>经费</th></tr><tr><th>2018</th><th>2019</th></tr>
      <tr><td>北京&nbsp;&nbsp;市</td><td> 1,234.5
      </td><td><p>a</p><p>b</p></td></tr><tr><td>&nbsp;</td><td>x</td></tr></table>尾注</td></tr></table>
      <script>document.write('<table><tr><td>no</td></tr></table>')</script><table><tr><td>2</td></tr></table>"""
    decoded = decode(html(body), "公报.html")
    assert decoded.sheets == ("text", "table1", "table2")
    by_sheet = dict(decoded.cells.group_by("sheet", maintain_order=True).agg("text").rows())
    assert by_sheet["text"] == ["公报", "标题", "单位：亿元", "附表", "导航", "表1", "尾注"]
    assert decoded.notes["text_before"] == {"table1": 6, "table2": 7}
    assert grid(decoded.cells.filter(pl.col("sheet") == "table1")) == [
        (1, 1, "A1", "地区", 2, 1),
        (1, 2, "B1", "经费", 1, 2),
        (2, 2, "B2", "2018", 1, 1),
        (2, 3, "C2", "2019", 1, 1),
        (3, 1, "A3", "北京  市", 1, 1),
        (3, 2, "B3", "1,234.5", 1, 1),
        (3, 3, "C3", "a\nb", 1, 1),
        (4, 2, "B4", "x", 1, 1),
    ]


def test_html_of_excel_itself():
    """mso-ignore:colspan is text running over empty cells, no merge; x:num holds the unrounded number."""
    body = "<table><tr><td colspan=3 style='mso-ignore:colspan'>题</td><td x:num='1234.5678'>1,235</td></tr></table>"
    cells = decode(html(body), "a.xls").cells.filter(pl.col("sheet") == "table1")
    assert cells.select("cell", "kind", "text", "number", "col_span").rows() == [
        ("A1", "text", "题", None, 1),
        ("D1", "number", "1234.5678", 1234.5678, 1),
    ]


def test_html_charsets():
    page = "<html><head><meta charset=%s></head><body><table><tr><td>镕基</td></tr></table></body></html>"
    for declared, written in (("gb2312", "gb18030"), ("utf-8", "utf-8"), ("utf-8", "gb18030"), ("nonsense", "utf-8")):
        assert decode((page % declared).encode(written), "a.html").cells["text"].to_list() == ["镕基"]
    damaged = (page % "utf-8").encode() + b"\xff\xff"
    assert decode(damaged, "a.html").notes["unreadable_characters"] == 2


def test_csv_dialects():
    text = '地区,代码,"人口"\r\n北京,110000,"1,234"\r\n\r\n"多\r\n行",,2\r\n'
    cells = decode(text.encode("gb18030"), "a.csv").cells
    assert cells.select("cell", "text").rows() == [
        ("A1", "地区"), ("B1", "代码"), ("C1", "人口"), ("A2", "北京"), ("B2", "110000"), ("C2", "1,234"),
        ("A4", "多\n行"), ("C4", "2"),
    ]  # fmt: skip
    for delimiter in "\t;|":
        decoded = decode(build.csv_text([["a,b", "c"], ["1,5", "2,5"]], delimiter).encode(), "a.txt")
        assert decoded.notes["delimiter"] == delimiter
        assert decoded.cells["text"].to_list() == ["a,b", "c", "1,5", "2,5"]
    assert decode("地区\n北京\n".encode(), "one.csv").cells["cell"].to_list() == ["A1", "A2"]


@pytest.mark.parametrize("what", list(build.junk()))
def test_junk_is_refused_with_reason_and_fix(what):
    name, content = build.junk()[what]
    with pytest.raises(SourceError) as caught:
        decode(content, name)
    assert caught.value.message.startswith(name)
    assert caught.value.fix
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "value", "kind"),
    [
        ("max_bytes", 100, "xlsx"),
        ("max_html_bytes", 100, "html"),
        ("max_html_bytes", 100, "mhtml"),
        ("max_unpacked", 2000, "xlsx"),
        ("max_sheets", 0, "xlsx"),
        ("max_sheets", 0, "html"),
        *[("max_cells", 5, kind) for kind in build.KINDS],
        *[("max_rows", 7, kind) for kind in build.KINDS],
        *[("max_columns", 3, kind) for kind in build.KINDS],
        *[("max_area", 31, kind) for kind in build.KINDS],
    ],
)
def test_limits(limit, value, kind):
    content = build.page_bytes(ROWS, MERGES, kind)
    with pytest.raises(SourceError, match=limit) as caught:
        decode(content, "大.xls", Limits(**{limit: value}))
    assert f"Limits({limit}=" in caught.value.fix
    assert decode(content, "大.xls", Limits(max_rows=8, max_columns=4, max_area=32, max_cells=19)).cells.height == 19


def test_zip_bombs():
    with pytest.raises(SourceError, match="max_ratio"):
        decode(build.zip_bomb(), "a.xlsx")
    with pytest.raises(SourceError, match="max_unpacked"):
        decode(build.zip_bomb(), "a.xlsx", Limits(max_unpacked=2**20))
    with pytest.raises(SourceError, match="not of the size"):
        decode(build.zip_bomb(lie=True), "a.xlsx")


def test_stray_cell_far_out():
    """One stray cell in the last row must not allocate the whole sheet; a stray format must not refuse the file."""
    book, out = zipfile.ZipFile(io.BytesIO(build.xlsx({"一": [["a"]]}))), {}
    for stray in (b'<c r="XFD1048576"><v>1</v></c>', b'<c r="XFD1048576" s="0"/>'):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as target:
            for name in book.namelist():
                row = b'<row r="1048576">' + stray + b"</row></sheetData>"
                target.writestr(name, book.read(name).replace(b"</sheetData>", row))
        out[stray] = file.getvalue()
    with pytest.raises(SourceError, match=r"sheet1\.xml: max_rows is 500,000, the file has 1,048,576"):
        decode(next(iter(out.values())), "a.xlsx")
    assert decode(list(out.values())[1], "a.xlsx").cells["text"].to_list() == ["a"]


def test_nothing_but_source_errors_from_damaged_files():
    """Bytes flipped, cut and doubled at random: a decoded page or a SourceError, never another exception."""
    generator = random.Random(20)
    outcomes: Counter[str] = Counter()
    for kind in build.KINDS:
        content = build.page_bytes(ROWS, MERGES, kind)
        for _ in range(25):
            damaged = bytearray(content)
            for _ in range(generator.choice((1, 4, 40))):
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            if generator.random() < 0.3:
                del damaged[generator.randrange(len(damaged)) :]
            try:
                decode(bytes(damaged), "坏.xls")
                outcomes["decoded"] += 1
            except SourceError as error:
                outcomes["refused" if error.fix else "no fix"] += 1
    assert outcomes["no fix"] == 0
    assert outcomes["refused"] > 20
    assert outcomes["decoded"] > 20


# Real files ----------------------------------------------------------------------------------------------------------

REAL = (
    "yearbook-*",
    "nbs-rd-bulletin",
    "city-raw-multisource-298",
    "capital-stock-china-provinces/src",
    "io-china-*",
)


def test_every_real_file_decodes_or_says_why(real_data: Path):
    files = [f for part in REAL for folder in real_data.glob(part) for f in sorted(folder.rglob("*")) if f.is_file()]
    files = [f for f in files if f.suffix not in {".md", ".rda"}]
    if not files:
        pytest.skip(f"none of {', '.join(REAL)} in {real_data}")
    counts: Counter[str] = Counter()
    refused = {}
    for file in files:
        try:
            decoded = decode(file.read_bytes(), file.name)
        except SourceError as error:
            refused[file.name] = error.message if error.fix else ""
            continue
        counts[decoded.format] += 1
        assert decoded.cells.height > 0, file
        assert decoded.cells.select("sheet", "cell").is_duplicated().sum() == 0, file
        assert decoded.cells["text"].null_count() == 0, file
    unexpected = {n: m for n, m in refused.items() if not n.startswith("._") and not n.endswith(".txt")}
    assert unexpected == {}, f"refused {unexpected}; decoded {dict(counts)}"
    assert all(refused.values())
    assert len(refused) + sum(counts.values()) == len(files)


@pytest.mark.parametrize(
    "name",
    ["city-raw-multisource-298/2000-2023地级市产业结构 .xlsx", "io-china-provincial/2017/01-北京.xls"],
)
def test_positions_against_calamine(real_data: Path, name):
    file = real_data / name
    if not file.is_file():
        pytest.skip(f"no {file}")
    cells = decode(file.read_bytes(), file.name).cells
    book = calamine.CalamineWorkbook.from_path(str(file))
    total = 0
    for sheet in book.sheet_names:
        rows = book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
        expected = {
            (r, c): value for r, row in enumerate(rows, 1) for c, value in enumerate(row, 1) if value not in ("", None)
        }
        part = cells.filter(pl.col("sheet") == sheet)
        found = {(r, c): (t if n is None else n) for r, c, t, n in part.select("row", "col", "text", "number").rows()}
        assert found == {k: v.replace("\r\n", "\n") if isinstance(v, str) else v for k, v in expected.items()}
        total += len(found)
    assert total == cells.height


def test_error_cells_of_a_real_workbook(real_data: Path):
    """A sheet of #REF! that calamine shows as empty: each error cell of the XML is a cell of kind error."""
    file = real_data / "io-china-national/nbs-xlsx/2018.xlsx"
    if not file.is_file():
        pytest.skip(f"no {file}")
    content = file.read_bytes()
    book = zipfile.ZipFile(io.BytesIO(content))
    stated = sum(book.read(n).count(b' t="e"') for n in book.namelist() if n.startswith("xl/worksheets/sheet"))
    errors = decode(content, file.name).cells.filter(pl.col("kind") == "error")
    assert errors.height == stated > 0
