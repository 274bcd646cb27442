"""Files that appear whole or not at all: written under a temporary name, then renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nomina.errors import OutputError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends without an error.

    The temporary name is hidden and keeps the last two suffixes, because some writers choose the format by
    suffix. Whatever goes wrong inside the block, an existing file at `path` stays as it was.

    Raises:
        OutputError: The folder does not exist or cannot be written to, or `path` is a folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder; give a file name")
    suffix = "".join(path.suffixes[-2:]).lower()  # MetaImage's writer knows .mha, not .MHA.
    temporary = path.with_name(f".{secrets.token_hex(6)}{suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OutputError as error:
        # A writer inside the block knows the temporary name alone.
        raise OutputError(str(error).replace(str(temporary), str(path))) from error
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; "
            f"check the folder's permissions and free space"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: Path | str, data: bytes) -> None:
    """Write a file whole or not at all; errors as `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file whole or not at all, line ends as given; errors as `atomic_path`."""
    write_bytes_atomic(path, text.encode("utf-8"))
