"""Who trains together: one process alone, or two single-threaded ones that average their gradients once a step.

On two cores that other programs use too, two processes are far better than two threads, which meet at a barrier in every operator.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.multiprocessing as processes
from torch import Tensor

PATIENCE = 900  # seconds; a worker that waits longer has lost the other one


class Team(Protocol):
    rank: int
    size: int

    def average(self, parameters: Sequence[Tensor]) -> None:
        """Every parameter's gradient becomes the mean of all workers'."""

    def agree(self, value: float) -> float:
        """The first worker's value, in all of them: so that all stop at the same step."""


class Alone:
    rank, size = 0, 1

    def average(self, parameters: Sequence[Tensor]) -> None:
        """There is no one else."""

    def agree(self, value: float) -> float:
        return value


class Pair:
    """shared (2, n + 1): a row of gradients for each worker, and a place for one number."""

    size = 2

    def __init__(self, rank: int, shared: Tensor, barrier: Any) -> None:
        self.rank, self._shared, self._barrier, self._parent = rank, shared, barrier, os.getppid()

    def average(self, parameters: Sequence[Tensor]) -> None:
        n = sum(parameter.numel() for parameter in parameters)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        torch.cat([gradient.reshape(-1) for gradient in gradients], out=self._shared[self.rank, :n])
        self._barrier.wait(PATIENCE)
        mean = (self._shared[0, :n] + self._shared[1, :n]) * 0.5
        self._barrier.wait(PATIENCE)  # nobody writes the next gradients before both have read these
        for gradient, part in zip(gradients, mean.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))  # in place: a fused optimizer takes for granted that gradient and weight have the same strides

    def agree(self, value: float) -> float:
        if os.getppid() != self._parent:
            raise SystemExit("the process that started this worker has ended")
        self._barrier.wait(PATIENCE)
        if self.rank == 0:
            self._shared[0, -1] = value
        self._barrier.wait(PATIENCE)
        agreed = self._shared[0, -1].item()
        self._barrier.wait(PATIENCE)
        return agreed


def together(work: Callable[..., None], parameters: int, *args: Any) -> None:
    """Runs work(team, *args) in two processes of low priority, and ends with an error if one of them does."""
    context = processes.get_context("spawn")
    shared, barrier = torch.zeros(2, parameters + 1).share_memory_(), context.Barrier(2)
    started = [context.Process(target=_one, args=(rank, shared, barrier, work, args), daemon=True) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join()
        if process.exitcode != 0:
            raise SystemExit(f"a worker ended with {process.exitcode}")


def _one(rank: int, shared: Tensor, barrier: Any, work: Callable[..., None], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    try:
        work(Pair(rank, shared, barrier), *args)
    except BaseException:
        barrier.abort()  # the other one must not wait for a worker that has failed; after a good end it may still be waking up
        raise


def each(work: Callable[..., None], jobs: Sequence[tuple[Any, ...]], device: str) -> None:
    """Runs work(*job, device) for every job: one after the other on a GPU, else in two single-threaded processes."""
    told = [(*job, device) for job in jobs]
    if device != "cpu" or len(jobs) < 2:
        for job in told:
            work(*job)
        return
    with processes.get_context("spawn").Pool(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        pool.starmap(work, told, chunksize=1)
