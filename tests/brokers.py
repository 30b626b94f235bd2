"""A real MQTT broker for tests: mosquitto on a free loopback port, stopped by its own process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from ports import free_port
from real_time import look_until

USER, PASSWORD = "ada", "lovelace"


def find_server(name: str) -> str:
    """The program *name*; without it the test is skipped, or fails where servers are required."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("CASCADE_REQUIRE_SERVERS") == "1":
            pytest.fail(f"{name} is not installed, and CASCADE_REQUIRE_SERVERS=1 says that it has to be")
        pytest.skip(f"{name} is not installed")
    return found


@attrs.define(eq=False)
class Broker:
    """mosquitto, with or without password and TLS."""

    folder: Path
    port: int
    is_secure: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``control=``."""
        if self.is_secure:
            return f"mqtts://{USER}:{PASSWORD}@localhost:{self.port}?cafile={self.folder / 'cert.pem'}"
        return f"mqtt://localhost:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        config = str(self.folder / "mosquitto.conf")
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([find_server("mosquitto"), "-c", config], stdout=log, stderr=log)
        assert look_until(self._answers, 60)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, or kill it."""
        process, self.process = self.process, None
        if process is not None:
            if kill:
                process.kill()
            else:
                process.terminate()
            process.wait(20)

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        """Publish by ``mosquitto_pub``: a client that is not ours."""
        words = [find_server("mosquitto_pub"), "-h", "localhost", "-p", str(self.port), "-t", topic, "-q", "1"]
        words += ["-V", "mqttv5"] + ["-r"] * retain
        if self.is_secure:
            words += ["-u", USER, "-P", PASSWORD, "--cafile", str(self.folder / "cert.pem")]
        data = payload.encode() if isinstance(payload, str) else payload
        subprocess.run([*words, *(["-s"] if data else ["-n"])], input=data, check=True, timeout=20)


@contextmanager
def broker(folder: Path, *, is_secure: bool = False) -> Iterator[Broker]:
    """A broker that runs for the duration of the block; what it retains survives a restart."""
    made = Broker(folder, free_port(), is_secure)
    lines = [
        f"listener {made.port} 127.0.0.1",
        "persistence true",
        "max_queued_messages 0",
        f"persistence_location {folder}/",
        "autosave_interval 1",
        "autosave_on_changes true",
        f"allow_anonymous {'false' if is_secure else 'true'}",
    ]
    if os.geteuid() == 0:
        lines.append("user root")
    if is_secure:
        lines += [f"certfile {folder}/cert.pem", f"keyfile {folder}/key.pem", f"password_file {folder}/passwords"]
        certify(folder)
        words = [find_server("mosquitto_passwd"), "-b", "-c", str(folder / "passwords"), USER, PASSWORD]
        subprocess.run(words, check=True, capture_output=True)
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    made.start()
    try:
        yield made
    finally:
        made.stop()


def certify(folder: Path) -> None:
    """A certificate for localhost that signs itself."""
    words = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {folder}/key.pem"
    words += f" -out {folder}/cert.pem -addext subjectAltName=DNS:localhost"
    subprocess.run([find_server("openssl"), *words.split()], check=True, capture_output=True)


@pytest.fixture(params=["local", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mqtt", "mqtts"))])
def control_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where control plane and clients meet, of each kind. For a module: ``url = control_url``."""
    if request.param == "local":
        yield f"local:{tmp_path}/control.db"
        return
    with broker(tmp_path, is_secure=request.param == "mqtts") as server:
        yield server.url
