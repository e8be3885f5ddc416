"""Memory is kept within the block, given back after it, and malloc does again what it did before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from lowcarb.errors import SettingError
from lowcarb.lab.heap import MMAP_MAX, MMAP_THRESHOLD, TOP_PAD, TRIM_THRESHOLD, memory_kept, told_before, why_not

GLIBC = pytest.mark.skipif(why_not() is not None, reason="memory is not managed by glibc's malloc here")
COMPILER = shutil.which("gcc") or shutil.which("cc")
BEGIN = """
import ctypes, mmap, sys
from lowcarb.lab.heap import *
glibc = ctypes.CDLL("libc.so.6")
glibc.malloc.restype, glibc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
glibc.malloc_usable_size.restype, glibc.malloc_usable_size.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
glibc.free.argtypes = [ctypes.c_void_p]
MB = 1 << 20

def apart(size):
    '''Whether a new block of this size is one of its own, whose pages the kernel hands out and takes back.'''
    blocks = [glibc.malloc(size) for _ in range(200)]
    found = any(glibc.malloc_usable_size(block) - size > 1000 for block in blocks)
    for block in blocks:
        glibc.free(block)
    return found

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE
"""


def run(program, **env):
    """What a program prints: malloc is told things for a whole process, so each has one of its own."""
    code = BEGIN + textwrap.dedent(program)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    done = subprocess.run([sys.executable, "-c", code], env=clean | env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@GLIBC
def test_blocks_lie_on_the_heap_within_and_apart_after_as_before():
    assert ["True", "False", "True", "False", "True"] == run("""
        glibc.mallopt(MMAP_THRESHOLD, 4 * MB)
        print(apart(5 * MB))
        with memory_kept():
            print(apart(50 * MB))
        print(apart(5 * MB), apart(3 * MB), apart(50 * MB))
    """)


@GLIBC
def test_what_is_freed_stays_within_and_goes_back_after():
    within, after = map(int, run("""
        before = resident()
        with memory_kept():
            for block in [glibc.malloc(20 * MB) for _ in range(10)]:
                ctypes.memset(block, 1, 20 * MB)
                glibc.free(block)
            blocks = [glibc.malloc(20 * MB) for _ in range(10)]
            for block in blocks:
                ctypes.memset(block, 1, 20 * MB)
            for block in blocks:
                glibc.free(block)
            print((resident() - before) // MB)
        print((resident() - before) // MB)
    """))  # fmt: skip

    assert within >= 190
    assert after <= 10


@GLIBC
def test_it_is_taken_back_after_an_error():
    assert ["False", "True"] == run("""
        try:
            with memory_kept():
                print(apart(50 * MB))
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            print(apart(50 * MB))
    """)


@GLIBC
def test_a_training_that_never_begins_changes_nothing():
    # A block of its own that is freed still raises the threshold: malloc goes on to fit itself to the program.
    assert ["True", "False"] == run("""
        with memory_kept_from() as begin:
            pass
        print(apart(9 * MB), apart(8 * MB))
    """)


@GLIBC
def test_what_the_user_told_malloc_holds_again_after():
    assert ["True", "False", "True"] == run("""
        print(apart(2 * MB))
        with memory_kept():
            print(apart(2 * MB))
        print(apart(2 * MB))
    """, MALLOC_MMAP_THRESHOLD_=str(1 << 20))  # fmt: skip


def test_what_the_environment_tells_malloc():
    told = told_before(
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=7:glibc.rtld.nns=2:glibc.malloc.top_pad=0x100000",
         "MALLOC_MMAP_MAX_": "8", "MALLOC_TRIM_THRESHOLD_": "1000000000000", "MALLOC_MMAP_THRESHOLD_": "much"}
    )  # fmt: skip

    assert {MMAP_MAX: 7, TOP_PAD: 1 << 20, TRIM_THRESHOLD: -1} == told
    assert {} == told_before({})
    assert {MMAP_THRESHOLD: 5} == told_before({"MALLOC_MMAP_THRESHOLD_": "5"})


def test_without_glibc_it_is_refused_with_the_reason(monkeypatch):
    monkeypatch.delattr(os, "confstr")

    with pytest.raises(SettingError, match=r"keep-memory.*glibc"), memory_kept():
        pass


@GLIBC
@pytest.mark.skipif(COMPILER is None, reason="no C compiler: no other malloc can be made")
def test_another_malloc_is_seen(tmp_path):
    source = tmp_path / "other.c"
    source.write_text(
        "#include <stddef.h>\nextern void *__libc_malloc(size_t);\n"
        "void *malloc(size_t size) { return __libc_malloc(size); }\n"
    )
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", tmp_path / "other.so", source], check=True)

    assert run("print(why_not())", LD_PRELOAD=str(tmp_path / "other.so"))[:2] == ["another", "malloc"]
