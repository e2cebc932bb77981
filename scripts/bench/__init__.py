"""What `scripts/benchmark` is made of.

`plan` says what is compared with what, `gateway` is the simulated gateway of one run, `measure` is one run in a process
of its own, `report` turns runs into tables. `plan` and `report` import nothing but the standard library.
"""
