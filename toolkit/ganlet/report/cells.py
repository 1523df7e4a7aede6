"""Cells of the tables that a terminal shows."""

from rich.text import Text

from ganlet.errors import printable


def cell(text: object, style: str = "", keep_layout: bool = False) -> Text:
    """`text` as it is, with control characters escaped and brackets not read as rich's markup."""
    return Text(printable(text, keep_layout), style=style)
