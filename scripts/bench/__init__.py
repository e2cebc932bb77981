"""Modules of `scripts/benchmark`.

`plan` defines systems and runs, `gateway` is the simulated gateway of one run, `measure` is one run in a process of its
own, `report` formats runs as tables. `plan` and `report` import only the standard library. `attacks` and `freshness`
are measurements of their own.
"""
