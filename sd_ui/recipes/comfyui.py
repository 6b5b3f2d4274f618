"""ComfyUI: the graph is read backwards, from the sampler to where its model, texts and latents come from."""

from dataclasses import dataclass
from typing import Any

from sd_ui.recipes import data, names
from sd_ui.recipes.comfy_graph import Graph, Link, Node, from_prompt, from_workflow
from sd_ui.recipes.comfy_texts import Texts
from sd_ui.recipes.recipe import Draft, Recipe

PROGRAM = "ComfyUI"
MOST = 100  # samplers, pictures that are saved and so on, that are looked at
LATENTS = ("latent_image", "samples", "latent", "pixels", "image", "latents", "optional_latent")
MODELS = ("model", "unet", "MODEL")
LOADED = ("ckpt_name", "unet_name", "base_ckpt_name", "model_name", "gguf_name")
MASKED = ("VAEEncodeForInpaint", "SetLatentNoiseMask", "InpaintModelConditioning")
SPACED = {"KarrasScheduler": "karras", "ExponentialScheduler": "exponential", "AlignYourStepsScheduler": "ays", "SDTurboScheduler": "turbo"}
NO_CHANGE = ("", "Reroute", "PrimitiveNode")  # nodes that hand on what they are given


def read(found: dict[str, Any], texts: dict[str, str]) -> Recipe | None:
    """None where it is no graph, or one without a sampler."""
    graph = from_prompt(found) or from_workflow(found)
    passes = _passes(graph) if graph else []
    return _Reading(graph, passes).recipe() if graph and passes else None


def _is_sampler(node: Node) -> bool:
    return "latent_image" in node.inputs and any(name in node.inputs for name in ("seed", "noise_seed", "noise", "seed_value"))


def _passes(graph: Graph) -> list[Node]:
    """The samplers that one after the other made the picture, the first one first."""
    samplers = [node for node in graph.nodes.values() if _is_sampler(node)][:MOST]
    before = {node.id: _sampler_before(graph, node) for node in samplers}
    later = {earlier.id for earlier in before.values() if earlier}
    savers = [node for node in graph.nodes.values() if node.kind == "SaveImage"][:MOST]
    saved = [found.id for node in savers if (found := _sampler_before(graph, node))]
    last = [node for node in samplers if node.id not in later] or samplers
    last.sort(key=lambda node: node.id not in saved)
    passes = last[:1]
    while passes and (earlier := before.get(passes[0].id)) and earlier not in passes:
        passes.insert(0, earlier)
    return passes


def _sampler_before(graph: Graph, node: Node) -> Node | None:
    """Where the latents or the picture that a node is given come from, if from a sampler."""
    start = node.link(*(("images",) if node.kind == "SaveImage" else LATENTS))
    return next((found for found in graph.chain(start, "samples", "images", *LATENTS) if _is_sampler(found)), None)


@dataclass(frozen=True)
class _Reading:
    """Of the first pass; the later ones are told of."""

    graph: Graph
    passes: list[Node]

    def recipe(self) -> Recipe:
        draft, sampler = Draft(PROGRAM), self.passes[0]
        guider = self.graph.at(sampler.inputs.get("guider")) or sampler
        sigmas = self.graph.at(sampler.inputs.get("sigmas")) or sampler
        self._texts(draft, guider)
        self._model(draft, guider)
        self._vae(draft)
        mode = self._latents(draft, sampler)
        self._sampling(draft, sampler, guider, sigmas, mode)
        self._later(draft)
        return draft.made(mode)

    def _texts(self, draft: Draft, guider: Node) -> None:
        texts = Texts(self.graph, draft)
        positive = guider.inputs.get("positive", guider.inputs.get("conditioning"))
        draft.take("prompt", texts.prompt(positive))
        draft.take("negative_prompt", texts.negative(guider.inputs.get("negative")))
        if texts.clip_skip:
            draft.take("clip_skip", texts.clip_skip)

    def _model(self, draft: Draft, guider: Node) -> None:
        loras = []
        for node in self.graph.chain(guider.inputs.get("model"), *MODELS):
            worn = _loras(self.graph, node)
            if name := data.first(self.graph.value(node, said) for said in LOADED):
                draft.model(name)
                loras += worn
                break
            if not worn and node.kind not in NO_CHANGE:
                draft.note(f"{data.shown(node.kind)} changed the model; that was not taken over.")
            loras += worn
        for name, unet, text in reversed(loras):
            draft.wear(name, unet, text)

    def _vae(self, draft: Draft) -> None:
        """The VAE of the node that decodes what the last sampler made, or of the only loader."""
        loaders = [node for node in self.graph.nodes.values() if node.kind == "VAELoader"]
        decoders = [node for node in self.graph.nodes.values() if node.kind.startswith("VAEDecode")][:MOST]
        wanted = [node for decoder in decoders for node in self.graph.chain(decoder.inputs.get("vae"), "vae") if node.kind == "VAELoader"]
        found = wanted or (loaders if not decoders else [])
        if found:
            draft.model(self.graph.value(found[0], "vae_name"), kind="vae")

    def _latents(self, draft: Draft, sampler: Node) -> str:
        """The size, and the mode by what the latents were made of."""
        mode, mask = "txt2img", False
        for node in self.graph.chain(sampler.inputs.get("latent_image"), *LATENTS):
            mask = mask or node.kind in MASKED
            if node.kind.startswith("VAEEncode") or node.kind in MASKED:
                mode = "img2img"
            width, height = (self.graph.value(node, name, f"empty_latent_{name}") for name in ("width", "height"))
            if width and height and "width" not in draft.values:
                draft.take("width", width)
                draft.take("height", height)
            if (count := data.number(self.graph.value(node, "batch_size", "amount"), 1)) > 1:
                draft.take("batch_count", count, "Batch size")
                draft.note("Pictures of one batch: from the second on their noise here is another one.")
            if node.kind.startswith("LoadImage"):
                draft.other("Picture", self.graph.value(node, "image"))
        return "inpaint" if mask else mode

    def _sampling(self, draft: Draft, sampler: Node, guider: Node, sigmas: Node, mode: str) -> None:
        value = self.graph.value
        noise = self.graph.at(sampler.inputs.get("noise")) or sampler
        draft.take("seed", value(noise, "seed", "noise_seed", "seed_value"), "Seed")
        draft.take("cfg_scale", value(guider, "cfg") if guider.kind != "BasicGuider" else 1.0, "CFG")
        chosen = self.graph.at(sampler.inputs.get("sampler")) or sampler
        said, spacing = data.words(value(chosen, "sampler_name")), data.words(SPACED.get(sigmas.kind) or value(sigmas, "scheduler"))
        known = "euler" if said == "ddim" and spacing not in ("ddim_uniform", "") else said  # which is what ComfyUI's ddim does
        schedule = "Automatic" if known == "ddim" else names.schedule(spacing)
        draft.sample(names.of_k_diffusion(known), schedule, said, spacing)
        if said.endswith(names.GPU):
            draft.note("The noise of its steps was drawn on a graphics card: the same seed gives another picture here.")
        self._steps(draft, sigmas, mode)

    def _steps(self, draft: Draft, sigmas: Node, mode: str) -> None:
        """ComfyUI runs all steps whatever the denoising strength is; here, as in A1111, that is their share which is run."""
        steps, strength = self.graph.value(sigmas, "steps"), data.number(self.graph.value(sigmas, "denoise"), 1.0)
        begin = data.number(self.graph.value(sigmas, "start_at_step"), 0)
        if begin > 0 and (total := data.number(steps, 0)) > begin:
            strength = 1 - begin / total
        elif 0 < strength < 1 and (whole := round(data.number(steps, 0) / strength)) <= 150:
            steps = whole
        draft.take("steps", steps, "Steps")
        if mode != "txt2img":
            draft.take("strength", strength, "Denoise")
        elif strength < 1:
            draft.other("Denoise", strength)

    def _later(self, draft: Draft) -> None:
        if len(self.passes) < 2:
            return
        first, second = self.passes[0], self.passes[1]
        name = self._checkpoint(second)
        steps, switch = data.number(self.graph.value(second, "steps"), 0), data.number(self.graph.value(second, "start_at_step"), 0)
        goes_on = first.inputs.get("return_with_leftover_noise") == "enable" and second.inputs.get("add_noise") == "disable"
        if goes_on and name and 0 < switch < steps:
            draft.model(name, kind="refiner")
            draft.take("refiner_switch_at", switch / steps)
        if not goes_on or len(self.passes) > 2:
            draft.note(f"It was made in {len(self.passes)} passes; its settings here are those of the first.")

    def _checkpoint(self, sampler: Node) -> Any:
        found = (data.first(self.graph.value(node, said) for said in LOADED) for node in self.graph.chain(sampler.inputs.get("model"), *MODELS))
        return data.first(found)


def _loras(graph: Graph, node: Node) -> list[tuple[Any, Any, Any]]:
    """Name, weight of the U-Net, weight of the text encoder (None: the same). rgthree's loader has a table for each."""
    loras = []
    if (name := graph.value(node, "lora_name")) and node.kind:
        unet = graph.value(node, "strength_model", "lora_model_strength")
        text = 0.0 if "strength_clip" not in node.inputs and node.kind == "LoraLoaderModelOnly" else graph.value(node, "strength_clip")
        loras.append((name, unet, text))
    rows = [row for row in node.inputs.values() if isinstance(row, dict) and not isinstance(row, Link) and isinstance(row.get("lora"), str)]
    loras += [(row["lora"], row.get("strength"), row.get("strengthTwo")) for row in rows if row.get("on")]
    return loras[::-1]
