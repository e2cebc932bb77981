"""Talks to one gateway: schedules requests, parses documents, caches objects. No Home Assistant here."""
