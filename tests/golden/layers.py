"""Layers: outputs, gradients, and the states of batch norm."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.parametrizations import _SpectralNorm

from recorder import array, integers, model


def same(extent, kernel, stride=1, dilation=1):
    """Keras' rule: (before, after)."""
    reach = (kernel - 1) * dilation
    amount = max((-(-extent // stride) - 1) * stride + reach + 1 - extent, 0)
    return amount // 2, amount - amount // 2


def each(value, count):
    """One number for each axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * count


def conv(x, w, stride=1, padding="valid", dilation=1, groups=1):
    """Channels-last convolution with `[k…, in / groups, out]` kernels, on top of PyTorch's."""
    spatial = w.dim() - 2
    stride, dilation = each(stride, spatial), each(dilation, spatial)
    x = x.movedim(-1, 1)
    if padding != "valid":
        pads = []
        for axis in reversed(range(spatial)):
            if padding == "causal":
                pads += [(w.shape[axis] - 1) * dilation[axis], 0]
            else:
                pads += same(x.shape[2 + axis], w.shape[axis], stride[axis], dilation[axis])
        x = F.pad(x, pads)
    w = w.movedim((-1, -2), (0, 1))
    call = F.conv2d if spatial == 2 else F.conv1d
    return call(x, w, stride=stride, dilation=dilation, groups=groups).movedim(1, -1)


def conv_transpose(x, w, stride, padding, groups=1, dilation=1):
    """Keras' Conv1DTranspose and Conv2DTranspose with `[k…, out / groups, in]` kernels."""
    spatial = w.dim() - 2
    stride, dilation = each(stride, spatial), each(dilation, spatial)
    call = F.conv_transpose2d if spatial == 2 else F.conv_transpose1d
    full = call(x.movedim(-1, 1), w.movedim((-1, -2), (0, 1)), stride=stride, groups=groups, dilation=dilation)
    for axis in range(spatial):
        reach = (w.shape[axis] - 1) * dilation[axis] + 1
        extra = max(reach - stride[axis], 0)
        low = extra // 2 if padding == "same" else 0
        extent = x.shape[1 + axis] * stride[axis] + (0 if padding == "same" else extra)
        missing = max(low + extent - full.shape[2 + axis], 0)
        pads = [0, 0] * (spatial - 1 - axis) + [0, missing] + [0, 0] * axis
        full = F.pad(full, pads).narrow(2 + axis, low, extent)
    return full.movedim(1, -1)


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
    simple("residual_shortcut", "residual(dense(4), shortcut = dense(4, bias = false))", x,
           {"residual.inner.weight": (5, 4), "residual.inner.bias": (4,), "residual.shortcut.weight": (5, 4)},
           lambda x, w, b, s: x @ s + x @ w + b)
    simple("prelu", "prelu()", x, {"prelu.slope": (5,)}, lambda x, s: torch.where(x <= 0, s * x, x))
    simple("embedding", "embedding(9, 4)", integers((2, 6), 1, 9), {"embedding.table": (9, 4)},
           lambda x, table: F.embedding(x, table))
    simple("embedding_padding", "embedding(9, 4, padding_index = 2)", integers((4, 6), 1, 9), {"embedding.table": (9, 4)},
           lambda x, table: F.embedding(x, table, padding_idx=2) * (x != 2).unsqueeze(-1))
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
    gate = lambda x, wg, wv, wo: (F.gelu(x @ wg) * (x @ wv)) @ wo
    simple("geglu", "geglu(hidden = 6)", x,
           {"geglu.gate.weight": (5, 6), "geglu.value.weight": (5, 6), "geglu.out.weight": (6, 5)}, gate)


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

    def rectangular(name, layer, arguments, kernel, **how):
        out = 4 if layer == "conv2d" else 8
        groups = 1 if layer == "conv2d" else 4
        shapes = {f"{layer}.weight": (*kernel, 4 // groups, out), f"{layer}.bias": (out,)}
        lead = "4, " if layer == "conv2d" else "multiplier = 2, "
        simple(name, f"{layer}({lead}kernel = {kernel}{arguments})", x, shapes,
               lambda x, w, b: conv(x, w, groups=groups, **how) + b)

    rectangular("conv2d_rectangular", "conv2d", "", (3, 5))
    rectangular("conv2d_rectangular_all", "conv2d", ", stride = (2, 1), padding = same, dilation = (1, 2)", (2, 3),
                stride=(2, 1), padding="same", dilation=(1, 2))
    rectangular("depthwise_rectangular", "depthwise_conv2d", ", stride = (1, 2), padding = same", (1, 3), stride=(1, 2),
                padding="same")

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

    simple("depthwise_conv1d", "depthwise_conv1d(kernel = 3, multiplier = 2, padding = causal, dilation = 2)", t,
           {"depthwise_conv1d.weight": (3, 1, 8), "depthwise_conv1d.bias": (8,)},
           lambda x, w, b: conv(x, w, padding="causal", dilation=2, groups=4) + b)
    simple("separable_conv1d", "separable_conv1d(5, kernel = 3, stride = 2, padding = same)", t,
           {"separable_conv1d.depthwise.weight": (3, 1, 4), "separable_conv1d.pointwise.weight": (1, 4, 5),
            "separable_conv1d.pointwise.bias": (5,)},
           lambda x, d, w, b: conv(conv(x, d, stride=2, padding="same", groups=4), w) + b)
    simple("conv1d_groups", "conv1d(6, kernel = 3, groups = 2, dilation = 2)", t,
           {"conv1d.weight": (3, 2, 6), "conv1d.bias": (6,)}, lambda x, w, b: conv(x, w, dilation=2, groups=2) + b)
    for name, kernel, stride, padding, dilation in [
        ("conv1d_transpose", 3, 2, "valid", 1),
        ("conv1d_transpose_same", 4, 2, "same", 1),
        ("conv1d_transpose_dilation", 3, 1, "valid", 2),
    ]:
        more = f", dilation = {dilation}" if dilation > 1 else ""
        simple(name, f"conv1d_transpose(6, kernel = {kernel}, stride = {stride}, padding = {padding}{more})",
               array((2, 5, 4), 4), {"conv1d_transpose.weight": (kernel, 6, 4), "conv1d_transpose.bias": (6,)},
               lambda x, w, b, s=stride, p=padding, d=dilation: conv_transpose(x, w, s, p, dilation=d) + b)
    simple("conv2d_transpose_rectangular",
           "conv2d_transpose(6, kernel = (3, 2), stride = (2, 1), padding = same, dilation = (1, 2))", array((2, 3, 4, 4), 4),
           {"conv2d_transpose.weight": (3, 2, 6, 4), "conv2d_transpose.bias": (6,)},
           lambda x, w, b: conv_transpose(x, w, (2, 1), "same", dilation=(1, 2)) + b)

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
    simple("adaptive_avg_pool2d_overlap", "adaptive_avg_pool2d(3, 4)", x, {},
           lambda x: back(F.adaptive_avg_pool2d(nchw(x), (3, 4))))
    simple("adaptive_max_pool2d", "adaptive_max_pool2d(3, 4)", x, {},
           lambda x: back(F.adaptive_max_pool2d(nchw(x), (3, 4))))
    simple("max_pool2d_rectangular", "max_pool2d((2, 3), stride = (1, 2))", x, {},
           lambda x: back(F.max_pool2d(nchw(x), (2, 3), (1, 2))))
    simple("avg_pool2d_rectangular", "avg_pool2d((3, 2))", x, {}, lambda x: back(F.avg_pool2d(nchw(x), (3, 2))))
    t = array((2, 9, 3), 6)
    simple("adaptive_avg_pool1d", "adaptive_avg_pool1d(4)", t, {}, lambda x: back(F.adaptive_avg_pool1d(nchw(x), 4)))
    simple("adaptive_max_pool1d", "adaptive_max_pool1d(4)", t, {}, lambda x: back(F.adaptive_max_pool1d(nchw(x), 4)))
    simple("max_pool1d_same", "max_pool1d(3, stride = 2, padding = same)", array((2, 8, 3), 6), {},
           lambda x: back(F.max_pool1d(F.pad(nchw(x), same(8, 3, 2), value=-torch.inf), 3, 2)))
    simple("windows", "windows(3, stride = 2)", t, {}, lambda x: x.unfold(1, 3, 2).movedim(-1, 2))
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
    t = array((2, 5, 3), 7)
    simple("upsample2d_rectangular", "upsample2d((2, 1))", x, {}, lambda x: back(F.interpolate(nchw(x), scale_factor=(2.0, 1.0))))
    simple("upsample_bilinear2d_rectangular", "upsample_bilinear2d((1, 2))", x, {},
           lambda x: back(F.interpolate(nchw(x), scale_factor=(1.0, 2.0), mode="bilinear")))
    simple("upsample1d", "upsample1d(3)", t, {}, lambda x: back(F.interpolate(nchw(x), scale_factor=3)))
    simple("upsample_linear1d", "upsample_linear1d(2)", t, {},
           lambda x: back(F.interpolate(nchw(x), scale_factor=2, mode="linear")))
    simple("zero_pad2d_sides", "zero_pad2d(((1, 2), (0, 3)), value = 0.5)", t4 := array((2, 3, 2, 2), 7), {},
           lambda x: F.pad(x, (0, 0, 0, 3, 1, 2), value=0.5))
    simple("zero_pad2d_axes", "zero_pad2d((0, 2))", t4, {}, lambda x: F.pad(x, (0, 0, 2, 2)))
    simple("zero_pad1d", "zero_pad1d((1, 2))", t, {}, lambda x: F.pad(x, (0, 0, 1, 2)))
    simple("crop2d_sides", "crop2d(((1, 0), (2, 1)))", x, {}, lambda x: x[:, 1:, 2:-1])
    simple("crop1d", "crop1d((1, 2))", t, {}, lambda x: x[:, 1:-2])
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

    simple("layer_norm_axes", "layer_norm(axes = 2)", x, affine("layer_norm", 30),
           lambda x, s, b: F.layer_norm(x, (5, 6), s.reshape(5, 6), b.reshape(5, 6), 1e-5))
    simple("layer_norm_plain", "layer_norm(affine = false)", x, {}, lambda x: F.layer_norm(x, (6,), eps=1e-5))
    t = array((3, 5, 6), 8)
    simple("group_norm_signal", "group_norm(2)", t, affine("group_norm", 6),
           lambda x, s, b: F.group_norm(x.movedim(-1, 1), 2, s, b, 1e-5).movedim(1, -1))
    simple("group_norm_matrix", "group_norm(2)", array((3, 6), 8), affine("group_norm", 6),
           lambda x, s, b: F.group_norm(x, 2, s, b, 1e-5))
    simple("instance_norm_signal", "instance_norm()", t, affine("instance_norm", 6), single)

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


def reparametrisations():
    """The layers that PyTorch calls parametrizations, on a matrix and on a convolution's kernel."""
    x, image = array((3, 5), 1), array((2, 5, 4, 2), 2)
    kernel = (3, 2, 2, 6)

    def weighted(x, w, g):
        w = torch._weight_norm(w.movedim(-1, 0).contiguous(), g.reshape(-1, *[1] * (w.dim() - 1)), 0).movedim(0, -1)
        return x @ w if w.dim() == 2 else conv(x, w)

    how = "reparametrise = weight_norm"
    simple("weight_norm", f"dense(4, bias = false, {how})", x, {"dense.weight": (5, 4), "dense.weight_norm.length": (4,)}, weighted)
    simple("weight_norm_conv", f"conv2d(6, kernel = (3, 2), bias = false, {how})", image,
           {"conv2d.weight": kernel, "conv2d.weight_norm.length": (6,)}, weighted)

    def spectral(layer, training):
        def run(x, weights, states):
            w = weights[f"{layer}.weight"]
            matrix = w.flatten(0, -2).T
            norm = _SpectralNorm(matrix.detach(), n_power_iterations=2)
            norm._u, norm._v = states[f"{layer}.spectral_norm.right"].clone(), states[f"{layer}.spectral_norm.left"].clone()
            norm.train(training)
            divided = norm(matrix).T.reshape(w.shape)
            y = x @ divided if w.dim() == 2 else conv(x, divided)
            after = {f"Case.{layer}.spectral_norm.right": norm._u, f"Case.{layer}.spectral_norm.left": norm._v}
            return (y, after) if training else y

        return run

    unit = lambda extent, seed: (lambda v: v / np.linalg.norm(v))(array((extent,), seed))
    how = "reparametrise = spectral_norm(rounds = 2)"
    for training in [True, False]:
        name = "training" if training else "evaluation"
        states = {"dense.spectral_norm.right": unit(4, 30), "dense.spectral_norm.left": unit(5, 31)}
        simple(f"spectral_norm_{name}", f"dense(4, bias = false, {how})", x, {"dense.weight": (5, 4)}, spectral("dense", training),
               training=training, states=states)
    states = {"conv2d.spectral_norm.right": unit(6, 30), "conv2d.spectral_norm.left": unit(12, 31)}
    simple("spectral_norm_conv", f"conv2d(6, kernel = (3, 2), bias = false, {how})", image, {"conv2d.weight": kernel},
           spectral("conv2d", True), training=True, states=states)


def record():
    dense_layers()
    convolutions()
    pooling()
    reshaping()
    norms()
    reparametrisations()
