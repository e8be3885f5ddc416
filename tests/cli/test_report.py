"""`lowcarb report`: any form of any run or study, and cards edited in place."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.cli.app import run as command
from lowcarb.ledger import open_ledger
from lowcarb.report.exports import EXPORTS, account_of

_path = Path(__file__).parents[1] / "report" / "export_ledgers.py"
_spec = importlib.util.spec_from_file_location("export_ledgers", _path)
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)
CATALOGUE = Catalogue.load()


@pytest.fixture
def book(tmp_path):
    """A ledger's path, with a run and after it a study."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path)
    made.one_run("finetune", ledger)
    made.a_study("mine", ledger)
    ledger.close()
    return path


@pytest.fixture
def report(book, capsys):
    """Exit code, stdout and stderr of a report."""

    def call(*arguments):
        capsys.readouterr()
        code = command(["report", *arguments, "--ledger", str(book)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("subject", ["mine", "finetune"])
def test_each_form_of_a_study_and_of_a_run(report, name, subject):
    code, out, err = report(subject, "--format", name, "--site", "fra")

    assert (0, "") == (code, err)
    assert "measured" in out
    assert "The energy is that of" in out


@pytest.mark.parametrize("name", ["html", "md", "json", "csv"])
def test_reports_of_a_study_are_as_they_were(report, name):
    code, out, _ = report("mine", "--format", name)

    assert 0 == code
    assert "distilbert" in out


@pytest.mark.parametrize("name", ["html", "md", "json"])
def test_a_run_has_a_report_too(report, name):
    code, out, _ = report("finetune", "--format", name)

    assert 0 == code
    assert "finetune" in out


def test_csv_of_a_run_points_to_the_ledgers_export(report):
    code, out, err = report("finetune", "--format", "csv")

    assert (2, "") == (code, out)
    assert "lowcarb ledger export" in err


def test_the_newest_is_taken_where_none_is_named(report):
    code, out, _ = report("--format", "sci")

    assert (0, "mine") == (code, json.loads(out)["subject"]["id"])


def test_the_beginning_of_a_runs_id_is_enough(report, book):
    ledger = open_ledger(book)
    run = ledger.run("finetune")
    ledger.close()

    code, out, _ = report(run.id[:8], "--format", "sci")

    assert (0, run.id) == (code, json.loads(out)["subject"]["id"])


def test_output_goes_to_a_file_in_a_new_folder(report, tmp_path):
    path = tmp_path / "new" / "sci.json"

    code, out, err = report("mine", "--format", "sci", "-o", str(path))

    assert (0, "") == (code, out)
    assert "sci" == json.loads(path.read_text())["kind"]
    assert str(path) in err


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("model_card", "model-card"), ("modelcard", "model-card"), ("HTML", "html"), ("cyclone", "cyclonedx")],
)  # fmt: skip
def test_an_unknown_format_is_refused_with_what_is_near(report, wrong, near):
    code, out, err = report("mine", "--format", wrong)

    assert (2, "") == (code, out)
    assert 1 == err.count("error:")
    assert f"did you mean {near}" in " ".join(err.split())
    assert all(name in err for name in EXPORTS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing", "--format", "sci"], "run or study"),
        (["mine", "--format", "sci", "--per", "pflop"], "per"),
        (["mine", "--format", "ghg", "--per", "run"], "--format sci"),
        (["mine", "--format", "sci", "--market", "1"], "--format ghg"),
        (["mine", "--format", "ghg", "--market", "-1"], "zero or more"),
        (["mine", "--format", "ghg", "--instrument", "x"], "--market"),
        (["mine", "--format", "sci", "--card", "x.md"], "model-card"),
        (["mine", "--format", "model-card", "--force"], "--card"),
        (["mine", "--format", "sci", "--site", "frnace"], "france"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_a_remedy(report, arguments, said):
    code, out, err = report(*arguments)

    assert (2, "") == (code, out)
    assert said in err


def test_an_empty_ledger_says_so(tmp_path, capsys):
    code = command(["report", "--format", "sci", "--ledger", str(tmp_path / "none.db")])

    assert 2 == code
    assert "none yet" in capsys.readouterr().err


def test_per_and_market_reach_their_forms(report):
    assert "million tokens" in json.loads(report("finetune", "--format", "sci", "--per", "tokens")[1])["unit"]
    market = report("finetune", "--format", "ghg", "--market", "10", "--instrument", "PPA")[1]
    assert pytest.approx(13.2) == json.loads(market)["market_based"]["g"]["mid"]


def test_a_card_is_edited_in_place_and_keeps_its_bytes_and_permissions(report, tmp_path):
    card = tmp_path / "README.md"
    before = b"---\r\nlicense: mit # stays\r\n---\r\n# caf\xe9\r\n"
    card.write_bytes(before)
    card.chmod(0o640)

    code, out, _ = report("finetune", "--card", str(card))

    once = card.read_bytes()
    assert (0, "") == (code, out)
    assert once.startswith(b"---\r\nlicense: mit # stays\r\n# lowcarb: begin")
    assert b"\r\n---\r\n# caf\xe9\r\n" in once
    assert b"  emissions: 66 " in once
    assert 0o640 == card.stat().st_mode & 0o777
    report("finetune", "--card", str(card))
    assert once == card.read_bytes()
    assert [card.name, "ledger.db"] == sorted(p.name for p in tmp_path.iterdir() if p.name[-4:] not in ("-wal", "-shm"))


def test_a_card_behind_a_link_is_edited_where_it_is(report, tmp_path):
    (tmp_path / "real.md").write_text("# T\n")
    link = tmp_path / "link.md"
    link.symlink_to("real.md")

    report("finetune", "--card", str(link))

    assert link.is_symlink()
    assert "co2_eq_emissions" in (tmp_path / "real.md").read_text()


def test_a_card_that_is_refused_stays_as_it_was(report, tmp_path):
    card = tmp_path / "README.md"
    card.write_text("---\nco2_eq_emissions: 83.5\n---\n")

    code, _, err = report("finetune", "--card", str(card))

    assert 2 == code
    assert "--force" in err
    assert "---\nco2_eq_emissions: 83.5\n---\n" == card.read_text()
    assert 0 == report("finetune", "--card", str(card), "--force")[0]
    assert "83.5" not in card.read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(report, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(0o500)

    assert 2 == report("mine", "--format", "sci", "-o", str(folder / "a.json"))[0]


WORST = "".join(name for name in made.HOSTILE if len(name) < 1000)
"""All hostile names in one."""


@pytest.fixture(scope="module")
def hostile_book(tmp_path_factory):
    """A ledger with a run of the worst name, and a study with it as its question; its path and the run's id."""
    path = tmp_path_factory.mktemp("hostile") / "ledger.db"
    ledger = open_ledger(path)
    _, run = made.one_run(WORST, ledger, notes={"model": WORST, "framework": WORST})
    made.a_study("hostile", ledger, question=WORST)
    ledger.close()
    return path, run


@pytest.mark.parametrize("subject", ["run", "study"])
@pytest.mark.parametrize("name", [*EXPORTS, "html", "md", "json"])
def test_hostile_names_come_out_as_text_that_can_be_stored(hostile_book, tmp_path, capsys, name, subject):
    path, run = hostile_book
    asked, out = run if subject == "run" else "hostile", tmp_path / "out"

    code = command(["report", asked, "--format", name, "-o", str(out), "--ledger", str(path)])

    assert 0 == code, capsys.readouterr().err
    text = out.read_bytes().decode("utf-8")
    assert "\0" not in text
    if name in ("sci", "ghg", "boamps", "cyclonedx", "spdx", "json"):
        json.loads(text)
    elif name in ("model-card", "eu-ai-act", "html", "md"):
        assert "<script>alert(1)" not in text.partition("```json")[0]
    else:
        assert "\\input{/etc" not in text


@pytest.mark.parametrize("name", EXPORTS)
def test_each_hostile_name_alone_goes_through_every_export(name):
    for hostile in made.HOSTILE:
        ledger, run = made.one_run(hostile, notes={"model": hostile, "framework": hostile})
        text = EXPORTS[name].render(account_of(ledger, run, CATALOGUE))

        assert "\0" not in text
        assert text.encode("utf-8")


def test_a_name_that_several_runs_may_have_is_answered_with_their_ids(tmp_path, capsys):
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path)
    run = made.enter(ledger, "summaries", made.document({"train": made.energy(cpu_j=1.0)}), key="another key")
    ledger.close()

    assert 2 == command(["report", "summaries", "--format", "sci", "--ledger", str(path)])
    assert f"{run[:12]} (named 'summaries')" in " ".join(capsys.readouterr().err.split())
