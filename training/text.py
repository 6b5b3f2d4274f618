"""A small CLIP byte-BPE tokenizer of our own, trained on captions. Every word of the captions becomes one token; any text can be encoded."""

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from training.captions import captions
from training.scenes import numbered

WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""  # as CLIP splits
END = "</w>"
START_OF_TEXT, END_OF_TEXT = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77  # as every Stable Diffusion has it, so that prompts in chunks need no special case
MOST = 1024
SEED, SCENES = 7, 4000  # enough for every word to be seen often


def told() -> Iterable[str]:
    return (sentence for i in range(SCENES) for sentence in captions(numbered(SEED, i), Random(i)))


def merges(sentences: Iterable[str]) -> list[tuple[str, str]]:
    """What to join, in order, as byte-pair encoding learns it."""
    tokenizer = Tokenizer(models.BPE(unk_token=END_OF_TEXT, end_of_word_suffix=END, continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    split = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=MOST,
        special_tokens=[],
        end_of_word_suffix=END,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    found = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(pair[0], pair[1]) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in found]


def vocabulary(pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The 512 byte symbols come first: text of any kind can be written in them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [part for a, b in pairs for part in (a, b, a + b)]
    symbols = dict.fromkeys([*alphabet, *(symbol + END for symbol in alphabet), *words, START_OF_TEXT, END_OF_TEXT])
    return {symbol: number for number, symbol in enumerate(symbols)}


def build(folder: Path, sentences: Iterable[str] | None = None) -> CLIPTokenizer:
    """vocab.json and merges.txt for older readers, tokenizer.json for newer ones."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = merges(sentences or told())
    (folder / "vocab.json").write_text(json.dumps(vocabulary(pairs), ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")
    CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)
