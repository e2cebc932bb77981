"""Tests of the component, on a simulated gateway."""
