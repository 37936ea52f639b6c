"""A bar where a person looks, and nothing where the output goes to a file."""

import io

from projects.mask_caption_sft.hooks.progress_bar_hook import ProgressBarHook
from tests.small_run import small_run


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_how_far_training_is(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.stderr', shown := Terminal())
    runner, _ = small_run(tmp_path / 'run', 3, hooks=[dict(type=ProgressBarHook)])
    assert 'train:   0%' in shown.getvalue()
    assert '3/3' in shown.getvalue()
    names = [type(handler).__name__ for handler in runner.logger.handlers]
    assert '_TqdmLoggingHandler' not in names  # the log is printed as before


def test_a_resumed_run_begins_where_it_goes_on(run_of_two, monkeypatch):
    monkeypatch.setattr('sys.stderr', shown := Terminal())
    small_run(run_of_two, 4, resume=True, hooks=[dict(type=ProgressBarHook)])
    assert '| 2/4' in shown.getvalue().replace('\r', '\n').splitlines()[1]


def test_a_file_gets_no_bar(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.stderr', shown := io.StringIO())
    small_run(tmp_path / 'run', 2, hooks=[dict(type=ProgressBarHook)])
    assert shown.getvalue() == ''
