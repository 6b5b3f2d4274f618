"""Weights of words as NovelAI and InvokeAI write them, written as (words:1.1). In time proportional to the text's length."""

import re
from collections.abc import Iterable

from sd_ui.recipes.recipe import plain

NOVELAI = 1.05  # of one pair of braces
MARKS = re.compile(r"([\\()\[\]])")
NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)::")
SIGNS = re.compile(r"(\++|-+)(?=[\s,.;)]|\Z)")
FACTOR = re.compile(r"\d+(?:\.\d+)?|\++|-+")
STRONGEST = 10.0


def escaped(text: str) -> str:
    """What means something here, and nothing there."""
    return MARKS.sub(r"\\\1", text)


def weighted(pieces: Iterable[tuple[str, float]]) -> str:
    """Pieces of a text, each with its weight; neighbours of one weight are one piece."""
    joined: list[tuple[str, float]] = []
    for text, weight in pieces:
        if joined and (joined[-1][1] == weight or not text.strip()):
            joined[-1] = (joined[-1][0] + text, joined[-1][1])
        elif text:
            joined.append((text, weight))
    return "".join(_written(text, weight) for text, weight in joined)


def _written(text: str, weight: float) -> str:
    said = plain(max(-STRONGEST, min(STRONGEST, weight)))
    inner = text.strip(" ,\n")
    if said == "1" or not inner:
        return text
    start = text.index(inner)
    return f"{text[:start]}({inner}:{said}){text[start + len(inner) :]}"


def from_novelai(text: str) -> str:
    """{words} are 1.05 times as strong, [words] that much weaker, nested ones more so; 1.5::words:: says the number. ( and ) are letters there."""
    pieces, open_, factor, start, place = list[tuple[str, float]](), list[str](), 1.0, 0, 0
    level = 0

    def flush(end: int) -> None:
        pieces.append((escaped(text[start:end]), factor * NOVELAI ** max(-60, min(60, level))))

    while place < len(text):
        mark, step = text[place], 1
        found = NUMBER.match(text, place) if mark in "-0123456789" and (place == 0 or not text[place - 1].isalnum()) else None
        if found or text.startswith("::", place):
            flush(place)
            factor, step = (float(found[1]) if found else 1.0), (len(found[0]) if found else 2)
            start = place + step
        elif mark in "{[" or (mark in "}]" and open_ and open_[-1] == mark):
            flush(place)
            level += 1 if mark in "{]" else -1
            open_.append("}" if mark == "{" else "]") if mark in "{[" else open_.pop()
            start = place + 1
        place += step
    flush(len(text))
    return weighted(pieces)


def from_compel(text: str) -> str:
    """InvokeAI's: word++ is 1.1 * 1.1 times as strong, word- 0.9 times; (words)1.3 and (words)++ weigh them all. What is nested multiplies."""
    out, opened, place = list[str](), list[int](), 0
    while place < len(text):
        mark = text[place]
        if mark == "\\" and place + 1 < len(text):
            out.append(text[place : place + 2])
            place += 2
        elif mark == "(":
            opened.append(len(out))
            out.append("(")
            place += 1
        elif mark == ")" and opened:
            found = FACTOR.match(text, place + 1)
            start = opened.pop()
            out[start], closing = ("(", f":{plain(_factor(found[0]))})") if found else ("", "")
            out.append(closing)
            place = found.end() if found else place + 1
        else:
            end = next((i for i in range(place + 1, len(text)) if text[i] in "\\() \n,"), len(text))
            out.append(_word(text[place:end], text[end : end + 1]))
            place = end
    for start in opened:
        out[start] = r"\("
    return "".join(out)


def _word(word: str, behind: str) -> str:
    """A stretch without spaces and brackets, perhaps with signs at its end; "a-(" and "well-known" have none."""
    bare = word.rstrip("+") if word.endswith("+") else word.rstrip("-")
    lead = len(bare) - len(bare.lstrip(" ,\n"))
    if bare == word or not bare.strip(" ,\n") or behind == "(":
        return word.replace("[", r"\[").replace("]", r"\]")
    return f"{bare[:lead]}({escaped(bare[lead:])}:{plain(_factor(word[len(bare) :]))})"


def _factor(said: str) -> float:
    if said[0] in "+-":
        return float(max(1 / STRONGEST, min(STRONGEST, (1.1 if said[0] == "+" else 0.9) ** min(len(said), 60))))
    return min(STRONGEST, float(said))
