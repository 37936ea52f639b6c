"""A headless Chromium, where the machine has one; the environment variable CHROMIUM names another."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
#: Milliseconds that a page may take to show something, on a busy machine.
PATIENCE = 600_000


def chromium() -> str:
    """Its path; without one, or without Playwright, the test is skipped."""
    pytest.importorskip('playwright', reason='drives the browser: requirements-dev.txt')
    found = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip('there is no Chromium: apt-get install chromium, or set CHROMIUM to its path')
    return found


class Seen:
    """What a page did besides being shown.

    Attributes:
        errors: What it wrote to the console as an error, and exceptions that nothing caught.
        hosts: Of everything that it asked for; '' for files and for what the page itself holds.
    """

    def __init__(self, page) -> None:
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on('console', lambda said: said.type == 'error' and self.errors.append(said.text))
        page.on('pageerror', lambda error: self.errors.append(str(error)))
        page.on('request', lambda request: self.hosts.add(urlsplit(request.url).hostname or ''))


@contextmanager
def opened(address: str, home: Path, width: int = 1400, height: int = 900) -> Iterator[tuple]:
    """A page of Playwright at an address, and what has been :class:`Seen` of it.

    Args:
        address: ``http://`` or ``file://``.
        home: Where the browser may write.
        width, height: Of the window, in pixels.
    """
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=path,
            args=['--no-sandbox'],
            env=os.environ | {'HOME': str(home)},
            timeout=PATIENCE,
        )
        page = browser.new_page(viewport=dict(width=width, height=height))
        page.set_default_timeout(PATIENCE)
        seen = Seen(page)
        page.goto(address)
        yield page, seen
        browser.close()


def overflow(page) -> int:
    """Pixels by which a page is wider than its window."""
    return page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
