"""The commands that `pip install -e .` makes."""

import importlib
import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from projects.mask_caption_sft import commands
from tests.workplace import ROOT

PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
COMMANDS = PROJECT['scripts']
#: Tools that a checkout needs and nobody who uses the project.
KEPT = {'benchmark', 'benchmark_data', 'chaos_run', 'quickstart_table', 'run_study', 'write_tiny_base'}


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
    """As `pip install -e .` does it, into a folder of its own and with the packages that are there."""
    checkout, place, elsewhere = tmp_path / 'checkout', tmp_path / 'installed', tmp_path / 'elsewhere'
    checkout.mkdir(), elsewhere.mkdir()
    for path in ROOT.iterdir():
        if path.name in ('pyproject.toml', 'README.md', 'projects', 'tools', 'configs'):
            (checkout / path.name).symlink_to(path)
        elif path.name.startswith('requirements'):
            (checkout / path.name).symlink_to(path)
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation']
    subprocess.run([*pip, '--prefix', place, '-e', checkout], check=True, timeout=1800, capture_output=True)
    (packages,) = place.rglob('site-packages')
    environment = os.environ | {'PYTHONPATH': f'import site; site.addsitedir({str(packages)!r})'}
    # Of a folder that is no part of the environment, .pth files are read only if it is made one.
    (tmp_path / 'sitecustomize.py').write_text(environment['PYTHONPATH'])
    environment['PYTHONPATH'] = str(tmp_path)
    command = [place / 'bin' / as_command('report'), '--help']
    result = subprocess.run(
        command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert result.returncode == 0, result.stderr
    assert 'Writes one self-contained HTML page about a run.' in result.stdout
    (metadata,) = packages.glob('mask_caption_sft-*.dist-info/METADATA')
    needed = [
        line.split(': ', 1)[1]
        for line in metadata.read_text().splitlines()
        if line.startswith('Requires-Dist')
    ]
    assert {Requirement(line).name for line in needed} >= {'torch', 'mmengine', 'gradio', 'optuna'}
