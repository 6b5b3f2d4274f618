"""A server with the page, in this process, so that a test can look behind it."""

import asyncio
import gc
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sd_ui.jobs.worker import OpenDriver
from sd_ui.serve import launch
from sd_ui.services import Services, open_services
from sd_ui.settings import Settings

# Gradio and its client leave sockets and event loops to the garbage collector. For a module's `pytestmark`.
SERVED = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(folder: Path, open_driver: OpenDriver | None) -> Iterator[Services]:
    """open_driver None: the real engine."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "cache")
    settings = Settings(port=free_port(), outputs_dir=folder / "outputs", models_dir=(folder / "models",))
    services = open_services(settings, open_driver)
    page = launch(services)
    services.worker.start()
    try:
        yield services
    finally:
        services.worker.stop()
        page.close(verbose=False)
        services.close()
        del page, services
        forget()


def forget() -> None:
    """What was left to the garbage collector goes now, so that no other test hears of it: first of all the loop that Gradio made for this thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(RuntimeError):  # there is none
            loop = asyncio.get_event_loop_policy().get_event_loop()
            if not loop.is_running():  # playwright's is, while its browser is open
                loop.close()
                asyncio.set_event_loop(None)
            del loop
        gc.collect()
