"""LlamaIndex: `IntelQuantizedRerank`."""

from __future__ import annotations

from typing import Any

from intel_quantized_embeddings.errors import OptionError, needs

with needs("llama_index.core", extra="llama-index", needed_for="IntelQuantizedRerank"):
    from llama_index.core.callbacks import CBEventType, EventPayload
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # re-exported
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from pydantic import AliasChoices, Field

from intel_quantized_embeddings.integrations.llama_index import PathOrId
from intel_quantized_embeddings.integrations.options import RerankerOptions

_dispatcher = get_dispatcher(__name__)


class IntelQuantizedRerank(RerankerOptions, BaseNodePostprocessor):
    """int8 reranking on CPUs as a LlamaIndex node postprocessor, for the `node_postprocessors` of a query engine.

    Takes a model, `top_n` and the options of `Reranker.load`; unknown arguments are refused. The model is taken as a
    cross-encoder if its `config.json` names a sequence classifier (`architectures`), else as a bi-encoder. Nothing
    is loaded before the first query.

    Example:
        >>> rerank = IntelQuantizedRerank(model="BAAI/bge-reranker-base", top_n=5)  # doctest: +SKIP
        >>> engine = index.as_query_engine(similarity_top_k=50, node_postprocessors=[rerank])  # doctest: +SKIP
    """

    model: PathOrId = Field(validation_alias=AliasChoices("model", "model_name"))

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class in serialized pipelines."""
        return "IntelQuantizedRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """Return copies of the best `top_n` nodes with the model's scores, best first.

        A node's text includes the metadata that it would be embedded with.

        Raises:
            OptionError: There is no query.
        """
        if query_bundle is None:
            raise OptionError("reranking needs the query: pass query_str= or query_bundle= beside the nodes.")
        query = query_bundle.query_str
        most = len(nodes) if self.top_n is None else self.top_n
        _dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=most, model_name=self.model))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: most,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
            best = [
                NodeWithScore(node=nodes[one.index].node, score=one.score)
                for one in self.reranker.rank(query, texts, top_n=self.top_n)
            ]
            event.on_end(payload={EventPayload.NODES: best})
        _dispatcher.event(ReRankEndEvent(nodes=best))
        return best

    def _model_id(self) -> str:
        return self.model
