"""Every snippet of the README and of docs/ that can run, copied and run: a row each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from intel_quantized_embeddings.cli import main
from support.documents import Block, block_with, blocks, page_at, pages, to_run
from support.tiny_models import write_tiny_sparse, write_tiny_sparse_router

CHROMA = "langchain_chroma", "llama_index.vector_stores.chroma"


@dataclass(frozen=True, slots=True)
class Shown:
    """Snippets that are run one after another in one folder.

    Attributes:
        page: Where they are.
        containing: What tells each from the others of its page.
        needs: What must be installed.
        prepared: Name of a fixture that gives what to replace in the text.
        prints: As `Block.run` takes it.
        left: Tells of the names that they leave, in their folder, whether they did what they say.
        together: Whether each finds the names of those before it.
    """

    page: str
    containing: tuple[str, ...]
    needs: tuple[str, ...] = ()
    prepared: str = "minilm_is_there"
    prints: str | None = None
    left: Callable[[dict[str, Any]], bool] | None = None
    together: bool = False

    @property
    def blocks(self) -> list[Block]:
        return [block_with(self.page, containing) for containing in self.containing]


QUICKSTART = Shown("README.md", ("InMemoryVectorStore",), ("langchain_core",), prints=r"(\d\.\d\d  .*\n){2}")
_INGESTED = ("import ingest, query", "from langchain_chroma", "import VectorStoreIndex", "InMemoryVectorStore.load")
_WITH_INGESTION = ("chromadb", "langchain_text_splitters", *CHROMA)
INGESTION = Shown("ingestion.md", _INGESTED, _WITH_INGESTION, together=True)
ROWS = [
    Shown("ingestion.md", (*_INGESTED, "langchain_qdrant"), (*_WITH_INGESTION, "langchain_qdrant"), together=True),
    Shown(
        "README.md",
        ("VectorStoreIndex",),
        ("llama_index.core",),
        prepared="llama_indexs_settings",
        prints=r"The Danube flows into the Black Sea\.\n",
    ),
    Shown("README.md", ("encode_documents",), prints=r"0\nnative-int8-mean-.*\n"),
    Shown("README.md", ("Reranker.load",)),
    Shown(
        "README.md",
        ("report = quantize",),
        prepared="few_texts",
        prints=r"mean 0\.9.*\n",
        left=lambda known: Path("minilm-int8/manifest.json").is_file(),
    ),
    Shown("ipex.md", ('runtime="ipex")  #',), prepared="minilm_is_there_for_ipex"),
    Shown(
        "ipex.md",
        ("allow_torchscript",),
        ("langchain_core",),
        prepared="intels_folder",
        left=lambda known: len(known["embeddings"].embed_query("Where does the river end?")) == 384,
    ),
    Shown("native.md", ("encode_queries",), prepared="minilm_in_fp32"),
    Shown("integrations.md", ("create_collection(", "registers the function's name"), ("chromadb",)),
    Shown("integrations.md", ("encode_document(",)),
    Shown("integrations.md", ("IntelQuantizedRanker",), ("haystack",)),
    # The second one: slices into Chroma, and a node that replaces another.
    Shown("integrations.md", ("CacheBackedEmbeddings", "TextNode"), ("langchain_classic", *CHROMA), together=True),
    Shown("vectors.md", ("to_binary",)),
    Shown("vectors.md", ("truncate_dim=256",), ("langchain_core",)),
    Shown("serving.md", ("from openai",), ("openai",), prepared="service"),
    Shown("serving.md", ("from langchain_openai",), ("langchain_openai",), prepared="service"),
    Shown("serving.md", ("import cohere",), ("cohere",), prepared="service"),
    Shown("serving.md", ("import InferenceClient",), prepared="service"),
    Shown(
        "reranking.md",
        ("Reranker.load(",),
        prepared="cross_encoder_int8",
        prints=r"0\.\d\d  (Cats|The Danube) .*\n",
    ),
    Shown(
        "reranking.md",
        ("IntelQuantizedReranker(",),
        ("langchain_core",),
        prepared="cross_encoder_int8",
        prints=r"0\.\d+\n",
    ),
    Shown(
        "reranking.md",
        ("IntelQuantizedRerank(",),
        ("llama_index.core",),
        prepared="cross_encoder_int8",
        prints=r"0\.\d+\n",
    ),
    Shown("reranking.md", ("model.score",), prepared="cross_encoder_int8"),
    Shown(
        "reranking.md",
        ("quantize_cross_encoder(",),
        prepared="cross_encoder",
        prints=r"rank correlation 0\.9.*\n",
        left=lambda known: Path("bge-reranker-int8/manifest.json").is_file(),
    ),
    Shown("sparse.md", ("encoder.decode",), ("scipy",), prepared="sparse", prints=r"\[\[.*\]\]\n\[\[\(.*\)\]\]\n"),
    Shown(
        "sparse.md",
        ("QdrantVectorStore",),
        ("scipy", "langchain_core", "langchain_qdrant"),
        prepared="sparse_and_dense",
        prints=r"(Cats|The Danube) .*\n",
    ),
    Shown(
        "sparse.md",
        ("splade-int8",),
        ("scipy",),
        prepared="sparse",
        prints=r"SparseFidelity\(.*\n",
        left=lambda known: Path("splade-int8/manifest.json").is_file(),
    ),
    Shown(
        "sparse.md",
        ("doc-int8",),
        ("scipy",),
        prepared="inference_free",
        left=lambda known: known["queries"].shape[0] == 1 and Path("doc-int8/document/manifest.json").is_file(),
    ),
    Shown(
        "migrating.md",
        ("IntelQuantizedRanker(",),
        ("haystack",),
        prepared="nothing",
        left=lambda known: known["ranker"].top_k == 3,
    ),
    Shown(
        "migrating.md",
        ("import chromadb",),
        ("chromadb", "langchain_core"),
        prepared="an_old_collection",
        prints="3 of 3\n",
        left=lambda known: _is_indexed_again(**known),
    ),
]
# Not in the table: run beside what its library needs.
ELSEWHERE = {"scaling.md": ("test_ray.py", "test_spark.py")}


@pytest.fixture
def nothing() -> dict[str, str]:
    return {}


@pytest.fixture
def minilm_is_there(minilm_int8) -> dict[str, str]:
    """The int8 model was made before."""
    return {}


@pytest.fixture
def minilm_is_there_for_ipex(ipex_installed, minilm_int8_of) -> dict[str, str]:
    minilm_int8_of("ipex")
    return {}


@pytest.fixture
def minilm_in_fp32(minilm) -> dict[str, str]:
    return {}


@pytest.fixture
def few_texts(minilm_int8, quick_quantizing) -> dict[str, str]:
    return {}


@pytest.fixture
def llama_indexs_settings(minilm_int8, monkeypatch) -> dict[str, str]:
    """Put back afterwards."""
    monkeypatch.setattr(pytest.importorskip("llama_index.core").Settings, "_embed_model", None)
    return {}


@pytest.fixture
def intels_folder(like_optimum_intels) -> dict[str, str]:
    """There is no hub here: the id is exchanged for a folder that was made as Intel's were."""
    return {"Intel/bge-small-en-v1.5-rag-int8-static": str(like_optimum_intels[0])}


@pytest.fixture
def service(minilm_service) -> dict[str, str]:
    return {"127.0.0.1:8000": f"127.0.0.1:{minilm_service.port}"}


@pytest.fixture
def cross_encoder(tiny_cross_encoder) -> dict[str, str]:
    """A tiny one stands for the one named there."""
    return {"BAAI/bge-reranker-base": str(tiny_cross_encoder)}


@pytest.fixture
def cross_encoder_int8(tiny_cross_encoder_int8) -> dict[str, str]:
    return {"BAAI/bge-reranker-base": str(tiny_cross_encoder_int8)}


@pytest.fixture
def sparse(tmp_path_factory) -> dict[str, str]:
    """A tiny one stands for the one named there."""
    return {"ibm-granite/granite-embedding-30m-sparse": str(write_tiny_sparse(tmp_path_factory.mktemp("sparse")))}


@pytest.fixture
def inference_free(tmp_path_factory) -> dict[str, str]:
    """A tiny one stands for the one named there."""
    folder = write_tiny_sparse_router(tmp_path_factory.mktemp("inference-free"), as_published=True)
    return {"opensearch-project/opensearch-neural-sparse-encoding-doc-v2-distill": str(folder)}


@pytest.fixture
def sparse_and_dense(sparse, tiny) -> dict[str, str]:
    return {**sparse, "BAAI/bge-small-en-v1.5": str(tiny)}


@pytest.fixture
def an_old_collection(minilm_int8, tmp_path) -> dict[str, str]:
    """What was indexed with another embedder."""
    chromadb = pytest.importorskip("chromadb", reason="the chroma extra is not installed")
    old = chromadb.PersistentClient(tmp_path / "index").create_collection("documents", embedding_function=None)
    old.add(
        ids=["cats", "danube", "xeons"],
        documents=["Cats sleep most of the day.", "The Danube flows into the Black Sea.", "Xeons are processors."],
        metadatas=[{"page": 1}, None, {"page": 3}],
        embeddings=[[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]],
    )
    return {}


def _is_indexed_again(embeddings, new, **_) -> bool:
    """Every text moved with its metadata."""
    found = new.query(query_embeddings=[embeddings.embed_query("Where does the river end?")], n_results=3)
    assert found["ids"][0][0] == "danube"
    assert dict(zip(found["ids"][0], found["metadatas"][0], strict=True))["xeons"] == {"page": 3}
    assert new.metadata["encoder"].startswith("native-int8-mean-")
    return True


@pytest.fixture
def run(request, tmp_path, monkeypatch, capsys) -> Callable[[Shown], str]:
    """Run a row in a folder of its own, check what it says of itself, and return what it printed."""

    def run_row(row: Shown) -> str:
        for needed in row.needs:
            pytest.importorskip(needed, reason=f"{needed} is not installed")
        monkeypatch.chdir(tmp_path)
        replaced = request.getfixturevalue(row.prepared)
        known: dict[str, Any] = {}
        printed = ""
        for block in row.blocks:
            known = known if row.together else {}
            printed += block.run(capsys, known=known, prints=row.prints, replaced=replaced)
        assert printed or row.left, "nothing would be checked"
        assert row.left is None or row.left(known)
        return printed

    return run_row


def _of(rows: list[Shown]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "row",
        [pytest.param(row, marks=[pytest.mark.ipex] if row.page == "ipex.md" else []) for row in rows],
        ids=[f"{row.page}-{row.containing[0]}" for row in rows],
    )


@_of(ROWS)
def test_a_snippet_does_what_its_page_says(run, row):
    run(row)


def test_the_quickstart_is_ten_lines_and_prints_what_the_readme_shows(run):
    assert len(QUICKSTART.blocks[0].text.strip().splitlines()) <= 10
    printed = run(QUICKSTART)
    shown = re.search(r"```text\n(.*?)```", page_at("README.md").read_text("utf-8"), flags=re.DOTALL).group(1)
    # Scores may move in the last digit; texts and order may not.
    assert re.sub(r"\d\.\d\d", "#", printed) == re.sub(r"\d\.\d\d", "#", shown)
    for one, two in zip(re.findall(r"\d\.\d\d", printed), re.findall(r"\d\.\d\d", shown), strict=True):
        assert float(one) == pytest.approx(float(two), abs=0.02)


def test_what_the_ingestion_page_shows_is_what_comes_out(run, tmp_path, minilm, capsys):
    run(INGESTION)
    (tmp_path / "notes.jsonl").write_text('{"text": "Cats sleep most of the day.", "id": "cats"}\n', "utf-8")
    shown = blocks(page_at("ingestion.md"), "sh")[0].text
    commands = [line for line in shown.splitlines() if line.startswith("iqe ")]
    assert [main(shlex.split(line)[1:]) for line in commands] == [0, 0]
    printed = capsys.readouterr().out
    assert "1 added" in printed
    assert re.search(r"^1\. .*docs/rent\.md  \(distance 0\.\d+\)$", printed, flags=re.MULTILINE)


# Of the page for those who move here: an old class under its name and the new one that gives the same vectors.
_CONSTRUCTING = [block for block in to_run("migrating.md") if "\nembed" in block.text and "chromadb" not in block.text]
PAIRS = [(old, new) for old, new in pairwise(_CONSTRUCTING) if "integrations.retired" in old.text]
NEW_ONES = [block for block in _CONSTRUCTING if "integrations.retired" not in block.text]


def _made_by(block: Block, capsys) -> Any:
    """The object that a snippet leaves; nothing is loaded."""
    for library in ("langchain_core", "llama_index.core"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    known: dict[str, Any] = {}
    block.run(capsys, known=known)
    (made,) = (known[name] for name in ("embeddings", "embed_model") if name in known)
    return made


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=lambda block: block.text.split("import ", 1)[1].split()[0])
def test_the_old_name_and_the_new_class_are_given_the_same_options(old, new, capsys):
    """They decide its vectors."""
    assert new in NEW_ONES
    with pytest.deprecated_call():
        under_the_old_name = _made_by(old, capsys)
    options, expected = (
        made.model_dump(exclude={"callback_manager"}) for made in (_made_by(new, capsys), under_the_old_name)
    )
    assert options == expected


@pytest.mark.parametrize("block", NEW_ONES, ids=range(len(NEW_ONES)))
def test_the_new_class_takes_what_the_page_gives_it(block, capsys):
    made = _made_by(block, capsys)
    assert type(made).__name__ in ("IntelQuantizedEmbeddings", "IntelQuantizedEmbedding")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_snippet_is_run_by_a_test_or_says_why_not(page):
    if page.name in ELSEWHERE:
        tests = [Path(__file__).with_name(name).read_text("utf-8") for name in ELSEWHERE[page.name]]
        assert all(f'"{page.name}"' in text for text in tests)
        assert len(to_run(page.name)) == len(tests)
        return
    run_here = [block for row in (QUICKSTART, INGESTION, *ROWS) for block in row.blocks]
    run_here += [*NEW_ONES, *(old for old, _ in PAIRS)]
    left = [block.text for block in to_run(page.name) if block not in run_here]
    assert not left, f"no test runs these of {page.name}, and they do not say why: {left}"
