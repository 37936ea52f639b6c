"""The blocks of code in the documentation, and the commands in them."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.workplace import ROOT

#: A comment just before a block says how it is tested: ``<!-- parsed: why it is not run -->``, or
#: ``<!-- run by tests/... -->``. A block without one is run as it stands.
_BLOCK = re.compile(r'^(?:<!-- (?P<mark>[^\n]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$', re.M | re.S)
_HEREDOC = re.compile(r"^(?P<command>.*<<'END')\n(?P<body>.*?)^END$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """Code between fences.

    Attributes:
        path: Of the file, from the root of the repository.
        line: Of the first fence.
        language: After the fence.
        mark: What the comment before it says; '' without one.
        text: What is between the fences.
    """

    path: str
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}'


@dataclass(frozen=True)
class Command:
    """One command of a shell: its words after expansion by bash, and what it is given on standard input."""

    words: list[str]
    fed: str = ''


def documents() -> list[Path]:
    """Every file that tells people what to type."""
    return [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]


def blocks(language: str) -> list[Block]:
    """Blocks of a language in all documents."""
    found = []
    for path in documents():
        text = path.read_text()
        for match in _BLOCK.finditer(text):
            if match['language'] == language:
                line = text.count('\n', 0, match.start('language')) + 1
                name = str(path.relative_to(ROOT))
                found.append(Block(name, line, language, match['mark'] or '', match['text']))
    return found


def commands(text: str) -> Iterator[Command]:
    """The commands of a bash block, without the variables that are set before them."""
    fed = {}
    for match in _HEREDOC.finditer(text):
        fed[match['command'].split('<<')[0].strip()] = match['body']
    text = _HEREDOC.sub(lambda match: match['command'].split('<<')[0], text).replace('\\\n', ' ')
    for line in text.splitlines():
        for part in re.split(r'&&|;(?=\s|$)', re.sub(r'(^|\s)#.*', '', line)):
            if part.strip():
                yield Command(_words(part), fed.get(part.strip(), ''))


def _words(command: str) -> list[str]:
    """As bash sees them: braces and quotes expanded, and nothing run."""
    plain = shlex.split(command)
    assert not {'|', '>', '<', '&'} & set(plain), f'{command}: pipes and redirections are not looked into'
    assert '$(' not in command.replace('$((', ''), command
    assert '`' not in command, command
    result = subprocess.run(
        ['bash', '-c', f"set -f; printf '%s\\0' {command}"], check=True, capture_output=True, text=True
    )
    words = result.stdout.split('\0')[:-1]
    while words and re.match(r'[A-Z_]+=', words[0]):
        words.pop(0)
    return words
