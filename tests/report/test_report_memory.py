"""A forecast in words and pictures: every figure appears, what is drawn adds up, and nothing missing crashes it."""

import io
import re
import sys
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from ganlet.errors import GanletError
from ganlet.report import (
    forecast_bars,
    forecast_png,
    forecast_svg,
    forecast_table,
    options_table,
    phases_table,
    sampling_table,
    timeline_png,
    timeline_svg,
)
from ganlet.report.memory import UNKNOWN, verdict
from ganlet.report.memory_page import memory_section

PARTS = {
    "activations": 522.8,
    "buffers": 0.03,
    "gradients": 225.2,
    "optimiser state": 450.3,
    "parameters": 225.1,
    "teacher": 96.4,
    "average": 64.17,
}
LETTERS = {"A": "activations", "G": "gradients", "O": "optimiser state", "P": "parameters", "T": "teacher"} | {
    "V": "average",
    "B": "buffers",
}
NOTHING: list[Any] = [
    {},
    {"stage": None, "parts": None, "phases": None, "timeline": None, "card_mib": None, "peak_mib": None},
    {"stage": 3, "parts": {"parameters": None, "x": float("nan")}, "timeline": [[None, None], 4, [1.0]]},
    {"timeline": [[0.0, "a"]], "card_mib": [1.0], "phases": {"a": None}, "batch": float("inf")},
    {"peak_mib": 12.0, "timeline": [[-1.0, None]], "card_mib": [None, 3.0], "phases": {"a": 0.0}},
]


def one(stage: str = "teacher", **changed: Any) -> dict[str, Any]:
    """A forecast as `Forecast.as_json()` gives it, the parts adding up to the peak."""
    phases = {"critic forward": 1037.6, "gradient penalty": sum(PARTS.values()), "critic optimiser": 949.3}
    return {
        "stage": stage,
        "batch": 32,
        "peak_mib": sum(PARTS.values()),
        "peak_phase": "gradient penalty",
        "reserved_mib": 1720.0,
        "parts": dict(PARTS),
        "phases": phases,
        "timeline": [[900.0, "between"], *([mib, name] for name, mib in phases.items()), [930.0, "critic forward"]],
        "context_mib": (250.0, 600.0),
        "workspace_mib": (8.0, 512.0),
        "card_mib": (1978.0, 2832.0),
        **changed,
    }


def printed(shown: Any, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(shown)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines()), default=0) <= width
    return text


def test_the_table_tells_every_figure_and_sets_what_is_assumed_apart() -> None:
    text = printed(forecast_table([one()], 4096, "GTX 1650"))
    for told in (
        "225.1",
        "225.2",
        "450.3",
        "522.8",
        "96.4",
        "64.2",
        "<0.1",
        "1,584.0",
        "1,720.0",
        "batch 32",
        "GTX 1650",
    ):
        assert told in text
    measured, assumed = text.split("Assumed, not measured:")
    assert "250 to 600" in assumed and "8 to 512" in assumed and "1,978 to 2,832" in assumed
    assert " to " not in measured and "Reserved by the allocator" in measured


def test_three_stages_fit_eighty_columns_without_a_word_cut() -> None:
    text = printed(forecast_table([one("teacher"), one("transfer"), one("student")], 1000.0, "Jetson AGX Orin 64 GB"))
    assert text.count("✗ does not fit") == text.count("1,978 to 2,832") == text.count("1,720.0") == 3
    assert all(stage in text for stage in ("teacher", "transfer", "student"))


@pytest.mark.parametrize("stages", [0, 1, 4, 7])
def test_any_number_of_stages_is_shown(stages: int) -> None:
    found = [one(f"stage{index}") for index in range(stages)]
    printed(forecast_table(found, 4096))
    assert printed(forecast_bars(found)).count("batch 32") == stages
    assert forecast_svg(found).count("batch 32") == stages and forecast_png(found)


@pytest.mark.parametrize(
    ("limit_mib", "words"),
    [
        (5000.0, "✓ fits"),
        (2832.0, "✓ fits"),
        (2831.9, "? may not fit"),
        (1978.0, "? may not fit"),
        (1977.9, "✗ does not fit"),
    ],
)
def test_the_verdict_compares_the_whole_interval_with_the_limit(limit_mib: float, words: str) -> None:
    assert verdict(one(), limit_mib) == words
    assert words in printed(forecast_table([one()], limit_mib))


def test_a_forecast_without_an_interval_is_never_said_to_fit() -> None:
    assert verdict({}, 1e9) == verdict({"card_mib": [1.0, None]}, 1e9) == UNKNOWN


def cells_of(bar: str) -> dict[str, int]:
    """The cells of each part of a printed bar: a part runs from its letter to the next letter."""
    places = [*(found.start() for found in re.finditer(r"[A-Z?]", bar)), len(bar)]
    return {bar[first]: last - first for first, last in pairwise(places)}


def test_the_parts_of_a_bar_add_up_and_share_one_scale() -> None:
    half = one("student", parts={kind: mib / 2 for kind, mib in PARTS.items()}, peak_mib=sum(PARTS.values()) / 2)
    lines = [line.rstrip() for line in printed(forecast_bars([one(), half], width=70)).splitlines()]
    whole, smaller = cells_of(lines[1]), cells_of(lines[4])
    assert sum(whole.values()) == len(lines[1]) == 70 and sum(smaller.values()) == len(lines[4]) == 35
    for letter, cells in whole.items():
        assert abs(cells - 70 * PARTS[LETTERS[letter]] / sum(PARTS.values())) <= 1
    assert all(f"{letter} {kind}" in "\n".join(lines) for letter, kind in LETTERS.items())


def test_what_nobody_named_is_drawn_as_other_so_that_the_bar_is_the_peak() -> None:
    lines = printed(forecast_bars([one(parts={"parameters": 30.0, "new kind": 20.0}, peak_mib=100.0)], 50)).splitlines()
    assert cells_of(lines[1].rstrip()) == {"P": 15, "?": 35}
    assert "? other" in lines[3]
    assert "70.0" in printed(forecast_table([one(parts={"parameters": 30.0}, peak_mib=100.0)]))


def spans(svg: str) -> dict[float, list[tuple[float, float]]]:
    """The rectangles of a drawing, as (left, right) in points, by the height at which they stand."""
    found: dict[float, list[tuple[float, float]]] = {}
    for path in re.findall(r'<path d="(M [^"]*z)\s*"[^>]*style="fill: [^"]*"', svg):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
        if len(numbers) == 8:
            found.setdefault(min(numbers[1::2]), []).append((min(numbers[::2]), max(numbers[::2])))
    return found


def points_per_mib(svg: str) -> float:
    """The scale of the axis below the bars, from its own labels and where they stand."""
    ticks = re.findall(r'<text style="[^"]*" x="([\d.]+)" y="[\d.]+"[^>]*>([\d,]+)</text>', svg)
    (zero, low), (place, high) = ticks[0], ticks[-1]
    return (float(place) - float(zero)) / (float(high.replace(",", "")) - float(low))


def test_the_drawn_parts_add_up_to_the_peak() -> None:
    svg = forecast_svg([one(), one("student", parts={"parameters": 200.0, "activations": 60.0}, peak_mib=300.0)])
    teacher, student = (row for _, row in sorted(spans(svg).items()))
    scale = points_per_mib(svg)
    order = ("parameters", "gradients", "optimiser state", "average", "teacher", "buffers", "activations")
    assert [(right - left) / scale for left, right in teacher] == pytest.approx([PARTS[k] for k in order], abs=0.02)
    assert [(right - left) / scale for left, right in student] == pytest.approx([200.0, 60.0, 40.0], abs=0.02)
    for row in (teacher, student):
        assert all(before[1] == pytest.approx(after[0], abs=1e-4) for before, after in pairwise(row))
    assert (teacher[-1][1] - teacher[0][0]) / scale == pytest.approx(sum(PARTS.values()), abs=0.05)


def test_the_timeline_names_its_phases_and_marks_the_peak() -> None:
    svg = timeline_svg(one())
    assert "peak 1,584.0 MiB, gradient penalty" in svg and "between" not in svg
    assert all(f">{name}</text>" in svg for name in ("critic forward", "gradient penalty", "critic optimiser"))
    lanes = [sorted(row) for _, row in sorted(spans(svg).items())]
    assert [len(row) for row in lanes] == [2, 1, 1]  # the critic runs forward twice
    widths = [right - left for row in lanes for left, right in row]
    assert widths == pytest.approx([widths[0]] * 4, abs=1e-3)


@pytest.mark.parametrize("draw", [lambda: forecast_svg([one()]), lambda: timeline_svg(one())])
def test_a_drawing_is_the_same_every_time_and_takes_the_colours_of_its_page(draw: Any) -> None:
    svg = draw()
    assert svg == draw()
    assert svg.startswith("<svg xmlns=") and "var(--series-0, #" in svg and "currentColor" in svg
    assert not re.search(r"<style|<metadata|font-family|<script|#0b63b0|#56606a", svg)
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids)) and set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) <= set(ids)


def test_two_drawings_share_no_id() -> None:
    drawn = (forecast_svg([one()]), forecast_svg([one(batch=64)]), timeline_svg(one()))
    ids = [found for svg in drawn for found in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids)) > 0


def test_pictures_are_png_on_white_and_the_same_every_time() -> None:
    for content, again in ((forecast_png([one()]), forecast_png([one()])), (timeline_png(one()), timeline_png(one()))):
        assert content == again
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            assert opened.convert("RGB").getpixel((0, 0)) == (255, 255, 255) and opened.width == 980


def test_each_phase_has_its_peak_in_order() -> None:
    lines = printed(phases_table(one())).splitlines()
    rows = [line for line in lines if "█" in line]
    assert [re.split(r"\s{2,}", row.strip())[:2] for row in rows] == [
        ["critic forward", "1,037.6"],
        ["gradient penalty", "1,584.0"],
        ["critic optimiser", "949.3"],
    ]
    assert [row.count("█") for row in rows] == [20, 30, 18] and [("peak" in row) for row in rows] == [
        False,
        True,
        False,
    ]


def test_options_tell_what_fits_and_which_to_take() -> None:
    words = ["--set distill.train.batch=96", "--set distill.train.amp=fp16"]
    rows = [
        {"way": "distilled", "batch": None, "card_mib": None, "words": [], "recommended": False},
        {"way": "distilled, mixed precision", "batch": 96, "card_mib": [1778.2, 5632], "words": words}
        | {"recommended": True},
        {},
    ]
    text = printed(options_table(rows, "GTX 1660 Ti", 5632))
    assert all(word in text for word in (*words, "96", "1,778 to 5,632", "✗ none", "GTX 1660 Ti", "5,632 MiB"))
    assert text.count("→ recommended") == 1 and "assumed, not measured" in text


@pytest.mark.parametrize("forecast", NOTHING)
def test_what_is_missing_crashes_nothing(forecast: dict[str, Any]) -> None:
    for shown in (forecast_table([forecast, one()], 4096), forecast_bars([forecast]), phases_table(forecast)):
        assert "nan" not in printed(shown).lower()
    assert "nan" not in forecast_svg([forecast]) + timeline_svg(forecast)
    assert forecast_png([forecast]) and timeline_png(forecast)
    printed(options_table([forecast], "", 0.0))


def test_names_are_never_read_as_markup() -> None:
    odd = one("[bold]<b> $x_2$", phases={"[red]$p$": 5.0}, timeline=[[5.0, "<i> $p_3$"], [4.0, "$q"]])
    assert "[bold]<b> $x_2$" in printed(forecast_bars([odd])) and "[red]$p$" in printed(phases_table(odd))
    assert "[bold]<b>" in printed(forecast_table([odd], 4096, "[i]card"))
    svg = forecast_svg([odd]) + timeline_svg(odd)
    assert "&lt;b&gt; $x_2$" in svg and svg.count("&lt;i&gt; $p_3$") == 2 and ">$q<" in svg


def test_without_matplotlib_the_tables_stay_and_pictures_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert printed(forecast_table([one()]))
    with pytest.raises(GanletError, match=r"ganlet\[train\]"):
        forecast_svg([one()])


def sampling(**changed: Any) -> dict[str, Any]:
    row = {"runtime": "onnxruntime", "batch": 16, "weights_mib": 37.7, "scratch_mib": (40.0, 80.0)}
    return (
        row | {"peak_mib": (77.7, 133.7), "basis": "bounds seen", "measured_mib": None, "process_mib": None} | changed
    )


def test_sampling_tells_bounds_and_what_was_measured() -> None:
    text = printed(sampling_table([sampling(), sampling(runtime="torch", peak_mib=(93.7, 93.7))]))
    assert "40.0 to 80.0" in text and "77.7 to 133.7" in text and "Measured" not in text and "93.7 to" not in text
    text = printed(sampling_table([sampling(measured_mib=89.9, process_mib=145.6)]), width=100)
    assert "89.9" in text and "145.6" in text and "Whole" in text
    assert "as built" in printed(sampling_table([sampling(runtime="tensorrt", batch=0)]))
    for nothing in NOTHING:
        printed(sampling_table([nothing]))


def test_a_forecast_for_the_processor_has_no_context() -> None:
    text = printed(forecast_table([one(place="cpu", parts=PARTS | {"workspace": 32.0})]))
    assert "Workspace" in text and "32.0" in text and "CUDA" not in text and "Reserved" not in text


def test_the_page_holds_forecast_beside_measurement() -> None:
    training = {"peak_memory_mib": 1500.0, "process_memory_mib": 2100.0, "reserved_memory_mib": 1800.0}
    report = {"stages": {"teacher": {"memory_forecast": one(place="cuda"), "training": training}, "student": {}}}
    section = memory_section(report)
    assert section is not None
    (row,) = section["stages"]
    assert row["name"] == "teacher" and row["error_percent"] == pytest.approx(100 * (sum(PARTS.values()) / 1500 - 1))
    assert row["reserved_mib"] == 1720.0 and row["measured_reserved_mib"] == 1800.0 and row["process_mib"] == 2100.0
    assert section["on_a_card"] and section["context"] == "250 to 600" and "<svg" in section["bars"]
    assert memory_section({"stages": {"teacher": {}}}) is None
    for nothing in NOTHING:
        memory_section({"stages": {"teacher": {"memory_forecast": nothing, "training": nothing}}})
