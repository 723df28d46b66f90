"""Days of a cluster in minutes: the real services, workers, fabric and store in virtual time, with machines that fail.

Simulated is what takes time (the jobs' computing) and what goes wrong (FAULTS); everything else is the code that runs a
loop: services plan and act through `tick`, crews claim, hold and settle, games are judged and promoted in the stores.
One queue of events in virtual time decides what happens next; the same seed gives the same report.
"""

from ringrift.simulation.days import Simulation
from ringrift.simulation.invariants import INVARIANTS
from ringrift.simulation.machines import WitnessedJobs
from ringrift.simulation.plan import FAULTS, SINGLE_FAULTS, Plan, Report

__all__ = ["FAULTS", "INVARIANTS", "SINGLE_FAULTS", "Plan", "Report", "Simulation", "WitnessedJobs"]
