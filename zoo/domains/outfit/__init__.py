"""Outfit compatibility, fill-in-the-blank and complementary retrieval (OutfitTransformer, Sarkar et al., WACV 2023)."""

from zoo.domains.outfit.convert import convert
from zoo.domains.outfit.data import MarylandPolyvore, PolyvoreMetadata, PolyvoreOutfits
from zoo.domains.outfit.data_tables import MANGO, OutfitCSV
from zoo.domains.outfit.encoders import ItemEncoder
from zoo.domains.outfit.evaluation import Compatibility, FillInTheBlank, Retrieval
from zoo.domains.outfit.items import Gallery, OutfitItem, Ranking, Retrieved
from zoo.domains.outfit.loss import focal_loss, in_batch_triplet, set_wise_loss
from zoo.domains.outfit.module import OutfitTransformer
from zoo.domains.outfit.network import OutfitNetwork, OutfitOutput
from zoo.domains.outfit.official import OfficialOutfit
from zoo.domains.outfit.paper import PaperOutfit
from zoo.domains.outfit.synthesis import synthesize

__all__ = [
    "MANGO",
    "Compatibility",
    "FillInTheBlank",
    "Gallery",
    "ItemEncoder",
    "MarylandPolyvore",
    "OfficialOutfit",
    "OutfitCSV",
    "OutfitItem",
    "OutfitNetwork",
    "OutfitOutput",
    "OutfitTransformer",
    "PaperOutfit",
    "PolyvoreMetadata",
    "PolyvoreOutfits",
    "Ranking",
    "Retrieval",
    "Retrieved",
    "convert",
    "focal_loss",
    "in_batch_triplet",
    "set_wise_loss",
    "synthesize",
]
