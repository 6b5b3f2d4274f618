"""The part of a run that is guided: outside it the model is asked with the prompt alone, in half the time."""

from dataclasses import replace

from sd_ui.engine.timeline import PredictAt, Timeline
from sd_ui.spec.request import Guidance


def bare(text: Timeline) -> Timeline:
    """The same texts without the negative prompt, and not perturbed."""
    return replace(text, told=tuple(replace(told, uncond=None, perturbation=None) for told in text.told))


def whole(asked: Guidance) -> bool:
    return asked.start <= 0 and asked.stop >= 1


def within(guided: PredictAt, alone: PredictAt, asked: Guidance, calls: int) -> PredictAt:
    """calls: how often the model is asked in all. A1111 counts so for its Skip Early CFG, whose last call is skipped too."""

    def at(call: int) -> bool:
        part = call / calls
        return (asked.start <= 0 or part > asked.start) and (asked.stop >= 1 or part < asked.stop)

    return lambda call: (guided if at(call) else alone)(call)
