"""One thread drives all running jobs: it answers their questions to the model, one yield of each at a time.

A course is one job's run as a generator of events and questions. Nothing here is shared between threads, so nothing is locked.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

import torch

from sd_ui.engine.denoise import Ask, Predict, Prediction
from sd_ui.spec.events import Event


@dataclass(frozen=True)
class Question:
    """An Ask on its way to the model that its job uses."""

    ask: Ask
    predict: Predict

    def answer(self) -> Prediction:
        return self.predict(self.ask.latents, self.ask.timestep)


Course = Generator[Question | Event, Prediction | None, None]


@dataclass
class Driver:
    _courses: dict[str, Course] = field(default_factory=dict)
    _questions: dict[str, Question] = field(default_factory=dict)

    @property
    def jobs(self) -> tuple[str, ...]:
        return tuple(self._courses)

    def add(self, job: str, course: Course) -> None:
        self._courses[job] = course

    def drop(self, job: str) -> None:
        """Closes a course between two steps: what it holds is given back, and it draws nothing more."""
        self._questions.pop(job, None)
        if course := self._courses.pop(job, None):
            course.close()

    @torch.inference_mode()
    def turn(self) -> list[tuple[str, Event | Exception | None]]:
        """Each course goes on by one yield. None: it has ended; an exception: it failed, and touches no other."""
        return [(job, said) for job in self.jobs for said in self._advance(job)]

    def _advance(self, job: str) -> list[Event | Exception | None]:
        question = self._questions.pop(job, None)
        try:
            said = self._told(self._courses[job], question)
        except StopIteration:
            del self._courses[job]
            return [None]
        except Exception as error:  # whatever a model or a card can do wrong ends here, as this job's failure
            self.drop(job)
            return [error]
        if isinstance(said, Question):
            self._questions[job] = said
            return []
        return [said]

    def _told(self, course: Course, question: Question | None) -> Question | Event:
        """What a model did wrong the course hears first: it may know how to go on with less memory."""
        if question is None:
            return course.send(None)
        try:
            answer = question.answer()
        except (MemoryError, RuntimeError) as error:
            failure = error  # thrown from outside this block: while one is handled, its frames keep what was computed half-way
        else:
            return course.send(answer)
        try:
            return course.throw(failure)
        finally:
            del failure
