"""What killed processes leave half-written goes with the next run, and what a living one writes stays."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from ganlet.files import atomic_path
from ganlet.leftovers import remove_leftovers


def aged(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - 60,) * 2)
    return path


def test_leftovers_go_and_other_files_stay(tmp_path: Path) -> None:
    gone = [".state.safetensors.abc_1234.tmp", f".a.json.{2**22 + 1}.abcd1234.tmp", f".x.{os.getpid()}.abcd1234.tmp"]
    stay = [".hidden", "x.abcd1234.tmp", ".x.ABCD1234.tmp", ".notes.tmp", "weights.safetensors", ".x.abcd1234.tmp.bak"]
    for name in gone + stay:
        aged(tmp_path / name)
    below = aged(tmp_path / "teacher" / "checkpoint" / gone[0])
    (tmp_path / ".folder.abcd1234.tmp").mkdir()
    (tmp_path / ".link.abcd1234.tmp").symlink_to(tmp_path / "weights.safetensors")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *stay,
        "teacher",
        ".folder.abcd1234.tmp",
        ".link.abcd1234.tmp",
    }
    assert below.is_file()
    remove_leftovers(tmp_path, deep=True)
    assert not below.exists()
    remove_leftovers(tmp_path / "none")


def test_what_a_living_process_writes_stays_and_goes_when_it_is_killed(tmp_path: Path) -> None:
    code = f"from ganlet.files import *\nwith atomic_path(Path({str(tmp_path / 'x')!r})): print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"1\n"
        (half,) = tmp_path.iterdir()
        os.utime(half, (time.time() - 60,) * 2)
        remove_leftovers(tmp_path)
        assert half.exists()
        writer.kill()
    remove_leftovers(tmp_path)
    assert not half.exists()


def test_what_this_process_writes_stays(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x") as temporary:
        os.utime(temporary, (time.time() - 60,) * 2)
        remove_leftovers(tmp_path)
        temporary.write_text(json.dumps([1]))
    assert json.loads((tmp_path / "x").read_text()) == [1]


def test_the_caches_remove_what_a_kill_left_in_them(tmp_path: Path) -> None:
    from PIL import Image

    from ganlet.data import load_pictures

    (tmp_path / "pictures").mkdir()
    for number in range(2):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "pictures" / f"{number}.png")
    half = aged(tmp_path / "cache" / ".folder-123.npy.abcd1234.tmp")
    load_pictures("folder", path=tmp_path / "pictures", size=8, channels=3, cache_dir=tmp_path / "cache")
    assert not half.exists()
