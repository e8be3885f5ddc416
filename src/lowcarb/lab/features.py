"""Questions → windows of tokens → padded batches; and back from token positions to text.

Order is drawn over questions, not windows, from the seed and the epoch alone: two arms with different tokenizers see
the same questions in the same order, which is what makes their trials a pair.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from lowcarb.core.trial import Recipe
from lowcarb.lab.data import Question

IGNORED = -100
"""Label that the loss leaves out, by PyTorch's convention."""
SPLIT_WINDOWS = 4
"""Windows of a part, where a batch is computed in parts: fewer would pad less and keep the processor less busy."""
GROUP_BATCHES = 16
"""Batches of like length are drawn from so many batches of random order: enough to pad little, few enough to stay
random."""


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a question with its paragraph, in tokens."""

    question: int
    """Number of the question in its set."""
    ids: list[int]
    types: list[int]
    offsets: list[tuple[int, int] | None]
    """Characters of the paragraph that each token covers; None for what is not paragraph."""
    start: int
    """Token of the answer's start; 0 where the window does not hold it."""
    end: int
    labels: list[int]
    """Target tokens of a generative model; empty for an extractive one."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Where the windows of a packed batch lie, and their answers."""

    places: torch.Tensor
    """Shape (windows, longest window): number of each token in the flattened batch; -1 beyond a window's end."""
    starts: torch.Tensor
    """Shape (windows,): the answer's first token, counted from its window's start."""
    ends: torch.Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows padded to one length, or packed into rows of one length."""

    tensors: dict[str, torch.Tensor]
    real_tokens: int
    length: int
    target_length: int
    packed: Packed | None = None

    @property
    def size(self) -> int:
        """Rows of the batch."""
        return int(self.tensors["input_ids"].shape[0])

    @property
    def windows(self) -> int:
        """Windows in the batch: more than rows where it is packed."""
        return self.size if self.packed is None else len(self.packed.starts)


def extractive_windows(
    questions: Sequence[Question], tokenizer: PreTrainedTokenizerBase, length: int, stride: int
) -> list[Window]:
    """Windows of question and paragraph, overlapping by `stride` tokens where a paragraph is long."""
    encoded = tokenizer(
        [q.text.strip() for q in questions],
        [q.paragraph for q in questions],
        truncation="only_second",
        max_length=length,
        stride=min(stride, length // 2),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    windows = []
    for row, number in enumerate(encoded["overflow_to_sample_mapping"]):
        parts = encoded.sequence_ids(row)
        offsets = [
            tuple(o) if part == 1 else None for o, part in zip(encoded["offset_mapping"][row], parts, strict=True)
        ]
        question = questions[number]
        start, end = _token_span(offsets, question.starts[0], question.starts[0] + len(question.answers[0]))
        windows.append(
            Window(number, encoded["input_ids"][row], encoded["token_type_ids"][row], offsets, start, end, [])
        )
    return windows


def _token_span(offsets: Sequence[tuple[int, int] | None], first: int, last: int) -> tuple[int, int]:
    """First and last token of the characters from `first` to before `last`; (0, 0) where some are not in the window."""
    start = end = 0
    for index, span in enumerate(offsets):
        if span is None or span[0] == span[1]:
            continue
        if span[0] <= first < span[1]:
            start = index
        if span[0] < last <= span[1]:
            end = index
    return (start, end) if start and end and start <= end else (0, 0)


def generative_windows(
    questions: Sequence[Question], tokenizer: PreTrainedTokenizerBase, length: int, answer_tokens: int
) -> list[Window]:
    """One window a question, in the text-to-text form of T5 (Raffel et al. 2020, JMLR 21, appendix D.15)."""
    inputs = tokenizer(
        [f"question: {q.text.strip()} context: {q.paragraph}" for q in questions], truncation=True, max_length=length
    )["input_ids"]
    targets = tokenizer([q.answers[0] for q in questions], truncation=True, max_length=answer_tokens)["input_ids"]
    return [
        Window(number, ids, [], [], 0, 0, target)
        for number, (ids, target) in enumerate(zip(inputs, targets, strict=True))
    ]


def padded(windows: Sequence[Window], pad_id: int, length: int | None = None) -> Batch:
    """The windows as one batch, padded to the longest of them or to a given length."""
    longest = length or max(len(w.ids) for w in windows)
    tensors = {
        "input_ids": torch.tensor([w.ids + [pad_id] * (longest - len(w.ids)) for w in windows]),
        "attention_mask": torch.tensor([[1] * len(w.ids) + [0] * (longest - len(w.ids)) for w in windows]),
    }
    target_length = 0
    if windows[0].labels:
        target_length = max(len(w.labels) for w in windows)
        tensors["labels"] = torch.tensor([w.labels + [IGNORED] * (target_length - len(w.labels)) for w in windows])
    else:
        tensors["token_type_ids"] = torch.tensor([w.types + [0] * (longest - len(w.types)) for w in windows])
        tensors["start_positions"] = torch.tensor([w.start for w in windows])
        tensors["end_positions"] = torch.tensor([w.end for w in windows])
    return Batch(tensors, sum(len(w.ids) for w in windows), longest, target_length)


def packed(windows: Sequence[Window], pad_id: int, length: int) -> Batch:
    """The windows in as few rows as first-fit finds, each window blind to the others of its row.

    The attention mask is boolean of shape (rows, 1, tokens, tokens), True where a token may look; positions start
    anew in each window. Padding looks at padding, so that no token is blind to all.

    Args:
        windows: extractive ones.
        pad_id: token of the padding.
        length: no row is longer, unless one window is [tokens].
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for number in sorted(range(len(windows)), key=lambda n: -len(windows[n].ids)):
        size = len(windows[number].ids)
        place = next((r for r, room in enumerate(free) if room >= size), len(rows))
        if place == len(rows):
            rows.append([])
            free.append(length)
        rows[place].append(number)
        free[place] -= size
    longest = max(sum(len(windows[n].ids) for n in row) for row in rows)
    shape = (len(rows), longest)
    ids, types = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.long)
    positions, owner = torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
    places = torch.full((len(windows), max(len(w.ids) for w in windows)), -1)
    for r, row in enumerate(rows):
        first = 0
        for n in row:
            size = len(windows[n].ids)
            span = slice(first, first + size)
            ids[r, span], types[r, span] = torch.tensor(windows[n].ids), torch.tensor(windows[n].types)
            positions[r, span], owner[r, span] = torch.arange(size), n
            places[n, :size] = r * longest + first + torch.arange(size)
            first += size
    tensors = {
        "input_ids": ids,
        "token_type_ids": types,
        "position_ids": positions,
        "attention_mask": (owner[:, :, None] == owner[:, None, :])[:, None],
    }
    where = Packed(places, torch.tensor([w.start for w in windows]), torch.tensor([w.end for w in windows]))
    return Batch(tensors, sum(len(w.ids) for w in windows), longest, 0, where)


def epoch_batches(
    windows: Sequence[Window], questions: Sequence[Question], recipe: Recipe, pad_id: int, *, seed: int, epoch: int
) -> Iterator[tuple[Batch, ...]]:
    """One epoch in the order that seed and epoch draw, padded as the recipe says; each batch in one part or several."""
    rng = random.Random(f"{seed}/{epoch}")  # noqa: S311  # an order, not a secret
    order = list(range(len(questions)))
    rng.shuffle(order)
    rank = {number: place for place, number in enumerate(order)}
    ordered = sorted(windows, key=lambda window: rank[window.question])
    size = recipe.batch
    batches = [ordered[first : first + size] for first in range(0, len(ordered), size)]
    if recipe.padding == "grouped":
        batches = _grouped(ordered, questions, size, rng)
    for batch in batches:
        if recipe.padding == "packed":
            yield (packed(batch, pad_id, recipe.length),)
        elif recipe.padding == "split":
            alike = sorted(batch, key=lambda window: len(window.ids))
            yield tuple(
                padded(alike[first : first + SPLIT_WINDOWS], pad_id) for first in range(0, len(alike), SPLIT_WINDOWS)
            )
        else:
            yield (padded(batch, pad_id, recipe.length if recipe.padding == "max" else None),)


def _grouped(
    ordered: Sequence[Window], questions: Sequence[Question], size: int, rng: random.Random
) -> list[list[Window]]:
    """Batches of windows of like length, shuffled; windows come from near places in the order.

    Length is counted in words of the question, so that every tokenizer gets the same order.
    """
    words = [len(one.text.split()) + len(one.paragraph.split()) for one in questions]
    pool = size * GROUP_BATCHES
    near = [
        window
        for first in range(0, len(ordered), pool)
        for window in sorted(ordered[first : first + pool], key=lambda window: words[window.question])
    ]
    batches = [near[first : first + size] for first in range(0, len(near), size)]
    rng.shuffle(batches)
    return batches
