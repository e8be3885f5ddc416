"""Before anything trains: can every source be opened, and is every swapped vocabulary another one?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from transformers import AutoConfig

from lowcarb.catalogue import Catalogue
from lowcarb.core.check import Facts
from lowcarb.core.trial import ModelChoice, Study
from lowcarb.errors import CatalogueError, LowcarbError, SettingError, StudyError
from lowcarb.lab.data import Corpus
from lowcarb.lab.sources import pretrained_folder
from lowcarb.lab.study import study_facts
from lowcarb.lab.support import able_here, of_the_device, refusals
from lowcarb.lab.tokenizers import build_tokenizer, native_tokenizer, same_vocabulary


def preflight(
    study: Study, root: Path, catalogue: Catalogue, *, may_limit: Callable[[], bool] = lambda: False
) -> tuple[Corpus, Facts]:
    """The study's questions and what the linter needs to know.

    Args:
        study: to be run.
        root: where its data files are.
        catalogue: of devices and sites.
        may_limit: whether limits may be set on this machine's GPUs by whoever runs the trials; asked only where an arm
            wants one.

    Raises:
        StudyError: everything that would stop the study later: data, models, tokenizers, recipes, devices, site.
    """
    problems = _catalogue_problems(study, catalogue)
    for model in dict.fromkeys(arm.model for arm in study.arms):
        problems += _model_problems(model)
    problems += _recipe_problems(study)
    try:
        corpus, _ = study_facts(study, root)
    except StudyError as error:
        raise StudyError(study.id, [*problems, *error.problems]) from error
    if problems:
        raise StudyError(study.id, problems)
    vocabularies, problems = _vocabularies(study, corpus)
    if problems:
        raise StudyError(study.id, problems)
    corpus, facts = study_facts(study, root, vocabularies)
    wanted = any(of_the_device(arm.levers) for arm in study.arms)
    return corpus, replace(facts, able=able_here(power_limit=wanted and may_limit()))


def _catalogue_problems(study: Study, catalogue: Catalogue) -> list[str]:
    problems = []
    for look_up, names in ((catalogue.device, study.devices), (catalogue.site, [study.site] if study.site else [])):
        for name in names:
            try:
                look_up(name)
            except CatalogueError as error:
                problems.append(str(error))
    return problems


def _recipe_problems(study: Study) -> list[str]:
    """What no training of an arm could do, by arm."""
    problems = [f"{arm.id}: {refusal}" for arm in study.arms for refusal in refusals(arm)]
    for arm in study.arms:
        layers = _layers(arm.model) if arm.recipe.frozen_layers and arm.model.layers is None else None
        if layers is not None and arm.recipe.frozen_layers >= layers:
            expected = f"below {layers}, the model's layers"
            problems.append(f"{arm.id}: {SettingError('recipe.frozen_layers', arm.recipe.frozen_layers, expected)}")
    return problems


def _layers(model: ModelChoice) -> int | None:
    """Layers of a pretrained model; None where it cannot be opened, which is a problem of its own, or does not say."""
    if model.from_scratch:
        return None
    try:
        config = AutoConfig.from_pretrained(pretrained_folder(model.source))
    except (LowcarbError, OSError, ValueError):
        return None
    layers: int | None = getattr(config, "num_hidden_layers", None)
    return layers


def _model_problems(model: ModelChoice) -> list[str]:
    if model.from_scratch:
        return []
    try:
        config = AutoConfig.from_pretrained(pretrained_folder(model.source))
    except LowcarbError as error:
        return [f"models.{model.id}: {error}"]
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        remedy = "name a folder with config.json and weights, or be online"
        return [f"models.{model.id}.source: {model.source} cannot be opened ({first_line}); {remedy}"]
    layers = getattr(config, "num_hidden_layers", None)
    if model.layers is not None and layers is not None and max(model.layers) >= layers:
        return [f"models.{model.id}.layers: {model.source} has {layers} layers, numbered from 0"]
    expected = {"distilbert": ("distilbert", "bert"), "bert": ("bert",), "t5": ("t5", "mt5")}[model.family]
    if config.model_type not in expected:
        return [f"models.{model.id}.source: {model.source} is a {config.model_type}, not a {model.family}"]
    return []


def _vocabularies(study: Study, corpus: Corpus) -> tuple[Mapping[str, bool], list[str]]:
    """By arm with a swapped tokenizer, whether its vocabulary is the model's own; and what could not be opened."""
    same, problems = {}, []
    text = corpus.text()
    for arm in study.arms:
        if arm.tokenizer.kind != "pretrained":
            continue
        try:
            native, swapped = native_tokenizer(arm.model, text), build_tokenizer(arm.tokenizer, arm.model, text)
        except LowcarbError as error:
            problems.append(f"tokenizers.{arm.tokenizer.id}: {error}")
        except (OSError, ValueError) as error:
            first_line = str(error).strip().splitlines()[0]
            problems.append(f"tokenizers.{arm.tokenizer.id}.source: {arm.tokenizer.source}: {first_line}")
        else:
            same[arm.id] = same_vocabulary(native, swapped)
    return same, list(dict.fromkeys(problems))
