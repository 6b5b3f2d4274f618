"""Findings kept on the disk, so that thousands of models are not looked into at each start. Layers of LoRAs are kept once for all that share them."""

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import sd_ui
from sd_ui.models import tokens
from sd_ui.models.finding import Finding
from sd_ui.models.folders import TOKENIZERS
from sd_ui.models.kept import Kept
from sd_ui.models.lora_keys import Layer
from sd_ui.models.stamps import Stamp
from sd_ui.spec import cards
from sd_ui.spec.codec import dump, load

Layers = tuple[tuple[Layer, int, int], ...]
MOST = 8 * 2**20  # bytes of the layers of one LoRA


class Findings:
    """folder: where the two files are; None: in memory only. about: what else an answer depends on, besides the file and this code."""

    def __init__(self, folder: Path | None, about: str = "") -> None:
        made_by = fingerprint(about)
        self._layers: Kept[Layers] = Kept(folder and folder / "layers.jsonl", made_by, _packed, lambda path, raw: _unpacked(raw))
        self._shared: dict[Layers, str] = {}
        self._names: dict[str, Layers] = {"": ()}
        self._findings: Kept[Finding] = Kept(folder and folder / "findings.jsonl", made_by, self._written, self._read)

    def get(self, path: Path, stamp: Stamp) -> Finding | None:
        return self._findings.get(path, stamp)

    def put(self, path: Path, stamp: Stamp, finding: Finding) -> None:
        self._findings.put(path, stamp, finding)

    def flush(self) -> None:
        self._findings.flush()
        self._layers.flush()

    # ------------------------------------------------------------ as JSON
    def _written(self, finding: Finding) -> Any:
        plain = {name: value for name, value in vars(finding).items() if name not in ("layers", "tokenizer")}
        tokenizer = finding.tokenizer.name if finding.tokenizer else ""
        return dump(Finding(**plain)) | {"tokenizer": tokenizer, "layers": self._named(finding.layers)}

    def _read(self, path: Path, raw: Any) -> Finding:
        tokenizer, name = raw.pop("tokenizer"), raw.pop("layers")
        finding: Finding = load(Finding, raw, "finding")
        place = path / tokenizer if tokenizer in TOKENIZERS.values() else tokens.T5 if tokenizer == tokens.T5.name else None
        return Finding(**(vars(finding) | {"tokenizer": place, "layers": self._layers_of(name)}))

    def _named(self, layers: Layers) -> str:
        if not layers:
            return ""
        if layers not in self._shared:
            name = hashlib.sha256(json.dumps(layers).encode()).hexdigest()
            self._shared[layers] = name
            self._layers.put(Path(name), _stamp(name), layers)
        return self._shared[layers]

    def _layers_of(self, name: str) -> Layers:
        """Raises ValueError where they are not there: the file is looked into again then."""
        if name not in self._names:
            layers = self._layers.get(Path(name), _stamp(name))
            if layers is None:
                raise ValueError(f"no layers {name}")
            self._names[name] = layers
            self._shared[layers] = name
        return self._names[name]


def fingerprint(about: str) -> str:
    """Of the code that recognises models: what another version did not understand, this one may."""
    here = Path(__file__).parent
    digest = hashlib.sha256(f"{sd_ui.__version__} {about}".encode())
    for file in (*sorted(here.glob("*.py")), Path(cards.__file__)):
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()


def _stamp(name: str) -> Stamp:
    return ((name, 0, 0),)


def _packed(layers: Layers) -> str:
    return base64.b64encode(zlib.compress(json.dumps(layers).encode())).decode()


def _unpacked(raw: Any) -> Layers:
    unpack = zlib.decompressobj()
    try:
        data = unpack.decompress(base64.b64decode(raw, validate=True), MOST)
    except zlib.error as error:
        raise ValueError("damaged layers") from error
    return tuple((Layer(str(part), str(name)), int(rows), int(columns)) for (part, name), rows, columns in json.loads(data))
