"""The names of the well-known data sets; without importing Keras."""

NAMES = ("cifar10", "digits", "fashion_mnist", "mnist")
"""What `tlkit train` takes in place of a folder; `datasets.get` loads the set."""
