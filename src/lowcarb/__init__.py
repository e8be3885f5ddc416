"""lowcarb: the carbon footprint of training language models, before, while and after it runs."""

from __future__ import annotations

__version__ = "0.1.0"
