"""The fault run on a real Swarm of three engines: `make soak`. By hand, never in CI.

What it has of its own; people, timetable, lookout, checker, report and picture are those of the run on one machine.

    load         containers and no-ops, for two processors under three engines
    engines      what engines say to a subscriber of its own, and which containers are left in the end
    overlay      what engines must know of each other's containers, and forget
    swarm        the ground: the lab, the stack on it, and what witnesses left there
    breakages    what is broken
    run          the program
"""
