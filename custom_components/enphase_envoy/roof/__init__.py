"""Health of the panels: pure logic over their reports, without Home Assistant."""
