"""The command line: each command parses, calls, prints. `main` is the program."""

from __future__ import annotations

import sys

from lowcarb import __version__


def main() -> None:
    """Run the command line and exit with its status."""
    if sys.argv[1:] == ["--version"]:  # answered without loading a single command
        print(f"lowcarb {__version__}")  # noqa: T201
        sys.exit(0)
    from lowcarb.cli.app import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:]))
