"""HDF5 files of every form that the reader knows, as h5py and Keras write them: `pip install h5py keras tensorflow-cpu`, then
`python hdf5.py`. Values are arithmetic, so that a test can say them again: element i of a data set is i * 0.5 - 3 (floats)
or i - 3 (integers).
"""

import os
import pathlib
import random

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import h5py
import numpy as np

HERE = pathlib.Path(__file__).parent / "hdf5"


def floats(*shape, dtype="f4"):
    return (np.arange(np.prod(shape, dtype=int)) * 0.5 - 3).reshape(shape).astype(dtype)


def whole(*shape, dtype="i4"):
    return (np.arange(np.prod(shape, dtype=int)) - 3).reshape(shape).astype(dtype)


def fill(file, many):
    """Types, layouts, filters, and a group of many members."""
    types = file.create_group("types")
    for name in ["<f4", ">f4", "<f8", "<f2", ">f8"]:
        types[{"<": "little_", ">": "big_"}[name[0]] + name[1:]] = floats(3, 2, dtype=name)
    for name in ["i1", "i4", "i8", "u2", "u4"]:
        types[name] = np.abs(whole(4, dtype="i8")).astype(name) if name[0] == "u" else whole(4, dtype=name)
    types["truth"] = np.array([True, False])
    types["scalar"] = np.float32(2.5)
    types["empty"] = np.zeros((0, 3), "f4")
    chunked = file.create_group("chunked")
    for name, options in {
        "plain": {},
        "gzip": dict(compression="gzip"),
        "shuffled": dict(compression="gzip", shuffle=True),
        "summed": dict(fletcher32=True),
        "all": dict(compression="gzip", compression_opts=9, shuffle=True, fletcher32=True),
    }.items():
        chunked.create_dataset(name, data=floats(7, 5, 3), chunks=(3, 2, 3), **options)
    chunked.create_dataset("one", data=floats(4, 4), chunks=(4, 4), compression="gzip")
    # The tree or table that finds the chunks has several levels or pages.
    chunked.create_dataset("many", data=floats(many), chunks=(1,))
    chunked.create_dataset("lzf", data=floats(40, 40), chunks=(20, 20), compression="lzf")
    chunked.create_dataset("unwritten", (6,), "f4", chunks=(2,))
    crowd = file.create_group("crowd", track_order=True)
    for number in range(60):
        crowd[f"member_with_a_long_name_{number}"] = floats(1) + number
    old = file.create_group("old_crowd")
    for number in range(40):
        old[f"m{number}"] = floats(1) + number
    file.attrs["fixed"] = np.array([b"one", b"two and more"])
    file.attrs["any"] = ["one", "", "two and more ü"]
    file.attrs["alone"] = "a text"
    file.attrs["number"] = 3


def compact(file):
    """A data set in its own header: h5py offers this only by its low interface."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((2, 3))
    made = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, dcpl=plist)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, floats(2, 3))


def keras_files():
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 3, name="stem"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dropout(0.5, name="drop"),
            keras.layers.Dense(3, name="head"),
        ],
        name="net",
    )
    for variable in model.variables:
        if "seed" not in variable.path:
            # No variance is negative.
            variable.assign(floats(*variable.shape) + (4 if "variance" in variable.path else 0))
    print(model(np.arange(16, dtype="f4").reshape(1, 4, 4, 1) / 10, training=False).numpy())
    model.save(HERE / "keras.h5")
    model.save(HERE / "keras.keras")
    model.save_weights(HERE / "keras.weights.h5")


def main():
    random.seed(1)
    HERE.mkdir(exist_ok=True)
    for name, options in {"old": {}, "new": dict(libver="latest")}.items():
        with h5py.File(HERE / f"{name}.h5", "w", **options) as file:
            fill(file, many=1300 if name == "new" else 150)
            compact(file)
    with h5py.File(HERE / "behind_a_block.h5", "w", userblock_size=512) as file:
        file["x"] = floats(2, 2)
    keras_files()


if __name__ == "__main__":
    main()
