"""How fast is it, and how close to what the machine can do? `python -m benchmarks [NAME…] [--quick] [--json FILE] [--plot DIR]`.

Every figure stands beside its ceiling: the same work done by hand with nothing around it, measured in turns with the figure
in the same run, so that other people's load hits both. Read the ratios; the absolute numbers belong to one machine.

    __main__ → registry → ping, hot_room, …  → records → report, plots
                            │        │
                        chat_room  bare_sqlite, bare_trio          the figure, and its ceiling
                            └── workload ──┘                       the same table, index and posts on both sides
"""
