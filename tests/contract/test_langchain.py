"""What `IntelQuantizedEmbeddings` promises beyond what every adapter does, and LangChain's own tests."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed: the `langchain` extra brings it")

from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore

from intel_quantized_embeddings import Encoder, IntelQuantizedEmbeddings

TEXTS = ["the cat sat on the mat", "a cold river", "music and light in the old city", "why is the moon blue?"]
QUESTION = "what does the cat do?"


@pytest.fixture
def embeddings(tiny_int8, runtime) -> IntelQuantizedEmbeddings:
    return IntelQuantizedEmbeddings(model=tiny_int8, runtime=runtime)


class TestConstructing:
    def test_takes_model_and_model_name(self, tiny_int8, runtime):
        assert IntelQuantizedEmbeddings(model=tiny_int8, runtime=runtime) == IntelQuantizedEmbeddings(
            model_name=tiny_int8, runtime=runtime
        )

    def test_refuses_both_names_at_once(self):
        with pytest.raises(ValueError, match="model_name"):
            IntelQuantizedEmbeddings(model="a/b", model_name="c/d")


def best_first(encoder: Encoder, question: str) -> list[str]:
    """What a search must find, by brute force."""
    scores = encoder.encode_documents(TEXTS) @ encoder.encode_queries([question])[0]
    return [TEXTS[index] for index in np.argsort(-scores)]


class TestInLangChain:
    def test_retrieves_from_memory_in_a_chain(self, embeddings, tiny_encoder):
        store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
        chain = store.as_retriever(search_kwargs={"k": 2}) | RunnableLambda(
            lambda found: [document.page_content for document in found]
        )
        assert chain.invoke(QUESTION) == best_first(tiny_encoder, QUESTION)[:2]

    async def test_retrieves_from_memory_in_an_async_chain(self, embeddings, tiny_encoder):
        store = await InMemoryVectorStore.afrom_texts(TEXTS, embeddings)
        chain = store.as_retriever(search_kwargs={"k": 2}) | RunnableLambda(
            lambda found: [document.page_content for document in found]
        )
        assert await chain.ainvoke(QUESTION) == best_first(tiny_encoder, QUESTION)[:2]

    def test_a_chroma_collection_on_disk_is_searched_alike_when_opened_again(self, embeddings, tiny_encoder, tmp_path):
        chroma = pytest.importorskip("langchain_chroma", reason="langchain-chroma comes with the `examples` extra")

        def opened(embeddings):
            return chroma.Chroma(
                "texts",
                embedding_function=embeddings,
                persist_directory=str(tmp_path),
                collection_configuration={"hnsw": {"space": "cosine"}},
            )

        def search(store):
            return [
                (document.page_content, pytest.approx(distance, abs=1e-5))
                for document, distance in store.similarity_search_with_score(QUESTION, k=len(TEXTS))
            ]

        store = opened(embeddings)
        store.add_documents([Document(page_content=text) for text in TEXTS])
        found = search(store)
        assert [text for text, _ in found] == best_first(tiny_encoder, QUESTION)

        again = opened(pickle.loads(pickle.dumps(embeddings)))
        assert again.similarity_search_with_score(QUESTION, k=1)[0][0].page_content == found[0][0]
        assert [(text, distance.expected) for text, distance in search(again)] == found
