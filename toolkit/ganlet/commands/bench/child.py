"""The parent's side of `ganlet.device.rounds`: a process that answers in lines of JSON, or says how it ended."""

import contextlib
import json
import queue
import signal
import subprocess
import tempfile
import threading
from typing import Any

from ganlet.device.child import module_environment
from ganlet.errors import GanletError

ANSWER_SECONDS = 600.0  # the longest wait for one answer: a runtime that hangs must not stop the others
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")


class Child:
    """One child process. Every method but `close` raises GanletError with a sentence on what became of it."""

    def __init__(self, command: list[str], threads: int | None = None, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Start `command`; `threads` for the libraries of matrices that take it from the environment."""
        self._answer_seconds = answer_seconds
        self._words = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - lives as long as the child
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            env=_environment(threads),
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def ready(self) -> dict[str, Any]:
        """What the child tells of itself once it is ready."""
        found: dict[str, Any] = self._answer()["ready"]
        return found

    def round(self, calls: int, seconds: float) -> dict[str, Any]:
        """One round: {"latency_ms": [...], "peak_memory_mib": ...}."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended; how, is told by the answer that does not come
            print(json.dumps({"calls": calls, "seconds": seconds}), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._words):
            with contextlib.suppress(OSError):  # what could not be flushed to a dead process
                stream.close()  # type: ignore[union-attr]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=self._answer_seconds)
        except queue.Empty:
            raise GanletError(f"It gave no answer within {self._answer_seconds:.0f} s and was ended.") from None
        if line is None:
            raise GanletError(self._how_it_ended())
        content: dict[str, Any] = json.loads(line)
        if "error" in content:
            raise GanletError(str(content["error"]))
        return content

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        self._words.seek(0)
        last = (self._words.read().strip().splitlines() or ["no message"])[-1][:200]
        if code >= 0:
            return f"Its process ended with exit code {code} ({last})."
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        remedy = "mostly a lack of memory, try a smaller batch" if name == "SIGKILL" else "a crash of the runtime"
        return f"Its process was ended by {name} ({remedy}; {last})."


def _environment(threads: int | None) -> dict[str, str]:
    """This process's, without what the command line sets for training beside others: it would slow torch here."""
    kept = {name: value for name, value in module_environment().items() if name != "GOMP_SPINCOUNT"}
    return kept | ({} if threads is None else dict.fromkeys(_THREADS, str(threads)))
