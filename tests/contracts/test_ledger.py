"""What every ledger promises, asked of each of them."""

from __future__ import annotations

import random
import threading
from math import isnan

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowcarb.errors import LedgerError, SettingError
from lowcarb.ledger import open_ledger
from lowcarb.ledger.base import Ledger
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.ledger.query import Query, Sum
from lowcarb.ledger.sql import SqlLedger

HOSTILE = [
    "line\nbreak\r\ttab",
    "nul\0inside",
    "lone \ud800 surrogate",
    "x" * 10_000,
    "../../etc/passwd",
    "'; DROP TABLE run; --",
    r"back\slash \0000 \\ \d800",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "😀 ünïcode",
    " ",
]
FOOTPRINT = {
    "energy_j": {"low": 1.0, "mid": 2.0, "high": 3.0, "basis": "measured"},
    "operational_g": {"low": 0.1, "mid": 0.2, "high": 0.3, "basis": "modelled"},
}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request, tmp_path):
    if request.param == "memory":
        ledger = MemoryLedger()
    elif request.param == "sqlite":
        ledger = SqlLedger(tmp_path / "ledger.db")
    else:
        ledger = open_ledger(request.getfixturevalue("empty_postgres"))
    yield ledger
    ledger.close()


def begin(ledger: Ledger, attempt_id: str = "a1", **given):
    facts = {"key": "k1", "kind": "track", "name": "fine-tune", "study": None, "started_ns": 1_000, **given}
    return ledger.begin(attempt_id=attempt_id, **facts)


def test_the_first_attempt_makes_the_run(ledger):
    attempt = begin(ledger, study="s", started_ns=42)

    run = ledger.run("k1")
    assert (run.id, run.key, run.kind, run.name, run.study, run.created_ns) == (
        attempt.run_id,
        "k1",
        "track",
        "fine-tune",
        "s",
        42,
    )
    assert (attempt.number, attempt.status, attempt.ended_ns, attempt.energy_j) == (1, "running", None, None)


def test_a_second_attempt_joins_the_run_of_the_same_key(ledger):
    first, second = begin(ledger, "a1"), begin(ledger, "a2", started_ns=2_000)

    assert first.run_id == second.run_id
    assert [one.number for one in ledger.attempts(first.run_id)] == [1, 2]
    assert len(ledger.runs()) == 1


def test_beginning_with_a_known_attempt_id_gives_that_attempt_back(ledger):
    begin(ledger)
    ended = ledger.finish("a1", status="done", ended_ns=2_000, document={"n": 1})

    assert begin(ledger) == ended
    assert len(ledger.attempts(ended.run_id)) == 1


def test_finishing_takes_energy_and_carbon_from_the_footprint(ledger):
    begin(ledger)
    ended = ledger.finish("a1", status="failed", ended_ns=2_000, document={"footprint": FOOTPRINT})

    assert (ended.status, ended.ended_ns, ended.energy_j, ended.operational_g) == ("failed", 2_000, 2.0, 0.2)
    assert list(ledger.attempts(ended.run_id)) == [ended]


def test_a_document_without_a_footprint_has_unknown_energy(ledger):
    begin(ledger)

    assert ledger.finish("a1", status="done", ended_ns=2, document={"footprint": None}).energy_j is None


def test_finishing_an_attempt_that_never_began_is_refused(ledger):
    with pytest.raises(LedgerError, match="nobody"):
        ledger.finish("nobody", status="done", ended_ns=1, document={})


def test_a_document_that_json_cannot_say_is_refused_and_leaves_the_attempt_alone(ledger):
    begin(ledger)

    with pytest.raises(LedgerError, match="set"):
        ledger.finish("a1", status="done", ended_ns=1, document={"x": {1, 2}})
    assert begin(ledger).status == "running"


def test_a_number_that_is_not_finite_is_kept_as_unknown(ledger):
    begin(ledger)
    ended = ledger.finish("a1", status="diverged", ended_ns=1, document={"loss": float("nan"), "t": (1, 2)})

    assert ended.document == {"loss": None, "t": [1, 2]}


def test_what_is_given_back_is_not_what_was_handed_in(ledger):
    begin(ledger)
    document = {"list": [1]}
    ended = ledger.finish("a1", status="done", ended_ns=1, document=document)
    document["list"].append(2)
    ended.document["list"].append(3)

    assert begin(ledger).document == {"list": [1]}


def test_runs_come_newest_first_and_are_filtered(ledger):
    begin(ledger, "a1", key="old", started_ns=1)
    begin(ledger, "a2", key="new", kind="trial", study="s", started_ns=3)
    begin(ledger, "a3", key="mid", study="s", started_ns=2)

    assert [run.key for run in ledger.runs()] == ["new", "mid", "old"]
    assert [run.key for run in ledger.runs(kind="track")] == ["mid", "old"]
    assert [run.key for run in ledger.runs(study="s")] == ["new", "mid"]
    assert [run.key for run in ledger.runs(limit=1)] == ["new"]
    assert list(ledger.runs(limit=0)) == []


def test_attempts_come_oldest_first_even_where_the_older_was_taken_in_later(ledger):
    late = begin(ledger, "late", started_ns=20)
    begin(ledger, "early", started_ns=10)

    assert [one.id for one in ledger.attempts(late.run_id)] == ["early", "late"]


def test_a_run_is_found_by_id_beginning_of_an_id_and_key(ledger):
    run_id = begin(ledger, key="some key").run_id

    assert [ledger.run(name).id for name in ("some key", run_id, run_id[:8])] == [run_id] * 3


def test_an_ambiguous_or_unknown_beginning_finds_nothing(ledger):
    for number in range(17):  # 17 ids on 16 first digits: some digit begins two of them
        begin(ledger, f"a{number}", key=f"key {number}")
    first_digits = [run.id[0] for run in ledger.runs()]
    shared = next(digit for digit in first_digits if first_digits.count(digit) > 1)

    assert [ledger.run(name) for name in (shared, "", "nothing", "%", "_")] == [None] * 5


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_survive_unchanged(ledger, text):
    attempt = begin(ledger, key=text, name=text, study=text)
    ended = ledger.finish("a1", status="done", ended_ns=1, document={text: text})

    run = ledger.run(text)
    assert (run.key, run.name, run.study) == (text, text, text)
    assert [one.id for one in ledger.runs(study=text)] == [attempt.run_id]
    assert ended.document == {text: text}
    assert list(ledger.attempts(text)) == []
    assert list(ledger.runs(kind=text)) == []


def test_threads_may_write_at_the_same_time(ledger):
    def write(number):
        for one in range(5):
            begin(ledger, f"{number}-{one}")
            ledger.finish(f"{number}-{one}", status="done", ended_ns=1, document={})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    attempts = ledger.attempts(ledger.run("k1").id)
    assert sorted(one.number for one in attempts) == list(range(1, 21))


def test_a_closed_ledger_refuses_and_may_be_closed_again(ledger):
    ledger.close()
    ledger.close()

    with pytest.raises(LedgerError, match="closed"):
        ledger.runs()


names = st.text(st.characters(), max_size=30)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names
documents = st.dictionaries(names, st.recursive(leaves, st.lists, max_leaves=4), max_size=4)
times = st.integers(0, 2**63 - 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=names, name=names, study=st.none() | names, started_ns=times, document=documents)
def test_whatever_is_written_is_read_back(ledger, key, name, study, started_ns, document):
    attempt_id = f"{key}-{started_ns}"
    begun = begin(ledger, attempt_id, key=key, name=name, study=study, started_ns=started_ns)
    ended = ledger.finish(attempt_id, status="done", ended_ns=started_ns, document=document)

    assert begun.started_ns == started_ns
    assert ended.document == document
    assert ended in ledger.attempts(begun.run_id)
    assert ledger.run(key).key == key


def ended(ledger, attempt_id, energy_j=2.0, site="fra", status="done", **given):
    """An attempt that has ended, with a footprint of a tenth of its energy in grams."""
    attempt = begin(ledger, attempt_id, **{"key": attempt_id, **given})
    figures = {"energy_j": {"mid": energy_j}, "operational_g": {"mid": None if energy_j is None else energy_j / 10}}
    document = {"footprint": figures, "site": {"id": site}}
    return ledger.finish(attempt_id, status=status, ended_ns=attempt.started_ns + 5, document=document)


def keys(page):
    return [row.run.key for row in page.rows]


NOVEMBER_NS, DECEMBER_NS = 1_793_500_000_000_000_000, 1_796_100_000_000_000_000


def test_a_row_is_the_sum_of_its_attempts(ledger):
    ended(ledger, "a1", 2.0, key="k", started_ns=10, status="interrupted", site="fra")
    ended(ledger, "a2", 3.0, key="k", started_ns=20, site="swe")
    begin(ledger, "a3", key="k", started_ns=30)

    (row,) = ledger.page(Query()).rows
    assert (row.attempts, row.status, row.started_ns, row.ended_ns) == (3, "running", 10, None)
    assert (row.energy_j, row.operational_g) == pytest.approx((5.0, 0.5))
    ended(ledger, "a3", None, key="k", started_ns=30, site="pol")
    (row,) = ledger.page(Query()).rows
    assert (row.status, row.ended_ns, row.energy_j, row.operational_g, row.site) == ("done", 35, None, None, "pol")


def test_pages_go_on_where_the_last_ended_and_meet_each_run_once(ledger):
    for number in range(7):
        ended(ledger, f"a{number}", None if number == 3 else float(number % 3), started_ns=number // 2)
    for order in ("newest", "energy", "carbon"):
        whole, seen, after = keys(ledger.page(Query(order=order))), [], None
        while True:
            page = ledger.page(Query(order=order), limit=2, after=after)
            seen, after = [*seen, *keys(page)], page.next
            if after is None:
                break
        assert seen == whole
        assert sorted(seen) == [f"a{number}" for number in range(7)]
    assert keys(ledger.page(Query(order="energy")))[-1] == "a3"  # unknown is last
    assert keys(ledger.page(Query(), limit=0)) == []


@pytest.mark.parametrize("after", ["", "nonsense", "W10", "é"])
def test_a_cursor_that_is_none_is_refused(ledger, after):
    with pytest.raises(SettingError, match="after"):
        ledger.page(Query(), after=after)


def test_filters_narrow_and_combine(ledger):
    ended(ledger, "a", name="Big BERT", study="s", kind="trial", started_ns=1)
    ended(ledger, "b", name="small bert", study="s", site="swe", status="failed", started_ns=2)
    ended(ledger, "c", name="100%_GPT", started_ns=3)
    ledger.tag(ledger.run("a").id, {"project": "x", "who": "me"})
    ledger.tag(ledger.run("b").id, {"project": "x"})
    for query, found in [
        (Query(kind="trial"), "a"), (Query(study="s"), "ba"), (Query(status="failed"), "b"), (Query(site="swe"), "b"),
        (Query(text="BERT"), "ba"), (Query(text="%_"), "c"), (Query(text="_"), "c"), (Query(since_ns=2), "cb"),
        (Query(until_ns=2), "a"), (Query(tags={"project": "x"}), "ba"),
        (Query(tags={"project": "x", "who": "me"}), "a"),
        (Query(tags={"project": "y"}), ""), (Query(study="s", status="done", text="b"), "a"),
        (Query(tags={"project": "x"}, order="energy", status="failed"), "b"),
    ]:  # fmt: skip
        assert keys(ledger.page(query)) == list(found), query


def test_sums_are_by_any_field_and_agree_with_and_without_filters(ledger):
    ended(ledger, "a", 1.0, study="s", started_ns=NOVEMBER_NS)
    ended(ledger, "b", 2.0, study="s", started_ns=DECEMBER_NS, site="swe")
    ended(ledger, "c", None, started_ns=DECEMBER_NS, status="failed")
    begin(ledger, "d", key="d", started_ns=DECEMBER_NS)
    ledger.tag(ledger.run("b").id, {"project": "x"})

    assert list(ledger.sums(Query(), "month")) == [Sum("2026-11", 1, 1.0, 0.1, 0), Sum("2026-12", 3, 2.0, 0.2, 2)]
    for by in ("month", "study", "site", "status", "kind", "tag:project"):
        kept, reckoned = ledger.sums(Query(), by), ledger.sums(Query(since_ns=0), by)
        assert list(kept) == list(reckoned)
        assert sum(one.runs for one in kept) == 4
    assert [(one.key, one.runs) for one in ledger.sums(Query(), "tag:project")] == [("", 3), ("x", 1)]
    assert [(one.key, one.runs) for one in ledger.sums(Query(study="s"), "site")] == [("fra", 1), ("swe", 1)]
    before = list(ledger.sums(Query(), "month"))
    ledger.vacuum()
    assert list(ledger.sums(Query(), "month")) == before
    with pytest.raises(SettingError, match="by"):
        ledger.sums(Query(), "name")


def test_tags_are_set_changed_and_removed(ledger):
    run_id = begin(ledger).run_id

    assert ledger.tag(run_id, {"project": "x", "who": "me"}) == {"project": "x", "who": "me"}
    assert ledger.tag(run_id, {"project": "y", "who": None, "not there": None}) == {"project": "y"}
    assert ledger.tag(run_id, {}) == ledger.page(Query()).rows[0].tags == {"project": "y"}
    with pytest.raises(LedgerError, match="no run"):
        ledger.tag("nobody", {"a": "b"})


def test_readings_are_kept_once(ledger):
    begin(ledger)
    ledger.add_readings("a1", [("gpu0", 2, 5.0), ("cpu", 1, float("nan")), ("gpu0", 2, 9.0)])
    ledger.add_readings("a1", [("gpu0", 2, 7.0), ("gpu0", 1, 6.0)])

    first, *rest = ledger.readings("a1")
    assert first[:2] == ("cpu", 1)
    assert isnan(first[2])
    assert rest == [("gpu0", 1, 6.0), ("gpu0", 2, 5.0)]
    assert list(ledger.readings("nobody")) == []
    with pytest.raises(LedgerError, match="nobody"):
        ledger.add_readings("nobody", [("gpu0", 1, 1.0)])


@pytest.mark.parametrize("hostile", [*HOSTILE, "".join(random.Random(1).choices("abcdef0123456789é", k=10_000))])
def test_hostile_tags_studies_sites_and_channels_survive_unchanged(ledger, hostile):
    ended(ledger, "a", name=hostile, study=hostile, site=hostile, key=hostile)
    (row,) = ledger.page(Query(study=hostile, site=hostile, text=hostile)).rows
    ledger.tag(row.run.id, {hostile: hostile})
    ledger.add_readings("a", [(hostile, 1, 1.0)])

    (row,) = ledger.page(Query(tags={hostile: hostile})).rows
    assert (row.run.name, row.run.study, row.site, row.tags) == (hostile, hostile, hostile, {hostile: hostile})
    assert list(ledger.readings("a")) == [(hostile, 1, 1.0)]
    assert [one.key for one in ledger.sums(Query(), f"tag:{hostile}")] == [hostile]
    assert keys(ledger.page(Query(status=hostile, kind=hostile))) == []
