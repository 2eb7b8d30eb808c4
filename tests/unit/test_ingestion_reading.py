"""What `iqe ingest` makes of files: which are found, what is read from each kind, what is reported instead."""

from __future__ import annotations

import json
import os
from pathlib import Path, PureWindowsPath

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion import sources
from intel_quantized_embeddings.ingestion.documents import Document, read_file
from intel_quantized_embeddings.ingestion.problems import Problem
from intel_quantized_embeddings.ingestion.sources import Places, find_files
from support.ingestion import pdf


def write(file: Path, content: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def texts(file: Path) -> list[str]:
    return [item.text for item in read_file(file) if isinstance(item, Document)]


def reasons(file: Path) -> list[str]:
    return [item.reason for item in read_file(file) if isinstance(item, Problem)]


class TestText:
    def test_is_utf_8_with_or_without_a_mark_and_with_any_line_ends(self, tmp_path):
        content = "première\r\nligne\rfin"
        for name, start in (("plain.txt", b""), ("marked.md", b"\xef\xbb\xbf")):
            assert texts(write(tmp_path / name, start + content.encode())) == ["première\nligne\nfin"]

    @pytest.mark.parametrize(
        ("content", "told"),
        [("café".encode("latin-1"), "byte 0xe9 at 3"), ("text".encode("utf-16"), "byte 0xff at 0"), (b"a\0b", "zero")],
    )
    def test_that_is_not_utf_8_is_reported_and_not_guessed_at(self, tmp_path, content, told):
        file = write(tmp_path / "text.txt", content)
        assert texts(file) == []
        assert told in reasons(file)[0]

    def test_that_vanished_or_does_not_let_itself_be_read_is_reported(self, tmp_path):
        assert reasons(tmp_path / "gone.txt") == ["No such file or directory"]
        (tmp_path / "broken.txt").symlink_to("/proc/self/mem")  # a file whose reading fails, for root too
        assert reasons(tmp_path / "broken.txt") == ["Input/output error"]


class TestHtml:
    PAGE = """<html><head><title>On  bees</title><style>p {color: red}</style></head><body>
        <h1>Bees</h1><p>They make <b>hon</b>ey<br>and wax.</p><script>alert(1)</script><ul><li>one<li>two</ul></html>"""

    def test_is_read_as_a_person_sees_it(self, tmp_path):
        pytest.importorskip("bs4", reason="beautifulsoup4 comes with the `ingest` extra")
        (document,) = read_file(write(tmp_path / "bees.html", self.PAGE))
        lines = [line for line in document.text.split("\n") if line]
        assert lines == ["On bees", "Bees", "They make honey", "and wax.", "one", "two"]
        assert document.metadata["title"] == "On bees"

    def test_in_the_encoding_that_it_declares(self, tmp_path):
        pytest.importorskip("bs4", reason="beautifulsoup4 comes with the `ingest` extra")
        page = '<meta charset="iso-8859-1"><p>café</p>'.encode("latin-1")
        assert texts(write(tmp_path / "page.HTM", page)) == ["café"]
        assert texts(write(tmp_path / "utf-8.html", '<?xml version="1.0"?><html><p>café</p></html>')) == ["café"]
        assert "byte 0xe9" in reasons(write(tmp_path / "none.html", "<p>café</p>".encode("latin-1")))[0]
        windows = '<meta charset="iso-8859-1"><p>“café” €\x81</p>'.encode("cp1252", "replace").replace(b"?", b"\x81")
        assert texts(write(tmp_path / "windows.html", windows)) == ["“café” €\x81"]
        wrong = '<meta charset="utf-8"><p>café</p>'.encode("latin-1")
        assert "encoding utf-8 that it declares" in reasons(write(tmp_path / "wrong.html", wrong))[0]

    @pytest.mark.parametrize("declared", ["utf-8", "iso-8859-1", "utf-16", "utf-32"])
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_a_byte_order_mark_wins(self, tmp_path, declared, encoding):
        page = f'<meta charset="{declared}"><p>Grüße, 東京</p>'.encode(encoding)
        assert texts(write(tmp_path / "page.html", page)) == ["Grüße, 東京"]

    def test_half_a_character_of_utf_16_is_reported(self, tmp_path):
        file = write(tmp_path / "page.html", "<p>東京</p>".encode("utf-16")[:-1])
        assert "not in UTF-16, which its byte order mark says" in reasons(file)[0]

    @pytest.mark.parametrize("declared", ["utf-16", "utf-16le", "UTF-32"])
    def test_a_declaration_that_can_be_read_is_no_utf_16(self, tmp_path, declared):
        page = f'<meta charset="{declared}"><p>Grüße</p>'.encode()
        assert texts(write(tmp_path / "page.html", page)) == ["Grüße"]

    @pytest.mark.parametrize("declared", ["utf-8", "iso-8859-1", "shift_jis"])
    def test_zero_bytes_are_no_text(self, tmp_path, declared):
        page = f'<meta charset="{declared}"><p>a\0b</p>'.encode()
        assert reasons(write(tmp_path / "page.html", page)) == ["not text: it has zero bytes"]

    @pytest.mark.parametrize("piece", ["<! ", "<![", "<!x]", "<![ ]", "<!--"])
    @pytest.mark.parametrize("end", ["", ">", "]", "]>", ">]"])
    def test_declarations_without_an_end_take_no_time_of_their_cube(self, tmp_path, piece, end):
        """2,400 bytes of them took half a second, ten times as many ten minutes."""
        file = write(tmp_path / "page.html", "<p>river</p><![foo" + piece * 100_000 + end)
        assert texts(file) or reasons(file)

    def test_what_follows_a_declaration_stays(self, tmp_path):
        page = "<![foo [<!ENTITY a 'b'>]><p>river</p><!-- <!x -- <! --><p>stone</p>"
        assert texts(write(tmp_path / "page.html", page)) == ["river\n\nstone"]


class TestPdf:
    @pytest.fixture(autouse=True)
    def _pypdf(self):
        pytest.importorskip("pypdf", reason="pypdf comes with the `ingest` extra")

    def test_is_a_document_a_page(self, tmp_path):
        found = list(read_file(write(tmp_path / "rivers.pdf", pdf("The Danube ends.", "The Rhine too."))))
        assert [(document.text, document.metadata["page"]) for document in found] == [
            ("The Danube ends.", 1),
            ("The Rhine too.", 2),
        ]

    def test_without_text_or_that_is_none_is_reported(self, tmp_path):
        assert "OCR" in reasons(write(tmp_path / "scanned.pdf", pdf("")))[0]
        assert "not a PDF" in reasons(write(tmp_path / "none.pdf", b"hello"))[0]
        assert "not a PDF" in reasons(write(tmp_path / "empty.pdf", b""))[0]


class TestJsonl:
    def test_is_a_document_a_line_with_everything_else_as_metadata(self, tmp_path):
        line = {"text": "Cats sleep.", "id": 7, "title": "Cats", "score": 0.5, "tags": ["a", "b"], "none": None}
        file = write(tmp_path / "a.jsonl", "\ufeff" + json.dumps(line) + "\n\n" + '{"text": "Dogs bark."}')
        first, second = read_file(file)
        assert first.text == "Cats sleep."
        expected = {"source": str(file), "id": "7", "title": "Cats", "score": 0.5, "tags": '["a", "b"]'}
        assert first.metadata == expected
        assert (second.text, second.metadata) == ("Dogs bark.", {"source": str(file)})

    def test_keeps_a_source_of_its_own(self, tmp_path):
        (document,) = read_file(write(tmp_path / "a.jsonl", '{"text": "Cats sleep.", "source": "the zoo"}'))
        assert document.metadata == {"source": "the zoo"}

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (b"{broken", "not JSON"),
            (b'["text"]', 'not an object with a "text"'),
            (b'{"text": 5}', 'not an object with a "text"'),
            (b'{"text": "caf\xe9"}', "not UTF-8: byte 0xe9"),
            (b'{"text": "a", "id": [1]}', "its id [1]"),
            (b'{"text": "a", "iqe_source": "b"}', "'iqe_source' is not allowed"),
            (b'{"text": "a", "n": NaN}', "'n' is nan"),
            (b'{"text": "\\ud800"}', "lone surrogate"),
            (b'{"text": "again", "id": "one"}', "that of line 1"),
        ],
    )
    def test_a_broken_line_is_reported_by_its_number_and_the_rest_is_read(self, tmp_path, line, told):
        file = write(tmp_path / "a.jsonl", b'{"text": "first", "id": "one"}\n' + line + b'\n{"text": "last"}\n')
        assert texts(file) == ["first", "last"]
        (problem,) = (item for item in read_file(file) if isinstance(item, Problem))
        assert problem.place == f"{file}:2"
        assert told in problem.reason


class TestFinding:
    def names(self, found) -> list[str]:
        return [file.name for file in found.files]

    def test_takes_the_kinds_it_reads_and_counts_the_others(self, tmp_path):
        for name in ("a.md", "b.TXT", "c/d.py", "c/e.png", ".hidden.txt", ".git/f.txt"):
            write(tmp_path / name, "text")
        found = find_files([tmp_path])
        assert self.names(found) == ["a.md", "b.TXT", "d.py"]
        assert found.passed_over == 1

    def test_a_source_may_be_a_link_to_a_name_without_an_ending(self, tmp_path):
        """As the hub's cache and git-annex lay files."""
        write(tmp_path / "blobs/abc123", "text")
        (tmp_path / "note.md").symlink_to(tmp_path / "blobs/abc123")
        assert self.names(find_files([tmp_path / "note.md"])) == ["note.md"]

    def test_comes_to_each_file_once(self, tmp_path, monkeypatch):
        """The same SOURCE twice, one inside another, by another spelling, and through links."""
        write(tmp_path / "docs/deep/a.txt", "text")
        (tmp_path / "docs/a link.txt").symlink_to(tmp_path / "docs/deep/a.txt")
        (tmp_path / "linked").symlink_to(tmp_path / "docs", target_is_directory=True)
        (tmp_path / "docs/loop").symlink_to(tmp_path / "docs", target_is_directory=True)
        monkeypatch.chdir(tmp_path)
        sources = ["docs", tmp_path / "docs", "docs/deep", "docs/deep/../deep/a.txt", "linked"]
        assert [str(file) for file in find_files(sources).files] == [str(tmp_path / "docs/deep/a.txt")]

    def test_names_a_file_outside_by_the_link_that_led_to_it(self, tmp_path):
        outside = write(tmp_path / "elsewhere/a.txt", "text")
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs/b.txt").symlink_to(outside)
        assert find_files([tmp_path / "docs"]).files == (tmp_path / "docs/b.txt",)

    def test_leaves_alone_what_is_no_file_and_tells_names_that_are_no_text(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.txt")  # reading it would wait for ever
        (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("text")
        found = find_files([tmp_path])
        assert found.files == ()
        assert [problem.reason for problem in found.problems] == ["its name is not UTF-8"]

    @pytest.mark.parametrize(("source", "told"), [("absent", "there is no 'absent'"), ("a.png", "of no kind")])
    def test_refuses_a_source_that_is_not_there_or_of_no_kind(self, tmp_path, monkeypatch, source, told):
        monkeypatch.chdir(tmp_path)
        write(tmp_path / "a.png", "")
        with pytest.raises(OptionError, match=told):
            find_files([source])

    def test_refuses_no_sources(self):
        with pytest.raises(OptionError, match="no SOURCE"):
            find_files([])


def test_a_place_covers_itself_and_what_is_in_it_and_no_neighbour():
    assert Places(["/a/b"]).cover("/a/b")
    assert Places(["/x", "/a/b"]).cover("/a/b/c.txt")
    assert Places(["/"]).cover("/a/b")
    assert not Places(["/a/b"]).cover("/a/bc.txt")
    assert not Places(["/a/b/c.txt"]).cover("/a/b")
    assert not Places([]).cover("/a")


def test_places_are_compared_as_the_machine_writes_paths(monkeypatch):
    """As Windows does, with its own separators and letters of either case."""
    monkeypatch.setattr(sources, "PurePath", PureWindowsPath)
    place = Places([r"C:\docs"])
    assert place.cover(r"c:\Docs\deep\a.txt")
    assert place.cover("C:/docs/a.txt")
    assert not place.cover(r"C:\docs-beside\a.txt")
