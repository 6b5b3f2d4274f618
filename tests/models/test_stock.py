"""The table of families that run by diffusers' own pipelines says what diffusers says; a stranger's folder is compared with it, and that is all."""

import inspect
import json
import shutil
import struct
import typing
from pathlib import Path

import pytest

from sd_ui.models import folders, sentencepiece, stock_folders
from sd_ui.models.hashes import Hashes
from sd_ui.models.header import Unreadable
from sd_ui.models.stock import FAMILIES
from sd_ui.spec.cards import ModelCard
from sd_ui.spec.errors import BadRequest
from sd_ui.spec.samplers import MODELS_OWN
from tests import stock_models
from tests.models.library import index

CLASSES = [(family.name, part, kind) for family in FAMILIES.values() for part, kinds in family.parts.items() for kind in kinds]
CALLS = [(family.name, mode) for family in FAMILIES.values() for mode in family.modes]


def diffusers_class(name):
    import diffusers

    return getattr(diffusers, name)


# ---------------------------------------------------------------- the table
@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_modes_are_at_least_those_that_diffusers_knows_of_it(family):
    from diffusers.pipelines import auto_pipeline as auto

    row = FAMILIES[family]
    known = {
        "txt2img": auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING, "img2img": auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        "inpaint": auto.AUTO_INPAINT_PIPELINES_MAPPING,
    }  # fmt: skip
    name = next((name for name, kind in known["txt2img"].items() if kind.__name__ == row.pipelines["txt2img"]), None)
    for mode, table in known.items():
        if name in table and not row.by_whole_mask:
            assert row.pipelines[mode] == table[name].__name__
    assert name is not None or family == "sana-sprint"  # which is in none of diffusers' mappings


@pytest.mark.parametrize(("family", "part", "kind"), CLASSES)
def test_every_class_is_one_that_the_pipelines_constructor_takes(family, part, kind):
    import diffusers
    import transformers

    found = getattr(transformers, kind, None) or getattr(diffusers, kind)
    assert inspect.isclass(found) and found.__module__.split(".")[0] in stock_folders.LIBRARIES
    for pipeline in FAMILIES[family].pipelines.values():
        declared = inspect.signature(diffusers_class(pipeline).__init__).parameters[part].annotation
        allowed = [one for one in typing.get_args(declared) or (declared,) if inspect.isclass(one)]
        loose = part.startswith(("tokenizer", "scheduler"))  # where families share classes more freely than their constructors say
        assert loose or not allowed or issubclass(found, tuple(allowed)) or found.__name__ == "VQModel", (pipeline, declared)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_part_of_the_constructor_is_in_the_table_or_may_be_none(family):
    row = FAMILIES[family]
    told = {*row.parts, *row.flags, *row.without}
    for pipeline in row.pipelines.values():
        for name, parameter in inspect.signature(diffusers_class(pipeline).__init__).parameters.items():
            usual = parameter.default is not inspect.Parameter.empty
            assert name in ("self", "requires_safety_checker") or name in told or usual, (pipeline, name)


@pytest.mark.parametrize(("family", "mode"), CALLS)
def test_every_pipeline_takes_what_the_door_lets_through(family, mode):
    row = FAMILIES[family]
    takes = inspect.signature(diffusers_class(row.pipelines[mode]).__call__).parameters
    assert {"prompt", "num_inference_steps", "generator", "output_type", row.guidance} <= takes.keys()
    assert ("negative_prompt" in takes) == row.negative
    assert mode == "txt2img" or {"image", "strength"} <= takes.keys()
    assert mode != "inpaint" or "mask_image" in takes
    assert {"width", "height"} <= takes.keys() or mode == "img2img"  # which may take the picture's
    if "max_sequence_length" in takes and isinstance(takes["max_sequence_length"].default, int) and mode == "txt2img":
        assert takes["max_sequence_length"].default == row.tokens


def test_a_pipeline_belongs_to_one_family_and_none_of_them_is_run_by_a_loop_of_ours():
    names = [name for family in FAMILIES.values() for name in {*family.pipelines.values(), *family.also}]
    assert len(names) == len(set(names)) and not set(names) & set(folders.PIPELINES)


# ---------------------------------------------------------------- strangers' folders
@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return stock_models.save("z-image", tmp_path_factory.mktemp("stock") / "z-image")


@pytest.fixture
def folder(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "models" / "z-image"))


def changed(folder, **entries):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return folder


def loaded(folder):
    """By the loader alone, as if the folder had changed after the look."""
    import torch

    from sd_ui.engine import load_stock
    from sd_ui.engine.device import Place

    card = ModelCard(folder.name, "checkpoint", "z-image", folder, "folder", 0)
    return load_stock.load(card, Place(torch.device("cpu"), torch.float32), Hashes())


def test_a_folder_is_recognised_with_its_modes_and_settings(folder):
    cards = index(folder.parent).cards()
    card = cards["z-image"]
    assert (card.family, card.modes, card.fault) == ("z-image", ("txt2img", "img2img", "inpaint"), "")
    assert card.defaults.sampler == MODELS_OWN and card.stock.title == "Z-Image" and card.size > 0


def test_what_was_found_out_of_such_a_folder_is_kept(folder, tmp_path):
    first = index(folder.parent, keep=tmp_path / "outputs").cards()["z-image"]
    assert index(folder.parent, keep=tmp_path / "outputs").cards()["z-image"] == first


@pytest.mark.parametrize(("entries", "said"), [
    ({"text_encoder": ["os", "system"]}, "asks for the class system of os"),
    ({"text_encoder": ["transformers", "AutoModel"]}, "asks for the class AutoModel"),
    ({"transformer": ["z_image_code", "ZImageTransformer2DModel"]}, "of z_image_code"),
    ({"transformer": ["diffusers", "UNet2DConditionModel"]}, "asks for the class UNet2DConditionModel"),
    ({"scheduler": ["diffusers", "DiffusionPipeline"]}, "asks for the class DiffusionPipeline"),
    ({"vae": [None, None]}, "the VAE is missing"),
    ({"tokenizer": "x"}, "the tokenizer is missing"),
    ({"_class_name": "WuerstchenCombinedPipeline"}, "not supported"),
    ({"_class_name": ["x"]}, "not supported"),
])  # fmt: skip
def test_a_folder_that_asks_for_another_class_is_refused_and_nothing_is_built(folder, entries, said):
    changed(folder, **entries)
    assert said in folders.look(folder).fault
    with pytest.raises(BadRequest):
        loaded(folder)


@pytest.mark.parametrize(("gone", "said"), [
    ("transformer/diffusion_pytorch_model.safetensors", "the transformer has no weights"),
    ("text_encoder/config.json", "the text encoder is missing"),
    ("scheduler/scheduler_config.json", "the scheduler is missing"),
    ("vae/config.json", "the VAE is missing"),
])  # fmt: skip
def test_what_is_missing_is_named(folder, gone, said):
    (folder / gone).unlink()
    assert said in folders.look(folder).fault
    with pytest.raises(BadRequest):
        loaded(folder)


def test_a_folder_without_its_tokenizer_says_so(folder):
    shutil.rmtree(folder / "tokenizer")
    assert "the tokenizer is missing" in folders.look(folder).fault


def test_a_pickle_is_refused(folder):
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert "pickle" in folders.look(folder).fault


def test_a_truncated_file_is_refused_at_the_look(folder):
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "the transformer's file is" in folders.look(folder).fault


def test_a_quantised_part_is_refused(folder):
    path = folder / "text_encoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "gptq"}}))
    assert "quantised" in folders.look(folder).fault


@pytest.mark.parametrize(("part", "changes", "said"), [
    ("transformer", {"dim": 48}, "the transformer"), ("transformer", {"n_layers": "many"}, "the transformer"),
    ("text_encoder", {"hidden_size": 24}, "the text encoder"), ("text_encoder", {"num_hidden_layers": 3}, "the text encoder"),
    ("vae", {"latent_channels": 8}, "the VAE"),
])  # fmt: skip
def test_a_config_that_does_not_fit_the_tensors_names_the_part(folder, part, changes, said):
    path = folder / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(BadRequest) as refused:
        loaded(folder)
    assert refused.value.field == "model" and said in refused.value.why and str(folder) not in refused.value.why


def test_a_config_that_points_to_code_or_kernels_is_read_without_them(folder):
    path = folder / "text_encoder" / "config.json"
    strange = {"auto_map": {"AutoModel": "evil--model.Evil"}, "attn_implementation": "evil/kernel", "transformers_weights": "../x"}
    path.write_text(json.dumps(json.loads(path.read_text()) | strange))
    assert type(loaded(folder).parts["text_encoder"]).__name__ == "Qwen3Model"


def test_weights_in_several_pieces_are_read(folder):
    from safetensors.torch import load_file, save_file

    whole = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    names = sorted(tensors)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, kept in halves.items():
        save_file({name: tensors[name] for name in kept}, whole.parent / file)
    table = {"weight_map": {name: file for file, kept in halves.items() for name in kept}}
    (whole.parent / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(table))
    whole.unlink()
    assert folders.look(folder).fault == ""
    found = loaded(folder).parts["transformer"].state_dict()
    assert all((found[name] == tensors[name]).all() for name in names)


def test_a_lora_is_not_worn_and_tokens_are_not_counted(folder, tmp_path):
    from tests.models.library import lora

    lora(tmp_path / "models" / "style.safetensors")
    found = index(tmp_path / "models")
    assert found.loras("z-image") == [] and "LoRA" in found.misfit("z-image", "style")
    with pytest.raises(BadRequest):
        found.tokens("z-image", "a cat")


# ---------------------------------------------------------------- SentencePiece's own files
def message(*fields):
    """A protocol buffer. fields: (number, value), bytes or float or int."""
    out = b""
    for number, value in fields:
        if isinstance(value, bytes):
            out += varint(number << 3 | 2) + varint(len(value)) + value
        elif isinstance(value, float):
            out += varint(number << 3 | 5) + struct.pack("<f", value)
        else:
            out += varint(number << 3) + varint(value)
    return out


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def spiece(path, pieces, kind=1):
    said = [(1, message((1, text.encode()), (2, float(score)), (3, 1))) for text, score in pieces]
    path.write_bytes(message(*said, (2, message((3, kind), (4, 32000))), (3, message((1, b"nmt_nfkc"), (2, b"")))))
    return path


PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((chr(i), -3.0) for i in range(33, 127)), ("▁cat", -1.0)]


def test_pieces_are_read_with_their_scores(tmp_path):
    found = sentencepiece.read(spiece(tmp_path / "spiece.model", PIECES))
    assert found.vocabulary == tuple(PIECES) and found.charsmap == b""


def test_a_folder_whose_tokenizer_is_such_a_file_alone_cuts_texts_like_the_one_with_all_files(tmp_path):
    pixart = stock_models.save("pixart-sigma", tmp_path / "pixart")
    usual = loaded(pixart).parts["tokenizer"]
    (pixart / "tokenizer" / "tokenizer.json").unlink()
    spiece(pixart / "tokenizer" / "spiece.model", PIECES)
    assert folders.look(pixart).fault == ""
    read = loaded(pixart).parts["tokenizer"]
    for text in ("a cat", "a  cat, on the mat!", "", "Ünïcode"):
        assert read(text)["input_ids"] == usual(text)["input_ids"]
    assert read.model_max_length == usual.model_max_length == 512


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, b"\x0a\x05abc"])
def test_a_damaged_file_of_pieces_is_refused(tmp_path, damage):
    path = tmp_path / "spiece.model"
    path.write_bytes(damage)
    with pytest.raises(Unreadable):
        sentencepiece.read(path)


def test_another_kind_of_model_is_refused(tmp_path):
    with pytest.raises(Unreadable, match="unigram"):
        sentencepiece.read(spiece(tmp_path / "spiece.model", PIECES, kind=2))
