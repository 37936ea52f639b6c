"""Mistakes that people make: each ends with one line that says what to do, and a status other than 0."""

import importlib
import json
import os
import re
import subprocess
import sys

import _root
import pytest
import torch
import train as train_tool
from mmengine.hooks import Hook

from tests.small_run import small_config
from tests.workplace import CONFIG, ROOT

TINY = str(CONFIG)
SA1B = 'data/tiny_world/train/sa1b'
DATA = 'train_dataloader.dataset.datasets'


class FailsLater(Hook):
    """Ends a run in its third iteration."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2:
            raise RuntimeError('in the middle')


@pytest.fixture
def place(workplace, tmp_path, monkeypatch):
    """A folder with the tiny world, and in it what mistakes are made with."""
    (tmp_path / 'data').symlink_to(workplace.folder / 'data')
    (tmp_path / 'file').touch()
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'used').mkdir()
    (tmp_path / 'used' / 'iter_5.pth').touch()
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'config.json').write_text(json.dumps({'model_type': 'llama'}))
    (tmp_path / 'broken.py').write_text('model = dict(type=\n')
    (tmp_path / 'undefined.py').write_text('a = 1\nmodel = dict(type=Unknown)\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def option(*settings: str) -> list[str]:
    return [TINY, '--cfg-options', *settings]


def dry(*settings: str) -> list[str]:
    return [TINY, '--dry-run', *(['--cfg-options', *settings] if settings else [])]


#: Mistakes that ``tools/train.py`` names before it builds anything: arguments, and what is said.
ARGUMENTS = [
    ([TINY.replace('tiny.py', 'tny.py')], r'mask_caption_sft_tny\.py does not exist\. Did you mean \S+_tiny'),
    (['configs'], r'config configs does not exist\. Give the path of a config file'),
    (['empty'], r'config empty is a folder\. Did you mean'),
    (['broken.py'], r"Reading broken\.py failed: SyntaxError: '\(' was never closed .*Correct the config"),
    (['undefined.py'], r"Reading undefined\.py failed: NameError: name 'Unknown' is not defined"),
    (option('lr'), r"--cfg-options 'lr' is not KEY=VALUE\. Write it without spaces"),
    (option('train_cfg.max_iters', '=', '5'), r"'train_cfg\.max_iters' is not KEY=VALUE"),
    (option('=5'), r"'=5' is not KEY=VALUE"),
    (option('custom_hooks.2.datasets=[a,b'), r'Imbalanced brackets .*Close every bracket'),
    (option('lr=1e-3'), r'lr names nothing .* nearest existing key is optim_wrapper\.optimizer\.lr\.'),
    (option('sa1b.max_sample=5'), rf'nearest existing key is {re.escape(DATA)}\.sa1b\.max_samples\.'),
    (option('model.gate=1'), r'nearest existing key is model\.objectives\.segment_captions\.gate_iou\.'),
    (
        option('model.objectives.weighted_captions.wieght=1'),
        r'are model\.objectives\.weighted_captions\.weight, '
        r'model\.objectives\.weighted_captions\.words\.weight\.',
    ),
    (option('xyzzy=1'), r'names nothing in this config\. tools/train\.py CONFIG --print-config prints'),
    (option('tiny_pipeline.0.max_regions=9'), r"would change nothing: 'tiny_pipeline' was copied"),
    (option('custom_hooks.9.momentum=0'), r"custom_hooks is a list of 6; '9' is not one of its positions"),
    (option('train_dataloader.batch_size=two'), r"'two' is text, but a number is needed \(now 6\)"),
    (option('optim_wrapper.optimizer.lr=abc'), r"'abc' is text, but a number is needed \(now 0\.0008\)"),
    (option('train_cfg.max_iters=ten'), r"'ten' is text, but a number is needed \(now 400\)"),
    (option('model.objectives.near_start=5'), r'5 is a number, but a group of settings is needed'),
    (option('optim_wrapper.optimizer.betas=0.9'), r'0\.9 is a number, but a list is needed'),
    (option('model.sa2va.base=5'), r'5 is a number, but text is needed'),
    (option('model.shard_frozen=often'), r"'often' is text, but True or False is needed"),
    (option('train_dataloader.batch_size=0'), r'batch_size=0 is not a whole number of at least 1\. Set it'),
    (option('train_dataloader.batch_size=1.5'), r'batch_size=1\.5 is not a whole number'),
    (option('train_dataloader.num_workers=-1'), r'num_workers=-1 is not a whole number of at least 0'),
    (option('optim_wrapper.optimizer.lr=-1'), r'lr=-1 is not a number of at least 0'),
    (option('train_cfg.max_epochs=0'), r'max_epochs=0 is not a number above 0'),
    (option('train_cfg.max_iters=None'), r'Set either train_cfg\.max_iters or train_cfg\.max_epochs'),
    (option('val_dataloader=None'), r'val_dataloader is None and val_cfg, val_evaluator is not\. Set all'),
    (option('default_hooks.logger.interval=0'), r'logger\.interval=0 is not a whole number of at least 1'),
    (option('model.num_captions=0'), r'model\.num_captions=0 is not a whole number of at least 1'),
    (option('default_hooks.checkpoint.save_best=nonsense'), r'save_best=nonsense is not measured .* Set '),
    (option('model.predict_captions=2'), r'Set \S+save_best=mask_cycle_best_of_2/second_view_iou'),
    (option('param_scheduler.0.end_ratio=2'), r'Shares of the run must satisfy'),
    ([TINY, '--launcher', 'pytorch'], r'not started by torchrun\. Start the run with bash tools/dist'),
    ([TINY, '--work-dir', 'file/run'], r'work dir file/run cannot be written .* Give another --work-dir'),
    ([TINY, '--work-dir', 'used'], r'used already holds iter_5\.pth\. Go on from it with --resume'),
    ([TINY, '--resume', 'nowhere'], r'nowhere .*Checkpoints beside it: none'),
    ([TINY, '--resume', 'empty'], r'empty holds no checkpoint to resume \(iter_.*Is the path right'),
    ([TINY, '--resume', 'data/tiny_world/sa2va_tiny'], r'sa2va_tiny holds no checkpoint to resume'),
    ([TINY, '--data', 'nowhere'], r'--data nowhere does not exist\. Give a folder with images and masks'),
    ([TINY, '--class-names'], r'--class-names changes nothing without --data'),
    ([TINY, '--data', SA1B, '--class-names'], r'--class-names: sa1b has no names of classes\. Leave it out'),
    ([TINY, '--data', SA1B, '--mix-share', '1'], r'--mix-share 1\.0 is not in \[0, 1\)'),
    ([TINY, '--data', SA1B, '--data', SA1B], r'--data .*sa1b is given twice'),
    ([TINY, '--data', SA1B, '--layout', 'sa1b', '--layout', 'coco'], r'there are 1 --data and 2 --layout'),
    ([TINY, '--layout', 'coco'], r'--layout changes nothing without --data'),
    ([TINY, '--data', SA1B, '--val-share', '0'], r'--val-share 0\.0 is not between 0 and 1'),
    ([TINY, '--diff', 'nowhere.py'], r'config nowhere\.py does not exist'),
]  # fmt: skip
#: Mistakes that ``--dry-run`` names when it looks at the parts, or does what the run will do.
DRY = [
    (dry(f'{DATA}.sav.data_root=nowhere'), r"sav\.data_root='nowhere': nowhere is missing .* Set data_root"),
    (dry('model.sa2va.base=nowhere'), r"model\.sa2va\.base='nowhere' is missing; expected there"),
    (dry('model.sa2va.base=other'), r"model\.sa2va\.base='other': other/config\.json has model_type 'llama'"),
    (dry('custom_hooks.0.momentum=0.999'), r'momentum=0\.999 is outside \[0, 0\.5\]\. It is 1 - decay'),
    (dry('model.max_caption_len=5000'), r"max_caption_len=5000 does not fit the model's context of 2048"),
    (dry('model.segment_with=nobody'), r"segment_with='nobody' is not one of 'teacher', 'student'"),
    (dry('train_dataloader.dataset.seed=-1'), r'The mix has seed=-1\. .* set train_dataloader\.dataset'),
    (dry(f'{DATA}.sav.weight=-1'), r"Weights must be positive, got \{'sav': -1\}"),
    (dry(f'{DATA}.sav.pipeline=[]'), r'sav: a sample is a RawSample, not a RegionSample\. .*PackRegions'),
    ([*dry(), '--work-dir', 'file/run'], r'work dir file/run cannot be written .* Give another --work-dir'),
    ([*dry(), '--work-dir', 'used'], r'used already holds iter_5\.pth\. Go on from it with --resume'),
    ([*dry(), '--resume', '--work-dir', 'empty'], r'empty holds no whole checkpoint to resume'),
]  # fmt: skip
OTHER_TOOLS = [
    (
        'browse_dataset',
        [TINY, '--only', 'sva'],
        r'--only sva names no dataset\. Did you mean sav\? There are',
    ),
    (
        'verify_datasets',
        [TINY, '--only', 'refcoc'],
        r'--only refcoc names no dataset\. Did you mean refcoco\?',
    ),
    ('test', [TINY, 'nowhere.pth'], r'nowhere\.pth does not exist'),
    ('report', ['empty'], r'empty holds no \*/vis_data/scalars\.json\. Train first'),
    ('quickstart_table', ['empty'], r'empty holds no \*/vis_data/scalars\.json\. Train first'),
    ('demo', ['--checkpoint', 'nowhere'], r'nowhere does not exist'),
    ('search', [TINY, '--out', 'searched'], r'declares no search_space\. Add search_space = '),
    ('predict', ['--checkpoint', 'nowhere', '--image', 'file', '--text', 'cat'], r'nowhere'),
]

#: Tools whose package is an extra requirement.
EXTRAS = {'demo': 'gradio', 'search': 'optuna'}


def call(monkeypatch, tool: str, args: list[str]) -> str:
    """The message with which a tool exits; its status is then 1."""
    monkeypatch.setattr(sys, 'argv', [f'{tool}.py', *args])
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(tool).main()
    return stopped.value.code


@pytest.mark.parametrize(('args', 'said'), ARGUMENTS)
@pytest.mark.usefixtures('place')
def test_a_mistake_in_the_arguments_ends_a_run_before_it_starts(monkeypatch, args, said):
    monkeypatch.delenv('RANK', raising=False)
    message = call(monkeypatch, 'train', args)
    assert re.search(said, message), message
    assert message.startswith('error: ')
    assert '\n' not in message


@pytest.mark.parametrize(('args', 'said'), DRY)
def test_a_dry_run_names_the_mistake_alone_and_leaves_nothing_behind(place, monkeypatch, capsys, args, said):
    before = sorted(place.rglob('*'))
    assert call(monkeypatch, 'train', args) == 1
    output = capsys.readouterr().out
    (problem,) = re.findall(r'^ +\d+\. (.*)$', output.split('1 problem(s); nothing was trained:')[1], re.M)
    assert re.search(said, problem), problem
    assert sorted(place.rglob('*')) == before


def test_a_mistake_that_shows_when_training_begins_is_one_line_and_its_traceback_is_in_the_log(
    tmp_path, monkeypatch, capsys
):
    """A ``TypeError`` of the optimizer, which is built after the data; here of a config file."""
    config = small_config(tmp_path / 'run', 2)
    config.optim_wrapper.optimizer.betas = 0.9
    with pytest.raises(SystemExit) as stopped:
        train_tool.train(config)
    message = stopped.value.code
    assert re.fullmatch(
        r'error: The first iteration failed: TypeError: .* --dry-run checks every part\.', message
    )
    output = capsys.readouterr()
    assert 'Traceback' not in output.out + output.err
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert 'Traceback (most recent call last)' in log.read_text()


def test_an_error_in_the_middle_of_a_run_keeps_its_traceback(tmp_path):
    config = small_config(tmp_path / 'run', 4, hooks=[dict(type=FailsLater)])
    with pytest.raises(RuntimeError, match='in the middle'):
        train_tool.train(config)


@pytest.mark.parametrize(('tool', 'args', 'said'), OTHER_TOOLS)
@pytest.mark.usefixtures('place')
def test_other_tools_name_their_mistakes_too(monkeypatch, tool, args, said):
    if tool in EXTRAS:
        pytest.importorskip(EXTRAS[tool])
    message = call(monkeypatch, tool, args)
    assert re.search(said, message), message
    assert message.startswith('error: ')
    assert '\n' not in message


@pytest.mark.usefixtures('place')
def test_autocast_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert 'needs a GPU, and there is none. For float32' in call(monkeypatch, 'train', [TINY, '--amp'])


SCRIPTS = [
    ('dist_train.sh', [], r"CONFIG has to be a file .* given: '' ''\. Usage: bash tools/dist_train"),
    ('dist_train.sh', [TINY, '0'], r"GPUS a number of at least 1, given: '\S+' '0'"),
    ('dist_train.sh', [TINY, 'all'], r"GPUS a number of at least 1, given: '\S+' 'all'"),
    ('dist_train.sh', ['nowhere.py', '2'], r'CONFIG has to be a file'),
    ('dist_test.sh', [TINY, 'nowhere.pth', '2'], r"given: '\S+' 'nowhere\.pth' '2'\. Usage"),
    ('slurm_train.sh', ['gpu'], r'Usage: GPUS=16 bash tools/slurm_train\.sh PARTITION JOB_NAME CONFIG'),
]  # fmt: skip


@pytest.mark.parametrize(('script', 'args', 'said'), SCRIPTS)
def test_a_script_says_how_it_is_called(script, args, said, tmp_path):
    command = ['bash', str(ROOT / 'tools' / script), *args]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert result.returncode == 2
    assert re.search(said, result.stderr), result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_python_without_the_environment_is_told_how_to_make_it(tmp_path):
    """With -S it sees its own library and nothing that was installed."""
    command = [sys.executable, '-S', str(ROOT / 'tools' / 'train.py'), TINY]
    environment = {'PATH': os.environ['PATH']}
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=600
    )
    assert result.returncode == 1
    assert re.search(r'lacks torch, .*Run `bash tools/setup_env\.sh && source', result.stderr), result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(_root.sys, 'version_info', (3, 10, 1))
    with pytest.raises(SystemExit, match=r'error: \S+ is Python .* in a Python of 3\.11 or later'):
        _root.check_environment()
