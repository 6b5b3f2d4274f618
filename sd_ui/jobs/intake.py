"""Through the door: a form's values and pictures become a job. Whatever is wrong is said before anything is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from PIL import Image

from sd_ui.imaging import files, masking, ops, outpaint
from sd_ui.imaging.blobs import Blobs
from sd_ui.imaging.colour import plain
from sd_ui.imaging.outpaint import Sides
from sd_ui.jobs.queue import Job, Queue
from sd_ui.prompt import language, networks, variants
from sd_ui.prompt import plain as plain_text
from sd_ui.prompt.coined import vocabulary
from sd_ui.prompt.wording import PROMPTS, Wording
from sd_ui.prompt.wording import check as check_words
from sd_ui.spec import limits as door
from sd_ui.spec import values as spec_values
from sd_ui.spec.cards import Defaults, ModelCard
from sd_ui.spec.delivery import FORMATS, PREVIEWS, Delivery
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS, IMAGE
from sd_ui.spec.limits import Accepted, Limits
from sd_ui.spec.request import MASK_MODES, RESIZES, GenerationRequest, ImageRef, Inpaint

CHUNK = 75  # tokens that a text encoder takes at once, at most
PICTURES = tuple(field.name for field in FIELDS.values() if field.kind == IMAGE)
NONE_MASKED = "nothing to change: no part of it is white. Paint where new content should go"
ALL_MASKED = "nothing to change: everything is masked, and what is not masked is to be painted"
PLACE_OF = {"init": "image", "mask": "mask", "depth": "depth"}  # a picture's name in a form -> in a Source


@dataclass(frozen=True)
class Given:
    """A picture as it was given, upright and decoded. ref: where it is kept already."""

    image: Image.Image
    notes: tuple[str, ...] = ()
    ref: ImageRef | None = None

    @property
    def size_only(self) -> ImageRef:
        """Stands for the picture until everything else is known to be right."""
        return self.ref or ImageRef("", *self.image.size)


class Tokens(Protocol):
    @property
    def used(self) -> int: ...


class Models(Protocol):
    """What is asked of the model index."""

    def cards(self) -> Mapping[str, ModelCard]: ...
    def tokens(self, checkpoint: str, text: str) -> Tokens: ...
    def text_widths(self, checkpoint: str) -> tuple[int, ...]: ...
    def misfit(self, checkpoint: str, lora: str) -> str:
        """Why a checkpoint cannot wear a LoRA; "" where it can."""


class Reader:
    """models: what there is, asked anew each time. Pictures in values are bytes of a file, PIL images or ImageRef."""

    def __init__(self, blobs: Blobs, models: Models, limits: Limits = Limits(), wording: Wording = Wording()) -> None:
        self._blobs, self._models, self._limits, self._wording = blobs, models, limits, wording

    def read(self, mode: str, values: Mapping[str, Any]) -> Accepted:
        """The request that these values are, its pictures kept. Raises BadRequest, and has kept nothing then."""
        accepted, pictures = self._checked(mode, values)
        return self._kept(accepted, pictures)

    def rehearsed(self, mode: str, values: Mapping[str, Any]) -> Accepted:
        """What `read` would answer, and nothing is kept. Raises BadRequest."""
        return self._checked(mode, values)[0]

    def judged(self, mode: str, values: Mapping[str, Any]) -> Accepted:
        """The same without looking at pictures: any ImageRef stands for one. Raises BadRequest."""
        accepted = door.fitted(mode, values, self._models.cards(), self._limits)
        request = self._wording.worded(accepted.request)
        for told in {request.words_of(i): request.plain(i) for i in range(request.count)}.values():
            if (card := self._models.cards()[told.model.checkpoint]).stock:
                check_plain(told, card)
                continue
            self._check_loras(told)
            self._check_length(told)
        return Accepted(request, (*accepted.notes, *self._second_pass(request)))

    # ------------------------------------------------------------ parts
    def _checked(self, mode: str, values: Mapping[str, Any]) -> tuple[Accepted, dict[str, Given]]:
        pictures, notes = self._pictures(mode, values)
        if mode == "inpaint" and "init" in pictures and (sides := sides_of(values)):
            overlap, rest = spec_values.read(FIELDS["mask_blur"], values.get("mask_blur"), Defaults(), []), values.get("mask_mode") == MASK_MODES[1]
            grown = grow(pictures, sides, overlap, self._limits, rest)
            pictures, values = pictures | grown, {**values, **size_of(grown["init"])} | ({"mask_mode": MASK_MODES[0]} if rest else {})
        others = {name: value for name, value in values.items() if name not in PICTURES}
        accepted = self.judged(mode, others | {name: given.size_only for name, given in pictures.items()})
        if isinstance(accepted.request.source, Inpaint):
            pictures["mask"] = mask_for(pictures["mask"], pictures["init"], accepted.request.source)
            check_mask_left(pictures["mask"], accepted.request, accepted.request.source)
        said = (note for given in pictures.values() for note in given.notes)
        return replace(accepted, notes=(*notes, *said, *accepted.notes)), pictures

    def _check_loras(self, request: GenerationRequest) -> None:
        for _, card in networks.resolved(networks.asked(request.prompt), self._models.cards()):
            if why := self._models.misfit(request.model.checkpoint, card.name):
                raise BadRequest("prompt", f"the LoRA {why}")

    def _second_pass(self, request: GenerationRequest) -> tuple[str, ...]:
        """Its own prompts are checked as any others, and read as they stand: of what has no effect in them there are notes. Raises BadRequest."""
        if request.hires is None:
            return ()
        own = replace(request, prompt=request.hires.prompt, negative_prompt=request.hires.negative_prompt, sampling=request.hires.sampling)
        if networks.asked(own.prompt):
            raise BadRequest("hires_prompt", "a LoRA's tag stands in the prompt, and holds for both passes; take it out here")
        try:
            check_words(own, (own.words_of(0),))
            self._check_length(own)
        except BadRequest as wrong:
            raise BadRequest(f"hires_{wrong.field}", wrong.why) from None
        chosen = [f"hires_{name}" for name in PROMPTS if not variants.parse(getattr(own, name)).fixed]
        return tuple(f"{FIELDS[name].label}: {{a|b}} and __name__ are read as they stand; choices are made in the prompt alone." for name in chosen)

    def _check_length(self, request: GenerationRequest) -> None:
        """Characters are cheap, tokens are not: 32,000 emoji are 100,000 of them. Every text of a schedule counts."""
        checkpoint, calls = request.model.checkpoint, language.calls_of(request.sampling)
        known = vocabulary(self._models.cards().values(), self._models.text_widths(checkpoint), CHUNK)
        parts = {"prompt": language.positive(request.prompt, calls), "negative_prompt": language.negative(request.negative_prompt, calls)}
        for name, texts in ((name, language.texts(said)) for name, said in parts.items()):
            more = sum(known.at_most(text) for text in texts)
            if sum(len(text.encode()) for text in texts) + more <= self._limits.tokens:  # a token is a byte at least
                continue
            used = sum(self._models.tokens(checkpoint, text).used for text in texts) + more
            if used > self._limits.tokens:
                together = f" in {len(texts)} texts that take turns" if len(texts) > 1 else ""
                raise BadRequest(name, f"{used} tokens{together} are too many (at most {self._limits.tokens})")

    def _pictures(self, mode: str, values: Mapping[str, Any]) -> tuple[dict[str, Given], list[str]]:
        """Those that the mode uses, and a word about those that it does not."""
        pictures: dict[str, Given] = {}
        notes = []
        for name in PICTURES:
            if values.get(name) is None:
                continue
            if mode in FIELDS[name].modes:
                pictures[name] = self._picture(name, values[name])
            else:
                notes.append(f"{FIELDS[name].label}: not used in {mode}.")
        if "depth" in pictures and "init" in pictures:
            pictures["depth"] = depth_for(pictures["depth"], pictures["init"])
        return pictures, notes

    def _picture(self, name: str, value: Any) -> Given:
        match value:
            case bytes():
                decoded = files.decode(value, name, self._limits)
                return Given(decoded.image, labelled(name, decoded.notes))
            case Image.Image():
                return self._opened(name, value)
            case ImageRef():
                return Given(self._kept_already(name, value), ref=value)
        raise BadRequest(name, f"is a {type(value).__name__}, not a picture")

    def _opened(self, name: str, value: Image.Image) -> Given:
        files.check_size(value.size, name, self._limits)
        try:
            value.load()  # Pillow reads the pixels of an opened file only now
            image, notes = plain(files.upright(value))
        except files.DAMAGED as error:
            raise BadRequest(name, f"is damaged: {error}") from error
        return Given(image, labelled(name, notes))

    def _kept_already(self, name: str, ref: ImageRef) -> Image.Image:
        try:
            return self._blobs.open(ref)
        except FileNotFoundError as error:
            raise BadRequest(name, str(error)) from error
        except BadRequest as error:
            raise BadRequest(name, error.why) from error

    def _kept(self, accepted: Accepted, pictures: Mapping[str, Given]) -> Accepted:
        refs = {PLACE_OF[name]: given.ref or self._blobs.put(given.image) for name, given in pictures.items()}
        return replace(accepted, request=with_pictures(accepted.request, refs))


class Intake(Reader):
    """A reader that hands on what it has read to the queue."""

    def __init__(self, queue: Queue, blobs: Blobs, models: Models, limits: Limits = Limits(), wording: Wording = Wording()) -> None:
        super().__init__(blobs, models, limits, wording)
        self._queue = queue

    def submit(self, mode: str, values: Mapping[str, Any], owner: str, delivery: Delivery = Delivery(), key: str = "") -> tuple[Job, tuple[str, ...]]:
        """The job, and what was changed on the way in. The same key and values again are the same job, with the seed that it drew."""
        check(delivery)
        if (earlier := self._queue.keyed(owner, key)) and is_random(values.get("seed")):
            values = {**values, "seed": earlier.request.seed}
        accepted, pictures = self._checked(mode, values)
        if not earlier:
            self._queue.check_room(owner)
        accepted = self._kept(accepted, pictures)
        return self._queue.submit(accepted.request, owner, delivery, key), accepted.notes


def sides_of(values: Mapping[str, Any]) -> Sides:
    """Raises BadRequest."""
    fields = {side: FIELDS[f"outpaint_{side}"] for side in ("left", "right", "top", "bottom")}
    return Sides(**{side: spec_values.read(field, values.get(field.name), Defaults(), []) for side, field in fields.items()})


def grow(pictures: Mapping[str, Given], sides: Sides, overlap: int, limits: Limits = Limits(), rest: bool = False) -> dict[str, Given]:
    """The picture with its new sides, and the mask with them; they are what the job keeps, so that it can be repeated as any other.

    rest: what is not masked is to be painted. New sides are painted in any case, so the mask that comes back says what is; where nothing was
    masked, it is they alone.
    """
    init, mask = pictures["init"], pictures.get("mask")
    sides = sides.rounded(*init.image.size)
    files.check_size(sides.size(*init.image.size), "width", limits)  # before it is made
    image = outpaint.extended(init.image, sides)
    painted = ops.fit_shades(masking.shades_from(mask.image), *init.image.size, RESIZES[0]) if mask else None
    if painted and rest and painted.getbbox():
        painted = masking.inverted(painted)
    was, now = (f"{size[0]}x{size[1]}" for size in (init.image.size, image.size))
    grown = Given(image, (*init.notes, f"The picture grew from {was} to {now}."))
    return {"init": grown, "mask": Given(outpaint.extended_mask(painted, init.image.size, sides, overlap), mask.notes if mask else ())}


def size_of(given: Given) -> dict[str, int]:
    return {"width": given.image.width, "height": given.image.height}


def mask_for(mask: Given, init: Given, source: Inpaint) -> Given:
    """Black and white, with shades where its edge is soft, and of the picture's size. As it was given otherwise: it is the engine that inverts it."""
    image, notes = masking.shades_from(mask.image) if source.is_soft else ops.mask_from(mask.image), mask.notes
    if image.size != init.image.size:
        was, now = (f"{size[0]}x{size[1]}" for size in (image.size, init.image.size))
        image, notes = ops.fit_shades(image, *init.image.size, RESIZES[0]), (*notes, f"Mask: resized from {was} to {now}, the picture's size.")
    if masking.shaded(source, image).getbbox() is None:
        raise BadRequest("mask", ALL_MASKED if source.is_inverted else NONE_MASKED)
    return Given(image, notes)


def depth_for(depth: Given, init: Given) -> Given:
    """Of the picture's size, so that both are fitted alike and stay on top of each other."""
    if depth.image.size == init.image.size:
        return depth
    was, now = (f"{size[0]}x{size[1]}" for size in (depth.image.size, init.image.size))
    note = f"Depth map: resized from {was} to {now}, the picture's size."
    return Given(ops.fit(depth.image, *init.image.size, RESIZES[0]), (*depth.notes, note))


def check_mask_left(mask: Given, request: GenerationRequest, source: Inpaint) -> None:
    """What lies in a part that is cut off, or is too small to be seen in a smaller picture, is gone once both are fitted."""
    _, seen = masking.looked_at(source, masking.shaded(source, mask.image), (request.width, request.height))
    if seen.getbbox() is None:
        size = f"{request.width}x{request.height} ({source.resize})"
        raise BadRequest("mask", f"nothing to change: no part of it is left in {size}. Paint more, or choose another size or resize mode")


def with_pictures(request: GenerationRequest, refs: Mapping[str, Any]) -> GenerationRequest:
    if request.source is None:
        return request
    return replace(request, source=replace(request.source, **refs))


def check_plain(request: GenerationRequest, card: ModelCard) -> None:
    """For a model that reads plain text. Raises BadRequest for what of our language it cannot be told."""
    for name, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt)):
        if why := plain_text.refused(text, request.emphasis, negative=name == "negative_prompt"):
            raise BadRequest(name, f"{card.name} runs by diffusers' own pipeline: {why}")


def check(delivery: Delivery) -> None:
    """Raises BadRequest."""
    for name, value, known in (("format", delivery.format, FORMATS), ("preview", delivery.preview, PREVIEWS)):
        if value not in known:
            raise BadRequest(name, spec_values.unknown(value, known))
    for name, number, high in (("quality", delivery.quality, 100), ("preview_every", delivery.preview_every, 150)):
        if type(number) is not int or not 1 <= number <= high:
            raise BadRequest(name, f"{number!r} is out of range (a whole number from 1 to {high})")


def is_random(seed: Any) -> bool:
    """Whether the door would draw a seed."""
    return seed is None or str(seed).strip() in ("", "-1", "-1.0")


def labelled(name: str, notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{FIELDS[name].label}: {note}" for note in notes)
