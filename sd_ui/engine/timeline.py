"""What the model is told at each of its calls: texts that are scheduled or take turns make it change during a run."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sd_ui.engine.denoise import Predict
from sd_ui.engine.family import Conditioning, Embedding, Weighted
from sd_ui.prompt import schedule
from sd_ui.prompt.schedule import Until
from sd_ui.spec.made import UsedInversion

PredictAt = Callable[[int], Predict]  # the number of the call, from 0 -> who answers it


@dataclass(frozen=True)
class Said:
    """One text of the prompt over the run, with what the encoders say of it at each of its times."""

    weight: float
    texts: tuple[Until, ...]
    embeddings: tuple[Embedding, ...]

    def at(self, call: int) -> Embedding:
        return self.embeddings[schedule.at(self.texts, call)]


@dataclass(frozen=True)
class Timeline:
    """lasts: the last call of each span, rising. which: what is told in it, an index of `told`. Calls after the last span belong to it.

    inversions: embeddings that are in the texts. notes: what of the texts may not mean what their writer has in mind, in words.
    """

    lasts: tuple[int, ...]
    which: tuple[int, ...]
    told: tuple[Conditioning, ...]
    inversions: tuple[UsedInversion, ...] = ()
    notes: tuple[str, ...] = ()

    def at(self, call: int) -> Conditioning:
        return self.told[self._place(call)]

    def predicted(self, predict: Callable[[Conditioning], Predict]) -> PredictAt:
        """predict: makes the Predict of one conditioning."""
        predicts = [predict(told) for told in self.told]
        return lambda call: predicts[self._place(call)]

    @property
    def rows(self) -> int:
        """Of the largest call of the model."""
        return max(len(call.tokens) for told in self.told for call in told.calls)

    def _place(self, call: int) -> int:
        return self.which[min(bisect_left(self.lasts, call), len(self.lasts) - 1)]


def joined(wanted: Sequence[Said], unwanted: Said | None) -> Timeline:
    """Spans in which nothing changes, each conditioning once however often it comes back."""
    everything = [*wanted, unwanted] if unwanted else list(wanted)
    lasts = sorted({until.last for said in everything for until in said.texts})
    places: dict[tuple[int, ...], int] = {}
    told: list[Conditioning] = []
    which = []
    for last in lasts:
        key = tuple(id(said.at(last)) for said in everything)  # an embedding that is used twice is one object
        if key not in places:
            places[key] = len(told)
            conds = tuple(Weighted(said.at(last), said.weight) for said in wanted)
            told.append(Conditioning(conds, unwanted.at(last) if unwanted else None))
        which.append(places[key])
    return Timeline(tuple(lasts), tuple(which), tuple(told))
