"""What the recorder holds of our counters, and corrections of it."""
