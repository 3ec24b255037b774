"""The errors tlkit raises, each also the built-in error a caller would expect.

TlkitError
|-- ConfigError        (ValueError)       an argument is wrong
|-- DataError          (ValueError)       images or labels are wrong
|-- DownloadError      (ConnectionError)  weights or data can't be fetched
|-- EngineError        (RuntimeError)     an engine can't run the model, or gives other numbers
|-- MissingExtraError  (ImportError)      an optional package is not installed
|-- StoreError         (OSError)          cached features can't be written
`-- TrainingError      (RuntimeError)     training did not do what it was told
"""


class TlkitError(Exception):
    """The base of every error that tlkit raises on purpose."""


class ConfigError(TlkitError, ValueError):
    """An argument is wrong; the message says what was wanted, what came and what to do."""


class DataError(TlkitError, ValueError):
    """Images or labels don't fit the model; the message names the first that doesn't."""


class DownloadError(TlkitError, ConnectionError):
    """Pretrained weights or a data set can't be fetched; the message says where to put the file."""


class EngineError(TlkitError, RuntimeError):
    """An engine can't run the frozen part, or its numbers are too far from those of Keras."""


class MissingExtraError(TlkitError, ImportError):
    """A package of one of tlkit's extras is not installed; the message is the command to type."""


class StoreError(TlkitError, OSError):
    """Cached features can't be written; what was finished before is kept."""


class TrainingError(TlkitError, RuntimeError):
    """A phase diverged, moved a frozen weight, or left a chosen layer as it was."""
