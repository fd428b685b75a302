"""Models of strangers: none may run code here, and each is refused in one line that says what and why."""

import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ragkeep.errors import ModelError
from tasks.finetune import export, gguf_file, merge, weights
from tests.finetune.conftest import Make

FIRED: list[str] = []


class Payload:
    """Appends to FIRED, and touches a file, when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (eval, (f"__import__('pathlib').Path({str(self.mark)!r}).touch()",))


def payload(folder: Path) -> bytes:
    return pickle.dumps(Payload(folder.parent / "ran"))


def put(name: str, content: Callable[[Path], bytes | str]) -> Callable[[Path], None]:
    """Put a file into a model's folder."""

    def change(folder: Path) -> None:
        made = content(folder)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.encode() if isinstance(made, str) else made)

    return change


def pickled(name: str) -> Callable[[Path], None]:
    return put(name, payload)


def torch_zip(folder: Path) -> bytes:
    """A file as torch.save writes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", payload(folder))
        archive.writestr("archive/version", "3")
    return out.getvalue()


def slip(folder: Path) -> bytes:
    """An archive whose member lies outside of where it is unpacked."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../ran", "x")
        archive.writestr("/tmp/ran", "x")
    return out.getvalue()


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    """Change keys of a JSON file."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def template(text: str) -> Callable[[Path], None]:
    return put("chat_template.jinja", lambda _: text)


def code(folder: Path) -> None:
    """A model whose configuration names code beside it."""
    touch = f"import pathlib; pathlib.Path({str(folder.parent / 'ran')!r}).touch()"
    (folder / "modeling_evil.py").write_text(f"{touch}\nclass Evil: pass\n")
    edit("config.json", auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"}, model_type="evil")(folder)


def only_auto_map(folder: Path) -> None:
    edit("config.json", auto_map={"AutoModelForCausalLM": "someone/evil--modeling.Evil"})(folder)


def no_weights_but(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        put(name, torch_zip)(folder)

    return change


def renamed(content: Callable[[Path], bytes]) -> Callable[[Path], None]:
    return put("model.safetensors", content)


def header(value: bytes, *, length: int | None = None) -> Callable[[Path], None]:
    """A safetensors file with a header of one's own."""
    return put(
        "model.safetensors", lambda _: struct.pack("<Q", len(value) if length is None else length) + value + b"\0" * 8
    )


def index(shard: str) -> Callable[[Path], None]:
    return put("model.safetensors.index.json", lambda _: json.dumps({"weight_map": {"a": shard}}))


def link(name: str, to: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return change


def gguf(keys: bytes = b"", *, tensors: int = 0, many: int = 0, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", 3, tensors, many) + keys


def text_of(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


SANDBOX = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
HOSTILE: dict[str, Callable[[Path], None]] = {
    "pickle .bin beside": pickled("pytorch_model.bin"),
    "pickle .bin alone": no_weights_but("pytorch_model.bin"),
    "torch zip": put("model.pt", torch_zip),
    "torch zip .pth": put("consolidated.00.pth", torch_zip),
    "training arguments": pickled("training_args.bin"),
    "optimizer of a checkpoint": put("checkpoint-1/optimizer.pt", torch_zip),
    "joblib": pickled("head.joblib"),
    "pickled numpy": pickled("embeddings.npy"),
    "keras": put("model.h5", lambda _: b"\x89HDF"),
    "pickle renamed to safetensors": renamed(payload),
    "torch zip renamed to safetensors": renamed(torch_zip),
    "safetensors cut short": renamed(lambda folder: (folder / "model.safetensors").read_bytes()[:-9]),
    "safetensors with a huge header": header(b"{}", length=2**60),
    "safetensors with a header that is no JSON": header(b"{oops}"),
    "safetensors that points outside": header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99999]}}'),
    "safetensors without offsets": header(b'{"a":{"dtype":"F32"}}'),
    "remote code": code,
    "remote code of the hub": only_auto_map,
    "tokenizer's remote code": edit("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tok", None]}),
    "generation's own code": put("custom_generate/generate.py", lambda _: "raise SystemExit"),
    "adapter that imports": put("adapter_config.json", lambda _: '{"auto_mapping": {"parent_library": "antigravity"}}'),
    "adapter that imports megatron": put(
        "adapter_config.json", lambda _: '{"megatron_config": {"a": 1}, "megatron_core": "os"}'
    ),
    "shared library": put("libevil.so", lambda _: b"\x7fELF"),
    "archive that climbs": put("weights.zip", slip),
    "index that climbs": index("../../../etc/passwd.safetensors"),
    "index with an absolute path": index("/etc/model-00001-of-00001.safetensors"),
    "index of pickles": index("pytorch_model-00001-of-00001.bin"),
    "link out of the folder": link("vocab.json", "/etc/hostname"),
    "weights that are a link": link("model.safetensors", "/proc/self/exe"),
    "link to nothing": link("merges.txt", "nowhere"),
    "template that climbs to classes": template(SANDBOX),
    "template that climbs by a filter": template("{{ messages|attr('__class__') }}"),
    "template that climbs by a key": template("{{ messages['__init__'] }}"),
    "template that climbs by a string": template("{{ cycler.next.f_globals }}"),
    "template in the tokenizer's configuration": edit("tokenizer_config.json", chat_template=SANDBOX),
    "one of several templates": edit("tokenizer_config.json", chat_template=[{"name": "tool", "template": SANDBOX}]),
    "template that includes": template("{% include '/etc/passwd' %}"),
    "template that fills the memory": template("{{ 'a' * 9999999999 }}"),
    "template that formats": template("{{ '%99999999d' % 1 }}"),
    "template that never ends": template("{% for a in range(20) %}{% for b in range(20) %}x{% endfor %}{% endfor %}"),
    "template that is not Jinja": template("{% if %}"),
    "configuration that is no JSON": put("config.json", lambda _: "{"),
    "configuration nested too deep": put("generation_config.json", lambda _: "[" * 100_000),
    "configuration of no model": put("config.json", lambda _: "{}"),
    "GGUF with another name inside": put("a.gguf", lambda _: gguf(magic=b"GGUX")),
    "GGUF with endless keys": put("a.gguf", lambda _: gguf(many=2**63)),
    "GGUF with endless tensors": put("a.gguf", lambda _: gguf(tensors=2**40)),
    "GGUF with a text beyond its end": put("a.gguf", lambda _: gguf(struct.pack("<Q", 2**40), many=1)),
    "GGUF with an endless list": put("a.gguf", lambda _: gguf(text_of("k") + struct.pack("<IIQ", 9, 8, 2**50), many=1)),
    "GGUF with a list in a list in a list": put(
        "a.gguf", lambda _: gguf(text_of("k") + struct.pack("<IIQ", 9, 9, 1) * 40, many=1)
    ),
    "GGUF with a template that climbs": put(
        "a.gguf", lambda _: gguf(text_of("tokenizer.chat_template") + struct.pack("<I", 8) + text_of(SANDBOX), many=1)
    ),
    "GGUF with a tensor beyond its end": put(
        "a.gguf", lambda _: gguf(text_of("t") + struct.pack("<IQIQ", 1, 2**40, 0, 0), tensors=1)
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_model_runs_nothing_and_is_refused_in_one_line(
    base: Path, make: Make, tmp_path: Path, what: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    weights.check(folder)
    HOSTILE[what](folder)
    with pytest.raises(ModelError) as said:
        merge.merge(make("model"))
    assert "\n" not in str(said.value)
    assert str(folder) in str(said.value)
    assert not (tmp_path / "ran").exists()


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    pickle.loads(payload(tmp_path / "model"))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["model.zip", "model.pkl", "model.bin"])
def test_a_file_is_no_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(payload(tmp_path / "model"))
    with pytest.raises(ModelError, match="name a folder"):
        weights.find(name, tmp_path)
    with pytest.raises(ModelError, match="neither a folder"):
        export.inspect(tmp_path / name)


def test_a_name_is_looked_for_in_the_cache_only() -> None:
    with pytest.raises(ModelError, match="nor in the Hugging Face cache"):
        weights.find("nobody/no-such-model")
    with pytest.raises(ModelError, match="does not exist"):
        weights.find("/no/such/folder")


def test_a_model_in_the_hubs_cache_is_made_of_links(base: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--me--tiny" / "blobs", tmp_path / "models--me--tiny" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(base.iterdir()):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert weights.check(snapshot) == snapshot


def test_templates_of_well_known_models_pass() -> None:
    import trl

    found = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
    assert len(found) > 10
    for path in found:
        weights.chat_template(path.read_text(), path)


def test_inspect_tells_what_a_file_is(base: Path, tmp_path: Path) -> None:
    assert export.inspect(base)["kind"] == "model"
    assert export.inspect(base / "model.safetensors")["tensors"] > 10
    gguf_file.write(base, tmp_path / "a.gguf", precision="f16")
    assert export.inspect(tmp_path / "a.gguf")["general.architecture"] == "qwen2"


def test_weights_that_are_missing_are_not_made_up(base: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    shutil.copytree(base, tmp_path / "model")
    tensors = load_file(base / "model.safetensors")
    tensors.pop("lm_head.weight")
    save_file(tensors, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks the weights lm_head\.weight"):
        weights.model(weights.check(tmp_path / "model"))
