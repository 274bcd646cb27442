"""Text encoders: sentences → vectors.

    name              weights                                     width   needs
    minilm            bundled, all-MiniLM-L6-v2 in int8           384     nothing
    bio-clinicalbert  emilyalsentzer/Bio_ClinicalBERT             768     nomina[text], hub or local folder
    clip-vit-b32      openai/clip-vit-base-patch32, text tower    512     nomina[text], hub or local folder
    clip-vit-b16      openai/clip-vit-base-patch16, text tower    512     nomina[text], hub or local folder
    table:FILE.npz    a saved `PromptBank`                        its own nothing
    random, one-hot   none: controls (`control_encoders`)         384, …  nothing

ATM-Net used Bio-ClinicalBERT [paper]. Encoders are frozen here and their vectors are kept in a `PromptBank`.
Nothing is downloaded unless one of the hub encoders is asked for by name, and never with `offline=True` or
`HF_HUB_OFFLINE=1`.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from nomina.errors import CheckpointError, EncoderError, PromptError
from nomina.language.bank import PromptBank, Provenance
from nomina.language.bert import load_int8_bert
from nomina.language.control_encoders import one_hot_encoder, random_encoder
from nomina.language.prompts import TEMPLATE_VERSION

ENCODER_NAMES = (
    "minilm",
    "bio-clinicalbert",
    "clip-vit-b32",
    "clip-vit-b16",
    "table:FILE.npz",
    "random",
    "one-hot",
)
"""What `load_encoder` accepts."""

MINILM_FOLDER = Path(__file__).parent / "minilm"
"""Bundled weights, tokenizer, licence and notice."""

_MINILM_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
_MINILM_MAX_TOKENS = 256
_BATCH_SIZE = 64

Tokens = tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]


@runtime_checkable
class TextEncoder(Protocol):
    """Sentences to vectors."""

    @property
    def name(self) -> str:
        """Name as given to `load_encoder`, without a path."""
        ...

    @property
    def width(self) -> int:
        """Length e of a vector."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Where the vectors come from; saved with every bank."""
        ...

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
        """One float32 vector per text.

        Raises:
            PromptError: A text is blank or longer than the encoder can read.
            EncoderError: The encoder is a table without that text.
        """
        ...


@dataclass(frozen=True, eq=False)
class TransformerEncoder:
    """A frozen language model: a tokenizer and a forward pass."""

    provenance: Provenance
    """Where the weights come from."""
    max_tokens: int
    """Longest text, in word pieces with the two end marks; longer ones are refused, never cut."""
    tokenize: Callable[[list[str]], Tokens]
    """Texts to ids and mask, padded to the longest."""
    forward: Callable[[Tensor, Tensor], Float[Tensor, "b e"]]
    """Ids and mask to one pooled vector each."""

    @property
    def name(self) -> str:
        """Name of the encoder."""
        return self.provenance.encoder

    @property
    def width(self) -> int:
        """Length e of a vector."""
        return self.provenance.width

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
        """One pooled float32 vector per text; see `TextEncoder.encode`."""
        rows = list(self._batches(texts))
        return np.concatenate(rows) if rows else np.zeros((0, self.width), dtype=np.float32)

    def _batches(self, texts: Sequence[str]) -> Iterator[Float[np.ndarray, "b e"]]:
        for start in range(0, len(texts), _BATCH_SIZE):
            batch = list(texts[start : start + _BATCH_SIZE])
            if blank := [text for text in batch if not text.strip()]:
                raise PromptError(f"a prompt needs at least one word, got {blank[0]!r}")
            ids, mask = self.tokenize(batch)
            lengths = mask.sum(dim=1)
            if int(lengths.max()) > self.max_tokens:
                text, length = batch[int(lengths.argmax())], int(lengths.max())
                raise PromptError(
                    f"a prompt for {self.name!r} may have {self.max_tokens} word pieces, this has {length}: "
                    f"{text[:60]!r}…; shorten it"
                )
            with torch.inference_mode():
                pooled = self.forward(ids, mask)
            yield pooled.numpy()


@dataclass(frozen=True, eq=False)
class TableEncoder:
    """A prompt bank that answers like an encoder, for the sentences it holds."""

    bank: PromptBank
    """The table."""

    @property
    def name(self) -> str:
        """Name of the encoder that made the table."""
        return self.bank.provenance.encoder

    @property
    def width(self) -> int:
        """Length e of a vector."""
        return self.bank.provenance.width

    @property
    def provenance(self) -> Provenance:
        """Where the table's vectors come from."""
        return self.bank.provenance

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
        """Rows of the table; see `TextEncoder.encode`."""
        return self.bank.vectors_for(texts)


def load_encoder(
    name: str, *, source: str | Path | None = None, revision: str | None = None, offline: bool = False
) -> TextEncoder:
    """Load a text encoder.

    Args:
        name: One of `ENCODER_NAMES`.
        source: For the hub encoders: another hub id, or a local folder with the same files.
        revision: Hub revision (commit) to load; the newest when None. The one found is recorded.
        offline: Read only what is already on this computer; `HF_HUB_OFFLINE=1` does the same.

    Raises:
        EncoderError: The name is unknown, or its library, weights or file are not there.
    """
    if name.startswith("table:"):
        return _table(Path(name.removeprefix("table:")))
    if name == "minilm":
        if source is not None or revision is not None:
            raise EncoderError("the encoder 'minilm' is bundled and takes no source or revision")
        return _minilm()
    if name in _CONTROL_ENCODERS:
        return _CONTROL_ENCODERS[name]()
    if name not in _HUB_ENCODERS:
        raise EncoderError(f"unknown text encoder {name!r}; known: {', '.join(ENCODER_NAMES)}")
    place = _HUB_ENCODERS[name].hub_id if source is None else str(source)
    is_offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    return _from_hub(name, place, revision, local_only=is_offline or Path(place).is_dir())


def build_bank(
    encoder: TextEncoder, texts: Sequence[str], *, template_version: str = TEMPLATE_VERSION
) -> PromptBank:
    """Embed sentences once, to be saved with a checkpoint or as a table.

    Args:
        encoder: From `load_encoder`.
        texts: Sentences, e.g. `prompts.all_sentences(structures)`; repeats are kept once.
        template_version: Version of the sentences' templates.
    """
    unique = tuple(dict.fromkeys(texts))
    provenance = replace(encoder.provenance, template_version=template_version)
    return PromptBank(unique, encoder.encode(unique), provenance)


def _from_hub(name: str, place: str, revision: str | None, *, local_only: bool) -> TransformerEncoder:
    options = {"revision": revision, "local_files_only": local_only}
    try:
        return _HUB_ENCODERS[name].load(name, place, options)
    except ImportError as error:
        raise EncoderError(
            f"the text encoder {name!r} needs the library transformers ({error}): "
            f"pip install 'nomina[text]', or use {_ALTERNATIVES}"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        hint = "it was only looked for on this computer; " if local_only else ""
        raise EncoderError(
            f"the text encoder {name!r} cannot be loaded from {place!r}: {_first_line(error)}; {hint}give "
            f"source=FOLDER with a copy of its files, or use {_ALTERNATIVES}"
        ) from error


def mean_pool(tokens: Float[Tensor, "b t e"], is_token: Bool[Tensor, "b t"]) -> Float[Tensor, "b e"]:
    """Mean over real tokens; padding does not count."""
    weights = is_token[..., None].to(tokens.dtype)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def _minilm() -> TransformerEncoder:
    model = load_int8_bert(MINILM_FOLDER)
    tokenizer = Tokenizer.from_file(str(MINILM_FOLDER / "tokenizer.json"))
    tokenizer.no_truncation()  # the file pads and cuts every text to 128 tokens
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")

    def tokenize(texts: list[str]) -> Tokens:
        encodings = tokenizer.encode_batch(texts)
        ids = torch.tensor([encoding.ids for encoding in encodings])
        return ids, torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.bool)

    def forward(ids: Tensor, is_token: Tensor) -> Tensor:
        return mean_pool(model(ids, is_token), is_token)

    provenance = Provenance(
        encoder="minilm",
        source="sentence-transformers/all-MiniLM-L6-v2, int8 rows",
        revision=_MINILM_REVISION,
        pooling="mean",
        lower_case=True,
        normalised=False,
        width=model.norm.weight.shape[0],
        licence="Apache-2.0",
    )
    return TransformerEncoder(provenance, _MINILM_MAX_TOKENS, tokenize, forward)


def _table(path: Path) -> TableEncoder:
    try:
        return TableEncoder(PromptBank.load(path))
    except CheckpointError as error:
        raise EncoderError(f"the table of embeddings cannot be used: {error}") from error


def _load_bert(name: str, place: str, options: dict[str, Any]) -> TransformerEncoder:
    from transformers import AutoModel, AutoTokenizer  # 4.7 s, and only in nomina[text]

    tokenizer = AutoTokenizer.from_pretrained(place, **options)
    model = _complete(AutoModel, place, options)

    def forward(ids: Tensor, is_token: Tensor) -> Tensor:
        tokens = model(input_ids=ids, attention_mask=is_token.long()).last_hidden_state
        return mean_pool(tokens, is_token)

    return _hub_encoder(name, place, options, tokenizer, model, forward, model.config.hidden_size, "mean")


def _load_clip(name: str, place: str, options: dict[str, Any]) -> TransformerEncoder:
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    tokenizer = AutoTokenizer.from_pretrained(place, **options)
    model = _complete(CLIPTextModelWithProjection, place, options)

    def forward(ids: Tensor, is_token: Tensor) -> Tensor:
        pooled: Tensor = model(input_ids=ids, attention_mask=is_token.long()).text_embeds
        return pooled

    width = model.config.projection_dim
    return _hub_encoder(name, place, options, tokenizer, model, forward, width, "projected end of text")


@dataclass(frozen=True)
class _HubEncoder:
    hub_id: str
    licence: str
    load: Callable[[str, str, dict[str, Any]], TransformerEncoder]


_HUB_ENCODERS = {
    "bio-clinicalbert": _HubEncoder("emilyalsentzer/Bio_ClinicalBERT", "MIT", _load_bert),
    "clip-vit-b32": _HubEncoder("openai/clip-vit-base-patch32", "MIT", _load_clip),
    "clip-vit-b16": _HubEncoder("openai/clip-vit-base-patch16", "MIT", _load_clip),
}
_CONTROL_ENCODERS = {"random": random_encoder, "one-hot": one_hot_encoder}
_ALTERNATIVES = (
    "'minilm', which is bundled, or 'table:FILE.npz' with embeddings saved on a computer that has it"
)


def _complete(model_class: Any, place: str, options: dict[str, Any]) -> Any:
    """The model in float32 for inference; transformers would fill missing weights with noise."""
    logger = logging.getLogger("transformers.modeling_utils")  # lists every weight of the other tower
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        model, info = model_class.from_pretrained(place, output_loading_info=True, **options)
    finally:
        logger.setLevel(level)
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key and "position_ids" not in key)
    if missing:
        raise ValueError(f"its weights lack {len(missing)} tensors, e.g. {missing[0]}")
    return model.float().eval().requires_grad_(False)


def _hub_encoder(
    name: str,
    place: str,
    options: dict[str, Any],
    tokenizer: Any,
    model: Any,
    forward: Callable[[Tensor, Tensor], Float[Tensor, "b e"]],
    width: int,
    pooling: str,
) -> TransformerEncoder:
    def tokenize(texts: list[str]) -> Tokens:
        batch = tokenizer(texts, padding=True, truncation=False, return_tensors="pt")
        return batch["input_ids"], batch["attention_mask"].bool()

    provenance = Provenance(
        encoder=name,
        source=Path(place).name if Path(place).is_dir() else place,
        revision=getattr(model.config, "_commit_hash", None) or options["revision"],
        pooling=pooling,
        lower_case=getattr(tokenizer, "do_lower_case", None),
        normalised=False,
        width=width,
        licence=_HUB_ENCODERS[name].licence,
    )
    return TransformerEncoder(provenance, model.config.max_position_embeddings, tokenize, forward)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
