"""Blueprints for automations."""
