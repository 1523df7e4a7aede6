"""`ganlet fid`: every kind of A and B, what is printed, what is kept, and the figures themselves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlet.device import Sampler
from ganlet.metrics import feature_net, frechet_distance, kernel_distance, moments
from ganlet.metrics.divergence import bins_of, gaussian_js, gaussian_kl, histogram_js, histogram_kl
from ganlet.metrics.inception import Inception
from ganlet.metrics.inception_score import inception_score
from ganlet.metrics.neighbourhoods import neighbourhoods
from ganlet.metrics.statistics import Statistics, read_statistics, write_statistics
from support import zip_of

Answer = tuple[int, str, str]
Call = Callable[..., Answer]
GENERATOR = Path(__file__).parents[3] / "exported" / "kittens" / "generator.onnx"


def document(answer: Answer) -> dict[str, Any]:
    code, out, err = answer
    assert code == 0, err
    return dict(json.loads(out.splitlines()[-1]))


def features_of(net: Path, folder: Path) -> np.ndarray:
    files = sorted(folder.rglob("*.png"))
    return feature_net(str(net)).features(np.stack([np.asarray(Image.open(f)).transpose(2, 0, 1) for f in files]))


def test_folders_give_the_distances_of_their_features(ganlet: Call, net: Path, pictures: Callable[..., Path]) -> None:
    a, b = pictures("a"), pictures("b", count=30, seed=1, top=200)
    found = document(ganlet("fid", a, b, "--features", net, "--kid", "--prdc", "--json"))
    x, y = features_of(net, a), features_of(net, b)
    near = neighbourhoods(x, y)
    expected = {
        "fd_quarters_24": frechet_distance(moments(x), moments(y)),
        "kid_quarters_24": kernel_distance(x, y),
        "precision_quarters_24": near.precision,
        "recall_quarters_24": near.recall,
        "density_quarters_24": near.density,
        "coverage_quarters_24": near.coverage,
    }
    assert list(found["figures"]) == list(expected)
    for name, figure in found["figures"].items():
        np.testing.assert_allclose(figure["value"], expected[name], rtol=1e-5, err_msg=name)
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert (found["metric"], found["net"], found["count"]) == ("fd", "quarters", 24)
    assert (found["a"]["pictures"], found["b"]["pictures"]) == (24, 30)
    assert (found["a"]["kind"], found["a"]["height_px"]) == ("folder", 16)
    assert all("has no width" in note for note in found["notes"])
    assert found["figures"]["kid_quarters_24"]["subset_size"] == 12


def test_the_same_pictures_in_an_archive_are_at_zero(ganlet: Call, net: Path, pictures: Callable[..., Path]) -> None:
    a = pictures("a")
    archive = zip_of(a, a.parent / "a.zip", prefix="some/folder/")
    found = document(ganlet("fid", a, archive, "--features", net, "--json"))
    assert found["figures"]["fd_quarters_24"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["a"]["sha256"] == found["b"]["sha256"] and found["b"]["kind"] == "zip" and found["b"]["cached"]


def test_a_generator_is_drawn_by_seed_and_index(ganlet: Call, net: Path, pictures: Callable[..., Path]) -> None:
    b = pictures("b", side=64)
    words = ("fid", GENERATOR, b, "--features", net, "--samples", 20, "--json")
    found = document(ganlet(*words, "--seed", 5))
    drawn = Sampler(GENERATOR).images(0, 20, seed=5).transpose(0, 3, 1, 2)
    expected = feature_net(str(net)).features(np.ascontiguousarray(drawn))
    assert found["a"]["pictures"] == 20 and found["b"]["pictures"] == 20, "the folder is cut to as many"
    again = document(ganlet(*words, "--seed", 5))
    assert again["figures"] == found["figures"] and again["a"]["cached"]
    other = document(ganlet(*words, "--seed", 6))
    assert other["figures"] != found["figures"]
    # A run's folder is its exported generator.
    run = document(
        ganlet("fid", GENERATOR.parent, GENERATOR, "--features", net, "--samples", 20, "--seed", 5, "--json")
    )
    assert run["figures"]["fd_quarters_20"]["value"] == pytest.approx(0, abs=1e-6)
    kept = [np.load(path) for path in (b.parent / "cache" / "features").glob("*.npy")]
    assert any(np.allclose(features, expected, atol=1e-6) for features in kept)


@pytest.mark.slow
def test_a_stage_that_was_not_exported_is_drawn_by_torch(
    ganlet: Call, net: Path, finished_run: Path, tmp_path: Path
) -> None:
    stage = Path(shutil.copytree(finished_run / "student", tmp_path / "student"))
    words = ("--features", net, "--samples", 12, "--json")
    found = document(ganlet("fid", stage, finished_run / "generator.onnx", *words))
    assert found["figures"]["fd_quarters_12"]["value"] == pytest.approx(0, abs=1e-4)


def test_statistics_are_written_read_and_taken_for_the_pictures(
    ganlet: Call, net: Path, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    a, b = pictures("a"), pictures("b", seed=1, top=200)
    plain = document(ganlet("fid", a, b, "--features", net, "--save-stats", tmp_path / "b.npz", "--json"))
    known = read_statistics(tmp_path / "b.npz")
    assert (known.moments.count, known.net, known.data_sha256) == (24, "quarters", plain["b"]["sha256"])
    found = document(ganlet("fid", a, tmp_path / "b.npz", "--features", net, "--json"))
    figure, before = found["figures"]["fd_quarters_24"], plain["figures"]["fd_quarters_24"]
    assert figure["value"] == pytest.approx(before["value"], rel=1e-12)
    assert figure["low"] < figure["value"] < figure["high"]
    assert found["notes"] == [
        f"the interval takes the features of {tmp_path / 'b.npz'} for Gaussian: only moments are known"
    ]
    alone = document(ganlet("fid", tmp_path / "b.npz", tmp_path / "b.npz", "--json"))
    assert alone["figures"]["fd_quarters_24"]["value"] == pytest.approx(0, abs=1e-9), "and no net was loaded"


def test_a_foreign_statistics_file_is_accepted_with_a_note(
    ganlet: Call, net: Path, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    a, b = pictures("a"), pictures("b", seed=1)
    features = features_of(net, b)
    np.savez(tmp_path / "b.npz", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    found = document(ganlet("fid", a, tmp_path / "b.npz", "--features", net, "--json"))
    expected = frechet_distance(moments(features_of(net, a)), moments(features))
    assert found["figures"]["fd_quarters_24"]["value"] == pytest.approx(expected, rel=1e-5)
    assert any(note.startswith("protocol unknown") for note in found["notes"])
    assert any("its count is unknown" in note for note in found["notes"])
    both = document(ganlet("fid", tmp_path / "b.npz", tmp_path / "b.npz", "--features", "inception", "--json"))
    assert list(both["figures"]) == ["fid_inception_unknown"]
    assert both["figures"]["fid_inception_unknown"]["low"] is None


def test_a_damaged_cache_is_measured_again(ganlet: Call, net: Path, pictures: Callable[..., Path]) -> None:
    a, b = pictures("a"), pictures("b", seed=1)
    words = ("fid", a, b, "--features", net, "--json")
    first = document(ganlet(*words))
    for path in (a.parent / "cache" / "features").glob("*.npy"):
        content = bytearray(path.read_bytes())
        content[-5] ^= 0xFF
        path.write_bytes(content)
    again = document(ganlet(*words))
    assert not again["a"]["cached"] and again["figures"] == first["figures"]
    for path in (a.parent / "cache" / "features").glob("*.npz"):
        path.write_bytes(b"")
    assert document(ganlet(*words))["figures"] == first["figures"]
    assert document(ganlet(*words))["a"]["cached"]


def test_other_pictures_or_another_net_are_not_taken_from_the_cache(
    ganlet: Call, net: Path, pictures: Callable[..., Path]
) -> None:
    a, b = pictures("a"), pictures("b", seed=1)
    document(ganlet("fid", a, b, "--features", net, "--json"))
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(a / "000.png")
    changed = document(ganlet("fid", a, b, "--features", net, "--json"))
    assert not changed["a"]["cached"] and changed["b"]["cached"]


def test_results_do_not_depend_on_how_many_pictures_are_held(
    ganlet: Call, net: Path, pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pictures("a"), pictures("b", seed=1)
    whole = document(ganlet("fid", a, b, "--features", net, "--json"))
    shutil.rmtree(a.parent / "cache")
    monkeypatch.setattr("ganlet.commands.fid.sources.CHUNK", 5)
    found = document(ganlet("fid", a, b, "--features", net, "--json"))
    assert not found["a"]["cached"]
    name = "fd_quarters_24"
    assert found["figures"][name]["value"] == pytest.approx(whole["figures"][name]["value"], rel=1e-6)


def test_mixed_sizes_are_brought_to_one_and_samples_are_a_seeded_draw(
    ganlet: Call, net: Path, pictures: Callable[..., Path]
) -> None:
    a, b = pictures("a"), pictures("b", seed=1)
    Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save(a / "odd.png")
    found = document(ganlet("fid", a, b, "--features", net, "--size", 16, "--json"))
    assert found["a"]["pictures"] == 25 and found["a"]["prepared"] == "centre square, Lanczos to 16x16"
    first, same, other = (
        document(ganlet("fid", b, b, "--features", net, "--samples", 10, "--seed", seed, "--json"))
        for seed in (0, 0, 1)
    )
    assert first["a"]["pictures"] == 10 and first["a"]["sha256"] == same["a"]["sha256"] != other["a"]["sha256"]


@pytest.mark.parametrize("kind", ["two", "constant", "duplicated"])
def test_degenerate_sets_give_finite_figures(ganlet: Call, net: Path, pictures: Callable[..., Path], kind: str) -> None:
    a, b = pictures("a", count=2 if kind == "two" else 24), pictures("b", seed=1)
    files = sorted(a.glob("*.png"))
    for index, file in enumerate(files):
        if kind != "two":
            file.write_bytes(files[0 if kind == "constant" else index // 6 * 6].read_bytes())
    words = ("--kid",) if kind == "two" else ("--kid", "--prdc")
    found = document(ganlet("fid", a, b, "--features", net, *words, "--json"))
    values = [figure[name] for figure in found["figures"].values() for name in ("value", "low", "high")]
    assert all(isinstance(value, float) and np.isfinite(value) for value in values)
    assert next(iter(found["figures"].values()))["value"] > 0


def test_different_sizes_of_the_two_sides_are_noted(ganlet: Call, net: Path, pictures: Callable[..., Path]) -> None:
    found = document(ganlet("fid", pictures("a"), pictures("b", side=20), "--features", net, "--json"))
    assert found["notes"] == [
        "the pictures of A have 16x16 px and those of B 20x20: sharpness alone sets them apart",
    ]


def test_extrapolation_has_its_own_name_and_a_note(ganlet: Call, net: Path, pictures: Callable[..., Path]) -> None:
    a, b = pictures("a", count=60), pictures("b", count=60, seed=1)
    found = document(ganlet("fid", a, b, "--features", net, "--extrapolate", "--json"))
    figures = found["figures"]
    assert figures["fd_quarters_inf"]["value"] < figures["fd_quarters_60"]["value"]
    assert any("without the chance of the pictures" in note for note in found["notes"])


def test_divergences_over_clusters_and_of_gaussians(
    ganlet: Call, net: Path, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    a, b = pictures("a", count=60), pictures("b", count=80, seed=1, top=240)
    words = ("--features", net, "--divergences")
    found = document(ganlet("fid", a, b, *words, "--save-stats", tmp_path / "b.npz", "--json"))
    x, y = features_of(net, a), features_of(net, b)
    bins = [np.bincount(of, minlength=4) for of in bins_of(x, y)]
    expected = {
        "fd_quarters_60": frechet_distance(moments(x), moments(y)),
        "kl_clusters_quarters_60": histogram_kl(*bins),
        "js_clusters_quarters_60": histogram_js(*bins),
        "kl_gaussian_quarters_60": gaussian_kl(moments(x), moments(y)),
        "js_gaussian_quarters_60": gaussian_js(moments(x), moments(y), draws=4000).value,
    }
    assert {name: figure["value"] for name, figure in found["figures"].items()} == pytest.approx(expected, rel=1e-4)
    for name, figure in found["figures"].items():
        assert figure["low"] is None if "kl_gaussian" in name else figure["low"] <= figure["value"] <= figure["high"]
    assert any("over 4 clusters of B" in note and "by chance" in note for note in found["notes"])
    assert any("kl_gaussian of two sets of one Gaussian would come to about" in note for note in found["notes"])
    code, out, _ = ganlet("fid", a, b, *words)
    assert code == 0 and "kl_gaussian_quarters_60" in out and "(no interval)" in out
    # Of statistics alone the Gaussians are known, and of as many pictures as features the clusters.
    alone = document(ganlet("fid", a, tmp_path / "b.npz", *words, "--json"))["figures"]
    assert list(alone) == ["fd_quarters_60", "kl_gaussian_quarters_60", "js_gaussian_quarters_60"]
    few = document(ganlet("fid", pictures("few", count=12), b, *words, "--json"))
    assert list(few["figures"]) == ["fd_quarters_12", "kl_clusters_quarters_12", "js_clusters_quarters_12"]
    assert any(note.startswith("no divergence of fitted Gaussians: ") for note in few["notes"])


@pytest.mark.slow
def test_the_inception_score_is_that_of_the_class_probabilities(
    ganlet: Call, pictures: Callable[..., Path], inception_file: Path
) -> None:
    a, b = pictures("a", count=12), pictures("b", count=14, seed=1, top=90)
    words = ("--inception-score", "--weights", inception_file, "--weights-name", "seeded")
    found = document(ganlet("fid", a, b, *words, "--json"))
    inception = Inception(weights=inception_file, weights_name="seeded")
    for name, folder in (("inception_score_inception-seeded_12", a), ("inception_score_of_b_inception-seeded_14", b)):
        pixels = np.stack([np.asarray(Image.open(f)).transpose(2, 0, 1) for f in sorted(folder.glob("*.png"))])
        expected = inception_score(inception.class_probabilities(inception.features(pixels)))
        figure = found["figures"][name]
        assert figure["value"] == pytest.approx(expected.whole, rel=1e-5)
        assert (figure["split_mean"], figure["splits"]) == (pytest.approx(expected.mean, rel=1e-5), 10)
        assert 1 <= figure["low"] < figure["value"] < figure["high"]
    assert any("classes of ImageNet" in note for note in found["notes"])
    code, out, _ = ganlet("fid", a, b, *words)
    assert code == 0 and "over 10 parts" in out


def test_what_is_printed_names_each_figure_with_its_interval(
    ganlet: Call, net: Path, pictures: Callable[..., Path]
) -> None:
    code, out, err = ganlet("fid", pictures("a"), pictures("b", seed=1), "--features", net, "--kid")
    assert code == 0 and "Traceback" not in err
    lines = out.splitlines()
    assert lines[0].startswith("fd_quarters_24") and "95 %" in lines[0]
    assert lines[1].startswith("kid_quarters_24") and "over 100 subsets of 12" in lines[2]
    assert lines[3] == "24 against 24 pictures, quarters features"
    assert "b: 24/24 pictures" in err


@pytest.mark.slow
def test_the_base_works_protocol_is_500_against_500_in_inception(
    ganlet: Call, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """From statistics files, since 1,000 pictures through Inception take minutes."""
    generator = np.random.default_rng(0)
    for name in "ab":
        known = Statistics(moments(generator.standard_normal((500, 2048))), "inception", "one protocol", "0" * 64)
        write_statistics(tmp_path / f"{name}.npz", known)
    found = document(ganlet("fid", tmp_path / "a.npz", tmp_path / "b.npz", "--protocol", "basework", "--json"))
    figure = found["figures"]["fid_inception_500"]
    assert figure["low"] < figure["value"] < figure["high"]
    assert any("500 against 500 in 2048 features" in note for note in found["notes"])


@pytest.mark.slow
def test_lite0_is_the_default_net(ganlet: Call, pictures: Callable[..., Path]) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    found = document(ganlet("fid", pictures("a"), pictures("b", seed=1), "--json"))
    assert list(found["figures"]) == ["fd_lite0_24"]
