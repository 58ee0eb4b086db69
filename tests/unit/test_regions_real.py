"""Regions against public code lists and the labels of real files; skipped where the machine lacks them."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.methods.regions import Regions, match

REGIONS = Regions.load()
NAMES = {"label": pl.String, "year": pl.Int32, "code_hint": pl.String, "province_hint": pl.String}


def in_force(year: int) -> dict[str, str]:
    return dict(REGIONS.in_force(year).select("region_code", "name_zh").iter_rows())


def kept(codes: dict[str, str]) -> dict[str, str]:
    """Prefecture level and above, and the county-level units that report to a province, of a list by code."""
    dummy = ("直辖县级行政区划", "市辖区")
    real = {c: n for c, n in codes.items() if not n.endswith(dummy) and n != "县"}
    islands = ("469031", "469032", "469033")
    return {c: n for c, n in real.items() if c.endswith("00") or (c[2:4] == "90" and c not in islands)}


def need(folder: Path) -> Path:
    if not folder.exists():
        pytest.skip(f"no {folder.name}: comparison with public lists not run")
    return folder


@pytest.mark.parametrize("year", [1990, 1997, 2004, 2010, 2014, 2019, 2024])
def test_agrees_with_the_yearly_code_lists(real_data, year):
    text = (need(real_data / "admin-codes-history") / f"{year}.txt").read_text(encoding="utf-8-sig")
    theirs = kept(dict(line.split() for line in text.splitlines() if line.strip()))
    ours = {c: n for c, n in in_force(year).items() if c != "100000" and c[0] not in "78"}
    assert {c: n for c, n in theirs.items() if c[0] not in "78"} == ours
    assert len(ours) > 300


@pytest.mark.parametrize(("path", "year"), [("mca/199912", 1999), ("mca/201712", 2017), ("stats/201810", 2018)])
def test_agrees_with_the_standard(real_data, path, year):
    file = need(real_data / "admin-gb2260") / f"{path}.tsv"
    with file.open(encoding="utf-8-sig") as handle:
        theirs = kept({r["Code"]: r["Name"] for r in csv.DictReader(handle, delimiter="\t")})
    ours = in_force(year)
    assert len(theirs) >= 360
    assert {c: (n, ours.get(c)) for c, n in theirs.items() if ours.get(c) != n} == {}


def test_agrees_with_the_years_of_change_in_the_history(real_data):
    """`result.csv` prints the first list without a code; ours agree but for 莱芜, approved 2018, announced 2019."""
    file = need(real_data / "admin-codes-history") / "result.csv"
    with file.open(encoding="utf-8-sig") as handle:
        rows = [r for r in csv.DictReader(handle) if r["级别"] == "地级" and r["变更/弃用时间"] > "1990"]
    theirs = {(r["代码"], r["名称"]): int(r["变更/弃用时间"]) - 1 for r in rows}
    closed = REGIONS.table.filter((pl.col("valid_to") < 9999) & (pl.col("level") == "prefecture"))
    ours = {(r["region_code"], r["name_zh"]): r["valid_to"] for r in closed.to_dicts()}
    assert set(theirs) == set(ours)
    assert {key for key in ours if ours[key] != theirs[key]} == {("371200", "莱芜市")}


def test_crosswalk_names_resolve_in_their_years(real_data):
    folder = need(real_data / "admin-prefecture-crosswalk")
    names = pl.read_csv(folder / "entity_names_year_end_1987_2026.csv", infer_schema_length=0)
    spans = (
        names.drop_nulls("name_zh")
        .filter(pl.col("legal_status") == "active")
        .with_columns(
            pl.col("start_year").cast(pl.Int32).clip(lower_bound=1990),
            pl.col("end_year").cast(pl.Int32).clip(upper_bound=2024),
        )
    )
    spans = spans.filter(pl.col("start_year") <= pl.col("end_year"))
    years = spans.with_columns(year=pl.int_ranges("start_year", pl.col("end_year") + 1)).explode("year")
    asked = years.select(label="name_zh", year=pl.col("year").cast(pl.Int32))
    found = match(asked, REGIONS, "city")
    failed = found.drop_nulls("reason")
    assert found.height > 10_000
    # the crosswalk begins 莱芜 and three splits of 1993 at its own horizon and keeps two cities through 1997
    assert set(failed.select("label", "year").iter_rows()) == {
        *((name, year) for name in ("广安地区", "达川地区", "巴中地区") for year in (1990, 1991, 1992)),
        *(("莱芜市", 1990), ("莱芜市", 1991), ("万县市", 1997), ("涪陵市", 1997)),
    }
    aliases = pl.read_csv(folder / "aliases.csv", infer_schema_length=0)
    aliases = aliases.filter(pl.col("alias_type") != "ocr_variant")
    asked = aliases.select(pl.col("alias").alias("label"), pl.col("start_year").cast(pl.Int32).alias("year"))
    assert match(asked, REGIONS, "city").drop_nulls("reason")["label"].to_list() == []


WORKBOOKS = {  # file: sheet, columns of year, city, code, province
    "2000-2023地级市产业结构 .xlsx": ("面板数据2000-2023", 0, 1, 2, 4, set()),
    "296个地级市GDP相关数据（以2000年为基期）.xlsx": (
        "Sheet1", 2, 1, None, 0, {"中卫市", "儋州市", "崇左市", "来宾市"},
    ),
    "298个地级市人口密度1998-2024年无缺失.xlsx": (
        "面板数据", 0, 2, 4, 1, {"三沙市", "中卫市", "亳州市", "儋州市", "崇左市", "来宾市"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("file", WORKBOOKS)
def test_city_workbooks_match_or_say_why(real_data, file):
    calamine = pytest.importorskip("python_calamine")
    sheet, year, city, code, province, backcast = WORKBOOKS[file]
    path = need(real_data / "city-raw-multisource-298") / file
    rows = calamine.CalamineWorkbook.from_path(path).get_sheet_by_name(sheet).to_python()[1:]
    rows = [r for r in rows if r[year] != "" and r[city] != ""]
    asked = pl.DataFrame(
        [(str(r[city]), int(r[year]), None if code is None else str(r[code]), str(r[province])) for r in rows],
        schema=NAMES, orient="row",
    )  # fmt: skip
    for hints in (["code_hint", "province_hint"], []):
        found = match(asked.select("label", "year", *hints), REGIONS, "city")
        failed = found.drop_nulls("reason")
        assert set(failed["label"]) == backcast
        assert failed["reason"].str.contains("exists only since").all()
        assert not found.drop_nulls("region_code").select("region_code", "year").is_duplicated().any()


def test_the_census_list_of_all_levels_yields_only_its_prefectures(real_data):
    folder = need(real_data / "city-population-census2020")
    with next(folder.glob("*.csv")).open(encoding="utf-8-sig") as handle:
        rows = [(r["名称"], 2020, r["区域代码"]) for r in csv.DictReader(handle)]
    asked = pl.DataFrame(rows, schema={"label": pl.String, "year": pl.Int32, "code_hint": pl.String}, orient="row")
    known = set(in_force(2020))
    for hints in (["code_hint"], []):
        found = match(asked.select("label", "year", *hints), REGIONS)["region_code"]
        for (label, _, code), got in zip(rows, found, strict=True):
            assert got == (code if code in known else None), label


def sheets(path: Path) -> Iterator[list[list[object]]]:
    """The rows of every sheet of a workbook, decrypted if need be."""
    calamine, office = pytest.importorskip("python_calamine"), pytest.importorskip("msoffcrypto")
    content = path.read_bytes()
    if content[:4] == b"\xd0\xcf\x11\xe0" and (book := office.OfficeFile(io.BytesIO(content))).is_encrypted():
        book.load_key(password="VelvetSweatshop")
        plain = io.BytesIO()
        book.decrypt(plain)
        content = plain.getvalue()
    workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
    yield from (workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names)


def numeric(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, str) and value.strip().replace(".", "", 1).isdigit())


def test_province_labels_of_the_yearbooks_match(real_data):
    """First-column labels of rows that hold numbers (one page's header too: its years look like data).

    The one misprint stays out, with the right candidate.
    """
    rows: list[tuple[str, str]] = []
    for folder in ("yearbook-sci-tech", "yearbook-national-finance"):
        for path in sorted((need(real_data / folder) / "raw").rglob("raw*.xls*")):
            for sheet in sheets(path):
                labelled = (r for r in sheet if r and isinstance(r[0], str) and r[0].strip())
                rows += [(path.name, r[0]) for r in labelled if sum(map(numeric, r[1:])) > 1]
    asked = pl.DataFrame(rows, schema={"file": pl.String, "label": pl.String}, orient="row")
    found = match(asked.with_columns(year=2018), REGIONS, "province")
    failed = found.drop_nulls("reason").filter(pl.col("label") != "地 区").select("label", "candidates").unique()
    assert failed.rows() == [("内蒙占", "内蒙古自治区 (150000); 内江市 (511000)")]
    assert set(found.drop_nulls("zone_id")["zone_id"]) == {"nbs4_east", "nbs4_central", "nbs4_west", "nbs4_northeast"}
    assert found.drop_nulls("region_code")["region_code"].n_unique() == 32
    assert found.height > 800
