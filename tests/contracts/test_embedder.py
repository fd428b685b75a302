"""What every embedder must do: ports.Embedder, over every backend that runs here."""

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

from ragkeep.backends import EMBEDDERS
from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
from ragkeep.models import packaged_minilm
from ragkeep.ports import Embedder
from tests.embedding_servers import KEYS, REMOTE, embeddings
from tests.stores.amazon import forget_aws, log_in

TEXTS = [
    "How to parse a date from a string.",
    "def strptime(text: str, format: str) -> datetime: ...",
    "",
    "Ein Satz mit Umlauten: größer, schöner. 漢字も。",
    "\ud800 lone surrogate",
    "word " * 600,
    "Bananas are yellow.",
]


@pytest.fixture(scope="module", params=sorted(EMBEDDERS))
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    name, folder = request.param, tmp_path_factory.mktemp("cache")
    if name == "torch" and importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers is not installed: pip install 'ragkeep[torch]'")
    if name in REMOTE:
        with embeddings(name) as there, pytest.MonkeyPatch.context() as patch:
            forget_aws(patch, folder)
            log_in(patch, KEYS)
            yield load_embedder(there.params(), folder)
        return
    model = str(packaged_minilm()) if name in ("openvino", "torch") else ""
    yield load_embedder(EmbedParams(backend=name, model=model, precision="fp32"), folder)


def test_rows_are_float32_units_in_the_order_given(embedder: Embedder) -> None:
    made = embedder.embed(TEXTS, role="passage")
    assert made.shape == (len(TEXTS), embedder.dim)
    assert made.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)


def test_no_texts_make_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([], role="passage").shape == (0, embedder.dim)


def test_a_vector_does_not_depend_on_its_neighbours(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS * 5, role="passage")[: len(TEXTS)]
    alone = np.concatenate([embedder.embed([text], role="passage") for text in TEXTS])
    assert (together * alone).sum(axis=1).min() > 0.9999


def test_what_reads_alike_is_near(embedder: Embedder) -> None:
    query = embedder.embed(["parse a date string"], role="query")[0]
    scores = embedder.embed([TEXTS[0], TEXTS[6]], role="passage") @ query
    assert scores[0] > scores[1]


def test_it_names_itself(embedder: Embedder) -> None:
    assert embedder.name
    assert embedder.fingerprint
    assert embedder.max_tokens > 0
