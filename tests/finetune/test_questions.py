"""Questions whose answers stand in their chunk: by rules, and by whatever a provider says."""

import json
import re
from typing import Any

import pytest

from ragkeep.config import GeneratorParams
from ragkeep.errors import ProviderAway, ProviderError, SourceError
from ragkeep.files import read_rows
from ragkeep.testing import ScriptedGenerator
from tasks.finetune import documents, questions, rules
from tasks.finetune.ask import read_reply
from tasks.finetune.config import Place
from tests.finetune import tiny
from tests.finetune.conftest import Make, still


def asked(place: Place) -> tuple[dict[str, Any], list[questions.Pair]]:
    documents.prepare(place, still)
    return questions.generate(place, still), questions.read_pairs(place)


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        ("The pump is a machine that moves water.", "What is the pump?", "a machine that moves water"),
        ("The valve protects the pump from sand.", "What does the valve protect?", "the pump from sand"),
        ("If the pressure falls, the pump stops.", "What happens if the pressure falls?", "the pump stops"),
        ("The old well was left alone because it had run dry.", 'Why is this so: "The old well was left alone"?',
         "it had run dry"),
        ("To clean the filter, close the valve first.", "What does one do to clean the filter?", "close the valve first"),
        ("Port: 8080", "What is given as Port?", "8080"),
        ("# Service\n\nClose the valve.", 'What does the section "Service" say first?', "Close the valve."),
        ("The station there was built back in 1987.", "Which word or number is missing: "
         '"The station there was built back in ____."?', "1987"),
    ],
)  # fmt: skip
def test_each_rule_knows_one_shape_of_sentence(sentence: str, question: str, answer: str) -> None:
    assert (question, answer) in rules.propose(sentence)


@pytest.mark.parametrize("text", ["", "ok", "- - -\n| | |\n", "x = f(1); y = {}", "It is a thing.", "水" * 50])
def test_a_text_without_sentences_gives_no_nonsense(text: str) -> None:
    assert rules.propose(text) == []


def test_three_pairs_a_chunk_or_a_reason_and_every_answer_stands_in_its_chunk(make: Make) -> None:
    counts, pairs = asked(make())
    texts = {row["id"]: row["text"] for row in read_rows(make().chunks)}
    assert all(texts[pair.chunk][pair.start : pair.end] == pair.answer for pair in pairs)
    assert len({pair.question for pair in pairs}) == len(pairs)
    short = sum(n for reason, n in counts["refused"].items() if reason.startswith("chunk: only"))
    assert counts["chunks_with_all"] + short == counts["chunks"] == len(texts)


def test_chunks_for_evaluation_are_apart_and_stay_so(make: Make) -> None:
    place = make()
    _, pairs = asked(place)
    held = {pair.chunk for pair in pairs if pair.split == "eval"}
    assert held
    assert held.isdisjoint(pair.chunk for pair in pairs if pair.split == "train")
    before = place.pairs.read_bytes()
    questions.generate(place, still)
    assert place.pairs.read_bytes() == before


def test_an_answer_that_is_tested_is_not_trained_where_chunks_overlap(make: Make) -> None:
    _, pairs = asked(make(data={"chunk_overlap": 150}))
    tested = {pair.answer for pair in pairs if pair.split == "eval"}
    assert tested.isdisjoint(pair.answer for pair in pairs if pair.split == "train")


@pytest.mark.parametrize(
    ("question", "answer", "found"),
    [
        ("What is the pump there?", "a machine", (12, 21)),
        ("What is the pump there?", "a  machine\nthat", (12, 26)),
        ("What is the pump there?", "a motor", "pair: the answer is not in the chunk"),
        ("What is a machine here?", "a machine", "pair: the question holds the answer"),
        ("What is the pump there?", "I don't know.", "pair: the answer is a don't-know"),
        ("What is the pump there?", "Not mentioned", "pair: the answer is a don't-know"),
        ("What is the pump there?", " . ", "pair: no answer"),
        ("Pump?", "a machine", "pair: no question"),
        ("Asked once before?", "a machine", "pair: asked before"),
    ],
)
def test_what_is_kept_and_why_not(question: str, answer: str, found: Any) -> None:
    text = "The pump is a machine that moves water."
    assert questions.accept(question, answer, text, {"asked once before"}) == found


REPLY = [
    {"question": "What moves water there?", "answer": "The pump"},
    {"question": "What does the pump cost?", "answer": "Twelve euros"},
    {"question": "What moves water there?", "answer": "The pump"},
]


class Broken:
    """A generator that never answers."""

    name = "broken"

    async def stream(self, request: Any, sampling: Any) -> Any:
        raise ProviderAway("no route")
        yield


def scripted(spec: GeneratorParams, **_: Any) -> Any:
    return Broken() if spec.model == "broken" else GENERATOR


GENERATOR = ScriptedGenerator()


def test_of_what_a_provider_says_only_what_stands_in_the_chunk_is_kept(make: Make, monkeypatch: Any) -> None:
    generator = ScriptedGenerator(f"Here you are:\n```json\n{json.dumps(REPLY)}\n```", "I cannot.")
    monkeypatch.setitem(globals(), "GENERATOR", generator)
    place = make(
        questions={"generator": {"backend": f"{__name__}:scripted", "model": "m"}, "eval_share": 0, "at_once": 1}
    )
    counts, pairs = asked(place)
    assert [(pair.question, pair.answer, pair.by) for pair in pairs] == [("What moves water there?", "The pump", "m")]
    assert counts["refused"]["pair: the answer is not in the chunk"] == 1
    assert counts["refused"]["pair: asked before"] == 1
    assert counts["refused"]["chunk: the reply held no JSON with questions"] == counts["chunks"] - 1
    assert tiny.MANUAL[:100] in generator.requests[0].messages[1].content
    again = len(generator.requests)
    questions.generate(place, still)
    assert len(generator.requests) == again  # what was answered is not asked, or paid, twice


def test_a_provider_that_never_answers_is_an_error(make: Make) -> None:
    place = make(questions={"generator": {"backend": f"{__name__}:scripted", "model": "broken"}})
    documents.prepare(place, still)
    with pytest.raises(ProviderError, match="no route"):
        questions.generate(place, still)


@pytest.mark.parametrize(
    ("reply", "pairs"),
    [
        ('[{"question": "Q", "answer": "A"}]', 1),
        ('{"questions": [{"question": "Q", "answer": "A"}, {"question": 3}]}', 1),
        ('{"question": "Q", "answer": "A"}', 1),
        ('Sure [see below]: [{"question": "Q", "answer": "A"}] and more', 1),
        ('[{"question": "Q", "answer": ', 0),
        ("[" * 100_000, 0),
        ('[{"a":' * 20_000, 0),
        ("", 0),
    ],
)
def test_replies_are_read_whatever_stands_around_them(reply: str, pairs: int) -> None:
    assert len(read_reply(reply)) == pairs


def test_a_manual_gives_questions_that_can_be_understood(make: Make) -> None:
    _, pairs = asked(make())
    assert all(re.match(r"[A-Z].*\?$", pair.question) for pair in pairs)
    assert ("What is the pump?", "a machine that moves water from the lower basin to the upper basin") in {
        (pair.question, pair.answer) for pair in pairs
    }


def test_nothing_to_ask_is_an_error(make: Make) -> None:
    place = make()
    (place.path.parent / "docs" / "manual.md").write_text("x = 1\n")
    documents.prepare(place, still)
    with pytest.raises(SourceError, match="no pair of 1 chunks"):
        questions.generate(place, still)
