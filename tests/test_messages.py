"""What a message claims is so: what it says that it got, why something failed, and that its remedy fits."""

import errno
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from ganlet.artifact import what_lies_at
from ganlet.commands.bench.table import notes
from ganlet.data.cache import default_cache
from ganlet.device.onnx_runner import OnnxRunner
from ganlet.errors import Diverged, GanletError, words_of
from ganlet.files import FULL
from ganlet.training.telemetry import require_finite
from support import Answer, expect_refused


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def things(run: Path, tmp_path: Path) -> dict[str, Path]:
    """One of each kind of thing that may be given in place of another."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (8, 8)).save(pictures / "a.png")
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(pictures / "a.png", "a.png")
    (tmp_path / "notes.txt").write_text("a note")
    return {
        "nothing": tmp_path / "gone",
        "recipe": run / "recipe.toml",
        "export": run / "generator.onnx",
        "stage": run / "student",
        "weights": run / "student" / "weights.safetensors",
        "pictures": pictures,
        "picture": pictures / "a.png",
        "zip": tmp_path / "set.zip",
        "empty": tmp_path / "empty",
        "text": tmp_path / "notes.txt",
        "run": run,
    }


KINDS = {
    "nothing": "does not exist",
    "recipe": "is a recipe",
    "export": "is an exported file",
    "stage": "is the folder of one stage",
    "weights": "is a file of weights",
    "pictures": "is a folder of pictures",
    "picture": "is a picture",
    "zip": "is a zip archive",
    "empty": "is an empty folder",
    "text": "is a file",
    "run": "is the folder of a run",
}


def test_what_lies_there_is_named(things: dict[str, Path]) -> None:
    assert {name: what_lies_at(path) for name, path in things.items()} == KINDS


@pytest.mark.parametrize("command", ["verify", "export"])
@pytest.mark.parametrize("given", ["nothing", "recipe", "weights", "pictures", "picture", "zip", "empty", "text"])
def test_a_run_is_expected_and_what_was_given_is_said(
    ganlet: Callable[..., Answer], things: dict[str, Path], command: str, given: str
) -> None:
    answer = ganlet(command, things[given])
    expect_refused(answer, f"{things[given]}", KINDS[given])
    assert ("does not exist" in answer[2]) == (given == "nothing")
    if given == "recipe":
        assert f"`ganlet run {things[given]}`" in answer[2]


def test_each_command_names_the_one_that_takes_what_it_got(
    ganlet: Callable[..., Answer], things: dict[str, Path]
) -> None:
    export, stage, run = things["export"], things["stage"], things["run"]
    expect_refused(ganlet("verify", export), "is an exported file", f"`ganlet verify --artifact {export}`")
    expect_refused(ganlet("verify", stage), "is the folder of one stage", f"give the run, {run}")
    expect_refused(ganlet("export", export), "is an exported file", "that it was exported from")
    expect_refused(ganlet("run", run), "it is a folder", f"its own is {run / 'recipe.toml'}")
    expect_refused(ganlet("run", things["pictures"]), "it is a folder, expected a file")
    expect_refused(ganlet("report", export), "is a file, expected the folder of a verified run")
    expect_refused(ganlet("report", things["recipe"]), f"`ganlet run {things['recipe']}`")
    (run / "recipe.toml").unlink()
    expect_refused(ganlet("verify", run), "is the folder of a run", "its recipe.toml is missing")


@pytest.mark.parametrize("given", ["export", "recipe", "stage", "nothing"])
def test_what_is_no_state_dict_gets_no_advice_on_pickles(
    ganlet: Callable[..., Answer], things: dict[str, Path], given: str, tmp_path: Path
) -> None:
    words = ["import", things[given], "--like", things["recipe"], "--out", tmp_path / "imported"]
    answer = ganlet(*words)
    expect_refused(answer, str(things[given]))
    assert not {"pickle", "weights_only"} & set(answer[2].lower().replace("=", " ").split())
    assert ("does not exist" in answer[2]) == (given == "nothing")


def test_a_file_of_objects_is_refused_without_advice_on_pickles(ganlet: Callable[..., Answer], tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", mu=np.array([{}], dtype=object), sigma=np.zeros((2, 2)))
    answer = ganlet("fid", tmp_path / "objects.npz", tmp_path / "objects.npz")
    expect_refused(answer, "it holds Python objects, which are not loaded")
    assert "pickle" not in answer[2]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EISDIR, "Is a directory", "x"), "Is a directory"),
        (ValueError("\x1b[31mbad magic\x1b[0m\nsecond line"), "bad magic"),
        (ValueError("Cannot read it. Please see https://example.org for help."), "Cannot read it"),
        (
            RuntimeError("Weights only load failed. Set weights_only=False if you trust the file."),
            "Weights only load failed",
        ),
        (
            ValueError("Object arrays cannot be loaded when allow_pickle=False"),
            "it holds Python objects, which are not loaded",
        ),
        (KeyError(), "KeyError"),
        (ValueError("a" * 500), "a" * 197 + "..."),
        ("\n\n  Killed \r\n", "Killed"),
        ("", "no reason given"),
    ],
)
def test_words_of_other_programs_are_one_line_without_their_advice(error: Any, expected: str) -> None:
    assert words_of(error) == expected


@pytest.mark.parametrize(("stage", "key"), [("teacher", "teacher.train"), ("student", "distill.train")])
def test_the_key_that_lowers_the_rate_is_one_of_the_recipe(stage: str, key: str) -> None:
    with pytest.raises(Diverged, match=rf"--set {key}\.lr="):
        require_finite(3, {"critic": float("nan")}, stage)


@pytest.mark.parametrize(("number", "advised"), [(errno.ENOSPC, True), (errno.EACCES, False), (errno.EROFS, False)])
def test_space_is_to_be_freed_only_where_there_is_none(number: int, advised: bool) -> None:
    from ganlet.data.cache import _refused

    sentence = str(_refused(default_cache(), OSError(number, "No")))
    assert ("free some space" in sentence) == advised == (number in FULL)
    assert "GANLET_CACHE" in sentence


def test_a_file_that_fails_on_one_picture_is_not_to_be_tried_with_fewer(run: Path) -> None:
    model = onnx.load(run / "generator.onnx")
    runner = OnnxRunner(run / "generator.onnx", provider="cpu")

    class Broken:
        def run(self, *words: Any) -> Any:
            raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Non-zero status code")

    runner._session = Broken()
    latent = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    with pytest.raises(GanletError, match=r"failed to draw 1 pictures .* update onnxruntime") as one:
        runner({"z": np.zeros((1, latent), np.float32)})
    assert "smaller batch" not in str(one.value) and "provider cpu" not in str(one.value)
    with pytest.raises(GanletError, match="try a smaller batch"):
        runner({"z": np.zeros((2, latent), np.float32)})


@pytest.mark.parametrize(("percent", "told"), [(60.0, False), (None, False), (282.0, True)])
def test_more_than_the_peak_is_explained(percent: float | None, told: bool) -> None:
    row = {"status": "measured", "artefact": "a", "flop_per_picture": 1, "flop_source": "", "ratio": {"coverage": 0.97}}
    document = {"matmul_peak": {"gflops": 50.0, "by": "numpy"}, "rounds": 6}
    said = notes(document | {"rows": [row | {"percent_of_matmul_peak": percent}]})
    assert any("% of peak above 100" in sentence for sentence in said) == told
