"""One process to one outputs folder: a lock that the operating system gives back when its holder dies, however it dies."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FAR = 1 << 30  # where Windows locks a byte: far behind the process id, which stays readable for others


class FolderInUse(RuntimeError):
    """Another process works in the same outputs folder."""


class FolderLock:
    """Held from construction to `close`. The file stays; only the lock on it counts."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        try:
            _lock(self._file)
        except OSError:
            holder = _process_in(self._file)
            self._file.close()
            raise FolderInUse(
                f"{path.parent} is in use by another SD UI ({holder}). Close that one, or start this one with another folder: --outputs-dir"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()).encode())
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _lock(file: BinaryIO) -> None:
    if sys.platform == "win32":
        file.seek(FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _process_in(file: BinaryIO) -> str:
    file.seek(0)
    number = file.read(20).decode("ascii", "replace").strip()
    return f"process {number}" if number.isdecimal() else "an unknown process"
