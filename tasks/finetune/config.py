"""finetune.yaml: everything a fine-tune depends on, in one file that can be carried to another machine.

An unknown key, a number out of bounds and a wrong word are errors that name the key. Paths are relative to the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ragkeep.config import GeneratorParams, parse
from ragkeep.errors import ConfigError
from ragkeep.files import write_text

NAME = "finetune.yaml"


@dataclass(frozen=True, slots=True)
class DataParams:
    """Files and folders to read, and how they are cut: sizes in characters, for the splitter "token" in tokens."""

    sources: tuple[str, ...] = ("docs",)
    splitter: Literal["recursive", "character", "token"] = "recursive"
    chunk_size: int = 1200
    chunk_overlap: int = 100


RULES = GeneratorParams(backend="rules")


@dataclass(frozen=True, slots=True)
class QuestionParams:
    """How questions are made: `generator` is a backend of ragkeep, or "rules", which asks nobody.

    `eval_share` of all chunks is kept apart for evaluation; `context` puts the chunk beside its question.
    """

    generator: GeneratorParams = RULES
    pairs: int = 3
    eval_share: float = 0.1
    context: bool = True
    at_once: int = 4


@dataclass(frozen=True, slots=True)
class AugmentParams:
    """`ratio` new rows for every row of the training split, of these kinds in turn."""

    ratio: float = 0.5
    kinds: tuple[Literal["instruction", "paraphrase", "whitespace", "case"], ...] = (
        "instruction",
        "paraphrase",
        "whitespace",
        "case",
    )


@dataclass(frozen=True, slots=True)
class FormatParams:
    """How a row is written for the model; `text` is the template of "custom", with {instruction}, {input}, {output}.

    `stop` ends the answer ("": the tokenizer's own end of text).
    """

    template: Literal["model", "alpaca", "chatml", "custom"] = "model"
    text: str = ""
    system: str = ""
    stop: str = ""


@dataclass(frozen=True, slots=True)
class LoraParams:
    """Low-rank adapters: rank, scale (alpha / r), dropout, and the layers they sit on."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True, slots=True)
class TrainParams:
    """How it is trained. `steps` 0: whole epochs. `precision` auto: bf16 where the device has it; `quantize` is QLoRA."""

    epochs: float = 1.0
    steps: int = 0
    batch: int = 4
    accumulate: int = 1
    learning_rate: float = 2e-4
    warmup: float = 0.03
    max_tokens: int = 1024
    packing: bool = False
    checkpointing: bool = True
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    quantize: Literal["none", "4bit"] = "none"
    save_steps: int = 50
    beta: float = 0.1


@dataclass(frozen=True, slots=True)
class MeasureParams:
    """How base and tuned are compared: at most `rows` of the evaluation split, answers of at most `max_tokens`."""

    rows: int = 200
    max_tokens: int = 64


@dataclass(frozen=True, slots=True)
class BedrockParams:
    """A customization job at Amazon Bedrock: the model it begins from, whose role it runs with, where its files lie.

    `hyper` are the job's own parameters, as text; `wait_s` is how long its end is waited for.
    """

    base_model: str = ""
    role: str = ""
    bucket: str = ""
    prefix: str = "ragkeep/finetune"
    region: str = ""
    wait_s: float = 0.0
    hyper: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finetune:
    """All of finetune.yaml. `model` is a folder with safetensors, or a name in the Hugging Face cache."""

    model: str
    output: str = "finetune"
    seed: int = 7
    data: DataParams = DataParams()
    questions: QuestionParams = QuestionParams()
    augment: AugmentParams = AugmentParams()
    format: FormatParams = FormatParams()
    lora: LoraParams = LoraParams()
    train: TrainParams = TrainParams()
    measure: MeasureParams = MeasureParams()
    bedrock: BedrockParams = field(default_factory=BedrockParams)


BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "data.chunk_size": (16, 10**6),
    "data.chunk_overlap": (0, 10**6),
    "questions.pairs": (1, 20),
    "questions.eval_share": (0, 0.9),
    "questions.at_once": (1, 64),
    "augment.ratio": (0, 10),
    "lora.r": (8, 64),
    "lora.alpha": (16, 128),
    "lora.dropout": (0.05, 0.1),
    "train.epochs": (0.01, 100),
    "train.steps": (0, 10**7),
    "train.batch": (1, 1024),
    "train.accumulate": (1, 1024),
    "train.learning_rate": (1e-7, 0.1),
    "train.warmup": (0, 0.9),
    "train.max_tokens": (16, 10**6),
    "train.save_steps": (1, 10**6),
    "train.beta": (0.001, 10),
    "measure.rows": (1, 10**6),
    "measure.max_tokens": (1, 4096),
    "bedrock.wait_s": (0, 10**6),
}
"""The least and the most of every number."""


@dataclass(frozen=True, slots=True)
class Place:
    """A finetune.yaml and the files that belong to it."""

    path: Path
    params: Finetune

    def resolve(self, text: str) -> Path:
        """A path of the file: relative to it, ~ expanded."""
        return self.path.parent / Path(text).expanduser()

    @property
    def output(self) -> Path:
        """The folder of everything that is made."""
        return self.resolve(self.params.output)

    @property
    def chunks(self) -> Path:
        """What prepare-data writes."""
        return self.output / "chunks.jsonl"

    @property
    def pairs(self) -> Path:
        """What generate-qa writes."""
        return self.output / "pairs.jsonl"

    @property
    def train(self) -> Path:
        """Rows to train on, which augment writes."""
        return self.output / "train.jsonl"

    @property
    def eval(self) -> Path:
        """Rows kept apart, which augment writes."""
        return self.output / "eval.jsonl"

    @property
    def preferences(self) -> Path:
        """Pairs of answers for DPO."""
        return self.output / "preferences.jsonl"

    @property
    def adapter(self) -> Path:
        """What train writes."""
        return self.output / "adapter"

    @property
    def merged(self) -> Path:
        """What merge-adapter writes."""
        return self.output / "merged"


def load(path: Path) -> Place:
    """Read a finetune.yaml, or that of a folder. Raises ConfigError naming the key and the next step."""
    import yaml

    path = path / NAME if path.is_dir() else path
    try:
        raw = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: `ragkeep finetune init` writes one") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    params = parse(Finetune, raw, path.name)
    check(params, path.name)
    return Place(path.resolve(), params)


def check(params: Finetune, where: str) -> None:
    """Check every number, and what depends on each other. Raises ConfigError naming the key."""
    for key, (low, high) in BOUNDS.items():
        value = _value(params, key)
        if not low <= value <= high:
            raise ConfigError(f"{where}: {key} must be between {low:,} and {high:,}, not {value:g}")
    if not params.model.strip():
        raise ConfigError(
            f"{where}: model is empty; name a folder with safetensors, or a model of the Hugging Face cache"
        )
    if not params.data.sources:
        raise ConfigError(f"{where}: data.sources is empty; name at least one file or folder")
    if params.data.chunk_overlap >= params.data.chunk_size:
        raise ConfigError(f"{where}: data.chunk_overlap must be less than data.chunk_size, or cutting never ends")
    if not params.lora.targets:
        raise ConfigError(f"{where}: lora.targets is empty; name layers, as in [q_proj, k_proj, v_proj, o_proj]")
    if params.augment.ratio and not params.augment.kinds:
        raise ConfigError(f"{where}: augment.kinds is empty; name one, or set augment.ratio to 0")
    if (params.format.template == "custom") != bool(params.format.text):
        raise ConfigError(f"{where}: format.text is the template of format.template: custom, and of no other")


def _value(params: Finetune, key: str) -> float:
    found: Any = params
    for name in key.split("."):
        found = getattr(found, name)
    return float(found)


def init(path: Path, *, model: str = "", force: bool = False) -> Path:
    """Write a finetune.yaml with every key and what it means. Raises ConfigError where there is one."""
    path = path / NAME if path.is_dir() else path
    if path.exists() and not force:
        raise ConfigError(f"{path} exists: edit it, or `ragkeep finetune init --force` to begin again")
    text = SAMPLE.replace("MODEL", model) if model else SAMPLE.replace("MODEL", "models/my-base")
    write_text(path, text)
    return path


SAMPLE = """\
# What `ragkeep finetune` does, step by step; `ragkeep finetune validate` checks this file whole.
# Every key is optional but `model`. Paths are relative to this file.

model: MODEL                 # a folder with safetensors, or a name in the Hugging Face cache; nothing is fetched
output: finetune             # everything that is made goes here
seed: 7                      # the same seed, data and machine give the same bytes

data:                        # prepare-data: files -> chunks.jsonl
  sources: [docs]            # files or folders: JSON, PDF, DOCX, TXT, Markdown, HTML and what else ragkeep reads
  splitter: recursive        # recursive (paragraphs, lines, sentences, words), character, token
  chunk_size: 1200           # characters; tokens where the splitter is token
  chunk_overlap: 100

questions:                   # generate-qa: chunks -> pairs.jsonl
  # rules: offline; or {backend: bedrock, model: ...}, {backend: openai, url: ..., key: NAME_OF_VARIABLE},
  # {backend: local, model: folder}
  generator: {backend: rules}
  pairs: 3                   # a chunk; every answer stands in its chunk
  eval_share: 0.1            # of all chunks, kept apart from here on
  context: true              # the chunk stands beside its question
  at_once: 4                 # questions to a provider at the same time

augment:                     # augment: pairs -> train.jsonl, eval.jsonl; eval.jsonl is never touched
  ratio: 0.5                 # new rows for every row
  kinds: [instruction, paraphrase, whitespace, case]

format:                      # how a row is written for the model; kept as the tuned model's chat template
  template: model            # model (its own chat template), alpaca, chatml, custom
  text: ""                   # of custom: "Q: {instruction}\\n{input}\\nA: {output}"
  system: ""
  stop: ""                   # what ends an answer; "": the tokenizer's end of text

lora:
  r: 16                      # 8 to 64
  alpha: 32                  # 16 to 128
  dropout: 0.05              # .05 to .1
  targets: [q_proj, k_proj, v_proj, o_proj]

train:
  epochs: 1
  steps: 0                   # 0: whole epochs
  batch: 4
  accumulate: 1
  learning_rate: 2.0e-4
  warmup: 0.03               # share of all steps
  max_tokens: 1024           # longer rows are cut
  packing: false             # several rows in one sequence, none of which sees another
  checkpointing: true        # less memory for more work
  precision: auto            # bf16 where the device has it; fp32, bf16
  quantize: none             # 4bit is QLoRA, and needs a CUDA GPU
  save_steps: 50             # a run that was killed goes on from there
  beta: 0.1                  # of DPO: how near the tuned model stays to its base

measure:                     # evaluate: base and tuned on eval.jsonl
  rows: 200
  max_tokens: 64

bedrock:                     # export --to bedrock
  base_model: ""
  role: ""                   # the ARN of the role the job runs with
  bucket: ""
  prefix: ragkeep/finetune
  region: ""
  wait_s: 0                  # how long to wait for the job to end
  hyper: {}                  # the job's own parameters, as in {epochCount: "2"}
"""
