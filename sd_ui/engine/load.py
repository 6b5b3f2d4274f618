"""From a model card to a model in memory. Nothing of a model is executed: configs are data, weights come from safetensors."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors import SafetensorError
from transformers import BaseImageProcessor, CLIPTextModel, CLIPTokenizer, PreTrainedModel

from sd_ui.engine import attention, depth_parts, original, parts
from sd_ui.engine.device import Place
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.parts import Weights
from sd_ui.models import files, folders, header, tokens
from sd_ui.models.hashes import Hashes
from sd_ui.models.header import Header, Unreadable
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.errors import BadRequest

Vae: TypeAlias = AutoencoderKL | AutoencoderTiny
VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")  # the rest of such files is what training needed
VAES = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
CONFIGS = Path(__file__).parent / "configs" / "sd15"
SCHEDULE_FACTS = {  # the defaults are those of diffusers' schedulers, for configs that leave one out
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False, "trained_betas": None,
}  # fmt: skip
BETA_SCHEDULES, PREDICTIONS = ("linear", "scaled_linear", "squaredcos_cap_v2"), ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True)
class _Parts:
    unet: UNet2DConditionModel
    vae: Vae
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler_config: dict[str, Any]
    depth_unet: UNet2DConditionModel | None = None
    inpaint_unet: UNet2DConditionModel | None = None
    depth_estimator: PreTrainedModel | None = None
    depth_processor: BaseImageProcessor | None = None


def load(card: ModelCard, vae: ModelCard | None, place: Place, hashes: Hashes | None = None) -> Loaded:
    """vae: another one than the checkpoint's own. Raises BadRequest("model" or "vae") that names the part and what is wrong with it."""
    hashes = hashes or Hashes()
    usable(card, "model")
    try:
        found = _from_folder(card.path, place) if card.layout == "folder" else _from_file(card.path, place)
        loaded = Loaded(
            card=card,
            vae_card=None,
            **vars(found),
            place=place,
            attention=attention.apply(found.unet, found.vae, place),
            model_hash=hashes.of(card.path),
            vae_hash=hashes.of(card.path / "vae" if card.layout == "folder" else card.path),
        )
    except (BadRequest, Unreadable, SafetensorError, OSError) as error:
        raise BadRequest("model", f"{card.name} cannot be used: {why(error)}") from error
    for view in (loaded.depth_unet, loaded.inpaint_unet):
        if view not in (None, loaded.unet):
            attention.apply(view, loaded.vae, place)
    return loaded if vae is None else with_vae(loaded, vae, hashes)


def with_vae(loaded: Loaded, card: ModelCard | None, hashes: Hashes | None = None) -> Loaded:
    """The same model, sharing everything, but with another VAE; None: with the checkpoint's own. Raises BadRequest("vae")."""
    owner = card or loaded.card
    usable(owner, "vae")
    path = loaded.card.path / "vae" if card is None and owner.layout == "folder" else owner.path
    try:
        vae = _vae_folder(path, loaded.place) if owner.layout == "folder" else _vae_file(path, loaded.place)
        name = attention.apply(loaded.unet, vae, loaded.place)
        return replace(loaded, vae=vae, vae_card=card, vae_hash=(hashes or Hashes()).of(path), attention=name)
    except (BadRequest, Unreadable, SafetensorError, OSError) as error:
        raise BadRequest("vae", f"{owner.name} cannot be used: {why(error)}") from error


def needs(card: ModelCard, place: Place) -> int:
    """Bytes that the model will take in memory, from its headers. Raises BadRequest("model") where they cannot be read."""
    try:
        return sum(header.read(file).numbers for file in folders.used(card.path)) * place.dtype.itemsize
    except (Unreadable, OSError) as error:
        raise BadRequest("vae" if card.kind == "vae" else "model", f"{card.name} cannot be used: {why(error)}") from error


def why(error: Exception) -> str:
    """In words, and without the path that the system's own message names: whoever asked may be a stranger to this machine."""
    match error:
        case BadRequest():
            return error.why
        case FileNotFoundError():
            return "its files are not there any more"
        case OSError(strerror=str(said)):
            return f"its files cannot be read ({said})"
    return str(error)


def usable(card: ModelCard, field: str) -> None:
    if card.fault:
        raise BadRequest(field, f"{card.name} cannot be used: {card.fault}")


# ---------------------------------------------------------------- a diffusers folder
def _from_folder(path: Path, place: Place) -> _Parts:
    unet = _unet(folders.config(path / "unet" / folders.CONFIG), parts.read(folders.weights(path / "unet")), place)
    text_config = folders.config(path / "text_encoder" / folders.CONFIG)
    text_encoder = _text_encoder(text_config, parts.read(folders.weights(path / "text_encoder")), place)
    estimator, processor = depth_parts.of_folder(path, place)
    return _Parts(
        unet=unet,
        vae=_vae_folder(path / "vae", place),
        text_encoder=text_encoder,
        tokenizer=_tokenizer(path / "tokenizer", text_encoder),
        scheduler_config=_schedule(folders.config(path / "scheduler" / "scheduler_config.json")),
        depth_unet=_view(path, unet, folders.DEPTH_PLANES, 5),
        inpaint_unet=_view(path, unet, folders.INPAINT_PLANES, 9),
        depth_estimator=estimator,
        depth_processor=processor,
    )


def _view(path: Path, unet: UNet2DConditionModel, file: str, planes: int) -> UNet2DConditionModel | None:
    """The U-Net with so many input planes: itself, or one that shares all but its first convolution, or None."""
    if unet.config.in_channels == planes:
        return unet
    planes_file = path / "unet" / file
    if not planes_file.is_file():
        return None
    part = "the depth plane" if file == folders.DEPTH_PLANES else "the inpainting planes"
    return parts.with_input_planes(
        part, unet, parts.read(planes_file), planes, lambda: UNet2DConditionModel.from_config({**unet.config, "in_channels": planes})
    )


def _vae_folder(path: Path, place: Place) -> Vae:
    config = folders.config(path / folders.CONFIG)
    kind = VAES.get(str(config.get("_class_name", "AutoencoderKL")))
    if kind is None:
        raise parts.unfit("the VAE", f"it asks for the class {config['_class_name']}; only {' and '.join(VAES)} are loaded")
    vae: Vae = parts.built("the VAE", lambda: kind(**parts.facts(kind, config)), parts.vae_weights(parts.read(folders.weights(path))), place)
    return vae


# ---------------------------------------------------------------- one file, as Stable Diffusion 1.x was published
def _from_file(path: Path, place: Place) -> _Parts:
    found, weights = header.read(path), parts.read(path)
    if fault := files.recognised(found).fault:  # the file may have changed since the card was written
        raise Unreadable(fault)
    text_encoder = _text_encoder_of(found, weights, place)
    unet = _unet_of(found, weights, place)
    return _Parts(
        unet=unet,
        vae=_vae_of(_under(files.FIRST_STAGE, weights), place),
        text_encoder=text_encoder,
        tokenizer=_tokenizer(tokens.CLIP_L, text_encoder),
        scheduler_config=_schedule_of(found),
        depth_unet=unet if unet.config.in_channels == 5 else None,
        inpaint_unet=unet if unet.config.in_channels == 9 else None,
    )


def _unet_of(found: Header, weights: Weights, place: Place) -> UNet2DConditionModel:
    """The widths are read from the file; how many layers there are, and what they do, is what makes it Stable Diffusion 1.x."""
    widths = [found.shape(files.UNET + f"input_blocks.{i}.0.out_layers.3.weight") for i in (1, 4, 7, 10)]
    cross = found.shape(files.UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight")
    config = _widened("unet", widths) | {"cross_attention_dim": cross[1] if len(cross) == 2 else 768}
    config["in_channels"] = found.shape(files.UNET + "input_blocks.0.0.weight")[1]
    return parts.built("the U-Net", lambda: UNet2DConditionModel(**config), _under(files.UNET, weights), place, original.unet_name)


def _vae_file(path: Path, place: Place) -> Vae:
    return _vae_of(_under(files.vae_prefix(header.read(path)) or "", parts.read(path)), place)


def _vae_of(weights: Weights, place: Place) -> Vae:
    shapes = [
        tuple(tensor.shape) if tensor is not None else () for i in range(4) for tensor in (weights.get(f"encoder.down.{i}.block.0.conv2.weight"),)
    ]
    config = _widened("vae", shapes)
    own = {name: tensor for name, tensor in weights.items() if name.startswith(VAE_PARTS)}
    return parts.built("the VAE", lambda: AutoencoderKL(**config), original.linear(own), place, original.vae_name)


def _text_encoder_of(found: Header, weights: Weights, place: Place) -> CLIPTextModel:
    prefix = files.text_prefix(found)
    vocabulary, width = found.shape(prefix + files.TOKENS)
    layers = {name.removeprefix(prefix).split(".")[2] for name in weights if name.startswith(prefix + "encoder.layers.")}
    config = folders.config(CONFIGS / "text_encoder" / folders.CONFIG) | {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": (found.shape(prefix + "encoder.layers.0.mlp.fc1.weight") or (4 * width,))[0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": (found.shape(prefix + files.POSITIONS) or (77,))[0],
    }
    return _text_encoder(config, _under(prefix, weights), place)


def _widened(part: str, shapes: list[tuple[int, ...]]) -> dict[str, Any]:
    """The published config with the widths of this file's four levels."""
    config = folders.config(CONFIGS / part / folders.CONFIG)
    if any(len(shape) != 4 for shape in shapes):
        raise parts.unfit(folders.PARTS[part], "it does not have the four levels of Stable Diffusion 1.x")
    return {**{k: v for k, v in config.items() if not k.startswith("_")}, "block_out_channels": [shape[0] for shape in shapes]}


def _under(prefix: str, weights: Weights) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


# ---------------------------------------------------------------- what both have
def _unet(config: dict[str, Any], weights: Weights, place: Place) -> UNet2DConditionModel:
    return parts.built("the U-Net", lambda: UNet2DConditionModel(**parts.facts(UNet2DConditionModel, config)), weights, place)


def _text_encoder(config: dict[str, Any], weights: Weights, place: Place) -> CLIPTextModel:
    return parts.built("the text encoder", lambda: CLIPTextModel(parts.clip_config(config)), parts.clip_weights(weights), place)


def _tokenizer(folder: Path, text_encoder: CLIPTextModel) -> CLIPTokenizer:
    vocabulary, merges = tokens.vocabulary(folder)
    known = text_encoder.config.vocab_size
    if max(vocabulary.values()) >= known:
        raise parts.unfit("the text encoder", f"it knows {known} tokens, the tokenizer has {len(vocabulary)}")
    pad = folders.config(folder / "tokenizer_config.json").get("pad_token") if (folder / "tokenizer_config.json").is_file() else None
    pad = pad.get("content") if isinstance(pad, dict) else pad  # Stable Diffusion 2 pads with "!", and writes it either way
    pad = pad if isinstance(pad, str) and pad in vocabulary else tokens.END
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=text_encoder.config.max_position_embeddings)


def _schedule(config: dict[str, Any]) -> dict[str, Any]:
    found = {name: config.get(name, default) for name, default in SCHEDULE_FACTS.items()}
    if found["beta_schedule"] not in BETA_SCHEDULES or found["prediction_type"] not in PREDICTIONS:
        raise parts.unfit("the scheduler", f"beta_schedule {found['beta_schedule']!r}, prediction_type {found['prediction_type']!r} are not known")
    steps, *betas = found["num_train_timesteps"], found["beta_start"], found["beta_end"]
    if type(steps) is not int or not 1 <= steps <= 10_000 or not all(type(beta) is float and 0 < beta < 1 for beta in betas):
        raise parts.unfit("the scheduler", f"{steps!r} steps with betas from {betas[0]!r} to {betas[1]!r} make no sense")
    match found["trained_betas"]:
        case None:
            pass
        case [*own] if len(own) == steps and all(type(beta) is float and 0 < beta < 1 for beta in own):
            pass
        case _:
            raise parts.unfit("the scheduler", f"trained_betas must be {steps} numbers between 0 and 1")
    return found


def _schedule_of(found: Header) -> dict[str, Any]:
    """Some v-prediction models say so by an empty tensor."""
    config = folders.config(CONFIGS / "scheduler" / "scheduler_config.json")
    if "v_pred" in found.tensors:
        config |= {"prediction_type": "v_prediction", "rescale_betas_zero_snr": "ztsnr" in found.tensors}
    return _schedule(config)
