"""The whole recipe: its sections, and the keys of what is made by them."""

from pydantic import SerializeAsAny

from ganlet.artifact import TRAINED_SECTIONS, StageKind
from ganlet.recipe.basis import Basis
from ganlet.recipe.compressing import Distill, Quantize, Step
from ganlet.recipe.sections import Budget, Data, Export, Run, Search, Teacher, Transfer, Verify
from ganlet.section import Section


class Recipe(Section):
    run: Run
    data: Data
    teacher: SerializeAsAny[Teacher] | None = None
    transfer: Transfer | None = None
    distill: SerializeAsAny[Distill] | None = None
    compress: tuple[Step, ...] = ()
    """What is done to the last generator, in order."""
    search: Search | None = None
    export: Export = Export()
    verify: Verify = Verify()
    budget: Budget = Budget()

    @property
    def sha256(self) -> str:
        """Hash of all that decides the results; the name and the device of the run do not."""
        return self.key("data", *TRAINED_SECTIONS, "compress", "export", "verify", "budget")

    def asks_for(self, kind: StageKind) -> bool:
        """Whether this recipe makes a stage of that kind."""
        return bool(getattr(self, kind.section)) if kind.method is None else self.step(kind.method) is not None

    def step(self, method: str) -> int | None:
        """Which table of [[compress]] has this method, from 0; None where none has."""
        return next((number for number, step in enumerate(self.compress) if step.method == method), None)

    @property
    def int8_profile(self) -> str | None:
        """The profile that a step of [[compress]] measures int8 in, and trains for; None where none does."""
        return next((step.profile for step in self.compress if isinstance(step, Quantize)), None)

    def key(self, *sections: str, **more: str) -> str:
        """SHA-256 of what `basis` returns."""
        return self.basis(*sections, **more).key

    def basis(self, *sections: str, **more: str) -> Basis:
        """The named sections, the seed and `more`: what a stage depends on.

        Left out is what changes no result: where pictures and source runs lie (their content counts) and how often to
        write. So are values equal to their defaults, but where a version has changed them (`Section.deciding`).
        """
        values = self.deciding()
        values["data"].pop("path", None)
        values.get("search", {}).pop("trials", None)
        made = [values.get(section, {}) for section in TRAINED_SECTIONS]
        steps = values.get("compress", ())
        for table in [*made, *steps]:
            table.pop("from", None)
        for table in made + [step.get("tune", {}) for step in steps]:
            train = table.pop("train", {})
            kept = {k: v for k, v in train.items() if k not in ("checkpoint_steps", "progress_steps", "log_steps")}
            if kept:
                table["train"] = kept
        chosen = {name: values[name] for name in sections if values.get(name)}
        chosen |= more | {"seed": self.run.seed, "threads": self.run.threads}
        return Basis(chosen)
