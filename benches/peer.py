"""One framework on one model: waits for a line on standard input, times a burst of calls, prints the median in ms.

Usage: peer.py {tensorflow|torch|torch-compile|jax|onnxruntime} MODEL {train|predict} BATCH THREADS
MODEL is cnn or autoencoder, which are here, or one of torch_models.py and tensorflow_models.py: lstm, dcgan, gpt, t5 (without jax).
"""
import os
import statistics
import sys
import time

FRAMEWORK, MODEL, MODE, BATCH, THREADS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["OMP_NUM_THREADS"] = str(THREADS)
os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={THREADS}"

import numpy as np  # noqa: E402

LARGE = MODEL not in ("cnn", "autoencoder")

rng = np.random.default_rng(0)
x = rng.random((BATCH, 28, 28, 1), dtype=np.float32)
y = rng.integers(0, 10, BATCH, dtype=np.int32)


def torch_model():
    import torch.nn as nn
    if MODEL == "cnn":
        return nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                             nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Dropout(.5), nn.Linear(64, 32), nn.ReLU(),
                         nn.Linear(32, 64), nn.ReLU(), nn.Dropout(.5), nn.Linear(64, 784), nn.Sigmoid())


def torch_call(compiled):
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(THREADS)
    if LARGE:
        import torch_models
        return torch_models.call(MODEL, MODE, BATCH, compiled)
    model = torch_model()
    image = torch.tensor(x).permute(0, 3, 1, 2).contiguous()
    label = torch.tensor(y, dtype=torch.long)
    if MODE == "predict":
        model.eval()

        def call():
            with torch.inference_mode():
                return model(image)
    else:
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)

        def call():
            optimizer.zero_grad(set_to_none=True)
            out = model(image)
            loss = F.cross_entropy(out, label) if MODEL == "cnn" else F.binary_cross_entropy(out, image.flatten(1))
            loss.backward()
            optimizer.step()
    return torch.compile(call) if compiled else call


def tensorflow_call():
    import keras
    import tensorflow as tf
    from keras import layers as L
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    if LARGE:
        import tensorflow_models
        return tensorflow_models.call(MODEL, MODE, BATCH)
    if MODEL == "cnn":
        model = keras.Sequential([keras.Input((28, 28, 1)), L.Conv2D(32, 3, activation="relu"), L.MaxPooling2D(2),
                                  L.Conv2D(64, 3, activation="relu"), L.MaxPooling2D(2), L.Conv2D(64, 3, activation="relu"),
                                  L.Flatten(), L.Dense(64, "relu"), L.Dense(10)])
        loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        target = tf.constant(y)
    else:
        model = keras.Sequential([keras.Input((28, 28, 1)), L.Flatten(), L.Dense(64, "relu"), L.Dropout(.5), L.Dense(32, "relu"),
                                  L.Dense(64, "relu"), L.Dropout(.5), L.Dense(784, "sigmoid")])
        loss_of = keras.losses.BinaryCrossentropy()
        target = tf.constant(x.reshape(BATCH, 784))
    image = tf.constant(x)
    if MODE == "predict":
        return tf.function(lambda: model(image, training=False))
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)

    @tf.function
    def call():
        with tf.GradientTape() as tape:
            loss = loss_of(target, model(image, training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss
    return lambda: call().numpy()


def jax_call():
    if LARGE:
        raise SystemExit("there is no such model here for JAX")
    import jax
    import jax.numpy as jnp
    from jax import lax
    key = jax.random.PRNGKey(0)

    def weight(*shape):
        return jnp.asarray(rng.standard_normal(shape, dtype=np.float32) * 0.05)

    def dense(p, v):
        return v @ p[0] + p[1]

    sizes = [(576, 64), (64, 10)] if MODEL == "cnn" else [(784, 64), (64, 32), (32, 64), (64, 784)]
    params = {"dense": [(weight(*s), jnp.zeros(s[1])) for s in sizes]}
    if MODEL == "cnn":
        params["conv"] = [(weight(3, 3, i, o), jnp.zeros(o)) for i, o in [(1, 32), (32, 64), (64, 64)]]

    def forward(p, v, k):
        if MODEL == "cnn":
            for i, (w, b) in enumerate(p["conv"]):
                v = jax.nn.relu(lax.conv_general_dilated(v, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b)
                if i < 2:
                    v = lax.reduce_window(v, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            v = jax.nn.relu(dense(p["dense"][0], v.reshape(BATCH, -1)))
            return dense(p["dense"][1], v)
        v = v.reshape(BATCH, 784)
        for i, d in enumerate(p["dense"]):
            v = dense(d, v)
            if i < 3:
                v = jax.nn.relu(v)
            if i in (0, 2) and k is not None:
                k, use = jax.random.split(k)
                v = jnp.where(jax.random.bernoulli(use, .5, v.shape), v / .5, 0)
        return jax.nn.sigmoid(v)

    image, label = jnp.asarray(x), jnp.asarray(y)
    if MODE == "predict":
        run = jax.jit(lambda p: forward(p, image, None))
        return lambda: run(params).block_until_ready()

    def loss(p, k):
        out = forward(p, image, k)
        if MODEL == "cnn":
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), label[:, None], 1))
        t, out = image.reshape(BATCH, 784), jnp.clip(out, 1e-7, 1 - 1e-7)
        return -jnp.mean(t * jnp.log(out) + (1 - t) * jnp.log(1 - out))

    @jax.jit
    def step(p, m, v, t, k):
        k, use = jax.random.split(k)
        value, g = jax.value_and_grad(loss)(p, use)
        t = t + 1
        m = jax.tree.map(lambda a, b: .9 * a + .1 * b, m, g)
        v = jax.tree.map(lambda a, b: .999 * a + .001 * b * b, v, g)
        p = jax.tree.map(lambda w, a, b: w - 1e-3 * a / (1 - .9 ** t) / (jnp.sqrt(b / (1 - .999 ** t)) + 1e-8), p, m, v)
        return p, m, v, t, k, value

    zeros = jax.tree.map(jnp.zeros_like, params)
    state = [params, zeros, zeros, jnp.float32(0), key]

    def call():
        *state[:], value = step(*state)
        value.block_until_ready()
    return call


def onnxruntime_call():
    import tempfile

    import onnxruntime as ort
    import torch
    path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    if LARGE:
        import torch_models
        model = torch.nn.Sequential(torch_models.Lstm(), torch.nn.Softmax(-1))
        (given,), _ = torch_models.data(MODEL, BATCH)
    else:
        model, given = torch_model(), torch.tensor(x.transpose(0, 3, 1, 2).copy())
    torch.onnx.export(model.eval(), given, path, dynamo=False, input_names=["x"])
    given = given.numpy()
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": given})


call = {"tensorflow": tensorflow_call, "torch": lambda: torch_call(False), "torch-compile": lambda: torch_call(True),
        "jax": jax_call, "onnxruntime": onnxruntime_call}[FRAMEWORK]()
for _ in range(3 if MODEL in ("dcgan", "gpt", "t5") else 10):
    call()
print("ready", flush=True)
for _ in sys.stdin:
    times, end = [], time.perf_counter() + 1.0
    while len(times) < (3 if LARGE else 20) or (len(times) < 2000 and time.perf_counter() < end):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    print(statistics.median(times), flush=True)
