"""What holds for every test: nothing asks the network, and hypothesis finds the same examples wherever CI runs."""

import os

import sd_ui  # noqa: F401  first of all imports: it prepares torchvision for a torch without CUDA

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_ANALYTICS_ENABLED="False", GRADIO_ANALYTICS_CACHE_FREQUENCY="1000000")

from hypothesis import settings

settings.register_profile("house", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("house")
