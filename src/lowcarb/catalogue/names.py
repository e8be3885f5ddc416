"""Names as people and machines write them, brought to one form to look them up by."""

from __future__ import annotations

import re
import unicodedata

_NOISE = re.compile(
    r"\((?:r|tm|c)\)"  # trade marks
    r"|@.*$|\b\d+(?:\.\d+)?\s*ghz\b"  # clock
    r"|\b\w+-cores?\b|\b(?:cpu|processor)\b"
    r"|^\s*\d+(?:st|nd|rd|th) gen\b"
    r"|\bw(?:ith|/) +radeon.*$"
)


def key(name: str) -> str:
    """A name in lower case without accents, its words joined by single hyphens: `Côte d'Ivoire` is `cote-d'ivoire`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[\s_,()-]+", "-", plain.lower()).strip("-")


def cpu_key(name: str) -> str:
    """A processor's model name without what differs between sources: marks, clock, core count, generation.

    `Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz` and `Intel Xeon E5-2680v4` are both `intel xeon e5-2680 v4`.
    """
    bare = _NOISE.sub(" ", name.lower())
    spaced = re.sub(r"(?<=[\da-z])(v\d)\b", r" \1", bare)
    return " ".join(spaced.split())
