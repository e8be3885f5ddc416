"""Memory that a program frees and keeps: glibc's malloc, told so for as long as a training lasts.

glibc asks the kernel for every large block anew and gives it back when it is freed; a training frees and asks for the
same large tensors in every step, and each time the kernel hands out pages that it has zeroed first. Told not to, malloc
keeps what is freed on its own heap. What is computed does not change, only where it lies.

Parameters, defaults and limits: mallopt(3) of the Linux man-pages, and glibc's manual, "Memory Allocation Tunables".
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from lowcarb.errors import SettingError

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4
"""Numbers of the parameters in malloc.h."""
NAMES: Mapping[int, str] = {
    TRIM_THRESHOLD: "trim_threshold", TOP_PAD: "top_pad", MMAP_THRESHOLD: "mmap_threshold", MMAP_MAX: "mmap_max",
}  # fmt: skip
"""As the environment has them: MALLOC_TOP_PAD_, or glibc.malloc.top_pad in GLIBC_TUNABLES."""
KEPT: Mapping[int, int] = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, TOP_PAD: 1 << 26}
"""No block of its own for a large tensor, nothing given back, and the heap grows by as much at a time [bytes]."""
USUAL_MAX = 65536
"""Blocks of their own that there may be, by default."""
LEAST_THRESHOLD, HIGHEST_THRESHOLD = 1 << 17, 1 << 25
"""Size from which a block is one of its own [bytes]: glibc begins at the least, and raises it to that of such blocks as
it sees them freed, up to the highest; free memory is then given back above twice that size."""
TRIES = 64
"""Blocks that are asked for to see whether one of their size is one of its own: the first ones may fit into gaps."""


def why_not() -> str | None:
    """Why malloc cannot be told to keep memory here, in words; None where it can."""
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") if hasattr(os, "confstr") else None
    except (OSError, ValueError):
        library = None
    if not sys.platform.startswith("linux") or not library or sys.maxsize < 2**32:
        return "memory is not managed by glibc on 64-bit Linux here"
    try:
        glibc, loaded = ctypes.CDLL("libc.so.6"), ctypes.CDLL(None)
        own, used = (ctypes.cast(one.malloc, ctypes.c_void_p).value for one in (glibc, loaded))
    except (OSError, AttributeError):
        return "glibc's malloc is not found in this process"
    return None if own == used else "another malloc than glibc's is loaded into this process"


@contextmanager
def memory_kept(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Within the block, memory that is freed stays with this process; after it, what is free is given back.

    It holds for the whole process, and does most for what its main thread allocates. Not to be nested. Afterwards
    malloc does as it had come to do before, and no longer changes its thresholds by itself: glibc offers no way back.

    Args:
        environ: for what the user had told malloc before; that is what it is told again afterwards.

    Raises:
        SettingError: memory is not managed by glibc's malloc.
    """
    with memory_kept_from(environ) as begin:
        begin()
        yield


@contextmanager
def memory_kept_from(environ: Mapping[str, str] = os.environ) -> Iterator[Callable[[], None]]:
    """As `memory_kept`, from the first call of what is given: a training calls it when it has freed its first tensors.

    Malloc has come to know them by then, so that afterwards it does what it would do in a process that never kept any.
    """
    reason = why_not()
    if reason is not None:
        raise SettingError("lever", "keep-memory", f"one that can be pulled here: {reason}")
    glibc = ctypes.CDLL("libc.so.6")
    before: dict[int, int] = {}

    def begin() -> None:
        if not before:
            with _threshold(glibc) as size:
                before.update(_by_itself(size) | told_before(environ))
                _tell(glibc, KEPT)

    try:
        yield begin
    finally:
        if before:
            _tell(glibc, before)
            glibc.malloc_trim(0)


def _tell(glibc: ctypes.CDLL, values: Mapping[int, int]) -> None:
    for parameter, value in values.items():
        glibc.mallopt(parameter, value)


def _by_itself(size: int) -> dict[int, int]:
    """What malloc does by itself once it has raised its threshold to a size [bytes]."""
    trim = 2 * size if size > LEAST_THRESHOLD else LEAST_THRESHOLD
    return {MMAP_MAX: USUAL_MAX, MMAP_THRESHOLD: size, TRIM_THRESHOLD: trim, TOP_PAD: LEAST_THRESHOLD}


@contextmanager
def _threshold(glibc: ctypes.CDLL) -> Iterator[int]:
    """Size from which a block is one of its own now [bytes]; what was asked for to find out is freed after the block.

    Glibc does not tell it. A block of its own is of whole pages, which `malloc_usable_size` shows. It must not be freed
    before malloc is told something, or the threshold would rise by it.
    """
    glibc.malloc.restype, glibc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    glibc.malloc_usable_size.restype, glibc.malloc_usable_size.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    glibc.free.restype, glibc.free.argtypes = None, [ctypes.c_void_p]
    page, asked = mmap.PAGESIZE, []

    def apart(pages: int) -> int:
        size = pages * page
        for _ in range(TRIES):
            asked.append(glibc.malloc(size))
            if glibc.malloc_usable_size(asked[-1]) - size > page // 2:
                return 1
        return 0

    try:
        sizes = range(LEAST_THRESHOLD // page, HIGHEST_THRESHOLD // page)
        yield page * sizes[min(bisect_left(sizes, 1, key=apart), len(sizes) - 1)]
    finally:
        for block in asked:
            glibc.free(block)


def told_before(environ: Mapping[str, str]) -> dict[int, int]:
    """What the environment tells malloc, by parameter; GLIBC_TUNABLES before the variables of one parameter each."""
    tunables = dict(one.partition("=")[::2] for one in environ.get("GLIBC_TUNABLES", "").split(":"))
    found = {}
    for parameter, name in NAMES.items():
        text = tunables.get(f"glibc.malloc.{name}", environ.get(f"MALLOC_{name.upper()}_", ""))
        try:
            # mallopt takes an int: more than it holds is no limit.
            value = int(text, 0)
        except ValueError:
            continue
        found[parameter] = value if value < 2**31 else -1
    return found
