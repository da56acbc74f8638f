"""Just enough of SQL's lexical grammar to find where a statement ends, where an index's column list begins, and its names."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))
      |(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
      |(?P<word>[^\W\d][\w$]*)
      |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


def first_statement_end(text: str) -> int:
    """The place behind the first statement's semicolon, or the end of the text.

    The semicolons inside CREATE TRIGGER … BEGIN … END belong to it.
    """
    words: list[str] = []
    depth = 0  # BEGIN and CASE that wait for their END
    for token in _TOKEN.finditer(text):
        if token["word"]:
            word = token["word"].upper()
            if len(words) < 4:
                words.append(word)
            if word in ("BEGIN", "CASE"):
                depth += 1
            elif word == "END":
                depth -= 1
        elif token["other"] == ";":
            in_trigger = words[:1] == ["CREATE"] and "TRIGGER" in words
            if not (in_trigger and depth > 0):
                return token.end()
    return len(text)


def statements(text: str) -> list[str]:
    """The statements of a text, in order, without blank ones."""
    found: list[str] = []
    while text:
        end = first_statement_end(text)
        if not is_blank(text[:end].rstrip().removesuffix(";")):
            found.append(text[:end])
        text = text[end:]
    return found


def is_blank(text: str) -> bool:
    """Only space, comments and semicolons."""
    return all(token["space"] or token["other"] == ";" for token in _TOKEN.finditer(text))


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """What is not space or comment, in order: its kind ("word", "quoted", "other") and its text."""
    for token in _TOKEN.finditer(text):
        if token.lastgroup is not None and token.lastgroup != "space":
            yield token.lastgroup, token[0]


def unquoted(token: str) -> str:
    """What a quoted token says: an identifier, or a text in single quotes."""
    mark = token[0]
    return token[1:-1] if mark == "[" else token[1:-1].replace(mark * 2, mark)


def index_body(create_index: str) -> str:
    """The text of a CREATE INDEX from its first parenthesis on: the columns and the WHERE."""
    for token in _TOKEN.finditer(create_index):
        if token["other"] == "(":
            return create_index[token.start() :]
    raise ValueError(f"no column list in {create_index!r}")


def quoted(name: str) -> str:
    """An identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def end_of(prefix: str, bytes_max: int) -> str:
    """A text behind every one of at most so many bytes that begins with `prefix`: longer, and of the last character there is."""
    return prefix + "\U0010ffff" * (bytes_max // 4 + 1)
