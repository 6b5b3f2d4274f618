"""What one looks at while a training runs: sheets of pictures with their captions, and the curve of the loss."""

import math
import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

GAP, LINE = 4, 11
SIZE, MARGIN = (640, 320), 40


def picture(image: Tensor) -> Image.Image:
    """(3 or 1, h, w) in 0..1 -> RGB"""
    pixels = image.detach().float().clamp(0, 1).expand(3, -1, -1).movedim(0, -1).mul(255).round().byte()
    return Image.fromarray(pixels.cpu().numpy())


def sheet(images: Sequence[Tensor | Image.Image], captions: Sequence[str] = (), columns: int = 8, side: int = 128, lines: int = 4) -> Image.Image:
    """Row by row; the captions stand below their pictures."""
    below = GAP + lines * LINE if captions else GAP
    whole = Image.new("RGB", (columns * (side + GAP), math.ceil(len(images) / columns) * (side + below)), "white")
    draw = ImageDraw.Draw(whole)
    for i, image in enumerate(images):
        x, y = i % columns * (side + GAP), i // columns * (side + below)
        shown = picture(image) if isinstance(image, Tensor) else image.convert("RGB")
        whole.paste(shown.resize((side, side)), (x, y))
        if captions:
            wrapped = textwrap.wrap(captions[i], max(8, side // 6))[:lines]
            draw.multiline_text((x + 1, y + side + 1), "\n".join(wrapped), fill="black", font_size=9, spacing=1)
    return whole


def curve(points: Sequence[tuple[int, float]], title: str) -> Image.Image:
    """Loss over samples; the loss on a logarithmic scale."""
    whole = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(whole)
    losses = [math.log10(max(loss, 1e-9)) for _, loss in points]
    low, high, last = min(losses), max(losses), max(seen for seen, _ in points)
    width, height = SIZE[0] - 2 * MARGIN, SIZE[1] - 2 * MARGIN
    at = [
        (MARGIN + width * seen / max(last, 1), MARGIN + height * (high - loss) / ((high - low) or 1))
        for (seen, _), loss in zip(points, losses, strict=True)
    ]
    draw.rectangle([MARGIN, MARGIN, MARGIN + width, MARGIN + height], outline="gray")
    draw.line(at, fill="#3060c0", width=2)
    draw.text((MARGIN, 12), f"{title}: loss {10**high:.4g} ... {10 ** losses[-1]:.4g} over {last} samples", fill="black")
    return whole
