"""The search for frozen layers on the page: rows in the order of memory, the chosen one, nothing where none is."""

import json
from pathlib import Path

import pytest

from ganlet.report import read_freezing, write_report

DOCUMENT = {
    "images": 16000,
    "samples": 1000,
    "why": "the least memory <b>",
    "chosen": {"generator": 1, "critic": 2},
    "candidates": [
        {"generator": 0, "critic": 2, "memory_mib": 9.0, "distance": {"value": 512.5, "low": 500.5, "high": 520.5}},
        {
            "generator": 1,
            "critic": 2,
            "memory_mib": 8.0,
            "distance": {"value": 520.5, "low": 510.5, "high": 530.5},
            "change_percent": {"value": 1.5, "low": -1.0, "high": 4.0},
        },
        {"generator": 0, "critic": 0, "memory_mib": 99.0, "distance": None, "note": "does not fit"},
    ],
}


def test_candidates_are_shown_and_their_words_escaped(run: Path) -> None:
    assert "How many layers are frozen" not in write_report(run).read_text()
    (run / "transfer").mkdir(exist_ok=True)
    (run / "transfer" / "freezing.json").write_text(json.dumps(DOCUMENT))
    page = write_report(run).read_text()
    section = page[page.index("How many layers are frozen") :].split("</section>")[0]
    assert section.index("520.5") < section.index("512.5") < section.index("does not fit")
    assert section.count("<strong>chosen</strong>") == 1 and "+1.5" in section and "1,000 samples" in section
    assert "&lt;b&gt;" in section and "<b>" not in section


@pytest.mark.parametrize("content", ["{", "[]", '{"candidates": 3}', '{"candidates": [{}], "chosen": 1}'])
def test_a_damaged_file_leaves_the_page_whole(run: Path, content: str) -> None:
    (run / "transfer").mkdir(exist_ok=True)
    (run / "transfer" / "freezing.json").write_text(content)
    read_freezing(run)
    assert "</html>" in write_report(run).read_text()
