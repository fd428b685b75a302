"""The challenger's trial in the night's report: who won, with an interval, or that nobody can say yet."""

from __future__ import annotations

from .page import Html, esc, interval, join, note, number, table
from .report_data import NightReport


def trial(night: NightReport) -> Html | None:
    """What `ragkeep releases trial show` shows; an empty row means that there was no trial."""
    if night.trial is None:
        return None
    told = night.trial.get("trial")
    if not told:
        return note(night.trial.get("trouble") or "No release is on trial.")
    found = night.trial
    state = "runs" if found["running"] else f"ended {found.get('ended_at') or told['until']}"
    who = f"Release {told['number']} against release {told['champion']}: {told['mode']}, {state}"
    rows = [
        (
            row["measure"],
            number(row["champion"]),
            number(row["challenger"]),
            number(row["difference"], signed=row["measure"] not in ("overlap@5", "rbo")),
            interval((row["lo"], row["hi"])),
            row["n"],
        )
        for row in found["measures"]
    ]
    heads = ("measure", "champion", "challenger", "difference", "interval", "n")
    return join(
        Html(f"<p>{esc(found['says'])}</p>"),
        table(heads, rows, caption=f"{who}, {found['answers']:,} answers", numeric=(1, 2, 3, 4, 5)),
        note("A look in between: whoever stops as soon as something wins finds winners where there are none.")
        if found["running"]
        else None,
    )
