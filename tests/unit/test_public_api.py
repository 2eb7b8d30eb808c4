"""The public door: what it names, what it costs to open, and what it says when something is not installed."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import inspect
import json
import pydoc
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import intel_quantized_embeddings
from intel_quantized_embeddings import CrossEncoder, Encoder, Reranker
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
        given = run(
            "before = set(globals()) | {'before'}\n"
            "from intel_quantized_embeddings import *\n"
            "print(*sorted(set(globals()) - before))"
        )
        assert given.split() == intel_quantized_embeddings.__all__

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
    def test_an_adapter_says_what_to_install(self, name, package, extra):
        told = json.loads(
            run(
                "import json, sys\n"
                "name, package = sys.argv[1:]\n"
                "sys.modules[package] = sys.modules[package.partition('.')[0]] = None\n"
                "import intel_quantized_embeddings\n"
                "from intel_quantized_embeddings.errors import MissingExtraError\n"
                "try:\n"
                "    getattr(intel_quantized_embeddings, name)\n"
                "except MissingExtraError as error:\n"
                "    print(json.dumps([str(error), error.package, error.extra, isinstance(error, ImportError)]))",
                name,
                package,
            )
        )
        message, told_package, told_extra, is_import_error = told
        assert f"pip install 'intel-quantized-embeddings[{extra}]'" in message
        assert name in message
        assert (told_package, told_extra, is_import_error) == (package, extra, True)

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
    def test_a_module_of_its_own_says_what_to_install(self, module, package, extra):
        message = run(
            "import importlib, sys\n"
            "module, package = sys.argv[1:]\n"
            "sys.modules[package] = None\n"
            "from intel_quantized_embeddings.errors import MissingExtraError\n"
            "try:\n"
            "    importlib.import_module(f'intel_quantized_embeddings.{module}')\n"
            "except MissingExtraError as error:\n"
            "    print(error)",
            module,
            package,
        )
        assert f"pip install 'intel-quantized-embeddings[{extra}]'" in message

    def test_a_chroma_that_embeds_queries_as_documents_is_refused(self):
        if not is_installed("chromadb"):
            pytest.skip("chromadb is not installed")
        message = run(
            "import chromadb.api.types\n"
            "del chromadb.api.types.EmbeddingFunction.embed_query  # as before 1.1\n"
            "from intel_quantized_embeddings.errors import MissingExtraError\n"
            "try:\n"
            "    import intel_quantized_embeddings.integrations.chroma\n"
            "except MissingExtraError as error:\n"
            "    print(error)"
        )
        assert "needs 'chromadb>=1.1'" in message

    def test_quantizing_says_what_to_install_and_leaves_nothing(self, tiny, tmp_path):
        message = run(
            "import sys\n"
            "sys.modules['nncf'] = None\n"
            "from intel_quantized_embeddings import quantize\n"
            "from intel_quantized_embeddings.errors import MissingExtraError\n"
            "try:\n"
            "    quantize(sys.argv[1], sys.argv[2])\n"
            "except MissingExtraError as error:\n"
            "    print(error)",
            tiny,
            tmp_path / "int8",
        )
        assert "pip install 'intel-quantized-embeddings[quantize]'" in message
        assert list(tmp_path.iterdir()) == []

    def test_names_extras_that_exist(self):
        declared = importlib.metadata.metadata("intel-quantized-embeddings").get_all("Provides-Extra")
        assert {"chroma", "haystack", "ingest", "langchain", "llama-index", "mteb", "quantize"} <= set(declared)


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
    def test_importing_the_package_imports_nothing_heavy(self):
        loaded = run("import intel_quantized_embeddings, sys; print(*{name.partition('.')[0] for name in sys.modules})")
        assert set(HEAVY) & set(loaded.split()) == set()

    def test_importing_the_package_takes_no_time_to_speak_of(self):
        """The best of five against a generous bound: noise makes some slower, not all."""
        timed = (
            "import time\n"
            "start = time.perf_counter()\n"
            "import intel_quantized_embeddings\n"
            "print(time.perf_counter() - start)"
        )
        assert min(float(run(timed)) for _ in range(5)) < 0.2

    def test_serving_an_int8_folder_imports_no_framework(self, tiny_int8):
        loaded = run(
            "import sys\n"
            "from intel_quantized_embeddings import Encoder\n"
            "Encoder.load(sys.argv[1]).encode_queries(['text'])\n"
            "print(*{name.partition('.')[0] for name in sys.modules})",
            tiny_int8,
        )
        frameworks = {"langchain", "langchain_core", "llama_index", "nncf", "pydantic", "torch", "transformers"}
        assert frameworks & set(loaded.split()) == set()


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
