"""Ganlet's JSON files are told from those of other programs, and damaged ones of its own from both."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ganlet.artifact import find_stage, is_stage, save_stage, stages_of
from ganlet.commands.fid.artifacts import is_artifact
from ganlet.commands.preflight import check_names
from ganlet.device.manifest import check_unchanged, listed
from ganlet.errors import GanletError
from ganlet.files import sha256_file
from ganlet.own_files import MANIFEST, REPORT, STAGE, check_not_foreign, is_own, read_own

FOREIGN: dict[str, bytes] = {
    "settings of a training script": b'{"lr": 0.0002, "stage": 2, "schema": "v1"}',
    "a diffusers model": b'{"_class_name": "UNet2DModel", "sample_size": 32, "block_out_channels": [64, 128]}',
    "a web app": b'{"name": "cats", "icons": [{"src": "a.png", "sizes": "16x16"}], "start_url": "."}',
    "an npm package with files": b'{"name": "cats", "files": ["dist"], "version": "1.0.0"}',
    "a React app": b'{"files": {"main.css": "/a.css", "generator.onnx": "/static/generator.1a2b.onnx"}}',
    "a test report": b'{"suite": "a", "passed": 3, "stages": []}',
    "a list": b"[1, 2, 3]",
    "a number": b"7",
    "comments": b"// settings\n{\n  // the rate\n  'lr': 1,\n}",
    "no text": bytes(range(256)) * 4,
    "nothing": b"",
    "UTF-16": '{"lr": 1}'.encode("utf-16"),
    "deep nesting": b"[" * 100_000,
    "17 MiB": b'{"schema": 1, "stage": "x", "files": {}, "provenance": {}, "a": "' + b"a" * (17 << 20) + b'"}',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("kind", [STAGE, MANIFEST, REPORT], ids=lambda kind: kind.name)
def test_files_of_other_programs_are_passed_over_and_never_replaced(kind: Any, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert read_own(path, kind) is None and not is_own(path, kind)
    with pytest.raises(GanletError, match=f"is no {kind.name} of Ganlet and would be replaced") as raised:
        check_not_foreign(path, kind)
    assert "delete" not in str(raised.value)


def test_a_folder_or_a_pipe_of_that_name_is_no_file_of_ganlet(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    os.mkfifo(tmp_path / "manifest.json")
    (tmp_path / "report.json").symlink_to("report.json")
    for name in ("config.json", "manifest.json", "report.json", "missing.json"):
        assert read_own(tmp_path / name, STAGE) is None


def make_stage(folder: Path) -> Path:
    import torch

    networks = {"generator": ("weights.safetensors", {"latent": 2}, {"a": torch.zeros(2)})}
    save_stage(folder, stage=folder.name, networks=networks, provenance={"key": "k"}, training={})
    return folder


@pytest.mark.parametrize("damage", [slice(0, 0), slice(0, 5), slice(0, 100), slice(0, -3)])
def test_a_damaged_stage_is_still_a_stage_and_named(damage: slice, tmp_path: Path) -> None:
    config = make_stage(tmp_path / "run" / "teacher") / "config.json"
    config.write_bytes(config.read_bytes()[damage])
    assert is_stage(config.parent) and is_artifact(tmp_path / "run")
    for read in (find_stage, stages_of):
        with pytest.raises(GanletError, match="a stage of Ganlet, is damaged") as raised:
            read(tmp_path / "run")
        assert "delete" not in str(raised.value)


@pytest.mark.parametrize("key", ["schema", "stage", "generator", "files", "provenance"])
def test_a_flipped_bit_in_a_key_leaves_a_stage_a_stage(key: str, tmp_path: Path) -> None:
    config = make_stage(tmp_path / "teacher") / "config.json"
    config.write_text(config.read_text().replace(f'"{key}"', f'"{key[:-1]}\\u007f"'))
    assert is_stage(config.parent)
    with pytest.raises(GanletError, match="is not a stage of schema 1"):
        find_stage(config.parent)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_json_of_others_around_a_run_changes_nothing(name: str, tmp_path: Path) -> None:
    """Beside the stages, above the run, and in a folder that is named like a stage."""
    run = tmp_path / "app" / "run"
    stage = make_stage(run / "teacher")
    foreign = {"a": run / "config.json", "b": run.parent / "config.json", "c": run / "student" / "config.json"}[name]
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text('{"lr": 1}')
    assert find_stage(run).folder == stage and find_stage(stage).folder == stage
    assert list(stages_of(run)) == ["teacher"] and is_artifact(run) and not is_artifact(run.parent)
    if name == "c":
        with pytest.raises(GanletError, match=r"student/config\.json is no stage of Ganlet"):
            check_names(run)
    else:
        check_names(run)


@pytest.mark.parametrize("name", ["config.json", "teacher/config.json", "manifest.json", "report.json"])
def test_a_folder_of_pictures_with_json_in_it_is_a_folder_of_pictures(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"stage": 1, "lr": 2}')
    assert not is_artifact(tmp_path)
    with pytest.raises(GanletError, match="holds no trained stage"):
        find_stage(tmp_path)


def list_in(manifest: Path, path: Path, name: str) -> None:
    entry = {"bytes": path.stat().st_size, "sha256": sha256_file(path), "precision": "fp32"}
    manifest.write_text(json.dumps({"schema": 1, "files": {"other.onnx": {"bytes": 3, "sha256": "0"}, name: entry}}))


@pytest.mark.parametrize("suffix", [".onnx", ".pte", ".engine"])
def test_a_renamed_artifact_is_known_by_its_hash(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cats{suffix}"
    path.write_bytes(b"generator")
    list_in(tmp_path / "manifest.json", path, f"generator{suffix}")
    known = listed(path)
    assert known is not None and known[1]["precision"] == "fp32"
    check_unchanged(path)
    path.write_bytes(b"generatos")  # of the same length
    assert listed(path) is None
    path = path.rename(tmp_path / f"generator{suffix}")
    with pytest.raises(GanletError, match="was changed after it was made"):
        check_unchanged(path)


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_manifest_of_another_program_says_nothing_of_an_artifact(content: bytes, tmp_path: Path) -> None:
    """Beside the file, and in the folder above a run's own manifest."""
    path = tmp_path / "app" / "run" / "generator.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"generator")
    (path.parent / "manifest.json").write_bytes(content)
    (path.parent.parent / "manifest.json").write_bytes(content)
    assert listed(path) is None
    list_in(path.parent / "manifest.json", path, path.name)
    assert listed(path) is not None


@pytest.mark.parametrize("damage", ["cut", "key", "values"])
def test_a_damaged_manifest_of_ganlet_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "generator.onnx"
    path.write_bytes(b"generator")
    manifest = tmp_path / "manifest.json"
    list_in(manifest, path, path.name)
    text = json.dumps(json.loads(manifest.read_text()), indent=2)
    changed = {"cut": text[:30], "key": text.replace('"files"', '"fimes"'), "values": text.replace('"bytes"', '"b"')}
    manifest.write_text(changed[damage])
    with pytest.raises(GanletError, match=r"is damaged|without its bytes and sha256") as raised:
        check_unchanged(path)
    assert "delete" not in str(raised.value)
