"""What of a run's log is printed: all of it goes to the log file, and little of it to the terminal."""

import logging
import time

#: An information of more lines is in the log file alone; its first line is printed.
MAX_LINES = 12


class LogText(str):
    """A text for the log file, with a shorter one for the terminal in its place.

    Attributes:
        printed: What the terminal shows.
    """

    printed: str

    def __new__(cls, text: str, printed: str) -> 'LogText':
        made = super().__new__(cls, text)
        made.printed = printed
        return made


class ConsoleFormatter(logging.Formatter):
    """Short lines: the time and the text; warnings and errors as ``inner`` formats them."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self.inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """What is printed of a record."""
        if isinstance(record.msg, LogText):
            return record.msg.printed
        if record.levelno > logging.INFO:
            return self.inner.format(record)
        return (
            f'{time.strftime("%H:%M:%S", time.localtime(record.created))} {first_line(record.getMessage())}'
        )


def first_line(text: str) -> str:
    """The text, or of a long one its first line with words and how many lines there are."""
    lines = text.splitlines()
    if len(lines) <= MAX_LINES:
        return text
    title = next((line for line in lines if any(letter.isalnum() for letter in line)), '')
    return f'{title.strip().rstrip(":")}: {len(lines)} lines, in the log file'


def shorten_console(logger: logging.Logger) -> logging.Logger:
    """Make the handlers of a logger that print use :class:`ConsoleFormatter`; files keep everything."""
    for handler in logger.handlers:
        prints = isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
        if prints and not isinstance(handler.formatter, ConsoleFormatter):
            handler.setFormatter(ConsoleFormatter(handler.formatter))
    return logger
