"""`Study` → trials: paired seeds, randomised order."""

from __future__ import annotations

import random

from lowcarb.core.trial import Study, Trial


def design(study: Study, *, data_digest: str, machine: str) -> tuple[Trial, ...]:
    """The trials of a study in the order to run them.

    One block a seed, each with every arm in an order of its own, drawn from the study's id: whatever drifts over the
    hours (heat, neighbours on a shared host) meets all arms alike, and a study that is cut short leaves whole pairs.
    """
    trials = []
    for seed in study.seeds:
        arms = list(study.arms)
        random.Random(f"{study.id}/{seed}").shuffle(arms)  # noqa: S311  # an order, not a secret
        trials += [Trial(study.id, arm, study.data, data_digest, seed, machine, study.threads) for arm in arms]
    return tuple(trials)
