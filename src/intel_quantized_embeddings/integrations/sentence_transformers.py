"""sentence-transformers: `IntelQuantizedSentenceTransformer`, for code that calls a SentenceTransformer's methods.

Nothing of sentence-transformers or torch is needed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.load_options import whole_number
from intel_quantized_embeddings.vectors import to_binary, unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What can't be had here, and the values that ask for nothing of it.
_ONLY = {
    "output_value": ("sentence_embedding",),
    "device": (None, "cpu"),
    "pool": (None,),
    "chunk_size": (None,),
}


class IntelQuantizedSentenceTransformer:
    """A loaded encoder with the methods of a `SentenceTransformer`.

    As there, `encode` puts nothing before a text, `encode_query` the query's instruction, `encode_document` the
    document's. It is not a subclass: a library that checks the type is given vectors, or its own wrapper around this
    (docs/integrations.md).

    Args:
        encoder: What encodes, at the runtime, precision and maximum length it was loaded with.
        default_prompt_name: What `encode` puts before a text that nobody names a prompt for: "query" or "document", as
            E5 models want one. None is nothing, also where the model's own folder names a default.

    Raises:
        OptionError: `default_prompt_name` is unknown.

    Example:
        >>> model = IntelQuantizedSentenceTransformer(Encoder.load("BAAI/bge-small-en-v1.5"))  # doctest: +SKIP
        >>> model.similarity(model.encode_query("what is int8?"), model.encode_document(texts))  # doctest: +SKIP
    """

    similarity_fn_name = "cosine"
    device = "cpu"

    def __init__(self, encoder: Encoder, *, default_prompt_name: str | None = None) -> None:
        self.encoder = encoder
        self.default_prompt_name = default_prompt_name
        self._instruction(default_prompt_name, None, default="")

    @property
    def prompts(self) -> dict[str, str]:
        """The instructions by the names that `prompt_name` takes; "passage" is accepted for "document"."""
        settings = self.encoder.settings
        return {"query": settings.query_instruction, "document": settings.document_instruction}

    @property
    def max_seq_length(self) -> int:
        """Longest input in tokens; longer texts are cut."""
        return self.encoder.max_length

    def get_max_seq_length(self) -> int:
        """The same as `max_seq_length`."""
        return self.encoder.max_length

    def get_embedding_dimension(self) -> int:
        """Numbers in a vector."""
        return self.encoder.dimension

    def get_sentence_embedding_dimension(self) -> int:
        """The same under its name before sentence-transformers 6."""
        return self.encoder.dimension

    def encode(
        self,
        sentences: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        *,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
        precision: str = "float32",
        truncate_dim: int | None = None,
        **others: Any,
    ) -> Any:
        """Encode a text or several.

        Args:
            sentences: A text, or several.
            prompt_name: "query" or "document", what to put before each; see `default_prompt_name`.
            prompt: What to put before each instead.
            batch_size: Not used: batches are planned by length.
            show_progress_bar: Draw a bar on the terminal.
            convert_to_numpy: False gives torch tensors in a list.
            convert_to_tensor: Give one torch tensor.
            normalize_embeddings: Make vectors of length 1 where the model itself does not, or where they were cut.
            precision: "float32", or one bit a number, eight to a byte: "ubinary" in uint8, "binary" in int8.
            truncate_dim: Keep that many first numbers, as `Encoder.load` does for all calls (which also makes
                them of length 1 again).
            others: What SentenceTransformer has beside (`output_value`, `device`, `pool`, `chunk_size`), at the
                values that ask for nothing here.

        Returns:
            Shape: (n_texts, dimension), float32; (n_texts, ceil(dimension / 8)) of bits; without the first axis for
            a single text. A NumPy array, or what `convert_to_tensor` and `convert_to_numpy` ask for.

        Raises:
            OptionError: An argument asks for what can't be had here, or for a tensor where torch is not installed.
            InvalidTextError: An item is not text.
        """
        _refuse(others)
        _check_precision(precision)
        length = whole_number("truncate_dim", truncate_dim, least=1)
        if convert_to_tensor or not convert_to_numpy:
            _need_torch()
        instruction = self._instruction(prompt_name or self.default_prompt_name, prompt, default="")
        alone = isinstance(sentences, str)
        texts = [sentences] if isinstance(sentences, str) else sentences
        vectors: NDArray[Any]
        vectors = self.encoder.encode(texts, instruction=instruction, show_progress=bool(show_progress_bar))
        if length is not None:
            vectors = vectors[:, :length]
        if normalize_embeddings and (length is not None or not self.encoder.settings.normalize):
            vectors = unit(vectors)
        if precision != "float32":
            bits = to_binary(vectors)
            vectors = bits if precision == "ubinary" else (bits ^ 128).view("int8")
        if convert_to_tensor or not convert_to_numpy:
            import torch

            tensor = torch.from_numpy(vectors)
            return tensor[0] if alone else tensor if convert_to_tensor else list(tensor)
        return vectors[0] if alone else vectors

    def encode_query(
        self,
        sentences: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        *others: Any,
        **options: Any,
    ) -> Any:
        """Encode texts to search with; as `encode`, with the query's instruction unless another is asked for."""
        prompt = self._instruction(prompt_name, prompt, default=self.prompts["query"])
        return self.encode(sentences, None, prompt, *others, **options)

    def encode_document(
        self,
        sentences: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        *others: Any,
        **options: Any,
    ) -> Any:
        """Encode texts to be searched; as `encode`, with the document's instruction unless another is asked for."""
        prompt = self._instruction(prompt_name, prompt, default=self.prompts["document"])
        return self.encode(sentences, None, prompt, *others, **options)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine of every vector of one with every vector of the other.

        Returns:
            Shape: (n_texts_1, n_texts_2). A torch tensor if `embeddings1` is one or a list of them, else a NumPy array.
        """
        one, two = _rows(embeddings1), _rows(embeddings2)
        return _like(unit(one) @ unit(two).T, embeddings1)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine of each vector with the other's at the same place.

        Returns:
            Shape: (n_texts,). A torch tensor if `embeddings1` is one or a list of them, else a NumPy array.
        """
        one, two = _rows(embeddings1), _rows(embeddings2)
        return _like((unit(one) * unit(two)).sum(axis=1), embeddings1)

    def __repr__(self) -> str:
        return f"IntelQuantizedSentenceTransformer({self.encoder!r})"

    def _instruction(self, prompt_name: str | None, prompt: str | None, *, default: str) -> str:
        """What to put before a text: the prompt itself, else the one of that name, else `default`."""
        if prompt is not None:
            return prompt
        if prompt_name is None:
            return default
        prompts = self.prompts
        name = "document" if prompt_name == "passage" else prompt_name
        if name not in prompts:
            raise OptionError(
                f"prompt_name={prompt_name!r} is not allowed; there are {', '.join(map(repr, prompts))}. "
                f"prompt='...' puts a text of your own before."
            )
        return prompts[name]


def _refuse(others: dict[str, Any]) -> None:
    for name, value in others.items():
        if name not in _ONLY:
            raise OptionError(f"{name}={value!r} is not an argument of SentenceTransformer.encode.")
        if (value if value is None else str(value)) not in _ONLY[name]:  # torch.device("cpu") is "cpu"
            allowed = " or ".join(map(repr, _ONLY[name]))
            raise OptionError(f"{name}={value!r} can't be had here; only {allowed}, or leave it out.")


def _check_precision(precision: str) -> None:
    if precision in ("int8", "uint8"):
        raise OptionError(
            f"precision={precision!r} would depend on what else is in the call: sentence-transformers takes its ranges "
            f"from there. intel_quantized_embeddings.vectors.to_int8 makes int8 of each vector alone, to compare by "
            f"cosine; sentence_transformers.quantize_embeddings takes ranges of your own."
        )
    if precision not in ("float32", "binary", "ubinary"):
        raise OptionError(f"precision={precision!r} is not known; it is 'float32', 'binary' or 'ubinary'.")


def _need_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise OptionError(
            "a torch tensor was asked for (convert_to_tensor=True or convert_to_numpy=False) and torch is not "
            "installed. Leave these out for NumPy arrays, or pip install torch."
        )


def _rows(vectors: Any) -> NDArray[np.float32]:
    """Vectors of any kind, one or several, as the rows of an array."""
    import numpy as np

    if isinstance(vectors, (list, tuple)):
        vectors = [np.asarray(vector) for vector in vectors]
    return np.atleast_2d(np.asarray(vectors, dtype=np.float32))


def _like(numbers: NDArray[np.float32], vectors: Any) -> Any:
    """As a torch tensor where the vectors are torch's."""
    sample = vectors[0] if isinstance(vectors, (list, tuple)) and len(vectors) else vectors
    if type(sample).__module__ != "torch":
        return numbers
    import torch

    return torch.from_numpy(numbers)
