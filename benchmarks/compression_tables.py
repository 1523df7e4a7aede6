"""The table, the JSON and the sheet of pictures of `compression.py`."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from compression_rows import ROWS
from ganlet.device.pictures import encode_png, grid
from ganlet.files import read_json, write_bytes, write_json, write_text

WHOLE = "ablation-whole"
MARGIN_PX = 130  # for the rows' names on the sheet
Result = dict[str, Any]


def command_of(argv: Sequence[str]) -> str:
    """The command as a result names it: without --work, and with the last parts alone of a folder of this machine."""
    words = iter(argv)
    told = ["python"]
    for word in words:
        if word == "--work":
            next(words)
        else:
            told.append("/".join(Path(word).parts[-3:]) if word.startswith("/") else word)
    return shlex.join(told)


def write_results(
    folder: Path, results: Sequence[Result], sheets: Mapping[str, Mapping[str, Any]], about: Result, command: str
) -> None:
    """FOLDER/compression.txt and .json; the table is printed as well. `about`: how all of it was judged.

    A sheet for each group of rows: compression.png of the main ones, compression-GROUP.png of others.

    What the JSON knows of other rows and seeds, judged in the same way, stays: a figure depends on nothing but the runs
    of its own seed, so they may come from different days and machines.
    """
    path = folder / "compression.json"
    known = read_json(path) if path.is_file() else {}
    kept = known.pop("results", [])
    whole = merged(kept if known == about else [], [r | {"command": command} for r in results])
    text = "".join(f"$ {used}\n" for used in dict.fromkeys(r["command"] for r in whole))
    text += "\n" + table(whole, about["samples"])
    print(text)
    write_text(folder / "compression.txt", text)
    write_json(path, {**about, "results": whole})
    for group, rows in sheets.items():
        write_bytes(folder / ("compression.png" if group == "main" else f"compression-{group}.png"), sheet(rows))


def merged(known: Sequence[Result], found: Sequence[Result]) -> list[Result]:
    """`found` in the place of the same rows, seeds and steps of `known`, in the order of the benchmark's rows."""
    whole = {(r["row"], r["seed"], r.get("steps")): r for r in (*known, *found)}
    order = {row.name: number for number, row in enumerate(ROWS)}
    return sorted(whole.values(), key=lambda r: (order.get(r["row"], len(order)), r["row"], r["seed"]))


def table(results: Sequence[Result], samples: int) -> str:
    """A line a row, with the mean over its seeds and their range; then what each seed says of it, with intervals."""
    k = f"{samples / 1000:g}k"
    lines = [
        f"fd = fd_lite0_{k}, kid = 1000 x kid_lite0_{k}: mean over seeds (lowest to highest seed).",
        "",
        f"{'row':24} {'seeds':>5} {'parameters':>10} {'MB':>6} {'teacher/':>8} {'steps':>6} {'fd to data':>22} "
        f"{'kid to data':>20} {'fd to teacher':>22}",
    ]
    names = list(dict.fromkeys(r["row"] for r in results))
    for name in names:
        of = [r for r in results if r["row"] == name and "fd" in r]
        if not of:
            reason = next(r["not_verified"] for r in results if r["row"] == name)
            lines.append(f"{name:24} {reason}")
            continue
        first = of[0]
        lines.append(
            f"{name:24} {len(of):5} {first['parameters']:10,} {first['file_mb']:6.3f} {first['of_teacher']:8.1f} "
            f"{max(r['steps'] for r in of):6} {_over(of, 'fd', 1, 1):>22} {_over(of, 'kid', 1000, 2):>20} "
            f"{_over(of, 'fd_teacher', 1, 1):>22}"
        )
    lines += [
        "",
        "Each seed: fd to data with its 95 % interval, and paired changes of it in percent; balance: how often",
        "its critic scored a real picture above a drawn one, over the last half of the steps",
    ]
    lines += ["", f"{'row':24} {'seed':>4} {'fd to data':>26} {'to its teacher':>24} {'to the base work':>24} "
              f"{'to ablation-whole':>24} {'balance':>8} {'steps':>6} {'minutes':>8}"]  # fmt: skip
    for r in results:
        if "fd" in r:
            cells = [
                _interval(r.get(f"change_to_{o}_percent"), "+.1f") for o in ("teacher", "basework", "ablation-whole")
            ]
            lines.append(f"{r['row']:24} {r['seed']:4} {_interval(r['fd'], '.1f'):>26} {cells[0]:>24} {cells[1]:>24} "
                         f"{cells[2]:>24} {_number(r.get('balance')):>8} {r['steps']:6} "
                         f"{r['seconds'] / 60:8.0f}")  # fmt: skip
    lines += _of_int8([r for r in results if "psnr_to_fp32_db" in r])
    what = {r["row"]: r["what"] for r in results} | {row.name: row.what for row in ROWS}
    lines += ["", "What the rows are", "", *(f"{name:24} {what[name]}" for name in names)]
    return "\n".join(lines) + "\n"


def _of_int8(results: Sequence[Result]) -> list[str]:
    """Files that are made of another row's: how near they are to it."""
    if not results:
        return []
    lines = [
        "",
        "int8 files: PSNR to the fp32 file they are made of, and the paired change of fd to data from it in percent",
    ]
    lines += ["", f"{'row':24} {'seed':>4} {'psnr dB':>8} {'to fp32':>24}"]
    for r in results:
        change = _interval(r["change_to_fp32_percent"], "+.2f")
        lines.append(f"{r['row']:24} {r['seed']:4} {r['psnr_to_fp32_db']:8.2f} {change:>24}")
    return lines


def _over(results: Sequence[Result], key: str, scale: float, digits: int) -> str:
    values = [scale * r[key]["value"] for r in results if key in r]
    if not values:
        return "-"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(found: Mapping[str, float] | None, form: str) -> str:
    return "-" if found is None else f"{found['value']:{form}} ({found['low']:{form}} to {found['high']:{form}})"


def sheet(rows: Mapping[str, Any]) -> bytes:
    """Pictures (n, H, W, 3) of the same latents side by side, a line a row, its name before it."""
    lines = [grid(pictures, columns=len(pictures)) for pictures in rows.values()]
    pictures = Image.fromarray(np.concatenate(lines))
    whole = Image.new("RGB", (MARGIN_PX + pictures.width, pictures.height), "white")
    whole.paste(pictures, (MARGIN_PX, 0))
    draw = ImageDraw.Draw(whole)
    for number, name in enumerate(rows):
        draw.text((4, number * len(lines[0]) + len(lines[0]) // 2 - 6), name, fill="black")
    return encode_png(np.asarray(whole))
