"""Recognises a diffusers folder of SD 3, 3.5 or Flux.1: a transformer instead of a U-Net, and T5 among its text encoders."""

from dataclasses import dataclass, replace
from pathlib import Path

from sd_ui.models import folders, header, quantised, tokens
from sd_ui.models.finding import Finding, faulty, with_channels
from sd_ui.models.folders import CONFIG
from sd_ui.models.header import Unreadable
from sd_ui.spec.cards import Defaults

CLIP, PROJECTED, T5 = "CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"
TRANSFORMER, SIDE, POSITIONS = "transformer", 1024, 77
FLUX_STEPS, DISTILLED = {True: 24, False: 4}, {384: 30.0, 128: 10.0}  # by whether it is told its guidance; the usual scale, by channels
CANNY = "is a Flux.1 Canny model, which is told edges; that is not supported yet"


@dataclass(frozen=True)
class Text:
    """folder, tokenizer: inside the model's. may_lack: published without it, too."""

    folder: str
    tokenizer: str
    kind: str
    may_lack: bool = False


@dataclass(frozen=True)
class FlowFamily:
    """kind: of the transformer. pipelines: those of diffusers whose folders it is. counted: the text encoder by which tokens are counted."""

    name: str
    kind: str
    pipelines: tuple[str, ...]
    texts: tuple[Text, ...]
    counted: int = 0


FIRST = ("text_encoder", "tokenizer")
SECOND = ("text_encoder_2", "tokenizer_2")
THIRD = ("text_encoder_3", "tokenizer_3")
FAMILIES = (
    FlowFamily(
        "sd3",
        "SD3Transformer2DModel",
        tuple(f"StableDiffusion3{mode}Pipeline" for mode in ("", "Img2Img", "Inpaint")),
        (Text(*FIRST, PROJECTED), Text(*SECOND, PROJECTED), Text(*THIRD, T5, may_lack=True)),
    ),
    FlowFamily(
        "flux",
        "FluxTransformer2DModel",
        tuple(f"Flux{mode}Pipeline" for mode in ("", "Img2Img", "Inpaint", "Fill", "Control", "ControlImg2Img", "ControlInpaint")),
        (Text(*FIRST, CLIP), Text(*SECOND, T5)),
        counted=1,
    ),
)


def of_folder(path: Path) -> FlowFamily | None:
    """None for a folder of another kind. Raises Unreadable."""
    if not (path / folders.INDEX).is_file():
        return None
    pipeline = folders.config(path / folders.INDEX).get("_class_name")
    return next((family for family in FAMILIES if pipeline in family.pipelines), None)


def texts(path: Path, family: FlowFamily) -> tuple[Text, ...]:
    """Those that are there. Raises Unreadable."""
    index = folders.config(path / folders.INDEX)
    return tuple(text for text in family.texts if not (text.may_lack and index.get(text.folder, [None, None]) == [None, None]))


def weights(path: Path, family: FlowFamily) -> list[Path]:
    """The files that are loaded. Raises Unreadable."""
    return [file for part in (TRANSFORMER, "vae", *(text.folder for text in texts(path, family))) for file in folders.weights(path / part)]


def look(path: Path, family: FlowFamily) -> Finding:
    """Raises Unreadable and OSError."""
    _check(path, TRANSFORMER, family.kind)
    _check(path, "vae", *folders.CLASSES["vae"])
    there = texts(path, family)
    for text in there:
        _check(path, text.folder, text.kind)
        if not _cuts(path / text.tokenizer, text):
            needed = "tokenizer.json" if text.kind == T5 else "vocab.json and merges.txt"
            return faulty(f"{folders.PARTS[text.tokenizer]} is missing ({text.tokenizer}/{needed})", family.name)
    if not (path / "scheduler" / "scheduler_config.json").is_file():
        return faulty("the scheduler is missing (scheduler/scheduler_config.json)", family.name)
    return _described(path, family, there)


def _described(path: Path, family: FlowFamily, there: tuple[Text, ...]) -> Finding:
    config, counted = folders.config(path / TRANSFORMER / CONFIG), there[family.counted]
    said = config.get("in_channels")
    channels = said if isinstance(said, int) else 0
    if family.name == "flux" and channels == 128 and "canny" in path.name.casefold():
        return faulty(CANNY, family.name)
    found = Finding(
        family=family.name,
        defaults=defaults(family.name, channels, config.get("guidance_embeds") is True),
        positions=tokens.t5_positions(config.get("guidance_embeds") is True) if counted.kind == T5 else POSITIONS,
        tokenizer=path / counted.tokenizer,
    )
    return with_channels(found, channels)


def defaults(family: str, channels: int, guided: bool) -> Defaults:
    """guided: told the scale of its guidance: Flux.1 dev and its like. Fill and Depth were taught another scale; schnell needs four steps."""
    usual = Defaults(width=SIDE, height=SIDE, steps=28, cfg_scale=4.5, sampler="Euler")
    if family != "flux":
        return usual
    return replace(usual, cfg_scale=1.0, steps=FLUX_STEPS[guided], distilled_cfg_scale=DISTILLED.get(channels, usual.distilled_cfg_scale))


def _cuts(folder: Path, text: Text) -> bool:
    return tokens.has_t5(folder) if text.kind == T5 else folders.tokenizer_file(folder)


def _check(path: Path, part: str, *kinds: str) -> None:
    """Raises Unreadable that names the part."""
    folder = path / part
    if not (folder / CONFIG).is_file():
        raise Unreadable(f"{folders.PARTS[part]} is missing ({part}/{CONFIG})")
    said = folders.config(folder / CONFIG)
    architectures = said.get("architectures")
    named = said.get("_class_name") or (architectures[0] if isinstance(architectures, list) and architectures else kinds[0])
    if named not in kinds:
        raise Unreadable(f"{folders.PARTS[part]} asks for the class {named}; only {' and '.join(kinds)} are loaded, never code from a model")
    if why := quantised.fault(folders.PARTS[part], said):
        raise Unreadable(why)
    for file in folders.weights(folder):
        try:
            header.read(file)
        except Unreadable as error:
            raise Unreadable(f"{folders.PARTS[part]}'s file is {error}") from None
