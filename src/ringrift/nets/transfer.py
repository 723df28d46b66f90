"""Weights for seats that a network has never met: what it knows of the other opponents."""

import torch
from torch import Tensor

from ringrift.encoding import GLOBAL_TABLE, GLOBALS, PLANE_TABLE, Feature
from ringrift.nets.network import MAX_SEATS, Network


def known_seats(network: Network) -> int:
    """How many seats the weights were trained for. Seats that never played have a value row of exact zeros: it starts
    so, and neither a gradient nor decay moves it."""
    return int(network.value.weight.detach().abs().sum(1).ne(0).sum())


@torch.no_grad()
def fill_seats(network: Network) -> None:
    """Gives each seat beyond the known ones the mean of the known opponents' weights, in the heads and in the first
    layer; what only the encoding of a new seat could tell stays to be learnt. Untrained weights stay as they are."""
    known = known_seats(network)
    if not 1 < known < MAX_SEATS:
        return

    def fill(weights: Tensor, first: int = 0) -> None:
        """Seat i has row first + i."""
        weights[first + known : first + MAX_SEATS] = weights[first + 1 : first + known].mean(0)

    each: Tensor
    for each in network.value.parameters():
        fill(each)
    for each in (*network.ownership.parameters(), network.ownership_pooled.weight):
        fill(each, 1)
    for each in (*network.shares.parameters(), *network.short_term.parameters()):
        for half in each.chunk(2):
            fill(half)
    for each in network.rank.parameters():
        ranks = each.view(MAX_SEATS, MAX_SEATS, *each.shape[1:])  # [seat, rank, …]
        ranks[:known, known:] = ranks[:known, known - 1 : known]  # ranks below the last known one are as likely
        fill(ranks)
    of_globals = network.stem_globals.weight, network.hidden.weight[:, -GLOBALS:]
    for features, layers in ((PLANE_TABLE, (network.stem.weight,)), (GLOBAL_TABLE, of_globals)):
        for layer in layers:
            for first in _first_of_seats(features):
                fill(layer.transpose(0, 1), first)


def _first_of_seats(features: tuple[Feature, ...]) -> list[int]:
    """Where the rows of a table that have an entry for each seat begin."""
    firsts, at = [], 0
    for feature in features:
        if feature.count == MAX_SEATS:
            firsts.append(at)
        at += feature.count
    return firsts
