"""Reading hostile files in a process of its own, so that neither time nor memory gets out of hand.

Libraries for PDF and HTML can hang, take all memory or abort the whole process. They are called in one Python process
beside this one, which reads file after file and is replaced when it ends. The kernel ends it after `MOST_SECONDS` for
one file, and gives it no more than `MOST_MEMORY` of address space; macOS does not keep to that second limit, there only
the time is bounded. It is no sandbox: it may do what this process may.
"""

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import ParamSpec, TypeVar

from dei_pipeline.errors import DeiError, LimitError, SourceError

MOST_SECONDS = 60.0  # for one file
MOST_MEMORY = 2 * 2**30  # bytes of address space of the process that reads; it has 0.5 GiB when it starts
SMALLER = "give the part that is needed, or fetch the file again"
_OUT_OF_MEMORY = 77  # the exit status that says so

P = ParamSpec("P")
R = TypeVar("R")


class _Reader:
    """The process that reads, started when it is first asked, and this end of the pipe to it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner = 0  # the process that started it; a fork of that one starts its own
        self.pipe: Connection
        self.process: subprocess.Popen[bytes]

    def ask(self, question: bytes) -> tuple[bytes, int]:
        """The answer, or an empty one and the exit status of a process that ended over the question."""
        with self.lock:
            if self.owner != os.getpid() or self.process.poll() is not None:
                self.end()
                self._start()
            answer, ended = b"", 0
            try:
                with contextlib.suppress(EOFError, OSError):
                    self.pipe.send_bytes(question)
                    answer = self.pipe.recv_bytes()
                if not answer:
                    ended = self.process.wait()
            finally:
                if not answer:
                    self.end()
            return answer, ended

    def _start(self) -> None:
        self.pipe, other = Pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({other.fileno()})"
        nothing = subprocess.DEVNULL
        with other:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=[other.fileno()], stdin=nothing, stdout=nothing, stderr=nothing
            )
        self.owner = os.getpid()

    def end(self) -> None:
        """Ends the process, whatever it does."""
        if self.owner == os.getpid():
            self.owner = 0
            self.pipe.close()
            self.process.kill()
            self.process.wait()


_reader = _Reader()
atexit.register(_reader.end)


def contained(function: Callable[P, R], name: str, *args: P.args, **kwargs: P.kwargs) -> R:
    """What `function(*args)` returns, called in the process that reads.

    Args:
        function: a function of a module, by whose name the other process finds it.
        name: the file's name, for messages.
        args: what it is given, as `pickle` can send it.
        kwargs: likewise.

    Raises:
        LimitError: it takes more than `MOST_SECONDS` or `MOST_MEMORY`, or breaks the process that reads.
        SourceError: what it raises itself; any other error is told as a damaged file.
    """
    answer, ended = _reader.ask(pickle.dumps((MOST_SECONDS, MOST_MEMORY, function, args, kwargs)))
    if not answer:
        raise LimitError(f"{name}: {_why(ended)}", SMALLER)
    result, error = pickle.loads(answer)
    if isinstance(error, DeiError):
        raise error
    if error:
        raise SourceError(f"{name}: damaged or unusual file ({error})", "fetch it again, or save it in another format")
    return result


def _why(ended: int) -> str:
    """What ended the process, from its exit status."""
    if ended == -signal.SIGALRM:
        return f"reading takes more than {MOST_SECONDS:g} s"
    memory = f"more than {MOST_MEMORY / 2**20:,.0f} MB of memory"
    if ended == _OUT_OF_MEMORY:
        return f"reading takes {memory}"
    what = signal.Signals(-ended).name if ended < 0 else f"exit status {ended}"
    return f"it breaks the program that reads it ({what}), as files do that take {memory}"


def serve(handle: int) -> None:
    """Answers what `contained` sends through the pipe of that handle, until the other side closes it."""
    import resource

    os.putenv("POLARS_MAX_THREADS", "1")  # each thread takes address space
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    pipe = Connection(handle)
    while True:
        try:
            seconds, memory, function, args, kwargs = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        with contextlib.suppress(ValueError, OSError):  # not on every system
            resource.setrlimit(resource.RLIMIT_AS, (memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
        signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM ends the process, also within a library
        try:
            answer = pickle.dumps((function(*args, **kwargs), None))
        except MemoryError:
            os._exit(_OUT_OF_MEMORY)
        except DeiError as error:
            answer = pickle.dumps((None, error))
        except BaseException as error:  # libraries written in Rust or C raise what they like
            answer = pickle.dumps((None, f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"))
        signal.setitimer(signal.ITIMER_REAL, 0)
        pipe.send_bytes(answer)
