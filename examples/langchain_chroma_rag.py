"""Ask questions of a folder of texts: int8 embeddings, LangChain, Chroma. This is `make demo`.

    python examples/langchain_chroma_rag.py
    python examples/langchain_chroma_rag.py --docs ~/notes --question "When is the rent due?"
    python examples/langchain_chroma_rag.py --llm openai:gpt-4o-mini

The first run quantizes the model and embeds the corpus; later ones find both in .demo and embed
only what is new. Needs `pip install -e '.[examples]'`, and no network once the model is here.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

try:
    from langchain_chroma import Chroma
    from langchain_core.documents import Document

    import rag_steps as steps
    from intel_quantized_embeddings import IntelQuantizedEmbeddings
except ImportError as exc:
    sys.exit(f"error: {exc}. The examples need: pip install -e '.[examples]'")

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from corpus import Entry

PASSAGES = 3
PROMPT = """Answer the question in a few sentences from the numbered passages alone, and name the passages you used, \
like [1]. If they don't answer it, say so.

{passages}

Question: {question}"""


def rag(options: argparse.Namespace) -> None:
    """Quantize, embed, ask."""
    llm = chat_model(options.llm) if options.llm else None
    folder = steps.int8_folder(options.model, options.data)
    embeddings = IntelQuantizedEmbeddings(model=folder, show_progress=sys.stderr.isatty())
    store = filled_store(embeddings, options)
    steps.heading("Answers (source, similarity)")
    for question in options.question or steps.QUESTIONS:
        ask(store, question, llm)


def filled_store(embeddings: IntelQuantizedEmbeddings, options: argparse.Namespace) -> Chroma:
    """Open the collection and add the documents that it does not hold yet."""
    entries = steps.corpus_entries(options.docs, options.data)
    name = steps.collection_name("langchain", options.docs)
    client, collection = steps.open_collection(options.data, name, encoder=embeddings.encoder, fresh=options.fresh)
    store = Chroma(name, embedding_function=embeddings, client=client)

    def add(entries: Sequence[Entry]) -> None:
        # In one call, however many: the encoder sorts by length and makes its own batches.
        store.add_documents([Document(id=e.id, page_content=e.titled, metadata={"source": e.source}) for e in entries])

    embedded = steps.fill(client, collection, entries, add)
    if embedded and not steps.is_int8(options.model):
        steps.say_cost_of_fp32(options.model, embeddings.encoder, entries)
    return store


def ask(store: Chroma, question: str, llm: BaseChatModel | None) -> None:
    """Print the passages nearest to a question, under a chat model's answer where there is one."""
    found = store.similarity_search_with_score(question, k=PASSAGES)
    print(f"\n{question}")
    if llm is not None:
        for line in answer(llm, question, [document for document, _ in found]).splitlines():
            print(textwrap.fill(line, steps.WIDTH - 2, initial_indent="  ", subsequent_indent="  "))
    for rank, (document, distance) in enumerate(found, start=1):
        source = document.metadata["source"]
        steps.show_passage(rank, 1 - distance, source, document.page_content.removeprefix(source))


def chat_model(name: str) -> BaseChatModel:
    """A chat model such as "openai:gpt-4o-mini", its key in the environment as its provider wants it."""
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as exc:
        raise steps.ExampleError(f"--llm {name} needs LangChain itself: pip install langchain") from exc
    try:
        return init_chat_model(name)
    except Exception as exc:  # a package or a key is missing: each provider has errors of its own
        raise steps.ExampleError(f"--llm {name}: {one_line(exc)}") from exc


def answer(llm: BaseChatModel, question: str, passages: Sequence[Document]) -> str:
    """What a chat model makes of the passages."""
    numbered = "\n\n".join(f"[{rank}] {passage.page_content}" for rank, passage in enumerate(passages, start=1))
    try:
        return llm.invoke(PROMPT.format(passages=numbered, question=question)).text
    except Exception as exc:  # as above, and the network's
        raise steps.ExampleError(f"the chat model did not answer: {one_line(exc)}") from exc


def one_line(error: Exception) -> str:
    """An error of a chat model's package, which may run over many lines."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    options = steps.parser("Ask questions of a folder of texts: int8 embeddings, LangChain, Chroma.")
    options.add_argument("--llm", metavar="PROVIDER:MODEL", help="let a chat model answer from the passages")
    return steps.run(rag, options.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
