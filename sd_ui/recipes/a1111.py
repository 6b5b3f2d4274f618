"""The text that A1111 made common, and what Forge, SD.Next, Fooocus, Civitai and others put into it besides."""

from sd_ui.imaging import infotext
from sd_ui.recipes import civitai, data, names
from sd_ui.recipes.recipe import Draft, Recipe
from sd_ui.spec.fields import NONE
from sd_ui.spec.samplers import AUTOMATIC

HASHES = {"Model hash": "model", "VAE hash": "vae"}
SILENT = ("Version", "RNG", "User")  # they change nothing by themselves
DIFFERENT = {  # by how a key begins: what is missing here, so that the picture comes out differently
    "ControlNet": "ControlNet took part in it; that was not taken over.",
    "ADetailer": "ADetailer went over it afterwards; that was not taken over.",
    "Token merging ratio": "Tokens were merged to save time; that was not taken over.",
    "Tiling": "It was made to be tiled; that was not taken over.",
    "Variation seed": "Noise of a second seed was mixed in; that was not taken over.",
    "Seed resize from": "Its noise was drawn for another size; that was not taken over.",
    "ENSD": "The noise of its steps was drawn with another seed (ENSD); that was not taken over.",
    "Schedule bias": "It was inpainted softly in A1111's own way; here a soft edge is differential diffusion.",
    "Face restoration": "Faces were restored in it; that was not taken over.",
}
SAMPLERS_OWN = ("Eta", "Sigma ", "Schedule m", "Schedule rho", "Discard penultimate sigma", "SGM noise multiplier", "NGMS", "Noise Schedule")
PROGRAMS = {
    "sdui": "SD UI",
    "Fooocus": "Fooocus",
    "f": "Forge",
    "neo": "Forge Neo",
    "v": "AUTOMATIC1111",
    "ComfyUI": "ComfyUI",
    "EasyDiffusion": "Easy Diffusion",
}
LORA_WEIGHTS = "Lora weights"  # Fooocus' place for them


def read(text: str) -> Recipe:
    """A text without parameters is a prompt and nothing else."""
    reading = infotext.values(text)
    draft = Draft(_program(reading.others), text)
    draft.values, draft.notes = dict(reading.values), list(reading.notes)
    others = dict(reading.others)
    if draft.values.get("vae") == NONE:  # there it means the model's own
        draft.values["vae"] = AUTOMATIC
    for key, what in HASHES.items():
        draft.hash(what, others.pop(key, ""))
    draft.hash("refiner", infotext.parse(text).get("Refiner", "").rpartition("[")[2].rstrip("]"))
    _loras(draft, others)
    _embeddings(draft, others)
    civitai.hashes(draft, data.parsed(others.pop("Hashes", "")))
    civitai.resources(draft, data.parsed(others.pop("Civitai resources", "")))
    _fooocus(draft, others)
    for begin, words in DIFFERENT.items():
        if any(key.startswith(begin) for key in others):
            draft.note(words)
    if own := [key for key in others if key.startswith(SAMPLERS_OWN)]:
        draft.note(f"Settings of the sampler that are not here were changed: {data.shown(', '.join(own))}.")
    draft.rest(others, SILENT)
    return draft.made(reading.mode)


def _program(others: dict[str, str]) -> str:
    version, app = others.get("Version", ""), others.get("App", "")
    if app or "Civitai resources" in others:
        return data.shown(app) if app else "Civitai"
    return next((name for begin, name in PROGRAMS.items() if version.startswith(begin)), "" if not others else "AUTOMATIC1111's form")


def _loras(draft: Draft, others: dict[str, str]) -> None:
    """ "name: hash, name: hash". Fooocus says the weights beside them, where others have tags in the prompt."""
    hashes, weights = (_named(others.pop(key, "")) for key in ("Lora hashes", LORA_WEIGHTS))
    for name, digits in hashes.items():
        draft.hash(f"lora:{name}", digits)
    for name, weight in weights.items():
        if f"<lora:{name}" not in draft.values.get("prompt", ""):
            draft.wear(name, weight, sha256=hashes.get(name, ""))


def _embeddings(draft: Draft, others: dict[str, str]) -> None:
    """They are in the prompts by their names; some programs list the names besides."""
    for name, digits in _named(others.pop("TI hashes", "")).items():
        draft.hash(f"embedding:{name}", digits)
    others.pop("TI", "")


def _named(text: str) -> dict[str, str]:
    rows = [row.rpartition(":") for row in text.split(",")[:200]]
    return {name.strip(): said.strip() for name, colon, said in rows if colon and name.strip()}


def _fooocus(draft: Draft, others: dict[str, str]) -> None:
    """Its schedule has another key, and its sampler the name of a function."""
    if "Scheduler" not in others or ("Performance" not in others and draft.program != "Fooocus"):
        return
    said = others.pop("Scheduler")
    sampler = draft.values.get("sampler") or names.of_k_diffusion(others.get("Sampler", ""))
    if sampler:
        others.pop("Sampler", "")
        draft.sample(sampler, names.schedule(said), sampler, said)
    if draft.values.get("vae", "").startswith("Default"):
        draft.values["vae"] = AUTOMATIC
