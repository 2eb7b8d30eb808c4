"""Ray Data: `EmbedDocuments`, an actor class for `map_batches`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import InvalidTextError, OptionError, OtherEncoderError, needs
from intel_quantized_embeddings.options import DEFAULT_MODEL, LoadOptions, require_bool
from intel_quantized_embeddings.process.pinning import pin_to_own_cores

with needs("ray[data]", extra="ray", needed_for="EmbedDocuments"):
    import pyarrow as pa
    import ray

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from intel_quantized_embeddings.options import LoadKeywords

Batch: TypeAlias = "pa.Table | dict[str, np.ndarray]"


class EmbedDocuments:
    """Embeds a column of a Ray dataset; each actor loads the model once, on cores that no other has.

    An actor computes with as many threads as Ray gave it CPUs, and pins its process to as many of the cores that it may
    run on; `process/pinning.py` says how they are chosen and when nothing is pinned. Outside an actor it pins nothing
    and has the threads of `Encoder.load`.

    Args:
        model: A folder or a hub id. Every machine opens it by itself. With several machines, name an int8 folder:
            each would quantize an fp32 model by itself.
        text_column: The column of texts.
        vector_column: The name of the column of vectors.
        fingerprint: The expected `Encoder.fingerprint`, by which a machine with other files of the model is refused;
            None accepts any.
        pin_cores: Whether to pin.
        options: Those of `Encoder.load`. `num_threads` replaces Ray's number, for cores too; `warm_shapes` is False
            by default, because it prepares for single queries.

    Raises:
        OptionError: A value is not allowed, or there are fewer cores than Ray gave away.
        OtherEncoderError: The model is not the one of the fingerprint.
        QuantizedEmbeddingsError: As `Encoder.load` lists them.

    Example:
        >>> dataset.map_batches(  # doctest: +SKIP
        ...     EmbedDocuments,
        ...     fn_constructor_kwargs={"model": "bge-small-int8"},
        ...     batch_format="pyarrow",
        ...     batch_size=2048,
        ...     num_cpus=4,
        ...     compute=ray.data.ActorPoolStrategy(min_size=1, max_size=16),
        ... )
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        text_column: str = "text",
        vector_column: str = "vector",
        fingerprint: str | None = None,
        pin_cores: bool = True,
        **options: Unpack[LoadKeywords],
    ) -> None:
        chosen = LoadOptions.from_keywords(model, {"warm_shapes": False, **options})
        self._text_column = _column_name("text_column", text_column)
        self._vector_column = _column_name("vector_column", vector_column)
        require_bool("pin_cores", pin_cores)
        if ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
            threads = chosen.num_threads or _cpus_of_this_actor()
            chosen = dataclasses.replace(chosen, num_threads=threads)
            if pin_cores:
                pin_to_own_cores(threads)
        self.encoder = Encoder.from_options(chosen)
        if fingerprint not in (None, self.encoder.fingerprint):
            raise OtherEncoderError(
                f"{model} loads as {self.encoder.fingerprint} here and {fingerprint} is wanted: their vectors don't "
                f"compare. Give every machine the same int8 folder."
            )

    def __call__(self, batch: Batch) -> Batch:
        """Embed a batch.

        Args:
            batch: Columns as Ray gives them for `batch_format="numpy"` or `"pyarrow"`.

        Returns:
            The same form with the vectors as one more column: an array, Shape: (n_texts, dimension), float32, of which
            Ray makes a column of an extension type that Polars can't compute with; or a fixed-size list of float,
            which any reader of Parquet or Arrow takes.

        Raises:
            OptionError: The batch has no such column, has one of the vectors' name, or is in another form.
            InvalidTextError: An item of the column is not text.
        """
        if isinstance(batch, pa.Table):
            texts = batch.column(self._checked(batch.column_names)).to_pylist()
            return batch.append_column(self._vector_column, _fixed_size_lists(self._embed(texts)))
        if isinstance(batch, dict):
            return {**batch, self._vector_column: self._embed(batch[self._checked(batch)].tolist())}
        raise OptionError(
            f"the batch is a {type(batch).__name__}. Pass map_batches batch_format='pyarrow' or batch_format='numpy'."
        )

    def _checked(self, columns: Iterable[str]) -> str:
        """Return the text column, after checking that the vectors can be added."""
        names = list(columns)
        if self._text_column not in names:
            raise OptionError(f"there is no column {self._text_column!r}; text_column= takes one of {names}.")
        if self._vector_column in names:
            raise OptionError(
                f"there is a column {self._vector_column!r} already among {names}; vector_column= takes another name."
            )
        return self._text_column

    def _embed(self, texts: list[Any]) -> NDArray[np.float32]:
        try:
            return self.encoder.encode_documents(texts)
        except InvalidTextError as exc:
            raise InvalidTextError(
                f"in column {self._text_column!r}, counting from the batch's first row, {exc}"
            ) from exc


def _column_name(option: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise OptionError(f"{option}={value!r} is not allowed; it is a column's name.")
    return value


def _cpus_of_this_actor() -> int:
    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 0)
    if cpus < 1 or cpus != int(cpus):
        raise OptionError(
            f"Ray gave this actor {cpus:g} CPUs; it needs an integer of 1 or more. Pass map_batches num_cpus= with one."
        )
    return int(cpus)


def _fixed_size_lists(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
