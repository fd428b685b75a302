"""Models and tokenizers of any folder or hub name, after nothing in it can run code: the only way in for files of others.

Weights come from safetensors only; a folder that carries a pickle, code, an archive, or a configuration that names code
is refused whole, in one line that says what and why. A chat template is read as Jinja and may use its messages, loops
and text, and nothing that reaches into Python. Nothing is fetched, and no code of a repository is ever run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragkeep.errors import MissingExtra, ModelError
from ragkeep.loaders import names
from ragkeep.models import hub_snapshot

PICKLES = names(".bin .pt .pth .pkl .pickle .ckpt .joblib .npy .npz .h5 .hdf5 .keras .msgpack .dill .nemo .mar .t7")
CODE = names(".py .pyc .pyd .so .dll .dylib .sh .js .wasm .ipynb")
ARCHIVES = names(".zip .tar .gz .tgz .xz .bz2 .7z .whl .egg .rar")
_MAX_JSON, _MAX_TEMPLATE, _MAX_HEADER = 200_000_000, 200_000, 100_000_000
_NAMES_CODE = ("auto_map", "custom_pipelines", "auto_mapping", "megatron_config", "custom_generate")
"""Keys of configurations that name code to import, of the repository or of anywhere."""


def need_packages() -> None:
    """Raise MissingExtra unless everything that training needs is installed."""
    if not all(importlib.util.find_spec(name) for name in ("torch", "transformers", "peft", "trl", "datasets")):
        raise MissingExtra("fine-tuning", "train")


def find(model: str, base: Path | None = None) -> Path:
    """Find a model's folder: a path (relative to `base`), or a name in the Hugging Face cache. Raises ModelError."""
    path = (base or Path()) / Path(model).expanduser()
    if path.is_file():
        raise ModelError(f"{path} is a file: name a folder with config.json and model.safetensors")
    if not path.is_dir():
        if model.startswith((".", "/", "~")) or model.count("/") > 1:
            raise ModelError(f"{path} does not exist: name a folder, or a model of the Hugging Face cache")
        path = hub_snapshot(model)
    return path


def check(folder: Path, *, adapter: bool = False) -> Path:
    """Look at every file of a model's folder before any is opened by a library; returns the folder.

    Raises ModelError, in one line, for whatever could run code, leads out of the folder, or is not what its name says.
    """
    weights = "adapter_model.safetensors" if adapter else "model.safetensors"
    for path in _files(folder):
        _check_file(path, folder)
    if not (folder / weights).is_file() and not any(folder.glob("model-*-of-*.safetensors")):
        raise ModelError(f"{folder} has no {weights}: convert the weights to safetensors on a machine you can lose")
    if not adapter and not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json: name the folder of a model")
    return folder


def _files(folder: Path) -> Iterator[Path]:
    """Every file, links followed only to where they may lead: into the folder, or its hub's blobs beside it."""
    home = folder.resolve()
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    for path in sorted(folder.rglob("*")):
        real = path.resolve()
        if not real.is_relative_to(home) and not real.is_relative_to(blobs):
            raise ModelError(f"{path} leads out of the folder: copy the file itself there")
        if not real.exists() or not (real.is_file() or real.is_dir()):
            raise ModelError(f"{path} is no file: remove it")
        if real.is_file():
            yield path


def _check_file(path: Path, folder: Path) -> None:
    name, suffix = path.relative_to(folder).as_posix(), path.suffix.lower()
    if suffix in PICKLES:
        raise ModelError(
            f"{folder}: {name} can run code when it is opened: use the model's safetensors and remove this file"
        )
    if suffix in CODE:
        raise ModelError(f"{folder}: {name} is code, which is not run from a model's folder: remove it")
    if suffix in ARCHIVES:
        raise ModelError(f"{folder}: {name} is an archive: unpack it, look at it, and remove it")
    if suffix == ".safetensors":
        safetensors(path)
    elif suffix == ".gguf":
        from .gguf_file import inspect

        inspect(path)
    elif suffix == ".json":
        _check_json(path, name, folder)
    elif suffix in (".jinja", ".j2"):
        chat_template(_text(path, _MAX_TEMPLATE), path)


def safetensors(path: Path) -> dict[str, Any]:
    """Read a safetensors header; returns it. Raises ModelError for a file that is anything else, or cut short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER):
            raise ModelError(f"{path} is not a safetensors file (a renamed pickle, or cut short): fetch the model again")
        head = file.read(length)
    try:
        header = json.loads(head)
        ends = [
            (entry["data_offsets"][0], entry["data_offsets"][1]) for k, entry in header.items() if k != "__metadata__"
        ]
        whole = all(0 <= start <= end <= size - 8 - length for start, end in ends)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise ModelError(f"{path} is not a safetensors file (its header is damaged): fetch the model again") from None
    if not whole or max((end for _, end in ends), default=0) != size - 8 - length:
        raise ModelError(f"{path} is not as long as its header says: fetch the model again")
    return dict(header)


def _check_json(path: Path, name: str, folder: Path) -> None:
    value = _json(path)
    if path.name == "tokenizer.json":
        return  # read by the tokenizers library, in Rust; it is large and names no code
    for key, inner in _walk(value):
        if key in _NAMES_CODE and inner:
            raise ModelError(f"{folder}: {name} names code to run ({key}): take a model that transformers knows itself")
        if key in ("chat_template", "template") and isinstance(inner, str):
            chat_template(inner, path)
    if name.endswith(".index.json") and isinstance(value, dict):
        shards = value.get("weight_map")
        for shard in shards.values() if isinstance(shards, dict) else [None]:
            if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
                raise ModelError(f"{folder}: {name} names {shard!r}, which is no safetensors file of this folder")
    if path.name == "config.json" and isinstance(value, dict):
        _known(value, folder)


def _known(config: dict[str, Any], folder: Path) -> None:
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{folder}: config.json has no model_type: name the folder of a model")


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    todo = [value]
    while todo:
        inner = todo.pop()
        if isinstance(inner, dict):
            yield from inner.items()
            todo += inner.values()
        elif isinstance(inner, list):
            todo += inner


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path, _MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON ({str(error)[:80]}): fetch the model again") from None


def _text(path: Path, limit: int) -> str:
    if path.stat().st_size > limit:
        raise ModelError(f"{path} has {path.stat().st_size:,} bytes, more than such a file ever needs: fetch it again")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"{path} is not text: fetch the model again") from None


def chat_template(text: str, where: Path) -> None:
    """Read a chat template as Jinja and refuse what no chat template needs. Raises ModelError naming it."""
    from jinja2 import Environment, nodes
    from jinja2.exceptions import TemplateSyntaxError

    if len(text) > _MAX_TEMPLATE:
        raise ModelError(f"{where}: a chat template of {len(text):,} characters: name another model")
    try:
        tree = Environment(extensions=[_generation(), "jinja2.ext.loopcontrols"], autoescape=True).parse(text)
    except (TemplateSyntaxError, RecursionError) as error:
        raise ModelError(f"{where}: the chat template is not Jinja ({str(error)[:120]}): name another model") from None
    for node in tree.find_all(nodes.Node):
        if problem := _problem(node):
            raise ModelError(f"{where}: the chat template {problem}, which no conversation needs: name another model")
    if _depth(tree, only_ranges=False) > _MAX_LOOPS or _depth(tree, only_ranges=True) > 1:
        raise ModelError(f"{where}: the chat template nests loops that may never end: name another model")


_REACHING = names(
    "mro globals builtins attr gi_frame gi_code cr_frame f_globals func_globals im_func func_code lipsum cycler self"
)
_MAX_LOOPS, _MAX_NUMBER, _MAX_RANGE = 4, 100_000, 20


def _problem(node: Any) -> str:
    """Say what a node of a template does that it must not; "" for most."""
    from jinja2 import nodes

    reached = _attribute(node)
    hidden = "_" if isinstance(node, nodes.Getattr) else "__"  # a variable of its own may begin with one
    if reached.startswith(hidden) or reached in _REACHING:
        return f"reaches for {reached!r}"
    if isinstance(node, nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends):
        return "reads another file"
    if isinstance(node, nodes.Pow) or (
        isinstance(node, nodes.Mul) and {type(node.left), type(node.right)} & {nodes.Const}
    ):
        return "multiplies, which may fill the memory"
    if isinstance(node, nodes.Const) and _large(node.value):
        return "names a number that may fill the memory"
    if _is_range(node) and any(isinstance(n, nodes.Const) and n.value > _MAX_RANGE for n in node.args):
        return "counts further than any list of messages"
    return ""


def _large(value: Any) -> bool:
    if isinstance(value, str):
        return re.search(r"[:%<>^]\d{5,}", value) is not None
    return isinstance(value, int | float) and abs(value) > _MAX_NUMBER


def _is_range(node: Any) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "range"


def _attribute(node: Any) -> str:
    """The name a node reaches for: an attribute, a key, a variable, a filter, a function."""
    for field in ("attr", "name"):
        if isinstance(found := getattr(node, field, None), str):
            return found
    key = getattr(node, "arg", None)
    value = getattr(key, "value", None)
    return value if isinstance(value, str) else ""


def _depth(node: Any, *, only_ranges: bool) -> int:
    """How many loops stand inside each other, or of those over a `range`."""
    from jinja2 import nodes

    here = isinstance(node, nodes.For)
    if here and only_ranges:
        here = _is_range(node.iter) or any(_is_range(call) for call in node.iter.find_all(nodes.Call))
    return int(here) + max((_depth(child, only_ranges=only_ranges) for child in node.iter_child_nodes()), default=0)


def _generation() -> Any:
    """The tag transformers adds to Jinja, as far as reading goes."""
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(["name:endgeneration"], drop_needle=True)

    return Generation


SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""What every loading of a library is told."""


def tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a checked folder. Raises ModelError."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, **SAFE)
    except Exception as error:  # the library raises whatever its parts do
        raise ModelError(f"{folder} holds no tokenizer ({_said(error)}): fetch the model again") from None


def model(folder: Path, *, dtype: Any = None, quantize: bool = False) -> Any:
    """Load the weights of a checked folder; none may be missing. Raises ModelError."""
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": dtype or torch.float32, "use_safetensors": True, **SAFE}
    if quantize:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
        options["device_map"] = {"": 0}
    try:
        made, loaded = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    except Exception as error:
        raise ModelError(f"{folder} holds no language model ({_said(error)}): fetch it again") from None
    if missing := sorted(loaded["missing_keys"]):  # they would be random numbers
        raise ModelError(f"{folder} lacks the weights {', '.join(missing[:3])}: is it a language model?")
    return made


def adapted(base: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Put a checked adapter on a base model. Raises ModelError."""
    from peft import PeftModel

    check(folder, adapter=True)
    try:
        return PeftModel.from_pretrained(base, str(folder), is_trainable=trainable, local_files_only=True)
    except Exception as error:
        raise ModelError(f"{folder} holds no adapter of this model ({_said(error)}): train it again") from None


def fingerprint(folder: Path) -> str:
    """Hash the weights of a folder, file names included: what cards call a model by."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def quietly() -> None:
    """Keep libraries offline and their bars and notes off the terminal; call before transformers is imported."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from datasets import disable_progress_bars
    from transformers.utils import logging

    disable_progress_bars()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|peft|trl")  # theirs to mend
    logging.disable_progress_bar()
