"""The process that reads: what it gives back, and what ends it."""

import os
import signal
import time

import pytest

from dei_pipeline.errors import LimitError, SourceError
from dei_pipeline.sources import contained as module
from dei_pipeline.sources.contained import contained
from dei_pipeline.sources.decode import decode


def test_one_other_process_reads_file_after_file():
    first = contained(os.getpid, "a.pdf")
    assert first == contained(os.getpid, "b.pdf") != os.getpid()


def test_an_error_is_told_with_the_name_of_the_file_and_the_process_goes_on():
    before = contained(os.getpid, "a.pdf")
    with pytest.raises(SourceError, match=r"a\.pdf: damaged or unusual file \(ValueError: invalid literal"):
        contained(int, "a.pdf", "x")
    with pytest.raises(SourceError, match=r"a\.xyz: the file is empty; fetch it again") as caught:
        contained(decode, "a.xyz", b"", "a.xyz")
    assert caught.value.fix == "fetch it again"
    assert contained(os.getpid, "a.pdf") == before


@pytest.mark.parametrize(
    ("function", "argument", "message"),
    [
        (time.sleep, 60, r"a\.pdf: reading takes more than 0\.3 s; give the part"),
        (bytearray, 3 * 2**30, r"a\.pdf: reading takes more than 2,048 MB of memory"),
        (signal.raise_signal, signal.SIGABRT, r"a\.pdf: it breaks the program that reads it \(SIGABRT\)"),
        (os._exit, 3, r"a\.pdf: it breaks the program that reads it \(exit status 3\)"),
    ],
)
def test_time_memory_and_crashes_end_the_process_and_the_next_file_has_another(
    function, argument, message, monkeypatch
):
    before = contained(os.getpid, "a.pdf")
    monkeypatch.setattr(module, "MOST_SECONDS", 0.3)
    with pytest.raises(LimitError, match=message):
        contained(function, "a.pdf", argument)
    monkeypatch.undo()
    assert contained(os.getpid, "b.pdf") != before


def test_a_process_that_was_ended_between_two_files_is_replaced():
    before = contained(os.getpid, "a.pdf")
    os.kill(before, signal.SIGKILL)
    module._reader.process.wait()
    assert contained(os.getpid, "b.pdf") != before
