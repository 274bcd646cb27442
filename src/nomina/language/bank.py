"""`PromptBank`: sentences, their embeddings and where these came from, in one file.

A checkpoint carries its bank (`bank.npz`), so that no language model is needed to use it. The same file is
what the encoder `table:<file.npz>` reads.
"""

import dataclasses
import hashlib
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float

from nomina.errors import CheckpointError, EncoderError
from nomina.imaging.files import atomic_path

_FORMAT = "nomina-prompt-bank-1"

_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, MemoryError,
    OverflowError, SyntaxError, tokenize.TokenError, struct.error, zlib.error, zipfile.BadZipFile,
    EncoderError,
)  # fmt: skip
"""What NumPy, zipfile and JSON raise on damaged files."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where embeddings came from."""

    encoder: str
    """Name of the encoder, e.g. "minilm"; two banks with different encoders must not be mixed."""
    source: str
    """Hub id or name of the file that the weights were read from."""
    revision: str | None
    """Revision of the source; None when unknown."""
    pooling: str
    """How a text became one vector: "mean" over its tokens, "projected end of text", …"""
    lower_case: bool | None
    """Whether the tokenizer lower-cases; None when unknown."""
    normalised: bool
    """Whether the vectors have length 1."""
    width: int
    """Length e of an embedding."""
    licence: str
    """Licence of the weights."""
    template_version: str | None = None
    """`prompts.TEMPLATE_VERSION` of the sentences; None for texts that are not nomina's."""


@dataclass(frozen=True, eq=False)
class PromptBank:
    """Embeddings of a fixed list of sentences.

    Raises:
        EncoderError: Texts, vectors and provenance do not fit each other, a text is repeated, or a vector
            is not finite.
    """

    texts: tuple[str, ...]
    """The sentences, each once."""
    vectors: Float[np.ndarray, "n e"]
    """One float32 row per sentence; read-only."""
    provenance: Provenance
    """Which encoder made them."""

    def __post_init__(self) -> None:
        vectors = np.array(self.vectors, dtype=np.float32)
        expected = (len(self.texts), self.provenance.width)
        if vectors.shape != expected:
            raise EncoderError(
                f"{len(self.texts)} texts at width {self.provenance.width} need vectors of shape {expected}, "
                f"got {vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            bad = self.texts[int(np.argmin(np.isfinite(vectors).all(axis=1)))]
            raise EncoderError(f"the embedding of {bad!r} is not finite")
        if len(set(self.texts)) != len(self.texts):
            repeated = next(text for text in self.texts if self.texts.count(text) > 1)
            raise EncoderError(f"each text may occur once in a prompt bank, {repeated!r} is repeated")
        vectors.setflags(write=False)
        object.__setattr__(self, "texts", tuple(self.texts))
        object.__setattr__(self, "vectors", vectors)

    def vectors_for(self, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
        """Embeddings of some of the sentences, in the order asked.

        Raises:
            EncoderError: A sentence is not in the bank.
        """
        missing = [text for text in texts if text not in self._rows]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise EncoderError(
                f"the prompt bank (encoder {self.provenance.encoder!r}, {len(self.texts)} sentences) has no "
                f"embedding of {missing[0]!r}{more}; make a bank that holds it with "
                f"nomina.language.encoders.build_bank(load_encoder({self.provenance.encoder!r}), texts)"
            )
        return self.vectors[[self._rows[text] for text in texts]]

    def exchanged(self, heard: Mapping[str, str]) -> "PromptBank":
        """The same sentences, some of which have the vectors of others.

        Args:
            heard: For each sentence that gets another vector, the sentence whose vector it is.

        Raises:
            EncoderError: A sentence is not in the bank.
        """
        # Asked for by themselves: a sentence that is not here would change nothing, unseen.
        self.vectors_for(tuple(heard))
        vectors = self.vectors_for([heard.get(text, text) for text in self.texts])
        return PromptBank(self.texts, vectors, self.provenance)

    def similarity(
        self, texts: Sequence[str] | None = None, *, centred: bool = False
    ) -> Float[np.ndarray, "n n"]:
        """Cosine of every pair of sentences.

        Args:
            texts: Which sentences; all when None.
            centred: Subtract the mean vector of these sentences first, as ATM-Net's contrast does.
        """
        vectors = self.vectors if texts is None else self.vectors_for(texts)
        vectors = vectors - vectors.mean(axis=0) if centred else vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return unit @ unit.T

    @cached_property
    def digest(self) -> str:
        """sha256 over texts, vectors and provenance."""
        content = hashlib.sha256(_json_bytes(self._header()))
        content.update(self.vectors.astype("<f4").tobytes())
        return content.hexdigest()

    def save(self, path: Path | str) -> None:
        """Write the bank as an npz file; an existing file is replaced in one step.

        Raises:
            OutputError: The file cannot be written.
        """
        header = _json_bytes(self._header() | {"sha256": self.digest})
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, header=np.frombuffer(header, dtype=np.uint8), vectors=self.vectors)

    @classmethod
    def load(cls, path: Path | str) -> "PromptBank":
        """Read a bank that `save` wrote; executes no code.

        Raises:
            CheckpointError: The file is missing, incomplete, altered or not a prompt bank.
        """
        path = Path(path)
        try:
            if path.exists() and not path.is_file():
                raise ValueError("it is no file")
            with path.open("rb") as file:
                _refuse_compressed(file)
                with np.load(file, allow_pickle=False) as arrays:
                    header = json.loads(arrays["header"].tobytes())
                    vectors = arrays["vectors"]
            if header["format"] != _FORMAT:
                raise ValueError(f"format is {header['format']!r}, expected {_FORMAT!r}")
            bank = cls(tuple(header["texts"]), vectors, Provenance(**header["provenance"]))
        except FileNotFoundError as error:
            raise CheckpointError(f"there is no prompt bank at {path}") from error
        except _DAMAGE as error:
            raise CheckpointError(
                f"{path} is not a whole prompt bank ({error}); copy the checkpoint again or make "
                "the bank anew"
            ) from error
        if bank.digest != header.get("sha256"):
            raise CheckpointError(
                f"the prompt bank {path} was altered: its content has sha256 {bank.digest}, the file says "
                f"{header.get('sha256')}; copy the checkpoint again or make the bank anew"
            )
        return bank

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {text: row for row, text in enumerate(self.texts)}

    def _header(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "texts": list(self.texts),
            "provenance": dataclasses.asdict(self.provenance),
        }


def _refuse_compressed(file: IO[bytes]) -> None:
    """`save` stores arrays as they are; compressed ones could unpack to any size."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its arrays are compressed, expected them as they are")
        for member in members:
            with archive.open(member) as opened:
                _check_array(opened, member.file_size)
    file.seek(0)


def _check_array(file: IO[bytes] | zipfile.ZipExtFile, num_bytes: int) -> None:
    """Refuse an array whose header declares more than its member holds, before memory is taken for it."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"an array has format {version}, expected (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > num_bytes:
        raise ValueError(f"an array of {num_bytes} bytes declares shape {shape} of {dtype}")


def _json_bytes(data: dict[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True).encode()
