"""Every public name of the photograph half says what it takes, and its example runs."""

import pytest
from public_names import docstrings, names_of

import pcs_detect

NAMES = names_of(training=False)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        yield docstrings.prepared(pcs_detect)


@pytest.mark.parametrize("name", NAMES)
def test_public_names_say_what_they_take(name):
    assert not docstrings.missing(NAMES[name])


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name, names):
    ran, report = docstrings.run(name, NAMES[name], names)
    assert ran
    assert not report, report
