"""Run by every Python that starts under `lowcarb track`, before its program: waits for `transformers.trainer`.

It prints nothing and raises nothing of its own, and loads next to nothing before the Trainer comes. The `sitecustomize`
that this one hides is run afterwards, and takes its place, as if this one were not there.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

WATCHED = "transformers.trainer"


class LowcarbWaiting:
    """Lies in wait in `sys.meta_path` for one module, and is gone when that is found.

    Attributes:
        run: entries of `sys.path` of which the `sitecustomize` has been run, or is being run.
    """

    def __init__(self) -> None:
        self.run = {_folder(os.path.dirname(__file__))}  # noqa: PTH120  # pathlib takes longer than all of this

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """What the other finders say of the module, with the hook behind its loading."""
        if name != WATCHED:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]  # that is what it is
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)  # type: ignore[arg-type]  # as Python called this one
            if spec is not None:
                if os.environ.get("LOWCARB_HOOK") == "1":
                    _then_hook(spec.loader)
                return spec
        return None


def _then_hook(loader: object) -> None:
    """Have this loader hook the Trainer when it has run the module."""
    run_module = getattr(loader, "exec_module", None)
    if run_module is None:
        return

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module  # type: ignore[attr-defined]  # what was there before shows again
        run_module(module)
        from contextlib import suppress  # noqa: PLC0415  # imported long ago when this is reached

        with suppress(Exception):  # this environment may have no lowcarb, or not all that it needs
            from lowcarb.integrations.hook.trainer import hook_trainer  # noqa: PLC0415  # heavy

            hook_trainer(module)

    try:
        loader.exec_module = exec_module  # type: ignore[attr-defined]
    except AttributeError:
        return  # a loader that takes no orders: no phases then


def _run_hidden(waiting: LowcarbWaiting) -> None:
    """Run the next `sitecustomize` on the path. What it raises is its own, and Python says it as ever."""
    finder = next((one for one in sys.meta_path if getattr(one, "__name__", "") == "PathFinder"), None)
    for path in list(sys.path):
        if finder is None or _folder(path) in waiting.run:
            continue
        spec = finder.find_spec("sitecustomize", [path])
        if spec is not None and spec.loader is not None and spec.origin is not None:
            from importlib.util import module_from_spec  # noqa: PLC0415  # 3 ms, and mostly there is none

            waiting.run.add(_folder(path))
            # In its own namespace, and in our place, which must not stay empty: Python looks there afterwards.
            module = sys.modules["sitecustomize"] = module_from_spec(spec)
            spec.loader.exec_module(module)
            return


def _folder(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100  # as above


def _waiting() -> LowcarbWaiting:
    """The one of this process: a program may run its `sitecustomize` again."""
    for finder in sys.meta_path:
        if type(finder).__name__ == "LowcarbWaiting":
            return finder  # type: ignore[return-value]  # by its name
    waiting = LowcarbWaiting()
    sys.meta_path.insert(0, waiting)  # type: ignore[arg-type]  # it finds
    return waiting


_run_hidden(_waiting())
