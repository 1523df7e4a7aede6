"""The text of a recipe as TOML tables: encodings as editors write them, and backslashes as Windows writes paths."""

import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganlet.errors import GanletError, printable, words_of
from ganlet.files import text_of

ESCAPED = "\b\t\n\f\r"  # what \b \t \n \f \r in double quotes become
MOST_BYTES = 1_000_000  # of a recipe; the longest that is shipped has some thousand
REMEDY = "write the path with forward slashes or in single quotes"


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises GanletError when it is missing, no text, or no TOML."""
    try:
        content = _content_of(path)
    except FileNotFoundError as error:
        raise GanletError(
            f"Recipe {path} does not exist; give the path of a .toml file, such as those in recipes/."
        ) from error
    except IsADirectoryError as error:
        own = path / "recipe.toml"
        remedy = f"its own is {own}" if own.is_file() else "give a .toml file, such as those in recipes/"
        raise GanletError(f"Recipe {path} cannot be read: it is a folder, expected a file; {remedy}.") from error
    except OSError as error:
        raise GanletError(
            f"Recipe {path} cannot be read ({error.strerror or error}); give a readable .toml file."
        ) from error
    try:
        text = text_of(content)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise GanletError(
            f"Recipe {path} is not {error.encoding.upper()} text (byte 0x{content[error.start]:02x} in line {line}); "
            "save it with the encoding UTF-8."
        ) from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib's own error, and numbers or nesting past all measure
        hint = _backslash_hint(text, str(error)) or "mend that line"
        raise GanletError(f"Recipe {path} is not valid TOML: {words_of(error)}; {hint}.") from error


def _content_of(path: Path) -> bytes:
    """The bytes of a recipe. Raises OSError, and GanletError for what is no file of a recipe's size."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
        raise GanletError(f"Recipe {path} is a pipe or a device, expected a file; save the recipe to one.")
    if about.st_size > MOST_BYTES:
        raise GanletError(f"Recipe {path} has {about.st_size:,} bytes, expected at most {MOST_BYTES:,}; give a recipe.")
    return path.read_bytes()


def parse_value(text: str) -> Any:
    """The value of an override: TOML, or `text` itself where it is none.

    Raises ValueError with the remedy for a quoted string with backslashes that TOML cannot read.
    """
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError) as error:
        if text.strip()[:1] == '"' and (hint := _backslash_hint(f"value = {text}", str(error))):
            raise ValueError(hint) from error
        return text.strip()
    return tables["value"] if tables.keys() == {"value"} else text.strip()


def path_faults(paths: dict[str, str]) -> Iterator[str]:
    """A fault for each key whose path is not there because its backslashes were not read as they were meant."""
    for key, path in paths.items():
        if _exists(path):
            continue
        if any(character in path for character in ESCAPED):
            yield f"{key}: no such path {printable(path)!r}; in double quotes a backslash begins an escape: {REMEDY}"
        elif "\\" in path and _exists(path.replace("\\", "/")):
            yield f"{key}: no such path {printable(path)}; here folders are divided by /: {path.replace(chr(92), '/')}"


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, or ~ of an unknown user
        return False


def _backslash_hint(text: str, message: str) -> str:
    """The remedy where the faulty line has a backslash in double quotes; empty where it has none."""
    at = re.search(r"\(at line (\d+)", message)
    lines = text.splitlines()
    line = lines[int(at[1]) - 1] if at and int(at[1]) <= len(lines) else lines[-1] if lines else ""
    quoted = re.search(r'"([^"]*\\.*)', line)
    if quoted is None:
        return ""
    path = quoted[1].rstrip().rstrip('"')[:100]
    better = path.replace("\\\\", "\\").replace("\\", "/")
    return f'in double quotes a backslash begins an escape, so {REMEDY}, such as "{better}"'
