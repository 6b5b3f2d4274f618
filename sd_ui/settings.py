"""The settings of this server: defaults < settings file < environment < command line. Read once; nothing else looks at the environment for them."""

import argparse
import difflib
import logging
import secrets
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sd_ui.kinds import DEVICE, FILES, FOLDER, FOLDERS, HOST, HOSTS, LOGINS, ROOT_PATH, STYLES, SWITCH, Kind, amount, is_loopback, one_of, whole
from sd_ui.spec.delivery import FORMATS, PREVIEWS, Delivery
from sd_ui.spec.limits import Limits

FILE = Path("sdui.toml")  # read where it exists; --settings names another one
PREFIX = "SDUI_"
LOG_LEVELS = ("debug", "info", "warning", "error")
MEMORY_MODES = ("highvram", "medvram", "lowvram")
DTYPES = ("auto", "float32", "float16", "bfloat16")


class SettingsError(ValueError):
    """A setting that cannot be used. The text names the setting, its value, where it came from and what is allowed."""


def setting(default: Any, kind: Kind, help: str, secret: bool = False) -> Any:
    return field(default=default, metadata={"kind": kind, "help": help, "secret": secret})


# ---------------------------------------------------------------- the settings
@dataclass(frozen=True)
class Settings:
    """One row per setting. `models_dir` is --models-dir on the command line, SDUI_MODELS_DIR in the environment, models_dir in the file."""

    host: str = setting("127.0.0.1", HOST, "Address to listen on. Anything but this machine's own asks for a password.")
    port: int = setting(7860, whole(1, 65535), "Port to listen on.")
    share: bool = setting(False, SWITCH, "Make a public link (needs the internet). It asks for a password.")
    auth: tuple[str, ...] = setting((), LOGINS, "user:password. May be given more than once.", secret=True)
    no_auth: bool = setting(False, SWITCH, "Ask for no password, although others can reach this server.")
    allowed_host: tuple[str, ...] = setting((), HOSTS, "A further name under which browsers may reach this server. May be given more than once.")
    root_path: str = setting("", ROOT_PATH, "Where a reverse proxy shows this server.")
    models_dir: tuple[Path, ...] = setting((Path("models"),), FOLDERS, "Folder of models. May be given more than once.")
    wildcards_dir: tuple[Path, ...] = setting((), FOLDERS, "Folder of lists for __name__ in prompts. May be given more than once.")
    styles_file: tuple[Path, ...] = setting((), STYLES, "Styles: A1111's styles.csv, TOML, or a folder of them. May be given more than once.")
    tags_file: tuple[Path, ...] = setting((), FILES, "Tags for completing words, as CSV: name,type,count,aliases. May be given more than once.")
    outputs_dir: Path = setting(Path("outputs"), FOLDER, "Folder of pictures, the queue and the gallery.")
    device: str = setting("auto", DEVICE, "Where to compute.")
    dtype: str = setting("auto", one_of(*DTYPES), "Precision; auto is what the device is good at.")
    model_memory_mb: int = setting(0, whole(0, 10_000_000), "Memory that models may fill, in megabytes; 0: a share of what there is.")
    allow_downloads: bool = setting(False, SWITCH, "Let everybody who may open the page get models from Hugging Face, not only you at this machine.")
    highvram: bool = setting(False, SWITCH, "Keep a model whole in graphics memory, as long as that goes well.")
    medvram: bool = setting(False, SWITCH, "Keep one part of a model in graphics memory at a time: text encoders, denoiser, VAE.")
    lowvram: bool = setting(
        False, SWITCH, "Keep only blocks of the denoiser in graphics memory, and decode in tiles: slow, and fits almost anywhere."
    )
    vram_budget: float = setting(0.0, amount(0, 1024), "Graphics memory that may be used, in GiB; 0: all that is free.")
    fp8: bool = setting(False, SWITCH, "Keep the denoiser's weights in 8 bits: half the memory, and slightly other pictures.")
    weights_cache: float = setting(20.0, amount(0, 100_000), "Disk space for copies of models that load several times faster, in GiB; 0: none.")
    latents_cache_mb: int = setting(
        64, whole(0, 100_000), "Memory for what denoising came to, so that a repeated picture is only decoded, in megabytes; 0: none."
    )
    no_hashing: bool = setting(False, SWITCH, "Hash only models that are loaded, not all of them in the background.")
    format: str = setting("png", one_of(*FORMATS), "Format of saved pictures.")
    preview: str = setting("predicted", one_of(*PREVIEWS), "What the live preview shows.")
    preview_every: int = setting(1, whole(1, 150), "Preview every n-th step.")
    max_steps: int = setting(Limits.steps, whole(1, 150), "Most steps of a picture.")
    max_pixels: int = setting(Limits.pixels, whole(64 * 64, 4096 * 4096), "Most pixels of a picture, width x height.")
    max_batch: int = setting(Limits.count, whole(1, 64), "Most pictures of a job.")
    max_waiting: int = setting(50, whole(1, 10_000), "Most waiting jobs of one browser.")
    max_waiting_all: int = setting(500, whole(1, 100_000), "Most waiting jobs of all browsers together.")
    max_upload_mb: int = setting(25, whole(1, 1000), "Largest uploaded file, in megabytes.")
    max_request_mb: int = setting(100, whole(1, 4000), "Largest request, in megabytes.")
    mcp: bool = setting(False, SWITCH, "Offer the page's functions to language models over MCP (needs: pip install 'mcp<2').")
    log_level: str = setting("warning", one_of(*LOG_LEVELS), "How much is logged.")
    space: str = ""  # the public host on a Hugging Face Space; it comes from the platform, not from the user

    @property
    def limits(self) -> Limits:
        return Limits(steps=self.max_steps, pixels=self.max_pixels, count=self.max_batch, input_bytes=self.max_upload_mb * 1_000_000)

    @property
    def delivery(self) -> Delivery:
        """How results reach those who do not say."""
        return Delivery(self.format, preview=self.preview, preview_every=self.preview_every)

    @property
    def memory_mode(self) -> str:
        """As the engine calls it: "auto", "high", "medium" or "low"."""
        modes = {"high": self.highvram, "medium": self.medvram, "low": self.lowvram}
        return next((mode for mode, holds in modes.items() if holds), "auto")

    @property
    def logins(self) -> dict[str, str]:
        return dict(login.split(":", 1) for login in self.auth)

    @property
    def missing(self) -> tuple[str, ...]:
        """What somebody named and what is not there, in words. The usual folder of models need not be."""
        models = (folder for folder in self.models_dir if folder not in Settings.models_dir and not folder.is_dir())
        lists = (folder for folder in self.wildcards_dir if not folder.is_dir())
        styles = (place for place in self.styles_file if not place.exists())
        tags = (file for file in self.tags_file if not file.is_file())
        return (
            *(f"models_dir: {str(folder)!r} is not a folder, so no models come from there" for folder in models),
            *(f"wildcards_dir: {str(folder)!r} is not a folder, so no lists come from there" for folder in lists),
            *(f"styles_file: {str(place)!r} is not there, so no styles come from it" for place in styles),
            *(f"tags_file: {str(file)!r} is not a file, so no tags come from it" for file in tags),
        )

    @property
    def open_to_all(self) -> bool:
        """Whether strangers reach this server and are asked for no password: then nobody may change what all of them see."""
        return bool(self.space and not self.auth) or (self.no_auth and self.open_to_others)

    @property
    def may_download(self) -> bool:
        """Whether who opens the page may fill the disk of this machine: where that can only be its owner, or the owner has said so."""
        reached = self.space or self.open_to_others or self.allowed_host or self.root_path or len(self.logins) > 1
        return self.allow_downloads or not reached

    @property
    def open_to_others(self) -> bool:
        """Whether somebody else's machine can reach this server although nobody published it on purpose, as on a Space."""
        return not self.space and (self.share or not is_loopback(self.host))


ROWS = {f.name: f for f in fields(Settings) if f.metadata}


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raises SettingsError; argparse's own SystemExit for --help and unknown flags."""
    parser = argparse.ArgumentParser(prog="app.py", description="Starts SD UI.", allow_abbrev=False)
    add_flags(parser)
    return resolved(vars(parser.parse_args(argv)), environ)


def add_flags(parser: argparse.ArgumentParser, names: Iterable[str] = tuple(ROWS)) -> None:
    """One flag per setting. What is not given stays out of the namespace."""
    group = parser.add_argument_group("settings")
    group.add_argument("--settings", metavar="FILE", default=argparse.SUPPRESS, help=f"Settings file in TOML (default: {FILE} where it exists).")
    for name in names:
        kind, flag = ROWS[name].metadata["kind"], "--" + name.replace("_", "-")
        if kind.flag:
            group.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=_help(name))
        else:
            action = "append" if kind.many else "store"
            group.add_argument(flag, action=action, metavar="VALUE", default=argparse.SUPPRESS, help=_help(name))


def resolved(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """given: what the command line says, by the names of the settings; other names in it are somebody else's flags."""
    for variable in environ:
        if variable.startswith(PREFIX) and variable != PREFIX + "SETTINGS":
            _known(variable.removeprefix(PREFIX).lower(), f"the environment's {variable}")
    said = _of_space(environ)
    said |= _of_file(given.get("settings", environ.get(PREFIX + "SETTINGS")))
    said |= {name: _value(name, environ[_variable(name)], _variable(name)) for name in ROWS if environ.get(_variable(name))}
    said |= {name: _value(name, given[name], "--" + name.replace("_", "-")) for name in ROWS if name in given}
    return _consistent(Settings(**said))


def with_password(settings: Settings) -> tuple[Settings, str]:
    """Settings under which no stranger gets in, and the password that was made for it ("" where none had to be)."""
    if settings.no_auth or settings.auth or not settings.open_to_others:
        return settings, ""
    password = secrets.token_urlsafe(12)
    return replace(settings, auth=(f"sdui:{password}",)), password


def set_log_level(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("sd_ui").setLevel(level.upper())


# ---------------------------------------------------------------- where they come from
def _of_space(environ: Mapping[str, str]) -> dict[str, Any]:
    """What a Hugging Face Space tells its app. Elsewhere such variables are none of our business."""
    if not environ.get("SPACE_ID"):
        return {}
    host = environ.get("GRADIO_SERVER_NAME") or "0.0.0.0"
    port = environ.get("GRADIO_SERVER_PORT") or "7860"
    name = environ.get("SPACE_HOST") or environ["SPACE_ID"].replace("/", "-").replace("_", "-").lower() + ".hf.space"
    return {"host": _value("host", host, "GRADIO_SERVER_NAME"), "port": _value("port", port, "GRADIO_SERVER_PORT"), "space": name.lower()}


def _of_file(named: str | None) -> dict[str, Any]:
    path = Path(named).expanduser() if named else FILE
    if not named and not path.is_file():
        return {}
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"settings: {path} cannot be read ({error.strerror}); give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings: {path} is not TOML ({error})") from error
    return {_known(name, str(path)): _value(name, raw, str(path)) for name, raw in rows.items()}


def _known(name: str, where: str) -> str:
    if name in ROWS:
        return name
    near = difflib.get_close_matches(name, ROWS, n=1, cutoff=0.4)
    said = f"did you mean {near[0]}?" if near else f"known are: {', '.join(ROWS)}"
    raise SettingsError(f"{name}: is not a setting (in {where}); {said}")


def _value(name: str, raw: Any, where: str) -> Any:
    kind: Kind = ROWS[name].metadata["kind"]
    if not kind.many:
        return _single(name, raw, where)
    if isinstance(raw, str):
        raw = [part for part in raw.split(kind.separator) if part.strip()]
    if not isinstance(raw, list):
        raise SettingsError(_fault(name, raw, where))
    return tuple(_single(name, part, where) for part in raw)


def _single(name: str, raw: Any, where: str) -> Any:
    try:
        return ROWS[name].metadata["kind"].read(raw)
    except ValueError:
        raise SettingsError(_fault(name, raw, where)) from None


def _fault(name: str, raw: Any, where: str) -> str:
    shown = "the value" if ROWS[name].metadata["secret"] else repr(raw)[:80]
    return f"{name}: {shown} is not allowed (from {where}); allowed: {ROWS[name].metadata['kind'].allowed}"


def _consistent(settings: Settings) -> Settings:
    if settings.auth and settings.no_auth:
        raise SettingsError("no_auth: true is not allowed together with auth; give one of the two")
    modes = [name for name in MEMORY_MODES if getattr(settings, name)]
    if len(modes) > 1:
        raise SettingsError(f"{modes[0]}: true is not allowed together with {' and '.join(modes[1:])}; give one of them")
    if settings.share and settings.space:
        raise SettingsError("share: true is not allowed on a Space, which has a public address already; leave it out")
    if settings.max_request_mb < settings.max_upload_mb:
        raise SettingsError(f"max_request_mb: {settings.max_request_mb} is not allowed; allowed: max_upload_mb ({settings.max_upload_mb}) or more")
    return settings


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _help(name: str) -> str:
    row = ROWS[name]
    default = ", ".join(map(str, row.default)) if isinstance(row.default, tuple) else str(row.default)
    shown = f" Default: {default}." if default and not row.metadata["kind"].flag else ""
    return f"{row.metadata['help']} Allowed: {row.metadata['kind'].allowed}.{shown} Environment: {_variable(name)}.".replace("%", "%%")
