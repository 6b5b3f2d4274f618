"""Device and precision: what is asked for is there, or is refused in words."""

import pytest
import torch

from sd_ui.engine import device
from sd_ui.spec.errors import BadRequest


def test_the_precision_follows_the_device():
    assert device.choose("cpu") == device.Place(torch.device("cpu"), torch.float32)
    assert device.choose("cpu", "bf16").dtype == torch.bfloat16
    assert device.choose("auto").device.type == ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    assert device.choose("cpu").dtype_name == "float32"


def test_half_precision_on_the_cpu_is_refused():
    for name in ("fp16", "float16"):
        with pytest.raises(BadRequest, match="float16 on the CPU") as error:
            device.choose("cpu", name)
        assert error.value.field == "dtype"


@pytest.mark.parametrize(
    ("asked", "dtype", "field"), [("cuda:99", "auto", "device"), ("warp", "auto", "device"), ("", "auto", "device"), ("cpu", "fp8", "dtype")]
)
def test_what_is_not_there_is_named(asked, dtype, field):
    with pytest.raises(BadRequest) as error:
        device.choose(asked, dtype)
    assert error.value.field == field and "auto" in error.value.why


def test_the_facts_are_for_reading():
    assert device.facts(device.choose("cpu"))["device"].startswith("CPU")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_computes_in_half_precision():
    place = device.choose("cuda")
    assert place.dtype == torch.float16 and "GiB" in device.facts(place)["device"]
