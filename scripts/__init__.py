"""Tools for the development of the component."""
