"""Battery settings through the cloud, against a simulation of its service."""
