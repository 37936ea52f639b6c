"""Sa2VA-4B (InternVL2.5-4B + SAM 2 hiera-large): LoRA, what is trained, what is taught."""

from projects.mask_caption_sft.loop.bridges import SoftTokenBridge
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import (
    BestOfK,
    HumanExpressions,
    NearStart,
    SegmentCaptions,
    TeacherIoU,
)

model = dict(
    type=MaskCaptionSFT,
    sa2va=dict(
        # Tile, grid, grounding and mask sizes and the prompt template follow from its config.json.
        base='pretrained/Sa2VA-4B',
        # The frozen weights stay in bfloat16, as they are released; autocast would cast them anyway.
        base_dtype='released',
        lora=dict(r=128, lora_alpha=256, lora_dropout=0.05),
        train_embeddings=False,
        # The first half of the language model's layers runs again in the backward pass. Of a card of 80 GB
        # that leaves 25 GiB; what other cards need: docs/performance.md.
        activation_checkpointing=0.5,
    ),
    # In tokens, the end of turn not counted. What it costs to double: docs/performance.md.
    max_caption_len=32,
    # One greedy caption per region; sampled ones, from the student's own distribution, try words that it
    # lacks. The more there are, the better the best (docs/results.md) and the longer the step.
    num_captions=4,
    sampling=dict(temperature=1.0, top_k=0, top_p=1.0),
    objectives=dict(
        # This teaches words that human expressions do not contain (docs/results.md). About a sixth of the
        # regions has a better caption than the greedy one; with 5 it is about as strong as the caption
        # loss. A smaller margin teaches noise of the masks; below an IoU of a half no caption found it.
        best_of_k=dict(type=BestOfK, weight=5.0, margin_iou=0.05, min_iou=0.5),
        # The mask loss through the EMA teacher. It added nothing on the tiny world; it stays because with
        # it the mask loss reaches every caption. A colder softmax over fewer tokens is nearer to the text
        # that will be read, and lets less gradient through.
        teacher_iou=dict(
            type=TeacherIoU, bridge=dict(type=SoftTokenBridge, temperature=0.5, top_k=50), iou_weight=1.0
        ),
        # Only captions from which the teacher finds the mask, so that no false text is learned.
        segment_captions=dict(type=SegmentCaptions, gate_iou=0.5),
        human_expressions=dict(type=HumanExpressions, caption_weight=1.0, iou_weight=1.0),
        # Enough that captions stay language; the tiny world learned as much without it (docs/results.md).
        near_start=dict(type=NearStart, weight=0.05),
    ),
    # Losses of the student's own masks: upstream's terms, weights and number of points.
    segmentation_losses=dict(mask_weight=2.0, dice_weight=0.5, llm_weight=1.0, num_points=12544),
    # When an objective teaches, in shares of the run; what is not named always does.
    periods={},
    segment_with='teacher',
    predict_dtype='bfloat16',
    signal_interval=50,
    # True splits the language model's frozen matrices over the ranks: configs/mask_caption_sft_4b_sharded.py.
    shard_frozen=False,
)
