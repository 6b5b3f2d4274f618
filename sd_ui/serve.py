"""The server: the page first, then the engine behind it, and a clean end. Gradio is imported here, inside functions."""

import importlib.util
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Protocol, cast

from sd_ui.services import Services, open_services
from sd_ui.settings import Settings, SettingsError, set_log_level, with_password

WEEK = 7 * 86_400  # seconds


class Page(Protocol):
    """What is used of a launched gr.Blocks."""

    local_url: str | None
    share_url: str | None

    def close(self, verbose: bool = True) -> None: ...


def serve(settings: Settings) -> int:
    """Until Ctrl+C or SIGTERM. Raises SettingsError where the port is taken, FolderInUse where another server works in the same folder."""
    check_port(settings)
    check_mcp(settings)
    settings, password = with_password(settings)
    set_log_level(settings.log_level)
    ended = until_told_to_stop()
    services = open_services(settings)
    try:
        page = launch(services)
        services.worker.start()  # only now: torch takes seconds, and the page is up already
        if not settings.no_hashing:
            services.hasher.start()
        for line in greeting(page, settings, password):
            print(line, flush=True)
        while not ended.wait(0.5):  # in small portions: on Windows an endless wait hears no Ctrl+C
            pass
        print("SD UI stops; jobs that are not done go on at the next start.", flush=True)
        services.worker.stop()  # before the page, so that nobody watches a job any more
        page.close(verbose=False)
    finally:
        services.close()
    return 0


def launch(services: Services) -> Page:
    """The page, up and answering. The guard asks for passwords, so Gradio is told of none."""
    from starlette.middleware import Middleware

    from sd_ui.api import pictures, previews, suggestions
    from sd_ui.api.guard import Guard, Rules
    from sd_ui.ui import page, theme

    settings = services.settings
    rules = Rules.of(settings)
    around_proxies(settings.host)
    keep_uploads(settings.outputs_dir)
    routes = [*pictures.routes(services), *previews.routes(services), *suggestions.routes(services)]
    demo = page.build(services)
    try:
        demo.launch(
            server_name=f"[{settings.host}]" if ":" in settings.host else settings.host,
            server_port=settings.port,
            share=settings.share,
            root_path=settings.root_path,
            app_kwargs={"middleware": [Middleware(Guard, rules=rules)], "routes": routes},
            max_file_size=settings.max_upload_mb * 1_000_000,
            mcp_server=settings.mcp,
            prevent_thread_lock=True,
            show_error=True,
            quiet=True,
            pwa=False,
            enable_monitoring=False,
            **theme.launch_options(),
        )
    except OSError as error:
        raise port_error(settings, str(error)) from error
    if demo.share_url:
        rules.hosts.publish(demo.share_url)
    return cast(Page, demo)


def greeting(demo: Page, settings: Settings, password: str) -> list[str]:
    lines = [f"SD UI is at {(demo.local_url or '').rstrip('/')}  (Ctrl+C stops it)"]
    if settings.host in ("0.0.0.0", "::"):
        lines.append(f"Other machines reach it at this one's address, port {settings.port}")
    if settings.share:
        lines.append(f"The public link is {demo.share_url}" if demo.share_url else "There is no public link: is this machine online?")
    if password:
        lines.append(f"Others can reach it, so it asks for a login: user sdui, password {password}  (--auth: your own, --no-auth: none)")
    return lines


def check_port(settings: Settings) -> None:
    """A message that names the port, instead of another port or a traceback."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":  # there it would let two programs share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise port_error(settings, error.strerror or str(error)) from None


def check_mcp(settings: Settings) -> None:
    """Gradio leaves it out without a word where it cannot offer it."""
    if settings.mcp and importlib.util.find_spec("mcp") is None:
        raise SettingsError("mcp: true needs the package mcp, which is not installed; pip install 'mcp<2', or leave it out")


def port_error(settings: Settings, why: str) -> SettingsError:
    ways = "stop the program that has it, or choose another with --port"
    return SettingsError(f"port: {settings.port} on {settings.host} cannot be used ({why}); {ways}")


def keep_uploads(outputs: Path) -> None:
    """What a page has open outlives a restart: uploads lie with the outputs, not in the system's temporary folder; old ones go."""
    folder = outputs / "uploads"
    os.environ.setdefault("GRADIO_TEMP_DIR", str(folder.resolve()))
    for upload in folder.glob("*/*"):
        if time.time() - upload.stat().st_mtime > WEEK:
            upload.unlink()
            with suppress(OSError):  # another upload lies there, too
                upload.parent.rmdir()


def around_proxies(host: str) -> None:
    """Gradio asks itself over HTTP whether it runs; a proxy of the company must not get in between."""
    local = ["localhost", "127.0.0.1", "::1", host]
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join([*filter(None, [os.environ.get(name, "")]), *local])


def until_told_to_stop() -> threading.Event:
    """Set by Ctrl+C and SIGTERM. A second one ends the program at once: the queue survives that too."""
    ended = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if ended.is_set():
            raise SystemExit(128 + number)
        ended.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    return ended
