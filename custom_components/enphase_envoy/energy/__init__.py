"""Corrects and completes the energy figures of a snapshot. Pure; no Home Assistant here."""
