"""A folder of a family without a loop of ours -> the parts of its pipeline, each by a class of the table, from a config read as data and tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn

from sd_ui.engine import load as loading
from sd_ui.engine import parts
from sd_ui.engine.device import Place
from sd_ui.engine.families.stock import StockModel, place_for
from sd_ui.engine.parts import unfit
from sd_ui.models import folders, sentencepiece, stock_folders, tokens
from sd_ui.models.hashes import Hashes
from sd_ui.models.header import Unreadable
from sd_ui.models.stock_folders import SCHEDULER, SCHEDULER_CONFIG, Part
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.errors import BadRequest

NOT_FACTS = (  # of a config: what would make a library look for code, kernels or files elsewhere, or choose a precision of its own
    "auto_map", "quantization_config", "torch_dtype", "dtype", "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
    "_attn_implementation_autoset", "transformers_weights", "fusion_config", "distributed_config", "_name_or_path", "kernel_config",
)  # fmt: skip
TOKENIZER, PIECES = "tokenizer.json", "spiece.model"
EXTRA = 100  # tokens that T5 has besides its pieces


def load(card: ModelCard, place: Place, hashes: Hashes) -> StockModel:
    """Raises BadRequest("model") that names the part and what is wrong with it."""
    loading.usable(card, "model")
    try:
        family = stock_folders.of_folder(card.path)
        if family is None:  # the folder may have changed since the card was written
            raise Unreadable("it is a model of another kind now")
        place = place_for(place)
        built = {part.name: _part(part, place) for part in stock_folders.parts(card.path, family)}
        return StockModel(card, family, built, stock_folders.flags(card.path, family), place, hashes.of(card.path))
    except (BadRequest, Unreadable, SafetensorError, OSError) as error:
        raise BadRequest("model", f"{card.name} cannot be used: {loading.why(error)}") from error


def _part(part: Part, place: Place) -> Any:
    """part.kind is a name of the table, and so is the attribute that is read here."""
    if part.name == SCHEDULER:
        return getattr(diffusers, part.kind).from_config(folders.config(part.path / SCHEDULER_CONFIG))
    if not part.has_weights:
        return _tokenizer(part)
    if hasattr(transformers, part.kind):
        return _of_transformers(part, place)
    return _of_diffusers(part, place)


def _of_diffusers(part: Part, place: Place) -> nn.Module:
    kind = getattr(diffusers, part.kind)
    facts = parts.facts(kind, folders.config(part.path / folders.CONFIG))
    weights = parts.read(*folders.weights(part.path))
    if part.kind == "AutoencoderKL":
        weights = parts.vae_weights(weights)
    module: nn.Module = parts.built(part.title, lambda: kind(**facts), weights, place)
    return module


def _of_transformers(part: Part, place: Place) -> nn.Module:
    """By transformers' own reader of tensors, which knows the names that earlier versions gave them, and what must stay in float32."""
    kind = getattr(transformers, part.kind)
    said = {name: value for name, value in folders.config(part.path / folders.CONFIG).items() if name not in NOT_FACTS}
    weights = {name: _copied(tensor, place) for name, tensor in parts.read(*folders.weights(part.path)).items()}
    try:
        config = kind.config_class.from_dict(said)
        with _without_bars():
            module, told = kind.from_pretrained(None, config=config, state_dict=weights, dtype=place.dtype, output_loading_info=True)
    except Exception as error:  # for odd values in a config, the library raises whatever it likes; translated, not swallowed
        raise unfit(part.title, f"its config and its tensors are not of one kind ({type(error).__name__}: {error})") from error
    _check(part, told)
    placed: nn.Module = module.to(place.device).eval().requires_grad_(False)
    return placed


@contextmanager
def _without_bars() -> Iterator[None]:
    """The job tells of its progress; a bar in the console belongs to nobody."""
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.utils.logging.enable_progress_bar()


def _copied(tensor: Tensor, place: Place) -> Tensor:
    """In main memory, unpacked; never a view of the mapped file."""
    return tensor.to(dtype=place.dtype if tensor.is_floating_point() else tensor.dtype, copy=True)


def _check(part: Part, told: Any) -> None:
    if missing := sorted(told["missing_keys"]):
        raise unfit(part.title, f"{len(missing)} tensors are missing, such as {missing[0]}")
    if odd := sorted(str(name) for name in told["mismatched_keys"]):
        raise unfit(part.title, f"{len(odd)} tensors have other shapes than its config says, such as {odd[0]}")


# ---------------------------------------------------------------- tokenizers
def _tokenizer(part: Part) -> Any:
    kind = getattr(transformers, part.kind)
    try:
        if kind is transformers.T5Tokenizer and not (part.path / TOKENIZER).is_file():
            return _of_pieces(part.path)
        return kind.from_pretrained(str(part.path), local_files_only=True)
    except Exception as error:  # as above
        raise unfit(part.title, f"its files make no sense ({type(error).__name__}: {error})") from error


def _of_pieces(path: Path) -> Any:
    """T5's tokenizer where it comes as SentencePiece's file alone, as in its first publications. T5 adds a hundred tokens of its own at the end."""
    found = sentencepiece.read(path / PIECES)
    extra = tuple((f"<extra_id_{i}>", 0.0) for i in reversed(range(EXTRA)))
    said = folders.config(path / tokens.CONFIG) if (path / tokens.CONFIG).is_file() else {}
    longest = said.get("model_max_length")
    limit = {"model_max_length": longest} if type(longest) is int else {}
    return transformers.T5Tokenizer(vocab=[*found.vocabulary, *extra], _spm_precompiled_charsmap=found.charsmap or None, extra_ids=EXTRA, **limit)
