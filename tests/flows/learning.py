"""`ragkeep learn` without what it would compute: a project where promoting what was learned costs a second.

Real are the flow from its first line to its last, the night before it, the scan, releases, the gate, the registry, and
the files of a query tower. In place of DVC, stages run when what they read or left has changed, and of these `evaluate`
and `learn` say what a test wants. A Prefect task is its function.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from blake3 import blake3
from prefect import Task

from evaluation.scores import QuestionScore, estimates, write_report
from flows import learn, nightly, registry, report
from flows import night as nights
from ragkeep.config import Params, Paths, load_params
from ragkeep.embedders import MODELS, load_embedder, query_fingerprint
from ragkeep.embedders.two_towers import CARD
from ragkeep.files import read_json, read_rows, write_json, write_text
from ragkeep.interactions import InteractionLog, answered, voted
from ragkeep.learned import LEDGER, Part, effective, parts_of, rows_of, tonight, verify_part
from ragkeep.models import sha256
from ragkeep.releases import champion, pointer, read_release
from ragkeep.stores import memory, open_store
from ragkeep.tables import iter_chunks, read_table
from ragkeep.trials import Side, Trial
from ragkeep.types import Answer, EmbeddedBatch, IndexVersion, content_id, ids_digest
from tasks import generator, scan
from tasks.lessons import Lesson, write_set
from tasks.shards import iter_shards
from tests.interaction_cases import a_click, an_answer
from tests.learners.tiny_encoder import TEXTS, encoder
from tests.tasks.nights import put_chunks, put_documents

ROOT = Path(__file__).parents[2]
WALKED = ("scan", "evaluate", "trainset", "learn", "generator")
GAIN = {"base": 0.5, "new": 0.6, "delta": 0.1, "ci": [0.05, 0.15], "n": 100}
Did = Callable[[Paths, Params], object]


def project(root: Path, first: Callable[[Paths], object] | None = None) -> Paths:
    """A project whose first night has been, by `first`, and in whose log two people have spoken."""
    paths = Paths(root)
    (root / "docs").mkdir(parents=True)
    texts = {f"{name}.md": text for name, text in list(TEXTS.items())[:8]}
    for name, text in texts.items():
        (root / "docs" / name).write_text(text)
    embed = {"backend": "openvino", "model": str(encoder(root / "encoder")), "precision": "fp32"}
    sections = {"sources": [{"name": "docs", "path": "docs"}], "embed": embed, "index": {"backend": "memory"}}
    paths.params.write_text(yaml.safe_dump(sections | {"gate": {"resamples": 99}}))
    put_documents(paths, texts)
    put_chunks(paths, texts)
    with InteractionLog(paths.interactions) as log:
        for user in ("ann", "bob"):
            said = answered(user, f"why does {user} ask", Answer("So.", (), abstained=False), user=user, **ABOUT)
            log.append(said)
            log.append(voted(user, 1, user=user, **ABOUT))
    build(paths)
    (first or night)(paths)
    tower(paths)
    return paths


ABOUT: dict[str, Any] = {"workspace": "default", "session": "s"}


def build(paths: Paths) -> None:
    """Build tonight's index, with vectors that mean nothing: words are enough to find a chunk again."""
    params = load_params(paths.params)
    chunks = tuple(c for shard in iter_shards(paths.data / "chunks") for c in iter_chunks(read_table(shard)))
    embedder, store = load_embedder(params.embed, paths.cache), open_store(params.index, paths)
    ids = [chunk.id for chunk in chunks]
    version = IndexVersion("docs-1", "docs", "memory", embedder.fingerprint, embedder.dim, len(ids), ids_digest(ids))
    store.create(version.name, dim=embedder.dim)
    store.write(version.name, EmbeddedBatch(chunks, np.eye(len(chunks), embedder.dim, dtype=np.float32)))
    store.finish(version.name)
    store.seal(version)
    write_json(paths.data / "index.json", asdict(version))
    write_json(paths.data / "embedder.json", {"fingerprint": embedder.fingerprint, "dim": embedder.dim})


def tower(paths: Paths) -> None:
    """Leave what the ladder leaves: a query tower, and lessons it was made of."""
    from safetensors.numpy import load_file, save_file

    new = paths.root / "models" / "learned" / "query-tower" / "made"
    shutil.copytree(paths.root / "encoder", new)
    weights = load_file(str(new / "model.safetensors"))
    save_file({name: value + np.float32(1e-4) for name, value in weights.items()}, str(new / "model.safetensors"))
    passages = load_embedder(load_params(paths.params).embed, paths.cache).fingerprint
    write_json(new / CARD, {"passages": passages})
    new.rename(new.with_name(f"query-tower-{sha256(new / 'model.safetensors')[:12]}"))
    lessons = [Lesson(f"q{n}", f"question {n}", {"c": 1.0}, seqs=(2 * n + 1, 2 * n + 2)) for n in range(2)]
    write_set(paths.data / "trainset", lessons, {"c": "text"}, {"sha": content_id("lessons"), "simulated": False})


def found(paths: Paths) -> list[Part]:
    """The parts the ladder would propose: a query tower, and a fusion weight that stands on it."""
    (folder,) = (paths.root / "models" / "learned" / "query-tower").iterdir()
    embed, sha = load_params(paths.params).embed, sha256(folder / "model.safetensors")
    base = load_embedder(embed, paths.cache).fingerprint
    on = query_fingerprint(load_embedder(replace(embed, query_model=str(folder)), paths.cache))
    inside = f"query-tower/{folder.name}"
    return [
        Part("query-tower", base, {"query_model": "{folder}"}, folder=inside, sha256=sha, trainset=content_id("lessons")),
        Part("fusion", on, retrieve={"weight": 0.6}, trainset=content_id("lessons")),
    ]


def ladder(paths: Paths, params: Params, *, proven: bool = True) -> None:
    """What tasks/learn.py would say: both parts gain, once; or, where it is not proven, that one may hope so."""
    made = [] if tonight(paths.data) else found(paths)
    parts, hope = (made, []) if proven else ([], made)
    gain = (
        {
            "overall": {"ndcg_at_10": GAIN},
            "slices": {},
            "weights": {"base": 0.5, "new": 0.6},
            "judge": "lessons",
            "confidence": 0.95,
        }
        if made
        else None
    )
    names = ("query-tower", "fusion")
    tried: list[dict[str, Any]] = [
        {"learner": n, "kept": bool(parts), "reasons": [], "gain": gain, "card": {}, "hope": gain if hope else None}
        for n in names
    ]
    write_json(paths.data / "learned.json", {
        "trainset": content_id("lessons"), "lessons": {"train": 2, "select": 0, "report": 0},
        "simulated": False, "synthetic": 0, "tried": tried, "parts": rows_of(parts), "hope": rows_of(hope),
        "gain": gain if proven else None, "golden": "",
        "reasons": [] if parts else ["nothing gained"],
    })  # fmt: skip


def measured(paths: Paths, params: Params, score: float = 0.5) -> None:
    """What tasks/evaluate.py would leave."""
    weight = effective(params, paths.data, paths.cache).retrieve.weight
    fusion = {"method": "convex", "weight": 0.5 if weight == "auto" else weight}
    rows = [QuestionScore(f"q{n}", f"d{n}", f"question {n}", {"ndcg_at_10": score}) for n in range(20)]
    write_json(paths.data / "evaluation" / "fusion.json", fusion)
    means = estimates(rows, confidence=0.95, resamples=9, seed=7)
    write_report(paths.data / "evaluation", {"index": {"name": "docs-1"}, "metrics": means}, rows)


def hopeful(paths: Paths, params: Params) -> None:
    """What tasks/learn.py would say of what only people can judge."""
    ladder(paths, params, proven=False)


def opened(paths: Paths, trial: Trial, side: Side, answers: int = 40, people: int = 10) -> None:
    """Have people open one source of each of some mixed answers: always that side's."""
    teams: list[Side] = ["challenger", "champion"]
    part = {"id": trial.id, "mode": "interleave", "challenger": str(trial.number), "index": "docs-1", "teams": teams}
    uris = ("a.md", "b.md")
    with InteractionLog(paths.interactions) as log:
        for n in range(answers):
            user = f"user-{n % people}"
            log.append(an_answer(f"mixed-{n}", uris=uris, user=user, trial=part))
            click, uri = a_click(f"mixed-{n}", user=user), uris[teams.index(side)]
            log.append(replace(click, payload={"rank": teams.index(side) + 1, "chunk": f"c-{uri}", "uri": uri}))


class Stages:
    """In place of DVC: runs a stage when what it reads, or has left, is not what it was."""

    def __init__(self, **instead: Did) -> None:
        self.did: dict[str, Did] = {
            "scan": scan.run, "evaluate": measured, "learn": ladder, "generator": generator.run, **instead,
        }  # fmt: skip
        self.graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

    def reproduce(self, root: Path, state: Path, stage: str, *, force: bool = False) -> bool:
        paths, lock = Paths(root), root / "lock.json"
        known: dict[str, Any] = json.loads(lock.read_text()) if lock.exists() else {}
        if stage not in self.did or (known.get(stage) == self._seen(root, stage) and stage != "scan" and not force):
            return False
        self.did[stage](paths, load_params(paths.params))
        lock.write_text(json.dumps({**known, stage: self._seen(root, stage)}))
        return True

    def _seen(self, root: Path, stage: str) -> str:
        h, spec = blake3(), self.graph[stage]
        named = [next(iter(one)) if isinstance(one, dict) else one for one in [*spec.get("deps", ()), *spec["outs"]]]
        for path in sorted(root / name for name in named if name.startswith("data/")):
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                h.update(file.read_bytes() if file.is_file() else b"-")
        return h.hexdigest()


@contextmanager
def plain(**instead: Did) -> Iterator[None]:
    """Flows as plain functions over `Stages`."""
    made = Stages(**instead)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Task, "__call__", lambda task, *args, **options: task.fn(*args, **options))
        for module in (nightly, learn):
            patch.setattr(module, "create_table_artifact", _nothing)
        patch.setattr(nightly, "create_markdown_artifact", _nothing)
        patch.setattr(report, "write", _page)
        patch.setattr(nightly, "stages", lambda root, upto: WALKED[: WALKED.index(upto) + 1])
        patch.setattr(nightly, "reproduce", made.reproduce)
        yield


def night(paths: Paths, **instead: Did) -> dict[str, Any]:
    """Have a night; returns its result."""
    return _flow(paths, nightly.nightly.fn, instead)


def learned(paths: Paths, **instead: Did) -> dict[str, Any]:
    """Run `ragkeep learn`; returns its result."""
    return _flow(paths, learn.learn.fn, instead)


def _flow(paths: Paths, run: Callable[[], dict[str, Any]], instead: dict[str, Did]) -> dict[str, Any]:
    with plain(**instead), pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGKEEP_HOME", str(paths.root))
        return run()


def _page(paths: Paths, *_args: Any, **_options: Any) -> Path:
    """The page's name; drawing it needs all that real stages say."""
    write_text(paths.reports / "night.md", "")
    return paths.reports / "night.html"


def _nothing(*_args: Any, **_options: Any) -> None:
    pass


def copied(paths: Paths, root: Path) -> Paths:
    """Copy a project, with its store, which is this process's memory."""
    shutil.copytree(paths.root, root, symlinks=True)
    made = Paths(root)
    memory._BY_PATH[made.store] = memory._BY_PATH[paths.store]
    return made


def models(paths: Paths) -> list[dict[str, Any]]:
    """What `ragkeep models list` sees."""
    return [read_json(path) for path in sorted(paths.models.glob("*/part.json"))]


def wrong(paths: Paths) -> list[str]:
    """What is not as it must be after any run that ended, in words."""
    params, live = load_params(paths.params), champion(paths)
    assert live is not None
    said = [*broken(paths), *registered(paths)]
    left = [paths.state / "tryout.json", paths.releases / "publish.json"]
    said += [f"{path.name} is left" for path in left if path.exists()]
    if rows_of(tonight(paths.data)) != live.serving.get("learned", []):
        said.append("data/ is not the champion's")
    if read_json(paths.data / "evaluation" / "fusion.json")["weight"] != live.fusion.weight:
        said.append("the figures in data/ are not the champion's")
    if nights.candidate(paths, params).sha != live.sha:
        said.append("the next night would publish another release")
    return said


def broken(paths: Paths) -> list[str]:
    """What a reader could meet at any moment that is not whole."""
    said = []
    for row in models(paths):
        part = Part(**{k: v for k, v in row.items() if k not in ("at", "simulated")})
        if part.sha256:
            verify_part(part, paths.cache)
        if part.embed:
            embed = replace(load_params(paths.params).embed, query_model=f"{MODELS}/{part.folder}")
            said += (
                [] if load_embedder(embed, paths.cache).embed(["why"], role="query").shape == (1, 32) else ["no vector"]
            )
        if not part.version:
            said.append(f"{part.folder} is visible and has no number")
    nights.canary(paths, load_params(paths.params))
    return said


def registered(paths: Paths) -> list[str]:
    """Where the registry, the ledger and the releases do not agree."""
    client, at, said = registry._client(paths), pointer(paths), list[str]()
    assert at is not None
    numbers = {alias: number for alias, number in (("champion", at.number), ("previous", at.previous)) if number}
    for model in client.search_registered_models():
        versions = client.search_model_versions(f"name='{model.name}'")
        learner = model.name.removeprefix(f"{registry.MODEL}-")
        tag, want = ("release_sha", numbers) if learner == model.name else ("sha", _versions(paths, numbers, learner))
        if len({one.tags[tag] for one in versions}) != len(versions):
            said.append(f"{model.name} has a version twice")
        if {alias: int(number) for alias, number in model.aliases.items() if alias != registry.CHALLENGER} != want:
            said.append(f"aliases of {model.name} are {model.aliases}, not {want}")
    kept = sorted(f"{row['learner']}/{row['version']}" for row in models(paths))
    ledger = sorted(row["model"] for row in read_rows(paths.state / LEDGER))
    begun = any(not (folder / "part.json").exists() for folder in paths.models.iterdir() if folder.is_dir())
    # weights come first, then the ledger, then what makes a model of them: it may name one that the next run finishes
    agree = ledger == kept or (begun and set(ledger) > set(kept))
    return [*said, *([] if agree else [f"the ledger names {ledger}, and there are {kept}"])]


def _versions(paths: Paths, numbers: dict[str, int], learner: str) -> dict[str, int]:
    """Which version of a learner's models each alias should stand for."""
    bound = {alias: parts_of(read_release(paths, number).serving.get("learned", [])) for alias, number in numbers.items()}
    return {alias: part.version for alias, parts in bound.items() for part in parts if part.learner == learner}
