"""Networks: one family for all boards and seat counts, checkpoints, and export to the fast runtime. Needs torch."""

from ringrift.nets.architectures import ARCHITECTURES, Architecture, architecture
from ringrift.nets.checkpoint import initial_checkpoint, load_checkpoint, save_checkpoint
from ringrift.nets.evaluator import TorchEvaluator
from ringrift.nets.export import ExportReport, export_onnx
from ringrift.nets.network import Network, cost, initial_network
from ringrift.nets.positions import Positions, random_positions
from ringrift.nets.transfer import fill_seats, known_seats

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "ExportReport",
    "Network",
    "Positions",
    "TorchEvaluator",
    "architecture",
    "cost",
    "export_onnx",
    "fill_seats",
    "initial_checkpoint",
    "initial_network",
    "known_seats",
    "load_checkpoint",
    "random_positions",
    "save_checkpoint",
]
