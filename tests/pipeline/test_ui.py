"""The Dagster UI over a finished demo lake, in a headless browser: graph, checks, metadata, and nothing from outside.

Screenshots are left in pytest's temporary folder; set DEI_SCREENSHOTS to keep a copy elsewhere.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dei_pipeline.settings import PROJECT
from tests.lakes import receive_demo

pytestmark = pytest.mark.browser
CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SECONDS_TO_START = 120
PAGE_MILLISECONDS = 60_000
LAYERS = ("raw", "staging", "core", "mart", "index", "release")


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's path; without one the tests are skipped, in CI they fail."""
    if CHROMIUM is None:
        message = "NO BROWSER: the UI was not looked at; apt-get install chromium fonts-noto-cjk"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return CHROMIUM


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEI_", "DAGSTER"))}
    return kept | {"PYTHONPATH": str(PROJECT)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`dei ui` in a process group of its own."""

    def __init__(self, lake: Path, log: Path) -> None:
        self.port, self.log = free_port(), log
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "dei_pipeline.cli", "ui", "--port", str(self.port), "--lake", str(lake)]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
            )

    def wait(self) -> None:
        """Returns when the server answers and has loaded the definitions."""
        limit = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/server_info", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        pytest.fail(f"dei ui did not come up: {self.log.read_text('utf-8')[-2000:]}")

    def stop(self) -> int:
        """Stops it as Ctrl-C does, all its children too; returns how it ended."""
        group = os.getpgid(self.process.pid)
        self.process.send_signal(signal.SIGINT)
        try:
            ended = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            ended = -1
        limit = time.monotonic() + 10
        while alive(group) and time.monotonic() < limit:
            time.sleep(0.2)
        if alive(group):
            os.killpg(group, signal.SIGKILL)
            ended = -1
        return ended


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def lake(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo lake that `dei run` has finished, so that its runs show in the UI."""
    root = tmp_path_factory.mktemp("ui") / "lake"
    receive_demo(root, 12, [2019, 2020])
    command = [sys.executable, "-m", "dei_pipeline.cli", "run", "--lake", str(root)]
    done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def server(lake: Path) -> Iterator[Server]:
    running = Server(lake, lake.parent / "ui.log")
    try:
        running.wait()
        yield running
    finally:
        ended = running.stop()
    assert ended in (0, -signal.SIGINT, 128 + signal.SIGINT), f"Ctrl-C did not stop dei ui: {ended}"


@pytest.fixture(scope="module")
def outside() -> list[str]:
    """Requests that left this machine."""
    return []


class Looker:
    """A page of the UI: goes somewhere, waits for words, keeps a picture."""

    def __init__(self, page, server: Server, shots: Path) -> None:
        self.page, self.server, self.shots = page, server, shots

    def open(self, path: str, *words: str) -> str:
        """Text of a page once it shows all of `words`."""
        self.page.goto(f"{self.server.url}{path}")
        for word in words:
            self.page.get_by_text(word, exact=True).first.wait_for(state="attached")
        return self.page.inner_text("body")

    def keep(self, name: str) -> None:
        """A screenshot, once nothing moves any more."""
        self.page.wait_for_timeout(1500)
        path = self.shots / f"{name}.png"
        self.page.screenshot(path=path)
        kept = os.environ.get("DEI_SCREENSHOTS")
        if kept:
            Path(kept).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, kept)


@pytest.fixture(scope="module")
def browser(chromium: str, server: Server, outside: list[str], tmp_path_factory) -> Iterator[Looker]:
    from playwright.sync_api import sync_playwright

    home = f"127.0.0.1:{server.port}"

    def watch(request) -> None:
        if not re.match(rf"(https?|wss?)://{home}/|data:|blob:", request.url):
            outside.append(request.url)

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = started.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(PAGE_MILLISECONDS)
        page.on("request", watch)
        page.on("websocket", watch)
        yield Looker(page, server, tmp_path_factory.mktemp("shots"))
        started.close()


def test_the_graph_shows_the_layers_and_opens_to_their_tables(browser):
    text = browser.open("/asset-groups/", *LAYERS)
    assert "Join the Dagster" not in text
    browser.keep("graph")
    browser.open("/locations/dei_pipeline/asset-groups/index", "thresholds")
    browser.keep("graph_index_drawn")
    browser.open("/locations/dei_pipeline/asset-groups/index/list", "index / deci_scores", "index / deci_types")
    browser.keep("graph_index")


def test_the_catalog_lists_every_kind_of_table(browser):
    text = browser.open("/assets", "core / observations")
    assert "One value of one variable for one region and year" in text
    browser.keep("catalog")


def test_the_checks_of_the_scores_passed_contract_and_sentences(browser):
    names = ("contract", "contributions_add_up_to_the_composite", "parents_lie_between_their_children")
    text = browser.open("/assets/index/dei_scores?view=checks", *names, "Passed")
    assert "Checks (7)" in text
    assert text.count("Succeeded") == 7
    assert "This is a blocking asset check." in text
    browser.keep("checks")
    browser.page.goto(f"{browser.server.url}/assets/index/dei_scores?view=checks&checkDetail={names[1]}")
    browser.page.get_by_text("Tolerance: 1e-9 points", exact=False).first.wait_for()
    browser.page.get_by_text("broken", exact=True).first.wait_for()
    browser.keep("checks_sentence")


def test_the_metadata_of_the_ranking_show_rows_columns_units_and_chinese(browser):
    text = browser.open("/assets/release/dei_ranking?view=overview", "Row count", "PK: year, region_code")
    assert re.search(r"Row count\s+12\b", text)
    assert "release.dei_ranking" in text
    assert "unit: points_0_100" in text
    for words in (
        "Composite with the decimals of the index, rounded half up.",
        "数据及信息化基础设施",
        "城市服务",
        "产业融合",
    ):
        assert words in text
    browser.keep("metadata")
    assert "上海" in text  # the sample


def test_the_schedule_and_the_sensor_are_there_and_off(browser):
    browser.open("/automation", "yearly_refresh", "new_files_in_raw")
    switches = browser.page.locator("input[type=checkbox][role=switch], [role=switch], label input[type=checkbox]")
    assert not any(box.is_checked() for box in switches.all())
    browser.keep("automation")


def test_the_runs_of_the_command_are_in_the_list(browser):
    text = browser.open("/runs", "Success")
    assert text.count("Success") == 2
    assert "Failed" not in text.replace("Failed\n", "", 1)
    browser.keep("runs")


def test_nothing_was_asked_of_another_machine(browser, outside):
    """Runs last: looks back at every request of the tests above."""
    assert outside == []


def test_a_port_in_use_is_one_line_with_the_fix(lake):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "dei_pipeline.cli", "ui", "--port", str(port), "--lake", str(lake)]
        done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"dei: port {port} is in use; stop what uses it, or dei ui --port {port + 1}\n"
