"""What a runtime may take of the device: threads, memory it keeps, pictures a call. One visible dict."""

from dataclasses import dataclass, replace

from ganlet.errors import GanletError
from ganlet.limits import quota_threads


@dataclass(frozen=True)
class Profile:
    """How a runtime works. `threads` None is the runtime's own choice, mostly one a core."""

    threads: int | None
    batch: int
    """Pictures a call that `Sampler` makes; the pictures do not depend on it."""
    keeps_memory: bool
    """Whether the runtime keeps what one call took for the next one."""


# Least memory is one picture at a time, not ONNX Runtime without its arena: then activations come from malloc, whose
# peak is the same for a small generator and higher for a large one (`python benchmarks/runtime_profiles.py`). So the
# arena stays, and "small" gives back after each call what it no longer needs.
PROFILES = {
    "fast": Profile(threads=None, batch=32, keeps_memory=True),
    "small": Profile(threads=1, batch=1, keeps_memory=False),
}


def choose_profile(name: str, threads: int | None = None) -> Profile:
    """The profile called `name`, with `threads` in place of its own where told.

    Where neither tells and the quota of a container is below the processors, its threads are as many as the quota.
    Raises GanletError for an unknown profile and for threads below 1.
    """
    if name not in PROFILES:
        raise GanletError(f"Got the profile {name!r}; expected {' or '.join(PROFILES)}.")
    if threads is None:
        own = PROFILES[name]
        return own if own.threads is not None else replace(own, threads=quota_threads())
    if threads < 1:
        raise GanletError(f"Got {threads} threads; expected 1 or more, or none to let the runtime choose.")
    return replace(PROFILES[name], threads=threads)
