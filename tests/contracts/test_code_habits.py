"""Habits of the code that a reader relies on: docstrings, one place for the environment, light imports."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dei_pipeline.settings import PACKAGE, PROJECT
from tests.lakes import demo_lake

FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
HEAVY = ("dagster", "pandera", "pandas", "duckdb", "pyarrow", "sqlglot")


def names(tree: ast.AST) -> set[str]:
    """Dotted names of a module, as `os.environ`."""
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)}


def offenders(found: Callable[[Path], object]) -> dict[str, object]:
    """What is wrong in each file of the package, by path; files with nothing wrong are left out."""
    return {str(path.relative_to(PACKAGE)): wrong for path in FILES if (wrong := found(path))}


def test_only_the_settings_read_the_environment():
    reads = {"os.environ", "os.getenv", "environ", "getenv"}
    assert set(offenders(lambda path: names(TREES[path]) & reads)) == {"settings.py"}


def test_nothing_is_printed():
    prints = ("print", "pprint", "sys.stdout.write")

    def printing(path: Path) -> list[int]:
        calls = [n for n in ast.walk(TREES[path]) if isinstance(n, ast.Call)]
        return [c.lineno for c in calls if ast.unparse(c.func) in prints]

    assert offenders(printing) == {}


def test_public_functions_and_classes_say_what_they_are():
    def bare(path: Path) -> list[str]:
        if path.parent.name == "assets":
            return []  # an asset's text is its contract's
        found = []
        for node in TREES[path].body:
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
                inner = node.body if isinstance(node, ast.ClassDef) else []
                members = [node, *(m for m in inner if isinstance(m, FUNCTIONS) and not m.name.startswith("_"))]
                real = [m for m in members if not any("overload" in ast.unparse(d) for d in m.decorator_list)]
                found += [m.name for m in real if not ast.get_docstring(m)]
        return found

    assert offenders(bare) == {}


@pytest.mark.parametrize("path", sorted((PACKAGE / "methods").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_method_says_what_it_is_and_does_no_input_or_output(path):
    assert ast.get_docstring(TREES[path])
    imported = {a.name for n in ast.walk(TREES[path]) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module or "" for n in ast.walk(TREES[path]) if isinstance(n, ast.ImportFrom)}
    assert not {m.split(".")[0] for m in imported} & {"dagster", "pandera", "duckdb", "click", "rich", "os", "time"}
    assert not {m for m in imported if m.startswith(("dei_pipeline.lake", "dei_pipeline.assets"))}
    assert not names(TREES[path]) & {"datetime.now", "datetime.datetime.now", "datetime.date.today", "random.random"}


def test_asset_wrappers_do_no_arithmetic():
    operators = (ast.Mult, ast.Sub, ast.Pow, ast.FloorDiv, ast.Mod)  # a / joins paths

    def sums(path: Path) -> list[int]:
        nodes = ast.walk(TREES[path]) if path.parent.name == "assets" else ()
        return [n.lineno for n in nodes if isinstance(n, ast.BinOp) and isinstance(n.op, operators)]

    assert offenders(sums) == {}


def test_annotations_stay_real_where_dagster_reads_them():
    def postponed(path: Path) -> bool:
        future = [n for n in TREES[path].body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
        return bool(future) and "dagster" in path.read_text(encoding="utf-8")

    assert offenders(postponed) == {}


def test_files_stay_short():
    tests = [path for path in (PROJECT / "tests").rglob("*.py") if path.parent.name != "unit"]
    long = {
        path.name: lines for path in [*FILES, *tests] if (lines := len(path.read_text("utf-8").splitlines())) >= 500
    }
    assert long == {}


# -- imports -----------------------------------------------------------------------------------------------------------
def heavy_after(code: str) -> list[str]:
    """Which of the heavy packages a fresh Python has imported after some code."""
    script = f"import sys, json\n{code}\nsys.stderr.write(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr)


def command(*arguments: str) -> str:
    return f"from dei_pipeline.cli import main\nmain({list(arguments)!r}, standalone_mode=False)"


@pytest.mark.parametrize(
    "code",
    [
        "import dei_pipeline.explain, dei_pipeline.render",
        command("--help"),
        command("run", "--help"),
        command("explain", "--help"),
        command("diff", "--help"),
    ],
    ids=["explain", "dei --help", "dei run --help", "dei explain --help", "dei diff --help"],
)
def test_what_must_start_at_once_imports_nothing_heavy(code):
    assert heavy_after(code) == []


def test_explaining_a_number_imports_nothing_heavy():
    lake = str(demo_lake().lake)
    assert heavy_after(command("explain", "dei", "上海", "2020", "--lake", lake)) == []
    assert heavy_after(command("explain", "deci", "上海", "2020", "--lake", lake)) == []
    assert heavy_after(command("diff", "2019", "2020", "--region", "上海", "--lake", lake)) == []
    assert heavy_after(command("impact", "published/published_dei_scores.csv", "--lake", lake)) == []


def test_a_run_with_nothing_to_do_does_not_load_dagster():
    assert "dagster" not in heavy_after(command("run", "--lake", str(demo_lake().lake)))
