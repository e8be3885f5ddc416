"""What a lever is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Literal

from lowcarb.core.estimate import Estimate
from lowcarb.core.trial import Trial
from lowcarb.errors import SettingError

Kind = Literal["recipe", "data", "model", "hardware", "place"]
"""What a lever changes. `hardware` and `place` leave the training itself as it is."""

Value = object
"""Of a setting: a whole number, a number or a word."""


@dataclass(frozen=True, slots=True)
class Able:
    """What the device, and what is installed on it, can do."""

    precisions: frozenset[str]
    """Of the computation: fp32, bf16, fp16, fp8."""
    gpu: bool = False
    compile: bool = True
    """Kernels can be compiled: there is a compiler."""
    power_limit: bool = False
    """Power limit and clocks may be set, and whoever runs the trial sets them and restores them."""
    adapters: bool = True
    """The library for low-rank adapters is there."""
    keep_memory: bool = False
    """The training is on a processor, and what allocates its memory can be told to keep what is freed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a lever is said to do before it was tried on this task. A study's own measurement takes its place.

    All are `assumed`: they were seen elsewhere, once, or follow from counting; the interval is meant to hold what
    another task of the same kind would show.
    """

    energy_ratio: Estimate
    """Energy of training with the lever over without, at its first setting."""
    quality_change: Estimate | None
    """Points of F1, with minus without; None where nothing is known that would carry over."""
    where: str
    """What it was seen on, in words."""
    sources: tuple[str, ...] = ()


def _fits(trial: Trial) -> str | None:
    del trial
    return None


def _can(able: Able) -> str | None:
    del able
    return None


@dataclass(frozen=True, slots=True)
class Lever:
    """A change of a trial that may lower its footprint.

    `change` takes a trial and a value for each setting, and changes nothing but what the lever says; never the way in
    which answers are read out (`Arm.inference`), or scores would no longer be comparable.
    """

    id: str
    title: str
    change: Callable[[Trial, Mapping[str, Any]], Trial]
    settings: Mapping[str, tuple[Value, ...]]
    """By name the usual values, the default first; empty for a lever that is pulled or not."""
    conflicts: tuple[str, ...]
    """Ids of the levers that it cannot be pulled with."""
    claim: Claim
    benefits: tuple[str, ...]
    drawbacks: tuple[str, ...]
    exact: bool = False
    """Each example's arithmetic stays as it is, up to rounding: only draws (of batches, of dropout) may differ, as they
    do from seed to seed, so the quality to expect cannot change."""
    twin: bool = False
    """Exact with the same batches too: only dropout is drawn anew. A recipe with such levers is a cheaper twin of the
    one without, and its quality may be measured in place of that one's."""
    gpu_only: bool = False
    tried: bool = True
    """Whether lowcarb has run it; False for what was only simulated yet."""
    kind: Kind = "recipe"
    needs: tuple[str, ...] = ()
    """In words: what of the trial and the device it asks for."""
    unfit: Callable[[Trial], str | None] = field(default=_fits)
    """Why it cannot be pulled on a trial, whatever the setting."""
    unable: Callable[[Able], str | None] = field(default=_can)
    """Why it cannot be pulled on a device."""

    def refusal(self, trial: Trial, able: Able) -> str | None:
        """Why it cannot be pulled here, in words; None where it can."""
        return self.beyond(able) or self.unfit(trial)

    def beyond(self, able: Able) -> str | None:
        """Why the device cannot do it, in words; None where it can."""
        return "it needs a GPU" if self.gpu_only and not able.gpu else self.unable(able)

    def completed(self, given: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
        """A value for every setting, in the lever's order: the given one, else the default.

        Raises:
            SettingError: a setting that the lever has not, or a value of another kind.
        """
        for name in given:
            if name not in self.settings:
                expected = f"a setting of {self.id}: {', '.join(self.settings) or 'it has none'}"
                raise SettingError(f"{self.id}:{name}", given[name], expected)
        return tuple(
            (name, _like(self, name, given.get(name, usual[0]), usual)) for name, usual in self.settings.items()
        )


def _like(lever: Lever, name: str, value: Value, usual: tuple[Value, ...]) -> Value:
    """The value as the kind that the usual ones are of."""
    first = usual[0]
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    if isinstance(first, float) and numeric:
        return float(value)  # type: ignore[arg-type]  # a number, as was asked
    if isinstance(first, int) and numeric and value == int(value):  # type: ignore[call-overload]
        return int(value)  # type: ignore[call-overload]
    if isinstance(first, str) and isinstance(value, str):
        return value
    kind = "a word" if isinstance(first, str) else "a whole number" if isinstance(first, int) else "a number"
    raise SettingError(f"{lever.id}:{name}", value, f"{kind}, such as {', '.join(map(str, usual))}")


def recipe_with(trial: Trial, **changes: Any) -> Trial:
    """The trial with fields of its recipe changed."""
    return replace(trial, arm=replace(trial.arm, recipe=replace(trial.arm.recipe, **changes)))


def within(lever: str, name: str, value: float, low: float, high: float, what: str) -> None:
    """Check a setting.

    Raises:
        SettingError: it is not from `low` to `high`.
    """
    if not low <= value <= high:
        raise SettingError(f"{lever}:{name}", value, what)


def assumed(low: float, mid: float, high: float) -> Estimate:
    """An estimate that nobody has measured on this task."""
    return Estimate(low, mid, high, "assumed")


OWN = "lowcarb's own first measurement on two CPU cores"
"""MiniLM (6 layers, width 384) fine-tuned on up to 1,000 SQuAD questions; one seed, few batches, a shared machine."""

SAME = assumed(0.99, 1.0, 1.01)
"""The energy is not touched: the same operations are done."""
