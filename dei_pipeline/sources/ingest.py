"""Files into the lake's `raw` layer: content-addressed, each with a manifest; nothing is copied half-way."""

import datetime
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from dei_pipeline.contracts import read_yaml
from dei_pipeline.errors import DeiError, LakeError, SourceError
from dei_pipeline.lake import Lake, write_text
from dei_pipeline.provenance import PUBLISHED, PUBLISHED_PAGES, manifest, manifests
from dei_pipeline.settings import LATEST, OLDEST
from dei_pipeline.sources.decode_base import DEFAULT, check
from dei_pipeline.sources.labels import year_in_name

SIDECAR_SUFFIX = ".meta.yml"
SIDECAR_FIELDS = ("source_id", "producer", "title", "edition", "licence", "url", "retrieved", "year")
DOCUMENT = "document"  # kind of a file that holds texts or tells of them
UNKNOWN = "unknown"  # source of a file until a page of it is recognised
IGNORED = {"SOURCE.md", "LICENSE", "LICENSE.md", "README.md", ".DS_Store"}
SHORTEST_START = 8  # of a sha256 that names a file


@dataclass(frozen=True)
class Received:
    """What became of one file: `taken`, `known` to the lake, `updated` (known, newly described), or `left` out, why."""

    file: str
    outcome: str
    sha256: str = ""
    format: str = ""
    pages: tuple[str, ...] = ()
    reason: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)


def files_of(paths: Iterable[Path]) -> Iterator[tuple[Path, str, str]]:
    """Each file under the paths, its name relative to the folder given, and why it is left out («» if it is not).

    In order; sidecars and notes are no files. Links that lead out of the folder given are left out.

    Raises:
        SourceError: a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder", "check the path")
        if not path.is_dir():
            yield path, path.name, ""
            continue
        home = path.resolve()
        for file in sorted(path.rglob("*")):
            name = str(file.relative_to(path))
            if file.is_symlink() and not (file.exists() and file.resolve().is_relative_to(home)):
                yield file, name, f"{name}: a link that leads out of {path}; give the file that it leads to"
            elif file.is_file() and file.name not in IGNORED and not file.name.endswith(SIDECAR_SUFFIX):
                yield file, name, ""


def content_of(file: Path, name: str) -> bytes:
    """The bytes of a file to be read.

    Raises:
        SourceError: it cannot be read, or is larger than is read (`Limits.max_bytes`).
    """
    try:
        check(name, "max_bytes", file.stat().st_size, DEFAULT)
        return file.read_bytes()
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror}", "check the file and who may read it") from error


def sidecar(file: Path) -> dict[str, Any]:
    """What `<file>.meta.yml` says about a file (`SIDECAR_FIELDS`); empty without one.

    Raises:
        SourceError: it cannot be read, is no mapping in UTF-8, a field is unknown, or the year is none.
        ReferenceFileError: it is not YAML.
    """
    path = file.with_name(file.name + SIDECAR_SUFFIX)
    if not path.is_file():
        return {}
    try:
        said = read_yaml(path) or {}
    except (UnicodeDecodeError, OSError) as error:
        raise SourceError(f"{path.name}: cannot be read ({error})", "save it as UTF-8") from error
    if not isinstance(said, dict):
        raise SourceError(f"{path.name}: not a list of fields", "write lines like «year: 2019»")
    strange = sorted(str(name) for name in said if name not in SIDECAR_FIELDS)
    if strange:
        raise SourceError(f"{path.name}: field «{strange[0]}» is unknown", f"use {', '.join(SIDECAR_FIELDS)}")
    year = said.get("year")
    if year is not None and not (re.fullmatch(r"\d{4}", str(year)) and OLDEST <= int(year) <= LATEST):
        raise SourceError(f"{path.name}: year «{year}» is no year from {OLDEST} to {LATEST}", "write «year: 2019»")
    return said


def receive(
    lake: Lake,
    file: Path,
    name: str,
    said: Mapping[str, Any],
    synthetic: bool = False,
    kind: str = "page",
    recognised: Mapping[str, Any] | None = None,
) -> tuple[str, str]:
    """Copies a file with its manifest into the lake; of content that it holds, what is newly said joins the manifest.

    Args:
        lake: the lake.
        file: the file.
        name: how the manifest names it.
        said: manifest fields that are known (`SIDECAR_FIELDS`).
        synthetic: whether its numbers are made up.
        kind: who reads it: `page` the layouts, `table` an asset that knows its columns, `document` the reader of texts.
        recognised: fields that its pages show; they count where nothing is said.

    Returns:
        sha256 of the content, and `taken`, `updated` or `known`.
    """
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    home = lake.blobs() / digest
    stated = _fields(said)
    found = {key: value for key, value in _fields(recognised or {}).items() if key not in stated}
    if (home / "manifest.json").is_file():
        return digest, _update(home / "manifest.json", name, stated, found)
    temporary = lake.blobs() / f".{digest[:12]}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir(parents=True)
    shutil.copyfile(file, temporary / f"content{file.suffix.lower()}")
    known: dict[str, Any] = {
        "sha256": digest,
        "file": name,
        **{key: (found | stated).get(key) for key in SIDECAR_FIELDS[:-1]},
        "size": file.stat().st_size,
        "synthetic": synthetic,
        "kind": kind,
        "year": stated.get("year"),
        "year_from": stated.get("year_from"),
        "ingested_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    known["source_id"] = known["source_id"] or UNKNOWN
    write_text(temporary / "manifest.json", _json(known))
    try:
        os.replace(temporary, home)
    except OSError:  # another run placed the same content first
        shutil.rmtree(temporary)
        return digest, "known"
    return digest, "taken"


def _fields(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, as the manifest writes it: text, and a year with where it is from."""
    fields: dict[str, Any] = {key: str(said[key]) for key in SIDECAR_FIELDS[:-1] if said.get(key) not in (None, "")}
    if said.get("year") is not None:
        fields |= {"year": int(said["year"]), "year_from": "sidecar"}
    return fields


def _update(path: Path, name: str, stated: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Writes into a manifest what it does not say yet; `updated`, or `known` if there is nothing new.

    A new name of the file counts if it holds the year that the old one lacks; the old name is kept in `also_named`.
    The reports' own tables stay as they are registered.
    """
    old = manifest(path)
    if old["source_id"] == PUBLISHED:
        return "known"
    silent = {key for key in found if old.get(key) is None or (key == "source_id" and old[key] == UNKNOWN)}
    new: dict[str, Any] = {**old, **{key: found[key] for key in silent}, **stated}
    dated = [year_in_name(PurePath(n).stem) is not None for n in (old["file"], name)]
    if dated == [False, True]:
        new |= {"file": name, "also_named": [*old.get("also_named", ()), old["file"]]}
    if new == old:
        return "known"
    write_text(path, _json(new))
    return "updated"


def _json(said: Mapping[str, Any]) -> str:
    return json.dumps(said, ensure_ascii=False, indent=1)


def content_path(lake: Lake, sha256: str, name: str) -> Path:
    """Where the bytes of a received file lie.

    Raises:
        LakeError: the manifest names it and the lake no longer holds it.
    """
    found = sorted((lake.blobs() / sha256).glob("content*"))
    if not found:
        raise LakeError(
            f"raw: {name or 'a file'} ({sha256[:12]}) has a manifest but its file is gone",
            f"`dei sources withdraw {sha256[:12]}`, then ingest it again",
        )
    return found[0]


def content(lake: Lake, sha256: str, name: str = "") -> bytes:
    """The bytes of a received file.

    Raises:
        LakeError: the manifest names it and the lake no longer holds it.
    """
    return content_path(lake, sha256, name).read_bytes()


def holds(lake: Lake, synthetic: bool) -> list[dict[str, Any]]:
    """Manifests of the synthetic files in the lake, or of the real ones; published tables, which all hold, left out."""
    return [m for m in manifests(lake).values() if m["source_id"] != PUBLISHED and m["synthetic"] == synthetic]


def check_mixing(lake: Lake, synthetic: bool, allow_mixed: bool) -> None:
    """Refuses to put synthetic and real files into one lake.

    Raises:
        LakeError: the lake holds the other sort and `allow_mixed` is not given.
    """
    others = holds(lake, synthetic=not synthetic)
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
    outcomes = [
        receive(lake, file, f"published/{file.name}", said, kind="page" if file.name in pages else "table")[1]
        for file in sorted((reference / "published").glob("*.csv"))
    ]
    return outcomes.count("taken")


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
    for file, name, outside in files_of(paths):
        progress(name)
        try:
            if outside:
                raise SourceError(outside)
            said = sidecar(file) | {k: v for k, v in (("source_id", source_id), ("edition", edition)) if v}
            format, pages = read(content_of(file, name), name, {**said, "file": name})
            known = [page for page in pages if page["layout"]]
            recognised = {key: known[0].get(key) for key in ("source_id", "producer")} if known else {}
            kind = DOCUMENT if any(page.get("document") for page in known) else "page"
            recognised = {} if said.get("source_id") else recognised
            sha256, outcome = receive(lake, file, name, said, kind=kind, recognised=recognised)
        except DeiError as error:
            report.append(Received(name, "left", reason=str(error)))
            continue
        kinds = tuple(dict.fromkeys(page.get("kind") or page["layout"] for page in known))
        why = "; ".join(dict.fromkeys(f"{p['sheet']}: {p['reason']}" for p in known or pages if p["reason"]))
        report.append(Received(name, outcome, sha256, format, kinds, why))
    return report


def withdraw(lake: Lake, which: str) -> tuple[dict[str, Any], Path]:
    """Moves a file out of `raw/blobs`; returns its manifest and the folder where it lies now.

    Args:
        lake: the lake.
        which: the file's exact name, or at least `SHORTEST_START` digits of its sha256.

    Raises:
        LakeError: nothing, or more than one file, is called so; or it is a published table, which every lake holds.
    """
    held = manifests(lake).values()
    found = [m for m in held if which in (m["file"], *m.get("also_named", ()))]
    if not found and re.fullmatch(rf"[0-9a-f]{{{SHORTEST_START},64}}", which):
        found = [m for m in held if m["sha256"].startswith(which)]
    if not found:
        fix = f"give the exact name or {SHORTEST_START} digits of the sha256, as `dei sources list` shows them"
        raise LakeError(f"sources: no file «{which}» in {lake.root}", fix)
    if len(found) > 1:
        names = ", ".join(f"{m['sha256'][:12]} {m['file']}" for m in found)
        raise LakeError(f"sources: «{which}» is {len(found)} files: {names}", "give the digits of one of them")
    (gone,) = found
    if gone["source_id"] == PUBLISHED:
        raise LakeError(f"sources: {gone['file']} is a published table, which every run registers", "let it be")
    target = lake.root / "raw" / "withdrawn" / gone["sha256"]
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():  # the same content, withdrawn before
        shutil.rmtree(target)
    os.replace(lake.blobs() / gone["sha256"], target)
    return gone, target
