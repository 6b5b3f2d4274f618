"""What one picture, or a row of them, is made of. Everything that changes the pixels is here, and nothing else is."""

from dataclasses import dataclass, replace

EMBEDDED = "embedded"  # the name of the model in the box
MODES = ("txt2img", "img2img", "inpaint", "depth2img")
NOISES = ("CPU", "NV", "Size-stable")
GUIDANCES = ("CFG", "APG", "CFG-Zero*")
PAG_LAYERS = ("mid", "down", "up", "all")
EMPHASES = ("Original", "No norm", "Ignore", "None")
RESIZES = ("Just resize", "Crop and resize", "Resize and fill")
REDO_STEPS = ("By strength", "All")
REDO_COLOURS = ("As they come", "The picture's")
MASK_MODES = ("Inpaint masked", "Inpaint not masked")
MASK_EDGES = ("Hard", "Soft")
CONTENTS = ("Original", "Fill", "Latent noise", "Latent nothing")
UPSCALERS = ("Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)", "Latent (nearest-exact)",
             "Lanczos", "Nearest")  # fmt: skip
AREAS = ("Whole picture", "Only masked")


@dataclass(frozen=True)
class ImageRef:
    """A picture by content: the sha256 of its upright pixels (see `imaging.blobs`), the same on every machine, and its size."""

    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Redo:
    """How a picture is redone, besides how much of it. noise_multiplier: of the noise that it is covered with. extra_noise: added to that.

    steps: whether strength leaves out steps. colours: whether the result gets the picture's colours back.
    """

    noise_multiplier: float = 1.0
    extra_noise: float = 0.0
    steps: str = REDO_STEPS[0]
    colours: str = REDO_COLOURS[0]

    @property
    def runs_all(self) -> bool:
        return self.steps == REDO_STEPS[1]

    @property
    def matches_colours(self) -> bool:
        return self.colours == REDO_COLOURS[1]


@dataclass(frozen=True)
class ImageToImage:
    """strength: the denoising strength, 0 (the picture comes back unchanged) to 1 (nothing of it is left)."""

    image: ImageRef
    strength: float = 0.75
    resize: str = "Crop and resize"
    redo: Redo = Redo()


@dataclass(frozen=True)
class Inpaint:
    """mask: white where new content goes, by degrees where mask_edge is "Soft". mask_blur: the soft edge in pixels; it lies inside the mask.

    masked_content: what the run starts from inside the mask. inpaint_area: "Only masked" paints the mask's surroundings alone, `mask_padding` of the
    picture's pixels around it, at the request's size, and the result has the picture's own size.
    """

    image: ImageRef
    mask: ImageRef
    strength: float = 0.75
    resize: str = "Crop and resize"
    mask_blur: int = 4
    mask_mode: str = MASK_MODES[0]
    mask_edge: str = MASK_EDGES[0]
    masked_content: str = CONTENTS[0]
    inpaint_area: str = AREAS[0]
    mask_padding: int = 32
    redo: Redo = Redo()

    @property
    def is_inverted(self) -> bool:
        return self.mask_mode == MASK_MODES[1]

    @property
    def is_soft(self) -> bool:
        return self.mask_edge == MASK_EDGES[1]

    @property
    def is_window(self) -> bool:
        """Whether a part of the picture is painted, seen through a window."""
        return self.inpaint_area == AREAS[1]


@dataclass(frozen=True)
class DepthToImage:
    """depth: a map of one's own, bright is near; None: estimated from the image."""

    image: ImageRef
    depth: ImageRef | None = None
    strength: float = 0.75
    resize: str = "Crop and resize"
    redo: Redo = Redo()


Source = ImageToImage | Inpaint | DepthToImage


@dataclass(frozen=True)
class ModelChoice:
    """Names from the model index, never paths. vae: "" for the checkpoint's own. clip_skip: 1 is the last layer."""

    checkpoint: str = EMBEDDED
    vae: str = ""
    clip_skip: int = 1


@dataclass(frozen=True)
class Refiner:
    """A second checkpoint that takes over for the last part of the way. switch_at: the share of the noise levels that are the first one's."""

    checkpoint: str
    switch_at: float = 0.8


@dataclass(frozen=True)
class Guidance:
    """How the predictions with and without the prompt are joined. start, stop: the part of the run that is guided at all, 0 to 1.

    rescale: how far the spread of the guided prediction is taken back to that of the prompt's. threshold, momentum, parallel: of APG alone;
    threshold 0 is none. pag: scale of perturbed-attention guidance, which goes with any method; 0 is none. pag_adaptive: how much it falls with
    each of 1000 timesteps. pag_layers: the part of the model whose self-attention is perturbed.
    """

    method: str = GUIDANCES[0]
    rescale: float = 0.0
    start: float = 0.0
    stop: float = 1.0
    threshold: float = 7.5
    momentum: float = -0.5
    parallel: float = 0.0
    pag: float = 0.0
    pag_adaptive: float = 0.0
    pag_layers: str = "mid"


@dataclass(frozen=True)
class Sampling:
    """distilled_cfg: what models are told that were taught to imitate guidance (Flux.1 dev); the others are told nothing."""

    sampler: str = "DPM++ 2M"
    schedule: str = "Automatic"
    steps: int = 20
    cfg_scale: float = 7.0
    guidance: Guidance = Guidance()
    distilled_cfg: float = 3.5


@dataclass(frozen=True)
class Hires:
    """A second pass over the upscaled first one. width, height: of the result. sampling: the second pass's own, whose steps are all run.

    prompt, negative_prompt: "" for those of the first.
    """

    width: int
    height: int
    upscaler: str = UPSCALERS[0]
    strength: float = 0.7
    sampling: Sampling = Sampling()
    prompt: str = ""
    negative_prompt: str = ""


@dataclass(frozen=True)
class Noise:
    """Where a run's noise comes from, besides the seed. source: whose numbers.

    variation_strength: how far the first noise is taken from the seed's to the variation seed's, 0 to 1. Above 0 all pictures share the seed, and
    picture i has the variation seed + i. from_width, from_height: the size whose noise is put into the middle, 0 for none.
    eta_delta: added to the seed for the noise that steps add.
    """

    source: str = NOISES[0]
    variation_seed: int = 0
    variation_strength: float = 0.0
    from_width: int = 0
    from_height: int = 0
    eta_delta: int = 0


@dataclass(frozen=True)
class Words:
    """Both prompts of one picture, with styles joined and wildcards resolved."""

    prompt: str = ""
    negative_prompt: str = ""


@dataclass(frozen=True)
class GenerationRequest:
    """width, height: pixels, multiples of 8. Picture i of count is the picture of seed + i. source None: from noise alone.

    emphasis: what the weights in the prompts do. styles: names, of which the pictures' words were made.
    words: what each picture is told instead of the prompts; () where they say it themselves. hires: of txt2img alone.
    """

    prompt: str = ""
    negative_prompt: str = ""
    model: ModelChoice = ModelChoice()
    sampling: Sampling = Sampling()
    width: int = 512
    height: int = 512
    seed: int = 0
    count: int = 1
    source: ImageToImage | Inpaint | DepthToImage | None = None
    emphasis: str = EMPHASES[0]
    styles: tuple[str, ...] = ()
    words: tuple[Words, ...] = ()
    refiner: Refiner | None = None
    noise: Noise = Noise()
    hires: Hires | None = None

    @property
    def mode(self) -> str:
        match self.source:
            case None:
                return "txt2img"
            case ImageToImage():
                return "img2img"
            case Inpaint():
                return "inpaint"
            case DepthToImage():
                return "depth2img"

    @property
    def strength(self) -> float:
        """The denoising strength; from noise alone nothing of a picture is left."""
        return 1.0 if self.source is None else self.source.strength

    def words_of(self, index: int) -> Words:
        return self.words[index] if self.words else Words(self.prompt, self.negative_prompt)

    def plain(self, index: int) -> "GenerationRequest":
        """The same with the words of one of its pictures in place of what they were made of."""
        said = self.words_of(index)
        return replace(self, prompt=said.prompt, negative_prompt=said.negative_prompt, styles=(), words=())

    def seed_of(self, index: int) -> int:
        return self.seed if self.noise.variation_strength else (self.seed + index) % 2**64

    def noise_of(self, index: int) -> Noise:
        """That of one picture, as it would be asked for alone."""
        varied = self.noise.variation_strength > 0
        return replace(self.noise, variation_seed=(self.noise.variation_seed + index) % 2**64) if varied else self.noise


def steps_to_run(steps: int, strength: float) -> int:
    """How many of the schedule's last steps a denoising strength leaves. 0 only at strength 0: then the picture comes back unchanged."""
    return 0 if strength <= 0 else min(steps, max(1, round(steps * strength)))


def images_of(request: GenerationRequest) -> dict[str, ImageRef]:
    """The input pictures by their names in `spec.fields`."""
    match request.source:
        case None:
            return {}
        case ImageToImage(image):
            return {"init": image}
        case Inpaint(image, mask):
            return {"init": image, "mask": mask}
        case DepthToImage(image, depth):
            return {"init": image} if depth is None else {"init": image, "depth": depth}
