"""Commands for what is to run on a device: export it, verify it, draw with it, time it."""

from pathlib import Path
from typing import Annotated

import typer

from ganlet.cli.app import (
    EXIT_ERROR,
    EXIT_FAILED,
    Json,
    app,
    finish,
    observer,
    print_tables,
    show_verdict,
)
from ganlet.errors import GanletError


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
    from ganlet.commands.export import ExportOptions, export_source

    options = ExportOptions(
        precision=precision,
        profile=profile,
        tune=tune,
        gpus=tuple(gpus or ()),
        opt_batch=opt_batch,
        max_batch=max_batch,
        workspace_mib=workspace_mib,
        wasm=wasm,
    )
    made = export_source(source, to, options, observer())
    result = {"path": str(made[-1]), "paths": [str(path) for path in made], "bytes": made[-1].stat().st_size}
    finish(as_json, result, *map(str, made))


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
    if run is not None and provider != "auto":
        raise GanletError(
            "Got --provider with a run, but it chooses what runs a single file; leave it out, or give --artifact FILE."
        )
    if artifact is not None:
        _verify_artifact(artifact, provider, as_json)
        return
    assert run is not None
    from ganlet.artifact import require_run
    from ganlet.commands.open_run import OpenRun, open_pictures
    from ganlet.commands.preflight import require_training_packages
    from ganlet.commands.run import verify as verify_place
    from ganlet.recipe import load_recipe

    require_run(run)
    parsed = load_recipe(run / "recipe.toml")
    require_training_packages()
    place = OpenRun(parsed, run, open_pictures(parsed, observer()), observer())
    show_verdict(verify_place(place), run, as_json)


def _verify_artifact(path: Path, provider: str, as_json: bool) -> None:
    from ganlet.device.confirm import as_lines, confirm

    found = confirm(path, provider=provider)
    finish(as_json, found.as_json(), *as_lines(found))
    if found.verdict != "passed":
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
    label: Annotated[
        str | None,
        typer.Option("--label", help="Class of a conditional generator, by number or name; else any."),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option("--code", help="Codes of a generator that takes them, such as 0.5,-1; else any."),
    ] = None,
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
    from ganlet.commands.sample import Wanted
    from ganlet.commands.sample import sample as draw

    wanted = Wanted(
        out=out,
        walk=walk,
        raw=raw,
        seed=seed,
        start=start,
        count=count,
        indices=indices,
        label=label,
        code=code,
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
    made = draw(artifact, wanted, observer())
    if wanted.piped:
        return
    if walk is not None:
        finish(as_json, made, f"{made['frames']} frames in {walk}")
    else:
        finish(as_json, made, f"{made['pictures']} pictures in {out}")


@app.command()
def bench(
    artifacts: Annotated[
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
    """Time artifacts in turns on this machine: latency, rate, memory, load time, and how near it comes to the peak.

    Example: ganlet bench exported/kittens-quick --batch 1 --provider cpu --compare student generator.onnx
    """
    from ganlet.commands.bench import Settings, bench, notes, parse_batches, rows_table

    settings = Settings(parse_batches(batch), threads, runs, rounds, providers=tuple(providers or ()))
    document = bench(artifacts or [], settings, observer(), compare)
    print_tables(rows_table(document))
    finish(as_json, document, *notes(document))
    if not document["complete"]:
        raise typer.Exit(EXIT_ERROR)
