"""One token a word, of a small vocabulary that is given."""

import dataclasses
import re
from typing import Any

from conditions.tokenizers import Reading, Tokenizer
from limits import check_known, shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordTokenizer(Tokenizer):
    """One token a word, of a vocabulary that is given: 0 pads, the words follow from 1 on, and one token ends a text.

    Case makes no difference. As the end token has the largest number, towers pool there by either rule.

    Raises ValueError for no word, or one that is given twice, has a space or is not in lower case.
    """

    words: tuple[str, ...]
    padding: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "end", 1 + len(self.words))
        super().__post_init__()
        wrong = [w for w in self.words if not isinstance(w, str) or [w] != w.lower().split()]
        wrong += [word for i, word in enumerate(self.words) if word in self.words[:i]]
        if wrong or not self.words:
            raise ValueError(
                f"the vocabulary must be words in lower case without spaces, each once; received {shown(wrong)}"
            )
        object.__setattr__(self, "_numbers", {word: 1 + i for i, word in enumerate(self.words)})

    @property
    def size(self) -> int:
        """The words, what pads, and the end."""
        return 2 + len(self.words)

    @property
    def table(self) -> Any:
        """The words in their order."""
        return list(self.words)

    def read(self, text: str) -> Reading:
        """The tokens of a text; ValueError, by its name, for a word that is none of the vocabulary."""
        found = list(re.finditer(r"\S+", text))
        words = [each[0].lower() for each in found]
        for word in words:
            check_known("word", word, self.words)
        numbers: dict[str, int] = self._numbers  # type: ignore[attr-defined]
        return Reading(text, [numbers[word] for word in words], [each.start() for each in found])
