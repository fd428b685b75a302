"""A question is answered: what the user sees, and what is taken out because no snippet holds it."""

import asyncio

import pytest

from ragkeep.answer import answer_sync, write
from ragkeep.citations import cite
from ragkeep.config import AnswerParams
from ragkeep.prompts import NOT_FOUND
from ragkeep.testing import ScriptedGenerator
from ragkeep.types import Answer, Chunk, Hit

TEXT = "Pumps are serviced yearly.\nThe seal is replaced\nevery second year.\nfirst = sys.argv[1]\n"


def hit(text: str = TEXT, *, uri: str = "manual/pumps.md", first: int = 10, score: float = 0.5, tokens: int = 20) -> Hit:
    lines = (first, first + text.rstrip("\n").count("\n"))
    chunk = Chunk("c" + uri, "d", uri, "manual", "default", text, (0, len(text)), lines, "prose", "en", tokens=tokens)
    return Hit(chunk, score)


def ask(reply: str, *hits: Hit, **options: int) -> Answer:
    return answer_sync("How often?", lambda _: list(hits), ScriptedGenerator(reply), params=AnswerParams(**options))


def test_a_verbatim_claim_is_cited_with_file_and_lines() -> None:
    answer = ask("Pumps are serviced yearly. [1]", hit())
    assert answer.text == "Pumps are serviced yearly. [1]"
    [citation] = answer.citations
    assert (citation.uri, citation.lines, citation.quote) == ("manual/pumps.md", (10, 10), "Pumps are serviced yearly.")
    assert (answer.abstained, answer.model) == (False, "scripted")


def test_white_space_may_differ_but_the_quote_is_the_sources_own() -> None:
    [citation] = ask("The seal is replaced every second year. [1]", hit()).citations
    assert citation.lines == (11, 12)
    assert citation.quote == "The seal is replaced\nevery second year."


def test_words_in_quotation_marks_are_what_is_cited() -> None:
    [citation] = ask('It says "replaced every second year" [1].', hit()).citations
    assert citation.quote == "replaced\nevery second year"


def test_a_paraphrase_is_cited_with_the_line_that_says_it() -> None:
    [citation] = ask("Pumps must be serviced yearly [1]", hit()).citations
    assert citation.quote == "Pumps are serviced yearly."


@pytest.mark.parametrize(
    "reply", ["Pumps explode on Tuesdays because of gremlins. [1]", "Pumps are serviced yearly. [4]"]
)
def test_a_citation_that_does_not_hold_is_dropped_and_the_answer_with_it(reply: str) -> None:
    answer = ask(reply, hit())
    assert (answer.text, answer.citations, answer.abstained) == (NOT_FOUND, (), True)


def test_only_the_markers_that_hold_stay_and_are_renumbered() -> None:
    other = hit("Valves are checked daily.", uri="manual/valves.md", first=1)
    text, citations, _ = cite(
        "Gremlins [1]. Valves are checked daily. [2] Pumps are serviced yearly. [1]", [hit(), other]
    )
    assert text == "Gremlins. Valves are checked daily. [1] Pumps are serviced yearly. [2]"
    assert [c.uri for c in citations] == ["manual/valves.md", "manual/pumps.md"]


def test_one_claim_may_rest_on_two_snippets() -> None:
    twin = hit("Pumps are serviced yearly.", uri="manual/twin.md")
    text, citations, _ = cite("Pumps are serviced yearly. [1][2]", [hit(), twin])
    assert text == "Pumps are serviced yearly. [1] [2]"
    assert len(citations) == 2


def test_brackets_in_code_are_not_markers() -> None:
    text, [citation], _ = cite("```python\nfirst = sys.argv[1]\n``` [1]", [hit()])
    assert citation.quote == "first = sys.argv[1]"
    assert citation.lines == (13, 13)
    assert text.endswith("```\n[1]")  # on a line of its own: a closing fence with words behind it closes nothing
    assert cite("first = sys.argv[1] [1]", [hit()])[1] == (citation,)


def test_not_in_the_documents_is_an_abstention() -> None:
    assert ask(NOT_FOUND, hit()).abstained


def test_without_hits_nobody_is_asked() -> None:
    generator = ScriptedGenerator("Pumps are serviced yearly. [1]")
    assert answer_sync("How often?", lambda _: [], generator).text == NOT_FOUND
    assert generator.requests == []


def test_the_lowest_ranked_snippets_are_left_out_of_a_small_budget() -> None:
    generator = ScriptedGenerator(NOT_FOUND)
    hits = [hit(uri=f"manual/{n}.md", tokens=100) for n in range(9)]
    answer_sync("How often?", lambda _: hits, generator, params=AnswerParams(context_tokens=250))
    [request] = generator.requests
    assert [h.chunk.uri for h in request.hits] == ["manual/0.md", "manual/1.md"]
    assert "[2] manual/1.md:10-13\nPumps are" in request.messages[-1].content


def test_text_streams_before_the_checked_answer() -> None:
    async def collect() -> list[str | Answer]:
        made = ScriptedGenerator("Pumps are serviced yearly. [1]")
        return [part async for part in write("How often?", [hit()], made, params=AnswerParams())]

    *deltas, last = asyncio.run(collect())
    assert "".join(map(str, deltas)) == "Pumps are serviced yearly. [1]"
    assert isinstance(last, Answer)
    assert last.usage.completion_tokens == 5


def test_closing_the_stream_stops_the_generator() -> None:
    generator = ScriptedGenerator("Pumps are serviced yearly. [1]")

    async def leave_early() -> None:
        parts = write("How often?", [hit()], generator, params=AnswerParams())
        await anext(parts)
        await parts.aclose()

    asyncio.run(leave_early())
    assert generator.closed == 1


def test_a_number_is_not_quoted_out_of_a_longer_one() -> None:
    assert cite("10 [1]", [hit("Built in 2010.")]).citations == ()
    assert cite("2010 [1]", [hit("Built in 2010.")]).citations != ()
