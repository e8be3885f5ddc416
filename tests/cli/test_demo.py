"""`lowcarb demo`: the recorded report, written without training."""

from __future__ import annotations

import pytest

from lowcarb.cli.demo import demo
from lowcarb.errors import SettingError
from lowcarb.report.demo import recording


def test_demo_writes_the_whole_report_and_says_where_it_is_from(tmp_path, capsys):
    target = tmp_path / "new folder" / "demo.html"

    demo(output=target, open_=False)

    assert "<!DOCTYPE html>" in target.read_text(encoding="utf-8")
    said = capsys.readouterr().err
    assert str(target) in said
    assert recording()["recorded"]["date"] in said
    assert recording()["machine"]["name"] in said


def test_demo_names_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")

    with pytest.raises(SettingError, match="output"):
        demo(output=tmp_path / "file" / "demo.html", open_=False)


def test_recording_is_a_real_run():
    document = recording()

    assert document["study"]["id"] == "mini"
    assert {trial["status"] for trial in document["trials"]} == {"done"}
    assert all(trial["power"] for trial in document["trials"])
