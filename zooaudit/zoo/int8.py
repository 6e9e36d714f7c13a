"""INT8 quantisation after training: convolutions and linear layers really run in INT8, on a CPU.

Every ``nn.Conv2d`` and ``nn.Linear`` is replaced by a layer that quantises its input (one scale), multiplies
it by weights quantised channel by channel with PyTorch's INT8 kernels (``torch.ops.quantized``, the ones that
``torch.ao.quantization`` ends in), and gives floats again. Scales of inputs and outputs come from the range
seen on calibration images. INT8 weights and scales are stored as plain tensors: nothing is pickled, and a
model is rebuilt from its architecture.
"""

import copy
import warnings

import torch
from torch import Tensor, nn

from zooaudit.errors import ModelError

LEVELS = 127
"""Inputs use 128 of 255 levels, 0 to 127: older x86 kernels saturate above, and a verdict must not depend on
the processor."""


class Int8Layer(nn.Module):
    """A quantised convolution or linear layer; float in, float out. State: ``weight`` int8, its scale by
    output channel, ``bias`` float32, and scale and zero point of input and output."""

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor
    input_range: Tensor
    output_range: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.convolution = isinstance(layer, nn.Conv2d)
        if isinstance(layer, nn.Conv2d):
            if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
                raise ModelError(
                    f"a convolution with padding {layer.padding!r} ({layer.padding_mode}) cannot be"
                    " quantised; expected zeros"
                )
            self.geometry = list(layer.stride), list(layer.padding), list(layer.dilation), layer.groups
        weight = layer.weight.detach()
        scale = weight.flatten(1).abs().amax(1).clamp(min=1e-12) / LEVELS
        shaped = scale.view(-1, *[1] * (weight.ndim - 1))
        self.register_buffer(
            "weight", (weight / shaped).round().clamp(-LEVELS, LEVELS).to(torch.int8).contiguous()
        )
        self.register_buffer("weight_scale", scale)
        self.register_buffer(
            "bias", torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().clone()
        )
        self.register_buffer("input_range", torch.tensor([1.0, 0.0]))
        self.register_buffer("output_range", torch.tensor([1.0, 0.0]))
        self._packed: object | None = None

    def calibrate(self, inputs: Tensor, outputs: Tensor) -> None:
        """Set scale and zero point from the float layer's inputs and outputs."""
        self.input_range.copy_(_scale_and_zero(inputs, LEVELS))
        self.output_range.copy_(_scale_and_zero(outputs, 255))

    def forward(self, x: Tensor) -> Tensor:
        """Float ``x`` to float, through one INT8 kernel."""
        kernel = torch.ops.quantized.conv2d if self.convolution else torch.ops.quantized.linear
        scale, zero = self.output_range.tolist()
        with warnings.catch_warnings():
            # PyTorch plans to remove quantised tensors (docs/decisions/0009)
            warnings.simplefilter("ignore", UserWarning)
            return kernel(self._quantised(x), self._weights(), scale, int(zero)).dequantize().to(x.device)

    def _quantised(self, x: Tensor) -> Tensor:
        scale, zero = self.input_range.tolist()
        inside = x.float().cpu().clamp(-zero * scale, (LEVELS - zero) * scale)
        return torch.quantize_per_tensor(inside, scale, int(zero), torch.quint8)

    def _weights(self) -> object:
        """Weights in the kernel's own layout, packed at the first call."""
        if self._packed is None:
            zeros = torch.zeros(len(self.weight), dtype=torch.int64)
            scales = self.weight_scale.double().cpu()
            weight = torch._make_per_channel_quantized_tensor(self.weight.cpu(), scales, zeros, 0)
            bias = self.bias.cpu()
            if self.convolution:
                self._packed = torch.ops.quantized.conv2d_prepack(weight, bias, *self.geometry)
            else:
                self._packed = torch.ops.quantized.linear_prepack(weight, bias)
        return self._packed


@torch.no_grad()
def to_int8(model: nn.Module, calibration: Tensor) -> nn.Module:
    """An INT8 copy of ``model``, calibrated on float images ``[n, c, h, w]``.

    Raises:
        ModelError: the model has no convolution or linear layer.
    """
    quantised = int8_skeleton(model)
    wrapped = dict(quantised.named_modules())
    hooks = []
    for name, layer in model.named_modules():
        if isinstance(wrapped.get(name), Int8Layer):
            hooks.append(
                layer.register_forward_hook(
                    lambda _, given, gave, to=wrapped[name]: to.calibrate(given[0], gave)
                )
            )
    try:
        model.eval()(calibration)
    finally:
        for hook in hooks:
            hook.remove()
    return quantised


def int8_skeleton(model: nn.Module) -> nn.Module:
    """A copy of ``model`` whose convolutions and linear layers are INT8, not calibrated: stored INT8 weights
    are loaded into it."""
    quantised = copy.deepcopy(model).eval().requires_grad_(False)
    found = [
        (name, layer) for name, layer in quantised.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    if not found:
        raise ModelError("the model has no convolution and no linear layer: there is nothing to quantise")
    for name, layer in found:
        owner, _, attribute = name.rpartition(".")
        setattr(quantised.get_submodule(owner), attribute, Int8Layer(layer))
    return quantised


def _scale_and_zero(values: Tensor, levels: int) -> Tensor:
    """Scale and zero point, float32 ``[2]``, that map the range of ``values``, zero
    included, to 0 to ``levels``."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = max((high - low) / levels, 1e-8)
    return torch.tensor([scale, float(round(-low / scale))])
