"""Seeds, noise and guidance between the fields' values and a request, there and back."""

import secrets
from collections.abc import Mapping
from typing import Any

from sd_ui.spec.errors import BadRequest
from sd_ui.spec.fields import FIELDS
from sd_ui.spec.request import GenerationRequest, Guidance, Noise

RANDOM_SEEDS = 2**32  # as elsewhere in the field: easy to read aloud, and exact in every language
APG = ("threshold", "momentum", "parallel")


def seed(said: int) -> int:
    """-1: a random one."""
    return secrets.randbelow(RANDOM_SEEDS) if said == -1 else said


def noise(source: str, said: Mapping[str, Any], notes: list[str]) -> Noise:
    """said: values by field, each within its range. A variation seed is kept where something varies. Raises BadRequest."""
    width, height = said["seed_resize_width"], said["seed_resize_height"]
    if bool(width // 8) != bool(height // 8):
        said_one = "width" if width else "height"
        raise BadRequest(f"seed_resize_{said_one}", "a seed is resized from a width and a height of at least 8 pixels each, or from neither")
    varied = said["variation_strength"] > 0
    if said["variation_seed"] != -1 and not varied:
        notes.append(unused("variation_seed", "at variation strength 0"))
    other = seed(said["variation_seed"]) if varied else 0
    return Noise(source, other, said["variation_strength"], width // 8 * 8, height // 8 * 8, said["eta_seed_delta"])


def guidance(method: str, layers: str, said: Mapping[str, Any], notes: list[str]) -> Guidance:
    """layers: of perturbed attention. The rest as above."""
    start, stop = said["guidance_start"], said["guidance_stop"]
    if start >= stop:
        raise BadRequest("guidance_stop" if stop < 1 else "guidance_start", f"guidance cannot start at {start:g} and stop at {stop:g}")
    apg = {name: said[f"apg_{name}"] for name in APG}
    if method != "APG":
        notes += [unused(f"apg_{name}", "without APG") for name, value in apg.items() if value != getattr(Guidance, name)]
        apg = {}
    return Guidance(method, said["cfg_rescale"], start, stop, **apg, **perturbed(layers, said, notes))


def perturbed(layers: str, said: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """What is said of perturbed-attention guidance, by the names in Guidance."""
    scale, adaptive = said["pag_scale"], said["pag_adaptive_scale"]
    if scale:
        return {"pag": scale, "pag_adaptive": adaptive, "pag_layers": layers}
    off = {"pag_adaptive_scale": adaptive != Guidance.pag_adaptive, "pag_layers": layers != Guidance.pag_layers}
    notes += [unused(name, "at PAG scale 0") for name, changed in off.items() if changed]
    return {}


def unused(name: str, why: str) -> str:
    return f"{FIELDS[name].label} means nothing {why}; it was not used."


def written(request: GenerationRequest, index: int = 0) -> dict[str, Any]:
    """One picture's, by field."""
    noise, guidance = request.noise_of(index), request.sampling.guidance
    return {
        "noise_source": noise.source,
        "variation_strength": noise.variation_strength,
        "variation_seed": str(noise.variation_seed if noise.variation_strength else -1),
        "seed_resize_width": noise.from_width,
        "seed_resize_height": noise.from_height,
        "eta_seed_delta": noise.eta_delta,
        "distilled_cfg_scale": request.sampling.distilled_cfg,
        "guidance": guidance.method,
        "cfg_rescale": guidance.rescale,
        "guidance_start": guidance.start,
        "guidance_stop": guidance.stop,
        **{f"apg_{name}": getattr(guidance, name) for name in APG},
        "pag_scale": guidance.pag,
        "pag_adaptive_scale": guidance.pag_adaptive,
        "pag_layers": guidance.pag_layers,
    }
