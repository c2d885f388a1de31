"""Text-to-image person retrieval that survives noisy pairs (RDE)."""

from zoo.domains.reid.clip import TextTransformer, VisionTransformer
from zoo.domains.reid.data import TextImageData
from zoo.domains.reid.gallery import GalleryIndex
from zoo.domains.reid.imagetext import Flickr8k, Flickr30k, ImageText
from zoo.domains.reid.loss import TRL
from zoo.domains.reid.module import RDE
from zoo.domains.reid.network import Embeddings, RDENetwork, RDEOutput, Similarities
from zoo.domains.reid.persons import CUHKPEDES, ICFGPEDES, CUHK01Pedes, RSTPReid
from zoo.domains.reid.pretrained import BackboneTower, MiniLMTower
from zoo.domains.reid.schedule import EpochCosine
from zoo.domains.reid.synthesis import synthesize

__all__ = [
    "CUHKPEDES",
    "ICFGPEDES",
    "RDE",
    "TRL",
    "BackboneTower",
    "CUHK01Pedes",
    "Embeddings",
    "EpochCosine",
    "Flickr8k",
    "Flickr30k",
    "GalleryIndex",
    "ImageText",
    "MiniLMTower",
    "RDENetwork",
    "RDEOutput",
    "RSTPReid",
    "Similarities",
    "TextImageData",
    "TextTransformer",
    "VisionTransformer",
    "synthesize",
]
