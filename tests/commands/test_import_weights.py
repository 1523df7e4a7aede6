"""Weights from elsewhere: base-work state dicts come in, pickled objects and misfits do not."""

import argparse
import datetime
import io
import os
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ganlet.artifact import CRITIC, load_stage, write_tensors
from ganlet.commands.import_weights import import_stage, read_candidates
from ganlet.commands.import_weights.reading import read_content
from ganlet.errors import GanletError
from ganlet.recipe import Recipe, load_recipe, parse_recipe
from ganlet.training.load import load_critic, load_generator


class Generator(nn.Module):
    """The base work's student as its authors wrote it, narrow: names layer1.0 ... final.0, not a Ganlet class."""

    def __init__(self, latent: int = 6, widths: tuple[int, int] = (5, 4)) -> None:
        super().__init__()
        one, two = widths
        self.layer1 = nn.Sequential(nn.ConvTranspose2d(latent, one, 4, 1, 0), nn.BatchNorm2d(one), nn.ReLU(True))
        self.layer2 = nn.Sequential(nn.ConvTranspose2d(one, two, 8, 4, 2), nn.BatchNorm2d(two), nn.ReLU(True))
        self.final = nn.Sequential(nn.ConvTranspose2d(two, 3, 4, 2, 1))
        self.output = nn.Tanh()

    def forward(self, z: Tensor) -> Tensor:
        return self.output(self.final(self.layer2(self.layer1(z[:, :, None, None]))))


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        channels = (3, 4, 5, 6)
        for n in (1, 2, 3):
            parts = [nn.Conv2d(channels[n - 1], channels[n], 4, 2, 1), nn.InstanceNorm2d(channels[n], affine=True)]
            self.add_module(f"layer{n}", nn.Sequential(*parts, nn.LeakyReLU(0.2, True)))
        self.output = nn.Sequential(nn.Conv2d(6, 1, 4, 1, 0))

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.layer1, self.layer2, self.layer3, self.output):
            x = layer(x)
        return x.reshape(-1)


@pytest.fixture
def source() -> Generator:
    torch.manual_seed(2)
    generator = Generator()
    with torch.no_grad():
        generator(3 * torch.randn(8, 6))  # running statistics that are not those of a fresh network
    return generator.eval()


@pytest.fixture
def recipe() -> Recipe:
    return parse_recipe(
        {
            "run": {"name": "kd"},
            "data": {"source": "kittens", "size": 32},
            "teacher": {
                "latent": 6,
                "widths": [5, 4],
                "strides": [4, 2],
                "critic": {"widths": [4, 5, 6], "norm": "instance", "spectral": False},
            },
            "distill": {"widths": [5, 4], "strides": [4, 2], "critic": "teacher"},
        }
    )


def save(tmp_path: Path, content: Any, name: str = "weights.pt", **options: Any) -> Path:
    torch.save(content, tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("form", ["pt", "pth", "legacy", "nested", "safetensors", "half"])
@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_an_imported_generator_draws_the_sources_pictures(
    tmp_path: Path, source: Generator, recipe: Recipe, form: str, stage: str
) -> None:
    state, path = source.state_dict(), tmp_path / "weights.safetensors"
    if form == "safetensors":
        write_tensors(path, state)
    elif form == "nested":
        path = save(tmp_path, {"epoch": 3, "state_dict": state, "loss": [1.0]})
    elif form == "half":
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        path = save(tmp_path, state)
        source.load_state_dict(state)
    else:
        path = save(tmp_path, state, f"w.{form[:3]}", _use_new_zipfile_serialization=form != "legacy")
    import_stage(path, recipe, stage, tmp_path / "run")
    found = load_stage(tmp_path / "run" / stage)
    z = torch.randn(4, 6)
    with torch.no_grad():
        torch.testing.assert_close(load_generator(found)(z), source(z), rtol=0, atol=1e-6)
    assert found.name == stage and found.training == {} and found.key.startswith("imported ")
    assert found.config["provenance"]["made_from"]["file"] == path.name
    assert load_recipe(tmp_path / "run" / "recipe.toml") == recipe
    with pytest.raises(GanletError, match="holds no critic"):
        load_critic(found)


def test_its_critic_comes_along(tmp_path: Path, source: Generator, recipe: Recipe) -> None:
    torch.manual_seed(3)
    critic = Discriminator()
    made = import_stage(
        save(tmp_path, source.state_dict()),
        recipe,
        "teacher",
        tmp_path / "run",
        save(tmp_path, critic.state_dict(), "critic.pt"),
    )
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(load_critic(load_stage(made.folder))(images), critic(images), rtol=0, atol=1e-5)
    assert (made.folder / CRITIC).is_file()


def test_a_student_that_keeps_its_teachers_critic_takes_none(tmp_path: Path, source: Generator, recipe: Recipe) -> None:
    path = save(tmp_path, source.state_dict())
    with pytest.raises(GanletError, match="no \\[critic\\] widths"):
        import_stage(path, recipe, "student", tmp_path / "run", path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", ["transfer", "pupil", ""])
def test_other_stages_cannot_be_imported(tmp_path: Path, source: Generator, recipe: Recipe, stage: str) -> None:
    with pytest.raises(GanletError, match=f"--stage {stage} cannot be imported .* expected teacher .* or student"):
        import_stage(save(tmp_path, source.state_dict()), recipe, stage, tmp_path / "run")


def test_a_stage_is_not_overwritten(tmp_path: Path, source: Generator, recipe: Recipe) -> None:
    path = save(tmp_path, source.state_dict())
    import_stage(path, recipe, "student", tmp_path / "run")
    with pytest.raises(GanletError, match="already holds a stage; choose another --out"):
        import_stage(path, recipe, "student", tmp_path / "run")


# ---------------------------------------------------------------- what does not fit


def changed(source: Generator, **changes: Any) -> dict[Any, Any]:
    state: dict[Any, Any] = dict(source.state_dict())
    for name, value in changes.items():
        state.pop(name.replace("__", ".")) if value is None else state.__setitem__(name.replace("__", "."), value)
    return state


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layer2__1__running_var": None}, "missing layer2.1.running_var"),
        ({"layer3__0__weight": torch.ones(1)}, "unknown layer3.0.weight"),
        ({"final__0__weight": torch.ones(4, 3, 5, 5)}, "final.0.weight: (4, 3, 5, 5), expected (4, 3, 4, 4)"),
        ({"layer1__0__weight": None}, "missing layer1.0.weight"),
        ({"layer1__0__weight": torch.ones(6, 5)}, "layer1.0.weight: (6, 5), expected (6, 5, 4, 4)"),
        ({"layer1__0__weight": torch.ones(0, 5, 4, 4)}, "layer1.0.weight"),
        ({"layer1__0__weight": torch.ones(9, 5, 4, 4)}, "(9, 5, 4, 4), expected (6, 5, 4, 4)"),  # teacher.latent = 6
    ],
)
def test_misfits_are_told_and_leave_no_run(
    tmp_path: Path, source: Generator, recipe: Recipe, changes: dict[str, Any], words: str
) -> None:
    path = save(tmp_path, changed(source, **changes))
    with pytest.raises(GanletError) as raised:
        import_stage(path, recipe, "teacher", tmp_path / "run")
    assert words in str(raised.value) and str(path) in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("latent", [0, 70_000])
def test_a_students_latent_comes_from_its_weights_within_reason(
    tmp_path: Path, source: Generator, recipe: Recipe, latent: int
) -> None:
    path = save(tmp_path, changed(source, layer1__0__weight=torch.ones(latent, 1, 1, 1)))
    with pytest.raises(GanletError, match=f"{latent}"):
        import_stage(path, recipe, "student", tmp_path / "run")


@pytest.mark.parametrize(
    "content",
    [
        [torch.ones(1)],
        torch.ones(3),
        3,
        {"a": 1},
        {1: torch.ones(1)},
        {"state_dict": {"a": [1]}},
        {"layers": {3: torch.ones(1)}, "args": None},
    ],
)
def test_plain_files_of_something_else(tmp_path: Path, content: Any) -> None:
    with pytest.raises(GanletError, match="expected a state dict of tensors"):
        read_candidates(save(tmp_path, content))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="does not exist; give the path"):
        read_content(tmp_path / "none.pt")


# ---------------------------------------------------------------- what is not loaded at all


class Attack:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["zip", "legacy", "plain", "renamed"])
def test_a_malicious_pickle_is_never_executed(tmp_path: Path, source: Generator, form: str) -> None:
    mark = tmp_path / "executed"
    content = {**source.state_dict(), "evil": Attack(str(mark))}
    path = tmp_path / ("w.safetensors" if form == "renamed" else "w.pt")
    if form in ("plain", "renamed"):
        path.write_bytes(pickle.dumps(Attack(str(mark))))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(GanletError):
        read_content(path)
    assert not mark.exists()
    if form == "plain":  # the attack itself works
        pickle.loads(path.read_bytes())  # noqa: S301
        assert mark.is_dir()


def test_a_whole_module_is_refused_with_the_remedy(tmp_path: Path, source: Generator) -> None:
    with pytest.raises(GanletError, match=r"whole pickled modules are not loaded, save model\.state_dict\(\)"):
        read_content(save(tmp_path, source))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_truncated_files(tmp_path: Path, source: Generator, legacy: bool, part: float) -> None:
    path = save(tmp_path, source.state_dict(), _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(GanletError, match="is not a plain PyTorch state dict"):
        read_content(path)


@pytest.mark.parametrize("content", [b"\x80\x02", b"\x80\x02}q\x00", b"hello", b"\0" * 64, b"PK\x03\x04"])
def test_files_of_other_kinds(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(GanletError, match=r"is not a plain PyTorch state dict \(.+\)"):
        read_content(tmp_path / "w.pt")


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(GanletError, match="is not a plain PyTorch state dict"):
        read_content(tmp_path / "w.pt")


LEGACY = io.BytesIO()
torch.save({"layer1.0.weight": torch.arange(8.0).reshape(2, 4)}, LEGACY, _use_new_zipfile_serialization=False)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(LEGACY.getvalue()) - 1), st.integers(0, 255), st.booleans())
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_pickles_raise_nothing_but_ganlet_errors(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: bool
) -> None:
    content = bytearray(LEGACY.getvalue())
    content[place] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(content[: place + 1] if cut else content)
    try:
        found = read_candidates(path)
    except GanletError as error:
        assert "state dict" in str(error)
    else:
        assert all(isinstance(tensor, Tensor) for candidate in found for tensor in candidate.tensors.values())


# ---------------------------------------------------------------- what checkpoints wrap weights in


def under(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in state.items()}


OPTIMISER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 2)}}, "param_groups": [{"lr": 1e-3}]}
WRAPPINGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "DataParallel": lambda s: under("module.", s),
    "compiled": lambda s: under("_orig_mod.", s),
    "both": lambda s: {"model": under("module._orig_mod.", s), "optimizer": OPTIMISER},
    "both, the other way, in a module": lambda s: under("_orig_mod.module.generator.", s),
    "Lightning": lambda s: {"epoch": 3, "state_dict": {**under("netG.", s), "loss.scale": torch.ones(1)}, "loops": {}},
    "EMA as prefix": lambda s: {"state_dict": {**under("G.", zeros(s)), **under("g_ema.", s)}},
    "EMA beside": lambda s: {
        "g": zeros(s),
        "g_ema": s,
        "g_optim": OPTIMISER,
        "args": argparse.Namespace(lr=1, d=Path("a")),
    },
    "EMA in a list": lambda s: [{"name": "netG", "weights": zeros(s)}, {"name": "x", "ema": {"module": s}}],
    "BasicSR": lambda s: {"params": zeros(s), "params_ema": s},
    "deep": lambda s: {"a": {"b": {"model_state_dict": s}}, "step": np.int64(3), "curve": np.arange(3.0)},
    "AveragedModel": lambda s: {"n_averaged": torch.tensor(7), **under("module.", s)},
    "NumPy arrays": lambda s: {"generator": {name: tensor.numpy() for name, tensor in s.items()}},
    "numbers beside": lambda s: {**s, "epoch": 3, "fid": np.float64(3.5), "step": torch.tensor(9)},
    "no counters": lambda s: {name: tensor for name, tensor in s.items() if "num_batches" not in name},
    "types": lambda s: {
        "state_dict": OrderedDict(s),
        "log": defaultdict(list, a=[1]),
        "when": datetime.datetime(2026, 1, 1),
    },
    "twice the same": lambda s: {"model": s, "generator": dict(s)},
    "critic of the same names": lambda s: {"generator": s, "discriminator": zeros(s)},
}


def zeros(state: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


@pytest.mark.parametrize("form", list(WRAPPINGS))
@pytest.mark.parametrize("legacy", [False, True])
def test_the_network_that_is_meant_is_found_and_told(
    tmp_path: Path, source: Generator, recipe: Recipe, form: str, legacy: bool
) -> None:
    path = save(tmp_path, WRAPPINGS[form](source.state_dict()), _use_new_zipfile_serialization=not legacy)
    said: list[str] = []
    made = import_stage(path, recipe, "teacher", tmp_path / "run", say=said.append)
    z = torch.randn(4, 6)
    with torch.no_grad():
        torch.testing.assert_close(load_generator(load_stage(made.folder))(z), source(z), rtol=0, atol=1e-6)
    assert made.config["provenance"]["made_from"]["notes"] == said
    plain = form in ("numbers beside",)
    assert bool(said) != plain and ("average" in " ".join(said)) == ("EMA" in form or form in ("BasicSR",))


@pytest.mark.parametrize("prefix", ["module.", "generator.", "model.g_ema."])
def test_safetensors_have_prefixes_too(tmp_path: Path, source: Generator, recipe: Recipe, prefix: str) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, under(prefix, source.state_dict()))
    renamed = path.rename(tmp_path / "w.bin") if prefix == "generator." else path  # known by its content
    said: list[str] = []
    import_stage(renamed, recipe, "student", tmp_path / "run", say=said.append)
    assert len(said) == 1 and f'"{prefix}"' in said[0]


@pytest.mark.parametrize("form", ["keys", "prefixes", "wrapped"])
def test_a_critic_beside_the_generator_comes_along(
    tmp_path: Path, source: Generator, recipe: Recipe, form: str
) -> None:
    torch.manual_seed(3)
    critic = Discriminator()
    g, d = source.state_dict(), critic.state_dict()
    content = {
        "keys": {"netG": g, "netD": d, "optD": OPTIMISER},
        "prefixes": under("generator.", g) | under("critic.", d),
        "wrapped": {"state_dict": under("module.G.", g) | under("module.D.", d) | under("module.D_ema.", zeros(d))},
    }
    said: list[str] = []
    made = import_stage(save(tmp_path, content[form]), recipe, "teacher", tmp_path / "run", say=said.append)
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(load_critic(load_stage(made.folder))(images), critic(images), rtol=0, atol=1e-5)
    assert [line.split(":")[0] for line in said] == ["generator", "critic"]


def test_a_critic_that_does_not_fit_is_left_out_and_told(tmp_path: Path, source: Generator, recipe: Recipe) -> None:
    path = save(tmp_path, {"G": source.state_dict(), "D": {"layer1.0.weight": torch.ones(2, 3, 4, 4)}})
    said: list[str] = []
    made = import_stage(path, recipe, "teacher", tmp_path / "run", say=said.append)
    assert "critic beside it is left out" in said[1] and not (made.folder / CRITIC).exists()


def test_generators_that_differ_are_not_guessed(tmp_path: Path, source: Generator, recipe: Recipe) -> None:
    state = source.state_dict()
    path = save(tmp_path, {"G_A": state, "G_B": zeros(state)})
    with pytest.raises(GanletError, match='several generators that fit, under "G_A" and "G_B"; save the state dict of'):
        import_stage(path, recipe, "teacher", tmp_path / "run")


def test_an_average_without_its_norms_is_told(tmp_path: Path, source: Generator, recipe: Recipe) -> None:
    state = source.state_dict()
    only = {name: tensor for name, tensor in state.items() if "running" not in name}
    said: list[str] = []
    import_stage(save(tmp_path, {"model": state, "ema": only}), recipe, "teacher", tmp_path / "run", say=said.append)
    assert 'taken from "model"' in said[0] and 'the average in "ema" does not fit: missing layer1.1.running' in said[1]


# ---------------------------------------------------------------- numbers that are no weights


KINDS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "quantised": (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), r"is quantised \(qint8\)"),
    "by channels": (
        lambda t: torch.quantize_per_channel(t, torch.ones(5), torch.zeros(5), 1, torch.quint8),
        r"is quantised \(quint8\)",
    ),
    "sparse": (lambda t: t.to_sparse(), r"is sparse \(sparse_coo\)"),
    "complex": (lambda t: t.to(torch.complex64), r"is complex \(complex64\)"),
    "integers": (lambda t: t.to(torch.int8), r"holds integers \(int8\)"),
    "truth values": (lambda t: t > 0, r"holds truth values \(bool\)"),
    "meta": (lambda t: t.to("meta"), "is a meta tensor"),
    "NaN": (lambda t: t.where(t > 0, torch.nan), r"numbers of 480 that are not finite \(NaN"),
    "infinite": (lambda t: t.where(t > 0, torch.inf).half(), r"numbers of 480 that are not finite"),
    "beyond float32": (lambda t: t.double() * 1e300, r"too large for float32"),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.filterwarnings("ignore:TypedStorage")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [False, True])
def test_tensors_that_are_no_weights_are_refused_by_name_and_kind(
    tmp_path: Path, source: Generator, recipe: Recipe, kind: str, more: bool
) -> None:
    """Also beside the names that a quantised network has more."""
    change, words = KINDS[kind]
    state = changed(source, layer1__0__weight=change(source.state_dict()["layer1.0.weight"]))
    if more and ("finite" in words or "float32" in words):
        pytest.skip("told once the names fit")
    extra = {"layer1.0.scale": torch.tensor(1.0)} if more else {}
    with pytest.raises(GanletError, match=r"weights\.pt: layer1\.0\.weight " + f".*{words}"):
        import_stage(save(tmp_path, {"g_ema": state | extra}), recipe, "teacher", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_it_is_told(
    tmp_path: Path, source: Generator, recipe: Recipe, dtype: torch.dtype
) -> None:
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in source.state_dict().items()
    }
    said: list[str] = []
    made = import_stage(save(tmp_path, state), recipe, "teacher", tmp_path / "run", say=said.append)
    expected = {name: tensor.float() for name, tensor in state.items() if tensor.is_floating_point()}
    kept = made.tensors()
    assert all(torch.equal(kept[name], tensor) for name, tensor in expected.items())
    assert said == [f"generator: {len(expected)} tensors of {str(dtype)[6:]} are converted to float32"]


# ---------------------------------------------------------------- files of other kinds


def scripted(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), str(path))


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "an empty file"),
    "pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"),
        "a Git-LFS pointer.*git lfs pull",
    ),
    "page": (lambda path: path.write_text("\n<!DOCTYPE html><html>404"), "an HTML page"),
    "npz": (lambda path: path.write_bytes(npz()), r"a NumPy archive \(.npz\)"),
    "TorchScript": (scripted, "a TorchScript archive"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(50)), "a gzip archive"),
    "tar": (lambda path: path.write_bytes(bytes(257) + b"ustar" + bytes(300)), "a tar archive"),
    "Keras": (lambda path: path.write_bytes(b"\x89HDF\r\n" + bytes(50)), "an HDF5 file"),
}


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_weights_are_told_by_kind(tmp_path: Path, kind: str, suffix: str) -> None:
    write, words = FILES[kind]
    path = tmp_path / f"w{suffix}"
    write(path)
    with pytest.raises(GanletError, match=f"{words}"):
        read_candidates(path)


def test_a_folder_is_told_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="is a folder; give the path"):
        read_content(tmp_path)


# ---------------------------------------------------------------- other layouts


@pytest.mark.parametrize("where", ["", "state_dict"])
def test_another_layout_is_told_by_its_names_and_the_nearest(
    tmp_path: Path, source: Generator, recipe: Recipe, where: str
) -> None:
    """Names of PyTorch's DCGAN tutorial, and one that steers a terminal."""
    state = {name.replace("layer", "main\x1b[2J"): tensor for name, tensor in source.state_dict().items()}
    path = save(tmp_path, {where: state} if where else state)
    with pytest.raises(GanletError) as raised:
        import_stage(path, recipe, "teacher", tmp_path / "run")
    text = str(raised.value)
    assert "missing layer1.0.bias (nearest: main\\x1b[2J1.0.bias)" in text and "\x1b" not in text
    assert "it holds 16 tensors: main\\x1b[2J1.0.weight" in text and (not where or '"state_dict"' in text)


def test_a_checkpoint_of_another_size_is_told_by_the_nearest_network(
    tmp_path: Path, source: Generator, recipe: Recipe
) -> None:
    path = save(tmp_path, {"D": {"conv.weight": torch.ones(3)}, "G": Generator(6, (5, 7)).state_dict()})
    with pytest.raises(
        GanletError, match=r'"G" does not fit .*layer2\.0\.weight: \(5, 7, 8, 8\), expected \(5, 4, 8, 8\)'
    ):
        import_stage(path, recipe, "teacher", tmp_path / "run")
