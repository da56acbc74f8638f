"""The deterministic simulator: unchanged actor classes under a virtual clock, a seeded scheduler and a disk that lies.

    report = simulate(MyScenario, seeds=200)      # or: durable-rooms simulate my_module:MyScenario --seeds 200
    found = Simulation(MyScenario(), seed=17).run()

scenario    what a user writes: classes, clients, what must hold        chat, errands   shipped ones        fit   mistakes in one
client      who calls rooms, and reads them in a session
plan        what a seed stands for, spelled out                          faults, troubles   what goes wrong
simulation  one seed: lives, cuts, looks                                 life   one process's stay
disk, vfs   the disk door, ours and SQLite's                             world, image   what a power cut leaves
threads     jobs that stop half-way        schedule   the order of tasks, virtual time        standstill    where that ends
descriptors who hears of errors
history     what callers know              explain    replies against a model                 look   every promise, asked after
cuts        where, and what was known      unsynced   the disk of looks
run, report, shorten   many seeds, honest figures, a shorter failing case        events   the trace

The product has no other implementation of anything for it: only its doors are replaced (`actors.system.doors`).
"""

from durable_rooms.simulation.chat import ChatScenario
from durable_rooms.simulation.client import Client
from durable_rooms.simulation.errands import ErrandScenario
from durable_rooms.simulation.fit import NotAScenario
from durable_rooms.simulation.history import Call
from durable_rooms.simulation.plan import Plan, plan_of
from durable_rooms.simulation.report import Report
from durable_rooms.simulation.run import scenario_of, simulate
from durable_rooms.simulation.scenario import After, Scenario
from durable_rooms.simulation.simulation import Failure, Found, Simulation

__all__ = [
    "After",
    "Call",
    "ChatScenario",
    "Client",
    "ErrandScenario",
    "Failure",
    "Found",
    "NotAScenario",
    "Plan",
    "Report",
    "Scenario",
    "Simulation",
    "plan_of",
    "scenario_of",
    "simulate",
]
