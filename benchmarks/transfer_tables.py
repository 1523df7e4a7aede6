"""The tables, the JSON and the sheet of pictures of `transfer.py`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compression_tables import sheet
from ganlet.files import write_bytes, write_json, write_text

Result = Mapping[str, Any]


def write_results(
    folder: Path, results: Sequence[Result], sheets: Mapping[str, Any], samples: int, command: str
) -> None:
    """FOLDER/transfer.txt, .json and .png; the table is printed as well."""
    text = f"$ {command}\n\n" + table(results, samples)
    print(text)
    write_text(folder / "transfer.txt", text)
    write_json(folder / "transfer.json", {"samples": samples, "net": "lite0", "results": list(results)})
    write_bytes(folder / "transfer.png", sheet(sheets))


def table(results: Sequence[Result], samples: int) -> str:
    """The base work's two tables, then what each row is and how the frozen layers were found."""
    lines = [
        f"fd = fd_lite0_{samples / 1000:g}k and kid = kid_lite0_{samples / 1000:g}k to held-out monsters, with "
        "95 % intervals.",
        "",
        "As table 3.1: distance, time, memory while training (peak of tensors)",
        "",
        f"{'row':26} {'seed':>4} {'frozen':>6} {'steps':>6} {'fd to data':>24} {'kid to data':>22} {'seconds':>8} "
        f"{'peak MiB':>9} {'forecast':>9}",
    ]
    for r in results:
        lines.append(
            f"{r['row']:26} {r['seed']:4} {r['frozen'] or '-':>6} {r['steps']:6} {_interval(r['fd'], '.1f'):>24} "
            f"{_interval(r['kid'], '.3f'):>22} {r['seconds']:8.0f} {r['peak_memory_mib']:9.1f} "
            f"{r['predicted_memory_mib']:9.1f}"
        )
    lines += [
        "",
        "As table 3.3: memory while training, working model, change of quality against from scratch",
        "(minus the paired change of fd: negative is worse)",
        "",
        f"{'row':26} {'seed':>4} {'peak MiB':>9} {'model MB':>9} {'parameters':>11} {'change of quality, %':>26}",
    ]
    for r in results:
        change = r.get("change_percent")
        flipped = change and {"value": -change["value"], "low": -change["high"], "high": -change["low"]}
        lines.append(
            f"{r['row']:26} {r['seed']:4} {r['peak_memory_mib']:9.1f} {r['file_mb']:9.2f} {r['parameters']:11,} "
            f"{_interval(flipped, '+.1f') if flipped else '0':>26}"
        )
    lines += ["", "What the rows are", ""]
    lines += [f"{name:26} {what}" for name, what in dict.fromkeys((r["row"], r["what"]) for r in results)]
    for r in results:
        if "search" in r:
            lines += ["", *_search(r)]
    return "\n".join(lines) + "\n"


def _search(result: Result) -> list[str]:
    found = result["search"]
    lines = [
        f"Seed {result['seed']}, {len(found['candidates'])} short runs of {found['images']} pictures, "
        f"{result['search_seconds']:.0f} s in all; distance of {found['samples']} samples to the training pictures",
        "",
        f"{'generator / critic':20} {'forecast MiB':>12} {'distance':>24} {'above the best, %':>26}",
    ]
    for row in sorted(found["candidates"], key=lambda row: row["memory_mib"]):
        is_chosen = {key: row[key] for key in ("generator", "critic")} == found["chosen"]
        lines.append(
            f"{row['generator']} / {row['critic']}{' chosen' if is_chosen else '':15} {row['memory_mib']:12.1f} "
            f"{_interval(row['distance'], '.1f'):>24} {_interval(row['change_percent'], '+.1f'):>26}"
        )
    return lines


def _interval(found: Mapping[str, float] | None, form: str) -> str:
    return "-" if found is None else f"{found['value']:{form}} ({found['low']:{form}} to {found['high']:{form}})"
