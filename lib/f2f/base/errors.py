"""The one exception of the package's own: a file or a stored part that cannot be trusted."""


class FormatError(ValueError):
    """Stored data is damaged, truncated, of a newer version, or not of this format.

    The message names the file (where there is one), the tensor and the cause. Wrong arguments
    are plain `ValueError`s; this subclass is for wrong *data*.
    """
