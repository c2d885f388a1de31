"""Ground floor: nn.Modules that two or more domains use."""

from zoo.layers.backbones import image_backbone, pretrained_allowed, without_pretrained
from zoo.layers.from_images import FromImages, ImageSteps

__all__ = ["FromImages", "ImageSteps", "image_backbone", "pretrained_allowed", "without_pretrained"]
