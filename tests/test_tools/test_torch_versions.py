"""Which versions are allowed, which are tested, and how the table of a test run comes about."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools' / 'test_torch_versions.sh'
#: Stands for a virtual environment's Python: pytest ends as the test wants, anything else succeeds.
PYTHON = """#!/bin/sh
case "$*" in
    *pytest*) echo "a line"; echo "{line}"; exit {status} ;;
    *platform*) echo 3.11.7 ;;
esac
"""


def allowed(package: str) -> Requirement:
    lines = (ROOT / 'requirements.txt').read_text().splitlines()
    found = [Requirement(line.split('#')[0]) for line in lines if re.match(rf'{package}\W', line)]
    assert len(found) == 1
    return found[0]


def in_script(pattern: str) -> list[str]:
    return re.search(pattern, SCRIPT.read_text()).group(1).split()


@pytest.mark.parametrize(
    ('package', 'versions', 'just_outside'),
    [
        ('torch', in_script(r'set -- ([\d. ]+)'), ['2.5.1', '2.14.0']),
        ('transformers', in_script(r'TRANSFORMERS:-([\d. ]+)'), ['4.57.5', '5.25.0']),
    ],
)
def test_the_range_that_is_allowed_ends_where_the_tests_do(package, versions, just_outside):
    specifier = allowed(package).specifier
    assert all(specifier.contains(version) for version in versions)
    assert not any(specifier.contains(version) for version in just_outside)


def test_a_new_environment_gets_transformers_that_xtuner_imports_under():
    setup = (ROOT / 'tools' / 'setup_env.sh').read_text()
    assert re.search(r'TRANSFORMERS:-([\d.]+)', setup).group(1) == '4.57.6'


def run(folder: Path, line: str, status: int, *versions: str) -> subprocess.CompletedProcess:
    for version in versions:
        programs = folder / f'torch-{version}' / 'bin'
        programs.mkdir(parents=True)
        (programs / 'pip').write_text('#!/bin/sh\n')
        (programs / 'python').write_text(PYTHON.format(line=line, status=status))
        for program in programs.iterdir():
            program.chmod(0o755)
    environment = os.environ | {'VENVS': str(folder), 'TRANSFORMERS': '4.57.6'}
    return subprocess.run(
        ['bash', str(SCRIPT), *versions], env=environment, capture_output=True, text=True, timeout=3600
    )


def test_what_passed_is_a_row_for_each_version(tmp_path):
    result = run(tmp_path, '12 passed, 3 skipped, 2 warnings in 4.56s', 0, '2.6.0', '2.8.0')
    assert result.stdout.splitlines()[2:] == [
        '| 2.6.0 | 4.57.6 | 3.11.7 | 12 | 0 | 3 |',
        '| 2.8.0 | 4.57.6 | 3.11.7 | 12 | 0 | 3 |',
    ]
    assert result.returncode == 0


def test_failures_and_errors_are_counted_and_end_in_a_failure(tmp_path):
    result = run(tmp_path, '2 failed, 10 passed, 1 xfailed, 3 errors in 4.56s', 1, '2.8.0')
    assert result.stdout.splitlines()[-1] == '| 2.8.0 | 4.57.6 | 3.11.7 | 10 | 5 | 0 |'
    assert result.returncode == 1


def test_tests_that_could_not_run_end_in_a_failure(tmp_path):
    assert run(tmp_path, 'no tests ran in 0.01s', 5, '2.8.0').returncode == 1
