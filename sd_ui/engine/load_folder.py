"""A model from a diffusers folder: every part from its own config and weights."""

from pathlib import Path

from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel

from sd_ui.engine import depth_parts, load_flow, parts, trained_noise
from sd_ui.engine.device import Place
from sd_ui.engine.families.table import FAMILIES
from sd_ui.engine.family import Family, TextPart
from sd_ui.engine.loaded import Parts, Vae
from sd_ui.models import flow_folders, folders, tokens

VAES = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}


def model(path: Path, place: Place, prediction: str = "") -> Parts:
    """prediction: what counts instead of what the scheduler's config says. Raises BadRequest that names the part, Unreadable, OSError."""
    if flow := flow_folders.of_folder(path):
        return load_flow.model(path, flow, vae(path / "vae", FAMILIES[flow.name], place), place)
    family = FAMILIES[folders.family(path)]
    unet = parts.unet(folders.config(path / "unet" / folders.CONFIG), parts.read(*folders.weights(path / "unet")), place)
    estimator, processor = depth_parts.of_folder(path, place)
    return Parts(
        family=family,
        denoiser=unet,
        vae=vae(path / "vae", family, place),
        texts=tuple(_text(path, part, tokenizer, place) for part, tokenizer in folders.texts(path)),
        scheduler_config=trained_noise.facts(folders.config(path / "scheduler" / "scheduler_config.json"), prediction),
        depth_unet=_view(path, unet, folders.DEPTH_PLANES, 5),
        inpaint_unet=_view(path, unet, folders.INPAINT_PLANES, 9),
        depth_estimator=estimator,
        depth_processor=processor,
    )


def vae(path: Path, family: Family, place: Place) -> Vae:
    config = folders.config(path / folders.CONFIG)
    kind = VAES.get(str(config.get("_class_name", "AutoencoderKL")))
    if kind is None:
        raise parts.unfit("the VAE", f"it asks for the class {config['_class_name']}; only {' and '.join(VAES)} are loaded")
    facts, weights = parts.facts(kind, config), parts.vae_weights(parts.read(*folders.weights(path)))
    built: Vae = parts.built("the VAE", lambda: kind(**facts), weights, parts.vae_place(place, family, config))
    return built


def _text(path: Path, part: str, tokenizer: str, place: Place) -> TextPart:
    config = folders.config(path / part / folders.CONFIG)
    encoder = parts.text_encoder(config, parts.read(*folders.weights(path / part)), place, projected=part == folders.SECOND_TEXT)
    return TextPart(encoder, parts.tokenizer(path / tokenizer, encoder, tokens.pad(path / tokenizer)))


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
