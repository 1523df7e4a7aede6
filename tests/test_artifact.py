"""A stage's folder: what is written is what is read, and whatever is not is told in one sentence."""

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlet.artifact import (
    CONFIG,
    CRITIC,
    GENERATOR,
    Stage,
    add_to_manifest,
    find_stage,
    load_stage,
    read_tensors,
    save_stage,
    save_tensors,
    stages_of,
    versions,
    write_tensors,
)
from ganlet.errors import GanletError
from ganlet.models.dcgan import CriticConfig, GeneratorConfig
from ganlet.models.families import build_critic, build_generator
from ganlet.training.load import critic_config_of, generator_config_of, load_critic, load_generator

G = GeneratorConfig(latent=4, widths=(4, 3), strides=(2, 2), kernels=(4, 4), channels=1)
C = CriticConfig(widths=(3, 4), channels=1)


def make(folder: Path, *, stage: str = "teacher", critic: bool = True) -> Stage:
    torch.manual_seed(0)
    networks: dict[str, Any] = {"generator": (GENERATOR, G.model_dump(mode="json"), build_generator(G).state_dict())}
    if critic:
        networks["critic"] = (CRITIC, C.model_dump(mode="json"), build_critic(C).state_dict())
    return save_stage(
        folder,
        stage=stage,
        networks=networks,
        provenance={"key": f"key of {stage}", "seed": 0},
        training={"steps": 3, "images": 12},
    )


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))


# ---------------------------------------------------------------- round trip


def test_a_stage_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = make(tmp_path / "teacher")
    found = load_stage(tmp_path / "teacher")
    assert found == saved
    assert (found.name, found.key, found.training) == ("teacher", "key of teacher", {"steps": 3, "images": 12})
    assert found.config["provenance"]["versions"] == versions()
    assert found.weights_sha256 == hashlib.sha256((tmp_path / "teacher" / GENERATOR).read_bytes()).hexdigest()
    assert found.config["files"][CRITIC]["bytes"] == (tmp_path / "teacher" / CRITIC).stat().st_size
    torch.manual_seed(0)
    generator, critic = build_generator(G).eval(), build_critic(C).eval()
    z, images = torch.randn(2, 4), torch.randn(2, 1, 16, 16)
    assert (generator_config_of(found), critic_config_of(found)) == (G, C)
    assert torch.equal(load_generator(found)(z), generator(z)) and not load_generator(found).training
    assert torch.equal(load_critic(found).eval()(images), critic(images))


def test_nothing_temporary_is_left(tmp_path: Path) -> None:
    make(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([CONFIG, GENERATOR, CRITIC])


def test_config_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ganlet.artifact.write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path)
    assert (tmp_path / GENERATOR).is_file() and (tmp_path / CRITIC).is_file()
    with pytest.raises(GanletError, match="not finished; run the same command again"):
        load_stage(tmp_path)


def test_stages_of_a_run_in_order_and_the_last_is_found(tmp_path: Path) -> None:
    make(tmp_path / "student", stage="student")
    make(tmp_path / "teacher")
    (tmp_path / "transfer").mkdir()  # unfinished
    assert list(stages_of(tmp_path)) == ["teacher", "student"]
    assert find_stage(tmp_path).name == "student" and find_stage(tmp_path / "teacher").name == "teacher"


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("file", [GENERATOR, CRITIC])
@pytest.mark.parametrize("damage", ["bit", "cut", "longer", "empty"])
def test_changed_weights_are_refused(tmp_path: Path, file: str, damage: str) -> None:
    stage = make(tmp_path)
    path = tmp_path / file
    content = bytearray(path.read_bytes())
    size = len(content)
    if damage == "bit":
        content[-1] ^= 1
    content = {"bit": content, "cut": content[:-4], "longer": content + b"\0", "empty": bytearray()}[damage]
    path.write_bytes(content)
    with pytest.raises(GanletError, match="was changed or cut short") as raised:
        stage.tensors(file)
    assert str(path) in str(raised.value)
    assert f"it has {len(content)} bytes" in str(raised.value) and f"expected {size} bytes" in str(raised.value)


def test_missing_weights(tmp_path: Path) -> None:
    stage = make(tmp_path)
    (tmp_path / GENERATOR).unlink()
    with pytest.raises(GanletError, match=r"weights\.safetensors is missing although config\.json lists it"):
        load_generator(stage)


def test_a_stage_without_a_critic(tmp_path: Path) -> None:
    stage = make(tmp_path, critic=False)
    for load in (stage.tensors, lambda _: load_critic(stage)):
        with pytest.raises(GanletError, match=r"holds no critic"):
            load(CRITIC)


def test_no_folder_and_no_stage(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="does not exist; expected the folder of a trained stage"):
        load_stage(tmp_path / "none")
    with pytest.raises(GanletError, match="the stage is not finished"):
        load_stage(tmp_path)
    with pytest.raises(GanletError, match=r"holds no trained stage \(teacher, transfer, student, pruned, quantized\)"):
        find_stage(tmp_path)
    assert stages_of(tmp_path) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"schema": None},
        {"stage": 3},
        {"generator": []},
        {"files": []},
        {"files": {}},
        {"files": {GENERATOR: 3}},
        {"files": {GENERATOR: {"bytes": 3}}},
        {"files": {GENERATOR: {"sha256": "0" * 64}}},
        {"files": {GENERATOR: {"bytes": 3, "sha256": ""}, CRITIC: None}},
        {"provenance": {}},
        {"provenance": "me"},
        {"training": [1]},
    ],
)
def test_a_foreign_config_is_refused_at_once(tmp_path: Path, changes: dict[str, Any]) -> None:
    make(tmp_path)
    load_stage(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(GanletError, match="is not a stage of schema 1; make it again"):
        load_stage(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"x"', "{}", '{"schema": 1}'])
def test_json_of_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / CONFIG).write_text(content)
    with pytest.raises(GanletError, match="is not a stage of schema 1"):
        load_stage(tmp_path)


@pytest.mark.parametrize(
    ("role", "network"),
    [("generator", {"latent": 4}), ("generator", {**G.model_dump(), "latent": 0}), ("critic", {"widths": []})],
)
def test_a_network_that_no_config_describes(tmp_path: Path, role: str, network: dict[str, Any]) -> None:
    make(tmp_path)
    edit(tmp_path, **{role: network})
    load = load_generator if role == "generator" else load_critic
    with pytest.raises(GanletError, match=rf"config\.json does not describe a {role}"):
        load(load_stage(tmp_path))


def test_a_config_of_other_widths_does_not_fit_its_weights(tmp_path: Path) -> None:
    make(tmp_path)
    edit(tmp_path, generator=G.model_copy(update={"widths": (4, 5)}).model_dump(mode="json"))
    with pytest.raises(GanletError, match=r"does not fit .*layer2\.0\.weight: \(4, 3, 4, 4\), expected \(4, 5, 4, 4\)"):
        load_generator(load_stage(tmp_path))


# ---------------------------------------------------------------- tensors


def test_the_same_tensors_make_the_same_bytes(tmp_path: Path) -> None:
    state = build_generator(G).state_dict()
    for name, tensors in (("a", state), ("b", dict(reversed(state.items())))):
        save_tensors(tmp_path / name, tensors, "a note")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = read_tensors(tmp_path / "a")
    assert found.keys() == state.keys() and all(torch.equal(found[k], v) for k, v in state.items())


def test_tensors_of_any_layout(tmp_path: Path) -> None:
    tensors = {
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "count": torch.tensor(7),
        "learns": torch.ones(2).requires_grad_(),
    }
    write_tensors(tmp_path / "t", tensors)
    found = read_tensors(tmp_path / "t")
    assert all(torch.equal(found[k], v) for k, v in tensors.items()) and found["count"].dtype == torch.int64


def test_a_full_disk_keeps_the_old_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch
    from safetensors import SafetensorError

    write_tensors(tmp_path / "w", {"a": torch.ones(1)})
    before = (tmp_path / "w").read_bytes()

    def full(_: Any, path: Path, **__: Any) -> None:
        Path(path).write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(GanletError, match=r"Cannot write .*No space left on device"):
        write_tensors(tmp_path / "w", {"a": torch.zeros(1)})
    assert (tmp_path / "w").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["w"]


def header(text: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}q\x00.",
        b"\xff" * 64,
        header(b"{"),
        header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b"\0" * 4),
        header(b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', b"\0" * 8),
        header(b'{"a":{"dtype":"Q77","shape":[2],"data_offsets":[0,8]}}', b"\0" * 8),
    ],
)
def test_what_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(GanletError, match="is not a whole safetensors file"):
        read_tensors(tmp_path / "w")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(GanletError, match="is not a whole safetensors file"):
            read_tensors(path)


# ---------------------------------------------------------------- manifest


def test_the_manifest_lists_each_file_with_its_hash(tmp_path: Path) -> None:
    for name, content in (("b.onnx", b"bb"), ("a.onnx", b"a"), ("b.onnx", b"bbb")):
        (tmp_path / name).write_bytes(content)
        add_to_manifest(tmp_path, name, precision="fp32", made_from={"weights": "x"})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["schema"] == 1 and list(manifest["files"]) == ["a.onnx", "b.onnx"]
    assert manifest["files"]["b.onnx"] == {
        "bytes": 3,
        "sha256": hashlib.sha256(b"bbb").hexdigest(),
        "precision": "fp32",
        "made_from": {"weights": "x"},
    }


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}', '{"files": 3}'])
def test_a_damaged_manifest_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.onnx").write_bytes(b"a")
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(GanletError, match=r"manifest\.json"):
        add_to_manifest(tmp_path, "a.onnx")


def test_versions_name_what_is_installed() -> None:
    found = versions()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert {"ganlet", "python", "numpy", "safetensors"} <= found.keys()


@pytest.mark.parametrize("name", ["веса.safetensors", "a\x1b\n.safetensors", os.fsdecode(b"caf\xe9.safetensors")])
def test_names_of_weights_may_be_any(tmp_path: Path, name: str) -> None:
    write_tensors(tmp_path / name, {"a": torch.arange(3.0)})
    assert torch.equal(read_tensors(tmp_path / name)["a"], torch.arange(3.0))
