"""BEIR-style folders: corpus.jsonl, queries.jsonl, qrels.tsv and, where there is one, qrels_train.tsv."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from ragkeep.errors import ConfigError
from ragkeep.types import content_id

Qrels = dict[str, dict[str, int]]
"""Query id -> corpus id -> grade."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A labelled set; `corpus` and `queries` map ids to texts, `digest` hashes the corpus."""

    name: str
    corpus: dict[str, str]
    queries: dict[str, str]
    test: Qrels
    train: Qrels
    digest: str

    def parts(self) -> tuple[Qrels, Qrels]:
        """What may be learned from, and what is only measured with; without qrels_train.tsv, halves by hash."""
        if self.train:
            return self.train, self.test
        train = {q: grades for q, grades in self.test.items() if int(content_id(q)[0], 16) % 2}
        return train, {q: grades for q, grades in self.test.items() if q not in train}

    def measured(self) -> list[str]:
        """The questions that are only measured with: nothing may be learned from them."""
        return [self.queries[query] for query in self.parts()[1]]


def read_folder(folder: Path) -> Folder:
    """Read a folder and check that its ids agree. Raises ConfigError naming file, line and id."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: --set takes one with corpus.jsonl, queries.jsonl and qrels.tsv")
    corpus = dict(_unique(folder / "corpus.jsonl", _document))
    queries = dict(_unique(folder / "queries.jsonl", lambda row: row["text"]))
    test = _qrels(folder / "qrels.tsv")
    train_path = folder / "qrels_train.tsv"
    train = _qrels(train_path) if train_path.is_file() else {}
    for name, qrels in (("qrels.tsv", test), ("qrels_train.tsv", train)):
        _agree(folder / name, qrels, corpus, queries)
    if not test:
        raise ConfigError(f"{folder / 'qrels.tsv'} judges nothing: it needs lines of query-id, corpus-id, score")
    digest = blake3(json.dumps(sorted(corpus.items()), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return Folder(folder.resolve().name, corpus, queries, test, train, digest.hexdigest(16))


def _document(row: dict[str, Any]) -> str:
    title, text = (row.get("title") or "").strip(), row["text"]
    return f"{title}\n{text}" if title else str(text)


def _unique(path: Path, text: Any) -> Iterator[tuple[str, str]]:
    seen: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, value = str(row["id"] if "id" in row else row["_id"]), text(row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}:{number} needs an id and a text ({error!r})") from None
        if name in seen:
            raise ConfigError(f"{path}:{number}: the id {name!r} was used on line {seen[name]} already: ids must differ")
        seen[name] = number
        yield name, value


def _qrels(path: Path) -> Qrels:
    found: Qrels = {}
    for number, line in enumerate(_lines(path), 1):
        parts = line.split("\t")
        if not line.strip() or (number == 1 and not parts[-1].strip().lstrip("-").isdigit()):
            continue  # the header
        try:
            query, document, grade = parts
            found.setdefault(query, {})[document] = int(grade)
        except ValueError:
            raise ConfigError(
                f"{path}:{number} must be query-id, corpus-id, score with tabs between, not {line!r}"
            ) from None
    return found


def _lines(path: Path) -> list[str]:
    try:
        # not splitlines: texts hold other line separators than \n
        return path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: a set has corpus.jsonl, queries.jsonl and qrels.tsv") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): convert it first") from None


def _agree(path: Path, qrels: Qrels, corpus: dict[str, str], queries: dict[str, str]) -> None:
    judged = {document for grades in qrels.values() for document in grades}
    for what, missing in (("corpus", judged - corpus.keys()), ("queries", qrels.keys() - queries.keys())):
        if missing:
            raise ConfigError(
                f"{path} names {len(missing)} ids that {what}.jsonl does not have, such as {min(missing)!r}: "
                "mend the files, or leave those lines out"
            )
