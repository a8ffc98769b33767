"""The larger models of compare.py in Keras and TensorFlow, with the shapes of torch_models.py."""
import keras
import numpy as np
import tensorflow as tf
from keras import layers as L

from torch_models import GPT, T5, buckets


def lstm():
    return keras.Sequential([keras.Input((100, 10)), L.LSTM(64, return_sequences=True), L.LSTM(64), L.Dense(10)])


def generator():
    return keras.Sequential([keras.Input((100,)), L.Dense(8 * 8 * 256, "relu"), L.Reshape((8, 8, 256)),
                             L.Conv2DTranspose(128, 4, 2, "same", activation="relu"),
                             L.Conv2DTranspose(128, 4, 2, "same", activation="relu"),
                             L.Conv2D(3, 3, padding="same", activation="tanh")])


def discriminator():
    return keras.Sequential([keras.Input((32, 32, 3)), L.Conv2D(64, 3, activation="relu"), L.Flatten(), L.Dense(1)])


def linear(units, activation=None):
    return L.Dense(units, activation, use_bias=False)


class Attention(L.Layer):
    def __init__(self, width, heads, head, scale):
        super().__init__()
        self.heads, self.head, self.scale = heads, head, scale
        self.query, self.key, self.value, self.out = (linear(n) for n in (*[heads * head] * 3, width))

    def call(self, x, context=None, bias=0.0):
        context = x if context is None else context

        def split(y):
            return tf.transpose(tf.reshape(y, (*y.shape[:2], self.heads, self.head)), (0, 2, 1, 3))
        scores = tf.matmul(split(self.query(x)), split(self.key(context)), transpose_b=True) * self.scale + bias
        y = tf.transpose(tf.matmul(tf.nn.softmax(scores), split(self.value(context))), (0, 2, 1, 3))
        return self.out(tf.reshape(y, (*x.shape[:2], self.heads * self.head)))


class Rms(L.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-6) * self.scale


def causal(length):
    return tf.where(tf.linalg.band_part(tf.ones((length, length), tf.bool), -1, 0), 0.0, -1e9)


class Gpt(keras.Model):
    def __init__(self):
        super().__init__()
        width = GPT["width"]

        def norm():
            return L.LayerNormalization(epsilon=1e-5, center=False)
        self.symbols, self.places = L.Embedding(GPT["symbols"], width), L.Embedding(GPT["context"], width)
        attention = lambda: Attention(width, GPT["heads"], width // GPT["heads"], (width // GPT["heads"]) ** -0.5)  # noqa: E731
        self.blocks = [(norm(), attention(), norm(), linear(4 * width), linear(width)) for _ in range(GPT["layers"])]
        self.norm = norm()

    def call(self, tokens, training=False):
        x, bias = self.symbols(tokens) + self.places(tf.range(tokens.shape[1])), causal(tokens.shape[1])
        for norm, attend, feed_norm, wide, out in self.blocks:
            x = x + attend(norm(x), bias=bias)
            x = x + out(tf.nn.gelu(wide(feed_norm(x)), approximate=False))
        return tf.matmul(self.norm(x), self.symbols.embeddings, transpose_b=True)


class T5Model(keras.Model):
    def __init__(self):
        super().__init__()
        width = T5["width"]

        def attention():
            return Rms(), Attention(width, T5["heads"], T5["head"], 1.0)

        def feed():
            return Rms(), linear(T5["hidden"], "relu"), linear(width)
        self.symbols = L.Embedding(T5["vocabulary"], width)
        self.near, self.before = (L.Embedding(T5["buckets"], T5["heads"]) for _ in range(2))
        self.encoder = [(attention(), feed()) for _ in range(T5["layers"])]
        self.decoder = [(attention(), attention(), feed()) for _ in range(T5["layers"])]
        self.encoder_norm, self.decoder_norm = Rms(), Rms()

    def call(self, inputs, training=False):
        def feed(parts, x):
            return x + parts[2](parts[1](parts[0](x)))
        source, target = inputs
        x, bias = self.symbols(source), tf.transpose(self.near(buckets(source.shape[1], True)), (2, 0, 1))[None]
        for (norm, attend), parts in self.encoder:
            x = feed(parts, x + attend(norm(x), bias=bias))
        x = self.encoder_norm(x)
        length = target.shape[1]
        y = self.symbols(target)
        bias = tf.transpose(self.before(buckets(length, False)), (2, 0, 1))[None] + causal(length)
        for (norm, attend), (cross_norm, cross), parts in self.decoder:
            y = y + attend(norm(y), bias=bias)
            y = feed(parts, y + cross(cross_norm(y), context=x))
        return tf.matmul(self.decoder_norm(y) * T5["width"] ** -0.5, self.symbols.embeddings, transpose_b=True)


def data(model, batch):
    rng = np.random.default_rng(0)

    def tokens(most, *shape):
        return tf.constant(rng.integers(0, most, shape, dtype=np.int32))
    if model == "lstm":
        return tf.constant(rng.random((batch, 100, 10), dtype=np.float32)), tokens(10, batch)
    if model == "gpt":
        return tokens(GPT["symbols"], batch, GPT["context"]), tokens(GPT["symbols"], batch, GPT["context"])
    shape = (T5["vocabulary"], batch, T5["length"])
    return (tokens(*shape), tokens(*shape)), tokens(*shape)


def call(model, mode, batch):
    """What a round repeats."""
    if model == "dcgan":
        return gan_step(batch)
    net = {"lstm": lstm, "gpt": Gpt, "t5": T5Model}[model]()
    inputs, target = data(model, batch)
    net(inputs)
    if mode == "predict":
        run = tf.function(lambda x: tf.nn.softmax(net(x, training=False)) if model == "lstm" else net(x, training=False))
        return lambda: run(inputs).numpy()
    loss_of, optimizer = keras.losses.SparseCategoricalCrossentropy(from_logits=True), keras.optimizers.Adam(1e-3)
    optimizer.build(net.trainable_variables)

    @tf.function
    def step(inputs, target):
        with tf.GradientTape() as tape:
            loss = loss_of(target, net(inputs, training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, net.trainable_variables), net.trainable_variables))
        return loss
    return lambda: step(inputs, target).numpy()


def gan_step(batch):
    make, judge, bce = generator(), discriminator(), keras.losses.BinaryCrossentropy(from_logits=True)
    of_make, of_judge = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4)
    of_make.build(make.trainable_variables)
    of_judge.build(judge.trainable_variables)
    image = tf.random.uniform((batch, 32, 32, 3), -1.0)
    real, drawn = tf.ones((batch, 1)), tf.zeros((batch, 1))

    @tf.function
    def step(image):
        fake = make(tf.random.normal((batch, 100)), training=True)
        with tf.GradientTape() as tape:
            first = bce(real, judge(image, training=True)) + bce(drawn, judge(fake, training=True))
        of_judge.apply_gradients(zip(tape.gradient(first, judge.trainable_variables), judge.trainable_variables))
        with tf.GradientTape() as tape:
            second = bce(real, judge(make(tf.random.normal((batch, 100)), training=True), training=True))
        of_make.apply_gradients(zip(tape.gradient(second, make.trainable_variables), make.trainable_variables))
        return first + second
    return lambda: step(image).numpy()
