"""Makes the data that the figures about large files and folders of pictures were measured on.

    python benches/rows.py csv FILE.csv [--gigabytes 6]     a table of 30 numbers, a class and a missing cell now and then
    python benches/rows.py pictures FOLDER [--count 4000]   photographs of 96 to 256 pixels in ten folders, PNG and JPEG by turns

Beside each lies a spec that trains on it. The same arguments give the same bytes. `pictures` needs Pillow and NumPy.
"""

import argparse
import os
import pathlib
import random

COLUMNS = 30
KINDS = ("birch", "oak", "pine", "rowan")

TABLE = """
data rows = csv("{name}") -> {{ x: f32[{columns}] from "c*", y: f32?, kind: class }} {{
    fit centre = mean(x, axis = 0)
    fit spread = std(x, axis = 0)
    x = (x - centre) / spread
    split test = 0.01
}}

model Net(x: f32[n, {columns}]) -> f32[n, {kinds}] {{ x |> dense(32) |> relu |> dense({kinds}) }}

train {{
    on rows as {{ x, kind }}
    batch = 4096
    epochs = 1
    let logits = Net(x)
    minimize cross_entropy(logits, kind) using adam(rate = 0.01)
    measure accuracy(logits, kind)
}}
"""

PICTURES = """
data photos = images("{name}", size = (32, 32)) {{
    image = f32(image) / 127.5 - 1
    augment {{ image = image |> random_flip |> random_crop(padding = 4) }}
    split validation = 0.1, stratify = label
}}

layer unit(filters: int)(x: f32[n, h, w, c]) {{ x |> conv2d(filters, kernel = 3, padding = same) |> relu }}

model Net(image: f32[n, 32, 32, 3]) -> f32[n, 10] {{
    image |> unit(32) |> max_pool2d(2) |> unit(64) |> max_pool2d(2) |> flatten |> dense(128) |> relu |> dense(10)
}}

train {{
    on photos as {{ image, label }}
    batch = 64
    epochs = 3
    let logits = Net(image)
    minimize cross_entropy(logits, label) using adam()
    measure accuracy(logits, label)
}}
"""


def table(path, gigabytes):
    """Rows come from a block of 20,000 that is written again and again under new numbers in its first cells."""
    draw = random.Random(1)
    wanted, row = int(gigabytes * 1e9), 0
    block = []
    for number in range(20_000):
        kind = number * 7919 % len(KINDS)
        cells = [f"{draw.gauss(kind if column % 4 == 0 else 0, 1 + column):.5g}" for column in range(1, COLUMNS)]
        missing = "" if number % 11 == 0 else f"{draw.random():.4f}"
        block.append("," + ",".join(cells) + f",{missing},{KINDS[kind]}\n")
    with open(path, "w") as file:
        written = file.write(",".join(f"c{column}" for column in range(COLUMNS)) + ",y,kind\n")
        while written < wanted:
            written += file.write("".join(f"{(row + i) % 9973 / 8:.3f}{line}" for i, line in enumerate(block)))
            row += len(block)
    print(f"{path}: {row:,} rows, {os.path.getsize(path):,} bytes")
    path.with_suffix(".weft").write_text(TABLE.format(name=path.name, columns=COLUMNS, kinds=len(KINDS)).lstrip())


def pictures(folder, count):
    import numpy
    from PIL import Image

    draw = numpy.random.default_rng(1)
    for number in range(count):
        label = number % 10
        side = int(draw.integers(96, 257))
        across, down = numpy.meshgrid(numpy.arange(side) / side, numpy.arange(side) / side)
        angle = numpy.pi * label / 10
        wave = numpy.sin(20 * (across * numpy.cos(angle) + down * numpy.sin(angle)) + draw.uniform(0, 6))
        colours = 128 + 70 * wave[..., None] * draw.uniform(0.4, 1, 3) + draw.normal(0, 25, (side, side, 3))
        image = Image.fromarray(numpy.clip(colours, 0, 255).astype("uint8"))
        place = folder / f"kind {label}"
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / (f"{number}.png" if number % 2 else f"{number}.jpg"))
    print(f"{folder}: {count:,} pictures")
    folder.with_suffix(".weft").write_text(PICTURES.format(name=folder.name).lstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=["csv", "pictures"])
    parser.add_argument("path", type=pathlib.Path)
    parser.add_argument("--gigabytes", type=float, default=6)
    parser.add_argument("--count", type=int, default=4000)
    args = parser.parse_args()
    if args.kind == "csv":
        table(args.path, args.gigabytes)
    else:
        pictures(args.path, args.count)


main()
