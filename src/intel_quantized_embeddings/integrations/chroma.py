"""Chroma: `IntelQuantizedEmbeddingFunction`, which a collection remembers.

Importing this module registers it: a process that opens such a collection imports it first.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.shared import shared_encoder
from intel_quantized_embeddings.errors import OptionError, OtherEncoderError, QuantizedEmbeddingsError, needs
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.lasting import lasting_place
from intel_quantized_embeddings.models.prompts import read_similarity
from intel_quantized_embeddings.options import DEFAULT_MODEL, LoadKeywords, LoadOptions
from intel_quantized_embeddings.similarity import Similarity

with needs("chromadb>=1.1", extra="chroma", needed_for="IntelQuantizedEmbeddingFunction", may_be_too_old=True):
    from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
    from chromadb.utils.embedding_functions import register_embedding_function

    _ = EmbeddingFunction.embed_query  # before 1.1 Chroma embedded queries as documents

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)

# Options kept with a collection, without `allow_torchscript`: the user decides about it, not the database.
_KEPT = tuple(option.name for option in dataclasses.fields(LoadOptions) if option.metadata["moves_vectors"])
FINGERPRINT = "fingerprint"
# By similarity, the space in Chroma. It has no Manhattan distance; the euclidean one is the nearest.
SPACES: dict[Similarity, Space] = {
    Similarity.COSINE: "cosine",
    Similarity.DOT: "ip",
    Similarity.EUCLIDEAN: "l2",
    Similarity.MANHATTAN: "l2",
}
# Chroma builds a function from a collection's configuration for every call, and drops it. The encoders used last are
# held, so that a call does not load its model again; not more of them, because each is a model in memory.
_MOST_HELD = 2
_held: tuple[Encoder, ...] = ()
_built: WeakValueDictionary[str, IntelQuantizedEmbeddingFunction] = WeakValueDictionary()


@register_embedding_function
class IntelQuantizedEmbeddingFunction(EmbeddingFunction[Documents]):
    """int8 embeddings on CPUs as a Chroma embedding function.

    A collection created with it is opened without naming it again, in a process that imported this module. Nothing
    is loaded before the first text. Once loaded (`warm_up` loads now), it writes `Encoder.fingerprint` into the
    collections that it is given to: they then refuse another int8 form of the model.

    Args:
        model: A folder or a hub id. The collection keeps a folder's absolute path.
        fingerprint: The expected `Encoder.fingerprint`; None accepts any.
        options: Those of `Encoder.load`. A collection keeps the ones that vectors depend on; to open it with
            `cache_folder`, `num_threads`, `local_files_only`, `warm_shapes` or `allow_torchscript`, or with the
            model in another place, pass the function to `get_collection` too.

    Raises:
        OptionError: A value is not allowed.

    Example:
        >>> function = IntelQuantizedEmbeddingFunction("BAAI/bge-small-en-v1.5")  # doctest: +SKIP
        >>> collection = client.create_collection("docs", embedding_function=function)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        fingerprint: str | None = None,
        **options: Unpack[LoadKeywords],
    ) -> None:
        if fingerprint is not None and not isinstance(fingerprint, str):
            raise OptionError(f"fingerprint={fingerprint!r} is not allowed; it is a str or None.")
        self.options = dataclasses.replace(LoadOptions.from_keywords(model, options), model=lasting_place(model))
        self._expected = fingerprint
        self._encoder: Encoder | None = None
        self._is_chromas = False  # only Chroma has it, for a call
        self._similarity: Similarity | None = None
        self._said_cosine = False

    @classmethod
    def of(cls, encoder: Encoder) -> IntelQuantizedEmbeddingFunction:
        """Make a function of a loaded encoder, whose fingerprint a collection then gets at once.

        Args:
            encoder: The result of `Encoder.load`, or the `encoder` of an adapter.

        Raises:
            OptionError: The encoder was made in another way, so a collection could not record how to load it.
        """
        if encoder.options is None:
            raise OptionError("only an encoder made by Encoder.load can be kept with a collection.")
        options = {name: getattr(encoder.options, name) for name in LoadKeywords.__annotations__}
        function = cls(encoder.options.model, fingerprint=encoder.fingerprint, **options)
        function._encoder = encoder
        return function

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded at first use.

        Raises:
            OtherEncoderError: It is not the one that filled the collection.
            QuantizedEmbeddingsError: As `Encoder.load` lists them.
        """
        if self._encoder is None:
            encoder = shared_encoder(self.options)
            if self._expected not in (None, encoder.fingerprint):
                raise OtherEncoderError(
                    f"the collection was filled by the encoder {self._expected} and {self.options.model} loads as "
                    f"{encoder.fingerprint} here: their vectors don't compare. Pass get_collection the function with "
                    f"the int8 folder that was used then, or embed the documents again."
                )
            self._encoder = encoder
            similarity = self._similarity = encoder.settings.similarity
            if self._said_cosine and encoder.settings.lengths_matter:
                logger.warning(
                    "a collection may have been made to compare by cosine before %s was on this machine, and its "
                    "vectors are to be compared by %s. Make it again: create_collection(..., "
                    "configuration={'hnsw': {'space': %r}})",
                    self.options.model,
                    similarity.value,
                    SPACES[similarity],
                )
        if self._is_chromas:
            _hold(self._encoder)
        return self._encoder

    @staticmethod
    def release() -> None:
        """Release the models that reopened collections used last; the next call of one loads its model again.

        Functions that are passed to `get_collection` keep theirs as long as they exist.
        """
        global _held
        _held = ()

    def warm_up(self) -> None:
        """Load now (downloading and quantizing if necessary) instead of at the first text."""
        self.encoder.encode_queries(["warm up"])

    def __call__(self, input: Documents) -> Embeddings:
        """Embed texts to be searched, one vector each, in order."""
        return list(self.encoder.encode_documents(input))

    def embed_query(self, input: Documents) -> Embeddings:
        """Embed texts to search with."""
        return list(self.encoder.encode_queries(input))

    @staticmethod
    def name() -> str:
        """Return the name of the function in collections."""
        return "intel_quantized"

    def default_space(self) -> Space:
        """Return the space of collections that do not name one: the model's own, if its folder is on this machine.

        For a hub id that was never loaded here the cosine is returned; `encoder` warns later if that is wrong.
        """
        if self._similarity is None:
            self._similarity = self._encoder.settings.similarity if self._encoder else _similarity_of(self.options)
        self._said_cosine = self._similarity is None
        return SPACES[self._similarity or Similarity.COSINE]

    def supported_spaces(self) -> list[Space]:
        """Return the spaces of Chroma."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """Return the configuration that a collection keeps, as JSON."""
        config = {name: getattr(self.options, name) for name in _KEPT}
        return config | {FINGERPRINT: self._encoder.fingerprint if self._encoder else self._expected}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> IntelQuantizedEmbeddingFunction:
        """Build a function from `get_config`'s result. One configuration gives one object while it is in use."""
        IntelQuantizedEmbeddingFunction.validate_config(config)
        key = json.dumps(config, sort_keys=True)
        function = _built.get(key)
        if function is None:
            function = _built[key] = IntelQuantizedEmbeddingFunction(**config)
            function._is_chromas = True
        return function

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Check that a configuration has only keys and values that this version knows; else it is an OptionError."""
        unknown = sorted(set(config) - {*_KEPT, FINGERPRINT})
        if unknown:
            raise OptionError(
                f"the configuration has {', '.join(unknown)}, which this version does not know. Known are "
                f"{', '.join(_KEPT)} and {FINGERPRINT}; a newer intel-quantized-embeddings may know more."
            )
        IntelQuantizedEmbeddingFunction(**config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Refuse changes of options that a collection's vectors depend on; a folder with the same fingerprint may move.

        Raises:
            OptionError: The new configuration may give other vectors.
        """
        changed = [name for name in (*_KEPT, FINGERPRINT) if old_config.get(name) != new_config.get(name)]
        fingerprint = old_config.get(FINGERPRINT)
        if not changed or (fingerprint is None and changed == [FINGERPRINT]):
            return
        if fingerprint is None or fingerprint != new_config.get(FINGERPRINT):
            seen = (f"{name} from {old_config.get(name)!r} to {new_config.get(name)!r}" for name in changed)
            raise OptionError(
                f"changing {', '.join(seen)} would leave the collection with vectors of two encoders. Create another "
                f"collection and embed the documents again. Chroma may have written the change before it asked: put "
                f"the former function back with modify(configuration={{'embedding_function': ...}}). (A folder that "
                f"moved is accepted where both have a fingerprint, and the same; warm_up gives the function one.)"
            )

    def __repr__(self) -> str:
        return f"IntelQuantizedEmbeddingFunction({self.options!r})"


def _hold(encoder: Encoder) -> None:
    """Hold an encoder for the next call; without a lock, because a race only makes a call load again."""
    global _held
    _held = (encoder, *(held for held in _held if held is not encoder))[:_MOST_HELD]


def _similarity_of(options: LoadOptions) -> Similarity | None:
    """Read the similarity in the model's folder, without loading it; None if it is not on this machine."""
    try:
        found = find_model(
            options.model, revision=options.revision, cache_folder=options.cache_folder, local_files_only=True
        )
        return read_similarity(found.path)
    except QuantizedEmbeddingsError:  # loading will report the error
        return None
