"""Who may import whom. The table is the architecture; docs/architecture.md explains it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sd_ui"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if PACKAGE / "embedded" not in path.parents)
HEAVY = ("torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Layer:
    """parts: of sd_ui. packages: of others. late: both, but only inside functions, because they are optional or heavy."""

    parts: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    late: tuple[str, ...] = ()


LAYERS = {
    "spec": Layer(),
    "prompt": Layer(("spec", "durable")),
    "durable": Layer(),
    "imaging": Layer(("spec", "durable"), ("PIL", "numpy"), late=("scipy",)),
    "recipes": Layer(("spec", "prompt", "imaging")),
    "models": Layer(("spec", "durable"), late=("tokenizers",)),
    "hub": Layer(("spec", "models", "durable")),
    "engine": Layer(("spec", "durable", "prompt", "imaging", "models"),
                    (*HEAVY, "accelerate", "huggingface_hub", "safetensors", "tokenizers", "numpy", "PIL", "psutil"),
                    late=("xformers", "controlnet_aux", "scipy")),
    "forecast": Layer(("spec", "prompt")),
    "jobs": Layer(("spec", "durable", "prompt", "imaging", "forecast"), ("sqlite3", "PIL")),
    # owners is a pure function: what a browser's secret is called. Page and guard must agree on it.
    "ui": Layer(("services", "settings", "spec", "hub", "prompt", "imaging", "recipes", "jobs.owners", "jobs.foretold", "system"), ("gradio", "PIL")),
    "api": Layer(("services", "settings", "kinds", "spec", "durable", "imaging", "jobs.owners"), ("starlette", "fastapi", "PIL")),
    "settings": Layer(("spec", "kinds")),
    "kinds": Layer(),
    "services": Layer(("settings", "spec", "prompt", "imaging", "models", "hub", "jobs"), late=("engine", "torch")),
    "cli": Layer(("settings", "spec"), late=("serve", "draw", "doctor", "services", "hub", "imaging", "recipes")),
    "serve": Layer(("services", "settings"), late=("ui", "api", "gradio", "starlette")),
    "draw": Layer(("services", "settings", "spec", "durable", "imaging", "models", "jobs"), ("PIL",)),
    "system": Layer(("services", "spec", "forecast", "doctor")),
    "doctor": Layer(("services", "settings", "spec"), late=("torch", "torchvision", "xformers")),
    "__main__": Layer(("cli",)),
    "__init__": Layer(("torchvision_shim",)),
    "torchvision_shim": Layer(late=("torch",)),
}  # fmt: skip
SPECIAL = ("sqlite3",)  # of the standard library, and yet with one home


@dataclass(frozen=True)
class Import:
    file: str
    line: int
    module: str
    late: bool  # inside a function, or for the type checker alone

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[Import]:
    file = path.relative_to(ROOT).as_posix()

    def visit(node: ast.AST, late: bool) -> Iterator[Import]:
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_types(node)
        for module in modules(node):
            yield Import(file, node.lineno, module, late)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, late)

    return visit(parsed(path), False)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        inside = (node.module or "").startswith("sd_ui")
        return [f"{node.module}.{alias.name}" for alias in node.names] if inside else [node.module or ""]
    return []


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_under(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def refused(found: Import, layer: str) -> bool:
    if found.module in ("sd_ui", "sd_ui.__version__"):
        return False
    rule = LAYERS[layer]
    allowed = rule.late if found.late else ()
    if found.module.startswith("sd_ui."):
        return not is_under(found.module.removeprefix("sd_ui."), (layer, *rule.parts, *allowed))
    top = found.module.partition(".")[0]
    if top in sys.stdlib_module_names and top not in SPECIAL:
        return False
    return not is_under(found.module, (*rule.packages, *allowed))


# ---------------------------------------------------------------- what holds
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_imports_only_what_its_layer_may(path):
    assert layer_of(path) in LAYERS, "a new layer needs a row in the table"
    assert not [str(found) for found in imports(path) if refused(found, layer_of(path))]


def test_the_table_sees_a_wrong_import():
    def wrong(module: str, layer: str, late: bool = False) -> bool:
        return refused(Import("x.py", 1, module, late), layer)

    assert wrong("torch.nn", "models", late=True) and wrong("sd_ui.engine.run", "jobs") and wrong("sqlite3", "ui") and wrong("sd_ui.jobs.queue", "ui")
    assert wrong("scipy.ndimage", "imaging") and not wrong("scipy.ndimage", "imaging", late=True)
    assert not wrong("sd_ui.spec.request", "engine") and not wrong("json", "spec")


def test_nothing_here_has_global_state():
    assert not [f"{path.name}:{node.lineno}" for path in FILES for node in ast.walk(parsed(path)) if isinstance(node, ast.Global)]


def test_whatever_goes_wrong_is_caught_in_one_place():
    """A broad except that raises again only tidies up. One that does not belongs to whoever must outlive a job: the driver and the worker.

    Or it hands over from one thread to another, where it is raised again: handover.
    """
    found = [path.relative_to(PACKAGE).as_posix() for path in FILES for node in ast.walk(parsed(path)) if swallows(node)]
    assert set(found) <= {"engine/driver.py", "jobs/worker.py", "engine/handover.py"} and found.count("engine/driver.py") <= 1


def swallows(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    broad = any(kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in kinds)
    return broad and not isinstance(node.body[-1], ast.Raise)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_is_small_and_says_what_it_knows(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 350
    assert not text or ast.get_docstring(parsed(path))


# ---------------------------------------------------------------- what is loaded
def loaded_after(statement: str, names: tuple[str, ...]) -> str:
    """Which of the names a fresh process has in sys.modules after the statement."""
    code = f"import sys\n{statement}\nprint(*[name for name in {names!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_the_page_comes_up_without_torch():
    assert loaded_after("import sd_ui.services, sd_ui.cli, sd_ui.ui.page", HEAVY) == ""


def test_the_light_layers_load_nothing_heavy():
    layers = ("spec", "prompt", "imaging", "recipes", "models", "hub", "jobs", "settings")
    light = [path for path in FILES if layer_of(path) in layers and path.name != "__init__.py"]
    names = ", ".join(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in light)
    assert loaded_after(f"import {names}", (*HEAVY, "gradio", "starlette", "scipy", "tokenizers")) == ""
