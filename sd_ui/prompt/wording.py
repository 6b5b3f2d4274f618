"""From what a person wrote to what each picture is told: styles joined, wildcards resolved with the picture's own seed, and all of it checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sd_ui.prompt import problems, styles, variants, wildcards
from sd_ui.prompt.comments import stripped
from sd_ui.prompt.lists import Lists, WildcardFiles
from sd_ui.prompt.styles import PLACE, Style
from sd_ui.prompt.wildcards import LONGEST, Unresolvable
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import GenerationRequest, Words
from sd_ui.spec.values import unknown

PROMPTS = ("prompt", "negative_prompt")
LONGEST_ALL = 10 * LONGEST  # characters of a job's prompts together, where they differ from picture to picture


@dataclass(frozen=True)
class Wording:
    """style_places: files, or folders of them. Both are read anew each time, so that a file that was just changed counts."""

    style_places: tuple[Path, ...] = ()
    wildcards: WildcardFiles = WildcardFiles(())

    def styles(self) -> dict[str, Style]:
        return styles.read(self.style_places)

    def worded(self, request: GenerationRequest) -> GenerationRequest:
        """With the words of each picture, where they are not the prompts as they stand. Raises BadRequest."""
        templates = {name: self._styled(name, getattr(request, name), request.styles) for name in PROMPTS}
        lists = self.wildcards.now() if any("__" in text for text in templates.values()) else Lists({})
        seeds = [request.seed_of(index) for index in range(request.count)]
        words = tuple(map(Words, *(resolved(name, templates[name], seeds, lists) for name in PROMPTS)))
        check(request, words)
        changed = any(said != Words(request.prompt, request.negative_prompt) for said in words)
        return replace(request, words=words if changed else ())

    def _styled(self, name: str, text: str, asked: tuple[str, ...]) -> str:
        """Comments go first: A1111 leaves them, and then one at the end swallows the style behind it."""
        if not asked:
            return text
        known, text = self.styles(), stripped(text)
        for style in asked:
            text = joined(name, text, stripped(getattr(named(style, known), name)))
        return text


def resolved(name: str, text: str, seeds: Sequence[int], lists: Lists) -> list[str]:
    """The text for each seed. Comments go where something is chosen, so that they may hold anything."""
    if variants.parse(text).fixed:
        return [text] * len(seeds)
    try:
        template = wildcards.parsed(stripped(text))
        return [wildcards.chosen(template, seed, lists, name) for seed in seeds]
    except Unresolvable as error:
        raise BadRequest(name, str(error)) from None
    except OSError as error:
        raise BadRequest(name, f"a wildcard file cannot be read: {error.strerror}") from None


def named(style: str, known: Mapping[str, Style]) -> Style:
    found = known.get(style) or {name.casefold(): each for name, each in known.items()}.get(style.casefold())
    if found is None:
        raise BadRequest("styles", unknown(style, known) if known else f"{style!r} is not known; there are no styles")
    return found


def joined(name: str, text: str, style: str) -> str:
    """Raises BadRequest for what would be too long, before it is made."""
    if len(style) + len(text) * max(1, style.count(PLACE)) > LONGEST:
        raise BadRequest(name, f"with its styles it is longer than {LONGEST} characters")
    return styles.merged(text, [style])


def check(request: GenerationRequest, words: tuple[Words, ...]) -> None:
    """Raises BadRequest for what cannot be used; what is only odd is for the page to say."""
    different = {(name, getattr(said, name)) for said in words for name in PROMPTS}
    if len(different) > len(PROMPTS) and sum(len(text) for _, text in different) > LONGEST_ALL:
        raise BadRequest("prompt", f"the prompts of all pictures together are longer than {LONGEST_ALL} characters; ask for fewer pictures")
    for name, text in sorted(different):
        for problem in problems.found(text, negative=name == "negative_prompt", emphasis=request.emphasis):
            if problem.fatal:
                raise BadRequest(name, f"{problem.why} (at character {problem.start + 1})")
