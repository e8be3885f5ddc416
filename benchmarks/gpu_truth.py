"""How well the meter's energy of a real GPU agrees with NVML's own counter, while language models are trained on it.

    PYTHONPATH=src python benchmarks/gpu_truth.py [--seconds 30] [--models bert,distilbert,t5] [--precisions bf16,fp32]
                                                  [--windows constant,bursty,blocks] [--batch 32] [--sequence 384]
                                                  [--out FOLDER] [--dry]

Needs one NVIDIA GPU, torch, transformers, nvidia-ml-py and psutil, and no network: the models are BERT-base,
DistilBERT-base and T5-base with random weights from their configurations, on random tokens; the loss is that of
question answering (start and end of a span), for T5 that of a language model. Steps are real training steps (AdamW),
in bf16 by autocast or in fp32. With the defaults it takes about nine minutes.

Each window is a phase of one run under `lowcarb.track`, with journal and ledger in a temporary folder. Beside it,
what the meter knows nothing of:

- `counter`: NVML's energy counter, watched every 5 ms by a process of its own, which notes each value when it appears;
  between two values the energy is taken to grow evenly, so a window's ends are as sharp as the counter allows;
- `ends`: the same counter, read once at each end of the window by the training program itself;
- `power`: NVML's power, asked for 20 times a second by that other process, and summed up by the trapezoid rule.

Windows: `constant`, training for so many seconds after warm-up; `bursty`, spikes of 2 to 3 s with pauses of 1 to 3 s;
`blocks`, short ones of 0.2, 0.5, 1 and 2 s, five each, with pauses (for the first model and precision only); and
`unmetered`, constant without the meter, for its cost in throughput (likewise).

All counters rest on the board's own sensor, which NVIDIA rates at 5 %: agreement is no proof against a wattmeter.
Writes benchmarks/results/gpu/<gpu>-<date>.json and prints a table. `--dry` trains tiny models on the processor, for a
smoke test; it compares only if there is an NVML, and writes to a temporary folder unless --out is given. Exits with 1
where there is no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

RESULTS = Path(__file__).parent / "results" / "gpu"
MODELS = ("bert", "distilbert", "t5")
PRECISIONS = ("bf16", "fp32")
WINDOWS = ("constant", "bursty", "blocks")
NEEDED = ("torch", "transformers", "psutil", "lowcarb")
BLOCKS_S = (0.2, 0.5, 1.0, 2.0)
BLOCK_REPEATS = 5
COUNTER_EVERY_S, POWER_EVERY_S = 0.005, 0.05
WARM_UP_S = 3.0
SETTLE_S = 0.4
"""Time on both sides of a window in which the observer sees the counter move."""


# The observer: a process of its own.


def observe(uuid: str, path: Path) -> int:
    """Note counter and power of a GPU in a file until standard input is closed."""
    import pynvml  # noqa: PLC0415  # the dry run may be without

    pynvml.nvmlInit()
    handle = handle_of(pynvml, uuid)
    ended: list[str] = []
    Thread(target=lambda: ended.append(sys.stdin.read()), daemon=True).start()
    last, power_s = None, 0.0
    with path.open("w", encoding="utf-8", buffering=1) as file:
        while not ended:
            with contextlib.suppress(pynvml.NVMLError):
                energy = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
                if energy != last:
                    file.write(f"energy {time.monotonic()!r} {energy / 1e3!r}\n")
                    last = energy
            if time.monotonic() - power_s >= POWER_EVERY_S:
                power_s = time.monotonic()
                with contextlib.suppress(pynvml.NVMLError):
                    power_w = pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3
                    file.write(f"power {time.monotonic()!r} {power_w!r}\n")
                with contextlib.suppress(pynvml.NVMLError):
                    clock = pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)
                    file.write(f"clock {time.monotonic()!r} {clock}\n")
            time.sleep(COUNTER_EVERY_S)
    return 0


@dataclass
class Seen:
    """What the observer noted, by kind: times [s] and values."""

    energy: list[tuple[float, float]] = field(default_factory=list)
    power: list[tuple[float, float]] = field(default_factory=list)
    clock: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Seen:
        seen = cls()
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, at_s, value = line.split()
            getattr(seen, kind).append((float(at_s), float(value)))
        return seen

    def counter_j(self, start_s: float, end_s: float) -> float | None:
        """Energy by the counter; None where it was not seen to move on both sides."""
        first, last = self._counter_at(start_s), self._counter_at(end_s)
        return None if first is None or last is None else last - first

    def power_j(self, start_s: float, end_s: float) -> float | None:
        """Energy by the power, held at the ends."""
        inside = [one for one in self.power if start_s <= one[0] <= end_s]
        if len(inside) < 2:
            return None
        points = [(start_s, inside[0][1]), *inside, (end_s, inside[-1][1])]
        return sum(0.5 * (a[1] + b[1]) * (b[0] - a[0]) for a, b in pairwise(points))

    def mean(self, kind: str, start_s: float, end_s: float) -> float | None:
        inside = [value for at_s, value in getattr(self, kind) if start_s <= at_s <= end_s]
        return sum(inside) / len(inside) if inside else None

    def refresh_s(self) -> float | None:
        """Median time between two values of the counter."""
        steps = [b[0] - a[0] for a, b in pairwise(self.energy)]
        return median(steps) if steps else None

    def _counter_at(self, at_s: float) -> float | None:
        place = bisect_right(self.energy, (at_s, float("inf")))
        if not 0 < place < len(self.energy):
            return None
        (before_s, before_j), (after_s, after_j) = self.energy[place - 1 : place + 1]
        return before_j + (after_j - before_j) * (at_s - before_s) / (after_s - before_s)


# The training.


@dataclass
class Training:
    """A model that can be trained step by step."""

    name: str
    precision: str
    step: Callable[[], None]
    wait: Callable[[], None]
    """Until the device has done all that it was told."""
    tokens_per_step: int
    parameters: int

    def runs(self, duration_s: float, *, at_least: int = 1) -> int:
        """Train for so long; how many steps."""
        end_s, steps = time.monotonic() + duration_s, 0
        while steps < at_least or time.monotonic() < end_s:
            self.step()
            self.wait()
            steps += 1
        return steps


def build(name: str, precision: str, options: argparse.Namespace) -> Training:
    import torch  # noqa: PLC0415  # takes seconds; the observer does without
    import transformers  # noqa: PLC0415

    torch.manual_seed(0)
    device = torch.device("cpu" if options.dry else "cuda")
    model = model_of(transformers, name, tiny=options.dry).to(device).train()
    batch, length = options.batch, options.sequence
    tokens = torch.randint(5, model.config.vocab_size, (batch, length), device=device)
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    count = batch * length
    if name == "t5":
        inputs["labels"] = tokens[:, : length // 4].contiguous()
        count += batch * (length // 4)
    else:
        inputs["start_positions"] = torch.randint(0, length, (batch,), device=device)
        inputs["end_positions"] = torch.randint(0, length, (batch,), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    return Training(name, precision, step, wait, count, sum(one.numel() for one in model.parameters()))


def model_of(transformers: Any, name: str, *, tiny: bool) -> Any:
    if name == "bert":
        small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config = transformers.BertConfig(**small if tiny else {})
        return transformers.BertForQuestionAnswering(config)
    if name == "distilbert":
        config = transformers.DistilBertConfig(
            **{"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64} if tiny else {}
        )
        return transformers.DistilBertForQuestionAnswering(config)
    base = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12}
    small = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    config = transformers.T5Config(**small if tiny else base, decoder_start_token_id=0)
    return transformers.T5ForConditionalGeneration(config)


# One window after the other.


@dataclass
class Window:
    """One stretch of time, and what was done in it."""

    kind: str
    name: str
    start_s: float
    end_s: float
    steps: int
    ends_j: float | None
    """NVML's counter at the end less at the start, read by this program."""


class Clockwork:
    """Runs windows as phases of a tracker, or without one, and reads NVML's counter at their ends."""

    def __init__(self, training: Training, read_j: Callable[[], float | None]) -> None:
        self.training, self._read_j = training, read_j
        self.windows: list[Window] = []

    @contextlib.contextmanager
    def window(self, kind: str, name: str, tracker: Any) -> Iterator[list[int]]:
        """A phase of this name; the list takes the steps done."""
        self.training.wait()
        steps: list[int] = []
        with tracker.phase(name) if tracker else contextlib.nullcontext():
            first_j, start_s = self._read_j(), time.monotonic()
            yield steps
            self.training.wait()
            last_j, end_s = self._read_j(), time.monotonic()
        ends_j = None if first_j is None or last_j is None else last_j - first_j
        self.windows.append(Window(kind, name, start_s, end_s, sum(steps), ends_j))

    def constant(self, kind: str, duration_s: float, tracker: Any) -> None:
        with self.window(kind, kind, tracker) as steps:
            steps.append(self.training.runs(duration_s))

    def bursty(self, duration_s: float, tracker: Any, chance: random.Random) -> None:
        with self.window("bursty", "bursty", tracker) as steps:
            end_s = time.monotonic() + duration_s
            while time.monotonic() < end_s:
                steps.append(self.training.runs(min(chance.uniform(2.0, 3.0), end_s - time.monotonic())))
                self.training.wait()
                time.sleep(max(0.0, min(chance.uniform(1.0, 3.0), end_s - time.monotonic())))

    def blocks(self, tracker: Any, lengths_s: Sequence[float], chance: random.Random) -> None:
        for length_s in lengths_s:
            for turn in range(BLOCK_REPEATS):
                time.sleep(chance.uniform(0.5, 1.0))
                with self.window(f"block {length_s:g} s", f"{length_s:g} s #{turn + 1}", tracker) as steps:
                    steps.append(self.training.runs(length_s))


def measure(
    training: Training, options: argparse.Namespace, home: Path, gpu: Gpu, *, first: bool
) -> list[dict[str, Any]]:
    """All windows of one training, each as a row."""
    import lowcarb  # noqa: PLC0415

    chance = random.Random(0)
    work = Clockwork(training, gpu.read_j)
    training.runs(0.2 if options.dry else WARM_UP_S, at_least=2 if options.dry else 10)
    notes = home / f"{training.name}-{training.precision}.txt"
    with gpu.observed(notes):
        tracker = lowcarb.track(f"{training.name} {training.precision}", home=home, ledger=home / "ledger.db")
        with tracker:
            time.sleep(SETTLE_S)
            if "constant" in options.windows:
                work.constant("constant", options.seconds, tracker)
            if "bursty" in options.windows:
                work.bursty(options.seconds, tracker, chance)
            if "blocks" in options.windows and first:
                work.blocks(tracker, BLOCKS_S[:2] if options.dry else BLOCKS_S, chance)
            time.sleep(SETTLE_S)
        if first and "constant" in options.windows:
            work.constant("unmetered", options.seconds, None)
            time.sleep(SETTLE_S)
    seen = Seen.read(notes) if notes.exists() else Seen()
    phases = {phase.name: phase for phase in tracker.phases()}
    facts = {"faults": list(tracker.faults()), "counter_refresh_s": seen.refresh_s()}
    return [{**row(training, window, phases.get(window.name), seen), **facts} for window in work.windows]


def row(training: Training, window: Window, phase: Any, seen: Seen) -> dict[str, Any]:
    start_s, end_s = window.start_s, window.end_s
    duration_s = end_s - start_s
    counter_j = seen.counter_j(start_s, end_s)
    metered = [one for one in phase.energy.devices if one.kind == "gpu"] if phase else []
    meter_j = sum(one.energy_j.mid for one in metered) if metered else None
    told = {
        "model": training.name,
        "precision": training.precision,
        "window": window.kind,
        "name": window.name,
        "duration_s": duration_s,
        "steps": window.steps,
        "steps_per_s": window.steps / duration_s,
        "tokens_per_s": window.steps * training.tokens_per_step / duration_s,
        "meter_j": meter_j,
        "meter_low_j": sum(one.energy_j.low for one in metered) if metered else None,
        "meter_high_j": sum(one.energy_j.high for one in metered) if metered else None,
        "meter_coverage": min((one.coverage for one in metered), default=None),
        "marked_unresolved": bool(phase and any(one.device in phase.unresolved for one in metered)),
        "counter_j": counter_j,
        "ends_j": window.ends_j,
        "power_j": seen.power_j(start_s, end_s),
        "mean_power_w": None if counter_j is None else counter_j / duration_s,
        "sm_clock_mhz": seen.mean("clock", start_s, end_s),
    }
    for other in ("counter", "ends", "power"):
        other_j = told[f"{other}_j"]
        told[f"error_to_{other}"] = meter_j / other_j - 1.0 if other_j and meter_j is not None else None
    return told


# The GPU.


class Gpu:
    """The GPU that is trained on, as NVML shows it to this program; nothing at all in a dry run without NVML."""

    def __init__(self, nvml: Any, uuid: str | None) -> None:
        self._nvml, self.uuid = nvml, uuid
        self._handle = None if uuid is None else handle_of(nvml, uuid)

    def read_j(self) -> float | None:
        if self._handle is None:
            return None
        try:
            return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3
        except self._nvml.NVMLError:
            return None

    @contextlib.contextmanager
    def observed(self, path: Path) -> Iterator[None]:
        if self.uuid is None:
            yield
            return
        command = [sys.executable, str(Path(__file__).resolve()), "--observe", str(path), "--uuid", self.uuid]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as observer:
            try:
                end_s = time.monotonic() + 10.0
                while not (path.exists() and path.stat().st_size) and time.monotonic() < end_s:
                    time.sleep(0.02)
                yield
            finally:
                observer.stdin.close()
                observer.wait(10.0)

    def facts(self) -> dict[str, Any]:
        """What it is, as far as NVML tells."""
        if self._handle is None:
            return {"name": "no GPU"}
        nvml, handle = self._nvml, self._handle
        asked: dict[str, Callable[[], Any]] = {
            "name": lambda: nvml.nvmlDeviceGetName(handle),
            "driver": nvml.nvmlSystemGetDriverVersion,
            "cuda_driver": nvml.nvmlSystemGetCudaDriverVersion_v2,
            "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
            "memory_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
            "persistence_mode": lambda: nvml.nvmlDeviceGetPersistenceMode(handle),
            "max_sm_clock_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM),
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "mig_mode": lambda: nvml.nvmlDeviceGetMigMode(handle),
            "samples": lambda: len(nvml.nvmlDeviceGetSamples(handle, nvml.NVML_TOTAL_POWER_SAMPLES, 0)[1]),
        }
        return {name: answer(nvml, ask) for name, ask in asked.items()}


def answer(nvml: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except nvml.NVMLError as error:
        return f"refused: {error}"


def handle_of(nvml: Any, uuid: str) -> Any:
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    return next(handle for handle in handles if nvml.nvmlDeviceGetUUID(handle) == uuid)


def find_gpu(*, dry: bool) -> Gpu:
    """The GPU that torch trains on; in a dry run NVML's first, if there is one.

    Raises:
        LookupError: there is none.
    """
    import torch  # noqa: PLC0415

    if not dry and not torch.cuda.is_available():
        raise LookupError("torch sees no NVIDIA GPU")
    try:
        pynvml = import_module("pynvml")
    except ImportError as error:
        if dry:
            return Gpu(None, None)
        raise LookupError(f"no NVML binding ({error}): pip install nvidia-ml-py") from error
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        uuids = [pynvml.nvmlDeviceGetUUID(handle) for handle in handles]
    except pynvml.NVMLError as error:
        if dry:
            return Gpu(None, None)
        raise LookupError(f"NVML does not answer: {error}") from error
    if not uuids:
        raise LookupError("NVML lists no GPU")
    if dry:
        return Gpu(pynvml, uuids[0])
    own = f"GPU-{getattr(torch.cuda.get_device_properties(0), 'uuid', '')}"
    return Gpu(pynvml, own if own in uuids else uuids[0])


# The report.


def software() -> dict[str, Any]:
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "transformers": transformers.__version__,
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "system": platform.platform(),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line a window; blocks of one length together, as the median of the errors' sizes."""
    head = f"{'model':11}{'prec.':6}{'window':13}{'n':>3}{'s':>7}{'steps/s':>9}{'tokens/s':>10}{'W':>6}"
    lines = [f"{head}{'meter J':>10}{'counter J':>11}{'counter':>9}{'ends':>8}{'power':>8}  marked"]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in rows:
        groups.setdefault((one["model"], one["precision"], one["window"]), []).append(one)
    for (model, precision, window), some in groups.items():
        middle = {name: middle_of([one[name] for one in some]) for name in some[0] if name not in TEXTS}
        errors = [
            middle_of([one[f"error_to_{other}"] for one in some], size=len(some) > 1)
            for other in ("counter", "ends", "power")
        ]
        lines.append(
            f"{model:11}{precision:6}{window:13}{len(some):3}{middle['duration_s']:7.2f}{middle['steps_per_s']:9.2f}"
            f"{middle['tokens_per_s']:10.0f}{number(middle['mean_power_w'], 6, 0)}{number(middle['meter_j'], 10, 1)}"
            f"{number(middle['counter_j'], 11, 1)}{percent(errors[0], 9)}{percent(errors[1], 8)}{percent(errors[2], 8)}"
            f"  {'yes' if all(one['marked_unresolved'] for one in some) else 'no'}"
        )
    return "\n".join(lines)


TEXTS = ("model", "precision", "window", "name", "faults", "marked_unresolved")


def middle_of(values: Sequence[float | None], *, size: bool = False) -> float | None:
    known = [abs(value) if size else value for value in values if value is not None]
    return median(known) if known else None


def number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def percent(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{100.0 * value:+{width - 1}.2f}%"


def written(document: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", str(document["gpu"]["name"]).lower()).strip("-")
    stem = f"{slug}-{document['date'][:10]}"
    taken = sum(1 for path in folder.glob(f"{stem}*.json"))
    path = folder / (f"{stem}-{taken + 1}.json" if taken else f"{stem}.json")
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The meter's energy of a GPU against NVML's own counter.")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a constant or bursty window")
    parser.add_argument("--models", type=names, default=list(MODELS), help=f"of {','.join(MODELS)}")
    parser.add_argument("--precisions", type=names, default=list(PRECISIONS), help=f"of {','.join(PRECISIONS)}")
    parser.add_argument("--windows", type=names, default=list(WINDOWS), help=f"of {','.join(WINDOWS)}")
    parser.add_argument("--batch", type=int, help="sequences in a step (32; dry 2)")
    parser.add_argument("--sequence", type=int, help="tokens in a sequence (384; dry 32)")
    parser.add_argument("--out", type=Path, help="folder for the result")
    parser.add_argument("--dry", action="store_true", help="tiny models on the processor, for a smoke test")
    parser.add_argument("--observe", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--uuid", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for given, known in ((options.models, MODELS), (options.precisions, PRECISIONS), (options.windows, WINDOWS)):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; there is {', '.join(known)}")
    options.batch = options.batch or (2 if options.dry else 32)
    options.sequence = options.sequence or (32 if options.dry else 384)
    return options


def main() -> int:
    options = parse()
    if options.observe is not None:
        return observe(options.uuid, options.observe)
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    try:
        gpu = find_gpu(dry=options.dry)
    except LookupError as error:
        print(f"no GPU to measure: {error}. `--dry` runs on the processor, for a smoke test", file=sys.stderr)
        return 1
    home = Path(tempfile.mkdtemp(prefix="lowcarb-gpu-truth-"))
    rows: list[dict[str, Any]] = []
    document: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "dry": options.dry,
        "gpu": gpu.facts(),
        "software": software(),
        "settings": {name: getattr(options, name) for name in ("seconds", "batch", "sequence", "windows")},
        "rows": rows,
    }
    for name in options.models:
        for precision in options.precisions:
            training = build(name, precision, options)
            print(f"{name} {precision}: {training.parameters / 1e6:.1f} M parameters", file=sys.stderr)
            rows += measure(training, options, home, gpu, first=not rows)
    folder = options.out or (home if options.dry else RESULTS)
    print(table(rows))
    print("errors: meter over the other, less 1; of several blocks the median size. Marked: the meter says itself that")
    print(f"the window is too short for its readings.\nwritten: {written(document, folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
