"""MTEB: `IntelQuantizedMTEBEncoder`, for `mteb.evaluate`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError, needs
from intel_quantized_embeddings.integrations.sentence_transformers_parts import compared, rows

with needs("mteb", extra="mteb", needed_for="IntelQuantizedMTEBEncoder"):
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.types import PromptType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class IntelQuantizedMTEBEncoder:
    """A loaded encoder as a model of `mteb` 2 (its `EncoderProtocol`).

    Queries get the model's query instruction, documents its document instruction. Texts that are neither,
    as in clustering or similarity, are embedded as documents. mteb's own prompts for a task are not used:
    they are for models that follow instructions.

    Args:
        encoder: The encoder to evaluate, with the runtime, precision and maximum length that it was loaded with.
        name: Its name for mteb and its results, "organization/model". Its revision is the
            encoder's fingerprint, so that int8 and fp32 never answer for each other from mteb's cache.

    Raises:
        OptionError: `name` is not of that form.

    Example:
        >>> encoder = Encoder.load("BAAI/bge-small-en-v1.5")  # doctest: +SKIP
        >>> model = IntelQuantizedMTEBEncoder(encoder, name="me/bge-small-int8")  # doctest: +SKIP
        >>> mteb.evaluate(model, mteb.get_task("SciFact"))  # doctest: +SKIP
    """

    def __init__(self, encoder: Encoder, *, name: str) -> None:
        if not isinstance(name, str) or "/" not in name:
            raise OptionError(f"name={name!r} is not allowed; mteb wants an organization too, as in 'me/my-model'.")
        settings = encoder.settings
        self.encoder = encoder
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name,
                "revision": encoder.fingerprint,
                "embed_dim": encoder.dimension,
                "max_tokens": encoder.max_length,
                "similarity_fn_name": ScoringFunction(settings.similarity.value),
                "use_instructions": bool(settings.query_instruction or settings.document_instruction),
            }
        )

    def encode(
        self,
        inputs: Iterable[dict[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
    ) -> NDArray[np.float32]:
        """Encode the texts of mteb's batches.

        Args:
            inputs: Batches with a list of texts under "text", as mteb's `DataLoader` gives them.
            task_metadata: Not used, like `hf_split` and `hf_subset`: vectors depend on the text and its kind alone.
            hf_split: The part of the task's data.
            hf_subset: The language or subset.
            prompt_type: Whether the texts are queries or documents; None embeds documents.
            batch_size: Not used: the encoder plans batches by length.
            show_progress_bar: Draw a bar on the terminal.

        Returns:
            Vectors in input order. Shape: (n_texts, dimension), float32.
        """
        texts = (text for batch in inputs for text in batch["text"])
        encode = self.encoder.encode_queries if prompt_type is PromptType.query else self.encoder.encode_documents
        return encode(texts, show_progress=show_progress_bar)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare every vector of one with every vector of the other, as the model's folder says.

        Returns:
            A torch tensor. Shape: (n_texts_1, n_texts_2).
        """
        return compared(self.encoder.settings.similarity.matrix(rows(embeddings1), rows(embeddings2)))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare each vector with the other's at the same place.

        Returns:
            A torch tensor. Shape: (n_texts,).
        """
        return compared(self.encoder.settings.similarity.pairwise(rows(embeddings1), rows(embeddings2)))
