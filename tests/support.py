"""What tests share besides fixtures."""

import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

Answer = tuple[int, str, str]
"""Of a command line: exit code, stdout, stderr."""


class Silent:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.watched: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def watch(self, label: str, unit: str) -> Any:
        self.watched.append(label)
        return nullcontext(lambda done, total: None)


def zip_of(folder: Path, path: Path, prefix: str = "") -> Path:
    """An archive of the PNG files of a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def expect_refused(answer: Answer, *words: str) -> None:
    """One sentence on stderr that holds `words`, exit code 2, nothing on stdout."""
    code, out, err = answer
    assert code == 2, answer
    faults = [line for line in err.splitlines() if line.startswith("ganlet: ")]
    assert len(faults) == 1 and "Traceback" not in err and not out, answer
    for word in words:
        assert word in err, answer
