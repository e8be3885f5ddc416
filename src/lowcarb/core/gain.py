"""What training on would bring, from the looks at held-out questions so far: when the next joules are not worth it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import median

LEAST_LOOKS = 4
"""Looks before anything is predicted: an epoch of them. A training that has not begun to learn looks like one that has
nothing more to learn. `assumed`."""
LAST_LOOKS = 5
"""Looks that a prediction goes by: earlier ones tell of an earlier stretch of the curve. `assumed`."""


def gain_to_come(looks: Sequence[tuple[float, float]]) -> float | None:
    """Points that a whole training's energy would bring, at the rate predicted for the stretch to the next look.

    The score is taken to rise with the logarithm of the energy spent, as learning curves with diminishing returns do
    over a short stretch. Its slope is the median of the slopes between all pairs of the last looks (Theil 1950, Sen
    1968), so that one lucky look does not decide. The stretch to come is as long as the last one. A curve that rises
    ever faster is predicted too low.

    Args:
        looks: energy spent until then, as a share of what the whole training takes, above 0 and rising; and the score
            in points.

    Returns:
        Points per training's worth of energy, negative where the score falls; None with fewer than `LEAST_LOOKS`.

    Raises:
        ValueError: shares that do not rise from above 0.
    """
    if any(not a < b for a, b in pairwise([0.0, *(share for share, _ in looks)])):
        raise ValueError(f"shares of energy must rise from above 0, not {[share for share, _ in looks]}")
    if len(looks) < LEAST_LOOKS:
        return None
    last = [(math.log(share), score) for share, score in looks[-LAST_LOOKS:]]
    slope = median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in combinations(last, 2))
    now, before = looks[-1][0], looks[-2][0]
    stretch = now - before
    return slope * math.log1p(stretch / now) / stretch
