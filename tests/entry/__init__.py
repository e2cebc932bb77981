"""Tests of a config entry: set-up, storage, maintenance, diagnostics."""
