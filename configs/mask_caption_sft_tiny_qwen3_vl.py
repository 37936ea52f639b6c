"""The quickstart's loop from the tiny world's other base, on Qwen3-VL.

python tools/train.py configs/mask_caption_sft_tiny_qwen3_vl.py
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['sa2va'].update(base='data/tiny_world/sa2va_tiny_qwen3_vl')
