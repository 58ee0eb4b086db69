"""Where a table lives, and how it is replaced without ever being half there.

`layer/table` -> `<lake>/<layer>/<table>/part-0.parquet`, or one folder a part (`year=2020/`, `sha256=…/`). Beside each
table lie `lineage/<layer>/<table>` and `quarantine/<layer>/<table>` in the same parts, and `_state.json`: what each
part was made from, so that a run does only what is stale.

A commit holds the table's lock, writes the three files under temporary names, marks the part as being written, renames
all three into place and records the part; files whose content would not change are left alone. A process killed
anywhere leaves whole files, and a part that is unrecorded or marked is made again by the next run.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from dei_pipeline.errors import LakeError
from dei_pipeline.provenance import Table

LAYERS = ("raw", "staging", "core", "mart", "index", "release")
WHOLE = ""
FILE = "part-0.parquet"
STATE = "_state.json"
STALE_TEMPORARY_SECONDS = 3600
ROW_GROUP = 20_000
MOST_PINNED = (
    256  # files a scan holds open; only tables split by received file have more, and those parts do not change
)


def fingerprint(frame: pl.DataFrame) -> str:
    """Content hash of a frame (schema and rows in order): the data version of a table's part."""
    digest = hashlib.sha256(repr(list(frame.schema.items())).encode())
    if frame.height:
        digest.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()[:16]


def fingerprints_by(frame: pl.DataFrame, column: str = "year") -> dict[str, str]:
    """Content hash of the rows of each value of a column (a year, a file); none for a frame without it."""
    if column not in frame.columns:
        return {}
    keyed = pl.DataFrame({"of": frame[column], "hash": frame.hash_rows(seed=0)}).drop_nulls("of").sort("of", "hash")
    if not keyed.height:
        return {}
    values, starts = np.unique(keyed["of"].to_numpy(), return_index=True)
    pieces = np.split(keyed["hash"].to_numpy(), starts[1:])
    return {
        str(value): hashlib.sha256(piece.tobytes()).hexdigest()[:16]
        for value, piece in zip(values.tolist(), pieces, strict=True)
    }


def combined(versions: Mapping[str, str]) -> str:
    """One version for a set of named versions."""
    return hashlib.sha256(json.dumps(sorted(versions.items())).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Lake:
    """The folder that holds every table.

    Attributes:
        root: the lake's folder; made when first written to.
    """

    root: Path

    # -- where -----------------------------------------------------------------------------------------------------
    def folder(self, key: str, side: str | None = None) -> Path:
        """Folder of table `layer/table`, or of its side output (`lineage`, `quarantine`)."""
        return (self.root / side if side else self.root) / key

    def blobs(self) -> Path:
        """Folder of the files as received, one folder a sha256."""
        return self.root / "raw" / "blobs"

    def part_file(self, key: str, part: str = WHOLE, split: str | None = None, side: str | None = None) -> Path:
        """Parquet file of one part of a table."""
        folder = self.folder(key, side)
        return folder / f"{split}={part}" / FILE if split else folder / FILE

    def part_files(self, key: str, side: str | None = None, parts: Iterable[str] | None = None) -> dict[str, Path]:
        """Existing Parquet files of a table by part (`""` for a table in one file); all, or those of `parts`."""
        folder = self.folder(key, side)
        whole = folder / FILE
        if whole.is_file():
            return {WHOLE: whole}
        found = {path.parent.name.partition("=")[2]: path for path in sorted(folder.glob(f"*=*/{FILE}"))}
        if parts is None:
            return found
        wanted = set(parts)
        return {part: path for part, path in found.items() if part in wanted}

    # -- read ------------------------------------------------------------------------------------------------------
    def exists(self, key: str) -> bool:
        """Whether the table has at least one part."""
        return bool(self.part_files(key))

    def scan(self, key: str, parts: Iterable[str] | None = None, side: str | None = None) -> pl.LazyFrame:
        """The table, lazily; the years or files in `parts` only, where it is split.

        Raises:
            LakeError: the table was never made.
        """
        files = self.part_files(key, side, parts)
        if not files:
            raise LakeError(
                f"{side + '/' if side else ''}{key}: not in the lake {self.root}", "materialise it with `dei run`"
            )
        paths = list(files.values())
        if len(paths) > MOST_PINNED:
            return pl.scan_parquet(paths, hive_partitioning=False)
        with contextlib.ExitStack() as pinned:  # an open file stays what it was, whatever is renamed over its path
            handles: list[IO[bytes]] = [pinned.enter_context(path.open("rb")) for path in paths]
            return pl.scan_parquet(handles, hive_partitioning=False)

    def read(self, key: str, years: Sequence[int] | None = None) -> pl.DataFrame:
        """The table, or its rows of `years`."""
        if years is None:
            return self.scan(key).collect(engine="in-memory")
        files = self.part_files(key)
        frame = self.scan(key, None if WHOLE in files else [str(year) for year in years])
        if "year" in frame.collect_schema():
            frame = frame.filter(pl.col("year").is_in(list(years)))
        return frame.collect(engine="in-memory")

    def state(self, key: str) -> dict[str, Any]:
        """What is recorded about a table: its parts with versions, row counts and the basis they were made on."""
        path = self.folder(key) / STATE
        try:
            found = path.stat()
        except FileNotFoundError:
            return {"parts": {}}
        return _read_state(path, found.st_mtime_ns, found.st_ino)

    def tables(self, side: str | None = None) -> list[str]:
        """Every table of the lake as `layer/table`, in the order of the layers."""
        base = self.root / side if side else self.root
        return [
            f"{layer}/{folder.name}"
            for layer in LAYERS
            for folder in sorted((base / layer).glob("*"))
            if self.part_files(f"{layer}/{folder.name}", side)
        ]

    # -- write -----------------------------------------------------------------------------------------------------
    def commit(self, key: str, parts: Mapping[str, tuple[Table, dict[str, Any]]], split: str | None = None) -> None:
        """Replaces parts of a table, with their lineage and quarantine, atomically each.

        Args:
            key: `layer/table`.
            parts: for each part the table (an empty frame removes the part's file) and the record for the state.
            split: name of the column the table is split by, None for one file.
        """
        with locked(self.folder(key)):
            held = self.state(key)["parts"]
            prepared: dict[str, list[tuple[Path, Path | None]]] = {}
            for part, (table, record) in parts.items():
                sides = (("lineage", table.edges), ("quarantine", table.quarantine), (None, table.frame))
                targets = [(self.part_file(key, part, split, side), frame) for side, frame in sides]
                if not self._holds(held.get(part, {}), record, targets):
                    prepared[part] = [(t, self._write_temporary(t, f) if f.height else None) for t, f in targets]
            if prepared:
                self._write_state(key, {"parts": held | {part: {"writing": True} for part in prepared}})
            for target, temporary in (file for files in prepared.values() for file in files):
                if temporary is None:
                    target.unlink(missing_ok=True)
                else:
                    os.replace(temporary, target)
            for folder in {t.parent for files in prepared.values() for t, _ in files if t.parent.is_dir()}:
                _fsync(folder)
            self._write_state(key, {"parts": held | {part: record for part, (_, record) in parts.items()}})

    @staticmethod
    def _holds(
        held: Mapping[str, Any], record: Mapping[str, Any], targets: Sequence[tuple[Path, pl.DataFrame]]
    ) -> bool:
        """Whether the lake holds these very rows, edges and quarantine already, so that no file need be touched."""
        content = held.get("content")
        return (
            content is not None
            and content == record.get("content")
            and all(target.is_file() == bool(frame.height) for target, frame in targets)
        )

    def drop(self, key: str, parts: Iterable[str]) -> None:
        """Removes parts of a table that have no source any more, with their lineage and quarantine."""
        gone = set(parts)
        if not gone:
            return
        with locked(self.folder(key)):
            for side in (None, "lineage", "quarantine"):
                for path in self.part_files(key, side, gone).values():
                    path.unlink(missing_ok=True)
            kept = {part: record for part, record in self.state(key)["parts"].items() if part not in gone}
            self._write_state(key, {"parts": kept})

    def skipped(self, key: str) -> str | None:
        """Why a table has no rows in this lake, if a run found that it has no source; None otherwise."""
        reasons = {record.get("skipped") for record in self.state(key)["parts"].values()}
        return None if None in reasons or not reasons else sorted(reasons)[0]

    def sweep(self) -> int:
        """Removes temporary files and folders that killed runs left behind; returns how many."""
        limit = time.time() - STALE_TEMPORARY_SECONDS
        swept = 0
        for folder, inner, files in os.walk(self.root):  # unlike a glob, it does not mind what vanishes meanwhile
            left = [name for name in (*inner, *files) if name.startswith(".") and name.endswith(".tmp")]
            inner[:] = [name for name in inner if name not in left]
            for path in (Path(folder, name) for name in left):
                with contextlib.suppress(FileNotFoundError):  # another run renamed or swept it
                    if path.stat().st_mtime >= limit:
                        continue
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink()
                    swept += 1
        return swept

    @staticmethod
    def _write_temporary(target: Path, frame: pl.DataFrame) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{target.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
        frame.write_parquet(temporary, compression="zstd", compression_level=1, row_group_size=ROW_GROUP)
        _fsync(temporary)
        return temporary

    def _write_state(self, key: str, state: dict[str, Any]) -> None:
        write_text(self.folder(key) / STATE, json.dumps(state, ensure_ascii=False, indent=1))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder's lock against other processes; makes the folder if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@functools.lru_cache(maxsize=512)
def _read_state(path: Path, modified: int, inode: int) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    """Writes a small text file by temporary file and rename, so that readers see the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
