"""Commands that look: at pictures, memory, distances, likelihoods, a report, this machine."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ganlet.cli.app import (
    EXIT_ERROR,
    EXIT_FAILED,
    Json,
    Overrides,
    RecipePath,
    RunPath,
    app,
    finish,
    observer,
    print_tables,
    recipe_of,
)
from ganlet.errors import GanletError


@app.command()
def data(
    source: Annotated[str, typer.Argument(help="kittens, monsters, robots or digits.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for the PNG files.")],
    count: Annotated[int, typer.Option("-n", "--count", help="Number of pictures.")] = 5000,
    size: Annotated[int, typer.Option("--size", help="Height and width in pixels.")] = 64,
    seed: Annotated[int, typer.Option("--seed", help="Which pictures are drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Write the embedded pictures as a folder.

    Example: ganlet data kittens --out kittens -n 5000
    """
    from ganlet.data import load_pictures, write_folder

    if source not in ("kittens", "monsters", "robots", "digits"):
        raise GanletError(f"There are no embedded pictures {source!r}; choose kittens, monsters, robots or digits.")
    channels = 1 if source == "digits" else 3
    with observer().watch("data", "pictures") as update:
        pictures = load_pictures(
            cast(Any, source), size=size, channels=channels, count=count, seed=seed, progress=update
        )
    paths = write_folder(pictures, out, min(count, len(pictures)))
    finish(as_json, {"folder": str(out), "pictures": len(paths)}, f"{len(paths)} pictures in {out} ({pictures.credit})")


@app.command()
def budget(
    recipe: RecipePath,
    overrides: Overrides = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="NAME", help="Card or board, such as gtx-1660-ti.")
    ] = None,
    vram_gb: Annotated[float | None, typer.Option("--vram-gb", help="Memory of a card without a name.")] = None,
    fit: Annotated[bool, typer.Option("--fit", help="Also find the largest batch that fits.")] = False,
    measured: Annotated[bool, typer.Option("--measure", help="Also run two real steps and print the error.")] = False,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="Also draw bars and timelines, SVG and PNG.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Forecast the memory that training and sampling need, without a graphics card; exit 1 when it does not fit.

    Example: ganlet budget recipes/basework-teacher.toml --gpu gtx-1660-ti --fit
    """
    from ganlet.commands.budget import budget_recipe, draw, tables

    result = budget_recipe(recipe_of(recipe, overrides), gpu, vram_gb, fit, measured)
    print_tables(*tables(result))
    drawn = draw(result, pictures) if pictures is not None else []
    notes = [f"{stage['stage']}: {note}" for stage in result["stages"] for note in stage["notes"]]
    finish(as_json, result, *notes, f"{len(drawn)} pictures in {pictures}" if drawn else "")
    if result["fits"] is False:
        raise typer.Exit(EXIT_FAILED)


Side = Annotated[Path, typer.Argument(help="A run, .onnx, picture folder, zip or .npz.", show_default=False)]


@app.command()
def fid(
    a: Side,
    b: Side,
    features: Annotated[
        str | None, typer.Option("--features", help="lite0 (default), inception, inception_clean or PATH.onnx.")
    ] = None,
    kid: Annotated[bool, typer.Option("--kid", help="Also the kernel distance.")] = False,
    prdc: Annotated[bool, typer.Option("--prdc", help="Also precision, recall, density and coverage.")] = False,
    extrapolate: Annotated[bool, typer.Option("--extrapolate", help="Also for infinitely many pictures.")] = False,
    divergences: Annotated[bool, typer.Option("--divergences", help="Also KL and JS divergence, in nats.")] = False,
    inception_score: Annotated[
        bool, typer.Option("--inception-score", help="Also the Inception score; takes inception features.")
    ] = False,
    samples: Annotated[int | None, typer.Option("--samples", help="Pictures drawn (5,000), or the most taken.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which pictures are drawn.")] = 0,
    size: Annotated[
        int | None, typer.Option("--size", help="Crop and resize the pictures of folders and zips.")
    ] = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="File of the Inception weights.")] = None,
    weights_name: Annotated[str, typer.Option("--weights-name", help="Name of weights not the original's.")] = "",
    protocol: Annotated[str, typer.Option("--protocol", help="basework: 500 against 500, inception.")] = "",
    save_stats: Annotated[Path | None, typer.Option("--save-stats", help="Write the statistics of B (.npz).")] = None,
    as_json: Json = False,
) -> None:
    """Distance of two sets of pictures, A judged against B, with its 95 % interval.

    Example: ganlet fid exported/kittens/generator.onnx kittens --samples 2000 --kid --prdc
    """
    from ganlet.commands.fid.compare import Question, as_lines, compare_paths

    question = Question(
        features=features,
        weights=weights,
        weights_name=weights_name,
        kid=kid,
        prdc=prdc,
        extrapolate=extrapolate,
        divergences=divergences,
        inception_score=inception_score,
        samples=samples,
        seed=seed,
        size_px=size,
        protocol=protocol,
        save_stats=save_stats,
    )
    document = compare_paths(a, b, question, observer())
    finish(as_json, document, *as_lines(document))


@app.command()
def likelihood(
    run: RunPath,
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="NAME", help="Which generator; the last one unless told.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", help="Held-out pictures, evenly over all.")] = 16,
    chains: Annotated[int, typer.Option("--chains", help="Chains for each picture.")] = 8,
    steps: Annotated[int, typer.Option("--steps", help="Temperatures from the prior to the posterior.")] = 500,
    noise: Annotated[float, typer.Option("--noise", help="Standard deviation of a pixel in [-1, 1].")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Of the chains.")] = 0,
    bounds: Annotated[
        bool, typer.Option("--bounds", help="Also how far off the estimate is, on pictures of the generator itself.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Log-likelihood of held-out pictures under a small generator, by annealed importance sampling.

    The generator's pictures with normal noise on every pixel are the density: compare figures of the same --noise only.

    Example: ganlet likelihood exported/digits-smoke --stage student --samples 8 --steps 200
    """
    from ganlet.commands.preflight import require_training_packages

    require_training_packages()
    from ganlet.commands.likelihood import LikelihoodOptions, as_lines, measure_likelihood

    options = LikelihoodOptions(
        stage=stage, samples=samples, chains=chains, steps=steps, noise=noise, seed=seed, bounds=bounds
    )
    document = measure_likelihood(run, options, observer())
    finish(as_json, document, *as_lines(document))


@app.command()
def report(run: RunPath, as_json: Json = False) -> None:
    """Write report.html of a verified run: one page that opens from disk.

    Example: ganlet report exported/kittens-quick
    """
    from ganlet.report import read_report, write_report

    path = write_report(run)
    finish(as_json, {"path": str(path), "verdict": read_report(run).get("verdict")}, str(path))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show what this machine can do, and what conflicts; exit 2 on a conflict.

    Example: ganlet doctor
    """
    from ganlet.commands.doctor import examine, table, unverified_lines
    from ganlet.device.not_verified import NOT_VERIFIED

    findings = examine()
    print_tables(table(findings))
    conflicts = [finding.name for finding in findings if finding.status == "conflict"]
    document = {"findings": [finding.as_json() for finding in findings], "conflicts": conflicts}
    document |= {"not_verified": [item.as_json() for item in NOT_VERIFIED]}
    finish(as_json, document, *unverified_lines())
    if conflicts:
        raise typer.Exit(EXIT_ERROR)
