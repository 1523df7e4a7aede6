"""A command that is refused changes nothing: the files of a finished run are the same to the byte before and after."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from ganlet.files import sha256_file
from support import Answer, expect_refused

Command = Callable[[Path, Path], list[object]]
"""(finished run, folder with other things) -> a command line that has to be refused."""


def tree_of(folder: Path) -> dict[str, str]:
    """Path -> hash of every file, "folder" of every folder."""
    paths = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): sha256_file(p) if p.is_file() else "folder" for p in paths}


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def elsewhere(tiny_tables: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with recipes that are refused for different reasons, and files of other kinds."""
    folder = tmp_path / "elsewhere"
    (folder / "pictures").mkdir(parents=True)
    (folder / "text.txt").write_text("no picture")
    changes: dict[str, dict[str, dict[str, Any]]] = {
        "missing_data": {"data": {"source": "folder", "path": str(folder / "gone"), "size": 16, "channels": 1}},
        "empty_data": {"data": {"source": "folder", "path": str(folder / "pictures"), "size": 16, "channels": 1}},
        "budget": {"budget": {"training_memory_mib": 0.01}},
        "engine": {"export": {"targets": ["tensorrt"]}},
        "fine": {},
    }
    for name, tables in changes.items():
        (folder / f"{name}.toml").write_text(tomli_w.dumps(tiny_tables | tables))
    return folder


REFUSED: dict[str, Command] = {
    "run, data missing": lambda run, other: ["run", other / "missing_data.toml", "--out", run],
    "run, data empty": lambda run, other: ["run", other / "empty_data.toml", "--out", run],
    "run, beyond its budget": lambda run, other: ["run", other / "budget.toml", "--out", run],
    "run, an engine without a card": lambda run, other: ["run", other / "engine.toml", "--out", run],
    "train, data missing": lambda run, other: ["train", other / "missing_data.toml", "--run", run],
    "distill, beyond its budget": lambda run, other: ["distill", other / "budget.toml", "--run", run],
    "search, no section": lambda run, other: ["search", other / "fine.toml", "--out", run],
    "search, data missing": lambda run, other: [
        *("search", other / "missing_data.toml", "--out", run, "--set", "search.trials=2")
    ],
    "search, a storage that cannot be opened": lambda run, other: [
        *("search", other / "fine.toml", "--out", run, "--set", "search.trials=2"),
        *("--storage", "nonsense://x"),
    ],
    "import, the stage is there": lambda run, other: [
        *("import", run / "teacher" / "weights.safetensors", "--like", other / "fine.toml", "--out", run)
    ],
    "import, no state dict": lambda run, other: [
        *("import", other / "text.txt", "--like", other / "fine.toml", "--out", run, "--stage", "student")
    ],
    "export, no such target": lambda run, other: ["export", run, "--to", "floppy"],
    "export, no such profile": lambda run, other: ["export", run, "--precision", "int8", "--profile", "fastest"],
    "export, no npm package": lambda run, other: ["export", run, "--to", "web", "--wasm", other, "--precision", "fp16"],
    "export, no such card": lambda run, other: ["export", run, "--to", "trt-rtx", "--gpu", "voodoo-2"],
    "sample, no such class": lambda run, other: ["sample", run, "-n", 2, "--label", 3, "--out", run / "drawn"],
    "sample, a format that is none": lambda run, other: [
        "sample",
        run,
        "-n",
        2,
        "--format",
        "x",
        "--out",
        run / "drawn",
    ],
    "verify, a run without data": lambda run, other: ["verify", other],
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_command_changes_nothing(
    name: str, ganlet: Callable[..., Answer], run_copy: Path, elsewhere: Path
) -> None:
    before = tree_of(run_copy), tree_of(elsewhere)
    expect_refused(ganlet(*REFUSED[name](run_copy, elsewhere)))
    assert (tree_of(run_copy), tree_of(elsewhere)) == before


def test_a_refused_run_in_a_new_folder_leaves_no_folder(
    ganlet: Callable[..., Answer], elsewhere: Path, tmp_path: Path
) -> None:
    expect_refused(ganlet("run", elsewhere / "missing_data.toml", "--out", tmp_path / "new"), "gone")
    assert not (tmp_path / "new").exists()


def test_verify_judges_by_the_recipe_of_the_run_after_a_refused_one(
    ganlet: Callable[..., Answer], run_copy: Path, elsewhere: Path
) -> None:
    def limits(report: dict[str, Any]) -> list[tuple[str, float | None]]:
        return [(row["name"], row["limit"]) for row in report["budget"]]

    before = json.loads((run_copy / "report.json").read_text())
    expect_refused(ganlet("run", elsewhere / "budget.toml", "--out", run_copy))
    (run_copy / "report.json").unlink()
    code, out, _ = ganlet("verify", run_copy, "--json")
    report = json.loads(out.splitlines()[-1])
    assert code == 1 and limits(report) == limits(before) and limits(report)


# ---------------------------------------------------------------- --json


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "nowhere.toml", "--json"], "Recipe nowhere.toml does not exist"),
        (["verify", "nowhere", "--json"], "nowhere does not exist"),
        (["sample", "--json", "nowhere.onnx", "--out", "x"], "nowhere.onnx"),
        (["fid", "nowhere", "nowhere", "--json"], "nowhere"),
        (["budget", "nowhere.toml", "--json"], "nowhere.toml"),
        (["bench", "nowhere.onnx", "--json"], "nowhere.onnx"),
        (["report", "nowhere", "--json"], "nowhere"),
        (["data", "puppies", "--out", "x", "--json"], "puppies"),
        (["export", "--json", "--colour", "red"], "No such option"),
        (["export", "--json"], "Missing argument"),
        (["paint", "--json"], "No such command"),
        (["sample", "x", "-n", "many", "--json"], "Invalid value"),
    ],
)
def test_with_json_a_fault_is_an_object_too(
    ganlet: Callable[..., Answer], words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = ganlet(*words)
    assert code == 2 and "Traceback" not in err
    found = json.loads(out.splitlines()[-1])
    assert found.keys() == {"error"} and expected in found["error"], found
    assert list(tmp_path.iterdir()) == []


def test_with_json_a_stop_is_an_object_too(
    ganlet: Callable[..., Answer], run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganlet.commands import run
    from ganlet.errors import Interrupted

    def stop(*words: Any) -> None:
        raise Interrupted("Stopped at step 3; run the same command again.")

    def ctrl_c(*words: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "verify", stop)
    code, out, _ = ganlet("verify", run_copy, "--json")
    assert code == 130 and json.loads(out) == {"error": "Stopped at step 3; run the same command again."}
    monkeypatch.setattr(run, "verify", ctrl_c)
    code, out, _ = ganlet("verify", run_copy, "--json")
    assert code == 130 and "Stopped" in json.loads(out.splitlines()[-1])["error"]


def test_without_json_nothing_is_printed_for_a_fault(ganlet: Callable[..., Answer]) -> None:
    expect_refused(ganlet("run", "nowhere.toml"))
