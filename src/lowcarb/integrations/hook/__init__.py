"""Phases, steps and tokens of a training whose code knows nothing of lowcarb: what `lowcarb track -- CMD` adds.

Python runs a `sitecustomize.py` that it finds on its path before a program. The folder of ours goes to the front of
`PYTHONPATH`; it waits for the Hugging Face Trainer, and Lightning comes by its entry point. Where Python does not read
the environment (`-I`, `-E`), or no site (`-S`), or has no lowcarb, there is energy only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

HOOK = "LOWCARB_HOOK"
"""Environment variable that has the frameworks' trainings metered; `1` means yes."""
PATH = "PYTHONPATH"
FOLDER = Path(__file__).resolve().parent
"""Where the `sitecustomize.py` lies."""


def is_on(environ: Mapping[str, str]) -> bool:
    """Whether trainings are to be metered that did not ask for it."""
    return environ.get(HOOK) == "1"


def hook_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to set for a command that runs in this environment otherwise."""
    folder = str(FOLDER)
    if os.pathsep in folder:  # such a path cannot be said in a list of paths
        return {HOOK: "1"}
    before = [path for path in environ.get(PATH, "").split(os.pathsep) if path and path != folder]
    return {HOOK: "1", PATH: os.pathsep.join([folder, *before])}
