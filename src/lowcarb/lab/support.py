"""What the lab cannot do for an arm: refused by name before anything trains, never left out in silence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from importlib.util import find_spec

from lowcarb.core.levers import LEVERS, Able, parse_pulled
from lowcarb.core.trial import Arm, Recipe
from lowcarb.errors import SettingError
from lowcarb.lab.heap import why_not

COMPILERS = ("c++", "g++", "clang++", "cl")


def refusals(arm: Arm) -> list[SettingError]:
    """All of a recipe that this lab, its libraries or the model's family cannot do; empty where nothing stands out."""
    return [*_numbers(arm.recipe), *_together(arm), *_installed(arm.recipe), *_of_family(arm)]


def check_arm(arm: Arm) -> None:
    """Raises SettingError for the first thing that cannot be done."""
    for refusal in refusals(arm):
        raise refusal


def of_the_device(levers: Iterable[str]) -> list[str]:
    """Those that set the device for as long as the training lasts, and leave the recipe as it is."""
    return [text for text in levers if LEVERS[parse_pulled(text).lever].kind == "hardware"]


def able_here(*, power_limit: bool = False) -> Able:
    """What this machine can do, as levers ask for it.

    Args:
        power_limit: whether whoever runs the trials may and will set limits on its GPUs.
    """
    import torch  # noqa: PLC0415

    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    bf16 = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else True
    precisions = {"fp32"} | ({"bf16"} if bf16 else set()) | ({"fp16"} if torch.cuda.is_available() else set())
    return Able(
        frozenset(precisions), gpu=gpu, compile=True, power_limit=power_limit, adapters=find_spec("peft") is not None,
        keep_memory=_no_heap() is None,
    )  # fmt: skip


def _numbers(recipe: Recipe) -> list[SettingError]:
    found = []
    for name, least in (("accumulation", 1), ("frozen_layers", 0), ("lora_rank", 1), ("patience", 1)):
        value = getattr(recipe, name)
        if value is not None and value < least:
            found.append(SettingError(f"recipe.{name}", value, f"{least} or more"))
    if recipe.least_gain is not None and not recipe.least_gain > 0.0:
        found.append(SettingError("recipe.least_gain", recipe.least_gain, "above 0"))
    if not 0.0 < recipe.data_share <= 1.0:
        found.append(SettingError("recipe.data_share", recipe.data_share, "above 0 and at most 1"))
    return found


def _together(arm: Arm) -> list[SettingError]:
    recipe, found = arm.recipe, []
    if recipe.lora_rank is not None and (recipe.frozen_layers or recipe.frozen_embeddings):
        found.append(SettingError("recipe.lora_rank", recipe.lora_rank, "None where layers or embeddings are frozen"))
    if recipe.selection in ("diverse", "loss") and recipe.data_share == 1.0:
        found.append(SettingError("recipe.selection", recipe.selection, "random where all questions are trained on"))
    if recipe.teacher is not None and recipe.teacher != arm.model.id:
        expected = f"{arm.model.id}: a teacher is the arm's own model with all its layers"
        found.append(SettingError("recipe.teacher", recipe.teacher, expected))
    layers = arm.model.shape.layers if arm.model.shape else len(arm.model.layers) if arm.model.layers else None
    if layers is not None and recipe.frozen_layers >= layers:
        found.append(SettingError("recipe.frozen_layers", recipe.frozen_layers, f"below {layers}, the model's layers"))
    return found


def _installed(recipe: Recipe) -> list[SettingError]:
    found = []
    if recipe.precision == "fp8":
        found.append(SettingError("recipe.precision", "fp8", "fp32, bf16 or fp16: the lab has no kernels for fp8"))
    if recipe.keep_memory and (reason := _no_heap()) is not None:
        found.append(SettingError("recipe.keep_memory", recipe.keep_memory, f"false: {reason}"))
    if recipe.lora_rank is not None and find_spec("peft") is None:
        expected = "None, or the library for adapters: pip install 'lowcarb[lab]'"
        found.append(SettingError("recipe.lora_rank", recipe.lora_rank, expected))
    compiler = os.environ.get("CXX") or next(filter(None, map(shutil.which, COMPILERS)), None)
    if recipe.compile and compiler is None:
        expected = f"false, or a compiler on the path ({', '.join(COMPILERS)})"
        found.append(SettingError("recipe.compile", recipe.compile, expected))
    return found


def _no_heap() -> str | None:
    """Why memory cannot be kept in a training here, in words; None where it can."""
    import torch  # noqa: PLC0415

    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    return "the training is on a GPU, which keeps its memory by itself" if gpu else why_not()


def _of_family(arm: Arm) -> list[SettingError]:
    recipe = arm.recipe
    found: list[SettingError] = []
    if arm.model.family != "t5":
        return found
    if recipe.padding == "packed":
        expected = "max, longest or grouped: T5 counts distances between tokens, also across the windows of a row"
        found.append(SettingError("recipe.padding", "packed", expected))
    if recipe.answer_windows:
        found.append(
            SettingError("recipe.answer_windows", recipe.answer_windows, "false: T5 has one window a question")
        )
    if recipe.teacher is not None:
        found.append(SettingError("recipe.teacher", recipe.teacher, "None: soft labels are of spans, which T5 has not"))
    return found
