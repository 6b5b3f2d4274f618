"""Attention: the best kernel that really works, and its true name."""

import sys
import types

import pytest
import torch

from sd_ui.engine import attention
from sd_ui.engine.device import Place, choose
from tests.checkpoints import tiny_folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    from diffusers import AutoencoderKL, UNet2DConditionModel

    path = tiny_folder(tmp_path_factory.mktemp("attention") / "model")
    return UNet2DConditionModel.from_pretrained(path / "unet"), AutoencoderKL.from_pretrained(path / "vae")


def test_a_cpu_uses_sdpa(parts):
    assert attention.apply(*parts, choose("cpu")) == "sdpa"
    assert {type(p).__name__ for p in parts[1].attn_processors.values()} == {"AttnProcessor2_0"}


def test_where_no_kernel_works_slices_are_the_last_resort(parts, monkeypatch):
    def broken(place):
        raise RuntimeError("no kernel image is available\nfor execution on the device")

    latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 7, 32)
    with torch.inference_mode():
        attention.apply(*parts, choose("cpu"))
        fast = parts[0](latents, 5, text)[0]
        monkeypatch.setattr(attention, "_try_sdpa", broken)
        assert attention.apply(*parts, choose("cpu")) == "sliced"
        assert torch.allclose(parts[0](latents, 5, text)[0], fast, atol=1e-5)


def test_xformers_is_used_only_where_it_was_seen_to_work(monkeypatch):
    cuda = Place(torch.device("cuda"), torch.float16)
    monkeypatch.setattr(attention, "_try_sdpa", lambda place: torch.ones(1))
    monkeypatch.setattr(attention, "_try_xformers", lambda place: torch.ones(1))
    assert attention.best(cuda) == "xformers" and attention.best(choose("cpu")) == "sdpa"
    monkeypatch.setattr(attention, "_try_xformers", lambda place: torch.full((1,), torch.nan))
    assert attention.best(cuda) == "sdpa"


def test_xformers_must_work_for_the_wide_head_of_the_vae_too(monkeypatch):
    def narrow(q, k, v):
        if q.shape[-1] > 256:
            raise RuntimeError("max(query.shape[-1] != value.shape[-1]) > 256")
        return q

    ops = types.ModuleType("xformers.ops")
    monkeypatch.setitem(sys.modules, "xformers", types.ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    ops.memory_efficient_attention = narrow
    assert not attention.works(attention._try_xformers, choose("cpu"))
    ops.memory_efficient_attention = lambda q, k, v: q
    assert attention.works(attention._try_xformers, choose("cpu"))


def test_an_xformers_that_refuses_at_the_last_moment_leaves_sdpa(parts):
    if torch.cuda.is_available():
        pytest.skip("it may work here")
    attention.USE["xformers"](parts[0])
    assert attention.active(parts[0]) == "sdpa"


def test_the_name_tells_what_is_active_not_what_was_asked_for(parts):
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    unet = parts[0]
    unet.set_attn_processor(AttnProcessor())
    assert attention.active(unet) == "plain"
    unet.set_attn_processor({name: AttnProcessor2_0() if i else AttnProcessor() for i, name in enumerate(unet.attn_processors)})
    assert attention.active(unet) == "plain+sdpa"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_active_kernel_computes(parts):
    unet, vae = (part.to("cuda", torch.float16) for part in parts)
    assert attention.apply(unet, vae, choose("cuda")) in ("xformers", "sdpa")
    assert unet(torch.randn(1, 4, 8, 8).cuda().half(), 5, torch.randn(1, 7, 32).cuda().half())[0].isfinite().all()
