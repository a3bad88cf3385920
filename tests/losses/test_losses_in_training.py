"""The losses inside torch's larger machinery: a compiled step, data-parallel training, a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loss_cases import CASES, random_batch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from saltern.config import LossTerm
from saltern.losses import build_loss, lovasz_hinge
from saltern.losses.lovasz_kernel import _dense

every_loss = pytest.mark.parametrize("loss", CASES.values(), ids=CASES.keys())
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def _step(network: nn.Module, loss: nn.Module, logits: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
    """Gradients of the network's parameters after one backward pass."""
    network.zero_grad()
    total, _ = loss(network(logits), target)
    total.backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(1, 1, 3, padding=1)


@pytest.mark.slow
def test_a_compiled_step_has_the_gradient_of_an_eager_one():
    loss = build_loss([LossTerm(name="lovasz_hinge", weight=0.9), LossTerm(name="bce", weight=0.1)])
    images, target = random_batch((4, 1, 32, 32))
    expected = _step(_network(), loss, images, target)
    compiled = torch.compile(loss, fullgraph=True)
    torch.testing.assert_close(_step(_network(), compiled, images, target), expected)


def test_under_data_parallel_training_the_gradient_is_the_same(tmp_path: Path):
    loss = build_loss([LossTerm(name="lovasz_hinge", weight=0.9), LossTerm(name="bce", weight=0.1)])
    images, target = random_batch((4, 1, 12, 12))
    expected = _step(_network(), loss, images, target)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(_network())
        torch.testing.assert_close(_step(parallel, loss, images, target), expected)
    finally:
        torch.distributed.destroy_process_group()


@every_loss
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_no_loss_reads_a_value_back_from_a_gpu(loss, dtype):
    """With tensors that have a device and a shape but no values: reading one would raise, as the last lines show."""
    with FakeTensorMode():
        total = loss(torch.empty(4, 1, 5, 6, device="cuda"), torch.empty(4, 5, 6, device="cuda", dtype=dtype))
        assert total.device.type == "cuda"
        with pytest.raises(DataDependentOutputException):
            total.item()


def test_neither_does_the_kernel():
    with FakeTensorMode():
        labels = torch.empty(4, 50, device="cuda", dtype=torch.uint8)
        value, gradient = _dense(torch.empty(4, 50, device="cuda"), labels, 1.0, 2, True, True, True)
        assert value.device == gradient.device == labels.device


@pytest.mark.gpu
@needs_cuda
@every_loss
def test_on_a_gpu_value_and_gradient_are_those_of_the_cpu(loss):
    logits, target = random_batch((4, 1, 40, 30))
    here, there = logits.requires_grad_(), logits.detach().cuda().requires_grad_()
    loss(here, target).backward()
    value = loss(there, target.cuda())
    value.backward()
    assert value.item() == pytest.approx(loss(logits, target).item(), rel=2e-6)
    torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.gpu
@needs_cuda
@every_loss
def test_on_a_gpu_nothing_waits(loss):
    logits, target = random_batch((4, 1, 40, 30))
    leaf, there = logits.cuda().requires_grad_(), target.cuda()
    loss(leaf, there).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(leaf, there).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@needs_cuda
def test_on_a_gpu_the_order_of_equal_errors_is_that_of_the_cpu():
    logits = torch.randint(-2, 3, (8, 1, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    target = (torch.rand(8, 64, 64, generator=torch.Generator().manual_seed(1)) > 0.6).float()
    here, there = logits.clone().requires_grad_(), logits.cuda().requires_grad_()
    lovasz_hinge(here, target).backward()
    lovasz_hinge(there, target.cuda()).backward()
    torch.testing.assert_close(there.grad.cpu(), here.grad)


@pytest.mark.gpu
@needs_cuda
def test_on_a_gpu_a_wrong_target_stops_the_program_with_the_reason():
    """In a process of its own: a device assertion leaves CUDA unusable."""
    program = (
        "import torch; from saltern.losses import bce; "
        "bce(torch.zeros(1, 1, 2, 2).cuda(), torch.full((1, 2, 2), 2).cuda()); torch.cuda.synchronize()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "expected only 0, 1 and 255" in done.stdout + done.stderr
