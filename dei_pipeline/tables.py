"""What a table is to the pipeline: its contract, its parents, its files, its method; and whether it is stale.

`@table(...)` on a thin function declares one; `publish.py` turns the declarations into Dagster assets. Nothing here
imports Dagster, so that a run with nothing to do costs only a look at the recorded versions.
"""

import ast
import functools
import hashlib
import importlib.util
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import polars as pl

from dei_pipeline.contracts import Contract, python_contracts
from dei_pipeline.errors import LakeError, NothingToDo
from dei_pipeline.lake import WHOLE, Lake, combined
from dei_pipeline.provenance import Table
from dei_pipeline.settings import EARLIEST, PACKAGE, Settings

FIRST_YEAR = EARLIEST
INPUT_LAYERS = ("raw", "staging", "core")
ONLY_STALE_TAG = "dei/only_stale"
RULES = "dei_pipeline.schemas.rules"
INFRASTRUCTURE = {"dei_pipeline.tables", "dei_pipeline.publish", "dei_pipeline.lake", "dei_pipeline.settings"}


class Inputs:
    """What a table's function may read: its declared parents, cut to the parts being made.

    Attributes:
        lake: the lake.
        settings: paths of the reviewed files.
        spec: the table being made.
        parts: the parts being made (years or file hashes), or None for a table in one file.
    """

    def __init__(self, lake: Lake, settings: Settings, spec: "TableSpec", parts: Sequence[str] | None) -> None:
        self.lake, self.settings, self.spec, self.parts = lake, settings, spec, parts

    @property
    def years(self) -> list[int]:
        """The years being made."""
        return [int(part) for part in self.parts or ()]

    def read(self, key: str) -> pl.DataFrame:
        """A parent table; of a table made year by year only those years, unless it is declared a panel parent.

        Raises:
            LakeError: the table is not a declared parent, or not in the lake.
            NothingToDo: the parent is split by year too, and holds none of the years being made.
        """
        if key not in self.spec.parents:
            raise LakeError(f"{self.spec.key} reads {key} without declaring it", "add it to `needs` or `uses`")
        if self.spec.split == "year" and key not in self.spec.panel:
            if self.lake.exists(key) and not self._holds(key):
                raise NothingToDo(f"{key} has no rows for {', '.join(self.parts or ())}")
            return self.lake.read(key, self.years)
        if self.spec.split and self.spec.split != "year" and WHOLE not in self.lake.part_files(key):
            return self.lake.scan(key, self.parts).collect(engine="in-memory")
        return self.lake.read(key)

    def scan(self, key: str, parts: Iterable[str] | None = None) -> pl.LazyFrame:
        """All of a declared parent, or some of its parts, lazily: for the few rows that a filter leaves."""
        if key not in self.spec.parents:
            raise LakeError(f"{self.spec.key} reads {key} without declaring it", "add it to `needs` or `uses`")
        return self.lake.scan(key, parts)

    def existing(self, keys: Iterable[str]) -> dict[str, pl.DataFrame]:
        """Those of the parents that the lake holds."""
        return {key: self.read(key) for key in keys if self._holds(key)}

    def _holds(self, key: str) -> bool:
        by_year = self.spec.split == "year" and key not in self.spec.panel
        return bool(self.lake.part_files(key, parts=self.parts if by_year else None))


@dataclass(frozen=True)
class TableSpec:
    """Declaration of one table.

    Attributes:
        contract: columns, grain, checks.
        function: `f(inputs) -> Table`; calls one method.
        needs: parents without which the table is skipped.
        uses: parents that are read where they exist; at least one must, if there are no `needs`.
        split: column that splits the table into parts: `year`, `sha256`, or None.
        panel: parents read over all parts.
        files: reviewed files the method reads, relative to `reference` or `methodology` (`methodology/…`).
        outside: for `raw`: fingerprint, by part, of what lies outside the tables.
        kinds: technologies shown in the graph.
    """

    contract: Contract
    function: Callable[[Inputs], Table]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    split: str | None = None
    panel: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    outside: Callable[[Lake, Settings], dict[str, str]] | None = None
    kinds: frozenset[str] = frozenset({"polars", "parquet"})
    code: str = ""
    text: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """`layer/table`."""
        return self.contract.key

    @property
    def layer(self) -> str:
        """First part of the key."""
        return self.key.partition("/")[0]

    @property
    def parents(self) -> tuple[str, ...]:
        """Every declared parent."""
        return self.needs + self.uses


def table(
    key: str,
    *,
    needs: Sequence[str] = (),
    uses: Sequence[str] = (),
    split: str | None = None,
    panel: Sequence[str] = (),
    files: Sequence[str] = (),
    outside: Callable[[Lake, Settings], dict[str, str]] | None = None,
    contract: Contract | None = None,
) -> Callable[[Callable[[Inputs], Table]], TableSpec]:
    """Declares a table; see `TableSpec`. The contract is the one of that key in `schemas/`, unless given."""

    def declare(function: Callable[[Inputs], Table]) -> TableSpec:
        return TableSpec(
            contract=contract or python_contracts()[key],
            function=function,
            needs=tuple(needs),
            uses=tuple(uses),
            split=split,
            panel=tuple(panel),
            files=tuple(files),
            outside=outside,
            code=code_version(function, contract or python_contracts()[key]),
        )

    return declare


# -- versions ----------------------------------------------------------------------------------------------------------
@functools.cache
def _module_source(name: str) -> tuple[str, str]:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return "", ""
    return Path(spec.origin).read_text(encoding="utf-8"), spec.origin


@functools.cache
def import_closure(name: str) -> frozenset[str]:
    """Modules of this package that module `name` imports, directly or not, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in found or module in INFRASTRUCTURE or not module.startswith("dei_pipeline"):
            continue
        found.add(module)
        waiting.extend(_imports(module))
    return frozenset(found)


@functools.cache
def _imports(name: str) -> tuple[str, ...]:
    """What a module imports itself."""
    named: list[str] = []
    for node in ast.walk(ast.parse(_module_source(name)[0])):
        if isinstance(node, ast.Import):
            named.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dei_pipeline"):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            named.extend(m for m in inner if importlib.util.find_spec(node.module) and _is_module(m))
            named.append(node.module)
    return tuple(named)


@functools.cache
def _is_module(name: str) -> bool:
    relative = name.removeprefix("dei_pipeline.").replace(".", "/")
    return (PACKAGE / f"{relative}.py").is_file() or (PACKAGE / relative / "__init__.py").is_file()


def code_version(function: Callable[..., Any], contract: Contract) -> str:
    """Hash of a wrapper, of the methods it calls with their import closure, of what it closes over, of its contract."""
    digest = hashlib.sha256(repr(contract).encode())
    digest.update(_module_source(RULES)[0].encode())
    sources, modules = _reached(function, set())
    for text in (*sources, *(_module_source(module)[0] for module in sorted(modules))):
        digest.update(text.encode())
    return digest.hexdigest()[:16]


def _reached(function: Callable[..., Any], seen: set[str]) -> tuple[list[str], set[str]]:
    """Source of a function and of those of its own module that it uses, and the package's modules behind them."""
    seen.add(function.__qualname__)
    sources, modules = [inspect.getsource(function)], set[str]()
    kept = [cell.cell_contents for cell in function.__closure__ or ()]
    sources += [_text(value) for value in kept if not callable(value)]
    for value in [function.__globals__.get(name) for name in sorted(_names(function.__code__))] + kept:
        module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        if not isinstance(module, str) or not module.startswith("dei_pipeline"):
            continue
        if module != function.__module__:
            modules |= import_closure(module)
        elif isinstance(value, types.FunctionType) and value.__qualname__ not in seen:
            more, behind = _reached(value, seen)
            sources, modules = sources + more, modules | behind
    return sources, modules


def _text(value: Any) -> str:
    """A value in words that are the same in every process (sets sorted)."""
    if is_dataclass(value) and not isinstance(value, type):
        return "".join(f"{f.name}={_text(getattr(value, f.name))};" for f in fields(value) if f.compare)
    if isinstance(value, set | frozenset):
        return "".join(sorted(_text(item) for item in value))
    if isinstance(value, list | tuple):
        return "".join(_text(item) + "," for item in value)
    return repr(value)


def _names(code: types.CodeType) -> set[str]:
    inner = [_names(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*inner)


def file_versions(spec: TableSpec, settings: Settings) -> dict[str, str]:
    """Content hash of each reviewed file a table reads; a folder counts as all its files."""
    versions = {}
    for name in spec.files:
        inside = name.removeprefix("methodology/")
        path = (settings.methodology if inside != name else settings.reference) / inside
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        versions[name] = combined(
            {str(file.relative_to(path)): _file_version(file, file.stat().st_mtime_ns) for file in files}
        )
    return versions


@functools.lru_cache(maxsize=1024)
def _file_version(file: Path, modified: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


# -- staleness ---------------------------------------------------------------------------------------------------------
def parent_version(lake: Lake, split: str | None, panel: Sequence[str], parent: str, part: str) -> str | None:
    """Version of what a part reads of a parent: the same year or file where it is split alike, else all of it."""
    parts = {part: record for part, record in lake.state(parent)["parts"].items() if record.get("version")}
    if not parts:
        return None
    if split and parent not in panel:
        if part in parts:
            return parts[part].get("version")
        if WHOLE not in parts:
            return None
        slices = parts[WHOLE].get("years" if split == "year" else "files")
        if slices:  # a parent without that column is read whole
            return slices.get(part)
    return combined({name: record.get("version", "") for name, record in parts.items()})


def basis(lake: Lake, spec: TableSpec, settings: Settings, part: str) -> dict[str, Any]:
    """What a part would be made from now: code, files, and versions of what it reads."""
    inputs = {parent: parent_version(lake, spec.split, spec.panel, parent, part) for parent in spec.parents}
    outside = spec.outside(lake, settings) if spec.outside else {}
    return {
        "code": spec.code,
        "files": file_versions(spec, settings),
        "inputs": {name: version for name, version in inputs.items() if version},
        "outside": outside.get(part, ""),
    }


def why_stale(lake: Lake, spec: TableSpec, settings: Settings, part: str) -> str | None:
    """Why a part has to be made again, in words; None if it is up to date."""
    record = lake.state(spec.key)["parts"].get(part)
    if record is None:
        return "not made yet"
    if record.get("writing"):
        return "a run was killed while writing it"
    now, then = basis(lake, spec, settings, part), record["basis"]
    if now["code"] != then["code"]:
        return "its code changed"
    for name, version in now["files"].items():
        if then["files"].get(name) != version:
            return f"{name} changed"
    if set(now["inputs"]) != set(then["inputs"]):
        changed = sorted(set(now["inputs"]) ^ set(then["inputs"]))
        return f"{changed[0]} {'appeared' if changed[0] in now['inputs'] else 'went'}"
    for name, version in now["inputs"].items():
        if then["inputs"][name] != version:
            return f"{name} changed"
    return "the files received changed" if now["outside"] != then["outside"] else None


def disagreement(lake: Lake, keys: Iterable[str], year: int) -> str | None:
    """Why some tables do not belong together for a year: one is being written, or was made from other versions."""
    for key in keys:
        parts = lake.state(key)["parts"]
        for part, record in parts.items():
            if part not in (WHOLE, str(year)):
                continue
            if record.get("writing"):
                return f"{key} is being written, or a run was interrupted"
            for parent, version in record["basis"]["inputs"].items():
                if version != parent_version(lake, record.get("split"), record.get("panel", ()), parent, part):
                    return f"{key} was made from another version of {parent}"
    return None


def due_parts(lake: Lake, spec: TableSpec, settings: Settings, years: Sequence[int]) -> list[str]:
    """Parts that the table should have: the years asked for, the files received, or the one part of a whole table."""
    if spec.split == "year":
        return [str(year) for year in years]
    if spec.split:
        return sorted(lake.read("raw/manifests")[spec.split].to_list()) if lake.exists("raw/manifests") else []
    return [WHOLE]


def missing_source(lake: Lake, spec: TableSpec) -> str | None:
    """Why a table cannot be made in this lake for want of a source; None if it can."""
    for parent in spec.needs:
        if not lake.exists(parent):
            return lake.skipped(parent) or f"{parent} is not in the lake"
    if not spec.needs and spec.uses and not any(lake.exists(parent) for parent in spec.uses):
        return f"none of {', '.join(spec.uses)} is in the lake"
    return None
