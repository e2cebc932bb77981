"""Random days of random systems with known energy, wrong readings and silences: what is recorded has to be what flowed."""
