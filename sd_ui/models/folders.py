"""Recognises a model in a folder of the diffusers layout. Configs are read as data; the names of classes in them are compared, never imported."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sd_ui.models import header, quantised
from sd_ui.models.finding import VAE, Finding, faulty, with_channels
from sd_ui.models.header import Unreadable
from sd_ui.spec.cards import Defaults

INDEX, CONFIG = "model_index.json", "config.json"
DEPTH_PLANES, INPAINT_PLANES = "conv_in_depth.safetensors", "conv_in_inpaint.safetensors"  # first convolutions beside the plain U-Net's weights
LONGEST = 4 * 2**20  # bytes of a config
MODEL_WEIGHTS = ("diffusion_pytorch_model", "model")
PIPELINES = (
    *(f"StableDiffusion{kind}Pipeline" for kind in ("", "Img2Img", "Inpaint", "Depth2Img", "XL", "XLImg2Img", "XLInpaint")),
    *(f"LatentConsistencyModel{kind}Pipeline" for kind in ("", "Img2Img")),
)
TEXT, SECOND_TEXT = "text_encoder", "text_encoder_2"
TOKENIZERS = {TEXT: "tokenizer", SECOND_TEXT: "tokenizer_2"}
CLASSES = {  # the only ones that are ever built
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "depth_estimator": ("DPTForDepthEstimation", "GLPNForDepthEstimation"),
}
PARTS = {
    "unet": "the U-Net", "vae": "the VAE", "text_encoder": "the text encoder", "tokenizer": "the tokenizer", "scheduler": "the scheduler",
    "depth_estimator": "the depth estimator", "text_encoder_2": "the second text encoder", "tokenizer_2": "the second tokenizer",
    "transformer": "the transformer", "text_encoder_3": "the third text encoder", "tokenizer_3": "the third tokenizer",
}  # fmt: skip
UNSUPPORTED = {"StableDiffusionXL": "sdxl", "StableDiffusion3": "sd3", "Flux": "flux"}
CONTINUOUS = ("EDM", "FlowMatch")  # schedulers of models whose noise has no steps
SIDES = {"sdxl": 128, "sdxl-refiner": 128}  # cells of latents where the config does not say; 64 for the others
XL_SCALE = 0.13025  # by which the VAE of Stable Diffusion XL scales its latents; that of the older ones by 0.18215
VAE_FAMILIES: dict[Any, str] = {XL_SCALE: "sdxl", 1.5305: "sd3", 0.3611: "flux"}  # by the scale
MANY = 16  # channels of the latter two's latents


def is_model(path: Path) -> bool:
    return (path / INDEX).is_file() or (path / "unet" / CONFIG).is_file() or is_vae(path)


def is_vae(path: Path) -> bool:
    return (path / CONFIG).is_file() and any(path.glob("diffusion_pytorch_model*"))


def look(path: Path) -> Finding:
    from sd_ui.models import flow_folders, stock_folders  # they read folders as this file does

    try:
        if not is_vae(path) and (flow := flow_folders.of_folder(path)):
            finding = flow_folders.look(path, flow)
        elif not is_vae(path) and (family := stock_folders.of_folder(path)):
            finding = stock_folders.look(path, family)
        else:
            finding = _vae(path) if is_vae(path) else _checkpoint(path)
        return finding if finding.fault else replace(finding, stored=header.read(max(used(path), key=lambda file: file.stat().st_size)).stored)
    except Unreadable as error:
        return faulty(str(error), kind=VAE if is_vae(path) else "checkpoint")
    except OSError as error:
        return faulty(f"it cannot be read: {error.strerror}")


def config(path: Path) -> dict[str, Any]:
    """A JSON file as data. Raises Unreadable, naming the file."""
    name = f"{path.parent.name}/{path.name}"
    try:
        if path.stat().st_size > LONGEST:
            raise Unreadable(f"{name} is damaged: it is far too long")
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Unreadable) else Unreadable(f"{name} is damaged: it is not JSON") from None
    if not isinstance(data, dict):
        raise Unreadable(f"{name} is damaged: it is not a JSON object")
    return data


def weights(folder: Path) -> tuple[Path, ...]:
    """The safetensors file of one part, or its files where it was cut into several. Raises Unreadable where there is none, or only a pickle."""
    for stem in MODEL_WEIGHTS:
        for variant in ("", ".fp16"):
            if (folder / f"{stem}{variant}.safetensors").is_file():
                return (folder / f"{stem}{variant}.safetensors",)
            if (folder / f"{stem}.safetensors.index{variant}.json").is_file():
                return _pieces(folder / f"{stem}.safetensors.index{variant}.json")
        if (folder / f"{stem}.bin").is_file():
            raise Unreadable(f"{PARTS.get(folder.name, 'the model')} is only there as a pickle ({stem}.bin); only safetensors are read")
    raise Unreadable(f"{PARTS.get(folder.name, 'the model')} has no weights ({MODEL_WEIGHTS[0]}.safetensors)")


def _pieces(index: Path) -> tuple[Path, ...]:
    """The files that an index names; plain names in its own folder, and nothing else."""
    table = config(index).get("weight_map")
    names = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
    if not names or any(name != Path(name).name or not name.endswith(".safetensors") for name in names):
        raise Unreadable(f"{index.parent.name}/{index.name} is damaged: it does not name safetensors files beside it")
    if absent := [name for name in names if not (index.parent / name).is_file()]:
        raise Unreadable(f"{PARTS.get(index.parent.name, 'the model')} is not whole: {absent[0]} is missing")
    return tuple(index.parent / name for name in names)


def used(path: Path) -> list[Path]:
    """The weights that are loaded of a model: the file itself, or those of a folder's parts; not its safety checker, not a second precision."""
    from sd_ui.models import flow_folders, stock_folders

    if not path.is_dir():
        return [path]
    if not is_vae(path) and (flow := flow_folders.of_folder(path)):
        return flow_folders.weights(path, flow)
    if not is_vae(path) and (family := stock_folders.of_folder(path)):
        return stock_folders.weights(path, family)
    parts = [path] if is_vae(path) else [path / part for part in ("unet", "vae", *(text for text, _ in texts(path)))]
    parts += [path / "depth_estimator"] if (path / "depth_estimator" / CONFIG).is_file() else []
    planes = [path / "unet" / planes for planes in (DEPTH_PLANES, INPAINT_PLANES)]
    return [file for part in parts for file in weights(part)] + [file for file in planes if file.is_file()]


def tokenizer_file(folder: Path) -> bool:
    return (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()


def family(path: Path) -> str:
    """Told by what the U-Net reads: the width of the text, and whether it is told sizes too. The refiner brings no first text encoder."""
    unet = config(path / "unet" / CONFIG)
    if unet.get("addition_embed_type") == "text_time":
        return "sdxl-refiner" if _index(path).get(TEXT) == [None, None] else "sdxl"
    return "sd2" if unet.get("cross_attention_dim") == 1024 else "sd1"


def texts(path: Path) -> list[tuple[str, str]]:
    """The folders of its text encoders and of their tokenizers, in the order in which the U-Net reads them."""
    parts = {"sdxl": (TEXT, SECOND_TEXT), "sdxl-refiner": (SECOND_TEXT,)}.get(family(path), (TEXT,))
    return [(part, TOKENIZERS[part]) for part in parts]


def _index(path: Path) -> dict[str, Any]:
    return config(path / INDEX) if (path / INDEX).is_file() else {}


def _checkpoint(path: Path) -> Finding:
    index = _index(path)
    if found := stranger(index):
        return found
    _check_part(path, "unet", index)
    for part in ("vae", *(text for text, _ in texts(path))):
        _check_part(path, part, index)
    for _, tokenizer in texts(path):
        if not tokenizer_file(path / tokenizer):
            return faulty(f"{PARTS[tokenizer]} is missing ({tokenizer}/vocab.json and merges.txt)", family(path))
    if not (path / "scheduler" / "scheduler_config.json").is_file():
        return faulty("the scheduler is missing (scheduler/scheduler_config.json)", family(path))
    noise = str(config(path / "scheduler" / "scheduler_config.json").get("_class_name", ""))
    if noise.startswith(CONTINUOUS) or config(path / "vae" / CONFIG).get("latents_mean") is not None:
        return faulty(f"was trained on another kind of noise or latents ({noise}; Playground 2.5, CosXL), which is not supported yet", family(path))
    return _described(path)


def stranger(index: dict[str, Any]) -> Finding | None:
    """What a model_index.json tells of a model that cannot be used here; None where it tells nothing against it."""
    from sd_ui.models import stock_folders

    if known := stock_folders.family_of(index):
        return faulty(fault, known.name) if (fault := stock_folders.refused(index, known)) else None
    pipeline = str(index.get("_class_name", PIPELINES[0]))
    if pipeline not in PIPELINES:
        family = next((family for start, family in UNSUPPORTED.items() if pipeline.startswith(start)), "")
        return faulty(f"is a {pipeline}, which is not supported yet", family)
    for part, allowed in CLASSES.items():
        entry = index.get(part)
        if isinstance(entry, list) and entry[-1:] != [None] and entry[-1:] and entry[-1] not in allowed:
            return faulty(f"{PARTS[part]} asks for the class {entry[-1]}; only {' and '.join(allowed)} are loaded, never code from a model", "sd1")
    return None


def _check_part(path: Path, part: str, index: dict[str, Any]) -> None:
    folder = path / part
    if not (folder / CONFIG).is_file() or (part in index and index[part] == [None, None]):
        raise Unreadable(f"{PARTS[part]} is missing ({part}/{CONFIG})")
    said = config(folder / CONFIG)
    architectures = said.get("architectures")
    named = said.get("_class_name") or (architectures[0] if isinstance(architectures, list) and architectures else None)
    if named is not None and named not in (*CLASSES[part], "CLIPModel", "CLIPTextModelWithProjection"):
        raise Unreadable(f"{PARTS[part]} asks for the class {named}; only {' and '.join(CLASSES[part])} are loaded, never code from a model")
    if why := quantised.fault(PARTS[part], said):
        raise Unreadable(why)
    _check_weights(PARTS[part], *weights(folder))


def _check_weights(part: str, *files: Path) -> None:
    for file in files:
        try:
            header.read(file)
        except Unreadable as error:
            raise Unreadable(f"{part}'s file is {error}") from None


def _described(path: Path) -> Finding:
    unet, (text, tokenizer) = config(path / "unet" / CONFIG), texts(path)[0]
    known = family(path)
    side = _whole(unet.get("sample_size"), SIDES.get(known, 64)) * 8
    finding = Finding(
        family=known,
        defaults=Defaults(width=side, height=side),
        is_told_scale=unet.get("time_cond_proj_dim") is not None,
        positions=_whole(config(path / text / CONFIG).get("max_position_embeddings"), 77),
        tokenizer=path / tokenizer,
    )
    finding = with_channels(finding, _whole(unet.get("in_channels"), 4))
    if (path / "unet" / INPAINT_PLANES).is_file():
        _check_weights("the inpainting planes", path / "unet" / INPAINT_PLANES)
    if (path / "unet" / DEPTH_PLANES).is_file() and not finding.fault:
        _check_weights("the depth plane", path / "unet" / DEPTH_PLANES)
        finding = replace(finding, modes=(*finding.modes, "depth2img"))
    return finding


def _vae(path: Path) -> Finding:
    said = config(path / CONFIG)
    if said.get("_class_name") not in CLASSES["vae"]:
        return faulty(f"is a {said.get('_class_name')}, which is not supported", kind=VAE)
    channels = said.get("latent_channels", 4)
    if channels not in (4, MANY):
        return faulty(f"is a VAE for latents of {channels} channels; Stable Diffusion 1.x, 2.x and XL have 4, 3.x and Flux.1 {MANY}", kind=VAE)
    _check_weights(PARTS["vae"], *weights(path))
    return Finding(VAE, VAE_FAMILIES.get(said.get("scaling_factor"), "" if channels == MANY else "sd1"))


def _whole(value: Any, otherwise: int) -> int:
    return value if type(value) is int and 0 < value <= 100_000 else otherwise
