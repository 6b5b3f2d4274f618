"""What the tab Models shows, as plain values: cards, and everything that is known of one of them."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from sd_ui.spec.cards import INVERSION, LORA, Defaults, ModelCard
from sd_ui.spec.cards import TEXT as TEXT_ENCODER
from sd_ui.spec.fields import CHOICE, FIELDS, TEXT
from sd_ui.spec.samplers import AUTOMATIC, SAMPLERS
from sd_ui.ui import form
from sd_ui.ui.views import View

PAGE = 60  # cards at first, and further ones at a time
MOST = 3000
PACKED = ("Q2", "Q3", "Q4", "Q5", "Q6", "Q8", "IQ", "nf")  # how words begin for numbers in so few bits that nothing computes with them as they are
STAYS, WHOLE = " (in memory too, and unpacked at each step)", " (unpacked when it is loaded)"
SHORT = 10  # characters of A1111's short hash
KINDS = {"checkpoint": "Checkpoint", LORA: "LoRA", INVERSION: "Embedding", "vae": "VAE", TEXT_ENCODER: "Text encoder"}
FAMILIES = {"sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL", "sdxl-refiner": "SDXL refiner", "sd3": "SD 3", "flux": "Flux"}
FAMILIES |= {"clip_l": "CLIP-L", "clip_g": "CLIP-G", "t5": "T5"}  # of text encoders
USES = {"checkpoint": "Use this model", LORA: "Add to the prompt", INVERSION: "Add to the prompt", "vae": "Use this VAE"}


def shelf(found: Sequence[ModelCard], every: Mapping[str, ModelCard], hashes: Mapping[str, str], asked: int, editable: bool) -> View:
    """found: what fits the question, of which the first `asked` are shown. hashes: of the shown ones, where they are known."""
    families = sorted({card.family for card in every.values() if card.family})
    return {
        "cards": [card_view(card, hashes.get(card.name, "")) for card in found[:asked]],
        "total": len(found),
        "every": len(every),
        "kinds": [[kind, title] for kind, title in KINDS.items() if any(card.kind == kind for card in every.values())],
        "families": [[family, FAMILIES.get(family, family)] for family in families],
        "editable": editable,
        "detail": None,
        "message": None,
    }


def card_view(card: ModelCard, sha256: str) -> View:
    kind = card.lora.method if card.lora else KINDS.get(card.kind, card.kind)
    facts = [kind, FAMILIES.get(card.family, card.family), card.stored if card.kind == "checkpoint" else "", size(card.size)]
    return {
        "name": card.name,
        "title": card.title or card.name,
        "kind": card.kind,
        "facts": [fact for fact in facts if fact],
        "hash": sha256[:SHORT],
        "fault": card.fault,
        "starred": card.own.starred,
        "changed": bool(card.own.defaults),
        "preview": f"previews/{quote(card.name)}" if card.beside.preview else "",
    }


def detail(card: ModelCard, usual: Defaults, sha256: str, vaes: Sequence[str]) -> View:
    """usual: the settings before anybody changed them."""
    settings = card.kind == "checkpoint" and not card.fault
    return card_view(card, sha256) | {
        "use": "" if card.fault else USES.get(card.kind, ""),
        "more": [[name, value] for name, value in told(card, sha256) if value],
        "about": card.beside.about or card.about.strip(),
        "words": list(card.triggers),
        "theirs": card.beside.notes,
        "notes": card.own.notes,
        "fields": [field_view(name, card, usual, vaes) for name in vars(usual)] if settings else [],
        "schedules": {name: form.schedules(name) for name in SAMPLERS} if settings else {},
    }


def told(card: ModelCard, sha256: str) -> list[tuple[str, str]]:
    """Label and fact; "" where it is not known."""
    lora = card.lora
    return [
        ("Name", card.name),
        ("Its maker's title", card.beside.title),
        ("Family", FAMILIES.get(card.family, card.family)),
        ("Base model", card.beside.base),
        ("Can do", ", ".join(card.modes)),
        ("Predicts", card.prediction),
        ("Method", lora.method + (f", rank {lora.rank}" if lora.rank else "") if lora else ""),
        ("Vectors", str(card.inversion.vectors) if card.inversion else ""),
        ("Without", f"a VAE; {card.defaults.vae or 'none that goes with it is here'}" if card.lacks else ""),
        ("Best weight", f"{card.beside.weight:g}" if card.beside.weight else ""),
        ("Stored as", card.stored + ((WHOLE if card.stock else STAYS) if card.stored[:2] in PACKED else "")),
        ("Size", size(card.size)),
        ("SHA-256", sha256),
    ]


def field_view(name: str, card: ModelCard, usual: Defaults, vaes: Sequence[str]) -> View:
    """One entry of the form of defaults. value: what was changed, "" where nothing was."""
    field, own = FIELDS[name], card.own.defaults
    choices = {"sampler": list(SAMPLERS), "schedule": form.schedules(card.defaults.sampler), "vae": [AUTOMATIC, *vaes]}.get(name, [])
    kind = "choice" if field.kind == CHOICE else "text" if field.kind == TEXT else "number"
    said = own.get(name, "")
    return {
        "name": name, "label": field.label, "help": field.help, "kind": kind, "low": field.low, "high": field.high, "step": field.step,
        "choices": choices, "usual": shown(getattr(usual, name), name), "value": shown(said, name) if name in own else "",
    }  # fmt: skip


def shown(value: Any, name: str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or (AUTOMATIC if name == "vae" else "")


def size(count: int) -> str:
    """Bytes, as people say them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB" if count else ""
