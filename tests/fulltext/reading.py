"""A search by brute force: what full text must find, told without an index."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any


def tokens(text: Any) -> list[str]:
    """As unicode61 cuts: letters and digits, without case and marks. Enough for the alphabets of these tests."""
    bare = "".join(c for c in unicodedata.normalize("NFD", "" if text is None else str(text)) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", bare.lower())


def wanted(words: str) -> list[tuple[list[str], bool]]:
    """The phrases of an input, and whether the last word of each may go on. Those without a letter are left out."""
    phrases: list[tuple[list[str], bool]] = []
    for place, part in enumerate(re.split('"', words)):
        if place % 2:
            phrases.append((tokens(part), False))
        else:
            if place and part.startswith("*"):  # a star right behind a phrase is the phrase's
                phrases[-1] = (phrases[-1][0], True)
                part = part[1:]
            phrases += [(tokens(word), word.endswith("*")) for word in part.split()]
    return [(phrase, prefix) for phrase, prefix in phrases if phrase]


def has(text: Any, phrase: Sequence[str], prefix: bool) -> bool:
    there = tokens(text)
    for at in range(len(there) - len(phrase) + 1):
        part = there[at : at + len(phrase)]
        if part[:-1] == phrase[:-1] and (part[-1].startswith(phrase[-1]) if prefix else part[-1] == phrase[-1]):
            return True
    return False


def found(rows: Iterable[Sequence[Any]], columns: Sequence[int], words: str, key: Sequence[int], limit: int = 50) -> list[Any]:
    """The rows in which all words are, each in some of the columns, newest first."""
    phrases = wanted(words)
    hits = [row for row in rows if phrases and all(any(has(row[c], *phrase) for c in columns) for phrase in phrases)]
    return sorted(hits, key=lambda row: [row[k] for k in key], reverse=True)[:limit]
