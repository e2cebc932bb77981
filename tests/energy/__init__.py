"""Tests of the energy pipeline."""
