"""Semantic textual similarity: cosine of the sentence embeddings of all-MiniLM-L6-v2."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from lowcarb.lab.sources import minilm_folder


def minilm_similarity(a: Sequence[str], b: Sequence[str]) -> list[float]:
    """Cosine of each pair of texts, -1 to 1."""
    model = _model()
    # Answers repeat: each text is embedded once.
    texts = sorted({*a, *b}, key=len)
    rows = model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
    row = dict(zip(texts, rows, strict=True))
    return [float(row[x] @ row[y]) for x, y in zip(a, b, strict=True)]


@cache
def _model() -> Any:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  # seconds to import

    return SentenceTransformer(str(minilm_folder()), device="cpu")
