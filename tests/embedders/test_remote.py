import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragkeep.embedders import load_embedder, remote
from ragkeep.errors import ConfigError, ProviderAway, ProviderBusy, ProviderRefused
from ragkeep.ports import Embedder
from tests.embedding_servers import KEYS, REMOTE, Embeddings, embeddings
from tests.providers import nobody
from tests.stores.amazon import forget_aws, log_in

TEXTS = ["one two", "three", "four five six", "seven", "one"]


@pytest.fixture(params=REMOTE)
def there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Embeddings]:
    forget_aws(monkeypatch, tmp_path)
    log_in(monkeypatch, KEYS)
    with embeddings(request.param) as made:
        yield made


def opened(there: Embeddings, **params: Any) -> Embedder:
    return load_embedder(there.params(**params), Path())


def test_what_may_pass_is_tried_again(there: Embeddings) -> None:
    there.faults = ["429", "500", "cut", "503"]
    assert opened(there).embed(TEXTS, role="passage").shape == (5, 64)


def test_a_question_is_not_waited_for_as_long_as_a_night(there: Embeddings) -> None:
    embedder = opened(there)
    assert embedder.dim == 64
    there.faults, there.retry_after = ["429"], "60"
    begun = time.monotonic()
    with pytest.raises(ProviderBusy) as caught:
        embedder.embed(["?"], role="query")
    assert (caught.value.retry_after_s, time.monotonic() - begun < 30) == (60, True)


def test_what_keeps_failing_is_left_alone_by_questions(there: Embeddings) -> None:
    embedder = opened(there)
    assert embedder.dim == 64
    there.faults = ["500"] * 4
    for _ in range(2):
        with pytest.raises((ProviderAway, ProviderBusy)):
            embedder.embed(["?"], role="query")
    assert len(there.faults) == 1
    with pytest.raises(ProviderBusy, match="left alone"):
        embedder.embed(["?"], role="query")


@pytest.mark.parametrize("fault", ["400", "403", "bad-json", "no-rows"])
def test_what_is_no_answer_is_refused_at_once(there: Embeddings, fault: str) -> None:
    embedder = opened(there)
    assert embedder.dim == 64
    there.faults = [fault]
    with pytest.raises(ProviderRefused):
        embedder.embed(["?"], role="passage")


def test_an_answer_that_trickles_ends_in_time(there: Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"ragkeep.embedders.{there.kind}.TIMEOUT_S", 0.5)
    monkeypatch.setitem(remote.PATIENCE_S, "query", 0.0)
    embedder = opened(there)
    assert embedder.dim == 64
    there.faults = ["trickle"]
    begun = time.monotonic()
    with pytest.raises(ProviderAway, match="longer than"):
        embedder.embed(["?"], role="query")
    assert time.monotonic() - begun < 20


def test_nobody_there_is_away(there: Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(remote.PATIENCE_S, "passage", 0.0)
    with pytest.raises(ProviderAway, match="no connection"):
        opened(there, url=nobody()).embed(["?"], role="query")


def test_texts_go_in_batches_with_their_prefix(there: Embeddings) -> None:
    embedder = opened(there, passage_prefix="passage: ", batch_tokens=10)
    embedder.embed(TEXTS, role="passage")
    sent = [text for batch in there.batches[1:] for text in batch]
    assert sorted(sent) == sorted(f"passage: {text}" for text in TEXTS)
    assert all(len(batch) <= 3 for batch in there.batches)


def test_rows_are_in_order_over_many_batches(there: Embeddings) -> None:
    embedder = opened(there, batch_tokens=40)
    many = [f"word{n} text" for n in range(300)]
    rows = embedder.embed(many, role="passage")
    np.testing.assert_allclose(rows[123], embedder.embed([many[123]], role="passage")[0], atol=1e-6)


def test_the_fingerprint_knows_the_model_and_not_the_place(there: Embeddings) -> None:
    with embeddings(there.kind) as elsewhere:
        assert opened(there).fingerprint == opened(elsewhere).fingerprint
        elsewhere.dim = 32
        assert opened(there).fingerprint != opened(elsewhere).fingerprint
    assert opened(there).fingerprint != opened(there, query_prefix="query: ").fingerprint


def test_another_dimension_in_mid_night_is_refused(there: Embeddings) -> None:
    embedder = opened(there)
    assert embedder.dim == 64
    there.dim = 32
    with pytest.raises(ProviderRefused, match="was the model changed"):
        embedder.embed(["x"], role="passage")


def test_tei_is_waited_for_when_it_starts() -> None:
    with embeddings("tei") as there:
        there.faults = ["info-503", "info-cut"]
        assert opened(there).name == "intfloat/e5-small"


def test_tei_tells_its_weights() -> None:
    with embeddings("tei") as there:
        before = opened(there)
        there.info["model_sha"] = "def"
        assert opened(there).fingerprint != before.fingerprint
        assert before.max_tokens == 512
        with pytest.raises(ConfigError, match=r"runs intfloat/e5-small and not embed\.model other"):
            opened(there, model="other")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"backend": "openai"}, r"needs embed\.url and embed\.model"),
        ({"backend": "tei"}, r"needs embed\.url"),
        ({"backend": "bedrock", "model": "cohere.embed-english-v3"}, "Titan"),
    ],
)
def test_what_is_missing_is_named(params: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_embedder(Embeddings("openai").params(**{"model": "", "url": "", **params}), Path())
