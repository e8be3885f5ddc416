"""NeurIPS paragraph, LaTeX table and BibTeX: right, complete, and safe whatever a name holds."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.catalogue import Catalogue
from lowcarb.core.source import Source
from lowcarb.core.trial import TokenizerChoice
from lowcarb.errors import SettingError
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.exports import EXPORTS, account_of
from lowcarb.report.exports.tex import escaped, figure, plain

_spec = importlib.util.spec_from_file_location("export_ledgers", Path(__file__).with_name("export_ledgers.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

CATALOGUE = Catalogue.load()
COMMANDS = {
    "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "char", "ldots", "cdot",
    "times", "mu", "paragraph", "begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "url",
    "usepackage",
}  # fmt: skip
"""All that may be called."""


def account(name="finetune", **changes):
    ledger, run = made.one_run(name, **changes)
    return account_of(ledger, run, CATALOGUE)


def study(**other):
    return account_of(made.a_study(**other), "mine", CATALOGUE)


def assert_safe(tex):
    """No command but ours, no comment but whole lines of ours, braces in pairs, dollars in pairs, on every line."""
    for line in tex.splitlines():
        if line.startswith("%"):
            continue
        bare = re.sub(r"\\[\\{}$&#_%,]", "", line)
        assert set(re.findall(r"\\([a-zA-Z]+)", bare)) <= COMMANDS, line
        assert not re.search(r"[%#~^\"`]", bare.replace("^3$", "").replace("10^{", "")), line
        assert bare.count("$") % 2 == 0, line
        depth = 0
        for character in bare:
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0, line
        assert depth == 0, line


# NeurIPS


def test_neurips_tells_failed_and_preliminary_runs_by_hand():
    """Done 330 J in 3 trainings; failed 30 J and preliminary 55 J more; 415 J in all; 5 × 10 s + 4 × 2 s = 58 s."""
    text = EXPORTS["neurips"].render(study())

    assert "rest on 3 trainings" in text
    assert "330 J" in text
    assert "1 preliminary and 1 failed attempts. They took 85 J" in text
    assert "420 J (210--830) of energy, each joule counted once" in text
    assert "58.0 s of machine time" in text
    assert r"\paragraph{" in text


def test_neurips_tells_workers_memory_time_carbon_boundary_and_measured_share():
    text = EXPORTS["neurips"].render(account())

    for said in (
        r"2 $\times$ NVIDIA A100 80GB, AMD EPYC 7742", "16 threads, 64.0 GiB of memory", "accelerator memory 80.0 GiB",
        "2.00 accelerator hours of NVIDIA A100 80GB", "66 g", "CO$_2$e", "France", r"91 \% measured",
        "The energy is that of GPUs and processors", "no failed, interrupted or preliminary run",
    ):  # fmt: skip
        assert said in text, said


def test_neurips_tells_what_still_runs_and_what_nobody_metered():
    ledger, run = made.one_run()
    made.enter(ledger, "finetune", None, began_ns=made.BEGAN_NS + made.HOUR_NS)

    assert "still run, and are not in the sums: 1." in EXPORTS["neurips"].render(account_of(ledger, run, CATALOGUE))


# LaTeX table


def test_latex_has_a_row_by_arm_and_the_whole_by_hand():
    text = EXPORTS["latex"].render(study())
    rows = [[cell.strip() for cell in line.strip(" \\").split("&")] for line in text.splitlines() if "&" in line]

    assert ["", "runs", "time", "energy", "carbon", "F1 validation", "F1 adversarial"] == rows[0]
    by_name = {row[0]: row for row in rows}
    assert ["bert/native", "2", "10.0 s", "110 J (55--220)"] == by_name["bert/native"][:4]
    assert "60.5 (60.0--61.0)" == by_name["bert/native"][5]
    assert ["All attempts", "5", "58.0 s"] == by_name["All attempts"][:3]
    assert {"Done", "Preliminary", "Failed"} <= set(by_name)
    assert 1 == len({len(row) for row in rows})
    assert r"\toprule" in text
    assert "measured" in text
    assert "The energy is that of" in text


def test_latex_of_a_run_has_no_scores():
    text = EXPORTS["latex"].render(account())

    assert r"\begin{tabular}{lrrrr}" in text
    assert "1 & 60.0 min & 1.1 kWh" in text


# BibTeX


def test_bibtex_has_each_source_once_with_a_key_of_its_own():
    one = account()
    text = EXPORTS["bibtex"].render(one)
    keys = re.findall(r"^@misc\{([^,]*),$", text, re.MULTILINE)

    assert len(one.sources) == len(keys) == len(set(keys)) > 1
    assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in keys)
    assert "The energy is that of" in text.partition("@")[0]
    assert "91 % measured" in text.partition("@")[0]


def test_bibtex_is_read_by_a_parser():
    parse_string = pytest.importorskip("pybtex.database", reason="reads BibTeX").parse_string
    one = account()

    entries = parse_string(EXPORTS["bibtex"].render(one), "bibtex").entries

    assert len(one.sources) == len(entries)
    assert "2026" == entries["lowcarb-ember-2026"].fields["year"]


HOSTILE_SOURCE = Source(
    '"}, @misc{evil, ',
    "100% of {this & that}, \\input{x}",
    "A_B #1 @home",
    "javascript:alert(1)",
    "about 2020",
    "",
    "x",
)


def test_bibtex_bears_any_source():
    sources = (HOSTILE_SOURCE, HOSTILE_SOURCE, replace(HOSTILE_SOURCE, id="日本", url="https://x/{a}%20\\b^"))
    text = EXPORTS["bibtex"].render(replace(account(), sources=sources))

    assert 3 == len(re.findall(r"^@misc\{", text, re.MULTILINE))
    assert {"lowcarb-misc-evil", "lowcarb-misc-evil-2", "lowcarb-source"} == set(re.findall(r"@misc\{(.*),", text))
    assert "javascript" not in text
    assert r"\url{https://x/%7Ba%7D%20%5Cb%5E}" in text
    assert r"Published about 2020" in text
    assert_safe("\n".join(re.findall("^  (?:author|title|note) = .*", text, re.MULTILINE)))


# All three


@pytest.mark.parametrize("name", ["neurips", "latex"])
@pytest.mark.parametrize("make", [account, study])
def test_tex_is_safe(name, make):
    assert_safe(EXPORTS[name].render(make()))


@pytest.mark.parametrize("name", ["neurips", "latex", "bibtex"])
@pytest.mark.parametrize("hostile", made.HOSTILE)
def test_hostile_names_are_text(name, hostile):
    machine = replace(made.MACHINE, name=hostile, devices=(made.Installed(replace(made.GPU, name=hostile)),))
    arms = (made.BIG, replace(made.SMALL, tokenizer=TokenizerChoice(hostile.encode("utf-8", "replace").decode())))
    one = replace(study(arms=arms), title=hostile, machines=(machine,), notes=(hostile,))
    one = replace(one, devices=account(machine=machine).devices)

    text = EXPORTS[name].render(one)

    text.encode("utf-8")
    assert len(text) < 15_000
    if name != "bibtex":
        assert_safe(text)


@pytest.mark.parametrize("name", ["neurips", "latex"])
def test_nothing_metered_is_refused(name):
    ledger = MemoryLedger()
    run = made.enter(ledger, "running", None)

    with pytest.raises(SettingError, match="known"):
        EXPORTS[name].render(account_of(ledger, run, CATALOGUE))


@given(st.text())
def test_any_text_is_escaped(text):
    assert_safe(escaped(text))
    assert "--" not in escaped("-" * 9).replace("{}", "") or "-{}-" in escaped("-" * 9)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(415.0, "J", "415 J"), (3e17, "FLOP", "300 PFLOP"), (2.5e-6, "g", r"2.50 $\mu$g"), (None, "g", "---"),
     (1e30, "USD", r"1.00$\times 10^{30}$ USD")],
)  # fmt: skip
def test_figures_in_tex(value, unit, text):
    assert text == plain(value, unit)
    assert "---" == figure(None, "J")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs to typeset")
def test_latex_typesets(tmp_path):
    parts = [EXPORTS[name].render(study()) for name in ("neurips", "latex")]
    text = "\n".join(
        [
            r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs}\begin{document}",
            *parts,
            r"\end{document}",
        ]
    )
    (tmp_path / "a.tex").write_text(text)

    done = subprocess.run(["pdflatex", "-interaction=batchmode", "-halt-on-error", "a.tex"], cwd=tmp_path, check=False)

    assert 0 == done.returncode
