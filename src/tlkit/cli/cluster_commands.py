"""The commands that run on a cluster: `tlkit extract`."""

from typing import Annotated, Any, Literal

import tlkit
from tlkit._internal import arguments
from tlkit.cli import checks
from tlkit.cli.options import DEFAULT_OUTPUT, FLAG, Output

Engine = Literal["auto", "keras", "litert", "onnxruntime", "openvino"]


def extract(
    manifest: str,
    model: str,
    *,
    out: str,
    cluster: str = "local",
    workers: int | None = None,
    folder: str | None = None,
    path_column: str = "path",
    label_column: str = "label",
    unlabelled: Annotated[bool, FLAG] = False,
    outside_paths: Annotated[bool, FLAG] = False,
    image_size: str | None = None,
    white: int | None = None,
    engine: Engine = "auto",
    dtype: Literal["float16", "float32"] = "float16",
    max_unreadable: float = 0.1,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Extract the features of very many images on a Ray cluster; needs the extra "ray".

    An extraction that was stopped goes on where it was if the same is typed again.

    Args:
        manifest: A .parquet file, or a folder of them, that lists image files, by path or address.
        model: A run's folder, or a .keras file.
        out: The folder of features, a path or an address that all machines share.
        cluster: "local" for this machine, or the address of a Ray cluster, such as ray://host:10001.
        workers: Number of workers; by default one for each GPU, or without GPUs for each machine.
        folder: What relative paths of images are relative to; by default the manifest's folder.
        path_column: Column of the images' paths or addresses.
        label_column: Column of class names.
        unlabelled: The manifest has no class names.
        outside_paths: Accept paths that lead out of the folder.
        image_size: Height and width, as 224 or 120x200; by default the classifier's.
        white: The value of white in files of more than 8 bits.
        engine: What runs the frozen part.
        dtype: Number format of the features.
        max_unreadable: Share of images that may be unreadable.
    """
    checks.check_model(model, exported=False)
    classifier, experiment = tlkit.experiments.load_classifier(model, data="")
    size = None if image_size is None else arguments.parse_size("image_size", image_size)
    with output.measure("extracted") as on_progress:
        features = tlkit.distributed.extract(
            manifest,
            classifier,
            out=out,
            cluster=cluster,
            workers=workers,
            folder=folder,
            path_column=path_column,
            label_column=None if unlabelled else label_column,
            outside_paths=outside_paths,
            image_size=size,
            fit=experiment.fit,
            white=experiment.white if white is None else white,
            engine=engine,
            dtype=dtype,
            max_unreadable=max_unreadable,
            on_progress=on_progress,
            on_message=output.print,
        )
    output.print(str(features))
    return features.to_dict()
