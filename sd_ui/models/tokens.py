"""Counts a prompt's tokens as CLIP's tokenizer does, without torch or transformers, and holds the tokenizer that single files do not bring."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sd_ui.models import folders
from sd_ui.models.header import Unreadable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CLIP_L = Path(__file__).parent.parent / "engine" / "configs" / "clip_l_tokenizer"
CONFIG = "tokenizer_config.json"
T5, T5_FILE, LONGEST = CLIP_L.parent / "t5_tokenizer", "tokenizer.json", 16 * 2**20
T5_PIECES, T5_PIECES_SIZE = "spiece.model", 791_656  # Google's own file; what it says is bundled
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
COMMA = f",{WORD_END}"
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class TokenCount:
    """used: tokens of the text. room: tokens that its chunks hold together; a longer text begins another chunk of the same size."""

    used: int
    room: int
    chunks: int


@dataclass(frozen=True)
class Reader:
    """What cuts texts into a checkpoint's tokens. size: tokens in a chunk, without start and end."""

    tokenizer: "Tokenizer"
    size: int

    def ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return found

    def text(self, ids: Sequence[int]) -> str:
        """What these tokens stand for, as the tokenizer has it: CLIP's in lower case."""
        from tokenizers import decoders

        if self.tokenizer.token_to_id(END) is None:
            return str(self.tokenizer.decode(list(ids)))
        names = (self.tokenizer.id_to_token(id) or "" for id in ids)
        joined: str = decoders.ByteLevel().decode([name.replace(WORD_END, " ") for name in names])
        return joined.strip()

    @property
    def comma(self) -> int | None:
        """After which a sentence may be divided."""
        found: int | None = self.tokenizer.token_to_id(COMMA)
        return found


def count(tokenizer: "Tokenizer", text: str, positions: int) -> TokenCount:
    """positions: of the text encoder; each chunk spends two of them on start and end of text."""
    size = positions - 2
    used = len(tokenizer.encode(text, add_special_tokens=False).ids)
    chunks = max(1, -(-used // size))
    return TokenCount(used, chunks * size, chunks)


def pad(folder: Path) -> str:
    """What fills a chunk, as the tokenizer's config says; "" where it says nothing. Stable Diffusion 2 and XL say "!", and write it either way."""
    if not (folder / CONFIG).is_file():
        return ""
    said = folders.config(folder / CONFIG).get("pad_token")
    said = said.get("content") if isinstance(said, dict) else said
    return said if isinstance(said, str) else ""


def vocabulary(folder: Path) -> tuple[dict[str, int], Any]:
    """A tokenizer's files as data: token -> id, and the merges in order as pairs. Raises Unreadable where they make no sense."""
    try:
        vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"the tokenizer is damaged: {error}") from None
    merges = [(left, right) for line in lines if not line.startswith("#version") for left, space, right in (line.partition(" "),) if space]
    if not isinstance(vocab, dict) or not all(type(i) is int and i >= 0 for i in vocab.values()):
        raise Unreadable("the tokenizer is damaged: vocab.json is not a table of tokens and numbers")
    if odd := next((f"{left} {right}" for left, right in merges if not {left, right, left + right} <= vocab.keys()), None):
        raise Unreadable(f"the tokenizer is damaged: the merge {odd!r} is not in vocab.json")
    if not {START, END} <= vocab.keys():
        raise Unreadable(f"the tokenizer is damaged: {START} or {END} is not in vocab.json")
    return vocab, merges


def tokenizer(folder: Path) -> "Tokenizer":
    """The steps of transformers' CLIPTokenizer; T5's where the folder has that one."""
    from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    if (folder / T5_FILE).is_file() and not (folder / "vocab.json").is_file():
        return t5(folder)
    vocab, merges = vocabulary(folder)
    made = Tokenizer(BPE(vocab, merges, unk_token=END, continuing_subword_prefix="", end_of_word_suffix=WORD_END, fuse_unk=False))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (START, END)])
    return made


# ---------------------------------------------------------------- T5's
def t5_positions(guided: bool) -> int:
    """Of Flux.1, as it was trained: what is told its guidance (dev) with 512 tokens, the others with 256; one of them ends the text."""
    return (512 if guided else 256) + 1


def has_t5(folder: Path) -> bool:
    """Whether the folder has a tokenizer of T5: its own file, or Google's, whose content is bundled."""
    pieces = folder / T5_PIECES
    return (folder / T5_FILE).is_file() or (pieces.is_file() and pieces.stat().st_size == T5_PIECES_SIZE)


def t5(folder: Path) -> "Tokenizer":
    """A unigram model in the tokenizers library's JSON, which is data. Raises Unreadable.

    Words are cut as transformers' T5Tokenizer cuts them, and as sentencepiece does: spaces at the ends, and a second one, mean nothing.
    """
    from tokenizers import Tokenizer, pre_tokenizers

    file = folder / T5_FILE if (folder / T5_FILE).is_file() else T5 / T5_FILE
    try:
        if file.stat().st_size > LONGEST:
            raise ValueError("it is far too long")
        made = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises Exception itself; translated, not swallowed
        raise Unreadable(f"the tokenizer is damaged: {error}") from error
    if [made.id_to_token(id) for id in (0, 1)] != ["<pad>", "</s>"]:
        raise Unreadable("the tokenizer is damaged: it is not one of T5's")
    spaces = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always", split=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    made.no_padding()
    made.no_truncation()
    return made
