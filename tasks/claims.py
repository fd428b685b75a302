"""What an account's acts say about a question and a chunk: an opinion between -1 (does not answer) and 1 (answers).

An opinion is an account's strongest word for a chunk less its strongest against it, however often it was said. All clicks
are one word; `meant` and `trust` say how far a lesson made of them is to be followed, which depends on their ranks.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ragkeep.analysis import terms
from tasks.history import Act, Asked, History

CORRECTION, VOTE, CLICK, REFORMULATION = 0.8, 0.6, 0.5, 0.3
"""How far one account's word for a chunk is believed. What a vote says is shared among the sources cited."""
PASSED, CORRECTED = 0.1, 0.3
"""And against it: shown above what was opened; cited in an answer that was corrected."""
ABOVE = 2
"""How many of the sources above an opened one were surely looked at."""
MEASURED, SHARE = 5, 0.01
"""How often a rank must have been opened for its rate to count: so many times, and in such a share of all clicks."""
RANKS = 3
"""How many such ranks it takes to tell mistakes from what is meant."""
FEW = 5
"""With fewer accounts nobody is held against how much the others say."""
TENTH = 0.1
"""Else no account weighs more than this share of all that was opened."""
DOUBTFUL = 0.1
"""The least share of clicks that is taken to be meant."""
CHAIN = 3
"""How many questions back a good end is credited to."""
RELATED = 1 / 3
"""The share of terms from which a question is another wording of the one before it in its session."""


class Claim(NamedTuple):
    """One act's word: `strength` is negative where it speaks against the chunk; `rank` is a click's, 0 of all others."""

    chunk: str
    user: str
    strength: float
    reason: str
    rank: int = 0


class Opinion(NamedTuple):
    """All that an account says of a chunk as the answer to one question."""

    chunk: str
    user: str
    net: float


def meant(shown: Mapping[int, float], opened: Mapping[int, float]) -> dict[int, float]:
    """Estimate the share of the clicks at each rank that are meant, DOUBTFUL to 1; {} where too few were made to tell.

    `shown` and `opened` count answers by rank. At the rank that is opened least every click is taken for a mistake, and
    that rate of mistakes is subtracted at every rank: of a rank that is opened in a share c of the answers 1 - least / c
    is left. Better ranks are looked at more, so that they see as many mistakes at least: the estimate errs upwards.
    A rank is never believed more than a measured one above it, so that few answers with long lists prove nothing.
    """
    enough = max(MEASURED, SHARE * sum(opened.values()))
    rates = {rank: opened[rank] / shown[rank] for rank in sorted(opened) if opened[rank] and shown.get(rank)}
    measured = {rank: rate for rank, rate in rates.items() if opened[rank] >= enough}
    if len(measured) < RANKS:
        return {}
    found, last = dict[int, float](), 1.0
    for rank, rate in rates.items():
        found[rank] = round(min(last, max(DOUBTFUL, 1 - min(measured.values()) / rate)), 2)
        last = found[rank] if rank in measured else last
    return found


def trust(claims: Iterable[Claim], said: Iterable[Opinion], shares: Mapping[int, float]) -> dict[str, float]:
    """Say how far each chunk that the opinions `said` are for is to be followed, 0..1; `claims` are what they come from.

    Votes and corrections are followed whole, clicks by what is `meant` at their rank, next to the rank that is believed
    most: where all are alike, all are followed alike. An account that says both is followed as far as the stronger word
    goes. Accounts are independent witnesses.
    """
    least, most = min(shares.values(), default=1.0), max(shares.values(), default=1.0)
    followed = {(one.chunk, one.user): 0.0 for one in said if one.net > 0}
    strongest = dict.fromkeys(followed, 0.0)
    for claim in claims:
        key = (claim.chunk, claim.user)
        if claim.strength > 0 and key in followed:
            share = shares.get(claim.rank, least) / most if claim.rank else 1.0
            followed[key] = max(followed[key], claim.strength * share)
            strongest[key] = max(strongest[key], claim.strength)
    doubt: dict[str, float] = defaultdict(lambda: 1.0)
    for (chunk, user), word in followed.items():
        doubt[chunk] *= 1 - word / strongest[chunk, user]
    return {chunk: 1 - left for chunk, left in doubt.items()}


@dataclass(slots=True)
class _Opened:
    """Of the answers an account opened a source of: how many showed how many, and at which ranks it opened."""

    lengths: Counter[int] = field(default_factory=Counter)
    ranks: Counter[int] = field(default_factory=Counter)


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

    def of(self, number: int) -> Iterator[Claim]:
        """Yield the claims about the question of one answer."""
        yield from self._direct(number)
        asker = self._history.answers[number].user
        for later in self._later.get(number, ()):
            for claim in self._direct(later):
                if claim.user == asker and claim.strength > 0:
                    yield Claim(claim.chunk, asker, REFORMULATION, "reformulation", claim.rank)

    def opened(self, left_out: frozenset[str], min_users: int) -> dict[str, tuple[dict[int, float], dict[int, float]]]:
        """Count by rank, for each workspace, where sources were shown and where they were opened: what `meant` reads.

        Only answers of which a source was opened count, and no account that is left out. Of FEW accounts or more none
        weighs more than TENTH of all, and no rank counts that fewer than `min_users` opened.
        """
        by_user: dict[str, dict[str, _Opened]] = defaultdict(lambda: defaultdict(_Opened))
        for number, acts in self._history.acts.items():
            asked, ranks = self._history.answers[number], defaultdict[str, set[int]](set)
            for act in acts:
                if act.kind == "click" and act.place >= 0 and act.user not in left_out:
                    ranks[act.user].add(act.rank)
            for user, found in ranks.items():
                mine = by_user[asked.workspace][user]
                mine.lengths[len(asked.shown)] += 1
                mine.ranks.update(found)
        return {workspace: _by_rank(by_user[workspace], min_users) for workspace in sorted(by_user)}

    def seqs(self, number: int, left_out: frozenset[str]) -> set[int]:
        """Say which records the claims come from: the answer's, and those of the acts of accounts that count."""
        found = {self._history.answers[number].seq}
        for one in (number, *self._later.get(number, ())):
            acts = [act.seq for act in self._history.acts.get(one, ()) if act.user not in left_out]
            found |= {self._history.answers[one].seq, *acts} if acts else set()
        return found

    def _direct(self, number: int) -> Iterator[Claim]:
        asked, by_user = self._history.answers[number], defaultdict[str, list[Act]](list)
        for act in self._history.acts.get(number, ()):
            by_user[act.user].append(act)
        for user, acts in by_user.items():
            yield from self._votes(asked, user, acts)
            yield from self._clicks(asked, user, acts)
            yield from self._corrections(asked, user, acts)

    def _votes(self, asked: Asked, user: str, acts: Sequence[Act]) -> Iterator[Claim]:
        votes = [act.value for act in acts if act.kind == "vote"]
        cited = self._cited(asked)
        for chunk in cited if votes else ():
            strength = round(votes[-1] * VOTE / math.sqrt(len(cited)), 4)  # who changes their mind is believed the last
            yield Claim(chunk, user, strength, "vote up" if strength > 0 else "vote down")

    def _clicks(self, asked: Asked, user: str, acts: Sequence[Act]) -> Iterator[Claim]:
        opened = {act.rank: act.place for act in acts if act.kind == "click" and act.place >= 0}
        for rank, place in sorted(opened.items()):
            yield from self._claim(place, user, CLICK, "click", rank)
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

    def _claim(self, place: int, user: str, strength: float, reason: str, rank: int = 0) -> Iterator[Claim]:
        if chunk := self._chunks.get(place):
            yield Claim(chunk, user, strength, reason, rank)

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


def _by_rank(by_user: Mapping[str, _Opened], min_users: int) -> tuple[dict[int, float], dict[int, float]]:
    total, few = sum(one.lengths.total() for one in by_user.values()), len(by_user) < FEW
    shown, opened, users = defaultdict[int, float](float), defaultdict[int, float](float), Counter[int]()
    for user in sorted(by_user):
        mine = by_user[user]
        weight = 1.0 if few else min(1.0, TENTH * total / mine.lengths.total())
        for length, answers in mine.lengths.items():
            for rank in range(1, length + 1):
                shown[rank] += weight * answers
        for rank, answers in mine.ranks.items():
            opened[rank] += weight * answers
        users.update(set(mine.ranks))
    needed = min(min_users, len(by_user))
    return dict(shown), {rank: n for rank, n in opened.items() if users[rank] >= needed}


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
