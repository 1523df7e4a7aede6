"""Nothing is kept in HOME for the makers of the runtimes, and no host name is looked up, however ganlet is used."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ganlet

DRAW = "from ganlet.device import Sampler; Sampler(sys.argv[1], provider={provider!r}).images(0, 1)"
LOOKUPS = r"""
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
static void note(const char *name) {
  FILE *file = fopen(getenv("LOOKUPS"), "a");
  fprintf(file, "%s\n", name ? name : "(no name)");
  fclose(file);
}
int getaddrinfo(const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r) {
  note(n);
  return EAI_NONAME;
}
struct hostent *gethostbyname(const char *n) { note(n); return NULL; }
"""
WATCHED = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "TF_BUILD", "JENKINS_URL")
Watch = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture(scope="module")
def spy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that, loaded before the others, notes every host name that a process looks up."""
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("needs Linux and gcc")
    folder = tmp_path_factory.mktemp("spy")
    (folder / "spy.c").write_text(LOOKUPS)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "spy.so", folder / "spy.c"], check=True)
    return folder / "spy.so"


@pytest.fixture
def watch(spy: Path, tmp_path: Path) -> Watch:
    """Run Python with an empty HOME: (files left in it, host names looked up). Variables of `more` are set."""

    def run(*words: object, **more: str) -> tuple[list[str], list[str]]:
        home, lookups = tmp_path / "home", tmp_path / "lookups"
        home.mkdir()
        lookups.write_text("")
        kept = {name: value for name, value in os.environ.items() if name not in WATCHED and name[:4] != "XDG_"}
        kept |= {"HOME": str(home), "LD_PRELOAD": str(spy), "LOOKUPS": str(lookups), "PYTHONDONTWRITEBYTECODE": "1"}
        kept |= {"PYTHONPATH": str(Path(ganlet.__file__).parents[1])}
        subprocess.run([sys.executable, *map(str, words)], env=kept | more, check=True, capture_output=True)
        return sorted(str(path) for path in home.rglob("*") if path.is_file()), lookups.read_text().split()

    return run


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_drawing_by_the_python_interface_reports_nothing(provider: str, watch: Watch, generator: Path) -> None:
    assert watch("-c", f"import sys; {DRAW.format(provider=provider)}", generator) == ([], [])


def test_a_runtime_imported_before_ganlet_reports_no_more(watch: Watch, generator: Path) -> None:
    code = (
        "import onnxruntime, sys; from unittest import mock; off = mock.patch.object(onnxruntime, "
        "'disable_telemetry_events').start(); " + DRAW.format(provider="cpu") + "; assert off.called"
    )
    _, looked_up = watch("-c", code, generator)
    assert looked_up == []


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_the_command_and_the_child_of_a_benchmark_report_nothing(
    provider: str, watch: Watch, generator: Path, tmp_path: Path
) -> None:
    words = ["-n", 1, "--out", tmp_path / "out", "--provider", provider]
    code = (
        "import subprocess, sys; from ganlet.device.child import module_command; subprocess.run(module_command("
        "'ganlet.device.rounds', sys.argv[2], '--provider', sys.argv[-1]), stdin=subprocess.DEVNULL, check=True); "
        "from ganlet.cli import main; main()"
    )
    assert watch("-c", code, "sample", generator, *words) == ([], [])


def test_the_watch_sees_what_would_be_reported(watch: Watch) -> None:
    left, looked_up = watch("-c", "import onnxruntime, openvino")
    assert any("deviceid" in name for name in left) or any("openvino" in name for name in left)
    assert looked_up


def test_a_choice_of_the_user_stands(watch: Watch) -> None:
    code = "import os, ganlet; assert os.environ['ORT_DISABLE_TELEMETRY'] == '0'"
    assert watch("-c", code, ORT_DISABLE_TELEMETRY="0") == ([], [])
