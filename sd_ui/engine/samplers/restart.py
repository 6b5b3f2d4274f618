"""Restart sampling (Xu et al. 2023): near the end, go back up to much noise and come down again. A path of sigmas that rises, for Heun."""

from sd_ui.engine.samplers.sigmas import Sigmas, karras_between

SHORTEST = 20  # with fewer steps there is nothing to spend on going back
LOW, HIGH = 0.1, 2.0  # from where, and up to where


def restarted(sigmas: Sigmas) -> Sigmas:
    """As many falling steps as before, some of them spent on restarts: A1111's choice of how many and how often."""
    steps = len(sigmas) - 1
    if steps < SHORTEST:
        return sigmas
    spent, times = (9, 1) if steps < 36 else (steps // 4, 2)
    main = karras_between(sigmas[-2], sigmas[0], steps - spent * times)
    low, high = (min(range(len(main)), key=lambda i: abs(main[i] - level)) for level in (LOW, HIGH))
    if not (high < low and main[low] > 0):
        return sigmas
    again = [*karras_between(main[low], main[high], spent + 1)[:-2], main[low]]
    return [*main[: low + 1], *again * times, *main[low + 1 :]]
