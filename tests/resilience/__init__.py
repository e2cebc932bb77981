"""Tests of faults, restarts and odd documents."""
