"""A stand-in for S3 on this machine."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from moto.server import ThreadedMotoServer

CREDENTIALS = {'AWS_ACCESS_KEY_ID': 'test', 'AWS_SECRET_ACCESS_KEY': 'test'}
#: So that no test asks Amazon, or reads what the user has.
ALONE = {
    'AWS_EC2_METADATA_DISABLED': 'true',
    'AWS_CONFIG_FILE': '/none',
    'AWS_SHARED_CREDENTIALS_FILE': '/none',
}


class Bucket:
    """``s3://data`` of a server.

    Attributes:
        address: Of the server.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.backend_args = {'endpoint_url': address, 'key': 'test', 'secret': 'test'}
        self.store = fsspec.filesystem('s3', use_listings_cache=False, **self.backend_args)
        self.store.mkdir('data')

    def upload(self, folder: Path, name: str) -> str:
        """Put a folder there; returns its address."""
        for path in sorted(folder.rglob('*')):
            if path.is_file() and '.mask_index' not in path.parts:
                self.store.pipe_file(f'data/{name}/{path.relative_to(folder)}', path.read_bytes())
        return f's3://data/{name}'


@contextmanager
def serving() -> Iterator[Bucket]:
    """A server of its own, with one bucket."""
    server = ThreadedMotoServer('127.0.0.1', port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Bucket(f'http://{host}:{port}')
    finally:
        server.stop()


logging.getLogger('werkzeug').setLevel(logging.WARNING)  # a line per request
