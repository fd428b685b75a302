"""A small project in a temporary folder, driven through the command line as a user would."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TOPICS = {
    "parse": "Read a JSON document from a string and return the Python value it describes.",
    "archive": "Pack a folder of files into one compressed tar archive on disk.",
    "greet": "Say a friendly hello to the person of that name.",
    "retry": "Call a flaky function again and again, waiting longer each time it fails.",
    "slugify": "Turn a headline into a lower-case identifier fit for a web address.",
    "median": "Find the middle value of a sorted list of numbers.",
    "fetch": "Download a page over the network and give back its body.",
    "encrypt": "Hide a secret message with a key so that nobody else can read it.",
    "resize": "Shrink a picture to a given width, keeping its proportions.",
    "schedule": "Run a job every night at the same hour until it is cancelled.",
}
QUESTIONS = {
    "parse": "how do I get a value out of JSON text?",
    "archive": "how do I compress a folder into a tar file?",
    "greet": "how do I say hello to a person?",
    "retry": "how do I call a failing function again later?",
    "slugify": "how do I make a web address from a headline?",
    "median": "how do I find the middle of sorted numbers?",
    "fetch": "how do I download a page from the network?",
    "encrypt": "how do I hide a message with a key?",
    "resize": "how do I shrink a picture to a width?",
    "schedule": "how do I run a job every night?",
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left: exit code, its last line as JSON, and all it said."""

    code: int
    json: dict[str, Any]
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Project:
    """A ragkeep project a test may spoil."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def having(self, **env: str) -> "Project":
        """The same project with more in its environment."""
        return replace(self, env={**self.env, **env})

    @property
    def state(self) -> Path:
        return self.root / ".ragkeep"

    def run(self, *args: str, check: int | None = 0, **env: str) -> Ran:
        """Run `ragkeep ARGS --json`; assert its exit code unless check is None."""
        command = [sys.executable, "-m", "ragkeep.cli", *args, "--json"]
        done = subprocess.run(
            command, cwd=self.root, env={**self.env, **env}, capture_output=True, text=True, timeout=500, check=False
        )
        lines = done.stdout.strip().splitlines()
        ran = Ran(done.returncode, json.loads(lines[-1]) if lines else {}, done.stdout, done.stderr)
        assert check is None or ran.code == check, f"exit {ran.code}\n{ran.out}\n{ran.err}"
        return ran

    def params(self, **sections: Any) -> None:
        """Change sections of params.yaml."""
        path = self.root / "params.yaml"
        raw = yaml.safe_load(path.read_text())
        for name, values in sections.items():
            raw[name] = {**raw.get(name, {}), **values} if isinstance(values, dict) else values
        path.write_text(yaml.safe_dump(raw, sort_keys=False))

    def ran_since(self, when: float) -> set[str]:
        """The stages that ran since a time."""
        notes = (self.state / "stages").glob("*.json")
        return {p.stem for p in notes if "." not in p.stem and p.stat().st_mtime >= when}

    def receipts(self) -> dict[str, bytes]:
        """The bytes of everything a night leaves that must not depend on how it got there."""
        names = ("index.json", "evaluation/scores.json", "evaluation/by_query.jsonl", "sources/manifest.parquet")
        found = {n: (self.root / "data" / n).read_bytes() for n in names}
        for folder in ("documents", "chunks", "vectors"):
            for shard in sorted((self.root / "data" / folder).glob("*.parquet")):
                found[f"{folder}/{shard.name}"] = shard.read_bytes()
        return found


def make_env() -> dict[str, str]:
    """The environment without what would point a command elsewhere; the checkout's code is importable."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("RAGKEEP_", "PREFECT_", "MLFLOW_"))}
    return {**keep, "PYTHONPATH": str(ROOT)}


def make_project(root: Path) -> Project:
    """Lay out sources, questions and params; the stages and their code are the checkout's."""
    (root / "docs").mkdir(parents=True)
    for name, text in TOPICS.items():
        (root / "docs" / f"{name}.py").write_text(f'def {name}(value):\n    """{text}"""\n    return value\n')
    (root / "docs" / "guide.md").write_text("# Guide\n\nOpen the lid before you start the engine.\n")
    questions = [
        {
            "id": f"{split}-{n:02d}", "text": lead + text, "split": split, "answerable": True,
            "labels": [{"document": f"docs/{name}.py", "quote": f"def {name}"}],
        }
        for split, lead in (("dev", "in short, "), ("test", ""))
        for n, (name, text) in enumerate(QUESTIONS.items())
    ]  # fmt: skip
    (root / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw |= {
        "sources": [{"name": "docs", "path": "docs"}],
        "embed": {"backend": "hash"},
        "ingest": {**raw["ingest"], "shards": 4},
        "evaluate": {**raw["evaluate"], "sets": ["questions.jsonl"]},
        "gate": {**raw["gate"], "floors": {"ndcg_at_10": 0.1}, "resamples": 199},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    shutil.copy(ROOT / "dvc.yaml", root)
    shutil.copytree(
        ROOT / "data", root / "data", ignore=lambda *_: {"documents", "chunks", "vectors", "sources", "trainset"}
    )
    shutil.rmtree(root / "data" / "evaluation", ignore_errors=True)
    (root / "data" / "released.jsonl").write_text("")
    (root / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc")
    shutil.copy(ROOT / ".dvcignore", root)
    for room in ("ragkeep", "evaluation", "tasks", "flows"):
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return Project(root, make_env())
