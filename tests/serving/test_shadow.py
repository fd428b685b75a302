"""What the shadow computes stays out of everybody's way: of who erases a conversation, and of the champion's reranker."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ragkeep.answer import Asked
from ragkeep.app import Assistant
from ragkeep.config import AnswerParams, Paths, RerankParams, RetrieveParams
from ragkeep.errors import ProviderAway
from ragkeep.generators import open_generators
from ragkeep.generators.resilient import Resilient
from ragkeep.interactions import InteractionLog, read
from ragkeep.ports import Reranker
from ragkeep.serving.challenger import Challenger, Contest
from ragkeep.serving.follow import Champion, warm
from ragkeep.serving.observe import Observer
from ragkeep.serving.trial import Asking, Trials
from ragkeep.stores.memory import MemoryStore
from ragkeep.testing import HashEmbedder
from ragkeep.trials import Trial
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, IndexVersion, Interaction, Release, ids_digest

TEXTS = ("Pumps are serviced monthly by the owner.", "Valves are checked daily by the crew.")


class Noted:
    """A reranker that notes the threads it runs in, and calls back; what that raises, it raises."""

    name = "noted"

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.threads, self._then = list[str](), then

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return zeros (n,)."""
        self.threads.append(threading.current_thread().name)
        self._then()
        return np.zeros(len(texts), np.float32)


def challenger(reranker: Reranker | None = None) -> Assistant:
    """Release 2 over two texts."""
    store, embedder = MemoryStore(), HashEmbedder()
    chunks = tuple(
        Chunk(f"c{n}", "d", f"docs/{n}.md", "docs", "default", text, (0, len(text)), (1, 1), "prose", "text")
        for n, text in enumerate(TEXTS)
    )
    store.create("docs-2", dim=embedder.dim)
    store.write("docs-2", EmbeddedBatch(chunks, embedder.embed(TEXTS, role="passage")))
    store.finish("docs-2")
    index = IndexVersion("docs-2", "docs", "memory", embedder.fingerprint, embedder.dim, 2, ids_digest(["c0", "c1"]))
    params = AnswerParams()
    generators = open_generators(params, embedder)
    return Assistant(
        Release(2, "2", index, Fusion(), "extractive", {}, "", "", {}, ""), store, embedder, generators,
        Resilient(generators, deadline_s=params.deadline_s),
        RetrieveParams(rerank=RerankParams(backend="overlap", margin=9.0)), params, reranker,
    )  # fmt: skip


class Shadows:
    """A server's trials over a log of their own, and one question that waits for the shadow."""

    def __init__(self, root: Path, log: InteractionLog, assistant: Assistant) -> None:
        def load(_: Release) -> Assistant:
            return assistant

        paths = Paths(root)
        self.trials = Trials(Challenger(paths, Champion(paths, load), load), log, Observer())
        trial = Trial("2-1", 2, 1, "shadow", 1.0, "user", "2026-11-21", "", 0, 1, "ann", "")
        question = "How often are pumps serviced?"
        contest = Contest(trial, assistant)
        self.asking = Asking(contest, "a1", Asked(question), question, "u", "s1", time.monotonic())

    def end(self) -> None:
        """Do as the erasure of the conversation does first."""
        self.trials.end("default/u/s1")


def shadowed(folder: Path) -> list[Interaction]:
    return [record for record in read(folder) if record.kind == "shadow"]


@pytest.mark.parametrize("ends", ["never", "waiting", "computed", "written"])
def test_a_conversation_that_is_erased_meanwhile_gets_no_record_of_the_shadow(tmp_path: Path, ends: str) -> None:
    class Log(InteractionLog):
        async def append_async(self, record: Interaction) -> int:
            seq = await super().append_async(record)
            if ends == "written":
                shadows.end()
            return seq

    def computed() -> None:
        if ends == "computed":
            shadows.end()

    with Log(tmp_path / "log") as log:
        shadows = Shadows(tmp_path, log, challenger(Noted(computed)))
        trials, asking = shadows.trials, shadows.asking
        later = replace(asking, session="s2")
        for one in (asking, later):
            trials._queue.put_nowait(one)
        if ends == "waiting":
            shadows.end()
            assert trials._queue.get_nowait() is later
        else:
            asyncio.run(trials._shadowed(asking))
        assert len(shadowed(log.folder)) == (ends == "never")
        asyncio.run(trials._shadowed(later))
        assert [one.session for one in shadowed(log.folder)][-1] == "s2"


def test_the_shadows_second_look_runs_where_the_champions_does_not_wait(tmp_path: Path) -> None:
    reranker = Noted()
    with InteractionLog(tmp_path / "log") as log:
        shadows = Shadows(tmp_path, log, challenger(reranker))
        asyncio.run(shadows.trials._shadowed(shadows.asking))
    assert [name.rpartition("_")[0] for name in reranker.threads] == ["rerank-challenger"]


def test_a_broken_reranker_does_not_come_up_and_one_whose_server_is_away_is_done_without() -> None:
    def failing(error: Exception) -> Assistant:
        def fail() -> None:
            raise error

        return challenger(Noted(fail))

    away, broken = failing(ProviderAway("no answer")), failing(RuntimeError("the graph cannot be built"))
    assert warm(lambda _: away, away.release) is away
    with pytest.raises(RuntimeError, match="cannot be built"):
        warm(lambda _: broken, broken.release)
