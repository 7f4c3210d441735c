"""A server on loopback: what it refuses, and that it answers the next one all the same."""

import http.client
import io
import json
import socket
import struct
import tempfile
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models.errors import UserError
from pipeline.images.decode import BadPhotoError, PhotoBytes, decode
from pipeline.serving import guard, listening, service
from pipeline.serving.labelled import Labelled
from pipeline.serving.limits import Limits
from pipeline.serving.listening import Server, bound
from pipeline.serving.service import Service
from pipeline.serving.strangers import ForStrangers

ABOUT = {"run": "a <b>run", "bands": "the thresholds 30.0 and 60.0", "boxed": False}


class Brightness:
    """Labels a photo by how bright it is, from 0 to 17, as a labeller does."""

    together = 8

    def __init__(self):
        self.may_label = threading.Event()
        self.may_label.set()
        self.looked = 0

    def look_at(self, photo, most_pixels, most_faces):
        self.looked += 1
        try:
            return SimpleNamespace(bright=decode(photo, most_pixels).pixels.mean(), left_out=0)
        except BadPhotoError as problem:
            return str(problem)

    def label_seen(self, names, photos):
        self.may_label.wait()
        labels = [round(photo.bright / 15) for photo in photos]
        return Labelled(pd.DataFrame({"photo": names, "label": labels}), None, {}, [])


def photo(bright=150, kind="PNG", size=(8, 6)):
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), bright, np.uint8)).save(file, kind)
    return file.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(side):
    """A PNG of a few kilobytes that says it has side x side pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(10_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@contextmanager
def served(limits=None, names=("localhost", "127.0.0.1")):
    """A server at a free port; its port, and its service."""
    limits, labels = limits or Limits(), Brightness()
    service = Service(ForStrangers(labels, limits.megapixels), 2, limits, ABOUT)
    server = Server.of(service.application(names))
    with bound("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield SimpleNamespace(port=port, service=service, server=server, labels=labels, thread=thread)
        finally:
            labels.may_label.set()
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def site():
    with served() as found:
        yield found


def ask(port, method="POST", path="/label", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    told = json.loads(content) if reply.headers.get_content_type() == "application/json" else content
    return SimpleNamespace(status=reply.status, told=told, headers=reply.headers)


def form(*files, boundary="xyz"):
    """A form of files (name, content), as browsers send one."""
    pieces = []
    for name, content in files:
        pieces += [f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="{name}"\r\n'.encode()]
        pieces += [b"Content-Type: image/png\r\n\r\n", content, b"\r\n"]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])


def ask_form(port, *files):
    return ask(port, body=form(*files), Content_Type="multipart/form-data; boundary=xyz")


def eventually(so):
    """Asserts what becomes true within seconds."""
    until = time.monotonic() + 5
    while not so() and time.monotonic() < until:
        time.sleep(0.02)
    assert so()


def answers(port):
    """Whether the next one is answered."""
    reply = ask(port, body=photo(150), Content_Type="image/png")
    return (reply.status, reply.told) == (200, {"photos": [{"photo": "photo", "label": 10}]})


def test_photos_as_a_form_and_as_a_body(site):
    reply = ask_form(site.port, ("a.png", photo(0)), ("b.jpg", photo(255, "JPEG")))
    assert reply.status == 200
    assert reply.told == {"photos": [{"photo": "a.png", "label": 0}, {"photo": "b.jpg", "label": 17}]}
    reply = ask(site.port, path="/label?name=c%20d.webp", body=photo(30, "WEBP"), Content_Type="image/webp")
    assert reply.told == {"photos": [{"photo": "c d.webp", "label": 2}]}
    reply = ask(site.port, body=photo(45), Content_Type="application/octet-stream")
    assert reply.told == {"photos": [{"photo": "photo", "label": 3}]}


def test_a_broken_photo_takes_no_other_with_it(site):
    reply = ask_form(site.port, ("a.png", photo(15)), ("b.png", b"no photo"), ("c.png", photo(30)))
    assert reply.status == 200
    assert [one.get("label") for one in reply.told["photos"]] == [1, None, 2]
    assert reply.told["photos"][1] == {"photo": "b.png", "error": "it is no photo"}
    reply = ask(site.port, body=photo(15)[:40], Content_Type="image/png")
    assert reply.status == 422
    assert "begins like a PNG" in reply.told["photos"][0]["error"]


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>.png", "../../etc/passwd", "a%0D%0ASet-Cookie: b", "é—日本.png", "'; --"]
)
def test_a_name_is_said_again_and_nothing_more(site, name):
    reply = ask_form(site.port, (name, photo(15)))
    assert reply.told == {"photos": [{"photo": name, "label": 1}]}
    assert "Set-Cookie" not in reply.headers


def filled():
    """A JPEG whose scan never begins, but for a marker's fill bytes."""
    return b"\xff\xd8" + b"\xff" * 3_000_000 + b"\x00"


def many_scans():
    """A progressive JPEG that gives its last scan 200 times."""
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(
        whole, "JPEG", progressive=True
    )
    content = whole.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * 200 + content[-2:]


def text_pixels():
    return b"P3\n600 600\n255\n" + b"1 2 3 " * 360_000


def exif_of_exif():
    block = b"Exif\0\0" * 500_000
    whole = photo()
    return whole[:33] + chunk(b"eXIf", block) + whole[33:]


def large_tile():
    """A TIFF of 16x16 pixels in one tile of 16000x16000."""
    entries = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1), (322, 16000), (323, 16000)]
    tile = zlib.compress(bytes(1000))
    entries += [(324, 8 + 2 + 12 * 10 + 4), (325, len(tile))]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + rows + struct.pack("<I", 0) + tile


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (bomb(30_000), "30000x30000 pixels are too many"),
        (filled(), "it begins like a JPEG but is damaged"),
        (many_scans(), "it has 210 scans, and no camera makes more than 100"),
        (text_pixels(), "its pixels are written as text; save it as PNG"),
        (large_tile(), "its tiles of 16000x16000 pixels are too large"),
    ],
    ids=["bomb", "fill bytes", "scans", "text", "tile"],
)
def test_small_files_that_would_take_minutes_or_gigabytes(site, content, told):
    start = time.monotonic()
    reply = ask(site.port, body=content, Content_Type="image/png")
    assert reply.status == 422
    assert reply.told["photos"][0]["error"].startswith(told)
    assert time.monotonic() - start < 5  # each took minutes, or memory of its own
    assert answers(site.port)


def test_blocks_that_go_on_and_on_take_no_time(site):
    start = time.monotonic()
    assert ask(site.port, body=exif_of_exif(), Content_Type="image/png").told["photos"][0]["label"] == 10
    assert time.monotonic() - start < 2


def test_a_photo_of_more_pixels_than_were_allowed():
    with served(Limits(megapixels=0.01)) as site:
        assert ask(site.port, body=photo(size=(100, 100)), Content_Type="image/png").status == 200
        large = photo(size=(100, 101))
        torn = large[:33] + chunk(b"tEXt", b"a\0b")[:-1] + b"?" + large[33:]  # which Pillow does not open as it is
        for content in (large, torn):
            told = ask(site.port, body=content, Content_Type="image/png").told["photos"][0]
            assert told["error"] == "101x100 pixels are more than the 0.01 million allowed"


def test_large_photos_wait_for_each_other(monkeypatch):
    """All decoders at once would take gigabytes."""
    monkeypatch.setattr(guard, "PIXELS_AT_ONCE", 10_000)
    budget, at_once, most = guard.PixelBudget(), [], []

    def decode_one(size):
        with budget.of(PhotoBytes(photo(size=size), "a")):
            at_once.append(size[0] * size[1])
            most.append(sum(at_once))
            time.sleep(0.02)
            at_once.remove(size[0] * size[1])

    sizes = [(100, 60), (100, 50), (100, 40), (200, 200), (10, 10)] * 4
    threads = [threading.Thread(target=decode_one, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(total for total in most if total < 40_000) <= 10_000
    assert 40_000 in most  # which is more than there is room for, and is let in alone
    assert max(most) == 40_000


@pytest.mark.parametrize("told_before", [True, False])
def test_a_body_of_100_megabytes(site, told_before):
    """Said in advance, and sent in pieces of unknown number; memory is not taken for it."""
    piece = bytes(1 << 20)
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        size = "Content-Length: 104857600" if told_before else "Transfer-Encoding: chunked"
        head = f"POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n{size}\r\n\r\n"
        client.sendall(head.encode())
        sent = 0
        client.settimeout(0.01)
        reply = b""
        while sent < 100 and not reply:
            try:
                client.settimeout(5)
                client.sendall(piece if told_before else b"100000\r\n" + piece + b"\r\n")
                sent += 1
                client.settimeout(0.01)
                reply = client.recv(4096)
            except TimeoutError:
                continue
        client.settimeout(5)
        while b"\r\n\r\n{" not in reply:
            reply += client.recv(4096)
    assert sent < 60  # it does not wait for the end
    assert b" 413 " in reply.splitlines()[0]
    assert b"more than the 20 megabytes" in reply
    assert site.service.uploads.held == 0
    assert answers(site.port)


def test_more_photos_than_a_request_takes(site):
    reply = ask_form(site.port, *[("a.png", photo(15))] * 33)
    assert reply.status == 413
    assert reply.told["error"] == "a request takes at most 32 photos; send the others in further ones."
    assert len(ask_form(site.port, *[("a.png", photo(15))] * 32).told["photos"]) == 32


def test_bodies_that_are_no_photos(site):
    for kind, body, status, told in (
        ("multipart/form-data; boundary=xyz; charset=undefined", form(), 400, "there is no photo in the form"),
        ("application/json", b"{}", 415, "a body of the type application/json is no photo; send photos"),
        ("image/png", b"", 400, "there is no photo in the request"),
        ("multipart/form-data", b"x", 400, "the form cannot be read"),
        ("multipart/form-data; boundary=xyz", b"no form", 400, "the form cannot be read"),
        ("multipart/form-data; boundary=xyz", b"--xyz--\r\n", 400, "there is no photo in the form"),
    ):
        reply = ask(site.port, body=body, Content_Type=kind)
        assert (reply.status, told in reply.told["error"]) == (status, True), reply.told
    field = b'--xyz\r\nContent-Disposition: form-data; name="photo"\r\n\r\ntext\r\n--xyz--\r\n'
    assert ask(site.port, body=field, Content_Type="multipart/form-data; boundary=xyz").status == 400
    assert ask(site.port, body=b"x").status == 415
    assert site.service.uploads.held == 0
    assert answers(site.port)


def test_what_there_is_not(site):
    for method, path, status in (("GET", "/label", 405), ("GET", "/photos", 404), ("PUT", "/", 405)):
        reply = ask(site.port, method, path)
        assert reply.status == status
        assert "/openapi.json says what there is." in reply.told["error"]


def test_a_form_in_a_charset_of_its_own(site):
    kind = "multipart/form-data; boundary=xyz; charset=unicode_escape"
    reply = ask(site.port, body=form(("\\ud800.png", photo())), Content_Type=kind)
    assert reply.told["photos"] == [{"photo": "\\ud800.png", "label": 10}]


def test_uploads_go_to_no_disk(site, monkeypatch):
    """A photo of more than a megabyte would, by the usual way of reading forms."""

    def refuse(*_, **__):
        raise AssertionError("a file was opened")

    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)).save(noise, "PNG")
    assert noise.tell() > 2_000_000
    with monkeypatch.context() as patch:
        for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp"):
            patch.setattr(tempfile, name, refuse)
        assert ask_form(site.port, ("noise.png", noise.getvalue())).told["photos"][0]["label"] in (8, 9)


HOSTS = ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[", "a@b:x", "evil@localhost", "localhost:"]


@pytest.mark.parametrize("host", HOSTS)
def test_other_hosts_names_are_refused(site, host):
    for path in ("/", "/label", "/about", "/metrics"):
        reply = ask(site.port, "POST" if path == "/label" else "GET", path, Host=host)
        assert reply.status in ((421,) if host else (400, 421))
    assert ask(site.port, "GET", "/health", Host=f"LOCALHOST:{site.port}").status == 200
    assert ask(site.port, "GET", "/health", Host="localhost").status == 200


def test_two_hosts_are_none(site):
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert client.recv(100).split()[1] in (b"400", b"421")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "file://"])
def test_other_sites_pages_are_refused(site, origin):
    """A page of another site can send a form here without asking first; its browser says whose it is."""
    reply = ask(site.port, body=photo(), Content_Type="image/png", Host=f"localhost:{site.port}", Origin=origin)
    assert reply.status == 403
    own = f"http://localhost:{site.port}"
    assert ask(site.port, body=photo(), Content_Type="image/png", Host=own[7:], Origin=own).status == 200


def test_every_reply_tells_browsers_what_to_run(site, monkeypatch):
    def fails(names, photos):
        raise RuntimeError("odd")

    replies = [ask(site.port, "GET", path) for path in ("/", "/ask.js", "/ask.css", "/about", "/nothing", "/label")]
    with monkeypatch.context() as patch:
        patch.setattr(site.labels, "label_seen", fails)
        replies.append(ask(site.port, body=photo(), Content_Type="image/png"))
    replies.append(ask(site.port, "GET", "/", Host="evil.example"))
    assert [reply.status for reply in replies] == [200, 200, 200, 200, 404, 405, 500, 421]
    for headers in (reply.headers for reply in replies):
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_slow_clients_are_told_and_let_go(monkeypatch):
    """One that sends a photo byte by byte, one whose head never ends, one that says nothing at all."""
    monkeypatch.setattr(listening, "QUIET_SECONDS", 1.0)
    with served(Limits(seconds=0.5)) as site:
        slow, endless, silent = (socket.create_connection(("127.0.0.1", site.port)) for _ in range(3))
        slow.sendall(
            b"POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\n"
        )
        endless.sendall(b"POST /label HTTP/1.1\r\n")
        ended = {}
        start = time.monotonic()
        while len(ended) < 3 and time.monotonic() - start < 10:
            for name, client, more in (
                ("slow", slow, b"x"),
                ("endless", endless, b"A: b\r\n"),
                ("silent", silent, b""),
            ):
                if name in ended:
                    continue
                client.settimeout(0.05)
                try:
                    client.sendall(more)
                    ended[name] = client.recv(4000)
                    while b" 408 " in ended[name] and not ended[name].endswith(b"}"):
                        ended[name] += client.recv(4000)
                except TimeoutError:
                    continue
                except OSError:
                    ended[name] = b""
            assert answers(site.port)  # beside them
        assert b" 408 " in ended["slow"]
        assert b"took longer than 0.5 seconds" in ended["slow"]
        assert b" 408 " in ended["endless"]
        assert b"no whole request came within 1 seconds" in ended["endless"]
        assert ended["silent"] == b""
        assert site.service.uploads.held == 0
        for client in (slow, endless, silent):
            client.close()


def test_a_connection_that_goes_on_asking_stays_open(monkeypatch):
    monkeypatch.setattr(listening, "QUIET_SECONDS", 2.0)
    with served() as site:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
        connection.connect()
        ours = connection.sock
        for _ in range(6):
            time.sleep(0.4)
            connection.request("POST", "/label", photo(), {"Content-Type": "image/png"})
            assert connection.getresponse().read()
            assert connection.sock is ours
        connection.close()


def test_clients_that_go_away_leave_nothing_behind(site):
    for sent in (b"", b"POST /label HTT", b"POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\nabc"):
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            client.sendall(sent)
    for _ in range(10):  # that do not wait for their labels
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            body = photo()
            head = "POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: "
            client.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
    eventually(lambda: (site.service.uploads.held, site.service.batcher.waiting) == (0, 0))
    assert answers(site.port)


def test_too_much_at_once_is_told_and_let_go():
    with served(Limits(megabytes=1)) as site:
        site.service.uploads.held = site.service.uploads.limits.held  # as others' bodies would
        reply = ask(site.port, body=photo(), Content_Type="image/png")
        assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
        site.service.uploads.held = 0
        assert answers(site.port)
        assert site.service.uploads.held == 0


def test_who_does_not_read_is_let_go(monkeypatch):
    """One that asks again and again and reads nothing, until the reply has no room any more."""
    monkeypatch.setattr(listening, "QUIET_SECONDS", 0.5)
    with served() as site, socket.create_connection(("127.0.0.1", site.port)) as client:
        client.settimeout(0.2)
        with suppress(OSError):
            while True:
                client.sendall(b"GET /ask.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        eventually(lambda: not site.server.server_state.connections)
        assert answers(site.port)


def test_of_too_many_connections_the_oldest_quiet_one_ends(monkeypatch):
    monkeypatch.setattr(listening, "CONNECTIONS", 20)
    with served() as site:
        quiet = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(60)]
        eventually(lambda: len(site.server.server_state.connections) <= 20)
        assert answers(site.port)
        quiet[0].settimeout(5)
        assert quiet[0].recv(10) == b""
        for one in quiet:
            one.close()


def test_photos_of_who_has_gone_are_not_looked_at(site):
    site.labels.may_label.clear()
    clients = []
    for _ in range(6):
        client = socket.create_connection(("127.0.0.1", site.port))
        body = form(*[("a.png", photo())] * 30)
        head = "POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=xyz\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        clients.append(client)
    eventually(lambda: site.service.batcher.waiting == 180)
    before = site.labels.looked
    for client in clients:
        client.close()
    eventually(lambda: site.service.batcher.waiting == 0)
    site.labels.may_label.set()
    assert answers(site.port)
    assert site.labels.looked <= before + 2 + 1
    assert site.service.uploads.held == 0


def test_more_photos_than_may_wait_are_told_and_none_of_them_taken(site):
    site.labels.may_label.clear()
    replies = []
    files = form(*[("a.png", photo())] * 32)
    kind = "multipart/form-data; boundary=xyz"
    clients = [
        threading.Thread(target=lambda: replies.append(ask(site.port, body=files, Content_Type=kind))) for _ in range(8)
    ]
    for client in clients:
        client.start()
    eventually(lambda: site.service.batcher.waiting == 256)
    refused = ask(site.port, body=photo(), Content_Type="image/png")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    assert "too many photos wait for their labels" in refused.told["error"]
    assert site.service.batcher.waiting == 256
    site.labels.may_label.set()
    for client in clients:
        client.join()
    assert [len(reply.told["photos"]) for reply in replies] == [32] * 8
    assert answers(site.port)


def test_labels_that_do_not_come_are_told_and_health_says_so(monkeypatch):
    monkeypatch.setattr(service, "REPLY_SECONDS", 0.5)
    with served() as site:
        site.labels.may_label.clear()
        stuck = site.service.batcher.ask([PhotoBytes(photo(), "a")])
        reply = ask(site.port, body=photo(), Content_Type="image/png")
        assert (reply.status, "no label came within 0.5 seconds" in reply.told["error"]) == (503, True)
        health = ask(site.port, "GET", "/health")
        assert (health.status, health.told["status"]) == (503, "stuck")
        site.labels.may_label.set()
        stuck[0].result()
        assert ask(site.port, "GET", "/health").status == 200


def test_a_fault_of_ours_is_told_and_the_next_answered(site, monkeypatch, caplog):
    def fails(names, photos):
        raise RuntimeError("odd")

    with monkeypatch.context() as patch:
        patch.setattr(site.labels, "label_seen", fails)
        reply = ask(site.port, body=photo(), Content_Type="image/png")
    assert (reply.status, "went wrong here" in reply.told["error"]) == (500, True)
    eventually(lambda: "RuntimeError: odd" in caplog.text)  # written when the reply was sent
    assert answers(site.port)


def test_what_was_counted(site):
    def count(name):
        lines = ask(site.port, "GET", "/metrics").told.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    names = (
        'face18_requests_total{status="422"}',
        'face18_photos_total{result="refused"}',
        "face18_batch_photos_count",
    )
    before = [count(name) for name in names]
    ask_form(site.port, ("a.png", photo()), ("b.png", b"none"))
    ask_form(site.port, ("b.png", b"none"))
    assert [count(name) for name in names] == [before[0] + 1, before[1] + 2, before[2] + 1]
    assert ask(site.port, "GET", "/health").told == {"status": "ok", "waiting": 0, "longest_wait": 0.0}


def test_the_description_is_of_what_is_replied(site):
    told = ask(site.port, "GET", "/openapi.json").told
    assert told["openapi"].startswith("3.")
    assert set(told["paths"]) == {"/label", "/health", "/metrics", "/about"}
    statuses = set(told["paths"]["/label"]["post"]["responses"])
    assert {"200", "400", "403", "408", "413", "415", "421", "422", "500", "503"} == statuses
    names = set(told["components"]["schemas"])
    assert {"Label", "Face", "Photo", "Unlabelled"} == names
    refs = [part.split('"')[0] for part in json.dumps(told).split('"$ref": "#/components/schemas/')[1:]]
    assert set(refs) == names


def test_a_server_that_ends_answers_what_it_was_asked(monkeypatch):
    with served() as site:
        site.labels.may_label.clear()
        replies = []
        clients = [threading.Thread(target=lambda: replies.append(answers(site.port))) for _ in range(10)]
        for client in clients:
            client.start()
        eventually(lambda: site.service.batcher.waiting == 10)
        site.server.should_exit = True
        time.sleep(0.3)
        site.labels.may_label.set()
        for client in clients:
            client.join()
    assert replies == [True] * 10
    with pytest.raises(ConnectionRefusedError):
        answers(site.port)


def test_a_server_that_ends_does_not_wait_for_ever(monkeypatch, caplog):
    monkeypatch.setattr(listening, "END_SECONDS", 0.3)
    monkeypatch.setattr(service, "END_SECONDS", 0.3)
    with served() as site:
        site.labels.may_label.clear()
        replies = []
        client = threading.Thread(target=lambda: replies.append(ask(site.port, body=photo(), Content_Type="image/png")))
        client.start()
        eventually(lambda: site.service.batcher.waiting == 1)
        site.server.should_exit = True
        client.join(10)
        site.thread.join(10)
        assert not site.thread.is_alive()
    assert (replies[0].status, "the server is ending" in replies[0].told["error"]) == (503, True)
    assert "Traceback" not in caplog.text


def test_a_port_that_is_taken_and_addresses_that_are_not_here(site):
    with pytest.raises(UserError, match=f"--port {site.port} of 127.0.0.1 is taken by another program"):
        bound("127.0.0.1", site.port)
    with pytest.raises(UserError, match="is no address of this machine"):
        bound("192.0.2.1", 0)
    for host in ("no such host", "a..b", "a" * 80):
        with pytest.raises(UserError, match="there is no such address"):
            bound(host, 0)
    assert answers(site.port)
