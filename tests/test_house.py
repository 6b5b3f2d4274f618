"""The house rules that no other test sees: what the README says is there, what is imported is pinned, and no file tells whose machine it was."""

import ast
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sd_ui import settings
from sd_ui.jobs.schema import MIGRATIONS
from sd_ui.spec.made import Made, Record
from sd_ui.spec.request import GenerationRequest, Guidance, ImageRef, Inpaint, ModelChoice, Noise, Sampling
from tests.test_layers import FILES, PACKAGE, parsed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = (".py", ".md", ".toml", ".txt", ".js", ".css", ".html", ".sh", ".yml", "run", ".gitignore")
PACKAGES = {"PIL": "pillow", "huggingface_hub": "huggingface_hub", "controlnet_aux": "controlnet-aux"}  # where the module has another name


def tracked() -> list[Path]:
    """Every file of the project in git."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    return [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in tracked() if path.name.endswith(TEXTS)]


def pins(name: str) -> dict[str, str]:
    """Package -> version, of the lines of a requirements file."""
    lines = [line.partition("#")[0].partition(";")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if line and not line.startswith("-r"))


# ---------------------------------------------------------------- README
def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md"))]


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_a_link_leads_somewhere(document):
    text = document.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("http://", "https://"))]
    for file, _, heading in (link.partition("#") for link in links):
        assert (document.parent / file).exists(), file
        assert not heading or heading in headings(document.parent / file if file else document), heading


def headings(document: Path) -> list[str]:
    lines = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines]


def test_the_files_in_the_readmes_commands_exist():
    commands = re.findall(r"```(?:bash|powershell)\n(.*?)```", README, re.DOTALL)
    named = {name.replace("\\", "/") for command in commands for name in re.findall(r"(?<!\S)[\w\\/]+\.(?:py|txt)\b", command)}
    assert named == {"requirements.txt", "app.py", "tests/run.py"}
    assert all((ROOT / name).is_file() for name in named)


def test_the_readmes_subcommands_exist():
    said = set(re.findall(r"-m sd_ui (\w+)", README))
    help_ = subprocess.run([sys.executable, "-m", "sd_ui", "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == {"generate", "info", "models", "doctor"} and all(command in help_ for command in said)


def test_the_readmes_table_of_options_is_complete():
    for name, row in settings.ROWS.items():
        line = next((line for line in README.splitlines() if line.startswith(f"| `--{name.replace('_', '-')}`")), "")
        assert f"`SDUI_{name.upper()}`" in line and row.metadata["help"].rstrip(".") in line, name


def test_a_space_runs_what_is_pinned():
    front = dict(re.findall(r"^(\w+): (.+)$", README.split("---")[1], re.MULTILINE))
    assert front["sdk"] == "gradio" and front["sdk_version"] == pins("requirements.txt")["gradio"]
    assert front["python_version"] == '"3.12.12"' and front["license"] == "apache-2.0" and (ROOT / front["app_file"]).is_file()


def test_ci_runs_the_readmes_test_line():
    script = ROOT / ".ci" / "run"
    assert "python3 tests/run.py" in README and "python3 tests/run.py" in script.read_text(encoding="utf-8")
    assert os.name == "nt" or os.access(script, os.X_OK)


# ---------------------------------------------------------------- docs
def test_the_map_of_the_house_names_every_file():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/]+\.py", text.partition("## The package")[2].partition("## Who may")[0]))
    in_layer = {"/".join(path.relative_to(PACKAGE).parts[1:]) or path.name for path in FILES if path.stem != "__init__"}
    assert sorted(in_layer - named) == []
    assert [name for name in named if not list(PACKAGE.rglob(name))] == []


def test_the_page_about_formats_knows_every_field_and_column():
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    kinds = (GenerationRequest, ModelChoice, Sampling, Guidance, Noise, Inpaint, ImageRef, Made, Record)
    names = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    assert not [name for name in names if f'"{name}"' not in text]
    columns = re.findall(r'^ {8}"?(\w+)"? +(?:TEXT|INTEGER)', "".join(MIGRATIONS), re.MULTILINE)
    assert "owner" in columns and not [name for name in columns if name not in text]


# ---------------------------------------------------------------- set-up
def test_whatever_is_required_is_pinned():
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert all(re.fullmatch(r"[0-9.]+", version) for version in pins(name).values())


def test_whatever_is_imported_is_required():
    nodes = [node for path in [*FILES, ROOT / "app.py"] for node in ast.walk(parsed(path))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"sd_ui"}
    assert {PACKAGES.get(name, name) for name in foreign} <= pins("requirements.txt").keys() | {"spaces"}  # a Space brings that one itself


def test_the_versions_agree():
    import sd_ui

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == sd_ui.__version__ and project["license"] == "Apache-2.0"


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text and text.rstrip().endswith("limitations under the License.")


def test_no_setting_is_ignored():
    """Every setting is read somewhere: by its name, outside the file that defines it or in a property of it that is."""
    used = {node.attr for path in [*FILES, ROOT / "app.py"] for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)}
    assert settings.ROWS.keys() <= used, sorted(settings.ROWS.keys() - used)


# ---------------------------------------------------------------- every file
def test_no_file_tells_whose_machine_it_was():
    places = re.compile("|".join(f"/{folder}/" for folder in ("work", "root", "farm", "tmp/" + "dev", "home/" + r"\w+")))
    assert not [f"{name}: {found[0]}" for name, text in texts() if (found := places.search(text))]


def test_nothing_is_left_for_later():
    words = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK", "raise NotImplemented" + "Error"]) + r")\b")
    assert not [f"{name}: {found[0]}" for name, text in texts() if (found := words.search(text))]


def test_only_a_released_model_is_large():
    assert not [path.name for path in tracked() if path.stat().st_size > 2_000_000 and "embedded" not in path.parts]
    assert sum(path.stat().st_size for path in tracked()) < 40_000_000
