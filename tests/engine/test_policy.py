"""Which policy a model gets: the fastest that fits, no faster than the user says, and no faster than what failed before."""

from pathlib import Path

import pytest
import torch

from sd_ui.engine import footprint, load, memory, offload
from sd_ui.engine.device import choose
from sd_ui.engine.footprint import Footprint, Sizes, Work
from sd_ui.engine.pipeline_manager import PipelineManager
from sd_ui.engine.policy import (
    COMPONENTS,
    DECODING,
    GROUPS,
    HIGH,
    LADDER,
    LOADING,
    LOW,
    MEDIUM,
    READING,
    RESIDENT,
    SAMPLING,
    SEQUENTIAL,
    Policy,
    Wishes,
    gentler,
    ladder,
)  # fmt: skip
from sd_ui.engine.thrift import Thrift
from sd_ui.models.index import ModelIndex
from sd_ui.spec.request import ModelChoice
from tests.checkpoints import tiny_folder

GIB, MIB = 2**30, 2**20
EMBEDDED = Path(__file__).parents[2] / "sd_ui" / "embedded"
# SDXL in float16: two text encoders, the U-Net, the VAE in float32
SIZES = Sizes({"text encoder": 246 * MIB, "text encoder 2": 1389 * MIB, "denoiser": 5135 * MIB, "VAE": 320 * MIB}, 7090 * MIB,
              {GROUPS: 253 * MIB, SEQUENTIAL: 25 * MIB})  # fmt: skip
XL = Footprint(SIZES, sampling=600 * MIB, decoding=9000 * MIB, in_tiles=2300 * MIB)
LARGE = Work(1024, 1024)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (24, Policy()),
        (12, Policy(COMPONENTS)),
        (8, Policy(COMPONENTS, tiles=True)),
        (4, Policy(GROUPS, tiles=True)),
        (2.7, Policy(SEQUENTIAL, tiles=True)),
        (1, Policy(SEQUENTIAL, tiles=True, sliced=True)),
    ],
)
def test_it_is_the_fastest_that_fits(room, expected):
    policy, why = Thrift(apart=True).choose("xl", XL, LARGE, int(room * GIB))
    assert policy == expected and f"{room:.1f} are free" in why


def test_each_rung_needs_no_more_than_the_one_before():
    peaks = [XL.peak(policy) for policy in LADDER]
    assert peaks == sorted(peaks, reverse=True) and peaks[0] > 15 * GIB and peaks[3] < 4 * GIB


@pytest.mark.parametrize(("mode", "first"), [(HIGH, RESIDENT), (MEDIUM, COMPONENTS), (LOW, GROUPS)])
def test_the_user_has_the_first_word(mode, first):
    policy, why = Thrift(apart=True, wishes=Wishes(mode)).choose("xl", XL, LARGE, 80 * GIB)
    assert policy.weights == first and f"--{ {HIGH: 'high', MEDIUM: 'med', LOW: 'low'}[mode] }vram says so" in why


def test_all_at_once_is_tried_where_the_user_wants_it_although_it_does_not_look_as_if_it_fitted():
    assert Thrift(apart=True, wishes=Wishes(HIGH)).choose("xl", XL, LARGE, GIB)[0] == Policy()


def test_what_failed_is_not_tried_again_at_this_size_or_a_larger_one():
    thrift = Thrift(apart=True)
    thrift.learn("xl", LARGE, Policy(GROUPS, tiles=True))
    assert thrift.choose("xl", XL, LARGE, 80 * GIB)[0].weights == GROUPS
    assert "memory ran out before" in thrift.choose("xl", XL, Work(2048, 1024), 80 * GIB)[1]
    assert thrift.choose("xl", XL, Work(512, 512), 80 * GIB)[0] == Policy() == thrift.choose("other", XL, LARGE, 80 * GIB)[0]
    assert thrift.choose("xl", XL, LARGE, GIB)[0].weights == SEQUENTIAL  # never faster than what fits, either


def test_a_stage_is_helped_by_what_it_uses():
    rungs = ladder(apart=True)
    assert gentler(rungs, Policy(COMPONENTS), SAMPLING) == Policy(GROUPS, tiles=True)
    assert gentler(rungs, Policy(COMPONENTS), DECODING) == Policy(COMPONENTS, tiles=True)
    assert gentler(rungs, Policy(SEQUENTIAL, tiles=True), READING) is None and gentler(rungs, rungs[-1], SAMPLING) is None
    assert gentler(ladder(apart=False), Policy(), LOADING) is None


def test_without_a_memory_of_its_own_weights_never_move_and_flags_say_that_they_cannot_help():
    assert {rung.weights for rung in ladder(apart=False, wishes=Wishes(LOW))} == {RESIDENT}
    policy, why = Thrift(apart=False, wishes=Wishes(LOW, budget=GIB)).choose("xl", XL, LARGE, 80 * GIB)
    assert policy == Policy() and why == (
        "everything in main memory, because this device has no memory of its own that --lowvram and --vram-budget could save"
    )


def test_weights_in_8_bits_are_the_users_choice_alone():
    assert not any(rung.fp8 for rung in LADDER) and all(rung.fp8 for rung in ladder(True, Wishes(fp8=True)))
    assert Policy(GROUPS, tiles=True, fp8=True).name == "groups, VAE in tiles, denoiser in float8_e4m3fn"


# ---------------------------------------------------------------- estimates
def test_estimates_for_published_models_are_those_of_other_programs():
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        sd15 = UNet2DConditionModel(block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8).half()
        vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
                            up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4).half()  # fmt: skip
    assert 150 * MIB < footprint.sampling(sd15, Work(512, 512)) < 250 * MIB
    assert (
        footprint.sampling(sd15, Work(1024, 1024))
        == 4 * footprint.sampling(sd15, Work(512, 512))
        == 8 * footprint.sampling(sd15, Work(512, 512, rows=1))
    )
    assert 4 * GIB < footprint.decoding(vae, 1024 * 1024) < 4.5 * GIB


def test_a_transformers_width_counts_for_the_cells_that_a_token_stands_for():
    class Config:
        num_attention_heads, attention_head_dim, patch_size = 24, 128, 1

    module = torch.nn.Linear(1, 1)
    module.config = Config()
    assert footprint.width(module) == 768  # Flux
    Config.num_attention_heads, Config.attention_head_dim, Config.patch_size = 24, 64, 2
    assert footprint.width(module) == 384  # Stable Diffusion 3


def test_sizes_are_those_of_the_tensors(tmp_path):
    model = load.load(ModelIndex([tmp_path], EMBEDDED, tmp_path / "none").card("embedded"), None, choose("cpu"))
    sizes = footprint.sizes(model.components)
    assert sizes.whole == memory.size(model.components.values()) and sizes.components["VAE"] == memory.size([model.vae])
    assert sizes.parts[SEQUENTIAL] < sizes.parts[GROUPS] < sizes.whole


# ---------------------------------------------------------------- in the manager, as on a card whose memory is not the one where weights can wait
@pytest.fixture
def models(tmp_path) -> ModelIndex:
    for seed, name in enumerate("ab"):
        tiny_folder(tmp_path / name, seed=seed)
    return ModelIndex([tmp_path], EMBEDDED, tmp_path / "none")


def manager(models, monkeypatch, **wishes) -> PipelineManager:
    monkeypatch.setattr(memory, "is_apart", lambda device: True)
    return PipelineManager(models.cards, choose("cpu"), 10**9, wishes=Wishes(**wishes))


def test_a_lease_is_arranged_for_its_work_and_the_page_is_told(models, monkeypatch):
    pipelines = manager(models, monkeypatch, mode=MEDIUM)
    with pipelines.lease(ModelChoice("a")) as loaded:
        assert pipelines.policy(loaded) == Policy(COMPONENTS)
    said = pipelines.facts()["how it runs"]
    assert said == "text encoders, denoiser and VAE in graphics memory one after the other, because --medvram says so"


def test_a_budget_is_kept(models, monkeypatch):
    pipelines = manager(models, monkeypatch, budget=8 * MIB)
    with pipelines.lease(ModelChoice("a"), work=Work(64, 64)) as small, pipelines.lease(ModelChoice("b"), work=Work(512, 512)) as large:
        assert pipelines.policy(small) == Policy() and pipelines.policy(large).weights != RESIDENT


def test_weights_that_find_no_memory_on_their_way_to_the_device_come_more_gently(models, monkeypatch):
    pipelines, real, laid = manager(models, monkeypatch), offload.lay, []

    def short(trees, weights, *more):
        laid.append(weights)
        if weights == RESIDENT:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(trees, weights, *more)

    monkeypatch.setattr(offload, "lay", short)
    with pipelines.lease(ModelChoice("a")) as loaded:
        assert pipelines.policy(loaded) == Policy(COMPONENTS) and laid == [RESIDENT, COMPONENTS]


def test_while_others_use_a_model_it_stays_as_gentle_as_they_need_it(models, monkeypatch):
    pipelines = manager(models, monkeypatch)
    with pipelines.lease(ModelChoice("a"), work=LARGE) as loaded:
        pipelines.ease(loaded, SAMPLING, LARGE)
        assert pipelines.policy(loaded) == Policy(COMPONENTS)
        with pipelines.lease(ModelChoice("a"), work=Work(64, 64)) as same:
            assert same is loaded and pipelines.policy(loaded) == Policy(COMPONENTS)
    with pipelines.lease(ModelChoice("a"), work=Work(64, 64)) as loaded:
        assert pipelines.policy(loaded) == Policy()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card: only there can models leave it and wait in main memory")
def test_a_model_that_no_job_uses_waits_in_main_memory_and_comes_back(models):
    pipelines = PipelineManager(models.cards, choose("cuda"), 1)
    with pipelines.lease(ModelChoice("a")) as loaded:
        unet = loaded.denoiser
    with pipelines.lease(ModelChoice("b")):
        assert pipelines.resident == ("b", "a") and next(unet.parameters()).device.type == "cpu"
    with pipelines.lease(ModelChoice("a")) as again:
        assert again.denoiser is unet and next(unet.parameters()).device.type == "cuda"


def test_two_vaes_of_one_checkpoint_are_arranged_together(models, monkeypatch, tmp_path):
    from tests.checkpoints import tiny_vae_file

    tiny_vae_file(tmp_path / "vae.safetensors")
    models.refresh()
    pipelines = manager(models, monkeypatch)
    with pipelines.lease(ModelChoice("a")) as own, pipelines.lease(ModelChoice("a", "vae")) as other:
        assert pipelines.ease(own, SAMPLING) and pipelines.policy(other) == pipelines.policy(own) == Policy(COMPONENTS)
