"""Every public name of the training half says what it takes, and its example runs, on the sample of pcs_augment."""

import pytest
from public_names import docstrings, names_of

from pcs_augment.sample import sample_path

NAMES = names_of(training=True)


@pytest.mark.parametrize("name", NAMES)
def test_public_names_say_what_they_take(name):
    assert not docstrings.missing(NAMES[name])


def test_examples_run(tmp_path, monkeypatch, one_thread):
    """One after the other: what was trained is evaluated."""
    monkeypatch.chdir(tmp_path)
    names = {"sample": sample_path()}
    for name, value in NAMES.items():
        names |= {value.__name__: value}
        ran, report = docstrings.run(name, value, names)
        assert ran
        assert not report, report
        names |= {"trained": next((tmp_path / "training").glob("*.pth"))}
