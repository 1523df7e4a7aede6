"""The page in a real browser: it draws, and a phone does not scroll it sideways."""

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browser import BROWSER, FLAGS, NEEDS_BROWSER
from ganlet.report import write_report

PHONE_PX = 390

# The page forbids scripts, so a page around it measures: srcdoc shares the outer page's origin, and the width of the
# frame is what the page's media queries see.
MEASURE = """<!doctype html><body style="margin:0"><iframe style="border:0;width:{width}px;height:900px"
srcdoc="{page}"></iframe><script>
addEventListener("load", () => {{
  const inner = document.querySelector("iframe").contentDocument, width = inner.documentElement.clientWidth;
  const scroll = inner.documentElement.scrollWidth;
  const boxed = (e) => e.closest(".scroll, pre, svg");
  const wide = [...inner.querySelectorAll("body *")].filter(
    (e) => !boxed(e.parentElement) && e.getBoundingClientRect().right > width + 0.5);
  document.body.innerHTML = "<p id=found></p>";
  document.querySelector("#found").textContent = JSON.stringify(
    {{width, scroll, wide: wide.map((e) => e.outerHTML.slice(0, 120))}});
}});
</script>"""


def browse(profile: Path, *arguments: str) -> str:
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def measured(folder: Path, page: str) -> dict[str, Any]:
    outer = folder / "outer.html"
    outer.write_text(MEASURE.format(width=PHONE_PX, page=html.escape(page)), encoding="utf-8")
    dumped = browse(folder / "profile", "--virtual-time-budget=10000", "--dump-dom", outer.as_uri())
    found = re.search(r'<p id="found">(.*?)</p>', dumped, re.DOTALL)
    assert found, dumped[:500]
    return dict(json.loads(html.unescape(found[1])))


@pytest.mark.slow
@NEEDS_BROWSER
def test_the_page_draws_and_a_phone_does_not_scroll_it_sideways(run: Path, tmp_path: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    report["run"] = "a-run-" + "x" * 58  # as long as a recipe lets it be
    (run / "report.json").write_text(json.dumps(report))
    page = write_report(run)
    picture = tmp_path / "page.png"
    browse(tmp_path / "profile", f"--screenshot={picture}", "--window-size=1280,1600", page.as_uri())
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape == (1600, 1280, 3)
    assert (pixels == 255).all(axis=-1).mean() < 0.9  # paper with something on it
    assert (pixels == (0x17, 0x65, 0x3A)).all(axis=-1).any()  # the green of a pass
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000  # the pictures
    text = page.read_text(encoding="utf-8")
    found = measured(tmp_path, text)
    assert found == {"width": PHONE_PX, "scroll": PHONE_PX, "wide": []}
    broken = measured(tmp_path, text.replace("</main>", '<p style="width:600px">wide</p></main>'))
    assert broken["scroll"] > PHONE_PX  # the measurement sees what it is there to see
