"""Names as the literature writes them: MobileNetV2 for mobilenet_v2, MNIST for mnist."""

from tlkit.models.applications import SPECS

_SETS = {"cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST", "mnist": "MNIST"}


def name_backbone(backbone: str) -> str:
    """Return the name of a backbone of keras.applications as in its publication.

    Args:
        backbone: Its name in tlkit, with options behind it; any other text stays as it is.

    Examples:
        >>> name_backbone("mobilenet_v2 alpha=0.35"), name_backbone("mine.keras")
        ('MobileNetV2 alpha=0.35', 'mine.keras')
    """
    name, *options = backbone.split(" ")
    spec = SPECS.get(name)
    return " ".join([spec.constructor.__name__, *options]) if spec else backbone


def name_images(source: str) -> str:
    """Return the name of a well-known set of images as in its publication.

    Args:
        source: Its name in tlkit; any other text stays as it is.

    Examples:
        >>> name_images("fashion_mnist"), name_images("photos")
        ('Fashion-MNIST', 'photos')
    """
    return _SETS.get(source, source)
