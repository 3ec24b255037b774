"""The errors tlkit raises, each also the built-in error a caller would expect.

TlkitError
|-- ConfigError    (ValueError)       an argument is wrong
|-- DataError      (ValueError)       images or labels are wrong
|-- DownloadError  (ConnectionError)  weights or data can't be fetched
`-- TrainingError  (RuntimeError)     training did not do what it was told
"""


class TlkitError(Exception):
    """The base of every error that tlkit raises on purpose."""


class ConfigError(TlkitError, ValueError):
    """An argument is wrong; the message says what was wanted, what came and what to do."""


class DataError(TlkitError, ValueError):
    """Images or labels don't fit the model; the message names the first that doesn't."""


class DownloadError(TlkitError, ConnectionError):
    """Pretrained weights or a data set can't be fetched; the message says where to put the file."""


class TrainingError(TlkitError, RuntimeError):
    """A phase diverged, moved a frozen weight, or left a chosen layer as it was."""
