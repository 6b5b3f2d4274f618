"""Tiny models with random weights of families that run by diffusers' own pipelines, as folders that such a pipeline itself has saved."""

from pathlib import Path
from typing import Any

import sd_ui  # noqa: F401  (before transformers is imported)
from tests.checkpoints import byte_symbols

SIZE = 64
CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>"]
LAYERS = 28  # one more than the last layer that Flux.2 Klein reads


def save(family: str, path: Path) -> Path:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (MADE | MORE)[family]().save_pretrained(path)
    return path


# ---------------------------------------------------------------- tokenizers
def t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((chr(i), -3.0) for i in range(33, 127))]
    return T5Tokenizer(vocab=[*pieces, ("▁cat", -1.0)], extra_ids=0, model_max_length=512)


def gemma_tokenizer() -> Any:
    from transformers import GemmaTokenizer

    symbols = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "\n", *map(chr, range(33, 127))]
    return GemmaTokenizer(vocab={token: i for i, token in enumerate(symbols)}, merges=[], padding_side="right")


def qwen_tokenizer() -> Any:
    from transformers import Qwen2Tokenizer

    symbols = [*byte_symbols(), *SPECIAL]
    tokenizer = Qwen2Tokenizer(vocab={token: i for i, token in enumerate(symbols)}, merges=[], model_max_length=4096)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    tokenizer.chat_template = CHAT
    return tokenizer


# ---------------------------------------------------------------- parts
def kl(channels: int, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    return AutoencoderKL(**blocks, block_out_channels=[8, 8, 8, 8], layers_per_block=1, latent_channels=channels, norm_num_groups=4, **more)


def flow() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler()


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=128, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu")).eval()


def small(layers: int = 2) -> dict[str, Any]:
    return {
        "vocab_size": 300, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
    }  # fmt: skip


# ---------------------------------------------------------------- pipelines
def pixart() -> Any:
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=16, in_channels=4,
        cross_attention_dim=24, out_channels=8, attention_bias=True, activation_fn="gelu-approximate", num_embeds_ada_norm=1000,
        norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6, use_additional_conditions=False,
    )  # fmt: skip
    vae = kl(4, scaling_factor=0.13025)
    return PixArtSigmaPipeline(t5_tokenizer(), t5(), vae, transformer.eval(), DPMSolverMultistepScheduler())


def sana() -> Any:
    from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, SanaPipeline, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    transformer = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=4, num_cross_attention_heads=2,
        cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=16, sample_size=32,
    )  # fmt: skip
    vae = AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"), encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)), encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=[1, 1], downsample_block_type="conv", upsample_block_type="interpolate", decoder_norm_types="rms_norm",
        decoder_act_fns="silu", scaling_factor=0.41407,
    )  # fmt: skip
    text = Gemma2Model(Gemma2Config(**small())).eval()
    noise = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero")
    return SanaPipeline(gemma_tokenizer(), text, vae.eval(), transformer.eval(), noise)


def z_image() -> Any:
    import torch
    from diffusers import ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        norm_eps=1e-5, qk_norm=True, cap_feat_dim=16, rope_theta=256.0, t_scale=1000.0, axes_dims=[8, 4, 4], axes_lens=[1024, 32, 32],
    )  # fmt: skip
    for token in (transformer.x_pad_token, transformer.cap_pad_token):  # made without values
        torch.nn.init.ones_(token)
    text = Qwen3Model(Qwen3Config(**small())).eval()
    return ZImagePipeline(flow(), kl(4, scaling_factor=0.3611, shift_factor=0.1159), text, qwen_tokenizer(), transformer.eval())


def qwen_image() -> Any:
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16,
        guidance_embeds=False, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True], latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )  # fmt: skip
    words = small() | {"rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}, "rope_theta": 1e6}
    eyes = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    text = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=words, vision_config=eyes)).eval()
    return QwenImagePipeline(flow(), vae.eval(), text, qwen_tokenizer(), transformer.eval())


def klein() -> Any:
    from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel
    from transformers import Qwen3Config, Qwen3ForCausalLM

    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=8, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=48,
        timestep_guidance_channels=16, axes_dims_rope=[4, 4, 4, 4], guidance_embeds=False,
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(8,) * 4,
        layers_per_block=1, latent_channels=2, norm_num_groups=4, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    text = Qwen3ForCausalLM(Qwen3Config(**small(LAYERS), tie_word_embeddings=True)).eval()
    return Flux2KleinPipeline(flow(), vae.eval(), text, qwen_tokenizer(), transformer.eval())


# ---------------------------------------------------------------- ... and the rest of the table
def pixart_alpha() -> Any:
    from diffusers import PixArtAlphaPipeline

    return PixArtAlphaPipeline(**pixart().components)


def sana_sprint() -> Any:
    from diffusers import SanaSprintPipeline, SanaTransformer2DModel, SCMScheduler

    parts = sana().components
    transformer = SanaTransformer2DModel(**{**parts["transformer"].config, "guidance_embeds": True, "qk_norm": "rms_norm_across_heads"})
    return SanaSprintPipeline(**{**parts, "transformer": transformer.eval(), "scheduler": SCMScheduler()})


def chroma() -> Any:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    transformer = ChromaTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16,
        axes_dims_rope=(4, 4, 8), approximator_num_channels=16, approximator_hidden_dim=16, approximator_layers=1,
    )  # fmt: skip
    return ChromaPipeline(flow(), kl(4, scaling_factor=0.3611, shift_factor=0.1159), t5(), t5_tokenizer(), transformer.eval())


def lumina2() -> Any:
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    transformer = Lumina2Transformer2DModel(
        sample_size=8, in_channels=4, hidden_size=24, num_layers=1, num_refiner_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=16,
        axes_dim_rope=(4, 2, 2), axes_lens=(512, 32, 32), cap_feat_dim=16,
    )  # fmt: skip
    text = Gemma2Model(Gemma2Config(**small())).eval()
    return Lumina2Pipeline(transformer.eval(), flow(), kl(4, scaling_factor=0.3611, shift_factor=0.1159), text, gemma_tokenizer())


def lumina() -> Any:
    from diffusers import LuminaNextDiT2DModel, LuminaPipeline
    from transformers import GemmaConfig, GemmaModel

    transformer = LuminaNextDiT2DModel(
        sample_size=8, hidden_size=24, num_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=16, cross_attention_dim=16,
    )  # fmt: skip
    text = GemmaModel(GemmaConfig(**small())).eval()
    return LuminaPipeline(transformer.eval(), flow(), kl(4), text, gemma_tokenizer())


def auraflow() -> Any:
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel
    from transformers import UMT5Config, UMT5EncoderModel

    transformer = AuraFlowTransformer2DModel(
        sample_size=8, num_mmdit_layers=1, num_single_dit_layers=1, attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32,
        joint_attention_dim=16, pos_embed_max_size=64,
    )  # fmt: skip
    text = UMT5EncoderModel(UMT5Config(vocab_size=128, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)).eval()
    return AuraFlowPipeline(t5_tokenizer(), text, kl(4), transformer.eval(), flow())


def ovis() -> Any:
    from diffusers import OvisImagePipeline, OvisImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    transformer = OvisImageTransformer2DModel(
        in_channels=16, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16,
        axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    text = Qwen3Model(Qwen3Config(**small())).eval()
    return OvisImagePipeline(flow(), kl(4, scaling_factor=0.3611, shift_factor=0.1159), text, qwen_tokenizer(), transformer.eval())


def cogview3() -> Any:
    from diffusers import CogVideoXDDIMScheduler, CogView3PlusPipeline, CogView3PlusTransformer2DModel

    transformer = CogView3PlusTransformer2DModel(
        in_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=2, out_channels=4, text_embed_dim=16, time_embed_dim=8,
        condition_dim=2, pos_embed_max_size=8, sample_size=8,
    )  # fmt: skip
    noise = CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    return CogView3PlusPipeline(t5_tokenizer(), t5(), kl(4), transformer.eval(), noise)


def cogview4() -> Any:
    from diffusers import CogView4Pipeline, CogView4Transformer2DModel
    from transformers import GlmConfig, GlmModel, PreTrainedTokenizerFast

    transformer = CogView4Transformer2DModel(
        in_channels=4, out_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=4, text_embed_dim=16, time_embed_dim=8,
        condition_dim=4, pos_embed_max_size=8, sample_size=8, rope_axes_dim=(8, 8),
    )  # fmt: skip
    text = GlmModel(GlmConfig(**small(), pad_token_id=0)).eval()
    words = PreTrainedTokenizerFast(tokenizer_object=qwen_tokenizer()._tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[0], padding_side="left")
    return CogView4Pipeline(words, text, kl(4), transformer.eval(), flow())


def hunyuan() -> Any:
    from diffusers import DDPMScheduler, HunyuanDiT2DModel, HunyuanDiTPipeline
    from transformers import BertConfig, BertModel, BertTokenizer

    transformer = HunyuanDiT2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, in_channels=4, cross_attention_dim=16,
        cross_attention_dim_t5=16, pooled_projection_dim=16, hidden_size=24, text_len=77, text_len_t5=256,
    )  # fmt: skip
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(33, 127)), *(f"##{chr(i)}" for i in range(33, 127))]
    words = BertTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, model_max_length=77)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = BertModel(BertConfig(vocab_size=len(vocabulary), **size)).eval()
    noise = DDPMScheduler(prediction_type="v_prediction", beta_schedule="scaled_linear")
    more = {"text_encoder_2": t5(), "tokenizer_2": t5_tokenizer(), "safety_checker": None, "feature_extractor": None}
    return HunyuanDiTPipeline(kl(4), text, words, transformer.eval(), noise, **more, requires_safety_checker=False)


def kandinsky3() -> Any:
    from diffusers import DDPMScheduler, Kandinsky3Pipeline, Kandinsky3UNet, VQModel

    unet = Kandinsky3UNet(
        time_embedding_dim=8, groups=2, attention_head_dim=4, layers_per_block=3, block_out_channels=(8, 8), cross_attention_dim=4,
        encoder_hid_dim=16,
    )  # fmt: skip
    movq = VQModel(
        down_block_types=["DownEncoderBlock2D"] * 3 + ["AttnDownEncoderBlock2D"],
        up_block_types=["AttnUpDecoderBlock2D", *["UpDecoderBlock2D"] * 3],
        block_out_channels=[32] * 4, layers_per_block=1, latent_channels=4, num_vq_embeddings=12, norm_num_groups=8, vq_embed_dim=4,
        norm_type="spatial",
    )  # fmt: skip
    noise = DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=True, thresholding=False)
    return Kandinsky3Pipeline(t5_tokenizer(), t5(), unet.eval(), noise, movq.eval())


MADE = {"pixart-sigma": pixart, "sana": sana, "z-image": z_image, "qwenimage": qwen_image, "flux2-klein": klein}
MORE = {
    "pixart-alpha": pixart_alpha, "sana-sprint": sana_sprint, "chroma": chroma, "lumina2": lumina2, "lumina": lumina, "auraflow": auraflow,
    "ovis": ovis, "cogview3": cogview3, "cogview4": cogview4, "hunyuan": hunyuan, "kandinsky3": kandinsky3,
}  # fmt: skip
