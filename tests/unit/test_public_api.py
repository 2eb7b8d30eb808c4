"""The public door: what it names, what it costs to open, and what it says when something is not installed."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import inspect
import pydoc
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import intel_quantized_embeddings
from intel_quantized_embeddings import CrossEncoder, Encoder, Reranker
from intel_quantized_embeddings.errors import MissingExtraError
from intel_quantized_embeddings.options import LoadKeywords, LoadOptions, ScoringKeywords

# Import name of what each public name needs beyond the base dependencies.
NEEDS = {
    "IntelQuantizedEmbedding": "llama_index",
    "IntelQuantizedEmbeddings": "langchain_core",
    "IntelQuantizedRerank": "llama_index",
    "IntelQuantizedReranker": "langchain_core",
}

HEAVY = [
    "huggingface_hub",
    "langchain_core",
    "llama_index",
    "nncf",
    "numpy",
    "openvino",
    "pydantic",
    "safetensors",
    "scipy",
    "tokenizers",
    "torch",
    "tqdm",
    "transformers",
]


def run(code: str, *arguments: object) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


class TestNames:
    def test_are_all_listed_once_in_order(self):
        listed = intel_quantized_embeddings.__all__
        assert listed == sorted(set(listed))
        assert set(listed) == {*intel_quantized_embeddings._HOMES, "__version__"}

    def test_are_what_dir_shows_and_a_star_import_gives(self):
        assert dir(intel_quantized_embeddings) == intel_quantized_embeddings.__all__
        missing = [package for package in NEEDS.values() if not is_installed(package)]
        if missing:
            pytest.skip(f"{', '.join(missing)} not installed, so a star import can't give everything")
        given: dict[str, object] = {}
        exec("from intel_quantized_embeddings import *", given)
        assert sorted(given.keys() - {"__builtins__"}) == intel_quantized_embeddings.__all__

    @pytest.mark.parametrize("name", intel_quantized_embeddings.__all__)
    def test_each_loads(self, name):
        if name in NEEDS and not is_installed(NEEDS[name]):
            pytest.skip(f"{NEEDS[name]} is not installed")
        value = getattr(intel_quantized_embeddings, name)
        assert name == "__version__" or value.__name__ == name

    def test_an_unknown_one_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="'intel_quantized_embeddings' has no attribute 'Encoders'"):
            intel_quantized_embeddings.Encoders  # noqa: B018 - asking is the test

    def test_the_version_is_the_distributions(self):
        assert intel_quantized_embeddings.__version__ == importlib.metadata.version("intel-quantized-embeddings")


def test_no_module_of_the_package_goes_through_its_own_front_door():
    """What the root gives is loaded from where it is: an import of the root would run in circles."""
    root = Path(intel_quantized_embeddings.__file__).parent
    through = {
        f"{file.relative_to(root)}: {alias.name}"
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "intel_quantized_embeddings"
        for alias in node.names
        if alias.name in intel_quantized_embeddings.__all__
    }
    assert through == set()


@pytest.fixture
def forget(monkeypatch):
    """Let a module of ours be imported as for the first time, and everything be as it was afterwards."""

    def forgotten(module):
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{module}.")]:
            monkeypatch.delitem(sys.modules, name)
        parent, _, child = module.rpartition(".")
        if hasattr(importlib.import_module(parent), child):
            monkeypatch.delattr(importlib.import_module(parent), child)

    return forgotten


@pytest.fixture
def take_away(monkeypatch):
    """Let a library not be installed."""

    def taken_away(package):
        for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
            monkeypatch.setitem(sys.modules, name, None)

    return taken_away


class TestMissingExtras:
    @pytest.mark.parametrize(
        ("name", "package", "extra"),
        [
            ("IntelQuantizedEmbeddings", "langchain_core", "langchain"),
            ("IntelQuantizedEmbedding", "llama_index.core", "llama-index"),
            ("IntelQuantizedReranker", "langchain_core", "langchain"),
            ("IntelQuantizedRerank", "llama_index.core", "llama-index"),
        ],
    )
    def test_an_adapter_says_what_to_install(self, name, package, extra, forget, take_away, monkeypatch):
        take_away(package.partition(".")[0])
        forget("intel_quantized_embeddings.integrations")
        monkeypatch.delitem(vars(intel_quantized_embeddings), name, raising=False)
        with pytest.raises(MissingExtraError) as raised:
            getattr(intel_quantized_embeddings, name)
        message = str(raised.value)
        assert f"pip install 'intel-quantized-embeddings[{extra}]'" in message
        assert name in message
        assert (raised.value.package, raised.value.extra) == (package, extra)
        assert isinstance(raised.value, ImportError)

    @pytest.mark.parametrize(
        ("module", "package", "extra"),
        [
            ("integrations.mteb", "mteb", "mteb"),
            ("integrations.chroma", "chromadb", "chroma"),
            ("integrations.haystack", "haystack", "haystack"),
            ("integrations.ray", "pyarrow", "ray"),
            ("ingestion", "chromadb", "ingest"),
        ],
    )
    def test_a_module_of_its_own_says_what_to_install(self, module, package, extra, forget, take_away):
        take_away(package)
        forget(f"intel_quantized_embeddings.{module}")
        with pytest.raises(MissingExtraError, match=rf"pip install 'intel-quantized-embeddings\[{extra}\]'"):
            importlib.import_module(f"intel_quantized_embeddings.{module}")

    def test_a_chroma_that_embeds_queries_as_documents_is_refused(self, forget, monkeypatch):
        types = pytest.importorskip("chromadb.api.types", reason="chromadb is not installed")
        monkeypatch.delattr(types.EmbeddingFunction, "embed_query")  # as before 1.1
        forget("intel_quantized_embeddings.integrations.chroma")
        with pytest.raises(MissingExtraError, match=r"needs 'chromadb>=1\.1'"):
            importlib.import_module("intel_quantized_embeddings.integrations.chroma")

    def test_quantizing_for_openvino_says_what_to_install_and_leaves_nothing(self, tiny, tmp_path, take_away):
        take_away("nncf")
        with pytest.raises(MissingExtraError, match=r"pip install 'intel-quantized-embeddings\[openvino\]'"):
            intel_quantized_embeddings.quantize(tiny, tmp_path / "int8", runtime="openvino")
        assert list(tmp_path.iterdir()) == []

    def test_names_extras_that_exist(self):
        declared = importlib.metadata.metadata("intel-quantized-embeddings").get_all("Provides-Extra")
        assert {"chroma", "haystack", "ingest", "langchain", "llama-index", "mteb", "openvino"} <= set(declared)


class TestListings:
    def test_llamahub_is_told_where_the_class_is(self):
        tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")
        pytest.importorskip("llama_index.core", reason="the llama-index extra is not installed")
        pyproject = Path(__file__).resolve().parents[2] / "pyproject.toml"
        told = tomllib.loads(pyproject.read_text("utf-8"))["tool"]["llamahub"]
        for name in told["class_authors"]:
            listed = getattr(importlib.import_module(told["import_path"]), name)
            assert listed is getattr(intel_quantized_embeddings, name)
            assert listed.class_name() == name


class TestImportCost:
    def test_importing_the_package_imports_nothing_heavy_and_takes_no_time_to_speak_of(self):
        """Nothing heavy each time; and once in five below a generous bound: noise makes some slower, not all."""
        for _ in range(5):
            seconds, *loaded = run(
                "import sys, time\n"
                "start = time.perf_counter()\n"
                "import intel_quantized_embeddings\n"
                "print(time.perf_counter() - start, *{name.partition('.')[0] for name in sys.modules})"
            ).split()
            assert set(HEAVY) & set(loaded) == set()
            if float(seconds) < 0.2:
                return
        pytest.fail(f"importing the package took {seconds} s")


class TestAdapterOptions:
    """The adapters' options are the encoder's: one list in two places, compared here."""

    @pytest.fixture
    def options(self):
        pytest.importorskip("pydantic", reason="pydantic comes with the `langchain` and `llama-index` extras")
        from intel_quantized_embeddings.integrations.options import EncoderOptions

        return dict(EncoderOptions.model_fields)

    def test_names_and_defaults_are_those_of_encoder_load_and_how_vectors_are_given_out(self, options):
        parameters = dict(inspect.signature(Encoder.load).parameters)
        del parameters["model"]
        assert options.pop("vector_type").default == "float32"
        assert {name: field.default for name, field in options.items()} == {
            name: parameter.default for name, parameter in parameters.items()
        }

    def test_rerankers_options_are_those_of_reranker_load_and_how_many_to_keep(self, options):
        from intel_quantized_embeddings.integrations.options import RerankerOptions

        parameters = dict(inspect.signature(Reranker.load).parameters)
        del parameters["model"]
        fields = dict(RerankerOptions.model_fields)
        assert fields.pop("top_n").default == 3
        assert {name: field.default for name, field in fields.items()} == {
            name: parameter.default for name, parameter in parameters.items()
        }

    def test_types_are_those_of_encoder_load(self, options):
        expected = typing.get_type_hints(LoadOptions) | {"vector_type": str}
        assert {name: field.annotation for name, field in options.items()} == {name: expected[name] for name in options}

    @pytest.mark.parametrize(("load", "keywords"), [(Encoder.load, LoadKeywords), (CrossEncoder.load, ScoringKeywords)])
    def test_keywords_for_type_checkers_are_those_that_help_shows(self, load, keywords):
        """`load` takes them as **options; editors read the table, `help` and `inspect.signature` what is made of it."""
        shown = {name: shown for name, shown in inspect.signature(load).parameters.items() if name != "model"}
        assert set(keywords.__annotations__) == set(shown)
        hints = typing.get_type_hints(LoadOptions)
        assert typing.get_type_hints(keywords) == {name: hints[name] for name in shown}
        defaults = LoadOptions(model="m")
        assert {name: one.default for name, one in shown.items()} == {name: getattr(defaults, name) for name in shown}
        assert all(one.kind is one.KEYWORD_ONLY for one in shown.values())
        assert "num_threads" in pydoc.render_doc(load)

    def test_the_default_model_is_the_encoders(self):
        default = inspect.signature(Encoder.load).parameters["model"].default
        for name, field in (("IntelQuantizedEmbeddings", "model"), ("IntelQuantizedEmbedding", "model_name")):
            if not is_installed(NEEDS[name]):
                pytest.skip(f"{NEEDS[name]} is not installed")
            assert getattr(intel_quantized_embeddings, name).model_fields[field].default == default
