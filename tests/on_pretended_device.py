"""The pretended device itself (``pretend_cuda``): what CUDA refuses it refuses, and what CUDA allows it allows."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

PRETENDED = getattr(torch.cuda, "pretended", False)
pytestmark = pytest.mark.skipif(not PRETENDED, reason="looks at the pretended device")


def fails(kind, message):
    return pytest.raises(kind, match=message)


def test_it_refuses_what_numpy_can_not_see():
    x = torch.zeros(3, device="cuda")
    for look in (lambda: x.numpy(), lambda: np.asarray(x), lambda: plt.plot(x)):
        with fails(TypeError, "Use Tensor.cpu"):
            look()
    assert x.cpu().numpy().shape == (3,) and x.numpy(force=True).shape == (3,)
    plt.close("all")


def test_it_refuses_two_devices_in_one_operation():
    x, y = torch.zeros(3, device="cuda"), torch.ones(3)
    for mix in (
        lambda: x + y,
        lambda: y.mul_(x),
        lambda: torch.stack([x, y]),
        lambda: torch.stack([x.sum(), y.sum()]),
        lambda: torch.equal(x, y),
        lambda: torch.where(x > 0, x, y),
        lambda: torch.nn.functional.linear(x, torch.eye(3)),
        lambda: torch.nn.Linear(3, 3)(x),
        lambda: x.index_select(0, torch.tensor([0])),
        lambda: x.__setitem__(torch.tensor([0, 1]), y[:2]),
        lambda: y.sum().add_(x.sum()),
        lambda: torch.autograd.grad((x.clone().requires_grad_() ** 2), x, y),
    ):
        with fails(RuntimeError, "at least two devices"):
            mix()
    with fails(RuntimeError, "indices should be"):
        y[(x > 0)]
    with fails(RuntimeError, "indices should be"):
        y[torch.tensor([0, 1], device="cuda")]
    with fails(RuntimeError, "ordinal"):
        y.to("cuda:1")


def test_it_allows_what_cuda_allows():
    x, y = torch.arange(3.0, device="cuda"), torch.ones(3)
    assert (x * torch.tensor(2.0)).is_cuda and (torch.tensor(2.0) * x).tolist() == [0, 2, 4]
    assert x[torch.tensor([2, 0])].tolist() == [2, 0] and x[np.array([True, False, True])].is_cuda
    assert y[torch.tensor(1, device="cuda")] == 1  # a number
    x[:2] = y[:2]
    y.copy_(x)
    assert y.tolist() == [1, 1, 2] and not y.is_cuda
    assert torch.where(x > 1, x, torch.tensor(0.0)).tolist() == [0, 0, 2]
    assert torch.tensor([x.sum(), x.max()]).device.type == "cpu"  # a list of numbers
    assert torch.as_tensor(x).is_cuda and torch.zeros_like(x).is_cuda and not torch.zeros_like(x, device="cpu").is_cuda
    assert x.to(y).device.type == "cpu" and y.to(x).is_cuda and y.type_as(x).is_cuda and x.double().is_cuda
    assert x.max(0).values.is_cuda and all(part.is_cuda for part in x.split(1)) and all(part.is_cuda for part in x)
    assert f"{x.sum():.2f}" == "4.00" and repr(x) == "tensor([1., 1., 2.], device='cuda:0')"


def test_a_copy_on_the_device_is_a_copy():
    y = torch.zeros(2)
    for x in (y.to("cuda"), y.cuda(), torch.as_tensor(y, device="cuda"), torch.tensor([0.0, 0.0], device="cuda")):
        x += 1
        assert y.tolist() == [0, 0] and x.cpu().tolist() == [1, 1]
        x.cpu().add_(1)
        assert x.tolist() == [1, 1]


def test_it_refuses_a_generator_of_the_cpu():
    with fails(RuntimeError, "'cuda' device type for generator"):
        torch.randn(3, device="cuda", generator=torch.Generator())
    with fails(RuntimeError, "'cuda' device type for generator"):
        torch.zeros(3, device="cuda").normal_(generator=torch.Generator())


def test_gradients_go_through_it():
    x = torch.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    seen = []
    y = x**2
    y.register_hook(lambda gradient: seen.append(gradient.is_cuda))
    y.sum().backward()
    assert x.grad.is_cuda and x.grad.tolist() == [2, 4] and seen == [True]
    layer = torch.nn.Linear(2, 1).to("cuda")
    assert all(isinstance(p, torch.nn.Parameter) and p.is_cuda for p in layer.parameters())
    layer(x.detach()).sum().backward()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    before = layer.bias.item()
    optimizer.step()
    assert layer.weight.grad.is_cuda and layer.bias.item() != before


def test_it_refuses_what_is_not_repeatable_on_cuda():
    x = torch.ones(3, device="cuda")
    x.cumsum(0)
    torch.use_deterministic_algorithms(True)
    try:
        x.int().cumsum(0)
        for erratic in (lambda: x.cumsum(0), lambda: x.median(0), lambda: torch.histc(x)):
            with fails(RuntimeError, "deterministic"):
                erratic()
    finally:
        torch.use_deterministic_algorithms(False)


def test_it_rounds_to_tf32_where_torch_allows_that():
    picture, kernel = torch.full((1, 1, 1, 1), 1 + 2.0**-12), torch.ones(1, 1, 1, 1)
    convolve = lambda: torch.conv2d(picture.cuda(), kernel.cuda()).item()  # noqa: E731
    assert torch.conv2d(picture, kernel).item() == picture.item() and convolve() == 1
    product = lambda: (picture.cuda()[0, 0] @ kernel.cuda()[0, 0]).item()  # noqa: E731
    assert product() == picture.item()
    torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = "ieee", "tf32"
    try:
        assert convolve() == picture.item() and product() == 1
    finally:
        torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = "tf32", "none"
