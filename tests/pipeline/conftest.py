"""One finished demo lake for all workers, made by the commands; each test that writes gets a copy of its own."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dei_pipeline.settings import Settings
from tests.pipeline.homes import REGIONS, YEARS, Home


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of this session see."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def once(shared_folder: Path) -> Callable[[str, Callable[[Home], None]], Home]:
    """Makes a lake once for all workers: the first that asks builds it, the others wait."""

    def made_once(name: str, build: Callable[[Home], None]) -> Home:
        home = Home(shared_folder / name)
        with (shared_folder / f".{name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            done = shared_folder / f".{name}.done"
            if not done.exists():
                shutil.rmtree(home.root, ignore_errors=True)
                build(home)
                done.touch()
        return home

    return made_once


@pytest.fixture(scope="session")
def received(once) -> Home:
    """A demo lake as `dei demo` leaves it: files received, nothing made. Read only."""

    def build(home: Home) -> None:
        first, last = YEARS[0], YEARS[-1]
        result = home.invoke("demo", "--regions", str(REGIONS), "--years", f"{first}-{last}")
        assert result.exit_code == 0, result.output

    return once("received", build)


@pytest.fixture(scope="session")
def finished(once, received: Home) -> Home:
    """A demo lake after `dei run`. Read only."""

    def build(home: Home) -> None:
        received.copy(home.root)
        result = home.invoke("run")
        assert result.exit_code == 0, result.stderr
        shutil.rmtree(home.root / ".dagster")

    return once("finished", build)


@pytest.fixture
def home(finished: Home, tmp_path: Path) -> Home:
    """A copy of the finished demo lake."""
    return finished.copy(tmp_path / "lake")


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A copy of the reviewed files, to edit."""
    return Path(shutil.copytree(Settings.reference, tmp_path / "reference"))


@pytest.fixture
def edited_home(finished: Home, tmp_path: Path, reference: Path) -> Home:
    """A copy of the finished demo lake, run with reviewed files that may be edited."""
    return finished.copy(tmp_path / "lake", reference)
