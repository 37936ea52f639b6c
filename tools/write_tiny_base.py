"""Writes what a config of a tiny base has trained as a released checkpoint, in float16.

python tools/write_tiny_base.py configs/sa2va_tiny_base.py work_dirs/sa2va_tiny_base/iter_6200.pth OUT
"""

import _root  # noqa: F401
import argparse
from pathlib import Path

import torch
from mmengine.config import Config

from projects.mask_caption_sft.checkpoints.training_file import allow_checkpoint_globals
from projects.mask_caption_sft.ops.build import build
from projects.mask_caption_sft.tiny_world.base_model import write_base


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    allow_checkpoint_globals()
    state = torch.load(args.checkpoint, map_location='cpu', weights_only=True)['state_dict']
    model = build(Config.fromfile(args.config).model.sa2va)
    prefix = 'student.'  # beside it are the heads and codes that only training needs
    model.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    write_base(model, args.out, torch.float16)
    print(f'Wrote {args.out}.')


if __name__ == '__main__':
    main()
