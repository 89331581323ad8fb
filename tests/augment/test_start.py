"""Start-up: the ground floor and the help of commands cost no torch."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "import pcs_augment",
        "import pcs_augment.files, pcs_augment.errors, pcs_augment.console",
        "import pcs_augment.boxes, pcs_augment.coco_json, pcs_augment.images",
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


def test_type_checkers_see_the_names_that_are_loaded_on_first_use():
    """What the block for type checkers imports is what is in ``__all__``, and the same things as those that are loaded."""
    import pcs_augment as pa

    tree = ast.parse(Path(pa.__file__).read_text(encoding="utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    seen = {a.name: importlib.import_module(f"pcs_augment.{i.module}") for i in block.body for a in i.names}
    assert sorted(seen) == sorted(pa.__all__)
    assert all(getattr(pa, name) is getattr(home, name) for name, home in seen.items())
    steps = {k for k, v in vars(pa.steps).items() if isinstance(v, type) and issubclass(v, pa.Step)}
    assert steps == set(pa.steps.__all__) <= set(pa.__all__)


def test_modules_are_attributes():
    import pcs_augment as pa

    for name in ("boxes", "rng", "reference", "steps"):
        assert getattr(pa, name).__name__ == f"pcs_augment.{name}"


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
