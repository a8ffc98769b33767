"""Optimizers and schedules: twenty steps on given gradients.

The loss is `sum(g * w)`, whose gradient is the row `g` of the data, so a case is an ordinary training. The gradients come
as bytes of an image, which makes them exact in any precision.
"""

import math

import numpy as np
import torch

from recorder import array, save, batch_tensors, trained

STEPS = 20


def optimizer_text(using):
    return f"""
model Case(g: f32[n, 3, 4]) -> f32[n] {{
    weight w: f32[3, 4] = zeros()
    sum(g * w, axis = [1, 2])
}}

data rows = mnist("data/mnist") {{
    g = (f32(image[:3, :4, 0]) - 128) / 64
}}

train {{
    on rows as {{ g }}
    batch = 1
    epochs = 1
    minimize Case(g) using {using}
}}
"""


def gradient_batches():
    rng = np.random.default_rng(5)
    batches = []
    for _ in range(STEPS):
        image = np.zeros((1, 28, 28, 1), np.uint8)
        image[0, :3, :4, 0] = rng.integers(0, 256, (3, 4))
        batches.append({"image": image, "label": np.zeros(1, np.int32)})
    return batches


def optimizers():
    batches = gradient_batches()
    save("optimizers/batches", batch_tensors(batches))
    gradients = [torch.from_numpy((b["image"][0, :3, :4, 0].astype(np.float64) - 128) / 64) for b in batches]

    def case(name, using, make):
        """`make(w)` gives a PyTorch optimizer, or a step function `(w, g, step) -> w` with its own memory."""

        def run(_, weights, states, dtype):
            w = weights["Case.w"]
            step = make(w)
            losses = []
            for t, g in enumerate(gradients):
                g = g.to(dtype)
                losses.append((g * w).sum().item())
                if isinstance(step, torch.optim.Optimizer):
                    w.grad = g.clone()
                    step.step()
                else:
                    with torch.no_grad():
                        w.copy_(step(w, g, t + 1))
            return losses, {"Case.w": gradients[0]}, {"Case.w": w}

        trained(f"optimizers/{name}", run, batches, {"Case.w": array((3, 4), 3)}, text=optimizer_text(using),
                shared="optimizers/batches", floor=2e-6)

    o = torch.optim
    case("sgd", "sgd(rate = 0.1)", lambda w: o.SGD([w], 0.1))
    case("sgd_decay", "sgd(rate = 0.1, decay = 0.01)", lambda w: o.SGD([w], 0.1, weight_decay=0.01))
    case("momentum", "sgd(rate = 0.1, momentum = 0.9)", lambda w: o.SGD([w], 0.1, 0.9))
    case("nesterov", "sgd(rate = 0.1, momentum = 0.9, nesterov = true)", lambda w: o.SGD([w], 0.1, 0.9, nesterov=True))
    case("adam", "adam(rate = 0.01)", lambda w: o.Adam([w], 0.01))
    case("adam_betas", "adam(rate = 0.01, beta1 = 0.5, beta2 = 0.9, eps = 1e-3)", lambda w: o.Adam([w], 0.01, (0.5, 0.9), 1e-3))
    case("adamw", "adamw(rate = 0.01, decay = 0.1)", lambda w: o.AdamW([w], 0.01, weight_decay=0.1))
    case("adamax", "adamax(rate = 0.01)", lambda w: o.Adamax([w], 0.01))
    case("nadam", "nadam(rate = 0.01)", lambda w: o.NAdam([w], 0.01))
    case("radam", "radam(rate = 0.01)", lambda w: o.RAdam([w], 0.01))
    case("rmsprop", "rmsprop(rate = 0.01)", lambda w: o.RMSprop([w], 0.01))
    case("rmsprop_centred", "rmsprop(rate = 0.01, momentum = 0.5, centred = true)",
         lambda w: o.RMSprop([w], 0.01, momentum=0.5, centered=True))
    case("adagrad", "adagrad(rate = 0.1)", lambda w: o.Adagrad([w], 0.1))
    case("adadelta", "adadelta()", lambda w: o.Adadelta([w], 1.0))
    case("adafactor", "adafactor(rate = 0.1)", lambda w: o.Adafactor([w], 0.1, eps=(1.1920929e-7, 1e-3)))
    case("adam_amsgrad", "adam(rate = 0.01, beta2 = 0.9, amsgrad = true)", lambda w: o.Adam([w], 0.01, (0.9, 0.9), amsgrad=True))
    case("adamw_amsgrad", "adamw(rate = 0.01, beta2 = 0.9, decay = 0.1, amsgrad = true)",
         lambda w: o.AdamW([w], 0.01, (0.9, 0.9), weight_decay=0.1, amsgrad=True))
    case("adagrad_start", "adagrad(rate = 0.1, start = 0.5)", lambda w: o.Adagrad([w], 0.1, initial_accumulator_value=0.5))
    case("adafactor_decay", "adafactor(rate = 0.1, decay = 0.1, clip = 1.5)",
         lambda w: o.Adafactor([w], 0.1, eps=(1.1920929e-7, 1e-3), d=1.5, weight_decay=0.1))
    case("lion_keras", "lion(rate = 0.01)", of_keras("Lion", 0.01))
    case("lamb_keras", "lamb(rate = 0.01, decay = 0)", of_keras("Lamb", 0.01, epsilon=1e-6))
    case("lion", "lion(rate = 0.01, decay = 0.1)", lion)
    case("lamb", "lamb(rate = 0.01, decay = 0.1)", lamb)


def of_keras(name, rate, **options):
    """An optimizer of Keras as a step function."""

    def make(w):
        import keras

        variable = keras.Variable(w.detach().numpy(), dtype="float64" if w.dtype == torch.float64 else "float32")
        keras.config.set_floatx(variable.dtype)
        optimizer = getattr(keras.optimizers, name)(rate, **options)
        optimizer.build([variable])

        def step(_, g, t):
            optimizer.apply([g.numpy()])
            return torch.from_numpy(np.array(variable.value))

        return step

    return make


PAIR = """
model Case(g: f32[n, 3, 4]) -> f32[n] {
    weight a: f32[3, 4] = zeros()
    weight b: f32[4] = zeros()
    sum(g * a, axis = [1, 2]) + sum(g[:, 0] * b, axis = 1)
}

data rows = mnist("data/mnist") {
    g = (f32(image[:3, :4, 0]) - 128) / 64
}

train {
    on rows as { g }
    batch = 1
    epochs = 1
    minimize Case(g) using %s
}
"""


def pairs():
    """Two weights: groups with numbers of their own, and what is clipped."""
    batches = gradient_batches()
    gradients = [torch.from_numpy((b["image"][0, :3, :4, 0].astype(np.float64) - 128) / 64) for b in batches]

    def case(name, using, make, clip=lambda a, b: (a, b)):
        def run(_, weights, states, dtype):
            a, b = weights["Case.a"], weights["Case.b"]
            optimizer = make(a, b)
            losses = []
            for g in gradients:
                g = g.to(dtype)
                losses.append(((g * a).sum() + (g[0] * b).sum()).item())
                a.grad, b.grad = clip(g.clone(), g[0].clone())
                optimizer.step()
            first = {"Case.a": gradients[0], "Case.b": gradients[0][0]}
            return losses, first, {"Case.a": a, "Case.b": b}

        weights = {"Case.a": array((3, 4), 3), "Case.b": array((4,), 4)}
        trained(f"optimizers/{name}", run, batches, weights, text=PAIR % using, shared="optimizers/batches", floor=2e-6)

    o = torch.optim
    case("groups", "adamw(rate = 0.01, decay = 0.1) { decay = 0 for *.b; rate *= 0.1 for Case.a; beta1 = 0.5 for *.b }",
         lambda a, b: o.AdamW([{"params": [a], "lr": 0.001, "weight_decay": 0.1},
                               {"params": [b], "lr": 0.01, "weight_decay": 0.0, "betas": (0.5, 0.999)}]))

    def of_tensorflow(clip):
        import tensorflow as tf

        tensors = lambda values: [tf.constant(v.numpy()) for v in values]
        return lambda a, b: tuple(torch.from_numpy(v.numpy()) for v in clip(tf, tensors((a, b))))

    sgd = lambda a, b: o.SGD([a, b], 0.1, 0.9)
    using = "sgd(rate = 0.1, momentum = 0.9)\n    clip gradients by "
    case("clip_value", using + "value 0.5", sgd,
         of_tensorflow(lambda tf, all: [tf.clip_by_value(g, -0.5, 0.5) for g in all]))
    case("clip_norm", using + "norm 2.0", sgd, of_tensorflow(lambda tf, all: [tf.clip_by_norm(g, 2.0) for g in all]))
    case("clip_global_norm", using + "global norm 3.5", sgd,
         of_tensorflow(lambda tf, all: tf.clip_by_global_norm(all, 3.5)[0]))


def lion(w):
    m = torch.zeros_like(w)

    def step(w, g, t):
        direction = torch.sign(0.9 * m + 0.1 * g)
        m.mul_(0.99).add_(0.01 * g)
        return w - 0.01 * (direction + 0.1 * w)

    return step


def lamb(w):
    m, v = torch.zeros_like(w), torch.zeros_like(w)

    def step(w, g, t):
        m.mul_(0.9).add_(0.1 * g)
        v.mul_(0.999).add_(0.001 * g * g)
        move = m / (1 - 0.9**t) / (torch.sqrt(v / (1 - 0.999**t)) + 1e-6) + 0.1 * w
        trust = torch.linalg.vector_norm(w) / torch.linalg.vector_norm(move)
        return w - 0.01 * trust * move

    return step


def schedule_text(rate):
    return f"""
model Case(g: f32[n, 20]) -> f32[n] {{
    weight w: f32[20] = zeros()
    sum(g * w, axis = 1)
}}

data rows = mnist("data/mnist") {{
    g = f32(image[0, :20, 0])
}}

train {{
    on rows as {{ g }}
    batch = 1
    epochs = 4
    minimize Case(g) using sgd(rate = {rate})
}}
"""


def schedules():
    """The gradient of step i is 1 at element i, so the weights end as minus the rates."""
    batches = []
    for i in range(STEPS):
        image = np.zeros((1, 28, 28, 1), np.uint8)
        image[0, 0, i, 0] = 1
        batches.append({"image": image, "label": np.zeros(1, np.int32)})
    save("schedules/batches", batch_tensors(batches))

    def case(name, rate, rates):
        def run(_, weights, states, dtype):
            first = torch.zeros(20, dtype=dtype)
            first[0] = 1
            return [0.0] * STEPS, {"Case.w": first}, {"Case.w": -torch.tensor(rates, dtype=dtype)}

        trained(f"schedules/{name}", run, batches, {"Case.w": np.zeros(20, np.float32)}, text=schedule_text(rate),
                shared="schedules/batches", epoch_steps=5, floor=1e-6)

    def of_torch(make, peak, per_epoch=False):
        sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], peak)
        schedule = make(sgd)
        rates = []
        for i in range(STEPS):
            rates.append(sgd.param_groups[0]["lr"])
            sgd.step()
            if i + 1 < STEPS and (not per_epoch or (i + 1) % 5 == 0):
                schedule.step()
        return rates

    s = torch.optim.lr_scheduler
    case("number", "0.1", [0.1] * STEPS)
    case("constant", "constant_rate(0.1)", [0.1] * STEPS)
    case("cosine", "cosine(0.1)", of_torch(lambda o: s.CosineAnnealingLR(o, STEPS), 0.1))
    case("cosine_end", "cosine(0.1, end = 0.01)", of_torch(lambda o: s.CosineAnnealingLR(o, STEPS, 0.01), 0.1))
    case("cosine_restarts", "cosine_restarts(0.1, period = 8)", of_torch(lambda o: s.CosineAnnealingWarmRestarts(o, 8), 0.1))
    case("cosine_restarts_growth", "cosine_restarts(0.1, period = 3, end = 0.01, growth = 2.0)",
         of_torch(lambda o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01), 0.1))
    case("cosine_restarts_fall", "cosine_restarts(0.1, period = 4, growth = 1.5, fall = 0.5)", of_keras_restarts(4, 1.5, 0.5))
    case("warm_up_constant", "warm_up(0.1, steps = 5)", [0.1 * min(t / 5, 1) for t in range(1, STEPS + 1)])
    case("polynomial", "polynomial(0.1, power = 2.0)", of_torch(lambda o: s.PolynomialLR(o, STEPS, 2.0), 0.1))
    case("step_decay", "step_decay(0.1, every = 2, factor = 0.5)", of_torch(lambda o: s.StepLR(o, 2, 0.5), 0.1, True))
    case("exponential", "exponential(0.1, factor = 0.9)", of_torch(lambda o: s.ExponentialLR(o, 0.9), 0.1, True))
    case("piecewise", "piecewise([0.1, 0.01, 0.5], bounds = [1, 3])", [0.1] * 5 + [0.01] * 10 + [0.5] * 5)
    case("one_cycle", "one_cycle(0.1)", of_torch(lambda o: s.OneCycleLR(o, 0.1, total_steps=STEPS), 0.1))
    case("inverse_sqrt", "inverse_sqrt(0.1, warm = 5)", [0.1 * min(t / 5, math.sqrt(5 / t)) for t in range(1, STEPS + 1)])
    late = of_torch(lambda o: s.CosineAnnealingLR(o, STEPS - 5), 0.1)[: STEPS - 5]
    case("warm_up", "warm_up(cosine(0.1), steps = 5)", [0.1 * t / 5 for t in range(1, 6)] + late)


def of_keras_restarts(period, growth, fall):
    import keras

    keras.config.set_floatx("float64")
    schedule = keras.optimizers.schedules.CosineDecayRestarts(0.1, period, growth, fall)
    return [float(schedule(i)) for i in range(STEPS)]


def record():
    optimizers()
    pairs()
    schedules()
