"""The training keeps the rules of the house, and the program does not know it."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

from tests.test_layers import LAYERS, Import, imports, is_under, parsed, refused

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "training").rglob("*.py"))
PACKAGES = ("torch", "diffusers", "peft", "transformers", "tokenizers", "safetensors", "numpy", "PIL")
README = ROOT / "training" / "README.md"


@pytest.mark.parametrize("layer", LAYERS)
def test_the_program_never_imports_the_training(layer):
    assert all(refused(Import("x.py", 1, module, late), layer) for module in ("training", "training.models") for late in (True, False))


def test_the_training_stands_on_its_own():
    for path in FILES:
        for found in imports(path):
            inside = found.module == "sd_ui" or is_under(found.module, ("training", *PACKAGES))
            assert inside or found.module.partition(".")[0] in sys.stdlib_module_names, str(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_small_and_says_what_it_knows(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 250 and ast.get_docstring(parsed(path))
    assert not [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Global)]


def test_the_readme_names_every_file_and_its_links_lead_somewhere():
    text = README.read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert {path.relative_to(ROOT / "training").as_posix() for path in FILES if path.name != "__init__.py"} == named
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert all((README.parent / link.partition("#")[0]).exists() for link in links)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m (training\.\w+)", README.read_text(encoding="utf-8")))))
def test_the_commands_of_the_readme_exist(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(command).main(["--help"])
    assert f"python -m {command}" in capsys.readouterr().out
