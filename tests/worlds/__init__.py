"""Random days of systems with known energy, wrong readings and silences: the recorded energy is compared with it."""
