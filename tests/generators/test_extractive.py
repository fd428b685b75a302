"""Quotes instead of a model: what is chosen from prose and from code, and when nothing is."""

import inspect
import itertools
import json
import shutil
from collections.abc import Sequence

import pytest

from ragkeep.answer import answer_sync
from ragkeep.config import AnswerParams, GeneratorParams
from ragkeep.generators.extractive import MAX_EMBEDDED_CHARS, PIECE_CHARS, extractive
from ragkeep.generators.units import units
from ragkeep.prompts import NOT_FOUND
from ragkeep.testing import HashEmbedder
from ragkeep.types import Answer, Chunk, Hit, Kind, Role, Vectors


def chunk(text: str, uri: str = "manual.md", *, kind: Kind = "prose", context: str = "", first: int = 1) -> Chunk:
    lines = (first, first + text.rstrip("\n").count("\n"))
    return Chunk(uri, uri, uri, "s", "default", text, (0, len(text)), lines, kind, "python", context)


def ask(question: str, *chunks: Chunk, **options: float) -> Answer:
    hits = [Hit(c, 1 - n / 10) for n, c in enumerate(chunks)]
    return answer_sync(question, lambda _: hits, extractive(GeneratorParams(), params=AnswerParams(**options)))  # type: ignore[arg-type]


PUMPS = chunk(
    "# Pumps\n\nPumps move water, e.g. out of a cellar. Dr. Abel invented them in 1911.\n"
    "The seal of a pump is replaced every\nsecond year. Valves are another matter.\n"
)
LOADS = chunk(inspect.getsource(json.loads), "stdlib/json/__init__.py", kind="code", context="json.loads", first=299)


def pieces(of: Chunk) -> list[str]:
    return [of.text[u.start : u.end] for u in units(of)]


def test_prose_is_cut_into_sentences_but_not_at_abbreviations_or_wrapped_lines() -> None:
    assert pieces(PUMPS) == [
        "Pumps move water, e.g. out of a cellar.",
        "Dr. Abel invented them in 1911.",
        "The seal of a pump is replaced every\nsecond year.",
        "Valves are another matter.",
    ]


def test_list_items_table_rows_and_fenced_commands_are_pieces() -> None:
    text = "Install:\n\n- run the setup\n- restart\n  the pump\n\n| part | price |\n|---|---|\n| seal | 12 |\n"
    text += "\n```sh\npip install x\n```\n"
    assert pieces(chunk(text)) == [
        "Install:", "run the setup", "restart\n  the pump", "part | price |", "seal | 12 |", "pip install x",
    ]  # fmt: skip


def test_chinese_is_cut_at_its_own_full_stop() -> None:
    assert pieces(chunk("水泵每年维修一次。密封件每两年更换。")) == ["水泵每年维修一次。", "密封件每两年更换。"]


def test_a_definition_is_its_signature_and_the_first_sentence_of_its_docs() -> None:
    head, *rest = units(LOADS)
    text = LOADS.text[head.start : head.end]
    assert head.role == "head"
    assert text.startswith("def loads(s, *,")
    assert text.endswith("to a Python object.")
    assert {u.role for u in rest} == {"doc", "code"}


@pytest.mark.parametrize(
    ("language", "text", "first"),
    [
        ("rust", "/// Adds two numbers.\n#[inline]\npub fn add(a: u8, b: u8) -> u8 {\n    a + b\n}\n", "/// Adds two"),
        ("go", "// Add adds.\nfunc Add(a int) int {\n\treturn a\n}\n", "// Add adds.\nfunc Add(a int) int {"),
        ("java", "/** Adds. */\npublic int add(int a) {\n  return a;\n}\n", "/** Adds. */\npublic int add(int a) {"),
        ("javascript", "export const add = (a, b) => {\n  return a + b;\n};\n", "export const add = (a, b) => {"),
        (
            "c",
            "static int add(int a,\n               int b)\n{\n  return a;\n}\n",
            "static int add(int a,\n               int b)",
        ),
    ],
)
def test_definitions_of_other_languages_are_found(language: str, text: str, first: str) -> None:
    head = units(chunk(text, kind="code"))[0]
    assert head.role == "head"
    assert text[head.start : head.end].startswith(first)


@pytest.mark.parametrize("source", [json.JSONDecoder, json.loads, shutil.copyfile, shutil.copytree, answer_sync])
def test_pieces_are_in_order_and_do_not_overlap(source: object) -> None:
    made = units(chunk(inspect.getsource(source), kind="code"))  # type: ignore[arg-type]
    assert made
    assert all(a.end <= b.start for a, b in itertools.pairwise(made))


def test_a_question_on_prose_is_answered_with_the_sentence_and_its_lines() -> None:
    answer = ask("How often is the seal of a pump replaced?", PUMPS)
    assert answer.text.startswith("The seal of a pump is replaced every second year. [1]")
    assert answer.citations[0].lines == (4, 5)
    assert answer.citations[0].quote in PUMPS.text


def test_a_question_on_code_is_answered_with_the_signature_and_its_place() -> None:
    answer = ask("How do I deserialize a JSON document to a Python object?", LOADS, PUMPS)
    [first, *_] = answer.citations
    assert (first.uri, first.lines) == ("stdlib/json/__init__.py", (299, 302))
    assert first.quote.startswith("def loads(s, *, cls=None")
    assert "Deserialize" in first.quote


def test_a_sentence_about_code_comes_with_the_definition_it_is_about() -> None:
    answer = ask("What will parse_float be called with when a JSON float is decoded?", LOADS)
    assert answer.citations[0].quote.startswith("def loads(")
    assert "every JSON float" in answer.citations[1].quote


def test_the_kind_of_thing_asked_for_decides_between_equals() -> None:
    text = "The pump was invented by engineers. The pump was invented in 1911. The pump was invented by Karl Abel."
    assert "1911" in ask("When was the pump invented?", chunk(text), max_sentences=1).text
    assert "Karl Abel" in ask("Who invented the pump?", chunk(text), max_sentences=1).text


def test_what_was_said_is_not_said_again() -> None:
    twin = chunk("Every second year the seal of a pump is replaced. Greet the pump.", "twin.md")
    answer = ask("How often is the seal of a pump replaced?", PUMPS, twin)
    assert sum("replaced" in c.quote for c in answer.citations) == 1


def test_no_more_pieces_than_allowed() -> None:
    text = "".join(f"Pump {n} is replaced in year {n}{n}. " for n in range(2, 9))
    assert len(ask("When is which pump replaced?", chunk(text), max_sentences=2).citations) <= 2


@pytest.mark.parametrize("question", ["Which kings of France died in battle?", "zxqj fwpl?", "¿?"])
def test_a_question_the_documents_do_not_touch_is_not_answered(question: str) -> None:
    answer = ask(question, PUMPS, LOADS)
    assert answer.abstained
    assert answer.text == NOT_FOUND


def test_min_support_sets_how_easily_it_answers() -> None:
    assert ask("How often is the seal replaced?", PUMPS, min_support=1.0).abstained
    assert not ask("Tell me about cellars", PUMPS, min_support=0.0).abstained


class Noting(HashEmbedder):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        self.asked += [(role, text) for text in texts]
        return super().embed(texts, role=role)


def test_only_the_most_promising_pieces_are_embedded() -> None:
    filler = "".join(f"Section {n} is about valve {n} and says little about pumps. " for n in range(40))
    embedder = Noting()
    generator = extractive(GeneratorParams(), params=AnswerParams(), embedder=embedder)
    generator.weigh("How often is the seal of a pump replaced?", [Hit(PUMPS, 0.9), Hit(chunk(filler, "filler.md"), 0.8)])
    passages = [text for role, text in embedder.asked if role == "passage"]
    assert passages[0] == "The seal of a pump is replaced every second year."
    assert 1 < sum(map(len, passages)) <= MAX_EMBEDDED_CHARS


def test_of_a_long_piece_the_beginning_is_embedded() -> None:
    head = f"def replace_seal(pump, {', '.join(f'seal_{n}=None' for n in range(90))}):"
    embedder = Noting()
    generator = extractive(GeneratorParams(), params=AnswerParams(), embedder=embedder)
    generator.weigh("replace seal", [Hit(chunk(head + "\n    return pump\n", "pump.py", kind="code"), 0.9)])
    assert head[:PIECE_CHARS] in [text for role, text in embedder.asked if role == "passage"]


def test_a_question_that_was_embedded_is_not_embedded_again() -> None:
    question, embedder = "How often is the seal of a pump replaced?", Noting()
    generator = extractive(GeneratorParams(), params=AnswerParams(), embedder=embedder)
    by_itself = generator.weigh(question, [Hit(PUMPS, 0.9)])[1]
    [vector] = HashEmbedder().embed([question], role="query")
    embedder.asked.clear()
    assert generator.weigh(question, [Hit(PUMPS, 0.9)], vector)[1] == by_itself
    assert not [text for role, text in embedder.asked if role == "query"]
