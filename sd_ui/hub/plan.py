"""Which files of a repository make a model that can be loaded here, and nothing besides: no pickles, no second precision, no safety checker."""

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sd_ui.hub.hub import Hub, RemoteFile, Repository
from sd_ui.hub.names import Wanted, safe
from sd_ui.models import files, flow_folders, folders, header
from sd_ui.models.header import Unreadable
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.values import shown

WEIGHTS = re.compile(r"(diffusion_pytorch_model|model)(\.fp16)?(?:-(\d{5})-of-(\d{5}))?(\.fp16)?\.safetensors")
INDEX = re.compile(r"(diffusion_pytorch_model|model)\.safetensors\.index(\.fp16)?\.json")
PICKLES, SINGLE, FACTS = (".bin", ".ckpt", ".pt", ".pth", ".msgpack"), (".safetensors", ".gguf"), (".json", ".txt", ".model", ".jinja")
NOT_USED = ("safety_checker", "image_encoder")
LONGEST_FACTS = 64 * 2**20  # bytes of a config or of a tokenizer's table
GGUF_HEAD = 8 * 2**20  # bytes in which the head of a GGUF file lies, text models' vocabularies too
LISTED = 40  # files that a question names


@dataclass(frozen=True)
class Plan:
    """What is fetched. layout: "folder" or "file". half: whether weights are in half precision because there was a choice."""

    repository: Repository
    layout: str
    files: tuple[RemoteFile, ...]
    half: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)

    @property
    def name(self) -> str:
        """As the index will call it, where the models folder is laid out in no special way."""
        return self.repository.id if self.layout == "folder" else f"{self.repository.id}/{PurePosixPath(self.files[0].name).name}"

    @property
    def key(self) -> str:
        return self.name.replace("/", "--")


class Several(BadRequest):
    """More than one file could be meant. id: of the repository. choices: the files."""

    def __init__(self, id: str, why: str, choices: Sequence[RemoteFile]) -> None:
        super().__init__("hub", f"{id} {why}" + _listed(choices))
        self.id, self.choices = id, tuple(choices)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return BadRequest, (self.field, self.why)


def planned(hub: Hub, wanted: Wanted) -> Plan:
    """Asks the hub. Raises BadRequest("hub"), also for what could not be used once it was here; Several where somebody has to choose."""
    repository = hub.repository(wanted)
    for file in repository.files:
        if not safe(file.name) and not PurePosixPath(file.name).name.startswith("."):
            raise BadRequest("hub", f"{wanted.id} has a file called {shown(file.name)}, whose name is not safe here; nothing of it is fetched")
    if wanted.file:
        return _single(hub, repository, _named(repository, wanted.file))
    if any(file.name == folders.INDEX for file in repository.files):
        return _pipeline(hub, repository)
    if any(file.name == folders.CONFIG for file in repository.files) and _weights(_inside(repository, "")):
        return _vae(hub, repository)
    return _single(hub, repository, _only(repository))


# ---------------------------------------------------------------- one file
def _named(repository: Repository, name: str) -> RemoteFile:
    found = [file for file in repository.files if file.name == name] or [file for file in repository.files if file.name.endswith(f"/{name}")]
    if len(found) != 1:
        raise Several(repository.id, f"has no file {shown(name)}", _singles(repository))
    if not name.endswith(SINGLE):
        what = "may be a pickle, which can run any program" if name.endswith(PICKLES) else "is no model"
        raise BadRequest("hub", f"{shown(name)} {what}; only {' and '.join(SINGLE)} are fetched")
    return found[0]


def _only(repository: Repository) -> RemoteFile:
    found = _singles(repository)
    if len(found) > 1:
        raise Several(repository.id, f"has {len(found)} models; choose one", found)
    if not found:
        pickles = any(file.name.endswith(PICKLES) for file in repository.files)
        why = "only pickles, which can run any program when they are loaded" if pickles else "no model that can be used here"
        raise BadRequest("hub", f"{repository.id} has {why} (looked for: {' and '.join(SINGLE)})")
    return found[0]


def _singles(repository: Repository) -> list[RemoteFile]:
    parts = {PurePosixPath(file.name).parent for file in repository.files if PurePosixPath(file.name).name == folders.CONFIG} - {PurePosixPath(".")}
    return [file for file in repository.files if file.name.endswith(SINGLE) and PurePosixPath(file.name).parent not in parts]


def _listed(found: Sequence[RemoteFile]) -> str:
    names = ", ".join(f"{file.name} ({file.size / 1e9:.1f} GB)" for file in found[:LISTED])
    return f": {names}" if names else ""


def _single(hub: Hub, repository: Repository, file: RemoteFile) -> Plan:
    """A look at its header tells before gigabytes are fetched whether it can be used."""
    length = GGUF_HEAD
    if file.name.endswith(".safetensors"):
        start = hub.start_of(repository, file, 8)
        length = 8 + int.from_bytes(start, "little")
        if len(start) < 8 or length > header.LONGEST:
            raise BadRequest("hub", f"{file.name} is damaged: it does not begin as a safetensors file does")
    head = hub.start_of(repository, file, min(length, file.size))
    _usable(repository, file.name, lambda: files.judged(header.parsed(io.BytesIO(head), file.size)).fault)
    return Plan(repository, "file", (file,))


def _usable(repository: Repository, name: str, fault_of: Callable[[], str]) -> None:
    try:
        fault = fault_of()
    except Unreadable as error:
        fault = f"the file is {error}"
    if fault:
        raise BadRequest("hub", f"{name} of {repository.id} could not be used here: {fault}")


# ---------------------------------------------------------------- folders
def _pipeline(hub: Hub, repository: Repository) -> Plan:
    (named,) = (file for file in repository.files if file.name == folders.INDEX)
    index = _facts(hub, repository, named)
    if not any(index.get("_class_name") in family.pipelines for family in flow_folders.FAMILIES):
        _usable(repository, folders.INDEX, lambda: stranger.fault if (stranger := folders.stranger(index)) else "")
    parts = [part for part, entry in index.items() if isinstance(entry, list) and entry[-1:] != [None] and part not in NOT_USED]
    found = [_part(repository, part) for part in parts if _inside(repository, part)]
    chosen = [named, *(file for part, _ in found for file in part)]
    return Plan(repository, "folder", tuple(sorted(chosen, key=lambda file: file.size)), any(half for _, half in found))


def _vae(hub: Hub, repository: Repository) -> Plan:
    (named,) = (file for file in repository.files if file.name == folders.CONFIG)
    kind = _facts(hub, repository, named).get("_class_name")
    if kind not in folders.CLASSES["vae"]:
        raise BadRequest("hub", f"{repository.id} is a {shown(kind)} alone, which cannot be used here")
    weights, half = _chosen(repository, "", _weights(_inside(repository, "")))
    return Plan(repository, "folder", (named, *weights), half)


def _part(repository: Repository, part: str) -> tuple[list[RemoteFile], bool]:
    """The files of one part, and whether its weights are the half-precision ones of two kinds."""
    inside = _inside(repository, part)
    facts = [file for file in inside.values() if file.name.endswith(FACTS) and not INDEX.fullmatch(_last(file)) and file.size <= LONGEST_FACTS]
    kinds = _weights(inside)
    if not kinds:
        if any(
            _last(file).startswith(("diffusion_pytorch_model", "pytorch_model", "model")) and file.name.endswith(PICKLES) for file in inside.values()
        ):
            singles = _listed(_singles(repository))
            raise BadRequest("hub", f"the part {part} of {repository.id} is only there as a pickle, which can run any program"
                             + (f". It has single files, too{singles}" if singles else ""))  # fmt: skip
        return facts, False
    weights, half = _chosen(repository, part, kinds)
    return facts + weights, half


def _weights(inside: Mapping[str, RemoteFile]) -> dict[bool, list[RemoteFile]]:
    """Whole sets of weights with the tables of their pieces: by whether they are in half precision."""
    kinds: dict[bool, list[RemoteFile]] = {}
    for stem in ("diffusion_pytorch_model", "model"):
        for half in (False, True):
            found = [(file, match) for name, file in inside.items() if (match := WEIGHTS.fullmatch(name)) and match[1] == stem]
            found = [(file, match) for file, match in found if bool(match[2] or match[5]) == half]
            whole = [file for file, match in found if not match[3]]
            table = inside.get(f"{stem}.safetensors.index{'.fp16' if half else ''}.json")
            pieces = [file for file, match in found if match[3]]
            if whole:
                kinds.setdefault(half, whole[:1])
            elif table and pieces and len(pieces) == max(int(match[4]) for _, match in found if match[4]):
                kinds.setdefault(half, [table, *pieces])
    return kinds


def _chosen(repository: Repository, part: str, kinds: Mapping[bool, list[RemoteFile]]) -> tuple[list[RemoteFile], bool]:
    """Half precision where there is a choice: it is what is computed with on a card, and half as long on the way."""
    half = True in kinds
    return kinds[half], half and False in kinds


def _inside(repository: Repository, part: str) -> dict[str, RemoteFile]:
    """The files directly in one folder of it, by their names there."""
    return {_last(file): file for file in repository.files if str(PurePosixPath(file.name).parent) == (part or ".")}


def _last(file: RemoteFile) -> str:
    return PurePosixPath(file.name).name


def _facts(hub: Hub, repository: Repository, file: RemoteFile) -> dict[str, Any]:
    try:
        data = json.loads(hub.start_of(repository, file, min(file.size, folders.LONGEST)))
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, BadRequest) else BadRequest("hub", f"{file.name} of {repository.id} is damaged: it is not JSON") from error
    if not isinstance(data, dict):
        raise BadRequest("hub", f"{file.name} of {repository.id} is damaged: it is not a JSON object")
    return data
