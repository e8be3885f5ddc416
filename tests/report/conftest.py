"""Documents for the tests of this folder. Test folders are no packages, so the builder is loaded by its path."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("report_documents", Path(__file__).with_name("documents.py"))
documents = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(documents)

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></svg><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "lone \ud800 surrogate",
    "=cmd|' /C calc'!A0",
)


def _variants():
    """Documents with something missing, by what is."""
    d = documents
    wide = d.change(1e-5, 0.5, 2e4, "modelled")
    unknown = d.trial(devices=False)
    unknown["footprint"] |= {"embodied_g": None, "water_l": None, "cost": None}
    unknown |= {"parameters": None, "fertility": None}
    unmetered = d.trial("bert/native", 0, status="failed", error="no machine", devices=False)
    unmetered |= {"footprint": None, "phases": [{"name": "train", "wall_s": 1.0, "cpu_s": 1.0, "footprint": None}]}
    plain = d.trial()["footprint"] | {"cost": d.estimate(0.002, 2.0, "catalogue")}
    wide_one = d.comparison(
        carbon_ratio=wide, quality_change=d.change(-500.0, -7.0, 490.0), verdict="undecided", pairs=1
    )
    return {
        "whole": d.document(),
        "no site declared": d.document(declared=False),
        "one trial": d.document([d.trial()], []),
        "one seed": d.document([d.trial(), d.trial("distilbert/native", 0, f1=43.0)], [wide_one]),
        "pending only": d.document([d.pending(), d.pending("distilbert/native")], []),
        "some pending": d.document([d.trial(), d.pending("bert/native", 1), d.pending("distilbert/native")], []),
        "interrupted only": d.document([d.trial(status="interrupted", error="SIGTERM")], []),
        "unmetered": d.document([unmetered], []),
        "unknown figures": d.document([unknown], [], devices=()),
        "no devices": d.document([d.trial(devices=False), d.trial(seed=1, devices=False)], [], devices=()),
        "no comparisons": d.document(comparisons=[]),
        "no findings": d.document(checks=[], sources=[]),
        "no trials at all": d.document([d.pending()], []) | {"trials": [], "arms": [], "pareto": []},
        "money": d.document([d.trial() | {"footprint": plain}], []),
        "margin of zero": _with_margin(d.document(), 0.0),
        "other metric": _with_metric(d.document(), "sts"),
        "figures not finite": d.document(
            comparisons=[
                d.comparison(carbon_ratio=d.change(0.0, float("inf"), float("inf"))),
                d.comparison(quality_change=d.change(float("-inf"), 0.0, 1.0)),
            ]
        ),
        "other recipes": _with_recipes(d.document()),
        "both on the front": _with_front(d.document()),
        "from scratch": d.document(from_scratch=("distilbert/native",)),
        "levers": d.with_levers(),
        "levers without results": d.with_levers() | {"comparisons": [], "ablation": _without_results(d.ablation())},
        "levers without a stack": d.document(ablation=d.ablation(stack=[], whole=None)),
    }


def _without_results(ablation):
    levers = [one | {"alone": None, "on_top": None} for one in ablation["levers"]]
    return ablation | {"whole": None, "levers": levers}


def _with_margin(document, margin):
    document["study"]["margin"] = margin
    return document


def _with_metric(document, metric):
    document["study"]["metric"] = metric
    return document


def _with_recipes(document):
    for number, arm in enumerate(document["study"]["arms"]):
        arm["recipe"] = arm["recipe"] | {"batch": 4 + number}
    return document


def _with_front(document):
    for point in document["pareto"]:
        point["on_front"] = True
    return document


VARIANTS = _variants()


@pytest.fixture
def make():
    """The builder of documents."""
    return documents


@pytest.fixture
def document(make):
    """Two arms, five trials of which one was interrupted, a comparison of models and one of devices."""
    return make.document()


@pytest.fixture(params=list(VARIANTS))
def variant(request):
    """One document after the other with something missing."""
    return VARIANTS[request.param]


@pytest.fixture(params=HOSTILE)
def hostile(request, make):
    """A document in which everything that has a name has a bad one."""
    bad = request.param
    arm, trials = f"{bad}/native", []
    for seed in (0, 1):
        trials += [make.trial(arm, seed), make.trial("distilbert/native", seed, f1=43.0)]
    trials.append(make.trial(arm, 2, status="failed", error=bad))
    for one in trials:
        one["device"] = bad
        one["phases"].append(one["phases"][0] | {"name": bad})
        for projection in one["projections"].values():
            projection["device"] = bad
    found = make.comparison("distilbert/native", arm, reason=bad, benefits=[bad], drawbacks=[bad])
    document = make.document(trials, [found, make.comparison("a100", "t4", factor="device")])
    document["study"] |= {"id": bad, "question": bad}
    document["site"] |= {"name": bad, "note": bad, "declared": False}
    document["machine"] |= {"name": bad, "software": {bad: bad}}
    document["checks"] = [dict.fromkeys(("check", "level", "where", "message", "remedy"), bad)]
    document["ablation"] = make.ablation(bad, bad)
    document["sources"] = [document["sources"][0] | {"title": bad, "url": f"javascript:{bad}"}]
    return document
