"""What was acknowledged stays, in order, and what was erased is gone."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ragkeep.errors import Busy, LogDamaged, LogUnavailable
from ragkeep.interactions import InteractionLog, erased_by, find, impressions, read, segments
from ragkeep.interactions.erasure import Erasure, note
from ragkeep.interactions.segments import open_paths, sealed_paths
from tests.interaction_cases import a_click, a_correction, a_vote, an_answer


def seqs(folder: Path, **how: bool) -> list[int]:
    return [record.seq for record in read(folder, **how)]  # type: ignore[arg-type]


def crashed(folder: Path, records: int = 5) -> Path:
    """A log as a killed process leaves it: the active segment, copied while it was open."""
    with InteractionLog(folder) as log:
        for n in range(records):
            log.append(a_vote(f"a{n}"))
        left = open_paths(folder)[0]
        data = left.read_bytes()
    sealed_paths(folder)[-1].unlink()
    left.write_bytes(data)
    return left


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    with InteractionLog(tmp_path) as log:
        assert log.append(an_answer("a1", "How do I sort?", reformulates="a0")) == 1
        assert log.append(a_vote("a1", -1, reason="wrong file")) == 2
        assert log.append(a_click("a1")) == 3
    asked, vote, click = read(tmp_path)
    assert (asked.payload["question"], asked.release, asked.payload["cited"]) == ("How do I sort?", "7", [1])
    assert [(i.uri, i.rank, i.lines) for i in impressions(asked)] == [("a.md", 1, (1, 9)), ("b.md", 2, (1, 9))]
    assert (vote.payload, click.kind, click.payload["rank"]) == ({"value": -1, "reason": "wrong file"}, "click", 1)
    assert asked.at.endswith("+00:00")
    assert len(asked.at) == len("2026-01-01T00:00:00.000+00:00")


def test_free_text_is_masked_before_it_reaches_the_disk(tmp_path: Path) -> None:
    with InteractionLog(tmp_path) as log:
        log.append(an_answer("a1", "mail ann@corp.com", rewritten="write to ann@corp.com"))
        log.append(a_vote("a1", reason="call +49 30 1234567"))
        log.append(a_correction("a1", "use password=hunter2x!"))
        on_disk = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert not any(secret in on_disk for secret in (b"ann@corp", b"1234567", b"hunter2x"))
    assert next(read(tmp_path)).payload["question"] == "mail <EMAIL>"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "wish"}, "unknown kind"),
        ({"user": "ann@corp.com"}, "opaque"),
        ({"workspace": "My Docs"}, "workspace"),
        ({"payload": {"value": 2, "reason": ""}}, "1 or -1"),
        ({"payload": {"value": True, "reason": ""}}, "bool"),
        ({"payload": {"value": 1, "reason": "", "mood": "bad"}}, "mood"),
        ({"payload": {"value": 1}}, "reason"),
    ],
)
def test_a_record_nobody_expects_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    with InteractionLog(tmp_path) as log, pytest.raises(ValueError, match=says):
        log.append(replace(a_vote("a1"), **change))  # type: ignore[arg-type]
    assert seqs(tmp_path) == []


def test_many_threads_get_numbers_without_holes(tmp_path: Path) -> None:
    with InteractionLog(tmp_path, segment_bytes=20_000) as log, ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda n: log.append(a_vote(f"a{n}")), range(500)))
    assert sorted(got) == seqs(tmp_path, sealed=True) == list(range(1, 501))
    assert [s.first for s in segments(tmp_path)[1:]] == [s.last + 1 for s in segments(tmp_path)[:-1]]


def test_an_event_loop_appends_without_threads(tmp_path: Path) -> None:
    async def many(log: InteractionLog) -> list[int]:
        before = threading.active_count()
        waiting = [asyncio.ensure_future(log.append_async(a_vote(f"a{n}"))) for n in range(200)]
        await asyncio.sleep(0)
        assert threading.active_count() == before
        return await asyncio.gather(*waiting)

    with InteractionLog(tmp_path) as log:
        assert sorted(asyncio.run(many(log))) == list(range(1, 201))


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    with InteractionLog(tmp_path), pytest.raises(Busy, match="another process"):
        InteractionLog(tmp_path)
    with InteractionLog(tmp_path) as log:
        log.append(a_vote("a1"))


def test_a_closed_log_says_so(tmp_path: Path) -> None:
    log = InteractionLog(tmp_path)
    log.close()
    with pytest.raises(LogUnavailable, match="closed"):
        log.append(a_vote("a1"))


def test_reading_begins_after_a_number_and_can_keep_to_what_is_sealed(tmp_path: Path) -> None:
    with InteractionLog(tmp_path, segment_bytes=1000) as log:
        for n in range(20):
            log.append(a_vote(f"a{n}"))
        log._began = time.monotonic() + 1000  # not sealed by age
        assert [r.seq for r in read(tmp_path, after=13)] == list(range(14, 21))
        assert seqs(tmp_path, sealed=True) == list(range(1, segments(tmp_path)[-1].last + 1))
    assert seqs(tmp_path, sealed=True) == list(range(1, 21))
    assert list(read(tmp_path / "none")) == []


def test_an_idle_segment_is_sealed_by_age(tmp_path: Path) -> None:
    with InteractionLog(tmp_path, seal_after_s=0.2) as log:
        log.append(a_vote("a1"))
        deadline = time.monotonic() + 20
        while not sealed_paths(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert seqs(tmp_path, sealed=True) == [1]
        assert log.append(a_vote("a2")) == 2


def test_a_torn_tail_is_cut_off_at_any_byte(tmp_path: Path) -> None:
    left = crashed(tmp_path)
    whole = left.read_bytes()
    for cut in range(len(whole), 0, -37):
        left.write_bytes(whole[:cut])
        kept = seqs(tmp_path)
        with InteractionLog(tmp_path) as log:
            assert log.append(a_vote("new")) == len(kept) + 1
        assert seqs(tmp_path) == [*kept, len(kept) + 1]
        sealed_paths(tmp_path)[0].unlink()


def test_bytes_that_were_never_acknowledged_do_not_survive(tmp_path: Path) -> None:
    left = crashed(tmp_path)
    left.write_bytes(left.read_bytes() + bytes(5000) + b"RKr\x01 junk")
    with InteractionLog(tmp_path) as log:
        assert log.append(a_vote("new")) == 6
    assert seqs(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_damage_to_acknowledged_records_is_told_and_costs_only_them(tmp_path: Path) -> None:
    left = crashed(tmp_path)
    data = bytearray(left.read_bytes())
    data[data.index(b'"a1"')] ^= 1
    left.write_bytes(data)
    with InteractionLog(tmp_path) as log:
        assert log.append(a_vote("new")) == 6
    with pytest.raises(LogDamaged, match=r"1\.log: damaged between records 1 and 3"):
        seqs(tmp_path)
    assert seqs(tmp_path, skip_damaged=True) == [1, 3, 4, 5, 6]


def test_a_footer_without_its_rename_is_finished(tmp_path: Path) -> None:
    with InteractionLog(tmp_path) as log:
        log.append(a_vote("a1"))
    sealed = sealed_paths(tmp_path)[0]
    sealed.rename(sealed.with_suffix(".open"))
    with InteractionLog(tmp_path) as log:
        assert [s.count for s in segments(tmp_path)] == [1]
        assert log.append(a_vote("a2")) == 2


def test_an_answer_is_found_with_all_that_refers_to_it(tmp_path: Path) -> None:
    with InteractionLog(tmp_path, segment_bytes=3000) as log:
        for n in range(40):
            log.append(an_answer(f"a{n}"))
        log.append(a_vote("a3"))
        log.append(a_correction("a3", "better"))
        assert [r.kind for r in log.find("a3")] == ["answer", "vote", "correction"]
        assert [r.kind for r in find(tmp_path, "a39")] == ["answer"]
        assert log.find("a99") == []


def test_the_index_is_made_again_when_it_is_lost_or_damaged(tmp_path: Path) -> None:
    with InteractionLog(tmp_path) as log:
        log.append(an_answer("a1"))
        log.append(an_answer("a2"))
    index = next(tmp_path.glob("*.idx"))
    good = index.read_bytes()
    index.unlink()
    assert [r.seq for r in find(tmp_path, "a2")] == [2]
    assert index.read_bytes() == good
    index.write_bytes(good[:-5] + b"wrong")
    assert [r.seq for r in find(tmp_path, "a2")] == [2]
    assert index.read_bytes() == good


def history(log: InteractionLog) -> None:
    log.append(an_answer("a1", "asked by ann", user="ann"))
    log.append(a_vote("a1", user="bob", reason="bob on ann's answer"))
    log.append(an_answer("a2", "asked by bob", user="bob", uris=("b.md",)))
    log.append(a_vote("a2", user="ann", reason="ann on bob's answer"))
    log.append(a_click("a2", "b.md", user="bob"))


@pytest.mark.parametrize(
    ("what", "value", "gone", "texts"),
    [
        ("user", "ann", (1, 2, 4), (b"asked by ann", b"on ann's", b'"ann"')),
        ("document", "a.md", (1, 2), (b"asked by ann", b"a.md")),
        ("document", "b.md", (1, 2, 3, 4, 5), (b"asked by", b" on ")),
    ],
)
def test_what_is_erased_is_gone_from_disk(
    tmp_path: Path, what: str, value: str, gone: tuple[int, ...], texts: tuple[bytes, ...]
) -> None:
    with InteractionLog(tmp_path, segment_bytes=600) as log:
        history(log)
        assert log.erase(what, value) == gone  # type: ignore[arg-type]
        log.append(a_vote("a9"))
    kept = list(read(tmp_path))
    assert [r.seq for r in kept] == [n for n in range(1, 8) if n not in gone]
    on_disk = b"".join(p.read_bytes() for p in sealed_paths(tmp_path) if b'"kind":"erase"' not in p.read_bytes())
    assert not [text for text in texts if text in on_disk]
    assert kept[-2].payload["what"] == what
    assert tuple(erased_by(tmp_path, kept[-2].seq)) == gone
    assert (kept[-2].payload["value"] == value) == (what == "document")


def test_an_erasure_keeps_to_its_workspace(tmp_path: Path) -> None:
    with InteractionLog(tmp_path) as log:
        log.append(an_answer("a1", workspace="one"))
        log.append(an_answer("a2", workspace="two"))
        assert log.erase("document", "a.md", workspace="two") == (2,)
        assert log.find("a2") == []
    assert [r.workspace for r in read(tmp_path) if r.kind == "answer"] == ["one"]


def test_a_session_is_erased_for_its_user_though_others_use_the_same_id(tmp_path: Path) -> None:
    with InteractionLog(tmp_path) as log:
        for answer, user, session, room in (
            ("a1", "ann", "s1", "one"), ("a2", "bob", "s1", "one"),
            ("a3", "ann", "s1", "two"), ("a4", "ann", "s2", "one"),
        ):  # fmt: skip
            log.append(an_answer(answer, user=user, session=session, workspace=room))
        log.append(a_vote("a1", user="bob", session="s1", workspace="one"))
        with pytest.raises(ValueError, match="needs its user"):
            log.erase("session", "s1", workspace="one")
        assert log.erase("session", "s1", workspace="one", user="ann") == (1, 5)
        assert [record.answer for record in log.find("a1", "a2", "a3", "a4", "a5")] == ["a2", "a3", "a4"]
    assert b'"a1"' not in b"".join(path.read_bytes() for path in sealed_paths(tmp_path))


def test_an_erasure_that_was_cut_short_is_finished_and_meanwhile_not_read(tmp_path: Path) -> None:
    with InteractionLog(tmp_path) as log:
        history(log)
    note(tmp_path, Erasure("user", "ann"))
    assert seqs(tmp_path) == [3, 5]
    assert [r.seq for r in read(tmp_path, after=1)] == [3, 5]
    assert find(tmp_path, "a1") == []
    InteractionLog(tmp_path).close()
    assert seqs(tmp_path) == [3, 5, 6]
    assert b"asked by ann" not in b"".join(p.read_bytes() for p in sealed_paths(tmp_path))


def test_a_damaged_record_that_names_what_is_erased_goes_too(tmp_path: Path) -> None:
    with InteractionLog(tmp_path) as log:
        history(log)
    path = sealed_paths(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"asked by ann", b"asked BY ann"))
    with InteractionLog(tmp_path) as log:
        log.erase("user", "ann")
    assert b"asked BY" not in path.read_bytes()
    assert 1 not in seqs(tmp_path)
