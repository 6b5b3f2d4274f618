"""What holds for every test. Importing sd_ui comes first: it prepares torchvision for a torch without CUDA, and keeps libraries off the network."""

import os

from hypothesis import settings

import sd_ui  # noqa: F401

settings.register_profile("house", deadline=None, derandomize="CI" in os.environ, print_blob=True)  # CI sees the same examples every time
settings.load_profile("house")
