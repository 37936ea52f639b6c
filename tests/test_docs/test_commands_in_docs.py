"""Every command in README, CONTRIBUTING and docs is run, or its arguments are read by its own tool."""

import argparse
import ast
import importlib
import re
import shutil
import sys
from pathlib import Path

import pytest
from _config import load_file
from mmengine.config import DictAction

from projects.mask_caption_sft.engine.cfg_options import apply_cfg_options
from tests.doc_blocks import Block, Command, blocks, commands
from tests.workplace import CONFIG, ROOT

#: Files whose commands are all of one kind; the others say it before each block.
WHY_NOT_RUN = {
    'CONTRIBUTING.md': 'this suite itself',
    'docs/datasets.md': 'needs the datasets; tests/test_tools/test_data_tools.py runs the tools',
    'docs/reliability.md': 'minutes of measuring; tests/test_tools/test_chaos_run.py has a short form',
    'docs/results.md': 'hours of training; what was measured with it stands beside it',
}
#: Commands that are no tools of this repository, by their first words.
FOREIGN = (
    'hf download',
    'git clone',
    'cd',
    'source .venv/bin/activate',
    '.venv/bin/pre-commit install',
    'docker build',
    'docker run',
)
#: Words that stand for something of the reader's.
STANDS_FOR = {'CONFIG': str(CONFIG), 'CHECKPOINT': 'work_dirs/run/iter_1.pth'}
#: Arguments that a script takes before those of its tool.
SCRIPTS = {
    'dist_train.sh': ('train', ['config', 'GPUS']),
    'dist_test.sh': ('test', ['config', 'checkpoint', 'GPUS']),
    'slurm_train.sh': ('train', ['PARTITION', 'NAME', 'config']),
    'quickstart.sh': ('train', []),
}


class ParsedError(Exception):
    """Ends a tool when it has read its arguments."""


def why_not_run(block: Block) -> str:
    said = block.mark.removeprefix('parsed: ')
    return '' if said == block.mark else said or WHY_NOT_RUN.get(block.path, '')


def is_run(block: Block) -> bool:
    return not block.mark and block.path not in WHY_NOT_RUN


BLOCKS = blocks('bash')
RUN = [block for block in BLOCKS if is_run(block)]


@pytest.fixture
def parse(monkeypatch):
    """Gives what ``tools/TOOL.py ARGS`` reads from its arguments; fails where it refuses them."""
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, *args, **kwargs):
        raise ParsedError(original(self, *args, **kwargs))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
    monkeypatch.chdir(ROOT)

    def parsed(tool: str, args: list[str]) -> argparse.Namespace:
        monkeypatch.setattr(sys, 'argv', [f'{tool}.py', *(STANDS_FOR.get(arg, arg) for arg in args)])
        with pytest.raises(ParsedError) as found:
            importlib.import_module(tool).main()
        return found.value.args[0]

    return parsed


def check(command: Command, parse) -> None:
    """Raise where a command could not work as it stands."""
    words = command.words
    if words[:2] == ['python', '-']:
        check_python(command.fed)
    elif words[0] == 'python' and words[1] == '-m':
        check_module(words[2:])
    elif words[0] == 'python':
        check_tool(Path(words[1]), words[2:], parse)
    elif words[0] == 'bash':
        check_script(Path(words[1]), words[2:], parse)
    elif words[:2] == ['pip', 'install']:
        check_pip(words[2:])
    else:
        assert ' '.join(words).startswith(FOREIGN), words


def check_tool(path: Path, args: list[str], parse) -> None:
    assert path.parent == Path('tools')
    assert (ROOT / path).is_file(), path
    check_arguments(parse(path.stem, args))


def check_script(path: Path, args: list[str], parse) -> None:
    assert (ROOT / path).is_file(), path
    if path.name in SCRIPTS:
        tool, own = SCRIPTS[path.name]
        given = dict(zip(own, args))
        assert len(given) == len(own), f'{path} needs {own}'
        passed_on = [given[name] for name in own if name.islower()]
        if tool == 'train' and 'config' not in own:
            passed_on = [str(CONFIG)]
        check_arguments(parse(tool, [*passed_on, *args[len(own) :]]))


def check_arguments(args: argparse.Namespace) -> None:
    """Configs have to be there, and to hold what is overridden."""
    named = [getattr(args, name, None) for name in ('config', 'diff')]
    configs = [load_file(path) for path in [*filter(None, named), *(getattr(args, 'configs', None) or [])]]
    options = getattr(args, 'cfg_options', None) or {}
    if isinstance(options, list):  # tools/run_study.py passes them on
        options = dict(option.split('=', 1) for option in options)
        options = {key: DictAction._parse_iterable(value) for key, value in options.items()}
    for config in configs[:1]:
        apply_cfg_options(config, options)
    dataset = getattr(args, 'dataset', None) or getattr(args, 'name', None)
    if configs and dataset:
        loaders = (configs[0].train_dataloader, configs[0].val_dataloader)
        assert any(dataset in loader.dataset.datasets for loader in loaders), dataset


def check_module(words: list[str]) -> None:
    if words[0] == 'pytest':
        tests = [word.split('::')[0] for word in words if word.startswith('tests/')]
        assert tests
        assert all((ROOT / path).exists() for path in tests), tests
    else:
        assert importlib.util.find_spec(words[0]) is not None, words


def check_pip(args: list[str]) -> None:
    assert args in (['-e', '.'], ['wandb']) or (args[0] == '-r' and (ROOT / args[1]).is_file()), args


def check_python(code: str) -> None:
    """It is Python, and what it imports is there."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize('block', BLOCKS, ids=str)
def test_a_block_that_is_not_run_says_why_and_its_arguments_are_read(block, parse):
    found = list(commands(block.text))
    assert found
    for command in found:
        check(command, parse)
    if not is_run(block):
        why = why_not_run(block) or WHY_NOT_RUN.get(block.path, '')
        assert why, f'{block}: the mark is "parsed: reason"'
        for path in re.findall(r'tests/[\w/.]+\w', why):
            assert (ROOT / path).exists(), path


@pytest.mark.slow
@pytest.mark.parametrize('block', RUN, ids=str)
def test_a_block_without_a_mark_runs_after_the_quickstart(block, trained, tmp_path):
    """In a folder with a smaller tiny world and a run of four iterations in the quickstart's place."""
    for name in ('configs', 'tools'):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / 'data').symlink_to(trained.folder / 'data')
    quickstart = shutil.copytree(trained.folder / 'run', tmp_path / 'work_dirs' / 'quickstart')
    shutil.copy(quickstart / 'iter_4.pth', quickstart / 'iter_400.pth')
    place = type(trained)(tmp_path)
    for command in commands(block.text):
        assert command.words[0] == 'python', f'{block}: mark it, or teach this test to run {command.words}'
        place.call(sys.executable, str(ROOT / command.words[1]), *command.words[2:])


def test_the_tests_have_something_to_look_at():
    assert len(BLOCKS) >= 30
    assert len(RUN) >= 6


WRONG = {
    'an unknown option': 'python tools/train.py configs/mask_caption_sft_4b.py --dryrun',
    'a config that is gone': 'python tools/train.py configs/mask_caption_sft_5b.py',
    'an override of nothing': 'python tools/train.py configs/mask_caption_sft_4b.py --cfg-options model.k=4',
    'a script that is gone': 'bash tools/train.sh configs/mask_caption_sft_4b.py 8',
    'arguments that a script lacks': 'bash tools/dist_train.sh configs/mask_caption_sft_4b.py',
    'an option that its tool lacks': 'bash tools/dist_train.sh configs/mask_caption_sft_4b.py 8 --x',
    'a file of requirements that is gone': 'pip install -r requirements-page.txt',
    'a dataset that the config lacks': 'python tools/pack_dataset.py configs/mask_caption_sft_4b.py coco out',
    'a command that nobody knows': 'make all',
    'a test that is gone': 'python -m pytest tests/test_nothing.py',
}  # fmt: skip


@pytest.mark.parametrize('line', WRONG.values(), ids=WRONG)
@pytest.mark.filterwarnings('ignore')
def test_a_wrong_command_is_found(line, parse):
    (command,) = commands(line)
    with pytest.raises((AssertionError, SystemExit, ValueError, pytest.fail.Exception)):
        check(command, parse)
