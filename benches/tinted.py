"""Coloured digits on coloured grounds, 32 × 32, in the binary format of CIFAR-10: for a GAN of small colour images where CIFAR-10 is not at hand.

Usage: tinted.py FOLDER [DIGITS], where DIGITS holds MNIST's idx files (default: those of specs/data/mnist, whose README says where they come from).
Every digit keeps its label; its colour is bright and its ground dark, both drawn from a fixed seed.
"""
import gzip
import pathlib
import sys

import numpy as np

DIGITS = pathlib.Path(__file__).resolve().parent.parent / "specs/data/mnist"
BATCHES = 5


def idx(path):
    """The values of an idx file, packed or not."""
    data = (gzip.open(path) if path.suffix == ".gz" else open(path, "rb")).read()
    axes = data[3]
    shape = [int.from_bytes(data[4 + 4 * axis:8 + 4 * axis], "big") for axis in range(axes)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def tinted(digits, rng):
    """Bytes [n, 3, 32, 32] of bytes [n, 28, 28]."""
    ink = np.pad(digits, ((0, 0), (2, 2), (2, 2)))[:, None].astype(np.float32) / 255
    bright, dark = (rng.uniform(low, high, (len(digits), 3, 1, 1)) for low, high in ((150, 255), (0, 110)))
    return (dark * (1 - ink) + bright * ink).round().astype(np.uint8)


def rows(folder, part, rng):
    """A label and an image's planes each."""
    [images], [labels] = (list(folder.glob(f"{part}-{what}*")) for what in ("images", "labels"))
    labels = idx(labels)
    return np.concatenate([labels[:, None], tinted(idx(images), rng).reshape(len(labels), -1)], 1)


def main(folder, digits=DIGITS):
    folder, digits = pathlib.Path(folder), pathlib.Path(digits)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    train, test = (rows(digits, part, rng) for part in ("train", "t10k"))
    for number, batch in enumerate(np.array_split(train, BATCHES), 1):
        batch.tofile(folder / f"data_batch_{number}.bin")
    test.tofile(folder / "test_batch.bin")
    print(f"{len(train)} rows to train on, {len(test)} to test, in {folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])
