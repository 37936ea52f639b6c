"""Does a segmenter hear every word? What it loses, by kind of word, when one word of an expression is wrong.

    python tools/probe_listener.py configs/mask_caption_sft_4b.py pretrained/Sa2VA-4B --out probe.json
    python tools/probe_listener.py configs/mask_caption_sft_tiny.py work_dirs/run/iter_400.pth --words tiny

Every listed word of every expression is *replaced* by a wrong one of its kind, and *dropped*. Printed, as
Markdown, are means of the IoU with the region that the expression names, at the image's own size; a
segmenter that does not hear a kind of words loses nothing when they are wrong.

- A wrong word *decides* where the expression then fits another region of the image: all its words are words
  that people have used for that one ("left" is not used in "top left"). There the mask should move to the
  other region. Such a word is preferred, and a word with which the expression still fits its own
  region is never taken; among equals --seed chooses. What fits is known from people's expressions
  only: a word that nobody has used for a region may be true of it.
- `lost` is over all words; `lost where it decides`, `other region, before` (from the true expression) and
  `after` (with the wrong word) are over those that decide; `blank` is without any words.
- The mask is taken after the given answer "Sure, [SEG].", whatever the model would have written
  (model.predict_answers='given'); precision is model.predict_dtype, as in validation.

--words is `coco` (people's English, projects/mask_caption_sft/evaluation/word_probe/coco_words.json), `tiny`
(the tiny world's words), or a JSON file of the same form:

    {"colour": ["red", "blue", ["grey", "gray"]], ...}

A word is found by its letters, not by its sense: "orange" is a colour in "the orange on the plate" too.

CHECKPOINT and --teacher are those of tools/test.py; the dataset is one of its datasets (test_dataloader), one
that yields every expression. The table is on stdout, everything else on stderr.
"""

import _root  # noqa: F401
import argparse
import json
import sys
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from _config import add_checkpoint, add_config, read_tested_config
from _probed import add_probe, check_probe, load_model, settings_data, dataset_to_probe
from tqdm import tqdm

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.datasets.base import RegionDataset
from projects.mask_caption_sft.evaluation.word_probe.probe import ImageProbe, probe_batch
from projects.mask_caption_sft.evaluation.word_probe.report import (
    as_data,
    mean,
    shown,
    summarize,
    words_table,
)
from projects.mask_caption_sft.evaluation.word_probe.word_list import WordList, read_word_list
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.structures import BrokenRecord


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    add_checkpoint(parser)
    add_probe(parser, dataset='refcoco_val')
    args = parser.parse_args()
    check_probe(parser, args)
    return args


def probe(model: MaskCaptionSFT, dataset: RegionDataset, words: WordList, num: int, seed: int) -> ImageProbe:
    """All words of the first ``num`` images; images that cannot be read are named and left out."""
    found = ImageProbe()
    for index in tqdm(range(num), unit='image'):
        sample = dataset[index]
        if isinstance(sample, BrokenRecord):
            print(f'left out: {sample.sample_id}: {sample.reason}')
            continue
        batch = collate_regions([sample])['batch'].to(model.predictor.device)
        with model.predict_precision():
            found.add(probe_batch(model.predictor, batch, words, np.random.default_rng((seed, index))))
    return found


def heading(args: argparse.Namespace, found: ImageProbe, num: int) -> str:
    """What was measured."""
    side = 'teacher' if args.teacher else 'student'
    return (
        f'{side} of {args.checkpoint}, answers given; {num} images of {args.dataset}, '
        f'{len(found.expression_ious)} expressions, mIoU {shown(mean(found.expression_ious))}; '
        f'words {args.words}, seed {args.seed}; words without a wrong one, left out: {found.num_unreplaced}'
    )


def as_json(args: argparse.Namespace, found: ImageProbe, num: int, rows: dict[str, Any]) -> str:
    """Settings, the table's figures, and every word."""
    content = {
        'settings': settings_data(args),
        'num_images': num,
        'num_expressions': len(found.expression_ious),
        'mIoU': mean(found.expression_ious),
        'num_unreplaced': found.num_unreplaced,
        'kinds': rows,
        'words': [as_data(word) for word in found.words],
    }
    return json.dumps(content, indent=1) + '\n'


def main() -> None:
    args = parse_args()
    with redirect_stdout(sys.stderr):  # where MMEngine's logger finds it
        config = read_tested_config(args)
        try:
            words = read_word_list(args.words)
            dataset = dataset_to_probe(config, args.dataset, every_expression=True)
            model = load_model(config, args.checkpoint)
        except (OSError, ValueError) as error:
            sys.exit(f'error: {error}')
        num = min(len(dataset), args.max_images or len(dataset))
        found = probe(model, dataset, words, num, args.seed)
    rows = summarize(found, words)
    print(f'{heading(args, found, num)}\n\n{words_table(rows)}')
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(as_json(args, found, num, rows))


if __name__ == '__main__':
    main()
