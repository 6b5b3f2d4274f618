"""Fifty swaps among four models of Stable Diffusion 1.5's size: seconds of each, and memory after every round. Needs 8 GB of disk; minutes.

python -m benchmarks.creep [--swaps 50] [--device auto]
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from sd_ui.engine import memory
from sd_ui.engine.device import choose
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.models.index import ModelIndex
from sd_ui.spec.request import ModelChoice
from tests.checkpoints import tiny_folder

NAMES = "abcd"


def model(path: Path, seed: int) -> None:
    """The real sizes of U-Net and VAE, random numbers in float16."""
    tiny_folder(path, seed=seed)
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(cross_attention_dim=32, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280))
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=32,
    )  # fmt: skip
    unet.half().save_pretrained(path / "unet")
    vae.half().save_pretrained(path / "vae")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, each in enumerate(NAMES):
            model(folder / each, seed)
        place = choose(asked.device, "auto" if torch.cuda.is_available() else "bfloat16")
        models = ModelIndex([folder], folder / "none", folder / "none")
        pipelines = PipelineManager(models.cards, place, budget=1)
        memory.settle()
        seconds = []
        for swap in range(asked.swaps):
            began = time.perf_counter()
            with pipelines.lease(ModelChoice(NAMES[swap % len(NAMES)])):
                seconds.append(time.perf_counter() - began)
            if swap % len(NAMES) == len(NAMES) - 1 or swap == asked.swaps - 1:
                memory.tidy(place.device)
                print(f"after {swap + 1:3} swaps: {psutil.Process().memory_info().rss / 2**20:7.0f} MiB")
        print(f"a swap: median {median(seconds):.2f} s, from {min(seconds):.2f} to {max(seconds):.2f} s, on {place.device}")


if __name__ == "__main__":
    main()
