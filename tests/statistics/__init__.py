"""Tests of what the recorder holds."""
