"""The shape of a model from its Hugging Face `config.json`, read without torch or transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lowcarb.catalogue.families import FF, HEADS, LAYERS, READERS, WIDTH, Keys, decoder
from lowcarb.core.shape import ModelSpec
from lowcarb.errors import SettingError

FILE = "config.json"


def read_config(path: str | Path) -> ModelSpec:
    """The shape that a local configuration describes.

    Parameters are those of what the checkpoint holds when it is trained: an encoder with its pooler where it has one
    and without a task's head, a decoder or encoder-decoder with its output layer.

    Args:
        path: a `config.json`, or the folder that holds it.

    Raises:
        SettingError: no such file, no JSON, a key that is missing or impossible (the error names key and file), or an
            unknown model type without the usual keys.
    """
    place = Path(path)
    file = place / FILE if place.is_dir() else place
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError("config", str(file), f"a {FILE} that can be read, or its folder ({error})") from error
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SettingError("config", str(file), f"JSON ({error})") from error
    if not isinstance(document, dict):
        raise SettingError("config", str(file), "a JSON object")
    name = str(document.get("_name_or_path") or file.resolve().parent.name)
    return spec_from_config(document, name, str(file))


def spec_from_config(document: Mapping[str, Any], name: str, where: str = FILE) -> ModelSpec:
    """The shape that the keys of a configuration describe.

    A model type that is not known is read by the usual keys as a gated decoder, and the result's `remark` says so.

    Raises:
        SettingError: as `read_config`.
    """
    nested = document.get("text_config")
    if isinstance(nested, dict) and "model_type" in nested:
        document = nested  # the language model of one that also sees or hears
    keys = Keys(document, where)
    kind = keys.text("model_type")
    reader = READERS.get(kind)
    if reader is not None:
        return reader(name, keys, kind)
    usual = all(any(key in document for key in keys_) for keys_ in (WIDTH, LAYERS, HEADS, FF, ("vocab_size",)))
    if usual:
        return decoder(name, keys, kind, f"model type {kind!r} is not known: read by the usual keys as a gated decoder")
    near = get_close_matches(kind, READERS, n=3, cutoff=0.5)
    hint = f"near: {', '.join(near)}" if near else f"one of {', '.join(sorted(READERS))}"
    raise SettingError("model_type", kind or None, f"a model type that is known ({hint}) or the usual keys in {where}")
