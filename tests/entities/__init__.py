"""Tests of entities and devices."""
