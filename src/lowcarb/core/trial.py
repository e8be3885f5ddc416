"""What is compared: `Study`, its `Arm`s and `Trial`s, and the `Result` of a trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from lowcarb.core.estimate import Basis

ModelFamily = Literal["bert", "distilbert", "t5"]
TokenizerKind = Literal["native", "pretrained", "wordpiece", "bpe", "unigram"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model that starts from scratch."""

    layers: int
    width: int
    heads: int
    ff: int


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model as a study names it."""

    id: str
    family: ModelFamily
    source: str
    """`embedded:minilm`, a folder, an id of the Hugging Face hub, or `scratch`."""
    layers: tuple[int, ...] | None = None
    """Encoder layers of the source that are kept, in order; None keeps all."""
    shape: Shape | None = None
    """Of a model from scratch."""

    @property
    def from_scratch(self) -> bool:
        """Whether no weight is pretrained: its quality is then not the architecture's."""
        return self.source == "scratch"


@dataclass(frozen=True, slots=True)
class TokenizerChoice:
    """A tokenizer as a study names it."""

    id: str
    kind: TokenizerKind = "native"
    source: str | None = None
    """Folder or hub id of a `pretrained` one."""
    vocabulary: int | None = None
    """Size of one that is trained on the study's own training text."""
    embeddings: Literal["remap", "keep"] = "remap"
    """What a swap does to the model's embeddings: `remap` gives each new token the row of the same string, or the mean
    of its pieces; `keep` leaves the rows where they are, under foreign ids, and is refused."""


@dataclass(frozen=True, slots=True)
class DataChoice:
    """The questions of a study: `embedded:jouleqa`, a SQuAD-format file, or a hub id, each with its split."""

    train: str
    validation: str
    adversarial: str
    train_questions: int | None = None
    """At most so many training questions, the same ones for every trial."""
    test_questions: int | None = None
    """At most so many questions of each test set."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained."""

    epochs: float = 3.0
    max_steps: int | None = None
    """Stop after so many optimizer steps; the learning rate is scheduled over the steps that are taken."""
    batch: int = 16
    learning_rate: float = 5e-5
    schedule: Literal["linear", "constant"] = "linear"
    warmup: float = 0.0
    """Share of the steps over which the learning rate rises from zero."""
    decay_epochs: float | None = None
    """Epochs after which a linear schedule reaches zero; None is the end of training."""
    weight_decay: float = 0.01
    fused: bool = False
    """One kernel for the whole optimizer step, where the device has it: the same arithmetic, less memory traffic."""
    dropout: float | None = None
    """None keeps the model's own."""
    precision: Literal["fp32", "bf16", "fp16", "fp8"] = "fp32"
    padding: Literal["max", "longest", "split", "grouped", "packed"] = "longest"
    """To the window's length; to the longest of the batch; of each few windows of a batch that is computed in parts of
    like length; of batches of like length; or several windows in one row, each blind to the others."""
    length: int = 384
    """Window [tokens]."""
    stride: int = 128
    """Overlap of the windows of a long paragraph [tokens]."""
    accumulation: int = 1
    """Batches whose gradients make one optimizer step."""
    frozen_embeddings: bool = False
    """Look-up tables are not trained."""
    frozen_layers: int = 0
    """So many of the lowest layers are not trained."""
    lora_rank: int | None = None
    """Train low-rank adapters of the attention in place of the weights; None trains the weights."""
    checkpointing: bool = False
    """Activations are computed anew in the backward pass: less memory, more energy."""
    compile: bool = False
    """Kernels are compiled before the first step."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    keep_memory: bool = False
    """Memory that is freed while training stays with the process, in place of going back to the kernel at once."""
    data_share: float = 1.0
    """Share of the training questions that are trained on."""
    selection: Literal["random", "diverse", "deduplicated", "loss"] = "random"
    """Which of them: drawn from the seed; spread over paragraphs; one of each near-duplicate; of high loss."""
    answer_windows: bool = False
    """Train only on windows that hold the answer."""
    patience: int | None = None
    """Stop after so many looks at a held-out tenth of the training questions without a gain; None never stops early."""
    least_gain: float | None = None
    """Stop where a whole training's energy more would bring, by the looks at a held-out tenth, fewer points than this;
    None never does. Points are of the chance in percent that the model gives to the right answer."""
    teacher: str | None = None
    """Id of the arm's model that is trained first and whose answers the student learns too; its energy counts."""
    unmetered_epochs: float = 0.0
    """Epochs trained before the meter starts. Refused when not zero: it is here so that studies which do that can be
    written down and checked."""

    @property
    def looks(self) -> bool:
        """Whether held-out questions are looked at, which may end the training early."""
        return self.patience is not None or self.least_gain is not None


LATER: Mapping[str, object] = {"keep_memory": False, "least_gain": None}
"""Fields of a recipe that came after ledgers were filled, with their defaults. At those they are left out of a trial's
key, so that what was trained before is found again."""


@dataclass(frozen=True, slots=True)
class Inference:
    """How answers are read out. The same for all arms of a study, or their scores are not comparable."""

    length: int = 384
    stride: int = 128
    answer_tokens: int = 30
    """Longest answer [tokens]."""
    batch: int = 32


@dataclass(frozen=True, slots=True)
class Arm:
    """One recipe under comparison."""

    model: ModelChoice
    tokenizer: TokenizerChoice
    recipe: Recipe
    inference: Inference
    site: str | None = None
    """The study's site where None; another one per arm is refused."""
    levers: tuple[str, ...] = ()
    """What was pulled to come to this arm, as `lowcarb.core.levers.Pulled` is written."""

    @property
    def id(self) -> str:
        """`model/tokenizer`, with what was pulled: `model/tokenizer+bf16+freeze-layers=3`."""
        return "+".join((f"{self.model.id}/{self.tokenizer.id}", *self.levers))


@dataclass(frozen=True, slots=True)
class Trial:
    """One training to run: an arm with a seed."""

    study: str
    arm: Arm
    data: DataChoice
    data_digest: str
    """Hash of the questions themselves: other data is another trial."""
    seed: int
    machine: str
    """Id of the machine: energies of two machines are not pairs."""
    threads: int | None = None
    """Processor threads that the training may use; None is all."""
    levers: tuple[str, ...] = ()
    """Those of the arm: some change the machine and not the recipe."""

    @property
    def key(self) -> str:
        """Hash of all that makes the training what it is; the site is not in it, since energy can be priced anew."""
        content = asdict(self)
        del content["arm"]["site"], content["arm"]["levers"], content["study"]
        recipe = content["arm"]["recipe"]
        for name, default in LATER.items():
            if recipe[name] == default:
                del recipe[name]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:24]

    @property
    def name(self) -> str:
        """For people: `study: model/tokenizer seed 0`."""
        return f"{self.study}: {self.arm.id} seed {self.seed}"


Metric = Literal["f1", "em", "cosine", "sts"]
Split = Literal["validation", "adversarial"]


@dataclass(frozen=True, slots=True)
class Study:
    """A question with the trials that answer it."""

    id: str
    question: str
    data: DataChoice
    arms: tuple[Arm, ...]
    baseline: str
    """Id of the arm that the others are held against."""
    seeds: tuple[int, ...]
    metric: Metric = "f1"
    split: Split = "validation"
    """Where the metric is judged."""
    margin: float = 1.0
    """Loss of the metric that still counts as not inferior, in the metric's own unit."""
    site: str | None = None
    devices: tuple[str, ...] = ()
    """Catalogue ids onto which each trial is projected; the first is the baseline of the hardware contrast."""
    threads: int | None = None
    budget_j: float | None = None
    budget_g: float | None = None
    budget_s: float | None = None
    levers: tuple[str, ...] = ()
    """Levers that are tried one by one: alone against the baseline, and on top of the stack."""
    stack: tuple[str, ...] = ()
    """Levers that are pulled together."""

    def arm(self, arm_id: str) -> Arm:
        """The arm with this id."""
        return next(arm for arm in self.arms if arm.id == arm_id)


@dataclass(frozen=True, slots=True)
class Scores:
    """Quality on one set of questions."""

    em: float
    """Exact match, 0 to 100."""
    f1: float
    """Overlap of words, 0 to 100."""
    cosine: float
    """Of bags of words, 0 to 1."""
    sts: float
    """Semantic textual similarity: cosine of sentence embeddings, -1 to 1."""
    questions: int
    per_question_f1: tuple[float, ...] = ()
    """In the order of the file, so that two trials can be paired question by question."""
    groups: tuple[int, ...] = ()
    """Paragraph of each question: questions on one paragraph are not independent."""

    def as_dict(self) -> dict[str, object]:
        """The JSON form, the single questions left out."""
        return {"em": self.em, "f1": self.f1, "cosine": self.cosine, "sts": self.sts, "questions": self.questions}


@dataclass(frozen=True, slots=True)
class Result:
    """What a trial came to."""

    trial: Trial
    status: str
    attempt: int
    energy_j: float | None
    """Of the training phase [J], mid estimate: pairs share the power model, so its width cancels in their ratio."""
    basis: Basis
    """Of that energy."""
    cpu_s: float | None
    """Process CPU time of the training phase [s]."""
    wall_s: float | None
    scores: Mapping[str, Scores] = field(default_factory=dict)
    """By split."""

    @property
    def complete(self) -> bool:
        """Whether it can be compared."""
        return self.status == "done" and self.energy_j is not None and self.energy_j > 0 and bool(self.scores)
