"""Sa2VA-4B (InternVL2.5-4B + SAM 2 hiera-large): LoRA, what is trained, loss weights."""

from projects.mask_caption_sft.loop.bridges import SelectionBridge, SoftTokenBridge
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT

model = dict(
    type=MaskCaptionSFT,
    sa2va=dict(
        # Tile, grid, grounding and mask sizes and the prompt template follow from its config.json.
        base='pretrained/Sa2VA-4B',
        lora=dict(r=128, lora_alpha=256, lora_dropout=0.05),
        train_embeddings=False,
        activation_checkpointing=True,
    ),
    # Selection is what teaches words that human expressions do not hold. Soft tokens added nothing on the
    # tiny world; they stay because with them the mask loss reaches every caption (docs/results.md).
    bridges=[
        dict(type=SoftTokenBridge, temperature=0.5, top_k=50),
        dict(type=SelectionBridge, num_captions=4),
    ],
    loss_weights=dict(
        loss_mask=2.0,
        loss_dice=0.5,
        loss_iou=1.0,
        loss_caption=1.0,
        loss_llm=1.0,
        loss_best=1.0,
        loss_kl=0.05,
    ),
    max_caption_len=32,
    gate_iou=0.5,
    num_points=12544,
    segment_with='teacher',
    predict_dtype='bfloat16',
    signal_interval=50,
)
