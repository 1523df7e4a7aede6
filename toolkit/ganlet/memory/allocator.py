"""A model of PyTorch's CUDA caching allocator: what a log of allocations and frees would reserve on a graphics card.

It follows c10/cuda/CUDACachingAllocator.cpp at its default settings: native backend, one stream, no CUDA graphs,
`expandable_segments` off, `max_split_size` unlimited, no rounding to powers of two, no garbage collection. Requests
are cut from segments taken from the driver; freed blocks are merged and kept for the next request. The sizes agree
with those of torch 2.13 (c10/core/AllocatorConfig.h).

One thing the log cannot say is where the driver puts a segment. The allocator breaks ties between free blocks of one
size by address, so the model has to assume something: each new segment lies above all earlier ones.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

# Sizes in bytes, each with the name it has in PyTorch: c10/core/AllocatorConfig.h in torch 2.13, in older versions
# c10/cuda/CUDACachingAllocator.cpp.
MIN_BLOCK_BYTES = 512  # kMinBlockSize: every request is rounded up to a multiple of it
SMALL_REQUEST_BYTES = 1 << 20  # kSmallSize: the largest request of the small pool
SMALL_SEGMENT_BYTES = 2 << 20  # kSmallBuffer: a segment of the small pool
LARGE_SEGMENT_BYTES = 20 << 20  # kLargeBuffer, now large_segment_size(): shared by large requests below the next line
OWN_SEGMENT_BYTES = 10 << 20  # kMinLargeAlloc: from here on a request gets a segment of its own size
SEGMENT_ROUNDING_BYTES = 2 << 20  # kRoundLarge: such a segment is rounded up to a multiple of it


@dataclass(frozen=True)
class Change:
    """One line of an allocation log.

    `size_bytes` > 0 is the allocation of `serial`; < 0 is its free, of as many bytes; 0 is an empty tensor coming or
    going, which takes nothing either way.
    """

    serial: int
    size_bytes: int


@dataclass(frozen=True)
class Replay:
    """What `torch.cuda` would report at the end of a log.

    `fragmentation` is the idle share of the reserved bytes, 0 to 1, at the moment they first reached their peak: how
    much lay unused just after the allocator had to ask for more.
    """

    peak_allocated_bytes: int  # torch.cuda.max_memory_allocated()
    peak_reserved_bytes: int  # torch.cuda.max_memory_reserved()
    fragmentation: float


@dataclass(frozen=True)
class Block:
    """A contiguous part of a segment, as `torch.cuda.memory_snapshot()` lists it."""

    segment_address: int
    address: int
    size_bytes: int
    is_free: bool


class OutOfMemory(Exception):
    """A request did not fit under the limit, even with every idle segment given back. All figures are in bytes."""

    def __init__(self, requested_bytes: int, allocated_bytes: int, reserved_bytes: int) -> None:
        super().__init__(requested_bytes, allocated_bytes, reserved_bytes)
        self.requested_bytes = requested_bytes
        self.allocated_bytes = allocated_bytes
        self.reserved_bytes = reserved_bytes

    def __str__(self) -> str:
        return (
            f"No room for {self.requested_bytes} bytes under the memory limit, with {self.allocated_bytes} bytes "
            f"allocated and {self.reserved_bytes} reserved: lower the batch or raise the limit."
        )


def rounded_bytes(size_bytes: int) -> int:
    """Bytes that a request of `size_bytes` > 0 takes, of one block: `round_size` in the source."""
    return -(-size_bytes // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES


def segment_bytes(block_bytes: int) -> int:
    """Bytes asked of the driver for a rounded request that no free block fits: `get_allocation_size` in the source."""
    if block_bytes <= SMALL_REQUEST_BYTES:
        return SMALL_SEGMENT_BYTES
    if block_bytes < OWN_SEGMENT_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-block_bytes // SEGMENT_ROUNDING_BYTES) * SEGMENT_ROUNDING_BYTES


class _Pool:
    """The free blocks of one pool as (size in bytes, address), sorted: the first that is large enough fits best."""

    def __init__(self, smallest_remainder_bytes: int) -> None:
        self.smallest_remainder_bytes = smallest_remainder_bytes  # what is left of a block is split off from here on
        self.free: list[tuple[int, int]] = []

    def take_best_fit(self, size_bytes: int) -> int | None:
        """Remove the smallest block of at least `size_bytes`, the lowest of equals, and return its address."""
        index = bisect_left(self.free, (size_bytes, 0))
        return self.free.pop(index)[1] if index < len(self.free) else None

    def put(self, block: "_Block") -> None:
        block.is_free = True
        insort(self.free, (block.size_bytes, block.address))

    def remove(self, block: "_Block") -> None:
        del self.free[bisect_left(self.free, (block.size_bytes, block.address))]


class _Block:
    """A block and its neighbours in the same segment; a block without neighbours is a whole segment."""

    __slots__ = ("address", "after", "before", "is_free", "pool", "size_bytes")

    def __init__(self, address: int, size_bytes: int, pool: _Pool) -> None:
        self.address = address
        self.size_bytes = size_bytes
        self.pool = pool
        self.is_free = False
        self.before: _Block | None = None
        self.after: _Block | None = None


class CachingAllocator:
    """Serves allocations and frees as PyTorch would on a card, and keeps its four counters.

    `limit_bytes` caps the reserved bytes, as `torch.cuda.set_per_process_memory_fraction` does; None is no cap.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.allocated_bytes = 0  # whole blocks, so rounding and remainders too small to split off are included
        self.reserved_bytes = 0
        self.peak_allocated_bytes = 0
        self.peak_reserved_bytes = 0
        self.allocated_at_peak_bytes = 0  # allocated when the reserved bytes first reached their peak
        # should_split in the source: from 512 B in the small pool, *more than* 1 MiB in the large one. Every size is
        # a multiple of 512 B, so the second is "from 1 MiB + 512 B".
        self._small = _Pool(MIN_BLOCK_BYTES)
        self._large = _Pool(SMALL_REQUEST_BYTES + MIN_BLOCK_BYTES)
        self._blocks: dict[int, _Block] = {}  # every block, free or not, by address
        self._live: dict[int, _Block | None] = {}  # by serial; None for an empty tensor
        self._next_address = 0

    def allocate(self, serial: int, size_bytes: int) -> None:
        """Allocate `size_bytes` under the name `serial`, which is free to be used again once it is freed.

        Raises `OutOfMemory` if the limit leaves no room, and ValueError for a serial in use or a negative size.
        """
        if serial in self._live:
            raise ValueError(f"allocation {serial} is live already: free it before it is allocated again")
        if size_bytes < 0:
            raise ValueError(f"allocation {serial} asks for {size_bytes} bytes, expected zero or more")
        if size_bytes == 0:  # never reaches the allocator in PyTorch
            self._live[serial] = None
            return
        needed_bytes = rounded_bytes(size_bytes)
        pool = self._small if needed_bytes <= SMALL_REQUEST_BYTES else self._large
        address = pool.take_best_fit(needed_bytes)
        block = self._open_segment(needed_bytes, pool, size_bytes) if address is None else self._blocks[address]
        block.is_free = False
        self._split(block, needed_bytes)
        self._live[serial] = block
        self.allocated_bytes += block.size_bytes
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        if self.reserved_bytes > self.peak_reserved_bytes:
            self.peak_reserved_bytes = self.reserved_bytes
            self.allocated_at_peak_bytes = self.allocated_bytes

    def free(self, serial: int) -> None:
        """Free the allocation `serial`. Its segment stays reserved. Raises ValueError if it is not live."""
        if serial not in self._live:
            raise ValueError(f"allocation {serial} is not live: it was never made or is freed already")
        block = self._live.pop(serial)
        if block is None:
            return
        self.allocated_bytes -= block.size_bytes
        before, after = block.before, block.after
        if before is not None and before.is_free:
            before.pool.remove(before)
            block = self._join(before, block)
        if after is not None and after.is_free:
            after.pool.remove(after)
            block = self._join(block, after)
        block.pool.put(block)

    def snapshot(self) -> list[Block]:
        """Every block in order of address: each segment is covered without gaps."""
        blocks: list[Block] = []
        segment_address = 0
        for address, block in sorted(self._blocks.items()):
            if block.before is None:
                segment_address = address
            blocks.append(Block(segment_address, address, block.size_bytes, block.is_free))
        return blocks

    def _open_segment(self, needed_bytes: int, pool: _Pool, size_bytes: int) -> _Block:
        """Take a segment from the driver for a rounded request, giving idle ones back if the limit demands it.

        With `max_split_size` unlimited, `release_available_cached_blocks` does nothing: there is no milder step
        before all idle segments go. The segments stay released when the request fails all the same.
        """
        new_bytes = segment_bytes(needed_bytes)
        if self.limit_bytes is not None and self.reserved_bytes + new_bytes > self.limit_bytes:
            self._release_idle_segments()
            if self.reserved_bytes + new_bytes > self.limit_bytes:
                raise OutOfMemory(size_bytes, self.allocated_bytes, self.reserved_bytes)
        block = _Block(self._next_address, new_bytes, pool)
        self._blocks[block.address] = block
        self._next_address += new_bytes
        self.reserved_bytes += new_bytes
        return block

    def _release_idle_segments(self) -> None:
        """Give every segment that is one free block back to the driver, in both pools."""
        for pool in (self._large, self._small):
            kept: list[tuple[int, int]] = []
            for size_bytes, address in pool.free:
                block = self._blocks[address]
                if block.before is None and block.after is None:
                    del self._blocks[address]
                    self.reserved_bytes -= size_bytes
                else:
                    kept.append((size_bytes, address))
            pool.free = kept

    def _split(self, block: _Block, needed_bytes: int) -> None:
        """Cut what `block` has beyond `needed_bytes` off into a free block, if the pool's rule lets it."""
        remainder_bytes = block.size_bytes - needed_bytes
        if remainder_bytes < block.pool.smallest_remainder_bytes:
            return
        remainder = _Block(block.address + needed_bytes, remainder_bytes, block.pool)
        remainder.before, remainder.after = block, block.after
        if block.after is not None:
            block.after.before = remainder
        block.after = remainder
        block.size_bytes = needed_bytes
        self._blocks[remainder.address] = remainder
        block.pool.put(remainder)

    def _join(self, lower: _Block, upper: _Block) -> _Block:
        """Merge `upper` into its lower neighbour `lower`."""
        lower.size_bytes += upper.size_bytes
        lower.after = upper.after
        if upper.after is not None:
            upper.after.before = lower
        del self._blocks[upper.address]
        return lower


def replay(changes: Iterable[Change], limit_bytes: int | None = None) -> Replay:
    """Run a log through the allocator. Raises `OutOfMemory` as `CachingAllocator.allocate` does.

    Raises ValueError for a free of what is not live, or of another number of bytes than were allocated.
    """
    allocator = CachingAllocator(limit_bytes)
    sizes_bytes: dict[int, int] = {}
    for change in changes:
        if change.size_bytes > 0:
            allocator.allocate(change.serial, change.size_bytes)
            sizes_bytes[change.serial] = change.size_bytes
        elif change.size_bytes < 0:
            allocator.free(change.serial)
            if sizes_bytes.pop(change.serial) != -change.size_bytes:
                raise ValueError(f"the free of allocation {change.serial} names another size than its allocation")
    reserved_bytes = allocator.peak_reserved_bytes
    idle_bytes = reserved_bytes - allocator.allocated_at_peak_bytes
    return Replay(
        allocator.peak_allocated_bytes, reserved_bytes, idle_bytes / reserved_bytes if reserved_bytes else 0.0
    )
