"""A listed artifact is loaded as it was made, of the configuration that is listed, or not at all."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganlet.device.feed import z_port
from ganlet.device.manifest import check_unchanged, listed
from ganlet.device.open import open_runner
from ganlet.errors import GanletError

ENDS = {
    "inputs": {"z": {"shape": ["batch", 8], "dtype": "float32"}},
    "outputs": {"images": {"shape": ["batch", 3, 16, 16], "dtype": "float32"}},
    "recipe_sha256": "0" * 64,
}


def list_file(run: Path, name: str, **about: Any) -> None:
    content = (run / name).read_bytes()
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} | about
    (run / "manifest.json").write_text(json.dumps({"files": {name: entry}}))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_or_missing_byte_is_refused(generator: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(generator.read_bytes())
    path = tmp_path / "generator.onnx"
    path.write_bytes(content)
    list_file(tmp_path, path.name, **ENDS)
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    path.write_bytes(content)
    with pytest.raises(GanletError, match=r"changed after it was made|is empty"):
        open_runner(path, threads=1)


def test_an_artifact_as_listed_opens(generator: Path, tmp_path: Path) -> None:
    path = tmp_path / "generator.onnx"
    path.write_bytes(generator.read_bytes())
    list_file(tmp_path, path.name, **ENDS)
    assert open_runner(path, threads=1).ports == (z_port(8),)
    assert listed(path) is not None and listed(tmp_path / "other.onnx") is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": {"z": {"shape": ["batch", 9]}}}, "got latent 8, but it lists 9"),
        ({"outputs": {"images": {"shape": ["batch", 1, 16, 16]}}}, r"got picture \[3, 16, 16\], but it lists \[1"),
        ({"inputs": {**ENDS["inputs"], "label": {}}}, "got label False, but it lists True"),  # type: ignore[dict-item]
        ({"recipe_sha256": "1" * 64}, "recipe_sha256"),
    ],
)
def test_a_manifest_of_another_configuration_is_refused(
    changes: dict[str, Any], words: str, generator: Path, tmp_path: Path
) -> None:
    path = tmp_path / "generator.onnx"
    path.write_bytes(generator.read_bytes())
    list_file(tmp_path, path.name, **ENDS | changes)
    with pytest.raises(GanletError, match=f"belongs to another configuration.*{words}"):
        open_runner(path, threads=1)


@pytest.mark.parametrize("about", [{"inputs": 3}, {"outputs": {"images": []}}, {"inputs": {"z": {"shape": "?"}}}])
def test_a_manifest_that_says_nothing_of_use_is_no_reason(
    about: dict[str, Any], generator: Path, tmp_path: Path
) -> None:
    path = tmp_path / "generator.onnx"
    path.write_bytes(generator.read_bytes())
    list_file(tmp_path, path.name, **about)
    assert open_runner(path, threads=1).ports == (z_port(8),)


def test_a_file_in_a_sub_folder_is_listed_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the runtime: the hash is looked at before a runner sees the file."""
    (tmp_path / "engines").mkdir()
    path = tmp_path / "engines" / "sm75.engine"
    path.write_bytes(b"a plan")
    list_file(tmp_path, "engines/sm75.engine")
    check_unchanged(path)
    path.write_bytes(b"a plum")
    for where in (path, Path("engines/sm75.engine"), Path("sm75.engine")):
        monkeypatch.chdir(tmp_path / "engines" if len(where.parts) == 1 else tmp_path)
        with pytest.raises(GanletError, match="changed after it was made"):
            open_runner(where)
