"""tools/estimate_cost.py as a user calls it, and what README and docs say that it says."""

import re
import sys
from collections.abc import Callable

import estimate_cost
import pytest

from tests.workplace import ROOT

README = (ROOT / 'README.md').read_text()
COMMAND = re.search(r'^python tools/(estimate_cost\.py configs/mask_caption_sft_4b\.py .*)$', README, re.M)
#: In README's words: the kinds of memory in the tool's table, in GiB.
MEMORY = {
    'frozen weights ([0-9.]+)': ['frozen weights'],
    'trained ones ([0-9.]+)': ['trained weights'],
    "the teacher's own ([0-9.]+)": ["the teacher's own weights"],
    "gradients and DDP's copies ([0-9.]+)": ['gradients', "gradients' copies that DDP sends"],
    "AdamW's moments ([0-9.]+)": ["AdamW's two moments"],
    'up to ([0-9.]+) that a step holds': ['the most that a step holds beside them'],
}


def table(output: str, title: str) -> dict[str, float]:
    """The rows of a printed table by their first cell; what is in brackets is left out."""
    block = next(block for block in output.split('\n\n') if block.startswith(f'| {title}'))
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in block.splitlines()[2:]]
    return {row[0].split(' (')[0]: float(row[-1].removeprefix('about ')) for row in rows}


def printed(argv: list[str], capsys) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', argv)
        patch.chdir(ROOT)
        estimate_cost.main()
    return capsys.readouterr().out


@pytest.fixture(scope='module')
def said() -> Callable:
    """The tool's output for a command line; what has been counted once is not counted again."""
    kept: dict[tuple[str, ...], str] = {}

    def output(capsys, *argv: str) -> str:
        if argv not in kept:
            kept[argv] = printed(['estimate_cost.py', *argv], capsys)
        return kept[argv]

    return output


@pytest.fixture
def of_readme(said, capsys) -> str:
    """For README's own command, without what fits a card, which takes minutes."""
    name, *args = COMMAND.group(1).split()
    del args[args.index('--memory') : args.index('--memory') + 2]
    return said(capsys, *args)


@pytest.mark.slow
def test_readme_has_the_memory_that_the_tool_prints(of_readme):
    found = table(of_readme, 'memory per GPU')
    row = re.search(r'\| memory per GPU \| ([0-9.]+) GiB: (.*) \|', README)
    assert float(row.group(1)) == pytest.approx(found['**together**'], abs=0.05 + 1e-9)
    for words, kinds in MEMORY.items():
        claimed = float(re.search(words, row.group(2)).group(1))
        assert claimed == pytest.approx(sum(found[kind] for kind in kinds), abs=0.06), words
    assert f'memory: {row.group(1)} GiB per GPU' in of_readme


@pytest.mark.slow
def test_readme_has_the_work_and_the_length_that_the_tool_prints(of_readme):
    work = re.search(r'\| FLOPs of an iteration, per GPU \| (\d+) TFLOP \|', README).group(1)
    assert round(table(of_readme, 'FLOPs of an iteration')['**all**']) == int(work)
    pairs, iterations, hours = re.search(
        r'\| an epoch of ([0-9,]+) pairs \| ([0-9,]+) iterations, (\d+) hours at a quarter', README
    ).groups()
    assert f'--epoch-len {pairs.replace(",", "")}' in COMMAND.group(1)
    assert f'iterations: {iterations} of 2 x 8 pairs of views' in of_readme
    assert round(float(re.search(r'hours: ([0-9.]+)', of_readme).group(1))) == int(hours)
    disk = re.search(r'\| disk \| ([0-9.]+) GiB per checkpoint \|', README).group(1)
    assert f'{float(re.search(r"disk: ([0-9.]+) GiB", of_readme).group(1)):.1f}' == disk


@pytest.mark.slow
def test_the_24gb_config_says_what_the_tool_prints(said, capsys):
    path = 'configs/mask_caption_sft_4b_24gb.py'
    output = said(capsys, path)
    total, held = re.search(
        r'Counted, not measured on a card: ([0-9.]+) GiB .*, ([0-9.]+) of them\n', (ROOT / path).read_text()
    ).groups()
    found = table(output, 'memory per GPU')
    step = found['the most that a step holds beside them']
    assert float(total) == pytest.approx(found['**together**'], abs=0.05 + 1e-9)
    assert float(held) == pytest.approx(found['**together**'] - step, abs=0.06)
    assert "gradients' copies that DDP sends" in found
    assert found["gradients' copies that DDP sends"] == 0  # one card
    assert re.search(r'^iterations: unknown \(.*\); --epoch-len says', output, re.M)


@pytest.mark.slow
def test_what_fits_is_said_for_the_memory_of_a_card(workplace_of_a_miniature, said, capsys):
    """On a base of a few thousand weights, where it takes seconds."""
    output = said(capsys, *workplace_of_a_miniature, '--memory', '80')
    fits = table(output, 'largest that fits 80 GiB, 10% left for what is not counted')
    assert list(fits) == ['train_dataloader.batch_size', "ChooseRegions' max_regions", 'model.num_captions']
    assert all(number >= 4 for number in fits.values())


@pytest.fixture
def workplace_of_a_miniature() -> list[str]:
    from tests.miniature import bfloat16_base

    return ['configs/mask_caption_sft_4b.py', '--cfg-options', f'model.sa2va.base={bfloat16_base()}']


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['configs/mask_caption_sft_4c.py'], 'error: config configs/mask_caption_sft_4c.py does not exist. Did'),
        (['configs/sa2va_tiny_base.py'], 'error: BaseTrainer is not the two-stage loop; only that is estimated'),
        (['CONFIG', '--memory', 'lots'], "error: argument --memory: invalid float value: 'lots'"),
        (['CONFIG', '--memory', '0'], 'error: --memory 0 is not a number of GiB above 0'),
        (['CONFIG', '--memory', 'nan'], 'error: --memory nan is not a number of GiB above 0'),
        (['CONFIG', '--epoch-len', '0'], 'error: --epoch-len 0 is less than 1'),
        (['CONFIG', '--gpus', '0'], 'error: --utilisation is a share in (0, 1]'),
    ],
)  # fmt: skip
def test_a_wrong_call_is_named_in_one_line(args, message, monkeypatch, capsys):
    path = 'configs/mask_caption_sft_4b.py'
    monkeypatch.setattr(sys, 'argv', ['estimate_cost.py', *(path if a == 'CONFIG' else a for a in args)])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stopped:
        estimate_cost.main()
    output = capsys.readouterr()
    said = stopped.value.code if isinstance(stopped.value.code, str) else output.err.splitlines()[-1]
    assert message in said
    assert '\n' not in said
    assert not output.out
