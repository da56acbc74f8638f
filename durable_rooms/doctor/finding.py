"""One answer of the doctor."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "notice", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Attributes:
      value: what was found, in a few words.
      verdict: "problem": a promise may not hold, or a start fails. "notice": good to know, all promises hold.
      meaning: why anybody should care, in one line.
      remedy: what to do; empty if nothing.
    """

    name: str
    value: str
    verdict: Verdict
    meaning: str
    remedy: str = ""


def ok(name: str, value: str, meaning: str) -> Finding:
    return Finding(name, value, "ok", meaning)


def notice(name: str, value: str, meaning: str, remedy: str = "") -> Finding:
    return Finding(name, value, "notice", meaning, remedy)


def problem(name: str, value: str, meaning: str, remedy: str) -> Finding:
    return Finding(name, value, "problem", meaning, remedy)
