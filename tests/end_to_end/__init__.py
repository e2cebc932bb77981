"""Tests in a real Home Assistant and a real browser."""
