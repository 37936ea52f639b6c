"""The commands that `pip install -e .` makes."""

import importlib
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from projects.mask_caption_sft import commands
from tests.workplace import ROOT

PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
COMMANDS = PROJECT['scripts']
REQUIREMENTS = [path.relative_to(ROOT) for path in ROOT.glob('requirements*.txt')]
#: Tools that a checkout needs and nobody who uses the project.
KEPT = {
    'benchmark',
    'benchmark_data',
    'benchmark_guard',
    'chaos_run',
    'quickstart_table',
    'run_study',
    'write_tiny_base',
}


def as_command(tool: str) -> str:
    return commands.PREFIX + tool.replace('_', '-')


def test_every_tool_that_people_use_has_a_command_named_after_it():
    tools = {path.stem for path in (ROOT / 'tools').glob('[!_]*.py')}
    assert set(COMMANDS) == {as_command(tool) for tool in tools - KEPT}


@pytest.mark.parametrize('command', COMMANDS)
def test_a_command_shows_the_help_of_its_tool(monkeypatch, capsys, command):
    entry = EntryPoint(command, COMMANDS[command], 'console_scripts').load()
    monkeypatch.setattr(sys, 'argv', [f'/somewhere/bin/{command}', '--help'])
    monkeypatch.setattr(sys, 'path', [path for path in sys.path if Path(path) != commands.TOOLS])
    with pytest.raises(SystemExit) as ended:
        entry()
    assert not ended.value.code
    tool = command.removeprefix(commands.PREFIX).replace('-', '_')
    help_text, described = capsys.readouterr().out, importlib.import_module(tool).__doc__
    assert help_text.startswith('usage: mask-caption-sft-')
    assert described.strip().splitlines()[0] in help_text


def test_a_command_without_its_checkout_is_told_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr(commands, 'TOOLS', tmp_path)
    monkeypatch.setattr(sys, 'argv', [as_command('train')])
    with pytest.raises(
        SystemExit, match=r'holds no train\.py\. Install the checkout itself: pip install -e \.'
    ):
        commands.run_named_tool()


@pytest.mark.slow
def test_the_checkout_installs_and_its_commands_run_anywhere(tmp_path):
    """As `pip install -e .` does it, into a new environment that also sees the packages of this one."""
    checkout, environment, elsewhere = (tmp_path / name for name in ('checkout', 'venv', 'elsewhere'))
    for folder in (checkout, elsewhere):
        folder.mkdir()
    for name in ('pyproject.toml', 'README.md', 'projects', 'tools', *map(str, REQUIREMENTS)):
        (checkout / name).symlink_to(ROOT / name)
    venv.create(environment, symlinks=True)
    python = environment / 'bin' / 'python'
    (packages,) = environment.glob('lib/*/site-packages')
    (packages / 'of_the_tests.pth').write_text(sysconfig.get_path('purelib'))

    def run(*command):
        result = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=1800)
        assert result.returncode == 0, result.stderr
        return result.stdout

    run(python, '-m', 'pip', 'install', '--no-deps', '--no-build-isolation', '-e', checkout)
    output = run(environment / 'bin' / as_command('report'), '--help')
    assert 'Writes one self-contained HTML page about a run.' in output
    (metadata,) = packages.glob('mask_caption_sft-*.dist-info/METADATA')
    needed = re.findall(r'^Requires-Dist: (\S+?)[^\w.-]', metadata.read_text(), re.M)
    assert {'torch', 'mmengine', 'gradio', 'optuna'} <= set(needed)
