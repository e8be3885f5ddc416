from __future__ import annotations

from pathlib import Path

import pytest

from lowcarb.sensors.sysfs import KeptFile


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "energy_uj"
    path.write_text("1\n")
    return path


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_kept_file_tells_what_it_holds_now(file):
    kept = KeptFile(file)

    assert kept() == b"1\n"
    file.write_text("22\n")
    assert kept() == b"22\n"
    assert kept() == b"22\n"


def test_a_kept_file_that_was_replaced_is_found_at_the_second_look(file):
    kept = KeptFile(file)
    kept()
    fresh = file.with_name("fresh")
    fresh.write_text("2\n")
    fresh.replace(file)

    assert kept() == b"2\n"


def test_a_kept_file_that_is_gone_raises_and_is_read_again_when_it_is_back(file):
    kept = KeptFile(file)
    kept()
    file.unlink()
    with pytest.raises(OSError, match="No such file"):
        kept()
    file.write_text("3\n")

    assert kept() == b"3\n"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs procfs")
def test_a_kept_file_leaves_no_descriptor_behind(file):
    before = descriptors()
    kept = KeptFile(file)
    for _ in range(5):
        kept()
    kept.close()
    kept.close()

    assert before == descriptors()
