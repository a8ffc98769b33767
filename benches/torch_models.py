"""The larger models of compare.py in PyTorch: an LSTM, a GAN's pair, a GPT and a T5, with random weights and random data."""
import torch
import torch.nn as nn
import torch.nn.functional as F

GPT = {"layers": 6, "width": 384, "heads": 6, "context": 256, "symbols": 65}
T5 = {"layers": 6, "width": 512, "hidden": 2048, "heads": 8, "head": 64, "length": 64, "vocabulary": 32128, "buckets": 32, "furthest": 128}


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers, self.head = nn.LSTM(10, 64, num_layers=2, batch_first=True), nn.Linear(64, 10)

    def forward(self, values):
        return self.head(self.layers(values)[0][:, -1])


def generator():
    return nn.Sequential(nn.Linear(100, 8 * 8 * 256), nn.ReLU(), nn.Unflatten(1, (256, 8, 8)),
                         nn.ConvTranspose2d(256, 128, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(128, 128, 4, 2, 1), nn.ReLU(),
                         nn.Conv2d(128, 3, 3, padding=1), nn.Tanh())


def discriminator():
    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 30 * 30, 1))


class Attention(nn.Module):
    """Attention without biases; `bias` is added to the scores, and `scale` multiplies them."""

    def __init__(self, width, heads, head, scale=None):
        super().__init__()
        self.heads, self.scale = heads, scale
        self.query, self.key, self.value = (nn.Linear(width, heads * head, bias=False) for _ in range(3))
        self.out = nn.Linear(heads * head, width, bias=False)

    def forward(self, x, context=None, bias=None, causal=False):
        context = x if context is None else context
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        y = F.scaled_dot_product_attention(split(self.query(x)), split(self.key(context)), split(self.value(context)),
                                           attn_mask=bias, is_causal=causal, scale=self.scale)
        return self.out(y.transpose(1, 2).flatten(2))


class Feed(nn.Module):
    def __init__(self, width, hidden, activation):
        super().__init__()
        self.wide, self.out, self.activation = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False), activation

    def forward(self, x):
        return self.out(self.activation(self.wide(x)))


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm, self.feed_norm = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.attend, self.feed = Attention(width, heads, width // heads), Feed(width, 4 * width, F.gelu)

    def forward(self, x):
        x = x + self.attend(self.norm(x), causal=True)
        return x + self.feed(self.feed_norm(x))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.symbols, self.places = nn.Embedding(GPT["symbols"], GPT["width"]), nn.Embedding(GPT["context"], GPT["width"])
        self.blocks = nn.Sequential(*(GptBlock(GPT["width"], GPT["heads"]) for _ in range(GPT["layers"])))
        self.norm = nn.LayerNorm(GPT["width"], bias=False)

    def forward(self, tokens):
        x = self.symbols(tokens) + self.places(torch.arange(tokens.shape[1]))
        return F.linear(self.norm(self.blocks(x)), self.symbols.weight)


class T5Block(nn.Module):
    def __init__(self, cross):
        super().__init__()
        attention = lambda: Attention(T5["width"], T5["heads"], T5["head"], 1.0)  # noqa: E731
        norm = lambda: nn.RMSNorm(T5["width"], eps=1e-6)  # noqa: E731
        self.attend, self.norm = attention(), norm()
        self.cross, self.cross_norm = (attention(), norm()) if cross else (None, None)
        self.feed, self.feed_norm = Feed(T5["width"], T5["hidden"], F.relu), norm()

    def forward(self, x, bias, context=None):
        x = x + self.attend(self.norm(x), bias=bias)
        if self.cross is not None:
            x = x + self.cross(self.cross_norm(x), context)
        return x + self.feed(self.feed_norm(x))


def buckets(length, both):
    """The buckets of all pairs of places, `[length, length]`."""
    import numpy as np
    away = np.arange(length)[None, :] - np.arange(length)[:, None]
    count, first = (T5["buckets"] // 2, np.where(away > 0, T5["buckets"] // 2, 0)) if both else (T5["buckets"], 0)
    away = np.abs(away) if both else np.maximum(-away, 0)
    half = count // 2
    far = half + (np.log(np.maximum(away, 1) / half) / np.log(T5["furthest"] / half) * (count - half)).astype(int)
    return first + np.where(away < half, away, np.minimum(far, count - 1))


class T5Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.symbols = nn.Embedding(T5["vocabulary"], T5["width"])
        self.near, self.before = (nn.Embedding(T5["buckets"], T5["heads"]) for _ in range(2))
        self.encoder = nn.ModuleList(T5Block(False) for _ in range(T5["layers"]))
        self.decoder = nn.ModuleList(T5Block(True) for _ in range(T5["layers"]))
        self.encoder_norm, self.decoder_norm = (nn.RMSNorm(T5["width"], eps=1e-6) for _ in range(2))
        for name, both in (("both", True), ("past", False)):
            self.register_buffer(name, torch.from_numpy(buckets(T5["length"], both)))
        self.register_buffer("later", torch.full((T5["length"], T5["length"]), float("-inf")).triu(1))

    def forward(self, source, target):
        x, bias = self.symbols(source), self.near(self.both).permute(2, 0, 1)[None]
        for block in self.encoder:
            x = block(x, bias)
        x = self.encoder_norm(x)
        y, bias = self.symbols(target), self.before(self.past).permute(2, 0, 1)[None] + self.later
        for block in self.decoder:
            y = block(y, bias, x)
        return F.linear(self.decoder_norm(y) * T5["width"] ** -0.5, self.symbols.weight)


def data(model, batch):
    """Inputs and targets."""
    if model == "lstm":
        return (torch.rand(batch, 100, 10),), torch.randint(10, (batch,))
    if model == "gpt":
        return (torch.randint(GPT["symbols"], (batch, GPT["context"])),), torch.randint(GPT["symbols"], (batch, GPT["context"]))
    tokens = lambda: torch.randint(T5["vocabulary"], (batch, T5["length"]))  # noqa: E731
    return (tokens(), tokens()), tokens()


def call(model, mode, batch, compiled):
    """What a round repeats."""
    compile = torch.compile if compiled else (lambda f: f)
    if model == "dcgan":
        return gan_step(batch, compile)
    net = {"lstm": Lstm, "gpt": Gpt, "t5": T5Model}[model]()
    inputs, target = data(model, batch)
    if mode == "predict":
        run = compile(net.eval())

        def predict():
            with torch.inference_mode():
                return run(*inputs).softmax(-1) if model == "lstm" else run(*inputs)
        return predict
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    loss_of = compile(lambda *inputs: F.cross_entropy(net(*inputs).flatten(0, -2), target.flatten()))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*inputs)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def gan_step(batch, compile):
    """The discriminator's step on real and drawn images, then the generator's, each with noise of its own."""
    make, judge = generator(), discriminator()
    of_make, of_judge = (torch.optim.Adam(net.parameters(), 1e-4, fused=True) for net in (make, judge))
    image, real, drawn = torch.rand(batch, 3, 32, 32) * 2 - 1, torch.ones(batch, 1), torch.zeros(batch, 1)
    bce = F.binary_cross_entropy_with_logits
    draw = compile(lambda noise: make(noise))
    judge_loss = compile(lambda fake: bce(judge(image), real) + bce(judge(fake), drawn))
    make_loss = compile(lambda noise: bce(judge(make(noise)), real))

    def step():
        with torch.no_grad():
            fake = draw(torch.randn(batch, 100))
        of_judge.zero_grad(set_to_none=True)
        first = judge_loss(fake)
        first.backward()
        of_judge.step()
        of_make.zero_grad(set_to_none=True)
        judge.requires_grad_(False)
        second = make_loss(torch.randn(batch, 100))
        second.backward()
        judge.requires_grad_(True)
        of_make.step()
        return first.item() + second.item()
    return step
