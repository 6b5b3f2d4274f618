"""What is known of jobs before they run, put together: measurements, what they foretell, and how long the queue is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sd_ui.jobs.bus import Bus
from sd_ui.jobs.intake import Reader
from sd_ui.jobs.measurements import Measurements
from sd_ui.jobs.preflight import Models, Preflight
from sd_ui.jobs.queue import Queue
from sd_ui.jobs.waits import Waits
from sd_ui.spec.measured import Room


@dataclass(frozen=True)
class Foresight:
    """room: memory now; None before the engine is up."""

    measurements: Measurements
    preflight: Preflight
    waits: Waits
    room: Callable[[], Room | None]

    @classmethod
    def of(
        cls,
        measurements: Measurements,
        queue: Queue,
        bus: Bus,
        reader: Reader,
        models: Models,
        engine: Callable[[], Mapping[str, str]],
        room: Callable[[], Room | None],
    ) -> "Foresight":
        """engine: what it runs on, by name."""
        preflight = Preflight(reader, models, measurements.known, engine, room, lambda: waits.ahead())
        waits = Waits(queue, bus, preflight.of_job)
        return cls(measurements, preflight, waits, room)
