"""The page: one file, whole, safe, honest about what failed and what nobody checked."""

import base64
import json
import re
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ganlet.errors import GanletError
from ganlet.report import write_report

MakeRun = Callable[[dict[str, Any]], Path]


class Parsed(HTMLParser):
    """Tags with their attributes, and the text outside of style sheets."""

    VOID = ("meta", "img", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == [], f"unclosed: {self.open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def page_of(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_the_figures_of_the_report_are_on_the_page(run: Path) -> None:
    text = Parsed(page_of(run)).text
    told = (
        "Passed all 5 checks|1.07 M|274 k|36.1|predicted 33.2|4.3|41.27|39.87 to 42.67|42.59|8.83|0.0312|1 min 50 s|"
        "48,000 pictures|1.12 of 1.5 MB|141.3 dB|2.4e\N{MINUS SIGN}7|1.23 / 1.94|121.7|2,000 held-out pictures|"
        "ganlet run recipes/kittens-quick.toml|David Revoy, CC-BY 4.0|torch 2.9.1|x86-64 processor, 2 cores, cpu"
    )
    missing = [
        figure for figure in [*told.split("|"), "ab" * 32, "cd" * 32, "ef" * 32, "0f" * 32] if figure not in text
    ]
    assert missing == []


def test_the_page_asks_nobody_for_anything(run: Path) -> None:
    page = page_of(run)
    parsed = Parsed(page)
    assert not {"script", "link", "iframe", "object", "form", "a"} & {tag for tag, _ in parsed.tags}
    policy = next(attrs["content"] for tag, attrs in parsed.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    for tag, attrs in parsed.tags:
        for name in ("src", "href", "xlink:href", "data", "action", "srcset"):
            value = attrs.get(name) or "#"
            assert value.startswith(("data:image/png;base64,", "data:image/webp;base64,", "#")), (tag, name, value[:80])
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
    assert "http:" not in page and "https:" not in page and "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", page))


def test_pictures_are_the_files_themselves_and_are_described(run: Path) -> None:
    images = [attrs for tag, attrs in Parsed(page_of(run)).tags if tag == "img"]
    assert len(images) == 6  # four samples, two progress strips
    assert all(image["alt"] and image["width"] == "206" for image in images)
    content = base64.b64decode(str(images[0]["src"]).partition(",")[2])
    assert content == (run / "samples" / "teacher.png").read_bytes()


def test_every_artifact_is_on_the_page(quantised: dict[str, Any], make_run: MakeRun) -> None:
    run = make_run(quantised)
    shutil.copy(run / "samples" / "generator.onnx.png", run / "samples" / "generator.int8.onnx.png")
    parsed = Parsed(page_of(run))
    for figure in ("generator.int8.onnx int8", "40.7 dB", "42.91", "+0.8 % +0.1 to +1.5 %", "0.71 / 0.88 CPU", "0.29"):
        assert figure in parsed.text
    alts = [attrs["alt"] for tag, attrs in parsed.tags if tag == "img"]
    assert alts[3] == "Pictures that generator.int8.onnx draws from the same latents."
    assert len(alts) == 7 and "training data" in str(alts[4])


def test_a_path_of_a_report_reads_no_other_picture(quantised: dict[str, Any], make_run: MakeRun) -> None:
    run = make_run(quantised)
    (run.parent / "secret.png").write_bytes((run / "samples" / "data.png").read_bytes())
    for path in ("../../secret", str(run.parent / "secret")):
        quantised["artifacts"][1]["path"] = path
        (run / "report.json").write_text(json.dumps(quantised))
        assert page_of(run).count("<img ") == 6


def test_headings_are_in_order_and_the_verdict_is_the_first(run: Path) -> None:
    page = page_of(run)
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    order = ("Passed all", "The same latents", "Budgets", "Summary", "Progress", "Losses", "Artifacts", "Provenance")
    places = [Parsed(page).text.index(f" {heading}") for heading in order]
    assert places == sorted(places)


def test_text_of_users_is_text(passed: dict[str, Any], make_run: MakeRun) -> None:
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    passed["run"] = attack
    passed["provenance"]["credits"] = [attack]
    passed["provenance"]["versions"] = {attack: attack}
    passed["artifacts"][0]["path"] = attack
    passed["checks"][0] |= {"name": attack, "reason": attack, "unit": attack}
    passed["stages"]["teacher"]["quality"] = {attack: {"value": 1.0}}
    run = make_run(passed)
    (run / "recipe.toml").write_text(f"# {attack}\n")
    (run / "teacher" / "metrics.jsonl").write_text(json.dumps({"step": 1, f"{attack}loss": 1.0}) + "\n")
    page = page_of(run)
    parsed = Parsed(page)
    assert "<script" not in page and "<img src=x" not in page
    assert not any(tag == "script" or "onerror" in attrs for tag, attrs in parsed.tags)
    assert parsed.text.count("alert(1)") >= 8


def test_names_on_the_page_reorder_and_hide_nothing(passed: dict[str, Any], make_run: MakeRun) -> None:
    attack = "\x1b[2J\x00\u202e\udcff"
    passed["run"] = attack
    passed["checks"][0] |= {"name": attack, "reason": attack}
    passed["artifacts"][0]["path"] = attack
    run = make_run(passed)
    (run / "recipe.toml").write_text("# a\n\tb\u202e\n")
    page = page_of(run)
    assert not {"\x1b", "\x00", "\u202e"} & set(page)
    text = Parsed(page).text
    assert text.count("\\x1b[2J\\x00\\u202e\\xff") >= 4
    assert "# a\n\tb\\u202e\n" in page


def test_a_failed_run_looks_failed(failed: dict[str, Any], make_run: MakeRun) -> None:
    page = page_of(make_run(failed))
    text = Parsed(page).text
    assert '<header class="verdict failed">' in page and "✗ Failed 2 of 5 checks" in text
    assert "fidelity of student : 21.4 % against a limit of 15 %: 6.4 points above" in text
    assert "budget: model : 2.25 MB against a limit of 1.5 MB: 0.75 MB (50 %) above" in text
    assert "Passed all" not in text


def test_a_failed_run_without_a_failed_check_still_looks_failed(passed: dict[str, Any], make_run: MakeRun) -> None:
    page = page_of(make_run(passed | {"verdict": "failed"}))
    assert '<header class="verdict failed">' in page and "names no failed check" in page


def test_what_nobody_verified_does_not_look_passed(bare: dict[str, Any], tmp_path: Path) -> None:
    for report in (bare, {"schema": 1}, {"schema": 1, "verdict": "passed"}):
        (tmp_path / "report.json").write_text(json.dumps(report))
        page = page_of(tmp_path)
        text = Parsed(page).text
        assert '<header class="verdict not_verified">' in page and "? Not verified" in text
        assert "✓" not in text and 'class="status passed"' not in page
        assert "None" not in text and "nan" not in text.split()
        assert "no sample pictures" in text and "no log of training" in text and "no readable recipe.toml" in text


@pytest.mark.parametrize("wrong", [None, "text", 7, [None, 3], {"x": None}, [{"name": None, "status": 5}]])
@pytest.mark.parametrize("key", ["run", "stages", "artifacts", "budget", "checks", "reference", "provenance"])
def test_no_shape_of_a_value_breaks_the_page(passed: dict[str, Any], tmp_path: Path, key: str, wrong: Any) -> None:
    (tmp_path / "report.json").write_text(json.dumps(passed | {key: wrong}))
    assert {"h1", "main"} <= {tag for tag, _ in Parsed(page_of(tmp_path)).tags}


def test_damaged_files_beside_the_report_leave_their_place_empty(run: Path) -> None:
    (run / "samples" / "teacher.png").write_bytes(b"\x89PNG cut short")
    (run / "samples" / "student.png").write_bytes((run / "samples" / "student.png").read_bytes()[:200])
    (run / "teacher" / "progress" / "strip.png").write_bytes(b"")
    (run / "manifest.json").write_text("{")
    (run / "recipe.toml").write_bytes(b"\xff\xfe")
    page = page_of(run)
    assert len(re.findall("<img ", page)) == 3 and "no readable recipe.toml" in page


def test_a_teacher_of_another_run_shows_its_own_log(passed: dict[str, Any], make_run: MakeRun) -> None:
    run = make_run(passed)
    other = (run / "teacher").rename(run.parent / "teacher-elsewhere")
    assert "Scores of the critic".lower() not in Parsed(page_of(run)).text
    passed["stages"]["teacher"]["run"] = str(other)
    (run / "report.json").write_text(json.dumps(passed))
    assert "scores of the critic" in Parsed(page_of(run)).text


def test_the_same_files_give_the_same_bytes(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert str(run.parent).encode() not in first


def test_without_a_report_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="ganlet verify"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_device_without_the_drawing_packages_is_told_what_to_install(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("ganlet.report.page", raising=False)
    monkeypatch.delitem(sys.modules, "ganlet.report.page", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(GanletError, match=r'needs the package jinja2.*pip install "ganlet\[train\]"'):
        write_report(run)
