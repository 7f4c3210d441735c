"""What a network is and what it learns: the label code, presets, backbones, losses and what they are asked."""
