"""Study files: YAML → `Study`, or every problem of the file at once, each with its line and what to do.

Validated here, at the border, with unknown keys refused; plain frozen dataclasses from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from lowcarb.core.design import lever_axis
from lowcarb.core.levers import Able
from lowcarb.core.trial import (
    Arm,
    DataChoice,
    Inference,
    Metric,
    ModelChoice,
    Recipe,
    Shape,
    Split,
    Study,
    TokenizerChoice,
)
from lowcarb.errors import StudyError

TRAINER = Able(
    frozenset({"fp32", "bf16", "fp16"}), gpu=True, compile=True, power_limit=True, adapters=True, keep_memory=True
)
"""What lowcarb's own trainer can do on a device that can do all: whether this one can is for the linter to say."""

POSITIONS = 512
"""Longest window of BERT and DistilBERT [tokens]: they learn a row a position."""

RANGES: Mapping[str, Any] = {
    "epochs": Field(gt=0, le=1000),
    "max_steps": Field(ge=1),
    "batch": Field(ge=1),
    "learning_rate": Field(ge=0, le=1),
    "warmup": Field(ge=0, lt=1),
    "decay_epochs": Field(gt=0),
    "weight_decay": Field(ge=0, lt=1),
    "dropout": Field(ge=0, lt=1),
    "length": Field(ge=16),
    "stride": Field(ge=0),
    "answer_tokens": Field(ge=1),
    "accumulation": Field(ge=1),
    "frozen_layers": Field(ge=0),
    "lora_rank": Field(ge=1),
    "data_share": Field(gt=0, le=1),
    "patience": Field(ge=1),
    "least_gain": Field(gt=0, le=10_000),
    "unmetered_epochs": Field(ge=0),
    "vocabulary": Field(ge=300),
    "train_questions": Field(ge=1),
    "test_questions": Field(ge=1),
}
"""What the fields of the file may be, by name; a name means the same wherever it stands."""

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


def _model_of(kind: type, **changed: Any) -> type[BaseModel]:
    """A pydantic model with the fields of a dataclass, so that none is written down twice."""
    hints = get_type_hints(kind)
    declared: dict[str, Any] = {}
    for field in fields(kind):
        default = ... if field.default is MISSING else field.default
        range_ = RANGES.get(field.name)
        if range_ is None:
            declared[field.name] = (hints[field.name], default)
        else:
            info = Field(default) if default is not ... else Field()
            info.metadata = list(range_.metadata)
            declared[field.name] = (hints[field.name], info)
    return create_model(f"{kind.__name__}File", __config__=STRICT, **(declared | changed))


ShapeFile = _model_of(Shape)
# fp8 is a lever: it asks for a trainer of its own.
RecipeFile = _model_of(Recipe, precision=(Literal["fp32", "bf16", "fp16"], "fp32"))
InferenceFile = _model_of(Inference)
DataFile = _model_of(DataChoice)
TokenizerFile = _model_of(TokenizerChoice)
ModelFile = _model_of(
    ModelChoice,
    shape=(ShapeFile | None, None),
    recipe=(dict[str, Any], {}),
    inference=(dict[str, Any], {}),
    site=(str | None, None),
)


class BudgetFile(BaseModel):
    """Limits of a whole study; reaching one ends it, with what was done kept."""

    model_config = STRICT
    energy_j: float | None = Field(None, gt=0)
    carbon_g: float | None = Field(None, gt=0)
    time_s: float | None = Field(None, gt=0)


class StudyFile(BaseModel):
    """A study file as it is written."""

    model_config = STRICT
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)
    question: str
    data: DataFile  # type: ignore[valid-type]
    models: list[ModelFile] = Field(min_length=1)  # type: ignore[valid-type]
    tokenizers: list[TokenizerFile] = Field(default_factory=list)  # type: ignore[valid-type]
    arms: list[str] | None = None
    baseline: str | None = None
    levers: list[str] = Field(default_factory=list)
    stack: list[str] = Field(default_factory=list)
    recipe: RecipeFile = Field(default_factory=RecipeFile)  # type: ignore[valid-type]
    inference: InferenceFile = Field(default_factory=InferenceFile)  # type: ignore[valid-type]
    seeds: list[int]
    metric: Metric = "f1"
    split: Split = "validation"
    margin: float = Field(1.0, gt=0)
    site: str | None = None
    devices: list[str] = Field(default_factory=list)
    threads: int | None = Field(None, ge=1)
    budget: BudgetFile = BudgetFile(energy_j=None, carbon_g=None, time_s=None)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a study file."""

    path: tuple[str | int, ...]
    message: str


def read_study(path: Path, overrides: Sequence[str] = (), able: Able = TRAINER) -> Study:
    """The study of a file.

    Args:
        path: a YAML file.
        overrides: `KEY=VALUE` each, a dotted key and a YAML value, set before the file is checked; a list's entry is
            named by its id or its number: `models.bert.source=/data/bert`.
        able: what the device can do: levers that it cannot do are problems of the file.

    Raises:
        StudyError: all that is wrong with the file, each with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(str(path), [f"cannot be read: {error.strerror or error}"]) from error
    try:
        document = yaml.safe_load(text)
        lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise StudyError(str(path), [f"is not YAML: {error}"]) from error
    if not isinstance(document, dict):
        raise StudyError(str(path), ["is empty: a study has id, question, data, models and seeds"])
    for override in overrides:
        _override(document, override, str(path))
    try:
        file = StudyFile.model_validate(document)
    except ValidationError as error:
        problems = [Problem(tuple(e["loc"]), _said(e)) for e in error.errors()]
        raise StudyError(str(path), [_placed(p, lines) for p in problems]) from error
    problems, study = _assembled(file, able)
    if study is None or problems:
        raise StudyError(str(path), [_placed(problem, lines) for problem in problems])
    return study


def _said(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "is missing"
    given = error.get("input")
    shown = f" (given {given!r})" if not isinstance(given, (dict, list)) else ""
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}{shown}"


def _lines(node: yaml.Node | None, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], int]:
    """The line of each key and entry, by path."""
    found: dict[tuple[str | int, ...], int] = {}
    if node is None:
        return found
    found[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found |= _lines(value, (*path, key.value))
            found[*path, key.value] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found |= _lines(value, (*path, index))
    return found


def _placed(problem: Problem, lines: Mapping[tuple[str | int, ...], int]) -> str:
    """`line 12, recipe.epochs: …`, with the line of the nearest key that the file has."""
    for length in range(len(problem.path), -1, -1):
        line = lines.get(problem.path[:length])
        if line is not None:
            break
    name = ".".join(map(str, problem.path))
    return f"line {line}, {name}: {problem.message}" if name else f"line {line}: {problem.message}"


def _override(document: dict[str, Any], override: str, where: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise StudyError(where, [f"--set {override}: expected KEY=VALUE, such as recipe.max_steps=20"])
    *path, last = key.split(".")
    holder: Any = document
    for part in path:
        holder = _entry(holder, part, override, where)
    parsed = yaml.safe_load(value)
    if isinstance(holder, dict):
        holder[last] = parsed
    elif isinstance(holder, list):
        holder[holder.index(_entry(holder, last, override, where))] = parsed
    else:
        raise StudyError(where, [f"--set {override}: {'.'.join(path)} holds nothing to set"])


def _entry(holder: Any, name: str, override: str, where: str) -> Any:
    if isinstance(holder, dict):
        return holder.setdefault(name, {})
    if isinstance(holder, list):
        for index, one in enumerate(holder):
            if (isinstance(one, dict) and one.get("id") == name) or str(index) == name:
                return one
    raise StudyError(where, [f"--set {override}: there is no {name!r}"])


def _assembled(file: Any, able: Able) -> tuple[list[Problem], Study | None]:
    """The study that a valid `StudyFile` describes, and what its parts have to say about each other."""
    problems: list[Problem] = []
    tokenizers = [TokenizerChoice(**t.model_dump()) for t in file.tokenizers] or [TokenizerChoice("native")]
    problems += _doubled("models", [m.id for m in file.models])
    problems += _doubled("tokenizers", [t.id for t in tokenizers])
    arms: dict[str, Arm] = {}
    for index, model in enumerate(file.models):
        choice = _choice(model)
        problems += _model_problems(choice, index)
        recipe = _merged(file.recipe, RecipeFile, model.recipe, Recipe, ("models", index, "recipe"), problems)
        inference = _merged(
            file.inference, InferenceFile, model.inference, Inference, ("models", index, "inference"), problems
        )
        problems += _window_problems(choice, recipe, inference)
        for tokenizer in tokenizers:
            arm = Arm(choice, tokenizer, recipe, inference, model.site)
            arms[arm.id] = arm
    for index, tokenizer in enumerate(tokenizers):
        problems += _tokenizer_problems(tokenizer, index)
    chosen = file.arms if file.arms is not None else list(arms)
    for index, arm_id in enumerate(chosen):
        if arm_id not in arms:
            problems.append(Problem(("arms", index), f"no such arm; arms are MODEL/TOKENIZER: {', '.join(arms)}"))
    problems += _doubled("arms", chosen)
    baseline = file.baseline or (chosen[0] if chosen else "")
    if baseline not in chosen:
        problems.append(Problem(("baseline",), f"is none of the arms: {', '.join(chosen) or 'there are none'}"))
    if problems:
        return problems, None
    axis = lever_axis(arms[baseline], file.levers, file.stack, able)
    if axis.problems:
        places = [(p.section,) if p.index is None else (p.section, p.index) for p in axis.problems]
        return [Problem(path, p.message) for path, p in zip(places, axis.problems, strict=True)], None
    return [], Study(
        id=file.id,
        question=file.question,
        data=DataChoice(**file.data.model_dump()),
        arms=(*(arms[arm_id] for arm_id in chosen), *axis.arms),
        baseline=baseline,
        seeds=tuple(file.seeds),
        metric=file.metric,
        split=file.split,
        margin=file.margin,
        site=file.site,
        devices=tuple(file.devices),
        threads=file.threads,
        budget_j=file.budget.energy_j,
        budget_g=file.budget.carbon_g,
        budget_s=file.budget.time_s,
        levers=axis.levers,
        stack=axis.stack,
    )


def _choice(model: Any) -> ModelChoice:
    return ModelChoice(
        id=model.id,
        family=model.family,
        source=model.source,
        layers=model.layers,
        shape=Shape(**model.shape.model_dump()) if model.shape else None,
    )


def _merged(
    base: Any, schema: type[BaseModel], changes: dict[str, Any], kind: type, path: tuple[str | int, ...],
    problems: list[Problem],
) -> Any:  # fmt: skip
    """The study's section with a model's own changes on top."""
    try:
        return kind(**schema.model_validate(base.model_dump() | changes).model_dump())
    except ValidationError as error:
        problems += [Problem((*path, *e["loc"]), _said(e)) for e in error.errors()]
        return kind(**base.model_dump())


def _doubled(section: str, ids: Iterable[str]) -> list[Problem]:
    seen: set[str] = set()
    doubled = [one for one in ids if one in seen or seen.add(one)]  # type: ignore[func-returns-value]
    return [Problem((section,), f"{one!r} is there twice") for one in dict.fromkeys(doubled)]


def _model_problems(model: ModelChoice, index: int) -> list[Problem]:
    path: tuple[str | int, ...] = ("models", index)
    problems = []
    if model.from_scratch and model.layers is not None:
        problems.append(Problem((*path, "layers"), "a model from scratch has no layers to keep: give it a shape"))
    if not model.from_scratch and model.shape is not None:
        problems.append(Problem((*path, "shape"), "only a model from scratch takes a shape: source: scratch"))
    if model.shape is not None:
        for name, value in asdict(model.shape).items():
            if value < 1:
                problems.append(Problem((*path, "shape", name), f"{value} is below 1"))
        if model.shape.heads >= 1 and model.shape.width % model.shape.heads:
            problems.append(Problem((*path, "shape", "heads"), "must divide the width"))
    if model.layers is not None and (not model.layers or min(model.layers) < 0):
        problems.append(Problem((*path, "layers"), "names layers by number, from 0"))
    return problems


def _tokenizer_problems(tokenizer: TokenizerChoice, index: int) -> list[Problem]:
    path: tuple[str | int, ...] = ("tokenizers", index)
    if tokenizer.kind == "pretrained" and not tokenizer.source:
        return [Problem((*path, "source"), "a pretrained tokenizer needs a folder or hub id")]
    if tokenizer.kind in ("wordpiece", "bpe", "unigram") and tokenizer.vocabulary is None:
        return [Problem((*path, "vocabulary"), "a trained tokenizer needs a size, such as 8000")]
    return []


def _window_problems(model: ModelChoice, recipe: Recipe, inference: Inference) -> list[Problem]:
    problems = []
    for name, window in (("recipe", recipe), ("inference", inference)):
        if model.family != "t5" and window.length > POSITIONS:
            problems.append(
                Problem((name, "length"), f"{window.length} is more than the {POSITIONS} positions of {model.id}")
            )
        if window.stride >= window.length:
            problems.append(Problem((name, "stride"), f"{window.stride} is not below the length {window.length}"))
    return problems


def priced_at(study: Study, site: str | None) -> Study:
    """The study at another site."""
    return study if site is None else replace(study, site=site)
