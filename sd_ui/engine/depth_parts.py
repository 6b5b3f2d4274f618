"""The depth estimator that a model brings, and what prepares pictures for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import (
    BaseImageProcessor,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    GLPNConfig,
    GLPNForDepthEstimation,
    GLPNImageProcessor,
    PreTrainedModel,
)

from sd_ui.engine import parts
from sd_ui.engine.device import Place
from sd_ui.models import folders

PART = "the depth estimator"
KINDS: Mapping[str, tuple[Any, Any, Any]] = {
    "dpt": (DPTConfig, DPTForDepthEstimation, DPTImageProcessor),
    "glpn": (GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessor),
}
FOREIGN = ("use_pretrained_backbone", "use_timm_backbone")  # would fetch weights, or build classes that the config names
PROCESSOR_FACTS = (
    "do_resize", "size", "keep_aspect_ratio", "ensure_multiple_of", "resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean",
    "image_std", "do_pad", "size_divisor",
)  # fmt: skip


def of_folder(path: Path, place: Place) -> tuple[PreTrainedModel | None, BaseImageProcessor | None]:
    """(None, None) where the model brings none."""
    folder = path / "depth_estimator"
    if not (folder / folders.CONFIG).is_file():
        return None, None
    config = folders.config(folder / folders.CONFIG)
    model_type = str(config.get("model_type"))
    if model_type not in KINDS or any(config.get(name) for name in FOREIGN):
        raise parts.unfit(PART, f"it is of the type {model_type!r}; only {' and '.join(KINDS)} without a foreign backbone are loaded")
    make_config, kind, _ = KINDS[model_type]
    estimator: PreTrainedModel = parts.built(PART, lambda: kind(make_config(**_plain(config))), parts.read(*folders.weights(folder)), place)
    return estimator, _processor(path, model_type)


def _processor(path: Path, model_type: str) -> BaseImageProcessor:
    """Its facts stand beside the estimator, or where Stable Diffusion 2's depth model has them."""
    _, _, kind = KINDS[model_type]
    files = (path / part / "preprocessor_config.json" for part in ("depth_estimator", "feature_extractor"))
    config = next((folders.config(file) for file in files if file.is_file()), {})
    processor: BaseImageProcessor = kind(**{name: config[name] for name in PROCESSOR_FACTS if name in config})
    return processor


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in config.items() if name not in ("architectures", "dtype", "torch_dtype", "transformers_version", "auto_map")
    }
