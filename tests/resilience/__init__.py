"""Tests of faults, restarts and invalid documents."""
