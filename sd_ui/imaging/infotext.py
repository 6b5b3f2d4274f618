"""The parameters of a picture as text, in the form that A1111 made common. What it cannot say stands in our own record."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sd_ui.imaging import second_pass
from sd_ui.spec import extras, fields
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS, NONE, NUMBER
from sd_ui.spec.made import Record
from sd_ui.spec.request import MASK_EDGES, NOISES, DepthToImage, GenerationRequest, Guidance, Inpaint, Redo, Sampling
from sd_ui.spec.samplers import AUTOMATIC, SAMPLERS, schedule_of, split
from sd_ui.spec.values import number, whole, within

PROMPT, NEGATIVE = "Prompt", "Negative prompt"
NO_MARKS = str.maketrans("", "", ":,")  # which separate the names of LoRAs and embeddings
ENOUGH = 3  # pairs that make a line one of parameters and not of the prompt
KEY = re.compile(r"\w[\w \-/]+\Z")  # A1111's; it ends at the colon
LONGEST_KEY = 80
QUOTED = re.compile(r'"(?:\\.|[^\\"])+"')
HASH = re.compile(r" \[[0-9a-f]*\]\Z")  # behind a refiner's name
CARD = "NV"  # the noise source that draws what a graphics card would
GUIDANCE = {"Skip Early CFG": "start", "Guidance stop": "stop", "CFG rescale": "rescale", "APG threshold": "threshold", "APG momentum": "momentum",
            "APG parallel": "parallel", "PAG scale": "pag", "PAG adaptive": "pag_adaptive"}  # fmt: skip
REDO = ("resize_by", "noise_multiplier", "extra_noise", "redo_steps", "redo_colours")
MASKING = ("inpaint_area", "mask_padding", "masked_content", "mask_mode", "mask_edge", *(name for name in FIELDS if name.startswith("outpaint_")))
FIELD = {"start": "guidance_start", "stop": "guidance_stop", "rescale": "cfg_rescale", "pag": "pag_scale", "pag_adaptive": "pag_adaptive_scale"}
JSON_KEYS = ("Hashes", "Civitai resources", "Civitai metadata")  # the values that other programs write as bare JSON


# ---------------------------------------------------------------- writing
def write(record: Record, model_name: str) -> str:
    """`model_name`: as a reader should see it. The prompts stand as they are; an empty one is an empty first line."""
    said = record.request.words_of(record.index)
    negative = f"\n{NEGATIVE}: {said.negative_prompt}" if said.negative_prompt else ""
    return f"{said.prompt}{negative}\n" + ", ".join(f"{key}: {quoted(value)}" for key, value in pairs(record, model_name) if value != "")


def pairs(record: Record, model_name: str) -> Iterator[tuple[str, str]]:
    """In A1111's order; "" is left out."""
    request, made, source = record.request, record.made, record.request.source
    said = request.words_of(record.index)
    yield "Steps", str(request.sampling.steps)
    yield "Sampler", request.sampling.sampler
    yield "Schedule type", request.sampling.schedule
    yield "CFG scale", decimal(request.sampling.cfg_scale)
    distilled = request.sampling.distilled_cfg
    yield "Distilled CFG Scale", decimal(distilled) if distilled != Sampling.distilled_cfg else ""
    yield "Seed", str(record.seed)
    yield "Size", f"{request.width}x{request.height}"
    yield "Model hash", made.model_hash[:10]
    yield "Model", model_name
    yield "VAE hash", made.vae_hash[:10] if request.model.vae else ""
    yield "VAE", request.model.vae
    yield "Refiner", f"{request.refiner.checkpoint} [{made.refiner_hash[:10]}]" if request.refiner else ""
    yield "Refiner switch at", decimal(request.refiner.switch_at) if request.refiner else ""
    noise, guidance = request.noise_of(record.index), request.sampling.guidance
    yield "Variation seed", str(noise.variation_seed) if noise.variation_strength else ""
    yield "Variation seed strength", decimal(noise.variation_strength) if noise.variation_strength else ""
    yield "Seed resize from", f"{noise.from_width}x{noise.from_height}" if noise.from_width and noise.from_height else ""
    yield "Denoising strength", decimal(strength) if (strength := strength_of(request)) is not None else ""
    yield "Clip skip", str(request.model.clip_skip) if request.model.clip_skip > 1 else ""
    yield "ENSD", str(noise.eta_delta) if noise.eta_delta else ""
    yield "RNG", noise.source  # a text that does not say so means noise from the GPU
    yield from changed(guidance, Guidance())
    yield from second_pass.pairs(request)
    yield from redone(source.redo) if source else ()
    yield from masked(source) if isinstance(source, Inpaint) else ()
    yield "Resize mode", source.resize if source else ""
    yield "Depth map", ("own" if source.depth else "estimated") if isinstance(source, DepthToImage) else ""
    yield "Lora hashes", ", ".join(f"{lora.name.translate(NO_MARKS)}: {lora.sha256[:12]}" for lora in made.loras if lora.sha256)
    yield "TI hashes", ", ".join(f"{one.name.translate(NO_MARKS)}: {one.sha256[:12]}" for one in made.inversions if one.sha256)
    yield "Emphasis", request.emphasis if request.emphasis != fields.default("emphasis") else ""
    yield "Styles", ", ".join(request.styles)
    yield "Template", request.prompt if said.prompt != request.prompt else ""
    yield "Negative Template", request.negative_prompt if said.negative_prompt != request.negative_prompt else ""
    yield "Version", f"sdui-{made.app}" if made.app else "sdui"  # must not look like an old A1111, which would switch readers' behaviour


def strength_of(request: GenerationRequest) -> float | None:
    """A1111 has one key for both."""
    return request.source.strength if request.source else request.hires.strength if request.hires else None


def redone(redo: Redo) -> Iterator[tuple[str, str]]:
    """The first two keys are A1111's."""
    yield "Noise multiplier", decimal(redo.noise_multiplier) if redo.noise_multiplier != Redo.noise_multiplier else ""
    yield "Extra noise", decimal(redo.extra_noise) if redo.extra_noise else ""
    yield "Steps of img2img", redo.steps if redo.runs_all else ""
    yield "Colours", redo.colours if redo.matches_colours else ""


def masked(source: Inpaint) -> Iterator[tuple[str, str]]:
    yield "Mask blur", str(source.mask_blur)
    yield "Inpaint area", source.inpaint_area if source.is_window else ""
    yield "Masked area padding", str(source.mask_padding) if source.is_window else ""
    yield "Masked content", source.masked_content.lower() if source.masked_content != Inpaint.masked_content else ""
    yield "Mask mode", source.mask_mode if source.is_inverted else ""
    yield "Soft inpainting enabled", "True" if source.is_soft else ""


def changed(guidance: Guidance, usual: Guidance) -> Iterator[tuple[str, str]]:
    """What differs from plain CFG. "Skip Early CFG" is A1111's, "PAG scale" and "PAG adaptive" are SD.Next's."""
    yield "Guidance", guidance.method if guidance.method != usual.method else ""
    for key, name in GUIDANCE.items():
        yield key, decimal(getattr(guidance, name)) if getattr(guidance, name) != getattr(usual, name) else ""
    yield "PAG layers", guidance.pag_layers if guidance.pag_layers != usual.pag_layers else ""


def quoted(value: str) -> str:
    """A JSON string where the value could be taken for something else."""
    plain = value == value.strip() and not value.startswith('"') and not any(mark in value for mark in ",:\n")
    return value if plain else json.dumps(value, ensure_ascii=False)


def decimal(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


# ---------------------------------------------------------------- reading
def parse(text: str) -> dict[str, str]:
    """Keys and values of anyone's text, with "Prompt" and "Negative prompt"; in time proportional to its length.

    The parameters are the last line that has "Steps" and two more; "Key: value" lines may follow it, as some extensions write them.
    A line "Negative prompt:" inside a prompt cannot be told from the real one: nothing in this form is escaped.
    """
    lines = [line.removesuffix("\r") for line in text.strip().split("\n")]
    last, found = len(lines), dict[str, str]()
    for index in (len(lines) - 1, *(i for i in range(len(lines) - 2, -1, -1) if lines[i].lstrip().startswith("Steps:"))):
        said = dict(_pairs(lines[index]))
        if "Steps" in said and len(said) >= ENOUGH:
            last, found = index, said
            break
    for line in lines[last + 1 :]:
        key, colon, value = line.partition(":")
        if colon and len(key) <= LONGEST_KEY and KEY.match(key.strip()):
            found[key.strip()] = value.strip()
    return {**_prompts(lines[:last]), **found}


def _prompts(lines: list[str]) -> dict[str, str]:
    prompt, negative = lines, list[str]()
    for index, line in enumerate(lines):
        if line.lstrip().startswith(f"{NEGATIVE}:"):
            prompt, negative = lines[:index], [line.lstrip()[len(NEGATIVE) + 1 :].removeprefix(" "), *lines[index + 1 :]]
            break
    return {PROMPT: "\n".join(prompt), NEGATIVE: "\n".join(negative)}


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """`key: value, key: "a, quoted: value"`. A stretch between commas without a key is skipped."""
    place, scan = 0, _Values(line)
    while (colon := line.find(":", place)) >= 0:
        start = max(line.rfind(",", place, colon) + 1, place, colon - LONGEST_KEY)
        key = KEY.search(line, start, colon)
        value, place = scan.value(colon + 1, key[0] if key else "")
        if key:
            yield key[0].strip(), value


class _Values:
    """Reads the value at a place. Remembers what has no end, so that each character is looked at a fixed number of times."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.quotes_end = self.json_ends = True

    def value(self, place: int, key: str) -> tuple[str, int]:
        """The value and the place behind its comma."""
        while self.line[place : place + 1] == " ":
            place += 1
        end, value = self._quoted(place) or self._json(place, key) or (-1, "")
        if end < 0 or self.line[end : end + 1] not in ("", ","):
            comma = self.line.find(",", place)
            end = comma if comma >= 0 else len(self.line)
            value = self.line[place:end].strip()
        return value, end + 1

    def _quoted(self, place: int) -> tuple[int, str] | None:
        if not self.quotes_end or not self.line.startswith('"', place):
            return None
        found = QUOTED.match(self.line, place)
        if found is None:
            self.quotes_end = False
            return None
        return found.end(), _unquoted(found[0])

    def _json(self, place: int, key: str) -> tuple[int, str] | None:
        if not self.json_ends or key not in JSON_KEYS or not self.line.startswith(("{", "["), place):
            return None
        try:
            _, end = json.JSONDecoder().raw_decode(self.line, place)
        except (ValueError, RecursionError):
            self.json_ends = False
            return None
        return end, self.line[place:end]


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text, strict=False)).encode("utf-8", "replace").decode()  # "\ud800" alone is no character
    except ValueError:
        return text


# ---------------------------------------------------------------- from anyone's words to ours
@dataclass(frozen=True)
class Reading:
    """mode: the tab it belongs to, as far as the text tells. values: by the names of `spec.fields`, for a form or `limits.fitted`.

    others: what is no setting here, or not one that can be read. notes: why the picture may come out differently, in words.
    """

    mode: str
    values: dict[str, Any]
    others: dict[str, str]
    notes: tuple[str, ...] = ()


def values(text: str) -> Reading:
    """What a text says, with A1111's meaning of what it leaves out. A text without parameters is a prompt and nothing else."""
    said = parse(text)
    result: dict[str, Any] = {"prompt": said.pop(PROMPT), "negative_prompt": said.pop(NEGATIVE)}
    if not said:
        return Reading("txt2img", result, {})
    others, mode, notes = dict(said), _mode(said), _notes(said)
    result |= {"clip_skip": 1, "emphasis": fields.default("emphasis"), "refiner": NONE, "vae": AUTOMATIC}
    result |= extras.written(GenerationRequest()) | {"noise_source": CARD}
    if mode == "txt2img":
        result["hires_upscaler"] = NONE
    if mode != "txt2img":
        result |= {name: fields.default(name) for name in REDO}
    if mode == "inpaint":
        result |= {name: fields.default(name) for name in MASKING}
    hires, more = second_pass.read(others)
    said, result = {key: value for key, value in said.items() if key in others}, result | hires
    for key, read in _READERS.items():
        if key in said and (found := read(said[key])):
            result |= found
            others.pop(key)
    return Reading(mode, result | _sampling(said, others), others, (*notes, *more))


def _mode(said: dict[str, str]) -> str:
    if "Depth map" in said:
        return "depth2img"
    if said.keys() & {"Mask blur", "Mask mode", "Inpaint area", "Masked content", "Masked area padding", "Soft inpainting enabled"}:
        return "inpaint"
    return "img2img" if "Denoising strength" in said and not second_pass.is_told(said) else "txt2img"


def _notes(said: dict[str, str]) -> tuple[str, ...]:
    """What changes the picture although every setting is the same."""
    notes, source = [], said.get("RNG", "GPU")
    if source == "GPU":
        notes.append(f"Its noise was drawn on a graphics card: the noise source {CARD} draws the numbers of an NVIDIA card.")
    elif source not in NOISES:
        notes.append(f"Its noise was drawn by {source:.40}, which is not known here: the same seed gives another picture.")
    return tuple(notes)


def _sampling(said: dict[str, str], others: dict[str, str]) -> dict[str, Any]:
    """Sampler and schedule; the older spelling has both in one name. A1111's "Automatic" where no schedule is said that goes with it."""
    name, schedule = split(said.get("Sampler", ""))
    if name not in SAMPLERS:
        return {}
    others.pop("Sampler")
    known = (AUTOMATIC, *SAMPLERS[name].schedules)
    if (asked := schedule_of(said.get("Schedule type", ""))) in known:
        others.pop("Schedule type")
        schedule = asked
    return {"sampler": name, "schedule": schedule if schedule in known else AUTOMATIC}


def _size(value: str) -> dict[str, Any]:
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*x\s*([0-9]{1,9})\s*", value)
    return {"width": int(found[1]), "height": int(found[2])} if found else {}


def _resized(value: str) -> dict[str, Any]:
    return {f"seed_resize_{name}": side for name, side in _size(value).items()}


def _number(name: str) -> Callable[[str], dict[str, Any]]:
    field = FIELDS[name]
    convert = number if field.kind == NUMBER else whole

    def read(value: str) -> dict[str, Any]:
        try:
            return {name: within(field, convert(field, value), value)}
        except BadRequest:
            return {}

    return read


def _word(name: str) -> Callable[[str], dict[str, Any]]:
    return lambda value: {name: value} if value else {}


def _one_of(name: str) -> Callable[[str], dict[str, Any]]:
    known = {choice.casefold(): choice for choice in FIELDS[name].choices}
    return lambda value: {name: known[value.casefold()]} if value.casefold() in known else {}


_READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "Steps": _number("steps"),
    "CFG scale": _number("cfg_scale"),
    "Distilled CFG Scale": _number("distilled_cfg_scale"),
    "Seed": _number("seed"),
    "Size": _size,
    "Model": _word("model"),
    "VAE": _word("vae"),
    "Refiner": lambda value: _word("refiner")(HASH.sub("", value)),
    "Refiner switch at": _number("refiner_switch_at"),
    "Denoising strength": _number("strength"),
    "Clip skip": _number("clip_skip"),
    "Emphasis": _one_of("emphasis"),
    "Mask blur": _number("mask_blur"),
    "Inpaint area": _one_of("inpaint_area"),
    "Noise multiplier": _number("noise_multiplier"),
    "Extra noise": _number("extra_noise"),
    "Steps of img2img": _one_of("redo_steps"),
    "Colours": _one_of("redo_colours"),
    "Masked area padding": _number("mask_padding"),
    "Masked content": _one_of("masked_content"),
    "Mask mode": _one_of("mask_mode"),
    "Soft inpainting enabled": lambda value: {"mask_edge": MASK_EDGES[value == "True"]},
    "Resize mode": _one_of("resize"),
    "RNG": lambda value: {"noise_source": CARD} if value == "GPU" else _one_of("noise_source")(value),
    "Variation seed": _number("variation_seed"),
    "Variation seed strength": _number("variation_strength"),
    "Seed resize from": _resized,
    "ENSD": _number("eta_seed_delta"),
    "Guidance": _one_of("guidance"),
    "PAG layers": _one_of("pag_layers"),
    "PAG Scale": _number("pag_scale"),  # as an extension of A1111 writes it
    **{key: _number(FIELD.get(name, f"apg_{name}")) for key, name in GUIDANCE.items()},
}
