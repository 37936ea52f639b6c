"""A page to look through a model: draw a mask and read its caption, write a text and see its mask.

    pip install -r requirements-demo.txt
    python tools/demo.py --checkpoint work_dirs/quickstart/iter_400.pth      # student, teacher and base
    python tools/demo.py --checkpoint pretrained/Sa2VA-4B --port 7861

CHECKPOINT is a checkpoint of a run, an adapter, or a directory in the released layout. The page is seen
on this machine only, unless --host says otherwise; its examples are of the tiny world.
"""

import _root  # noqa: F401
import argparse
import importlib.util
import os
import sys
from pathlib import Path

import torch

from projects.mask_caption_sft.demo.comparison import Comparison, load_models
from projects.mask_caption_sft.demo.examples import tiny_examples


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--base', help='the base of a checkpoint or adapter, if it has moved')
    parser.add_argument('--only', nargs='+', default=[], help='student, teacher, base, model; default: all')
    parser.add_argument('--host', default='127.0.0.1', help='address that the page is served at')
    parser.add_argument('--port', type=int, default=7860)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if importlib.util.find_spec('gradio') is None:
        sys.exit('error: the page needs gradio. Run `pip install -r requirements-demo.txt`.')
    try:
        models = load_models(args.checkpoint, args.base, args.only, args.device)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    os.environ.setdefault('GRADIO_ANALYTICS_ENABLED', 'False')  # before gradio is imported
    from projects.mask_caption_sft.demo.page import THEME, build_page

    page = build_page(Comparison(models), tiny_examples(), f'Sa2VA: {Path(args.checkpoint).name}')
    try:
        page.launch(server_name=args.host, server_port=args.port, theme=THEME)
    except OSError as error:
        sys.exit(f'error: {error}. Is another page at port {args.port}? Give another --port.')


if __name__ == '__main__':
    main()
