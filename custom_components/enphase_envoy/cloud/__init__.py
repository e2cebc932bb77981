"""Battery settings through Enphase's cloud: a service without public documentation. No Home Assistant."""
