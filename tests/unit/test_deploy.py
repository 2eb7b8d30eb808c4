"""deploy/ beside what it names: files that exist, options that the command takes, an extra that there is.

Docker itself is not needed, and not run.
"""

from __future__ import annotations

import json
import re
import shlex

import pytest
import yaml

from intel_quantized_embeddings.cli import parser
from support.documents import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PAGE = (ROOT / "docs" / "serving.md").read_text("utf-8")


def instructions() -> list[tuple[str, str]]:
    """Its instructions in order, lines that go on joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, from its FROM on."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def said(word: str) -> str:
    """What an instruction of the last stage says; it is there once."""
    (rest,) = (rest for one, rest in stages()[-1] if one == word)
    return rest


def compose() -> dict:
    return yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))["services"]["embeddings"]


def test_what_is_copied_exists_and_is_not_ignored():
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    copied = [source for word, rest in instructions() if word == "COPY" for source in rest.split()[:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored


def test_all_that_the_wheel_is_built_of_is_copied():
    """Everything that pyproject.toml names, and what the build hook and the engine's build are."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    copied = {source for word, rest in instructions() if word == "COPY" for source in rest.split()[:-1]}
    assert {"pyproject.toml", "hatch_build.py", "native", "src"} <= copied
    for name in re.findall(r'^(?:readme|license-files) = \[?"([^"]+)"', project, flags=re.MULTILINE):
        assert name in copied


def test_it_installs_the_extra_that_the_page_says_from_wheels_in_one_layer():
    building, running = ([rest for word, rest in stage if word == "RUN"] for stage in stages())
    (extra,) = set(re.findall(r"pip install '\.\[(\w+)\]'", PAGE))
    assert len(building) == len(running) == 1
    assert building[0].endswith(f"-c requirements/constraints.txt '.[{extra}]'")
    assert "pip wheel" in building[0]
    assert f"'intel-quantized-embeddings[{extra}]'" in running[0]
    assert "--no-index --find-links /wheels" in running[0]


def test_both_stages_have_the_python_that_tests_run_with():
    images = {stage[0][1].split()[0] for stage in stages()}
    assert images == {"python:3.11-slim"}
    assert "Programming Language :: Python :: 3.11" in (ROOT / "pyproject.toml").read_text("utf-8")


def test_it_does_not_run_as_root():
    user = said("USER")
    assert int(user) > 0
    assert f"--uid {user}" in said("RUN")
    words = [word for word, _ in stages()[-1]]
    assert words.index("USER") > words.index("RUN")


def test_the_command_is_one_that_there_is_and_its_health_is_asked_at_its_port():
    entry, default = json.loads(said("ENTRYPOINT")), json.loads(said("CMD"))
    assert entry[0] == "iqe"
    options = parser().parse_args([*entry[1:], *default])
    assert options.host == "0.0.0.0"
    port = options.port or 8000
    assert said("EXPOSE") == str(port)
    health = json.loads(said("HEALTHCHECK").partition(" CMD ")[2])
    assert health[:2] == ["python", "-c"]
    compile(health[2], "HEALTHCHECK", "exec")
    assert f"http://127.0.0.1:{port}/health" in health[2]


@pytest.mark.parametrize("status", [200, 503])
def test_the_health_check_tells_a_healthy_service_from_another(status):
    import subprocess
    import sys
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Health)
    thread = Thread(target=server.handle_request)
    thread.start()
    code = json.loads(said("HEALTHCHECK").partition(" CMD ")[2])[2].replace(":8000/", f":{server.server_port}/")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    thread.join()
    server.server_close()
    assert (done.returncode == 0) is (status == 200)


def test_compose_builds_that_and_gives_options_that_there_are():
    service = compose()
    context = (ROOT / "deploy" / service["build"]["context"]).resolve()
    assert context == ROOT
    assert context / service["build"]["dockerfile"] == DOCKERFILE
    options = parser().parse_args([*json.loads(said("ENTRYPOINT"))[1:], *service["command"]])
    assert len(options.models) == len(options.names) == 1
    assert list(service["environment"]) == ["IQE_API_KEY"]
    assert service["ports"] == [f"127.0.0.1:8000:{said('EXPOSE')}"]
    (volume,) = service["volumes"]
    assert volume.endswith(f":{said('VOLUME')}")


def test_compose_waits_longer_than_the_service_takes_to_stop():
    from intel_quantized_embeddings.serving.limits import Limits

    assert int(compose()["stop_grace_period"].removesuffix("s")) > Limits().stop_seconds


def test_the_page_shows_commands_for_the_files_that_there_are():
    commands = [shlex.split(line) for line in PAGE.splitlines() if line.startswith("docker ")]
    named = [command[command.index("-f") + 1] for command in commands if "-f" in command]
    assert {"deploy/Dockerfile", "deploy/compose.yaml"} <= set(named)
    assert all((ROOT / name).is_file() for name in named)
