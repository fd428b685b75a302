"""People who ask, click, vote and correct: an interaction log written in one line each, over documents of one chunk."""

from dataclasses import replace
from itertools import count
from pathlib import Path

from ragkeep.config import LearnParams, Params, Paths
from ragkeep.interactions import InteractionLog, answered, clicked, corrected, voted
from ragkeep.tables import iter_chunks, read_table
from ragkeep.types import Answer, Chunk, Citation, Hit
from tasks import trainset
from tasks.lessons import Lesson, TrainingSet, read_set
from tasks.shards import iter_shards

from .nights import PARAMS, project, put_chunks

TEXTS = {f"d{n:02}.md": f"The {name} of a pump is {what}." for n, (name, what) in enumerate([
    ("valve", "checked daily"), ("gasket", "made of rubber"), ("rotor", "turned by hand"), ("filter", "washed weekly"),
    ("motor", "never painted"), ("casing", "cast in iron"), ("handle", "bent to the left"), ("gauge", "read at noon"),
])}  # fmt: skip
ASKED = {name: f"Tell me about the {text.split()[1]} please" for name, text in TEXTS.items()}
SMALL = LearnParams(min_lessons=1, unseen=0.0, synthetic=0)


class People:
    """A project whose people use it; `ask` shows documents in the order given and cites the first."""

    def __init__(self, root: Path, texts: dict[str, str] = TEXTS) -> None:
        self.paths: Paths = project(root)
        self.rewrite(texts)
        self._log = InteractionLog(self.paths.interactions)
        self._numbers = count(1)
        self._asked: dict[str, dict[str, str]] = {}
        self._shown: dict[str, list[Chunk]] = {}

    def rewrite(self, texts: dict[str, str]) -> None:
        """Let tonight's documents be these."""
        put_chunks(self.paths, texts)
        tables = map(read_table, iter_shards(self.paths.data / "chunks"))
        self.chunks = {c.uri.removeprefix("docs/"): c for table in tables for c in iter_chunks(table)}

    def ask(self, user: str, question: str, *shown: str, session: str = "", workspace: str = "default") -> str:
        answer = f"a{next(self._numbers)}"
        about = {"user": user, "session": session or f"of-{answer}", "workspace": workspace}
        chunks = [self.chunks[name] for name in shown]
        hits = tuple(Hit(chunk, 1 / n) for n, chunk in enumerate(chunks, 1))
        cited = tuple(Citation(chunk.uri, chunk.lines, chunk.text, 1.0) for chunk in chunks[:1])
        self._asked[answer], self._shown[answer] = about, chunks
        self._log.append(answered(answer, question, Answer("So.", cited, not cited, hits, release="1"), **about))
        return answer

    def vote(self, answer: str, value: int = 1, user: str = "") -> None:
        self._log.append(voted(answer, value, **self._who(answer, user)))

    def click(self, answer: str, rank: int, user: str = "") -> None:
        chunk = self._shown[answer][rank - 1]
        self._log.append(clicked(answer, rank, chunk=chunk.id, uri=chunk.uri, **self._who(answer, user)))

    def correct(self, answer: str, text: str, user: str = "") -> None:
        self._log.append(corrected(answer, text, **self._who(answer, user)))

    def erase(self, user: str) -> tuple[int, ...]:
        return self._log.erase("user", user)

    def _who(self, answer: str, user: str) -> dict[str, str]:
        return self._asked[answer] | ({"user": user} if user else {})

    def learn(self, learn: LearnParams = SMALL, params: Params = PARAMS) -> TrainingSet:
        """Seal the log, run the stage, and read what it made."""
        self._log.close()
        trainset.run(self.paths, replace(params, learn=learn))
        self._log = InteractionLog(self.paths.interactions)
        return read_set(self.paths.data / "trainset")

    def lesson(self, about: str, learn: LearnParams = SMALL) -> Lesson:
        """Learn, and return the lesson of the question about a document."""
        return next(one for one in self.learn(learn).lessons if one.question == ASKED[about])

    def gains(self, lesson: Lesson) -> dict[str, float]:
        """The gains by document, not by chunk."""
        names = {chunk.id: name for name, chunk in self.chunks.items()}
        return {names[chunk]: gain for chunk, gain in lesson.gains.items()}

    def close(self) -> None:
        self._log.close()
