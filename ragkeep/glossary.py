"""What people call things, and what documents call them: a question is put in the documents' words to be searched.

Glossary({"gatorade": "sports drink"}).apply("Who sells Gatorades?")  ->  "Who sells sports drink?"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from .analysis import terms
from .config import RetrieveParams
from .errors import ConfigError

_WORD = re.compile(r"\w+(?:\.\w+)*")


@dataclass(frozen=True)
class Glossary:
    """Words of questions -> what stands for them in the documents; words are matched by their stem.

    Raises ConfigError on an entry that is not one word with a meaning.
    """

    words: Mapping[str, str]
    _means: dict[tuple[str, ...], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for word, means in self.words.items():
            if not (_WORD.fullmatch(word) and terms(word) and means.strip()):
                raise ConfigError(f"retrieve.glossary: {word!r}: {means!r} must be a word, and what documents say for it")
        object.__setattr__(self, "_means", {tuple(terms(word)): means for word, means in self.words.items()})

    def apply(self, question: str) -> str:
        """Put a question in the documents' words."""
        return self.put(question)[0]

    def put(self, question: str) -> tuple[str, tuple[str, ...]]:
        """Put a question in the documents' words; return it, and what changed it, as "word=meaning", in order."""
        if not self._means:
            return question, ()
        used: dict[str, None] = {}

        def meaning(found: re.Match[str]) -> str:
            means = self._means.get(tuple(terms(found.group())))
            if means is None:
                return found.group()
            used[f"{found.group()}={means}"] = None
            return means

        return _WORD.sub(meaning, question), tuple(used)


NONE = Glossary({})
"""Questions as they are."""


def glossaries(params: RetrieveParams) -> Callable[[str], Glossary]:
    """The words of each workspace, made once: what a person wrote for all of them, then what was learned in that one.

    What people of one workspace say is theirs: it changes no question of another.
    """
    return cache(lambda workspace: Glossary({**params.words.get(workspace, {}), **params.glossary}))
