"""SD UI. Importing it settles what must be settled before gradio, torch or transformers is imported, and imports none of them."""

import logging
import os

from sd_ui import torchvision_shim

__version__ = "0.1.0"

# Whether the user wants nothing to be asked of the network. The libraries are told so in any case: only `sd_ui.hub` asks, and only for a person.
OFFLINE = any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))

# Set only where the user has not: each is read once, when the library that it belongs to is imported.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait must not burn a core: other programs and our own page need it
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000",  # else a summary is computed after every event
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",  # models come from the disk; no library asks the hub behind anybody's back
    "TOKENIZERS_PARALLELISM": "false",  # one prompt at a time: threads cost more than they bring
}

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
logging.getLogger("xformers").setLevel(logging.ERROR)  # it warns at import wherever its compiled part does not load; `doctor` tells
torchvision_shim.install()
