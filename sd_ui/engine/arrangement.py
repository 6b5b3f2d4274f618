"""How a model uses the device now. Several residents that share modules (a checkpoint with two VAEs) share their arrangement."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from sd_ui.engine import attention, layerwise, offload
from sd_ui.engine.device import Place
from sd_ui.engine.offload import SMALL, Shuttle
from sd_ui.engine.policy import RESIDENT, Policy

Trees = Sequence[tuple[str, nn.Module]]  # components by name, each module once


@dataclass(eq=False)
class Arrangement:
    """policy: None where the weights just wait in main memory, or lie where they were loaded. why: the policy, in words. small: see offload.lay."""

    policy: Policy | None = None
    why: str = ""
    small: int = SMALL
    _shuttle: Shuttle | None = None
    _laid: tuple[int, ...] = ()

    def make(self, policy: Policy, trees: Trees, place: Place, usual_attention: str) -> None:
        """From the next call of a module on. Running courses may go on: the modules stay the same."""
        now = tuple(id(module) for _, module in trees)
        if (policy, now) == (self.policy, self._laid):
            return
        self.rest()
        self.policy = None  # should memory run out on the way
        for name, module in trees:
            if policy.fp8 and offload.is_denoiser(name):
                layerwise.store(module, place.dtype)
            if hasattr(module, "use_tiling"):
                setattr(module, "use_tiling", policy.tiles)  # noqa: B010  (not a tensor, as mypy takes it for) `memory.economical` looks at it
            attention.sliced(module) if policy.sliced else attention.whole(module, usual_attention)
        self._shuttle = offload.lay(trees, policy.weights, place.device, self.small)
        self.policy, self._laid = policy, now

    def park(self, trees: Trees) -> None:
        """All weights wait in main memory until they are arranged again."""
        self.rest()
        offload.lay(trees, RESIDENT, offload.HOST)
        self.policy, self._shuttle = None, None

    def rest(self) -> None:
        """Nothing that moves stays on the device."""
        if self._shuttle is not None:
            self._shuttle.rest()


def once(trees: Iterable[tuple[str, nn.Module]]) -> Trees:
    """Each module once, under the first of its names."""
    found: dict[int, tuple[str, nn.Module]] = {}
    for name, module in trees:
        found.setdefault(id(module), (name, module))
    return list(found.values())
