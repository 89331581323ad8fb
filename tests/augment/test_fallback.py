"""Where a Triton kernel cannot run, torch does its work: with the same bits, after one warning, or not at all if forbidden."""

import warnings

import pytest
import torch
from batches import random_images, random_targets

import pcs_augment as pa
from pcs_augment import dispatch

pytest.importorskip("triton", reason="there is no Triton for this system")

from pcs_augment.kernels.triton import layers, rng, smooth, tone


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Tensors on a CPU take the Triton kernels unasked, as those on a GPU do."""
    monkeypatch.delenv("PCS_AUGMENT_KERNELS", raising=False)
    monkeypatch.delenv("PCS_AUGMENT_FALLBACK", raising=False)
    monkeypatch.setitem(dispatch.WINGS, "CPU", "triton")
    forget()
    yield
    forget()


def forget():
    dispatch._off.clear()
    dispatch._proved.clear()
    dispatch._why_off.cache_clear()
    dispatch._implementation.cache_clear()


def fail_after_changing(images, *args):
    images.fill_(7)
    raise RuntimeError("no such instruction")


def applied(step):
    images, targets = random_images(3, 17, 23), random_targets([2, 0, 3], 17, 23)
    return step.apply(images, targets, step.draw(images.shape, targets))[0]


def in_torch(step):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCS_AUGMENT_KERNELS", "torch")
        return applied(step)


@pytest.mark.parametrize(("step", "module", "name"), [(pa.Brightness(), tone, "scale"), (pa.Blur(), smooth, "blur")])
def test_one_kernel_that_fails_is_replaced_once_with_a_warning(step, module, name, monkeypatch):
    monkeypatch.setattr(module, name, fail_after_changing)
    with pytest.warns(UserWarning, match=f"GPU kernels of {module.__name__.rpartition('.')[2]}.{name} are off.*no such inst"):
        assert torch.equal(applied(step), in_torch(step))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(applied(step), in_torch(step))


def test_a_kernel_may_fail_at_a_kind_of_work_that_comes_later(monkeypatch):
    def plane_waves_alone(images, sample, *rest):
        if "perlin" in rest:
            fail_after_changing(images)
        return add_layers(images, sample, *rest)

    add_layers = layers.add_layers
    monkeypatch.setattr(layers, "add_layers", plane_waves_alone)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(applied(pa.InterferenceLayer()), in_torch(pa.InterferenceLayer()))
    with pytest.warns(UserWarning, match=r"layers\.add_layers are off"):
        assert torch.equal(applied(pa.PerlinLayer()), in_torch(pa.PerlinLayer()))


def test_other_kernels_stay_in_use(monkeypatch):
    used = []
    monkeypatch.setattr(tone, "scale", fail_after_changing)
    stretch = tone.stretch
    monkeypatch.setattr(tone, "stretch", lambda *args: used.append(1) or stretch(*args))
    pipeline = pa.Pipeline([pa.Brightness(), pa.Contrast()])
    with pytest.warns(UserWarning, match="tone.scale"):
        applied(pipeline)
    assert used == [1]


def test_a_forbidden_fallback_is_an_error(monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_FALLBACK", "forbidden")
    applied(pa.Brightness())
    forget()
    monkeypatch.setattr(tone, "scale", fail_after_changing)
    with pytest.raises(RuntimeError, match="no such instruction"):
        applied(pa.Brightness())


def test_a_fallback_of_before_is_an_error_once_it_is_forbidden(monkeypatch):
    monkeypatch.setattr(tone, "scale", fail_after_changing)
    with pytest.warns(UserWarning, match=r"tone\.scale"):
        applied(pa.Brightness())
    monkeypatch.setenv("PCS_AUGMENT_FALLBACK", "forbidden")
    with pytest.raises(RuntimeError, match=r"tone\.scale.*forbids.*no such instruction"):
        applied(pa.Brightness())


def test_without_a_compiler_everything_falls_back_or_is_an_error(monkeypatch):
    def no_compiler(*args):
        raise OSError("no cc")

    monkeypatch.setattr(rng, "halves", no_compiler)
    with pytest.warns(UserWarning, match=r"is there a C compiler.*no cc"):
        assert torch.equal(applied(pa.Brightness()), in_torch(pa.Brightness()))
    monkeypatch.setenv("PCS_AUGMENT_FALLBACK", "forbidden")
    with pytest.raises(RuntimeError, match=r"forbids.*no cc"):
        applied(pa.Brightness())


def test_what_the_user_got_wrong_and_full_memory_are_no_reasons_to_fall_back(monkeypatch):
    for error in (pa.InputError("wrong"), torch.OutOfMemoryError("full")):

        def refuse(*args, error=error):
            raise error

        monkeypatch.setattr(tone, "scale", refuse)
        dispatch._implementation.cache_clear()
        with pytest.raises(type(error)):
            applied(pa.Brightness())
    assert dispatch._off == {}


def test_another_word_is_refused(monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_FALLBACK", "never")
    monkeypatch.setattr(tone, "scale", fail_after_changing)
    with pytest.raises(pa.InputError, match=r"PCS_AUGMENT_FALLBACK.*'never'"):
        applied(pa.Brightness())
