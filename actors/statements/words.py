"""What a person types into a search box, as an expression of SQLite's full text index.

All words must be there; "several words" in quotes stand side by side; a star at the end (`hel*`) is any ending. Everything else
is taken as text: no input is an error of syntax, and nobody needs to know FTS5's operators (AND, NEAR, `column:`), which are
words here.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from actors.errors import TooLarge
from actors.statements.sqltext import quoted

PREFIX = "_fulltext_"  # of indexes, their triggers, and the tables in which FTS5 keeps an index; no statement may name one
WORDS_MAX = 1_000  # characters: a long sentence; what is longer was pasted, and its words stand together in one message only
TERMS_MAX = 32  # words and phrases: each walks through a list of its own, at worst as long as the table

_TERM = re.compile(r'"(?P<phrase>[^"]*)"?(?P<star>\*?)|(?P<word>[^\s"]+)')


class Term(NamedTuple):
    """`text`: a word, or several that stand side by side. `prefix`: the last one may go on."""

    text: str
    prefix: bool


def terms(words: str) -> list[Term]:
    """The words and phrases of an input, in order. An open quote reaches to the end.

    Raises:
      TooLarge: longer than WORDS_MAX, or more than TERMS_MAX of them.
      TypeError: no text.
    """
    if not isinstance(words, str):  # pyright: ignore[reportUnnecessaryIsInstance]: callers without a type checker
        raise TypeError(f"words is what a person typed, a text, not {type(words).__name__}")
    if len(words) > WORDS_MAX:
        raise TooLarge(f"a search may have {WORDS_MAX:,} characters, and this one has {len(words):,}: {words:.100}")
    found: list[Term] = []
    for part in _TERM.finditer(_clean(words)):
        if part["word"] is None:
            found.append(Term(part["phrase"], bool(part["star"])))
        else:
            found.append(Term(part["word"].rstrip("*"), part["word"].endswith("*")))
    found = [term for term in found if term.text and not term.text.isspace()]
    if len(found) > TERMS_MAX:
        raise TooLarge(f"a search may have {TERMS_MAX} words and phrases, and this one has {len(found)}: {words:.100}")
    return found


def _clean(words: str) -> str:
    """FTS5 ends at a NUL, and SQLite takes no lone surrogate: both stand between words, as any sign does."""
    return words.encode("utf-8", "replace").decode().replace("\0", " ")


def expression(words: str, columns: Sequence[str]) -> str | None:
    """What to ask a full text index for `words` in these of its columns; None if nothing was asked for. Raises as `terms`.

    The terms stand beside each other, without AND: so one that holds no letter and no digit (`!!!`) is left out instead of
    finding nothing.
    """
    wanted = [quoted(text) + " *" * prefix for text, prefix in terms(words)]
    return f"{{{' '.join(map(quoted, columns))}}} : ({' '.join(wanted)})" if wanted else None
