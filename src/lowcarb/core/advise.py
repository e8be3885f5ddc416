"""From effects, claims, facts and limits to ranked advice, with both sides of each. Nothing is trained for it.

Advice is ranked by *expected saving × strength of its evidence*; of the saving's interval the cautious half counts, and
what nobody knows of the quality counts against it. What was measured here comes before what was published of other
trainings, and that before what is assumed. Rules that keep it within its evidence:

- where a lever was measured here, that figure is the expectation, and a published claim only stands beside it;
- what was measured here and turned out worse is not advised, and said so; what is undecided yet stays a claim;
- a claim that was seen against another recipe than the one asked about is cut to what that one can save (`fitted`);
- savings of several levers are put together only with the words that say how (`together`): nobody measured them so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lowcarb.core.compare import Effect
from lowcarb.core.estimate import Estimate
from lowcarb.core.levers.base import OWN, Lever
from lowcarb.core.trial import Recipe
from lowcarb.core.units import PERCENT
from lowcarb.core.waste import RunFacts, after_the_best
from lowcarb.errors import SettingError

Grounds = Literal["measured here", "published", "assumed"]
Quantity = Literal["energy", "carbon"]

STRENGTH: dict[Grounds, float] = {"measured here": 1.0, "published": 0.5, "assumed": 0.25}
"""What a saving counts for in the ranking, by its evidence. `assumed`: an order, not a probability."""
PADDING_ABOVE = 1.3
"""Less padding saves at most this over its share of the tokens: attention grows with the square of the length.
`assumed`: 56 % fewer tokens saved 70 % of a fine-tuning's processor time with fp32 and dropout."""
QUALITY_UNKNOWN = 0.5
"""What a saving counts for where nobody knows what becomes of the quality. `assumed`."""
USUAL_LOSS = 1.0
"""Expected loss of quality beyond which nothing is advised unless more is allowed [points of F1]."""
COUNTED = 0.85
"""Fewer steps save at least this over their share: what is done once, such as loading, stays. `assumed`."""
HELD = ("better", "not inferior")
"""Verdicts on which advice may rest."""
LEAST_SAVING = 0.005
"""Less is not advice. `assumed`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a piece of advice rests on."""

    kind: Grounds
    what: str
    source: str
    """A study or run of the ledger, ids of sources, or the rule that was taken."""

    def as_dict(self) -> dict[str, str]:
        """The JSON form, by field name."""
        return {"kind": self.kind, "what": self.what, "source": self.source}


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to try."""

    id: str
    title: str
    levers: tuple[str, ...]
    """Ids of the levers to pull; empty for another place, device or habit."""
    saving: Estimate
    """Expected, as a share of the run's energy or carbon; below zero is more spent."""
    of: Quantity
    quality_change: Estimate | None
    """Expected, in the unit of the quality; None where nobody knows."""
    benefits: tuple[str, ...]
    drawbacks: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    """The first one decides."""
    how: str
    """What to type."""
    conflicts: tuple[str, ...] = ()

    @property
    def grounds(self) -> Grounds:
        """Kind of the evidence that decides."""
        return self.evidence[0].kind if self.evidence else "assumed"

    @property
    def worth(self) -> float:
        """What it is ranked by: saving, as the middle of the cautious half of its interval, × strength of evidence."""
        known = 1.0 if self.quality_change is not None else QUALITY_UNKNOWN
        return (self.saving.low + self.saving.mid) / 2.0 * STRENGTH[self.grounds] * known

    def as_dict(self) -> dict[str, object]:
        """The JSON form, by field name."""
        return {
            "id": self.id, "title": self.title, "levers": list(self.levers), "saving": self.saving.as_dict(),
            "of": self.of, "quality_change": self.quality_change.as_dict() if self.quality_change else None,
            "benefits": list(self.benefits), "drawbacks": list(self.drawbacks),
            "evidence": [one.as_dict() for one in self.evidence], "how": self.how, "worth": self.worth,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class NotAdvised:
    """Something that was looked at and is not advised."""

    id: str
    title: str
    why: str

    def as_dict(self) -> dict[str, str]:
        """The JSON form, by field name."""
        return {"id": self.id, "title": self.title, "why": self.why}


@dataclass(frozen=True, slots=True)
class Limits:
    """What advice must keep."""

    max_quality_loss: float | None = None
    """Most that may be lost at all, in the unit of the quality; None goes by what is expected."""
    usual_loss: float = USUAL_LOSS
    """Most that may be expected to be lost, where no such limit is given: a study's margin."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A lever's effect, measured in this ledger."""

    effect: Effect
    where: str
    """Studies that the pairs are from."""
    same: bool
    """Whether it was on the very data, model and machine that is asked about."""


@dataclass(frozen=True, slots=True)
class Together:
    """Several levers at once. Nobody measured them together: so the words belong to the figure."""

    levers: tuple[str, ...]
    saving: Estimate
    how_combined: str

    def as_dict(self) -> dict[str, object]:
        """The JSON form, by field name."""
        return {"levers": list(self.levers), "saving": self.saving.as_dict(), "how_combined": self.how_combined}


def ranked(found: Iterable[Advice]) -> tuple[Advice, ...]:
    """Advice by saving × strength of evidence, the best first; ties by id, so that the order is always the same."""
    return tuple(sorted(found, key=lambda one: (-one.worth, one.id)))


def saving_of(ratio: Estimate) -> Estimate:
    """Share that is saved where a figure becomes `ratio` of what it was."""
    return Estimate(1.0 - ratio.high, 1.0 - ratio.mid, 1.0 - ratio.low, ratio.basis)


# Levers.


def lever_advice(
    lever: Lever, how: str, before: Recipe, after: Recipe, *, seen: Seen | None = None, facts: RunFacts | None = None,
    unsure: str = "", limits: Limits | None = None,
) -> Advice | NotAdvised:  # fmt: skip
    """Advice to pull a lever, or why not.

    Args:
        lever: with its claim.
        how: what to type.
        before: the recipe as it is.
        after: the recipe with the lever pulled.
        seen: its effect in this ledger, where there is one.
        facts: the run that is asked about.
        unsure: what is not known of the run, such as whether it does so already; goes among the drawbacks.
        limits: what must be kept.
    """
    told = _claimed(lever)
    quality: Estimate | None
    if seen is not None and seen.same and _refuted(seen.effect):
        why = f"measured here ({seen.where}): {seen.effect.verdict}: {seen.effect.reason}"
        return NotAdvised(lever.id, lever.title, why)
    if seen is not None and seen.same and seen.effect.verdict in HELD:
        saving, quality, evidence = saving_of(seen.effect.carbon_ratio), seen.effect.quality_change, [_own(seen), told]
    else:
        cut = fitted(saving_of(lever.claim.energy_ratio), before, after, facts)
        if isinstance(cut, str):
            return NotAdvised(lever.id, lever.title, cut)
        saving, quality, evidence = cut, lever.claim.quality_change, [told]
        if quality is None and lever.exact:
            quality = Estimate.exact(0.0, "modelled")
        if seen is not None:
            evidence.append(_own(seen))
        if after.padding != before.padding and facts is not None and facts.padding is not None:
            what = f"{PERCENT * facts.padding:.0f} % of the tokens were padding"
            evidence.append(Evidence("measured here", what, f"run {facts.id}"))
    refusal = _limited(saving, quality, limits or Limits())
    if refusal is not None:
        return NotAdvised(lever.id, lever.title, refusal)
    tried = () if lever.tried else ("untried by lowcarb's own lab",)
    open_ = ("tried here, and not decided yet",) if seen and seen.same and seen.effect.verdict == "undecided" else ()
    drawbacks = (*lever.drawbacks, *tried, *open_, *((unsure,) if unsure else ()))
    return Advice(
        lever.id, lever.title, (lever.id,), saving, "energy", quality, tuple(lever.benefits), drawbacks,
        tuple(evidence), how, tuple(lever.conflicts),
    )  # fmt: skip


def _claimed(lever: Lever) -> Evidence:
    claim = lever.claim
    # A figure of lowcarb's own, from one look elsewhere, is no more than an assumption here, whatever else of the lever
    # was published.
    published = claim.where.startswith("published") and set(claim.sources) - {OWN}
    kind: Grounds = "published" if published else "assumed"
    told = f"energy {_ratio(claim.energy_ratio)} of before: {claim.where}"
    return Evidence(kind, told, ", ".join(claim.sources) or "no source")


def _own(seen: Seen) -> Evidence:
    effect = seen.effect
    pairs = f"{effect.pairs} pair" + ("" if effect.pairs == 1 else "s")
    what = f"energy {_ratio(effect.carbon_ratio)} of before, quality {_change(effect.quality_change)}, {pairs}"
    beside = "" if seen.same else "; other data, model or machine than this run's"
    return Evidence("measured here", f"{what}: {effect.verdict}{beside}", seen.where)


def _refuted(effect: Effect) -> bool:
    """Whether an effect speaks against what was pulled: a measurement too wide to decide does not."""
    return effect.verdict == "worse" or (effect.verdict == "undecided" and effect.carbon_ratio.low > 1.0)


def _limited(saving: Estimate, quality: Estimate | None, limits: Limits) -> str | None:
    """Why a saving is not advised at what it costs in quality; None where it is."""
    if saving.mid < LEAST_SAVING:
        return f"nothing to expect: {PERCENT * saving.mid:+.1f} % saved"
    most = limits.max_quality_loss
    if most is None:
        if quality is not None and quality.mid < -limits.usual_loss:
            return f"expected to lose {-quality.mid:.2g} of quality, and {limits.usual_loss:g} is what may be lost"
        return None
    if quality is None:
        return f"nobody knows what it does to quality, and at most {most:g} may be lost"
    return f"may lose {-quality.low:.2g} of quality, and {most:g} is allowed" if quality.low < -most else None


def fitted(saving: Estimate, before: Recipe, after: Recipe, facts: RunFacts | None) -> Estimate | str:
    """A claimed saving, cut to what this recipe can save; in words, where that is nothing.

    Claims on padding were seen against windows that are all padded to full length; those on fewer epochs and questions
    are counted, and nothing of a training whose steps are set.
    """
    if after.padding != before.padding:
        return _less_padding(saving, before, facts)
    shares = {"epochs": after.epochs / before.epochs, "data_share": after.data_share / before.data_share}
    for name, share in shares.items():
        if share < 1.0:
            if before.max_steps is not None:
                return f"max_steps = {before.max_steps} sets how long it trains, whatever its {name}"
            return Estimate(COUNTED * (1.0 - share), 1.0 - share, 1.0 - share, saving.basis)
    return saving


def _less_padding(saving: Estimate, before: Recipe, facts: RunFacts | None) -> Estimate | str:
    padding = facts.padding if facts is not None else None
    if padding is not None:
        high = min(saving.high, PADDING_ABOVE * padding)
        mid = min(saving.mid, padding, high)
        return Estimate(min(saving.low, mid), mid, high, saving.basis)
    if before.padding in ("grouped", "packed"):
        return f"the recipe is {before.padding} already: little padding can be left"
    if before.padding == "longest":
        return Estimate(min(0.0, saving.low), saving.low, saving.high, saving.basis)
    return saving


# Arms of a study, habits, and all together.


def arm_advice(effect: Effect, study: str, how: str, limits: Limits | None = None) -> Advice | NotAdvised:
    """Advice to take another arm of a study, or why not."""
    title = f"take {effect.arm} in place of {effect.baseline}"
    if effect.verdict not in HELD:
        return NotAdvised(effect.arm, title, f"measured here ({study}): {effect.verdict}: {effect.reason}")
    saving = saving_of(effect.carbon_ratio)
    refusal = _limited(saving, effect.quality_change, limits or Limits())
    if refusal is not None:
        return NotAdvised(effect.arm, title, refusal)
    return Advice(
        effect.arm, title, (), saving, "energy", effect.quality_change, effect.benefits, effect.drawbacks,
        (_own(Seen(effect, study, same=True)),), how,
    )  # fmt: skip


def early_stop_advice(facts: RunFacts, how: str) -> Advice | None:
    """Advice to stop at the best look, where a run went on after it; None where it did not, or nobody looked."""
    found = after_the_best(facts)
    if found is None or found[2] < LEAST_SAVING:
        return None
    best, last, share = found
    told = f"{PERCENT * share:.0f} % of the energy came after epoch {best:g}"
    looks = sorted(facts.looks, key=lambda look: look.epoch)
    later = [look for look in looks if look.epoch > best and look.energy_j is not None]
    # A patience of one look sees one look more than the best.
    first_j, last_j = later[0].energy_j or 0.0, looks[-1].energy_j or 1.0
    mid = min(share, max(0.0, 1.0 - first_j / last_j))
    basis = facts.energy_j.basis if facts.energy_j else "modelled"
    return Advice(
        "stop-at-the-best", f"stop at the best epoch: {best:g} of {last:g}", (), Estimate(0.0, mid, share, basis),
        "energy", None, ("the best weights are kept, not the last",),
        ("seen after the fact: the next run may be best at another epoch", "evaluating each epoch takes energy too"),
        (Evidence("measured here", told, f"run {facts.id}"),),
        how,
    )  # fmt: skip


def together(advice: Sequence[Advice], limits: Limits | None = None) -> Together | None:
    """The levers of a ranking that surely keep the quality and do not rule each other out; None of fewer than two.

    Low is the largest single low: the others may add nothing. High and mid take the savings one after the other,
    1 - Π(1 - saving), as if each saved its share of what is left.
    """
    chosen: list[Advice] = []
    allowed = limits or Limits()
    most = allowed.usual_loss if allowed.max_quality_loss is None else allowed.max_quality_loss
    for one in advice:
        kept = one.quality_change is not None and one.quality_change.low >= -most
        if one.levers and kept and one.of == "energy" and not any(_clash(one, other) for other in chosen):
            chosen.append(one)
    if len(chosen) < 2:
        return None
    left_mid = left_high = 1.0
    for one in chosen:
        left_mid *= 1.0 - one.saving.mid
        left_high *= 1.0 - one.saving.high
    low = min(max(one.saving.low for one in chosen), 1.0 - left_mid)
    saving = Estimate(low, 1.0 - left_mid, max(1.0 - left_high, 1.0 - left_mid), "assumed")
    return Together(
        tuple(lever for one in chosen for lever in one.levers), saving,
        "not measured together: mid and high take the savings one after the other, as if none got in another's way; "
        "low is the largest single one; `lowcarb reduce` measures the stack",
    )  # fmt: skip


def _clash(one: Advice, other: Advice) -> bool:
    return bool({*one.levers} & {*other.conflicts} or {*other.levers} & {*one.conflicts})


def check_limits(max_quality_loss: float | None, margin: float = USUAL_LOSS) -> Limits:
    """The limits of a request, and the margin of the study that it is about.

    Raises:
        SettingError: a loss below zero.
    """
    if max_quality_loss is not None and not max_quality_loss >= 0.0:
        raise SettingError("max-quality-loss", max_quality_loss, "0 or more, in the unit of the quality")
    return Limits(max_quality_loss, margin)


def _ratio(ratio: Estimate) -> str:
    return f"×{ratio.mid:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _change(change: Estimate) -> str:
    return f"{change.mid:+.2f} ({change.low:+.2f} to {change.high:+.2f})"
