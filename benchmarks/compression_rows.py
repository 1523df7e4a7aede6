"""The rows of `compression.py`: one base recipe, and what each row changes in it. Nothing here runs anything."""

import copy
from dataclasses import dataclass
from typing import Any

from ganlet.recipe import Recipe, parse_recipe

Tables = dict[str, Any]
STEPS, SHORT_STEPS, PROXY_STEPS = 10_000, 4_000, 1_500
SHORT_GROUPS = ("ablations", "alpha")
BATCH = 32
SAMPLES, PROXY_SAMPLES = 5_000, 2_000
CRITIC_WIDTHS = [32, 64, 128]

DATA: Tables = {"source": "kittens", "size": 32, "count": 25_000, "holdout": 0.2}  # 20,000 to train on, 5,000 held out
TEACHER: Tables = {  # trained until its distance to the training pictures has not fallen for 5,000 steps
    "latent": 100,
    "widths": [256, 128, 64],
    "loss": "non-saturating",
    "critic": {"widths": CRITIC_WIDTHS},
    "train": {
        "images": 30_000 * BATCH,
        "batch": BATCH,
        "lr": 2e-4,
        "lr_critic": 4e-4,
        "ema": 0.995,
        "evaluate_steps": 1000,
        "evaluate_samples": 2000,
        "patience": 5,
        "checkpoint_steps": 500,
        "progress_steps": 1000,
    },
}
TRAIN: Tables = {"batch": BATCH, "checkpoint_steps": 500, "progress_steps": 1000}
AUGMENT = ["color", "translation"]
OURS: Tables = {
    "alpha": 0.2,
    "pixel": "mse",
    "init": "teacher",
    "critic": "teacher",
    "train": TRAIN | {"lr": 1e-3, "lr_critic": 8e-4, "decay": 0.3, "ema": 0.995, "augment": AUGMENT},
}
# Its student has a layer fewer, its second layer jumps x4; a quarter, then half of the teacher's widths (512-256-... of
# 2048-1024-512-...); a fresh instance-norm critic, Adam 5e-4 with betas (0, 0.999), no average.
BASE_WORK: Tables = {
    "widths": [64, 32],
    "strides": [4, 2],
    "alpha": 0.05,
    "pixel": "mse",
    "critic": {"widths": CRITIC_WIDTHS, "norm": "instance", "spectral": False},
    "train": TRAIN | {"lr": 5e-4, "betas": [0.0, 0.999], "ema": 0.0},
}
# The last width of a tenth is its teacher's own, whose last layer it starts from. A twelfth is narrower there, as its
# int8 file has to be fast: at 32 x 32 the last layers are most of the arithmetic.
SAME_SIZE, TENTH, TWELFTH, TWENTIETH, THIRTIETH = [64, 64, 48], [20, 48, 64], [28, 40, 32], [12, 32, 48], [8, 24, 40]
WIDE_TWELFTH = [16, 40, 64]  # as many bytes in int8, for fidelity in the place of speed


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the table: a stage that is trained, or a file made of another row's stage."""

    name: str
    what: str
    section: str = "distill"
    tables: Tables | None = None
    """The recipe's section; None for a file."""
    of: str = ""
    """Of a file: the row whose generator it is made from."""
    group: str = "main"
    times: int = 1
    """How often the table's steps are taken."""
    teacher: str = "teacher"
    """Of a student: the row that teaches it, and that it is held against."""


def changed(tables: Tables, changes: Tables) -> Tables:
    """Tables with `{"train.lr": 1e-3, ...}` set."""
    made = copy.deepcopy(tables)
    for path, value in changes.items():
        *parents, last = path.split(".")
        table = made
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    return made


AUGMENTED = "teacher-augmented"


def ours(widths: list[int]) -> Tables:
    return changed(OURS, {"widths": widths})


FRESH_CRITIC = {"widths": CRITIC_WIDTHS}
ABLATIONS: dict[str, tuple[str, Tables]] = {
    "whole": ("what the rest is held against", {}),
    "no-init": ("from random weights", {"init": "random"}),
    "no-critic": ("a fresh critic of the same shape", {"critic": FRESH_CRITIC}),
    "l1": ("L1 in the place of MSE", {"pixel": "l1"}),
    "features": ("+ critic features", {"features": 1.0}),
    "no-pixel": ("critic features in the place of the pixel term", {"pixel": "none", "features": 1.0}),
    "no-adversary": ("alpha = 0: no adversarial term", {"alpha": 0.0}),
    "no-distance": ("alpha = 1: the kept critic alone", {"alpha": 1.0, "pixel": "none"}),
    "no-augment": ("without DiffAugment", {"train.augment": []}),
    "no-average": ("without EMA", {"train.ema": 0.0}),
    "no-decay": ("a constant learning rate", {"train.decay": 0.0}),
    "adapters": ("+ generator features through 1 x 1 adapters", {"adapters": 0.3}),
    "relation": ("+ relations within a batch", {"relation": 1.0}),
    "perceptual": ("+ LPIPS (AlexNet)", {"perceptual": 1.0}),
    "gate": ("+ critic gated above a balance of 0.8", {"gate": 0.8}),
    "cutout": ("+ DiffAugment's cutout", {"train.augment": [*AUGMENT, "cutout"]}),
    "mixed": ("half of the critic's real pictures are the teacher's", {"real_share": 0.5}),
    "alpha-rises": ("alpha from 0.02 to 0.2", {"alpha": 0.02, "alpha_end": 0.2}),
    "separable": ("depthwise-separable blocks of the same size", {"block": "separable", "widths": [52, 96, 64]}),
    "widths": ("the widths 32-48-32", {"widths": [32, 48, 32]}),
    "resize": ("resize-convolution blocks of the same size", {"block": "resize", "widths": [32, 64, 40]}),
    "jump": ("a layer fewer, as the base work's, of the same size", {"widths": [32, 24], "strides": [4, 2]}),
}

ROWS = [
    Row("teacher", "256-128-64, trained until its distance stops falling", "teacher", TEACHER),
    Row("basework", "the base work: joint loss, alpha 0.05, MSE, fresh critic", tables=BASE_WORK),
    Row(
        "scratch",
        "as large, without a teacher",
        "teacher",
        changed(TEACHER, {"widths": SAME_SIZE, "train": TRAIN | {"lr": 2e-4, "lr_critic": 4e-4}}),
    ),
    Row(
        "scratch-augmented",
        "as large, without a teacher, with DiffAugment",
        "teacher",
        changed(TEACHER, {"widths": SAME_SIZE, "train": TRAIN | {"lr": 2e-4, "lr_critic": 4e-4, "augment": AUGMENT}}),
    ),
    Row("ours-same", "ours, as large", tables=ours(SAME_SIZE)),
    Row("ours-10", "ours, 1/10 of the teacher", tables=ours(TENTH)),
    Row("ours-10-long", "ours at 1/10, three times the steps", tables=ours(TENTH), times=3),
    Row("ours-12", "ours, 1/12: in int8 1/40 of the bytes", tables=ours(TWELFTH)),
    Row("ours-20", "ours, 1/20", tables=ours(TWENTIETH)),
    Row("ours-30", "ours, 1/30: in int8 1/80 of the bytes", tables=ours(THIRTIETH)),
    *(Row(f"ours-{part}-int8", f"ours-{part} in int8", of=f"ours-{part}") for part in (10, 12, 20, 30)),
    Row(
        AUGMENTED,
        "the teacher's network and settings, with DiffAugment",
        "teacher",
        changed(TEACHER, {"train.augment": AUGMENT}),
        group="augmented",
        times=3,
    ),
    *(
        Row(f"augmented-{part}", f"{what} of that", tables=ours(widths), group="augmented", teacher=AUGMENTED)
        for part, what, widths in (
            ("same", "ours, as large as the base work's,", SAME_SIZE),
            ("10", "ours, 1/10", TENTH),
            ("12", "ours, 1/12", TWELFTH),
            ("12-wide", "ours, 1/12 with the teacher's last width,", WIDE_TWELFTH),
            ("20", "ours, 1/20", TWENTIETH),
        )
    ),
    *(
        Row(
            f"augmented-{part}-int8",
            f"augmented-{part} in int8",
            of=f"augmented-{part}",
            group="augmented",
            teacher=AUGMENTED,
        )
        for part in ("10", "12", "12-wide", "20")
    ),
    Row(
        "basework-batch8",
        "the base work at batch 8, as many steps",
        tables=changed(BASE_WORK, {"train.batch": 8}),
    ),
    *(
        Row(f"ablation-{name}", what, tables=changed(ours(TENTH), changes), group="ablations")
        for name, (what, changes) in ABLATIONS.items()
    ),
    *(
        Row(f"alpha-{alpha}", f"the base work at alpha {alpha}", tables=BASE_WORK | {"alpha": alpha}, group="alpha")
        for alpha in (0.3, 0.05, 0.01, 0.001)
    ),
]


def recipe_of(row: Row, seed: int, steps: int, teacher: str) -> Recipe:
    """The recipe of a row that is trained: one thread, so that its bytes are the same on a busy machine."""
    tables = copy.deepcopy(row.tables or {})
    if row.section == "distill":
        tables["from"] = teacher
    if row.name != "teacher":
        tables["train"]["images"] = steps * tables["train"]["batch"]
    return parse_recipe(
        {
            "run": {"name": f"{row.name}-{seed}", "seed": seed, "device": "cpu", "threads": 1},
            "data": DATA,
            row.section: tables,
        }
    )
