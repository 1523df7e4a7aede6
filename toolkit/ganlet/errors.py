"""What Ganlet raises at its users: one sentence that says what it got, what it expected and the remedy."""

import re

_NOT_PRINTED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters, marks that reorder or hide text, line separators, and bytes that are no text (surrogates).

The joiners U+200C and U+200D are not among them: Persian words and many emoji are written with them.
"""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object, keep_layout: bool = False) -> str:
    """`text` with an escape such as \\x1b or \\u202e in place of every character that steers a terminal or a page.

    Letters of every alphabet stay as they are. A byte of a file name that is no text becomes that byte's escape. The
    result of text that is printable already is the same text. `keep_layout` leaves newlines and tabs.
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return _NOT_PRINTED.sub(lambda match: _escape(match[0], keep_layout), plain)


def _escape(character: str, keep_layout: bool) -> str:
    if keep_layout and character in "\n\t":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is not UTF-8
        code -= 0xDC00
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


class GanletError(Exception):
    """A fault that the user can mend. The command line prints its one sentence and exits with code 2.

    More lines may follow the sentence, such as every fault of a recipe. `str` of it is printable: names from files and
    arguments stand in it with their control characters escaped.
    """

    def __str__(self) -> str:
        return "\n  ".join(map(printable, self.args))


class Diverged(GanletError):
    """Training went to numbers that are not finite: the fault of its settings, not of the machine."""


class Busy(GanletError):
    """Another process works in the same folder."""


class Interrupted(GanletError):
    """Work was stopped by Ctrl-C or SIGTERM after a checkpoint. The command line exits with code 130."""


_STEERING = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")  # colours of a terminal, control characters
_ADVICE = re.compile(
    r"pickle|weights_only|unsafe|https?://|\bplease\b|\bsee (also|the doc)|report (this|it)|\btry (to|again|using)\b|"
    r"set_int_max_str_digits|\byou (can|may|could|should|must|need|trust)|\bset `|re-?running|\bif you\b",
    re.IGNORECASE,
)


def words_of(error: BaseException | str, limit: int = 200) -> str:
    """Why another program failed, to stand in brackets in a sentence of ours: one line of at most `limit` characters.

    The first line that says something, without control characters, and without its advice, which is for the users of
    that program; of an error of the system only its reason; the name of the error where nothing is left.
    """
    if "allow_pickle" in str(error):
        return "it holds Python objects, which are not loaded"
    reason = error.strerror if isinstance(error, OSError) else None
    text = reason or _STEERING.sub("", str(error))
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    parts = re.split(r"(?<=[.!?;]) ", lines[0]) if lines else []
    plain = " ".join(part for part in parts if not _ADVICE.search(part)).rstrip(" .:;,!")
    name = "no reason given" if isinstance(error, str) else type(error).__name__
    return shortened(plain, limit) or name


def shortened(text: str, limit: int = 200) -> str:
    """`text` as it is, or where it is longer than `limit` its beginning and "..." in as many characters."""
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."
