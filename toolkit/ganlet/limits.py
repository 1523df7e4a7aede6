"""What the system, the container and the resource limits leave this process: bytes of memory, and processors.

Linux tells both in files below /proc and /sys. Every function takes the root that these lie under, so that a test can
hand in a tree of its own. A file that is missing or cannot be understood sets no limit.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
_UNLIMITED = 1 << 60
"""Bytes. cgroup v1 writes 2**63 less a page where nothing is limited; no machine has as much as this."""
DEVICE = "this device"
PROCESSORS = "the processors that this process may run on"
_RESOURCES = (  # the row of /proc/self/limits, what counts against it in /proc/self/status, what it is
    ("Max address space", "VmSize", "the limit of this process's address space (RLIMIT_AS, ulimit -v)"),
    ("Max data size", "VmData", "the limit of this process's data (RLIMIT_DATA, ulimit -d)"),
)


@dataclass(frozen=True)
class MemoryLimit:
    """Bytes that this process may still take, and what allows no more.

    Attributes:
        source: what sets it, such as "this device" or "the limit of this container (memory.max of cgroup v2)".
        left_bytes: what is still free below it.
        total_bytes: the limit itself; the memory of the machine for the system.
    """

    source: str
    left_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class ProcessorLimit:
    """Processors that this process may use, at least 1, and what allows no more."""

    source: str
    count: int


def memory_limit(root: Path = ROOT) -> MemoryLimit | None:
    """The limit that leaves this process the least memory; None where the system tells none."""
    return min(memory_limits(root), key=lambda limit: limit.left_bytes, default=None)


def memory_limits(root: Path = ROOT) -> list[MemoryLimit]:
    """Every limit of the memory of this process: the system's own first, then those of cgroups and of RLIMITs."""
    return [*_system_memory(root), *_cgroup_memory(root), *_resource_memory(root)]


def processor_limit(root: Path = ROOT) -> ProcessorLimit:
    """The least of the processors that this process may run on, and the quotas of its cgroups, rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([ProcessorLimit(PROCESSORS, allowed), *_quotas(root)], key=lambda one: one.count)


def quota_threads(root: Path = ROOT) -> int | None:
    """Threads worth starting where the quota of a cgroup is below the processors that may be used, else None."""
    held = processor_limit(root)
    return None if held.source == PROCESSORS else held.count


def _system_memory(root: Path) -> Iterator[MemoryLimit]:
    kib = dict(re.findall(r"^(\w+): +([0-9]+) kB$", _text(root / "proc/meminfo"), re.MULTILINE))
    if "MemAvailable" in kib:
        left_bytes = int(kib["MemAvailable"]) * 1024
        yield MemoryLimit(DEVICE, left_bytes, int(kib.get("MemTotal", "0")) * 1024 or left_bytes)


def _cgroup_memory(root: Path) -> Iterator[MemoryLimit]:
    for folder in _folders(root, "memory"):
        # The second is the least of a cgroup's own limit and of those above it, which a container may not see.
        limits = [_number(folder / "memory.limit_in_bytes"), _counters(folder).get("hierarchical_memory_limit")]
        used = _number(folder / "memory.usage_in_bytes"), _counters(folder).get("total_inactive_file")
        yield from _container("memory.limit_in_bytes of cgroup v1", limits, *used)
    for folder in _folders(root, None):
        used = _number(folder / "memory.current"), _counters(folder).get("inactive_file")
        yield from _container("memory.max of cgroup v2", [_number(folder / "memory.max")], *used)


def _container(
    name: str, limits: Sequence[int | None], used: int | None, reclaimable: int | None
) -> Iterator[MemoryLimit]:
    """The limit of one cgroup. Pages of files that the kernel takes back before it kills do not count as used."""
    total = min((limit for limit in limits if limit is not None and 0 <= limit < _UNLIMITED), default=None)
    if total is not None:
        held = max(0, (used or 0) - (reclaimable or 0))
        yield MemoryLimit(f"the limit of this container ({name})", max(0, total - held), total)


def _counters(folder: Path) -> dict[str, int]:
    rows = re.findall(r"^(\w+) ([0-9]{1,30})$", _text(folder / "memory.stat"), re.MULTILINE)
    return {name: int(value) for name, value in rows}


def _resource_memory(root: Path) -> Iterator[MemoryLimit]:
    """The soft limits of this process's memory, less what it has mapped already."""
    status = dict(re.findall(r"^(\w+):\s+([0-9]+) kB$", _text(root / "proc/self/status"), re.MULTILINE))
    limits = _text(root / "proc/self/limits")
    for row, used, source in _RESOURCES:
        soft = re.search(rf"^{row} +([0-9]+) ", limits, re.MULTILINE)  # "unlimited" is none
        if soft and int(soft[1]) < _UNLIMITED:
            yield MemoryLimit(source, max(0, int(soft[1]) - int(status.get(used, "0")) * 1024), int(soft[1]))


def _quotas(root: Path) -> Iterator[ProcessorLimit]:
    """Processors that the quotas of this process's cgroups amount to, a part of one counting as one."""
    for folder in _folders(root, "cpu"):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        yield from _quota("cpu.cfs_quota_us of cgroup v1", quota, period)
    for folder in _folders(root, None):
        words = _text(folder / "cpu.max").split()  # "max 100000" where there is no quota
        if len(words) == 2 and all(re.fullmatch("[0-9]{1,18}", word) for word in words):
            yield from _quota("cpu.max of cgroup v2", int(words[0]), int(words[1]))


def _quota(name: str, quota: int | None, period: int | None) -> Iterator[ProcessorLimit]:
    if quota and period and quota > 0 and period > 0:  # -1 is no quota
        yield ProcessorLimit(f"the quota of this container ({name})", max(1, -(-quota // period)))


def _folders(root: Path, controller: str | None) -> list[Path]:
    """The folders of this process's cgroup and of all above it that can be seen, the innermost first.

    `controller` is one of cgroup v1, None the single hierarchy of v2. In a container the path that the kernel tells may
    be the host's, and only the container's own part of the hierarchy is mounted: the root of the mount is it then.
    """
    path, mounts = _own_path(root, controller), _mounts(root, controller)
    if path is None or not mounts:
        return []
    for shown_root, point in mounts:
        below = _below(path, shown_root)
        if below is not None and (folder := point.joinpath(*below)).is_dir():
            return [folder, *list(folder.parents)[: len(below)]]
    return [mounts[0][1]]


def _own_path(root: Path, controller: str | None) -> str | None:
    """The path of this process's cgroup within its hierarchy, as /proc/self/cgroup tells it."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if (number == "0" and not names) if controller is None else controller in names.split(","):
            return path
    return None


def _mounts(root: Path, controller: str | None) -> list[tuple[str, Path]]:
    """Which parts of a hierarchy are mounted, and where, as /proc/self/mountinfo tells it."""
    mounts = []
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        is_v1 = kind[0] == "cgroup" and controller in kind[-1].split(",")
        if kind[0] == "cgroup2" if controller is None else is_v1:
            mounts.append((_plain(fields[3]), root / _plain(fields[4]).lstrip("/")))
    return mounts


def _below(path: str, shown_root: str) -> tuple[str, ...] | None:
    """The names from a mount's root down to a cgroup; None where the cgroup does not lie below it."""
    own, shown = PurePosixPath(path), PurePosixPath(shown_root)
    if ".." in own.parts or not own.is_relative_to(shown):
        return None
    return own.relative_to(shown).parts


def _plain(name: str) -> str:
    r"""A path of mountinfo, which writes spaces and other signs as \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), name)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,30}", text) else None  # "max" is none


def _text(path: Path) -> str:
    """What a file of the system says; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
