"""How the model in the box is made: python -m training.train. The program never imports this package; README.md tells the story."""

import sd_ui  # noqa: F401  prepares torchvision for a torch without CUDA, and keeps libraries off the network
