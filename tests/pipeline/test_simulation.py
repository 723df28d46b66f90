"""The simulated cluster keeps its promises, and tells where one is broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringrift.errors import LeaseLost
from ringrift.fabric import Job, JobState
from ringrift.simulation import FAULTS, INVARIANTS, SINGLE_FAULTS, Plan, Report, Simulation, WitnessedJobs

SMALL = Plan(nodes=6, days=0.1, seed=7, configs=("square8_2p",))


class Unfenced(WitnessedJobs):
    """Whoever has a claim, however old, may report under it."""

    def _held(self, job: Job) -> Job:
        now = self._jobs.get(job.id)
        if now is None:
            raise LeaseLost(f"job {job.id} is forgotten")
        return now


class Forgetful(WitnessedJobs):
    """Every third job taken from a lost holder is mislaid."""

    def reap(self) -> list[Job]:
        reaped = super().reap()
        for job in reaped[::3]:
            if job.state is JobState.WAITING:
                del self._open[self._jobs.pop(job.id).state][job.id], self._order[job.id]
        return reaped


class Stuck(WitnessedJobs):
    """Leases never end."""

    def reap(self) -> list[Job]:
        return []


def check(report: Report) -> None:
    assert report.violations == [] and report.sound
    assert report.lost == 0 == report.doubled
    assert set(report.invariants) == {invariant.__name__ for invariant in INVARIANTS} | {"nothing_left_over"}
    assert report.jobs["done"] > 50 and report.promoted > 0


def test_no_faults_no_loss_and_the_same_again() -> None:
    plan = Plan(nodes=6, days=0.12, faults=False, seed=1, configs=("square8_2p",))
    report = Simulation(plan).run()
    check(report)
    assert report.faults == {} and report.late == 0 and report.quarantined == 0
    assert report.utilisation > 0.89
    assert report.attempts == sum(report.jobs.values())
    assert Simulation(plan).run().to_json() == report.to_json()


def test_a_broken_machine_starves_nobody() -> None:
    plan = Plan(nodes=5, days=0.12, faults=False, seed=1, configs=("square8_2p",))
    report = Simulation(replace(plan, broken=1)).run()
    assert report.violations == [] and "dead" not in report.jobs
    assert report.healthy >= 0.95 * Simulation(plan).run().healthy


@pytest.mark.slow
def test_promises_hold_whatever_fails() -> None:
    reports = [Simulation(Plan(nodes=20, days=0.2, seed=seed)).run() for seed in range(4)]
    for report in reports:
        check(report)
    assert sum(report.late for report in reports) > 0
    assert sum(report.quarantined for report in reports) > 0
    assert {name for report in reports for name in report.faults} == {fault.name for fault in FAULTS + SINGLE_FAULTS}


@pytest.mark.parametrize(
    ("jobs", "found"),
    [
        (Unfenced, {"only_the_last_claim_reports", "results_are_taken_once"}),
        (Forgetful, {"no_job_is_forgotten"}),
        pytest.param(Stuck, {"nothing_left_over"}, marks=pytest.mark.slow),
    ],
)
def test_planted_bugs_are_found(jobs: type[WitnessedJobs], found: set[str]) -> None:
    report = Simulation(SMALL, jobs).run()
    assert not report.sound
    assert found <= {text.partition(":")[0] for text in report.violations}
    assert "violations" in report.text() and str(report.violations[0]) in report.text()
