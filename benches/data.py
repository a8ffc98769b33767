"""Random data in the shapes of the models that compare.py times. Usage: data.py FOLDER"""
import pathlib
import sys

import numpy as np

PAIRS, LENGTH, VOCABULARY = 512, 64, 32128
SERIES, STEPS, CHANNELS, CLASSES = 4096, 100, 10, 10
SYMBOLS, BYTES = 65, 1 << 20
PHOTOS = 2048


def make(folder):
    """Writes what the specs read; gives the command line's `--data` for each of them."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    np.savez(folder / "series.npz", values=rng.random((SERIES, STEPS, CHANNELS), dtype=np.float32),
             label=rng.integers(0, CLASSES, SERIES, dtype=np.int32))
    np.savez(folder / "pairs.npz", source=rng.integers(1, VOCABULARY, (PAIRS, LENGTH), dtype=np.int32),
             target=rng.integers(1, VOCABULARY, (PAIRS, LENGTH), dtype=np.int32))
    (folder / "book.txt").write_bytes(rng.integers(1, SYMBOLS, BYTES, dtype=np.uint8).tobytes())
    photos = folder / "photos"
    photos.mkdir(exist_ok=True)
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        rows = rng.integers(0, 256, (PHOTOS // 5 + 1, 3073), dtype=np.uint8)
        rows[:, 0] %= 10
        (photos / name).write_bytes(rows.tobytes())
    return {"lstm": f"series={folder}/series.npz", "t5": f"pairs={folder}/pairs.npz", "gpt": f"book={folder}/book.txt",
            "dcgan": f"photos={photos}"}


if __name__ == "__main__":
    for spec, option in make(sys.argv[1]).items():
        print(spec, "--data", option)
