"""How much arithmetic a call of each family is, so that one model's measured time says something of another's."""

from dataclasses import dataclass

PER_NUMBER = 0.2  # operations for a cell and a weight: Stable Diffusion 1.5 has 860 million weights and 1.7e8 operations for a cell
WHOLE = 1.24  # weights of a whole checkpoint over those of its denoiser, where nothing more is known


@dataclass(frozen=True)
class Cost:
    """linear: floating-point operations for each cell of latents; quadratic: for each pair of cells, which attention looks at.

    numbers: weights of the whole model that these are for, in all parts.
    """

    linear: float
    quadratic: float
    numbers: float


# From the published configs: convolutions and projections, then 4 x tokens^2 x width for each attention among cells.
COSTS = {
    "sd1": Cost(1.7e8, 7.4e3, 1.07e9),  # 0.80e12 at 512x512
    "sd2": Cost(1.7e8, 7.4e3, 1.29e9),
    "sdxl": Cost(3.2e8, 2.8e3, 3.47e9),  # 5.98e12 at 1024x1024
    "sdxl-refiner": Cost(3.0e8, 2.0e3, 3.1e9),
}


def cost(family: str, numbers: int) -> Cost:
    """Of a model with so many weights: a smaller one of a family costs less in proportion."""
    usual = COSTS.get(family)
    if usual is None:
        return Cost(PER_NUMBER * numbers / WHOLE, 1e3, float(numbers))
    part = numbers / usual.numbers if numbers else 1.0
    return Cost(usual.linear * part, usual.quadratic * part, usual.numbers * part)
