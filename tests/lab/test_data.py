"""Questions: the embedded set is what its card says, and files are refused with all their problems."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.trial import DataChoice
from lowcarb.errors import DataError
from lowcarb.lab.data import limited, load_corpus, load_questions, parse_squad, split_facts

EMBEDDED = DataChoice("embedded:jouleqa/train", "embedded:jouleqa/validation", "embedded:jouleqa/adversarial")


def squad(*qas, context="Berlin lies on the Spree."):
    return {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(qas)}]}]}


def question(text="Where does Berlin lie?", answer="on the Spree", start=12, **changes):
    return {"id": "1", "question": text, "answers": [{"text": answer, "answer_start": start}]} | changes


def test_the_embedded_set_has_the_size_that_its_card_states():
    corpus = load_corpus(EMBEDDED)

    assert (1199, 312, 305) == tuple(len(split) for split in corpus.splits.values())
    assert (139, 36, 35) == tuple(len({q.group for q in split}) for split in corpus.splits.values())


def test_no_paragraph_of_the_embedded_set_is_in_two_splits():
    facts = [split_facts(split).paragraphs for split in load_corpus(EMBEDDED).splits.values()]

    assert sum(len(one) for one in facts) == len(frozenset().union(*facts))


def test_no_question_of_the_embedded_set_is_asked_twice():
    asked = [q.text.lower() for split in load_corpus(EMBEDDED).splits.values() for q in split]

    assert len(asked) == len(set(asked))


def test_adversarial_questions_come_in_three_kinds_of_like_number():
    document = json.loads((files("lowcarb.lab") / "data/jouleqa/adversarial.json").read_text())
    kinds = [q["kind"] for a in document["data"] for p in a["paragraphs"] for q in p["qas"]]

    assert {"paraphrase", "distractor", "plausible"} == set(kinds)
    assert min(kinds.count(kind) for kind in set(kinds)) >= 80


def test_every_problem_of_a_file_is_named_with_its_place():
    document = squad(question(answer="on the Rhine"), question(text=" "), question(answers=[]))

    with pytest.raises(DataError) as caught:
        parse_squad(json.dumps(document), where="f.json")

    assert 3 == len(caught.value.problems)
    assert "data[0].paragraphs[0].qas[0]" in caught.value.problems[0]
    assert "on the Rhine" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("text", "said"), [("", "not JSON"), ("[]", "SQuAD format"), ('{"data": []}', "no questions"), ("{", "line 1")]
)
def test_what_is_no_squad_file_is_refused(text, said):
    with pytest.raises(DataError, match=said):
        parse_squad(text, where="f.json")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.sampled_from(["data", "paragraphs", "context", "qas", "question", "answers", "text", "answer_start"]), s)))  # fmt: skip  # noqa: E501
def test_any_json_is_read_or_refused_but_never_crashes(document):
    try:
        found = len(parse_squad(json.dumps(document), where="f"))
    except DataError as error:
        found = len(error.problems)

    assert found > 0


@pytest.mark.parametrize("name", ["missing.json", "embedded:jouleqa/tests"])
def test_a_set_that_is_not_there_is_named(name, tmp_path):
    with pytest.raises(DataError, match=name):
        load_questions(name, root=tmp_path)


def test_a_limit_draws_the_same_questions_every_time():
    questions = load_questions("embedded:jouleqa/validation")

    assert limited(questions, 50) == limited(questions, 50)
    assert 50 == len(limited(questions, 50))
    assert questions == limited(questions, None)


def test_the_digest_changes_with_a_single_answer(tmp_path):
    for name, answer, start in (("a", "on the Spree", 12), ("b", "the Spree", 15)):
        (tmp_path / f"{name}.json").write_text(json.dumps(squad(question(answer=answer, start=start))))

    digests = [load_corpus(DataChoice(f"{n}.json", "a.json", "a.json"), root=tmp_path).digest for n in "ab"]

    assert digests[0] != digests[1]
