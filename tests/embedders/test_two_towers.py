"""Questions by a model that was learned for them, passages by the one that built the index."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evaluation.vectors import CachedEmbedder
from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder, query_fingerprint
from ragkeep.errors import ModelError
from ragkeep.models import packaged_minilm

BASE = EmbedParams(precision="fp32")


def learned(cache: Path, passages: str, *, name: str = "query-tower-1") -> EmbedParams:
    """Keep a copy of the packaged model, its weights a little changed, as one learned for some passages."""
    folder = cache.parent / "models" / name
    shutil.copytree(packaged_minilm(), folder)
    (folder / "model.safetensors").chmod(0o644)
    weights = load_file(folder / "model.safetensors")
    words = next(key for key in weights if key.endswith("word_embeddings.weight"))
    weights[words] = weights[words] + np.float32(0.01) * np.sign(weights[words])
    save_file(weights, folder / "model.safetensors")
    (folder / "card.json").write_text(json.dumps({"passages": passages}))
    return EmbedParams(precision="fp32", query_model=f"{{models}}/{name}")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_only_questions_are_embedded_by_the_learned_model(cache: Path) -> None:
    base = load_embedder(BASE, cache)
    both = load_embedder(learned(cache, base.fingerprint), cache)
    assert np.array_equal(both.embed(["a pump"], role="passage"), base.embed(["a pump"], role="passage"))
    alike = (both.embed(["a pump"], role="query") @ base.embed(["a pump"], role="query").T).item()
    assert 0.5 < alike < 0.9999


def test_an_index_knows_its_embedder_and_a_cache_tells_the_questions_apart(cache: Path) -> None:
    base = load_embedder(BASE, cache)
    both = load_embedder(learned(cache, base.fingerprint), cache)
    assert both.fingerprint == base.fingerprint
    assert query_fingerprint(both) != query_fingerprint(base)
    before = CachedEmbedder(base, cache).embed(["a pump"], role="query")
    after = CachedEmbedder(both, cache).embed(["a pump"], role="query")
    assert not np.array_equal(before, after)


def test_a_model_learned_for_other_passages_is_refused(cache: Path) -> None:
    params = learned(cache, "another-embedder")
    with pytest.raises(ModelError, match=r"learned for passages of another-embedder.*ragkeep learn"):
        load_embedder(params, cache)


def test_a_folder_without_a_card_is_refused(cache: Path) -> None:
    base = load_embedder(BASE, cache)
    params = learned(cache, base.fingerprint)
    (cache.parent / "models" / "query-tower-1" / "card.json").unlink()
    with pytest.raises(ModelError, match="learned for passages of None"):
        load_embedder(params, cache)
