"""Files, overrides, freezing, resolved defaults, and the key of a stage."""

import math
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from ganlet.errors import GanletError
from ganlet.recipe import Recipe, Train, load_recipe, parse_recipe, save_recipe
from ganlet.section import Section

Tables = dict[str, Any]


@pytest.fixture
def path(tables: Tables, tmp_path: Path) -> Path:
    found = tmp_path / "tiny.toml"
    found.write_text(tomli_w.dumps(tables))
    return found


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"\xff\xfe[run]", "UTF-8"),
        (b"[run\nname = 1", "not valid TOML"),
        (b"[run]\nname = 'a'\nname = 'b'", "not valid TOML"),
        (b"seed = 1" + b"0" * 5000, "not valid TOML"),
        (b"[run]\nseed = 0x1" + b"0" * 9000, "run: Exceeds the limit"),
        (b"a = " + b"[" * 20_000, "not valid TOML"),
        (b"", "this section is missing"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_error(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "bad.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GanletError) as raised:
        load_recipe(path)
    assert words in str(raised.value) and str(path) in str(raised.value)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="cannot be read"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
        lambda text: text.encode("utf-16-le"),  # without a mark
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
    ],
)
def test_encodings_of_editors_are_read(path: Path, encode: Callable[[str], bytes]) -> None:
    expected = load_recipe(path)
    text = path.read_text() + "# котёнок 小猫\n"
    path.write_bytes(encode(text))
    assert load_recipe(path) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[run]\n# caf\xe9\n".encode("latin-1"), r"not UTF-8 text \(byte 0xe9 in line 2\); save it .* UTF-8"),
        (b"[run]\x80\n", "byte 0x80 in line 1"),
        (b"\xff\xfe[\x00r", "not UTF-16-LE text"),
    ],
)
def test_other_encodings_are_one_sentence(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    with pytest.raises(GanletError, match=words) as raised:
        load_recipe(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "folder", ["C:\\Users\\me\\pics", "D:\\xray\\a", "C:\\pics\\", "..\\pics\\kittens", "\\\\server\\pics"]
)
def test_backslashes_that_are_no_toml_get_the_path_that_is(path: Path, folder: str) -> None:
    text = path.read_text().replace('source = "kittens"', f'source = "folder"\npath = "{folder}"')
    path.write_text(text)
    with pytest.raises(GanletError, match="forward slashes or in single quotes, such as ") as raised:
        load_recipe(path)
    better = str(raised.value).split("such as ")[1].rstrip(".")
    path.write_text(text.replace(f'"{folder}"', better))
    assert load_recipe(path).data.path == folder.replace("\\\\", "\\").replace("\\", "/").rstrip(
        "/"
    ) + "/" * folder.endswith("\\")
    path.write_text(text.replace(f'"{folder}"', f"'{folder}'"))
    assert load_recipe(path).data.path == folder


@pytest.mark.parametrize("folder", ["C:\\temp", "D:\\new\\faces", "data\\raw"])
def test_backslashes_that_toml_reads_as_something_else_are_told(path: Path, folder: str) -> None:
    path.write_text(path.read_text().replace('source = "kittens"', f'source = "folder"\npath = "{folder}"'))
    with pytest.raises(GanletError, match=r"data\.path: no such path .*forward slashes or in single quotes") as raised:
        load_recipe(path)
    assert len(str(raised.value).splitlines()) == 2


def test_a_folder_whose_name_has_a_tab_is_a_folder(path: Path, tmp_path: Path) -> None:
    (tmp_path / "a\tb").mkdir()
    assert load_recipe(path, ["data.source=folder", f"data.path={tmp_path}/a\tb"]).data.path == f"{tmp_path}/a\tb"


def test_backslashes_between_folders_that_are_there(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pics" / "kittens").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GanletError, match=r"data\.path: no such path pics\\kittens; here .*: pics/kittens"):
        load_recipe(path, ["data.source=folder", "data.path=pics\\kittens"])


# ---------------------------------------------------------------- overrides


@pytest.mark.parametrize("quoted", ['"C:\\Users\\me"', '"C:\\pics\\"', ' "D:\\x"'])
def test_an_override_with_backslashes_gets_the_path_that_is_read(path: Path, quoted: str) -> None:
    with pytest.raises(GanletError, match="forward slashes or in single quotes") as raised:
        load_recipe(path, ["data.source=folder", f"data.path={quoted}"])
    better = str(raised.value).split("such as ")[1].rstrip(".")
    folder = quoted.strip(' "')
    assert load_recipe(path, ["data.source=folder", f"data.path={better}"]).data.path == folder.replace("\\", "/")
    assert load_recipe(path, ["data.source=folder", f"data.path='{folder}'"]).data.path == folder
    assert load_recipe(path, ["data.source=folder", f"data.path={folder}"]).data.path == folder


def test_an_override_is_one_value(path: Path) -> None:
    with pytest.raises(GanletError, match=r"run\.name"):
        load_recipe(path, ["run.name=1\nseed=2"])


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("run.name=other", "run.name", "other"),
        ('run.name="quoted"', "run.name", "quoted"),
        ("run.name = spaced ", "run.name", "spaced"),
        ("run.seed=7", "run.seed", 7),
        ("teacher.train.lr=1e-3", "teacher.train.lr", 1e-3),
        ("teacher.train.lr = 0.5", "teacher.train.lr", 0.5),
        ("teacher.train.betas=[0.5, 0.9]", "teacher.train.betas", (0.5, 0.9)),
        ("teacher.train.augment=['color']", "teacher.train.augment", ("color",)),
        ("distill.widths=[3, 2]", "distill.widths", (3, 2)),
        ("data.flip=true", "data.flip", True),
        ("budget.model_mb=0.5", "budget.model_mb", 0.5),  # a section that the file has not
        ("distill.train.n_critic=3", "distill.train.n_critic", 3),
        ("teacher.critic={widths = [4, 4], spectral = false}", "teacher.critic.widths", (4, 4)),
    ],
)
def test_overrides(path: Path, override: str, place: str, value: Any) -> None:
    found: Any = load_recipe(path, [override])
    assert load_recipe(path) != found
    for name in place.split("."):
        found = getattr(found, name)
    assert found == value and type(found) is type(value)


def test_overrides_apply_in_order_and_reach_parsing(path: Path) -> None:
    recipe = load_recipe(path, ["run.seed=1", "run.seed=2", "data.size=16"])
    assert recipe.run.seed == 2
    with pytest.raises(GanletError, match=r"data\.size = 32"):
        load_recipe(path, ["data.size=32"])
    with pytest.raises(GanletError, match=r"teacher\.train\.bacth: unknown key; did you mean batch"):
        load_recipe(path, ["teacher.train.bacth=3"])


@pytest.mark.parametrize("override", ["run.seed", "=3", ".seed=3", "run.=3", "run..seed=3", "", " = "])
def test_an_override_of_another_form_is_told_how(path: Path, override: str) -> None:
    with pytest.raises(GanletError, match=r"not of the form section\.key=value") as raised:
        load_recipe(path, [override])
    assert repr(override) in str(raised.value)


@pytest.mark.parametrize(("override", "name"), [("run.name.first=1", "name"), ("teacher.widths.0=1", "widths")])
def test_an_override_through_a_value(path: Path, override: str, name: str) -> None:
    with pytest.raises(GanletError, match=f"{name} is not a section"):
        load_recipe(path, [override])


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_override_raises_anything_but_ganlet_errors(key: str, text: str) -> None:
    path = Path(__file__).parents[2] / "recipes" / "kittens-quick.toml"
    for override in (f"{key}={text}", f"run.name={text}", f"run.{key}={text}"):
        try:
            recipe = load_recipe(path, [override])
        except GanletError:
            continue
        assert isinstance(recipe, Recipe)


# ---------------------------------------------------------------- what a recipe is


def sections(value: BaseModel, at: str = "") -> dict[str, BaseModel]:
    found = {at: value}
    for name in type(value).model_fields:
        below = getattr(value, name)
        if isinstance(below, BaseModel):
            found |= sections(below, f"{at}{name}.")
    return found


def test_every_section_is_frozen(tables: Tables) -> None:
    all_sections = sections(parse_recipe(tables))
    assert "teacher.critic." in all_sections and "distill.train." in all_sections
    for section in all_sections.values():
        name = next(iter(type(section).model_fields))
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(section, name, getattr(section, name))


def test_the_resolved_file_has_every_default(tables: Tables, tmp_path: Path) -> None:
    recipe = parse_recipe(tables)
    save_recipe(recipe, tmp_path / "recipe.toml")
    written = tomllib.loads((tmp_path / "recipe.toml").read_text())
    for at, section in sections(recipe).items():
        table = written
        for name in at.split(".")[:-1]:
            table = table[name]
        values = {f.alias or name: getattr(section, name) for name, f in type(section).model_fields.items()}
        assert table.keys() == {key for key, value in values.items() if value is not None}, at
    assert load_recipe(tmp_path / "recipe.toml") == recipe


def test_from_keeps_its_name_in_the_file(tables: Tables, tmp_path: Path) -> None:
    del tables["teacher"]
    tables["transfer"] = {"from": 'exported/it\'s "here"', "freeze_critic": 1}
    save_recipe(parse_recipe(tables), tmp_path / "recipe.toml")
    assert tomllib.loads((tmp_path / "recipe.toml").read_text())["transfer"]["from"] == 'exported/it\'s "here"'
    assert load_recipe(tmp_path / "recipe.toml") == parse_recipe(tables)


@given(st.integers(1, 10**6), st.integers(2, 4096), st.integers(1, 100))
def test_steps_show_no_more_pictures_than_asked_but_for_one_step(images: int, batch: int, n_critic: int) -> None:
    steps = Train(images=images, batch=batch, n_critic=n_critic).steps
    assert steps == max(1, math.floor(images / (batch * n_critic)))
    assert steps == 1 or steps * batch * n_critic <= images


def test_steps_by_hand() -> None:
    assert Train(images=48000, batch=32).steps == 1500
    assert Train(images=100, batch=8, n_critic=5).steps == 2
    assert Train(images=1, batch=8).steps == 1


# ---------------------------------------------------------------- keys


def keys(tables: Tables, **changes: Any) -> str:
    for path, value in changes.items():
        *parents, last = path.split("__")
        table = tables
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    return parse_recipe(tables).key("data", "teacher")


@pytest.mark.parametrize(
    "change",
    [
        {"teacher__train__log_steps": 1},
        {"teacher__train__checkpoint_steps": 7},
        {"teacher__train__progress_steps": 7},
        {"run__name": "renamed"},
        {"run__device": "cpu"},
        {"budget__model_mb": 1.0},
        {"distill__alpha": 0.5},
        {"teacher__latent": 8},  # what it is already
        {"teacher__loss": "non-saturating"},  # the default
    ],
)
def test_what_changes_no_result_leaves_the_key(tables: Tables, change: dict[str, Any]) -> None:
    assert keys(tables) == keys(tables, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"teacher__train__lr": 3e-4},
        {"teacher__train__ema": 0.0},
        {"teacher__critic__spectral": False},
        {"run__seed": 1},
        {"run__threads": 1},
        {"data__flip": True},
        {"data__seed": 1},
        {"data__count": 5},
        {"data__channels": 1},
    ],
)
def test_what_changes_the_result_changes_the_key(tables: Tables, change: dict[str, Any]) -> None:
    assert keys(tables) != keys(tables, **change)


def test_where_the_pictures_lie_leaves_the_key_and_what_they_are_changes_it(tables: Tables) -> None:
    tables["data"] |= {"source": "folder", "path": "here"}
    here = keys(tables)
    assert here == keys(tables, data__path="there")
    recipe = parse_recipe(tables)
    assert recipe.key("data", data_sha256="a") != recipe.key("data", data_sha256="b")
    assert recipe.key("data") != recipe.key("data", "teacher")


def step_key(step: dict[str, Any]) -> str:
    tables = {"run": {"name": "r"}, "data": {"source": "kittens", "count": 100}, "compress": [step]}
    return parse_recipe(tables | {"export": {"targets": ["onnx", "onnx-int8"]}}).key("compress")


def test_a_default_that_has_changed_makes_what_was_made_by_the_former_stale() -> None:
    """The hash is of the version whose defaults were alpha 0.09, features 1, Adam's 2e-4 and no DiffAugment."""
    bare = {"method": "prune", "from": "x", "ratio": 0.5, "tune": {}}
    assert step_key(bare) != "4e6cb3d4f9ebf142ea371e8d82cbea92ac33545951ca08186d67bef5671c5752"
    train = {"lr": 1e-3, "lr_critic": 8e-4, "decay": 0.3, "augment": ["color", "translation"]}
    spelled = bare | {"tune": {"alpha": 0.2, "features": 0.0, "train": train}}
    assert step_key(spelled) == step_key(bare)
    for key, value in {"alpha": 0.09, "features": 1.0, "train": {"augment": []}}.items():
        assert step_key(bare | {"tune": {key: value}}) != step_key(bare), key


def test_a_key_whose_defaults_have_not_changed_is_that_of_all_versions() -> None:
    settled = {"method": "quantize", "from": "x", "tune": {}}
    assert step_key(settled) == "6e96683c968a9eb65afd2e57c1a5a206c7f63d430603231a78cc6797573f3a2f"
    cut = {"method": "prune", "from": "x", "ratio": 0.5}
    assert step_key(cut) == "1749259583ac06b0201c3281695ad2cde4858300bf393ac2aa66d48837b65dc9"


def test_a_changed_default_is_kept_however_deep_it_lies() -> None:
    class Inner(Section):
        rate: float = 0.5
        steps: int = 3
        redefined = ("rate",)

    class Outer(Section):
        one: Inner = Inner()
        absent: Inner | None = None
        many: tuple[Inner, ...] = ()
        bare: int = 1

    assert Outer().deciding() == {"one": {"rate": 0.5}}
    given = Outer(one=Inner(steps=4), absent=Inner(), many=(Inner(), Inner(rate=0.1)))
    assert given.deciding() == {
        "one": {"rate": 0.5, "steps": 4},
        "absent": {"rate": 0.5},
        "many": [{"rate": 0.5}, {"rate": 0.1}],
    }


def test_the_hash_of_all_values_ignores_only_name_device_path_and_logging(tables: Tables) -> None:
    base = parse_recipe(tables).sha256
    tables["run"] = {"name": "renamed", "device": "cpu"}
    tables["distill"]["train"]["log_steps"] = 1
    assert parse_recipe(tables).sha256 == base
    tables["verify"] = {"samples": 60}
    assert parse_recipe(tables).sha256 != base


def test_torch_is_loaded_only_where_a_recipe_is_parsed() -> None:
    code = "import sys; import ganlet.recipe; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_a_section_is_taken_away_by_a_word(tmp_path: Path, tiny_tables: dict[str, Any]) -> None:
    path = tmp_path / "recipe.toml"
    save_recipe(parse_recipe(tiny_tables), path)
    assert load_recipe(path, ["distill=off"]).distill is None
    assert load_recipe(path, ["transfer=off"]).transfer is None  # it is not there: nothing to take away
    with pytest.raises(GanletError, match="distil: unknown section"):
        load_recipe(path, ["distil=off"])
    with pytest.raises(GanletError, match="data: this section is missing"):
        load_recipe(path, ["data=off"])


def test_verification_knows_the_original_inception(tiny_tables: dict[str, Any]) -> None:
    tiny_tables["verify"]["features"] = "inception"
    assert parse_recipe(tiny_tables).verify.features == "inception"


@pytest.mark.parametrize("name", ["котята", "小猫-2", "cafe\u0301", "a" * 128, "v1.0_b"])
def test_a_run_may_have_a_name_of_any_alphabet(path: Path, tmp_path: Path, name: str) -> None:
    recipe = load_recipe(path, [f"run.name={name}"])
    (tmp_path / recipe.run.name).mkdir()
    save_recipe(recipe, tmp_path / recipe.run.name / "recipe.toml")
    assert load_recipe(tmp_path / name / "recipe.toml").run.name == name


def test_a_number_of_thousands_of_digits_brings_no_advice_of_python(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"[run]\nname = {'9' * 5000}\n")
    with pytest.raises(GanletError) as raised:
        load_recipe(path)
    assert "sys." not in str(raised.value) and len(str(raised.value)) < 500


def test_an_override_of_any_length_is_told_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('[run]\nname = "a"\n')
    for override in ("x" * 5000, "run." + "x" * 5000 + "=1", "run.name.y=" + "z" * 5000):
        with pytest.raises(GanletError) as raised:
            load_recipe(path, [override])
        assert all(len(line) < 500 for line in str(raised.value).splitlines())
