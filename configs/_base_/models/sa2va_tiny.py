"""The small Sa2VA of the tiny world: the same model with smaller numbers, float32 on a CPU."""

from mmengine.config import read_base

with read_base():
    from .listen_then_compare import *

model.update(max_caption_len=10, num_captions=8, signal_interval=10, predict_dtype=None)
model['segmentation_losses'].update(num_points=0)
model['sa2va'].update(
    base='data/tiny_world/sa2va_tiny',
    base_dtype='float32',
    # Words that the base does not say are learned sooner (docs/results.md, "What teaches").
    train_embeddings=True,
    activation_checkpointing=False,
)
model['sa2va']['lora'].update(r=16, lora_alpha=32, lora_dropout=0.0)
