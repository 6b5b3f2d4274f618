"""Which program wrote a text, and what it says. A text is known by what is in it, so that pasted ones are read as those in files."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sd_ui.recipes import a1111, civitai, comfyui, data, drawthings, fooocus, invokeai, novelai, swarmui
from sd_ui.recipes.recipe import Recipe

Read = Callable[[dict[str, Any], dict[str, str]], Recipe | None]
PROGRAMS: tuple[Read, ...] = (swarmui.read, fooocus.read, invokeai.read, novelai.read, drawthings.read, civitai.read, comfyui.read)
PLACES = ("parameters", "UserComment", "invokeai_metadata", "sd-metadata", "Comment", "prompt", "workflow", "Dream", "hidden", "pasted")
BEFORE = ("prompt:", "workflow:", "Prompt:", "Workflow:")  # ComfyUI's in EXIF
SAMPLING = ("steps", "seed")  # what makes a text more than words


def read(texts: Mapping[str, str]) -> Recipe | None:
    """texts: of a file, by the names of their places, or one that was pasted. None where none of them says how a picture was made.

    Never raises. A text with settings is preferred to one with nothing but words, however good its place is.
    """
    given = {place: text for place, text in texts.items() if text.strip()}
    places = [place for place in PLACES if place in given] + [place for place in given if place not in PLACES]
    found = [recipe for place in places if (recipe := _read_one(given[place], given, place))]
    return next((recipe for recipe in found if any(name in recipe.values for name in SAMPLING)), found[0] if found else None)


def pasted(text: str) -> Recipe | None:
    return read({"pasted": text})


def _read_one(text: str, texts: dict[str, str], place: str) -> Recipe | None:
    for mark in BEFORE:
        text = text.strip().removeprefix(mark)
    found = data.parsed(text)
    if isinstance(found, dict):
        recipe = next((recipe for program in PROGRAMS if (recipe := program(found, texts))), None)
        return recipe and replace(recipe, text=text)
    if recipe := invokeai.dream(text.strip()):
        return replace(recipe, text=text)
    recipe = a1111.read(text) if found is None else None
    is_prompt = place in ("parameters", "pasted", "UserComment") and not text.lstrip().startswith(("{", "["))
    return recipe if recipe and (is_prompt or "steps" in recipe.values) else None
