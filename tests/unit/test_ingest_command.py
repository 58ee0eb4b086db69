"""Files into the lake and out of it: facts said later, links, sidecars, damaged manifests, withdrawal."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dei_pipeline.assets.raw import received
from dei_pipeline.cli import main
from dei_pipeline.demo.generate import finished
from dei_pipeline.errors import LakeError
from dei_pipeline.lake import Lake
from dei_pipeline.provenance import PUBLISHED, manifests
from dei_pipeline.settings import Settings
from dei_pipeline.sources import ingest
from dei_pipeline.sources.decode import Limits

PAGE = "城市,地区生产总值(亿元)\n上海市,38963.3\n北京市,35943.3\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def given(tmp_path: Path) -> Path:
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


def dei(lake: Lake, *arguments: str) -> Result:
    result = CliRunner().invoke(main, [*arguments, "--lake", str(lake.root)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def put(folder: Path, name: str, text: str = PAGE) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def only(lake: Lake) -> dict[str, Any]:
    ((_, manifest),) = manifests(lake).items()
    return manifest


def version(lake: Lake) -> str:
    return received(lake, Settings())[""]


# -- what is said later ------------------------------------------------------------------------------------------------
def test_a_sidecar_written_later_joins_the_manifest(lake: Lake, given: Path):
    page = put(given, "生产总值.csv")
    assert "the page does not say its year" in str(dei(lake, "layout", str(page)).stdout)
    dei(lake, "ingest", str(page))
    before = version(lake)
    put(given, "生产总值.csv.meta.yml", "year: 2019\nlicence: CC-BY-4.0\n")
    again = dei(lake, "ingest", str(page))
    assert "updated       生产总值.csv" in again.stdout
    assert "1 updated, 0 taken, 0 already there" in again.stdout
    told = only(lake)
    assert (told["year"], told["year_from"], told["licence"]) == (2019, "sidecar", "CC-BY-4.0")
    assert told["source_id"] == "city_yearbook"
    assert version(lake) != before
    after = version(lake)
    assert "0 taken, 1 already there" in dei(lake, "ingest", str(page)).stdout
    assert version(lake) == after
    assert not list(lake.root.rglob("*.tmp"))


def test_a_name_with_the_year_replaces_one_without(lake: Lake, given: Path):
    dei(lake, "ingest", str(put(given, "a.csv")))
    assert "1 updated" in dei(lake, "ingest", str(put(given, "a_2019.csv"))).stdout
    told = only(lake)
    assert (told["file"], told["also_named"]) == ("a_2019.csv", ["a.csv"])
    for name in ("b_2020.csv", "a.csv"):
        assert "1 already there" in dei(lake, "ingest", str(put(given, name))).stdout
    assert only(lake) == told
    assert dei(lake, "sources", "withdraw", "a.csv").exit_code == 0


def test_a_source_and_an_edition_given_later_win_over_what_was_recognised(lake: Lake, given: Path):
    page = str(put(given, "a_2019.csv"))
    dei(lake, "ingest", page)
    assert "1 updated" in dei(lake, "ingest", page, "--source", "mine", "--edition", "2031").stdout
    assert (only(lake)["source_id"], only(lake)["edition"]) == ("mine", "2031")
    assert "1 already there" in dei(lake, "ingest", page).stdout
    assert only(lake)["source_id"] == "mine"


def test_the_fingerprint_of_the_manifests_covers_their_content_and_registers_nothing(lake: Lake, given: Path):
    version(lake)
    assert not lake.root.exists()
    dei(lake, "ingest", str(put(given, "a_2019.csv")))
    before, path = version(lake), next(lake.blobs().glob("*/manifest.json"))
    told = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(told | {"ingested_at": "later"}), encoding="utf-8")
    assert version(lake) == before
    path.write_text(json.dumps(told | {"edition": "2031"}), encoding="utf-8")
    assert version(lake) != before


def test_the_published_tables_stay_as_they_are_registered(lake: Lake):
    published = Settings.reference / "published"
    ingest.register_published(lake, Settings.reference)
    before = manifests(lake)
    assert ingest.register_published(lake, Settings.reference) == 0
    dei(lake, "ingest", str(published), "--source", "mine")
    assert manifests(lake) == before


# -- manifests as they lie there ---------------------------------------------------------------------------------------
def test_a_manifest_from_before_there_were_kinds_is_read(lake: Lake, given: Path):
    dei(lake, "ingest", str(put(given, "a_2019.csv")))
    ingest.register_published(lake, Settings.reference)
    kinds = {m["file"]: m["kind"] for m in manifests(lake).values()}
    for path in lake.blobs().glob("*/manifest.json"):
        told = json.loads(path.read_text("utf-8"))
        del told["kind"]
        path.write_text(json.dumps(told), encoding="utf-8")
    assert {m["file"]: m["kind"] for m in manifests(lake).values()} == kinds
    assert set(kinds.values()) == {"page", "table"}


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '"x"'])
def test_a_damaged_manifest_is_one_line_that_names_the_folder(lake: Lake, given: Path, damage: str):
    page = put(given, "a_2019.csv")
    dei(lake, "ingest", str(page))
    path = next(lake.blobs().glob("*/manifest.json"))
    path.write_text(damage, encoding="utf-8")
    for command in (["sources", "list"], ["ingest", str(page)], ["run"]):
        result = dei(lake, *command)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith(f"dei: {path.parent}: manifest.json is damaged")
        assert "ingest the file in it again" in result.stderr


# -- what is left out --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("year: abc\n", "year «abc» is no year from 1949 to 2100"),
        ("year: 1800\n", "year «1800» is no year"),
        ("year: true\n", "year «True» is no year"),
        ("year: [2019\n", "not valid YAML"),
        ("- year\n", "not a list of fields"),
        ("2019: x\n", "field «2019» is unknown"),
    ],
)
def test_a_wrong_sidecar_leaves_only_its_file_out(lake: Lake, given: Path, text: str, why: str):
    put(given, "a.csv")
    put(given, "a.csv.meta.yml", text)
    put(given, "b_2019.csv", PAGE + "天津市,14083.7\n")
    result = dei(lake, "ingest", str(given))
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("LEFT OUT")]
    assert "a.csv" in line
    assert why in line
    assert only(lake)["file"] == "b_2019.csv"


def test_a_sidecar_in_another_encoding_leaves_only_its_file_out(lake: Lake, given: Path):
    put(given, "a.csv")
    (given / "a.csv.meta.yml").write_bytes("producer: 统计局\n".encode("gb18030"))
    assert "save it as UTF-8" in dei(lake, "ingest", str(given)).stdout


def test_links_out_of_the_folder_are_left_out_with_the_reason(lake: Lake, given: Path, tmp_path: Path):
    outside = put(tmp_path, "outside.csv")
    put(given, "b_2019.csv", PAGE + "天津市,14083.7\n")
    (given / "out.csv").symlink_to(outside)
    (given / "folder").symlink_to(tmp_path)
    (given / "gone.csv").symlink_to(tmp_path / "nothing")
    (given / "in.csv").symlink_to(given / "b_2019.csv")
    result = dei(lake, "ingest", str(given))
    left = [line for line in result.stdout.splitlines() if line.startswith("LEFT OUT")]
    assert [line.split()[2] for line in left] == ["folder", "gone.csv", "out.csv"]
    assert all("a link that leads out of" in line for line in left)
    assert "1 taken, 1 already there, 3 left out" in result.stdout
    assert "1 taken" in dei(lake, "ingest", str(given / "out.csv")).stdout  # named by the user himself


def test_a_file_that_is_too_large_is_not_read(lake: Lake, given: Path, monkeypatch: pytest.MonkeyPatch):
    page = put(given, "a_2019.csv")
    monkeypatch.setattr(ingest, "DEFAULT", Limits(max_bytes=10))
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    (row,) = ingest.ingest(lake, [page], lambda *_: pytest.fail("it was decoded"))
    assert row.outcome == "left"
    assert "max_bytes is 10" in row.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_left_out(lake: Lake, given: Path):
    put(given, "a.csv").chmod(0)
    assert "Permission denied" in dei(lake, "ingest", str(given)).stdout


# -- withdrawal --------------------------------------------------------------------------------------------------------
def test_a_file_is_withdrawn_by_its_exact_name_or_eight_digits_and_kept_aside(lake: Lake, given: Path):
    page = put(given, "a_2019.csv")
    dei(lake, "ingest", str(page))
    sha256 = only(lake)["sha256"]
    for which in ("", "a", "a_2019", sha256[:7]):
        result = dei(lake, "sources", "withdraw", which)
        assert result.exit_code == 1
        assert "8 digits" in result.stderr
    for which in (sha256[:8], "a_2019.csv", sha256):
        gone = dei(lake, "sources", "withdraw", which)
        aside = lake.root / "raw" / "withdrawn" / sha256
        assert gone.stdout == f"withdrawn: a_2019.csv ({sha256[:12]}), now in {aside}; next: dei run\n"
        assert (aside / "content.csv").read_bytes() == page.read_bytes()
        assert manifests(lake) == {}
        assert "1 taken" in dei(lake, "ingest", str(page)).stdout
    assert lake.tables() == []


def test_two_files_of_one_name_are_not_withdrawn_by_it(lake: Lake, given: Path):
    dei(lake, "ingest", str(put(given, "a_2019.csv")))
    dei(lake, "ingest", str(put(given, "a_2019.csv", PAGE + "天津市,14083.7\n")))
    with pytest.raises(LakeError, match=r"«a_2019.csv» is 2 files: [0-9a-f]{12} a_2019.csv, [0-9a-f]{12} a_2019.csv"):
        ingest.withdraw(lake, "a_2019.csv")
    assert len(manifests(lake)) == 2


def test_a_published_table_is_not_withdrawn(lake: Lake):
    ingest.register_published(lake, Settings.reference)
    name = next(m["file"] for m in manifests(lake).values() if m["source_id"] == PUBLISHED)
    with pytest.raises(LakeError, match="published table, which every run registers"):
        ingest.withdraw(lake, name)


# -- the demo ----------------------------------------------------------------------------------------------------------
def test_the_demo_is_written_unless_it_is_finished_or_real_files_are_there(
    lake: Lake, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ingest.register_published(lake, Settings.reference)  # what a first `dei run` leaves
    small = ("demo", "--if-empty", "--regions", "3", "--years", "2020")

    receive, left = ingest.receive, [3]

    def dies(*arguments: Any, **named: Any) -> tuple[str, str]:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return receive(*arguments, **named)

    monkeypatch.setattr(ingest, "receive", dies)
    assert CliRunner().invoke(main, [*small, "--lake", str(lake.root)]).exit_code == 1
    monkeypatch.undo()
    assert not finished(lake)
    files, new = re.match(r"(\d+) synthetic files, (\d+) new", dei(lake, *small).stdout).groups()
    assert int(files) - int(new) == 2  # received before it died
    assert json.loads((lake.root / "raw" / "demo.json").read_text()) == {"regions": 3, "years": [2020], "seed": 0}
    before = {path: path.stat().st_mtime_ns for path in lake.blobs().rglob("*")}
    assert dei(lake, *small).stdout == f"nothing written: {lake.root} holds the demo already\n"
    assert ", 0 new" in dei(lake, *small[:1], *small[2:]).stdout
    assert {path: path.stat().st_mtime_ns for path in lake.blobs().rglob("*")} == before
    assert lake.tables() == []

    real = Lake(tmp_path / "real")
    dei(real, "ingest", str(put(given, "a_2019.csv")))
    assert dei(real, *small).stdout == f"nothing written: {real.root} holds real files\n"
    assert dei(real, *small[:1], *small[2:]).exit_code == 1
