"""The examples, run as a person runs them."""

from __future__ import annotations

import contextlib
import email
import importlib.util
import io
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

NEEDED = ("faiss", "langchain_chroma", "langchain_text_splitters", "llama_index")
_missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if _missing:
    pytest.skip(f"{', '.join(_missing)} not installed: the `examples` extra brings them", allow_module_level=True)

import corpus  # noqa: E402
import langchain_chroma_rag  # noqa: E402
import rag_steps  # noqa: E402
from support.cpu_kinds import SLOWER_IN_INT8  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RAG_EXAMPLES = ["langchain_chroma_rag.py", "llama_index_chroma_rag.py"]
QUESTION = "What do bees make?"
NOTHING_TO_EMBED = "nothing to embed"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "animals").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "animals" / "bees.md").write_text("# Bees\n\nBees live in hives and make honey out of nectar.\n", "utf-8")
    (folder / "rent.txt").write_text("The rent is due on the first day of every month.\n", "utf-8")
    (folder / "copy of rent.txt").write_text("The rent is due on the first day of every month.\n", "utf-8")
    (folder / "cities.rst").write_text("Oslo\n====\n\nOslo is the capital of Norway.\n", "utf-8")
    (folder / "area.py").write_text(
        'def circle(radius):\n    """Compute the area of a circle."""\n\ndef _own():\n    """Not for any reader."""\n',
        "utf-8",
    )
    (folder / ".hidden" / "secret.md").write_text("Bees make a secret that is not to be found.\n", "utf-8")
    return folder


def run(example: str, *arguments: object, expected_status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run an example with the width of a usual terminal."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "90"},
        timeout=300,
    )
    assert done.returncode == expected_status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def run_here(example: str, *arguments: object, expected_status: int = 0) -> tuple[str, str]:
    """What an example prints and leaves on stderr in this process, which has its imports; as wide as by `run`."""
    outputs = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(outputs[0]),
        contextlib.redirect_stderr(outputs[1]),
    ):
        patch.setattr(rag_steps, "WIDTH", 90)
        patch.setattr(sys, "argv", [str(EXAMPLES / example), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXAMPLES / example), run_name="__main__")
    out, err = (output.getvalue() for output in outputs)
    assert (ended.value.code or 0) == expected_status, out + err
    return out, err


def error_line(example: str, *arguments: object) -> str:
    """The one line that a failing example leaves on stderr, beside what is logged of int8 on a CPU without VNNI."""
    lines = run_here(example, *arguments, expected_status=1)[1].splitlines()
    errors = [line for line in lines if SLOWER_IN_INT8 not in line]
    assert [line[:7] for line in errors] == ["error: "], lines
    return errors[0]


def first_answer(output: str) -> str:
    return next(line for line in output.splitlines() if line.startswith("  1. "))


class TestSmallerVectors:
    def test_bits_and_int8_find_what_float32_does(self, docs, minilm_int8):
        output = run("smaller_vectors.py", "--docs", docs, "--question", QUESTION, "--model", minilm_int8).stdout
        assert "float32 6,144 bytes, int8 1,536, bits 192" in output
        alone, rescored = output.split("Bits alone")[1].split("found by bits, in order by int8: 4 of float32's first 4")
        assert "animals/bees.md" in alone
        assert "animals/bees.md" in first_answer(rescored)

    def test_cut_vectors_are_smaller_still(self, docs, minilm_int8):
        output, _ = run_here("smaller_vectors.py", "--docs", docs, "--model", minilm_int8, "--truncate-dim", 128)
        assert "float32 2,048 bytes, int8 512, bits 64" in output

    def test_mistakes_are_one_line(self, tmp_path, minilm_int8):
        assert "no folder" in error_line("smaller_vectors.py", "--docs", tmp_path / "none")
        options = ("--model", minilm_int8, "--truncate-dim", 1000)
        assert "have 384 numbers" in error_line("smaller_vectors.py", *options)


@pytest.fixture(scope="module")
def standard_library() -> list[corpus.Entry]:
    """The default corpus, read once."""
    return corpus.read_corpus()


class TestCorpus:
    def test_standard_library_has_thousands_of_texts_each_once(self, standard_library):
        """The default corpus is a real one: thousands of different texts, short and long, no test files."""
        entries = standard_library
        assert len(entries) > 2000
        assert len({entry.id for entry in entries}) == len({entry.text for entry in entries}) == len(entries)
        assert min(len(entry.text.split()) for entry in entries) >= corpus.FEWEST_WORDS
        assert max(len(entry.text) for entry in entries) > 3000
        by_source = {entry.source: entry for entry in entries}
        assert by_source["json.decoder.JSONDecoder"].text.startswith("Simple JSON")
        assert not [source for source in by_source if source.split(".")[0] in ("test", "tkinter", "turtle", "_pyio")]

    def test_the_standard_library_is_parsed_once(self, standard_library, tmp_path, monkeypatch):
        reads = iter([standard_library])
        monkeypatch.setattr(corpus, "read_corpus", lambda: next(reads))
        for _ in range(2):
            assert corpus.standard_library_entries(tmp_path / "data") == standard_library

    def test_same_files_give_the_same_entries(self):
        """Ids hold from run to run, or the second would embed everything again."""
        folder = Path(email.__file__).parent
        assert corpus.read_corpus(folder) == corpus.read_corpus(folder) != []

    def test_nothing_is_imported_to_be_read(self, tmp_path):
        """A docstring is read from a module that can't even run, and a file that is not Python is passed over."""
        (tmp_path / "explodes.py").write_text('"""Explodes when imported."""\nraise SystemExit(3)\n', "utf-8")
        (tmp_path / "broken.py").write_text('"""Not Python at all."""\nprint "hello"\n', "utf-8")
        assert [entry.source for entry in corpus.read_corpus(tmp_path)] == ["explodes"]

    def test_folder_of_ones_own(self, docs):
        """Prose and docstrings are read; hidden files, private functions and second copies are not."""
        entries = corpus.read_corpus(docs)
        assert [entry.source for entry in entries] == [
            "area.circle",
            "animals/bees.md",
            "cities.rst",
            "copy of rent.txt",
        ]

    def test_long_prose_is_cut_into_pieces(self, tmp_path):
        """A page becomes several entries of the same source, none longer than a piece."""
        (tmp_path / "long.md").write_text(
            "\n\n".join(f"Paragraph {n}. " + "Some words. " * 30 for n in range(20)), "utf-8"
        )
        entries = corpus.read_corpus(tmp_path)
        assert len(entries) > 5
        assert {entry.source for entry in entries} == {"long.md"}
        assert max(len(entry.text) for entry in entries) <= corpus.PIECE_CHARACTERS

    def test_changed_text_is_another_entry(self, tmp_path):
        """An id depends on the text, so that an edited file is embedded again."""
        file = tmp_path / "note.md"
        ids = []
        for text in ("The key is under the mat.", "The key is under the pot."):
            file.write_text(text, "utf-8")
            ids += [entry.id for entry in corpus.read_corpus(tmp_path)]
        assert ids[0] != ids[1]


@pytest.mark.parametrize("example", RAG_EXAMPLES)
class TestRagExamples:
    def test_second_run_embeds_only_what_is_new(self, example, docs, minilm_int8, tmp_path):
        """The right source is on top; a second run embeds nothing, a third what changed in the folder."""
        arguments = ["--model", minilm_int8, "--data", tmp_path / "data", "--docs", docs, "--question", QUESTION]
        first = run(example, *arguments).stdout
        assert "embedded and stored 4 in" in first
        assert first_answer(first).startswith("  1. animals/bees.md  (0.")
        assert max(map(len, first.splitlines())) <= 90

        second, _ = run_here(example, *arguments)
        assert NOTHING_TO_EMBED in second
        assert second.partition("Answers")[2] == first.partition("Answers")[2]

        (docs / "animals" / "bees.md").unlink()
        (docs / "wax.md").write_text("Beeswax is made by worker bees.", "utf-8")
        third, _ = run_here(example, *arguments)
        assert "removed 1 that" in third
        assert "embedded and stored 1 in" in third
        assert first_answer(third).startswith("  1. wax.md  (0.")

    def test_other_encoder_is_refused(self, example, docs, minilm_int8, tiny_int8, tmp_path):
        """Vectors of two encoders never meet in one collection; --fresh is the way out that the error names."""
        arguments = ["--data", tmp_path / "data", "--docs", docs, "--question", QUESTION]
        run_here(example, *arguments, "--model", tiny_int8)
        assert "--fresh" in error_line(example, *arguments, "--model", minilm_int8)
        fresh, _ = run_here(example, *arguments, "--model", minilm_int8, "--fresh")
        assert "embedded and stored 4 in" in fresh

    def test_likely_mistakes_are_one_line(self, example, docs, tiny_int8, tmp_path):
        """A folder that is not there, one with nothing in it, a model that is not there."""
        common = ["--data", tmp_path / "data"]
        assert "not a folder" in error_line(example, *common, "--model", tiny_int8, "--docs", tmp_path / "nowhere")
        (tmp_path / "empty").mkdir()
        assert "no texts" in error_line(example, *common, "--model", tiny_int8, "--docs", tmp_path / "empty")
        assert "no folder" in error_line(example, *common, "--model", tmp_path / "no-model")
        (tmp_path / "file").write_text("in the way")
        options = ("--model", tiny_int8, "--docs", docs)
        assert "file" in error_line(example, *options, "--data", tmp_path / "file")


class TestHaystackExample:
    @pytest.fixture(autouse=True)
    def _haystack(self):
        pytest.importorskip("haystack", reason="the haystack extra is not installed")

    def test_finds_and_reranks(self, docs, minilm, minilm_int8, tmp_path):
        """What the int8 model finds, the same model in fp32 sorts: the same source on top, with another score."""
        arguments = ["--data", tmp_path / "data", "--docs", docs, "--question", QUESTION, "--model", minilm_int8]
        output = run("haystack_rag.py", *arguments, "--reranker", minilm).stdout
        assert "embedded and stored 4 in" in output
        assert first_answer(output).startswith("  1. animals/bees.md (found at 1)  (0.")
        assert len([line for line in output.splitlines() if "(found at " in line]) == 3
        as_int8, _ = run_here("haystack_rag.py", *arguments, "--precision", "int8")
        assert first_answer(as_int8).split("  (")[0] == first_answer(output).split("  (")[0]
        assert first_answer(as_int8) != first_answer(output)

    def test_likely_mistakes_are_one_line(self, docs, minilm_int8, tmp_path):
        """An int8 folder has no fp32 to rerank with; a reranker that is not there is told before embedding."""
        arguments = ["--data", tmp_path / "data", "--docs", docs, "--model", minilm_int8]
        assert "fp32" in error_line("haystack_rag.py", *arguments)
        assert "no folder" in error_line("haystack_rag.py", *arguments, "--reranker", tmp_path / "nowhere")


class TestRerank:
    def test_a_bi_encoder_reranks_pythons_docstrings(self, minilm_int8, standard_library, monkeypatch):
        monkeypatch.setattr(corpus, "read_corpus", {None: standard_library}.__getitem__)
        output, _ = run_here("rerank.py", "--model", minilm_int8)
        question, by_words, reranked = output.split("\n\n")
        assert question == "How do I copy a folder with everything in it?"
        assert re.search(r"\(100 texts in \d+ ms\)", reranked)
        assert "copy" in reranked.splitlines()[1]
        assert [len(part.strip().splitlines()) for part in (by_words, reranked)] == [6, 6]

    def test_a_cross_encoder_reranks_a_folder(self, docs, tiny_cross_encoder_int8):
        arguments = ["--docs", docs, "--question", "When is the rent due?", "--top", 1]
        output = run("rerank.py", "--model", tiny_cross_encoder_int8, *arguments).stdout
        assert len(re.findall(r"^  1\. ", output, flags=re.MULTILINE)) == 2
        assert "  1. copy of rent.txt: The rent is due" in output
        assert "(4 texts in " in output

    def test_likely_mistakes_are_one_line(self, docs, tiny_cross_encoder_int8, tmp_path):
        assert "no folder" in error_line("rerank.py", "--docs", tmp_path / "absent")
        assert "no folder" in error_line("rerank.py", "--docs", docs, "--model", tmp_path / "absent")
        assert "top_n=0" in error_line("rerank.py", "--docs", docs, "--model", tiny_cross_encoder_int8, "--top", 0)


@pytest.mark.slow
def test_first_run_quantizes(minilm, docs, tmp_path):
    """From nothing but the model: the first run makes its int8 form and says what became of it, the second finds it."""
    arguments = ["--data", tmp_path / "data", "--docs", docs, "--question", QUESTION, "--question", "When is rent due?"]
    first = run("langchain_chroma_rag.py", *arguments).stdout
    assert re.search(r"wrote .* in \d+ s", first)
    assert "90.9 MB in fp32 -> 23.6 MB in int8" in first
    assert re.search(r"of \d+ of them, int8 encodes [\d,]+ a second and fp32 [\d,]+", first)
    answers = [line for line in first.splitlines() if line.startswith("  1. ")]
    assert [answer.split("  (")[0] for answer in answers] == ["  1. animals/bees.md", "  1. copy of rent.txt"]

    second = run("langchain_chroma_rag.py", *arguments).stdout
    assert "quantized before" in second
    assert NOTHING_TO_EMBED in second
    cosines = [line for line in first.splitlines() if "cosine to fp32" in line]
    assert len(cosines) == 2
    assert all(line in second for line in cosines)


class TestChatModel:
    """`--llm`: the chat model is a fake that LangChain ships, everything else is what a person runs."""

    def ask(self, monkeypatch, llm, docs, model, data) -> int:
        monkeypatch.setattr(langchain_chroma_rag, "chat_model", lambda name: llm)
        arguments = ["--docs", docs, "--model", model, "--data", data, "--question", QUESTION, "--llm", "fake:model"]
        return langchain_chroma_rag.main([str(argument) for argument in arguments])

    def test_answer_comes_with_its_sources(self, monkeypatch, docs, minilm_int8, tmp_path, capsys):
        """The model is given the question and the passages, and its answer is printed over the sources."""
        from langchain_core.language_models import GenericFakeChatModel
        from langchain_core.messages import AIMessage

        prompts = []

        class Recording(GenericFakeChatModel):
            def _generate(self, messages, *args, **kwargs):
                prompts.extend(message.content for message in messages)
                return super()._generate(messages, *args, **kwargs)

        llm = Recording(messages=iter([AIMessage("Bees make honey [1].")]))
        assert self.ask(monkeypatch, llm, docs, minilm_int8, tmp_path / "data") == 0
        output = capsys.readouterr().out
        assert output.index(QUESTION) < output.index("  Bees make honey [1].") < output.index("  1. animals/bees.md")
        assert len(prompts) == 1
        assert f"Question: {QUESTION}" in prompts[0]
        assert "[1] animals/bees.md" in prompts[0]
        assert "make honey out of nectar" in prompts[0]

    def test_failure_to_answer_is_one_line(self, monkeypatch, docs, minilm_int8, tmp_path, capsys):
        """Whatever a provider raises, such as a refused key, ends in one line."""
        from langchain_core.language_models import GenericFakeChatModel

        class Refusing(GenericFakeChatModel):
            def _generate(self, messages, *args, **kwargs):
                raise RuntimeError("401\nkey refused")

        assert self.ask(monkeypatch, Refusing(messages=iter([])), docs, minilm_int8, tmp_path / "data") == 1
        assert capsys.readouterr().err == "error: the chat model did not answer: RuntimeError: 401 key refused\n"

    @pytest.mark.parametrize("name", ["nobody:model", "fireworks:model"])
    def test_missing_provider_is_one_line(self, name, tmp_path):
        """A provider that is unknown or not installed is told before any work is done."""
        message = error_line("langchain_chroma_rag.py", "--data", tmp_path / "data", "--llm", name)
        assert f"--llm {name}" in message
        assert not (tmp_path / "data").exists()


class TestQuantizeAModel:
    @pytest.mark.usefixtures("quick_quantizing")
    @pytest.mark.parametrize("runtime", ["native", "openvino"])
    def test_own_texts(self, tiny, tmp_path, runtime):
        """The folder is measured, and for OpenVINO calibrated, on the file's; int8 is printed beside fp32."""
        texts = [f"Text number {n} is about the {word} of a house." for n in range(20) for word in ("roof", "floor")]
        calibration = tmp_path / "texts.jsonl"
        calibration.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
        folder = tmp_path / "int8"
        options = ["--model", tiny, "--calibration", calibration, "--runtime", runtime]
        output, _ = run_here("quantize_a_model.py", folder, *options)
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        assert manifest["runtime"] == runtime
        assert manifest["fidelity"]["documents"]["count"] == len(texts) // 2
        assert manifest["calibration"]["documents"] == len(texts) // 2
        assert f"{folder}: " in output
        assert "cosine of int8 to fp32" in output
        assert "Photosynthesis" in output

    def test_likely_mistakes_are_one_line(self, tiny, tmp_path):
        """A calibration file that is not there or too small, a folder in the way, an unknown model."""
        example, folder = "quantize_a_model.py", tmp_path / "int8"
        assert "no file of texts" in error_line(example, folder, "--calibration", tmp_path / "nowhere.txt")
        (tmp_path / "few.txt").write_text("one text\nanother text\n", "utf-8")
        assert "at least" in error_line(example, folder, "--model", tiny, "--calibration", tmp_path / "few.txt")
        assert "no folder" in error_line(example, folder, "--model", tmp_path / "no-model")
        assert "--overwrite" in error_line(example, tmp_path, "--model", tiny)
        assert not folder.exists()
