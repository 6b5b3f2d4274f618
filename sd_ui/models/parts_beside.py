"""What the file of a checkpoint may come without, and which other model gives it. Names and paths only; nothing is opened."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from sd_ui.models import lent_texts
from sd_ui.models.finding import VAE
from sd_ui.spec.cards import LATENTS, ModelCard

BESIDE = ".vae"  # AUTOMATIC1111's: anime.vae.safetensors beside anime.safetensors
STANDARD = {  # by family: what the VAEs are called that all of its checkpoints were trained with, or for
    "sd1": ("vae-ft-mse-840000*", "*ft-mse*", "*ft-ema*", "*kl-f8*"),
    "sd2": ("vae-ft-mse-840000*", "*ft-mse*", "*ft-ema*", "*kl-f8*"),
    "sdxl": ("sdxl_vae*", "sdxl-vae*", "*sdxl*vae*", "*xl*vae*"),
    "sdxl-refiner": ("sdxl_vae*", "sdxl-vae*", "*sdxl*vae*", "*xl*vae*"),
    "sd3": ("sd3*vae*", "sd3.5*vae*"),
    "flux": ("ae", "flux*vae*", "flux*ae*"),
}
WHERE = {"sd1": "vae-ft-mse-840000-ema-pruned.safetensors", "sd2": "vae-ft-mse-840000-ema-pruned.safetensors"}
WHERE |= dict.fromkeys(("sdxl", "sdxl-refiner"), "sdxl_vae.safetensors")
WHERE |= {"sd3": "sd3_vae.safetensors", "flux": "ae.safetensors"}


def completed(card: ModelCard, cards: Mapping[str, ModelCard]) -> ModelCard:
    """A checkpoint without a VAE gets one among its settings, where there is one that goes with it; without text encoders, their files."""
    card = lent_texts.completed(card, cards)
    if VAE not in card.lacks or card.defaults.vae:
        return card
    return replace(card, defaults=replace(card.defaults, vae=vae_for(card, cards.values())), lack=why(card))


def vae_for(card: ModelCard, cards: Iterable[ModelCard]) -> str:
    """The name of the VAE that lies beside it, of one that is called like it, or of its family's usual one; "" without."""
    vaes = [other for other in cards if other.kind == VAE and not other.fault]
    return next((vae.name for vae in _fitting(card, vaes)), "")


def why(card: ModelCard) -> str:
    """What can be done, in words."""
    name = WHERE.get(card.family, "")
    usual = f", or its family's usual one ({name}) into a folder of models" if name else ""
    return f"{card.name} comes without a VAE: choose one, or put one beside it as {card.path.stem}{BESIDE}{card.path.suffix}{usual}"


def _fitting(card: ModelCard, vaes: list[ModelCard]) -> Iterator[ModelCard]:
    stem = card.path.stem.casefold()
    called = [vae for vae in vaes if _stem(vae) in (stem + BESIDE, stem)]
    yield from sorted(called, key=lambda vae: (vae.path.parent != card.path.parent, _stem(vae) == stem))
    for pattern in STANDARD.get(card.family, ()):
        yield from (vae for vae in vaes if fnmatchcase(_stem(vae), pattern))
    yield from (vae for vae in vaes if vae.family and LATENTS.get(vae.family) == LATENTS.get(card.family))


def _stem(card: ModelCard) -> str:
    return (card.path.stem if card.layout == "file" else card.path.name).casefold()
