"""A file is exported once it has been compared; one that failed is gone, or the next export would find it complete."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganlet.artifact import drop_from_manifest
from ganlet.errors import GanletError


@contextmanager
def removed_if_refused(path: Path) -> Iterator[None]:
    """Remove `path`, and its line in the manifest beside it, when what runs within raises GanletError."""
    try:
        yield
    except GanletError:
        path.unlink(missing_ok=True)
        drop_from_manifest(path.parent, path.name)
        raise
