"""Every setting of a request, once: the page's widgets, the CLI's flags, the API's parameters and docs/parameters.md are made from it."""

from dataclasses import dataclass
from typing import Any

from sd_ui.spec.request import (
    AREAS,
    CONTENTS,
    EMPHASES,
    GUIDANCES,
    MASK_EDGES,
    MASK_MODES,
    MODES,
    NOISES,
    PAG_LAYERS,
    REDO_COLOURS,
    REDO_STEPS,
    RESIZES,
    UPSCALERS,
    Guidance,
    Hires,
    Inpaint,
    Redo,
    Sampling,
)
from sd_ui.spec.samplers import MODELS_OWN, SAMPLERS, SCHEDULES

TEXT, CHOICE, NAMES, INTEGER, NUMBER, SEED, IMAGE = "text", "choice", "names", "integer", "number", "seed", "image"
NONE = "None"  # no refiner, no second pass
SAME = "Use same sampler"
WITH_IMAGE = ("img2img", "inpaint", "depth2img")


@dataclass(frozen=True)
class Field:
    """One row.

    name: what every surface calls it. low, high: what is allowed; slider: the part of it that a slider offers.
    choices: () where they are known only at run time (models, styles). default None: the model's own default, or none at all.
    modes: where it means something.
    """

    name: str
    label: str
    kind: str
    help: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    slider: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    modes: tuple[str, ...] = MODES
    optional: bool = True


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("prompt", "Prompt", TEXT, "What the picture should show. An empty prompt is allowed.", "", high=32_000),
        Field("negative_prompt", "Negative prompt", TEXT, "What the picture should not show: guidance pushes away from it. "
              "Without effect at CFG scale 1.", "", high=32_000),
        Field("styles", "Styles", NAMES, "Texts that are joined to both prompts: around the prompt where a style has {prompt}, else behind it. "
              "Those in presets/styles are listed.", (), high=16),
        Field("model", "Model", CHOICE, "The checkpoint: text encoder, noise predictor (U-Net) and VAE. "
              "Files and folders in the models folder are listed."),
        Field("vae", "VAE", CHOICE, "Turns latents into pixels and back. Automatic is the one that comes with the model."),
        Field("refiner", "Refiner", CHOICE, "A second checkpoint that takes over for the last part of the way: SDXL's refiner, or another one with "
              "the same kind of latents.", NONE),
        Field("refiner_switch_at", "Switch at", NUMBER, "Where the refiner takes over, as a share of the way from noise to picture. 1: never.",
              0.8, 0.01, 1, 0.01),
        Field("sampler", "Sampler", CHOICE, "How a step removes the predicted noise. Those with 'a' or 'SDE' in their name, and some more, "
              "add fresh noise, so they do not settle on one picture as steps grow. docs/samplers.md tells of each.", None, choices=tuple(SAMPLERS)),
        Field("schedule", "Schedule", CHOICE, "How much noise is left after each step. Automatic is the usual one for the sampler.",
              None, choices=SCHEDULES),
        Field("steps", "Steps", INTEGER, "Sampling steps. More cost time in proportion; after 20 to 30 they change little.", None, 1, 150, 1),
        Field("cfg_scale", "CFG scale", NUMBER, "How far the prediction is pushed from the negative prompt towards the prompt. "
              "1: the prompt alone, in half the time. 7 is usual for Stable Diffusion, 3 for the embedded model.",
              None, -100, 100, 0.5, slider=(0, 30)),
        Field("distilled_cfg_scale", "Distilled CFG scale", NUMBER, "For models that were taught to imitate guidance (Flux.1 dev), and are told its "
              "scale: 3.5 is usual, 30 for Flux.1 Fill. Others are told nothing. Their CFG scale is 1.", Sampling.distilled_cfg, 0, 100, 0.5,
              slider=(1, 30)),
        Field("width", "Width", INTEGER, "Pixels, in multiples of 8. A model is at its best near the size it was trained at.",
              None, 64, 4096, 8, slider=(64, 2048)),
        Field("height", "Height", INTEGER, "Pixels, in multiples of 8. Another size starts from another noise, so it gives another picture.",
              None, 64, 4096, 8, slider=(64, 2048)),
        Field("seed", "Seed", SEED, "Fixes the noise that the run starts from: the same seed and settings give the same picture. "
              "-1 or empty: a random one, which is recorded.", -1, -1, 2**64 - 1),
        Field("batch_count", "Batch count", INTEGER, "How many pictures. Picture i has the seed + i, and is the picture that this seed gives alone.",
              1, 1, 64, 1, slider=(1, 16)),
        Field("clip_skip", "Clip skip", INTEGER, "Which layer of the text encoder is used, counted from the last. "
              "1 is usual, 2 for many anime models. SDXL was trained with the one before the last: 1 and 2 mean the same there.", None, 1, 12, 1),
        Field("emphasis", "Emphasis", CHOICE, "What (word:1.2) does. Original multiplies and brings the mean back, as A1111 does; No norm only "
              "multiplies; Ignore reads the brackets and gives all words the same weight; None takes them for text.", EMPHASES[0], choices=EMPHASES),
        Field("hires_upscaler", "Hires upscaler", CHOICE, "Hires fix: the picture is drawn small, enlarged in this way and redone at its full size, "
              "which keeps one composition in a large picture. Latent ones need a strength of 0.5 and more.", NONE, choices=(NONE, *UPSCALERS),
              modes=("txt2img",)),
        Field("hires_scale", "Upscale by", NUMBER, "How much larger the second pass is.", 2.0, 1, 4, 0.05, modes=("txt2img",)),
        Field("hires_strength", "Hires denoising strength", NUMBER, "How much of the enlarged picture is redone.", Hires.strength, 0, 1, 0.01,
              modes=("txt2img",)),
        Field("hires_steps", "Hires steps", INTEGER, "Steps of the second pass, all of which are run. 0: as many as in the first.", 0, 0, 150, 1,
              modes=("txt2img",)),
        Field("hires_sampler", "Hires sampler", CHOICE, "Of the second pass; its schedule is then the usual one for it.", SAME,
              choices=(SAME, *(name for name in SAMPLERS if name != MODELS_OWN)), modes=("txt2img",)),
        Field("hires_width", "Resize width to", INTEGER, "Instead of a factor. 0: follows from the height, or from the factor. With both sides "
              "given, what is too much is cut off.", 0, 0, 4096, 8, slider=(0, 2048), modes=("txt2img",)),
        Field("hires_height", "Resize height to", INTEGER, "The height of the result, see Resize width to.", 0, 0, 4096, 8, slider=(0, 2048),
              modes=("txt2img",)),
        Field("hires_prompt", "Hires prompt", TEXT, "What the second pass is told instead of the prompt. Empty: the same.", "", high=32_000,
              modes=("txt2img",)),
        Field("hires_negative_prompt", "Hires negative prompt", TEXT, "What the second pass is told instead of the negative prompt. Empty: the same.",
              "", high=32_000, modes=("txt2img",)),
        Field("init", "Picture", IMAGE, "The picture to start from.", modes=WITH_IMAGE, optional=False),
        Field("mask", "Mask", IMAGE, "White where new content goes. Everything outside it stays, pixel for pixel. "
              "Needed unless the picture is to grow.",
              modes=("inpaint",), optional=False),
        Field("depth", "Depth map", IMAGE, "A depth map of your own; bright is near. Without one it is estimated from the picture.",
              modes=("depth2img",)),
        Field("strength", "Denoising strength", NUMBER, "How much of the picture is redone. 0 returns it unchanged; "
              "1 starts from pure noise, as txt2img does.", 0.75, 0, 1, 0.01, modes=WITH_IMAGE),
        Field("resize", "Resize mode", CHOICE, "How a picture of another shape is fitted to width and height.", RESIZES[1],
              choices=RESIZES, modes=WITH_IMAGE),
        Field("resize_by", "Resize by", NUMBER, "The picture's own size times this, instead of width and height. 0: these count.",
              0, 0, 4, 0.05, modes=WITH_IMAGE),
        Field("redo_steps", "Steps of img2img", CHOICE, "By strength: strength 0.5 runs half of the steps. All: as many as the slider says, on a "
              "schedule that is longer by that.", REDO_STEPS[0], choices=REDO_STEPS, modes=WITH_IMAGE),
        Field("redo_colours", "Colours", CHOICE, "The picture's: the result gets the colours of the picture back (A1111's colour correction).",
              REDO_COLOURS[0], choices=REDO_COLOURS, modes=WITH_IMAGE),
        Field("noise_multiplier", "Noise multiplier", NUMBER, "Of the noise that the picture is covered with. Less keeps more of it, and blurs.",
              Redo.noise_multiplier, 0, 1.5, 0.05, modes=WITH_IMAGE),
        Field("extra_noise", "Extra noise", NUMBER, "More noise than the first step takes for granted becomes detail.", Redo.extra_noise, 0, 1, 0.05,
              modes=WITH_IMAGE),
        Field("mask_blur", "Mask blur", INTEGER, "Width of the soft edge in pixels. It lies inside the mask.", 4, 0, 64, 1, modes=("inpaint",)),
        Field("masked_content", "Masked content", CHOICE, "What the painting starts from inside the mask. Original: what is there. Fill: the colours "
              "around it. Latent noise, Latent nothing: for strengths near 1.", CONTENTS[0], choices=CONTENTS, modes=("inpaint",)),
        Field("inpaint_area", "Inpaint area", CHOICE, "Only masked paints the mask's surroundings at width and height and puts them back: more "
              "detail for a small part of a large picture, which keeps its size.", AREAS[0], choices=AREAS, modes=("inpaint",)),
        Field("mask_padding", "Padding", INTEGER, "How many of the picture's pixels around the mask are seen. The more, the better "
              "the new part fits in.", Inpaint.mask_padding, 0, 256, 4, modes=("inpaint",)),
        *(Field(f"outpaint_{side}", f"Outpaint {to}", INTEGER, f"Pixels to grow the picture by {where}. What is new is masked and painted; width "
                "and height become those of the grown picture.", 0, 0, 2048, 8, slider=(0, 512), modes=("inpaint",))
          for side, to, where in (("left", "left", "at its left"), ("right", "right", "at its right"), ("top", "up", "above"),
                                  ("bottom", "down", "below"))),
        Field("mask_mode", "Mask mode", CHOICE, "Which part is painted: the masked one, or all the rest.", MASK_MODES[0],
              choices=MASK_MODES, modes=("inpaint",)),
        Field("mask_edge", "Mask edge", CHOICE, "Soft: the darker a place of the mask and the nearer to its blurred edge, the less it changes, so "
              "that old and new grow together (differential diffusion, A1111's soft inpainting).", MASK_EDGES[0],
              choices=MASK_EDGES, modes=("inpaint",)),
        Field("noise_source", "Noise source", CHOICE, "Whose random numbers. CPU: the usual ones here. NV: those of an NVIDIA card, as A1111's are "
              "where it does not say RNG: CPU. Size-stable: the same pattern where two sizes overlap around the middle.", NOISES[0],
              choices=NOISES),
        Field("variation_strength", "Variation strength", NUMBER, "0: the seed's own noise; 1: that of the variation seed. Little changes little. "
              "Above 0 all pictures share the seed, and picture i has the variation seed + i.", 0.0, 0, 1, 0.01),
        Field("variation_seed", "Variation seed", SEED, "The noise that a variation goes towards. -1 or empty: a random one, which is recorded.",
              -1, -1, 2**64 - 1),
        Field("seed_resize_width", "Resize seed from width", INTEGER, "The picture's middle starts from the noise that the seed has at this size: "
              "another format, a similar picture. 0: off. It needs both sides.", 0, 0, 4096, 8, slider=(0, 2048)),
        Field("seed_resize_height", "Resize seed from height", INTEGER, "See Resize seed from width.", 0, 0, 4096, 8, slider=(0, 2048)),
        Field("eta_seed_delta", "Eta noise seed delta", INTEGER, "Added to the seed for the noise that steps add. 31337 is what NovelAI used.",
              0, 0, 2**32 - 1, 1, slider=(0, 65535)),
        Field("guidance", "Guidance", CHOICE, "How the predictions with and without the prompt are joined. CFG is usual. APG (adaptive projected) "
              "allows high scales without burnt colours. CFG-Zero* weighs the prediction without the prompt.", GUIDANCES[0], choices=GUIDANCES),
        Field("cfg_rescale", "CFG rescale", NUMBER, "Takes contrast that guidance adds back: 0 none of it, 1 all; 0.7 is usual for models "
              "trained with v-prediction.", Guidance.rescale, 0, 1, 0.05),
        Field("guidance_start", "Guidance start", NUMBER, "The part of the run that is not guided at first (A1111's Skip Early CFG): "
              "saves time, and frees the composition.", Guidance.start, 0, 1, 0.05),
        Field("guidance_stop", "Guidance stop", NUMBER, "Where in the run guidance ends. Less than 1 saves time.", Guidance.stop, 0, 1, 0.05),
        Field("apg_threshold", "APG threshold", NUMBER, "How large the push of guidance may be. 0: any. The authors use 7.5 for Stable Diffusion 2 "
              "and 15 for SDXL.", Guidance.threshold, 0, 1000, 0.5, slider=(0, 30)),
        Field("apg_momentum", "APG momentum", NUMBER, "How much of the last push is added to the next; below 0 it is taken off.",
              Guidance.momentum, -0.99, 0.99, 0.05),
        Field("apg_parallel", "APG parallel part", NUMBER, "How much of the push along the prediction itself, which saturates, is kept.",
              Guidance.parallel, 0, 1, 0.05),
        Field("pag_scale", "PAG scale", NUMBER, "Perturbed-attention guidance: away from what the model says where it does not look at its own "
              "picture, for firmer structure; with any CFG scale, also 1. 0: off. 3 is usual. It costs half as much time again at most.",
              Guidance.pag, 0, 100, 0.1, slider=(0, 10)),
        Field("pag_adaptive_scale", "PAG adaptive scale", NUMBER, "How much the PAG scale falls with each of 1000 timesteps: at 0.005 a scale of 3 "
              "is gone after 600.", Guidance.pag_adaptive, 0, 1, 0.001, slider=(0, 0.1)),
        Field("pag_layers", "PAG layers", CHOICE, "In which part of the model attention is perturbed. The middle is usual.", Guidance.pag_layers,
              choices=PAG_LAYERS),
    )
}  # fmt: skip


def of_mode(mode: str) -> list[Field]:
    return [field for field in FIELDS.values() if mode in field.modes]


def default(name: str) -> Any:
    """The default where no model says better."""
    field = FIELDS[name]
    usual = {"width": 512, "height": 512, "clip_skip": 1, "vae": "Automatic"}
    return field.default if field.default is not None else getattr(Sampling, name, usual.get(name))
