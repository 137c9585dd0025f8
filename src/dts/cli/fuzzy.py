"""Fuzzy matching: the letters of a pattern in their order, with anything between them."""

from __future__ import annotations

from collections.abc import Sequence


def matches(pattern: str, texts: Sequence[str]) -> list[int]:
    """The places of the texts that match, best first; whether letters are large or small does not matter.

    Those in which the letters stand closest together come first, then those in which they begin earliest; equals stay
    in their order.
    """
    wanted = "".join(pattern.lower().split())
    found = [(match, place) for place, text in enumerate(texts) if (match := _match(wanted, text.lower()))]
    return [place for _, place in sorted(found)]


def _match(wanted: str, text: str) -> tuple[int, int] | None:
    """How far apart the letters are and where they begin, in the tightest way; None if they are not there."""
    if not wanted:
        return 0, 0
    best: tuple[int, int] | None = None
    begin = text.find(wanted[0])
    while begin >= 0:
        end = _end(wanted, text, begin)
        if end is None:
            break  # no later beginning has more letters behind it
        if best is None or end - begin < best[0]:
            best = (end - begin, begin)
        begin = text.find(wanted[0], begin + 1)
    return best


def _end(wanted: str, text: str, begin: int) -> int | None:
    """Where the last letter is found, if each is looked for behind the one before."""
    at = begin - 1
    for letter in wanted:
        at = text.find(letter, at + 1)
        if at < 0:
            return None
    return at
