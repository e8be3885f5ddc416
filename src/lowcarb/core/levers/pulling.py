"""Pulling levers: what was pulled, how it is written, and the trial that comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType

from lowcarb.core.levers.base import Able, Lever
from lowcarb.core.levers.content import CONTENT_LEVERS
from lowcarb.core.levers.place import PLACE_LEVERS
from lowcarb.core.levers.recipe import RECIPE_LEVERS
from lowcarb.core.trial import Trial
from lowcarb.errors import SettingError

LEVERS: Mapping[str, Lever] = MappingProxyType(
    {lever.id: lever for lever in (*CONTENT_LEVERS, *RECIPE_LEVERS, *PLACE_LEVERS)}
)
"""The library by id, in the order in which levers are pulled: what is trained on, how, and where."""

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Pulled:
    """A lever with the settings that it is pulled at; those left out take their defaults."""

    lever: str
    settings: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        """As it is written: `bf16`, `freeze-layers=3`, `data-share:share=0.5,selection=diverse`.

        Settings after the lever's first that are at their defaults are left out.
        """
        known = LEVERS[self.lever].settings if self.lever in LEVERS else {}
        first = next(iter(known), None)
        told = [
            (name, value)
            for name, value in self.settings
            if name == first or name not in known or value != known[name][0]
        ]
        if not told:
            return self.lever
        if [first] == [name for name, _ in told]:
            return f"{self.lever}={_written(told[0][1])}"
        return f"{self.lever}:{','.join(f'{name}={_written(value)}' for name, value in told)}"


def _written(value: object) -> str:
    """The shortest text that reads back as the same value: `1`, not `1.0`."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return repr(value) if isinstance(value, float) and float(short) != value else short


def lever_of(name: str) -> Lever:
    """The lever of this id.

    Raises:
        SettingError: there is none, with those of like name.
    """
    lever = LEVERS.get(name)
    if lever is None:
        near = get_close_matches(name.lower(), list(LEVERS), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise SettingError("lever", name, f"a lever that there is: {hint}`lowcarb levers` lists them")
    return lever


def parse_pulled(text: str) -> Pulled:
    """What a text such as `bf16`, `freeze-layers=3` or `data-share:share=0.5,selection=loss` says, defaults filled in.

    Raises:
        SettingError: an unknown lever, with near misses; a setting that it has not, or whose value is of no use.
    """
    match = re.fullmatch(r"\s*([^:=\s]+)\s*(?:=\s*(\S+)|:\s*(\S.*?))?\s*", text)
    if match is None:
        raise SettingError("lever", text, "a lever's id, `id=value` or `id:setting=value,setting=value`")
    name, value, several = match.groups()
    lever = lever_of(name)
    given: dict[str, object] = {}
    if value is not None:
        first = next(iter(lever.settings), None)
        if first is None:
            raise SettingError(name, value, "nothing: this lever has no settings")
        given[first] = _read(value, lever.settings[first])
    for part in several.split(",") if several else ():
        setting, equals, told = part.strip().partition("=")
        if not equals or setting in given:
            raise SettingError(name, several, "setting=value, each once, parted by commas")
        given[setting] = _read(told, lever.settings.get(setting, ("",)))
    return Pulled(name, lever.completed(given))


def _read(text: str, usual: Sequence[object]) -> object:
    if isinstance(usual[0], str) or not NUMBER.fullmatch(text.strip()):
        return text.strip()
    return float(text)


def clash(pulled: Iterable[Pulled]) -> str | None:
    """The first two levers that cannot be pulled together, in words; None where all can."""
    seen: list[str] = []
    for one in pulled:
        if one.lever in seen:
            return f"{one.lever} is there twice"
        for other in seen:
            if one.lever in LEVERS[other].conflicts or other in LEVERS[one.lever].conflicts:
                return f"{one.lever} conflicts with {other}"
        seen.append(one.lever)
    return None


def in_order(pulled: Iterable[Pulled]) -> tuple[Pulled, ...]:
    """In the order in which they are pulled and written down."""
    order = list(LEVERS)
    return tuple(sorted(pulled, key=lambda one: order.index(one.lever)))


def pull(trial: Trial, pulled: Sequence[Pulled], able: Able) -> Trial:
    """The trial with these levers pulled, whatever order they are given in; its levers are written down in it.

    Levers that the trial has from before count: they too may conflict.

    Raises:
        SettingError: an unknown lever, one that is there twice, two that conflict, a setting out of range, one that
            the device cannot do, or that would change nothing.
    """
    if not pulled:
        return trial
    before = [parse_pulled(text) for text in trial.levers]
    new = [Pulled(one.lever, lever_of(one.lever).completed(dict(one.settings))) for one in pulled]
    conflict = clash([*before, *new])
    if conflict is not None:
        raise SettingError("levers", ", ".join(map(str, [*before, *new])), f"levers that go together: {conflict}")
    for one in in_order(new):
        trial = _pulled(trial, one, able)
    levers = tuple(str(one) for one in in_order([*before, *new]))
    return replace(trial, levers=levers, arm=replace(trial.arm, levers=levers))


def _pulled(trial: Trial, one: Pulled, able: Able) -> Trial:
    lever = LEVERS[one.lever]
    refusal = lever.refusal(trial, able)
    if refusal is not None:
        raise SettingError("lever", str(one), f"one that can be pulled here: {refusal}")
    changed = lever.change(trial, dict(one.settings))
    if changed == trial and lever.kind != "hardware":
        raise SettingError("lever", str(one), "one that changes something: the trial has this from before")
    return changed
