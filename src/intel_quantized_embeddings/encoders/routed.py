"""The base of models that a Router may be: one model for queries, another for documents, behind one object."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast

from intel_quantized_embeddings.encoders.loaded import HasLength, LoadedModel
from intel_quantized_embeddings.errors import UnsupportedModelError
from intel_quantized_embeddings.models.lasting import lasting
from intel_quantized_embeddings.models.routes import QUERY
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.options import LoadOptions
from intel_quantized_embeddings.quantization.kinds import SPARSE

if TYPE_CHECKING:
    from typing_extensions import Self

_Settings = TypeVar("_Settings", bound=HasLength)


class RoutedModel(LoadedModel[_Settings]):
    """A loaded model that makes rows of queries and of documents, with one graph or with two."""

    # The models of queries, of documents and of other texts, if this is a Router.
    _routes: tuple[object, object, object] | None = None

    @classmethod
    def from_source(cls, source: SourceModel, options: LoadOptions) -> Self:
        """Load a model whose files are known; of a Router, both of its models.

        Raises:
            UnsupportedModelError: Beside the cases of `load`: the two models' vectors can't be compared.
        """
        routes = source.routes
        if routes is None:
            return super().from_source(source, options)
        if source.is_sparse is not (cls._kind is SPARSE):
            gives, loader = (
                ("sparse vectors", "SparseEncoder")
                if source.is_sparse
                else ("embeddings of one vector a text", "Encoder")
            )
            raise UnsupportedModelError(
                f"{source.name} is a Router of two models that make {gives}: load it with {loader}.load."
            )
        query, document = (cls._of_route(source.route(folder), options) for folder in (routes.query, routes.document))
        if query.dimension != document.dimension:
            able = "truncate_dim" not in cls._kind.meaningless
            raise UnsupportedModelError(
                f"{source.name} makes vectors of {query.dimension} numbers of queries and of {document.dimension} of "
                f"documents, which can't be compared."
                f"{' Pass truncate_dim= with no more than the fewer.' if able else ''}"
            )
        whole, others = cls.__new__(cls), query if routes.default == QUERY else document
        whole.__dict__ |= others.__dict__
        whole._routes = (query, document, others)
        whole._options = lasting(options)
        whole._fingerprint = f"{document.fingerprint}+{query.fingerprint}"
        return whole

    @classmethod
    def _of_route(cls, source: SourceModel, options: LoadOptions) -> Self:
        if source.static is not None or source.weight_table is not None:  # whatever the other model has
            options = replace(options, runtime=None, instruction_set=None)
        return super().from_source(source, options)

    @property
    def for_queries(self) -> Self:
        """The model that encodes queries: this one, or a Router's model for them."""
        return self if self._routes is None else cast("Self", self._routes[0])

    @property
    def for_documents(self) -> Self:
        """The model that encodes documents, as `for_queries`."""
        return self if self._routes is None else cast("Self", self._routes[1])

    @property
    def for_others(self) -> Self:
        """The model that encodes texts that are neither, as `for_queries`."""
        return self if self._routes is None else cast("Self", self._routes[2])

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._runtime.dimension
