"""A file backend that never leaves half a file under the final name."""

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Local files, written under a temporary name in the same folder and then renamed."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; a crash on the way leaves what was there before."""
        target = Path(filepath)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f'.{target.name}.{os.getpid()}.tmp')
        try:
            with temporary.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text in the same way."""
        self.put(obj.encode(encoding), filepath)
