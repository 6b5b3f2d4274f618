"""The names of samplers and schedules, and which go together. How they are computed is `engine.samplers`'s business."""

from dataclasses import dataclass

AUTOMATIC = "Automatic"
MODELS_OWN = "Model's own"
EVERY = ("Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Align Your Steps", "Simple", "Normal", "DDIM",
         "Beta", "Turbo")  # fmt: skip
SCHEDULES = (AUTOMATIC, *EVERY)
OWN = ("Uniform",)  # for samplers that bring their own spacing


@dataclass(frozen=True)
class Sampler:
    """What people should know of one. calls: questions to the model in each step, in words where no number says it.

    automatic: what the schedule "Automatic" stands for (A1111's choice). fresh_noise: whether steps add noise of their own, so that the picture
    does not settle as steps grow. guidance: what CFG scale is divided by, where a method counts it otherwise.
    """

    about: str
    schedules: tuple[str, ...] = EVERY
    automatic: str = "Uniform"
    fresh_noise: bool = False
    calls: str = "1"
    guidance: float = 1.0


SAMPLERS: dict[str, Sampler] = {
    "DPM++ 2M": Sampler("A good default: sharp after 20 steps, and each step costs one call. Lu et al. 2022.", automatic="Karras"),
    "DPM++ SDE": Sampler("Fresh noise and two calls a step: much detail after few steps. Lu et al. 2022.", automatic="Karras",
                         fresh_noise=True, calls="2"),
    "DPM++ 2M SDE": Sampler("DPM++ 2M with fresh noise: more detail, needs some more steps. Lu et al. 2022.", automatic="Exponential",
                            fresh_noise=True),
    "DPM++ 2M SDE Heun": Sampler("DPM++ 2M SDE with another way to use its memory. Lu et al. 2022.", automatic="Exponential", fresh_noise=True),
    "DPM++ 2S a": Sampler("Two calls a step and fresh noise: soft, varied pictures. Lu et al. 2022.", automatic="Karras", fresh_noise=True,
                          calls="2"),
    "DPM++ 3M SDE": Sampler("DPM++ 2M SDE with a longer memory: at its best from 30 steps on. Crowson, k-diffusion.", automatic="Exponential",
                            fresh_noise=True),
    "Euler a": Sampler("The simplest one with fresh noise: soft, and quick to look finished. Song et al. 2021, Karras et al. 2022.",
                       fresh_noise=True),
    "Euler": Sampler("The simplest of all: predictable, and smooth. Karras et al. 2022."),
    "LMS": Sampler("Euler with a memory of four steps; can leave marks when steps are few. Crowson, k-diffusion."),
    "Heun": Sampler("Euler that looks ahead: more exact, at twice the cost. Karras et al. 2022.", calls="2"),
    "DPM2": Sampler("Looks halfway ahead in each step. Lu et al. 2022.", automatic="Karras", calls="2"),
    "DPM2 a": Sampler("DPM2 with fresh noise. Lu et al. 2022.", automatic="Karras", fresh_noise=True, calls="2"),
    "DPM fast": Sampler("Few large steps of third order, with as many calls in all as steps are asked for. Lu et al. 2022.", OWN,
                        fresh_noise=True),
    "DPM adaptive": Sampler("Chooses its own steps and takes no notice of Steps: slow, and thorough. Lu et al. 2022.", OWN, fresh_noise=True,
                            calls="3, in as many steps as it finds fit"),
    "Restart": Sampler("Heun that goes back up to much noise and down again, from 20 steps on. Xu et al. 2023.", automatic="Karras",
                       fresh_noise=True, calls="2"),
    "DDIM": Sampler("The first fast sampler; its pictures settle slowly. Song et al. 2020.", OWN),
    "DDIM CFG++": Sampler("DDIM whose guidance stays closer to what the model knows; a CFG scale of 12.5 counts as 1. Chung et al. 2024.", OWN,
                          guidance=12.5),
    "PLMS": Sampler("DDIM with a memory of four steps. Liu et al. 2022.", OWN, calls="1, and 2 in the first step"),
    "UniPC": Sampler("Corrects each step with the next one's answer: good after 10 steps. Zhao et al. 2023."),
    "LCM": Sampler("For models or LoRAs that were distilled for it: 4 to 8 steps, CFG scale 1 to 2. Luo et al. 2023.", fresh_noise=True),
    "TCD": Sampler("For models or LoRAs that were distilled for it: 4 to 8 steps, less noisy than LCM. Zheng et al. 2024.", OWN,
                   fresh_noise=True),
    "DEIS": Sampler("Euler with a memory of two steps, measured in log sigma. Zhang and Chen 2022."),
    MODELS_OWN: Sampler("What the model brings: for models that run by diffusers' own pipelines (docs/models.md), and for no others.", (),
                        automatic=AUTOMATIC, calls="as its pipeline does"),
}  # fmt: skip
SHORT = {  # what programs before this one called them, besides their labels
    "k_euler_a": "Euler a", "k_euler_ancestral": "Euler a", "k_euler": "Euler", "k_lms": "LMS", "k_heun": "Heun", "k_dpm_2": "DPM2",
    "k_dpm_2_a": "DPM2 a", "k_dpmpp_2s_a": "DPM++ 2S a", "k_dpmpp_2m": "DPM++ 2M", "k_dpmpp_sde": "DPM++ SDE", "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "k_dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun", "k_dpmpp_3m_sde": "DPM++ 3M SDE", "k_dpm_fast": "DPM fast", "k_dpm_ad": "DPM adaptive",
    "k_lcm": "LCM",
}  # fmt: skip


def resolved(sampler: str, schedule: str, flow: bool = False) -> str:
    """The schedule that a run really uses. flow: of a model that was trained as one, whose own is even over its steps."""
    if schedule != AUTOMATIC:
        return schedule
    return "Uniform" if flow else SAMPLERS[sampler].automatic


def split(name: str) -> tuple[str, str | None]:
    """Read the older spelling of other programs, whatever its case: "DPM++ 2M Karras" is ("DPM++ 2M", "Karras"), "k_lms_ka" ("LMS", "Karras")."""
    wanted = plain(name)
    for label, sampler in {**{label: label for label in SAMPLERS}, **SHORT}.items():
        if wanted == plain(label):
            return sampler, None
        if label in SHORT and wanted == plain(f"{label}_ka"):
            return sampler, "Karras"
        for schedule in SCHEDULES:
            if wanted == plain(f"{label} {schedule}"):
                return sampler, schedule
    return name, None


def schedule_of(name: str) -> str | None:
    """The schedule that other programs write as "sgm_uniform" or "SGMUniform"; None where it is none of ours."""
    return {plain(schedule).replace(" ", ""): schedule for schedule in SCHEDULES}.get(plain(name).replace(" ", ""))


def plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
