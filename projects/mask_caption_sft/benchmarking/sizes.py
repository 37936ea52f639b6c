"""Models of three sizes with random weights, and random images for them."""

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..loop.bridges import SoftTokenBridge
from ..loop.mask_caption_sft import MaskCaptionSFT
from ..loop.objectives import BestOfK, HumanExpressions, NearStart, Objective, SegmentCaptions, TeacherIoU
from ..ops.mask import resize_masks
from ..sa2va.released_sizes import released_config
from ..sa2va.sa2va import Sa2VA
from ..sa2va.text_codec import TextCodec
from ..structures import RegionBatch
from ..tiny_world.base_model import tiny_config, tiny_tokenizer, xavier_init

#: The tiny world's model, some fifty million weights over real inputs, and the released 4B.
SIZES = ('tiny', 'small', '4b')
#: The 4B's shapes, narrower and with fewer layers: eight query heads to one for keys and values, a tile of
#: 448 pixels in 256 tokens, SAM 2's inputs of 1024 pixels and its own mask decoder, and a vocabulary so large
#: that half of the weights are token embeddings and output matrix. The encoders' share of the work is about
#: the 4B's.
_SMALL_LLM = dict(
    hidden_size=384,
    intermediate_size=2064,
    num_attention_heads=8,
    num_key_value_heads=1,
    num_hidden_layers=6,
    max_position_embeddings=32768,
    vocab_size=32768,
)
_SMALL_VIT = dict(hidden_size=192, intermediate_size=768, num_attention_heads=4, num_hidden_layers=3)
_SMALL_SAM2 = dict(
    embed_dim=24,
    num_heads=1,
    stages=[1, 1, 2, 1],
    global_att_blocks=[3],
    window_spec=[8, 4, 16, 8],
    backbone_channel_list=[192, 96, 48, 24],
    image_size=1024,
    hidden_size=256,
    decoder_mlp_dim=2048,
)
#: The share of the language model's layers that run again in a benchmark. Of the small size's six layers the
#: last one keeps its activations; a second one that did would exceed 0.6 of the plain step's memory.
LAYERS_AGAIN = {'tiny': 1.0, 'small': 0.83, '4b': 1.0}
_LORA_RANK = {'tiny': 8, 'small': 32, '4b': 128}
_MAX_CELLS = 26  # a tenth of a tile's 256


def size_config(size: str, vocab_size: int) -> dict[str, Any]:
    """``config.json`` of a size; the 4B keeps its own vocabulary.

    Raises:
        ValueError: There is no such size.
    """
    if size not in SIZES:
        raise ValueError(f'size={size!r} is not one of {", ".join(SIZES)}.')
    if size == '4b':
        return released_config('Sa2VA-4B')
    config = tiny_config(vocab_size)
    if size == 'small':
        config['force_image_size'] = 448
        config['llm_config'].update(_SMALL_LLM)
        config['vision_config'].update(_SMALL_VIT, image_size=448)
        config['tiny_sam2'].update(_SMALL_SAM2)
    return config


def random_model(
    size: str,
    num_captions: int = 4,
    max_caption_len: int = 32,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = 'cpu',
    lora_dropout: float = 0.05,
    seed: int = 0,
    activation_checkpointing: float = 1.0,
    merge_to_write: bool = False,
) -> MaskCaptionSFT:
    """The 4B config's loop around a model of some size, with random weights, ready to train.

    Every region's best caption is taught and every gate is open, so that no step costs more. Every caption
    has ``max_caption_len`` tokens, see :func:`write_words_only`.

    Args:
        size: One of ``SIZES``.
        num_captions, max_caption_len: K and T.
        dtype: Of the frozen weights, float32 or bfloat16.
        device: Where it is built.
        lora_dropout: Of the adapters.
        seed: Of the weights.
        activation_checkpointing, merge_to_write: See :class:`Sa2VA`.
    """
    torch.manual_seed(seed)
    rank = _LORA_RANK[size] if size in SIZES else 0
    tokenizer = tiny_tokenizer()
    config = size_config(size, len(tokenizer))
    with _building(dtype, device):
        student = Sa2VA(
            config=config,
            tokenizer=tokenizer,
            lora=dict(r=rank, lora_alpha=2 * rank, lora_dropout=lora_dropout),
            base_dtype=str(dtype).removeprefix('torch.'),
            activation_checkpointing=activation_checkpointing,
            merge_to_write=merge_to_write,
        )
        xavier_init(student)
    student.remember_start()
    write_words_only(student.text)
    return MaskCaptionSFT(
        student,
        objectives=open_objectives(),
        max_caption_len=max_caption_len,
        num_captions=num_captions,
        predict_dtype='bfloat16' if student.needs_autocast else None,
    ).train()


def open_objectives() -> dict[str, Objective]:
    """All objectives, with thresholds so low that every region teaches all that it can."""
    return dict(
        best_of_k=BestOfK(margin_iou=-1.0, min_iou=0.0),
        teacher_iou=TeacherIoU(SoftTokenBridge()),
        segment_captions=SegmentCaptions(gate_iou=0.0),
        human_expressions=HumanExpressions(),
        near_start=NearStart(),
    )


@contextmanager
def _building(dtype: torch.dtype, device: torch.device | str):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def write_words_only(text: TextCodec) -> None:
    """Ban every token but whole words, the end of turn too: a caption then has T tokens wherever it is read.

    Random weights hardly ever end a caption, and what they write would be split into other tokens when it is
    read as text, so that the length of every prompt would be left to chance.
    """
    words = {
        token_id
        for piece, token_id in text.tokenizer.get_vocab().items()
        if piece[0] == 'Ġ' and piece[1:].isalpha() and text.encode(f' {piece[1:]}') == [token_id]
    }
    text.banned_token_ids = sorted(set(range(text.vocab_size)) - words)


def random_batch(
    model: MaskCaptionSFT,
    num_images: int = 2,
    num_regions: int = 1,
    num_tiles: Sequence[int] = (7,),
    num_expressions: int = 0,
    seed: int = 0,
) -> RegionBatch:
    """Noise in two views per image, with square masks; on the model's device.

    Args:
        model: Whose sizes it has.
        num_images: Pairs of views whose regions are described.
        num_regions: Of each.
        num_tiles: Of each image and both its views, thumbnail included; repeated as often as needed.
        num_expressions: Further pairs of views, each with one region and a human expression.
        seed: Of the pixels.
    """
    generator, sizes = torch.Generator().manual_seed(seed), model.student.sizes
    texts = [[None] * num_regions] * num_images + [['small red thing at the top']] * num_expressions
    tiles = [num_tiles[i % len(num_tiles)] for i in range(len(texts)) for _ in range(2)]
    owner = [image for image, of_one in enumerate(texts) for _ in of_one]
    side, drawn, grid = sizes.grounding_size, sizes.mask_size, sizes.grid_size
    masks = torch.zeros(len(owner), drawn, drawn, dtype=torch.bool)
    for row in range(len(owner)):
        start = (row % 4) * drawn // 8
        masks[row, start : start + drawn // 2, drawn // 4 : drawn // 4 + drawn // 2] = True
    cells = torch.zeros(len(owner), grid * grid, dtype=torch.bool)
    cells[:, : min(_MAX_CELLS, grid * grid // 2)] = True
    shape = (sum(tiles), 3, sizes.image_size, sizes.image_size)
    names = [f'image{image}' for image in owner]
    return RegionBatch(
        pixel_values=torch.randint(0, 256, shape, generator=generator).byte(),
        num_tiles=tiles,
        g_pixel_values=torch.randint(0, 256, (len(tiles), 3, side, side), generator=generator).byte(),
        image_ids=[f'image{i // 2}#{i % 2 + 1}' for i in range(len(tiles))],
        image_index1=torch.tensor([2 * image for image in owner]),
        image_index2=torch.tensor([2 * image + 1 for image in owner]),
        visual_prompts=cells.view(-1, grid, grid),
        masks1=list(masks),
        masks2=list(resize_masks(masks.roll(side // 32, 2), masks.shape[1:])),
        expressions=[text for of_one in texts for text in of_one],
        datasets=['noise'] * len(owner),
        sample_ids=names,
    ).to(model.student.device)
