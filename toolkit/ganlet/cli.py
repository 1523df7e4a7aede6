"""The command line: one command a verb; each parses, calls one function and prints one result."""

import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ganlet import __version__
from ganlet.errors import GanletError, Interrupted
from ganlet.training.interrupt import install

# torch's profiler, which measures memory, writes notes to the terminal unless told otherwise before torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
# Threads that wait for each other by spinning starve each other on a busy machine: beside one other program 200 steps
# minutes instead of 14 s. Spinning less before sleeping took 58 s there; on an idle machine it costs up to a tenth.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

EXIT_FAILED, EXIT_ERROR, EXIT_INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="ganlet",
    help=__import__("ganlet").__doc__,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipePath = Annotated[Path, typer.Argument(help="Recipe, a TOML file.", show_default=False)]
RunPath = Annotated[Path, typer.Argument(help="Folder of a run, such as exported/kittens-quick.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")
]
Out = Annotated[
    Path | None, typer.Option("--out", "--run", metavar="DIR", help="Folder of the run; exported/NAME unless told.")
]
Json = Annotated[bool, typer.Option("--json", help="End with one line of JSON on standard output.")]


def _observer() -> Any:
    from ganlet.ui import Terminal

    return Terminal()


def _recipe(path: Path, overrides: list[str] | None) -> Any:
    from ganlet.recipe import load_recipe

    return load_recipe(path, overrides or [])


def _finish(as_json: bool, result: dict[str, Any], text: str) -> None:
    """The one result of a command: a sentence, and with --json one object as the last line."""
    if text:
        print(text)
    if as_json:
        print(json.dumps(result, allow_nan=False))


@app.command()
def run(recipe: RecipePath, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
    """Do everything a recipe asks for; the same command again resumes.

    Example: ganlet run recipes/kittens-quick.toml --set distill.train.batch=16
    """
    from ganlet.pipeline import run_recipe

    parsed = _recipe(recipe, overrides)
    folder = out or Path("exported") / parsed.run.name
    command = shlex.join(["ganlet", "run", str(recipe), *(f"--set={o}" for o in overrides or [])])
    report = run_recipe(parsed, folder, _observer(), command)
    _show_verdict(report, folder, as_json)


def _one_stage(section: str) -> Callable[..., None]:
    def command(recipe: RecipePath, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
        from ganlet.pipeline import STEPS, Workplace

        parsed = _recipe(recipe, overrides)
        if not getattr(parsed, section):
            raise GanletError(f"{recipe} has no [{section}] section; add one, or run another stage.")
        place = Workplace.open(parsed, out or Path("exported") / parsed.run.name, _observer())
        stage = STEPS[section](place)
        result = {"stage": stage.name, "folder": str(stage.folder), "training": stage.training}
        _finish(as_json, result, f"{stage.name} is complete: {stage.folder}")

    return command


_HELP = {
    "teacher": ("train", "Train the teacher of a recipe.", "ganlet train recipes/kittens-quick.toml"),
    "transfer": (
        "transfer",
        "Train another run's GAN on with its deep layers frozen.",
        "ganlet transfer recipes/kittens-to-monsters.toml",
    ),
    "distill": (
        "distill",
        "Distil the teacher into the recipe's student.",
        "ganlet distill recipes/kittens-quick.toml",
    ),
    "compress": (
        "prune",
        "Take channels out of the last generator of a recipe, by its [[compress]] section.",
        "ganlet prune recipes/kittens-pruned.toml",
    ),
}
for _section, (_verb, _what, _example) in _HELP.items():
    app.command(_verb, help=f"{_what}\n\nExample: {_example}")(_one_stage(_section))


@app.command()
def search(
    recipe: RecipePath,
    overrides: Overrides = None,
    out: Out = None,
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="URL", help="Optuna storage; a file in the run unless told.")
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Students tried in all.")] = None,
    target_mb: Annotated[float | None, typer.Option("--target-mb", help="Choose the best up to this size.")] = None,
    pick: Annotated[int | None, typer.Option("--pick", metavar="TRIAL", help="Choose this trial instead.")] = None,
    as_json: Json = False,
) -> None:
    """Try students around a recipe's own, by its [search] section: size, distance and latency at once.

    Each trial trains for a short time and is stopped where others are ahead. The same command goes on after a stop;
    with more --trials it goes further; started twice (or elsewhere, with one --storage) it shares the trials. The
    recipe of the chosen one is written to RUN/search/best.toml.

    Example: ganlet search recipes/kittens-search.toml --target-mb 0.5
    """
    from rich.console import Console

    from ganlet.report import search_table
    from ganlet.searching import BEST, FOLDER, search_recipe

    given = [*(overrides or []), *([f"search.trials={trials}"] if trials is not None else [])]
    parsed = _recipe(recipe, given)
    folder = out or Path("exported") / parsed.run.name
    found = search_recipe(parsed, folder, _observer(), storage=storage, target_mb=target_mb, pick=pick)
    Console().print(search_table(found))
    best = shlex.join(["ganlet", "run", str(folder / FOLDER / BEST), "--out", str(folder)])
    told = f"trial {found['chosen']} is chosen: {best}" if found["chosen"] is not None else "no trial ran to its end"
    _finish(as_json, found, f"{told} ({folder / FOLDER / 'front.svg'})")


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run or of one stage.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="Target: onnx, trt-rtx, tensorrt, executorch or web.")] = "onnx",
    precision: Annotated[str, typer.Option("--precision", help="fp32, fp16 or int8.")] = "fp32",
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="Forms of layers: cpu-fp32, cpu-int8, sm75 or trt-int8."),
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Form of each layer by measured time on this machine.")] = False,
    gpus: Annotated[
        list[str] | None, typer.Option("--gpu", metavar="NAME", help="Card or board of an engine; may be repeated.")
    ] = None,
    opt_batch: Annotated[int, typer.Option("--opt-batch", help="Batch that an engine is the fastest for.")] = 1,
    max_batch: Annotated[int, typer.Option("--max-batch", help="Largest batch of an engine.")] = 32,
    workspace_mib: Annotated[int, typer.Option("--workspace-mib", help="Memory an engine may work in.")] = 1024,
    wasm: Annotated[
        Path | None, typer.Option("--wasm", metavar="DIR", help="npm package onnxruntime-web, for an offline page.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the generator of a run, or of one stage, as a file that runs without torch.

    Example: ganlet export exported/kittens-quick/student --to onnx
    """
    from ganlet.exporting import Wish, export_source

    wish = Wish(
        precision=precision,
        profile=profile,
        tune=tune,
        gpus=tuple(gpus or ()),
        opt_batch=opt_batch,
        max_batch=max_batch,
        workspace_mib=workspace_mib,
        wasm=wasm,
    )
    made = export_source(source, to, wish, _observer())
    result = {"path": str(made[-1]), "paths": [str(path) for path in made], "bytes": made[-1].stat().st_size}
    _finish(as_json, result, "\n".join(map(str, made)))


@app.command("import")
def import_weights(
    weights: Annotated[
        Path, typer.Argument(help="State dict of a generator: .pt or .safetensors.", show_default=False)
    ],
    like: Annotated[Path, typer.Option("--like", metavar="RECIPE", help="Recipe whose network the weights are of.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the run to make.")],
    stage: Annotated[str, typer.Option("--stage", help="teacher or student.")] = "teacher",
    critic: Annotated[Path | None, typer.Option("--critic", help="State dict of its critic.")] = None,
    as_json: Json = False,
) -> None:
    """Make a run of foreign weights, ready for export, distill and sample.

    Example: ganlet import generator.pt --like recipes/basework-teacher.toml --stage teacher --out exported/mine
    """
    from ganlet.preflight import require_training_packages

    require_training_packages()
    from ganlet.foreign import import_stage

    made = import_stage(weights, _recipe(like, None), stage, out, critic)
    _finish(as_json, {"stage": made.name, "folder": str(made.folder)}, f"{made.name} imported: {made.folder}")


@app.command()
def verify(
    run: Annotated[Path | None, typer.Argument(help="Folder of a run.", show_default=False)] = None,
    artifact: Annotated[
        Path | None, typer.Option("--artifact", metavar="FILE", help="Only this file, on this device; needs no torch.")
    ] = None,
    provider: Annotated[str, typer.Option("--provider", help="What runs the artifact: auto, cpu, cuda, ...")] = "auto",
    as_json: Json = False,
) -> None:
    """Measure parity, fidelity and budgets of a run; exit 0 passed, 1 failed or undecided, 2 could not run.

    With --artifact: does this device draw what the network drew at export? manifest.json and expected.npz lie beside.

    Example: ganlet verify exported/kittens-quick
    """
    if (run is None) == (artifact is None):
        raise GanletError(
            f"Got {'no run and no' if run is None else 'both a run and'} --artifact; expected one of them."
        )
    if artifact is not None:
        _verify_artifact(artifact, provider, as_json)
        return
    assert run is not None
    from ganlet import pipeline
    from ganlet.recipe import load_recipe

    if not run.is_dir():
        raise GanletError(f"{run} does not exist; give the folder of a run, such as those in exported/.")
    parsed = load_recipe(run / "recipe.toml")
    place = pipeline.Workplace(parsed, run, pipeline.open_pictures(parsed, _observer()), _observer())
    _show_verdict(pipeline.verify(place), run, as_json)


def _verify_artifact(path: Path, provider: str, as_json: bool) -> None:
    from ganlet.device.confirm import as_text, confirm

    found = confirm(path, provider=provider)
    _finish(as_json, found.as_json(), as_text(found))
    if found.verdict != "passed":
        raise typer.Exit(EXIT_FAILED)


def _show_verdict(report: dict[str, Any], run: Path, as_json: bool) -> None:
    from rich.console import Console

    from ganlet.report import artifacts_table, checks_table, closing_words, sentences, summary_table

    console = Console()
    console.print(summary_table(report))
    console.print(artifacts_table(report))
    console.print(checks_table(report))
    for warning in sentences(report, "warnings"):
        print(f"warning: {warning}")
    _finish(as_json, report, f"{closing_words(report)} ({run / 'report.json'})")
    if report["verdict"] != "passed":
        raise typer.Exit(EXIT_FAILED)


@app.command()
def sample(
    artifact: Annotated[Path, typer.Argument(help="An exported file, a run, or a stage's folder.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the pictures.")] = None,
    count: Annotated[
        int | None, typer.Option("-n", "--count", help="Number of pictures; 64, or 8 of a walk, unless told.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Picture i of a seed is always the same.")] = 0,
    start: Annotated[int | None, typer.Option("--start", help="Index of the first picture; 0 unless told.")] = None,
    indices: Annotated[str | None, typer.Option("--indices", help="Which pictures, such as 0-9,17,100-.")] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Also write grid.png, a sheet of the first 64.")] = False,
    label: Annotated[int | None, typer.Option("--label", help="Class of a conditional generator.")] = None,
    provider: Annotated[
        str, typer.Option("--provider", help="auto, cpu, cuda, openvino, ...: see the doctor.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", help="On the processor; the runtime's own choice.")
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="fast, or small: the least memory.")] = "fast",
    picture_format: Annotated[str, typer.Option("--format", help="png or jpeg.")] = "png",
    quality: Annotated[int, typer.Option("--quality", help="Of a JPEG, 1 to 95.")] = 90,
    walk: Annotated[
        Path | None,
        typer.Option("--walk", metavar="FILE", help="Walk from picture to picture: .webp, .png, .gif, .mp4, - a pipe."),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", help="Of a walk, from picture to picture.")] = 25,
    fps: Annotated[int, typer.Option("--fps", help="Frames a second of a walk.")] = 25,
    raw: Annotated[bool, typer.Option("--raw", help="Pipe rgb24 bytes to standard output.")] = False,
    as_json: Json = False,
) -> None:
    """Draw pictures of a generator: a folder of them, a walk, or raw bytes. Needs no torch for an exported file.

    Example: ganlet sample exported/kittens-quick/generator.onnx -n 500 --out pictures --seed 0 --grid
    """
    from ganlet.sampling import Wanted
    from ganlet.sampling import sample as draw

    wanted = Wanted(
        out=out,
        walk=walk,
        raw=raw,
        seed=seed,
        start=start,
        count=count,
        indices=indices,
        label=label,
        grid=grid,
        picture_format=picture_format,
        quality=quality,
        frames=frames,
        fps=fps,
        provider=provider,
        threads=threads,
        profile=profile,
    )
    if wanted.piped and as_json:
        raise GanletError("Got --json with pictures on standard output; choose one of them.")
    made = draw(artifact, wanted, _observer())
    if wanted.piped:
        return
    if walk is not None:
        _finish(as_json, made, f"{made['frames']} frames in {walk}")
    else:
        _finish(as_json, made, f"{made['pictures']} pictures in {out}")


@app.command()
def bench(
    artefacts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="ARTIFACT...", help="Exported files, stages' folders, or runs.", show_default=False),
    ] = None,
    batch: Annotated[str, typer.Option("--batch", help="Pictures a call, between commas.")] = "1,16",
    threads: Annotated[int | None, typer.Option("--threads", help="Each runtime's own choice unless told.")] = None,
    runs: Annotated[int, typer.Option("--runs", help="Calls a round, at most (2 s).")] = 20,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds in which all take turns.")] = 6,
    providers: Annotated[
        list[str] | None, typer.Option("--provider", metavar="NAME", help="May be repeated; all there are unless told.")
    ] = None,
    compare: Annotated[
        tuple[str, str] | None, typer.Option("--compare", metavar="A B", help="Say how much faster B is than A.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time artefacts in turns on this machine: latency, rate, memory, load time, and how near it comes to the peak.

    Example: ganlet bench exported/kittens-quick --batch 1 --provider cpu --compare student generator.onnx
    """
    from rich.console import Console

    from ganlet.benching import WIDTH, Settings, bench, notes, parse_batches, rows_table

    settings = Settings(parse_batches(batch), threads, runs, rounds, providers=tuple(providers or ()))
    document = bench(artefacts or [], settings, _observer(), compare)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(rows_table(document))
    _finish(as_json, document, "\n".join(notes(document)))
    if not document["complete"]:
        raise typer.Exit(EXIT_ERROR)


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
    with _observer().watch("data", "pictures") as update:
        pictures = load_pictures(
            cast(Any, source), size=size, channels=channels, count=count, seed=seed, progress=update
        )
    paths = write_folder(pictures, out, min(count, len(pictures)))
    _finish(
        as_json, {"folder": str(out), "pictures": len(paths)}, f"{len(paths)} pictures in {out} ({pictures.credit})"
    )


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
    from ganlet.budgeting import budget_recipe, draw, show

    result = budget_recipe(_recipe(recipe, overrides), gpu, vram_gb, fit, measured)
    show(result)
    drawn = draw(result, pictures) if pictures is not None else []
    _finish(as_json, result, f"{len(drawn)} pictures in {pictures}" if drawn else "")
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
    from ganlet.distance.compare import Question, as_text, compare_paths

    question = Question(
        features=features,
        weights=weights,
        weights_name=weights_name,
        kid=kid,
        prdc=prdc,
        extrapolate=extrapolate,
        samples=samples,
        seed=seed,
        size_px=size,
        protocol=protocol,
        save_stats=save_stats,
    )
    document = compare_paths(a, b, question, _observer())
    _finish(as_json, document, as_text(document))


@app.command()
def report(run: RunPath, as_json: Json = False) -> None:
    """Write report.html of a verified run: one page that opens from disk.

    Example: ganlet report exported/kittens-quick
    """
    from ganlet.report import read_report, write_report

    path = write_report(run)
    _finish(as_json, {"path": str(path), "verdict": read_report(run).get("verdict")}, str(path))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show what this machine can do, and what conflicts; exit 2 on a conflict.

    Example: ganlet doctor
    """
    from ganlet.doctor import examine, table

    findings = examine()
    from rich.console import Console

    Console().print(table(findings))
    conflicts = [finding.name for finding in findings if finding.status == "conflict"]
    _finish(as_json, {"findings": [finding.as_json() for finding in findings], "conflicts": conflicts}, "")
    if conflicts:
        raise typer.Exit(EXIT_ERROR)


def _version(shown: bool) -> None:
    if shown:
        print(f"ganlet {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train a GAN, make its generator small, and prove that it is still good."""


def main() -> None:
    """Entry point: run a command; a fault becomes one sentence on stderr and exit code 2, a stop exit code 130."""
    install()
    debug = "--debug" in sys.argv[1:]
    try:
        app(standalone_mode=True, prog_name="ganlet")
    except Interrupted as stop:
        print(f"ganlet: {stop}", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as stop:
        if stop.code == EXIT_INTERRUPTED:  # what typer makes of KeyboardInterrupt, without a word
            print("ganlet: Stopped; run the same command again to continue from what is complete.", file=sys.stderr)
        raise
    except GanletError as error:
        if debug:
            raise
        print(f"ganlet: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    main()
