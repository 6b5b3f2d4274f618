"""Tokens in chunks of what a text encoder takes at once, each token with its weight. It knows numbers, not words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PLACE = 0  # the id that A1111 puts where a vector will stand
BACKTRACK = 20  # tokens: so near to a chunk's end a comma moves what follows it to the next chunk


@dataclass(frozen=True)
class Coined:
    """A word of an embedding. name: the embedding's in the index. vectors: how many stand in the place of tokens, all in one chunk."""

    name: str
    vectors: int = 1


@dataclass(frozen=True)
class Chunk:
    """ids, weights: of equal length, at most what a chunk holds; without start, end and padding.

    coined: words of embeddings, with the place of their first vector; ids has `PLACE` there.
    """

    ids: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    coined: tuple[tuple[int, Coined], ...] = ()


@dataclass(frozen=True)
class Tokens:
    """ids: of a piece of text, all of one weight. is_break: no text, but the end of its chunk."""

    ids: Sequence[int | Coined]
    weight: float = 1.0
    is_break: bool = False


@dataclass
class _Filling:
    """The chunk that is being filled. comma: the place of its last one, -1 without."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    coined: list[tuple[int, Coined]] = field(default_factory=list)
    comma: int = -1

    def add(self, id: int | Coined, weight: float) -> None:
        if isinstance(id, Coined):
            self.coined.append((len(self.ids), id))
        count = length(id)
        self.ids += [PLACE if isinstance(id, Coined) else id] * count
        self.weights += [weight] * count

    def cut(self, place: int) -> tuple[Chunk, "_Filling"]:
        kept = tuple((at, word) for at, word in self.coined if at < place)
        moved = [(at - place, word) for at, word in self.coined if at >= place]
        chunk = Chunk(tuple(self.ids[:place]), tuple(self.weights[:place]), kept)
        return chunk, _Filling(self.ids[place:], self.weights[place:], moved)


def laid_out(pieces: Iterable[Tokens], size: int = 75, comma: int | None = None) -> tuple[Chunk, ...]:
    """At least one chunk. comma: the id of the token after which a sentence may be divided; None: there is none.

    The rules are those of AUTOMATIC1111's `sd_hijack_clip.py`, with its comma padding backtrack of 20: a chunk that is full within 20 tokens
    after a comma gives what follows the comma to the next chunk, unless the token that has no room is a comma itself. A coined word for which
    a chunk has too little room begins the next one. (What a comma moves keeps its vectors here; A1111 leaves them behind in the padding.)
    """
    chunks: list[Chunk] = []
    filling = _Filling()
    for piece in pieces:
        if piece.is_break:
            chunk, filling = filling.cut(len(filling.ids))
            chunks.append(chunk)
            continue
        for id in piece.ids:
            if len(filling.ids) == size:
                chunk, filling = filling.cut(_end(filling, size, id == comma))
                chunks.append(chunk)
            if filling.ids and len(filling.ids) + length(id) > size:
                chunk, filling = filling.cut(len(filling.ids))
                chunks.append(chunk)
            if id == comma:
                filling.comma = len(filling.ids)
            filling.add(id, piece.weight)
    if filling.ids or not chunks:
        chunks.append(filling.cut(len(filling.ids))[0])
    return tuple(chunks)


def length(id: int | Coined) -> int:
    """Tokens that it takes."""
    return id.vectors if isinstance(id, Coined) else 1


def _end(filling: _Filling, size: int, at_comma: bool) -> int:
    near = filling.comma >= 0 and size - filling.comma <= BACKTRACK
    return filling.comma + 1 if near and not at_comma else size


def framed(chunk: Chunk, size: int, start: int, end: int, pad: int) -> tuple[list[int], list[float]]:
    """(size + 2) ids and weights: start, the tokens, end, padding. What is not text has weight 1."""
    rest = size - len(chunk.ids)
    return [start, *chunk.ids, end, *[pad] * rest], [1.0, *chunk.weights, *[1.0] * (rest + 1)]


def used(chunks: Sequence[Chunk], size: int = 75) -> int:
    """Tokens, as they are counted for people: a chunk that is not the last counts as full."""
    return (len(chunks) - 1) * size + len(chunks[-1].ids)
