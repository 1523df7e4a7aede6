"""Engines ahead of time: an ONNX file built by TensorRT for RTX, or by TensorRT, in a child process.

Whatever goes wrong there - a refusal, a crash, a time-out, a missing package - becomes one sentence with a remedy.
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ganlet.device.tensorrt_package import CLASSIC, NAMES, REMEDIES, RTX
from ganlet.errors import GanletError
from ganlet.export.refusals import TARGETS, explain, predict
from ganlet.files import sha256_file, write_bytes

MOST_BATCH = 65536  # that the ONNX file allows
TIMEOUT_S = 600
GRACE_S = 60  # for the start; where the system has alarms, each build has one of its own
WORDS_SHOWN = 300

_BUILDER = Path(__file__).with_name("engine_builder.py")


@dataclass(frozen=True)
class Request:
    """One engine to build: `model` (ONNX) -> `engine`.

    `targets` such as ("sm75", "sm86"), all in one engine; empty: the card of this machine. `batches` smallest, usual
    and largest batch, None for a model without a free batch. `flags` are names of the builder's own flags.
    """

    model: Path
    engine: Path
    targets: tuple[str, ...] = ()
    batches: tuple[int, int, int] | None = (1, 1, 32)
    workspace_mib: int = 1024
    flags: tuple[str, ...] = ()
    module: str = RTX


@dataclass(frozen=True)
class Built:
    """An engine on disk, and what the parsed network was: name -> {"shape", "dtype"} of inputs and outputs."""

    path: Path
    bytes: int
    sha256: str
    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]
    layers: int
    version: str
    fixed_addresses: bool
    """The builder's addresses were not random: the same request gives the same bytes again."""


@dataclass(frozen=True)
class Refused:
    """Why there is no engine, as a sentence; `what` is the row of the table that explains it, if one does."""

    sentence: str
    what: str = ""


def build_engine(request: Request, timeout_s: int = TIMEOUT_S) -> Built:
    """Build one engine; the file is written whole or not at all.

    Raises GanletError for a request that makes no sense, a missing package, a refusal, a crash and a time-out.
    """
    (answer,) = build_engines([request], timeout_s)
    if isinstance(answer, Refused):
        raise GanletError(answer.sentence)
    return answer


def build_engines(requests: Sequence[Request], timeout_s: int = TIMEOUT_S) -> list[Built | Refused]:
    """Build several engines one after another with one start of the package; answers in the order of the requests.

    `timeout_s` is for each. Raises GanletError for a request that makes no sense.
    """
    for request in requests:
        _check(request, timeout_s)
    with tempfile.TemporaryDirectory(prefix="ganlet-engines-") as folder:
        drafts = [replace(request, engine=Path(folder) / str(index)) for index, request in enumerate(requests)]
        answers, ended = _ask(drafts, timeout_s)
        answers += [ended] * (len(requests) - len(answers))
        return [
            _read(request, draft, answer, timeout_s)
            for request, draft, answer in zip(requests, drafts, answers, strict=True)
        ]


def _check(request: Request, timeout_s: int) -> None:
    if request.module not in NAMES:
        raise GanletError(f"Got the package {request.module!r}; expected {' or '.join(NAMES)}.")
    unknown = [target for target in request.targets if target not in TARGETS]
    if request.module == RTX and (unknown or not request.targets):
        raise GanletError(
            f"Got the targets {', '.join(request.targets) or 'none'}; {NAMES[RTX]} builds for one or more of "
            f"{', '.join(TARGETS)}."
        )
    if request.module == CLASSIC and request.targets:
        raise GanletError(
            f"Got the targets {', '.join(request.targets)}; {NAMES[CLASSIC]} builds for the card of the machine that "
            "it runs on, leave them out."
        )
    check_limits(request.batches, request.workspace_mib, timeout_s)
    if not request.model.is_file():
        raise GanletError(f"{request.model} does not exist; make it with `ganlet export`.")


def check_limits(batches: tuple[int, int, int] | None, workspace_mib: int, timeout_s: int = TIMEOUT_S) -> None:
    """Raise GanletError for a profile, a workspace or a time-out that cannot be."""
    if batches is not None:
        smallest, usual, largest = batches
        if not 1 <= smallest <= usual <= largest <= MOST_BATCH:
            raise GanletError(
                f"Got an engine's smallest, usual and largest batch of {smallest}, {usual} and {largest}; expected "
                f"them in this order, from 1 to {MOST_BATCH}."
            )
    if workspace_mib < 1 or timeout_s < 1:
        raise GanletError(
            f"Got a workspace of {workspace_mib} MiB and a time-out of {timeout_s} s; expected 1 or more."
        )


def _ask(drafts: list[Request], timeout_s: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The builder's answers, and what stands for those that it did not give because it ended."""
    asked = json.dumps([{**asdict(draft), "timeout_s": timeout_s} for draft in drafts], default=str)
    try:
        child = subprocess.run(
            [sys.executable, "-P", str(_BUILDER)],
            input=asked,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s * len(drafts) + GRACE_S,
        )
        written, ended = child.stdout, {"died": -child.returncode, "words": child.stderr.strip().splitlines()[-1:]}
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        written, ended = output if isinstance(output, str) else output.decode(errors="replace"), {"died": _ALARM}
    answers = []
    for line in written.splitlines():
        try:
            answers.append(json.loads(line))
        except ValueError:
            break
    return answers[: len(drafts)], ended


_ALARM = int(getattr(signal, "SIGALRM", 14))


def _read(request: Request, draft: Request, answer: dict[str, Any], timeout_s: int) -> Built | Refused:
    built = answer.get("built")
    if built is None:
        return _refusal(request, answer, timeout_s)
    write_bytes(request.engine, draft.engine.read_bytes())
    draft.engine.unlink()
    return Built(path=request.engine, sha256=sha256_file(request.engine), **built)


# ---------------------------------------------------------------- what went wrong, in words


def _refusal(request: Request, answer: dict[str, Any], timeout_s: int) -> Refused:
    name, model = NAMES[request.module], request.model
    words = [str(word) for word in answer.get("words", [])]
    told = " ".join(" ".join(words).split())[:WORDS_SHOWN] or "it said nothing"
    if "missing" in answer:
        return Refused(f"{name} is not installed here, or does not load ({told}); {REMEDIES[request.module]}.")
    if answer.get("died") == _ALARM:
        return Refused(
            f"{name} took longer than {timeout_s} s to build an engine of {model}; make it smaller, lower --max-batch, "
            "or allow more time."
        )
    if "died" in answer:
        return _died(request, int(answer["died"]), told)
    version, targets = answer.get("version", ""), ", ".join(request.targets) or "the card of this machine"
    head = f"{name} {version} builds no engine of {model} for {targets}"
    if answer.get("refused") == "axes":
        return Refused(f"{head}: {told}, expected a free axis nowhere but in front; export it with `ganlet export`.")
    if answer.get("refused") == "target":
        return Refused(f"{head}: {told}; choose other cards, or update the package.")
    row = explain(words)
    if row is None:
        node = " ".join(filter(None, (answer.get("operator"), answer.get("node"))))
        at = f" at {node}" if node else ""
        return Refused(f'{head}{at} ("{told}"); try another --precision, or draw with the ONNX file itself.')
    where = _where(request, row.what)
    return Refused(f'{head}: what it refuses is {row.what}{where} (its words: "{told}"); {row.remedy}.', row.what)


def _died(request: Request, number: int, told: str) -> Refused:
    """A crash; the table may know what it is that it crashes of."""
    name = NAMES[request.module]
    how = f"with exit code {-number}" if number <= 0 else f"of signal {number} ({_signal_name(number)})"
    head = f"The process in which {name} was to build an engine of {request.model} died {how}"
    foreseen = [
        found
        for found in predict(request.model, request.targets or TARGETS, profile=request.batches is not None)
        if not found.row.says
    ]
    if number > 0 and number != signal.SIGTERM and foreseen:
        row = foreseen[0].row
        return Refused(f"{head}: in it is {row.what} ({foreseen[0].nodes[0]}); {row.remedy}.", row.what)
    if number > 0:
        return Refused(f"{head}; free some memory (9 is mostly a lack of it), or update the package, and try again.")
    return Refused(f"{head} ({told}); {REMEDIES[request.module]} again.")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _where(request: Request, what: str) -> str:
    """The first node that the table finds to be the cause, and for which of the targets."""
    targets = request.targets or TARGETS
    for found in predict(request.model, targets, profile=request.batches is not None, flags=request.flags):
        if found.row.what == what:
            of = f", of {', '.join(found.targets)}" if len(found.targets) < len(targets) else ""
            return f" ({found.nodes[0]}{of})"
    return ""
