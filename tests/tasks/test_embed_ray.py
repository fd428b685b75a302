"""`embed.runner: ray` makes the bytes that local makes, whatever happens to its workers."""

import contextlib
import importlib.util
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ragkeep.config import EmbedParams, Params, Paths
from ragkeep.errors import ConfigError, MissingExtra, ModelError
from ragkeep.testing import HashEmbedder
from ragkeep.types import Vectors
from ragkeep.vector_cache import cache_path
from tasks import embed
from tasks.embed_ray import room
from tests.tasks.test_embed import bytes_of, put

ROOT = Path(__file__).parents[2]
HERE = "tests.tasks.test_embed_ray"
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install 'ragkeep[ray]'"
)
TEXTS = [f"text {n} " + "word " * (n % 40) for n in range(2100)]


class Slow(HashEmbedder):
    """A HashEmbedder whose pieces take a second, so that there is time to kill somebody."""

    def embed(self, texts: object, *, role: object) -> Vectors:
        time.sleep(1)
        return super().embed(texts, role=role)  # type: ignore[arg-type]


def slow(params: EmbedParams, cache: Path) -> HashEmbedder:
    return Slow()


class Broken(HashEmbedder):
    def embed(self, texts: object, *, role: object) -> Vectors:
        raise ModelError("weights.safetensors is cut short: fetch the model again")


def broken(params: EmbedParams, cache: Path) -> HashEmbedder:
    return Broken()


def other(params: EmbedParams, cache: Path) -> HashEmbedder:
    return HashEmbedder(32 if "ray" in sys.modules else 64)


@dataclass(frozen=True)
class Corpus:
    """Chunks to embed, and the stage as a process."""

    paths: Paths

    def stage(self, runner: str, backend: str = "hash", **env: str) -> subprocess.Popen[str]:
        self.paths.params.write_text(
            f"sources: [{{name: s, path: s}}]\nembed: {{backend: '{backend}', precision: fp32, runner: {runner}}}\n"
        )
        everything = {**os.environ, "PYTHONPATH": str(ROOT), "RAGKEEP_HOME": str(self.paths.root), **env}
        command = [sys.executable, "-m", "tasks.embed"]
        return subprocess.Popen(command, env=everything, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    def run(self, runner: str, backend: str = "hash", **env: str) -> tuple[int, str]:
        with self.stage(runner, backend, **env) as process:
            _, said = process.communicate(timeout=400)
        return process.returncode, said


@pytest.fixture
def corpora(tmp_path: Path) -> tuple[Corpus, Corpus]:
    """The same chunks twice: one to be embedded here, one on Ray."""
    for name in ("local", "ray"):
        for shard in range(3):
            put(Paths(tmp_path / name), shard, TEXTS[shard::3])
    return Corpus(Paths(tmp_path / "local")), Corpus(Paths(tmp_path / "ray"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """What a client of a Ray cluster of two cores on this machine has in its environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--include-dashboard=false"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-", ignore_cleanup_errors=True) as folder:
        command += ["--num-cpus=2", f"--port={port}", f"--temp-dir={folder}"]
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT), **env}, **quiet) as head:  # type: ignore[call-overload]
            wait_for(lambda: list(Path(folder).glob("session_*/logs/raylet.out")))
            yield {**env, "RAY_ADDRESS": f"127.0.0.1:{port}"}
            head.terminate()


def wait_for(ready: Callable[[], Any]) -> Any:
    """Wait until something is there, at most three minutes, and return it."""
    for _ in range(1800):
        if found := ready():
            return found
        time.sleep(0.1)
    raise TimeoutError(ready)


def workers() -> list[int]:
    """Processes that embed for Ray."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(path.parent.name))
    return found


def some_done(corpus: Corpus) -> bool:
    """Whether the cache holds a first piece."""
    path = cache_path(corpus.paths.cache, "hash-64", 64)
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(path)) as db, contextlib.suppress(sqlite3.OperationalError):
        return bool(db.execute("SELECT count(*) FROM vectors").fetchone()[0])
    return False


def test_cores_are_shared_out_whole_and_a_gpu_goes_to_one_actor() -> None:
    assert room([{"CPU": 2.0}], "minilm") == ({"num_cpus": 2}, 1)
    assert room([{"CPU": 64.0}, {"CPU": 16.0}, {"memory": 1.0}], "minilm") == ({"num_cpus": 8}, 10)
    assert room([{"CPU": 4.0}, {"CPU": 10.0}], "hash") == ({"num_cpus": 4}, 3)
    assert room([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}], "torch") == ({"num_cpus": 1, "num_gpus": 1}, 2)
    assert room([{"CPU": 8.0, "GPU": 2.0}], "minilm") == ({"num_cpus": 8}, 1)
    with pytest.raises(ConfigError, match="no cores"):
        room([{"CPU": 0.0}], "hash")


def test_without_ray_the_extra_is_named_and_nothing_missing_needs_no_ray(
    corpora: tuple[Corpus, Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = Params(sources=(), embed=EmbedParams(backend="hash", runner="ray"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"ragkeep\[ray\]"):
        embed.run(corpora[1].paths, params)
    embed.run(corpora[1].paths, Params(sources=(), embed=EmbedParams(backend="hash")))
    assert embed.run(corpora[1].paths, params)["unchanged"] == len(TEXTS)


@needs_ray
@pytest.mark.slow
def test_a_ray_of_its_own_makes_the_bytes_of_local_and_leaves_nothing_behind(corpora: tuple[Corpus, Corpus]) -> None:
    local, ray = corpora
    before = set(Path("/tmp").glob("ragkeep-*"))
    assert local.run("local", "minilm")[0] == 0
    code, said = ray.run("ray", "minilm")
    assert (code, "embedded 2100" in said) == (0, True), said
    assert bytes_of(ray.paths) == bytes_of(local.paths)
    assert set(Path("/tmp").glob("ragkeep-????????")) <= before
    wait_for(lambda: not workers())


@needs_ray
@pytest.mark.soak
def test_what_a_killed_run_had_made_is_kept_and_its_ray_ends_with_it(corpora: tuple[Corpus, Corpus]) -> None:
    local, ray = corpora
    with ray.stage("ray", f"{HERE}:slow") as stage:
        wait_for(lambda: some_done(ray))
        stage.kill()
    wait_for(lambda: not workers())
    local.run("local")
    assert "from_cache 0" not in ray.run("local")[1]
    assert bytes_of(ray.paths) == bytes_of(local.paths)


@needs_ray
@pytest.mark.soak
def test_a_killed_worker_changes_no_byte(corpora: tuple[Corpus, Corpus], cluster: dict[str, str]) -> None:
    local, ray = corpora
    local.run("local")
    with ray.stage("ray", f"{HERE}:slow", **cluster) as stage:
        wait_for(lambda: some_done(ray))
        for pid in workers():
            os.kill(pid, signal.SIGKILL)
        _, said = stage.communicate(timeout=400)
    assert (stage.returncode, "embedded 2100" in said) == (0, True), said
    assert bytes_of(ray.paths) == bytes_of(local.paths)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("broken", "embed: weights.safetensors is cut short: fetch the model again"),
        pytest.param("other", "hash-32 and not with hash-64", marks=pytest.mark.soak),
    ],
)
def test_what_is_wrong_with_a_workers_embedder_is_one_line(
    corpora: tuple[Corpus, Corpus], cluster: dict[str, str], backend: str, message: str
) -> None:
    code, said = corpora[1].run("ray", f"{HERE}:{backend}", **cluster)
    assert (code, message in said.splitlines()[-1]) == (1, True), said
    assert "Traceback" not in said


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_line(corpora: tuple[Corpus, Corpus]) -> None:
    code, said = corpora[1].run("ray", RAY_ADDRESS="127.0.0.1:9")
    assert (code, "embed: Ray cannot be used (127.0.0.1:9)" in said) == (1, True), said
