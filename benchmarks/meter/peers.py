"""The peers, each in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PEERS = ("codecarbon", "zeus", "carbontracker")


def python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def install(peer: str, venvs: Path) -> Path | None:
    """The interpreter of an environment that has this peer; None, with a line on why, where pip cannot install it."""
    folder = venvs / peer
    python = python_of(folder)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if version(python, peer) is not None:
        return python
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", peer]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and version(python, peer) is not None:
        return python
    reason = done.stderr.strip().splitlines()[-1:] or [f"pip ended with {done.returncode}"]
    print(f"cannot install {peer}: {reason[0]}", file=sys.stderr)
    return None


def version(python: Path, package: str) -> str | None:
    """The version that an environment has; None where it has none."""
    program = f"import importlib.metadata as m, json; print(json.dumps(m.version({package!r})))"
    done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=False)
    return str(json.loads(done.stdout)) if done.returncode == 0 else None
