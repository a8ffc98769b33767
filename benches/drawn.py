"""How good are the digits that a GAN drew? The figures of `specs/gan_quality.weft` once more, by PyTorch and NumPy, and how near the images are
to those that the training saw.

    weft train specs/mnist_cnn.weft --out runs/mnist_cnn
    weft train specs/gan_mnist.weft --out runs/gan_mnist
    weft predict specs/gan_mnist.weft --weights runs/gan_mnist/last.safetensors --input "z=normal(1000)" --output drawn.npy
    python benches/drawn.py drawn.npy

Images of `specs/dcgan.weft` that was trained on the coloured digits of `tinted.py` are looked at without their colours:

    weft train specs/dcgan.weft --data photos=FOLDER
    weft predict specs/dcgan.weft --weights runs/dcgan/last.safetensors --input "z=normal(1000)" --output coloured.npy
    python benches/drawn.py coloured.npy

Distances between images are roots of the mean square over their pixels, each to the nearest other one.
"""

import gzip
import sys

import numpy
import torch
from safetensors.torch import load_file


def pixels(name):
    with gzip.open(f"specs/data/mnist/{name}-images-idx3-ubyte.gz") as file:
        return numpy.frombuffer(file.read()[16:], numpy.uint8).reshape(-1, 784).astype(numpy.float32) / 255


def ink(images):
    """How much ink is at each pixel of coloured digits on grounds of one colour, without the margin: what `tinted.py` did, undone."""
    rim = numpy.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    ground = numpy.median(rim, 1)[:, None, None]
    bright = (images - ground).mean(-1)
    most = numpy.percentile(bright.reshape(len(images), -1), 98, 1)[:, None, None]
    return (bright / numpy.maximum(most, 1e-3)).clip(0, 1)[:, 2:-2, 2:-2]


def judge(weights, images):
    """The 64 features and the class of each image, by the network of `specs/mnist_cnn.weft`."""
    x = torch.from_numpy(images).reshape(-1, 1, 28, 28)
    for layer in ("conv2d", "conv2d_2", "conv2d_3"):
        kernel = weights[f"Cnn.{layer}.weight"].permute(3, 2, 0, 1)
        x = torch.relu(torch.conv2d(x, kernel, weights[f"Cnn.{layer}.bias"]))
        if layer != "conv2d_3":
            x = torch.max_pool2d(x, 2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    features = torch.relu(x @ weights["Cnn.dense.weight"] + weights["Cnn.dense.bias"])
    logits = features @ weights["Cnn.dense_2.weight"] + weights["Cnn.dense_2.bias"]
    return features.double().numpy(), logits.argmax(-1).numpy()


def root(matrix):
    values, vectors = numpy.linalg.eigh(matrix)
    return vectors * numpy.sqrt(values.clip(0)) @ vectors.T


def frechet(a, b):
    """The Fréchet distance of two clouds of rows (Heusel et al. 2017)."""
    first, second = (numpy.cov(rows.T, bias=True) for rows in (a, b))
    half, off = root(first), a.mean(0) - b.mean(0)
    return off @ off + numpy.trace(first + second) - 2 * numpy.trace(root(half @ second @ half))


def nearest(a, b, own=False):
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    if own:
        numpy.fill_diagonal(squares, numpy.inf)
    return numpy.sqrt(squares.min(1).clip(0) / a.shape[1])


def main(drawn, network="runs/mnist_cnn/best.safetensors"):
    drawn = numpy.load(drawn).astype(numpy.float32) / 255
    drawn = (ink(drawn) if drawn.shape[-1] == 3 else drawn).reshape(-1, 784)
    held_out, shown = pixels("t10k"), pixels("train")
    weights = load_file(network)
    real, _ = judge(weights, held_out)
    features, classes = judge(weights, drawn)
    share = numpy.bincount(classes, minlength=10) / len(classes)
    entropy = -(share[share > 0] * numpy.log(share[share > 0])).sum()
    middle = len(real) // 2
    print(f"Fréchet distance: drawn to held-out digits {frechet(real, features):.2f}, ", end="")
    print(f"one half of the held-out digits to the other {frechet(real[:middle], real[middle:]):.2f}")
    print(f"drawn of each class: {' '.join(f'{part:.1%}' for part in share)}: {entropy:.3f} nats")
    for what, distances in [
        ("drawn to the nearest training image", nearest(drawn, shown)),
        ("held-out to the nearest training image", nearest(held_out, shown)),
        ("drawn to the nearest other drawn one", nearest(drawn, drawn, own=True)),
        ("held-out to the nearest other held-out one", nearest(held_out, held_out, own=True)),
    ]:
        print(f"{what}: mean {distances.mean():.3f}, least {distances.min():.3f}")


main(*sys.argv[1:])
