"""Makes the package index's torchvision importable beside a CPU build of torch.

That wheel is linked with CUDA. Beside a CPU torch its compiled part does not load, and `import torchvision` dies with "operator
torchvision::nms does not exist"; transformers (even CLIPTextModel), diffusers and controlnet_aux die with it, because they import
torchvision wherever it is installed. Only two operators are missing while it is imported. Once they are declared, its Python part works.
Where the compiled part loads, nothing is changed.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "torchvision"
MISSING = ("nms", "qnms")


def install() -> None:
    """Waits for the first import of torchvision and declares the operators just before it. Imports nothing heavy itself."""
    if NAME not in sys.modules and not any(isinstance(finder, _Ahead) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Ahead())


def declare(folder: Path) -> str:
    """folder: of the torchvision package. -> "native" where its compiled part works, else "declared"."""
    import torch

    if hasattr(torch.ops.torchvision, "nms") or _loads(folder):
        return "native"
    library = torch.library.Library(NAME, "FRAGMENT")
    for operator in MISSING:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    declare.library = library  # type: ignore[attr-defined]  # the declaration lives as long as this object
    return "declared"


class _Ahead(MetaPathFinder):
    """Finds torchvision as usual, with a loader that declares the operators first.

    Merely looking for it (find_spec, as transformers and diffusers do) still imports nothing.
    """

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == NAME else None
        if spec is not None and spec.loader is not None:
            spec.loader = _DeclaringLoader(spec.loader)
        return spec


class _DeclaringLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        declare(Path(str(module.__file__)).parent)
        self._loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:  # resources, source lines and the like are the real loader's business
        return getattr(self._loader, name)


def _loads(folder: Path) -> bool:
    import torch

    for compiled in (*sorted(folder.glob("_C*.so")), *sorted(folder.glob("_C*.pyd"))):
        try:
            torch.ops.load_library(str(compiled))
            return True
        except OSError:
            continue
    return False


def _nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Greedy non-maximum suppression. boxes (N, 4) as x1 y1 x2 y2, scores (N) -> indices that stay, best first."""
    import torch

    order = scores.argsort(descending=True)
    x1, y1, x2, y2 = boxes[order].unbind(1)
    area = (x2 - x1) * (y2 - y1)
    kept, alive = [], torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if alive[i]:
            kept.append(i)
            width = (torch.minimum(x2[i], x2) - torch.maximum(x1[i], x1)).clamp(min=0)
            height = (torch.minimum(y2[i], y2) - torch.maximum(y1[i], y1)).clamp(min=0)
            shared = width * height
            alive &= shared / (area[i] + area - shared) <= iou_threshold
    return order[torch.tensor(kept, dtype=torch.long)]
