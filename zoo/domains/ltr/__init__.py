"""Learning to rank from query-document features in LETOR format."""

from zoo.domains.ltr.data import MQ2008, synthesize
from zoo.domains.ltr.data_files import LetorFiles
from zoo.domains.ltr.letor import read_letor
from zoo.domains.ltr.loss import objective
from zoo.domains.ltr.module import MLPRanker
from zoo.domains.ltr.network import MLP, RankerOutput

__all__ = ["MLP", "MQ2008", "LetorFiles", "MLPRanker", "RankerOutput", "objective", "read_letor", "synthesize"]
