"""What a run came to: report.json read, its tables for the terminal, and one self-contained page."""

from pathlib import Path

from ganlet.errors import GanletError
from ganlet.report.document import PAGE, is_current, read_report, sentences
from ganlet.report.freezing import freezing_table, read_freezing
from ganlet.report.judgement import closing_words, opening_lines
from ganlet.report.memory import forecast_bars, forecast_table, options_table, phases_table, sampling_table
from ganlet.report.memory_pictures import forecast_png, forecast_svg, timeline_png, timeline_svg
from ganlet.report.search import search_png, search_svg, search_table
from ganlet.report.tables import artifacts_table, checks_table, summary_table

__all__ = [
    "artifacts_table",
    "checks_table",
    "closing_words",
    "forecast_bars",
    "forecast_png",
    "forecast_svg",
    "forecast_table",
    "freezing_table",
    "opening_lines",
    "options_table",
    "phases_table",
    "read_freezing",
    "read_report",
    "sampling_table",
    "search_png",
    "search_svg",
    "search_table",
    "sentences",
    "summary_table",
    "timeline_png",
    "timeline_svg",
    "write_report",
]


def write_report(run: Path, *, if_outdated: bool = False) -> Path:
    """Draw RUN/report.json and what lies beside it as RUN/report.html, atomically; returns its path.

    With `if_outdated` a page that is newer than all that it shows stays as it is.

    Raises GanletError when report.json is missing or damaged, or when the packages that draw are not installed: a
    device has neither jinja2 nor matplotlib, and the tables above need none of them.
    """
    if if_outdated and is_current(run):
        return run / PAGE
    try:
        from ganlet.report import page
    except ImportError as error:
        raise GanletError(
            f"The page of a report needs the package {error.name}, which is not installed; "
            'install it with `pip install "ganlet[train]"`.'
        ) from error
    return page.write_report(run)
