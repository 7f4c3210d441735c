"""ConvNeXt's block (Liu et al. 2022), which spares what stochastic depth drops."""

from __future__ import annotations

from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn

from models.cpu.stochastic_depth import residual, spares, treats_photos_apart


class LeanConvNeXtBlock(ConvNeXtBlock):
    """timm's block, whose branch is spared in training on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, H, W) -> the same shape."""
        if not spares(self.drop_path, x):
            return super().forward(x)
        # Channels last, as most of the branch is; otherwise picking photos would turn them channels first.
        return residual(x.permute(0, 2, 3, 1), self._branch, self.drop_path).permute(0, 3, 1, 2)

    def _branch(self, x: Tensor) -> Tensor:
        x = self.conv_dw(x.permute(0, 3, 1, 2))
        if self.use_conv_mlp:
            x = self.mlp(self.norm(x)).permute(0, 2, 3, 1)
        else:
            x = self.mlp(self.norm(x.permute(0, 2, 3, 1)))
        return x if self.gamma is None else x * self.gamma


def is_eligible(layer: nn.Module) -> bool:
    """Whether a layer is timm's block, keeps its input's shape and treats photos apart."""
    return type(layer) is ConvNeXtBlock and isinstance(layer.shortcut, nn.Identity) and treats_photos_apart(layer)
