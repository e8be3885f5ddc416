"""The guide's programs can be read, and what they import is there."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parents[2] / "docs" / "guide-integrations.md").read_text()
IMPORTS = [
    (node.module, alias.name)
    for block in re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    for node in ast.parse(block).body
    if isinstance(node, ast.ImportFrom) and node.module
    for alias in node.names
]


@pytest.mark.parametrize(("module", "name"), IMPORTS)
@pytest.mark.filterwarnings("ignore")  # of the frameworks' own imports
def test_what_the_guide_imports_is_there(module, name):
    for framework in ("accelerate", "lightning"):
        pytest.importorskip(framework)

    assert isinstance(getattr(import_module(module), name), type)


def test_the_guide_names_every_key():
    from lowcarb.integrations import training  # noqa: PLC0415

    keys = {training.ENERGY, training.POWER, training.CARBON, training.YIELD, training.SHARE}

    assert keys == set(re.findall(r"^\| `(lowcarb/\w+)`", GUIDE, re.M))
