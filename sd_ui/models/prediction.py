"""What a U-Net in one file was trained to predict. No field of the file says so: its header may, a config beside it, or its name."""

import re
from pathlib import Path

from sd_ui.models.header import Header

EPSILON, V = "epsilon", "v_prediction"
SPOKEN = {"v": V, "v_prediction": V, "epsilon": EPSILON, "eps": EPSILON}  # in metadata and configs
METADATA = ("modelspec.prediction_type", "modelspec.predict_key")  # as kohya's scripts and ComfyUI write it
ARCHITECTURES = {"stable-diffusion-v2-768-v": V, "stable-diffusion-v2-512": EPSILON}
PARAMETERIZATION = re.compile(r"^\s*parameterization:\s*[\"']?(\w+)", re.MULTILINE)
NAME = re.compile(r"(?<![a-z])v[-_ .]?pred(?:iction)?(?![a-z])|(?<!\d)768[-_ ]?v(?![a-z])")
SD2_NAMES = {"768": V, "512": EPSILON}  # Stability AI's own files, v2-1_768-ema-pruned and 512-base-ema
LONGEST = 2**20  # bytes of a config


def told(path: Path, found: Header, family: str) -> str:
    """ "epsilon", "v_prediction", or "" where nothing says. What is inside the file counts more than what lies beside it, and that than its name."""
    if "v_pred" in found.tensors:
        return V
    return _of_metadata(found) or _of_config(path.with_suffix(".yaml")) or _of_name(path.stem.casefold(), family)


def _of_metadata(found: Header) -> str:
    said = [SPOKEN.get(str(found.metadata.get(name))) for name in METADATA]
    return next((one for one in (*said, ARCHITECTURES.get(str(found.metadata.get("modelspec.architecture")))) if one), "")


def _of_config(path: Path) -> str:
    """As AUTOMATIC1111 does: the original program's config, named like the model. Read as text; nothing in it is built."""
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= LONGEST else ""
    except (OSError, ValueError):
        return ""
    said = PARAMETERIZATION.search(text)
    if said:
        return SPOKEN.get(said[1], "")
    return EPSILON if "ldm.models.diffusion" in text else ""  # what that program does where nothing is said


def _of_name(name: str, family: str) -> str:
    if NAME.search(name):
        return V
    return next((said for part, said in SD2_NAMES.items() if part in name), "") if family == "sd2" else ""
