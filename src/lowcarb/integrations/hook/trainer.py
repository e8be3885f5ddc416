"""What the hook does to the Hugging Face Trainer: each one that is made has a callback of ours attached."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from lowcarb.tracker.guard import Guard


def hook_trainer(module: ModuleType) -> None:
    """Have every Trainer that is made from now on metered; `module` is `transformers.trainer`."""
    guard, made = Guard(), module.Trainer.__init__

    @functools.wraps(made)
    def make(self: Any, *args: Any, **named: Any) -> None:
        made(self, *args, **named)
        guard.run("hook", lambda: _attach(self), None)

    module.Trainer.__init__ = make


def _attach(trainer: Any) -> None:
    from lowcarb.integrations.huggingface import attach  # noqa: PLC0415  # imports the very module that is hooked

    attach(trainer)
