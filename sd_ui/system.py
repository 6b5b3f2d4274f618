"""What this server computes with, how fast it lately was, and what is missing: in words, for the page's panel System."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sd_ui import doctor
from sd_ui.doctor import Finding
from sd_ui.forecast.speeds import Speed, speeds
from sd_ui.services import Services
from sd_ui.spec.cards import ModelCard

READY, FAILED = "ready", "failed"
SHOWN = 12  # models with a fault that are named
NAMES = {  # of the engine's facts, in this order; further ones follow under their own names
    "device": "Computes on", "dtype": "Number type", "attention": "Attention", "threads": "Threads", "how it runs": "How it runs",
    "models": "In memory", "memory": "Filled",
}  # fmt: skip
TYPES = {
    "float32": "float32: 4 bytes for each weight, exact", "float16": "float16: 2 bytes for each weight",
    "bfloat16": "bfloat16: 2 bytes for each weight",
}  # fmt: skip
KERNELS = {
    "sdpa": "PyTorch's own (scaled dot product)", "xformers": "xformers", "sliced": "in slices: slow, and of little memory",
    "plain": "diffusers' plain one",
}  # fmt: skip


@dataclass(frozen=True)
class Section:
    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class System:
    """missing: what is wrong, or could be better, each with what helps. speeds: measured here, the last first."""

    sections: tuple[Section, ...]
    missing: tuple[Finding, ...]
    speeds: tuple[Speed, ...]


def system(services: Services) -> System:
    """Takes a second the first time: packages are asked for their versions, and whether they work."""
    parts: tuple[tuple[str, Callable[[Services], Iterator[Finding]]], ...] = (
        ("Engine", engine),
        ("Memory", memory),
        ("Models", models),
        ("Disk", disk),
        ("Versions", versions),
    )
    sections = tuple(Section(title, tuple(find(services))) for title, find in parts)
    found = [finding for section in sections for finding in section.findings]
    missing = [finding for finding in found if finding.fault] + [finding for finding in found if finding.remedy and not finding.fault]
    return System(sections, tuple(missing), tuple(speeds(services.foresight.measurements.known())))


def engine(services: Services) -> Iterator[Finding]:
    state = services.worker.state
    fault = state.phase == FAILED
    yield Finding("State", state.text, "See the log of the server; doctor says more: python -m sd_ui doctor" if fault else "", fault)
    facts = {name: text for name, text in state.facts.items() if text and name != "torch"}
    for name in [*(name for name in NAMES if name in facts), *(name for name in facts if name not in NAMES)]:
        text = {"dtype": TYPES, "attention": KERNELS}.get(name, {}).get(facts[name], facts[name])
        yield Finding(NAMES.get(name, name.capitalize()), text)
    if state.facts.get("attention") == "sliced":
        yield Finding("Attention is slow", "no fast kernel works on this device", "Update PyTorch, or install xformers: pip install xformers")


def memory(services: Services) -> Iterator[Finding]:
    room = services.foresight.room()
    if room is None:
        yield Finding("Free", "known when the engine is ready")
        return
    yield Finding("Free on the device", f"{room.free / 1e9:.1f} GB")
    limit = services.settings.model_memory_mb
    yield Finding("Models may fill", f"{limit / 1000:.1f} GB, as set" if limit else "a share of the memory that is chosen automatically")
    ahead = services.foresight.waits.ahead()
    yield Finding("Queue", "empty" if not ahead.jobs else f"{ahead.jobs} job{'s' if ahead.jobs > 1 else ''}")


def models(services: Services) -> Iterator[Finding]:
    cards = list(services.models.cards().values())
    usable = [card for card in cards if not card.fault]
    yield Finding("Usable", ", ".join(counted(usable)) or "none")
    broken = [card for card in cards if card.fault]
    for card in broken[:SHOWN]:
        yield Finding(card.name, f"cannot be used: {card.fault}", advice(card))
    if len(broken) > SHOWN:
        yield Finding("Further ones", f"{len(broken) - SHOWN} more cannot be used; the tab Models names them all")


def counted(cards: list[ModelCard]) -> Iterator[str]:
    for kind, word in (("checkpoint", "checkpoint"), ("vae", "VAE"), ("lora", "LoRA"), ("embedding", "embedding")):
        if count := sum(card.kind == kind for card in cards):
            yield f"{count} {word}{'s' if count > 1 else ''}"


def advice(card: ModelCard) -> str:
    """What helps against a fault, where anything does."""
    for words, helps in (
        ("download", "Download it again."),
        ("damaged", "Get a whole copy of it."),
        ("pickle", "Get it as .safetensors."),
        ("link", "Add its folder with --models-dir."),
    ):
        if words in card.fault:
            return helps
    return ""


def disk(services: Services) -> Iterator[Finding]:
    """Strangers are not told where the files lie."""
    for finding in doctor.outputs(services.settings):
        text = finding.says.rpartition(", ")[2] if services.settings.open_to_all else finding.says
        yield Finding("Outputs", text, finding.remedy, finding.fault)


def versions(services: Services) -> Iterator[Finding]:
    yield from doctor.program(services.settings)
    yield from doctor.packages(services.settings)
    if "torch" in sys.modules:  # else they would import it before the engine does
        yield from doctor.xformers(services.settings)
        yield from doctor.controlnet_aux(services.settings)


def ago(when: str, now: datetime | None = None) -> str:
    """when: ISO 8601 with a zone."""
    try:
        seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(when)).total_seconds()
    except (ValueError, TypeError):
        return ""
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
