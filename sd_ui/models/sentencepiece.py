"""Reads SentencePiece's own files (spiece.model) without its package: the pieces with their scores, and how texts are normalised before.

The file is a protocol buffer, whose fields are described in `sentencepiece_model.proto` of google/sentencepiece.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sd_ui.models.header import Unreadable

LONGEST = 64 * 2**20  # bytes of such a file; T5's has 0.8 MB
VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5  # wire types
PIECE, TRAINER, NORMALISER = 1, 2, 3  # fields of a model
UNIGRAM = 1  # the kind of model that T5 has

Value = int | bytes


@dataclass(frozen=True)
class Pieces:
    """vocabulary: text and logarithm of its probability, in the order of their ids. charsmap: of the normaliser, as `tokenizers` takes it."""

    vocabulary: tuple[tuple[str, float], ...]
    charsmap: bytes


def read(path: Path) -> Pieces:
    """Raises Unreadable where it is no unigram model, and OSError."""
    if path.stat().st_size > LONGEST:
        raise Unreadable(f"{path.name} is damaged: it is far too long")
    try:
        fields = list(_fields(path.read_bytes()))
        pieces = tuple(_piece(value) for field, value in fields if field == PIECE and isinstance(value, bytes))
        trainer = _last(fields, TRAINER)
        kind = dict(_fields(trainer)).get(3, UNIGRAM)
        charsmap = dict(_fields(_last(fields, NORMALISER))).get(2, b"")
    except (ValueError, IndexError, struct.error, KeyError) as error:
        raise Unreadable(f"{path.name} is damaged: it is not a SentencePiece model") from error
    if kind != UNIGRAM or not pieces or not isinstance(charsmap, bytes):
        raise Unreadable(f"{path.name} is not a unigram model of SentencePiece")
    return Pieces(pieces, charsmap)


def _piece(message: bytes) -> tuple[str, float]:
    said = dict(_fields(message))
    text, score = said[1], said.get(2, b"\0\0\0\0")
    if not isinstance(text, bytes) or not isinstance(score, bytes):
        raise ValueError("a piece without text or score")
    return text.decode(), struct.unpack("<f", score)[0]


def _last(fields: list[tuple[int, Value]], wanted: int) -> bytes:
    found = [value for field, value in fields if field == wanted and isinstance(value, bytes)]
    return found[-1] if found else b""


def _fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field. Raises ValueError or IndexError where the message is cut off."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        field, wire = key >> 3, key & 7
        if wire == VARINT:
            number, place = _varint(message, place)
            yield field, number
            continue
        length, place = {EIGHT: (8, place), FOUR: (4, place)}.get(wire) or _length(message, place, wire)
        if place + length > len(message):
            raise ValueError("cut off")
        yield field, message[place : place + length]
        place += length


def _length(message: bytes, place: int, wire: int) -> tuple[int, int]:
    if wire != BYTES:
        raise ValueError(f"wire type {wire}")
    return _varint(message, place)


def _varint(message: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
        if shift > 63:
            raise ValueError("a number without end")
