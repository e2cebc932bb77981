"""Tests of config, options and repair flows."""
