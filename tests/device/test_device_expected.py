"""A device that compares its own pictures with those of the export: passed, failed, and every bad bundle."""

import io
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from ganlet.artifact import add_to_manifest
from ganlet.device import OnnxRunner, confirm, latents
from ganlet.device.confirm import LIMITS, as_lines
from ganlet.device.confirm import confirm as confirm_artifact
from ganlet.device.expected import EXPECTED, ROUNDING, read_expected, write_expected
from ganlet.device.feed import NAMES, Feed, feed_at, z_port
from ganlet.errors import GanletError
from ganlet.recipe import Verify

Make = Callable[..., Path]
WEIGHTS, RECIPE = "a" * 64, "0" * 64


@pytest.fixture
def bundle(make_generator: Make) -> Path:
    """A generator, its manifest and its expected pictures in one folder."""
    return bundle_of(make_generator())


def bundle_of(path: Path, precision: str = "fp32", weights: str = WEIGHTS) -> Path:
    write_expected(path.parent / EXPECTED, OnnxRunner(path, threads=1), weights_sha256=weights, recipe_sha256=RECIPE)
    made_from = {"stage": "student", "weights_sha256": weights}
    add_to_manifest(path.parent, path.name, precision=precision, made_from=made_from)
    add_to_manifest(path.parent, EXPECTED, made_from=made_from)
    return path


def scaled(path: Path, factor: float) -> None:
    """Change the last layer's weights, and list the file anew."""
    model = onnx.load(path)
    weight = model.graph.initializer[-1]
    changed = (numpy_helper.to_array(weight) * factor).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(model, path)
    entry = json.loads((path.parent / "manifest.json").read_text())["files"][path.name]
    add_to_manifest(path.parent, path.name, precision=entry["precision"], made_from=entry["made_from"])


def test_what_is_written_is_read_to_sixteen_bits(bundle: Path) -> None:
    runner = OnnxRunner(bundle, threads=1)
    expected = read_expected(bundle.parent / EXPECTED)
    assert list(expected.feed) == ["z"] and np.array_equal(expected.feed["z"], latents(0, 0, 16, 8))
    assert np.abs(expected.pictures - runner(expected.feed)).max() <= ROUNDING + 1e-7
    assert (expected.weights_sha256, expected.recipe_sha256, expected.seed) == (WEIGHTS, RECIPE, 0)
    content = (bundle.parent / EXPECTED).read_bytes()
    write_expected(bundle.parent / EXPECTED, runner, weights_sha256=WEIGHTS, recipe_sha256=RECIPE)
    assert (bundle.parent / EXPECTED).read_bytes() == content


@pytest.mark.parametrize(("side", "count"), [(16, 16), (64, 6), (128, 2), (256, 2)])
def test_the_number_of_pictures_follows_their_size(side: int, count: int, tmp_path: Path) -> None:
    class Noise:
        ports, picture_shape, name, provider = (z_port(4),), (3, side, side), "noise", "CPUExecutionProvider"

        def __call__(self, feed: Feed) -> Any:
            return np.random.default_rng(0).uniform(-1, 1, (len(feed["z"]), 3, side, side)).astype(np.float32)

    write_expected(tmp_path / EXPECTED, Noise(), weights_sha256="", recipe_sha256="")
    assert len(read_expected(tmp_path / EXPECTED).feed["z"]) == count
    assert side > 128 or (tmp_path / EXPECTED).stat().st_size < 200_000  # noise does not compress: the worst there is


def test_the_same_file_passes(bundle: Path) -> None:
    found = confirm_artifact(bundle, threads=1)
    assert found.verdict == "passed" and found.max_abs <= ROUNDING + 1e-7 and found.pictures == 16
    assert found.psnr_db is not None and found.psnr_db > 95
    assert [check.name for check in found.checks] == ["latents drawn here", "largest difference of a pixel"]
    assert found.checks[0].measured == 0.0
    assert as_lines(found)[-1].endswith(
        f"pixels differ by at most {found.max_abs:.1e} of [-1, 1], PSNR {found.psnr_db:.1f} dB"
    )
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["verdict"] == "passed"


def test_a_conditional_generator_passes(make_generator: Make) -> None:
    assert confirm_artifact(bundle_of(make_generator(classes=3, channels=1)), threads=1).verdict == "passed"


def test_other_pictures_fail_with_the_figure(bundle: Path) -> None:
    before = OnnxRunner(bundle, threads=1)({"z": latents(0, 0, 16, 8)}).astype(np.float64)
    scaled(bundle, 0.9)
    after = OnnxRunner(bundle, threads=1)({"z": latents(0, 0, 16, 8)}).astype(np.float64)
    found = confirm_artifact(bundle, threads=1)
    assert found.verdict == "failed" and found.checks[0].status == "passed"
    assert found.max_abs == pytest.approx(np.abs(before - after).max(), abs=1e-4)
    assert found.psnr_db == pytest.approx(10 * math.log10(4 / np.square(before - after).mean()), abs=0.05)
    assert any(line.startswith("✗ largest difference") for line in as_lines(found))


@pytest.mark.parametrize(("precision", "status"), [("fp32", "failed"), ("fp16", "passed"), ("int8", "passed")])
def test_each_precision_has_its_own_limit(precision: str, status: str, make_generator: Make) -> None:
    path = bundle_of(make_generator(), precision)
    scaled(path, 0.995)
    found = confirm_artifact(path, threads=1)
    assert found.verdict == status, as_lines(found)
    assert {check.name for check in found.checks[1:]} == (
        {"largest difference of a pixel"} if precision == "fp32" else {"PSNR"}
    )


def test_int8_that_turned_grey_fails(make_generator: Make) -> None:
    path = bundle_of(make_generator(), "int8")
    scaled(path, 0.0)
    found = confirm_artifact(path, threads=1)
    assert found.verdict == "failed" and any(line.startswith("✗ PSNR") for line in as_lines(found))


@pytest.mark.parametrize("name", ["generator.onnx", "generator.int8.onnx"])
def test_the_shipped_kittens_are_drawn_here_as_where_they_were_exported(name: str) -> None:
    found = confirm_artifact(Path(__file__).parents[2] / "exported" / "kittens" / name, threads=1)
    assert found.verdict == "passed", as_lines(found)
    assert all(check.limit == 38.0 for check in found.checks if check.unit == "dB")


def test_a_device_whose_latents_differ_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirm, "feed_at", lambda *rest: {"z": feed_at(*rest)["z"] + np.float32(1e-3)})
    found = confirm_artifact(bundle, threads=1)
    assert found.verdict == "failed" and found.checks[0].status == "failed" and found.checks[1].status == "passed"


# ---------------------------------------------------------------- bad bundles


def test_each_missing_file_is_named_with_its_remedy(bundle: Path) -> None:
    (bundle.parent / EXPECTED).rename(bundle.parent / "kept")
    with pytest.raises(GanletError, match=r"expected\.npz does not exist.*ganlet export"):
        confirm_artifact(bundle)
    (bundle.parent / "kept").rename(bundle.parent / EXPECTED)
    (bundle.parent / "manifest.json").unlink()
    with pytest.raises(GanletError, match=r"No manifest\.json beside .*copy manifest\.json and expected\.npz"):
        confirm_artifact(bundle)
    with pytest.raises(GanletError, match="is no file"):
        confirm_artifact(bundle.parent)
    with pytest.raises(GanletError, match="is no file"):
        confirm_artifact(bundle.parent / "gone.onnx")


def test_a_changed_expectation_or_artifact_is_refused(bundle: Path) -> None:
    for name in (EXPECTED, bundle.name):
        path = bundle.parent / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(GanletError, match=rf"{name} (was changed|is not a whole)"):
            confirm_artifact(bundle)
        path.write_bytes(content)


def test_an_unlisted_expectation_is_refused(bundle: Path) -> None:
    manifest = json.loads((bundle.parent / "manifest.json").read_text())
    del manifest["files"][EXPECTED]
    (bundle.parent / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GanletError, match=r"does not list expected\.npz"):
        confirm_artifact(bundle)


def test_an_unknown_precision_is_refused(make_generator: Make) -> None:
    with pytest.raises(GanletError, match="precision int3; expected fp32, fp16, int8"):
        confirm_artifact(bundle_of(make_generator(), "int3"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights_sha256": "b" * 64}, "another generator.*weights bbbb"),
        ({"recipe_sha256": "1" * 64}, "another generator.*the recipe 1111"),
        ({"z": np.zeros((4, 9), np.float32)}, r"another generator.*inputs of \{'z': \(9,\)\}"),
        ({"pictures": np.zeros((4, 1, 16, 16), np.float32)}, r"another generator.*pictures of \(1, 16, 16\)"),
        ({"label": np.zeros(4, np.int64)}, r"another generator.*inputs of \{'z': \(8,\), 'label': \(\)\}"),
        ({"z": np.full((16, 8), np.nan, np.float32)}, "finite"),
    ],
)
def test_the_expectation_of_another_generator_is_refused(change: dict[str, Any], words: str, bundle: Path) -> None:
    path = bundle.parent / EXPECTED
    fed = {name: array for name, array in change.items() if name in NAMES}
    found = read_expected(path)
    other = replace(found, feed=found.feed | fed, **{name: new for name, new in change.items() if name not in NAMES})
    arrays = {
        "levels": np.rint((other.pictures + 1) * 32767.5).astype(np.uint16),
        "seed": np.int64(0),
        "weights_sha256": np.str_(other.weights_sha256),
        "recipe_sha256": np.str_(other.recipe_sha256),
    } | other.feed
    length = min(len(array) for array in arrays.values() if array.ndim)
    np.savez(path, **{name: array[:length] if array.ndim else array for name, array in arrays.items()})
    add_to_manifest(bundle.parent, EXPECTED)
    with pytest.raises(GanletError, match=words):
        confirm_artifact(bundle, threads=1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_expectation_is_read_or_a_sentence(bundle: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray((bundle.parent / EXPECTED).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1) | st.integers(max(0, len(content) - 500), len(content) - 1))
    if data.draw(st.booleans()):
        content[at] = data.draw(st.integers(0, 255))
    else:
        del content[at:]
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    try:
        read_expected(path)
    except GanletError as error:
        assert "\n" not in str(error)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_other_archives_are_refused(tmp_path: Path) -> None:
    good = {"z": np.zeros((2, 4), np.float32), "levels": np.zeros((2, 1, 8, 8), np.uint16), "seed": np.int64(0)}
    assert read_expected(npz(tmp_path / "good.npz", **good)).weights_sha256 == ""
    for change in (
        {"z": np.zeros((3, 4), np.float32)},
        {"z": np.zeros((2, 4))},
        {"levels": np.zeros((2, 8, 8), np.uint16)},
        {"levels": np.zeros((2, 0, 8, 8), np.uint16)},
        {"label": np.zeros(2)},
        {"label": np.zeros(3, np.int64)},
        {"seed": np.zeros(2, np.int64)},
    ):
        with pytest.raises(GanletError, match=r"expected z float32 \(N, latent\)"):
            read_expected(npz(tmp_path / "bad.npz", **good | change))
    with pytest.raises(GanletError, match="it holds Python objects"):
        read_expected(npz(tmp_path / "bad.npz", **good | {"z": np.array([{"a": 1}], dtype=object)}))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("z.npy", bytes(70 * 10**6))
    with pytest.raises(GanletError, match="unpacks to 70 MB, expected at most 64 MB"):
        read_expected(tmp_path / "bomb.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 10**3)})
    shutil.copy(tmp_path / "good.npz", tmp_path / "huge.npz")
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("z.npy", header.getvalue())
    with pytest.raises(GanletError, match="not a whole"):
        read_expected(tmp_path / "huge.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(GanletError, match="not a whole"):
        read_expected(tmp_path / "text.npz")


def test_pictures_beyond_the_range_are_not_expected(make_generator: Make, tmp_path: Path) -> None:
    class Loud(OnnxRunner):
        def __call__(self, feed: Feed) -> Any:
            return 2 * super().__call__(feed)

    with pytest.raises(GanletError, match=r"expected them in \[-1, 1\]"):
        write_expected(tmp_path / EXPECTED, Loud(make_generator()), weights_sha256="", recipe_sha256="")


def test_a_device_asks_for_what_a_recipe_asks_for_unless_told() -> None:
    """Neither room may import the other, and the figures stand in both."""
    usual = Verify()
    assert LIMITS["fp16"].psnr_db == usual.parity_fp16_psnr_db and LIMITS["int8"].psnr_db == usual.parity_int8_psnr_db
    assert LIMITS["fp32"].max_abs is not None and LIMITS["fp32"].max_abs >= usual.parity_max_abs  # another runtime
