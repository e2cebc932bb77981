"""Tests of the health of the panels."""
