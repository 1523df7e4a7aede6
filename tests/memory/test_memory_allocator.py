"""The allocator model against sizes worked out by hand, its invariants, and a naive second implementation."""

import pickle
import random
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlet.memory.allocator import Block, CachingAllocator, Change, OutOfMemory, Replay, replay

KIB, MIB = 1 << 10, 1 << 20


def filled(*sizes_bytes: int, limit_bytes: int | None = None) -> CachingAllocator:
    """An allocator that served `sizes_bytes` as serials 0, 1, ..."""
    allocator = CachingAllocator(limit_bytes)
    for serial, size_bytes in enumerate(sizes_bytes):
        allocator.allocate(serial, size_bytes)
    return allocator


@pytest.mark.parametrize(
    ("size_bytes", "allocated_bytes", "reserved_bytes"),
    [
        (0, 0, 0),
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),  # the largest small request
        (MIB + 1, MIB + 512, 20 * MIB),  # the smallest large one
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),  # the largest that shares a segment
        (10 * MIB - 511, 10 * MIB, 10 * MIB),  # the size that counts is the rounded one
        (10 * MIB, 10 * MIB, 10 * MIB),  # the smallest with a segment of its own
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),  # 2 MiB - 512 B beyond it: split off
        (11 * MIB - 512, 11 * MIB - 512, 12 * MIB),  # 1 MiB + 512 B beyond it: split off
        (11 * MIB, 12 * MIB, 12 * MIB),  # exactly 1 MiB beyond it stays in the block, and counts as allocated
        (100 * MIB, 100 * MIB, 100 * MIB),
    ],
)
def test_one_request_by_hand(size_bytes: int, allocated_bytes: int, reserved_bytes: int) -> None:
    allocator = filled(size_bytes)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (allocated_bytes, reserved_bytes)
    allocator.free(0)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (0, reserved_bytes)  # the segment is kept
    assert (allocator.peak_allocated_bytes, allocator.peak_reserved_bytes) == (allocated_bytes, reserved_bytes)


def test_small_requests_share_two_mib_and_the_next_opens_a_segment() -> None:
    allocator = filled(*[512] * 4096)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (2 * MIB, 2 * MIB)
    allocator.allocate(4096, 1)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (2 * MIB + 512, 4 * MIB)


def test_a_small_remainder_of_exactly_512_bytes_is_split_off() -> None:
    allocator = filled(MIB, MIB - 512)
    assert allocator.snapshot() == [
        Block(0, 0, MIB, False),
        Block(0, MIB, MIB - 512, False),
        Block(0, 2 * MIB - 512, 512, True),
    ]
    allocator.allocate(2, 512)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (2 * MIB, 2 * MIB)


@pytest.mark.parametrize(
    ("last_bytes", "block_bytes", "remainder_bytes"),
    [
        (2 * MIB - 512, 2 * MIB - 512, MIB + 512),  # more than 1 MiB is left of 3: split
        (2 * MIB, 3 * MIB, 0),  # exactly 1 MiB: not split
        (3 * MIB - 512, 3 * MIB, 0),
    ],
)
def test_a_large_remainder_is_split_off_beyond_one_mib(last_bytes: int, block_bytes: int, remainder_bytes: int) -> None:
    allocator = filled(9 * MIB, 8 * MIB, last_bytes)  # of 20 MiB, 3 are left for the last
    tail = [block.size_bytes for block in allocator.snapshot()][2:]
    assert tail == [block_bytes, remainder_bytes][: 1 + bool(remainder_bytes)]
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (17 * MIB + block_bytes, 20 * MIB)


def test_pools_do_not_lend_to_each_other() -> None:
    allocator = filled(2 * MIB)  # 18 MiB of its segment stay free
    allocator.allocate(1, 512)
    assert allocator.reserved_bytes == 22 * MIB
    allocator.free(1)  # a whole free segment of 2 MiB, but a small one
    allocator.allocate(2, 18 * MIB)
    allocator.allocate(3, MIB + 512)
    assert allocator.reserved_bytes == 42 * MIB


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_freed_neighbours_merge_in_any_order(order: tuple[int, ...]) -> None:
    allocator = filled(4 * MIB, 5 * MIB, 6 * MIB)
    for serial in order:
        allocator.free(serial)
    assert allocator.snapshot() == [Block(0, 0, 20 * MIB, True)]
    allocator.allocate(3, 20 * MIB)  # fits only if all merged
    assert allocator.reserved_bytes == 20 * MIB


def test_blocks_of_adjacent_segments_do_not_merge() -> None:
    allocator = filled(10 * MIB, 10 * MIB)
    allocator.free(0)
    allocator.free(1)
    assert allocator.snapshot() == [Block(0, 0, 10 * MIB, True), Block(10 * MIB, 10 * MIB, 10 * MIB, True)]
    allocator.allocate(2, 20 * MIB)
    assert allocator.reserved_bytes == 40 * MIB


def test_best_fit_takes_the_smallest_then_the_lowest() -> None:
    allocator = filled(40 * MIB, 30 * MIB, 20 * MIB, 30 * MIB)
    for serial in range(4):
        allocator.free(serial)
    allocator.allocate(4, 25 * MIB)  # 30 fits best, the lower of two; the 5 beyond it are split off
    assert [(b.address, b.size_bytes) for b in allocator.snapshot() if not b.is_free] == [(40 * MIB, 25 * MIB)]
    allocator.allocate(5, 4 * MIB)  # those 5 MiB now fit best, and 1 MiB is no remainder
    assert [(b.address, b.size_bytes) for b in allocator.snapshot() if not b.is_free][1] == (65 * MIB, 5 * MIB)
    assert allocator.reserved_bytes == 120 * MIB


def test_a_free_block_serves_even_a_much_smaller_request() -> None:
    allocator = filled(100 * MIB)
    allocator.free(0)
    allocator.allocate(1, 2 * MIB)  # no cap on the size of the block to cut from: max_split_size is unlimited
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (2 * MIB, 100 * MIB)


def test_the_limit_is_inclusive_and_counts_segments() -> None:
    assert filled(512, limit_bytes=2 * MIB).reserved_bytes == 2 * MIB
    with pytest.raises(OutOfMemory) as caught:
        filled(512, limit_bytes=2 * MIB - 1)
    assert (caught.value.requested_bytes, caught.value.allocated_bytes, caught.value.reserved_bytes) == (512, 0, 0)


def test_the_limit_releases_all_idle_segments_of_both_pools_but_no_split_one() -> None:
    allocator = filled(512, 10 * MIB, 2 * MIB, 30 * MIB, limit_bytes=62 * MIB)  # 2 + 10 + 20 + 30 reserved
    for serial in (0, 1, 3):
        allocator.free(serial)
    allocator.allocate(4, 32 * MIB)  # giving back 30 would do, yet 2 and 10 go as well
    assert allocator.reserved_bytes == 20 * MIB + 32 * MIB
    assert allocator.peak_reserved_bytes == 62 * MIB
    with pytest.raises(OutOfMemory) as caught:
        allocator.allocate(5, 19 * MIB)
    assert caught.value.requested_bytes == 19 * MIB
    assert (caught.value.allocated_bytes, caught.value.reserved_bytes) == (34 * MIB, 52 * MIB)
    assert "19922944 bytes" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301
    allocator.allocate(5, 18 * MIB)  # the name is still free and the rest of the split segment too
    assert allocator.allocated_bytes == 52 * MIB


def test_a_failed_request_leaves_idle_segments_released() -> None:
    allocator = filled(10 * MIB, limit_bytes=12 * MIB)
    allocator.free(0)
    with pytest.raises(OutOfMemory):
        allocator.allocate(1, 14 * MIB)
    assert (allocator.reserved_bytes, allocator.peak_reserved_bytes) == (0, 10 * MIB)


def test_misuse_is_refused() -> None:
    allocator = filled(512, 0)
    with pytest.raises(ValueError, match="never made"):
        allocator.free(7)
    with pytest.raises(ValueError, match="live already"):
        allocator.allocate(1, 512)
    with pytest.raises(ValueError, match="zero or more"):
        allocator.allocate(7, -1)
    for serial in (0, 1):
        allocator.free(serial)
        with pytest.raises(ValueError, match="freed already"):
            allocator.free(serial)
    with pytest.raises(ValueError, match="another size"):
        replay([Change(0, 512), Change(0, -1024)])


def test_replay_by_hand() -> None:
    assert replay([]) == Replay(0, 0, 0.0)
    assert replay([Change(0, 0), Change(0, 0)]) == Replay(0, 0, 0.0)
    log = [Change(0, 10 * MIB), Change(1, 5 * MIB), Change(0, -10 * MIB), Change(2, 30 * MIB), Change(3, 10 * MIB)]
    # 10, then 20 of which 5 are taken; 0 is freed but too small for 2, which opens 30; 3 goes where 0 was.
    assert replay(log) == Replay(45 * MIB, 60 * MIB, 25 / 60)
    assert replay([*log, Change(1, -5 * MIB), Change(2, -30 * MIB)]) == replay(log)  # frees lower no peak
    with pytest.raises(OutOfMemory):
        replay(log, limit_bytes=49 * MIB)
    assert replay(log[:4], limit_bytes=50 * MIB) == Replay(35 * MIB, 50 * MIB, 15 / 50)


class Naive:
    """The same rules once more, written from the source's comments alone: segments as lists, every search a scan."""

    def __init__(self, limit_bytes: int | None) -> None:
        self.limit_bytes = limit_bytes
        self.segments: list[tuple[bool, int, list[tuple[int, int | None]]]] = []  # small?, address, (bytes, serial)
        self.top = self.peak_allocated_bytes = self.peak_reserved_bytes = 0

    def reserved_bytes(self) -> int:
        return sum(size for _, _, parts in self.segments for size, _ in parts)

    def allocated_bytes(self) -> int:
        return sum(size for _, _, parts in self.segments for size, serial in parts if serial is not None)

    def blocks(self) -> list[Block]:
        found = []
        for _, start, parts in sorted(self.segments, key=lambda segment: segment[1]):
            address = start
            for size, serial in parts:
                found.append(Block(start, address, size, serial is None))
                address += size
        return found

    def allocate(self, serial: int, size_bytes: int) -> None:
        if not size_bytes:
            return
        need = max(512, (size_bytes + 511) // 512 * 512)
        small = need <= MIB
        fits = []
        for index, (is_small, start, parts) in enumerate(self.segments):
            address = start
            for place, (size, owner) in enumerate(parts):
                if is_small == small and owner is None and size >= need:
                    fits.append((size, address, index, place))
                address += size
        if not fits:
            size = 2 * MIB if small else 20 * MIB if need < 10 * MIB else (need + 2 * MIB - 1) // (2 * MIB) * 2 * MIB
            if self.limit_bytes is not None and self.reserved_bytes() + size > self.limit_bytes:
                self.segments = [s for s in self.segments if any(owner is not None for _, owner in s[2])]
                if self.reserved_bytes() + size > self.limit_bytes:
                    raise OutOfMemory(size_bytes, self.allocated_bytes(), self.reserved_bytes())
            self.segments.append((small, self.top, [(size, None)]))
            fits = [(size, self.top, len(self.segments) - 1, 0)]
            self.top += size
        size, _, index, place = min(fits)
        left = size - need
        cut = left >= 512 if small else left > MIB
        self.segments[index][2][place : place + 1] = [(need, serial), (left, None)] if cut else [(size, serial)]
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes())
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes())

    def free(self, serial: int) -> None:
        for _, _, parts in self.segments:
            merged: list[tuple[int, int | None]] = []
            for size, owner in parts:
                kept = None if owner == serial else owner
                if kept is None and merged and merged[-1][1] is None:
                    size += merged.pop()[0]
                merged.append((size, kept))
            parts[:] = merged


EDGES = [0, 1, 512, 513, MIB - 512, MIB, MIB + 1, 2 * MIB, 9 * MIB, 10 * MIB - 512, 10 * MIB, 11 * MIB, 20 * MIB]
SIZES = st.one_of(
    st.sampled_from(EDGES), st.integers(0, 4 * KIB), st.integers(0, 3 * MIB), st.integers(3 * MIB, 50 * MIB)
)
# An allocation, or (at some share of the live ones) a free.
LOGS = st.lists(st.one_of(SIZES, SIZES, st.floats(0, 1, exclude_max=True)), max_size=80)
LIMITS = st.none() | st.integers(2 * MIB, 200 * MIB)


def run(steps: list[int | float], allocator: CachingAllocator, naive: Naive | None = None) -> list[int]:
    """Serve a log, checking the invariants (and the naive twin) after each step. Returns the live serials."""
    live: list[int] = []
    for serial, step in enumerate(steps):
        if isinstance(step, float):
            if live:
                freed = live.pop(int(step * len(live)))
                allocator.free(freed)
                if naive:
                    naive.free(freed)
        else:
            outcome = attempt(allocator, serial, step)
            assert naive is None or attempt(naive, serial, step) == outcome
            if outcome is None:
                live.append(serial)
        assert allocator.limit_bytes is None or allocator.reserved_bytes <= allocator.limit_bytes
        assert 0 <= allocator.allocated_bytes <= allocator.reserved_bytes
        if naive:
            assert allocator.snapshot() == naive.blocks()
            assert allocator.allocated_bytes == naive.allocated_bytes()
            assert allocator.reserved_bytes == naive.reserved_bytes()
    return live


def attempt(allocator: CachingAllocator | Naive, serial: int, size_bytes: int) -> tuple[int, ...] | None:
    try:
        allocator.allocate(serial, size_bytes)
    except OutOfMemory as error:
        return error.args
    return None


@settings(max_examples=150, deadline=None)
@given(LOGS, LIMITS)
def test_equal_to_the_naive_twin(steps: list[int | float], limit_bytes: int | None) -> None:
    allocator, naive = CachingAllocator(limit_bytes), Naive(limit_bytes)
    run(steps, allocator, naive)
    assert allocator.peak_allocated_bytes == naive.peak_allocated_bytes
    assert allocator.peak_reserved_bytes == naive.peak_reserved_bytes


@settings(max_examples=100, deadline=None)
@given(LOGS, LIMITS)
def test_invariants(steps: list[int | float], limit_bytes: int | None) -> None:
    allocator, again = CachingAllocator(limit_bytes), CachingAllocator(limit_bytes)
    live = run(steps, allocator)
    run(steps, again)
    assert again.snapshot() == allocator.snapshot()
    blocks = allocator.snapshot()
    assert sum(b.size_bytes for b in blocks) == allocator.reserved_bytes
    assert sum(b.size_bytes for b in blocks if not b.is_free) == allocator.allocated_bytes
    for lower, upper in pairwise(blocks):
        assert lower.address + lower.size_bytes <= upper.address
        if lower.segment_address == upper.segment_address:
            assert lower.address + lower.size_bytes == upper.address  # no gap
            assert not (lower.is_free and upper.is_free)  # merged
    for serial in live:
        allocator.free(serial)
    assert allocator.allocated_bytes == 0
    assert all(b.is_free and b.address == b.segment_address for b in allocator.snapshot())
    assert allocator.reserved_bytes <= allocator.peak_reserved_bytes


def test_twenty_thousand_changes_take_well_under_a_second() -> None:
    draw = random.Random(0)
    log: list[Change] = []
    live: list[Change] = []
    for serial in range(20_000):
        if live and draw.random() < 0.45:
            freed = live.pop(draw.randrange(len(live)))
            log.append(Change(freed.serial, -freed.size_bytes))
        else:
            live.append(Change(serial, int(2 ** draw.uniform(2, 25))))
            log.append(live[-1])
    start = time.process_time()
    result = replay(log)
    assert time.process_time() - start < 1.0  # 0.03 s measured
    assert 0 < result.fragmentation < 1
    assert result.peak_allocated_bytes <= result.peak_reserved_bytes
