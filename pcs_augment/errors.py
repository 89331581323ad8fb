"""The exceptions that users meet; each message says what was given, what is allowed and what to do."""


class PcsError(Exception):
    """Base of every error that this library raises on purpose.

    Examples:
        >>> try:
        ...     pa.Blur(p=2)
        ... except pa.PcsError as e:
        ...     print(e)
        p must be a probability in [0, 1], got 2
    """


class InputError(PcsError, ValueError):
    """An argument, image batch, target or plan is not of the documented form; a ValueError too.

    Examples:
        >>> pa.Blur()(torch.rand(8, 8))
        Traceback (most recent call last):
        pcs_augment.errors.InputError: images must be (B, C, H, W) with every size at least 1, got shape (8, 8); ...
    """


class DataError(PcsError, ValueError):
    """A file to be read is missing, malformed, unreadable or refused as unsafe; a ValueError too.

    Examples:
        >>> pa.Plan.load("absent.npz")
        Traceback (most recent call last):
        pcs_augment.errors.DataError: absent.npz: no such plan file
    """


class OutputError(PcsError, OSError):
    """A file could not be written; nothing half-written is left behind. An OSError too.

    Examples:
        >>> pa.Flip().draw(images.shape).save("/no/such/folder/plan.npz")
        Traceback (most recent call last):
        pcs_augment.errors.OutputError: ...
    """
