"""All faults of a file at once: each with its path, what was got and the nearest valid key; never another exception."""

import copy
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlet.errors import GanletError
from ganlet.recipe import Recipe, parse_recipe

Tables = dict[str, Any]


def faults(tables: Tables) -> list[str]:
    """The listed faults; their number is the one that the first line announces."""
    with pytest.raises(GanletError) as raised:
        parse_recipe(tables, "some.toml")
    first, *listed = str(raised.value).split("\n  ")
    count = len(listed)
    assert first == f"Recipe some.toml has {count} fault{'' if count == 1 else 's'}; mend each and run again:"
    return listed


def put(tables: Tables, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        tables = tables.setdefault(parent, {})
    tables[last] = value


def test_every_fault_is_listed_at_once(tables: Tables) -> None:
    tables["bugdet"] = {}
    put(tables, "run.sead", 1)
    put(tables, "data.size", "16")
    put(tables, "teacher.critic.widhts", [4])
    put(tables, "teacher.train.bacth", 4)
    put(tables, "distill.alpha", 1.5)
    put(tables, "verify.samples", True)
    listed = faults(tables)
    expected = {
        "bugdet: unknown section; did you mean budget?",
        "run.sead: unknown key; did you mean seed?",
        "teacher.critic.widhts: unknown key; did you mean widths?",
        "teacher.train.bacth: unknown key; did you mean batch?",
    }
    assert expected <= set(listed)
    rest = {line.split(":")[0]: line for line in listed if line not in expected}
    assert rest.keys() == {"data.size", "distill.alpha", "verify.samples"}
    assert rest["data.size"].endswith("got '16'") and rest["distill.alpha"].endswith("got 1.5")
    assert "less than or equal to 1" in rest["distill.alpha"] and rest["verify.samples"].endswith("got True")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("budgett", "did you mean budget?"),
        ("zzzzzz", "valid are run, data, teacher, transfer, distill, compress, search, export, verify, budget"),
        ("data.chanels", "did you mean channels?"),
        ("teacher.latnt", "did you mean latent?"),
        ("teacher.critic.spectrall", "did you mean spectral?"),
        ("teacher.train.nn_critic", "did you mean n_critic?"),
        ("distill.fromm", "did you mean from?"),
        ("distill.train.lr_crit", "did you mean lr_critic?"),
        ("teacher.critic.qqqqqq", "valid are widths, norm, spectral, condition"),
        ("teacher.Critic", "did you mean critic?"),
        ("teacher.critic.Critic", "valid are widths, norm, spectral, condition"),
    ],
)
def test_unknown_keys_name_the_nearest_valid_one(tables: Tables, path: str, hint: str) -> None:
    put(tables, path, {} if "." not in path else 1)
    kind = "key" if "." in path else "section"
    assert faults(tables) == [f"{path}: unknown {kind}; {hint}"]


def test_a_key_called_int_is_unknown_too(tables: Tables) -> None:
    put(tables, "run.int", "")  # not taken for pydantic's own name of a number in a union
    assert faults(tables) == ["run.int: unknown key; valid are name, seed, device, threads"]


def test_an_unknown_key_of_the_students_own_critic_is_one_fault(tables: Tables) -> None:
    tables["distill"]["critic"] = {"widths": [4, 8], "spektral": True}
    assert faults(tables) == ["distill.critic.spektral: unknown key; did you mean spectral?"]


@pytest.mark.parametrize("critic", ["techer", 3, [1], True])
def test_the_students_critic_is_teacher_or_a_table(tables: Tables, critic: Any) -> None:
    tables["distill"]["critic"] = critic
    assert faults(tables) == [f"distill.critic: input should be 'teacher' or a table, got {critic!r}"]


def test_a_section_that_is_no_table_is_told_what_it_should_be(tables: Tables) -> None:
    tables["distill"]["train"] = 4
    assert faults(tables) == ["distill.train: input should be a table, got 4"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.size", "32"),
        ("data.size", 32.5),
        ("data.size", True),
        ("data.flip", 1),
        ("data.flip", "true"),
        ("data.channels", 2),
        ("run.name", 7),
        ("run.name", "../up"),
        ("run.name", ""),
        ("run.name", ".hidden"),
        ("run.name", "a/b"),
        ("run.name", "a b"),
        ("run.name", "a\x1b[31m"),
        ("run.name", "a\u202eb"),
        ("run.name", "ю" * 65),
        ("run.seed", -1),
        ("run.seed", 2**63),
        ("run.seed", float("nan")),
        ("run.device", "gpu"),
        ("run.threads", 0),
        ("teacher.train.lr", float("inf")),
        ("teacher.train.lr", float("nan")),
        ("teacher.train.lr", "1e-3"),
        ("teacher.train.lr", 0),
        ("teacher.train.lr", True),
        ("teacher.train.betas", [0.0, 1.0]),
        ("teacher.train.batch", 1),
        ("teacher.train.augment", ["colour"]),
        ("teacher.train.augment", "color"),
        ("teacher.train", 3),
        ("teacher.critic.widths", []),
        ("teacher.critic.widths", [4, 0]),
        ("teacher.widths", 8),
        ("teacher.loss", "wgan"),
        ("teacher", [1]),
        ("distill.alpha", float("inf")),
        ("distill.features", -0.1),
        ("distill.widths", 8),
        ("distill.width", 1.5),
        ("distill.pixel", "l2"),
        ("distill.adapters", "1"),
        ("distill.gate", 1.0),
        ("distill.gate", 0.4),
        ("distill.real_share", -0.1),
        ("distill.alpha_end", 2.0),
        ("teacher.block", "deconv"),
        ("verify.max_drop_percent", float("inf")),
        ("budget.model_mb", 0),
        ("budget.latency_ms", float("nan")),
        ("export.targets", ["onx"]),
    ],
)
def test_a_wrong_value_is_named_with_its_path_and_nothing_else(tables: Tables, path: str, value: Any) -> None:
    put(tables, path, value)
    listed = faults(tables)
    assert [line for line in listed if not line.startswith(path)] == [], listed
    if isinstance(value, list) and value and path != "teacher":
        assert listed[0].startswith(f"{path}.{len(value) - 1}: ")  # which of them
    shown = value[-1] if isinstance(value, list) and value and path != "teacher" else value
    assert "got " in listed[0] and repr(shown) in listed[0]


def test_too_few_values(tables: Tables) -> None:
    tables["teacher"]["train"]["betas"] = [0.0]
    assert faults(tables) == ["teacher.train.betas.1: this value is missing"]


def test_missing_sections_and_keys() -> None:
    assert set(faults({"teacher": {"widths": [8, 4]}})) == {
        "run: this section is missing",
        "data: this section is missing",
        "teacher.critic: this key is missing",
    }


@pytest.mark.parametrize("steps", [None, []])
def test_nothing_to_do_is_a_fault(tables: Tables, steps: list[Any] | None) -> None:
    del tables["teacher"], tables["distill"]
    if steps is not None:
        tables["compress"] = steps
    (fault,) = faults(tables)
    assert "nothing to do" in fault


def test_a_broken_teacher_is_not_reported_as_no_teacher(tables: Tables) -> None:
    tables["teacher"]["latent"] = "8"
    (fault,) = faults(tables)
    assert fault.startswith("teacher.latent")


# ---------------------------------------------------------------- contradictions


@pytest.mark.parametrize(
    ("size", "remedy"),
    [(32, "give 3 widths"), (60, "is 64, with 4 widths"), (96, "is 128, with 5 widths"), (40, "is 32, with 3 widths")],
)
def test_a_size_that_no_network_makes_is_told_the_nearest(tables: Tables, size: int, remedy: str) -> None:
    """Checked by the networks that the remedy asks for: they make the size."""
    tables["data"]["size"] = size
    listed = faults(tables)
    assert {line.split(":")[0] for line in listed} == {"teacher.widths", "teacher.critic.widths", "distill.widths"}
    assert all(line.endswith(remedy) for line in listed)
    depth = int(remedy.split()[-2])
    tables["data"]["size"] = int(remedy.split()[1].strip(",")) if remedy.startswith("is") else size
    for network in (tables["teacher"], tables["teacher"]["critic"], tables["distill"]):
        network["widths"] = [4] * depth
    assert parse_recipe(tables).data.size == tables["data"]["size"]


@pytest.mark.parametrize(("size", "nearest"), [(8, 16), (15, 16), (300, 256), (10**9, 256)])
def test_a_size_beyond_all_networks_is_told_the_nearest(tables: Tables, size: int, nearest: int) -> None:
    tables["data"]["size"] = size
    line = next(line for line in faults(tables) if line.startswith("data.size"))
    assert f"both have is {nearest}," in line and f"got {size}" in line


def test_strides_of_another_size_are_told_their_product(tables: Tables) -> None:
    tables["teacher"]["strides"] = [3, 5]
    (line,) = faults(tables)
    assert "make 4 x 3 x 5 = 60 pixels, but data.size = 16; give strides whose product is 4" in line


def test_contradictory_sizes_are_listed_with_other_faults(tables: Tables) -> None:
    tables["run"]["device"] = "gpu"
    tables["data"]["size"] = 64
    tables["teacher"]["widht"] = 3
    tables["teacher"]["train"]["lr"] = -1.0
    listed = faults(tables)
    assert "teacher.widths: 2 widths make 4 x 2 x 2 = 16 pixels, but data.size = 64; give 4 widths" in listed
    assert "teacher.critic.widths: 2 widths read 16 pixels, but data.size = 64; give 4 widths" in listed
    assert "distill.widths: 2 widths make 4 x 2 x 2 = 16 pixels, but data.size = 64; give 4 widths" in listed
    assert {line.split(":")[0] for line in listed} == {
        "run.device",
        "teacher.widht",
        "teacher.train.lr",
        "teacher.widths",
        "teacher.critic.widths",
        "distill.widths",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data.source": "folder"}, "data.path: source"),
        ({"data.source": "idx"}, "data.path: source"),
        ({"data.path": "here"}, "data.path: the embedded source"),
        ({"data.crop": "landmarks"}, "data.crop: landmarks need"),
        ({"teacher.strides": [2]}, "teacher.strides: 1 values for 2 widths"),
        ({"distill.kernels": [4, 4, 4]}, "distill.kernels: 3 values for 2 widths"),
        ({"teacher.kernels": [3, 3]}, "teacher.kernels: kernel 3 and stride 2"),
        ({"teacher.kernels": [4, 1]}, "teacher.kernels: kernel 1 and stride 2"),
        ({"transfer.from": "x"}, "transfer: takes its networks from another run"),
        ({"distill.from": "x"}, "distill.from: this recipe trains its own teacher"),
        ({"teacher.loss": "wgan-gp", "teacher.critic.norm": "batch"}, "teacher.critic.norm: batch mixes samples"),
        ({"teacher.loss": "wgan-gp", "teacher.train.amp": "fp16"}, "teacher.train.amp: mixed precision"),
        ({"distill.loss": "wgan-gp", "teacher.critic.norm": "batch"}, "teacher.critic.norm: batch mixes samples"),
        ({"distill.critic": {"widths": [4]}}, "distill.critic.widths: 1 widths read 8 pixels"),
        ({"distill.width": 0.5}, "distill.widths: distill.width takes the teacher's shape; remove one of the two"),
        ({"distill.widths": []}, "distill.widths: this key is missing; give it, or distill.width"),
        ({"distill.pixel": "none", "distill.features": 0.0}, "distill.pixel: none leaves nothing of the teacher"),
    ],
)
def test_each_contradiction_is_the_only_fault(tables: Tables, changes: Tables, expected: str) -> None:
    for path, value in changes.items():
        put(tables, path, value)
    (fault,) = faults(tables)
    assert fault.startswith(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"distill.relation": 1.0, "distill.train.accumulate": 4}, "distill.relation: a batch of 4 in 4 parts"),
        ({"distill.train.accumulate": 5}, "distill.train.accumulate: 5 parts of a batch of 4"),
        ({"export.gpus": ["gtx-1660-ti"]}, "export.gpus: engines alone"),
        ({"distill.init": "random", "distill.importance": "diversity"}, "distill.importance: random weights"),
        ({"distill.alpha": 0.0, "distill.features": 0.0, "distill.gate": 0.8}, "distill.gate: no part of this loss"),
        ({"distill.alpha": 0.0, "distill.features": 0.0, "distill.real_share": 0.5}, "distill.real_share: no part"),
        ({"teacher.train.gradient_penalty": 5.0}, "teacher.train.gradient_penalty: loss = "),
        ({"teacher.loss": "wgan-gp", "teacher.train.real_label_low": 0.8}, "teacher.train.real_label_low: loss = "),
        ({"data.skip_bad": True}, "data.skip_bad: source = "),
        ({"data.source": "folder", "data.path": "x", "data.count": 12}, "data.count: source = "),
    ],
)
def test_a_key_without_any_use_is_a_fault(tables: Tables, changes: Tables, expected: str) -> None:
    for path, value in changes.items():
        put(tables, path, value)
    (fault,) = faults(tables)
    assert fault.startswith(expected)


def test_a_recipe_with_every_default_written_out_has_no_fault(tables: Tables) -> None:
    written = parse_recipe(tables).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert parse_recipe(written) == parse_recipe(tables)


def test_a_student_by_a_fraction_of_its_teachers_widths(tables: Tables) -> None:
    del tables["distill"]["widths"]
    put(tables, "distill.width", 0.5)
    student = parse_recipe(tables).distill
    assert student is not None and student.width == 0.5 and student.widths == ()
    put(tables, "distill.strides", [2, 2])
    assert faults(tables) == ["distill.strides: distill.width takes the teacher's shape; remove one of the two"]


def test_the_adversary_alone_needs_no_distance(tables: Tables) -> None:
    for path, value in (("pixel", "none"), ("features", 0.0), ("alpha", 1.0)):
        put(tables, f"distill.{path}", value)
    assert parse_recipe(tables).distill is not None
    put(tables, "distill.alpha_end", 0.5)
    (fault,) = faults(tables)
    assert fault.startswith("distill.pixel: none leaves nothing")


def test_a_student_without_any_teacher(tables: Tables) -> None:
    del tables["teacher"]
    (fault,) = faults(tables)
    assert fault.startswith("distill.from: there is no [teacher]")
    tables["distill"]["from"] = "exported/other"
    assert parse_recipe(tables).distill.teacher_run == "exported/other"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("key", "value"),
    [("data.size", "64"), ("data.path", 3), ("teacher.strides", ["2", 2]), ("distill.from", 3)],
)
def test_a_value_of_the_wrong_type_makes_no_second_fault(tables: Tables, key: str, value: Any) -> None:
    if key == "data.path":
        tables["data"]["source"] = "folder"
    if key == "distill.from":
        del tables["teacher"]
    if key == "teacher.strides":
        tables["data"]["size"] = 32
        tables["distill"]["strides"] = [4, 2]
        tables["teacher"]["critic"]["widths"] = [4, 4, 4]
    put(tables, key, value)
    (fault,) = faults(tables)
    assert fault.startswith(key)


# ---------------------------------------------------------------- any table at all

KEYS = sorted(
    {"x", "Critic", "literal['teacher']", "strides", "kernels", "from", "critic", "train", "widths", "size", "source"}
    | {"path", "norm", "loss", "amp", "lr", "betas", "augment", "alpha", "name", "latent", *Recipe.model_fields}
)
SCALARS = st.one_of(
    st.integers(-3, 70),
    st.just(10**30),
    st.booleans(),
    st.floats(),
    st.sampled_from(["", "teacher", "wgan-gp", "batch", "kittens", "folder", "\ud7ff"]),
    st.just(date(2024, 2, 29)),
)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(KEYS), v, max_size=4), max_leaves=8
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_no_table_raises_anything_but_ganlet_errors(tables: Tables) -> None:
    with pytest.raises(GanletError, match=r"has \d+ fault"):
        parse_recipe({**tables, "run": {"name": ""}})  # never valid, so that there always is something to say


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_one_changed_value_of_a_valid_recipe_parses_or_is_named(base: Tables, data: st.DataObject) -> None:
    tables = copy.deepcopy(base)
    table = tables[data.draw(st.sampled_from(sorted(tables)))]
    below = [table, *(value for value in table.values() if isinstance(value, dict))]
    place = data.draw(st.sampled_from(below))
    key, value = data.draw(st.sampled_from(sorted({*place, *KEYS}))), data.draw(VALUES)
    place[key] = value
    try:
        recipe = parse_recipe(tables)
    except GanletError as error:
        assert key in str(error) or "data.size" in str(error) or "has no use here" in str(error)
    else:
        assert recipe.run.name


# ---------------------------------------------------------------- [[compress]] and [search]

PRUNE = {"method": "prune", "ratio": 0.5}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"ratio": None}, "compress.0.ratio: give either ratio or target_mb, got neither"),
        ({"target_mb": 1.0}, "compress.0.ratio: give either ratio or target_mb, got both"),
        ({"rounds": 2}, "compress.0.rounds: cuts without fine-tuning between them are one cut"),
        ({"from": "there"}, "compress.0.from: this recipe makes the stage that is pruned"),
        ({"importanse": "diversity"}, "compress.0.importanse: unknown key; did you mean importance?"),
        ({"method": "prone"}, "compress.0.method: there is no 'prone'; did you mean prune?"),
        ({"tune": {"train": {"bacth": 4}}}, "compress.0.tune.train.bacth: unknown key; did you mean batch?"),
        ({"tune": {"train": {"patience": 2}}}, "compress.0.tune.train.patience: there is nothing to wait for"),
        ({"tune": {"pixel": "none", "features": 0.0}}, "compress.0.tune.pixel: none leaves nothing of the teacher"),
        ({"tune": {"loss": "wgan-gp", "train": {"amp": "fp16"}}}, "compress.0.tune.train.amp: mixed precision is not"),
    ],
)
def test_faults_of_pruning(tables: Tables, changes: Tables, fault: str) -> None:
    section = {key: value for key, value in {**PRUNE, **changes}.items() if value is not None}
    (listed,) = faults(tables | {"compress": [section]})
    assert listed.startswith(fault)


def test_pruning_needs_something_to_prune_and_is_done_once(tables: Tables) -> None:
    alone = {key: tables[key] for key in ("run", "data")}
    assert faults(alone | {"compress": [PRUNE]}) == ["compress.0.from: there is no stage here to prune; name a run"]
    assert parse_recipe(alone | {"compress": [PRUNE | {"from": "there"}]}).compress[0].source_run == "there"
    assert faults(tables | {"compress": [PRUNE] * 2}) == [
        "compress: there are 2 prunings; make one of them, with its rounds"
    ]
    assert faults(tables | {"compress": PRUNE})[0].startswith("compress: ")


QUANTIZE = {"method": "quantize", "least_psnr_db": 40.0}
INT8 = {"export": {"targets": ["onnx", "onnx-int8"]}}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"least_psnr_db": 0.0}, "compress.0.least_psnr_db: input should be greater than 0"),
        ({"ratio": 0.5}, "compress.0.ratio: unknown key; valid are method, from, profile, least_psnr_db, tune"),
        ({"least_psnr": 38.0}, "compress.0.least_psnr: unknown key; did you mean least_psnr_db?"),
        ({"profile": "sm75"}, "compress.0.profile: input should be 'cpu-int8' or 'trt-int8', got 'sm75'"),
        ({"method": None}, "compress.0.method: this key is missing; valid are prune, quantize"),
        ({"method": 8}, "compress.0.method: there is no '8'; valid are prune, quantize"),
        ({"from": "there"}, "compress.0.from: this recipe makes the stage that is quantised"),
        ({"tune": {"train": {"bacth": 4}}}, "compress.0.tune.train.bacth: unknown key; did you mean batch?"),
        ({"tune": {"pixel": "none"}}, "compress.0.tune.pixel: none leaves nothing of the teacher"),
        ({"tune": {"train": {"patience": 2}}}, "compress.0.tune.train.patience: there is nothing to wait for"),
    ],
)
def test_faults_of_quantising(tables: Tables, changes: Tables, fault: str) -> None:
    section = {key: value for key, value in {**QUANTIZE, **changes}.items() if value is not None}
    (listed,) = faults(tables | INT8 | {"compress": [section]})
    assert listed.startswith(fault)


def test_steps_have_an_order_and_quantising_an_int8_file(tables: Tables) -> None:
    recipe = parse_recipe(tables | INT8 | {"compress": [PRUNE, QUANTIZE]})
    assert [step.method for step in recipe.compress] == ["prune", "quantize"] and recipe.step("quantize") == 1
    of_another = parse_recipe(
        {key: tables[key] for key in ("run", "data")} | INT8 | {"compress": [PRUNE | {"from": "there"}, QUANTIZE]}
    )
    assert of_another.compress[1].source_run is None
    for steps, fault in (
        ([QUANTIZE, PRUNE], "compress.1.method: pruning would undo the quantisation before it; prune first"),
        ([QUANTIZE, QUANTIZE], "compress: there are 2 quantisations; one is all there can be"),
        ([PRUNE, QUANTIZE | {"from": "there"}], "compress.1.from: this step takes what the one before it makes"),
    ):
        (listed,) = faults(tables | INT8 | {"compress": steps})
        assert listed.startswith(fault)
    (listed,) = faults(tables | {"compress": [QUANTIZE]})
    assert listed == 'compress.0.method: no int8 file is asked for; add "onnx-int8" to export.targets'


def test_settling_on_int8_has_defaults_of_its_own(tables: Tables) -> None:
    steps = [PRUNE | {"tune": {}}, QUANTIZE | {"tune": {"train": {"images": 640}}}]
    cut, settle = (step.tune for step in parse_recipe(tables | INT8 | {"compress": steps}).compress)
    assert cut is not None and cut.needs_critic
    assert settle is not None and not settle.needs_critic
    assert settle.train.lr < 1e-4 < cut.train.lr
    put(tables, "distill.alpha", 0.0)
    put(tables, "distill.features", 0.0)
    distill = parse_recipe(tables).distill
    assert distill is not None and not distill.needs_critic


@pytest.mark.parametrize(
    ("search", "fault"),
    [
        ({"lr": [1e-2, 1e-3]}, "search.lr: the first value must not be above the second"),
        ({"widths": [0.0, 1.0]}, "search.widths.0: input should be greater than 0"),
        ({"features": [-1.0, 1.0]}, "search.features.0: input should be greater than or equal to 0"),
        ({"features": [2.0, 1.0]}, "search.features: the first value must not be above the second"),
        ({"trails": 3}, "search.trails: unknown key; did you mean trials?"),
        ({"pixel": []}, "search.pixel: tuple should have at least 1 item"),
    ],
)
def test_faults_of_a_search(tables: Tables, search: Tables, fault: str) -> None:
    (listed,) = faults(tables | {"search": search})
    assert listed.startswith(fault)


def test_a_search_needs_a_student(tables: Tables) -> None:
    del tables["distill"]
    assert faults(tables | {"search": {}}) == ["search: there is no student to try others around; add [distill]"]


def test_more_trials_are_the_same_search_and_a_wider_space_is_not(tables: Tables) -> None:
    keys = [parse_recipe(tables | {"search": s}).key("search") for s in ({}, {"trials": 99}, {"widths": [0.1, 1.6]})]
    assert keys[0] == keys[1] != keys[2]


AUTO = {"freeze_generator": "auto"}


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"freeze_generator": -1}, "transfer.freeze_generator: input should be greater than or equal to 0, got -1"),
        ({"freeze_critic": "all"}, "transfer.freeze_critic: input should be 'auto' or a number, got 'all'"),
        ({"freeze_critic": True}, "transfer.freeze_critic: input should be a valid integer, got True"),
        ({"freeze_critic": [1]}, "transfer.freeze_critic: input should be a valid integer, got [1]"),
        ({"freeze_critic": 1.5}, "transfer.freeze_critic: input should be a valid integer, got 1.5"),
        ({"auto": {"images": 100}}, "transfer.auto: both numbers of layers are given; set freeze_generator or freeze"),
        (AUTO | {"auto": {"image": 100}}, "transfer.auto.image: unknown key; did you mean images?"),
        (AUTO | {"unfreeze": [0.5]}, "transfer.unfreeze: what thaws saves no memory in the end"),
        ({"unfreeze": [0.5, 0.2]}, "transfer.unfreeze: the first value must not be above the second"),
        ({"unfreeze": [0.5, 1.0]}, "transfer.unfreeze.1: input should be less than 1, got 1.0"),
        ({"unfreeze": [0.2, 0.3, 0.4], "freeze_critic": 1}, "transfer.unfreeze: 3 moments, but only 2 layers to thaw"),
        ({"train": {"batch": "x"}}, "transfer.train.batch: input should be a valid integer, got 'x'"),
    ],
)
def test_one_sentence_for_each_fault_of_freezing(section: dict[str, Any], told: str) -> None:
    tables = {"run": {"name": "a"}, "data": {"source": "kittens"}, "transfer": {"from": "x"} | section}
    with pytest.raises(GanletError) as caught:
        parse_recipe(tables)
    first, *faults = str(caught.value).splitlines()
    assert "1 fault;" in first and len(faults) == 1 and told in faults[0]


def test_a_search_for_frozen_layers_is_read_with_its_defaults() -> None:
    tables = {"run": {"name": "a"}, "data": {"source": "kittens"}, "transfer": {"from": "x", "freeze_critic": "auto"}}
    transfer = parse_recipe(tables).transfer
    assert transfer is not None and transfer.is_searched and transfer.freeze_generator == 2
    assert transfer.auto.memory_mib is None and transfer.auto.tolerance_percent > 0


def test_a_file_of_nothing_but_faults_is_told_in_a_page(tables: Tables) -> None:
    """Unknown sections, unknown keys and values of any length: some lines, and how many there are in all."""
    tables |= {f"section{number}": {} for number in range(3000)}
    tables["teacher"] |= {f"key{number}": 1 for number in range(3000)}
    tables["data"]["source"] = "x" * 100_000
    tables["x" * 100_000] = {}
    with pytest.raises(GanletError, match="has 6,002 faults") as raised:
        parse_recipe(tables)
    lines = str(raised.value).splitlines()
    assert len(lines) <= 60 and all(len(line) <= 410 for line in lines) and "more" in lines[-1]


@pytest.mark.parametrize(
    "value", [10**400, 10**5000, float("inf"), "9" * 5000], ids=["400 digits", "5000 digits", "infinite", "text"]
)
def test_numbers_that_no_training_has(tables: Tables, value: Any) -> None:
    tables["teacher"]["train"] = {"images": value}
    with pytest.raises(GanletError, match=r"teacher(\.train\.images)?: ") as raised:
        parse_recipe(tables)
    assert "set_int_max_str_digits" not in str(raised.value) and len(str(raised.value)) < 500
