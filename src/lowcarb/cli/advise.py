"""`lowcarb advise`: what to try next, without training anything, from what is known of a run or a study."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import Json, LedgerPath, SiteId, emit, out, say, show
from lowcarb.cli.ledger import opened
from lowcarb.cli.subject import BY_HAND, Subject, subject_of
from lowcarb.core.advise import (
    USUAL_LOSS,
    Advice,
    Limits,
    NotAdvised,
    Seen,
    arm_advice,
    check_limits,
    early_stop_advice,
    lever_advice,
    ranked,
    together,
)
from lowcarb.core.compare import Effect, effects
from lowcarb.core.elsewhere import device_advice, site_advice
from lowcarb.core.estimate import Estimate
from lowcarb.core.levers import LEVERS, Lever, Pulled, parse_pulled, pull
from lowcarb.core.trial import Arm, Recipe, Study, Trial
from lowcarb.core.units import PERCENT
from lowcarb.core.waste import Waste, wastes
from lowcarb.errors import LowcarbError, SettingError
from lowcarb.ledger.base import Ledger
from lowcarb.report.records import read_study

PROVIDERS = ("aws-", "azure-", "gcp-", "ovhcloud-", "scaleway-")
ELSEWHERE = frozenset({"other-device", "greener-site", "greener-hour"})
"""Levers that have advice of their own here, from the catalogue's figures."""
MOST_SHOWN = 12

Named = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN_OR_STUDY]", help="A run's id, a study's id, or a study file. Default: the newest run."
    ),
]
Loss = Annotated[
    float | None,
    typer.Option("--max-quality-loss", metavar="X", help="Leave out what may lose more, in the quality's unit."),
]


def advise(
    name: Named = None, *, max_quality_loss: Loss = None, site: SiteId = None, ledger: LedgerPath = None,
    json: Json = False,
) -> None:  # fmt: skip
    """What to try next: ranked, with the evidence, both sides and what to type. Nothing is trained."""
    check_limits(max_quality_loss)
    catalogue = Catalogue.load()
    book = opened(ledger)
    try:
        subject = subject_of(book, name, catalogue, site)
        seen, arms = _seen(book, subject)
    finally:
        book.close()
    limits = check_limits(max_quality_loss, subject.study.margin if subject.study else USUAL_LOSS)
    found = [*_levers(subject, seen, limits), *_arms(arms, limits), *_others(subject, catalogue)]
    advice = ranked(one for one in found if isinstance(one, Advice))
    against = tuple(one for one in found if isinstance(one, NotAdvised))
    waste = wastes(subject.facts) if subject.facts else ()
    notes = (*subject.notes, *(() if seen or arms else (NO_RESULTS,)))
    if json:
        emit(_document(subject, advice, against, waste, notes, limits), kind="advice")
    else:
        _tell(subject, advice, against, waste, notes, limits)


NO_RESULTS = "the ledger has no result of a lever or an arm yet: savings are claims of other trainings, not yours"


def _document(
    subject: Subject, advice: tuple[Advice, ...], against: tuple[NotAdvised, ...], waste: tuple[Waste, ...],
    notes: tuple[str, ...], limits: Limits,
) -> dict[str, Any]:  # fmt: skip
    whole = together(advice, limits)
    energy_j = subject.facts.energy_j if subject.facts else None
    return {
        "subject": {"kind": subject.kind, "id": subject.id, "name": subject.name, "site": subject.site.id},
        "energy_j": energy_j.as_dict() if energy_j else None,
        "waste": [one.as_dict() for one in waste],
        "advice": [one.as_dict() for one in advice],
        "together": whole.as_dict() if whole else None,
        "not_advised": [one.as_dict() for one in against],
        "notes": list(notes),
    }


# What was measured here.


def _seen(book: Ledger, subject: Subject) -> tuple[dict[str, tuple[Seen, Pulled]], tuple[tuple[Effect, str], ...]]:
    """The levers' effects in this ledger, the best of each, and the effects of other arms of the subject's study."""
    seen: dict[str, tuple[Seen, Pulled]] = {}
    arms: list[tuple[Effect, str]] = []
    studies = dict.fromkeys(run.study for run in book.runs(kind="trial", limit=10_000) if run.study)
    for id_ in studies:
        try:
            found = read_study(book, id_)
            results = effects(found[0], [record.result for record in found[1]]) if found else ()
        except (LowcarbError, ValueError, KeyError, TypeError):  # written by another version
            continue
        study = found[0] if found else None
        for effect in results if study else ():
            own = study is not None and subject.study is not None and id_ == subject.study.id
            if effect.factor == "lever":
                _take(seen, effect, study, subject, id_)
            elif own and effect.baseline == subject.trial.arm.id:
                arms.append((effect, id_))
    return seen, tuple(arms)


def _take(
    seen: dict[str, tuple[Seen, Pulled]], effect: Effect, study: Study | None, subject: Subject, id_: str
) -> None:
    arm, reference = (study.arm(one) if study else None for one in (effect.arm, effect.baseline))
    if study is None or arm is None or reference is None:
        return
    added = [text for text in arm.levers if text not in reference.levers]
    if len(added) != 1:
        return
    same = subject.known is None and study.data == subject.trial.data and _plain(reference) == _plain(subject.trial.arm)
    new = (Seen(effect, f"study {id_}, against {reference.id}", same), parse_pulled(added[0]))
    old = seen.get(new[1].lever)
    if old is None or _order(new[0]) < _order(old[0]):
        seen[new[1].lever] = new


def _plain(arm: Arm) -> dict[str, Any]:
    return {name: value for name, value in asdict(arm).items() if name not in ("levers", "site")}


def _order(seen: Seen) -> tuple[bool, bool, float]:
    """The same training first, then what held, then the largest saving."""
    effect = seen.effect
    return not seen.same, effect.verdict not in ("better", "not inferior"), effect.carbon_ratio.mid


# Advice.


def _levers(subject: Subject, seen: Mapping[str, tuple[Seen, Pulled]], limits: Limits) -> Iterable[Advice | NotAdvised]:
    for lever in LEVERS.values():
        if lever.id in ELSEWHERE:
            continue
        own = seen.get(lever.id)
        pulled = _pulled(subject, lever, own[1] if own and own[0].same else None)
        if isinstance(pulled, str):
            yield NotAdvised(lever.id, lever.title, pulled)
            continue
        one, after = pulled
        before, changed = subject.trial.arm.recipe, after.arm.recipe
        yield lever_advice(
            lever, subject.how(one, after), before, changed, seen=own[0] if own else None, facts=subject.facts,
            unsure=_unsure(subject, before, changed), limits=limits,
        )  # fmt: skip


def _pulled(subject: Subject, lever: Lever, first: Pulled | None) -> tuple[Pulled, Trial] | str:
    """The lever at the first setting that can be pulled, or why none can."""
    if subject.known is not None and lever.kind not in ("recipe", "hardware") and lever.id not in BY_HAND:
        return "it belongs to lowcarb's own studies: a training by your own code must be changed by hand"
    options = [Pulled(lever.id, lever.completed({}))]
    for name, values in lever.settings.items():
        options += [Pulled(lever.id, lever.completed({name: value})) for value in values[1:]]
    why = ""
    for one in [first, *options] if first else options:
        try:
            return one, pull(subject.trial, [one], subject.able)
        except SettingError as error:
            why = why or error.expected
    return why.removeprefix("one that can be pulled here: ").removeprefix("one that changes something: ")


def _unsure(subject: Subject, before: Recipe, after: Recipe) -> str:
    changed = [field.name for field in fields(Recipe) if getattr(before, field.name) != getattr(after, field.name)]
    unknown = [name for name in changed if subject.known is not None and name not in subject.known]
    return f"the ledger does not tell its {', '.join(unknown)}: it may do so already" if unknown else ""


def _arms(arms: Iterable[tuple[Effect, str]], limits: Limits) -> Iterable[Advice | NotAdvised]:
    for effect, study in arms:
        yield arm_advice(effect, f"study {study}", f"lowcarb study show {study}", limits)


def _others(subject: Subject, catalogue: Catalogue) -> Iterable[Advice]:
    facts = subject.facts
    stop = early_stop_advice(facts, BY_HAND["early-stopping"]) if facts else None
    if stop is not None:
        yield stop
    here = subject.site
    own = next((one for one in PROVIDERS if here.id.startswith(one)), None)
    places = [one for one in catalogue.sites() if one.id.startswith(own or PROVIDERS)]
    cost = "its own storage and transfer fees" if own else "renting there, and its transfer fees"
    shown = (
        f"lowcarb study show {subject.id} --site {{site}}"
        if subject.kind == "study"
        else (f"lowcarb advise {subject.id} --site {{site}}; then run it there")
    )
    found = site_advice(here, places, cost, shown)
    yield from found if here.declared else map(_place_unsure, found[:1])
    if subject.job is not None:
        job, device, watts = subject.job
        shown = f"lowcarb forecast --run {subject.id} --device {{device}}"
        cards = [one for one in catalogue.devices() if one.kind == "gpu"]
        yield from device_advice(job, device, cards, shown, watts=watts)


def _place_unsure(one: Advice) -> Advice:
    """Of a run that may be in the greenest place already: nothing is sure to be saved."""
    saving = Estimate(min(0.0, one.saving.low), one.saving.mid, one.saving.high, "assumed")
    return replace(one, saving=saving)


# For people.


def _tell(
    subject: Subject, advice: tuple[Advice, ...], against: tuple[NotAdvised, ...], waste: tuple[Waste, ...],
    notes: tuple[str, ...], limits: Limits,
) -> None:  # fmt: skip
    for note in notes:
        say(f"note: {note}")
    out().print(f"{subject.kind} {subject.id}: {subject.name}", markup=False)
    for kind, title in (("waste", "Waste"), ("unknown", "Not known")):
        rows = [(one.title, one.why, one.remedy) for one in waste if one.kind == kind]
        if rows:
            show(title, ("what", "why", "remedy"), rows)
    listed = [
        (str(number), one.title, _share(one.saving), one.of, _points(one.quality_change), one.grounds)
        for number, one in enumerate(advice[:MOST_SHOWN], start=1)
    ]
    show("Advice", ("", "try", "saves", "of its", "quality", "evidence"), listed, right=(0, 2, 4))
    for number, one in enumerate(advice[:MOST_SHOWN], start=1):
        _tell_one(number, one)
    whole = together(advice, limits)
    if whole is not None:
        named = " + ".join(whole.levers)
        out().print(f"\n{named}: {_share(whole.saving)} of its energy, {whole.how_combined}", markup=False)
    _tell_rest(advice[MOST_SHOWN:], against)
    sys.stdout.flush()


MEASURED_HERE = "measured here"


def _tell_rest(more: tuple[Advice, ...], against: tuple[NotAdvised, ...]) -> None:
    """What is not shown above: by name what was tried here and did not hold, else in numbers."""
    tried = [one for one in against if one.why.startswith(MEASURED_HERE)]
    if tried:
        show("Not advised", ("what", "why"), [(one.title, one.why) for one in tried])
    counts = ((len(more), "more"), (len(against) - len(tried), "not advised, by claims or for what the run is"))
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    if told:
        out().print(f"\n{told}: `--json` lists them with why", markup=False)


def _tell_one(number: int, one: Advice) -> None:
    out().print(f"\n{number}. {one.title}", markup=False)
    for evidence in one.evidence:
        out().print(f"   {evidence.kind}: {evidence.what} [{evidence.source}]", markup=False)
    for sign, lines in (("+", one.benefits), ("-", one.drawbacks)):
        for line in lines:
            out().print(f"   {sign} {line}", markup=False)
    out().print(f"   try: {one.how}", markup=False)


def _share(saving: Estimate) -> str:
    low, mid, high = (PERCENT * one for one in (saving.low, saving.mid, saving.high))
    return f"{mid:.0f} % ({low:.0f} to {high:.0f})"


def _points(change: Estimate | None) -> str:
    return "unknown" if change is None else f"{change.mid:+.1f} ({change.low:+.1f} to {change.high:+.1f})"
