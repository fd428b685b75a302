"""Our GGUF files in the real llama.cpp: the same token ids, the same greedy tokens.

RAGKEEP_LLAMA_CPP names a folder in which `npm install --ignore-scripts node-llama-cpp` was run (0.7 GB, prebuilt).
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tasks.finetune import gguf_file, weights
from tests.finetune import tiny

TEXT = "The pump is a machine that moves water, äöü 水.\n\n  If the pressure falls, it stops."
COUNT = 12

pytestmark = pytest.mark.skipif(
    not os.environ.get("RAGKEEP_LLAMA_CPP") or not shutil.which("node"),
    reason="RAGKEEP_LLAMA_CPP names no folder with node-llama-cpp, or there is no node",
)


@pytest.mark.parametrize("family", gguf_file.FAMILIES)
def test_llama_cpp_reads_our_files_as_we_do(base: Path, tmp_path: Path, family: str) -> None:
    folder = tiny.make(tmp_path / family, family=family)
    file = tmp_path / "a.gguf"
    gguf_file.write(folder, file, precision="f32")
    wanted = ours(folder)
    assert len(set(wanted["greedy"])) > 3  # a model that repeats itself would prove little
    (tmp_path / "asked.json").write_text(json.dumps([{"file": str(file), "text": TEXT, "count": COUNT}]))
    script = Path(__file__).with_name("llama_cpp.mjs")
    said = subprocess.run(["node", script, tmp_path / "asked.json"], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout.splitlines()[-1]) == wanted


def ours(folder: Path) -> dict[str, Any]:
    """Token ids of TEXT, and the greedy tokens after it, as transformers has them."""
    import torch

    ids = weights.tokenizer(folder)(TEXT, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        made = weights.model(folder).eval().generate(
            ids, max_new_tokens=COUNT, do_sample=False, pad_token_id=0, eos_token_id=None
        )  # fmt: skip
    return {"ids": ids[0].tolist(), "greedy": made[0, ids.shape[1] :].tolist()}
