"""Each stage learns, on next to nothing."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training import data, driver, loop, masks, text
from training.course import Course
from training.data import Renders
from training.judge import ANSWERS, UNASKED, Judge, confusion, right, truth
from training.latents import Latents, spread
from training.latents import write as write_latents
from training.loop import Plan
from training.models import SHAPES, vae
from training.recipe import CPU, GPU, STAGES, TINY
from training.scenes import numbered
from training.schedules import CANDIDATES
from training.stages import comparison
from training.stages.autoencoder import Autoencoder, psnr, signed, unsigned
from training.stages.denoiser import Denoiser
from training.stages.depth import Depth, rank_correlation
from training.stages.judging import Judging
from training.stages.styling import Styling, own
from training.stages.wording import Wording
from training.styles import STYLES
from training.train import main, only_one
from training.workers import Alone


@pytest.fixture(scope="module")
def renders(tmp_path_factory):
    made = Renders(tmp_path_factory.mktemp("data"), seed=0, side=64, count=24)
    data.write(made.paths[0], made.seed, made.side, range(24))
    return made


@pytest.fixture(scope="module")
def latents(renders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("latents")
    network = {"vae": vae(SHAPES["tiny"])}
    loop.keep(loop.State(loop.copied(network), loop.copied(network)), folder / "vae")
    made = Latents(folder, renders, folder / "vae", "tiny")
    write_latents(made.paths[0], renders, range(24), folder / "vae", "tiny")
    return made


def denoiser(latents, folder, **changes):
    tokenizer = text.build(folder / "tokenizer", [sentence for some in latents.renders.captions for sentence in some])
    parts = (SHAPES["tiny"], latents, vae(SHAPES["tiny"]), tokenizer)
    return Denoiser("unet", *parts, CANDIDATES["shifted by 4"](), 8, "cpu", lambda *_: {"colour": 0.5}, **changes)


def losses(stage, tmp_path, steps):
    """Of the first ten steps and of the last ten."""
    plan = Plan(minutes=1000, rate=3e-3, steps=steps, warm_up=5, save_every=0, flat=0.9)
    state = loop.run(stage, plan, tmp_path / stage.name, Alone(), tell=lambda line: None)
    assert (tmp_path / stage.name / "figures.jsonl").exists() and (tmp_path / stage.name / "curve.png").exists()
    return state.curve[0][1], state.curve[-1][1]


def test_the_vae_learns(renders, tmp_path):
    first, last = losses(Autoencoder(SHAPES["tiny"], renders, renders, 4, begin=None), tmp_path, 60)
    assert last < 0.8 * first


def test_a_decoder_learns_on_and_leaves_the_encoder_as_it_is(renders, tmp_path):
    begin = Autoencoder(SHAPES["tiny"], renders, renders, 2).vae.state_dict()
    stage = Autoencoder(SHAPES["tiny"], renders, renders, 2, begin={key: value.clone() for key, value in begin.items()})
    losses(stage, tmp_path, 10)
    after = stage.vae.state_dict()
    assert all(torch.equal(after[key], value) == key.startswith("encoder") for key, value in begin.items() if key.endswith("weight"))


def test_the_judge_learns(renders, tmp_path):
    first, last = losses(Judging(renders, renders, 8, "cpu", vae(SHAPES["tiny"])), tmp_path, 20)
    assert last < 0.9 * first
    assert "sphere" in (tmp_path / "judge" / "confusion.txt").read_text()


def test_the_depth_estimator_learns(renders, tmp_path):
    first, last = losses(Depth(renders, renders, 4, "cpu"), tmp_path, 30)
    assert last < 0.8 * first


def test_the_text_encoder_learns_to_read(renders, tmp_path):
    tokenizer = text.build(tmp_path / "tokenizer", [sentence for some in renders.captions for sentence in some])
    stage = Wording(SHAPES["tiny"], renders, renders, tokenizer, 8, "cpu")
    first, last = losses(stage, tmp_path, 60)
    assert last < 0.8 * first


def test_the_denoiser_begins_with_the_words_that_were_learned(latents, tmp_path):
    begin = {name: {key: value + 1 for key, value in network.state_dict().items()} for name, network in denoiser(latents, tmp_path).networks.items()}
    stage = denoiser(latents, tmp_path, begin={name: begin[name] for name in ("text", "reading")})
    assert all(torch.equal(value, begin["text"][key]) for key, value in stage.text.state_dict().items())


def test_a_lora_learns_a_style_and_leaves_the_model_as_it_was(latents, tmp_path):
    parts = denoiser(latents, tmp_path)
    before = {key: value.clone() for key, value in parts.unet.state_dict().items()}
    whole = (parts.unet, parts.text, parts.vae, parts.tokenizer, latents.scale, parts.alphas)
    stage = Styling("midas", STYLES["midas"], *whole, 8, "cpu", Judge(), scenes=16)
    first, last = losses(stage, tmp_path, 20)
    assert last < first
    after = own(stage.unet.state_dict())
    assert before.keys() == after.keys() and all(torch.equal(after[key], value) for key, value in before.items())
    saved = load_file(tmp_path / "midas" / "midas.safetensors")
    assert all(name.startswith("unet.") and ".lora_" in name and tensor.dtype == torch.float16 for name, tensor in saved.items())
    assert any(tensor.abs().max() > 0 for name, tensor in saved.items() if "lora_B" in name or "lora.up" in name)


@pytest.mark.parametrize("all_tasks", [True, False])
def test_the_denoiser_learns(latents, tmp_path, all_tasks):
    first, last = losses(denoiser(latents, tmp_path, all_tasks=all_tasks), tmp_path, 20)
    assert last < first


def test_a_sample_has_a_depth_map_or_a_mask_or_neither(latents, tmp_path):
    stage = denoiser(latents, tmp_path)
    planes = torch.cat([stage._further(list(range(8)), loop.turn_of(0, step, 0, 1.0)) for step in range(12)])
    depth, mask, masked = planes[:, 0].abs().amax((1, 2)) > 0, planes[:, 1].amax((1, 2)) > 0, planes[:, 2:].abs().amax((1, 2, 3)) > 0
    assert torch.equal(mask, masked) and not (depth & mask).any()
    assert 0.1 < depth.float().mean() < 0.4 and 0.1 < mask.float().mean() < 0.4
    assert planes[depth, 0].amin((1, 2)).eq(-1).all() and planes[depth, 0].amax((1, 2)).eq(1).all()


def test_the_first_quarter_sees_one_thing_at_a_time(latents, tmp_path):
    stage = denoiser(latents, tmp_path)
    early, late = ([i for step in range(20) for i in stage._drawn(loop.turn_of(0, step, 0, progress))] for progress in (0.1, 0.9))
    counts = [{len(latents.renders.scenes[i].things) for i in drawn} for drawn in (early, late)]
    assert counts == [{1}, {1, 2}]


# ---------------------------------------------------------------- data
def test_shards_hold_the_scenes_of_their_numbers(renders, tmp_path):
    again = Renders(tmp_path, seed=0, side=64, count=24)
    data.write(again.paths[0], 0, 64, range(24))
    assert torch.equal(again.images([3, 20]), renders.images([3, 20])) and torch.equal(again.ids([5]), renders.ids([5]))
    assert renders.scenes[20] == numbered(0, 20)
    assert renders.images([0]).shape == (1, 3, 64, 64) and renders.depths([0]).amax() <= 1


def test_a_shard_that_was_cut_off_is_made_again(tmp_path):
    made = Renders(tmp_path, seed=0, side=16, count=2)
    part = made.paths[0].with_suffix(".part")
    part.mkdir(parents=True)
    (part / "image.npy").write_bytes(b"half")
    assert made.make() == 1 and made.make() == 0
    assert made.images([1]).shape == (1, 3, 16, 16) and not part.exists()


def test_latents_have_unit_variance(latents):
    assert latents.get(range(24)).std() == pytest.approx(1, abs=0.01)
    flat = spread(torch.zeros(1, 1, 4, 4))
    assert torch.isfinite(flat).all()  # of a depth map without depth


@pytest.mark.parametrize("seed", range(12))
def test_a_mask_is_black_and_white_and_not_empty(renders, seed):
    made = masks.mask(renders.ids([seed])[0], np.random.default_rng(seed))
    assert made.shape == (64, 64) and set(made.unique().tolist()) <= {0.0, 1.0} and made.sum() > 20


def test_a_mask_around_a_thing_covers_it(renders):
    ids = renders.ids([0])[0]
    made = masks.around_a_thing(ids, np.random.default_rng(0))
    assert any((made[ids == thing] == 1).all() for thing in ids[ids >= 2].unique())


# ---------------------------------------------------------------- figures
def test_the_judge_is_asked_only_what_can_be_answered():
    alone, pair = numbered(0, 0, things=1), numbered(0, 1, things=2)
    assert truth(alone)["second colour"] == UNASKED and truth(alone)["things"] == 0 and truth(pair)["things"] == 1
    said = {"colour": torch.tensor([1, 2, 3])}
    assert right(said, {"colour": torch.tensor([1, 0, UNASKED])}) == {"colour": 0.5}
    assert confusion(torch.tensor([0, 1]), torch.tensor([0, 0]), ANSWERS["shape"]).splitlines()[1].split() == ["sphere", "1", "1", "0", "0"]


def test_rank_correlation_is_spearmans():
    a = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 2.0, 3.0]])
    assert rank_correlation(a, a.exp()) == pytest.approx(1) and rank_correlation(a, -a) == pytest.approx(-1)


def test_psnr_is_in_decibel():
    assert psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1)) == pytest.approx(20)
    assert unsigned(signed(torch.tensor(0.3))) == pytest.approx(0.3)


def told(score, prevails=1.0):
    return {"floor": score, "sky": score, "colour": score, "colour at 0.75": prevails}


def test_the_mildest_schedule_that_costs_nothing_is_chosen(tmp_path):
    assert comparison.best({"usual": told(0.90), "mild": told(0.88), "mildest": told(0.70)}) == "mild"
    figures = {"usual": told(0.5), "mild": told(0.5)}
    comparison.write(tmp_path, figures)
    assert comparison.best(figures) == "mild" and '"schedule": "mild"' in (tmp_path / "chosen.json").read_text()


def test_a_schedule_under_which_a_strong_change_is_none_is_not_chosen():
    assert comparison.best({"usual": told(0.9), "mild": told(0.9), "mildest": told(0.9, prevails=0.2)}) == "mild"
    assert comparison.best({"usual": told(0.9), "mild": told(0.9, prevails=0.2)}) == "usual"


# ---------------------------------------------------------------- the whole
def test_a_stage_that_has_ended_is_not_run_again(tmp_path):
    course = Course(tmp_path, TINY, 1)
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "ended").touch()
    driver.go(course, "vae", 1)  # would fail: there is nothing to learn from


def test_a_stage_says_what_it_needs(tmp_path):
    with pytest.raises(SystemExit, match="vae has not been trained yet"):
        Course(tmp_path, TINY, 1).vae()


@pytest.mark.parametrize("recipe", [CPU, GPU, TINY])
def test_a_recipe_shares_out_all_the_minutes(recipe):
    assert sum(recipe.minutes[stage] for stage in STAGES if stage != "data") == pytest.approx(1)
    assert {*recipe.batches} == {*recipe.rates} == {"style" if stage in STYLES else stage for stage in recipe.minutes}


def test_no_minutes_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--minutes", "0"])
    assert "--minutes: 0" in capsys.readouterr().err


def test_every_schedule_gets_the_same_number_of_samples():
    plan, at_once = CPU.comparison(minutes=9, schedules=3), CPU.batches["ab"] * CPU.workers
    assert plan.steps * at_once == 24_000 and plan.progress(1e9, 0) == 0
    assert CPU.comparison(1000, 3).steps * at_once == pytest.approx(CPU.compared)


@pytest.mark.skipif(sys.platform == "win32", reason="without locks there")
def test_two_trainings_do_not_share_a_folder(tmp_path):
    with only_one(tmp_path), pytest.raises(SystemExit, match="another training"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass
