import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
from ragkeep.embedders.quantize import calibration_id, calibration_texts
from ragkeep.errors import MissingExtra

HERE = importlib.util.find_spec("nncf") is not None


def test_the_calibration_passages_are_fixed_and_named() -> None:
    texts = calibration_texts()
    assert len(texts) == 150
    assert all(len(text) == 700 for text in texts[:74])
    assert f"int8.{calibration_id()}" in load_embedder(EmbedParams(precision="int8"), Path("unused")).fingerprint


@pytest.mark.skipif(HERE, reason="nncf is installed")
def test_without_nncf_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r"ragkeep\[int8\]"):
        load_embedder(EmbedParams(precision="int8"), tmp_path).embed(["x"], role="query")


@pytest.mark.skipif(not HERE, reason="nncf is not installed: pip install 'ragkeep[int8]'")
def test_int8_stays_near_full_precision(tmp_path: Path) -> None:
    texts = ["How to parse a date from a string.", "def load(path):\n    return json.loads(path.read_text())"] * 3
    full = load_embedder(EmbedParams(precision="fp32"), tmp_path).embed(texts, role="passage")
    small = load_embedder(EmbedParams(precision="int8"), tmp_path).embed(texts, role="passage")
    assert 0.985 < float(np.min((full * small).sum(axis=1))) < 1
