"""Recognises a textual inversion embedding by its header: how many vectors stand for its word, and for which text encoders."""

from pathlib import Path

from sd_ui.models.finding import Finding, faulty
from sd_ui.models.header import Header, Unreadable
from sd_ui.spec.cards import INVERSION, InversionFacts

MARKS = ("emb_params", "string_to_param")  # what A1111's trainer and its followers call the one tensor
BOTH = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))  # of Stable Diffusion XL: kohya's names, diffusers'
FAMILIES = {(768,): "sd1", (1024,): "sd2", (768, 1280): "sdxl", (1280,): "sdxl-refiner"}  # by the widths of the vectors
MOST = 75  # tokens that CLIP reads at once
LONGEST_TOKEN = 60
FOLDERS = ("embeddings", "embedding")  # of other programs
CONVERT = " (docs/embeddings.md says how)"


def is_inversion(found: Header) -> bool:
    names = set(found.tensors)
    if any(names == set(both) for both in BOTH) or any(name.startswith(MARKS) for name in names):
        return True
    return len(names) == 1 and all(len(tensor.shape) in (1, 2) and (tensor.shape[-1],) in FAMILIES for tensor in found.tensors.values())


def recognised(found: Header) -> Finding:
    """Of a file that `is_inversion` takes for one."""
    try:
        names = tensors(found)
    except Unreadable as error:
        return faulty(f"is {error}", kind=INVERSION)
    shapes = [found.shape(name) for name in names]
    counts = {1 if len(shape) == 1 else shape[0] for shape in shapes}
    widths = tuple(shape[-1] for shape in shapes)
    vectors = max(counts)
    if vectors > MOST:
        return faulty(f"is an embedding of {vectors} vectors; a text encoder reads {MOST} words at once", kind=INVERSION)
    return Finding(INVERSION, FAMILIES.get(widths, ""), inversion=InversionFacts(vectors, widths, _token(names)))


def tensors(found: Header) -> tuple[str, ...]:
    """The names of its tensors, in the order of the text encoders. Raises Unreadable where they do not go together."""
    names = next((both for both in BOTH if set(both) == set(found.tensors)), tuple(found.tensors))
    shapes = [found.shape(name) for name in names]
    one_word = len(names) == 1 or any(set(names) == set(both) for both in BOTH)
    if not one_word:
        raise Unreadable(f"an embedding of {len(names)} words ({', '.join(sorted(names)[:3])}); only those of one word are read")
    if any(len(shape) not in (1, 2) or 0 in shape for shape in shapes) or len({shape[:-1] for shape in shapes}) > 1:
        raise Unreadable(f"a damaged embedding: its tensors have the shapes {', '.join(map(str, shapes))}")
    return names


def belongs(path: Path) -> bool:
    """Whether another program keeps its embeddings there: what cannot be read must be told from a checkpoint that cannot."""
    return any(part.casefold() in FOLDERS for part in path.parts[:-1])


def _token(names: tuple[str, ...]) -> str:
    """diffusers names the tensor by the word that stood for it in the training."""
    own = len(names) == 1 and not names[0].startswith(MARKS)
    return names[0] if own and len(names[0]) <= LONGEST_TOKEN and names[0].isprintable() else ""
