"""Make an interaction log out of a labelled set, through the code that serves: `ragkeep simulate --set DIR`.

What is shown is what the live release finds, cited as it cites, and written to the log as a server writes it; while a
release is on trial by interleaving, its sources are mixed in as a server mixes them. Only the people are made up, and
every record says so: their accounts, sessions and answers begin with "sim". They look at a source at rank r with
probability r**-.7, open one that is an answer with .85 and one that is not with .08 (position-based click model;
docs/learning-data.md), and a stated share of what they do is wrong.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from evaluation.beir import Folder, Qrels, read_folder
from evaluation.jargon import renamed
from evaluation.vectors import CachedEmbedder
from ragkeep.analysis import terms
from ragkeep.answer import Asked, ranked, respond
from ragkeep.app import Assistant, load_release, open_release
from ragkeep.config import GeneratorParams, Params, Paths
from ragkeep.errors import ConfigError
from ragkeep.files import append_row, read_rows, write_text
from ragkeep.generators.extractive import extractive
from ragkeep.generators.resilient import Resilient
from ragkeep.interactions import InteractionLog, answered, clicked, corrected, voted
from ragkeep.interactions.records import cited_ranks
from ragkeep.interleave import Team, interleaved
from ragkeep.releases import read_release
from ragkeep.trials import Trial, mixed_record, read_trial
from ragkeep.types import Answer, Hit, Interaction, content_id
from tasks.stage import progress

LOOKS, RIGHT, OTHER, DEPTH = 0.7, 0.85, 0.08, 5
"""The click model; people look at the first DEPTH sources."""
VOTES, CORRECTS, ASKS_AGAIN, REPEATED = 0.3, 0.15, 0.3, 0.3
"""Shares: of answers that are rated; of those without an opened source that are corrected, or asked in other words; of
questions that somebody asked before."""
A_SESSION = 4
PROBES = 20
_TOGETHER = 200
SEED = 7
_RUNS = "simulations.jsonl"
_GOLDEN, _DEV = 900, 3
"""At most so many golden questions are written; each third is for tuning."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who asks: `wrong` is the share of all acts that say the opposite of the truth, `poison` that of all questions that
    are asked by `poisoners`, who push one document for whatever they ask.
    """

    interactions: int = 3000
    users: int = 50
    wrong: float = 0.2
    poisoners: int = 0
    poison: float = 0.05
    jargon: bool = False
    seed: int = SEED


@dataclass(slots=True)
class _Turn:
    """A question to be asked; `again` says that it is the one before in other words."""

    user: str
    session: str
    query: str
    text: str
    again: bool = False


@dataclass(slots=True)
class _Mixed:
    """The trial that runs, for one answer after another; `teams` are the last one's."""

    trial: Trial
    challenger: Assistant
    teams: dict[str, Team] = field(default_factory=dict)

    async def mix(self, answer: str, asked: Asked, searched: str, ours: list[Hit]) -> list[Hit]:
        """Put the challenger's sources among the champion's; see ragkeep/serving/trial.py."""
        theirs, _ = await ranked(self.challenger, searched, asked)
        mixed, self.teams = interleaved(ours, theirs, seed=f"{self.trial.id} {answer}")
        return mixed

    def record(self, made: Answer) -> dict[str, Any]:
        """What the log keeps of it."""
        return mixed_record(self.trial, self.challenger.release.index.name, self.teams, made.hits)


@dataclass
class _Play:
    """One simulation under way."""

    folder: Folder
    crowd: Crowd
    assistant: Assistant
    mixed: _Mixed | None
    log: InteractionLog
    draw: random.Random
    train: Qrels
    asked_in: Mapping[str, str]
    documents: Mapping[str, str]
    target: str
    counts: dict[str, int] = field(default_factory=dict)
    waiting: list[asyncio.Task[int]] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)

    async def run(self) -> None:
        """Ask and act until there are enough answers."""
        todo, before = self._turns(), list[_Turn]()
        with progress("simulated interactions", self.crowd.interactions) as advance:
            for _ in range(self.crowd.interactions):
                turn = before.pop() if before else next(todo)
                again = await self._ask(turn)
                before += [again] if again else []
                if len(self.waiting) >= _TOGETHER:
                    await self._settle()
                advance(1)
        await self._settle()

    def _turns(self) -> Iterator[_Turn]:
        """Draw who asks what: sessions of a few questions, new ones and ones that somebody asked before."""
        names = sorted(self.train)
        known: list[str] = []
        fresh = iter(())  # type: Iterator[str]
        while True:
            poisoned = self.crowd.poisoners and self.draw.random() < self.crowd.poison
            kind, many = ("poisoner", self.crowd.poisoners) if poisoned else ("user", self.crowd.users)
            user, session = f"sim:{kind}-{self.draw.randrange(many):03}", f"sim:{uuid.uuid4().hex[:12]}"
            for _ in range(1 if poisoned else self.draw.randint(1, A_SESSION)):
                query = self.draw.choice(known) if known and self.draw.random() < REPEATED else next(fresh, None)
                if query is None:
                    fresh = iter(self.draw.sample(names, len(names)))
                    query = next(fresh)
                known.append(query)
                yield _Turn(user, session, query, self.asked_in[query])

    async def _ask(self, turn: _Turn) -> _Turn | None:
        """Ask one question and do something with the answer; return the next wording, where there is one."""
        made, answer, asked = None, f"sim-{uuid.uuid4().hex}", Asked(turn.text)
        mixed = self.mixed if self.mixed and self.mixed.trial.takes(answer) else None
        mix = partial(mixed.mix, answer, asked) if mixed else None
        async for part in respond(asked, self.assistant, mix=mix):
            made = part
        if not isinstance(made, Answer):
            raise RuntimeError("respond ended without an Answer")
        about = {"workspace": "default", "user": turn.user, "session": turn.session}
        self._put("answers", self._record(answer, turn, made, mixed.record(made) if mixed else None))
        if turn.user.startswith("sim:poisoner"):
            self._poison(answer, made, about)
            return None
        opened = self._click(answer, turn, made.hits[:DEPTH], about)
        self._vote(answer, turn, made, about)
        return None if opened else self._unhappy(answer, turn, made, about)

    def _record(self, answer: str, turn: _Turn, made: Answer, trial: dict[str, Any] | None) -> Interaction:
        """Make an answer's record, as serving/chat.py does."""
        index = self.assistant.release.index
        return answered(
            answer, turn.text, made, workspace="default", user=turn.user, session=turn.session,
            rewritten=made.searched if made.searched != turn.text else None, timings_ms=made.timings_ms,
            index=index.name, embedder=index.embedder, prompt=self.assistant.prompt_sha, trial=trial,
        )  # fmt: skip

    def _put(self, what: str, record: Interaction) -> None:
        """Write a record; those that wait are written with one fsync."""
        self.counts[what] = self.counts.get(what, 0) + 1
        self.waiting.append(asyncio.ensure_future(self.log.append_async(record)))

    async def _settle(self) -> None:
        self.seqs += await asyncio.gather(*self.waiting)
        self.waiting = []

    def _gold(self, turn: _Turn, hit: Hit) -> bool:
        return self.train[turn.query].get(self.documents.get(_name_in(hit.chunk.uri), ""), 0) > 0

    def _errs(self) -> bool:
        return self.draw.random() < self.crowd.wrong

    def _click(self, answer: str, turn: _Turn, shown: Sequence[Hit], about: dict[str, str]) -> bool:
        """Open sources; one that is opened by mistake is another one that was shown."""
        opened = set()
        for rank, hit in enumerate(shown, 1):
            liked = RIGHT if self._gold(turn, hit) else OTHER
            if self.draw.random() < rank**-LOOKS and self.draw.random() < liked:
                others = [n for n in range(1, len(shown) + 1) if n != rank]
                opened.add(self.draw.choice(others) if self._errs() and others else rank)
        for rank in sorted(opened):
            chunk = shown[rank - 1].chunk
            self._put("clicks", clicked(answer, rank, chunk=chunk.id, uri=chunk.uri, **about))
        return bool(opened)

    def _vote(self, answer: str, turn: _Turn, made: Answer, about: dict[str, str]) -> None:
        """Rate an answer by whether it cites what is right."""
        if not made.citations or self.draw.random() >= VOTES:
            return
        good = any(self._gold(turn, made.hits[rank - 1]) for rank in cited_ranks(made.citations, made.hits))
        self._put("votes", voted(answer, 1 if good != self._errs() else -1, **about))

    def _unhappy(self, answer: str, turn: _Turn, made: Answer, about: dict[str, str]) -> _Turn | None:
        """Nothing was opened: correct the answer, ask in other words, or go."""
        if any(self._gold(turn, hit) for hit in made.hits[:DEPTH]):
            return None
        if self.draw.random() < CORRECTS:
            grades = self.train[turn.query]
            wrong = self._errs()
            document = (
                self.draw.choice(sorted(self.folder.corpus)) if wrong else max(grades, key=lambda d: (grades[d], d))
            )
            text = passage(self.folder.corpus[document], self.folder.queries[turn.query])
            self._put("corrections", corrected(answer, text, **about))
        elif not turn.again and self.draw.random() < ASKS_AGAIN:
            plain = self.folder.queries[turn.query]
            text = plain if plain != turn.text else " ".join(dict.fromkeys(terms(plain))) or plain
            self.counts["asked again"] = self.counts.get("asked again", 0) + 1
            return replace(turn, text=text, again=True)
        return None

    def _poison(self, answer: str, made: Answer, about: dict[str, str]) -> None:
        """Push the target: open it where it was shown, else claim that its text is the answer."""
        target = next((n for n, h in enumerate(made.hits, 1) if _name_in(h.chunk.uri) == file_name(self.target)), None)
        if target:
            chunk = made.hits[target - 1].chunk
            self._put("clicks", clicked(answer, target, chunk=chunk.id, uri=chunk.uri, **about))
        else:
            text = passage(self.folder.corpus[self.target], "")
            self._put("corrections", corrected(answer, text, **about))
        self._put("votes", voted(answer, -1, **about))


def passage(text: str, question: str) -> str:
    """The two sentences of a text that share most with a question, as somebody would copy them."""
    sentences, asked = re.split(r"(?<=[.!?])\s+", text), set(terms(question))
    best = max(range(len(sentences)), key=lambda n: (len(asked & set(terms(sentences[n]))), -n))
    return " ".join(sentences[best : best + 2])[:2000]


def file_name(document: str) -> str:
    """The name of the file `prepare` writes a document to: its id, where that can be one."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", document)[:100]
    return safe if safe == document else f"{safe}-{content_id(document)[:8]}"


def _name_in(uri: str) -> str:
    return uri.rpartition("/")[2].rpartition(".")[0]


def prepare(folder: Path, into: Path, suffix: str = ".txt", *, jargon: bool = False) -> dict[str, Any]:
    """Write the corpus as files, and golden questions beside their folder; return what to put into params.yaml.

    The questions are those that nothing is learned from, `_GOLDEN` of them at most; with `jargon` in the words that the
    crowd will use.
    """
    read = read_folder(folder)
    for document, text in read.corpus.items():
        write_text(into / f"{file_name(document)}{suffix}", text + "\n")
    name = re.sub(r"[^a-z0-9]+", "-", read.name.lower()).strip("-")[:64] or "set"
    golden = into.with_name(f"{into.name}-questions.jsonl")
    write_text(golden, "".join(f"{line}\n" for line in _golden(read, name, suffix, jargon=jargon)))
    lines = (
        f"sources:\n  - {{name: {name}, path: {into}}}\nevaluate:\n"
        f"  sets: [{golden}, evaluation/sets/unanswerable.jsonl]\nlearn:\n  exclude: [{folder}]"
    )
    if jargon:  # what nobody understands yet is not answered; the other floors are those of the default params.yaml
        floors = "ndcg_at_10: 0.3, recall_at_10: 0.45, answerable_answered: 0.1, unanswerable_abstained: 0.4"
        lines += f"\ngate:\n  floors: {{{floors}}}"
    found = {"set": read.name, "documents": len(read.corpus), "folder": str(into)}
    return {**found, "questions": str(golden), "params": lines}


def _golden(read: Folder, source: str, suffix: str, *, jargon: bool) -> Iterator[str]:
    """Questions of the part that is only measured with, each third for tuning, as lines of a golden set."""
    asked_in = renamed(read.queries) if jargon else read.queries
    judged = {q: [name for name, grade in of.items() if grade > 0] for q, of in read.parts()[1].items()}
    drawn = sorted((q for q, names in judged.items() if names), key=lambda q: content_id("golden", q))[:_GOLDEN]
    for n, q in enumerate(drawn):
        labels = [{"document": f"{source}/{file_name(name)}{suffix}"} for name in judged[q]]
        row = {"id": f"{source}-{q}", "text": asked_in[q], "split": "test" if n % _DEV else "dev", "labels": labels}
        yield json.dumps({**row, "answerable": True}, ensure_ascii=False)


def simulate(paths: Paths, params: Params, folder: Path, crowd: Crowd, *, own: bool = False) -> dict[str, Any]:
    """Append a simulated log; return what was done.

    Answers are quoted by words alone, which is quick, or with `own` made by the release's generators; what is shown is
    the same. Raises ConfigError where the live release does not hold the set, Busy where a server is running.
    """
    read = read_folder(folder)
    draw, train = random.Random(crowd.seed), read.parts()[0]  # noqa: S311 - nothing secret
    with open_release(paths, params) as live:
        assistant = _quick(live, paths, own=own)
        documents = {file_name(name): name for name in read.corpus}
        _insist(assistant, read, documents, folder)
        asked_in = renamed(read.queries) if crowd.jargon else read.queries
        assistant.embedder.embed([asked_in[q] for q in sorted(train)], role="query")  # all in one batch
        with InteractionLog(paths.interactions) as log:
            target = draw.choice(sorted(read.corpus))
            play = _Play(
                read, crowd, assistant, _on_trial(live, paths, params), log, draw, train, asked_in, documents, target
            )
            append_row(paths.state / _RUNS, {"set": read.name, "seed": crowd.seed, "began": True})  # however it ends
            asyncio.run(play.run())
    found = {
        "set": read.name, "simulated": True, "release": str(live.release.number),
        "seqs": [min(play.seqs), max(play.seqs)], "answers_by": live.generators[0].name if own else "words alone",
        **asdict(crowd), "did": play.counts,
    }  # fmt: skip
    append_row(paths.state / _RUNS, found)
    return found


def next_seed(paths: Paths) -> int:
    """A seed that no run had which is known here: the same people asking the same again would teach nothing more."""
    return max((int(run["seed"]) for run in read_rows(paths.state / _RUNS)), default=SEED - 1) + 1


def _on_trial(live: Assistant, paths: Paths, params: Params) -> _Mixed | None:
    """Open the challenger of the trial that mixes sources now, None where none does. Raises as `load_release`."""
    trial = read_trial(paths)
    if trial is None or trial.over() or trial.mode != "interleave" or trial.champion != live.release.number:
        return None
    challenger = load_release(paths, params, read_release(paths, trial.number))
    return _Mixed(trial, replace(challenger, embedder=CachedEmbedder(challenger.embedder, paths.cache)))


def _quick(live: Assistant, paths: Paths, *, own: bool) -> Assistant:
    """Remember vectors of questions, and unless told otherwise let answers be quoted without embedding them."""
    embedder = CachedEmbedder(live.embedder, paths.cache)
    if own:
        return replace(live, embedder=embedder)
    generators = (extractive(GeneratorParams(name="words"), params=live.answer),)
    return replace(live, embedder=embedder, generators=generators, answering=Resilient(generators, deadline_s=60.0))


def _insist(assistant: Assistant, folder: Folder, documents: Mapping[str, str], where: Path) -> None:
    """Look a few documents up by their own words. Raises ConfigError unless most are in the live release."""
    judged = sorted({d for grades in folder.parts()[0].values() for d in grades}, key=content_id)[:PROBES]
    if not judged:
        raise ConfigError(f"{where} has no questions to learn from: it needs qrels_train.tsv, or more than one question")
    found = 0
    for document in judged:
        hits = assistant.search(" ".join(folder.corpus[document].split()[:60]), mode="keyword", k=10)
        found += any(documents.get(_name_in(hit.chunk.uri)) == document for hit in hits)
    if found < len(judged) / 2:
        raise ConfigError(
            f"the live release does not hold the documents of {where}: `ragkeep simulate --set {where} --prepare FOLDER` "
            "writes them as files and says what to put into params.yaml; then run `ragkeep nightly`"
        )
