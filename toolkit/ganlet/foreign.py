"""Weights from elsewhere: a state dict becomes a stage of a run. Files are untrusted: no pickled objects are loaded."""

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ganlet.artifact import CONFIG, CRITIC, GENERATOR, Stage, read_tensors, save_stage
from ganlet.errors import GanletError, words_of
from ganlet.files import sha256_file
from ganlet.models import build_critic, build_generator
from ganlet.recipe import Critic, Recipe, Teacher, load_recipe, save_recipe
from ganlet.training.load import load_strict
from ganlet.training.plan import critic_config, generator_config

Tensors = dict[str, torch.Tensor]
FIRST_WEIGHT = "layer1.0.weight"


def import_stage(weights: Path, recipe: Recipe, stage: str, run: Path, critic: Path | None = None) -> Stage:
    """Make RUN/STAGE of a generator's state dict (and its critic's) that fits the recipe's network.

    Raises GanletError when the file is not a plain state dict, does not fit, or RUN already holds the stage.
    """
    section = {"teacher": recipe.teacher, "student": recipe.distill}.get(stage)
    if section is None:
        raise GanletError(
            f"--stage {stage} cannot be imported like recipe {recipe.run.name}; expected teacher (its [teacher] "
            "section) or student (its [distill] section)."
        )
    if (run / stage / CONFIG).exists():
        raise GanletError(f"{run / stage} already holds a stage; choose another --out, or delete it first.")
    tensors = read_state_dict(weights)
    first = tensors.get(FIRST_WEIGHT)
    if first is None or first.dim() != 4:
        raise GanletError(
            f"{weights} has no {FIRST_WEIGHT} of four dimensions; expected a Ganlet or base-work generator."
        )
    # A teacher's latent stands in the recipe, a student's is its teacher's; ConvTranspose2d: (latent, out, k, k)
    latent = section.latent if isinstance(section, Teacher) else int(first.shape[0])
    try:
        config = generator_config(section, latent, recipe.data.channels)
    except ValidationError as error:
        raise GanletError(
            f"{weights} reads latents of {latent} numbers, which no generator can; give the weights of another one."
        ) from error
    generator = build_generator(config)
    load_strict(generator, tensors, str(weights))
    networks: dict[str, Any] = {"generator": (GENERATOR, config.model_dump(mode="json"), generator.state_dict())}
    digest = sha256_file(weights)
    if critic is not None:
        networks["critic"] = _critic(critic, section.critic, recipe)
        digest += sha256_file(critic)
    _keep_recipe(recipe, run / "recipe.toml")
    provenance = {
        "key": f"imported {digest}",
        "recipe_sha256": recipe.sha256,
        "data_sha256": None,
        "seed": None,
        "made_from": {"file": weights.name, "sha256": sha256_file(weights)},
    }
    return save_stage(run / stage, stage=stage, networks=networks, provenance=provenance, training={})


def _keep_recipe(recipe: Recipe, path: Path) -> None:
    """Write the run's recipe. Raises GanletError when the run has another one."""
    if path.is_file() and load_recipe(path) != recipe:
        raise GanletError(
            f"{path} is another recipe than {recipe.run.name}; choose another --out, or import like that one."
        )
    save_recipe(recipe, path)


def read_state_dict(path: Path) -> Tensors:
    """Tensors by name from a .safetensors file, or from a .pt / .pth one (weights only, never executed).

    A dict that holds the state dict under "state_dict" is accepted. Raises GanletError for anything else.
    """
    if not path.is_file():
        there = "is no file" if path.exists() else "does not exist"
        raise GanletError(f"{path} {there}; give the path of a .pt or .safetensors state dict.")
    if path.suffix.lower() in (".onnx", ".pte", ".engine", ".toml", ".npz", ".json"):
        raise GanletError(
            f"{path} is no state dict; expected a .pt or .safetensors file that holds a generator's weights by name."
        )
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged byte leads the unpickler to errors of any class
        raise GanletError(
            f"{path} is not a plain PyTorch state dict ({_first_line(error)}); whole pickled modules are "
            "not loaded, save model.state_dict() instead."
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in content.items()
    ):
        raise GanletError(
            f"{path} holds a {type(content).__name__}, expected a state dict of tensors; save model.state_dict()."
        )
    return dict(content)


def _first_line(error: Exception) -> str:
    return words_of(error)


def _critic(path: Path, section: Any, recipe: Recipe) -> tuple[str, dict[str, Any], Tensors]:
    if not isinstance(section, Critic):
        raise GanletError(f"--critic {path}: recipe {recipe.run.name} has no [critic] widths to build it; add them.")
    config = critic_config(section, recipe.data.channels)
    network = build_critic(config)
    load_strict(network, read_state_dict(path), str(path))
    return CRITIC, config.model_dump(mode="json"), network.state_dict()
