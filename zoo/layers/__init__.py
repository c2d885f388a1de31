"""Ground floor: nn.Modules that two or more domains use."""

from zoo.layers.backbones import image_backbone, pretrained_allowed, without_pretrained

__all__ = ["image_backbone", "pretrained_allowed", "without_pretrained"]
