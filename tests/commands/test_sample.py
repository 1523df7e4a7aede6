"""`ganlet sample`: which pictures, and that folder, walk and pipe hold the same ones."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from ganlet.commands.sample import END, Wanted, choose, parse_indices, pipe
from ganlet.device import Sampler
from ganlet.errors import GanletError
from support import Answer, expect_refused

KITTENS = Path(__file__).parents[2] / "exported" / "kittens"
GENERATOR = KITTENS / "generator.onnx"


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6), st.randoms())
def test_indices_are_what_they_say(gaps: list[tuple[int, int]], random: Any) -> None:
    ranges, position = [], 0
    for gap, length in gaps:
        ranges.append(range(position + gap, position + gap + length))
        position = ranges[-1].stop
    random.shuffle(ranges)
    text = ",".join(str(r.start) if len(r) == 1 else f"{r.start}-{r[-1]}" for r in ranges)
    assert parse_indices(text) == tuple(ranges)


def test_indices_by_hand() -> None:
    assert parse_indices("0-9, 17,100-") == (range(10), range(17, 18), range(100, END))
    assert parse_indices("42,3") == (range(42, 43), range(3, 4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not ''"),
        ("9-3", "runs backwards"),
        ("-3", "not '-3'"),
        ("1,,2", "not ''"),
        ("a-b", "not 'a-b'"),
        ("1.5", "not '1.5'"),
        ("5-,7", "only the last range"),
        ("0-9,4", "4 appears twice"),
        ("3,3", "3 appears twice"),
        ("7,5-", "7 appears twice"),
        ("9223372036854775808", "beyond"),
        ("0-99999999999999999999", "not '0-9"),
        ("\u0661", "not '\u0661'"),  # an Arabic one
    ],
)
def test_other_indices_are_refused(text: str, words: str) -> None:
    with pytest.raises(GanletError, match=words):
        parse_indices(text)


def test_a_count_cuts_the_ranges() -> None:
    assert choose(Wanted(indices="5-7,20-", count=5)) == (range(5, 8), range(20, 22))
    assert choose(Wanted(indices="5-7,20-", count=2)) == (range(5, 7),)
    assert choose(Wanted(indices="5-", raw=True)) == (range(5, END),)
    assert choose(Wanted(indices="0-", raw=True)) == (range(END),)  # longer than len() can tell
    assert choose(Wanted(indices="0-", count=2)) == (range(2),)
    assert choose(Wanted()) == (range(64),) and choose(Wanted(walk=Path("a.gif"), start=3)) == (range(3, 11),)
    for wanted, words in (
        (Wanted(indices="5-"), "have no end"),
        (Wanted(indices="5", start=5), "both --indices and --start"),
        (Wanted(count=0), "count of 0"),
        (Wanted(count=10**20), "less than 9223372036854775808"),
    ):
        with pytest.raises(GanletError, match=words):
            choose(wanted)


def test_chosen_pictures_lie_under_their_index(ganlet: Callable[..., Answer], tmp_path: Path) -> None:
    words = ["sample", GENERATOR, "--seed", 2, "--indices", "4-5,1"]
    code, text, _ = ganlet(*words, "--out", tmp_path / "png", "--grid", "--json")
    assert code == 0 and json.loads(text.splitlines()[-1])["pictures"] == 3
    assert sorted(path.name for path in (tmp_path / "png").iterdir()) == [
        *("000001.png", "000004.png", "000005.png"),
        "grid.png",
    ]
    assert ganlet(*words, "--out", tmp_path / "jpeg", "--format", "jpeg", "--quality", 95)[0] == 0
    assert ganlet(*words, "--out", tmp_path / "small", "--format", "jpeg", "--quality", 10)[0] == 0
    sampler = Sampler(GENERATOR)
    for index in (1, 4, 5):
        expected = sampler.images(index, 1, seed=2)[0].astype(int)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "png" / f"{index:06d}.png")), expected)
        jpeg = tmp_path / "jpeg" / f"{index:06d}.jpg"
        with Image.open(jpeg) as picture:
            assert picture.format == "JPEG" and np.abs(np.asarray(picture) - expected).mean() < 3
        assert (tmp_path / "small" / jpeg.name).stat().st_size < jpeg.stat().st_size / 2


def test_a_walk_passes_the_pictures(ganlet: Callable[..., Answer], tmp_path: Path) -> None:
    path = tmp_path / "new" / "walk.png"
    code, text, _ = ganlet(
        "sample", GENERATOR, "--walk", path, "--indices", "7,3", "--frames", 4, "--fps", 10, "--json"
    )
    made = json.loads(text.splitlines()[-1])
    assert code == 0 and (made["frames"], made["pictures"], made["bytes"]) == (8, 2, path.stat().st_size)
    with Image.open(path) as movie:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(movie)]
    sampler = Sampler(GENERATOR)
    assert np.array_equal(frames[0], sampler.images(7, 1)[0]) and np.array_equal(frames[4], sampler.images(3, 1)[0])
    assert not any(np.array_equal(a, b) for a, b in pairwise(frames))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pipe_gets_the_bytes_and_nothing_else(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 6, 7, channels), dtype=np.uint8)
    assert pipe(iter(pictures)) == 5
    written = np.frombuffer(out.buffer.getvalue(), np.uint8)  # type: ignore[attr-defined]
    assert np.array_equal(written.reshape(5, 6, 7, 3), np.broadcast_to(pictures, (5, 6, 7, 3)))


@pytest.mark.parametrize("words", [["--raw", "--indices", "3-"], ["--walk", "-", "--frames", "1000000000"]])
def test_a_reader_that_has_enough_ends_the_pipe_quietly(words: list[str]) -> None:
    command = [sys.executable, "-m", "ganlet.cli", "sample", str(GENERATOR), "--start", "3", *words]
    if "--indices" in words:
        command = [word for word in command if word not in ("--start", "3")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    first = np.frombuffer(process.stdout.read(64 * 64 * 3), np.uint8).reshape(64, 64, 3)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 0
    process.stderr.close()
    assert np.array_equal(first, Sampler(GENERATOR).images(3, 1)[0])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["Got none of --out FOLDER, --walk FILE and --raw"]),
        (["--out", "x", "--raw"], ["--out and --raw"]),
        (["--out", "x", "--walk", "w.gif"], ["--out and --walk"]),
        (["--walk", "w.gif", "--raw"], ["--walk and --raw"]),
        (["--out", "x", "--format", "bmp"], ["--format bmp; expected png or jpeg"]),
        (["--out", "x", "--format", "jpeg", "--quality", "0"], ["quality of 0; expected 1 to 95"]),
        (["--out", "x", "--quality", "50"], ["--format png has no use for --quality"]),
        (["--walk", "x.gif", "--grid", "--format", "jpeg"], ["--walk has no use for --grid and --format"]),
        (["--raw", "--fps", "3"], ["--raw has no use for --fps"]),
        (["--walk", "-", "--fps", "3"], ["--walk has no use for --fps"]),
        (["--out", "x", "--frames", "3", "--fps", "3"], ["--out has no use for --frames and --fps"]),
        (["--walk", "w.avi"], ["w.avi", ".webp"]),
        (["--walk", "w.gif", "--fps", "0"], ["0 frames a second"]),
        (["--walk", "w.gif", "--frames", "0"], ["0 frames from"]),
        (["--walk", "w.gif", "--frames", "5000000000"], ["5000000000 frames from", "1 to 1000000"]),
        (["--out", "x", "--threads", "99999999999"], ["--threads 99999999999; expected 1 to 1024"]),
        (["--walk", "w.gif", "-n", "1"], ["two pictures or more"]),
        (["--walk", "w.gif", "--label", "1"], ["it has no classes"]),
        (["--out", "x", "--indices", "9-3"], ["runs backwards"]),
        (["--out", "x", "--indices", "5-"], ["-n", "--raw"]),
        (["--out", "x", "--start", "-1"], ["first index"]),
        (["--out", "x", "--seed", "-1"], ["the seed"]),
        (["--raw", "--json"], ["--json", "choose one"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_leaves_nothing(
    words: list[str],
    expected: list[str],
    ganlet: Callable[..., Answer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    expect_refused(ganlet("sample", GENERATOR, *words), *expected)
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_gets_no_raw_bytes(ganlet: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for words in (["--raw"], ["--walk", "-"]):
        expect_refused(ganlet("sample", GENERATOR, *words), "is a terminal", "ffmpeg")


# ---------------------------------------------------------------- verify --artifact


def test_the_shipped_example_confirms_itself_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnx', 'scipy']));"
        f"sys.argv = ['ganlet', 'verify', '--artifact', {str(GENERATOR)!r}, '--json'];"
        "from ganlet.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["verdict"] == "passed" and answer["artifact"] == "generator.onnx" and answer["pictures"] == 6


def test_verify_takes_a_run_or_an_artifact(ganlet: Callable[..., Answer], tmp_path: Path) -> None:
    expect_refused(ganlet("verify"), "Got no run and no --artifact")
    expect_refused(ganlet("verify", KITTENS, "--artifact", GENERATOR), "Got both a run and --artifact")
    expect_refused(ganlet("verify", KITTENS, "--provider", "openvino"), "Got --provider with a run", "--artifact FILE")
    expect_refused(ganlet("verify", "--artifact", tmp_path / "gone.onnx"), "gone.onnx is no file")
    expect_refused(ganlet("verify", "--artifact", GENERATOR, "--provider", "tpu"), "tpu")


def test_an_export_confirms_itself(ganlet: Callable[..., Answer], finished_run: Path) -> None:
    """The pictures are the network's own, the artifact ONNX Runtime's."""
    code, text, _ = ganlet("verify", "--artifact", finished_run / "generator.onnx", "--json")
    answer = json.loads(text.splitlines()[-1])
    assert code == 0 and answer["verdict"] == "passed" and answer["precision"] == "fp32" and answer["pictures"] == 16
    assert 0 < answer["max_abs"] < 1e-4
