"""Levers on how a model is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lowcarb.core.levers.base import OWN, SAME, Able, Claim, Lever, assumed, recipe_with, within
from lowcarb.core.trial import Trial

PRECISIONS = ("bf16", "fp16", "fp8")
KERNELS = ("sdpa", "eager")
PADDINGS = ("dynamic-padding", "split-padding", "grouped-padding", "packing")


def _others(group: tuple[str, ...], own: str) -> tuple[str, ...]:
    return tuple(one for one in group if one != own)


def _sets(**changes: Any) -> Callable[[Trial, Any], Trial]:
    """A change without settings."""

    def change(trial: Trial, settings: Any) -> Trial:
        del settings
        return recipe_with(trial, **changes)

    return change


def _precision(name: str) -> Callable[[Able], str | None]:
    return lambda able: None if name in able.precisions else f"the device does not compute in {name}"


def _absolute(trial: Trial) -> str | None:
    if trial.arm.model.family == "t5":
        return "a T5 counts distances between tokens, also across the windows of a row"
    return None


def _padded(trial: Trial) -> str | None:
    if trial.arm.recipe.padding == "packed":
        return "the recipe packs windows: there is no padding to save"
    return None


def _whole(trial: Trial) -> str | None:
    padding = trial.arm.recipe.padding
    return None if padding in ("max", "longest") else f"the recipe pads little already ({padding})"


def _shorter(trial: Trial) -> str | None:
    padding = trial.arm.recipe.padding
    return None if padding == "max" else f"the recipe pads less than to the window's length ({padding})"


def _epochs(trial: Trial, settings: Any) -> Trial:
    asked, epochs = trial.arm.recipe.epochs, settings["epochs"]
    within("fewer-epochs", "epochs", epochs, 0.01, asked, f"above 0 and fewer than the recipe's {asked:g}")
    return recipe_with(trial, epochs=epochs)


def _batch(trial: Trial, settings: Any) -> Trial:
    within("batch", "size", settings["size"], 1, float("inf"), "at least 1")
    return recipe_with(trial, batch=settings["size"])


def _accumulation(trial: Trial, settings: Any) -> Trial:
    within("accumulation", "batches", settings["batches"], 1, float("inf"), "at least 1")
    return recipe_with(trial, accumulation=settings["batches"])


def _rate(trial: Trial, settings: Any) -> Trial:
    within("learning-rate", "rate", settings["rate"], 1e-8, 1.0, "above 0 and at most 1")
    return recipe_with(trial, learning_rate=settings["rate"])


def _schedule(trial: Trial, settings: Any) -> Trial:
    choices = ("linear", "constant")
    within("schedule", "shape", float(settings["shape"] in choices), 1, 1, " or ".join(choices))
    within("schedule", "warmup", settings["warmup"], 0.0, 0.99, "a share from 0 to below 1")
    return recipe_with(trial, schedule=settings["shape"], warmup=settings["warmup"])


def _patience(trial: Trial, settings: Any) -> Trial:
    within("early-stopping", "patience", settings["patience"], 1, float("inf"), "at least 1")
    return recipe_with(trial, patience=settings["patience"])


def _gain(trial: Trial, settings: Any) -> Trial:
    within("stop-by-gain", "points", settings["points"], 1e-3, 10_000.0, "above 0: points of held-out score")
    return recipe_with(trial, least_gain=settings["points"])


def _attention(trial: Trial, settings: Any) -> Trial:
    within("attention", "kernel", float(settings["kernel"] in KERNELS), 1, 1, " or ".join(KERNELS))
    return recipe_with(trial, attention=settings["kernel"])


RECIPE_LEVERS: tuple[Lever, ...] = (
    Lever(
        "dynamic-padding", "Pad to the longest of the batch, not to the window", _sets(padding="longest"), {},
        _others(PADDINGS, "dynamic-padding"),
        Claim(assumed(0.6, 0.74, 1.0), assumed(-0.5, 0.0, 0.5),
              f"{OWN}: 1.3 to 1.4 times cheaper than padding to 384", (OWN,)),
        ("no token of padding is computed beyond the longest window of a batch",),
        ("one long window in a batch undoes it; shapes change from step to step, so compiled kernels compile again",),
        exact=True, twin=True, needs=("a recipe that pads to the window's length",), unfit=_shorter,
    ),
    Lever(
        "split-padding", "Compute each batch in parts of like length, one optimizer step for all",
        _sets(padding="split"), {}, _others(PADDINGS, "split-padding"),
        Claim(assumed(0.2, 0.35, 0.9), assumed(-0.5, 0.0, 0.5),
              "counted: four windows of one batch that are next to each other in length pad almost as little as "
              "grouped batches do"),
        ("the batches stay the random ones, and so does each step's gradient, up to rounding: only padding goes",),
        ("small parts leave a large device idle",),
        exact=True, twin=True, needs=("windows of unequal length",), unfit=_whole,
    ),
    Lever(
        "grouped-padding", "Put windows of like length in one batch and pad to the longest", _sets(padding="grouped"),
        {}, _others(PADDINGS, "grouped-padding"),
        Claim(assumed(0.25, 0.30, 0.8), assumed(-0.5, 0.0, 0.5),
              f"{OWN}: 3.3 times cheaper than padding to 384, on paragraphs of 168 tokens on average; a study that "
              "pads to the longest has less to gain", (OWN,)),
        ("almost no padding is computed, and attention grows with the square of the length",),
        ("batches are drawn by length: they differ as between two seeds, and are less mixed",),
        exact=True, needs=("windows of unequal length",), unfit=_padded,
    ),
    Lever(
        "packing", "Put several windows in one row, each blind to the others", _sets(padding="packed"), {},
        _others(PADDINGS, "packing"),
        Claim(assumed(0.3, 0.37, 0.9), assumed(-1.0, 0.0, 1.0),
              f"{OWN}: 2.7 times cheaper than padding to 384, and dearer than grouping (3.3 times)",
              (OWN, "arXiv:2107.02027")),
        ("every row is full: each step costs the same",),
        ("attention over the whole row is computed and thrown away where no kernel skips it",
         "the model must place positions and masks by window"),
        needs=("windows shorter than a row", "a model whose attention takes a mask by block"), unfit=_absolute,
    ),
    Lever(
        "bf16", "Compute in bfloat16", _sets(precision="bf16"), {}, _others(PRECISIONS, "bf16"),
        Claim(assumed(0.45, 0.68, 1.05), assumed(-1.0, 0.0, 1.0),
              f"{OWN}: 1.39 times cheaper at 384 tokens, 1.57 with grouped batches", (OWN, "arXiv:1905.12322")),
        ("half the memory traffic of activations, and matrix units where the device has them",),
        ("rounds to 8 bits of mantissa; slower than fp32 on processors without bf16 arithmetic",),
        needs=("a device that computes in bf16",), unable=_precision("bf16"),
    ),
    Lever(
        "fp16", "Compute in half precision with a scaled loss", _sets(precision="fp16"), {},
        _others(PRECISIONS, "fp16"),
        Claim(assumed(0.35, 0.65, 1.1), assumed(-1.0, 0.0, 1.0),
              "published: mixed-precision training keeps the accuracy of fp32; the energy is a guess from bf16",
              ("arXiv:1710.03740",)),
        ("half the memory traffic, on GPUs older than bf16 too",),
        ("a narrow range: steps are lost while the loss scale is sought, and some models do not train",),
        needs=("a device that computes in fp16",), unable=_precision("fp16"),
    ),
    Lever(
        "fp8", "Multiply matrices in 8-bit floating point", _sets(precision="fp8"), {}, _others(PRECISIONS, "fp8"),
        Claim(assumed(0.3, 0.6, 1.2), None,
              "nothing measured here; the formats are published, the saving is a guess from peak rates",
              ("arXiv:2209.05433",)),
        ("twice the peak rate of 16-bit on devices that have it",),
        ("only for wide layers: casting costs more than it saves on small models", "needs scaling by tensor"),
        gpu_only=True, tried=False, needs=("a GPU with fp8 matrix units and a trainer that uses them",),
        unable=_precision("fp8"),
    ),
    Lever(
        "fused-optimizer", "Take the optimizer's step in one kernel", _sets(fused=True), {}, (),
        Claim(assumed(0.85, 0.95, 1.0), assumed(-0.2, 0.0, 0.2), f"{OWN}: 1.05 times cheaper on grouped batches",
              (OWN,)),
        ("parameters and their moments are read once a step",),
        ("not every device and optimizer has one",),
        exact=True, twin=True,
    ),
    Lever(
        "checkpointing", "Compute activations anew in the backward pass", _sets(checkpointing=True), {}, (),
        Claim(assumed(1.15, 1.33, 1.5), assumed(-0.2, 0.0, 0.2),
              "counted: a second forward pass beside one forward and a backward of twice its work",
              ("arXiv:1604.06174",)),
        ("less memory: a job fits a smaller device, or a larger batch fits",),
        ("trades energy for memory: it costs about a third more, and pays only where the memory does",),
        exact=True, needs=("memory that is short",),
    ),
    Lever(
        "batch", "Another number of questions a step", _batch, {"size": (4, 2, 8, 16, 32)}, (),
        Claim(assumed(0.9, 1.25, 1.6), assumed(-3.0, 4.0, 12.0),
              f"{OWN}: at 4 in place of 16 a question costs about 1.25 times as much, and four times the steps raised "
              "F1 where steps were short (39.7 after one epoch, 35.1 after three at 16)", (OWN,)),
        ("a smaller one takes more steps for the same questions: short trainings learn more of them",
         "a larger one keeps a large device busy"),
        ("a smaller one leaves a large device idle and its gradients are noisier",
         "the best learning rate changes with it"),
    ),
    Lever(
        "accumulation", "Several batches to one optimizer step", _accumulation, {"batches": (2, 4, 8)}, (),
        Claim(assumed(0.8, 0.97, 1.1), None, "counted: as many forward and backward passes, fewer optimizer steps"),
        ("the memory of a small batch with the gradient of a large one", "fewer optimizer steps"),
        ("short trainings lack steps already: quality may fall", "the best learning rate changes with it"),
    ),
    Lever(
        "learning-rate", "Another learning rate", _rate, {"rate": (1.5e-4, 1e-4, 2e-4, 3e-4, 5e-5)}, (),
        Claim(SAME, assumed(-10.0, 3.6, 10.0),
              f"{OWN}: F1 38.7 at 1.5e-4 with linear decay, 35.1 at a constant 5e-5", (OWN,)),
        ("costs nothing; lets a training reach the same quality in fewer steps",),
        ("too high a rate diverges on some seeds", "finding it costs trainings"),
    ),
    Lever(
        "schedule", "Another course of the learning rate", _schedule,
        {"shape": ("constant", "linear"), "warmup": (0.1, 0.0)}, (),
        Claim(SAME, assumed(-10.0, 0.0, 10.0),
              "studies/LOG.md: of 240 steps on one seed, constant 44.8 and linear 34.9; noise is as large", (OWN,)),
        ("costs nothing; a constant rate learns longer in a short training",),
        ("what suits a short training may not suit a long one",),
    ),
    Lever(
        "fewer-epochs", "Fewer passes over the questions", _epochs, {"epochs": (1.0, 2.0, 0.5, 1.5)}, (),
        Claim(assumed(0.3, 0.34, 0.7), None, "counted for one epoch in place of three: energy goes with the steps"),
        ("saves in proportion, on every device",),
        ("quality falls where the training is short of steps already",),
        needs=("a recipe of more epochs",),
    ),
    Lever(
        "early-stopping", "Stop when held-out questions gain nothing more", _patience, {"patience": (2, 1, 3)}, (),
        Claim(assumed(0.4, 0.85, 1.15), assumed(-4.0, -0.5, 2.0),
              "nothing measured: it depends on how much too long the recipe trains"),
        ("stops a training that has nothing more to learn",),
        ("looking costs energy, and a tenth of the questions is kept back from training",
         "a learning rate that decays over the full length has not yet come down"),
    ),
    Lever(
        "stop-by-gain", "Stop when the next joules are predicted to gain too little", _gain,
        {"points": (10.0, 5.0, 20.0)}, (),
        Claim(assumed(0.4, 0.85, 1.15), assumed(-6.0, -1.0, 2.0),
              "nothing measured: it depends on how much too long the recipe trains"),
        ("says what quality a joule must bring: points of held-out score for a whole training's energy",
         "stops a training that still gains, but too slowly to be worth it"),
        ("looking costs energy, and a tenth of the questions is kept back from training",
         "a training that begins to learn late looks like one that has learnt all; none is stopped in its first epoch",
         "a learning rate that decays over the full length has not yet come down"),
    ),
    Lever(
        "no-dropout", "Train without dropout", _sets(dropout=0.0), {}, (),
        Claim(assumed(0.5, 0.72, 0.95), assumed(-3.0, 2.0, 9.0),
              f"{OWN}: 1.6 to 1.8 times cheaper at 384 tokens, 1.22 with grouped batches in bf16; F1 19.3 against 11.0 "
              "after 63 steps", (OWN,)),
        ("no random numbers for every attention weight; a short training learns faster",),
        ("a long training on few questions overfits sooner",),
    ),
    Lever(
        "compile", "Compile kernels before the first step", _sets(compile=True), {}, (),
        Claim(assumed(0.6, 1.28, 3.0), assumed(-0.2, 0.0, 0.2),
              f"{OWN}: 38 to 50 CPU seconds to compile, then 1.28 times dearer than without, on batches of changing "
              "shape",
              (OWN,)),
        ("fewer passes over memory in long trainings on a GPU",),
        ("compiling costs energy first, again for every new shape: short trainings never earn it back",),
        exact=True, needs=("a compiler", "batches of few shapes"),
        unable=lambda able: None if able.compile else "there is no compiler on the device",
    ),
    Lever(
        "keep-memory", "Keep memory that is freed, in place of asking the kernel for it again",
        _sets(keep_memory=True), {}, (),
        Claim(assumed(0.5, 0.65, 1.0), assumed(0.0, 0.0, 0.0),
              f"{OWN}: 1.3 to 1.9 times cheaper in fp32 at batch 16 of 384 tokens, as nearly all of the kernel's time "
              "goes; no difference at batch 4 of 220 tokens, nor in bf16 with short windows", (OWN,)),
        ("the kernel no longer zeroes the same pages in every step; not one number of the training changes",),
        ("what is freed goes back to the system only when the training ends: 4.6 GB resident in place of 4.1",
         "of use to the program's main thread only, and where tensors are of many megabytes",
         "glibc stops to fit its thresholds to the program for the rest of its life: they stay at its highest ones"),
        exact=True, twin=True, needs=("a training on a processor", "glibc's malloc, on 64-bit Linux"),
        unable=lambda able: None if able.keep_memory else "there is no glibc malloc, or the training is on a GPU",
    ),
    Lever(
        "attention", "Attention in one kernel, or step by step", _attention, {"kernel": KERNELS}, (),
        Claim(assumed(0.6, 0.9, 1.05), assumed(-0.2, 0.0, 0.2),
              "published: FlashAttention trains BERT-large at 512 tokens in 15 % less time than the MLPerf 1.1 record, "
              "on A100. Seen here: on a processor in bf16, step by step (eager) is 1.3 times cheaper than sdpa at 180 "
              "tokens", ("arXiv:2205.14135", OWN)),
        ("on a GPU the matrix of attention weights is never written to memory",
         "on a processor a small matrix is cheaper written than computed in blocks"),
        ("which is cheaper depends on the device and the length: a few steps of each tell",
         "eager takes memory with the square of the length; sdpa gives no attention weights to read"),
        exact=True, twin=True, needs=("a recipe with the other kernel",),
    ),
)  # fmt: skip
