"""Records for the tests of the interaction log."""

from typing import Any

from ragkeep.interactions import answered, clicked, corrected, voted
from ragkeep.types import Answer, Chunk, Citation, Hit, Interaction, Usage


def hit(uri: str, *, score: float = 0.5, lines: tuple[int, int] = (1, 9)) -> Hit:
    chunk = Chunk(f"c-{uri}", "d", uri, "src", "docs", f"text of {uri}", (0, 10), lines, "prose", "en")
    return Hit(chunk, score)


def who(user: str = "u1", session: str = "s1", workspace: str = "docs") -> dict[str, str]:
    return {"user": user, "session": session, "workspace": workspace}


def an_answer(
    answer: str, question: str = "How?", *, uris: tuple[str, ...] = ("a.md", "b.md"), **more: Any
) -> Interaction:
    shown = tuple(hit(uri) for uri in uris)
    cited = (Citation(uris[0], (2, 3), "quote", 0.5),) if uris else ()
    given = Answer("Like this [1].", cited, not uris, shown, Usage(10, 5), "extractive", "7")
    people = {key: more.pop(key) for key in ("user", "session", "workspace") if key in more}
    return answered(answer, question, given, **who(**people), **more)


def a_vote(answer: str, value: int = 1, *, reason: str = "", **people: str) -> Interaction:
    return voted(answer, value, reason=reason, **who(**people))


def a_click(answer: str, uri: str = "a.md", **people: str) -> Interaction:
    return clicked(answer, 1, chunk=f"c-{uri}", uri=uri, **who(**people))


def a_correction(answer: str, text: str, **people: str) -> Interaction:
    return corrected(answer, text, **who(**people))
