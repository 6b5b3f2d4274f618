"""What a release says of itself."""

from training import models
from training.pipelines import Parts
from training.world import COLOURS, FLOORS, MATERIALS, SHAPES, SKIES

TEXT = """# Embedded model
A real, tiny latent-diffusion model, trained from scratch on procedural scenes of our own renderer (the package `training`): no foreign weights,
pictures or texts. Licence: that of the project. Stock diffusers layout, fp16: `StableDiffusionPipeline.from_pretrained(folder)` loads it.

| part | what | parameters |
|---|---|---|
| unet | UNet2DConditionModel {channels}, v-prediction | {unet:.1f} M |
| unet/conv_in_depth.safetensors | `conv_in.weight` with a fifth input plane (depth in -1..1): all other tensors are those of `unet` | |
| unet/conv_in_inpaint.safetensors | `conv_in.weight` with nine planes (latents, mask, masked latents): likewise | |
| text_encoder, tokenizer | CLIPTextModel of width {width}; byte-BPE of {tokens} tokens, {length} positions | {text:.1f} M |
| vae | AutoencoderTiny, factor 8, 4 channels | {vae:.1f} M |
| depth_estimator | GLPNForDepthEstimation: inverse depth, 1 is near | {estimator:.1f} M |
| scheduler | DPM++ 2M with the noise schedule of the training, as `trained_betas` | |

What it draws, best at {side}x{side}: one or two of {shapes}; {colours}; small or large; {materials}; floors {floors}; {skies}.
For example: "a large shiny red sphere on a checkered floor, at sunset". CFG scale 3, 15 to 20 steps. Short prompts such as "a red cube" give a whole
scene. Data: {scenes} rendered scenes, their captions, exact depth and masks; nothing else.

Limits: it knows no other things, and words that are not in this list say nothing to it. It has seen no photograph, no person and no text.
Two things close together may exchange colours or melt into one, and fine patterns are soft: a latent cell covers eight pixels.
How well it does what it is asked stands in `training/README.md`, with the dates of the measurements.
"""


def card(parts: Parts, scenes: int) -> str:
    """scenes: how many it was trained on."""
    unet = parts.unets["plain"]
    return TEXT.format(
        channels="-".join(str(width) for width in unet.config.block_out_channels),
        unet=models.millions(unet),
        width=unet.config.cross_attention_dim,
        tokens=len(parts.tokenizer),
        length=parts.tokenizer.model_max_length,
        text=models.millions(parts.text),
        vae=models.millions(parts.vae),
        estimator=models.millions(parts.estimator) if parts.estimator else 0,
        side=parts.side,
        scenes=f"{scenes:,}",
        shapes=", ".join(SHAPES),
        colours=", ".join(COLOURS),
        materials=", ".join(MATERIALS),
        floors=", ".join(FLOORS),
        skies=", ".join(SKIES),
    )
