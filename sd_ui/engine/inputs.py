"""A job's own pictures: as they were given, as the model sees them, and what becomes of a painted one."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from sd_ui.engine import start
from sd_ui.engine.loaded import Loaded
from sd_ui.engine.start import Scene
from sd_ui.imaging import files, masking, ops
from sd_ui.imaging.blobs import Blobs
from sd_ui.imaging.masking import Window
from sd_ui.imaging.matching import with_colours_of
from sd_ui.spec.request import GenerationRequest, ImageRef, Inpaint, images_of


@dataclass(frozen=True)
class Paste:
    """original: what the painted picture is laid over. mask: of its size, lighter where more of it changes. window: where it was painted."""

    original: Image.Image
    mask: Image.Image
    window: Window | None = None

    def over(self, painted: Image.Image, blur: int) -> Image.Image:
        whole = painted if self.window is None else self.window.put_back(self.original, painted)
        return ops.paste(self.original, whole, ops.soft_mask(masking.any_of(self.mask), blur))


@dataclass(frozen=True)
class Inputs:
    """image, mask, depth: of the request's size. shades: (h, w), 0 to 1, how much each place may change, where the mask's edge is soft.

    paste: where a part of a picture is repainted, and the rest is to come back as it was.
    """

    image: Image.Image | None = None
    mask: Image.Image | None = None
    depth: Tensor | None = None
    notes: tuple[str, ...] = ()
    shades: Tensor | None = None
    paste: Paste | None = None

    @classmethod
    def of(cls, request: GenerationRequest, blobs: Blobs) -> "Inputs":
        if request.source is None:
            return cls()
        refs, size = images_of(request), (request.width, request.height)
        given = blobs.open(refs["init"])
        if isinstance(request.source, Inpaint):
            return masked(request, request.source, files.flattened(given), blobs.open(refs["mask"]), whitened(given))
        resize = request.source.resize
        image = ops.fit(files.flattened(given), *size, resize)
        own_depth = torch.from_numpy(ops.depth_plane(ops.fit(blobs.open(refs["depth"]), *size, resize))) if "depth" in refs else None
        return cls(image, depth=own_depth, notes=(*whitened(given), *resized(refs["init"], *size)))

    @property
    def unchanged(self) -> Image.Image | None:
        """What denoising strength 0 gives back."""
        return self.paste.original if self.paste else self.image

    def scene(self, request: GenerationRequest, loaded: Loaded) -> Scene:
        return start.scene_of(request, loaded, self.image, self.mask, self.depth, self.shades)

    def finished(self, request: GenerationRequest, painted: Image.Image) -> Image.Image:
        if request.source and request.source.redo.matches_colours and self.image:
            painted = with_colours_of(painted, self.image)
        return self.paste.over(painted, request.source.mask_blur) if self.paste and isinstance(request.source, Inpaint) else painted


def masked(request: GenerationRequest, source: Inpaint, image: Image.Image, mask: Image.Image, notes: tuple[str, ...]) -> Inputs:
    size = request.width, request.height
    mask = masking.shaded(source, mask)
    window, seen = masking.looked_at(source, mask, size)
    if window is None:
        image, notes = ops.fit(image, *size, source.resize), (*notes, *resized(source.image, *size))
        paste = Paste(image, seen)
    else:
        paste, image, notes = Paste(image, mask, window), window.seen(image), (*notes, *looked_through(window))
    shades = torch.from_numpy(masking.degrees(seen, source.mask_blur)) if source.is_soft else None
    return Inputs(image, masking.any_of(seen), notes=notes, shades=shades, paste=paste)


def whitened(image: Image.Image) -> tuple[str, ...]:
    """A model knows no transparency."""
    transparent = image.mode == "RGBA" and any(image.getchannel("A").histogram()[:255])
    return ("The picture's transparent parts were put on white.",) if transparent else ()


def resized(ref: ImageRef, width: int, height: int) -> tuple[str, ...]:
    if (ref.width, ref.height) == (width, height):
        return ()
    return (f"The picture of {ref.width}x{ref.height} was fitted to {width}x{height}.",)


def looked_through(window: Window) -> tuple[str, ...]:
    left, top, right, bottom = window.box
    width, height = window.size
    return (f"Only the {right - left}x{bottom - top} pixels around the mask were painted, at {width}x{height}.",)
