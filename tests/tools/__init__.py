"""Tests of the project's own tools, and rules for its code."""
