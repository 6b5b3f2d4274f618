"""What a part's config says of how its weights were quantised, and whether they can be read here. No package of quantisers is ever asked."""

from collections.abc import Mapping
from typing import Any

READ = "bitsandbytes"  # 4 and 8 bits, unpacked when the model is loaded: engine/bnb.py
TITLES = {"torchao": "torchao", "quanto": "quanto", "modelopt": "NVIDIA's ModelOpt", "auto-round": "AutoRound", "gptq": "GPTQ", "awq": "AWQ"}
IN_ONE_FILE = "is packed into four bits by bitsandbytes, which is read in diffusers folders only. Take the model in GGUF or in 8-bit floats"
INSTEAD = "Take the model in GGUF, in 8-bit floats, by bitsandbytes, or not quantised"


def fault(part: str, config: Mapping[str, Any]) -> str:
    """Why a part cannot be read, in words; "" where it can, quantised or not. part: as people say it, such as "the transformer"."""
    said = config.get("quantization_config")
    method = str(said.get("quant_method", "")).casefold() if isinstance(said, Mapping) else ""
    if not said or method == READ:
        return ""
    title = TITLES.get(method, method[:40] if method.isprintable() and method else "a method that it does not name")
    return f"{part} is quantised by {title}, whose weights only that program can unpack, and it is not used here. {INSTEAD}"
