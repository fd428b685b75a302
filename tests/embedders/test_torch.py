import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
from ragkeep.embedders.torch import budgeted
from ragkeep.errors import ConfigError, MissingExtra, ModelError
from ragkeep.models import packaged_minilm

HERE = importlib.util.find_spec("sentence_transformers") is not None
needs_torch = pytest.mark.skipif(not HERE, reason="sentence-transformers is not installed: pip install 'ragkeep[torch]'")
TEXTS = [f"{'some words ' * (n % 20)} number {n}" for n in range(60)]


def made(tmp_path: Path, precision: str = "fp32", model: str = "") -> object:
    params = EmbedParams(backend="torch", model=model or str(packaged_minilm()), precision=precision)  # type: ignore[arg-type]
    return load_embedder(params, tmp_path)


def test_batches_stay_within_their_budget_of_padded_tokens() -> None:
    assert list(budgeted([3, 8, 2, 300, 7, 3], 16)) == [[3], [1, 4], [0, 5, 2]]


def test_a_model_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs embed\.model"):
        load_embedder(EmbedParams(backend="torch"), tmp_path)


@pytest.mark.skipif(HERE, reason="sentence-transformers is installed")
def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r"ragkeep\[torch\]"):
        made(tmp_path)


@needs_torch
def test_both_runtimes_agree(tmp_path: Path) -> None:
    ours = load_embedder(EmbedParams(precision="fp32"), tmp_path).embed(TEXTS, role="passage")
    theirs = made(tmp_path).embed(TEXTS, role="passage")  # type: ignore[attr-defined]
    assert (ours * theirs).sum(axis=1).min() > 0.9999


@needs_torch
def test_bf16_on_a_cpu_is_autocast_and_has_its_own_fingerprint(tmp_path: Path) -> None:
    full, half = made(tmp_path), made(tmp_path, "bf16")
    assert full.fingerprint != half.fingerprint  # type: ignore[attr-defined]
    a, b = (e.embed(TEXTS[:8], role="query") for e in (full, half))  # type: ignore[attr-defined]
    assert 0.999 < np.min((a * b).sum(axis=1)) < 1


@needs_torch
def test_a_model_that_is_not_here_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nor in the Hugging Face cache"):
        made(tmp_path, model="nobody/no-such-model")


@needs_torch
def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="can run code"):
        made(tmp_path, model=str(tmp_path))
