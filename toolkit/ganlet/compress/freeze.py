"""Frozen-layer transfer: a trained GAN learns related pictures while its deep layers stay as they are."""

from ganlet.artifact import Stage
from ganlet.errors import GanletError
from ganlet.models.base import Critic, Generator
from ganlet.models.config import CriticConfig
from ganlet.recipe import Recipe, Transfer
from ganlet.training.load import critic_config_of, generator_config_of, load_critic, load_generator
from ganlet.training.plan import Fill, Plan
from ganlet.training.steps import adversarial_step


def transfer_plan(recipe: Recipe, source: Stage) -> Plan:
    """Training on from `source` with the first layers frozen: no gradients and no optimiser state of them, no stored
    activations of the generator's.

    Where the recipe leaves their number open, it is the largest: the least memory that there can be. Raises GanletError
    when nothing would be left to train, or when the pictures have another shape.
    """
    transfer = recipe.transfer
    if transfer is None:
        raise GanletError(
            f"Recipe {recipe.run.name} has no [transfer] section; add one, or run the stages that it has."
        )
    generator, critic = generator_config_of(source), critic_config_of(source)
    require_same_pictures(recipe, source)
    require_penalty_is_valid(transfer.loss, critic, source)
    generators, critics = freezable(transfer, source)
    return Plan(
        stage="transfer",
        generator=generator,
        critic=critic,
        section=transfer,
        step=adversarial_step,
        freeze_generator=generators[-1],
        freeze_critic=critics[-1],
        unfreeze=transfer.unfreeze,
    )


def freezable(transfer: Transfer, source: Stage) -> tuple[list[int], list[int]]:
    """The numbers of layers to try of generator and critic, rising: the one that is given, or all but the last layer's.

    Raises GanletError when nothing would be left to train.
    """
    found = []
    for name, wanted, layers in (
        ("freeze_generator", transfer.freeze_generator, generator_config_of(source).layer_count),
        ("freeze_critic", transfer.freeze_critic, critic_config_of(source).layer_count),
    ):
        most = layers - 1  # the last, which makes colours or the score, always learns
        if wanted != "auto" and wanted > most:
            raise GanletError(
                f"transfer.{name} = {wanted} freezes all {most + 1} layers of {source.folder}; give at most {most}."
            )
        found.append(list(range(most + 1)) if wanted == "auto" else [wanted])
    return found[0], found[1]


def transfer_weights(source: Stage) -> Fill:
    """Both networks start as the source's."""

    def fill(generator: Generator, critic: Critic, teacher: Generator | None) -> None:
        generator.load_state_dict(load_generator(source).state_dict())
        critic.load_state_dict(load_critic(source).state_dict())

    return fill


def require_penalty_is_valid(loss: str, critic: CriticConfig, source: Stage) -> None:
    """Raise GanletError where the source's critic mixes samples by batch norm and the loss penalises each gradient."""
    if loss == "wgan-gp" and critic.mixes_samples:
        raise GanletError(
            f"The critic of {source.folder} has batch norm, which mixes samples and is not valid under the gradient "
            "penalty of wgan-gp; choose another loss."
        )


def require_same_pictures(recipe: Recipe, source: Stage) -> None:
    """Raise GanletError unless the source's generator draws pictures of the recipe's size and channels."""
    config = generator_config_of(source)
    wanted = (recipe.data.channels, recipe.data.size)
    if (config.channels, config.size_px) != wanted:
        raise GanletError(
            f"{source.folder} draws {config.channels} x {config.size_px} px pictures (channels x size), [data] says "
            f"{wanted[0]} x {wanted[1]} px; set data.channels and data.size to the source's."
        )
