"""A served run: it says what submit says, whoever asks at once, and it ends as one expects."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import inside

from pipeline.__main__ import main
from pipeline.serving.listening import bound
from pipeline.stages import serve as stage

ROOT = Path(__file__).parents[2]


@contextmanager
def started(home, *more):
    """A server of the run of all tests; its process and its port."""
    command = [sys.executable, "-m", "pipeline", "serve", "--run", "runs/one", "--port", "0", *more]
    server = subprocess.Popen(
        command,
        cwd=home,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = server.stdout.readline()
        found = re.fullmatch(r"serve: http://127\.0\.0\.1:(\d+) answers for runs/one; Ctrl-C ends it\n", line)
        assert found, line + server.stderr.read()
        yield server, int(found[1])
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate()


def ask_all(port, photos, clients):
    """The reply to each photo, asked by some clients at once."""
    todo, replies = list(enumerate(photos)), {}

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while todo:
            try:
                number, photo = todo.pop()
            except IndexError:
                break
            connection.request("POST", f"/label?name={photo.name}", photo.read_bytes(), {"Content-Type": "image/jpeg"})
            reply = connection.getresponse()
            replies[number] = reply.status, json.loads(reply.read())["photos"][0]
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [replies[number] for number in range(len(photos))]


def memory(process):
    """Megabytes that a process holds."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024


def of_submission(done):
    names = pd.read_csv(done.data / "eval/info.csv")["ImageID"]
    predictions = pd.read_csv(done.run / "predictions.csv")
    years = predictions.groupby("photo")["age_years"].mean()
    years.index = [Path(name).name for name in years.index]
    photos = [done.data / "eval/images" / name for name in names]
    return photos, pd.read_csv(done.run / "submission.csv")["ans"].tolist(), years.loc[names].tolist()


def check(replies, labels, years):
    assert {status for status, _ in replies} == {200}
    assert [said["label"] for _, said in replies] == labels
    assert [said["age_years"] for _, said in replies] == pytest.approx(years, abs=1e-2)


def test_it_says_what_submit_says_whoever_asks_beside(done, capsys):
    photos, labels, years = of_submission(done)
    with started(done.home) as (server, port):
        check(ask_all(port, photos, 1), labels, years)
        check(ask_all(port, photos * 3, 20), labels * 3, years * 3)
        with inside(done.home):
            assert main(["serve", "--run", "runs/one", "--port", str(port)]) == 2
        told = f"face18: --port {port} of 127.0.0.1 is taken by another program; name another one.\n"
        assert capsys.readouterr().err == told
        check(ask_all(port, photos[:1], 1), labels[:1], years[:1])
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=30)
    assert server.returncode == 0
    count = 4 * len(photos) + 1
    assert out == f"serve: ended after {count} requests, {count} photos\n"
    assert err == ""


@pytest.mark.slow
def test_a_thousand_requests_of_fifty_clients(done):
    photos, labels, years = of_submission(done)
    times = -(-1000 // len(photos))
    with started(done.home) as (server, port):
        ask_all(port, photos * 3, 50)
        before = memory(server.pid)
        check(ask_all(port, photos * times, 50), labels * times, years * times)
        assert memory(server.pid) < before + 60
        server.terminate()
        server.communicate(timeout=30)
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 is every address of this machine; say under which names it is asked"),
        (["--host", "0"], "--host 0 is every address of this machine"),
        (["--names", "a.org,,b.org"], "--names a.org,,b.org: '' is no name of a host; give names without http:// and"),
        (["--names", "http://a.org"], "--names http://a.org: 'http://a.org' is no name of a host"),
        (["--names", "a.org:8018"], "--names a.org:8018: 'a.org:8018' is no name of a host"),
        (["--photos-each", "257"], "--photos-each 257: it must be from 1 to 256."),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 is no address of this machine"),
        (["--port", "70000"], "--port 70000: it must be from 0 to 65535."),
        (["--megapixels", "0"], "--megapixels 0: it must be above 0"),
        (["--run", "runs/none"], "runs/none"),
        (["photo.jpg"], "serve does not know what to do with photo.jpg"),
    ],
)
def test_what_it_cannot_do_is_told_in_a_sentence(done, capsys, words, told):
    with inside(done.home):
        assert main(["serve", *(["--run", "runs/one"] if "--run" not in words else []), *words]) == 2
    assert told in capsys.readouterr().err


def test_a_run_that_is_not_calibrated_is_not_served(copy, capsys):
    (copy.run / "combiner.json").unlink()
    assert main(["serve", "--run", str(copy.run), "--port", "0"]) == 2
    assert "calibrate" in capsys.readouterr().err


def test_what_is_not_installed_is_named(done, capsys, monkeypatch):
    monkeypatch.setitem(stage.NEEDED, "no_such_module", "no-such-package")
    with inside(done.home):
        assert main(["serve", "--run", "runs/one"]) == 2
    assert "serve needs no-such-package; run make setup, or pip install no-such-package." in capsys.readouterr().err


def test_a_port_is_free_again_after_a_refusal(done, capsys):
    """Bound before anything is loaded, and given back where that fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with inside(done.home):
        assert main(["serve", "--run", "runs/one", "--system", "joint", "--port", str(port)]) == 2
    assert "no fold of joint is trained" in capsys.readouterr().err
    bound("127.0.0.1", port).close()
