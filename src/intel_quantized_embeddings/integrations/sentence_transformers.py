"""`IntelQuantizedSentenceTransformer`, for code that calls a SentenceTransformer's methods; needs no torch."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoding.batching import padded
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.integrations.sentence_transformers_parts import (
    CardData,
    OnTheCPU,
    as_array,
    check_device,
    check_precision,
    compared,
    given_out,
    in_precision,
    need_torch,
    refuse_others,
    rows,
    texts_of,
)
from intel_quantized_embeddings.options import integer_option
from intel_quantized_embeddings.similarity import Similarity
from intel_quantized_embeddings.vectors import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The values of SentenceTransformer.encode's other arguments that ask for nothing here.
_ALLOWED = {"task": ("query", "document", None), "processing_kwargs": (None,), "output_value": ("sentence_embedding",)}


class IntelQuantizedSentenceTransformer(OnTheCPU):
    """A loaded encoder with the methods of a `SentenceTransformer`, but for those that train or save.

    `encode` puts the folder's default prompt before a text, usually none, `encode_query` the query's instruction,
    `encode_document` the document's. It is not a subclass: a library that checks the type takes vectors, or its own
    wrapper around this (docs/integrations.md).

    Args:
        encoder: The encoder, with the runtime, precision and maximum length that it was loaded with.
        default_prompt_name: The default prompt of `encode`, "query" or "document" (E5 models want one); None takes the
            folder's.
        similarity_fn_name: "cosine", "dot", "euclidean" or "manhattan"; None takes the folder's.

    Attributes:
        encoder: As given.
        default_prompt_name: As given.
        prompts: Instructions by the names that `prompt_name` takes: "query", "document" and whatever else the model's
            folder has; more may be added. "passage" and "corpus" are accepted for "document".
        truncate_dim: How many first numbers of each vector `encode` keeps by default; None keeps all.
        model_card_data: Evaluators' scores.

    Raises:
        OptionError: `default_prompt_name` or `similarity_fn_name` is unknown.

    Example:
        >>> model = IntelQuantizedSentenceTransformer(Encoder.load("BAAI/bge-small-en-v1.5"))  # doctest: +SKIP
        >>> model.similarity(model.encode_query("what is int8?"), model.encode_document(texts))  # doctest: +SKIP
    """

    SUPPORTED_SIMILARITY_FN_NAMES = tuple(one.value for one in Similarity)

    def __init__(
        self, encoder: Encoder, *, default_prompt_name: str | None = None, similarity_fn_name: str | None = None
    ) -> None:
        self.encoder = encoder
        settings = encoder.settings
        self.prompts = {"query": settings.query_instruction, "document": settings.document_instruction}
        self.prompts |= dict(settings.other_prompts)
        self.default_prompt_name = default_prompt_name
        self.truncate_dim: int | None = None
        self.similarity_fn_name = similarity_fn_name
        model = None if encoder.options is None else str(encoder.options.model)
        self.model_card_data = CardData(base_model=f"{model} ({encoder.fingerprint})", model_id=model)
        self._instruction(default_prompt_name, None, default="")

    @property
    def similarity_fn_name(self) -> str:
        """The name of the similarity; setting None takes the one that the model's folder names."""
        return self._similarity.value

    @similarity_fn_name.setter
    def similarity_fn_name(self, name: Any) -> None:
        # sentence-transformers' own enumeration is not one of strings.
        self._similarity = (
            self.encoder.settings.similarity if name is None else Similarity.parse(getattr(name, "value", name))
        )

    @property
    def max_seq_length(self) -> int:
        """Longest input in tokens; longer texts are cut. Setting it loads the encoder anew with `max_length`."""
        return self.encoder.max_length

    @max_seq_length.setter
    def max_seq_length(self, length: int) -> None:
        if length == self.encoder.max_length:
            return
        options = self.encoder.options
        if options is None:
            raise OptionError(f"max_seq_length={length!r}: only an encoder made by Encoder.load can be loaded anew.")
        self.encoder = Encoder.from_options(dataclasses.replace(options, max_length=length))

    def get_max_seq_length(self) -> int:
        """The same as `max_seq_length`."""
        return self.encoder.max_length

    def get_embedding_dimension(self) -> int:
        """Numbers in a vector."""
        kept = integer_option("truncate_dim", self.truncate_dim, least=1)
        return self.encoder.dimension if kept is None else min(kept, self.encoder.dimension)

    def get_sentence_embedding_dimension(self) -> int:
        """The same under its name before sentence-transformers 6."""
        return self.get_embedding_dimension()

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Keep that many first numbers of each vector inside the `with` block; None keeps all."""
        before, self.truncate_dim = self.truncate_dim, integer_option("truncate_dim", truncate_dim, least=1)
        try:
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings  # its name before sentence-transformers 6

    def encode(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Any = None,
        chunk_size: int | None = None,
        **others: Any,
    ) -> Any:
        """Encode a text or several.

        Args:
            inputs: A text, or several. `sentences` is accepted for it, as sentence-transformers had it before 6.
            prompt_name: The name of the prompt before each; see `prompts` and `default_prompt_name`.
            prompt: The prompt itself, instead.
            batch_size: Not used: batches are planned by length.
            show_progress_bar: Draw a bar on the terminal.
            output_value: "sentence_embedding" alone.
            precision: "float32" (or None); "ubinary" or "binary", eight numbers to a byte; "int8" or "uint8" by the
                ranges of the vectors of this call.
            convert_to_numpy: False gives torch tensors in a list.
            convert_to_tensor: Give one torch tensor.
            device: "cpu", or a list of it.
            normalize_embeddings: Scale vectors to length 1 if the model does not, or if they were cut.
            truncate_dim: Keep that many first numbers, without scaling to length 1 again.
            pool: Not used: a call has all cores.
            chunk_size: Not used.
            others: `task` and `processing_kwargs`, at values without effect.

        Returns:
            Shape: (n_texts, dimension), float32; (n_texts, ceil(dimension / 8)) of bits; without the first axis for
            a single text. A NumPy array, or the type that `convert_to_tensor` and `convert_to_numpy` ask for.

        Raises:
            OptionError: A value is not available here, or a tensor is asked for without torch.
            InvalidTextError: An item is not text.
        """
        inputs = texts_of(inputs, others)
        refuse_others(others | {"output_value": output_value}, _ALLOWED, method="SentenceTransformer.encode")
        check_precision(precision)
        check_device(device)
        length = integer_option("truncate_dim", self.truncate_dim if truncate_dim is None else truncate_dim, least=1)
        if convert_to_tensor or not convert_to_numpy:
            need_torch()
        instruction = self._instruction(
            prompt_name or self.default_prompt_name, prompt, default=self.encoder.settings.default_instruction
        )
        alone = isinstance(inputs, str)
        texts = [inputs] if isinstance(inputs, str) else inputs
        vectors: NDArray[Any] = self.encoder.encode(
            texts, instruction=instruction, show_progress=bool(show_progress_bar)
        )
        if length is not None:
            vectors = vectors[:, :length]
        if normalize_embeddings and (length is not None or not self.encoder.settings.normalize):
            vectors = unit(vectors)
        rounded = in_precision(vectors, precision)
        return given_out(rounded, alone=alone, as_numpy=convert_to_numpy, as_tensor=convert_to_tensor)

    def encode_query(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *others: Any,
        **options: Any,
    ) -> Any:
        """Encode texts to search with; as `encode`, with the query's instruction unless another is asked for."""
        prompt = self._instruction(prompt_name, prompt, default=self.prompts.get("query", ""))
        return self._through(self.encoder.for_queries).encode(inputs, None, prompt, *others, **options)

    def encode_document(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *others: Any,
        **options: Any,
    ) -> Any:
        """Encode texts to be searched; as `encode`, with the document's instruction unless another is asked for."""
        prompt = self._instruction(prompt_name, prompt, default=self.prompts.get("document", ""))
        return self._through(self.encoder.for_documents).encode(inputs, None, prompt, *others, **options)

    def _through(self, encoder: Encoder) -> IntelQuantizedSentenceTransformer:
        """The same with one of a Router's two models."""
        if encoder is self.encoder:
            return self
        other = copy.copy(self)
        other.encoder = encoder
        return other

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare every vector of one with every vector of the other, by `similarity_fn_name`.

        Args:
            embeddings1: Vectors, or one, of NumPy or torch, or a list of them.
            embeddings2: The same.

        Returns:
            Shape: (n1, n2), the higher the more alike. A torch tensor where torch is installed, as
            sentence-transformers gives it, else a NumPy array.
        """
        return compared(self._similarity.matrix(rows(embeddings1), rows(embeddings2)))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare each vector with the other's at the same place, by `similarity_fn_name`.

        Returns:
            Shape: (n_texts,), or a single number of two single vectors; of torch or NumPy as `similarity`.
        """
        one, other = as_array(embeddings1), as_array(embeddings2)
        found = compared(self._similarity.pairwise(rows(one), rows(other)))
        return found[0] if one.ndim == other.ndim == 1 else found

    def tokenize(self, texts: Iterable[str]) -> dict[str, Any]:
        """Tokenize texts as `encode` does, without any instruction.

        Returns:
            "input_ids" and "attention_mask", padded to the longest. Shape of each: (n_texts, tokens), int64; of torch
            or NumPy as `similarity`.

        Raises:
            InvalidTextError: An item is not text.
        """
        listed = self.encoder.tokenize([texts] if isinstance(texts, str) else list(texts), instruction="").token_ids
        input_ids, mask = padded(listed, pad_token_id=self.encoder.pad_token_id)
        return {"input_ids": compared(input_ids), "attention_mask": compared(mask)}

    def encode_multi_process(
        self,
        sentences: Iterable[str],
        pool: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Any,
    ) -> Any:
        """The same as `encode`, under its name before sentence-transformers 5."""
        return self.encode(sentences, prompt_name, prompt, pool=pool, **options)

    def __repr__(self) -> str:
        return f"IntelQuantizedSentenceTransformer({self.encoder!r})"

    def _instruction(self, prompt_name: str | None, prompt: str | None, *, default: str) -> str:
        """Return the instruction for a text: the prompt itself, else the one of that name, else `default`."""
        for name, value in (("prompt", prompt), ("prompt_name", prompt_name)):
            if not isinstance(value, (str, type(None))):
                raise OptionError(f"{name}={value!r} is not allowed; it is a str or None.")
        if prompt is not None:
            return prompt
        if prompt_name is None:
            return default
        name = "document" if prompt_name in ("passage", "corpus") and prompt_name not in self.prompts else prompt_name
        if name not in self.prompts:
            raise OptionError(
                f"prompt_name={prompt_name!r} is not allowed; there are {', '.join(map(repr, self.prompts))}. "
                f"prompt='...' puts a text of your own before."
            )
        return self.prompts[name]
