"""The one command, `ragkeep`; `ragkeep COMMAND --help` tells each. Everything heavy is imported inside a command.

Commands that need the checkout (nightly, eval, gate, releases ...) import flows/, tasks/, evaluation/ by name, late: the
wheel holds only what serving needs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .cli_finetune import finetune_app
from .cli_keys import keys_app
from .cli_learn import simulate
from .cli_models import learn, models_app
from .cli_monitor import monitor
from .cli_quarantine import quarantine_app
from .cli_queue import queue_app
from .cli_releases import explain, releases_app
from .console import Json, emit_json, end, fail, logs_to_stderr, next_step, project, room, say, table
from .errors import ConfigError, RagkeepError, describe
from .files import read_json

if TYPE_CHECKING:
    from .config import Params, Paths

app = typer.Typer(
    name="ragkeep",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its help imports half of rich: 0.2 CPU seconds
    help="Keeps a retrieval-augmented assistant healthy: index, measure, gate, swap, every night; and the way back.",
)
app.add_typer(releases_app, name="releases")
app.add_typer(models_app, name="models")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(keys_app, name="keys")
app.add_typer(queue_app, name="queue")
app.add_typer(finetune_app, name="finetune")

Workspace = Annotated[str, typer.Option(help="Whose documents may be read.")]
Mode = Literal["hybrid", "vector", "bm25"]
MAIN_METRICS = ("recall_at_10", "rr", "abstention_accuracy", "citation_validity")
EXAMPLE = 'ragkeep ask "how do I make a temporary directory?"'


def main() -> None:
    """Run the command line; an error a user can mend is one line, and its exit code."""
    try:
        if app(standalone_mode=False) == 130:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
    except RagkeepError as error:
        fail(str(error), error.exit_code)
    except OSError as error:
        fail(describe(error), 1)
    except KeyboardInterrupt:
        fail("stopped; what was finished is kept, and the next run goes on from there", 130)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "show"):
            error.show()
            end(error.format_message(), error.exit_code)  # type: ignore[attr-defined]
        if os.environ.get("RAGKEEP_TRACEBACK"):
            raise
        fail(f"{type(error).__name__}: {error} (set RAGKEEP_TRACEBACK=1 to see where)", 1)


@app.command()
def nightly(
    *,
    force: Annotated[bool, typer.Option(help="Walk the stages even when nothing changed.")] = False,
    json: Json = False,
) -> None:
    """Run the night: ingest, validate, chunk, embed, index, evaluate, gate, publish, report.

    Exit code 0: published or unchanged; 1: the gate refused or a stage failed, and the live release
    answers on; 2: no verdict.
    """
    paths, params = project()
    with logs_to_stderr():
        result = room("flows.start").start(paths, params, force=force)
    if json:
        emit_json(result)
    else:
        show_night(result, paths, params)
    if result["verdict"] == "fail":
        raise SystemExit(1)


def show_night(result: dict[str, Any], paths: Paths, params: Params) -> None:
    """Print what `ragkeep nightly` found, for a person."""
    documents, chunks = result["documents"], result["chunks"]
    rows = [
        ("verdict", result["verdict"]),
        ("live release", result["release"]),
        ("documents", f"{documents['seen']:,} seen, {documents['changed']:,} changed, {documents['deleted']:,} deleted"),
        ("quarantined", f"{documents['quarantined']:,}"),
        ("chunks", f"{chunks['total']:,}, {chunks['embedded']:,} embedded"),
        *_score_rows(result["scores"], paths, params),
        ("seconds", f"{result['seconds']:.1f}"),
    ]
    table("The night", ("what", "value"), rows)
    for reason in result.get("reasons", []):
        say(f"- {reason}")
    for page in result.get("pages_failed", []):
        say(f"- not had: {page}")
    losses = [(q["text"], f"{q['base']:.3f}", f"{q['new']:.3f}") for q in result.get("losses", [])]
    if losses:
        table("What lost most", ("question", "live", "tonight"), losses)
    say(f"Report: {result['report']}")
    next_step("open the report and see why" if result["verdict"] == "fail" or not result["release"] else EXAMPLE)


def _score_rows(scores: dict[str, float], paths: Paths, params: Params) -> list[tuple[str, str]]:
    """Each score with its interval and its number of questions; the main ones first."""
    measured = (read_json(paths.data / "evaluation" / "scores.json") or {}).get("metrics", {})
    first = [name for name in (params.gate.metric, *MAIN_METRICS) if name in scores]
    return [(name, _estimate(scores[name], measured.get(name))) for name in dict.fromkeys([*first, *sorted(scores)])]


def _estimate(value: float, found: dict[str, Any] | None) -> str:
    if found is None or found["mean"] != value:  # data/ is of another night than the result, or gone
        return f"{value:.4f}"
    low, high = found["ci"]
    return f"{value:.4f}   95 % interval {low:.3f} to {high:.3f}, {found['n']:,} questions"


@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of serve.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Port, instead of serve.port; 0 takes a free one.")] = None,
) -> None:
    """Answer questions over HTTP, with a page: whatever release is champion, followed from one request to the next."""
    from .serving.run import run

    run(*project(), host=host, port=port)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    *,
    workspace: Workspace = "default",
    json: Json = False,
) -> None:
    """Answer from the live release, with the file and lines each part comes from."""
    import time

    began = time.monotonic()
    paths, params = project()
    with logs_to_stderr():
        from .app import open_release

        with open_release(paths, params) as assistant:
            answer = assistant.ask(_question(question), workspace=workspace)
    if json:
        citations = [
            {"uri": c.uri, "lines": list(c.lines), "quote": c.quote, "score": round(float(c.score), 6)}
            for c in answer.citations
        ]
        emit_json(
            {
                "answer": answer.text,
                "citations": citations,
                "abstained": answer.abstained,
                "release": answer.release,
                "seconds": round(time.monotonic() - began, 3),
            }
        )
        return
    say(answer.text)
    for number, c in enumerate(answer.citations, 1):
        say(f"[{number}] {c.uri}:{c.lines[0]}-{c.lines[1]}")
    next_step(
        f'ragkeep search "{question}" shows all that was found'
        if answer.abstained
        else "ragkeep explain shows what made it"
    )


def _question(text: str) -> str:
    text = text.strip()
    if not text:
        raise ConfigError(f"the question is empty: {EXAMPLE}")
    if len(text) > 20_000:
        raise ConfigError(f"the question has {len(text):,} characters; 20,000 are the most that is read")
    return text


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    *,
    mode: Annotated[Mode, typer.Option(help="Which leg, or both.")] = "hybrid",
    k: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 10,
    workspace: Workspace = "default",
    json: Json = False,
) -> None:
    """List the chunks of the live release that match best."""
    paths, params = project()
    with logs_to_stderr():
        from .app import open_release

        with open_release(paths, params) as assistant:
            leg: Any = "keyword" if mode == "bm25" else mode
            hits = assistant.search(_question(text), mode=leg, k=k, workspace=workspace)
            release = str(assistant.release.number)
    rows: list[dict[str, Any]] = [
        {
            "uri": h.chunk.uri, "lines": list(h.chunk.lines), "score": round(float(h.score), 6),
            "context": h.chunk.context, "text": h.chunk.text,
        }
        for h in hits
    ]  # fmt: skip
    if json:
        emit_json({"release": release, "mode": mode, "hits": rows})
        return
    table(
        "Hits",
        ("score", "where", "what"),
        [(r["score"], f"{r['uri']}:{r['lines'][0]}-{r['lines'][1]}", r["context"]) for r in rows],
    )
    next_step(f'ragkeep ask "{text}"')


@app.command("eval")
def evaluate(
    *,
    folder: Annotated[str, typer.Option("--set", help="A folder with corpus.jsonl, queries.jsonl, qrels.tsv.")],
    mode: Annotated[Mode, typer.Option(help="Which leg, or both.")] = "hybrid",
    json: Json = False,
) -> None:
    """Measure retrieval on a labelled set, with the embedder and store of params.yaml.

    A hybrid search takes one weight for all questions, found on other questions than those it is scored on. The code
    route of a release, which the night tunes on its golden sets, is not part of it.
    """
    from pathlib import Path

    paths, params = project()
    with logs_to_stderr():
        result = room("evaluation.folder").evaluate_folder(
            Path(folder), mode, paths=paths, params=params, progress=room("tasks.stage").progress
        )
    if json:
        emit_json(result)
        return
    table("Scores", ("what", "value"), list(result.items()))
    mine = Path(result["by_query"])
    earlier = max((p for p in mine.parent.glob("*.jsonl") if p != mine), key=lambda p: p.stat().st_mtime, default=None)
    other = "bm25" if mode != "bm25" else "hybrid"
    next_step(
        f"ragkeep gate --baseline {earlier} --candidate {mine}"
        if earlier
        else f"ragkeep eval --set {folder} --mode {other}, to have something to compare with"
    )


@app.command()
def gate(
    *,
    baseline: Annotated[str, typer.Option(help="scores.json, or the folder that holds it, of what is live.")],
    candidate: Annotated[str, typer.Option(help="The same of what wants to go live.")],
    junit: Annotated[str, typer.Option(help="Also write the verdict as a JUnit file, for CI.")] = "",
    comment: Annotated[str, typer.Option(help="Also write it as Markdown, to comment on a pull request.")] = "",
    json: Json = False,
) -> None:
    """Judge a candidate's scores against a baseline's. Exit code 0 pass, 1 fail, 2 cannot judge."""
    from pathlib import Path

    _paths, params = project()
    with logs_to_stderr():
        verdict = room("evaluation.gate").gate_files(Path(baseline), Path(candidate), params.gate)
    if junit:
        room("evaluation.gate_reports").write_junit(Path(junit), verdict)
    if comment:
        room("evaluation.gate_reports").write_comment(Path(comment), verdict)
    if json:
        emit_json(verdict)
    else:
        say(f"{verdict['verdict']}: {'; '.join(verdict['reasons']) or 'no harm found'}")
        rows = [(name, m["base"], m["new"], m["delta"], str(m["ci"])) for name, m in sorted(verdict["metrics"].items())]
        table("Metrics", ("metric", "base", "new", "delta", "interval"), rows)
        worst = sorted((q for q in verdict.get("questions", []) if q["delta"]), key=lambda q: q["delta"])[:20]
        table(
            "Largest losses",
            ("question", "base", "new"),
            [(q["id"], q["base"], q["new"]) for q in worst if q["delta"] < 0],
        )
        next_step("publish it" if verdict["verdict"] == "pass" else "look at the losses above")
    if verdict["verdict"] != "pass":
        raise SystemExit(1)


@app.command()
def report(*, json: Json = False) -> None:
    """Say where the last night's report is."""
    paths, _ = project()
    pages = sorted(paths.reports.glob("*.html"))
    if not pages:
        raise ConfigError("no night has left a report yet: run `ragkeep nightly`")
    if json:
        emit_json({"report": str(pages[-1]), "reports": len(pages)})
        return
    say(str(pages[-1]))
    next_step("open it in a browser")


app.command()(explain)
app.command()(learn)
app.command()(monitor)
app.command()(simulate)


@app.command()
def doctor(*, json: Json = False) -> None:
    """Check what a night needs, and say how to mend what is missing. Exit code 1 when something is."""
    from .doctor import examine

    with logs_to_stderr():
        checks = examine()
    good = all(c.ok for c in checks)
    if json:
        emit_json({"ok": good, "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]})
    else:
        table("Doctor", ("check", "state", "detail"), [(c.name, "ok" if c.ok else "MISSING", c.detail) for c in checks])
        next_step("ragkeep nightly" if good else "mend what is marked MISSING")
    if not good:
        raise SystemExit(1)


@app.command()
def schedule(
    *,
    cron: Annotated[str, typer.Option(help="When, as a cron line.")] = "0 2 * * *",
    timezone: Annotated[str, typer.Option(help="Whose two o'clock.")] = "UTC",
    json: Json = False,
) -> None:
    """Serve the nightly on a schedule from this process, until it is stopped."""
    paths, _ = project()
    scheduling = room("flows.schedule")
    with logs_to_stderr():
        when = scheduling.cron_schedule(paths, cron, timezone)
    if json:
        emit_json({"serving": "nightly", "cron": cron, "timezone": timezone})
    else:
        say(f"The night runs at {cron} ({timezone}) as long as this process does; Ctrl-C stops it")
        next_step("ragkeep report, after the first night")
    with logs_to_stderr():
        scheduling.serve(when)


@app.command()
def prune(*, dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False, json: Json = False) -> None:
    """Remove what nothing needs any more: old indexes, evidence, pages, vectors, and files in DVC's cache.

    What answers, the way back, the last releases and the history stay.
    """
    paths, params = project()
    with logs_to_stderr():
        result = room("flows.prune").prune(paths, params, dry_run=dry_run)
    if json:
        emit_json(result)
        return
    table("Pruned" if not dry_run else "Would prune", ("what", "how many"), [(k, len(v)) for k, v in result.items()])
    next_step("ragkeep releases list")


if __name__ == "__main__":
    main()
