"""The families that have no loop of ours and run by diffusers' own pipelines: what their folders hold and what may be asked of them. Names only.

A name in a stranger's folder is compared with this table; nothing outside of it is ever built.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

TXT2IMG, IMG2IMG, INPAINT = "txt2img", "img2img", "inpaint"
UP, DOWN = "up", "down"  # how a pipeline counts the steps that a strength leaves

KL = ("AutoencoderKL",)
FLOW = ("FlowMatchEulerDiscreteScheduler",)
SOLVERS = (
    "DPMSolverMultistepScheduler", "DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "UniPCMultistepScheduler",
)  # fmt: skip
T5, T5_TOKENS = ("T5EncoderModel",), ("T5Tokenizer", "T5TokenizerFast")
GEMMA_TOKENS = ("GemmaTokenizer", "GemmaTokenizerFast")
QWEN_TOKENS = ("Qwen2Tokenizer", "Qwen2TokenizerFast")


@dataclass(frozen=True)
class StockFamily:
    """pipelines: diffusers' class, by mode. parts: the classes that each part may have, by its name in model_index.json.

    side, steps, cfg_scale: where the form starts. multiple: pixels that sides must be multiples of. tokens: of a prompt that are read.
    negative: whether it takes a negative prompt. guidance: what the pipeline calls the CFG scale; above: how much less it counts than we do.
    rounds: UP or DOWN. flags: what else its constructor takes from model_index.json. without: parts that the constructor may be given None for.
    most: pixels of a picture that it works from, 0 for any number. cell: pixels for each of the cells in the denoiser's sample_size, where that
    tells what size it was made for.
    """

    name: str
    title: str
    pipelines: Mapping[str, str]
    parts: Mapping[str, tuple[str, ...]]
    side: int = 1024
    steps: int = 20
    cfg_scale: float = 4.5
    multiple: int = 16
    tokens: int = 512
    negative: bool = True
    guidance: str = "guidance_scale"
    above: float = 0.0
    rounds: str = UP
    flags: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    most: int = 0
    cell: int = 0
    also: tuple[str, ...] = field(default=())  # what its pipelines were called before

    @property
    def modes(self) -> tuple[str, ...]:
        return tuple(self.pipelines)

    @property
    def by_whole_mask(self) -> bool:
        """Whether img2img is inpainting of the whole picture."""
        return self.pipelines.get(IMG2IMG) is not None and self.pipelines.get(IMG2IMG) == self.pipelines.get(INPAINT)


Names = tuple[str, ...]


def _parts(transformer: str, text: Names, tokens: Names, scheduler: Names, vae: Names = KL) -> dict[str, Names]:
    return {"transformer": (transformer,), "vae": vae, "text_encoder": text, "tokenizer": tokens, "scheduler": scheduler}


FAMILIES: dict[str, StockFamily] = {
    family.name: family
    for family in (
        StockFamily(
            "pixart-alpha", "PixArt alpha", {TXT2IMG: "PixArtAlphaPipeline"}, _parts("PixArtTransformer2DModel", T5, T5_TOKENS, SOLVERS),
            tokens=120, cell=8,
        ),
        StockFamily(
            "pixart-sigma", "PixArt Sigma", {TXT2IMG: "PixArtSigmaPipeline"}, _parts("PixArtTransformer2DModel", T5, T5_TOKENS, SOLVERS),
            tokens=300, cell=8,
        ),
        StockFamily(
            "sana", "Sana", {TXT2IMG: "SanaPipeline"},
            _parts("SanaTransformer2DModel", ("Gemma2Model",), GEMMA_TOKENS, (*SOLVERS, *FLOW), ("AutoencoderDC",)), multiple=32, tokens=300, cell=32,
        ),
        StockFamily(
            "sana-sprint", "Sana-Sprint", {TXT2IMG: "SanaSprintPipeline", IMG2IMG: "SanaSprintImg2ImgPipeline"},
            _parts("SanaTransformer2DModel", ("Gemma2Model",), GEMMA_TOKENS, ("SCMScheduler",), ("AutoencoderDC",)), multiple=32, tokens=300, cell=32,
            steps=2, negative=False,
        ),
        StockFamily(
            "z-image", "Z-Image", {TXT2IMG: "ZImagePipeline", IMG2IMG: "ZImageImg2ImgPipeline", INPAINT: "ZImageInpaintPipeline"},
            _parts("ZImageTransformer2DModel", ("Qwen3Model", "Qwen3ForCausalLM"), QWEN_TOKENS, FLOW), steps=50, cfg_scale=5.0, above=1.0,
        ),
        StockFamily(
            "qwenimage", "Qwen-Image",
            {TXT2IMG: "QwenImagePipeline", IMG2IMG: "QwenImageImg2ImgPipeline", INPAINT: "QwenImageInpaintPipeline"},
            _parts("QwenImageTransformer2DModel", ("Qwen2_5_VLForConditionalGeneration",), QWEN_TOKENS, FLOW, ("AutoencoderKLQwenImage",)),
            steps=50, cfg_scale=4.0, guidance="true_cfg_scale",
        ),
        StockFamily(
            "flux2-klein", "Flux.2 Klein",
            {TXT2IMG: "Flux2KleinPipeline", IMG2IMG: "Flux2KleinInpaintPipeline", INPAINT: "Flux2KleinInpaintPipeline"},
            _parts("Flux2Transformer2DModel", ("Qwen3ForCausalLM",), QWEN_TOKENS, FLOW, ("AutoencoderKLFlux2",)), steps=50, cfg_scale=4.0,
            negative=False, flags=("is_distilled",), most=1024 * 1024,
        ),
        StockFamily(
            "chroma", "Chroma", {TXT2IMG: "ChromaPipeline", IMG2IMG: "ChromaImg2ImgPipeline"},  # its inpainting asks for what no Chroma has
            _parts("ChromaTransformer2DModel", T5, T5_TOKENS, FLOW), steps=35, cfg_scale=5.0,
        ),
        StockFamily(
            "lumina2", "Lumina-Image 2.0", {TXT2IMG: "Lumina2Pipeline"},
            _parts("Lumina2Transformer2DModel", ("Gemma2Model",), GEMMA_TOKENS, FLOW), steps=30, cfg_scale=4.0, tokens=256,
            also=("Lumina2Text2ImgPipeline",),
        ),
        StockFamily(
            "lumina", "Lumina-Next", {TXT2IMG: "LuminaPipeline"}, _parts("LuminaNextDiT2DModel", ("GemmaModel",), GEMMA_TOKENS, FLOW),
            steps=30, cfg_scale=4.0, tokens=256, also=("LuminaText2ImgPipeline",),
        ),
        StockFamily(
            "auraflow", "AuraFlow", {TXT2IMG: "AuraFlowPipeline"},
            _parts("AuraFlowTransformer2DModel", ("UMT5EncoderModel",), ("LlamaTokenizer", "LlamaTokenizerFast", *T5_TOKENS), FLOW),
            steps=50, cfg_scale=3.5, tokens=256,
        ),
        StockFamily(
            "ovis", "Ovis-Image", {TXT2IMG: "OvisImagePipeline"},
            _parts("OvisImageTransformer2DModel", ("Qwen3Model",), QWEN_TOKENS, FLOW), steps=50, cfg_scale=5.0, tokens=256,
        ),
        StockFamily(
            "cogview3", "CogView3-Plus", {TXT2IMG: "CogView3PlusPipeline"},
            _parts("CogView3PlusTransformer2DModel", T5, T5_TOKENS, ("CogVideoXDDIMScheduler",)), steps=50, cfg_scale=5.0, tokens=224,
        ),
        StockFamily(
            "cogview4", "CogView4", {TXT2IMG: "CogView4Pipeline"},
            _parts("CogView4Transformer2DModel", ("GlmModel",), ("PreTrainedTokenizerFast", "TokenizersBackend"), FLOW),
            steps=50, cfg_scale=5.0, tokens=1024,
        ),
        StockFamily(
            "hunyuan", "HunyuanDiT", {TXT2IMG: "HunyuanDiTPipeline"},
            _parts("HunyuanDiT2DModel", ("BertModel",), ("BertTokenizer", "BertTokenizerFast"), SOLVERS)
            | {"text_encoder_2": ("T5EncoderModel",), "tokenizer_2": T5_TOKENS},
            steps=50, cfg_scale=5.0, tokens=256, without=("safety_checker", "feature_extractor"),
        ),
        StockFamily(
            "kandinsky3", "Kandinsky 3", {TXT2IMG: "Kandinsky3Pipeline", IMG2IMG: "Kandinsky3Img2ImgPipeline"},
            {"unet": ("Kandinsky3UNet",), "movq": ("VQModel",), "text_encoder": T5, "tokenizer": T5_TOKENS, "scheduler": SOLVERS},
            steps=25, cfg_scale=3.0, multiple=64, tokens=128, rounds=DOWN,
        ),
    )
}  # fmt: skip


def named(pipeline: str) -> StockFamily | None:
    """The family whose pipeline is called so."""
    return next((family for family in FAMILIES.values() if pipeline in (*family.pipelines.values(), *family.also)), None)
