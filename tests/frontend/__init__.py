"""Tests of the array card without a browser."""
