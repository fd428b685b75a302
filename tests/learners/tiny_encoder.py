"""A sentence encoder of some thousand weights, made on the spot, and lessons about it: real files, real training.

python -m tests.learners.tiny_encoder FOLDER LEARNER KILL_AT   train, and die of -9 when so many steps are done
python -m tests.learners.tiny_encoder FOLDER 30                kill at 30 points; every run must end in the same bytes
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from ragkeep.config import EmbedParams
from ragkeep.embedders.openvino import folder as openvino_folder
from ragkeep.types import content_id
from tasks.learners import Base, Learned, both_towers, query_tower, training
from tasks.lessons import Lesson, TrainingSet

HIDDEN, LAYERS, HEADS, WIDE, PLACES = 32, 2, 4, 64, 64
TOPICS = ["pump", "valve", "motor", "cable", "filter", "sensor", "boiler", "hinge", "switch", "tank"]
NAMES = {topic: f"zz{topic[::-1]}" for topic in TOPICS}
"""What people here call the topics: words no passage holds."""


def encoder(folder: Path) -> Path:
    """Write a BERT of random weights with a word-level tokenizer, in the sentence-transformers layout."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = sorted({w for text in [*TEXTS.values(), *(q for q, _ in ASKED)] for w in text.lower().split()})
    ids = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    made = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir(parents=True)
    made.save(str(folder / "tokenizer.json"))
    config = {
        "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "intermediate_size": WIDE, "max_position_embeddings": PLACES, "vocab_size": len(ids), "layer_norm_eps": 1e-12,
        "hidden_act": "gelu", "type_vocab_size": 2, "pad_token_id": 0,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]))  # fmt: skip
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    save_file(_weights(len(ids)), str(folder / "model.safetensors"))
    return folder


def _weights(words: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = {"word": words, "token_type": 2, "position": PLACES}
    shapes: dict[str, tuple[int, ...]] = {f"embeddings.{n}_embeddings.weight": (s, HIDDEN) for n, s in sizes.items()}
    norms = ["embeddings.LayerNorm"]
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}."
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{layer}{part}.weight": (HIDDEN, HIDDEN), f"{layer}{part}.bias": (HIDDEN,)}
        shapes |= {f"{layer}intermediate.dense.weight": (WIDE, HIDDEN), f"{layer}intermediate.dense.bias": (WIDE,)}
        shapes |= {f"{layer}output.dense.weight": (HIDDEN, WIDE), f"{layer}output.dense.bias": (HIDDEN,)}
        norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    made = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    made["embeddings.word_embeddings.weight"] *= 10
    for name in norms:
        made |= {f"{name}.weight": np.ones(HIDDEN, np.float32), f"{name}.bias": np.zeros(HIDDEN, np.float32)}
    return made


def _texts() -> dict[str, str]:
    acts = ["opens", "breaks", "heats", "stops", "leaks", "turns"]
    return {f"{t}-{a}": f"the {t} {a} when the {t} is old and the {a} part is worn" for t in TOPICS for a in acts}


TEXTS = _texts()
ASKED = [
    (f"why {how} the {NAMES[chunk.split('-')[0]]} that {chunk.split('-')[1]}", chunk)
    for how in ("does", "did", "has") for chunk in TEXTS
]  # fmt: skip


def training_set(count: int = 10_000) -> TrainingSet:
    """Lessons in the names of this company."""
    lessons = [Lesson(f"q{n}", question, {chunk: 1.0}) for n, (question, chunk) in enumerate(ASKED[:count])]
    split = [one if n % 5 else Lesson(one.id, one.question, one.gains, split="select") for n, one in enumerate(lessons)]
    return TrainingSet(tuple(split), TEXTS, {"sha": content_id(*(one.id for one in split))})


def base(folder: Path) -> Base:
    """The tiny encoder as champion; its legs are those of tests that search."""
    model = folder / "encoder"
    if not model.is_dir():
        encoder(model)
    embedder = openvino_folder(EmbedParams(backend="openvino", model=str(model)), folder / "cache")
    return Base(embedder, model, lambda lessons, vectors: {})


RECIPES = {
    "query-tower": (query_tower, query_tower.Recipe(epochs=6, batch=16, rate=3e-3, anchor=0.0, steady=0.1)),
    "both-towers": (
        both_towers,
        both_towers.Recipe(epochs=6, batch=16, rate=3e-3, anchor=0.0, alike=2.0, least=50, doubt=0),
    ),
}


def learn(folder: Path, learner: str, *, kill_at: int = -1, seed: int = 1) -> Learned:
    """Learn into FOLDER/LEARNER with a checkpoint at every step, killed with -9 after `kill_at` of them."""
    training.CHECKPOINT_S = 0.0
    module, recipe = RECIPES[learner]

    def tick(done: int, _total: int) -> None:
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return module.learn_by(recipe, training_set(), base(folder), folder / learner, seed=seed, tick=tick)


def killed(folder: Path, learner: str, at: int) -> int:
    """Learn in a process that dies at a step; return its exit status."""
    command = [sys.executable, "-m", "tests.learners.tiny_encoder", str(folder), learner, str(at)]
    return subprocess.run(command, check=False, cwd=Path(__file__).parents[2]).returncode


def kill_at_points(folder: Path, points: int) -> int:
    """Kill both learners at so many points in all, go on each time, and return how many ended in other bytes."""
    whole = {name: learn(folder / "whole", name) for name in RECIPES}
    wrong = 0
    for point in range(points):
        name = list(RECIPES)[point % len(RECIPES)]
        at = 1 + point * (len(whole[name].card["curve"]) - 1) // max(1, points - 1)
        here = folder / f"killed-{point}"
        assert killed(here, name, at) == -signal.SIGKILL
        wrong += learn(here, name).sha256 != whole[name].sha256
        shutil.rmtree(here)
    return wrong


if __name__ == "__main__":
    where, *rest = sys.argv[1:]
    if len(rest) == 1:
        sys.exit(kill_at_points(Path(where), int(rest[0])))
    learn(Path(where), rest[0], kill_at=int(rest[1]))
