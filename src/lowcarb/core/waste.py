"""What a run spent on nothing, by what is known of it, and what is not known of it.

Each figure follows from the run's own record. Where a rule of thumb enters, the constant says so and the figure is
`modelled` or `assumed`. What the record does not tell is not guessed: it is left out, or named as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lowcarb.core.estimate import Estimate, total
from lowcarb.core.units import PERCENT

WORTH_NAMING = 0.02
"""Smaller shares are not named. `assumed`."""
BUSY_LOW, BUSY_MID, BUSY_HIGH = 0.65, 0.88, 0.97
"""Power of a busy GPU over its rated power, as `lowcarb.core.contrast` has it from Zeus (NSDI 2023)."""
IDLE_LOW, IDLE_HIGH = 0.05, 0.25
"""Idle power over rated power of a GPU whose idle power is unknown. `assumed`."""
IDLE_CERTAIN = 0.05
"""Idle time is named where at least this share of it is certain. `assumed`."""
ONE_THREAD = 0.8
"""Processor seconds per second from which one thread is at work nearly all the time. `assumed`."""
THREADS_BUSY = 0.6
"""A training on processors that uses less of its threads than this is waiting for something. `assumed`."""


@dataclass(frozen=True, slots=True)
class Look:
    """One evaluation during a training."""

    epoch: float
    quality: float
    """Higher is better: a loss comes with its sign turned."""
    energy_j: float | None
    """Of the run until then [J]."""


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt that no result rests on."""

    status: str
    energy_j: Estimate | None


@dataclass(frozen=True, slots=True)
class Cards:
    """The accelerators of a training."""

    device: str
    count: float
    mean_w: float
    """Of one of them, while training [W]."""
    rated_w: float | None
    idle_w: float | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a ledger tells of a run. Unknown is None, or empty."""

    id: str
    name: str
    energy_j: Estimate | None = None
    """Of the attempt that the result rests on [J]."""
    train_j: Estimate | None = None
    """Of its training phase [J]."""
    kept: bool = True
    """Whether that attempt gave a result; else it is among the lost ones too."""
    lost: tuple[Lost, ...] = ()
    tokens: float | None = None
    """That the training computed, padding included."""
    real_tokens: float | None = None
    """Of those, the ones that are text."""
    train_wall_s: float | None = None
    train_cpu_s: float | None = None
    threads: int | None = None
    """That the training could use."""
    cards: Cards | None = None
    looks: tuple[Look, ...] = ()
    site_declared: bool = True
    processor_sensor: str | None = None
    """What the processor was read by; None where nothing did."""
    processor_basis: str | None = None

    @property
    def padding(self) -> float | None:
        """Share of the computed tokens that are padding."""
        if not self.tokens or self.real_tokens is None:
            return None
        return min(1.0, max(0.0, 1.0 - self.real_tokens / self.tokens))


@dataclass(frozen=True, slots=True)
class Waste:
    """Something that a run spent on nothing, or (`unknown`) something that its record does not tell."""

    id: str
    kind: Literal["waste", "unknown"]
    title: str
    share: Estimate | None
    """Of what `of` says; None where it is not known."""
    of: str
    why: str
    remedy: str

    def as_dict(self) -> dict[str, object]:
        """The JSON form, by field name."""
        share = self.share.as_dict() if self.share else None
        return {name: getattr(self, name) for name in self.__slots__} | {"share": share}


def wastes(facts: RunFacts) -> tuple[Waste, ...]:
    """All that was wasted, the largest share first, and then what is unknown."""
    found = [*_padding(facts), *_lost(facts), *_after_the_best(facts), *_idle_cards(facts), *_idle_threads(facts)]
    sized = sorted(found, key=lambda one: -one.share.mid if one.share else 0.0)
    return (*sized, *_unknown(facts))


def after_the_best(facts: RunFacts) -> tuple[float, float, float] | None:
    """Epoch of the best look, epoch of the last, and the share of the run's energy that came after the best.

    None where fewer than two looks are known, or their energies are not.
    """
    looks = sorted(facts.looks, key=lambda look: look.epoch)
    if len(looks) < 2:
        return None
    best, last = max(looks, key=lambda look: look.quality), looks[-1]
    if best.energy_j is None or not last.energy_j:
        return None
    return best.epoch, last.epoch, max(0.0, 1.0 - best.energy_j / last.energy_j)


def _padding(facts: RunFacts) -> Iterator[Waste]:
    share = facts.padding
    if share is not None and share >= WORTH_NAMING:
        yield Waste(
            "padding", "waste", f"{_percent(share)} of the tokens were padding", Estimate.exact(share), "tokens",
            f"{facts.real_tokens:.0f} of {facts.tokens:.0f} computed tokens were text",
            "pad to the longest of each batch, with batches of like length",
        )  # fmt: skip


LOST_REMEDY = {
    "out_of_memory": "see what fits with `lowcarb forecast` before it starts; a smaller batch with accumulation",
    "diverged": "a lower learning rate or a warm-up; stop at the first loss that is not a number",
    "interrupted": "save checkpoints and go on from the last (resume_from_checkpoint=True, `lowcarb study run` again)",
    "over_budget": "ask `lowcarb forecast` for the cost before it starts, and go on from the checkpoint",
}


def _lost(facts: RunFacts) -> Iterator[Waste]:
    if not facts.lost:
        return
    counts: dict[str, int] = {}
    for one in facts.lost:
        counts[one.status] = counts.get(one.status, 0) + 1
    told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(counts.items()))
    known = [one.energy_j for one in facts.lost if one.energy_j is not None]
    share = None
    if known:
        spent = total(known)
        whole = total([*known, *([facts.energy_j] if facts.energy_j and facts.kept else [])])
        if whole.mid > 0:
            share = Estimate.exact(spent.mid / whole.mid, spent.basis)
    unknown = len(facts.lost) - len(known)
    beside = f"; the energy of {unknown} is unknown" if unknown else ""
    remedies = [LOST_REMEDY.get(status, "try it on a few steps first: max_steps") for status in sorted(counts)]
    yield Waste(
        "lost-attempts", "waste", f"attempts without a result: {told}", share, "energy of all attempts",
        f"{sum(one.mid for one in known):.3g} J were spent on them{beside}", "; ".join(dict.fromkeys(remedies)),
    )  # fmt: skip


def _after_the_best(facts: RunFacts) -> Iterator[Waste]:
    found = after_the_best(facts)
    if found is None or found[2] < WORTH_NAMING:
        return
    best, last, share = found
    yield Waste(
        "after-the-best", "waste", f"trained to epoch {last:g}, and was best at epoch {best:g}",
        Estimate.exact(share, facts.energy_j.basis if facts.energy_j else "modelled"), "energy of the run",
        "by the evaluations that the run itself made", "stop early, with the patience that your noise asks for",
    )  # fmt: skip


def idle_share(cards: Cards) -> Estimate | None:
    """Share of the time in which accelerators idled, by their mean power; None where their rated power is unknown.

    mean = idle + (1 - share) × (busy - idle), with busy power as a share of rated power.
    """
    if not cards.rated_w:
        return None
    rated_w = cards.rated_w
    idle_w = (cards.idle_w, cards.idle_w) if cards.idle_w else (IDLE_LOW * rated_w, IDLE_HIGH * rated_w)

    def share(busy: float, floor_w: float) -> float:
        top_w = busy * rated_w
        return min(1.0, max(0.0, (top_w - cards.mean_w) / (top_w - floor_w))) if top_w > floor_w else 0.0

    every = [share(busy, floor_w) for busy in (BUSY_LOW, BUSY_MID, BUSY_HIGH) for floor_w in idle_w]
    middle = share(BUSY_MID, sum(idle_w) / 2.0)
    return Estimate(min(*every, middle), middle, max(*every, middle), "modelled")


def _idle_cards(facts: RunFacts) -> Iterator[Waste]:
    cards = facts.cards
    share = idle_share(cards) if cards else None
    if cards is None or share is None or share.low < IDLE_CERTAIN:
        return
    busy = facts.train_cpu_s / facts.train_wall_s if facts.train_cpu_s is not None and facts.train_wall_s else None
    why = f"{cards.mean_w:.0f} W on the mean of {cards.rated_w:.0f} W rated ({cards.device}); read from power alone"
    yield Waste(
        "idle-gpu", "waste", f"accelerators idled about {_percent(share.mid)} of the training", share, "training time",
        why, "larger batches, more workers that load data, or a smaller device",
    )  # fmt: skip
    if busy is not None and busy >= ONE_THREAD * max(1.0, cards.count):
        yield Waste(
            "data-stall", "waste", "data loading probably holds the accelerators up", None, "training time",
            f"{busy:.1f} processor seconds a second while they wait", "dataloader_num_workers=4, or tokenise beforehand"
        )  # fmt: skip


def _idle_threads(facts: RunFacts) -> Iterator[Waste]:
    if facts.cards is not None or not facts.threads or not facts.train_wall_s or facts.train_cpu_s is None:
        return
    used = facts.train_cpu_s / facts.train_wall_s / facts.threads
    if used < THREADS_BUSY:
        yield Waste(
            "idle-processor", "waste", f"{_percent(max(0.0, 1.0 - used))} of the processor's threads stood still",
            Estimate.exact(min(1.0, max(0.0, 1.0 - used))), "thread time",
            f"{facts.train_cpu_s / facts.train_wall_s:.1f} of {facts.threads} threads at work: data loading, small "
            "batches, or other programs on the machine",
            "load data in workers beside the training, larger batches, or fewer threads and a second job",
        )  # fmt: skip


def _unknown(facts: RunFacts) -> Iterator[Waste]:
    if facts.energy_j is None:
        yield Waste(
            "no-energy", "unknown", "its energy is not known", None, "energy", "nothing was metered, or it still runs",
            "run it under `lowcarb track`; `lowcarb doctor` says what can be measured here",
        )  # fmt: skip
    if not facts.site_declared:
        yield Waste(
            "unknown-site", "unknown", "nobody said where it ran", None, "carbon",
            "a world average with a wide interval stands in",
            "give --site, such as --site fra",
        )  # fmt: skip
    if facts.energy_j is not None and facts.processor_sensor is None:
        yield Waste(
            "no-processor", "unknown", "the processor's share is not known", None, "energy",
            "nothing read the processor, so its energy is missing in all figures", "`lowcarb doctor` names the remedy",
        )  # fmt: skip
    elif facts.processor_basis not in (None, "measured"):
        yield Waste(
            "modelled-processor", "unknown", "the processor's share is a model's", None, "energy",
            f"{facts.processor_sensor}, {facts.processor_basis}: ratios of two runs hold, the joules are wide",
            "`lowcarb doctor` says how to read the processor's counter",
        )  # fmt: skip


def shares_of(found: Sequence[Waste]) -> dict[str, float]:
    """Middle of each share that is known, by id."""
    return {one.id: one.share.mid for one in found if one.share is not None}


def _percent(share: float) -> str:
    return f"{PERCENT * share:.0f} %"
