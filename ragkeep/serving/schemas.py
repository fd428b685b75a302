"""What the API takes and gives, as pydantic models: the OpenAPI description is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)

from ..config import AnswerParams
from ..types import Answer, Citation, Hit, Mode, Sampling

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Workspace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
Question = Annotated[str, StringConstraints(min_length=1, max_length=32_000)]
Text = Annotated[str, StringConstraints(max_length=32_000)]
Filters = dict[Literal["language", "source", "kind", "uri"], Annotated[str, StringConstraints(max_length=2000)]]


class Taken(BaseModel):
    """What callers send: null says the same as leaving a key out, where it may be left out."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, said: Any) -> Any:
        if not isinstance(said, dict):
            return said
        free = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {key: value for key, value in said.items() if value is not None or key not in free}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe it so."""
        made = handler.resolve_ref_schema(handler(core_schema))
        needed = made.get("required", [])
        for name, kind in made.get("properties", {}).items():
            if name not in needed and {"type": "null"} not in kind.get("anyOf", []):
                known = {key: kind.pop(key) for key in ("title", "description", "default") if key in kind}
                made["properties"][name] = {"anyOf": [kind, {"type": "null"}], **known}
        return made


class Body(Taken):
    """A body whose unknown keys are refused: a misspelt one must not be taken for left out."""

    model_config = ConfigDict(extra="forbid")


class SamplingBody(Body):
    """How words are drawn; what is left out is as the release has it."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    stop: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=200)]], Field(max_length=8)] | None = (
        None
    )

    def over(self, params: AnswerParams) -> Sampling:
        """These values, and the release's where none is given."""
        own = params.sampling
        return Sampling(
            max_tokens=self.max_tokens if self.max_tokens is not None else own.max_tokens,
            temperature=self.temperature if self.temperature is not None else own.temperature,
            top_p=self.top_p if self.top_p is not None else own.top_p,
            top_k=self.top_k if self.top_k is not None else own.top_k,
            stop=tuple(self.stop) if self.stop is not None else own.stop,
        )


class ChatBody(Body):
    """A question."""

    message: Question
    session: Id | None = None
    workspace: Workspace = "default"
    model: Annotated[str, StringConstraints(max_length=200)] | None = None
    compare: Annotated[list[Annotated[str, StringConstraints(max_length=200)]], Field(max_length=4)] = []
    k: Annotated[int, Field(ge=1, le=100)] | None = None
    filters: Filters = {}
    mode: Mode = "hybrid"
    sampling: SamplingBody = SamplingBody()
    stream: bool = True
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None


def question(**said: Any) -> ChatBody:
    """Make a question of what came in another form. Raises RequestValidationError."""
    try:
        return ChatBody(**said)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


class SeedContext(Body):
    """Where a question belongs."""

    workspace: Workspace = "default"
    session: Id | None = None


class SeedBody(Body):
    """The short form of a question: `context` is the workspace, or {"workspace", "session"}."""

    message: Question
    context: Workspace | SeedContext | None = None


class SearchBody(Body):
    """A search without an answer."""

    query: Question
    workspace: Workspace = "default"
    k: Annotated[int, Field(ge=1, le=100)] = 10
    mode: Mode = "hybrid"
    filters: Filters = {}
    mmr: bool = False


class RerankBody(Body):
    """Texts to be ordered by how well each answers a question."""

    query: Question
    texts: Annotated[list[Text], Field(min_length=1, max_length=200)]


class RerankOut(BaseModel):
    """A score for each text, in the order given; `model` is the cross-encoder, or the embedder where there is none."""

    model: str
    scores: list[float]


class FeedbackBody(Body):
    """What a person thought of an answer."""

    answer_id: Id
    kind: Literal["vote", "click", "correction"]
    value: Literal[1, -1] | None = None
    reason: Text = ""
    n: Annotated[int, Field(ge=1, le=1000)] | None = None
    text: Text = ""


class Source(BaseModel):
    """A snippet an answer may rest on."""

    n: int
    uri: str
    lines: tuple[int, int]
    context: str
    language: str
    kind: str
    score: float
    preview: str


class CitationOut(BaseModel):
    """A quoted range; `source` is its snippet's number."""

    n: int
    uri: str
    lines: tuple[int, int]
    quote: str
    score: float
    source: int


class UsageOut(BaseModel):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int


class AnswerOut(BaseModel):
    """A whole answer."""

    answer_id: str
    session: str
    workspace: str
    text: str
    abstained: bool
    reason: str
    citations: list[CitationOut]
    sources: list[Source]
    unsupported: list[str]
    model: str
    release: str
    usage: UsageOut
    cost_usd: float
    cached: bool
    route: Literal["code", "prose", ""]
    flags: list[str]
    logged: bool
    timings_ms: dict[str, float]
    agreement: dict[str, Any] | None = None
    budget_warning: bool = False
    trace_id: str


class SeedOut(BaseModel):
    """The short form of an answer."""

    response: str
    tokens_used: int
    model_version: str
    sources: list[Source]
    answer_id: str


class FoundHit(BaseModel):
    """A chunk that was found."""

    n: int
    chunk: str
    uri: str
    lines: tuple[int, int]
    context: str
    language: str
    kind: str
    score: float
    text: str


class SearchOut(BaseModel):
    """What a search found, best first."""

    release: str
    hits: list[FoundHit]
    seconds: float


class FeedbackOut(BaseModel):
    """That the feedback is kept, and where in the log."""

    logged: bool
    seq: int


class ErrorDetail(BaseModel):
    """What went wrong, in a line with the next step."""

    code: str
    message: str
    request_id: str
    trace_id: str = ""


class ErrorOut(BaseModel):
    """Every error's body."""

    error: ErrorDetail


def source_of(number: int, hit: Hit) -> dict[str, Any]:
    """Show a hit as `Source`."""
    chunk = hit.chunk
    return {
        "n": number, "uri": chunk.uri, "lines": chunk.lines, "context": chunk.context, "language": chunk.language,
        "kind": chunk.kind, "score": round(float(hit.score), 6), "preview": chunk.text[:300],
    }  # fmt: skip


def found_of(number: int, hit: Hit) -> dict[str, Any]:
    """Show a hit as `FoundHit`."""
    made = source_of(number, hit)
    del made["preview"]
    return {**made, "chunk": hit.chunk.id, "text": hit.chunk.text}


def _citation(number: int, one: Citation) -> dict[str, Any]:
    score = round(float(one.score), 6)
    return {"n": number, "uri": one.uri, "lines": one.lines, "quote": one.quote, "score": score, "source": one.source}


def answer_of(answer: Answer) -> dict[str, Any]:
    """Show what an answer itself knows, as `AnswerOut` has it."""
    return {
        "text": answer.text, "abstained": answer.abstained, "reason": answer.reason,
        "citations": [_citation(n, one) for n, one in enumerate(answer.citations, 1)],
        "sources": [source_of(n, hit) for n, hit in enumerate(answer.sources, 1)],
        "unsupported": list(answer.unsupported), "model": answer.model, "release": answer.release or "",
        "usage": {"prompt_tokens": answer.usage.prompt_tokens, "completion_tokens": answer.usage.completion_tokens},
        "cached": "cached" in answer.flags, "route": answer.route, "flags": list(answer.flags),
        "timings_ms": answer.timings_ms,
    }  # fmt: skip
