"""tools/estimate_cost.py as a user calls it, and what the documents say that it says."""

import re
import sys

import estimate_cost
import pytest

from projects.mask_caption_sft.estimating.estimate import GIB, Cost, Estimate
from projects.mask_caption_sft.estimating.report import TERA
from projects.mask_caption_sft.estimating.step_count import BACKWARD
from tests.workplace import ROOT

TRAINING = (ROOT / 'docs' / 'training.md').read_text()
PERFORMANCE = (ROOT / 'docs' / 'performance.md').read_text()
COMMAND = re.search(r'^python tools/(estimate_cost\.py configs/mask_caption_sft_4b\.py .*)$', TRAINING, re.M)
#: In the words of docs/training.md: the kinds of memory in the tool's table, in GiB.
MEMORY = {
    'frozen weights ([0-9.]+)': ['frozen weights'],
    'trained ones ([0-9.]+)': ['trained weights'],
    "the teacher's own ([0-9.]+)": ["the teacher's own weights"],
    "gradients and DDP's copies ([0-9.]+)": ['gradients', "gradients' copies that DDP sends"],
    "AdamW's moments ([0-9.]+)": ["AdamW's two moments"],
    'up to ([0-9.]+) that a step holds': ['the most that a step holds beside them'],
}
#: For 80 GiB, of which a tenth is left: what the search is asked, its answers, and how they are printed.
ASKED = {('batch_size', 72.0): 10, ('num_regions', 72.0): 8, ('num_captions', 72.0): 99}
FITS = {
    'train_dataloader.batch_size': 10.0,
    "ChooseRegions' max_regions": 8.0,
    'model.num_captions': 99.0,
    'model.sa2va.activation_checkpointing, least': 0.27,
}


def table(output: str, title: str) -> dict[str, float]:
    """The rows of a printed table by their first cell; what is in brackets is left out."""
    block = next(block for block in output.split('\n\n') if block.startswith(f'| {title}'))
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in block.splitlines()[2:]]
    return {row[0].split(' (')[0]: float(row[-1].removeprefix('about ').split(' ')[0]) for row in rows}


def run(capsys, *argv: str) -> tuple[str, Estimate]:
    """What the tool prints for a command line, and the estimate that it has made.

    The largest settings are given: to count them takes minutes.
    """
    made: list[Estimate] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['estimate_cost.py', *argv])
        patch.setattr(Estimate, 'largest', lambda self, setting, limit: ASKED[setting, limit / GIB])
        patch.setattr(Estimate, 'fewest_recomputed', lambda self, limit: {72.0: 10}[limit / GIB])
        patch.setattr(estimate_cost, 'Estimate', lambda *args: made.append(Estimate(*args)) or made[-1])
        patch.chdir(ROOT)
        estimate_cost.main()
    return capsys.readouterr().out, made[0]


@pytest.fixture(scope='module')
def kept() -> dict[str, tuple[str, Estimate]]:
    """What has been counted, which takes half a minute."""
    return {}


@pytest.fixture
def documented_run(kept, capsys) -> tuple[str, Estimate]:
    """Of the command in docs/training.md."""
    if 'documented' not in kept:
        kept['documented'] = run(capsys, *COMMAND.group(1).split()[1:])
    return kept['documented']


@pytest.fixture
def as_documented(documented_run) -> str:
    return documented_run[0]


@pytest.mark.slow
def test_the_docs_have_the_memory_that_the_tool_prints(as_documented):
    found = table(as_documented, 'memory per GPU')
    row = re.search(r'\| memory per GPU \| ([0-9.]+) GiB: (.*) \|', TRAINING)
    assert float(row.group(1)) == pytest.approx(found['**together**'], abs=0.05 + 1e-9)
    for words, kinds in MEMORY.items():
        claimed = float(re.search(words, row.group(2)).group(1))
        assert claimed == pytest.approx(sum(found[kind] for kind in kinds), abs=0.06), words
    assert f'memory: {row.group(1)} GiB per GPU' in as_documented


@pytest.mark.slow
def test_the_docs_have_the_work_and_the_length_that_the_tool_prints(as_documented):
    work = re.search(r'\| FLOPs of an iteration, per GPU \| (\d+) TFLOP \|', TRAINING).group(1)
    assert round(table(as_documented, 'FLOPs of an iteration')['**all**']) == int(work)
    pairs, iterations, hours = re.search(
        r'\| an epoch of ([0-9,]+) pairs \| ([0-9,]+) iterations, (\d+) hours at a quarter', TRAINING
    ).groups()
    assert f'--epoch-len {pairs.replace(",", "")}' in COMMAND.group(1)
    assert f'iterations: {iterations} of 2 x 8 pairs of views' in as_documented
    assert round(float(re.search(r'hours: ([0-9.]+)', as_documented).group(1))) == int(hours)
    disk = re.search(r'\| disk \| ([0-9.]+) GiB per checkpoint \|', TRAINING).group(1)
    assert f'{float(re.search(r"disk: ([0-9.]+) GiB", as_documented).group(1)):.1f}' == disk


@pytest.mark.slow
def test_the_24gb_config_says_what_the_tool_prints(capsys):
    path = 'configs/mask_caption_sft_4b_24gb.py'
    output, _ = run(capsys, path)
    total, held = re.search(
        r'Counted, not measured on a card: ([0-9.]+) GiB [^,]*, ([0-9.]+) of them\n',
        (ROOT / path).read_text(),
    ).groups()
    found = table(output, 'memory per GPU')
    step = found['the most that a step holds beside them']
    assert float(total) == pytest.approx(found['**together**'], abs=0.05 + 1e-9)
    assert float(held) == pytest.approx(found['**together**'] - step, abs=0.06)
    assert found["gradients' copies that DDP sends"] == 0  # one card
    assert re.search(r'^iterations: unknown \(.*\); --epoch-len says', output, re.M)


@pytest.mark.slow
def test_what_fits_is_said_for_the_memory_of_the_card(as_documented):
    """What is asked for is right; test_estimating has the search."""
    assert '--memory 80' in COMMAND.group(1)
    assert table(as_documented, 'largest that fits 80 GiB, 10% left for what is not counted') == FITS


# ---------------------------------------------------------------- docs/performance.md


def in_f(cost: Cost) -> dict[str, float]:
    """The parts of docs/performance.md's table in F, from the estimate's parts."""
    encoders = cost.flops['student.look']
    groups = {
        'write K captions': ['best_of_k / student.describe'],
        'the teacher reads image 2 and segments K captions': ['best_of_k / teacher.segment'],
        "the student's pass, forward": ['student.run'],
        "the teacher's IoU, forward": ['teacher_iou / teacher.segment'],
        'the model before training': ['near_start / student.score_at_start'],
    }
    unit = float(
        re.search(r'A forward pass of the describe prompts is ([0-9.]+) TFLOP', PERFORMANCE).group(1)
    )
    found = {row: sum(cost.flops[part] for part in parts) for row, parts in groups.items()}
    found['all backward passes'] = cost.flops[BACKWARD]
    found['**language model, decoder, output matrix**'] = sum(found.values())
    found["ViT and SAM 2's encoder, once"] = encoders
    return {row: flops / (unit * TERA) for row, flops in found.items()}


@pytest.mark.slow
def test_the_docs_have_the_parts_of_a_4b_step(documented_run):
    """Of two images, a region each, all described, every layer run again: the table of the 4B's shape, within
    its rounding; and the goal, 1.05 times the 9.5 F that such a step needs if nothing shared runs twice."""
    cost = documented_run[1].cost(num_regions=1, expression_ratio=0.0, num_recomputed=36)
    section = PERFORMANCE.split("## The 4B's shape, counted")[1].split('\n## ')[0]
    for row, found in in_f(cost).items():
        claimed = re.search(rf'^\| {re.escape(row)}[^|]*\| \**([0-9.]+)\** \|', section, re.M).group(1)
        assert float(claimed) == pytest.approx(found, abs=0.05 if row.startswith('**') else 0.015), row
    assert in_f(cost)['**language model, decoder, output matrix**'] <= 1.05 * 9.5


@pytest.mark.slow
def test_the_docs_have_the_cost_of_one_region(documented_run):
    cost = documented_run[1].cost(num_regions=1, expression_ratio=0.0)
    section = PERFORMANCE.split("## The 4B's shape, counted")[1].split('\n## ')[0]
    tflop, gib = re.search(r'K = 4, T = 32 \| (\d+) \| ([0-9.]+) \|', section).groups()
    assert round(cost.total_flops / TERA) == int(tflop)
    assert cost.total_bytes / GIB == pytest.approx(float(gib), abs=0.05 + 1e-9)


@pytest.mark.slow
def test_the_docs_have_what_it_takes_to_keep_half_of_the_layers(documented_run):
    """The config's row of the table; the others are counted in the same way."""
    setting, gib, tflop = re.search(
        r'\| 18, the config \| ([0-9.]+) \| ([0-9.]+) \| (\d+) \|', PERFORMANCE
    ).groups()
    _, estimate = documented_run
    assert float(setting) == estimate.config.model.sa2va.activation_checkpointing
    cost = estimate.cost()
    assert float(gib) == pytest.approx(cost.total_bytes / GIB, abs=0.05 + 1e-9)
    assert round(cost.total_flops / TERA) == int(tflop)


@pytest.mark.slow
def test_the_docs_have_the_cost_of_four_regions(documented_run):
    estimate = documented_run[1]
    count = estimate._count(estimate.workload, speaks=False)  # counted already, for that mix
    flops = count.flops.total() + count.signal_flops / estimate.model.signal_interval
    tflop, gib = re.search(r'\| 4 regions per image \| (\d+) \| ([0-9.]+) \|', PERFORMANCE).groups()
    assert round(flops / TERA) == int(tflop)
    total = sum(estimate.weights.values()) + count.peak_bytes
    assert total / GIB == pytest.approx(float(gib), abs=0.05 + 1e-9)


# ---------------------------------------------------------------- wrong calls


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['configs/mask_caption_sft_4c.py'], 'error: config configs/mask_caption_sft_4c.py does not exist'),
        (['configs/sa2va_tiny_base.py'], 'error: Sa2VABaseTraining is not the two-stage loop'),
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
