"""Trains what a config declares.

    python tools/train.py configs/mask_caption_sft_tiny.py
"""

import _root  # noqa: F401
import argparse

from mmengine.config import Config
from mmengine.runner import Runner

ap=argparse.ArgumentParser(); ap.add_argument('config'); ap.add_argument('--work-dir')
a=ap.parse_args()
cfg=Config.fromfile(a.config); cfg.work_dir=a.work_dir
Runner.from_cfg(cfg).train()
