"""What this installation can do, what is missing, and how to get it. It asks no network, and says why instead of failing."""

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sd_ui import __version__
from sd_ui.services import open_blobs, open_engine, open_models
from sd_ui.settings import Settings
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.request import EMBEDDED, ModelChoice

PINNED = ("torch", "diffusers", "transformers", "gradio", "accelerate", "safetensors", "numpy", "pillow", "scipy")
ROOM_MB = 1000


@dataclass(frozen=True)
class Finding:
    """fault: whether something is wrong. remedy: what helps, "" where nothing has to be done."""

    name: str
    says: str
    remedy: str = ""
    fault: bool = False


def findings(settings: Settings) -> list[Finding]:
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (program, packages, xformers, controlnet_aux, models, outputs, engine)
    return [finding for check in checks for finding in check(settings)]


def program(settings: Settings) -> Iterator[Finding]:
    yield Finding("SD UI", __version__)
    old = sys.version_info < (3, 11)
    remedy = "Install Python 3.11 or newer." if old else ""
    yield Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", remedy, old)


def packages(settings: Settings) -> Iterator[Finding]:
    for name in PINNED:
        version = version_of(name)
        remedy = "" if version else "Install what requirements.txt names: pip install -r requirements.txt"
        yield Finding(name, version or "is missing", remedy, not version)


def xformers(settings: Settings) -> Iterator[Finding]:
    """It only ever helps on NVIDIA cards, and PyTorch's own attention is as good: its absence is no fault."""
    version = version_of("xformers")
    if not version:
        yield Finding("xformers", "is not installed; PyTorch's own attention is used", "Not needed. On Linux and Windows: pip install xformers")
        return
    try:
        import torch
        import xformers.ops as ops
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding("xformers", f"{version}, not usable: {error}", "Not needed: PyTorch's own attention is used.")
        return
    if not torch.cuda.is_available():
        yield Finding("xformers", f"{version}, not usable: it needs an NVIDIA card; PyTorch's own attention is used")
        return
    try:
        ops.memory_efficient_attention(*[torch.zeros(1, 8, 1, 16, device="cuda", dtype=torch.float16)] * 3)
    except (NotImplementedError, RuntimeError) as error:
        yield Finding("xformers", f"{version}, not usable on this card: {first_line(error)}", "Not needed: PyTorch's own attention is used.")
        return
    yield Finding("xformers", f"{version}, usable")


def controlnet_aux(settings: Settings) -> Iterator[Finding]:
    version = version_of("controlnet-aux")
    if not version:
        yield Finding("controlnet-aux", "is not installed; nothing needs it yet", "pip install -r requirements.txt")
        return
    try:
        import torchvision  # the part that fails where torch and torchvision do not match; controlnet-aux itself takes 20 s to import
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding(
            "controlnet-aux", f"{version}, not usable: torchvision cannot be imported ({first_line(error)})", "pip install -r requirements.txt"
        )
        return
    missing = [name for name in ("cv2", "timm", "skimage", "scipy", "einops") if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("controlnet-aux", f"{version}, not usable: {', '.join(missing)} missing", "pip install -r requirements.txt")
    else:
        yield Finding("controlnet-aux", f"{version}, usable (torchvision {torchvision.__version__})")


def models(settings: Settings) -> Iterator[Finding]:
    cards = open_models(settings).cards().values()
    embedded = [card for card in cards if card.name == EMBEDDED and not card.fault]
    whole = "is there" if embedded else "is missing or damaged"
    yield Finding("embedded model", whole, "" if embedded else "Get a whole copy of sd_ui/embedded.", not embedded)
    for card in cards:
        if card.fault and card.name != EMBEDDED:
            yield Finding(f"model {card.name}", f"cannot be used: {card.fault}")
    usable = sum(not card.fault for card in cards)
    folders = ", ".join(str(folder.resolve()) for folder in settings.models_dir)
    yield Finding(
        "models",
        f"{usable} usable; looked into {folders}",
        "" if usable > 1 else "Put checkpoints (.safetensors, .gguf) or folders of diffusers there.",
    )


def outputs(settings: Settings) -> Iterator[Finding]:
    folder = existing(settings.outputs_dir.resolve())
    free = shutil.disk_usage(folder).free / 1e6
    little = free < ROOM_MB
    yield Finding(
        "outputs", f"{settings.outputs_dir.resolve()}, {free / 1000:.1f} GB free", "Free some space, or use --outputs-dir." if little else "", little
    )


def engine(settings: Settings) -> Iterator[Finding]:
    """The embedded model is loaded, as at a start: only then is it known which attention is really active."""
    try:
        opened = open_engine(settings, index := open_models(settings), open_blobs(settings))
        if not index.card(EMBEDDED).fault:
            with opened.manager.lease(ModelChoice()):
                pass
    except (ImportError, OSError, RuntimeError, BadRequest) as error:
        yield Finding("engine", f"does not start: {first_line(error)}", "pip install -r requirements.txt, or another --device and --dtype", True)
        return
    for name, value in opened.manager.facts().items():
        yield Finding(f"engine: {name}", value)


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def existing(folder: Path) -> Path:
    return folder if folder.exists() else existing(folder.parent)


def first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
