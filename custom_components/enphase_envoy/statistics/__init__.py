"""The recorder's statistics of energy counters, and corrections of them."""
