"""Files into the lake's `raw` layer: content-addressed, each with a manifest; nothing is copied half-way."""

import datetime
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dei_pipeline.errors import DeiError, LakeError, SourceError
from dei_pipeline.lake import Lake
from dei_pipeline.provenance import manifests

PUBLISHED = "published_reference"
PUBLISHED_PAGES = ("published_dei_scores", "published_scale")
SIDECAR_SUFFIX = ".meta.yml"
SIDECAR_FIELDS = ("source_id", "producer", "title", "edition", "licence", "url", "retrieved", "year")
IGNORED = {"SOURCE.md", "LICENSE", "LICENSE.md", "README.md", ".DS_Store"}


@dataclass(frozen=True)
class Received:
    """What became of one file: `taken`, `known` (already in the lake), or `left` with the reason."""

    file: str
    outcome: str
    sha256: str = ""
    format: str = ""
    pages: tuple[str, ...] = ()
    reason: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)


def files_of(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Each file under the paths with its name relative to the folder given, in order; sidecars and notes left out.

    Raises:
        SourceError: a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder", "check the path")
        found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in found:
            if file.name in IGNORED or file.name.endswith(SIDECAR_SUFFIX):
                continue
            yield file, str(file.relative_to(path) if path.is_dir() else file.name)


def sidecar(file: Path) -> dict[str, Any]:
    """What `<file>.meta.yml` says about a file (`SIDECAR_FIELDS`); empty without one.

    Raises:
        SourceError: a field is unknown.
    """
    path = file.with_name(file.name + SIDECAR_SUFFIX)
    if not path.is_file():
        return {}
    said = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    strange = sorted(set(said) - set(SIDECAR_FIELDS))
    if strange:
        raise SourceError(f"{path.name}: field «{strange[0]}» is unknown", f"use {', '.join(SIDECAR_FIELDS)}")
    return said


def receive(
    lake: Lake, file: Path, name: str, said: Mapping[str, Any], synthetic: bool = False, kind: str = "page"
) -> tuple[str, bool]:
    """Copies a file with its manifest into the lake.

    Args:
        lake: the lake.
        file: the file.
        name: how the manifest names it.
        said: manifest fields that are known (`SIDECAR_FIELDS`).
        synthetic: whether its numbers are made up.
        kind: who reads it: `page` the layouts, `table` an asset that knows its columns.

    Returns:
        sha256 of the content, and whether it was new to the lake.
    """
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    home = lake.blobs() / digest
    if (home / "manifest.json").is_file():
        return digest, False
    temporary = lake.blobs() / f".{digest[:12]}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir(parents=True)
    shutil.copyfile(file, temporary / f"content{file.suffix.lower()}")
    year = said.get("year")
    manifest = {
        "sha256": digest,
        "file": name,
        "source_id": said.get("source_id") or "unknown",
        **{key: None if said.get(key) is None else str(said[key]) for key in SIDECAR_FIELDS[1:-1]},
        "size": file.stat().st_size,
        "synthetic": synthetic,
        "kind": kind,
        "year": None if year is None else int(year),
        "year_from": None if year is None else "sidecar",
        "ingested_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    (temporary / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
    try:
        os.replace(temporary, home)
    except OSError:  # another run placed the same content first
        shutil.rmtree(temporary)
        return digest, False
    return digest, True


def content(lake: Lake, sha256: str) -> bytes:
    """The bytes of a received file.

    Raises:
        LakeError: the manifest names it and the lake no longer holds it.
    """
    found = sorted((lake.blobs() / sha256).glob("content*"))
    if not found:
        raise LakeError(
            f"raw: {sha256[:12]} is in a manifest but its file is gone", "ingest it again, or `dei sources withdraw` it"
        )
    return found[0].read_bytes()


def check_mixing(lake: Lake, synthetic: bool, allow_mixed: bool) -> None:
    """Refuses to put synthetic and real files into one lake.

    Raises:
        LakeError: the lake holds the other sort and `allow_mixed` is not given.
    """
    others = [m for m in manifests(lake).values() if m["source_id"] != PUBLISHED and m["synthetic"] != synthetic]
    if others and not allow_mixed:
        here, there = ("synthetic", "real") if synthetic else ("real", "synthetic")
        raise LakeError(
            f"the lake {lake.root} holds {len(others)} {there} files, as {others[0]['file']}; these are {here}",
            "use another lake (--lake DIR), or say --allow-mixed",
        )


def register_published(lake: Lake, reference: Path) -> int:
    """Registers the reports' published tables as a source of this lake; returns how many were new."""
    said = {
        "source_id": PUBLISHED,
        "producer": "新华三集团 H3C / 中国信息通信研究院 CAICT",
        "title": "中国城市数字经济指数蓝皮书(2021): published tables, annotated",
        "edition": "2021",
    }
    pages = {f"{table}.csv" for table in PUBLISHED_PAGES}
    new = [
        receive(lake, file, f"published/{file.name}", said, kind="page" if file.name in pages else "table")[1]
        for file in sorted((reference / "published").glob("*.csv"))
    ]
    return sum(new)


def ingest(
    lake: Lake,
    paths: Iterable[Path],
    read: Callable[[bytes, str, dict[str, Any]], tuple[str, list[dict[str, Any]]]],
    *,
    source_id: str | None = None,
    edition: str | None = None,
    allow_mixed: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Received]:
    """Takes files into the lake; what cannot be read is left out, with the reason, and the rest goes on.

    Args:
        lake: the lake.
        paths: files or folders.
        read: decodes and recognises: `(bytes, name, manifest) -> (format, pages as dicts)`; raises SourceError.
        source_id, edition: of all these files, where the user states them.
        allow_mixed: let real files join synthetic ones.
        progress: told each file's name.
    """
    check_mixing(lake, synthetic=False, allow_mixed=allow_mixed)
    report = []
    for file, name in files_of(paths):
        progress(name)
        try:
            said = sidecar(file) | {k: v for k, v in (("source_id", source_id), ("edition", edition)) if v}
            format, pages = read(file.read_bytes(), name, {**said, "file": name})
        except DeiError as error:
            report.append(Received(name, "left", reason=str(error)))
            continue
        known = [page for page in pages if page["layout"]]
        if "source_id" not in said and known:
            said |= {"source_id": known[0]["source_id"], "producer": said.get("producer") or known[0].get("producer")}
        sha256, new = receive(lake, file, name, said)
        layouts = tuple(dict.fromkeys(page["layout"] for page in known))
        why = "" if known else "; ".join(dict.fromkeys(f"{p['sheet']}: {p['reason']}" for p in pages if p["reason"]))
        report.append(Received(name, "taken" if new else "known", sha256, format, layouts, why))
    return report


def withdraw(lake: Lake, which: str) -> list[dict[str, Any]]:
    """Takes files out of the lake by name or start of sha256; returns their manifests.

    Raises:
        LakeError: nothing, or more than one content for a sha256 start, matches.
    """
    found = [m for m in manifests(lake).values() if m["file"] == which or m["sha256"].startswith(which)]
    if not found:
        raise LakeError(f"sources: no file «{which}» in {lake.root}", "see `dei sources list`")
    for manifest in found:
        gone = lake.blobs() / f".{manifest['sha256'][:12]}.{uuid.uuid4().hex[:8]}.tmp"
        os.replace(lake.blobs() / manifest["sha256"], gone)
        shutil.rmtree(gone)
    return found
