"""Errors of the commands are one line that names the place and the fix; no traceback without --debug."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dei_pipeline.cli import main
from dei_pipeline.settings import PROJECT, Settings


def dei(*arguments: str, **environment: str) -> Result:
    result = CliRunner().invoke(main, list(arguments), env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def one_line(result: Result) -> str:
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("dei: ")
    return line


@pytest.mark.parametrize("command", [["sources"], ["run"], ["demo"], ["check"], ["sources", "withdraw", "x"]])
def test_a_lake_that_is_no_folder(command: list[str]):
    assert "lake: /dev/null is not a folder; name a folder" in one_line(dei(*command, "--lake", "/dev/null"))


def test_reviewed_files_that_are_not_there(tmp_path: Path):
    assert "reference: /nope/layouts does not exist" in one_line(dei("sources", DEI_REFERENCE="/nope"))
    assert "methodology: /nope does not exist" in one_line(dei("sources", DEI_METHODOLOGY="/nope"))
    reference = Path(shutil.copytree(Settings.reference, tmp_path / "reference"))
    (reference / "corrections.yml").unlink()
    line = one_line(dei("run", "--lake", str(tmp_path / "lake"), DEI_REFERENCE=str(reference)))
    assert f"{reference}/corrections.yml does not exist; put it there" in line


def test_a_path_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dei_pipeline.explain.explain", lambda *_: {})
    monkeypatch.setattr("dei_pipeline.render.as_html", lambda _: "")
    target = str(tmp_path / "nowhere" / "x.html")
    line = one_line(dei("explain", "dei", "上海", "2020", "--html", target, "--lake", str(tmp_path)))
    assert line == f"dei: {target}: No such file or directory; check the path and who may use it"
    arguments = ["--debug", "explain", "dei", "上海", "2020", "--html", target, "--lake", str(tmp_path)]
    with pytest.raises(FileNotFoundError):
        CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_broken_yaml_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import yaml

    monkeypatch.setattr("dei_pipeline.explain.explain", lambda *_: yaml.safe_load("a: [1\nb: 2"))
    assert "line 2" in one_line(dei("explain", "dei", "上海", "2020", "--lake", str(tmp_path)))


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["sources"], ["ingest", "没有"]])
def test_a_terminal_without_chinese_characters(tmp_path: Path, arguments: list[str]):
    (tmp_path / "lake").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "dei_pipeline.cli", *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "cp1252", "DEI_LAKE": str(tmp_path / "湖")},
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert b"?" in done.stdout + done.stderr


def test_sources_without_a_word_lists_and_hands_the_lake_on(tmp_path: Path):
    lake = str(tmp_path / "lake")
    told = f"0 files in {lake}\n"
    for arguments in (["sources", "--lake", lake], ["sources", "list", "--lake", lake]):
        assert dei(*arguments).stdout == told
    assert dei("sources", "--lake", lake, "list").stdout == told
    assert dei("sources", DEI_LAKE=lake).stdout == told


@pytest.mark.parametrize("year", ["1800", "1948", "2101", "0"])
def test_a_template_of_no_year_is_refused(tmp_path: Path, year: str):
    out = tmp_path / "x.xlsx"
    result = dei("template", "assessment", "--year", year, "--out", str(out))
    assert result.exit_code == 2
    assert "is not in the range 1949<=x<=2100" in result.stderr
    assert not out.exists()
