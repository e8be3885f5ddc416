"""Which process of a job this is, and where the processes of one node meet.

torchrun, accelerate and deepspeed start one process a GPU and say so in the environment. The first of a node has the
meter; the others follow it, so that each joule is counted once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lowcarb.tracker.process import boot_id, started

LEADER = "LOWCARB_LEADER"
"""Environment variable that tells a program where the tracker listens that it runs under."""
WITHIN = "LOWCARB_ATTEMPT"
"""Environment variable that tells a program which attempt it runs inside of."""
RUN = "run"
"""Folder of the sockets, in the home."""
LONGEST_SOCKET = 100
"""The name of a Unix socket holds 108 bytes on Linux and 104 on macOS, the last one zero."""
UNNAMED = ("", "none")
"""Names that torchrun gives to a job that its user did not name."""


def local_rank(environ: Mapping[str, str]) -> int:
    """Number of this process among those of its job on this node; 0 where it is alone."""
    try:
        return max(0, int(environ.get("LOCAL_RANK", "0")))
    except ValueError:
        return 0


def local_ranks(environ: Mapping[str, str]) -> int:
    """How many processes of its job run on this node; 1 where nobody says."""
    try:
        return max(1, int(environ.get("LOCAL_WORLD_SIZE", "1")))
    except ValueError:
        return 1


def launched_key(environ: Mapping[str, str], name: str, ordinal: int) -> str | None:
    """What makes two attempts of a launched job the same work; None outside of torchrun.

    torchrun starts all processes anew after a failure: what they do then is the same work, the `ordinal`-th of this
    name in its process. All nodes of a job that was named (`--rdzv-id`) have one key.
    """
    if "TORCHELASTIC_RESTART_COUNT" not in environ:
        return None
    job = environ.get("TORCHELASTIC_RUN_ID", "")
    if job in UNNAMED:
        job = f"{boot_id()}:{_launcher()}"
    return f"torchrun:{job}:{name}:{ordinal}"


def restarts(environ: Mapping[str, str]) -> int | None:
    """How many times torchrun has started this job anew; None outside of torchrun."""
    text = environ.get("TORCHELASTIC_RESTART_COUNT", "")
    return int(text) if text.isdecimal() else None


def meeting_point(home: Path) -> Path:
    """The socket at which the processes that one launcher started on this node find their first one."""
    return socket_path(home, f"ranks-{_launcher()}")


def socket_path(home: Path, name: str) -> Path:
    """A socket's path: in the home, or where that is too long a name in a directory of this user's under /tmp."""
    path = home / RUN / f"{name}.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    import tempfile  # noqa: PLC0415  # seldom needed, and not small

    return Path(tempfile.gettempdir()) / f"lowcarb-{os.getuid()}" / f"{name}.sock"


def _launcher() -> str:
    """The process that started this one, such that no other is taken for it."""
    parent = os.getppid()
    return f"{parent}-{started(parent) or 0:g}"
