"""Files get into the cache whole or not at all; downloads come from a server on this machine."""

import hashlib
import http.server
import threading
import time

import pytest
from cached import available

from scimf.core import paths
from scimf.data import registry

CONTENT = b"cells " * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    body = CONTENT
    length = len(CONTENT)

    def do_GET(self):
        self.server.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(self.length))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {}))
    server.requests = 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def toy(server, tmp_path, monkeypatch):
    """A registered set of two files on the server; returns the cache folder."""
    url = f"http://127.0.0.1:{server.server_port}"
    digest = hashlib.sha256(CONTENT).hexdigest()
    rows = []
    for name in ("a.npy", "b.npy"):
        rows.append({"file": f"toy/{name}", "url": f"{url}/{name}", "sha256": digest})
    monkeypatch.setattr(registry, "entries", lambda: {"toy": {"files": rows}})
    monkeypatch.setattr(paths, "DATA", tmp_path / "cache")
    return tmp_path / "cache"


def left_over(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_download_then_cache(toy, server):
    assert not available("toy")
    files = registry.fetch("toy")
    assert [f.read_bytes() for f in files] == [CONTENT, CONTENT]
    assert available("toy")
    assert server.requests == 2
    assert registry.fetch("toy") == files
    assert server.requests == 2
    assert sorted(left_over(toy)) == sorted(files)


def test_wrong_download_is_refused_and_not_kept(toy, server):
    server.RequestHandlerClass.body = b"other " * 1000
    with pytest.raises(ValueError) as caught:
        registry.fetch("toy")
    message = str(caught.value)
    assert "toy/a.npy" in message
    assert "Nothing was kept" in message
    for content in (CONTENT, b"other " * 1000):
        assert hashlib.sha256(content).hexdigest() in message
    assert server.requests == 1
    assert not left_over(toy)


def test_interrupted_download_leaves_nothing(toy, server):
    server.RequestHandlerClass.body = CONTENT[:100]
    with pytest.raises((registry.DataUnavailable, ValueError), match=r"toy/a\.npy"):
        registry.fetch("toy")
    assert not left_over(toy)
    server.RequestHandlerClass.body = CONTENT
    assert len(registry.fetch("toy")) == 2


def test_server_down_says_what_to_do_quickly(toy, server):
    server.shutdown()
    server.server_close()
    start = time.perf_counter()
    with pytest.raises(registry.DataUnavailable) as caught:
        registry.fetch("toy")
    assert time.perf_counter() - start < 5
    for part in ("toy", "toy/a.npy", "http://127.0.0.1", str(toy), "SCIMF_DATA"):
        assert part in str(caught.value)
    # What a notebook shows of it: one line, without the download's story or a machine's path.
    line = str(caught.value).splitlines()[0]
    assert len(line) < 160
    assert "127.0.0.1 cannot be reached (ConnectionError)" in line
    assert str(toy) not in line


def test_damaged_cache_is_named_and_kept(toy, server):
    target = toy / "toy" / "a.npy"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    with pytest.raises(ValueError, match="Delete it") as caught:
        registry.fetch("toy")
    assert str(target) in str(caught.value)
    assert hashlib.sha256(b"mine").hexdigest() in str(caught.value)
    assert target.read_bytes() == b"mine"
    assert server.requests == 0


def test_full_cache_needs_no_network_and_no_write(toy, server):
    (toy / "toy").mkdir(parents=True)
    for name in ("a.npy", "b.npy"):
        (toy / "toy" / name).write_bytes(CONTENT)
    before = (toy / "toy").stat().st_mtime_ns
    (toy / "toy").chmod(0o555)
    try:
        registry.fetch("toy")
    finally:
        (toy / "toy").chmod(0o755)
    assert server.requests == 0
    assert (toy / "toy").stat().st_mtime_ns == before


def test_an_unknown_set_is_named_with_those_there_are(toy):
    with pytest.raises(ValueError, match=r"'none' is not in scimf/data/registry\.toml.* toy"):
        registry.fetch("none")


def test_missing_file_in_a_folder_that_cannot_be_made(toy):
    toy.write_text("a file where the folder should be")
    with pytest.raises(registry.DataUnavailable, match="SCIMF_DATA"):
        registry.fetch("toy")


def test_timeout(toy, server, monkeypatch):
    monkeypatch.setattr(registry, "TIMEOUT", 0.2)
    monkeypatch.setattr(server.RequestHandlerClass, "do_GET", lambda self: time.sleep(1))
    with pytest.raises(registry.DataUnavailable, match="Timeout"):
        registry.fetch("toy")
