"""Every public name says what it takes, and its example runs."""

from pathlib import Path

import docstrings
import pytest

import pcs_augment

API = Path(__file__).resolve().parents[2] / "docs" / "api"
NAMES = docstrings.public(API / "augment.md")


@pytest.fixture(scope="module")
def names():
    return docstrings.prepared(pcs_augment)


@pytest.mark.parametrize("name", NAMES)
def test_public_names_say_what_they_take(name):
    assert not docstrings.missing(NAMES[name])


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "torch")  # the same bits, and nothing to compile
    ran, report = docstrings.run(name, NAMES[name], names)
    assert ran
    assert not report, report
