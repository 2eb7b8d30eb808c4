"""`Encoder`: texts in, vectors out. The integrations use nothing else."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import TYPE_CHECKING

from intel_quantized_embeddings.encoders.routed import RoutedModel
from intel_quantized_embeddings.encoding.pipeline import DistinctTexts, encode_token_ids, tokenize_windows
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.tokenizer import TokenizedTexts
from intel_quantized_embeddings.options import DEFAULT_MODEL, LoadKeywords, LoadOptions, naming_its_options
from intel_quantized_embeddings.quantization.kinds import EMBEDDER
from intel_quantized_embeddings.reporting.progress import progress_bar
from intel_quantized_embeddings.texts import require_listed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)


class Encoder(RoutedModel[ModelSettings]):
    """A loaded embedding model. Safe to use from several threads at once.

    Example:
        >>> encoder = Encoder.load("BAAI/bge-small-en-v1.5")  # doctest: +SKIP
        >>> encoder.encode_queries(["what is int8?"]).shape  # doctest: +SKIP
        (1, 384)
    """

    _kind = EMBEDDER

    @classmethod
    @naming_its_options
    def load(cls, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Unpack[LoadKeywords]) -> Encoder:
        """Load a model. `None` means what the model's own folder says.

        Args:
            model: A folder (fp32 or quantized) or a hub id. An fp32 model asked for in int8 is quantized while it is
                read; for another runtime than "native" on first use, and kept in the cache.
            runtime: "native", this package's own engine; "openvino"; or "ipex" (Intel Extension for PyTorch, the `ipex`
                extra). None takes what the folder was made for: an int8 folder's own, "openvino" for an OpenVINO or
                ONNX export, "ipex" for TorchScript, and "native" for all else.
            precision: "int8" or "fp32"; "bf16" with another runtime than "native".
            revision: Branch, tag or commit on the hub.
            cache_folder: Where the hub's files and int8 models are kept, instead of the hub's own
                cache and the user's cache folder.
            local_files_only: Never ask the hub; `HF_HUB_OFFLINE=1` does the same.
            num_threads: Threads for one call; None takes the cores that the process was granted (affinity
                and CPU quota). Tokenizing has threads of its own: `RAYON_NUM_THREADS` sets them.
            instruction_set: Which instructions the native runtime uses, to compare them by speed: "scalar", "avx2",
                "avxvnni", "avx512vnni", "amx" or "neon". None takes the one that the variable `IQE_ISA` names, else
                the fastest that this CPU runs.
            pooling: "cls", "mean" or "last".
            normalize: Whether vectors have length 1.
            max_length: Longest input in tokens; longer texts are cut.
            truncate_dim: Keep that many first numbers of each vector, scaled to length 1 again if the model
                normalizes: for models trained for that (Matryoshka). None keeps all.
            query_instruction: Put before every query.
            document_instruction: Put before every document.
            allow_torchscript: Open a TorchScript model that others made: as optimum-intel wrote them, or an
                int8 one from the hub (`runtime="ipex"`). TorchScript is code: allow it for models you trust.
            warm_shapes: Run the lengths that one text can be padded to once while loading, so that no query waits for
                its length to be prepared: the shortest first, for 1.5 s at most. False loads sooner.

        Raises:
            OptionError: An argument is not allowed, contradicts the folder, or is needed.
            ModelFilesError: The model or a file of it is not there.
            DamagedFilesError: A file is not what it should be.
            UnsupportedModelError: The model can't be run here.
            MissingExtraError: The runtime is not installed, or the model must be quantized first and
                what quantizes it is not installed.
            QuantizationError: Quantizing it failed.
        """
        return cls.from_options(LoadOptions.from_keywords(model, options))

    @property
    def pad_token_id(self) -> int:
        """The token id that pads the shorter texts of a batch."""
        return self._pad_token_id

    def encode_documents(self, texts: Iterable[str], show_progress: bool = False) -> NDArray[np.float32]:
        """Encode texts to be searched.

        Args:
            texts: Any number of them, from any iterable, which is read while they are encoded: beside the
                vectors, memory holds some 2,000 texts and about 200 bytes for each other. Only the document
                instruction is added to them; identical ones are encoded once.
            show_progress: Draw a bar on the terminal.

        Returns:
            Vectors in input order. Shape: (n_texts, dimension), float32, length 1 if the model
            normalizes.

        Raises:
            InvalidTextError: An item is not text; the message names its position.
        """
        encoder = self.for_documents
        return encoder._encode(texts, encoder.settings.document_instruction, show_progress=show_progress)

    def encode_queries(self, texts: Iterable[str], show_progress: bool = False) -> NDArray[np.float32]:
        """Encode texts to search with; as `encode_documents`, with the query instruction."""
        encoder = self.for_queries
        return encoder._encode(texts, encoder.settings.query_instruction, show_progress=show_progress)

    def encode(self, texts: Iterable[str], *, instruction: str, show_progress: bool = False) -> NDArray[np.float32]:
        """Encode texts after the given instruction, "" for none, as in clustering; otherwise as `encode_documents`."""
        return self._encode(texts, instruction, show_progress=show_progress)

    def tokenize(self, texts: Iterable[str], *, instruction: str, cut: str | None = None) -> TokenizedTexts:
        """Tokenize texts for `encode_token_ids`, for callers that must know the lengths of texts before encoding them.

        Args:
            texts: Any number of them.
            instruction: Put before each, "" for none.
            cut: The end at which a text that is too long is cut, "left" or "right"; None for the end that the model's
                folder names.

        Raises:
            InvalidTextError: An item is not text; the message names its position.
            OptionError: `cut` is another word, or the instruction is not text.
        """
        require_listed(texts)
        return self._tokenized(self._cutting(cut).encode(list(texts), instruction=instruction), named="text {}".format)

    def __repr__(self) -> str:
        return f"Encoder({self._fingerprint}, dimension={self.dimension}, max_length={self.max_length})"

    def _encode(self, texts: Iterable[str], instruction: str, *, show_progress: bool) -> NDArray[np.float32]:
        require_listed(texts, expected="a list of strings is expected, as in encode_documents([text])")
        distinct = DistinctTexts(texts)
        cut = bytearray()
        with (
            progress_bar(texts, shown=show_progress, unit="text", title="Encoding") as advance,
            closing(self._token_ids(distinct, instruction, cut)) as windows,
        ):
            vectors = encode_token_ids(
                self._runtime,
                windows,
                pad_token_id=self._pad_token_id,
                max_length=self.max_length,
                on_progress=advance,
                named=distinct.named,
            )
            if advance is not None:
                advance(len(distinct.rows) - len(vectors))
        if any(cut):
            logger.warning(
                "%d of %d texts are longer than %d tokens; what is beyond was cut",
                sum(cut[row] for row in distinct.rows),
                len(distinct.rows),
                self.max_length,
            )
        return vectors if len(vectors) == len(distinct.rows) else vectors[distinct.rows]

    def _token_ids(
        self, texts: Iterable[str], instruction: str, cut: bytearray
    ) -> Generator[list[list[int]], None, None]:
        """Return token ids window by window; `cut` gets a byte for every text, 1 for those that were cut."""
        with closing(tokenize_windows(texts, self._tokenizer, instruction=instruction)) as windows:
            for window in windows:
                cut.extend(place in window.truncated for place in range(len(window.token_ids)))
                yield window.token_ids
