"""Answers scored by ragas: without a model and without network, and by a small real server that plays the judge."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.judge import AnswerRow, judge_answers, score_answers
from evaluation.judge_http import JudgeConfig, judge_config
from ragkeep.errors import ConfigError
from ragkeep.types import Role, Vectors


class Letters:
    """An embedder that counts letters."""

    name, fingerprint, dim, max_tokens = "letters", "letters", 26, 512

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        counts = np.array([[text.lower().count(chr(97 + n)) + 1e-3 for n in range(26)] for text in texts], np.float32)
        counts = counts.reshape(-1, 26)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


CONTEXT = "Pumps are serviced yearly. The seal is replaced every second year."
GOOD = AnswerRow(
    "How often are pumps serviced?", "Pumps are serviced yearly. [1]", (CONTEXT,),
    reference="Pumps are serviced yearly.", quotes=("Pumps are serviced yearly.",),
)  # fmt: skip
ABSTAINED = AnswerRow("Who?", "Not in the documents.", (CONTEXT,), reference="Nobody knows.", abstained=True)
INVENTED = AnswerRow("Who?", "Gremlins repair the pumps. [1]", (CONTEXT,), quotes=("Gremlins repair the pumps.",))


def test_a_verbatim_answer_scores_high_and_what_is_not_in_the_context_zero() -> None:
    scores = score_answers([GOOD, INVENTED], Letters())
    good, invented = scores.rows
    assert good["quoted_spans"] == 1
    assert min(good[name] or 0 for name in ("rouge_l", "chrf", "semantic_similarity")) > 0.85
    assert invented == {
        "quoted_spans": 0, "rouge_l": None, "chrf": None, "string_similarity": None, "semantic_similarity": None,
    }  # fmt: skip
    assert scores.means["quoted_spans"] == 0.5
    assert (scores.counts["rouge_l"], scores.failures) == (1, ())


def test_not_answering_what_has_an_answer_scores_zero() -> None:
    scores = score_answers([GOOD, ABSTAINED], Letters())
    assert scores.rows[1]["rouge_l"] == 0
    assert scores.means["rouge_l"] == pytest.approx((scores.rows[0]["rouge_l"] or 0) / 2)


def test_a_score_that_is_not_a_number_is_a_failure_and_counts_as_zero() -> None:
    class Broken(Letters):
        def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
            return super().embed(texts, role=role) * np.float32(np.nan)

    scores = score_answers([GOOD], Broken())
    assert scores.means["semantic_similarity"] == 0
    [failure] = scores.failures
    assert (failure["row"], failure["metric"]) == (0, "semantic_similarity")


def test_two_hundred_answers_need_no_network() -> None:
    program = """
import socket
def refuse(*a, **k): raise SystemExit("tried to connect")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import sys; sys.path.insert(0, "tests/evaluation")
from test_judge import GOOD, Letters
from evaluation.judge import score_answers
assert score_answers([GOOD] * 200, Letters()).failures == ()
"""
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class JudgeServer(ThreadingHTTPServer):
    """Speaks /v1/chat/completions; gives for each schema the reply scripted under one of its property names."""

    daemon_threads = True

    def __init__(self, replies: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.asked = replies, []  # type: ignore[var-annotated]

    @property
    def config(self) -> JudgeConfig:
        return JudgeConfig(f"http://127.0.0.1:{self.server_port}/v1", "scripted", "sesame")


class Handler(BaseHTTPRequestHandler):
    server: JudgeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        if self.path != "/v1/chat/completions" or self.headers["Authorization"] != "Bearer sesame":
            self.send_error(401)
            return
        schema = json.dumps(body["response_format"]["json_schema"]["schema"])
        text = next(reply for name, reply in self.server.replies.items() if f'"{name}"' in schema)
        data = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


STATEMENT = {"statement": "Pumps are serviced yearly.", "reason": "it says so"}
REPLIES = {
    "StatementFaithfulnessAnswer": json.dumps({"statements": [STATEMENT | {"verdict": 1}, STATEMENT | {"verdict": 0}]}),
    "noncommittal": "Here you are:\n```json\n" + json.dumps({"question": GOOD.question, "noncommittal": 0}) + "\n```",
    "classifications": json.dumps({"classifications": [STATEMENT | {"attributed": 1}]}),
    "verdict": json.dumps({"reason": "useful", "verdict": 1}),
    "statements": json.dumps({"statements": ["Pumps are serviced yearly.", "Gremlins do it."]}),
}


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    made = JudgeServer(dict(REPLIES))
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def test_a_judge_scores_what_applies(server: JudgeServer, tmp_path: Path) -> None:
    scores = judge_answers([GOOD, INVENTED, ABSTAINED], Letters(), cache=tmp_path, config=server.config)
    assert scores is not None
    assert scores.failures == ()
    assert scores.rows[0]["faithfulness"] == 0.5
    assert scores.rows[0]["answer_relevancy"] == pytest.approx(1)
    assert scores.rows[0]["context_precision"] == pytest.approx(1)
    assert scores.rows[1]["context_recall"] is None
    assert scores.rows[2]["faithfulness"] is None


def test_a_verdict_is_not_asked_for_twice(server: JudgeServer, tmp_path: Path) -> None:
    first = judge_answers([GOOD], Letters(), cache=tmp_path, config=server.config)
    asked = len(server.asked)
    assert judge_answers([GOOD], Letters(), cache=tmp_path, config=server.config) == first
    assert len(server.asked) == asked
    assert list((tmp_path / "judge").glob("*.json"))


def test_a_judge_that_talks_nonsense_is_counted(server: JudgeServer, tmp_path: Path) -> None:
    server.replies["classifications"] = "I would rather not."
    scores = judge_answers([GOOD], Letters(), cache=tmp_path, config=server.config)
    assert scores is not None
    assert scores.means["context_recall"] == 0
    assert scores.means["faithfulness"] == 0.5
    [failure] = scores.failures
    assert failure["metric"] == "context_recall"
    assert "try another judge model" in failure["error"]


def test_a_judge_that_is_not_there_fails_row_by_row_and_never_shows_the_key(tmp_path: Path) -> None:
    config = JudgeConfig("http://127.0.0.1:9/v1", "gone", "sesame")
    scores = judge_answers([GOOD], Letters(), cache=tmp_path, config=config)
    assert scores is not None
    assert {f["metric"] for f in scores.failures} == set(scores.means)
    assert "check RAGKEEP_JUDGE_URL" in scores.failures[0]["error"]
    assert "sesame" not in f"{scores.failures}{config}"


def test_no_judge_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAGKEEP_JUDGE_URL", raising=False)
    assert judge_answers([GOOD], Letters(), cache=tmp_path) is None


@pytest.mark.parametrize(("url", "model"), [("localhost:11434", "m"), ("http://localhost:11434/v1", "")])
def test_half_a_configuration_is_named(monkeypatch: pytest.MonkeyPatch, url: str, model: str) -> None:
    monkeypatch.setenv("RAGKEEP_JUDGE_URL", url)
    monkeypatch.setenv("RAGKEEP_JUDGE_MODEL", model)
    with pytest.raises(ConfigError, match="RAGKEEP_JUDGE"):
        judge_config()
