"""What an account's acts say about a question and a chunk: an opinion between -1 (does not answer) and 1 (answers).

An opinion is an account's strongest word for a chunk less its strongest against it, however often it was said. Of clicks
those are believed less that stand where sources are opened hardly more often than by mistake (`credible`). Weights by
inverse propensity, which say the opposite, gave no gain on any set measured (docs/learning-data.md).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ragkeep.analysis import terms
from tasks.history import Act, Asked, History

CORRECTION, VOTE, CLICK, REFORMULATION = 0.8, 0.6, 0.5, 0.3
"""How far one account's word for a chunk is believed. What a vote says is shared among the sources cited."""
PASSED, CORRECTED = 0.1, 0.3
"""And against it: shown above what was opened; cited in an answer that was corrected."""
ABOVE = 2
"""How many of the sources above an opened one were surely looked at."""
MEASURED, RANKS, DOUBTFUL = 20, 3, 0.1
"""How often a rank must have been opened, and how many ranks, to tell how often that is by mistake; what is left of a
click that may well be one."""
CHAIN = 3
"""How many questions back a good end is credited to."""
RELATED = 1 / 3
"""The share of terms from which a question is another wording of the one before it in its session."""


class Claim(NamedTuple):
    """One act's word: `strength` is negative where it speaks against the chunk."""

    chunk: str
    user: str
    strength: float
    reason: str


class Opinion(NamedTuple):
    """All that an account says of a chunk as the answer to one question."""

    chunk: str
    user: str
    net: float


def credible(shown: Mapping[int, int], opened: Mapping[int, int]) -> dict[int, float]:
    """Say how far a click is believed by its rank: DOUBTFUL to 1; {} where too few were made to tell.

    `shown` and `opened` count answers by rank. A better place is looked at more, so that mistakes, whims and haste open
    it as often at least as the place that is opened least; there they are taken to be all there is. So of the clicks at
    a rank that is opened in a share c of the answers, 1 - least / c are meant. Where all ranks are opened alike nobody
    can tell, and all clicks are doubted alike.
    """
    rates = {rank: opened[rank] / shown[rank] for rank in sorted(opened) if opened[rank] and shown.get(rank)}
    measured = [rate for rank, rate in rates.items() if opened[rank] >= MEASURED]
    if len(measured) < RANKS:
        return {}
    return {rank: round(max(DOUBTFUL, 1 - min(measured) / rate), 2) for rank, rate in rates.items()}


class Claims:
    """Reads claims out of a history.

    `chunks` maps the numbers of places to today's chunks, `supported` corrections (their sequence numbers) to the chunk
    that holds what they say.
    """

    def __init__(self, history: History, chunks: Mapping[int, str], supported: Mapping[int, str]) -> None:
        self._history, self._chunks, self._supported = history, chunks, supported
        self._later: dict[int, list[int]] = defaultdict(list)
        for number, one in enumerate(history.answers):
            if one.before >= 0 and number in history.acts:
                self._credit(number, one)

    def _credit(self, number: int, one: Asked) -> None:
        """Note a question that ended well with those before it of which it is another wording."""
        if not self._ended_well(number):
            return
        earlier = one
        for _ in range(CHAIN):
            before = earlier.before
            if before < 0 or self._ended_well(before):
                return
            asked = self._history.answers[before]
            if (asked.user, asked.workspace) != (one.user, one.workspace):
                return
            if not (earlier.reformulates or related(asked.question, one.question)):
                return
            self._later[before].append(number)
            earlier = asked

    def _ended_well(self, number: int) -> bool:
        """Whether whoever asked found what was looked for: opened or praised it, or said what it is."""
        asker = self._history.answers[number].user
        acts = [act for act in self._history.acts.get(number, ()) if act.user == asker]
        votes = [act.value for act in acts if act.kind == "vote"]
        return bool(acts) and (not votes or votes[-1] > 0)

    def teaching(self) -> list[int]:
        """List the answers whose question something is said about, in the order in which that began.

        So a log that grows adds to the end of the list only, though it be with a word on an old answer.
        """
        began = {number: acts[0].seq for number, acts in self._history.acts.items()}
        for number, later in self._later.items():
            began.setdefault(number, min(began[one] for one in later))
        return sorted(began, key=lambda number: (began[number], number))

    def of(self, number: int, believed: Mapping[int, float] | None = None) -> Iterator[Claim]:
        """Yield the claims about the question of one answer; `believed` is how far clicks are, by rank (`credible`)."""
        believed = believed or {}
        yield from self._direct(number, believed)
        asker = self._history.answers[number].user
        for later in self._later.get(number, ()):
            for claim in self._direct(later, believed):
                if claim.user == asker and claim.strength > 0:
                    yield Claim(claim.chunk, asker, min(REFORMULATION, claim.strength), "reformulation")

    def ranks(self) -> tuple[Counter[int], Counter[int]]:
        """Count answers by rank: where a source was shown, and where one was opened."""
        lengths = Counter(len(one.shown) for one in self._history.answers)
        shown = Counter({rank: sum(n for length, n in lengths.items() if length >= rank)
                         for rank in range(1, max(lengths, default=0) + 1)})  # fmt: skip
        opened = Counter[int]()
        for acts in self._history.acts.values():
            opened.update({act.rank for act in acts if act.kind == "click" and act.place >= 0})
        return shown, opened

    def seqs(self, number: int, left_out: frozenset[str]) -> set[int]:
        """Say which records the claims come from: the answer's, and those of the acts of accounts that count."""
        found = {self._history.answers[number].seq}
        for one in (number, *self._later.get(number, ())):
            acts = [act.seq for act in self._history.acts.get(one, ()) if act.user not in left_out]
            found |= {self._history.answers[one].seq, *acts} if acts else set()
        return found

    def _direct(self, number: int, believed: Mapping[int, float]) -> Iterator[Claim]:
        asked, by_user = self._history.answers[number], defaultdict[str, list[Act]](list)
        for act in self._history.acts.get(number, ()):
            by_user[act.user].append(act)
        for user, acts in by_user.items():
            yield from self._votes(asked, user, acts)
            yield from self._clicks(asked, user, acts, believed)
            yield from self._corrections(asked, user, acts)

    def _votes(self, asked: Asked, user: str, acts: Sequence[Act]) -> Iterator[Claim]:
        votes = [act.value for act in acts if act.kind == "vote"]
        cited = self._cited(asked)
        for chunk in cited if votes else ():
            strength = round(votes[-1] * VOTE / math.sqrt(len(cited)), 4)  # who changes their mind is believed the last
            yield Claim(chunk, user, strength, "vote up" if strength > 0 else "vote down")

    def _clicks(self, asked: Asked, user: str, acts: Sequence[Act], believed: Mapping[int, float]) -> Iterator[Claim]:
        opened = {act.rank: act.place for act in acts if act.kind == "click" and act.place >= 0}
        for rank, place in sorted(opened.items()):
            yield from self._claim(place, user, round(CLICK * believed.get(rank, 1.0), 4), "click")
            for above in range(max(1, rank - ABOVE), rank):
                if above not in opened and above not in asked.cited:
                    yield from self._claim(asked.shown[above - 1], user, -PASSED, "passed over")

    def _corrections(self, asked: Asked, user: str, acts: Sequence[Act]) -> Iterator[Claim]:
        for act in acts:
            right = self._supported.get(act.seq) if act.kind == "correction" else None
            if right is None:
                continue
            yield Claim(right, user, CORRECTION, "correction")
            for chunk in self._cited(asked):
                if chunk != right:
                    yield Claim(chunk, user, -CORRECTED, "corrected")

    def _claim(self, place: int, user: str, strength: float, reason: str) -> Iterator[Claim]:
        if chunk := self._chunks.get(place):
            yield Claim(chunk, user, strength, reason)

    def _cited(self, asked: Asked) -> list[str]:
        places = [asked.shown[rank - 1] for rank in asked.cited]
        return list(dict.fromkeys(self._chunks[place] for place in places if place in self._chunks))


def related(earlier: str, later: str) -> bool:
    """Whether two questions share enough of their terms for one to be another wording of the other."""
    a, b = set(terms(earlier)), set(terms(later))
    return bool(a and b) and len(a & b) >= RELATED * min(len(a), len(b))


def opinions(claims: Sequence[Claim]) -> list[Opinion]:
    """Boil down the claims about one question to one opinion an account and chunk, in the order of their names."""
    best: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for claim in claims:
        sides = best[claim.chunk, claim.user]
        sides[claim.strength < 0] = max(sides[claim.strength < 0], abs(claim.strength))
    return [Opinion(chunk, user, round(up - down, 4)) for (chunk, user), (up, down) in sorted(best.items())]


class Judged(NamedTuple):
    """What all accounts together say about a question: gains 0..1, what does not answer, what they disagree on.

    `users` is how many stand behind the best gain.
    """

    gains: dict[str, float]
    passed: tuple[str, ...]
    disputed: int
    users: int


STRONG = 0.25
"""An opinion from which an account counts as for or against; passing a source over is none."""
LEAST = 0.05
PASSED_KEPT = 8


def judge(said: Sequence[Opinion], min_users: int) -> Judged:
    """Weigh opinions: independent accounts add up, those that contradict each other cancel.

    Of a chunk that some are for and some against nothing is learned unless `min_users` stand on one side.
    """
    by_chunk: dict[str, list[float]] = defaultdict(list)
    for one in said:
        by_chunk[one.chunk].append(one.net)
    gains, against, disputed, users = {}, dict[str, float](), 0, {}
    for chunk, nets in by_chunk.items():
        pro, contra = (sum(sign * net >= STRONG for net in nets) for sign in (1, -1))
        if pro and contra and max(pro, contra) < min_users:
            disputed += 1
            continue
        total = round(_together(nets, 1) - _together(nets, -1), 4)
        if total >= LEAST:
            gains[chunk], users[chunk] = total, pro
        elif total < 0:
            against[chunk] = total
    passed = sorted(against, key=lambda chunk: (against[chunk], chunk))[:PASSED_KEPT]
    best = max(gains, key=lambda chunk: (gains[chunk], chunk), default="")
    return Judged(gains, tuple(passed), disputed, max(1, users.get(best, 1)))


def _together(nets: Sequence[float], sign: int) -> float:
    """The chance that at least one of those on a side is right, were they independent."""
    return 1 - math.prod(1 - sign * net for net in nets if sign * net > 0)
