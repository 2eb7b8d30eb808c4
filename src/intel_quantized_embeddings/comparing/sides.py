"""The two sides of a comparison, as written on the command line: MODEL, MODEL@SYSTEM, or an address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from intel_quantized_embeddings.benchmarks.loaded import LoadedSystem
from intel_quantized_embeddings.benchmarks.systems import load_ours
from intel_quantized_embeddings.comparing.endpoint import KEY_VARIABLE, Endpoint
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.models.hub import find_asked
from intel_quantized_embeddings.options import LoadOptions, Precision, RuntimeName
from intel_quantized_embeddings.runtimes.table import RUNTIMES
from intel_quantized_embeddings.similarity import Similarity

# Words allowed behind the @ of a model: a precision, or a name of `iqe benchmark --systems`.
_SYSTEMS: dict[str, dict[str, str]] = {
    **{precision.value: {"precision": precision.value} for precision in Precision},
    **{
        f"{runtime.value}-{precision.value}": {"runtime": runtime.value, "precision": precision.value}
        for runtime in RuntimeName
        for precision in RUNTIMES[runtime].precisions
    },
}

Encodes: TypeAlias = "Encoder | SparseEncoder | Endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two.

    Attributes:
        written: As the command line has it, files by their last part alone.
        model: A folder, a hub id, or an address up to `/v1`.
        chosen: Runtime and precision that were asked for; of an endpoint, its model's name.
    """

    written: str
    model: str
    chosen: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> Side:
        """Parse one side.

        Raises:
            OptionError: The text is neither a model nor an address.
        """
        if text.startswith(("http://", "https://")):
            return cls._parse_address(text)
        model, at, system = ("", "", "") if Path(text).expanduser().exists() else text.rpartition("@")
        if not at:
            return cls(written=Path(text).name or text, model=text, chosen={})
        if system not in _SYSTEMS or not model:
            raise OptionError(
                f"{text!r} is not a model: {system!r} may not stand behind an @. Write MODEL, or MODEL@ and one of "
                f"{', '.join(_SYSTEMS)}; or an address, http://HOST:PORT/v1."
            )
        return cls(written=f"{Path(model).name}@{system}", model=model, chosen=_SYSTEMS[system])

    @classmethod
    def _parse_address(cls, text: str) -> Side:
        address_error = OptionError(
            f"{text!r} is not an address; write http://HOST:PORT/v1, or http://HOST:PORT/v1@MODEL, in ASCII but for "
            f"MODEL."
        )
        try:
            parts = urlsplit(text)
        except ValueError as exc:
            raise address_error from exc
        if "@" in parts.netloc:
            raise OptionError(
                f"the address of {parts.netloc.rpartition('@')[2]} has a name or a password in it; leave it out, and "
                f"put the key into the environment variable {KEY_VARIABLE}."
            )
        path, _, name = parts.path.partition("@")
        try:
            valid = (
                bool(parts.hostname) and not (parts.query or parts.fragment) and (parts.port is None or parts.port > 0)
            )
            (parts.hostname or "").encode("idna")  # what sending would do
        except ValueError as exc:
            raise address_error from exc
        if not valid or not path.isascii():
            raise address_error
        address = f"{parts.scheme}://{parts.netloc}{path.rstrip('/').removesuffix('/embeddings')}"
        return cls(written=f"{address}@{name}" if name else address, model=address, chosen={"name": name})

    @property
    def is_endpoint(self) -> bool:
        """Whether this side is a server."""
        return "name" in self.chosen

    def load(self, options: dict[str, Any]) -> Encodes:
        """Load the model or connect to the server; `options` are those of `Encoder.load`, ignored by a server."""
        if self.is_endpoint:
            return Endpoint(self.model, self.chosen["name"]).connect()
        asked = {"model": self.model, **self.chosen, **options}
        return SparseEncoder.load(**asked) if _is_sparse(asked) else Encoder.load(**asked)

    def system(self, options: dict[str, Any]) -> LoadedSystem:
        """Return this side as a system for a process that measures its speed."""
        if not self.is_endpoint:
            asked = {"model": self.model, **self.chosen, **options}
            return load_ours(asked, sparse=_is_sparse(asked), given={})
        endpoint = Endpoint(self.model, self.chosen["name"]).connect()
        return LoadedSystem(
            encode=lambda texts, _: endpoint.encode_documents(texts),
            embed_query=lambda text: endpoint.encode_queries([text])[0],
            given={},
        )


def _is_sparse(asked: dict[str, Any]) -> bool:
    """Return whether the model of some options is a sparse one."""
    return find_asked(LoadOptions(**asked)).is_sparse


def facts(encodes: Encodes, dimension: int) -> dict[str, Any]:
    """Return facts about an encoder, for the record."""
    if isinstance(encodes, Endpoint):
        return {"endpoint": encodes.address, "model": encodes.model, "dimension": dimension}
    settings = encodes.settings
    return {
        "fingerprint": encodes.fingerprint,
        "pooling": settings.pooling.value if isinstance(encodes, Encoder) else settings.pooling_name,
        "max_length": settings.max_length,
        "dimension": dimension,
    }


def similarity_of(encodes: Encodes) -> Similarity:
    """Return the similarity that compares an encoder's vectors."""
    return Similarity.COSINE if isinstance(encodes, Endpoint) else encodes.settings.similarity
