"""Weights from elsewhere: base-work state dicts come in, pickled objects and misfits do not."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ganlet.artifact import CRITIC, load_stage, write_tensors
from ganlet.errors import GanletError
from ganlet.foreign import import_stage, read_state_dict
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
        ({"layer1__0__weight": None}, "no layer1.0.weight of four dimensions"),
        ({"layer1__0__weight": torch.ones(6, 5)}, "no layer1.0.weight of four dimensions"),
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
        {"layer1.0.weight": torch.ones(6, 5, 4, 4), 7: torch.ones(1)},
    ],
)
def test_plain_files_of_something_else(tmp_path: Path, content: Any) -> None:
    with pytest.raises(GanletError, match="expected a state dict of tensors"):
        read_state_dict(save(tmp_path, content))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="does not exist; give the path"):
        read_state_dict(tmp_path / "none.pt")


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
        read_state_dict(path)
    assert not mark.exists()
    if form == "plain":  # the attack itself works
        pickle.loads(path.read_bytes())  # noqa: S301
        assert mark.is_dir()


def test_a_whole_module_is_refused_with_the_remedy(tmp_path: Path, source: Generator) -> None:
    with pytest.raises(GanletError, match=r"whole pickled modules are not loaded, save model\.state_dict\(\)"):
        read_state_dict(save(tmp_path, source))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_truncated_files(tmp_path: Path, source: Generator, legacy: bool, part: float) -> None:
    path = save(tmp_path, source.state_dict(), _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(GanletError, match="is not a plain PyTorch state dict"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [b"\x80\x02", b"\x80\x02}q\x00", b"hello", b"\0" * 64, b"PK\x03\x04"])
def test_files_of_other_kinds(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(GanletError, match=r"is not a plain PyTorch state dict \(.+\)"):
        read_state_dict(tmp_path / "w.pt")


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(GanletError, match="is not a plain PyTorch state dict"):
        read_state_dict(tmp_path / "w.pt")


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
        found = read_state_dict(path)
    except GanletError as error:
        assert "state dict" in str(error)
    else:
        assert all(isinstance(tensor, Tensor) for tensor in found.values())
