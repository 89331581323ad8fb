"""Start-up: the ground floor and the help of commands cost no torch."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "import pcs_augment",
        "import pcs_augment.files, pcs_augment.errors, pcs_augment.images",
        "import pcs_augment.cli; pcs_augment.cli.main(['--help'])",
        "import pcs_augment.cli; pcs_augment.cli.main(['preview', '--help'])",
        "import pcs_render.cli; pcs_render.cli.main(['--help'])",
        "import pcs_render.cli; pcs_render.cli.main(['render', '--help'])",
    ],
)
def test_no_torch_is_loaded(code):
    check = (
        "import sys; assert not {'torch', 'scipy', 'pyarrow', 'numba', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr


def test_shapes_in_annotations_cost_nothing():
    """They are for readers and type checkers: what makes them is not even loaded."""
    use = "import pcs_augment as pa; [getattr(pa, name) for name in pa.__all__]"
    check = "import sys; assert not {'jaxtyping', 'beartype'} & set(sys.modules)"
    out = subprocess.run([sys.executable, "-c", f"{use}\n{check}"], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr


def test_public_names_are_there_and_others_are_not():
    import pcs_augment as pa

    assert all(getattr(pa, name) is not None for name in pa.__all__)
    assert set(pa.__all__) <= set(dir(pa))
    with pytest.raises(AttributeError, match="no attribute 'Blurr'"):
        _ = pa.Blurr


def test_old_names_stay():
    import pcs_augment as pa

    assert pa.PCSDataset is pa.PcsDataset


def test_a_renamed_step_keeps_its_numbers():
    import torch

    import pcs_augment as pa

    class Grainy(pa.GaussianNoise):
        stream_name = "GaussianNoise"

    images = torch.rand(3, 1, 8, 9)
    plan = pa.GaussianNoise(seed=3).draw(images.shape, index=range(3))
    assert torch.equal(Grainy(seed=3)(images, index=range(3)), pa.GaussianNoise(seed=3)(images, index=range(3)))
    assert torch.equal(Grainy(seed=3).apply(images, None, plan)[0], pa.GaussianNoise(seed=3).apply(images, None, plan)[0])
