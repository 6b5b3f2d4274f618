"""From a model card to a model in memory. Nothing of a model is executed: configs are data, weights come from safetensors."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from safetensors import SafetensorError

from sd_ui.engine import attention, load_file, load_folder
from sd_ui.engine.device import Place
from sd_ui.engine.family import Family
from sd_ui.engine.loaded import Loaded, Parts, Vae
from sd_ui.engine.sidecars import Sidecars
from sd_ui.models import amounts, folders, header
from sd_ui.models.finding import VAE
from sd_ui.models.hashes import Hashes
from sd_ui.models.header import Unreadable
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.errors import BadRequest

log = logging.getLogger(__name__)


def load(card: ModelCard, vae: ModelCard | None, place: Place, hashes: Hashes | None = None, sidecars: Sidecars | None = None) -> Loaded:
    """vae: another one than the checkpoint's own, which some files do not have. sidecars: where a copy may be that loads faster.

    Raises BadRequest("model" or "vae") that names the part and what is wrong with it.
    """
    hashes = hashes or Hashes()
    usable(card, "model")
    lent = _lent(card, vae, place)
    try:
        found = _parts(card, place, sidecars, lent)
        loaded = Loaded(
            card=card,
            vae_card=vae if lent else None,
            **vars(found),
            place=place,
            attention=attention.apply(found.denoiser, found.vae, place),
            model_hash=hashes.of(card.path),
            vae_hash=hashes.of(vae.path if lent and vae else card.path / "vae" if card.layout == "folder" else card.path),
        )
    except (BadRequest, Unreadable, SafetensorError, OSError) as error:
        if isinstance(error, BadRequest) and error.field == "vae":
            raise
        raise BadRequest("model", f"{card.name} cannot be used: {why(error)}") from error
    for view in (loaded.depth_unet, loaded.inpaint_unet):
        if view not in (None, loaded.denoiser):
            attention.apply(view, loaded.vae, place)
    return loaded if vae is None or lent else with_vae(loaded, vae, hashes)


def _lent(card: ModelCard, vae: ModelCard | None, place: Place) -> Callable[[Family], Vae] | None:
    """Makes the VAE of a checkpoint that comes without one. Raises BadRequest("vae")."""
    if VAE not in card.lacks:
        return None
    if vae is None:
        raise BadRequest("vae", card.lack or f"{card.name} comes without a VAE: choose one")
    return lambda family: _vae(vae, vae.path, family, place)


def _vae(owner: ModelCard, path: Path, family: Family, place: Place) -> Vae:
    """Raises BadRequest("vae")."""
    usable(owner, "vae")
    read = load_folder.vae if owner.layout == "folder" else load_file.vae
    try:
        return read(path, family, place)
    except (BadRequest, Unreadable, SafetensorError, OSError) as error:
        raise BadRequest("vae", f"{owner.name} cannot be used: {why(error)}") from error


def _parts(card: ModelCard, place: Place, sidecars: Sidecars | None, lent: Callable[[Family], Vae] | None) -> Parts:
    read = load_folder.model if card.layout == "folder" else partial(load_file.model, lent=lent, texts=dict(card.texts))
    if sidecars and (copy := sidecars.find(card, place)):
        try:
            return read(copy, replace(place, mapped=True), card.prediction)
        except (BadRequest, Unreadable, SafetensorError, OSError) as error:  # damaged, or removed by another program: it is only a copy
            log.warning("%s: its copy that loads faster cannot be used: %s", card.name, error)
            sidecars.drop(card, place)
    return read(card.path, place, card.prediction)


def with_vae(loaded: Loaded, card: ModelCard | None, hashes: Hashes | None = None) -> Loaded:
    """The same model, sharing everything, but with another VAE; None: with the checkpoint's own. Raises BadRequest("vae")."""
    owner = card or loaded.card
    path = loaded.card.path / "vae" if card is None and owner.layout == "folder" else owner.path
    vae = _vae(owner, path, loaded.family, loaded.place)
    try:
        name = attention.apply(loaded.denoiser, vae, loaded.place)
        return replace(loaded, vae=vae, vae_card=card, vae_hash=(hashes or Hashes()).of(path), attention=name)
    except (BadRequest, Unreadable, SafetensorError, OSError) as error:
        raise BadRequest("vae", f"{owner.name} cannot be used: {why(error)}") from error


def needs(card: ModelCard, place: Place) -> int:
    """Bytes that the model will take in memory, from its headers. Raises BadRequest("model") where they cannot be read."""
    try:
        files = (*folders.used(card.path), *(path for _, path in card.texts))
        found = [header.read(file) for file in files]
        size = place.dtype.itemsize
        return sum(one.numbers * size if card.stock else amounts.in_memory(one, size) for one in found)
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
