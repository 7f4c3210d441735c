"""Swin's block (Liu et al. 2021), which multiplies no padding and spares what stochastic depth drops.

Photos seldom are whole windows high and wide. timm pads them before attention's two linear layers, so that
swin_tiny's third stage, at 256x192, multiplies half as many padded places again as there are. A linear layer takes
every place alone: here the first comes before the padding, the second after it is cut off, for the same numbers but
for rounding.
"""

from __future__ import annotations

import math

import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

from models.cpu.stochastic_depth import residual, treats_photos_apart


class LeanSwinBlock(SwinTransformerBlock):
    """timm's block, lean where a CPU takes gradients."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, channels) -> the same shape."""
        if not (torch.is_grad_enabled() and x.is_cpu):
            return super().forward(x)
        x = residual(x, lambda some: self._attention(self.norm1(some)), self.drop_path1)
        return residual(x, lambda some: self.mlp(self.norm2(some)), self.drop_path2)

    def _attention(self, x: Tensor) -> Tensor:
        count, height, width, _ = x.shape
        attention, (rows, columns) = self.attn, self.window_size
        down, across = math.ceil(height / rows), math.ceil(width / columns)
        missing_rows, missing_columns = down * rows - height, across * columns - width
        shifted = any(self.shift_size)
        if shifted:
            x = torch.roll(x, [-shift for shift in self.shift_size], (1, 2))
        if missing_rows or missing_columns:
            # Padded places hold what the layer makes of 0, which is its bias.
            triple = F.pad(F.linear(x, attention.qkv.weight), (0, 0, 0, missing_columns, 0, missing_rows))
            if attention.qkv.bias is not None:
                triple = triple + attention.qkv.bias.to(triple.dtype)
        else:
            triple = attention.qkv(x)
        q, k, v = (
            triple.view(count, down, rows, across, columns, 3, attention.num_heads, -1)
            .permute(5, 0, 1, 3, 6, 2, 4, 7)
            .reshape(3, count, down * across, attention.num_heads, rows * columns, -1)
        )
        bias = attention._get_rel_pos_bias()
        if self.attn_mask is not None:
            bias = bias + self.attn_mask.unsqueeze(1)
        x = F.scaled_dot_product_attention(q, k, v, bias, attention.attn_drop.p if self.training else 0.0)
        x = x.view(count, down, across, attention.num_heads, rows, columns, -1).permute(0, 1, 4, 2, 5, 3, 6)
        x = x.reshape(count, down * rows, across * columns, -1)[:, :height, :width]
        x = attention.proj_drop(attention.proj(x))
        return torch.roll(x, self.shift_size, (1, 2)) if shifted else x


def is_eligible(layer: nn.Module) -> bool:
    """Whether a layer is timm's block, made for one size of photos, and treats photos apart."""
    return type(layer) is SwinTransformerBlock and not layer.dynamic_mask and treats_photos_apart(layer)
