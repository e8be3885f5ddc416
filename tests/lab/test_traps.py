"""The traps that only data and tokenizers give away, through the whole preflight."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.core.check import check
from lowcarb.errors import StudyError
from lowcarb.lab.studyfile import read_study

preflight = pytest.importorskip("lowcarb.lab.preflight", reason="the lab extra is not installed").preflight

TRAPS = Path(__file__).parents[1] / "traps"


@pytest.mark.parametrize(
    ("trap", "level"), [("leakage", "error"), ("scoring-on-training-rows", "error"), ("no-op-swap", "warning")]
)
def test_the_trap_is_caught(trap, level):
    study = read_study(TRAPS / f"{trap}.yaml")

    _, facts = preflight(study, TRAPS, Catalogue.load())

    assert (trap, level) in {(finding.check, finding.level) for finding in check(study, facts)}


def test_everything_that_would_stop_a_study_later_is_named_before_it_trains(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("""
id: s
question: which?
data: {train: none.json, validation: bad.json, adversarial: embedded:jouleqa/adversarial}
models:
  - {id: a, family: bert, source: ./missing}
  - {id: b, family: bert, source: "embedded:minilm", layers: [0, 9]}
  - {id: c, family: t5, source: "embedded:minilm"}
seeds: [0, 1]
site: atlantis
devices: [t44]
""")
    (tmp_path / "bad.json").write_text("{}")

    with pytest.raises(StudyError) as caught:
        preflight(read_study(path), tmp_path, Catalogue.load())

    problems = "\n".join(caught.value.problems)
    for said in ("t44", "atlantis", "missing", "6 layers", "not a t5", "none.json", "bad.json"):
        assert said in problems
