"""What commands share: tables that cut no figure, files asked for before the work, addresses before the server."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.cli import console
from lowcarb.cli.app import run
from lowcarb.errors import SettingError

COLUMNS = ("device", "time", "carbon", "rent")
ROW = (
    "1024 × a100-sxm4-80gb, bf16",
    "1.6 × 10⁷ h (1.1 × 10⁷–2.6 × 10⁷)",
    "490 g (150–1\u202f300)",
    "1\u202f200\u202f000 USD",
)
FIGURES = ("(150–1\u202f300)", "1\u202f200\u202f000 USD", "490 g", "10⁷ h")
MINI = Path(__file__).parents[2] / "studies" / "mini.yaml"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 240])
def test_no_figure_is_cut_at_any_width(capsys, monkeypatch, width):
    monkeypatch.setattr(console, "WIDTH", width)

    console.show("Forecast", COLUMNS, [ROW, ROW], right=(3,))

    out = capsys.readouterr().out
    for figure in FIGURES:
        assert out.count(figure) == 2, out
    assert max(map(len, out.splitlines())) <= width


@given(st.lists(st.text(max_size=30), min_size=3, max_size=3))
def test_cells_are_text_whatever_they_hold(row):
    console.show("", ("a", "b", "c"), [row])


def test_a_row_of_words_is_folded_rather_than_told_in_lines(capsys, monkeypatch):
    monkeypatch.setattr(console, "WIDTH", 40)

    console.show("", ("what", "why"), [("a short one", "a reason that is quite a bit longer than the line")])

    assert capsys.readouterr().out.splitlines()[0].split() == ["what", "why"]


def test_brackets_in_a_cell_are_no_markup(capsys):
    console.show("", ("name",), [("[bold]x[/bold]",)])

    assert "[bold]x[/bold]" in capsys.readouterr().out


def test_a_file_that_can_be_written_is_not_made_by_asking(tmp_path):
    path = tmp_path / "new" / "report.html"

    assert console.writable("report", path) == path
    assert not path.exists()


def test_a_file_that_is_there_keeps_what_it_holds(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")

    console.writable("report", path)

    assert path.read_text() == "mine"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingError, match="report"):
        console.writable("report", tmp_path / "file" / "report.html")


@pytest.mark.parametrize(
    "words",
    [
        ["study", "run", str(MINI), "--report"],
        ["reduce", str(MINI), "--max-quality-loss", "0.01", "--save"],
        ["reduce", str(MINI), "--max-quality-loss", "0.01", "--report"],
    ],
)
def test_where_the_outcome_goes_is_asked_before_anything_trains(capsys, tmp_path, words):
    assert run([*words, str(tmp_path)]) == 2
    assert words[-1].strip("-") in capsys.readouterr().err


@pytest.mark.parametrize("floor", ["-1", "101", "nan"])
def test_a_floor_that_no_f1_can_be_is_refused_before_anything_trains(capsys, floor):
    code = run(["reduce", str(MINI), "--max-quality-loss", "0.01", "--quality-floor", floor])

    assert code == 2
    assert "quality-floor" in capsys.readouterr().err


def test_serve_refuses_a_port_that_is_taken_and_tells_no_address(capsys):
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code = run(["serve", "--port", str(taken.getsockname()[1])])

    said = capsys.readouterr().err
    assert code == 2
    assert "port" in said
    assert "http://" not in said


def test_serve_refuses_a_host_that_is_not_this_machine(capsys):
    pytest.importorskip("uvicorn")

    assert run(["serve", "--host", "192.0.2.1"]) == 2  # an address for documents (RFC 5737): nobody has it
    said = capsys.readouterr().err
    assert "host" in said
    assert "token" not in said
