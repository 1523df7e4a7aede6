"""Losses over time: every spike, few points, the page's colours, the same bytes."""

import json
import re
from pathlib import Path

import numpy as np

from ganlet.report.plots import MOST_POINTS, _thinned, loss_plots, read_log


def test_losses_scores_and_terms_have_a_graph_each(run: Path) -> None:
    assert [(plot.title, plot.series) for plot in loss_plots(run / "teacher")] == [
        ("losses", ("critic loss", "generator loss")),
        ("scores of the critic", ("score real", "score fake")),
    ]
    losses, terms = loss_plots(run / "student")
    assert terms.title == "terms of the loss" and terms.series == ("adversarial", "pixel")
    assert terms.is_log and not losses.is_log and losses.last_step == 1500


def test_a_graph_is_the_same_every_time_and_takes_its_colours_from_the_page(run: Path) -> None:
    first, second = loss_plots(run / "teacher"), loss_plots(run / "teacher")
    assert first == second
    svg = first[0].svg
    assert svg.startswith("<svg") and "currentColor" in svg and "var(--series-0)" in svg and "var(--series-1)" in svg
    assert not re.search(r"#[0-9a-f]{6}|http|<style|<metadata|font-family", svg)


def test_no_two_graphs_share_an_id_and_every_reference_is_met(run: Path) -> None:
    svg = "".join(plot.svg for stage in ("teacher", "student") for plot in loss_plots(run / stage))
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)) <= {(name, "") for name in ids} | {
        ("", name) for name in ids
    }


def test_a_folders_name_is_never_markup_nor_a_template(run: Path, tmp_path: Path) -> None:
    for name in ('x"><b>forged', r"a\g<zz>"):
        stage = tmp_path / name
        stage.mkdir()
        (stage / "metrics.jsonl").write_bytes((run / "teacher" / "metrics.jsonl").read_bytes())
        svg = "".join(plot.svg for plot in loss_plots(stage))
        assert svg.count("<svg") == 2 and "forged" not in svg and "zz" not in svg


def test_thinning_keeps_the_ends_of_every_stretch() -> None:
    x = np.arange(20_000.0)
    y = np.sin(x / 900)
    y[7_777], y[12_345] = 40.0, -40.0
    kept_x, kept_y = _thinned(x, y)
    assert len(kept_x) <= MOST_POINTS and (np.diff(kept_x) > 0).all()
    assert (kept_y.max(), kept_y.min()) == (40.0, -40.0)
    assert kept_x[kept_y.argmax()] == 7_777


def test_a_log_with_damaged_lines_or_none_at_all_is_no_fault(tmp_path: Path) -> None:
    assert loss_plots(tmp_path) == []
    good = json.dumps({"step": 25, "critic_loss": 1.0, "note": "x", "generator_loss": None})
    (tmp_path / "metrics.jsonl").write_text(
        f'{good}\n[1]\n{{"critic_loss": 2}}\n{"[" * 200_000}\n{{"step": 50, "critic_lo'
    )
    assert read_log(tmp_path / "metrics.jsonl") == [{"step": 25.0, "critic_loss": 1.0}]
    (plot,) = loss_plots(tmp_path)
    assert plot.series == ("critic loss",)


def test_names_of_a_log_are_never_drawn_as_markup(tmp_path: Path) -> None:
    line = {"step": 1, "<script>_loss": 1.0, "$\\frac_loss": 2.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (plot,) = loss_plots(tmp_path)
    assert "script" not in plot.svg and plot.series == ("<script> loss", "$\\frac loss")
