"""LoRAs on a U-Net of the size of SD 1.5: how long it takes to put one on, and what a step costs with it, against peft."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Row, compared, in_turn
from sd_ui.engine import adapters
from sd_ui.engine.adapters import Worn
from sd_ui.engine.generate import Engine
from sd_ui.engine.loaded import Loaded
from sd_ui.spec.made import WornLora
from sd_ui.spec.request import ModelChoice

RANK = 16
ENDS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")  # what kohya's scripts train


def rows(engine: Engine, rounds: int) -> list[Row]:
    """engine: of a model of that size, as `models.sd15_size` makes it."""
    with engine.manager.lease(ModelChoice()) as loaded, tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        file = written(Path(folder) / "random.safetensors", loaded)
        worn = Worn(file, WornLora(file.stem, 1.0, 1.0))
        found = in_turn(rounds, {"ours": lambda: adapters.dressed(loaded, [worn]), "theirs": lambda: peft(loaded, file)})
        step = in_turn(rounds, {"ours": stepped(adapters.dressed(loaded, [worn]).denoiser), "theirs": stepped(peft(loaded, file))})
    layers = f"a LoRA of rank {RANK} for all attention, U-Net of SD 1.5 size"
    return [
        compared(f"putting on {layers}", found["ours"], found["theirs"]),
        compared(f"one call with it, 128 px, {layers}", step["ours"], step["theirs"]),
    ]


def written(path: Path, loaded: Loaded) -> Path:
    from safetensors.torch import save_file

    tensors = {}
    for name, layer in loaded.denoiser.named_modules():
        if name.endswith(ENDS):
            weight: Any = layer.weight
            tensors[f"unet.{name}.lora_A.weight"] = torch.randn(RANK, *weight.shape[1:]).half() * 0.01
            tensors[f"unet.{name}.lora_B.weight"] = torch.randn(weight.shape[0], RANK, *[1] * (weight.ndim - 2)).half() * 0.01
    save_file(tensors, path)
    return path


def peft(loaded: Loaded, file: Path) -> Any:
    """A second U-Net over the same tensors, so that ours stays as it is, with the LoRA beside its layers, as diffusers' pipelines wear them."""
    from safetensors.torch import load_file

    view = adapters.view(loaded.denoiser, {"conv_in": loaded.denoiser.conv_in.weight})
    view.load_lora_adapter(load_file(file), adapter_name="x", prefix="unet")
    return view.to(loaded.place.device, loaded.place.dtype)


def stepped(unet: Any) -> Any:
    weight = unet.get_parameter("conv_out.weight")
    latents = torch.zeros(2, unet.config.in_channels, 16, 16, device=weight.device, dtype=weight.dtype)
    text = torch.zeros(2, 77, unet.config.cross_attention_dim, device=weight.device, dtype=weight.dtype)

    def run() -> None:
        unet(latents, torch.tensor(500, device=weight.device), encoder_hidden_states=text)
        if weight.device.type == "cuda":
            torch.cuda.synchronize()

    return run
