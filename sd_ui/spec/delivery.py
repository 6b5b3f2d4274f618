"""How a result reaches its owner. None of it changes a pixel of the picture, so it is not part of the request."""

from dataclasses import dataclass

FORMATS = ("png", "jpeg", "webp")
PREVIEWS = ("predicted", "noisy", "off")


@dataclass(frozen=True)
class Delivery:
    """format: of the saved file. quality: of a lossy one. preview: the predicted clean picture or the noisy latent, every n-th step."""

    format: str = "png"
    quality: int = 92
    preview: str = "predicted"
    preview_every: int = 1
