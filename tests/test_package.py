"""Importing sd_ui: light, and it leaves the ground prepared for what is imported later."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sd_ui

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "transformers", "diffusers", "gradio", "numpy")


def python(program: str, **environ: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in sd_ui.ENVIRONMENT} | environ
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, cwd=ROOT, env=environment, capture_output=True, text=True
    ).stdout


def test_importing_the_package_imports_nothing_heavy():
    python(f"import sd_ui, sys; assert not set({HEAVY}) & sys.modules.keys()")


def test_settings_of_libraries_are_made_unless_the_user_made_them():
    tell = "import os, sd_ui; print(os.environ['OMP_WAIT_POLICY'], os.environ['GRADIO_ANALYTICS_ENABLED'])"
    assert python(tell).split() == ["PASSIVE", "False"]
    assert python(tell, OMP_WAIT_POLICY="ACTIVE").split() == ["ACTIVE", "False"]


def test_looking_for_torchvision_does_not_import_it():
    python("import sd_ui, sys; from importlib.util import find_spec; find_spec('torchvision'); assert 'torch' not in sys.modules")


def test_torchvision_can_be_imported_beside_any_build_of_torch():
    pytest.importorskip("torchvision")
    python("import sd_ui, torchvision.transforms; import torch; assert torch.ops.torchvision.nms")


def test_the_declared_suppression_keeps_the_best_boxes_that_do_not_overlap():
    import torch

    from sd_ui.torchvision_shim import _nms

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    assert _nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist() == [1, 2]
    assert _nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.9).tolist() == [1, 2, 0]
