"""One bad file among good ones, at every stage of `ingest`: it is reported, and the rest is stored."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import warnings
import zlib
from asyncio import CancelledError
from pathlib import Path

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import MissingExtraError, OptionError
from intel_quantized_embeddings.ingestion import IngestionReport, documents, ingest, jsonl, opened_files, splitting
from intel_quantized_embeddings.ingestion.documents import Document
from intel_quantized_embeddings.ingestion.problems import Problem
from support.encrypted_pdf import AES_256
from support.ingestion import contents, iqe, pdf

CAT, RIVER = "the cat sat on the mat", "a cold river in the old city"


class PanicException(BaseException):
    """What a panic of Rust is in Python."""


class UnspeakableError(Exception):
    """An error that can't be shown."""

    def __str__(self) -> str:
        raise ValueError("no words")


ANY_ERROR = [
    RecursionError("too deep"),
    ValueError("odd"),
    zlib.error("Error -3"),
    UnicodeError("label too long"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    KeyError("/Root"),
    IndexError("list"),
    AttributeError("get_object"),
    NotImplementedError("JBIG2"),
    AssertionError(),
    TypeError("None"),
    OverflowError("int too large"),
    StopIteration(),
    EOFError(),
    TimeoutError("slow disk"),
    OSError(5, "Input/output error"),
    OSError("without a number"),
    ImportError("no module named 'x'"),
    SyntaxError("bad"),
    ArithmeticError("zero"),
    BufferError("held"),
    UserWarning("a warning that is an error"),
    PanicException("index out of bounds"),
    UnspeakableError(),
    Exception("a lone \ud800 and\na line"),
]
ENDS = [MemoryError(), KeyboardInterrupt(), SystemExit(3), CancelledError()]


def _named(exc: BaseException) -> str:
    return type(exc).__name__


@pytest.fixture
def docs(tmp_path) -> Path:
    """Good files before and after the place of a bad one, "m"."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text(CAT, "utf-8")
    (folder / "z.txt").write_text(RIVER, "utf-8")
    return folder


@pytest.fixture
def chroma(tmp_path) -> Path:
    return tmp_path / "chroma"


@pytest.fixture
def bring(docs, chroma, tiny):
    def brought(*sources: Path, **options: object) -> IngestionReport:
        given = {"chroma": chroma, "collection": "docs", "model": tiny, "precision": "fp32"} | options
        return ingest(sources or [docs], **given)

    return brought


def texts(chroma: Path) -> set[str]:
    return {text for text, _, _ in contents(chroma).values()}


def check_reported(report: IngestionReport, chroma: Path, told: str = "", *, place: str = "m", more: str = "") -> None:
    """One problem, of the bad file, on one line; the good files are there."""
    (problem,) = report.problems
    assert Path(problem.place).name.startswith(place)
    assert told in problem.reason
    assert len(str(problem).splitlines()) == 1
    str(problem).encode()
    assert texts(chroma) == {CAT, RIVER, *([more] if more else [])}


class TestReading:
    @pytest.mark.parametrize("exc", ANY_ERROR, ids=_named)
    def test_any_error_of_a_reader_is_that_files(self, bring, docs, chroma, monkeypatch, exc):
        (docs / "m.html").write_text("<p>x")

        def fails(file: Path):
            raise exc

        monkeypatch.setitem(documents.KINDS, ".html", fails)
        check_reported(bring(), chroma)

    @pytest.mark.parametrize("exc", [RecursionError("deep"), PanicException("x"), OSError(5, "Input/output error")])
    def test_what_was_read_before_a_reader_failed_is_kept(self, bring, docs, chroma, monkeypatch, exc):
        (docs / "m.html").write_text("<p>x")

        def fails(file: Path):
            yield Document(text="a dog", source=str(file), metadata={"source": str(file)})
            raise exc

        monkeypatch.setitem(documents.KINDS, ".html", fails)
        check_reported(bring(), chroma, more="a dog")

    @pytest.mark.parametrize("exc", ENDS, ids=_named)
    def test_the_end_of_the_process_is_no_files(self, bring, docs, monkeypatch, exc):
        (docs / "m.html").write_text("<p>x")

        def fails(file: Path):
            raise exc

        monkeypatch.setitem(documents.KINDS, ".html", fails)
        with pytest.raises(type(exc)):
            bring()

    def test_nor_is_a_reader_that_is_not_installed(self, bring, docs, monkeypatch):
        (docs / "m.html").write_text("<p>x")
        monkeypatch.setitem(sys.modules, "bs4", None)
        with pytest.raises(MissingExtraError, match=r"\[ingest\]"):
            bring()

    def test_a_reader_that_warns_where_warnings_are_errors_is_listened_to_all_the_same(
        self, bring, docs, chroma, monkeypatch
    ):
        (docs / "m.html").write_text("<p>x")

        def warns(file: Path):
            warnings.warn("odd", UserWarning, stacklevel=1)
            yield Document(text="a dog", source=str(file), metadata={"source": str(file)})

        monkeypatch.setitem(documents.KINDS, ".html", warns)
        assert bring().complete
        assert "a dog" in texts(chroma)

    def test_nothing_stored_of_a_file_that_can_not_be_read_any_more_is_removed(self, bring, docs, chroma):
        (docs / "m.html").write_text("<p>a dog</p>")
        bring()
        (docs / "m.html").write_bytes(b"<p>caf\xe9")
        report = bring()
        assert report.removed == 0
        check_reported(report, chroma, "not UTF-8", more="a dog")

    def test_the_command_ends_with_status_1_and_no_traceback(self, docs, chroma, tiny):
        (docs / "m.html").write_bytes(b"<p>caf\xe9")
        done = iqe(
            *("ingest", docs, "--chroma", chroma, "--collection", "docs"), "--model", tiny, "--precision", "fp32"
        )
        assert (done.returncode, done.stderr) == (1, "")
        assert "not read: " in done.stdout
        assert texts(chroma) == {CAT, RIVER}

    @pytest.mark.parametrize("extra", [(), ("--json",)])
    def test_a_terminal_that_does_not_know_the_letters_of_a_name_is_told_all_the_same(self, docs, chroma, tiny, extra):
        (docs / "m\u00e9\u4e2d.txt").write_bytes(b"\xff")
        done = iqe(
            *(
                "ingest",
                docs,
                "--chroma",
                chroma,
                "--collection",
                "docs",
                "--model",
                tiny,
                "--precision",
                "fp32",
                *extra,
            ),
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert (done.returncode, done.stderr) == (1, "")
        if extra:
            assert "mé中.txt" in json.dumps(json.loads(done.stdout), ensure_ascii=False)
        else:
            assert "m\\xe9\\u4e2d.txt" in done.stdout.replace("\\\\", "\\")


class TestFiles:
    @pytest.mark.parametrize("kind", ["pipe", "socket", "device", "endless device", "link to a pipe"])
    def test_what_is_no_file_is_passed_over_and_not_waited_for(self, bring, docs, chroma, monkeypatch, kind):
        special = docs / "m.txt"
        if kind == "pipe":
            os.mkfifo(special)
        elif kind == "socket":
            monkeypatch.chdir(docs)  # a socket's path is short
            socket.socket(socket.AF_UNIX).bind("m.txt")
        elif kind == "link to a pipe":
            os.mkfifo(docs / ".pipe")
            special.symlink_to(docs / ".pipe")
        else:
            special.symlink_to("/dev/null" if kind == "device" else "/dev/zero")
        report = bring()
        assert (report.problems, report.passed_over) == ((), 1)
        assert texts(chroma) == {CAT, RIVER}

    def test_a_pipe_as_a_source_is_refused(self, bring, docs):
        os.mkfifo(docs / "m.txt")
        with pytest.raises(OptionError, match="is a pipe"):
            bring(docs / "m.txt")

    @pytest.mark.parametrize("ending", [".txt", ".html", ".pdf", ".jsonl"])
    def test_a_file_that_becomes_a_pipe_before_it_is_read_is_reported(self, tmp_path, ending):
        os.mkfifo(tmp_path / f"m{ending}")
        (problem,) = documents.read_file(tmp_path / f"m{ending}")
        assert "a pipe" in problem.reason

    @pytest.mark.parametrize("ending", [".txt", ".html", ".pdf"])
    def test_a_file_larger_than_the_memory_is_reported(self, bring, docs, chroma, ending):
        with (docs / f"m{ending}").open("wb") as opened:
            opened.truncate(2**40)
        check_reported(bring(), chroma, "split it")

    def test_a_line_of_jsonl_that_never_ends_is_reported_and_the_next_is_read(self, bring, docs, chroma, monkeypatch):
        monkeypatch.setattr(jsonl, "LONGEST_LINE", 1000)
        (docs / "m.jsonl").write_text('{"text": "' + "cat " * 1000 + '"}\n{"text": "a dog"}\n', "utf-8")
        check_reported(bring(), chroma, "longer than 1,000 bytes", place="m.jsonl:1", more="a dog")

    @pytest.mark.parametrize(
        ("target", "told"),
        [
            ("nowhere", "No such file"),
            ("m.txt", "Too many levels"),
            ("x" * 300, "File name too long"),
            ("/proc/self/mem", "Input/output error"),
            ("/proc/1/task/1/nothing", "No such file"),
        ],
    )
    def test_a_link_that_can_not_be_followed_is_reported(self, bring, docs, chroma, target, told):
        (docs / "m.txt").symlink_to(target)
        check_reported(bring(), chroma, told)

    def test_a_file_that_vanishes_or_is_closed_to_us_while_the_run_looks_is_reported(
        self, bring, docs, chroma, monkeypatch
    ):
        (docs / "m.txt").write_text("a dog")
        real_open = os.open

        def refuses(path, *arguments, **options):
            if str(path).endswith("m.txt"):
                raise PermissionError(13, "Permission denied")
            return real_open(path, *arguments, **options)

        monkeypatch.setattr(opened_files.os, "open", refuses)
        check_reported(bring(), chroma, "Permission denied")

    def test_a_folder_that_can_not_be_listed_is_reported_and_what_is_stored_of_it_stays(
        self, bring, docs, chroma, monkeypatch
    ):
        inner = docs / "m\ninner"
        inner.mkdir()
        (inner / "dog.txt").write_text("a dog")
        bring()
        real_scandir = os.scandir

        def refuses(path):
            if path == inner:
                raise PermissionError(13, "Permission denied")
            return real_scandir(path)

        monkeypatch.setattr(os, "scandir", refuses)
        report = bring()
        assert report.removed == 0
        check_reported(report, chroma, "Permission denied", more="a dog")

    def test_folders_deeper_than_python_recurses_are_read(self, bring, docs, chroma, monkeypatch):
        monkeypatch.chdir(docs)
        for _ in range(1100):
            os.mkdir("d")
            os.chdir("d")
        Path("m.txt").write_text("a dog")
        report = bring()
        Path("m.txt").unlink()
        for _ in range(1100):  # pytest's own cleaning up recurses
            os.chdir("..")
            os.rmdir("d")
        assert report.complete
        assert "a dog" in texts(chroma)

    def test_a_name_that_is_no_text_is_reported_also_as_a_source_of_its_own(self, bring, docs, chroma):
        odd = docs / os.fsdecode(b"m\xe9.txt")
        odd.write_text("a dog")
        check_reported(bring(docs, odd), chroma, "not UTF-8", place="m")

    @pytest.mark.parametrize("source", ["~nobody-of-this-name/x.txt", "x" * 300, "a\0b", "/proc/self/fd/0/x"])
    def test_a_source_that_can_not_be_looked_at_is_refused_as_such(self, bring, source):
        with pytest.raises(OptionError):
            bring(Path(source))


class TestLater:
    """Splitting, tokenizing, embedding and storing."""

    @pytest.mark.parametrize("exc", [RecursionError("deep"), PanicException("x"), UnicodeError("y")], ids=_named)
    def test_a_document_that_can_not_be_split_is_reported(self, bring, docs, chroma, monkeypatch, exc):
        (docs / "m.txt").write_text("a dog")
        real_split = splitting.Splitter.split

        def fails(self, document: Document) -> list[str]:
            if document.text == "a dog":
                raise exc
            return real_split(self, document)

        monkeypatch.setattr(splitting.Splitter, "split", fails)
        check_reported(bring(), chroma)

    @pytest.mark.parametrize("exc", [RuntimeError("bad shape"), PanicException("x"), ValueError("y")], ids=_named)
    def test_a_text_that_the_model_does_not_take_is_reported_and_those_beside_it_are_embedded(
        self, bring, docs, chroma, monkeypatch, exc
    ):
        lines = [f'{{"text": "{text}"}}' for text in ("a house", "a dog", "a tree", "a stone")]
        (docs / "m.jsonl").write_text("\n".join(lines), "utf-8")
        real_encode = Encoder.encode_documents

        def fails(self, texts, **options):
            if "a dog" in texts:
                raise exc
            return real_encode(self, texts, **options)

        monkeypatch.setattr(Encoder, "encode_documents", fails)
        report = bring()
        (problem,) = report.problems
        assert problem.place == f"{docs / 'm.jsonl'}, piece 0"
        assert texts(chroma) == {CAT, RIVER, "a house", "a tree", "a stone"}
        assert report.added == 5

    def test_what_a_file_had_before_stays_until_what_replaces_it_is_stored(self, bring, docs, chroma, monkeypatch):
        (docs / "m.txt").write_text("a house")
        bring()
        (docs / "m.txt").write_text("a dog")
        real_encode = Encoder.encode_documents

        def fails(self, texts, **options):
            if "a dog" in texts:
                raise RuntimeError("bad shape")
            return real_encode(self, texts, **options)

        with monkeypatch.context() as patched:
            patched.setattr(Encoder, "encode_documents", fails)
            check_reported(bring(), chroma, "bad shape", more="a house")
        assert bring().complete
        assert texts(chroma) == {CAT, RIVER, "a dog"}

    @pytest.mark.parametrize("exc", ENDS, ids=_named)
    def test_the_end_of_the_process_is_no_texts(self, bring, monkeypatch, exc):
        def fails(self, texts, **options):
            raise exc

        monkeypatch.setattr(Encoder, "encode_documents", fails)
        with pytest.raises(type(exc)):
            bring()

    @pytest.mark.parametrize("metadata", [{"#n": 1}, {"$n": 1}, {"": 1}, {"n": {"a": 1}}, {"n": [1, "a"]}])
    def test_metadata_that_chroma_refuses_are_reported_and_the_rest_is_stored(
        self, bring, docs, chroma, monkeypatch, metadata
    ):
        """As a reader may make them; none of ours does."""
        (docs / "m.html").write_text("<p>x")

        def odd(file: Path):
            yield Document(text="a dog", source=str(file), metadata=metadata)

        monkeypatch.setitem(documents.KINDS, ".html", odd)
        check_reported(bring(), chroma)

    def test_a_stored_text_that_gets_metadata_that_chroma_refuses_keeps_its_own(self, bring, docs, chroma, monkeypatch):
        (docs / "m.html").write_text("<p>a dog")
        bring()

        def odd(file: Path):
            yield Document(text="a dog", source=str(file), metadata={"#n": 1})

        monkeypatch.setitem(documents.KINDS, ".html", odd)
        check_reported(bring(), chroma, more="a dog")


class TestJsonl:
    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("[" * 100_000, "not JSON"),
            ('{"text": "a", "n": ' + "1" * 5000 + "}", "5000 digits"),
            ('{"text": "a", "n": 1e999}', "'n' is inf"),
            ('{"text": "a", "#n": 1}', "'#n' is not allowed"),
            ('{"text": "a", "$n": 1}', "'$n' is not allowed"),
            ('{"text": "a", "chroma:document": "b"}', "is not allowed"),
            ('{"text": "a", "iqe_places": "b"}', "is not allowed"),
            ('{"text": "a", ' + ", ".join(f'"k{n}": 1' for n in range(6000)) + "}", "it has 6,000 keys"),
            ('{"text": "a", "id": 1.5}', "its id 1.5"),
            ('{"text": null}', 'not an object with a "text"'),
            ("\0", "not JSON"),
            ("nul", "not JSON"),
        ],
    )
    def test_a_bad_line_is_reported_by_its_number_and_the_others_are_stored(self, bring, docs, chroma, line, told):
        (docs / "m.jsonl").write_text(line + '\n{"text": "a dog"}\n', "utf-8")
        check_reported(bring(), chroma, told, place="m.jsonl:1", more="a dog")
        assert bring().unchanged == 3  # the collection still answers

    @pytest.mark.parametrize("exc", [RecursionError("deep"), PanicException("x"), KeyError("k")], ids=_named)
    def test_any_error_of_a_line_is_that_lines(self, bring, docs, chroma, monkeypatch, exc):
        (docs / "m.jsonl").write_text('{"text": "bad"}\n{"text": "a dog"}\n', "utf-8")
        real_loads = jsonl.json.loads

        def fails(content, **options):
            if "bad" in content:
                raise exc
            return real_loads(content, **options)

        monkeypatch.setattr(jsonl.json, "loads", fails)
        check_reported(bring(), chroma, place="m.jsonl:1", more="a dog")


class TestPdf:
    @pytest.fixture(autouse=True)
    def _pypdf(self):
        pytest.importorskip("pypdf", reason="pypdf comes with the `ingest` extra")

    def test_one_that_is_encrypted_and_opens_without_a_password_is_read(self, bring, docs, chroma):
        pytest.importorskip("cryptography", reason="cryptography comes with the `ingest` extra")
        (docs / "m.pdf").write_bytes(AES_256)
        assert bring().complete
        assert texts(chroma) == {CAT, RIVER, "a dog"}

    def test_without_the_package_for_that_it_is_reported_and_the_package_named(self, docs, chroma, tiny):
        (docs / "m.pdf").write_bytes(AES_256)
        code = "import sys; sys.modules['cryptography'] = sys.modules['Crypto'] = None\n"
        code += "from intel_quantized_embeddings.cli import main; sys.exit(main(sys.argv[1:]))"
        arguments = ("ingest", docs, "--chroma", chroma, "--collection", "docs", "--model", tiny, "--precision", "fp32")
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "m.pdf: an encrypted PDF, to which a package is missing: cryptography" in done.stdout
        assert texts(chroma) == {CAT, RIVER}

    @pytest.mark.parametrize(("password", "told"), [("", None), ("secret", "asks for a password")])
    def test_old_encryption_needs_no_package_but_may_need_a_password(self, tmp_path, password, told):
        from pypdf import PdfReader, PdfWriter

        (tmp_path / "plain.pdf").write_bytes(pdf("a dog"))
        writer = PdfWriter(clone_from=PdfReader(tmp_path / "plain.pdf"))
        writer.encrypt(user_password=password, owner_password="owner", algorithm="RC4-128")
        writer.write(tmp_path / "m.pdf")
        (found,) = documents.read_file(tmp_path / "m.pdf")
        assert found.text == "a dog" if told is None else told in found.reason

    @pytest.mark.parametrize("exc", ANY_ERROR, ids=_named)
    def test_a_page_that_can_not_be_read_is_reported_and_the_others_are_read(self, tmp_path, monkeypatch, exc):
        import pypdf

        (tmp_path / "m.pdf").write_bytes(pdf("one", "two", "three", "four"))
        real = pypdf.PageObject.extract_text

        def fails(page, *arguments, **options):
            text = real(page, *arguments, **options)
            if text in ("two", "four"):
                raise exc
            return text

        monkeypatch.setattr(pypdf.PageObject, "extract_text", fails)
        *pages, problem = documents.read_file(tmp_path / "m.pdf")
        assert [(page.text, page.metadata["page"]) for page in pages] == [("one", 1), ("three", 3)]
        assert problem.reason.startswith("pages 2, 4 can't be read: ")

    @pytest.mark.parametrize("exc", ANY_ERROR, ids=_named)
    def test_any_error_of_opening_one_is_that_files(self, bring, docs, chroma, monkeypatch, exc):
        import pypdf

        def fails(*arguments, **options):
            raise exc

        (docs / "m.pdf").write_bytes(b"%PDF-1.4")
        monkeypatch.setattr(pypdf, "PdfReader", fails)
        check_reported(bring(), chroma)

    @pytest.mark.parametrize("exc", ENDS, ids=_named)
    def test_the_end_of_the_process_is_no_pages(self, tmp_path, monkeypatch, exc):
        import pypdf

        def fails(*arguments, **options):
            raise exc

        (tmp_path / "m.pdf").write_bytes(pdf("one"))
        monkeypatch.setattr(pypdf.PageObject, "extract_text", fails)
        with pytest.raises(type(exc)):
            documents.read_file(tmp_path / "m.pdf")


class TestPages:
    @pytest.fixture(autouse=True)
    def _bs4(self):
        pytest.importorskip("bs4", reason="beautifulsoup4 comes with the `ingest` extra")

    @pytest.mark.parametrize(
        "odd",
        [
            "<![dsgvo_service_control]>",
            "<![if !IE]><![endif]>",
            "<![CDATA[ a ]]>",
            "<!ELEMENT br EMPTY>",
            '<!DOCTYPE html [ <!ENTITY x "y"> ]>',
            "<!DOCTYPE [",
            "<![",
            "<!",
            "<!-",
            "</",
            "<?php echo 1",
            "&#99999999999;&#xD800;&unknown;",
            "<a b='>",
            "\ufeff",
        ],
    )
    def test_markup_that_pythons_parser_rejects_is_read_all_the_same(self, tmp_path, odd):
        (tmp_path / "m.html").write_text(f"<p>a dog</p>\n{odd}\n<p>a house</p>", "utf-8")
        (document,) = documents.read_file(tmp_path / "m.html")
        assert isinstance(document, Document), document
        assert "a dog" in document.text
        document.text.encode()

    def test_text_after_a_marked_section_is_kept(self, tmp_path):
        (tmp_path / "m.html").write_text("<p>a dog<![dsgvo_service_control]></p><p>a house</p>", "utf-8")
        (document,) = documents.read_file(tmp_path / "m.html")
        assert document.text.split() == ["a", "dog", "a", "house"]

    @pytest.mark.parametrize(
        "declared", ["idna", "punycode", "undefined", "rot13", "base64", "no-such", "unicode_escape"]
    )
    def test_encodings_that_no_page_has_are_reported(self, tmp_path, declared):
        (tmp_path / "m.html").write_text(f'<meta charset="{declared}"><p>{"é" * 300}', "utf-8")
        (problem,) = documents.read_file(tmp_path / "m.html")
        assert isinstance(problem, Problem)
        assert "that it declares" in problem.reason

    def test_a_page_nested_deeper_than_python_recurses_is_read(self, tmp_path):
        (tmp_path / "m.html").write_text("<div>" * 5000 + "a dog", "utf-8")
        (document,) = documents.read_file(tmp_path / "m.html")
        assert document.text.strip() == "a dog"
