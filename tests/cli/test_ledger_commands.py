"""`lowcarb ledger` as a user runs it."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lowcarb.cli.app import run
from lowcarb.ledger import open_ledger

_spec = importlib.util.spec_from_file_location(
    "exchange_files", Path(__file__).parents[1] / "ledger" / "exchange_files.py"
)
files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(files)


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Runs a command on a ledger of its own: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = run(["ledger", *map(str, words), "--ledger", str(tmp_path / "ledger.db")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def imported(cli, tmp_path):
    """A ledger with three imported runs: two of one machine kind, one half as long; one of a process."""
    rows = (
        {},
        {"run_id": "r2", "project_name": "smaller", "timestamp": "2026-05-02T12:00:00", "cpu_energy": "0.001",
         "gpu_energy": "0.001", "ram_energy": "0.0001", "energy_consumed": "0.0021", "emissions": "0.0002"},
        {"run_id": "r3", "project_name": "shared", "timestamp": "2026-05-03T12:00:00", "tracking_mode": "process"},
    )  # fmt: skip
    (tmp_path / "emissions.csv").write_text(files.emissions(*rows))
    code, _, said = cli("import", "emissions.csv")
    assert (code, "3 runs taken in" in said, "taken for UTC" in said) == (0, True, True)
    return {item["name"]: item["id"] for item in json.loads(cli("list", "--json")[1])["runs"]}


def test_import_says_what_it_did_and_the_second_time_that_all_is_known(cli, imported):
    code, out, _ = cli("import", "emissions.csv", "--json")
    told = json.loads(out)

    assert (code, told["kind"], told["runs"], told["known"], told["broken"]) == (0, "import", 0, 3, 0)


def test_a_broken_file_exits_2_and_with_keep_going_1_with_a_count(cli, tmp_path):
    (tmp_path / "e.csv").write_text(files.emissions({}, {"run_id": "r2", "duration": "x"}))

    code, _, said = cli("import", "e.csv")
    assert (code, "line 3, column 5" in said) == (2, True)
    assert json.loads(cli("list", "--json")[1])["runs"] == []
    code, _, said = cli("import", "e.csv", "--keep-going")
    assert (code, "1 left out as broken" in said, "line 3, column 5" in said) == (1, True, True)
    assert len(json.loads(cli("list", "--json")[1])["runs"]) == 1


def test_one_broken_file_of_several_keeps_all_out(cli, tmp_path):
    (tmp_path / "a.csv").write_text(files.emissions({}))
    (tmp_path / "b.csv").write_text(files.emissions({"run_id": "r2", "duration": "x"}))

    code, _, said = cli("import", "a.csv", "b.csv")
    assert (code, "b.csv" in said) == (2, True)
    assert json.loads(cli("list", "--json")[1])["runs"] == []


def test_a_file_that_is_not_there_is_said(cli):
    code, _, said = cli("import", "none.csv")

    assert (code, "No such file" in said) == (2, True)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--text", "SMALL"], ["smaller"]),
        (["--since", "2026-05-02"], ["shared", "smaller"]),
        (["--until", "2026-05-02"], ["summaries"]),
        (["--site", "fra", "--status", "done"], ["shared", "smaller", "summaries"]),
        (["--status", "failed"], []),
        (["--kind", "trial"], []),
        (["--limit", "1"], ["shared"]),
    ],
)
def test_list_filters(cli, imported, filters, names):
    told = json.loads(cli("list", "--json", *filters)[1])

    assert [one["name"] for one in told["runs"]] == names


def test_list_goes_on_where_a_page_ends(cli, imported):
    first = json.loads(cli("list", "--json", "--limit", "2")[1])
    rest = json.loads(cli("list", "--json", "--limit", "2", "--after", first["next"])[1])

    assert [one["name"] for one in (*first["runs"], *rest["runs"])] == ["shared", "smaller", "summaries"]
    assert rest["next"] is None


@pytest.mark.parametrize("words", [["--since", "soon"], ["--order", "size"], ["--kind", "x"], ["--tag", "x"]])
def test_a_wrong_filter_is_named(cli, words):
    code, _, said = cli("list", *words)

    assert (code, words[0].lstrip("-") in said) == (2, True)


def test_compare_gives_an_interval_only_for_the_same_boundary(cli, imported):
    first, second, process = (imported[name] for name in ("summaries", "smaller", "shared"))
    told = json.loads(cli("compare", first, second, process, "--json")[1])["runs"]

    assert told[0]["ratios"] is None
    energy = told[1]["ratios"]["energy_j"]
    assert energy["verdict"] == "less"
    assert energy["interval"]["low"] < energy["mid"] < energy["interval"]["high"] < 1
    assert (told[2]["ratios"]["energy_j"]["verdict"], told[2]["ratios"]["energy_j"]["interval"]) == (
        "not comparable", None,
    )  # fmt: skip
    assert any("process" in note for note in told[2]["notes"])


def test_compare_of_a_run_with_itself_decides_nothing(cli, imported):
    one = imported["summaries"]
    told = json.loads(cli("compare", one, one, "--json")[1])["runs"][1]

    assert told["ratios"]["energy_j"]["mid"] == pytest.approx(1.0)
    assert told["ratios"]["energy_j"]["verdict"] == "undecided"
    assert "undecided" in cli("compare", one, one)[1]
    assert cli("compare", one)[0] == 2


def test_reprice_shows_and_writes_only_when_asked(cli, imported, tmp_path):
    one = imported["summaries"]
    before = json.loads(cli("show", one, "--json")[1])["attempts"]
    told = json.loads(cli("reprice", "--site", "deu", "--json")[1])
    assert (len(told["attempts"]), told["written"]) == (3, False)
    assert json.loads(cli("show", one, "--json")[1])["attempts"] == before

    assert cli("reprice", one, "--site", "deu", "--write")[0] == 0
    [after] = json.loads(cli("show", one, "--json")[1])["attempts"]
    [answer] = after["document"].pop("repriced")
    assert answer["site"]["id"] == "deu"
    assert answer["operational_g"]["mid"] > after["operational_g"]
    assert [after] == before
    assert "Germany" in cli("show", one)[1]


def test_reprice_at_a_place_that_is_none_is_refused(cli, imported):
    assert cli("reprice", "--site", "atlantis")[0] == 2


@pytest.mark.parametrize("format_", ["csv", "codecarbon"])
def test_export_to_stdout_has_a_row_a_run(cli, imported, format_):
    code, out, _ = cli("export", "--format", format_, "--text", "small")
    rows = list(csv.DictReader(io.StringIO(out)))

    assert (code, len(rows)) == (0, 1)


def test_jsonl_goes_out_and_comes_in_whole(cli, imported, tmp_path):
    cli("export", "--format", "jsonl", "-o", "all.jsonl")
    assert run(["ledger", "import", "all.jsonl", "--ledger", str(tmp_path / "other.db")]) == 0

    books = [open_ledger(tmp_path / name) for name in ("ledger.db", "other.db")]
    first, second = ([(one, book.attempts(one.id)) for one in book.runs()] for book in books)
    assert first == second
    for book in books:
        book.close()


def test_parquet_and_json_need_a_file(cli, imported):
    assert cli("export", "--format", "parquet")[0] == 2
    assert cli("export", "--json")[0] == 2
    told = json.loads(cli("export", "--json", "-o", "x.csv")[1])
    assert (told["format"], told["attempts"]) == ("csv", 3)


def test_tags_are_set_shown_filtered_by_and_taken_away(cli, imported, tmp_path):
    book = open_ledger(tmp_path / "ledger.db")
    book.close()
    if not hasattr(book, "tag"):
        pytest.skip("this ledger keeps no tags")
    one = imported["smaller"]

    told = json.loads(cli("tag", one, "owner=me", "note=a=b", "--json")[1])
    assert told["tags"] == {"project": "smaller", "experiment": "e1", "owner": "me", "note": "a=b"}
    listed = json.loads(cli("list", "--json", "--tag", "owner=me")[1])["runs"]
    assert [item["id"] for item in listed] == [one]
    told = json.loads(cli("tag", one, "--remove", "note", "--json")[1])
    assert "note" not in told["tags"]
    assert cli("tag", one, "x=1", "--remove", "x")[0] == 2
    assert cli("tag", "nobody", "x=1")[0] == 2


def test_vacuum_leaves_the_runs(cli, imported, tmp_path):
    book = open_ledger(tmp_path / "ledger.db")
    book.close()
    if not hasattr(book, "vacuum"):
        pytest.skip("this ledger has no vacuum")

    assert cli("vacuum")[0] == 0
    assert len(json.loads(cli("list", "--json")[1])["runs"]) == 3


def test_a_beginning_that_fits_several_runs_is_refused_and_names_them(cli, imported):
    beginnings = {id_[:1] for id_ in imported.values()}
    shared = next((one for one in beginnings if sum(id_.startswith(one) for id_ in imported.values()) > 1), None)
    everything = cli("show", "")
    assert everything[0] == 2
    assert "beginning" in everything[2]
    if shared is not None:
        code, _, said = cli("show", shared)
        assert (code, "more of one id" in said) == (2, True)


def test_an_ambiguous_beginning_tags_nothing(cli, tmp_path):
    book = open_ledger(tmp_path / "ledger.db")
    for attempt in ("aa11", "aa22"):
        book.begin(attempt_id=attempt, key=attempt, kind="track", name=attempt, study=None, started_ns=1)
        book.finish(attempt, status="done", ended_ns=2, document={})
    book.close()

    code, _, said = cli("tag", "aa", "project=x")

    assert code == 2
    assert "aa11" in said
    assert "aa22" in said
    assert json.loads(cli("list", "--json", "--tag", "project=x")[1])["runs"] == []


def test_show_tells_what_a_run_came_to_with_intervals_and_basis(cli, imported):
    code, out, _ = cli("show", imported["summaries"])

    assert code == 0
    for word in ("energy ", "carbon ", "measured ", "site ", "of the energy"):
        assert word in out


def test_an_unknown_run_exits_2_in_every_command(cli, imported):
    known = imported["summaries"]
    calls = (("show", "nope"), ("tag", "nope", "a=b"), ("compare", known, "nope"))
    assert [cli(*words)[0] for words in calls] == [2, 2, 2]


def test_the_total_of_a_page_does_not_pass_for_that_of_all(cli, imported):
    assert "in all, each joule once" in cli("list")[1]
    page = cli("list", "--limit", "2")[1]
    assert "these 2 of more, each joule once" in page
    assert "in all" not in page


@pytest.mark.parametrize("filters", [["--status", "finished"], ["--since", "1d", "--until", "7d"]])
def test_a_filter_that_nothing_can_pass_is_refused(cli, imported, filters):
    code, _, said = cli("list", *filters)

    assert code == 2
    assert filters[0].strip("-") in said


def test_an_empty_answer_says_so(cli, imported):
    assert "no run fits" in cli("list", "--text", "nothing is called this")[2]


def test_a_tag_that_is_not_there_cannot_be_taken_away(cli, imported):
    code, _, said = cli("tag", imported["summaries"], "--remove", "projct")

    assert code == 2
    assert "projct" in said


@pytest.mark.parametrize("content", [b"root:x:0:0\n", b"name,value\n" + b"a,1\n" * 500])
@pytest.mark.parametrize("words", [["list"], ["vacuum"], ["import", "emissions.csv"]])
def test_a_file_that_is_no_ledger_is_left_where_it_is(capsys, tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "emissions.csv").write_text(files.emissions({}))
    mine = tmp_path / "results.csv"
    mine.write_bytes(content)

    code = run(["ledger", *words, "--ledger", str(mine)])

    assert code == 1
    assert "left as it is" in capsys.readouterr().err
    assert mine.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emissions.csv", "results.csv"]


def test_another_programs_database_is_left_where_it_is(capsys, tmp_path):
    other = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE runs (run_uuid TEXT)")
    before = other.read_bytes()

    assert run(["ledger", "list", "--ledger", str(other)]) == 1
    assert "another program's database" in capsys.readouterr().err
    assert other.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize("words", [["list"], ["show", "aa"], ["tag", "aa"], ["reprice"], ["vacuum"]])
def test_what_only_reads_makes_no_ledger_of_a_misspelt_path(capsys, tmp_path, words):
    code = run(["ledger", *words, "--ledger", str(tmp_path / "legder.db")])

    assert code == 2
    assert "a ledger that is there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
