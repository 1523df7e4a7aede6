"""What a run came to: report.json read, its tables for the terminal, and one self-contained page."""

from ganlet.report.document import read_report
from ganlet.report.page import write_report
from ganlet.report.tables import checks_table, summary_table

__all__ = ["checks_table", "read_report", "summary_table", "write_report"]
