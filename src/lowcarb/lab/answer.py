"""From a trained model to one answer a question."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lowcarb.core.trial import Inference
from lowcarb.lab.data import Question
from lowcarb.lab.features import Window, extractive_windows, generative_windows, padded

LABELS = ("start_positions", "end_positions", "labels")


def answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], inference: Inference
) -> list[str]:
    """The model's answer to each question; empty where it finds none."""
    model.eval()
    read_out = _generated if model.config.is_encoder_decoder else _extracted
    with torch.inference_mode():
        return read_out(model, tokenizer, questions, inference)


def _extracted(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], inference: Inference
) -> list[str]:
    """Spans of the paragraph: the best pair of start and end over all windows of a question."""
    windows = extractive_windows(questions, tokenizer, inference.length, inference.stride)
    best: dict[int, tuple[float, str]] = {}
    for batch in _by_length(windows, inference.batch):
        tensors = padded(batch, tokenizer.pad_token_id)
        output = model(**_inputs(model, tensors.tensors))
        for window, start, end in zip(batch, output.start_logits.cpu(), output.end_logits.cpu(), strict=True):
            value, text = _best_span(window, start, end, questions[window.question].paragraph, inference.answer_tokens)
            if window.question not in best or value > best[window.question][0]:
                best[window.question] = (value, text)
    return [best.get(number, (0.0, ""))[1] for number in range(len(questions))]


def _best_span(
    window: Window, start: torch.Tensor, end: torch.Tensor, paragraph: str, longest: int
) -> tuple[float, str]:
    """Highest sum of start and end logits over spans of the paragraph that are not too long, and its text."""
    inside = torch.tensor([span is not None for span in window.offsets])
    size = len(window.offsets)
    outside = ~inside
    starts = start[:size].float().masked_fill(outside, -torch.inf)
    ends = end[:size].float().masked_fill(outside, -torch.inf)
    sums = starts[:, None] + ends[None, :]
    allowed = torch.ones(size, size, dtype=torch.bool).triu().tril(longest - 1)
    flat = int(sums.masked_fill(~allowed, -torch.inf).argmax())
    first, last = window.offsets[flat // size], window.offsets[flat % size]
    if first is None or last is None:
        return float("-inf"), ""
    return float(sums[flat // size, flat % size]), paragraph[first[0] : last[1]].strip()


def _generated(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], inference: Inference
) -> list[str]:
    """Text that the model writes, greedily."""
    windows = generative_windows(questions, tokenizer, inference.length, inference.answer_tokens)
    found = [""] * len(questions)
    for batch in _by_length(windows, inference.batch):
        tensors = padded(batch, tokenizer.pad_token_id).tensors
        written = model.generate(
            **_inputs(model, tensors), max_new_tokens=inference.answer_tokens, do_sample=False, num_beams=1
        )
        for window, text in zip(batch, tokenizer.batch_decode(written, skip_special_tokens=True), strict=True):
            found[window.question] = text.strip()
    return found


def _inputs(model: PreTrainedModel, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    device = next(model.parameters()).device
    kept = {name: tensor for name, tensor in tensors.items() if name not in LABELS}
    if model.config.model_type != "bert":
        kept.pop("token_type_ids", None)
    return {name: tensor.to(device) for name, tensor in kept.items()}


def _by_length(windows: Sequence[Window], batch: int) -> list[list[Window]]:
    """Batches of like length: the same answers for less padding."""
    ordered = sorted(windows, key=lambda window: len(window.ids))
    return [ordered[first : first + batch] for first in range(0, len(ordered), batch)]
