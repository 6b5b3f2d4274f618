"""What other programs call the samplers and schedules that there are here. What is not in these tables is another method."""

from sd_ui.spec.samplers import AUTOMATIC, SAMPLERS, schedule_of, split

K_DIFFUSION = {  # its functions, as ComfyUI, Fooocus, SwarmUI and NovelAI call them
    "euler": "Euler", "euler_ancestral": "Euler a", "heun": "Heun", "dpm_2": "DPM2", "dpm_2_ancestral": "DPM2 a", "lms": "LMS",
    "dpm_fast": "DPM fast", "dpm_adaptive": "DPM adaptive", "dpmpp_2s_ancestral": "DPM++ 2S a", "dpmpp_2m": "DPM++ 2M", "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun", "dpmpp_3m_sde": "DPM++ 3M SDE", "ddim": "DDIM", "ddim_v3": "DDIM",
    "plms": "PLMS", "uni_pc": "UniPC", "uni_pc_bh2": "UniPC", "unipc": "UniPC", "lcm": "LCM", "tcd": "TCD", "deis": "DEIS", "restart": "Restart",
}  # fmt: skip
DIFFUSERS = {  # its schedulers, as InvokeAI calls them
    "ddim": "DDIM", "deis": "DEIS", "lms": "LMS", "pndm": "PLMS", "plms": "PLMS", "heun": "Heun", "euler": "Euler", "euler_a": "Euler a",
    "kdpm_2": "DPM2", "kdpm_2_a": "DPM2 a", "dpm_2": "DPM2", "dpm_2_a": "DPM2 a", "dpmpp_2m": "DPM++ 2M", "dpmpp_2": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_sde": "DPM++ SDE", "unipc": "UniPC", "lcm": "LCM", "tcd": "TCD",
}  # fmt: skip
APPLE = {"Euler Ancestral": "Euler a", "DPM++ 2M AYS": "DPM++ 2M", "DPM++ SDE AYS": "DPM++ SDE", "Euler A AYS": "Euler a"}  # Draw Things
SCHEDULES = {"ddim_uniform": "DDIM", "native": AUTOMATIC, "default": AUTOMATIC, "ays": "Align Your Steps", "align_your_steps": "Align Your Steps"}
GPU = "_gpu"  # noise of a stochastic sampler from the graphics card


def of_k_diffusion(name: str) -> str:
    """ "dpmpp_2m_sde_gpu" is "DPM++ 2M SDE"; "" for what there is not here."""
    plain = name.strip().lower().removeprefix("k_").removesuffix(GPU)
    return K_DIFFUSION.get(plain, "") or of_a1111(name)[0]


def of_diffusers(name: str) -> tuple[str, str]:
    """Sampler and schedule; InvokeAI's "_k" asks for Karras' one."""
    plain = name.strip().lower().removeprefix("k_")
    base = plain.removesuffix("_k")
    return DIFFUSERS.get(base, ""), "Karras" if base != plain else "Uniform"


def of_draw_things(name: str) -> tuple[str, str]:
    if name in APPLE:
        return APPLE[name], "Align Your Steps" if name.endswith("AYS") else AUTOMATIC
    return of_a1111(name.replace("Trailing", "").strip())


def of_a1111(name: str) -> tuple[str, str]:
    """The names of A1111 and of everyone who took them over, with or without a schedule behind."""
    sampler, schedule = split(name)
    return (sampler, schedule or AUTOMATIC) if sampler in SAMPLERS else ("", AUTOMATIC)


def schedule(name: str) -> str:
    """ "" for what there is not here."""
    return SCHEDULES.get(name.strip().lower(), "") or schedule_of(name) or ""
