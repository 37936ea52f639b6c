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
from pathlib import Path
from typing import Any

import numpy as np
from _config import add_checkpoint, add_config, read_tested_config, take_adapter
from mmengine.config import Config
from tqdm import tqdm

from projects.mask_caption_sft.checkpoints.training_file import allow_checkpoint_globals
from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.datasets.base import RegionDataset
from projects.mask_caption_sft.datasets.mix import build_dataset
from projects.mask_caption_sft.engine.training_runner import SafeRunner
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
    parser.add_argument('--words', default='coco', help="'coco' (default), 'tiny', or a JSON file")
    parser.add_argument('--dataset', default='refcoco_val', help='default %(default)s')
    parser.add_argument('--max-images', type=int, help='only the first so many')
    parser.add_argument('--seed', type=int, default=0, help='of the choice among wrong words')
    parser.add_argument('--out', type=Path, help='JSON file for the table and every word')
    args = parser.parse_args()
    if args.max_images is not None and args.max_images < 1:
        parser.error(f'--max-images {args.max_images} is less than 1.')
    if args.seed < 0:
        parser.error(f'--seed {args.seed} is less than 0.')
    return args


def spoken_dataset(config: Config, name: str) -> RegionDataset:
    """One of the datasets that are tested, with all its expressions.

    Raises:
        ValueError: There is none of that name, or it does not yield every expression.
    """
    declared = (config.get('test_dataloader') or {}).get('dataset', {}).get('datasets', {})
    spoken = {key: entry for key, entry in declared.items() if entry and entry.get('every_expression')}
    if name not in spoken:
        raise ValueError(
            f'{name!r} is no dataset of test_dataloader in {config.filename} that yields every expression '
            f'(every_expression=True). Set --dataset to one of: {", ".join(spoken) or "none"}.'
        )
    return build_dataset(name, {'seed': 0, **spoken[name]})


def load_model(config: Config, checkpoint: str) -> MaskCaptionSFT:
    """The model as tools/test.py evaluates it."""
    config.log_level = 'WARNING'
    allow_checkpoint_globals()
    runner = SafeRunner.from_cfg(config)
    runner.load_or_resume()
    take_adapter(runner, checkpoint)
    return runner.model.eval()


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
    settings = {
        key: value if isinstance(value, int | None) else str(value) for key, value in vars(args).items()
    }
    content = {
        'settings': settings,
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
            words, dataset = read_word_list(args.words), spoken_dataset(config, args.dataset)
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
