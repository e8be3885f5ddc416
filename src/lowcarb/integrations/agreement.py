"""All processes of a distributed training stop after the same step, or none does.

A process that stops alone leaves the others waiting for its gradients for ever. So after each step every process says
whether it has seen the budget reached, and looks after the next step whether anybody had: by then the word has gone
round behind the training's back. It travels over a gloo group of its own, on the processors.

Saying so together needs everybody to take part, and a user may have put the callback into the first process only. That
is settled beforehand at the store where the processes met, which nobody has to wait at together: whoever comes last
says `all`, whoever is tired of waiting says `alone`, and what was said first holds for all.
"""

from __future__ import annotations

import time
from typing import Any

TIRED_S = 10.0
"""How long a process waits at the beginning for the others to say that they take part [s]."""
POLL_S = 0.01
ALL, ALONE = b"all", b"alone"

_agreements = 0
"""How many agreements this process has sought: the same number names the same one in every process."""


def is_distributed() -> bool:
    """Whether this process trains together with others, by torch.distributed."""
    import torch.distributed as dist  # noqa: PLC0415  # torch is heavy, and there wherever this is called

    return bool(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)


class Agreement:
    """An agreement of all processes of this training, made by `agree`. Raises what torch.distributed raises, once."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self._said: Any = None
        self._round: Any = None
        self._reached = self._broken = False

    def step(self, *, reached: bool) -> bool:
        """To be called after each step: whether all have to stop now, since one had seen it reached a step ago."""
        import torch  # noqa: PLC0415  # as above
        import torch.distributed as dist  # noqa: PLC0415  # as above

        if self._broken or self._reached:
            return self._reached
        # Rounds are matched by their order: who has missed one may take part in none after it.
        self._broken = True
        if self._round is not None:
            self._round.wait()
            self._reached = bool(self._said.item())
        self._said, self._round = torch.tensor([int(reached)]), None
        if not self._reached:
            self._round = dist.all_reduce(self._said, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._broken = False
        return self._reached

    def close(self) -> None:
        """Part, where all have come to the end; after a failure nobody may be waited for, so leave it be."""
        import torch.distributed as dist  # noqa: PLC0415  # as above

        if self._round is not None and not self._broken:
            self._round.wait()
        if dist.is_initialized():
            dist.destroy_process_group(self._group)


def agree(*, wanted: bool, tired_s: float = TIRED_S) -> Agreement | None:
    """An agreement of all processes, to be sought by each of them at the same point of its training.

    Args:
        wanted: whether this process knows of a budget; if none does, there is nothing to agree on.
        tired_s: how long the others are waited for [s].

    Returns:
        None where nobody wants it.

    Raises:
        TimeoutError: not every process takes part.
    """
    import torch.distributed as dist  # noqa: PLC0415  # as above
    from torch.distributed.distributed_c10d import _get_default_store  # noqa: PLC0415  # as above

    global _agreements  # noqa: PLW0603  # the processes have nothing else in common to name it by
    _agreements += 1
    store, name, world = _get_default_store(), f"lowcarb/{_agreements}", dist.get_world_size()
    if wanted:
        store.set(f"{name}/wanted", "1")
    here = store.add(f"{name}/here", 1)
    if _outcome(store, name, last=here == world, tired_s=tired_s) != ALL:
        raise TimeoutError(f"{here} of {world} processes have the callback: they cannot stop together at a budget")
    # All have said what they want before they were counted.
    if not store.check([f"{name}/wanted"]):
        return None
    return Agreement(dist.new_group(backend="gloo"))


def _outcome(store: Any, name: str, *, last: bool, tired_s: float) -> bytes:
    if last:
        return bytes(store.compare_set(f"{name}/outcome", "", ALL.decode()))
    until_s = time.monotonic() + tired_s
    while time.monotonic() < until_s:
        if store.check([f"{name}/outcome"]):
            return bytes(store.get(f"{name}/outcome"))
        time.sleep(POLL_S)
    return bytes(store.compare_set(f"{name}/outcome", "", ALONE.decode()))
