"""The training loop that every stage shares: steps, moving averages, a state that survives kills, the learning curve.

A step's data depend on the seed, the step's number and the worker alone, so that a run that was killed goes on exactly as it would have.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from training.sheets import curve
from training.workers import Team

Weights = dict[str, dict[str, Tensor]]  # of networks by name
TOGETHER = 10  # steps between two looks at the clock
LONGEST = 60  # seconds that they can cost; whatever is above it, the process was suspended or the computer slept


@dataclass(frozen=True)
class Plan:
    """Ends when either the minutes or the steps are over. flat: the share of the run before the learning rate falls, to `last` of it."""

    minutes: float
    rate: float
    steps: float = math.inf
    warm_up: int = 100
    flat: float = 0.3
    last: float = 0.03
    average: float = 0.998
    decay: float = 0.01
    seed: int = 0
    save_every: float = 2.5  # minutes
    show_every: float = 15.0

    def progress(self, minutes: float, step: int) -> float:
        return max(minutes / self.minutes if self.minutes else 1.0, step / self.steps)

    def rate_at(self, progress: float, step: int) -> float:
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress - self.flat) / (1 - self.flat))))
        return self.rate * min(1.0, (step + 1) / self.warm_up) * max(self.last, falling)


@dataclass(frozen=True)
class Turn:
    """What one worker's step may draw from. progress: 0 at the beginning of the stage, 1 at its end."""

    step: int
    progress: float
    rng: np.random.Generator
    noise: torch.Generator


class Stage(Protocol):
    """batch: per worker. networks: what is trained."""

    name: str
    batch: int
    device: str
    networks: Mapping[str, nn.Module]

    def loss(self, turn: Turn) -> Tensor: ...

    def show(self, folder: Path) -> Mapping[str, float]:
        """Leaves a sheet of pictures in the folder and returns figures; the networks hold their moving averages meanwhile."""


@dataclass
class State:
    """Everything that a run needs to go on. curve: (samples, mean loss since the last point)."""

    weights: Weights
    average: Weights
    optimizer: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    minutes: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)


def run(
    stage: Stage, plan: Plan, folder: Path, team: Team, tell: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic
) -> State:
    """Trains to the plan's end, from the last state in the folder if there is one. clock: in seconds."""
    state = resumed(folder) or State(copied(stage.networks), copied(stage.networks))
    parameters = [parameter for network in stage.networks.values() for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=plan.rate, betas=(0.9, 0.98), weight_decay=plan.decay, fused=True)
    put(state.weights, stage.networks)
    state.average = on(stage.device, state.average)
    if state.optimizer:
        optimizer.load_state_dict(state.optimizer)
    looked, saved, seen, losses = clock(), state.minutes, state.minutes, []
    while plan.progress(state.minutes, state.step) < 1:
        losses += [one_step(stage, plan, state, optimizer, parameters, team) for _ in range(TOGETHER)]
        before, looked = looked, clock()
        state.minutes = team.agree(state.minutes + min(looked - before, LONGEST) / 60)
        ended = plan.progress(state.minutes, state.step) >= 1
        if state.minutes - saved >= plan.save_every or ended:
            saved = state.minutes
            state.curve.append((state.step * stage.batch * team.size, float(np.mean(losses))))
            losses = []
            if team.rank == 0:
                state.weights, state.optimizer = copied(stage.networks), optimizer.state_dict()
                keep(state, folder)
                tell(progress_of(stage, state))
                curve(state.curve, stage.name).save(folder / "curve.png")
        if team.rank == 0 and state.minutes - seen >= plan.show_every and not ended:
            seen = state.minutes
            show(stage, state, folder, tell)
    if team.rank == 0 and last_shown(folder) != state.step:  # a run may have been killed between its last step and its figures
        show(stage, state, folder, tell)
    put(state.average, stage.networks)
    return state


def one_step(stage: Stage, plan: Plan, state: State, optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], team: Team) -> float:
    progress = plan.progress(state.minutes, state.step)
    for group in optimizer.param_groups:
        group["lr"] = plan.rate_at(progress, state.step)
    turn = turn_of(plan.seed, state.step, team.rank, progress)
    torch.manual_seed(turn.step * team.size + team.rank)  # for what draws inside networks, such as dropout
    with autocast(stage.device):
        loss = stage.loss(turn)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    team.average(parameters)
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    state.step += 1
    if team.rank == 0:
        drift(state.average, stage.networks, min(plan.average, (state.step + 1) / (state.step + 10)))
    return loss.item()


def turn_of(seed: int, step: int, rank: int, progress: float) -> Turn:
    rng = np.random.default_rng((seed, step, rank))
    return Turn(step, progress, rng, torch.Generator().manual_seed(int(rng.integers(2**62))))


def autocast(device: str) -> AbstractContextManager[Any]:
    """bfloat16 where the processor multiplies it fast; elsewhere it would be several times slower."""
    fast = device != "cpu" or "avx512_bf16" in cpu_flags() or "amx_bf16" in cpu_flags()
    return torch.autocast(device, torch.bfloat16, enabled=fast)


def cpu_flags() -> frozenset[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return frozenset(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())


# ---------------------------------------------------------------- weights
def copied(networks: Mapping[str, nn.Module]) -> Weights:
    return {name: {key: value.detach().clone() for key, value in network.state_dict().items()} for name, network in networks.items()}


def put(weights: Weights, networks: Mapping[str, nn.Module]) -> None:
    for name, network in networks.items():
        network.load_state_dict(weights[name])


def on(device: str, weights: Weights) -> Weights:
    return {name: {key: value.to(device) for key, value in network.items()} for name, network in weights.items()}


@torch.no_grad()
def drift(average: Weights, networks: Mapping[str, nn.Module], share: float) -> None:
    """The moving average moves by 1 - share towards the networks. What is no float (a counter) is copied."""
    for name, network in networks.items():
        now = network.state_dict()
        floats = [key for key, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([average[name][key] for key in floats], [now[key] for key in floats], 1 - share)
        average[name].update({key: value.clone() for key, value in now.items() if not value.is_floating_point()})


# ---------------------------------------------------------------- states on the disk
def keep(state: State, folder: Path) -> None:
    """Whole or not at all: written beside, then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "state.part").open("wb") as file:
        torch.save(vars(state), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(folder / "state.part", folder / "state.pt")


def resumed(folder: Path) -> State | None:
    path = folder / "state.pt"
    return State(**torch.load(path, map_location="cpu", weights_only=True)) if path.exists() else None


# ---------------------------------------------------------------- reports
def progress_of(stage: Stage, state: State) -> str:
    samples, loss = state.curve[-1]
    rate = samples / (60 * state.minutes) if state.minutes else 0.0
    return f"{stage.name}: step {state.step}, {samples} samples, {state.minutes:.1f} minutes, {rate:.0f} a second, loss {loss:.4f}"


def last_shown(folder: Path) -> int:
    """The step of the last figures; -1 without any."""
    path = folder / "figures.jsonl"
    return int(json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["step"]) if path.exists() else -1


@torch.no_grad()
def show(stage: Stage, state: State, folder: Path, tell: Callable[[str], None]) -> None:
    """A sheet and figures of the moving average; the learning curve gets one more line."""
    now = copied(stage.networks)
    put(state.average, stage.networks)
    for network in stage.networks.values():
        network.eval()
    figures = {name: round(value, 4) for name, value in stage.show(folder).items()}
    for network in stage.networks.values():
        network.train()
    put(now, stage.networks)
    with (folder / "figures.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": state.step, "minutes": round(state.minutes, 1), **figures}) + "\n")
    tell(f"{stage.name}: {figures}")
