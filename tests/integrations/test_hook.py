"""The hook: what it does to a Python that starts under it, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from lowcarb.integrations.hook import FOLDER, hook_environment
from lowcarb.tracker.recover import open_ledger

STATE = """
    import sys
    waiting = [one for one in sys.meta_path if type(one).__name__ == "LowcarbWaiting"]
    print(len(waiting), getattr(sys, "hidden", None), getattr(sys.modules.get("sitecustomize"), "mark", None))
"""
TRAIN = """
    import pathlib, sys, tempfile, torch, transformers
    from transformers import Trainer, TrainingArguments

    if __name__ == "__main__":
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2,
        ))
        rows = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(16)]
        arguments = TrainingArguments(
            output_dir=tempfile.mkdtemp(), max_steps=4, per_device_train_batch_size=2, logging_steps=2, use_cpu=True,
            report_to="none", disable_tqdm=True, save_strategy="no", include_num_input_tokens_seen="all",
            dataloader_num_workers=WORKERS, dataloader_multiprocessing_context=CONTEXT,
        )
        Trainer(model=model, args=arguments, train_dataset=rows).train()
        print("lowcarb" in sys.modules)
"""


@pytest.fixture
def run(tmp_path):
    """Runs a program in a Python of its own, with the hook."""

    def run(program, *flags, environ=None, argv=None):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(program))
        base = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | (environ or {})
        return subprocess.run(
            [sys.executable, *flags, *(argv or [str(path)])],
            env={**base, **hook_environment(base)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def hidden(tmp_path):
    """A folder with a `sitecustomize` of somebody else's."""

    def hidden(program, name="theirs"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(textwrap.dedent(program))
        return str(folder)

    return hidden


def test_the_variables_put_our_folder_first_and_once():
    folder = str(FOLDER)

    assert hook_environment({}) == {"LOWCARB_HOOK": "1", "PYTHONPATH": folder}
    assert hook_environment({"PYTHONPATH": f"a{os.pathsep}{folder}{os.pathsep}b"})["PYTHONPATH"] == os.pathsep.join(
        [folder, "a", "b"]
    )


def test_a_program_without_a_trainer_notices_nothing(run):
    program = "import sys; print(*sorted(sys.modules))"
    plain = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    done = run(program)

    assert (0, "") == (done.returncode, done.stderr)
    assert {"sitecustomize", "__future__"} >= set(done.stdout.split()) - set(plain.stdout.split())


@pytest.mark.parametrize("flags", [["-I"], ["-E"], ["-S"]])
def test_where_python_does_not_look_there_is_no_hook(run, flags):
    done = run("import sys; print(*(type(one).__name__ for one in sys.meta_path))", *flags)

    assert (0, "") == (done.returncode, done.stderr)
    assert "LowcarbWaiting" not in done.stdout


def test_the_sitecustomize_that_ours_hides_is_run(run, hidden):
    folder = hidden("import sys; sys.hidden = __file__; mark = 'theirs'")

    done = run(STATE, environ={"PYTHONPATH": folder})

    assert (0, "") == (done.returncode, done.stderr)
    assert ["1", f"{folder}{os.sep}sitecustomize.py", "theirs"] == done.stdout.split()


def test_what_it_raises_is_said_as_ever_and_stops_nothing(run, hidden):
    folder = hidden("raise ValueError('theirs')")

    done = run(STATE, environ={"PYTHONPATH": folder})

    assert 0 == done.returncode
    assert "ValueError: theirs" in done.stderr
    assert "lowcarb" not in done.stderr
    assert "1" == done.stdout.split()[0]


def test_one_that_runs_the_next_one_itself_does_not_go_in_circles(run, hidden):
    again = """
        import importlib, sys
        sys.hidden = getattr(sys, "hidden", "") + "{name},"
        del sys.modules["sitecustomize"]
        importlib.import_module("sitecustomize")
    """
    first, second = hidden(again.format(name="first"), "a"), hidden("import sys; sys.hidden += 'second'", "b")

    done = run(STATE, environ={"PYTHONPATH": os.pathsep.join([first, second])})

    assert (0, "") == (done.returncode, done.stderr)
    assert ["1", "first,second"] == done.stdout.split()[:2]


def test_a_broken_lowcarb_does_not_break_the_trainer(run, tmp_path):
    package = tmp_path / "transformers"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "trainer.py").write_text("class Trainer:\n    pass\n")
    program = """
        import sys
        sys.modules["lowcarb"] = None
        from transformers.trainer import Trainer
        print(Trainer.__init__ is object.__init__)
    """

    done = run(program)

    assert (0, "", "True") == (done.returncode, done.stderr, done.stdout.strip())


@pytest.mark.parametrize("way", ["script", "module"])
def test_a_trainer_is_metered_without_a_change(run, tmp_path, way):
    pytest.importorskip("accelerate", reason="the hf extra is not installed")
    argv = ["-m", "program"] if way == "module" else None
    workers = ("1", "'spawn'") if way == "script" else ("0", "None")

    done = run(TRAIN.replace("WORKERS", workers[0]).replace("CONTEXT", workers[1]), argv=argv)

    assert 0 == done.returncode, done.stderr
    assert "lowcarb/energy_kwh" in done.stdout
    ledger = open_ledger()
    attempts = [one for each in ledger.runs() for one in ledger.attempts(each.id)]
    ledger.close()
    (attempt,) = attempts
    assert ("done", 4, 64) == (attempt.status, attempt.document["steps"], attempt.document["tokens"])
