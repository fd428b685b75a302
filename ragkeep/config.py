"""params.yaml as frozen dataclasses, one a section; an unknown key is an error that names it.

The environment only says where things live: RAGKEEP_HOME (the project's root), RAGKEEP_STATE (default
`<root>/.ragkeep`), RAGKEEP_STORE (instead of index.backend), RAGKEEP_OPENSEARCH_URL, _USER and _CA (instead of hosts,
user and ca of index.opensearch; several URLs are separated by commas), RAGKEEP_PGVECTOR_URL (of index.pgvector).
"""

from __future__ import annotations

import difflib
import os
import re
import sysconfig
import types
import typing
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from .errors import ConfigError
from .serving.params import ServeParams, numbers, problems

if typing.TYPE_CHECKING:
    from .types import Sampling


@dataclass(frozen=True, slots=True)
class SourceParams:
    """Where documents come from: a folder, git work tree or file (`path`), or web pages (`urls`)."""

    name: str
    path: str = ""
    workspace: str = "default"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The path with {stdlib}, {site-packages} and ~ expanded; relative to the project's root."""
        paths = sysconfig.get_paths()
        text = self.path.replace("{stdlib}", paths["stdlib"]).replace("{site-packages}", paths["purelib"])
        return Path(text).expanduser()


@dataclass(frozen=True, slots=True)
class IngestParams:
    """How files become documents."""

    shards: int = 32
    max_file_bytes: int = 20_000_000
    timeout_s: float = 20.0
    memory_mb: int = 512
    max_chars: int = 10_000_000
    near_duplicate: float = 0.9


@dataclass(frozen=True, slots=True)
class ValidateParams:
    """When documents and chunks are refused."""

    min_documents: int = 1
    max_drop: float = 0.5
    max_quarantined: float = 0.2
    max_control_share: float = 0.01
    max_mojibake_share: float = 0.02


@dataclass(frozen=True, slots=True)
class ChunkParams:
    """Sizes in tokens of the embedder's tokenizer: small pieces are merged up to target, none passes max."""

    target_tokens: int = 200
    max_tokens: int = 256
    overlap_tokens: int = 32


@dataclass(frozen=True, slots=True)
class ChunkSection:
    """Sizes by kind of document."""

    prose: ChunkParams = ChunkParams()
    code: ChunkParams = ChunkParams(target_tokens=200, max_tokens=1500, overlap_tokens=0)


@dataclass(frozen=True, slots=True)
class EmbedParams:
    """Which embedder, and how it runs. A prefix given here replaces the model's own for that role.

    `model` is a folder or a name; one that begins with {models} lies where learned models are kept. `query_model` is a
    folder that embeds questions, and only those: one learned for the very passages that backend and model embed.

    `url`, `region` and `key` are for models behind a network; `key` names the environment variable that holds the key.

    `runner` says where texts of the night are embedded: in this process, or on Ray. It changes no vector.
    """

    backend: str = "minilm"
    model: str = ""
    query_model: str = ""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    batch_tokens: int = 4096
    runner: Literal["local", "ray"] = "local"
    query_prefix: str = ""
    passage_prefix: str = ""
    url: str = ""
    region: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class OpenSearchParams:
    """Where OpenSearch is and how it is used. The password is in RAGKEEP_OPENSEARCH_PASSWORD and nowhere else.

    `ca` is the file of certificates to trust ("" : the system's). `aws_service` signs requests for Amazon OpenSearch
    instead of a password. `prefix` begins the names of indexes and aliases. `shards` above 1 cost a round trip more
    for common word statistics. `replicas` are as many as there are nodes for. A write waits `patience_s` for a
    cluster that is busy or restarting.
    """

    hosts: tuple[str, ...] = ("http://127.0.0.1:9200",)
    user: str = ""
    ca: str = ""
    aws_service: Literal["", "es", "aoss"] = ""
    aws_region: str = ""
    prefix: str = "ragkeep"
    shards: int = 1
    replicas: int = 1
    timeout_s: float = 30.0
    max_retries: int = 3
    patience_s: float = 60.0


@dataclass(frozen=True, slots=True)
class PgVectorParams:
    """Where PostgreSQL with pgvector is. The password is in RAGKEEP_PGVECTOR_PASSWORD, or where libpq looks for it.

    `prefix` names the schema that holds all tables. No statement but the building of an index takes longer than
    `timeout_s`.
    """

    url: str = "postgresql://ragkeep@127.0.0.1:5432/ragkeep"
    prefix: str = "ragkeep"
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class IndexParams:
    """Which store, and how many versions stay."""

    backend: str = "lancedb"
    alias: str = "docs"
    keep: int = 3
    opensearch: OpenSearchParams = OpenSearchParams()
    pgvector: PgVectorParams = PgVectorParams()


@dataclass(frozen=True, slots=True)
class RerankParams:
    """A second look at the best `depth` hits, which keeps `top` (0: as many as were asked for); backend "" for none.

    No second look where the first hit's score leads the second's by `margin` of itself (1: always look); one that takes
    longer than `timeout_s` is not waited for. `mix`: the second look's share beside the first's scores, both as z-scores;
    at 1 it decides alone.
    """

    backend: str = ""
    model: str = ""
    url: str = ""
    key: str = ""
    depth: int = 20
    top: int = 5
    margin: float = 0.3
    mix: float = 1.0
    timeout_s: float = 1.0


@dataclass(frozen=True, slots=True)
class CacheParams:
    """Answers kept to be given again: a question is the same from a cosine of `threshold` on; `size` 0: none kept."""

    threshold: float = 0.95
    size: int = 2000


@dataclass(frozen=True, slots=True)
class RetrieveParams:
    """How a question finds chunks. `weight` "auto" is tuned on the dev questions each night.

    `glossary` says what words of questions stand for in the documents; `words`, workspace -> such entries, is for what
    `ragkeep learn` learned there.
    """

    k: int = 10
    candidates: int = 100
    fusion: Literal["convex", "rrf"] = "convex"
    weight: float | Literal["auto"] = "auto"
    glossary: dict[str, str] = field(default_factory=dict)
    words: dict[str, dict[str, str]] = field(default_factory=dict)
    rerank: RerankParams = RerankParams()


@dataclass(frozen=True, slots=True)
class GeneratorParams:
    """One generator: a backend, and what it needs. `name` is what clients choose by ("": the model's, or the backend's).

    `key` names the environment variable that holds the key, never the key itself. `timeout_s` is the longest silence
    on a stream. Prices are in US dollars for a million tokens.
    """

    backend: str = "extractive"
    name: str = ""
    model: str = ""
    url: str = ""
    region: str = ""
    key: str = ""
    timeout_s: float = 30.0
    price_in: float = 0.0
    price_out: float = 0.0

    @property
    def label(self) -> str:
        """What the generator is called."""
        return self.name or self.model or self.backend


@dataclass(frozen=True, slots=True)
class BlockedTopic:
    """Questions that are refused: those in which `pattern`, a regular expression without regard to case, is found."""

    name: str
    pattern: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ToolParams:
    """What a generator may have done for it: search again, read files below `files`, read AWS services.

    Files and AWS only for callers who are admin of the workspace they ask in.
    """

    search: bool = False
    files: tuple[str, ...] = ()
    aws: tuple[str, ...] = ()
    aws_region: str = ""


@dataclass(frozen=True, slots=True)
class AnswerParams:
    """How an answer is made from chunks.

    The first of `generators` is the one a night measures; a later one answers when those before it do not. No answer
    takes longer than `deadline_s`, all tries included.
    """

    generators: tuple[GeneratorParams, ...] = (GeneratorParams(),)
    max_sentences: int = 4
    min_support: float = 0.5
    context_tokens: int = 3000
    history_tokens: int = 1000
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    blocked: tuple[BlockedTopic, ...] = ()
    cache: CacheParams = CacheParams()
    tools: ToolParams = ToolParams()
    deadline_s: float = 120.0

    @property
    def sampling(self) -> Sampling:
        """What a generator is told about drawing words."""
        from .types import Sampling  # late: numpy comes with it, and reading params.yaml must stay cheap

        return Sampling(self.max_tokens, self.temperature, self.top_p, self.top_k, self.stop)

    def drawn(self, sampling: Sampling) -> AnswerParams:
        """These parameters with another sampling."""
        return replace(
            self, max_tokens=sampling.max_tokens, temperature=sampling.temperature, top_p=sampling.top_p,
            top_k=sampling.top_k, stop=sampling.stop,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class EvaluateParams:
    """What the night is measured on."""

    sets: tuple[str, ...] = ()
    seed: int = 7


@dataclass(frozen=True, slots=True)
class GateParams:
    """What a candidate must show before it goes live.

    Against the live release it fails when its difference on `metric` is below -min_effect *and* the whole interval
    (`confidence`, `resamples`) lies below 0; the same, with slice_min_effect, in every slice of at least slice_min
    questions. `floors` hold by themselves: metric -> the least it must reach.
    """

    floors: dict[str, float] = field(default_factory=dict)
    metric: str = "ndcg_at_10"
    min_effect: float = 0.01
    slice_min_effect: float = 0.05
    slice_min: int = 20
    confidence: float = 0.95
    resamples: int = 9999
    seed: int = 7


@dataclass(frozen=True, slots=True)
class LearnParams:
    """What interactions are learned from; docs/learning-data.md tells why each is what it is.

    `window`: the newest records of the log. `per_user_cap`: the lessons one account may speak in (more where the median
    account has a third of that). `min_users`: who must agree about a chunk where accounts contradict each other.
    `same_question` and `evaluation_question`: the likeness, 0..1, from which two questions are one, and from which one
    is too near to a golden question or to one of the folders `exclude` (test questions only). `select`, `report`: shares
    of questions; `unseen`: of documents that are never trained on. `trust`: accounts, as quarantine.jsonl names them,
    that are believed all the same. `ladder`: what is tried, in this order; `min_measured`: the held-out lessons, or
    golden test questions, that a gain must be measured on before anything is promoted; `rerank_ms`: what a learned
    second look may cost a question at the 95th percentile; `synthetic`: the lessons for training up to which questions
    made from documents fill them up; `generator`: a finetune.yaml, whose model is tuned on votes and corrections ("":
    none is).
    """

    window: int = 1_000_000
    min_lessons: int = 50
    per_user_cap: int = 100
    min_users: int = 2
    same_question: float = 0.8
    evaluation_question: float = 0.6
    select: float = 0.1
    report: float = 0.2
    unseen: float = 0.1
    max_question_chars: int = 2000
    exclude: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()
    ladder: tuple[str, ...] = ("fusion", "glossary", "query-tower", "both-towers", "reranker")
    min_measured: int = 100
    rerank_ms: float = 120.0
    synthetic: int = 200
    generator: str = ""
    seed: int = 7


@dataclass(frozen=True, slots=True)
class TrialParams:
    """How what was learned is tried where lessons cannot prove it: interleaved with the champion.

    `share` of the answers take part (0: none, and so no trial), until `answers` of them were decided by what people
    opened; `by` is whose answers count as one person's: a session where people share a key.
    """

    share: float = 0.0
    answers: int = 400
    by: Literal["user", "session"] = "user"


@dataclass(frozen=True, slots=True)
class AlertParams:
    """Who is told of an alert: a webhook whose URL is in the environment variable `url`, or a command line.

    Either gets the alert as JSON: as the body of a POST, or on stdin. Neither is waited for longer than `timeout_s`.
    """

    kind: Literal["webhook", "command"]
    url: str = ""
    command: tuple[str, ...] = ()
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Params:
    """All of params.yaml."""

    sources: tuple[SourceParams, ...]
    ingest: IngestParams = IngestParams()
    validate: ValidateParams = ValidateParams()
    chunk: ChunkSection = ChunkSection()
    embed: EmbedParams = EmbedParams()
    index: IndexParams = IndexParams()
    retrieve: RetrieveParams = RetrieveParams()
    answer: AnswerParams = AnswerParams()
    evaluate: EvaluateParams = EvaluateParams()
    gate: GateParams = field(default_factory=GateParams)
    learn: LearnParams = LearnParams()
    trial: TrialParams = TrialParams()
    serve: ServeParams = field(default_factory=ServeParams)
    alerts: tuple[AlertParams, ...] = ()


BOUNDS: dict[str, tuple[float, float]] = {
    "ingest.shards": (1, 9999),
    "ingest.max_file_bytes": (1, 10**12),
    "ingest.timeout_s": (0.1, 86_400),
    "ingest.memory_mb": (64, 1_000_000),
    "ingest.max_chars": (1, 10**10),
    "ingest.near_duplicate": (0.1, 1),
    "validate.min_documents": (0, 10**9),
    "validate.max_drop": (0, 1),
    "validate.max_quarantined": (0, 1),
    "validate.max_control_share": (0, 1),
    "validate.max_mojibake_share": (0, 1),
    "embed.batch_tokens": (1, 10**6),
    "index.keep": (0, 1000),
    "retrieve.k": (1, 1000),
    "retrieve.candidates": (1, 10_000),
    "retrieve.weight": (0, 1),
    "answer.max_sentences": (1, 100),
    "answer.min_support": (0, 1),
    "answer.context_tokens": (1, 10**6),
    "answer.history_tokens": (0, 10**6),
    "answer.max_tokens": (1, 10**6),
    "answer.temperature": (0, 2),
    "answer.top_p": (0, 1),
    "answer.top_k": (1, 10**6),
    "answer.deadline_s": (0.1, 3600),
    "evaluate.seed": (0, 2**32 - 1),
    "gate.min_effect": (0, 1),
    "gate.slice_min_effect": (0, 1),
    "gate.slice_min": (1, 10**6),
    "gate.confidence": (0.5, 0.9999),
    "gate.resamples": (99, 100_000),
    "gate.seed": (0, 2**32 - 1),
    "learn.window": (1, 10**7),
    "learn.min_lessons": (1, 10**6),
    "learn.per_user_cap": (1, 10**6),
    "learn.min_users": (1, 1000),
    "learn.same_question": (0.5, 1),
    "learn.evaluation_question": (0.1, 1),
    "learn.select": (0.01, 0.4),
    "learn.report": (0.01, 0.4),
    "learn.unseen": (0, 0.5),
    "learn.max_question_chars": (10, 10**6),
    "learn.min_measured": (20, 10**6),
    "learn.rerank_ms": (1, 60_000),
    "learn.synthetic": (0, 4000),
    "trial.share": (0, 1),
    "trial.answers": (20, 1_000_000),
    "learn.seed": (0, 2**32 - 1),
}
"""The least and the most of every number of params.yaml; chunk sizes depend on each other and are checked apart."""

T = TypeVar("T")


def parse(cls: type[T], value: Any, where: str) -> T:
    """Build a (nested) dataclass from plain YAML values. Raises ConfigError naming the key."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table of keys, not {value!r}: see params.yaml in the README")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key!r}{hint}")
    hints = typing.get_type_hints(cls)
    made: dict[str, Any] = {}
    for name, f in known.items():
        if name in value:
            made[name] = _convert(hints[name], value[name], f"{where}.{name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{where}: {name!r} is missing")
    return cls(**made)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return parse(typing.cast(type[Any], hint), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} must be a list, not {value!r}")
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table, not {value!r}")
        return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{where} must be one of {', '.join(map(repr, args))}, not {value!r}")
        return value
    if origin in (typing.Union, types.UnionType):
        for arm in args:
            try:
                return _convert(arm, value, where)
            except ConfigError:
                continue
        raise ConfigError(f"{where}: {value!r} is not a valid value")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} must be {hint.__name__}, not {value!r}")
    return value


def load_params(path: Path) -> Params:
    """Read params.yaml. Raises ConfigError with the key and the next step."""
    import yaml

    try:
        raw = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader, the fast one
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: run this in a ragkeep project, or set RAGKEEP_HOME") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    params = parse(Params, raw, path.name)
    params = replace(params, index=_where(params.index))
    _check(params, path.name)
    return replace(params, sources=(*params.sources, *_uploaded(Paths(path.parent).uploads)))


def upload_source(workspace: str) -> str:
    """The name of the source that a workspace's uploads are to the night."""
    return f"uploads-{workspace}" if len(workspace) <= 56 else f"u-{workspace[:62]}"


def _uploaded(folder: Path) -> list[SourceParams]:
    """What people uploaded, as sources like any other."""
    try:
        found = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and is_id(entry.name))
    except FileNotFoundError:
        return []
    return [SourceParams(upload_source(name), str((folder / name).resolve()), name) for name in found]


def _where(index: IndexParams) -> IndexParams:
    """Let the environment say which store there is and where, so that one project runs on a laptop and on a cluster."""
    names = {"URL": "hosts", "USER": "user", "CA": "ca"}
    given = {key: os.environ.get(f"RAGKEEP_OPENSEARCH_{name}") for name, key in names.items()}
    found: dict[str, Any] = {key: value for key, value in given.items() if value}
    if "hosts" in found:
        found["hosts"] = tuple(url.strip() for url in found["hosts"].split(","))
    backend = os.environ.get("RAGKEEP_STORE") or index.backend
    database = os.environ.get("RAGKEEP_PGVECTOR_URL") or index.pgvector.url
    return replace(
        index,
        backend=backend,
        opensearch=replace(index.opensearch, **found),
        pgvector=replace(index.pgvector, url=database),
    )


def _check(params: Params, where: str) -> None:
    names = [s.name for s in params.sources]
    if not names:
        raise ConfigError(f"{where}: sources is empty; name at least one folder to index")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}: two sources are named {name!r}; names must differ")
    for source in params.sources:
        for label, text in (("name", source.name), ("workspace", source.workspace)):
            if not is_id(text):
                raise ConfigError(
                    f"{where}: source {label} {text!r} must be 1-64 of a-z, 0-9 and '-' (it becomes part of ids)"
                )
        if bool(source.path) == bool(source.urls):
            raise ConfigError(f"{where}: source {source.name!r} needs either a path or a list of urls")
        for at, url in enumerate(source.urls):
            _check_place(url, "", f"{where}: source {source.name!r}.urls[{at}]", name="")
    for kind, sizes in (("prose", params.chunk.prose), ("code", params.chunk.code)):
        if not 8 <= sizes.target_tokens <= sizes.max_tokens or not 0 <= sizes.overlap_tokens < sizes.target_tokens:
            raise ConfigError(
                f"{where}: chunk.{kind} needs 8 <= target_tokens <= max_tokens and overlap_tokens < target_tokens"
            )
    alias = params.index.alias
    if not is_id(alias) or len(alias) > 47:  # an index is named <alias>-<16 digits>, and that is an id too
        raise ConfigError(f"{where}: index.alias {alias!r} must be 1-47 of a-z, 0-9 and '-' (it begins index names)")
    _check_generators(params.answer, f"{where}: answer")
    for section, name, bounds in (
        (
            "retrieve",
            "rerank",
            {"depth": (2, 1000), "top": (0, 100), "margin": (0, 1), "mix": (0, 1), "timeout_s": (0.01, 600)},
        ),
        ("answer", "cache", {"threshold": (0.5, 1), "size": (0, 10**6)}),
    ):
        for key, (least, most) in bounds.items():
            inner = getattr(getattr(params, section), name)
            _within(f"{where}: {section}.{name}.{key}", getattr(inner, key), least, most)
    _check_place(params.embed.url, params.embed.key, f"{where}: embed")
    _check_opensearch(params.index.opensearch, f"{where}: index.opensearch")
    _check_pgvector(params.index.pgvector, f"{where}: index.pgvector")
    for key, (low, high) in BOUNDS.items():
        section, _, name = key.partition(".")
        _within(f"{where}: {key}", getattr(getattr(params, section), name), low, high)
    for key, value, low, high in numbers(params.serve):
        _within(f"{where}: serve.{key}", value, low, high)
    for problem in problems(params.serve):
        raise ConfigError(f"{where}: serve.{problem}")
    for metric, floor in params.gate.floors.items():
        _within(f"{where}: gate.floors.{metric}", floor, 0, 1)
    for number, alert in enumerate(params.alerts):
        _check_alert(alert, f"{where}: alerts[{number}]")


def _check_alert(params: AlertParams, where: str) -> None:
    _within(f"{where}.timeout_s", params.timeout_s, 0.1, 600)
    if params.kind == "command" and (not params.command or params.url):
        raise ConfigError(f"{where} needs a command as a list, as in [notify, --stdin], and no url")
    if params.kind == "webhook" and (params.command or not re.fullmatch(r"[A-Z_][A-Z0-9_]*", params.url)):
        raise ConfigError(  # not shown: it may be the URL itself, and that is a secret
            f"{where}.url must be the name of an environment variable that holds the URL, as in ALERT_URL, and no command"
        )


def _check_generators(params: AnswerParams, where: str) -> None:
    if not params.generators:
        raise ConfigError(f"{where}.generators is empty; name at least one, as in [{{backend: extractive}}]")
    for topic in params.blocked:
        try:
            re.compile(topic.pattern)
        except re.error as error:
            raise ConfigError(
                f"{where}.blocked: the pattern of {topic.name!r} is no regular expression: {error}"
            ) from None
    labels = [spec.label for spec in params.generators]
    for at, spec in enumerate(params.generators):
        here = f"{where}.generators[{at}]"
        if labels.count(spec.label) > 1:
            raise ConfigError(f"{here}: two generators are called {spec.label!r}; give each a name")
        _check_place(spec.url, spec.key, here)
        _within(f"{here}.timeout_s", spec.timeout_s, 0.1, 3600)
        _within(f"{here}.price_in", spec.price_in, 0, 10**6)
        _within(f"{here}.price_out", spec.price_out, 0, 10**6)


def _check_place(url: str, key: str, here: str, name: str = ".url") -> None:
    if "@" in url.split("://", 1)[-1].partition("/")[0]:  # not shown: it may hold a password
        raise ConfigError(f"{here}{name} must not name a user: set key to the name of an environment variable")
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError(f"{here}{name}: {url!r} must begin with http:// or https://")
    if key and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", key):  # not shown: it may be the key itself
        raise ConfigError(f"{here}.key must be the name of an environment variable, as in OPENAI_API_KEY, not a key")


_OPENSEARCH_BOUNDS: dict[str, tuple[float, float]] = {
    "shards": (1, 1024),
    "replicas": (0, 100),
    "timeout_s": (0.1, 3600),
    "max_retries": (0, 100),
    "patience_s": (0, 86_400),
}


def _check_opensearch(params: OpenSearchParams, where: str) -> None:
    for name, (low, high) in _OPENSEARCH_BOUNDS.items():
        _within(f"{where}.{name}", getattr(params, name), low, high)
    if not params.hosts:
        raise ConfigError(f"{where}.hosts is empty; name every node, as in https://search-1:9200")
    for host in params.hosts:
        if "@" in host:  # not shown: it may hold a password
            raise ConfigError(f"{where}.hosts must not name a user: set user, and RAGKEEP_OPENSEARCH_PASSWORD")
        if not host.startswith(("http://", "https://")):
            raise ConfigError(f"{where}.hosts: {host!r} must begin with http:// or https://")
    if not is_id(params.prefix):
        raise ConfigError(f"{where}.prefix {params.prefix!r} must be 1-64 of a-z, 0-9 and '-' (it begins index names)")


def _check_pgvector(params: PgVectorParams, where: str) -> None:
    _within(f"{where}.timeout_s", params.timeout_s, 0.1, 3600)
    scheme, _, rest = params.url.partition("://")
    if "password=" in rest or ":" in rest.partition("/")[0].rpartition("@")[0]:  # not shown: it may hold one
        raise ConfigError(f"{where}.url must not hold a password: set RAGKEEP_PGVECTOR_PASSWORD, or use ~/.pgpass")
    if scheme not in ("postgresql", "postgres") or not rest:
        raise ConfigError(f"{where}.url must look like postgresql://user@host:5432/database")
    if not is_id(params.prefix) or len(params.prefix) > 63:
        raise ConfigError(f"{where}.prefix {params.prefix!r} must be 1-63 of a-z, 0-9 and '-' (it names a schema)")


def _within(key: str, value: float | str | None, low: float, high: float) -> None:
    """Raise ConfigError for a number out of bounds; a word or nothing stands for no number, and NaN is in no bounds."""
    if not isinstance(value, str | None) and not low <= value <= high:
        raise ConfigError(f"{key} must be between {low:,} and {high:,}, not {value}")


def is_id(text: str) -> bool:
    """Whether a name is safe in a file name, a filter and a URL: 1-64 of a-z, 0-9, '-'."""
    return 0 < len(text) <= 64 and all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in text)


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a project keeps things. `state` is everything ragkeep writes that is not a stage's output."""

    root: Path

    @property
    def state(self) -> Path:
        """`.ragkeep/`, or RAGKEEP_STATE."""
        return Path(os.environ.get("RAGKEEP_STATE") or self.root / ".ragkeep")

    @property
    def params(self) -> Path:
        """params.yaml."""
        return self.root / "params.yaml"

    @property
    def data(self) -> Path:
        """Stage outputs, tracked by DVC."""
        return self.root / "data"

    @property
    def store(self) -> Path:
        """Index versions of the embedded store."""
        return self.state / "store"

    @property
    def cache(self) -> Path:
        """What may be deleted at any time: vectors, exported models, file stats."""
        return self.state / "cache"

    @property
    def models(self) -> Path:
        """Models made from interactions, each in a folder named by its hash; no part of one ever changes."""
        return self.state / "models"

    @property
    def releases(self) -> Path:
        """Releases, the champion pointer and the promotion history."""
        return self.state / "releases"

    @property
    def pages(self) -> Path:
        """The web pages that sources name, a folder a source: the last good copy of each."""
        return self.state / "pages"

    @property
    def uploads(self) -> Path:
        """Documents that people uploaded, a folder a workspace."""
        return self.state / "uploads"

    @property
    def interactions(self) -> Path:
        """The log of what was asked, shown, answered and rated."""
        return self.state / "interactions"

    @property
    def serving(self) -> Path:
        """API keys, budgets, and unless they are at AWS the documents' records and the queue."""
        return self.state / "serving.sqlite"

    @property
    def monitor(self) -> Path:
        """What watching keeps: canary vectors, portraits of indexes, the last figures and their history."""
        return self.state / "monitor"

    @property
    def reports(self) -> Path:
        """One HTML file a night."""
        return self.state / "reports"


def find_project(start: Path | None = None) -> Paths:
    """Find the project: RAGKEEP_HOME, or the nearest folder upwards with a params.yaml. Raises ConfigError."""
    home = os.environ.get("RAGKEEP_HOME")
    if home:
        return Paths(Path(home).resolve())
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file():
            return Paths(folder)
    raise ConfigError(f"no params.yaml in {here} or above: run this in a ragkeep project, or set RAGKEEP_HOME")
