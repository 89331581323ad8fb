"""Commands where terminals are missing, closed or speak ASCII only."""

import io
import sys

import pytest

from pcs_augment import cli, console, demo
from pcs_augment.errors import InputError


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("closed", [True, False])
def test_closed_streams_lead_nowhere(monkeypatch, name, closed):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, name, stream if closed else None)

    def work():
        print("done")
        raise InputError("a message")

    assert cli.guarded("pcs-augment", work) == 1


def test_terminals_of_ascii_show_escapes(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))

    def work():
        raise InputError("größe.json: no such file")

    assert cli.guarded("pcs-augment", work) == 1
    sys.stderr.flush()
    assert raw.getvalue() == b"pcs-augment: error: gr\\xf6\\xdfe.json: no such file\n"


def test_without_a_terminal_progress_is_a_line_a_minute(monkeypatch, capsys):
    clock = iter([0.0, 20.0, 61.0, 62.0, 122.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with cli.Progress("freezing") as progress:
        for done in range(0, 50, 10):
            progress(done, 40)
    assert capsys.readouterr().err == "freezing: 20 of 40 images\nfreezing: 40 of 40 images\n"


@pytest.mark.parametrize("main", [cli.main, demo.main])
def test_every_command_names_the_version(main, capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pcs-augment {cli.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["freeze", "", "--out", "x"], ["freeze", "a.json", "--out", " "], ["preview", "a.png", "--out", ""]]
)
def test_an_empty_name_is_wrong_usage(arguments, capsys):
    assert cli.main(arguments) == 2
    assert "is empty; leave the option out or give it a value" in capsys.readouterr().err
