"""The Dockerfile, which cannot be built where the tests run: what it copies and calls exists."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workplace import ROOT

KNOWN = {'FROM', 'RUN', 'WORKDIR', 'COPY', 'ENV', 'CMD'}
IGNORED = (ROOT / '.dockerignore').read_text().split()
#: Stands for pip: fails where a file of requirements is missing, and writes down what it is asked.
PIP = """#!/usr/bin/env bash
echo "$*" >> "$ASKED"
previous=
for word in "$@"; do
    case "$previous" in -r|--requirement) [ -f "$word" ] || { echo "no $word" >&2; exit 1; } ;; esac
    previous=$word
done
"""


def instructions() -> list[tuple[str, str]]:
    """Name and arguments, lines that go on joined."""
    text = re.sub(r'^#.*\n', '', (ROOT / 'Dockerfile').read_text(), flags=re.M).replace('\\\n', ' ')
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, rest) for name, rest in lines]


def copied(before: str) -> list[str]:
    """Sources of COPY up to the RUN that holds some text."""
    sources = []
    for name, rest in instructions():
        if name == 'RUN' and before in rest:
            return sources
        if name == 'COPY':
            sources += rest.split()[:-1]
    raise AssertionError(before)


def test_it_begins_with_a_python_that_the_project_takes():
    (base, *others) = instructions()
    assert base == ('FROM', 'python:3.11-slim')
    assert {name for name, _ in others} <= KNOWN


def test_what_is_copied_exists_and_is_not_ignored():
    for source in copied('--editable'):
        assert (ROOT / source).exists(), source
        assert not any(fnmatch.fnmatch(source, pattern) for pattern in IGNORED), source


def test_what_is_made_by_runs_and_by_git_stays_outside():
    made = {line.strip('/') for line in (ROOT / '.gitignore').read_text().split() if not line.startswith('.')}
    left_out = {pattern.removeprefix('**/') for pattern in IGNORED}
    assert left_out >= {name for name in made if not name.endswith('cache')} | {'.git', '.venv'}


@pytest.mark.parametrize('part', ['setup_env.sh', '--editable'])
def test_a_step_runs_on_what_has_been_copied_by_then(tmp_path, part):
    """With a stand-in for pip; Python is ours."""
    place, environment = tmp_path / 'workspace', tmp_path / 'venv'
    (environment / 'bin').mkdir(parents=True)
    for source in copied(part):
        if source == '.':
            for name in ('pyproject.toml', 'README.md', 'projects'):
                (place / name).symlink_to(ROOT / name)
            continue
        (place / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, place / source)
    (environment / 'bin' / 'pip').write_text(PIP)
    (environment / 'bin' / 'pip').chmod(0o755)
    (environment / 'bin' / 'python').symlink_to(sys.executable)
    (step,) = [rest for name, rest in instructions() if name == 'RUN' and part in rest]
    asked = tmp_path / 'asked'
    variables = dict(
        os.environ, VENV=str(environment), ASKED=str(asked), PYTHON=sys.executable,
        PATH=f'{environment / "bin"}{os.pathsep}{os.environ["PATH"]}',
    )  # fmt: skip
    subprocess.run(
        ['bash', '-ec', step.replace('/opt/venv', str(environment))],
        cwd=place, env=variables, check=True, timeout=600, capture_output=True,
    )  # fmt: skip
    said = asked.read_text()
    if part == '--editable':
        assert said.strip() == 'install --no-deps --editable .'
        assert (place / 'pyproject.toml').is_file()
    else:
        assert '-r requirements.txt' in said
        assert 'requirements-demo.txt' in said


def test_the_environment_it_names_is_the_one_that_is_made():
    variables = dict(rest.split('=', 1) for name, rest in instructions() if name == 'ENV')
    assert variables['PATH'].startswith(f'{variables["VENV"]}/bin:')
    assert json.loads(instructions()[-1][1]) == ['bash']
    assert Path(variables['VENV']).is_absolute()
