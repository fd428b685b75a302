"""What people call things, and what documents call them: a question is put in the documents' words to be searched.

Glossary({"gatorade": "sports drink"}).apply("Who sells Gatorades?")  ->  "Who sells sports drink?"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

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
        """Put a question in the documents' words; what they mean takes the place of those it has an entry for."""
        return self._put(question)[0] if self._means else question

    def used(self, question: str) -> tuple[str, ...]:
        """List the entries that change a question, as "word=meaning", in its order."""
        return self._put(question)[1] if self._means else ()

    def _put(self, question: str) -> tuple[str, tuple[str, ...]]:
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


def glossary_of(params: RetrieveParams, workspace: str) -> Glossary:
    """The words of one workspace: what a person wrote for all of them, then what was learned in this one.

    What people of one workspace say is theirs: it changes no question of another.
    """
    return Glossary({**params.words.get(workspace, {}), **params.glossary})
