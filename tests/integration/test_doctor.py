"""`iqe doctor`: what it finds here, and what it says of an installation that is not well."""

from __future__ import annotations

import functools
import http.server
import json
import platform
import shutil
import threading

import pytest

from intel_quantized_embeddings.cli import doctor, main, self_test
from intel_quantized_embeddings.runtimes import native_library


@pytest.fixture(autouse=True)
def _short(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "run_self_test", functools.partial(self_test.run_self_test, seconds=0.05))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_a_sound_installation_gives_the_stored_bits_with_every_instruction_set(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["well"] is True
    assert facts["self_test"]["bits"] == dict.fromkeys(native_library.instruction_sets(), True)
    assert facts["self_test"]["texts_per_second"] > 0
    assert facts["self_test"]["query_ms"] > 0
    assert facts["libraries"]["numpy"]
    assert facts["cores"] >= 1


def test_other_bits_are_said_and_are_the_exit_status(capsys, monkeypatch):
    monkeypatch.setattr(self_test, "STORED_BITS", "0" * 64)
    assert main(["doctor"]) == 1
    assert "NOT the stored bits with " in capsys.readouterr().out


def test_without_an_engine_it_says_what_to_do(capsys, monkeypatch, tmp_path):
    native_library.library.cache_clear()
    monkeypatch.setattr(native_library, "LIBRARY", tmp_path / "none.so")
    try:
        assert main(["doctor"]) == 1
    finally:
        native_library.library.cache_clear()
    shown = " ".join(capsys.readouterr().out.split())
    assert "Use runtime='openvino'" in shown
    assert "self-test left out" in shown


def test_the_self_test_can_be_left_out(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "run_self_test", lambda: pytest.fail("it ran"))
    assert main(["doctor", "--no-self-test"]) == 0
    assert "left out" in capsys.readouterr().out


def test_it_shows_the_cached_models_and_neither_the_machine_s_name_nor_tokens(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_a_secret")
    monkeypatch.setenv("IQE_ISA", native_library.instruction_sets()[-1])
    folder = tmp_path / "cache" / "intel-quantized-embeddings" / "int8" / "bge--openvino-0123"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "encoder.bin").write_bytes(bytes(3_000_000))
    (folder.parent / "half").mkdir()
    assert main(["doctor", "--no-self-test"]) == 0
    shown = capsys.readouterr().out
    assert "1 int8 model\n" in shown
    assert "bge--openvino-0123, 3.0 MB" in shown
    assert f"IQE_ISA={native_library.instruction_sets()[-1]}" in shown
    assert "hf_a_secret" not in shown
    assert platform.node() not in shown.split()
    assert str(tmp_path) not in shown


class TestTheHub:
    def test_that_is_not_asked(self, capsys):
        main(["doctor", "--no-self-test"])
        assert "not asked, since HF_HUB_OFFLINE is set" in " ".join(capsys.readouterr().out.split())

    @pytest.mark.parametrize("status", [200, 404])
    def test_that_answers_whatever_it_answers(self, capsys, monkeypatch, status):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            monkeypatch.delenv("HF_HUB_OFFLINE")
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
            main(["doctor", "--no-self-test"])
            server.shutdown()
        assert "reachable, in " in capsys.readouterr().out

    @pytest.mark.parametrize("address", ["http://127.0.0.1:9", "no address", "http://no address", "http://[::"])
    def test_that_can_t_be_reached(self, capsys, monkeypatch, address):
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert main(["doctor", "--no-self-test"]) == 0
        assert "not reachable (" in capsys.readouterr().out

    @pytest.mark.parametrize("offline", [False, True])
    def test_whose_address_holds_a_password_is_shown_without(self, capsys, monkeypatch, offline):
        monkeypatch.setenv("HF_ENDPOINT", "http://me:secret@127.0.0.1:9")
        if not offline:
            monkeypatch.delenv("HF_HUB_OFFLINE")
        main(["doctor", "--no-self-test"])
        shown = capsys.readouterr().out
        assert "http://127.0.0.1:9: not " in shown
        assert "secret" not in shown


def test_a_damaged_default_model_is_said_to_be(capsys, monkeypatch, tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "default")
    (folder / "config.json").write_text("")
    monkeypatch.setattr(doctor, "DEFAULT_MODEL", str(folder))
    main(["doctor", "--no-self-test"])
    assert "config.json is empty" in " ".join(capsys.readouterr().out.split())
