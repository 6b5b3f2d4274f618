"""How a model uses a device that may be too small for it: a ladder from everything there at once to one layer at a time, and who stands where.

Only what a policy says in `changes` alters a pixel; where weights lie alters none.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

RESIDENT, COMPONENTS, GROUPS, SEQUENTIAL = "resident", "components", "groups", "sequential"
LOADING, READING, ENCODING, SAMPLING, DECODING = "loading", "reading", "encoding", "sampling", "decoding"  # what a job may be doing
AUTO, HIGH, MEDIUM, LOW = "auto", "high", "medium", "low"

MIB = 2**20
BLOCK = 256 * MIB  # of weights that come to the device together: a twentieth of SDXL's U-Net, 10 ms over PCIe 4
UNITS = {COMPONENTS: sys.maxsize, GROUPS: BLOCK, SEQUENTIAL: 0}  # bytes of what is moved as one; a layer is never divided

WORDS = {
    RESIDENT: "everything in graphics memory",
    COMPONENTS: "text encoders, denoiser and VAE in graphics memory one after the other",
    GROUPS: "the denoiser in graphics memory block by block",
    SEQUENTIAL: "the model in graphics memory layer by layer",
}


@dataclass(frozen=True)
class Policy:
    """weights: RESIDENT ... SEQUENTIAL. tiles: the VAE works in tiles. sliced: attention is computed a head at a time.

    fp8: the denoiser's weights are kept in float8_e4m3fn, and computed with as precisely as ever.
    """

    weights: str = RESIDENT
    tiles: bool = False
    sliced: bool = False
    fp8: bool = False

    @property
    def name(self) -> str:
        """Short, for records; "" for the usual one."""
        return ", ".join([*([] if self.weights == RESIDENT else [self.weights]), *self.changes])

    @property
    def changes(self) -> tuple[str, ...]:
        """What of it changes the picture, if only its last bits."""
        said = {"VAE in tiles": self.tiles, "attention in slices": self.sliced, "denoiser in float8_e4m3fn": self.fp8}
        return tuple(words for words, holds in said.items() if holds)

    def said(self, apart: bool = True) -> str:
        """In words. apart: whether the device has a memory of its own."""
        where = WORDS[self.weights] if apart else "everything in main memory"
        return ", ".join([where, *(f"the {words}" if words.startswith(("VAE", "denoiser")) else words for words in self.changes)])


LADDER = (
    Policy(),
    Policy(COMPONENTS),
    Policy(COMPONENTS, tiles=True),
    Policy(GROUPS, tiles=True),
    Policy(SEQUENTIAL, tiles=True),
    Policy(SEQUENTIAL, tiles=True, sliced=True),
)
AT_ONCE = (Policy(), Policy(tiles=True), Policy(tiles=True, sliced=True))  # where there is no other memory for weights to wait in
HELPS = {  # what may differ between two policies, for the second to need less while a job does this
    LOADING: ("weights",),
    READING: ("weights",),
    ENCODING: ("weights", "tiles", "sliced"),
    SAMPLING: ("weights", "sliced"),
    DECODING: ("weights", "tiles", "sliced"),
}


@dataclass(frozen=True)
class Wishes:
    """What the user said of memory. mode: AUTO, HIGH: all at once, as long as it goes; MEDIUM, LOW: no more at once than that.

    budget: bytes of the device that may be used; 0: all that is free. fp8: see Policy.
    """

    mode: str = AUTO
    budget: int = 0
    fp8: bool = False


def ladder(apart: bool, wishes: Wishes = Wishes()) -> tuple[Policy, ...]:
    """From the fastest to the gentlest. apart: whether the device has a memory of its own, other than the one where weights can wait."""
    rungs = LADDER if apart else AT_ONCE
    lowest = {MEDIUM: COMPONENTS, LOW: GROUPS}.get(wishes.mode, RESIDENT) if apart else RESIDENT
    first = next(i for i, rung in enumerate(rungs) if rung.weights == lowest)
    return tuple(replace(rung, fp8=wishes.fp8) for rung in rungs[first:])


def gentler(rungs: Sequence[Policy], policy: Policy, stage: str) -> Policy | None:
    """The next of the ladder that needs less memory in this stage."""
    beyond = rungs[rungs.index(policy) + 1 :] if policy in rungs else rungs
    return next((rung for rung in beyond if any(getattr(rung, name) != getattr(policy, name) for name in HELPS[stage])), None)


def gentlest(rungs: Sequence[Policy], *policies: Policy) -> Policy:
    return max(policies, key=lambda policy: rungs.index(policy) if policy in rungs else -1)
