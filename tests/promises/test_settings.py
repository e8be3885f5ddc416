"""Bad input is one error that names the setting, before a training starts; after that nothing raises."""

from __future__ import annotations

import pytest

BAD = {
    "name": ["", None, 5, b"bytes"], "kind": ["train", None],
    "interval_s": [0, -1, float("nan"), float("inf"), "1", None, True],
    "site": [5, "", float("nan")], "budget": ["5", -1, "-5 g", "nan g", "0 J"], "attribution": ["all", None],
    "ledger": ["mysql://u:secret@h/x", "", 5, "\0"], "home": ["", 5, "\0"], "sensors": ["nvml", [1], 5],
    "joins": ["yes", None], "key": ["", 5], "study": ["", 5], "machine": ["gpu", 5],
}  # fmt: skip


def test_a_bad_setting_is_one_error_that_names_it(run, home):
    done = run(f"""
from lowcarb.errors import LowcarbError
nan, inf = float("nan"), float("inf")
for name, values in {BAD!r}.items():
    for value in values:
        settings = dict(name="x", **STEADY) | {{name: value}}
        try:
            track(**settings)
        except LowcarbError as error:
            assert name in str(error), (value, error)
            assert "secret" not in str(error)
        else:
            raise AssertionError(f"{{name}} = {{value!r}}")
""")

    assert (done.returncode, done.stderr) == (0, "")
    assert not home.exists()


def test_an_unknown_setting_is_refused_at_the_call(run):
    done = run("try: track('x', intervall_s=1)\nexcept TypeError as error: print(error)")

    assert "intervall_s" in done.stdout


def test_after_the_start_no_wrong_use_raises(run, attempts):
    done = run("""
class Odd:
    def __str__(self): raise RuntimeError("no")
    __repr__ = __int__ = __float__ = __index__ = __str__
t = track("x", **STEADY)
for turn in range(3):
    for value in (None, -1, float("nan"), float("inf"), "x", b"x", [], {}, object(), Odd(), 10**400):
        t.tokens(value); t.steps(value); t.progress(value); t.end_as(value); t.turn_to(value)
        t.note(value, value)
        with t.phase(value):
            pass
    t.footprint(); t.phases(); t.energy(); t.power_w(); t.outlook(); t.over_budget; t.faults(); t.check_budget()
    (t.start, t.start, t.stop)[turn]()
t.stop(); t.stop("nonsense"); t.start()
t.tokens(1)
print(t.status)
""")

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert [one.status for one in attempts()] == ["done"]


@pytest.mark.parametrize(
    "change",
    [
        "os.environ.clear()",
        "os.environ['LOWCARB_ATTEMPT'] = 'nonsense'",
        "sys.stderr = sys.stdout = None",
        "logging.raiseExceptions = True; logging.getLogger().addHandler(Raising())",
        "threading.Thread.start = boom",
        "time.sleep = boom",
        "signal.signal = boom",
        "warnings.simplefilter('error')",
    ],
)
def test_whatever_a_program_does_to_its_process_the_meter_ends_nothing(run, change):
    done = run(f"""
import gc, logging, warnings
sleep = time.sleep
def boom(*some, **more): raise RuntimeError("boom")
class Raising(logging.Handler):
    def handle(self, record): raise RuntimeError("handler")
t = track("x", **STEADY)
{change}
with t:
    with t.phase("p"):
        t.tokens(1)
        sleep(0.15)
t.footprint()
ready("end")
os._exit(7)
""")

    assert (done.returncode, done.stdout) == (7, "end\n"), done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--interval", "nan"), ("--ledger", ""),
        ("--unknown-option",), (),
    ],
)  # fmt: skip
def test_a_bad_option_is_said_before_the_command_runs(lowcarb, tmp_path, words):
    done = lowcarb("track", *words, *(("--", "touch", tmp_path / "ran") if words else ()))

    assert done.returncode in (2, 127)
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()
