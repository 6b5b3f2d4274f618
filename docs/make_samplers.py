"""Writes docs/samplers.md from the tables of samplers and schedules: python docs/make_samplers.py"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "samplers.md"
if str(ROOT) not in sys.path:  # when it is run as a script
    sys.path.append(str(ROOT))

from sd_ui.engine.samplers.levels import NoiseLevels  # noqa: E402
from sd_ui.engine.samplers.sigmas import SCHEDULES as FORMULAS  # noqa: E402
from sd_ui.engine.samplers.sigmas import Wanted  # noqa: E402
from sd_ui.engine.samplers.table import ROWS  # noqa: E402
from sd_ui.spec.samplers import EVERY, OWN, SAMPLERS, Sampler  # noqa: E402

SD = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
HEAD = """# Samplers, schedules, seeds and guidance
The tables here are made from the program's own by `python docs/make_samplers.py`; a test compares.

A **sampler** decides how a step removes the predicted noise, a **schedule** how much noise is left after each step. The names are those of
A1111, and so are the numbers: `tests/engine/test_samplers.py` holds each sampler against the algorithm that k-diffusion or its paper publishes,
in float64. With the same noise the last latents differ by less than 1e-4.

## Which one?
- Not sure: **DPM++ 2M** with 20 to 25 steps. With fresh noise and some more detail: **DPM++ 2M SDE**, 25 to 30 steps.
- Few steps: **UniPC** from 8 to 12 on; **LCM** or **TCD** with 4 to 8, but only with a model or LoRA that was distilled for them.
- For comparing prompts, or for img2img in many small changes: a sampler without fresh noise, because its picture stays the same as steps grow.
- Schedule **Automatic** is A1111's choice for the sampler and rarely wrong. Karras spends more steps where little noise is left (detail),
  Uniform, Simple and SGM Uniform more where there is much (composition).

![Five samplers with 2, 4, 8, 16 and 32 steps: two are never enough, 16 always; fresh noise finds other pictures](pictures/steps.webp)

The pictures are the embedded model's, made by `python docs/make_pictures.py`: `a large shiny red sphere on a checkered floor, at sunset`,
CFG scale 3, schedule Automatic. Large models show the same, and need more steps for it.

## Samplers
Calls: how often the model is asked in each step; time grows with it. Fresh noise: the sampler adds some of its own, from the same seed; more
steps then give another picture, not only a finer one. The last step, the one to no noise at all, costs one call with every sampler.
"""
NOTES = """
- **DDIM, DDIM CFG++, PLMS** go by the training steps of the first programs (1, 51, ... 951 for 20 steps). Where 1000 is no multiple of the
  steps, there is one point more, as in A1111: 30 steps start at 991. Where it is one, A1111 leaves out the last step, from training step 1 to 0;
  here it is run. Above 100 steps or so there may be some more than were asked for; the progress counts what is run.
- **UniPC** with the schedule Uniform goes by A1111's settings (order 3, B(h) = h, evenly over time), and ends with the least noise the model
  knows instead of none.
- **DPM fast** and **DPM adaptive** go evenly over log sigma between the model's own ends and have no schedule to choose. As in A1111 they add
  fresh noise. DPM adaptive's progress is how far down it has come.
- **DPM2, DPM2 a, DPM++ 3M SDE** leave out the last but one sigma, as in A1111 ("discard penultimate sigma").
- **Restart** below 20 steps is Heun; from 20 on it spends 9 steps, from 36 on half of them, on going back up to sigma 2 and down again.
- **LCM** asks the model only at the 50 levels at which such models are taught.
- The **SDE** samplers take their noise from one Brownian path for each picture, so that it does not depend on the batch or on the other steps.
  The path is that of torchsde's BrownianTree, seed for seed, which is what A1111 uses: equal to 0.00001.
- **CFG++** divides the CFG scale by 12.5, as A1111 does: 12.5 there is what 1 is elsewhere.

## Schedules
Sigma is noise over signal. Here are the sigmas of eight steps for a Stable Diffusion 1.x model, which knows levels from 0.0292 to 14.61.

![Six schedules with only 6 steps of DPM++ 2M: with so few, Beta fails and the others differ in colour and sharpness](pictures/schedules.webp)
"""
TAIL = """
- All schedules go with all samplers but those that bring their own spacing (Uniform stands for it).
- **Align Your Steps** was optimised for Stable Diffusion 1.5 and for SDXL; a model of the one family gets its table, all others the first.
- **DDIM** picks every n-th level, n rounded down: 30 steps become 31. **KL Optimal** ends at the lowest level instead of at 0.
- **Normal** is ComfyUI's name for Uniform. **Polyexponential** with A1111's exponent of 1 is Exponential.
- Models that were trained until no signal is left (zero terminal SNR) start from sigma 4519, as in A1111 and ComfyUI.

## Seeds
- **A picture of A1111.** Its noise comes from a graphics card unless its text says `RNG: CPU`: choose the noise source **NV**, which computes
  the numbers of an NVIDIA card on any machine; reading its text does so by itself. Up to about 125,000 latent numbers (a square of some 1400
  pixels) they are a card's own; above, they depend on the card.
- **Variations**: the first noise goes from the seed's some way towards the variation seed's, on an arc. 0.05 to 0.2 keep the picture's idea.

![From seed 7 to seed 4 by variation strength: first the sphere moves, then the sky changes](pictures/variation.webp)

- **Resized seeds** put the noise of another size into the middle, so that another format is a similar picture. The noise source
  **Size-stable** does it for all sizes at once: its numbers belong to places counted from the middle, not to an order.

![One seed in four sizes: with the usual noise four different pictures, with size-stable noise the same cube](pictures/sizes.webp)

- **Eta noise seed delta** concerns the fresh noise of steps, but not that of the SDE samplers, as in A1111.

## Guidance
**CFG scale** is how far each prediction is pushed from what the model says without the prompt to what it says with it.

![CFG scales from 1 to 12: pale and vague, then clear, then burnt and out of shape](pictures/cfg.webp)

![CFG scale 10 and what helps against it: CFG rescale, an earlier stop, APG](pictures/guidance.webp)

- **CFG rescale** (Lin et al. 2023) takes back what a high scale adds in contrast. **Guidance start** is A1111's Skip Early CFG, counted in calls
  of the model as there; before it, and after **Guidance stop**, the model is asked with the prompt alone, in half the time.
- **APG** (Sadat et al. 2024) limits the push of guidance and leaves out its part along the prediction, which saturates. It works on clean latents.
- **CFG-Zero*** (Fan et al. 2025) starts from that multiple of the prediction without the prompt which fits best.
- At CFG scale 1 none of them has anything to do.
- **PAG**, perturbed-attention guidance (Ahn et al. 2024), goes with each of them, and with CFG scale 1: the model is asked a second time with its
  self-attention switched off in some layers, and the picture goes away from what it says then, towards firmer structure. The scale is 0 (off) to
  about 5, 3 is usual; the layers are those of the middle, or others; with an adaptive scale s it falls by s for each timestep below 1000. It works
  for families with a U-Net, and is diffusers' PAG bit for bit (`tests/engine/test_perturbed.py`).

## From other programs
Names are read whatever their case, also as `DPM++ 2M Karras`, `k_dpmpp_2m`, `k_lms_ka` or `sgm_uniform`.
"""


def page() -> str:
    return HEAD + "\n".join(["", *samplers()]) + NOTES + "\n".join(["", *schedules()]) + TAIL


def samplers() -> list[str]:
    head = ["| sampler | what it is | calls | fresh noise | Automatic is | schedules |", "|---|---|---|---|---|---|"]
    return [*head, *(sampler(name, facts) for name, facts in SAMPLERS.items()), ""]


def sampler(name: str, facts: Sampler) -> str:
    offered = "its own" if facts.schedules in (OWN, ()) else "all"
    usual = "its own" if offered == "its own" or (ROWS[name].own and facts.automatic == "Uniform") else facts.automatic
    return f"| {name} | {facts.about} | {facts.calls} | {'yes' if facts.fresh_noise else 'no'} | {usual} | {offered} |"


def schedules() -> list[str]:
    rows = [f"| {name} | {summary(name)} | {', '.join(f'{sigma:.3g}' for sigma in FORMULAS[name](Wanted(8, levels())))} |" for name in EVERY]
    return ["| schedule | what it is | eight steps |", "|---|---|---|", *rows, ""]


def summary(name: str) -> str:
    return " ".join((FORMULAS[name].__doc__ or "").split())


def levels() -> NoiseLevels:
    return NoiseLevels.of(SD)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
