"""The real policy documents: each is read or refused with a reason, and no character is lost."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.errors import SourceError
from dei_pipeline.sources import document_meta as meta
from dei_pipeline.sources.document import runs
from dei_pipeline.sources.document_text import TEXT

# Found beside those that the inventory of the folder lists: front pages, a list page, a viewer without its document.
FURTHER_WRONG = {"P030", "P042", "P044", "P054", "P072", "P076"}


@pytest.fixture(scope="module")
def national(real_data) -> Path:
    return real_data / "policy-national-digital"


def files_of(folder: Path) -> list[Path]:
    return sorted(path for kind in ("pdf", "txt-derived") for path in (folder / kind).iterdir())


def text_of(found: pl.DataFrame) -> str:
    return "".join(found.filter(role=TEXT)["text"])


@pytest.fixture(scope="module")
def read(national) -> dict[str, pl.DataFrame]:
    return {path.name: runs(path.read_bytes(), path.name) for path in files_of(national)}


def test_every_national_document_is_read(read, national):
    assert len(read) == len(files_of(national)) >= 30
    assert all(text_of(found) for found in read.values())


def test_wrong_pages_are_those_of_the_inventory_and_six_more(read, national):
    inventory = csv.DictReader(io.StringIO((national / "INVENTORY.csv").read_text("utf-8-sig")))
    known = {row["id"] for row in inventory if row["problem"].startswith("WRONG PAGE")}
    stems = {name: Path(name).stem for name in read}
    wrong = {
        name[:4]
        for name, found in read.items()
        if meta.wrong_page(meta.name_title(name), text_of(found), (stems[name], meta.name_title(name) or ""))
    }
    here = {name[:4] for name in read}
    assert wrong == (known | FURTHER_WRONG) & here


def test_pages_of_html_named_pdf_are_told(read):
    html = {name[:4] for name, found in read.items() if found.filter(role="said_format")["text"][0] == "html"}
    assert html == {"P030", "P054"}


def test_words_in_radicals_are_found(read):
    radicals = next(found for name, found in read.items() if name.startswith("P022"))
    pdf = next(found for name, found in read.items() if name.startswith("P023"))
    for text in (text_of(radicals), text_of(pdf)):
        assert not [char for char in text if "\u2e80" <= char <= "\u2fdf"]
        assert "中华人民共和国" in text
    assert "风险" in text_of(pdf)
    assert text_of(radicals).count("用户") >= 20
    assert all("增长" in text_of(found) for name, found in read.items() if name.startswith(("P002", "P084")))


def test_no_character_of_a_document_is_lost(read, national):
    for name, found in read.items():
        body = found.filter(~pl.col("role").str.starts_with("said_"))
        if name.endswith(".txt"):
            whole = (national / "txt-derived" / name).read_bytes().decode("utf-8")
            assert body["length"].sum() == len(whole.removeprefix("\ufeff")), name
        ends = body.select("sheet", "start", end=pl.col("start") + pl.col("length"))
        gaps = ends.with_columns(before=pl.col("end").shift(1).over("sheet").fill_null(0)).filter(
            pl.col("start") != pl.col("before")
        )
        assert gaps.height == 0, name


def test_work_reports_lose_no_paragraph(real_data):
    for path in sorted((real_data / "policy-prov-gwr-2026").glob("2026_*.csv")):
        (row,) = csv.DictReader(io.StringIO(path.read_text("utf-8-sig")))
        found = runs(path.read_bytes(), path.name)
        body = found.filter(~pl.col("role").str.starts_with("said_"))
        assert body["length"].sum() == len(row["full_text"]) + 1, path.name
        kept = text_of(found)
        lost = [line for line in row["full_text"].splitlines() if "。" in line and line.strip() not in kept]
        assert lost == [], path.name
        assert set(body["role"]) <= {TEXT, "navigation", "footer"}, path.name
        removed = "".join(body.filter(pl.col("role") != TEXT)["text"])
        assert len(removed) < 120, removed


def test_the_head_of_a_work_report_loses_its_tools(real_data):
    text = text_of(runs((real_data / "policy-prov-gwr-2026" / "2026_上海市_政府工作报告.csv").read_bytes(), "a.csv"))
    assert text.startswith("2026年上海市政府工作报告\n——2026年2月3日")
    assert not any(word in text[:200] for word in ("下载", "打印", "全屏", "收藏", "字号"))


@pytest.mark.parametrize(
    ("start", "title", "issuer", "date", "number"),
    [
        ("包头市", "包头市人民政府办公室关于印发《包头市2022年数字政府建设考评办法》的通知", "包头市人民政府办公室",
         "2022-04-14", "包府办发〔2022〕43号"),
        ("北京市", "北京市经济和信息化局印发《关于推进北京市数据专区建设的指导意见》的通知", "北京市经济和信息化局",
         "2022-11-21", "京经信发〔2022〕87号"),
        ("阿坝州", "阿坝州人民政府办公室关于印发《阿坝州政务数据资源管理暂行办法》的通知", "阿坝州人民政府办公室",
         "2021-10-11", "阿府办发〔2021〕21号"),
    ],
)  # fmt: skip
def test_city_documents_tell_title_issuer_date_and_number(real_data, start, title, issuer, date, number):
    (path,) = (real_data / "policy-city-pkulaw").glob(f"{start}*.txt")
    text = text_of(runs(path.read_bytes(), path.name))
    found = meta.headline(text)
    assert found == title
    assert meta.issuer({}, found, text).value == issuer
    assert str(meta.published({}, text, None)[0]) == date
    assert meta.document_number(text) == number


def test_what_is_no_document_says_why(real_data):
    lexicon = real_data / "policy-city-pkulaw" / "custom.txt"
    text = text_of(runs(lexicon.read_bytes(), lexicon.name))
    assert meta.wrong_page(None, text) == "holds no sentence: 7 characters of titles, menus or links"
    failures = real_data / "policy-prov-gwr-2026" / "failures_2026.csv"
    with pytest.raises(SourceError, match="without columns that tell of documents"):
        runs(failures.read_bytes(), failures.name)


def test_labelled_paragraphs_are_joined_by_url(real_data):
    path = real_data / "policy-labelled-paragraphs" / "label_sheet_500_v6.csv"
    found = runs(path.read_bytes(), path.name)
    assert found["document_id"].n_unique() == 458
    assert found.filter(role=TEXT)["cell"].n_unique() == 500
