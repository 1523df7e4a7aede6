"""`ganlet fid A B`: open both sides, measure them in one feature net, and name every figure with its interval."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ganlet.commands.fid.figures import Figures
from ganlet.commands.fid.measured import Measured, measure
from ganlet.commands.fid.notes import reading_notes
from ganlet.commands.fid.sources import Source, open_source
from ganlet.data.cache import default_cache
from ganlet.errors import GanletError
from ganlet.metrics.features import FEATURES, FeatureNet, feature_net
from ganlet.metrics.inception import ORIGINAL_NAMES, Inception
from ganlet.metrics.inception_score import SPLITS
from ganlet.metrics.neighbourhoods import DENSITY_K, PRECISION_K
from ganlet.metrics.statistics import require_same_protocol, write_statistics
from ganlet.observer import Observer

SCHEMA = 1
DEFAULT_NET = "lite0"
BASEWORK = "basework"
BASEWORK_SAMPLES = 500


@dataclass(frozen=True)
class Question:
    """What is asked of A and B; `features` None is the net of a statistics file, else EfficientNet-Lite0.

    `protocol` "basework" is that of the base work: 500 pictures against 500, Inception as in pytorch-fid.
    """

    features: str | None = None
    weights: Path | None = None
    weights_name: str = ""
    kid: bool = False
    prdc: bool = False
    extrapolate: bool = False
    divergences: bool = False
    inception_score: bool = False
    samples: int | None = None
    seed: int = 0
    size_px: int | None = None
    protocol: str = ""
    save_stats: Path | None = None


def compare_paths(a: Path, b: Path, question: Question, observer: Observer) -> dict[str, Any]:
    """The distance of A from B as one JSON document: `figures` by name, each with value, low and high.

    Raises GanletError, one sentence, for anything that cannot be compared.
    """
    asked, question = question, _as_protocol(question)
    sides = [_open(name, path, question, observer) for name, path in (("A", a), ("B", b))]
    _require_use(sides, asked)
    _preflight(sides, question)
    net = _net(sides, question)
    first, second = (_measure(source, net, observer) for source in sides)
    trusted = require_same_protocol(first.statistics, second.statistics, sides[0].label, sides[1].label)
    net_name = _net_name(first, second, net, question)
    figures = Figures(first, second, net_name, question.seed)
    figures.frechet()
    if question.kid:
        figures.kernel()
    if question.prdc:
        with observer.watch("neighbours", "blocks") as update:
            figures.neighbourhoods(update)
    if question.divergences:
        figures.divergences()
    if question.inception_score:
        figures.inception_scores(_inception(net))
    if question.extrapolate:
        with observer.watch("extrapolate", "points") as update:
            figures.extrapolation(update)
    reading = reading_notes(first, second, figures.found, figures.same_latents)
    if question.save_stats is not None:
        write_statistics(question.save_stats, replace(second.statistics, features_sha256=""))
    return {
        "schema": SCHEMA,
        "metric": figures.metric,
        "net": net_name,
        "count": figures.count,
        "protocol": first.statistics.protocol or second.statistics.protocol or "unknown",
        "figures": figures.found,
        "a": sides[0].as_json() | {"cached": first.cached},
        "b": sides[1].as_json() | {"cached": second.cached},
        "seed": question.seed,
        "notes": [*trusted, *figures.notes, *_notes(sides, question), *reading],
    }


def _as_protocol(question: Question) -> Question:
    if question.seed < 0:
        raise GanletError(f"Got --seed {question.seed}; choose a seed from 0 on.")
    if question.inception_score and question.features is None:
        question = replace(question, features="inception")
    if question.inception_score and question.features not in ORIGINAL_NAMES:
        raise GanletError(
            f"Got --features {question.features} with --inception-score, which takes the classes of Inception; leave "
            f"--features out, or choose one of {', '.join(ORIGINAL_NAMES)}."
        )
    if not question.protocol:
        return question
    if question.protocol != BASEWORK:
        raise GanletError(f"There is no protocol {question.protocol!r}; expected {BASEWORK}, or leave --protocol out.")
    if question.features not in (None, "inception") or question.samples not in (None, BASEWORK_SAMPLES):
        raise GanletError(
            f"The protocol {BASEWORK} is {BASEWORK_SAMPLES} pictures against {BASEWORK_SAMPLES} in inception features; "
            "leave --features and --samples out."
        )
    return replace(question, features="inception", samples=BASEWORK_SAMPLES)


def _require_use(sides: list[Source], question: Question) -> None:
    """Raise GanletError for an option that these sides have no use for: ignoring it would look like doing it."""
    kinds = {side.kind for side in sides}
    useless = ["--size"] if question.size_px is not None and not kinds & {"folder", "zip"} else []
    if kinds == {"statistics"}:
        useless += ["--samples"] if question.samples is not None else []
        useless += ["--weights"] if question.weights is not None or question.weights_name else []
        if question.features is not None and question.features not in FEATURES:
            raise GanletError(
                f"Got --features {question.features}, which names no net of these statistics; expected "
                f"{', '.join(FEATURES)}, or leave it out."
            )
    if useless:
        told = " and ".join(sorted(kinds))
        raise GanletError(f"Two sides of the kind {told} have no use for {' and '.join(useless)}; leave that out.")


def _open(name: str, path: Path, question: Question, observer: Observer) -> Source:
    with observer.watch("look", "files") as update:
        source = open_source(
            path,
            samples=question.samples,
            seed=question.seed,
            size_px=question.size_px,
            exact=question.protocol == BASEWORK,
            progress=update,
        )
    for sentence in source.intake.sentences():
        observer.say(f"{name}: {sentence}")
    return source


def _preflight(sides: list[Source], question: Question) -> None:
    """What can be found wrong before any picture goes through a net."""
    needed = max(PRECISION_K, DENSITY_K) + 1 if question.prdc else 2
    needed = max(needed, 10 if question.extrapolate else 2, SPLITS if question.inception_score else 2)
    for side in sides:
        if side.statistics is not None and (question.kid or question.prdc or question.extrapolate):
            raise GanletError(
                f"{side.label} holds mean and covariance only, but --kid, --prdc and --extrapolate need the features "
                "of single pictures; give the pictures themselves."
            )
        if side.statistics is None and side.count < needed:
            raise GanletError(f"{side.label} has {side.count} pictures, expected at least {needed}; add pictures.")
    if question.inception_score and sides[0].statistics is not None:
        raise GanletError(
            f"{sides[0].label} holds mean and covariance only, but the Inception score of A needs the features of "
            "single pictures; give the pictures themselves."
        )
    clusters = question.divergences and all(side.statistics is None for side in sides)
    if clusters and find_spec("sklearn") is None:
        raise GanletError('--divergences needs scikit-learn for its clusters; run: pip install "ganlet[fid]"')


def _net(sides: list[Source], question: Question) -> FeatureNet | None:
    """The net to measure with, or None where both sides are statistics already."""
    statistics = [side.statistics for side in sides if side.statistics is not None]
    stored = next((known.net for known in statistics if known.net in FEATURES), None)
    if len(statistics) == len(sides):
        for side, known in zip(sides, statistics, strict=True):
            if question.features and known.net and question.features != known.net:
                raise GanletError(
                    f"{side.label} was measured in {known.net} features, but --features {question.features} was asked "
                    "for; leave --features out, or give the pictures."
                )
        return None
    net = feature_net(
        question.features or stored or DEFAULT_NET, weights=question.weights, weights_name=question.weights_name
    )
    for side, known in ((side, side.statistics) for side in sides if side.statistics is not None):
        assert known is not None
        if len(known.moments.mean) != net.dim:
            raise GanletError(
                f"{side.label} has {len(known.moments.mean)} features a picture but {net.name} gives {net.dim}; choose "
                "its own net with --features (2048 is that of inception)."
            )
        if known.protocol and known.protocol != net.protocol:
            raise GanletError(
                f"{side.label} was measured by the protocol ({known.protocol}), but the pictures would be by "
                f"({net.protocol}); choose the same --features, or measure both from pictures."
            )
    return net


def _inception(net: FeatureNet | None) -> Inception:
    assert isinstance(net, Inception), "_as_protocol chooses it"
    return net


def _measure(source: Source, net: FeatureNet | None, observer: Observer) -> Measured:
    with observer.watch(Path(source.label).name[:24] or source.label, "pictures") as update:
        return measure(source, net, default_cache(), update)


def _net_name(a: Measured, b: Measured, net: FeatureNet | None, question: Question) -> str:
    if net is not None:
        return net.name
    return a.statistics.net or b.statistics.net or question.features or "unknown"


def _notes(sides: list[Source], question: Question) -> list[str]:
    notes = []
    for name, side in zip("AB", sides, strict=True):
        notes += [f"{name}: {note}" for note in side.notes]
        if side.intake.passed_over:
            notes.append(f"{name}: passed over: {side.intake.passed_over_words()}")
    shapes = [side.shape_px for side in sides if side.shape_px]
    if len(set(shapes)) > 1:
        (h, w), (other_h, other_w) = shapes
        notes.append(
            f"the pictures of A have {w}x{h} px and those of B {other_w}x{other_h}: sharpness alone sets them apart"
        )
    if question.protocol == BASEWORK:
        notes.append(
            "the base work's protocol, 500 against 500 in 2048 features, is biased upwards and noisy: compare it only "
            "with figures made the same way"
        )
    return notes


def as_lines(document: dict[str, Any]) -> list[str]:
    """The document for a terminal: a line a figure, then the notes."""
    width = max(len(name) for name in document["figures"])
    lines = []
    for name, figure in document["figures"].items():
        interval = "no interval" if figure["low"] is None else f"95 % {figure['low']:.6g} to {figure['high']:.6g}"
        lines.append(f"{name:<{width}}  {figure['value']:.6g}  ({interval})")
        if "subset_mean" in figure:
            spread = f"{figure['subset_mean']:.6g} ± {figure['subset_std']:.2g}"
            lines.append(f"{'':<{width}}  {spread} over {figure['subsets']} subsets of {figure['subset_size']}")
        if "split_mean" in figure:
            spread = f"{figure['split_mean']:.6g} ± {figure['split_std']:.2g}"
            lines.append(f"{'':<{width}}  {spread} over {figure['splits']} parts")
    counts = " against ".join(f"{document[side]['pictures'] or 'unknown'}" for side in ("a", "b"))
    lines.append(f"{counts} pictures, {document['net']} features")
    return [*lines, *(f"note: {note}" for note in document["notes"])]
