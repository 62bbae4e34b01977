#!/usr/bin/env python3
"""One IBP training step of cnn-small (DM-small) in PyTorch, as bench_training does it: points, midpoints and radii, the last
layer merged with the differences of scores, cross-entropy, gradients (no optimiser). Prints images per second.
usage: training_pytorch.py [BATCH [THREADS]]   (Debian: python3-torch)"""
import sys
import time

import torch
import torch.nn.functional as F

batch = int(sys.argv[1]) if len(sys.argv) > 1 else 128
torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 2)
torch.manual_seed(1)
conv = [torch.nn.Conv2d(1, 16, 4, 2), torch.nn.Conv2d(16, 32, 4, 1)]
dense = [torch.nn.Linear(3200, 100), torch.nn.Linear(100, 10)]
params = [p for m in conv + dense for p in m.parameters()]
x, y = torch.rand(batch, 1, 28, 28), torch.arange(batch) % 10


def hidden(v):
    for m in conv:
        v = F.relu(m(v))
    return F.relu(dense[0](v.flatten(1)))


def box(lo, hi):
    for m in conv + dense[:1]:
        if m is dense[0]:
            lo, hi = lo.flatten(1), hi.flatten(1)
        mid, rad = (lo + hi) / 2, (hi - lo) / 2
        if m is dense[0]:
            mid, rad = F.linear(mid, m.weight, m.bias), F.linear(rad, m.weight.abs())
        else:
            mid, rad = F.conv2d(mid, m.weight, m.bias, m.stride), F.conv2d(rad, m.weight.abs(), None, m.stride)
        lo, hi = F.relu(mid - rad), F.relu(mid + rad)
    w, b = dense[1].weight, dense[1].bias
    d = w[y].unsqueeze(1) - w.unsqueeze(0)  # [batch, 10, 100]
    mid, rad = (lo + hi) / 2, (hi - lo) / 2
    return torch.einsum("bki,bi->bk", d, mid) - torch.einsum("bki,bi->bk", d.abs(), rad) + b[y].unsqueeze(1) - b


def step(is_box):
    for p in params:
        p.grad = None
    loss = F.cross_entropy(dense[1](hidden(x)), y)
    if is_box:
        margins = box((x - 0.1).clamp(0, 1), (x + 0.1).clamp(0, 1))
        loss = 0.5 * loss + 0.5 * torch.logsumexp(-margins, 1).mean()
    loss.backward()


print(f"PyTorch {torch.__version__}, batch {batch}, {torch.get_num_threads()} threads")
for name, is_box in (("natural", False), ("ibp", True)):
    best = 1e9
    for _ in range(40):
        t = time.perf_counter()
        step(is_box)
        best = min(best, time.perf_counter() - t)
    print(f"{name:8s} {best * 1e3:8.2f} ms a step {batch / best:9.0f} images/s")
