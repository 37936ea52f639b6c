"""What goes wrong with a bucket, in a line with the mend."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_CREDENTIALS = {
    'NoCredentialsError',
    'PartialCredentialsError',
    'CredentialRetrievalError',
    'TokenRetrievalError',
}
_SILENT = {
    'EndpointConnectionError', 'ConnectTimeoutError', 'ReadTimeoutError', 'ConnectionClosedError',
    'HTTPClientError', 'FSTimeoutError', 'TimeoutError', 'ConnectionError', 'ClientConnectorError',
}  # fmt: skip


@contextmanager
def in_words(uri: str) -> Iterator[None]:
    """Raise what storage libraries raise as an ``OSError`` that names the file and says what to do.

    Raises:
        FileNotFoundError: There is no such file, or no such bucket.
        PermissionError: There are no credentials, or they do not suffice.
        OSError: With ``ETIMEDOUT``, after which a record is read again: nothing answers. Otherwise as it was.
    """
    try:
        yield
    except Exception as error:
        raise _translated(error, uri) from error


def _translated(error: Exception, uri: str) -> Exception:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = ' '.join(str(error).split())
    bucket = uri.partition('://')[2].partition('/')[0]
    if kinds & {'NoSuchBucket'} or ('bucket' in text.lower() and 'not exist' in text):
        return FileNotFoundError(
            errno.ENOENT,
            f'{uri}: there is no bucket {bucket!r}. Correct data_root, or endpoint_url in backend_args',
        )
    if kinds & _CREDENTIALS:
        return PermissionError(
            errno.EACCES,
            f'{uri}: there are no credentials ({text}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run '
            '"aws configure", or read a public bucket with backend_args=dict(anon=True)',
        )
    if isinstance(error, PermissionError):
        return PermissionError(
            errno.EACCES, f'{uri}: access is denied ({text}). Use credentials that may read this bucket'
        )
    if kinds & _SILENT:
        return OSError(
            errno.ETIMEDOUT,
            f'{uri}: no answer ({text}). See whether the network and endpoint_url (AWS_ENDPOINT_URL) are '
            'right; a slow store needs a larger read_timeout in backend_args=dict(config_kwargs=...)',
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, f'{uri} is missing')
    if isinstance(error, ImportError):
        return OSError(f'{uri} needs another package ({text}): pip install -r requirements-remote.txt')
    if isinstance(error, ValueError) and 'rotocol' in text:
        return ValueError(f'{uri}: {text}. Known are s3://, gs://, http:// and others that fsspec reads')
    return error
