"""The lake on its own: whole files or none, whoever reads, writes, or dies in between."""

import contextlib
import multiprocessing
import os
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dei_pipeline import lake as lake_module
from dei_pipeline.errors import LakeError
from dei_pipeline.lake import STALE_TEMPORARY_SECONDS, Lake, combined, fingerprint, fingerprints_by, write_text
from dei_pipeline.provenance import Table, make_edges
from dei_pipeline.settings import Settings
from dei_pipeline.tables import due_parts, table, why_stale

KEY = "core/observations"
SIDES = (None, "lineage", "quarantine")


def numbers(writer: int, rows: int) -> Table:
    """A table whose rows, edges and quarantine all say who wrote them."""
    frame = pl.DataFrame({"row": range(rows), "writer": [writer] * rows})
    edges = make_edges(frame, ["row"], f"raw/{writer}", ["row"])
    return Table(frame, edges, pl.DataFrame({"reason": [f"writer {writer}"] * 3}))


def record(writer: int) -> dict:
    return {"version": f"v{writer}", "rows": 1}


def writers(lake: Lake, key: str = KEY) -> set[int]:
    """Who wrote the table, its lineage and its quarantine."""
    frames = [lake.scan(key, side=side).collect() for side in SIDES]
    found = set(frames[0]["writer"].to_list())
    found |= {int(parent.removeprefix("raw/")) for parent in frames[1]["parent_table"].to_list()}
    return found | {int(reason.removeprefix("writer ")) for reason in frames[2]["reason"].to_list()}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


# -- what is written can be read ---------------------------------------------------------------------------------------
def test_a_table_comes_back_with_its_lineage_and_quarantine(lake):
    lake.commit(KEY, {"": (numbers(1, 5), record(1))})
    assert_frame_equal(lake.read(KEY), numbers(1, 5).frame)
    assert_frame_equal(lake.scan(KEY, side="lineage").collect(), numbers(1, 5).edges)
    assert lake.scan(KEY, side="quarantine").collect().height == 3
    assert lake.state(KEY) == {"parts": {"": record(1)}}
    assert lake.tables() == [KEY] == lake.tables("lineage") == lake.tables("quarantine")
    assert not list(lake.root.rglob("*.tmp"))


def test_a_commit_replaces_only_the_parts_it_names(lake):
    frame = pl.DataFrame({"year": [2019, 2020], "value": [1.0, 2.0]})
    parts = {str(y): (Table(frame.filter(year=y)), record(1)) for y in (2019, 2020)}
    lake.commit("mart/regions", parts, split="year")
    kept = lake.part_file("mart/regions", "2019", "year")
    before = kept.stat()
    lake.commit("mart/regions", {"2020": (Table(pl.DataFrame({"year": [2020], "value": [7.0]})), record(2))}, "year")
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert lake.read("mart/regions")["value"].to_list() == [1.0, 7.0]
    assert lake.read("mart/regions", [2020])["value"].to_list() == [7.0]
    assert lake.state("mart/regions")["parts"] == {"2019": record(1), "2020": record(2)}


def test_a_commit_that_changes_nothing_leaves_the_files_alone(lake):
    made = {"version": "v1", "content": ["a", "b", "c"], "basis": 1}
    lake.commit(KEY, {"": (numbers(1, 5), made)})
    stamp = [lake.part_file(KEY, side=side).stat() for side in SIDES]
    lake.commit(KEY, {"": (numbers(1, 5), made | {"basis": 2})})
    assert [lake.part_file(KEY, side=side).stat() for side in SIDES] == stamp
    assert lake.state(KEY)["parts"][""]["basis"] == 2
    lake.part_file(KEY, side="lineage").unlink()
    lake.commit(KEY, {"": (numbers(1, 5), made)})
    assert writers(lake) == {1}
    lake.commit(KEY, {"": (numbers(2, 5), made | {"content": ["a", "B", "c"]})})
    assert writers(lake) == {2}


def test_an_empty_table_takes_the_files_of_the_part_away(lake):
    lake.commit(KEY, {"": (numbers(1, 5), record(1))})
    lake.commit(KEY, {"": (Table(pl.DataFrame()), {"skipped": "no source", "version": ""})})
    assert not lake.exists(KEY)
    assert not lake.part_files(KEY, "lineage")
    assert not lake.part_files(KEY, "quarantine")
    assert lake.skipped(KEY) == "no source"
    with pytest.raises(LakeError, match=r"core/observations: not in the lake .*materialise it with `dei run`"):
        lake.read(KEY)


def test_dropped_parts_are_gone_with_their_side_outputs(lake):
    lake.commit("raw/cells", {sha: (numbers(i, 2), record(i)) for i, sha in enumerate("ab")}, split="sha256")
    lake.drop("raw/cells", ["a"])
    assert [list(lake.part_files("raw/cells", side)) for side in SIDES] == [["b"], ["b"], ["b"]]
    assert set(lake.state("raw/cells")["parts"]) == {"b"}


def test_a_table_is_skipped_only_if_all_its_parts_are(lake):
    nothing = Table(pl.DataFrame())
    lake.commit("mart/regions", {"2019": (nothing, {"skipped": "none"}), "2020": (numbers(1, 2), record(1))}, "year")
    assert lake.skipped("mart/regions") is None
    assert lake.skipped("mart/never_made") is None


# -- content versions --------------------------------------------------------------------------------------------------
def test_the_fingerprint_follows_content_names_types_and_order():
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    others = [
        frame.reverse(),
        frame.rename({"a": "c"}),
        frame.cast({"a": pl.Int32}),
        frame.with_columns(b=pl.lit("x")),
        frame.clear(),
    ]
    assert fingerprint(frame) == fingerprint(frame.clone())
    assert len({fingerprint(f) for f in (frame, *others)}) == 6


def test_a_year_has_a_version_of_its_own_whatever_the_other_years_hold():
    frame = pl.DataFrame({"year": [2019, 2020, 2020], "value": [1.0, 2.0, 3.0]})
    changed = frame.with_columns(value=pl.when(pl.col("year") == 2019).then(9.0).otherwise("value"))
    one, two = fingerprints_by(frame), fingerprints_by(changed)
    assert set(one) == {"2019", "2020"}
    assert one["2020"] == two["2020"] == fingerprints_by(frame.reverse())["2020"]
    assert one["2019"] != two["2019"]
    assert fingerprints_by(frame.drop("year")) == {}
    assert combined({"a": "1", "b": "2"}) == combined({"b": "2", "a": "1"}) != combined({"a": "2", "b": "1"})


# -- readers and writers at once ---------------------------------------------------------------------------------------
def test_a_reader_sees_the_old_or_the_new_table_never_a_mixture(lake):
    versions = {writer: numbers(writer, rows) for writer, rows in ((1, 50), (2, 40_000))}
    lake.commit(KEY, {"": (versions[1], record(1))})
    done, seen, faults = threading.Event(), set(), []

    def read() -> None:
        while not done.is_set():
            try:
                frame = lake.read(KEY)
                (writer,) = set(frame["writer"].to_list())
                assert frame.height == versions[writer].frame.height
                seen.add(writer)
            except BaseException as fault:  # Polars panics on a torn file
                faults.append(fault)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(60):
        lake.commit(KEY, {"": (versions[turn % 2 + 1], record(turn))})
    done.set()
    for reader in readers:
        reader.join()
    assert not faults
    assert seen == {1, 2}


def _commit_often(root: Path, writer: int, times: int) -> None:
    for turn in range(times):
        Lake(root).commit(KEY, {"": (numbers(writer, 200 + turn), record(writer))})


def test_two_processes_that_write_one_table_leave_it_from_one_of_them(lake):
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_commit_often, args=(lake.root, writer, 40)) for writer in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    (writer,) = writers(lake)
    assert lake.state(KEY)["parts"] == {"": record(writer)}
    assert not list(lake.root.rglob("*.tmp"))


# -- a process that dies -----------------------------------------------------------------------------------------------
class Died(BaseException):
    """Stands in for SIGKILL."""


@pytest.mark.parametrize("renames", range(6))
def test_a_write_that_dies_leaves_whole_files_and_a_mark(lake, monkeypatch, renames):
    spec = table(KEY)(_nothing)
    settings = Settings(lake=lake.root)
    lake.commit(KEY, {"": (numbers(1, 50), record(1))})
    replace, left = os.replace, [renames]

    def dies(source: str, target: str) -> None:
        if not left[0]:
            raise Died
        left[0] -= 1
        replace(source, target)

    monkeypatch.setattr(lake_module.os, "replace", dies)
    with contextlib.suppress(Died):
        lake.commit(KEY, {"": (numbers(2, 60), record(2))})
        assert renames == 5  # mark, three files, record: the whole commit
    monkeypatch.undo()
    assert writers(lake) <= {1, 2}
    assert lake.read(KEY).height in (50, 60)
    marked = lake.state(KEY)["parts"][""] == {"writing": True}
    assert marked == (1 <= renames < 5)
    if marked:
        assert due_parts(lake, spec, settings, []) == [""]
        assert why_stale(lake, spec, settings, "") == "a run was killed while writing it"
    lake.commit(KEY, {"": (numbers(3, 70), record(3))})
    assert writers(lake) == {3}
    assert lake.state(KEY)["parts"] == {"": record(3)}


def _nothing(_: object) -> Table:
    return Table(pl.DataFrame())


def test_the_lock_of_a_dead_process_holds_nobody_up(lake):
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_hold_the_lock, args=(lake.root,))
    process.start()
    while process.is_alive() and not (lake.folder(KEY) / ".lock").exists():
        time.sleep(0.02)
    assert process.is_alive()
    process.kill()
    process.join()
    lake.commit(KEY, {"": (numbers(1, 2), record(1))})
    assert writers(lake) == {1}


def _hold_the_lock(root: Path) -> None:
    with lake_module.locked(Lake(root).folder(KEY)):
        time.sleep(60)


# -- leftovers ---------------------------------------------------------------------------------------------------------
def test_old_leftovers_are_swept_and_those_of_a_run_under_way_are_not(lake):
    lake.commit(KEY, {"": (numbers(1, 2), record(1))})
    folder, old = lake.folder(KEY), time.time() - STALE_TEMPORARY_SECONDS - 60
    left = [folder / ".part-0.parquet.1.aaaa.tmp", folder / "._state.json.1.bbbb.tmp"]
    half_received = lake.blobs() / ".0123456789ab.1.cccc.tmp"
    fresh = folder / ".part-0.parquet.2.dddd.tmp"
    half_received.mkdir(parents=True)
    for path in (*left, half_received / "content.xls", fresh):
        path.write_bytes(b"half")
    for path in (*left, half_received):
        os.utime(path, (old, old))
    assert lake.sweep() == 3
    assert [path for path in (*left, half_received) if path.exists()] == []
    assert fresh.exists()
    assert writers(lake) == {1}


def test_the_sweep_does_not_mind_what_another_run_renames_meanwhile(lake):
    def receive() -> None:
        for number in range(200):
            temporary = lake.blobs() / f".{number:012}.tmp"
            temporary.mkdir(parents=True)
            (temporary / ".content.tmp").touch()
            temporary.rename(lake.blobs() / f"{number:012}")

    thread = threading.Thread(target=receive)
    thread.start()
    swept = [lake.sweep() for _ in range(10)]
    thread.join()
    assert swept == [0] * 10
    assert len(list(lake.blobs().iterdir())) == 200


def test_a_small_text_file_is_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "state.json"
    write_text(path, "old")
    monkeypatch.setattr(lake_module.os, "replace", lambda *_: (_ for _ in ()).throw(Died))
    with pytest.raises(Died):
        write_text(path, "new and longer")
    assert path.read_text(encoding="utf-8") == "old"
