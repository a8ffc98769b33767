"""What a folder of pictures costs once it is cached: the same training from the folder and from arrays in memory, in turns.

    python benches/rows.py pictures FOLDER
    python benches/pictures.py FOLDER [--weft target/release/weft] [--rounds 5]

The arrays hold what `weft` has decoded: they are taken from its cache, in the order of the folder's rows. Both trainings begin with the same
weights and draw the same rows, so their losses are the same, which is checked. The seconds are those of the epochs after the first.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy

SIZE, CHANNELS = 32, 3


def epochs(command, environment):
    lines = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout
    objects = [json.loads(line) for line in lines.splitlines()]
    found = [object for object in objects if object["event"] == "epoch"]
    return sum(epoch["seconds"] for epoch in found[1:]), [epoch["train"]["loss"] for epoch in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--weft", default="target/release/weft")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    folder = args.folder.resolve()
    spec = folder.with_suffix(".weft")
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        environment = os.environ | {"WEFT_CACHE": str(home / "cache")}

        def train(path, out):
            command = [args.weft, "train", str(path), "--json", "--fresh", "--out", str(home / out)]
            return epochs(command, environment)

        train(spec, "first")
        decoded = numpy.fromfile(next((home / "cache" / "data").glob("*/0.column")), dtype="u1")
        images = decoded.reshape(-1, SIZE, SIZE, CHANNELS)
        kinds = sorted(kind for kind in folder.iterdir() if kind.is_dir())
        labels = numpy.concatenate([numpy.full(len(list(kind.iterdir())), place) for place, kind in enumerate(kinds)])
        numpy.save(home / "image.npy", images)
        numpy.save(home / "label.npy", labels.astype("i4"))
        source = spec.read_text().splitlines()[0]
        assert source.startswith("data photos = images(")
        row = f"{{ image: u8[{SIZE}, {SIZE}, {CHANNELS}], label: class }} {{"
        arrays = spec.read_text().replace(source, f'data photos = npy(image = "image.npy", label = "label.npy") -> {row}')
        (home / "arrays.weft").write_text(arrays)
        cached, memory = [], []
        for turn in range(args.rounds):
            seconds, losses = train(spec, "cached")
            cached.append(seconds)
            seconds, same = train(home / "arrays.weft", "memory")
            memory.append(seconds)
            if losses != same:
                sys.exit(f"other losses: {losses} and {same}")
            print(f"round {turn + 1}: folder {cached[-1]:.3f} s, memory {memory[-1]:.3f} s", flush=True)
        share = 100 * min(memory) / min(cached)
        print(f"least: folder {min(cached):.3f} s, memory {min(memory):.3f} s: {share:.1f}% of its throughput")


main()
