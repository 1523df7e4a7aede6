"""Every command: a success and a failure. A fault is one sentence on stderr, exit code 2, no traceback."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image

from ganlet import cli
from ganlet.artifact import describe_file, read_tensors, write_tensors
from ganlet.data import load_pictures, write_folder
from ganlet.files import claimed
from support import Answer, expect_refused


@pytest.fixture
def recipe_path(tiny_tables: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(tiny_tables))
    return path


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_help_shows_an_example_for_every_command(ganlet: Callable[..., Answer]) -> None:
    code, out, _ = ganlet("--help")
    assert code == 0 and "[search]" in out and "[[compress]]" in out  # which a terminal's markup would swallow
    commands = [command.name or command.callback.__name__ for command in cli.app.registered_commands]  # type: ignore[union-attr]
    assert {"run", "train", "transfer", "distill", "export", "import", "verify", "sample", "data", "report"} <= set(
        commands
    )
    for command in commands:
        assert command in out
        code, text, _ = ganlet(command, "--help")
        assert code == 0 and "Example: ganlet" in text and "--json" in text


def test_version(ganlet: Callable[..., Answer]) -> None:
    assert ganlet("--version")[1].startswith("ganlet 0.")


def test_importing_the_command_line_loads_no_torch() -> None:
    code = "import sys, ganlet.cli; print([m for m in ('torch', 'onnx', 'onnxruntime', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WITHOUT_TRAINING = """
import json, sys
for name in ("torch", "onnx", "onnxscript", "safetensors", "torch_pruning", "scipy", "sklearn", "jinja2", "matplotlib"):
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
from ganlet.cli import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["ganlet", *command]
    try:
        main()
    except SystemExit as stop:
        print(stop.code, file=sys.stderr)
"""


def test_without_the_training_packages_each_command_says_what_to_install(recipe_path: Path, finished_run: Path) -> None:
    recipe, run = str(recipe_path), str(finished_run)
    recipe_path.write_text(recipe_path.read_text() + "\n[search]\n")
    commands = [[verb, recipe] for verb in ("run", "train", "distill", "budget")]
    commands += [["verify", run], ["export", run, "--to", "onnx"], ["report", run], ["fid", run, run]]
    commands += [["import", "x.pt", "--like", recipe, "--out", run + "-imported"]]
    commands += [["search", recipe]] if find_spec("optuna") else []
    code = [sys.executable, "-c", WITHOUT_TRAINING, json.dumps(commands)]
    told = subprocess.run(code, capture_output=True, text=True, check=True, cwd=recipe_path.parent).stderr.splitlines()
    assert told[1::2] == ["2"] * len(commands), told
    for sentence, command in zip(told[::2], commands, strict=True):
        assert sentence.startswith("ganlet: ") and 'pip install "ganlet[train' in sentence, (command, sentence)


# ---------------------------------------------------------------- run and its stages


@pytest.mark.slow
def test_run_then_again_then_with_a_changed_recipe(
    ganlet: Callable[..., Answer], recipe_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, text, _ = ganlet("run", recipe_path, "--out", out, "--json")
    report = json.loads(text.splitlines()[-1])
    assert code == 1 and report["verdict"] == "failed" and "✓ passed" in text  # the tiny teacher is next to untrained
    assert text.startswith("verdict: failed: the teacher, the student and generator.onnx draw ")
    assert report == json.loads((out / "report.json").read_text()) and (out / "report.html").is_file()
    first = {path: path.read_bytes() for path in (out / "generator.onnx", out / "teacher" / "config.json")}

    code, text, err = ganlet("run", recipe_path, "--out", out)
    assert code == 1 and "teacher: complete, skipped" in err and "student: complete, skipped" in err
    assert all(path.read_bytes() == content for path, content in first.items())

    code, _, err = ganlet("run", recipe_path, "--out", out, "--set", "distill.alpha=0.5")
    assert code == 1 and "teacher: complete, skipped" in err and "old stage is kept" in err
    assert (out / "student.previous" / "config.json").is_file()
    assert (out / "generator.onnx").read_bytes() != first[out / "generator.onnx"]
    assert (out / "teacher" / "config.json").read_bytes() == first[out / "teacher" / "config.json"]


def test_a_student_is_made_again_where_the_critic_that_it_starts_from_is_another(
    ganlet: Callable[..., Answer], recipe_path: Path, run_copy: Path
) -> None:
    assert "student: complete, skipped" in ganlet("distill", recipe_path, "--out", run_copy)[2]
    critic, config = run_copy / "teacher" / "critic.safetensors", run_copy / "teacher" / "config.json"
    write_tensors(critic, {name: 1.5 * tensor for name, tensor in read_tensors(critic).items()})
    about = json.loads(config.read_text())
    about["files"]["critic.safetensors"] = describe_file(critic)
    config.write_text(json.dumps(about))
    code, _, err = ganlet("distill", recipe_path, "--out", run_copy)
    assert code == 0 and "student: the critic that it starts from has changed" in err


@pytest.mark.parametrize("command", ["run", "train", "distill"])
def test_two_commands_never_make_stages_in_one_folder(
    command: str, ganlet: Callable[..., Answer], recipe_path: Path, tmp_path: Path
) -> None:
    with claimed(tmp_path / "out"):
        expect_refused(ganlet(command, recipe_path, "--out", tmp_path / "out"), "Another ganlet works in", "--out")
        assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_stage_by_stage_gives_the_bytes_of_run(
    ganlet: Callable[..., Answer], recipe_path: Path, finished_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "steps"
    assert ganlet("train", recipe_path, "--run", out, "--json")[0] == 0
    assert ganlet("distill", recipe_path, "--run", out)[0] == 0
    assert ganlet("export", out / "student", "--to", "onnx")[0] == 0
    code, text, _ = ganlet("verify", out, "--json")
    assert code == 1 and json.loads(text.splitlines()[-1])["verdict"] == "failed"
    assert (out / "generator.onnx").read_bytes() == (finished_run / "generator.onnx").read_bytes()


@pytest.mark.slow
def test_transfer_from_another_run(
    ganlet: Callable[..., Answer], finished_run: Path, tiny_tables: dict[str, Any], tmp_path: Path
) -> None:
    train = tiny_tables.pop("teacher")["train"]
    del tiny_tables["distill"]
    tiny_tables["transfer"] = {"from": str(finished_run), "freeze_generator": 1, "freeze_critic": 1, "train": train}
    tiny_tables["transfer"]["from"] = str(finished_run / "teacher")
    recipe = tmp_path / "transfer.toml"
    recipe.write_text(tomli_w.dumps(tiny_tables))
    code, text, _ = ganlet("transfer", recipe, "--run", tmp_path / "out", "--json")
    assert code == 0 and json.loads(text.splitlines()[-1])["stage"] == "transfer"
    code, text, _ = ganlet("run", recipe, "--out", tmp_path / "out", "--json")
    assert code == 1 and list(json.loads(text.splitlines()[-1])["stages"]) == ["transfer"]
    expect_refused(ganlet("train", recipe), "has no [teacher] section")


def test_faults_of_a_recipe_are_listed_at_once(ganlet: Callable[..., Answer], tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[run]\nname = "a"\nsed = 1\n[data]\nsource = "kitens"\nsize = "big"\n[distil]\n')
    expect_refused(
        ganlet("run", path),
        "5 faults",
        "distil: unknown section; did you mean distill?",
        "run.sed: unknown key; did you mean seed?",
        "data.source: input should be 'kittens'",
        "data.size: input should be a valid integer, got 'big'",
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "nowhere.toml"], "nowhere.toml does not exist"),
        (["train", "nowhere.toml"], "does not exist"),
        (["verify", "nowhere"], "nowhere does not exist"),
        (["report", "nowhere"], "ganlet verify"),
        (["export", "nowhere"], "holds no trained stage"),
        (["export", "nowhere", "--to", "floppy"], "floppy is not a target"),
        (["sample", "nowhere.onnx", "--out", "x"], "nowhere.onnx"),
        (["data", "puppies", "--out", "x"], "choose kittens, monsters, robots or digits"),
        (["import", "nowhere.pt", "--like", "nowhere.toml", "--out", "x"], "does not exist"),
    ],
)
def test_what_is_not_there(
    ganlet: Callable[..., Answer], words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expect_refused(ganlet(*words), expected)
    assert list(tmp_path.iterdir()) == []


def test_bad_pictures_stop_before_training(
    ganlet: Callable[..., Answer], tiny_tables: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("good.png", "cut.png"):
        Image.new("RGB", (20, 20), "red").save(folder / name)
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:40])
    (folder / "empty.jpg").touch()
    tiny_tables["data"] = {"source": "folder", "path": str(folder), "size": 16, "channels": 1}
    recipe = tmp_path / "folder.toml"
    recipe.write_text(tomli_w.dumps(tiny_tables))
    out = tmp_path / "out"
    expect_refused(ganlet("run", recipe, "--out", out), "cut.png", "empty.jpg", "skip_bad")
    assert not (out / "teacher").exists()


def test_a_single_picture_is_refused_before_training(
    ganlet: Callable[..., Answer], tiny_tables: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    Image.new("RGB", (20, 20), "red").save(tmp_path / "one" / "only.png")
    tiny_tables["data"] = {"source": "folder", "path": str(tmp_path / "one"), "size": 16, "channels": 1}
    (tmp_path / "one.toml").write_text(tomli_w.dumps(tiny_tables))
    expect_refused(
        ganlet("run", tmp_path / "one.toml", "--out", tmp_path / "out"), "gave 1 picture, expected 2 or more"
    )
    assert not (tmp_path / "out" / "teacher").exists()


def test_foreign_json_beside_a_run_is_a_sentence(ganlet: Callable[..., Answer], run_copy: Path) -> None:
    (run_copy / "manifest.json").write_text("[]")
    expect_refused(ganlet("export", run_copy), "manifest.json is no manifest of Ganlet")
    (run_copy / "report.json").unlink()
    expect_refused(ganlet("verify", run_copy), "manifest.json is of another program")
    (run_copy / "report.json").write_text('{"schema": 1}')
    code, text, _ = ganlet("report", run_copy, "--json")
    assert code == 0 and json.loads(text.splitlines()[-1])["verdict"] is None
    page = (run_copy / "report.html").read_text()
    assert "Not verified" in page and "✓" not in page


def test_a_full_disk_is_found_before_training(
    ganlet: Callable[..., Answer], recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))  # type: ignore[attr-defined]
    expect_refused(ganlet("run", recipe_path, "--out", tmp_path / "out"), "1 MB free", "--out")


def test_an_output_that_is_a_file(ganlet: Callable[..., Answer], recipe_path: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    expect_refused(ganlet("run", recipe_path, "--out", tmp_path / "taken"), "Cannot write", "taken")


def test_a_missing_source_run_is_found_before_the_pictures(
    ganlet: Callable[..., Answer], tiny_tables: dict[str, Any], tmp_path: Path
) -> None:
    del tiny_tables["teacher"]
    tiny_tables["distill"]["from"] = str(tmp_path / "gone")
    recipe = tmp_path / "r.toml"
    recipe.write_text(tomli_w.dumps(tiny_tables))
    expect_refused(ganlet("run", recipe, "--out", tmp_path / "out"), "gone holds no trained stage")


def test_both_onnxruntimes_are_refused_before_work(
    ganlet: Callable[..., Answer], recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganlet.device import runtimes

    both = {"onnxruntime": "1.30", "onnxruntime-gpu": "1.30"}
    monkeypatch.setattr(runtimes, "installed_onnxruntimes", lambda: both)
    expect_refused(ganlet("run", recipe_path, "--out", tmp_path / "out"), "onnxruntime-gpu", "pip")
    assert ganlet("doctor")[0] == 2


def test_out_of_memory_says_what_fits(
    ganlet: Callable[..., Answer], recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from ganlet.training import plan

    def allocate(*rest: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(plan, "run_training", allocate)
    words = ["train", recipe_path, "--out", tmp_path / "out", "--set", "teacher.train.batch=64"]
    expect_refused(ganlet(*words), "batch 64 asks for about", "MiB", "--set teacher.train.batch=32")


# ---------------------------------------------------------------- verdicts, samples, exports


def test_verify_exit_codes(ganlet: Callable[..., Answer], decent_run: Path, tmp_path: Path) -> None:
    run_copy = Path(shutil.copytree(decent_run, tmp_path / "run"))
    assert ganlet("verify", run_copy)[0] == 0
    recipe = (run_copy / "recipe.toml").read_text()
    (run_copy / "recipe.toml").write_text(recipe.replace("model_mb = 1.0", "model_mb = 0.001"))
    code, text, _ = ganlet("verify", run_copy)
    assert code == 1 and "✗ failed" in text
    (run_copy / "generator.onnx").write_bytes(b"not an onnx file")
    expect_refused(ganlet("verify", run_copy), "generator.onnx")


def test_sample_is_the_same_whatever_the_artifact_is_called(
    ganlet: Callable[..., Answer], run_copy: Path, tmp_path: Path
) -> None:
    words = ["-n", 5, "--seed", 7, "--grid"]
    assert ganlet("sample", run_copy / "generator.onnx", "--out", tmp_path / "a", *words)[0] == 0
    assert ganlet("sample", run_copy, "--out", tmp_path / "b", *words)[0] == 0
    assert ganlet("sample", run_copy / "student", "--out", tmp_path / "c", *words)[0] == 0
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png", "000003.png", "000004.png", "grid.png"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        onnx, torch = (np.asarray(Image.open(tmp_path / k / name)).astype(int) for k in "ac")
        assert np.abs(onnx - torch).max() <= 1
    code, text, _ = ganlet("sample", run_copy, "--out", tmp_path / "d", "-n", 2, "--start", 3, "--seed", 7, "--json")
    assert code == 0 and json.loads(text.splitlines()[-1])["pictures"] == 2
    assert (tmp_path / "d" / "000004.png").read_bytes() == (tmp_path / "a" / "000004.png").read_bytes()


def test_a_damaged_export_is_not_sampled(ganlet: Callable[..., Answer], run_copy: Path, tmp_path: Path) -> None:
    path = run_copy / "generator.onnx"
    path.write_bytes(path.read_bytes()[:-50])
    expect_refused(ganlet("sample", path, "--out", tmp_path / "x"), "generator.onnx", "manifest.json")
    expect_refused(ganlet("sample", run_copy, "--out", tmp_path / "x", "-n", 0))
    assert not (tmp_path / "x").exists()
    assert ganlet("export", run_copy)[0] == 0  # made again, since it is not what the manifest lists
    assert ganlet("sample", path, "--out", tmp_path / "x", "-n", 1)[0] == 0


def test_sample_refuses_a_label_of_an_unconditional_generator(
    ganlet: Callable[..., Answer], run_copy: Path, tmp_path: Path
) -> None:
    expect_refused(ganlet("sample", run_copy, "--out", tmp_path / "x", "--label", 3), "label '3'", "it has no classes")


def test_budget_judges_a_card(ganlet: Callable[..., Answer], recipe_path: Path) -> None:
    code, text, _ = ganlet("budget", recipe_path, "--gpu", "GTX 1660 Ti", "--json")
    answer = json.loads(text.splitlines()[-1])
    assert code == 0 and answer["fits"] is True and [s["stage"] for s in answer["stages"]] == ["teacher", "student"]
    assert "assumed, not measured" in text.lower() and "NVIDIA GeForce GTX 1660 Ti" in text
    words = ["--set", "teacher.train.batch=4096", "--set", "teacher.widths=[512,256]"]
    assert ganlet("budget", recipe_path, "--vram-gb", 1, *words)[0] == 1
    expect_refused(ganlet("budget", recipe_path, "--gpu", "gtx-1660-tie"), "gtx-1660-ti", "--vram-gb")
    expect_refused(ganlet("budget", recipe_path, "--gpu", "gtx-1660-ti", "--vram-gb", 6), "both")
    expect_refused(ganlet("budget", recipe_path, "--fit"), "--fit needs a card")


@pytest.mark.slow
def test_budget_measures_and_fits(ganlet: Callable[..., Answer], recipe_path: Path) -> None:
    code, text, _ = ganlet("budget", recipe_path, "--vram-gb", 2, "--measure", "--fit", "--json")
    answer = json.loads(text.splitlines()[-1])
    teacher = answer["stages"][0]
    assert code == 0 and abs(teacher["measured"]["error_percent"]) < 25  # scratchpads beside a net of 30 kB
    (best,) = [option for option in teacher["options"] if option["recommended"]]
    assert best["batch"] >= 8 and best["words"] == [f"--set teacher.train.batch={best['batch']}"]
    assert "The recipe's own batch 8 fits" in text
    assert {row["runtime"] for row in answer["sampling"]} == {"torch", "onnxruntime"}
    assert all(row["process_mib"] > row["measured_mib"] > 0 for row in answer["sampling"])


def test_budget_draws_its_comparison(ganlet: Callable[..., Answer], recipe_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    words = ["--set", "distill=off", "--set", "run.device=cpu", "--pictures", folder, "--json"]
    code, text, _ = ganlet("budget", recipe_path, *words)
    answer = json.loads(text.splitlines()[-1])
    assert code == 0 and answer["stages"][0]["place"] == "cpu"
    assert [shown["stage"] for shown in answer["comparison"]] == ["plain", "frozen 2 / 2", "distilled, half the widths"]
    drawn = {path.name for path in folder.iterdir()}
    assert drawn == {"memory.svg", "memory.png", "timeline-teacher.svg", "timeline-teacher.png"}
    assert "frozen 2 / 2" in (folder / "memory.svg").read_text()
    assert "CUDA context" not in text and "Forecast of memory while sampling" in text


def test_run_refuses_what_does_not_fit_before_any_work(
    ganlet: Callable[..., Answer], recipe_path: Path, tmp_path: Path
) -> None:
    words = ["--out", tmp_path / "out", "--set", "budget.training_memory_mib=0.5", "--set", "teacher.train.batch=64"]
    expect_refused(ganlet("run", recipe_path, *words), "teacher at batch 64 needs about", "--set teacher.train.batch=")
    words[3] = "budget.training_memory_mib=0.01"
    expect_refused(ganlet("run", recipe_path, *words), "below the weights, gradients and optimiser state of teacher")
    assert not (tmp_path / "out").exists()


def test_data_and_report_and_doctor(ganlet: Callable[..., Answer], run_copy: Path, tmp_path: Path) -> None:
    code, text, _ = ganlet("data", "digits", "--out", tmp_path / "digits", "-n", 12, "--size", 16, "--json")
    assert code == 0 and json.loads(text.splitlines()[-1])["pictures"] == 12
    assert len(list((tmp_path / "digits").rglob("*.png"))) == 12
    expect_refused(ganlet("data", "digits", "--out", tmp_path / "digits", "-n", 12), "digits")
    code, text, _ = ganlet("report", run_copy, "--json")
    assert code == 0 and json.loads(text.splitlines()[-1])["verdict"] == "failed"
    assert "<html" in (run_copy / "report.html").read_text()
    code, text, _ = ganlet("doctor", "--json")
    assert code == 0 and json.loads(text.splitlines()[-1])["conflicts"] == []


@pytest.mark.slow
def test_import_then_export_distil_and_sample(
    ganlet: Callable[..., Answer], finished_run: Path, recipe_path: Path, tmp_path: Path
) -> None:
    """A foreign state dict, with the base work's key names, becomes a teacher that can be used like our own."""
    import torch

    from ganlet.artifact import CRITIC, load_stage

    teacher = load_stage(finished_run / "teacher")
    torch.save(teacher.tensors(), tmp_path / "generator.pt")
    torch.save(teacher.tensors(CRITIC), tmp_path / "critic.pt")
    out = tmp_path / "imported"
    words = ["--like", recipe_path, "--stage", "teacher", "--out", out, "--critic", tmp_path / "critic.pt"]
    assert ganlet("import", tmp_path / "generator.pt", *words)[0] == 0
    expect_refused(ganlet("import", tmp_path / "generator.pt", *words), "already holds a stage")
    assert ganlet("export", out)[0] == 0
    assert ganlet("sample", out, "--out", tmp_path / "theirs", "-n", 3)[0] == 0
    assert ganlet("sample", finished_run / "teacher", "--out", tmp_path / "ours", "-n", 3)[0] == 0
    for name in ("000000.png", "000002.png"):
        theirs, ours = (np.asarray(Image.open(tmp_path / k / name)).astype(int) for k in ("theirs", "ours"))
        assert np.abs(theirs - ours).max() <= 1
    assert ganlet("distill", recipe_path, "--run", out)[0] == 0


@pytest.mark.slow
def test_own_pictures_all_the_way(ganlet: Callable[..., Answer], tiny_tables: dict[str, Any], tmp_path: Path) -> None:
    """A folder of mixed formats and sizes through train, distill, export, verify and sample."""
    source = load_pictures("kittens", size=40, channels=3, count=60)
    folder = tmp_path / "mine"
    for path in write_folder(source, folder, 60)[::2]:
        picture = Image.open(path)
        picture.resize((57, 43)).save(path.with_suffix(".jpg"))
        path.unlink()
    tiny_tables["data"] = {"source": "folder", "path": str(folder), "size": 16, "holdout": 0.3}
    tiny_tables["verify"]["samples"] = 60
    recipe = tmp_path / "mine.toml"
    recipe.write_text(tomli_w.dumps(tiny_tables))
    out = tmp_path / "run"
    for verb in ("train", "distill"):
        assert ganlet(verb, recipe, "--run", out)[0] == 0
    assert ganlet("export", out)[0] == 0
    code, text, _ = ganlet("verify", out)
    assert code == 1 and "18 pictures are held out of 60 (data.holdout = 0.3), and a verdict needs 20" in " ".join(
        text.split()
    )
    assert ganlet("sample", out, "--out", tmp_path / "drawn", "-n", 4)[0] == 0
    assert Image.open(tmp_path / "drawn" / "000000.png").size == (16, 16)


# ---------------------------------------------------------------- interruptions


def start(recipe: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "ganlet.cli", "run", str(recipe), "--out", str(out)]
    command += ["--set", "teacher.train.images=4000", "--set", "distill.train.images=4000"]
    command += ["--set", "teacher.train.lr=4e-3", "--set", "teacher.train.lr_critic=2e-3"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: "subprocess.Popen[str]", seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_and_interrupted_runs_end_with_the_same_bytes(recipe_path: Path, tmp_path: Path) -> None:
    """SIGKILL in both stages and SIGTERM in one; what comes out is what an undisturbed run makes."""
    quiet = start(recipe_path, tmp_path / "whole")
    assert quiet.wait(timeout=300) == 0, quiet.communicate()

    out = tmp_path / "cut"
    process = start(recipe_path, out)
    wait_for(out / "teacher" / "checkpoint" / "state.safetensors", process)
    process.kill()
    process.communicate()
    assert not (out / "teacher" / "config.json").exists()

    process = start(recipe_path, out)
    wait_for(out / "student" / "metrics.jsonl", process)
    process.kill()
    process.communicate()
    assert (out / "teacher" / "config.json").exists()

    process = start(recipe_path, out)
    wait_for(out / "student" / "checkpoint" / "state.safetensors", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "run the same command again" in err and "Traceback" not in err

    process = start(recipe_path, out)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "teacher: complete, skipped" in err
    assert (out / "generator.onnx").read_bytes() == (tmp_path / "whole" / "generator.onnx").read_bytes()


@pytest.mark.slow
def test_ctrl_c_exits_130(recipe_path: Path, tmp_path: Path) -> None:
    process = start(recipe_path, tmp_path / "out")
    wait_for(tmp_path / "out" / "teacher" / "metrics.jsonl", process)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err.strip().splitlines()[-1].startswith("ganlet: Stopped")


def test_the_report_and_a_stage_say_what_the_source_gave(finished_run: Path) -> None:
    report = json.loads((finished_run / "report.json").read_text())
    data = report["data"]
    assert sum(data["taken"].values()) == report["provenance"]["pictures"] > 0
    assert (data["passed_over"], data["skipped"], data["notes"]) == ({}, 0, [])
    page = (finished_run / "report.html").read_text()
    assert "Pictures taken" in page and "Passed over" in page
