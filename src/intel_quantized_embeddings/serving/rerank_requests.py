"""The body of a request to rank documents, of Cohere's and Jina's clients -> a checked request. Pure functions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from intel_quantized_embeddings.serving.bodies import Body
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.requests import asked_model
from intel_quantized_embeddings.texts import shown

# The fields of both. The last two change nothing here: documents are not cut into chunks, and all requests have one
# priority.
_FIELDS = (
    "model",
    "query",
    "documents",
    "top_n",
    "return_documents",
    "max_tokens_per_doc",
    "rank_fields",
    "max_chunks_per_doc",
    "priority",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """A query and the documents to rank.

    Attributes:
        model: The name in the request; None for the first cross-encoder.
        query: The text to search for.
        documents: The documents as they were sent: strings or objects.
        texts: The text of each document.
        top_n: Number of results to return; None returns all.
        return_documents: Whether to return the documents too.
        max_tokens: The length in tokens at which the client wants documents cut.
    """

    model: str | None
    query: str
    documents: list[Any]
    texts: list[str]
    top_n: int | None
    return_documents: bool
    max_tokens: int | None


def parse_rerank(body: bytes, *, names: Collection[str], limits: Limits) -> RerankRequest:
    """Read and check the body of a request to one of the cross-encoders of some names.

    Raises:
        Refusal: The body is not one of Cohere's and Jina's clients, or names an unknown model.
    """
    given = Body.parsed(body, fields=_FIELDS)
    model = asked_model(given, names)
    query = given.text("query")
    documents = given.get("documents")
    if not isinstance(documents, list) or not documents:
        raise given.wrong(
            "documents",
            f"documents is {'missing' if documents is None else shown(documents)}; it is a list of strings or objects, "
            f"one at least.",
        )
    given.check_number("documents", documents, most=limits.texts)
    texts = [_text(given, document, place) for place, document in enumerate(documents)]
    given.check("documents", texts)
    return RerankRequest(
        model=model,
        query=query,
        documents=documents,
        texts=texts,
        top_n=given.number("top_n"),
        return_documents=given.flag("return_documents", default=False),
        max_tokens=given.number("max_tokens_per_doc"),
    )


def _text(given: Body, document: object, place: int) -> str:
    """Return a document's text: a string, an object's text, or lines of the fields that `rank_fields` names."""
    if isinstance(document, str):
        return document
    fields = given.get("rank_fields")
    if fields is None:
        fields = ["text"]
    if not isinstance(fields, list) or not fields or not all(isinstance(field, str) for field in fields):
        raise given.wrong("rank_fields", f"rank_fields is {shown(fields)}; it is a list of names, one at least.")
    if not isinstance(document, dict) or not any(field in document for field in fields):
        raise given.wrong(
            "documents",
            f"document {place} is {shown(document)}; it is a string, or an object with "
            f"{' or '.join(map(repr, fields))}.",
        )
    if fields == ["text"]:
        text = document["text"]
        if not isinstance(text, str):
            raise given.wrong("documents", f"the text of document {place} is {shown(text)}; it is a string.")
        return text
    return "\n".join(f"{field}: {document[field]}" for field in fields if field in document)
