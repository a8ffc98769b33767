"""Layers: outputs, gradients, and the states of batch norm."""

import torch
import torch.nn.functional as F

from recorder import array, integers, model


def same(extent, kernel, stride=1, dilation=1):
    """Keras' rule: (before, after)."""
    reach = (kernel - 1) * dilation
    amount = max((-(-extent // stride) - 1) * stride + reach + 1 - extent, 0)
    return amount // 2, amount - amount // 2


def conv(x, w, stride=1, padding="valid", dilation=1, groups=1):
    """Channels-last convolution with `[k…, in / groups, out]` kernels, on top of PyTorch's."""
    spatial = w.dim() - 2
    x = x.movedim(-1, 1)
    if padding != "valid":
        pads = []
        for axis in reversed(range(spatial)):
            if padding == "causal":
                pads += [(w.shape[axis] - 1) * dilation, 0]
            else:
                pads += same(x.shape[2 + axis], w.shape[axis], stride, dilation)
        x = F.pad(x, pads)
    w = w.movedim((-1, -2), (0, 1))
    call = F.conv2d if spatial == 2 else F.conv1d
    return call(x, w, stride=stride, dilation=dilation, groups=groups).movedim(1, -1)


def conv_transpose(x, w, stride, padding, groups=1):
    """Keras' Conv2DTranspose with `[kh, kw, out / groups, in]` kernels."""
    n, h, width, _ = x.shape
    k = w.shape[0]
    full = F.conv_transpose2d(x.movedim(-1, 1), w.movedim((-1, -2), (0, 1)), stride=stride, groups=groups)
    if padding == "same":
        low = max(k - stride, 0) // 2
        rows, columns = h * stride, width * stride
    else:
        low, rows, columns = 0, h * stride + max(k - stride, 0), width * stride + max(k - stride, 0)
    full = F.pad(full, (0, max(columns - full.shape[3], 0), 0, max(rows - full.shape[2], 0)))
    return full[:, :, low : low + rows, low : low + columns].movedim(1, -1)


def simple(name, expression, x, shapes, run, training=False, states=None, family="layers"):
    """A layer applied to one input `x`: `shapes` are the weights' shapes by their path within the model."""
    dims = ", ".join(["n"] + [str(d) for d in x.shape[1:]])
    dtype = "i32" if x.dtype.kind == "i" else "f32"
    text = f"model Case(x: {dtype}[{dims}]) {{ x |> {expression} }}"
    weights = {f"Case.{path}": array(shape, 7 + i) for i, (path, shape) in enumerate(shapes.items())}
    states = {f"Case.{path}": value for path, value in (states or {}).items()}
    short = lambda values: {path.removeprefix("Case."): value for path, value in values.items()}
    model(
        f"{family}/{name}",
        text,
        lambda i, w, s: run(i["x"], *short(w).values()) if not s else run(i["x"], short(w), short(s)),
        {"x": x},
        weights,
        states,
        training,
    )


def dense_layers():
    x = array((3, 5), 1)
    simple("dense", "dense(4)", x, {"dense.weight": (5, 4), "dense.bias": (4,)}, lambda x, w, b: x @ w + b)
    simple("dense_no_bias", "dense(4, bias = false)", x, {"dense.weight": (5, 4)}, lambda x, w: x @ w)
    simple("dense_3d", "dense(4)", array((2, 3, 5), 1), {"dense.weight": (5, 4), "dense.bias": (4,)}, lambda x, w, b: x @ w + b)
    simple("residual", "residual(dense(5))", x, {"residual.inner.weight": (5, 5), "residual.inner.bias": (5,)},
           lambda x, w, b: x + x @ w + b)
    simple("prelu", "prelu()", x, {"prelu.slope": (5,)}, lambda x, s: torch.where(x <= 0, s * x, x))
    simple("embedding", "embedding(9, 4)", integers((2, 6), 1, 9), {"embedding.table": (9, 4)},
           lambda x, table: F.embedding(x, table))
    model(
        "layers/bilinear",
        "model Case(a: f32[n, 3], b: f32[n, 4]) { bilinear(2)(a, b) }",
        lambda i, w, s: torch.einsum("ni,ijo,nj->no", i["a"], w["Case.bilinear.weight"], i["b"]) + w["Case.bilinear.bias"],
        {"a": array((3, 3), 1), "b": array((3, 4), 2)},
        {"Case.bilinear.weight": array((3, 4, 2), 3), "Case.bilinear.bias": array((2,), 4)},
    )
    gate = lambda x, wg, wv, wo: (F.silu(x @ wg) * (x @ wv)) @ wo
    simple("swiglu", "swiglu(hidden = 6)", x,
           {"swiglu.gate.weight": (5, 6), "swiglu.value.weight": (5, 6), "swiglu.out.weight": (6, 5)}, gate)


def convolutions():
    x = array((2, 7, 6, 4), 2)

    def conv2d(name, arguments, out=4, kernel=3, groups=1, bias=True, **how):
        shapes = {"conv2d.weight": (kernel, kernel, 4 // groups, out)} | ({"conv2d.bias": (out,)} if bias else {})
        run = lambda x, w, b=0: conv(x, w, groups=groups, **how) + b
        simple(name, f"conv2d({out}, kernel = {kernel}{arguments})", x, shapes, run)

    conv2d("conv2d", "")
    conv2d("conv2d_1x1", "", kernel=1, out=5)
    conv2d("conv2d_no_bias", ", bias = false", bias=False)
    conv2d("conv2d_same", ", padding = same", padding="same")
    conv2d("conv2d_same_even", ", padding = same", kernel=4, padding="same")
    conv2d("conv2d_stride", ", stride = 2", stride=2)
    conv2d("conv2d_same_stride", ", stride = 2, padding = same", stride=2, padding="same")
    conv2d("conv2d_same_stride3", ", stride = 3, padding = same", kernel=2, stride=3, padding="same")
    conv2d("conv2d_dilation", ", dilation = 2", dilation=2)
    conv2d("conv2d_same_dilation", ", padding = same, dilation = 2", padding="same", dilation=2)
    conv2d("conv2d_groups", ", groups = 2", out=6, groups=2)

    t = array((2, 9, 4), 3)
    for name, arguments, how in [
        ("conv1d", "", {}),
        ("conv1d_same", ", padding = same", {"padding": "same"}),
        ("conv1d_causal", ", padding = causal, dilation = 2", {"padding": "causal", "dilation": 2}),
        ("conv1d_stride", ", stride = 2, padding = same", {"stride": 2, "padding": "same"}),
    ]:
        simple(name, f"conv1d(5, kernel = 3{arguments})", t, {"conv1d.weight": (3, 4, 5), "conv1d.bias": (5,)},
               lambda x, w, b, how=how: conv(x, w, **how) + b)

    simple("depthwise", "depthwise_conv2d(kernel = 3, multiplier = 2, padding = same)", x,
           {"depthwise_conv2d.weight": (3, 3, 1, 8), "depthwise_conv2d.bias": (8,)},
           lambda x, w, b: conv(x, w, padding="same", groups=4) + b)
    simple("separable", "separable_conv2d(5, kernel = 3, stride = 2, padding = same)", x,
           {"separable_conv2d.depthwise.weight": (3, 3, 1, 4), "separable_conv2d.pointwise.weight": (1, 1, 4, 5),
            "separable_conv2d.pointwise.bias": (5,)},
           lambda x, d, w, b: conv(conv(x, d, stride=2, padding="same", groups=4), w) + b)

    y = array((2, 3, 4, 4), 4)
    for name, kernel, stride, padding, groups in [
        ("conv2d_transpose", 3, 2, "valid", 1),
        ("conv2d_transpose_same", 4, 2, "same", 1),
        ("conv2d_transpose_same_odd", 3, 2, "same", 1),
        ("conv2d_transpose_gaps", 2, 3, "valid", 1),
        ("conv2d_transpose_groups", 3, 1, "same", 2),
    ]:
        more = f", groups = {groups}" if groups > 1 else ""
        simple(name, f"conv2d_transpose(6, kernel = {kernel}, stride = {stride}, padding = {padding}{more})", y,
               {"conv2d_transpose.weight": (kernel, kernel, 6 // groups, 4), "conv2d_transpose.bias": (6,)},
               lambda x, w, b, s=stride, p=padding, g=groups: conv_transpose(x, w, s, p, g) + b)


def pooling():
    x = array((2, 7, 6, 3), 5)
    nchw = lambda x: x.movedim(-1, 1)
    back = lambda x: x.movedim(1, -1)

    def padded(x, window, stride, value):
        rows, columns = same(x.shape[1], window, stride), same(x.shape[2], window, stride)
        return F.pad(nchw(x), (*columns, *rows), value=value)

    simple("max_pool2d", "max_pool2d(2)", x, {}, lambda x: back(F.max_pool2d(nchw(x), 2)))
    simple("max_pool2d_overlap", "max_pool2d(3, stride = 2)", x, {}, lambda x: back(F.max_pool2d(nchw(x), 3, 2)))
    simple("max_pool2d_same", "max_pool2d(3, stride = 2, padding = same)", x, {},
           lambda x: back(F.max_pool2d(padded(x, 3, 2, -torch.inf), 3, 2)))
    simple("avg_pool2d", "avg_pool2d(2)", x, {}, lambda x: back(F.avg_pool2d(nchw(x), 2)))
    simple("avg_pool2d_same", "avg_pool2d(3, stride = 2, padding = same)", x, {},
           lambda x: back(F.avg_pool2d(padded(x, 3, 2, 0.0), 3, 2) / F.avg_pool2d(padded(torch.ones_like(x), 3, 2, 0.0), 3, 2)))
    simple("global_avg_pool2d", "global_avg_pool2d", x, {}, lambda x: x.mean((1, 2)))
    simple("global_max_pool2d", "global_max_pool2d", x, {}, lambda x: x.amax((1, 2)))
    simple("adaptive_avg_pool2d", "adaptive_avg_pool2d(2, 3)", array((2, 4, 6, 3), 6), {},
           lambda x: back(F.adaptive_avg_pool2d(nchw(x), (2, 3))))
    t = array((2, 9, 3), 6)
    simple("max_pool1d", "max_pool1d(3, stride = 2)", t, {}, lambda x: back(F.max_pool1d(nchw(x), 3, 2)))
    simple("avg_pool1d", "avg_pool1d(2)", t, {}, lambda x: back(F.avg_pool1d(nchw(x), 2)))
    simple("global_avg_pool1d", "global_avg_pool1d", t, {}, lambda x: x.mean(1))
    simple("global_max_pool1d", "global_max_pool1d", t, {}, lambda x: x.amax(1))


def reshaping():
    x = array((2, 4, 6, 8), 7)
    nchw = lambda x: x.movedim(-1, 1)
    back = lambda x: x.movedim(1, -1)
    simple("flatten", "flatten", x, {}, lambda x: x.flatten(1))
    simple("upsample2d", "upsample2d(2)", x, {}, lambda x: back(F.interpolate(nchw(x), scale_factor=2)))
    simple("upsample_bilinear2d", "upsample_bilinear2d(3)", x, {},
           lambda x: back(F.interpolate(nchw(x), scale_factor=3, mode="bilinear")))
    simple("zero_pad2d", "zero_pad2d(2)", x, {}, lambda x: F.pad(x, (0, 0, 2, 2, 2, 2)))
    simple("crop2d", "crop2d(1)", x, {}, lambda x: x[:, 1:-1, 1:-1])
    cells = lambda x: x.reshape(2, 4, 6, 2, 2, 2).permute(0, 1, 3, 2, 4, 5).reshape(2, 8, 12, 2)
    simple("depth_to_space", "depth_to_space(2)", x, {}, cells)
    blocks = lambda x: x.reshape(2, 2, 2, 3, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(2, 2, 3, 32)
    simple("space_to_depth", "space_to_depth(2)", x, {}, blocks)


def norms():
    x = array((3, 4, 5, 6), 8)
    affine = lambda name, c: {f"{name}.scale": (c,), f"{name}.bias": (c,)}
    simple("layer_norm", "layer_norm()", x, affine("layer_norm", 6), lambda x, s, b: F.layer_norm(x, (6,), s, b, 1e-5))
    simple("rms_norm", "rms_norm()", x, {"rms_norm.scale": (6,)}, lambda x, s: F.rms_norm(x, (6,), s, 1e-6))
    grouped = lambda x, s, b: F.group_norm(x.movedim(-1, 1), 3, s, b, 1e-5).movedim(1, -1)
    simple("group_norm", "group_norm(3)", x, affine("group_norm", 6), grouped)
    single = lambda x, s, b: F.instance_norm(x.movedim(-1, 1), weight=s, bias=b, eps=1e-5).movedim(1, -1)
    simple("instance_norm", "instance_norm()", x, affine("instance_norm", 6), single)

    states = {"batch_norm.moving_mean": array((6,), 20), "batch_norm.moving_variance": array((6,), 21, 0.5, 2.0)}

    def batch_norm(training, momentum=0.99):
        def run(x, w, s):
            mean, variance = s["batch_norm.moving_mean"], s["batch_norm.moving_variance"]
            scale, bias = w["batch_norm.scale"], w["batch_norm.bias"]
            if not training:
                return (x - mean) / torch.sqrt(variance + 1e-3) * scale + bias
            axes = tuple(range(x.dim() - 1))
            centre, spread = x.mean(axes), x.var(axes, correction=0)
            y = F.batch_norm(x.movedim(-1, 1), None, None, scale, bias, True, 0.0, 1e-3).movedim(1, -1)
            after = {
                "Case.batch_norm.moving_mean": momentum * mean + (1 - momentum) * centre,
                "Case.batch_norm.moving_variance": momentum * variance + (1 - momentum) * spread,
            }
            return y, after

        return run

    shapes = affine("batch_norm", 6)
    simple("batch_norm_training", "batch_norm()", x, shapes, batch_norm(True), training=True, states=states)
    simple("batch_norm_momentum", "batch_norm(momentum = 0.9)", array((4, 6), 9), shapes, batch_norm(True, 0.9), training=True,
           states=states)
    simple("batch_norm_evaluation", "batch_norm()", x, shapes, batch_norm(False), states=states)

    def excite(x, w1, b1, w2, b2):
        gate = torch.sigmoid(F.relu(x.mean((1, 2)) @ w1 + b1) @ w2 + b2)
        return x * gate[:, None, None]

    simple("squeeze_excite", "squeeze_excite(ratio = 2)", x,
           {"squeeze_excite.squeeze.weight": (6, 3), "squeeze_excite.squeeze.bias": (3,),
            "squeeze_excite.excite.weight": (3, 6), "squeeze_excite.excite.bias": (6,)}, excite)


def record():
    dense_layers()
    convolutions()
    pooling()
    reshaping()
    norms()
