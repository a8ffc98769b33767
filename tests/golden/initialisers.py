"""Initialisers: what the first values of a weight must look like."""

import math

from recorder import initialised


def record():
    def dense(name, init, deviation, limit=None, mean=0.0, orthogonal=False):
        text = f"model Case(x: f32[n, 200]) {{ dense(300, bias = false, init = {init})(x) }}"
        initialised(f"initialisers/{name}", text, "Case.dense.weight", (200, 300), mean, deviation, limit, orthogonal)

    def uniform(name, init, variance):
        dense(name, init, math.sqrt(variance), math.sqrt(3 * variance))

    uniform("glorot_uniform", "glorot_uniform", 2 / 500)
    uniform("he_uniform", "he_uniform", 2 / 200)
    uniform("lecun_uniform", "lecun_uniform", 1 / 200)
    dense("glorot_normal", "glorot_normal", math.sqrt(2 / 500))
    dense("he_normal", "he_normal", math.sqrt(2 / 200))
    dense("lecun_normal", "lecun_normal", math.sqrt(1 / 200))
    dense("random_normal", "random_normal(deviation = 0.3, mean = 1.0)", 0.3, mean=1.0)
    dense("random_uniform", "random_uniform(-0.3, 0.3)", 0.3 / math.sqrt(3), 0.3)
    # The deviation of a normal distribution cut at two deviations.
    dense("truncated_normal", "truncated_normal(deviation = 0.5)", 0.5 * 0.8796256610342398, 1.0)
    dense("orthogonal", "orthogonal", math.sqrt(1 / 300), orthogonal=True)
    dense("identity", "identity", math.sqrt(1 / 300 - 1 / 300**2), mean=1 / 300, orthogonal=True)
    dense("constant", "constant(0.25)", 0.0, mean=0.25)
    conv = "model Case(x: f32[n, 8, 8, 40]) { conv2d(60, kernel = 3, bias = false)(x) }"
    limit = math.sqrt(6 / (9 * 100))
    initialised("initialisers/glorot_uniform_conv", conv, "Case.conv2d.weight", (3, 3, 40, 60), 0.0, limit / math.sqrt(3), limit, False)
