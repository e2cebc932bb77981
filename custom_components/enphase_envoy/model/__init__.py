"""What a gateway reports: snapshots, addresses, validation. Imports nothing else of this integration."""
