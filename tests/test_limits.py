"""Limits of memory and processors, told by trees like /proc and /sys that are made here."""

from pathlib import Path

import pytest
import torch

from ganlet import limits
from ganlet.commands import preflight
from ganlet.data import parallel
from ganlet.device import profiles
from ganlet.limits import DEVICE, PROCESSORS, memory_limit, processor_limit, quota_threads

GIB = 1 << 30
V1 = "35 31 0:32 {root} /sys/fs/cgroup/{name} rw,relatime shared:9 - cgroup cgroup rw,{name}"
V2 = "41 31 0:38 {root} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate"
HUGE = 9223372036854771712
CONTAINER_V1 = "the limit of this container (memory.limit_in_bytes of cgroup v1)"
CONTAINER_V2 = "the limit of this container (memory.max of cgroup v2)"
UNLIMITED = {
    "proc/meminfo": "MemTotal:       16777216 kB\nMemFree:         1000 kB\nMemAvailable:    8388608 kB\n",
    "proc/self/limits": "Max data size             unlimited            unlimited            bytes     \n"
    "Max address space         unlimited            unlimited            bytes     \n",
    "proc/self/status": "VmSize:\t 1048576 kB\nVmData:\t  524288 kB\n",
}


@pytest.fixture(autouse=True)
def _eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)


def tree(root: Path, files: dict[str, str | int]) -> Path:
    for name, text in {**UNLIMITED, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(str(text))
    return root


def v1(name: str, own: str, shown: str = "/") -> dict[str, str | int]:
    """/proc of a process in the cgroup `own` of the controller `name`, whose part `shown` is mounted."""
    mount = V1.format(root=shown, name=name)
    return {"proc/self/cgroup": f"4:{name}:{own}\n0::/\n", "proc/self/mountinfo": f"not a mount\n{mount}\n"}


def v2(own: str, shown: str = "/") -> dict[str, str | int]:
    return {"proc/self/cgroup": f"0::{own}\n", "proc/self/mountinfo": V2.format(root=shown) + "\n"}


MEMORY = "sys/fs/cgroup/memory"
MEMORY_TREES = {
    "v1": (
        v1("memory", "/docker/one")
        | {
            f"{MEMORY}/docker/one/memory.limit_in_bytes": 2 * GIB,
            f"{MEMORY}/docker/one/memory.usage_in_bytes": GIB,
            f"{MEMORY}/docker/one/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 2}\n",
            f"{MEMORY}/memory.limit_in_bytes": HUGE,
        },
        (CONTAINER_V1, 3 * GIB // 2, 2 * GIB),
    ),
    "v1 below a limit that the container cannot see": (
        v1("memory", "/docker/one", "/docker/one")
        | {
            f"{MEMORY}/memory.limit_in_bytes": HUGE,
            f"{MEMORY}/memory.usage_in_bytes": GIB,
            f"{MEMORY}/memory.stat": f"hierarchical_memory_limit {3 * GIB}\n",
        },
        (CONTAINER_V1, 2 * GIB, 3 * GIB),
    ),
    "v1, the path of the host": (
        v1("memory", "/docker/one")
        | {f"{MEMORY}/memory.limit_in_bytes": GIB, f"{MEMORY}/memory.usage_in_bytes": GIB // 4},
        (CONTAINER_V1, 3 * GIB // 4, GIB),
    ),
    "v2": (
        v2("/app") | {"sys/fs/cgroup/app/memory.max": 4 * GIB, "sys/fs/cgroup/app/memory.current": GIB},
        (CONTAINER_V2, 3 * GIB, 4 * GIB),
    ),
    "v2, the slice above has less left": (
        v2("/user.slice/app")
        | {
            "sys/fs/cgroup/user.slice/memory.max": 6 * GIB,
            "sys/fs/cgroup/user.slice/memory.current": 5 * GIB,
            "sys/fs/cgroup/user.slice/app/memory.max": 2 * GIB,
            "sys/fs/cgroup/user.slice/app/memory.current": 0,
        },
        (CONTAINER_V2, GIB, 6 * GIB),
    ),
    "v2, its own name space": (
        v2("/") | {"sys/fs/cgroup/memory.max": 2 * GIB, "sys/fs/cgroup/memory.current": "odd"},
        (CONTAINER_V2, 2 * GIB, 2 * GIB),
    ),
    "v2, outside of its name space": (
        v2("/../../other") | {"sys/fs/cgroup/memory.max": 2 * GIB, "sys/fs/cgroup/memory.current": 3 * GIB},
        (CONTAINER_V2, 0, 2 * GIB),
    ),
    "v2 without a limit": (v2("/app") | {"sys/fs/cgroup/app/memory.max": "max"}, (DEVICE, 8 * GIB, 16 * GIB)),
    "v1 without a limit": (v1("memory", "/") | {f"{MEMORY}/memory.limit_in_bytes": HUGE}, (DEVICE, 8 * GIB, 16 * GIB)),
    "v2, more than the machine": (v2("/a") | {"sys/fs/cgroup/a/memory.max": 64 * GIB}, (DEVICE, 8 * GIB, 16 * GIB)),
    "no cgroups": ({}, (DEVICE, 8 * GIB, 16 * GIB)),
    "files that cannot be understood": (
        {"proc/self/cgroup": "what\n::\n", "proc/self/mountinfo": " - \n1 - cgroup2\n", "proc/self/limits": "none"},
        (DEVICE, 8 * GIB, 16 * GIB),
    ),
    "RLIMIT_AS": (
        {"proc/self/limits": f"Max address space         {2 * GIB}           unlimited            bytes     \n"},
        ("the limit of this process's address space (RLIMIT_AS, ulimit -v)", GIB, 2 * GIB),
    ),
    "RLIMIT_DATA": (
        {"proc/self/limits": f"Max data size             {GIB}           {GIB}            bytes     \n"},
        ("the limit of this process's data (RLIMIT_DATA, ulimit -d)", GIB // 2, GIB),
    ),
}


@pytest.mark.parametrize("name", MEMORY_TREES)
def test_the_least_memory_and_what_limits_it(tmp_path: Path, name: str) -> None:
    files, expected = MEMORY_TREES[name]
    found = memory_limit(tree(tmp_path, files))
    assert found is not None
    assert (found.source, found.left_bytes, found.total_bytes) == expected


def test_a_mount_with_a_space_and_one_of_another_cgroup(tmp_path: Path) -> None:
    other = r"50 31 0:38 /other /mnt/other rw - cgroup2 cgroup2 rw"
    own = r"51 31 0:38 / /my\040groups rw - cgroup2 cgroup2 rw"
    files = {"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": f"{other}\n{own}\n"}
    limits_of = {"mnt/other/memory.max": GIB, "my groups/app/memory.max": 2 * GIB}
    found = memory_limit(tree(tmp_path, files | limits_of))
    assert found is not None and found.left_bytes == 2 * GIB


def test_a_system_that_tells_nothing_sets_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None
    assert processor_limit(tmp_path).source == PROCESSORS and quota_threads(tmp_path) is None


CPU = "sys/fs/cgroup/cpu"
QUOTA_V1, QUOTA_V2 = (
    f"the quota of this container ({name})" for name in ("cpu.cfs_quota_us of cgroup v1", "cpu.max of cgroup v2")
)
PROCESSOR_TREES = {
    "v2, a part of a processor more": (v2("/a") | {"sys/fs/cgroup/a/cpu.max": "250000 100000"}, (QUOTA_V2, 3)),
    "v2, less than one": (v2("/a") | {"sys/fs/cgroup/a/cpu.max": "1000 100000"}, (QUOTA_V2, 1)),
    "v2, the slice above": (
        v2("/a/b") | {"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "200000 100000"},
        (QUOTA_V2, 2),
    ),
    "v1": (
        v1("cpu", "/a") | {f"{CPU}/a/cpu.cfs_quota_us": 150000, f"{CPU}/a/cpu.cfs_period_us": 50000},
        (QUOTA_V1, 3),
    ),
    "v1 without a quota": (v1("cpu", "/") | {f"{CPU}/cpu.cfs_quota_us": -1, f"{CPU}/cpu.cfs_period_us": 100000}, None),
    "v2 without a quota": (v2("/a") | {"sys/fs/cgroup/a/cpu.max": "max 100000"}, None),
    "v2, as many as there are": (v2("/a") | {"sys/fs/cgroup/a/cpu.max": "800000 100000"}, None),
    "odd": (v2("/a") | {"sys/fs/cgroup/a/cpu.max": "100000 0"}, None),
}


@pytest.mark.parametrize("name", PROCESSOR_TREES)
def test_the_processors_and_what_limits_them(tmp_path: Path, name: str) -> None:
    files, expected = PROCESSOR_TREES[name]
    root = tree(tmp_path, files)
    found = processor_limit(root)
    assert (found.source, found.count) == (expected or (PROCESSORS, 8))
    assert quota_threads(root) == (expected[1] if expected else None)


def test_threads_come_down_only_where_a_quota_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for quota, told in ((None, None), (6, None), (3, None), (3, 7)):
        monkeypatch.setattr(preflight, "quota_threads", lambda quota=quota: quota)
        preflight.set_threads(told)
    assert set_to == [3, 7]
    for quota in (None, 3):
        monkeypatch.setattr(profiles, "quota_threads", lambda quota=quota: quota)
        assert profiles.choose_profile("fast").threads == quota
        assert profiles.choose_profile("fast", 5).threads == 5 and profiles.choose_profile("small").threads == 1
    monkeypatch.setattr(parallel, "processor_limit", lambda: limits.ProcessorLimit("a quota", 2))
    assert parallel.worker_count() == 2
