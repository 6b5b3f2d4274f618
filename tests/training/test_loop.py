"""What every stage of the training can rely on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training import loop
from training.loop import Plan, State, turn_of
from training.workers import Alone, together

ROOT = Path(__file__).parents[2]
PLAN = Plan(minutes=20, rate=1e-2, warm_up=5, save_every=0, average=0.9, show_every=1000)


class Line:
    """A line through noisy points, learned by a small network."""

    name, batch, device = "line", 8, "cpu"

    def __init__(self, dies_at=None):
        torch.manual_seed(1)
        self.network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1))
        self.networks, self.dies_at, self.turns = {"network": self.network}, dies_at, []

    def loss(self, turn):
        if turn.step == self.dies_at:
            raise KeyboardInterrupt
        self.turns.append(turn.step)
        x = torch.rand((self.batch, 1), generator=turn.noise)
        return ((self.network(x).float() - (2 * x + 1)) ** 2).mean()

    def show(self, folder):
        return {"weights": sum(float(value.sum()) for value in self.network.state_dict().values())}


class Clock:
    """Every look at it is a minute later."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        self.seconds += 60
        return self.seconds


def trained(folder, stage=None, plan=PLAN):
    stage = stage or Line()
    return stage, loop.run(stage, plan, folder, Alone(), tell=lambda line: None, clock=Clock())


def test_a_little_training_lowers_the_loss(tmp_path):
    _, state = trained(tmp_path)
    assert state.curve[-1][1] < state.curve[0][1] / 3
    assert state.curve[-1][0] == state.step * Line.batch == 200 * 8


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    _, whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", Line(dies_at=137))
    after = Line()
    _, state = trained(tmp_path / "killed", after)
    assert after.turns[0] == 130  # the last state that was kept
    assert state.step == whole.step and state.minutes == whole.minutes and state.curve == whole.curve
    for one, other in ((state.weights, whole.weights), (state.average, whole.average)):
        assert all(torch.equal(one["network"][key], value) for key, value in other["network"].items())


def test_a_finished_run_is_not_run_again(tmp_path):
    _, state = trained(tmp_path)
    again = Line()
    _, same = trained(tmp_path, again)
    assert again.turns == [] and same.step == state.step
    assert torch.equal(again.network[0].weight, state.average["network"]["0.weight"])


def test_a_state_is_whole_whenever_one_is_killed(tmp_path):
    """A process that does nothing but keep states is killed at different moments; what lies there can always be read."""
    code = (
        "import sys, torch\nfrom pathlib import Path\nfrom training import loop\n"
        "step = 0\nprint('ready', flush=True)\n"
        "while True:\n    step += 1\n"
        "    loop.keep(loop.State({'n': {'w': torch.full((500, 500), float(step))}}, {}, step=step), Path(sys.argv[1]))\n"
        "    print(step, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    told = [process.stdout.readline() for _ in range(8)]
    os.kill(process.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.communicate()
    state = loop.resumed(tmp_path)
    assert state.step >= int(told[-1]) and (state.weights["n"]["w"] == state.step).all()


def test_figures_that_a_kill_prevented_are_made_up_for(tmp_path):
    trained(tmp_path)
    figures = tmp_path / "figures.jsonl"
    told = figures.read_text()
    figures.unlink()
    trained(tmp_path)
    assert figures.read_text() == told
    trained(tmp_path)
    assert figures.read_text() == told


def test_time_in_which_a_run_was_suspended_does_not_count(tmp_path):
    class Sleeper(Clock):
        def __call__(self):
            return super().__call__() + (3600 if self.seconds > 300 else 0)

    state = loop.run(Line(), PLAN, tmp_path, Alone(), tell=lambda line: None, clock=Sleeper())
    assert state.step == 200 and state.minutes == PLAN.minutes


def test_the_data_of_a_step_depend_on_its_number_and_the_worker_alone():
    def drawn(step, rank):
        turn = turn_of(3, step, rank, 0.5)
        return turn.rng.random(), float(torch.rand(1, generator=turn.noise))

    assert drawn(7, 0) == drawn(7, 0) and len({drawn(7, 0), drawn(7, 1), drawn(8, 0)}) == 3


def test_the_learning_rate_warms_up_stays_and_falls():
    rates = [PLAN.rate_at(progress, step) for progress, step in ((0, 0), (0, 4), (0.2, 100), (0.65, 200), (1, 400))]
    assert rates == [pytest.approx(value) for value in (0.002, 0.01, 0.01, 0.005, 0.0003)]


def test_steps_end_a_plan_as_well_as_minutes(tmp_path):
    _, state = trained(tmp_path, plan=Plan(minutes=1000, rate=1e-2, steps=30, save_every=0))
    assert state.step == 30


def test_a_state_knows_nothing_but_plain_values(tmp_path):
    loop.keep(State({"n": {}}, {"n": {}}, step=3, curve=[(8, 0.5)]), tmp_path)
    assert loop.resumed(tmp_path) == State({"n": {}}, {"n": {}}, step=3, curve=[(8, 0.5)])
    assert loop.resumed(tmp_path / "elsewhere") is None


def averaged(team, folder):
    """A step of the optimizer on gradients of 1 and 3 times the numbers 0 ... 23, for weights that are channels last."""
    weight = torch.nn.Parameter(torch.zeros(2, 3, 2, 2).to(memory_format=torch.channels_last))
    (weight * numbers(weight) * (1 + 2 * team.rank)).sum().backward()
    team.average([weight])
    torch.optim.AdamW([weight], lr=0.1, eps=10, fused=True).step()
    torch.save((weight.detach(), weight.grad, team.agree(team.rank + 5)), folder / f"{team.rank}.pt")


def numbers(weight):
    return torch.arange(weight.numel()).float().view(weight.shape)


def fails(team):
    if team.rank == 1:
        raise ValueError
    team.agree(0.0)


def test_two_workers_agree_on_gradients_and_on_the_time(tmp_path):
    together(averaged, 24, tmp_path)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(one[0], other[0]) and one[2] == other[2] == 5
    mean = 2 * numbers(one[0])
    assert torch.equal(one[1], mean)
    assert torch.allclose(one[0], -0.1 * mean / (mean + 10))  # AdamW's first step; a fused one on other strides would go elsewhere


def test_a_worker_that_fails_ends_both(capfd):
    with pytest.raises(SystemExit, match="a worker ended with"):
        together(fails, 1)
