"""Six commands over odd inputs and odd machines: how each call ends, and which calls end badly.

    python benchmarks/odd_inputs.py                                   # all of it: some 550 calls, about half an hour
    python benchmarks/odd_inputs.py --commands fid,sample --machines "ordinary,32 open files"

Each call of `ganlet fid, run, verify, sample, import, export` gets a small input of its own. A call ends well in one of
three ways: exit code 0; exit code 2 with one sentence on standard error; exit code 1 with a verdict printed (`run` and
`verify` alone). Anything else is a fault: a traceback, a raw escape sequence, exit code 1 without a verdict, a signal,
more than two minutes. The table counts the ways. Each fault is printed below it with its last words, and the exit code
is 1 where there is one.

One machine needs root (another user), one needs gcc (a library that is loaded first); without these they are left out.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

TIMEOUT_SECONDS = 120
RECIPE = """[run]
name = "odd"
threads = 1
[data]
source = "folder"
path = "{pictures}"
size = 16
[teacher]
latent = 8
widths = [8, 8]
[teacher.critic]
widths = [8, 8]
[teacher.train]
images = 64
batch = 8
[verify]
samples = 64
"""
COMMANDS = ("fid", "run", "verify", "sample", "import", "export")
REFUSING_CALLS = """
#include <errno.h>
#include <sys/stat.h>
int chmod(const char *path, mode_t mode) { errno = EPERM; return -1; }
int fchmod(int file, mode_t mode) { errno = EPERM; return -1; }
int fchmodat(int folder, const char *path, mode_t mode, int flags) { errno = EPERM; return -1; }
int fsync(int file) {
    struct stat about;
    if (fstat(file, &about) || !S_ISDIR(about.st_mode)) return 0;
    errno = EINVAL;
    return -1;
}
int link(const char *from, const char *to) { errno = EPERM; return -1; }
int symlink(const char *from, const char *to) { errno = EPERM; return -1; }
"""


# ---------------------------------------------------------------- what a command is given


@dataclass(frozen=True)
class Originals:
    """Whole inputs that every call gets a copy of."""

    folder: Path

    def subject(self, command: str) -> Path:
        """What `command` is given: a picture folder, a recipe, a run, an ONNX file, weights, a stage."""
        names = {
            "fid": "pictures",
            "run": "recipe.toml",
            "verify": "run",
            "sample": "run/generator.onnx",
            "import": "run/teacher/weights.safetensors",
            "export": "run/teacher",
        }
        return self.folder / names[command]

    def main_file(self, command: str, copied: Path) -> Path:
        """The file that is damaged where the subject is a folder."""
        inside = {"fid": "00.png", "verify": "generator.onnx", "export": "weights.safetensors"}
        return copied / inside[command] if command in inside else copied


def copy_to(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
        manifest = source.parent / "manifest.json"
        if source.suffix == ".onnx" and manifest.is_file():  # an ONNX file travels with these two
            shutil.copyfile(manifest, target.parent / "manifest.json")
            shutil.copyfile(source.parent / "expected.npz", target.parent / "expected.npz")
    return target


Prepare = Callable[[Originals, str, Path], Path]
"""(originals, command, empty folder of the call) -> the path that the command is given."""


def named(name: str) -> Prepare:
    """A copy under `name`, with the suffix of the original."""

    def prepare(originals: Originals, command: str, place: Path) -> Path:
        source = originals.subject(command)
        return copy_to(source, place / (name + source.suffix))

    return prepare


def damaged(damage: Callable[[Path], None]) -> Prepare:
    """A copy whose main file `damage` has changed."""

    def prepare(originals: Originals, command: str, place: Path) -> Path:
        copied = copy_to(originals.subject(command), place / originals.subject(command).name)
        damage(originals.main_file(command, copied))
        return copied

    return prepare


def cut_short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def behind_a_link(originals: Originals, command: str, place: Path) -> Path:
    link = place / f"link{originals.subject(command).suffix}"
    link.symlink_to(copy_to(originals.subject(command), place / "real" / originals.subject(command).name))
    return link


def missing(originals: Originals, command: str, place: Path) -> Path:
    return place / f"missing{originals.subject(command).suffix}"


def beside_other_programs(originals: Originals, command: str, place: Path) -> Path:
    """Beside, and in the folder itself where the command reads no file of that name there, JSON of other programs."""
    copied = copy_to(originals.subject(command), place / originals.subject(command).name)
    folders = [place] + [copied] * (command == "fid")
    for folder in folders:
        for name in ("config.json", "manifest.json", "report.json"):
            if not (folder / name).exists():
                (folder / name).write_text('{"name": "another program", "lr": 0.0002, "files": ["a.js"]}')
    return copied


def another_kind(originals: Originals, command: str, place: Path) -> Path:
    """What another command takes."""
    other = {
        "fid": "recipe.toml",
        "run": "run/generator.onnx",
        "verify": "run/generator.onnx",
        "sample": "run/teacher/weights.safetensors",
        "import": "run/generator.onnx",
        "export": "pictures",
    }
    source = originals.folder / other[command]
    return copy_to(source, place / source.name)


INPUTS: dict[str, Prepare] = {
    "as it should be": named("whole"),
    "control characters in its name": named("red\x1b[31m\nname\x07"),
    "a name that is not UTF-8": named(os.fsdecode(b"caf\xe9-\xff")),
    "a name in other alphabets": named("кошки-猫-🐈"),
    "a long name": named("x" * 200),
    "behind a link": behind_a_link,
    "other programs' JSON beside it": beside_other_programs,
    "cut short": damaged(cut_short),
    "one bit flipped": damaged(flip_a_bit),
    "empty": damaged(make_empty),
    "a pipe in its place": damaged(make_a_pipe),
    "missing": missing,
    "of another kind": another_kind,
}


# ---------------------------------------------------------------- what it runs on


@dataclass(frozen=True)
class Machine:
    before: tuple[str, ...] = ()
    """Words before `ganlet`."""
    environment: dict[str, str | None] | None = None
    """Variables that are set, or with None removed."""


def machines(folder: Path) -> Iterator[tuple[str, Machine | str]]:
    """Each machine by name; a string in its place says why it is not there."""
    yield "ordinary", Machine()
    yield "refuses chmod and links and fsync of folders", refusing(folder)
    nobody: tuple[str, ...] = ("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups")
    nobody += ("--inh-caps", "+dac_override", "--ambient-caps", "+dac_override")
    gone: dict[str, str | None] = dict.fromkeys(("HOME", "GANLET_CACHE", "XDG_CACHE_HOME", "USER", "LOGNAME"))
    yield "no home and no passwd entry", "needs root" if os.getuid() else Machine(nobody, gone)
    nowhere: dict[str, str | None] = {"HOME": "/proc/none", "TMPDIR": "/proc/none", "GANLET_CACHE": None}
    yield "nothing to write to but --out", Machine((), nowhere)
    yield "32 open files", Machine(("sh", "-c", 'ulimit -n 32; exec "$@"', "sh"))
    yield "output on a full disk", Machine(("sh", "-c", 'exec "$@" > /dev/full', "sh"))
    yield "output closed", Machine(("sh", "-c", 'exec "$@" >&-', "sh"))


def refusing(folder: Path) -> Machine | str:
    """A file system that refuses what shares, sticks and buckets refuse, by a library that is loaded first."""
    if shutil.which("gcc") is None:
        return "needs gcc"
    source, library = folder / "refusing.c", folder / "refusing.so"
    source.write_text(REFUSING_CALLS)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return Machine((), {"LD_PRELOAD": str(library)})


# ---------------------------------------------------------------- a call


@dataclass(frozen=True)
class Call:
    command: str
    given: str
    machine: str


def words_of(command: str, subject: Path, originals: Originals, place: Path) -> list[str | Path]:
    """The command line, without `ganlet`."""
    words: dict[str, list[str | Path]] = {
        "fid": ["fid", subject, originals.folder / "others"],
        "run": ["run", subject, "--out", place / "out"],
        "verify": ["verify", subject],
        "sample": ["sample", subject, "-n", "2", "--out", place / "out"],
        "import": ["import", subject, "--like", originals.folder / "recipe.toml", "--out", place / "out"],
        "export": ["export", subject],
    }
    return words[command]


def end_of(call: Call, machine: Machine, originals: Originals, folder: Path) -> tuple[str, str]:
    """(way it ended, last words)."""
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        subject = INPUTS[call.given](originals, call.command, place)
        open_to_all(place)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GANLET_CACHE": str(place / "cache")}
        for name, value in (machine.environment or {}).items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        words = [*machine.before, sys.executable, "-m", "ganlet.cli"]
        words += [str(word) for word in words_of(call.command, subject, originals, place)]
        done = subprocess.run(
            words, capture_output=True, env=environment, cwd=place, timeout=TIMEOUT_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return "FAULT", f"more than {TIMEOUT_SECONDS} s"
    finally:
        shutil.rmtree(place, ignore_errors=True)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return way_of(call, done.returncode, out, err), f"exit {done.returncode}: {(err or out).strip()[-400:]}"


def open_to_all(place: Path) -> None:
    """Another user works in it too."""
    place.chmod(0o777)
    for path in place.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o777)


def way_of(call: Call, code: int, out: str, err: str) -> str:
    sentences = [line for line in err.splitlines() if line.startswith("ganlet: ")]
    if "Traceback (most recent call last)" in out + err or "\x1b[31m" in out + err:
        return "FAULT"
    if code == 0:
        return "done"
    if code == 2 and len(sentences) == 1:
        return "refused"
    silent = call.machine in ("output on a full disk", "output closed")  # the verdict went where nobody reads
    if code == 1 and call.command in ("run", "verify") and (silent or "verdict" in out + err or "report.json" in out):
        return "verdict"
    return "FAULT"


def make_originals(folder: Path) -> Originals:
    """A picture folder, another one, a recipe, and a small run of it."""
    for name, first in (("pictures", 0), ("others", 100)):
        (folder / name).mkdir()
        for index in range(24):
            random = np.random.default_rng(first + index)
            y, x = np.mgrid[:24, :24]
            near = np.exp(-((y - random.uniform(6, 18)) ** 2 + (x - random.uniform(6, 18)) ** 2) / 30)[..., None]
            picture = near * random.integers(0, 256, 3) + (1 - near) * random.integers(0, 256, 3)
            Image.fromarray(picture.astype(np.uint8)).save(folder / name / f"{index:02d}.png")
    (folder / "recipe.toml").write_text(RECIPE.format(pictures=(folder / "pictures").as_posix()))
    words = [sys.executable, "-m", "ganlet.cli", "run", "recipe.toml", "--out", "run"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if not (folder / "run/report.json").is_file():
        raise SystemExit(f"the run that is copied could not be made:\n{done.stderr}")
    originals = Originals(folder)
    open_to_all(folder)
    return originals


def chosen(words: str | None, known: list[str], what: str) -> list[str]:
    names = words.split(",") if words else known
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"unknown {what} {unknown}; expected of {known}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", help="comma-separated; all unless told")
    parser.add_argument("--inputs", help="comma-separated; all unless told")
    parser.add_argument("--machines", help="comma-separated; all unless told")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="odd-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "originals").mkdir()
        by_name = dict(machines(folder))
        for machine, absent in by_name.items():
            if isinstance(absent, str):
                print(f"left out: {machine} ({absent})")
        there = {key: value for key, value in by_name.items() if isinstance(value, Machine)}
        originals = make_originals(folder / "originals")
        calls = [
            Call(command, given, machine)
            for machine in chosen(options.machines, list(there), "machine")
            for given in chosen(options.inputs, list(INPUTS), "input")
            for command in chosen(options.commands, list(COMMANDS), "command")
        ]
        with ThreadPoolExecutor(options.workers) as pool:
            ends = list(pool.map(lambda call: end_of(call, there[call.machine], originals, folder), calls))
    show(calls, ends)


def show(calls: list[Call], ends: list[tuple[str, str]]) -> None:
    ways = ("done", "refused", "verdict", "FAULT")
    for title, key in (("machine", "machine"), ("input", "given"), ("command", "command")):
        counts: dict[str, Counter[str]] = {}
        for call, (way, _) in zip(calls, ends, strict=True):
            counts.setdefault(getattr(call, key), Counter())[way] += 1
        print(f"\n{title:40s}" + "".join(f"{way:>10s}" for way in ways))
        for row, count in counts.items():
            print(f"{row:40s}" + "".join(f"{count[way]:10d}" for way in ways))
    faults = [(call, words) for call, (way, words) in zip(calls, ends, strict=True) if way == "FAULT"]
    print(f"\n{len(calls)} calls, {len(faults)} faults")
    for call, words in faults:
        print(
            f"\n{call.command}, {call.given}, {call.machine}\n    {words}".encode("ascii", "backslashreplace").decode()
        )
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
