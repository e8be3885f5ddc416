"""Tokenizers: the model's own, another model's, or one trained on the study's text; and a swap's embeddings."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lowcarb.core.trial import ModelChoice, ModelFamily, TokenizerChoice
from lowcarb.lab.sources import pretrained_folder
from lowcarb.ledger.home import home

_log = logging.getLogger(__name__)

NATIVE_SCRATCH_VOCABULARY = 8000
"""Pieces of the native tokenizer of a model from scratch, which has none of its own: the usual least size for English
(SentencePiece's default)."""
SPECIALS: dict[str, dict[str, str]] = {
    "bert": {
        "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    },
    "t5": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
}  # fmt: skip
SPECIALS["distilbert"] = SPECIALS["bert"]


def native_tokenizer(model: ModelChoice, text: Sequence[str]) -> PreTrainedTokenizerBase:
    """The tokenizer that a model comes with; for one from scratch, its family's kind trained on the study's text."""
    if model.from_scratch:
        kind = "unigram" if model.family == "t5" else "wordpiece"
        return trained_tokenizer(kind, model.family, text, NATIVE_SCRATCH_VOCABULARY)
    return AutoTokenizer.from_pretrained(pretrained_folder(model.source), use_fast=True)


def build_tokenizer(choice: TokenizerChoice, model: ModelChoice, text: Sequence[str]) -> PreTrainedTokenizerBase:
    """The tokenizer of an arm, with the special tokens and the template that the model's family expects."""
    if choice.kind == "native":
        return native_tokenizer(model, text)
    if choice.kind == "pretrained":
        foreign = AutoTokenizer.from_pretrained(pretrained_folder(choice.source or ""), use_fast=True)
        return with_template(foreign, model.family)
    return trained_tokenizer(choice.kind, model.family, text, choice.vocabulary or NATIVE_SCRATCH_VOCABULARY)


def trained_tokenizer(kind: str, family: ModelFamily, text: Iterable[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """A tokenizer trained on some text: `wordpiece` (lower case, as BERT uncased), `bpe` (byte-level) or `unigram`.

    It is kept in lowcarb's home and taken from there the next time: training one twice gives two vocabularies (the
    library breaks ties by the order of a hash table), and two trials with two vocabularies are no pair.
    """
    specials, held = SPECIALS[family], tuple(text)
    asked = json.dumps([kind, family, vocabulary, tokenizers.__version__, held])
    kept = home() / "tokenizers" / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.json"
    stored = _stored(kept)
    if stored is None:
        backend, trainer = _untrained(kind, list(specials.values()), specials["unk_token"], vocabulary)
        backend.train_from_iterator(held, trainer)
        stored = _keep(backend.to_str(), kept)
    backend = Tokenizer.from_str(stored)
    return with_template(PreTrainedTokenizerFast(tokenizer_object=backend, **specials), family)


def _stored(place: Path) -> str | None:
    """The text of a kept tokenizer; None where there is none, or what is there is damaged, which is then removed."""
    try:
        text = place.read_text(encoding="utf-8")
        json.loads(text)
    except ValueError:
        place.unlink(missing_ok=True)
        return None
    except OSError:
        return None
    return text


def _keep(text: str, place: Path) -> str:
    """Keep a tokenizer; the one that another process kept in the meantime wins. Where nothing can be kept, this one."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=place.parent, suffix=".part", delete=False) as file:
            file.write(text)
        try:
            os.link(file.name, place)
        finally:
            Path(file.name).unlink()
    except FileExistsError:
        return _stored(place) or text
    except OSError as error:
        _log.warning("the trained tokenizer cannot be kept (%s): a later trial may get another vocabulary", error)
    return text


def _untrained(kind: str, specials: list[str], unknown: str, vocabulary: int) -> tuple[Tokenizer, Any]:
    if kind == "wordpiece":
        backend = Tokenizer(models.WordPiece(unk_token=unknown))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece()
        return backend, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=specials, show_progress=False)
    if kind == "bpe":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        backend.decoder = decoders.ByteLevel()
        return backend, trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=specials, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return backend, trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=specials, show_progress=False, unk_token=unknown
    )


def with_template(tokenizer: PreTrainedTokenizerBase, family: ModelFamily) -> PreTrainedTokenizerBase:
    """The tokenizer with the special tokens of a family, framing single texts and pairs as its models expect."""
    wanted = {name: token for name, token in SPECIALS[family].items() if getattr(tokenizer, name) is None}
    if wanted:
        tokenizer.add_special_tokens(wanted)
    backend = tokenizer.backend_tokenizer
    if family == "t5":
        end = tokenizer.eos_token
        single, pair, used = f"$A {end}", f"$A {end} $B {end}", [end]
    else:
        cls, sep = tokenizer.cls_token, tokenizer.sep_token
        single, pair, used = f"{cls} $A {sep}", f"{cls} $A {sep} $B:1 {sep}:1", [cls, sep]
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in used]
    )
    return tokenizer


def fertility(tokenizer: PreTrainedTokenizerBase, text: Sequence[str]) -> float:
    """Tokens per word (white space parts words) over some text, special tokens left out."""
    tokens = sum(len(ids) for ids in tokenizer(list(text), add_special_tokens=False)["input_ids"])
    return tokens / sum(len(part.split()) for part in text)


def same_vocabulary(a: PreTrainedTokenizerBase, b: PreTrainedTokenizerBase) -> bool:
    """Whether both give every token the same id: then a swap between them changes nothing but names."""
    return bool(a.get_vocab() == b.get_vocab())


@dataclass(frozen=True, slots=True)
class Remap:
    """How the embeddings of a new vocabulary came about: shares of its tokens, adding up to one."""

    copied: float
    """Took the row of the same string at the same place in a word."""
    averaged: float
    """Took the mean of the rows of the old tokenizer's pieces."""
    fresh: float
    """Took the mean of all rows: the old tokenizer has no pieces for them."""


def remapped(
    rows: torch.Tensor, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase
) -> tuple[torch.Tensor, Remap]:
    """Embeddings [new vocabulary × width] for another tokenizer, from the old one's. No id meets a foreign row."""
    known = old.get_vocab()
    special = {getattr(new, name): getattr(old, name) for name in SPECIALS["bert"] | SPECIALS["t5"]}
    mean = rows[: len(known)].mean(dim=0)
    result = mean.repeat(len(new), 1)
    counts = {"copied": 0, "averaged": 0, "fresh": 0}
    for token, index in new.get_vocab().items():
        surface, starts_word = _surface(token, new)
        counterpart = special.get(token) if token in new.all_special_tokens else _spelt(surface, starts_word, old)
        if counterpart is not None and counterpart in known:
            result[index] = rows[known[counterpart]]
            counts["copied"] += 1
            continue
        pieces = old(surface, add_special_tokens=False)["input_ids"] if surface.strip() else []
        pieces = [piece for piece in pieces if piece != old.unk_token_id]
        if pieces and token not in new.all_special_tokens:
            result[index] = rows[pieces].mean(dim=0)
            counts["averaged"] += 1
        else:
            counts["fresh"] += 1
    size = len(new.get_vocab())
    return result, Remap(**{name: count / size for name, count in counts.items()})


def _kind(tokenizer: PreTrainedTokenizerBase) -> str:
    return type(tokenizer.backend_tokenizer.model).__name__


def _surface(token: str, tokenizer: PreTrainedTokenizerBase) -> tuple[str, bool]:
    """What a token stands for in the text, and whether a word starts with it."""
    if _kind(tokenizer) == "WordPiece":
        return token.removeprefix("##"), not token.startswith("##")
    text = tokenizer.backend_tokenizer.decoder.decode(["x", token])[1:]
    return text.strip(), text.startswith(" ")


def _spelt(surface: str, starts_word: bool, tokenizer: PreTrainedTokenizerBase) -> str | None:  # noqa: FBT001
    """How a tokenizer writes a piece of text as one token, if it has one."""
    if not surface:
        return None
    kind = _kind(tokenizer)
    if kind == "WordPiece":
        normalizer = tokenizer.backend_tokenizer.normalizer
        text = normalizer.normalize_str(surface) if normalizer is not None else surface
        return text if starts_word else f"##{text}"
    marker = "▁" if kind == "Unigram" else "Ġ"
    return f"{marker}{surface}" if starts_word else surface
