"""What the components show, as plain values: of an event, a picture, a job, a model. No widgets, no waiting."""

import base64
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from sd_ui.jobs import foretold
from sd_ui.prompt import coined
from sd_ui.prompt.coined import Vocabulary
from sd_ui.spec.cards import LoraFacts, ModelCard
from sd_ui.spec.events import Eased, Event, Loading, Mapped, Stepped

View = dict[str, Any]
MODES = {"txt2img": "txt2img", "img2img": "img2img", "inpaint": "Inpaint", "depth2img": "Depth"}
HINT = "Checkpoints of Stable Diffusion 1.x, 2.x and XL can be used too, as .safetensors or diffusers folders: put them into {folder} and refresh."
PROBLEMS = 4  # that are shown of a prompt
AROUND, QUOTED = 8, 24  # characters of the prompt beside a problem, and of the problem itself
PROMPT_CHARACTERS = 120  # of a prompt in the queue panel
LARGEST_STRIP = 300_000  # bytes


def idle(picture: Any = None) -> View:
    return {"state": "idle", "shown": None if picture is None else picture_view(picture)}


def waiting(job: Any, before: int, state: Any, wait: float | None = None) -> View:
    """state: of the engine. before: how many jobs, whosever they are, come first. wait: seconds that they take, where that is known."""
    lasting = f", about {foretold.duration(wait)}" if wait else ""
    text = f"Waiting for {before} job{'s' if before > 1 else ''} before this one{lasting}" if before else "Next in line"
    return {"state": "waiting", "job": job.id, "text": text if state.phase == "ready" else f"Waiting for the engine: {state.text}"}


def foreseen(report: Mapping[str, Any]) -> View:
    """report: as plain values. A refusal is said as Generate would say it."""
    lines = [line | {"text": foretold.labelled(line["field"], line["text"])} if line["severity"] == "refuse" else line for line in report["lines"]]
    return {"text": report["text"], "lines": lines}


def ended(job: Any, picture: Any = None) -> View:
    """picture: the last one that the job made."""
    text = {"done": job.note, "failed": job.note, "cancelled": "Cancelled"}[job.state]
    return {"state": job.state, "job": job.id, "text": text, "shown": None if picture is None else picture_view(picture)}


def of_event(job: Any, event: Event) -> View | None:
    """None where an event does not change the large picture."""
    match event:
        case Loading(what):
            return {"state": "loading", "job": job.id, "text": f"Loading {what}"}
        case Eased(text):
            return {"state": "loading", "job": job.id, "text": text}
        case Stepped():
            return {"state": "running", "job": job.id, "src": jpeg(event.preview), **progress(event)}
    return None


def progress(event: Stepped) -> View:
    names = ("index", "total", "picture", "count", "elapsed", "remaining")
    return {name: getattr(event, name) for name in names}


def jpeg(preview: bytes | None) -> str | None:
    return None if preview is None else "data:image/jpeg;base64," + base64.b64encode(preview).decode()


def depth_map(event: Mapped) -> View:
    return {"src": "data:image/png;base64," + base64.b64encode(event.png).decode()}


def picture_view(picture: Any) -> View:
    return {"id": picture.id, "job": picture.job, "seed": str(picture.seed), "width": picture.width, "height": picture.height}


def results(pictures: Sequence[Any], asked: int) -> View:
    return {"pictures": [picture_view(picture) for picture in pictures], "more": len(pictures) >= asked}


def queue(jobs: Sequence[Any], waits: Mapping[str, float | None] = MappingProxyType({})) -> View:
    """waits: seconds until each of the waiting ones begins, where that is known."""
    return {"jobs": [job_view(job, waits.get(job.id)) for job in jobs]}


def starts(wait: float | None) -> str:
    return f" · starts in {foretold.duration(wait)}" if wait else ""


def job_view(job: Any, wait: float | None = None) -> View:
    request = job.request
    prompt = " ".join(request.prompt.split())[:PROMPT_CHARACTERS] or "(no prompt)"
    facts = f"{MODES[request.mode]} · {request.width}×{request.height} · {request.sampling.steps} steps"
    count = f" · {request.count} pictures" if request.count > 1 else ""
    return {"id": job.id, "number": job.number, "state": job.state, "text": prompt, "facts": facts + count + starts(wait), "note": job.note}


def engine(state: Any) -> View:
    return {"phase": state.phase, "text": state.text, "facts": dict(state.facts)}


def about(card: ModelCard | None, folder: str) -> View:
    hint = HINT.format(folder=folder)
    if card is None:
        return {"title": "No model", "text": "", "examples": [], "strip": "", "hint": hint}
    told = {"title": card.title or card.name, "text": card.fault or (card.lack if not card.defaults.vae else "") or card.about, "hint": hint}
    return told | {"examples": list(card.examples), "strip": "" if card.samples is None else strip(card.samples)}


def loras(fitting: Sequence[ModelCard], every: Sequence[ModelCard]) -> View:
    """fitting: those of `every` LoRA that the chosen model can wear. The name is the shortest that a tag can say."""
    stems = Counter(card.path.stem.casefold() for card in every)
    starred = sorted(fitting, key=lambda card: not card.own.starred)
    shown = [lora(card, card.path.stem if stems[card.path.stem.casefold()] == 1 else card.name) for card in starred]
    return {"loras": [view for view in shown if not set(view["name"]) & set("<>:")], "others": len(every) - len(fitting)}


def embeddings(every: Sequence[ModelCard], known: Vocabulary) -> View:
    """every: those that can be read. Each by the shortest name that a prompt can say, of those that the chosen model understands."""
    stems = Counter(coined.called(card).casefold() for card in every)
    fitting = {entry.word.name for entry in known.entries if not entry.misfit}
    cards = sorted((card for card in every if card.name in fitting), key=lambda card: not card.own.starred)
    shown = [embedding(card, coined.called(card) if stems[coined.called(card).casefold()] == 1 else card.name) for card in cards]
    return {"embeddings": shown, "other_embeddings": len(every) - len(cards)}


def embedding(card: ModelCard, name: str) -> View:
    count = card.inversion.vectors if card.inversion else 1
    facts = f"Embedding, {count} vector{'s' if count > 1 else ''}"
    return lora(card, name) | {"facts": facts}


def lora(card: ModelCard, name: str) -> View:
    facts = card.lora or LoraFacts()
    rank = f", rank {facts.rank}" if facts.rank else ""
    return {
        "name": name,
        "facts": facts.method + rank,
        "words": list(card.triggers),
        "weight": 1.0 if card.beside.weight is None else card.beside.weight,
        "preview": f"previews/{quote(card.name)}" if card.beside.preview else "",
    }


def strip(path: Path) -> str:
    """The pictures of a card's examples as a data-URI, "" where they cannot be read or are larger than a page should carry."""
    try:
        return "data:image/webp;base64," + base64.b64encode(path.read_bytes()).decode() if path.stat().st_size <= LARGEST_STRIP else ""
    except OSError:
        return ""


def tokens(used: int, chunks: int, size: int, parts: int = 1) -> str:
    """Plain numbers only: this goes into markup."""
    more = f" · {int(chunks)} chunks" if chunks > 1 else ""
    joined = f" · {int(parts)} parts" if parts > 1 else ""
    return f"{int(used)} / {int(chunks * size)} tokens{more}{joined}"


def problems(text: str, found: Sequence[Any]) -> str:
    """Markup: a line for each, with its place in the prompt. What a person wrote is escaped. A press on a line selects the place."""
    lines = [
        f"<li class='{'fatal' if problem.fatal else 'odd'}' tabindex='0' data-start='{problem.start:d}' data-end='{problem.end:d}'>"
        f"<code>{html.escape(excerpt(text, problem.start, problem.end))}</code> {html.escape(problem.why)}</li>"
        for problem in found[:PROBLEMS]
    ]
    more = f"<li>and {len(found) - PROBLEMS} more</li>" if len(found) > PROBLEMS else ""
    return f"<ul data-length='{len(text)}'>{''.join(lines)}{more}</ul>" if found else ""


def excerpt(text: str, start: int, end: int) -> str:
    """The place, with some of what stands before and behind it."""
    before, behind = max(0, start - AROUND), min(len(text), min(end, start + QUOTED) + AROUND)
    return ("…" if before else "") + " ".join(text[before:behind].split()) + ("…" if behind < len(text) else "")


def wrong(field: str, why: str, labels: Mapping[str, str]) -> View:
    return {"kind": "error", "field": field, "text": f"{labels.get(field, field)}: {why}"}


def noted(notes: Sequence[str]) -> View | None:
    return {"kind": "note", "field": "", "text": " ".join(notes)} if notes else None
