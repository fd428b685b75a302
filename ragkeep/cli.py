"""The one command, `ragkeep`; `ragkeep COMMAND --help` tells each. Everything heavy is imported inside a command.

Commands that need the checkout (nightly, eval, gate, releases ...) import flows/, tasks/, evaluation/ by name, late: the
wheel holds only what serving needs.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .config import find_project, load_params
from .console import emit_json, logs_to_stderr, next_step, say, table
from .errors import ConfigError, RagkeepError, describe

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
releases_app = typer.Typer(no_args_is_help=True, help="What is live, what was, and the way back.")
quarantine_app = typer.Typer(no_args_is_help=True, help="Documents that were refused, why, and how to let one in.")
app.add_typer(releases_app, name="releases")
app.add_typer(quarantine_app, name="quarantine")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
Workspace = Annotated[str, typer.Option(help="Whose documents may be read.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Mode = Literal["hybrid", "vector", "bm25"]


def main() -> None:
    """Run the command line; an error a user can mend is one line, and its exit code."""
    try:
        app(standalone_mode=False)
    except RagkeepError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(describe(error), 1)
    except KeyboardInterrupt:
        _fail("stopped; what was finished is kept, and the next run goes on from there", 130)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "show"):
            error.show()
            sys.exit(getattr(error, "exit_code", 2))
        if os.environ.get("RAGKEEP_TRACEBACK"):
            raise
        _fail(f"{type(error).__name__}: {error} (set RAGKEEP_TRACEBACK=1 to see where)", 1)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"ragkeep: {' '.join(message.split())}\n")
    if "--json" in sys.argv:
        emit_json({"error": message, "exit_code": code})
    sys.exit(code)


def _room(name: str) -> Any:
    """Import a module of the checkout by name."""
    root = str(find_project().root)
    if root not in sys.path:
        sys.path.append(root)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] not in ("flows", "tasks", "evaluation"):
            raise ConfigError(f"this command needs {error.name}: run it in the project with `uv run ragkeep`") from error
        raise ConfigError(
            "this command needs the project's checkout (flows/, tasks/, evaluation/): run it there with `uv run ragkeep`"
        ) from error


def _project() -> tuple[Paths, Params]:
    paths = find_project()
    return paths, load_params(paths.params)


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
    paths, params = _project()
    with logs_to_stderr():
        result = _room("flows.start").start(paths, params, force=force)
    if json:
        emit_json(result)
    else:
        _show_night(result)
    if result["verdict"] == "fail":
        raise SystemExit(1)


def _show_night(result: dict[str, Any]) -> None:
    documents, chunks = result["documents"], result["chunks"]
    rows = [
        ("verdict", result["verdict"]),
        ("live release", result["release"]),
        ("documents", f"{documents['seen']:,} seen, {documents['changed']:,} changed, {documents['deleted']:,} deleted"),
        ("quarantined", f"{documents['quarantined']:,}"),
        ("chunks", f"{chunks['total']:,}, {chunks['embedded']:,} embedded"),
        *((name, value) for name, value in sorted(result["scores"].items())),
        ("seconds", f"{result['seconds']:.1f}"),
    ]
    table("The night", ("what", "value"), rows)
    for reason in result.get("reasons", []):
        say(f"- {reason}")
    say(f"Report: {result['report']}")
    next_step('ragkeep ask "how do I read a JSON file?"' if result["release"] else "open the report and see why")


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
    paths, params = _project()
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
        raise ConfigError('the question is empty: ragkeep ask "how do I read a JSON file?"')
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
    paths, params = _project()
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
    """Measure retrieval on a labelled set, with the embedder and store of params.yaml."""
    from pathlib import Path

    paths, params = _project()
    with logs_to_stderr():
        result = _room("evaluation.folder").evaluate_folder(
            Path(folder), mode, paths=paths, params=params, progress=_room("tasks.stage").progress
        )
    if json:
        emit_json(result)
        return
    table("Scores", ("what", "value"), list(result.items()))
    next_step(f"ragkeep gate --baseline OTHER/by_query --candidate {result['by_query']}")


@app.command()
def gate(
    *,
    baseline: Annotated[str, typer.Option(help="scores.json, or the folder that holds it, of what is live.")],
    candidate: Annotated[str, typer.Option(help="The same of what wants to go live.")],
    junit: Annotated[str, typer.Option(help="Also write the verdict as a JUnit file, for CI.")] = "",
    json: Json = False,
) -> None:
    """Judge a candidate's scores against a baseline's. Exit code 0 pass, 1 fail, 2 cannot judge."""
    from pathlib import Path

    _paths, params = _project()
    with logs_to_stderr():
        module = _room("evaluation.gate")
        verdict = module.gate_files(Path(baseline), Path(candidate), params.gate)
    if junit:
        module.write_junit(Path(junit), verdict)
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


@releases_app.command("list")
def releases_list(*, json: Json = False) -> None:
    """List all releases, newest first, and which one answers."""
    from .releases import all_releases, pointer

    paths, _ = _project()
    at = pointer(paths)
    rows = [
        {
            "number": r.number, "created_at": r.created_at, "index": r.index.name, "chunks": r.index.chunks,
            "ndcg_at_10": r.scores.get("ndcg_at_10"), "reason": r.reason,
            "alias": "champion" if at and at.number == r.number else "previous" if at and at.previous == r.number else "",
        }
        for r in all_releases(paths)
    ]  # fmt: skip
    if json:
        emit_json({"champion": at.number if at else None, "previous": at.previous if at else None, "releases": rows})
        return
    table("Releases", ("number", "alias", "made", "chunks", "nDCG@10", "gate"), [
        (r["number"], r["alias"], r["created_at"], r["chunks"], r["ndcg_at_10"], str(r["reason"])[:80]) for r in rows
    ])  # fmt: skip
    next_step("ragkeep explain NUMBER, or ragkeep releases rollback" if rows else "ragkeep nightly")


@releases_app.command("history")
def releases_history(*, json: Json = False) -> None:
    """Show who made which release the champion, when and why."""
    from .releases import history

    events = history(_project()[0])
    if json:
        emit_json({"events": events})
        return
    keys = ("at", "action", "from", "to", "who", "reason")
    table("History", keys, [[e.get(k) for k in keys] for e in events])
    next_step("ragkeep releases list")


def _move(action: str, *, json: bool, **options: Any) -> None:
    paths, params = _project()
    with logs_to_stderr():
        release = _room("flows.start").move(paths, params, action, **options)
    if json:
        emit_json({"action": action, "release": str(release.number), "index": release.index.name})
        return
    say(f"release {release.number} answers now (index {release.index.name})")
    next_step("ragkeep releases history")


@releases_app.command("promote")
def releases_promote(
    number: Annotated[int, typer.Argument(help="Which release.")],
    *,
    reason: Reason = "by hand",
    force: Annotated[bool, typer.Option(help="Also one the gate refused.")] = False,
    json: Json = False,
) -> None:
    """Make a release the champion."""
    _move("promote", json=json, number=number, reason=reason, force=force)


@releases_app.command("rollback")
def releases_rollback(*, reason: Reason = "by hand", json: Json = False) -> None:
    """Make the release before the champion answer again, at once."""
    _move("rollback", json=json, reason=reason)


@quarantine_app.command("list")
def quarantine_list(*, json: Json = False) -> None:
    """List what was refused tonight, by reason."""
    paths, _ = _project()
    rows = _room("tasks.quarantine").listed(paths)
    if json:
        emit_json({"count": len(rows), "documents": rows})
        return
    table("Quarantine", ("stage", "reason", "uri", "detail"), [
        (r["stage"], r["reason"], r["uri"], str(r.get("detail", ""))[:80]) for r in rows
    ])  # fmt: skip
    next_step("ragkeep quarantine show URI" if rows else "nothing to do")


@quarantine_app.command("show")
def quarantine_show(uri: Annotated[str, typer.Argument(help="As `list` prints it.")], *, json: Json = False) -> None:
    """Show everything known about one refused document."""
    paths, params = _project()
    found = _room("tasks.quarantine").shown(paths, params, uri)
    if json:
        emit_json(found)
        return
    for key, value in found.items():
        say(f"{key}: {value}")
    next_step(f"ragkeep quarantine release {uri}")


@quarantine_app.command("release")
def quarantine_release(
    uri: Annotated[str, typer.Argument(help="As `list` prints it.")], *, reason: Reason = "by hand", json: Json = False
) -> None:
    """Let one document in from the next night on, as long as its content stays what it is now."""
    paths, _ = _project()
    row = _room("tasks.quarantine").release(paths, uri, reason=reason)
    if json:
        emit_json(row)
        return
    say(f"{uri} is let in from the next night on")
    next_step("ragkeep nightly")


@app.command()
def report(*, json: Json = False) -> None:
    """Say where the last night's report is."""
    paths, _ = _project()
    pages = sorted(paths.reports.glob("*.html"))
    if not pages:
        raise ConfigError("no night has left a report yet: run `ragkeep nightly`")
    if json:
        emit_json({"report": str(pages[-1]), "reports": len(pages)})
        return
    say(str(pages[-1]))
    next_step("open it in a browser")


@app.command()
def explain(
    release: Annotated[int | None, typer.Argument(help="A release's number; the champion when left out.")] = None,
    *,
    json: Json = False,
) -> None:
    """Trace a release back to its data, index, model, parameters and code."""
    from dataclasses import asdict

    from .releases import history, read_release, require_champion

    paths, _ = _project()
    found = read_release(paths, release) if release is not None else require_champion(paths)
    row = {**asdict(found), "history": [e for e in history(paths) if found.number in (e.get("to"), e.get("from"))]}
    if json:
        emit_json(row)
        return
    for key in ("number", "sha", "created_at", "reason", "git_sha", "dvc_lock_sha", "run_id", "generator"):
        say(f"{key}: {row[key]}")
    for section in ("index", "fusion", "serving", "scores"):
        for key, value in row[section].items():
            say(f"{section}.{key}: {value}")
    for event in row["history"]:
        change = f"{event['action']} {event['from']} -> {event['to']}"
        say(f"history: {event['at']} {change} by {event['who']}: {event['reason']}")
    say(f"evidence: {paths.releases / found.evaluation}")
    next_step("dvc diff, or ragkeep releases list")


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
) -> None:
    """Serve the nightly on a schedule from this process, until it is stopped."""
    _project()
    _room("flows.start").serve(cron=cron, timezone=timezone)


@app.command()
def prune(*, dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False, json: Json = False) -> None:
    """Remove index versions, reports and cache entries that nothing needs any more."""
    paths, params = _project()
    with logs_to_stderr():
        result = _room("flows.prune").prune(paths, params, dry_run=dry_run)
    if json:
        emit_json(result)
        return
    table("Pruned" if not dry_run else "Would prune", ("what", "how many"), [(k, len(v)) for k, v in result.items()])
    next_step("ragkeep releases list")


if __name__ == "__main__":
    main()
